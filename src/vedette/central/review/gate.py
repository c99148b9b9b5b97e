"""How many disagreements people must judge, and what their judgements say of a candidate. Pure.

What is asked: is the candidate worse than the model in use by more than `MARGIN` of the pictures?
Both saw the same ones. They differ in a share D of them, which devices count; of those that people
can decide, a share p says that the model in use was right. The candidate then loses at most
D·(2p - 1) of all pictures, so it is no worse than the margin allows where

    p < limit = 1/2 + MARGIN / (2·D)

That is a one-sided test of a proportion on the discordant pairs (McNemar's, with a margin instead
of equality), and how many it takes, for power against p = 1/2, follows from it. Judgements are
looked at when the number is reached, and again each time it has doubled; look k spends
ALPHA / 2^(k+1), so that all looks together spend no more than ALPHA. Each look sees only the first
judgements that it asks for: those who go on reviewing do not choose the moment.

Disagreements are a sample in which each stands for `weight` others. The interval is the exact one
with the effective number of judgements instead of their number.

Sources: Q. McNemar, Psychometrika 12, 1947; J. Nam, "Establishing equivalence of two treatments and
sample size requirements in matched-pairs design", Biometrics 53, 1997 (the margin); J. Fleiss,
B. Levin, M. Paik, Statistical Methods for Rates and Proportions, 3rd ed., 2003, section 2.5 (the
number); E. Korn and B. Graubard, "Confidence intervals for proportions with small expected number
of positive counts estimated from survey data", Survey Methodology 24, 1998 (the weights).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from vedette.amounts import counted
from vedette.central.rollouts.facts import Shadowed, Verdict
from vedette.stats.beta import quantile

MARGIN: Final = 0.05
ALPHA: Final = 0.05
POWER: Final = 0.8
LEAST_FRAMES: Final = 500
LEAST: Final = 20
MOST: Final = 2_000
"""Of judgements that are ever asked for in one look: what differs more than that is no sample."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was made of one disagreement: `a`, `b`, `neither` or `unclear`; in order of time."""

    verdict: str
    weight: float = 1.0


def needed(differing: float, *, alpha: float = ALPHA / 2) -> int:
    """Return how many decided judgements it takes where so large a share of pictures differs.

    Args:
        differing: D, 0 to 1.
        alpha: Of this look.
    """
    limit = limit_of(differing)
    if limit >= 1.0:
        return LEAST
    z_alpha, z_beta = NormalDist().inv_cdf(1 - alpha), NormalDist().inv_cdf(POWER)
    root, apart = z_alpha * math.sqrt(limit * (1 - limit)) + z_beta * 0.5, limit - 0.5
    count = (root / apart) ** 2
    count *= ((1 + math.sqrt(1 + 2 / (count * apart))) / 2) ** 2  # for whole numbers
    return min(MOST, max(LEAST, math.ceil(count)))


def limit_of(differing: float) -> float:
    """Return the share of decided judgements for the model in use that is too many."""
    return 1.0 if differing <= MARGIN else 0.5 + MARGIN / (2 * differing)


def bounds(decided: Sequence[Judged], alpha: float) -> tuple[float, float]:
    """Return one-sided bounds, below and above, of the share for the model in use."""
    total = math.fsum(one.weight for one in decided)
    if total <= 0:
        return 0.0, 1.0
    share = math.fsum(one.weight for one in decided if one.verdict == "a") / total
    count = total**2 / math.fsum(one.weight**2 for one in decided)
    hits = share * count
    low = 0.0 if hits <= 0 else quantile(alpha, hits, count - hits + 1)
    high = 1.0 if hits >= count else quantile(1 - alpha, hits + 1, count - hits)
    return low, high


def decide(frames: int, differing: int, judged: Sequence[Judged]) -> Shadowed:
    """Return the evidence of a candidate in shadow.

    Args:
        frames: Pictures that both models saw.
        differing: Those of them on which they differ.
        judged: Disagreements that were judged, in order of time.
    """
    counts = {v: sum(one.verdict == v for one in judged) for v in ("a", "b", "neither", "unclear")}
    share = differing / frames if frames else 0.0
    decided = [one for one in judged if one.verdict in {"a", "b"}]
    undecided = len(judged) - len(decided)
    first = needed(share)
    verdict, reasons, target = _verdict(frames, differing, decided, first)
    return Shadowed(
        verdict=verdict,
        reviewed=len(judged),
        needed=target + undecided if target else 0,
        a_better=counts["a"],
        b_better=counts["b"],
        neither=counts["neither"] + counts["unclear"],
        reasons=reasons,
    )


def _verdict(
    frames: int, differing: int, decided: Sequence[Judged], first: int
) -> tuple[Verdict, list[str], int]:
    """Return the verdict, why, and how many decided judgements the next look asks for."""
    if frames < LEAST_FRAMES:
        seen = counted(frames, "picture was", "pictures were")
        reason = f"{seen} compared, it takes {LEAST_FRAMES}"
        return Verdict.INCONCLUSIVE, [reason], first
    most = quantile(1 - ALPHA, differing + 1, frames - differing) if differing < frames else 1.0
    if most <= MARGIN:
        return Verdict.PASS, [f"they differ in at most {most:.1%} of pictures"], 0
    limit, target = limit_of(differing / frames), first
    for look in range(12):
        if len(decided) < target:
            break
        alpha = ALPHA / 2 ** (look + 1)
        low, high = bounds(decided[:target], alpha)
        if high < limit:
            return Verdict.PASS, [_words("at most", high, limit, target)], target
        if low > limit or (low > 0.5 and target >= MOST):
            return Verdict.FAIL, [_words("at least", low, limit, target)], target
        target *= 2
    return Verdict.INCONCLUSIVE, [f"{len(decided)} of {target} were decided by people"], target


def _words(which: str, share: float, limit: float, count: int) -> str:
    return (
        f"{which} {share:.0%} of {count} decided ones speak for the model in use; "
        f"{limit:.0%} would be too many"
    )


def agreement(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa of two reviewers' verdicts on the same things; None without any.

    Source: J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological
    Measurement 20, 1960.
    """
    if not pairs:
        return None
    n = len(pairs)
    same = sum(one == other for one, other in pairs) / n
    names = {name for pair in pairs for name in pair}
    chance = math.fsum(
        sum(one == name for one, _ in pairs) * sum(other == name for _, other in pairs) / n**2
        for name in names
    )
    return 1.0 if chance >= 1.0 else (same - chance) / (1 - chance)
