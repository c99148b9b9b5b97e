"""Whether what is known of a model version lets it go out. Pure.

What lives here: gates, their thresholds, and the verdict of each on one evaluation. What does not:
the bounds themselves (`stats.clustered`), keeping records (`central.registry`), the gates of a
rollout's stages (`central.rollouts`). The rule: a gate passes only where the bound that speaks
against it lies beyond the threshold; it fails only where the other bound does. Everything between,
and everything that nobody measured, is inconclusive and never a pass.

The bound of F1: with J = TP / (TP + FP + FN), F1 = 2J / (1 + J), which only rises with J. Each
object and each false find is in J just once, so J is a share like precision and recall and takes
the same bounds; they are carried over.
"""

import enum
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final

import msgspec

from vedette.stats.clustered import Counts, days_needed, difference, share_of
from vedette.wire.evaluation import CameraDay, HardwareTimes, StepTime, Tally

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Budget = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
TOTAL: Final = "total"
MODEL_STEPS: Final = ("preprocess", "inference", "postprocess")
BUDGET_MS: Final = {
    "capture": 33.0,
    "preprocess": 10.0,
    "inference": 100.0,
    "postprocess": 20.0,
    "dispatch": 50.0,
    TOTAL: 213.0,
}
LEAST_DAYS: Final = 5
"""Camera-days below which nothing is said of how they differ."""


class Verdict(enum.StrEnum):
    """What a gate says. `INCONCLUSIVE` is a word of its own: too little is known to say more."""

    PASS = "pass"  # noqa: S105 - a verdict, not a secret
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Least(msgspec.Struct, frozen=True, kw_only=True):
    """The least that the lower bounds of one class must reach."""

    precision: Fraction = 0.95
    recall: Fraction = 0.90
    f1: Fraction = 0.92


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of every version of a model.

    Attributes:
        classes: Those that anybody relies on; empty: every label of the version.
        by_class: Where a class has other thresholds.
        site_slack: How far below the mean of its classes' thresholds a single site may be.
        inferior: How much worse than the incumbent still counts as no worse.
        budget_ms: Most that the 95th percentile of a step may be, by its bound; `total` is over
            all steps, those that no model changes (capture, dispatch) at their budget.
        load_s: Most that loading may take.
        hardware: Kinds of machine that must have been measured; empty: at least one.
    """

    classes: Annotated[list[str], msgspec.Meta(max_length=1000)] = []
    least: Least = Least()
    by_class: dict[str, Least] = {}
    confidence: Annotated[float, msgspec.Meta(ge=0.5, lt=1)] = 0.95
    site_slack: Fraction = 0.10
    inferior: Fraction = 0.02
    budget_ms: dict[str, Budget] = msgspec.field(default_factory=BUDGET_MS.copy)
    load_s: Budget = 30.0
    hardware: Annotated[list[str], msgspec.Meta(max_length=64)] = []


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One gate and what it says.

    Attributes:
        gate: Its name, such as `recall/person`; a waiver names it so.
        kind: What is before the first slash: what to group by.
        verdict: Without regard to any waiver.
        value, low, high: What was measured, and its one-sided bounds.
        limit: What the bound is held against.
        at_least: The limit is below, not above.
        unit: `share` or `ms` or `s`.
        days: Camera-days, or runs, that it rests on.
        needed: About how many more of those would let it pass; None: more would not help, or it
            is not known.
        reason: In words.
        where: Of the gates of a site: which one says most against it.
        waived: Until when a waiver stands for it; None: none does.
    """

    gate: str
    kind: str
    verdict: Verdict
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    at_least: bool = True
    unit: str = "share"
    days: int = 0
    needed: int | None = None
    reason: str = ""
    where: str = ""
    waived: int | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the gates look at.

    Attributes:
        labels: Of the version.
        days: Of the evaluation that counts; empty: there is none.
        incumbent: Of the incumbent on the very same pictures; None: it was not evaluated on them.
        has_incumbent: Whether there is one to be compared with.
        hardware: Newest times of each kind of machine.
    """

    labels: Sequence[str]
    days: Sequence[CameraDay] = ()
    incumbent: Sequence[CameraDay] | None = None
    has_incumbent: bool = False
    hardware: Sequence[HardwareTimes] = ()


def judge(policy: Policy, evidence: Evidence) -> list[Gate]:
    """Return every gate with its verdict: classes, sites, the incumbent, then the machines."""
    classes = policy.classes or list(evidence.labels)
    return [
        *_classes(policy, evidence, classes),
        *_sites(policy, evidence, classes),
        *_incumbent(policy, evidence, classes),
        *_machines(policy, evidence.hardware),
    ]


def overall(gates: Iterable[Gate]) -> Verdict:
    """Return the verdict of all: a failure decides, then whatever is not known.

    A waiver turns away what its gate says against; no gates at all are inconclusive.
    """
    all_gates = list(gates)
    standing = {gate.verdict for gate in all_gates if gate.waived is None}
    if Verdict.FAIL in standing:
        return Verdict.FAIL
    is_whole = bool(all_gates) and Verdict.INCONCLUSIVE not in standing
    return Verdict.PASS if is_whole else Verdict.INCONCLUSIVE


def f1_of(share: float) -> float:
    """Return F1 of J, the share of right finds among objects and false finds together."""
    return 2 * share / (1 + share)


def share_words(counts: Sequence[Counts], confidence: float = 0.95) -> str:
    """Return a share with its bounds as a person reads it."""
    found = share_of(counts, confidence)
    if found is None:
        return "no data"
    return f"{found.value:.3f} ({found.low:.3f} – {found.high:.3f})"


def _share_of_f1(f1: float) -> float:
    return f1 / (2 - f1)


def _precision(tally: Tally) -> Counts:
    return tally.right, tally.right + tally.wrong


def _recall(tally: Tally) -> Counts:
    return tally.right, tally.right + tally.missed


def _jaccard(tally: Tally) -> Counts:
    return tally.right, tally.right + tally.wrong + tally.missed


_MEASURES: Final[tuple[tuple[str, Callable[[Tally], Counts], bool], ...]] = (
    ("precision", _precision, False),
    ("recall", _recall, False),
    ("f1", _jaccard, True),
)


def _classes(policy: Policy, evidence: Evidence, classes: Sequence[str]) -> list[Gate]:
    """Return three gates for each class."""
    gates: list[Gate] = []
    for label in classes:
        least = policy.by_class.get(label, policy.least)
        tallies = [day.tallies.get(label, Tally()) for day in evidence.days]
        for name, count, is_f1 in _MEASURES:
            limit: float = getattr(least, name)
            days = [count(tally) for tally in tallies]
            gate = _share_gate(f"{name}/{label}", days, limit, policy.confidence, is_f1=is_f1)
            if label not in evidence.labels:
                gate = msgspec.structs.replace(gate, reason="the version has no such label")
            gates.append(gate)
    return gates


def _share_gate(
    name: str, days: Sequence[Counts], limit: float, confidence: float, *, is_f1: bool = False
) -> Gate:
    """Return the verdict on one share of camera-days, all of which count."""
    carry = f1_of if is_f1 else float
    kind = name.partition("/")[0]
    found = share_of(days, confidence)
    if found is None:
        return Gate(
            gate=name,
            kind=kind,
            verdict=Verdict.INCONCLUSIVE,
            limit=limit,
            reason="insufficient data: nothing of this was in the pictures",
        )
    low, high, value = carry(found.low), carry(found.high), carry(found.value)
    needed: int | None = None
    if not (found.clusters >= LEAST_DAYS and (low >= limit or high < limit)):
        needed = days_needed(days, _share_of_f1(limit) if is_f1 else limit, confidence)
    if found.clusters < LEAST_DAYS:
        verdict, reason = (
            Verdict.INCONCLUSIVE,
            f"insufficient data: {found.clusters} camera-days; at least {LEAST_DAYS} are needed",
        )
        needed = max(needed or 0, LEAST_DAYS - found.clusters)
    elif low >= limit:
        verdict, reason = Verdict.PASS, f"at least {low:.3f} of {limit:.3f}"
    elif high < limit:
        verdict, reason = Verdict.FAIL, f"at most {high:.3f}, below {limit:.3f}"
    else:
        verdict = Verdict.INCONCLUSIVE
        reason = f"insufficient data: between {low:.3f} and {high:.3f}; {_more(needed)}"
    return Gate(
        gate=name,
        kind=kind,
        verdict=verdict,
        value=value,
        low=low,
        high=high,
        limit=limit,
        days=found.clusters,
        needed=needed,
        reason=reason,
    )


def _more(needed: int | None) -> str:
    if needed is None:
        return "more of the same would not make it pass"
    return f"about {needed} more camera-days like these would tell"


def _sites(policy: Policy, evidence: Evidence, classes: Sequence[str]) -> list[Gate]:
    """Return precision and recall of the site that is worst, over all classes together.

    To pass, every site has to: an intersection-union test, which needs no correction. To fail, the
    worst must fail with the chance of error shared out among the sites, for with many of them
    some site always looks bad.

    Source: Berger, Technometrics 24(4), 1982 (intersection-union); Bonferroni.
    """
    if not evidence.days or not classes:
        return []
    least = [policy.by_class.get(label, policy.least) for label in classes]
    by_site: dict[str, list[CameraDay]] = {}
    for day in evidence.days:
        by_site.setdefault(day.site, []).append(day)
    shared = 1 - (1 - policy.confidence) / len(by_site)
    gates: list[Gate] = []
    for name, count, _ in _MEASURES[:2]:
        mean = math.fsum(getattr(one, name) for one in least) / len(least)
        limit = max(0.0, mean - policy.site_slack)
        slices = {
            site: [count(pooled(day, classes)) for day in days] for site, days in by_site.items()
        }
        gates.append(_worst(f"site_{name}", slices, limit, policy.confidence, shared))
    return gates


def pooled(day: CameraDay, classes: Iterable[str]) -> Tally:
    """Return the tallies of several classes on one day together."""
    tallies = [day.tallies[label] for label in classes if label in day.tallies]
    return Tally(
        sum(tally.right for tally in tallies),
        sum(tally.wrong for tally in tallies),
        sum(tally.missed for tally in tallies),
    )


def _worst(
    name: str, slices: dict[str, list[Counts]], limit: float, confidence: float, shared: float
) -> Gate:
    """Return the gate of the site that says most against the version."""
    found: list[tuple[int, float, str, Gate]] = []
    for site, days in slices.items():
        gate = _share_gate(name, days, limit, confidence)
        if gate.verdict is Verdict.FAIL:
            careful = share_of(days, shared)
            if careful is None or careful.high >= limit:
                gate = msgspec.structs.replace(
                    gate,
                    verdict=Verdict.INCONCLUSIVE,
                    reason=f"insufficient data: one of {len(slices)} sites may look so by chance",
                )
        rank = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS).index(gate.verdict)
        found.append((rank, gate.low if gate.low is not None else -1.0, site, gate))
    _, _, site, gate = min(found, key=lambda one: one[:3])
    undecided = sum(one[0] == 1 for one in found)
    told = f" ({undecided} of {len(found)} sites are undecided)" if undecided > 1 else ""
    return msgspec.structs.replace(gate, reason=gate.reason + told, where=site or "(unnamed)")


def _incumbent(policy: Policy, evidence: Evidence, classes: Sequence[str]) -> list[Gate]:
    """Return whether it is no worse than what runs, on the same pictures; nothing without one."""
    if not evidence.has_incumbent:
        return []
    gates: list[Gate] = []
    for name, count, _ in _MEASURES[:2]:
        gate = Gate(
            gate=f"no_worse/{name}",
            kind="no_worse",
            verdict=Verdict.INCONCLUSIVE,
            limit=-policy.inferior,
        )
        if evidence.incumbent is None or not evidence.days:
            reason = "insufficient data: no evaluation of both on the same pictures"
            gates.append(msgspec.structs.replace(gate, reason=reason))
            continue
        pairs = _paired(evidence.incumbent, evidence.days, classes, count)
        gates.append(_no_worse(gate, pairs, policy.confidence))
    return gates


def _paired(
    a: Sequence[CameraDay],
    b: Sequence[CameraDay],
    classes: Sequence[str],
    count: Callable[[Tally], Counts],
) -> list[tuple[Counts, Counts]]:
    """Return the counts of both on the camera-days that both have."""
    first = {(day.site, day.camera, day.day): day for day in a}
    return [
        (count(pooled(first[key], classes)), count(pooled(day, classes)))
        for day in b
        if (key := (day.site, day.camera, day.day)) in first
    ]


def _no_worse(gate: Gate, pairs: list[tuple[Counts, Counts]], confidence: float) -> Gate:
    found = difference(pairs, confidence)
    limit = gate.limit or 0.0
    if found is None or found.clusters < LEAST_DAYS:
        reason = f"insufficient data: {len(pairs)} camera-days in common"
        return msgspec.structs.replace(gate, reason=reason)
    if found.low >= limit:
        verdict, reason = Verdict.PASS, f"worse by at most {max(0.0, -found.low):.3f}"
    elif found.high < limit:
        verdict, reason = Verdict.FAIL, f"worse by at least {-found.high:.3f}"
    else:
        verdict = Verdict.INCONCLUSIVE
        reason = f"insufficient data: between {found.low:+.3f} and {found.high:+.3f}"
    return msgspec.structs.replace(
        gate,
        verdict=verdict,
        value=found.value,
        low=found.low,
        high=found.high,
        days=found.clusters,
        reason=reason,
    )


def _machines(policy: Policy, hardware: Sequence[HardwareTimes]) -> list[Gate]:
    """Return the gates of time and of golden frames, machine by machine."""
    gates = [gate for one in hardware for gate in _machine(policy, one)]
    measured = {one.hardware for one in hardware}
    wanted = policy.hardware or ([] if measured else ["any machine"])
    gates += [
        Gate(
            gate=f"latency/{name}",
            kind="latency",
            verdict=Verdict.INCONCLUSIVE,
            unit="ms",
            at_least=False,
            reason=f"insufficient data: not measured on {name}",
        )
        for name in wanted
        if name not in measured
    ]
    return gates


def _machine(policy: Policy, one: HardwareTimes) -> list[Gate]:
    place = f"{one.hardware}/{one.runtime}" if one.runtime else one.hardware
    names = [*MODEL_STEPS, *(s for s in ("capture", "dispatch") if s in one.steps)]
    gates = [
        _time(f"latency/{place}/{name}", one.steps.get(name), policy.budget_ms[name])
        for name in names
        if name in policy.budget_ms
    ]
    if TOTAL in policy.budget_ms:
        left = policy.budget_ms[TOTAL] - sum(
            policy.budget_ms.get(name, 0.0) for name in ("capture", "dispatch")
        )
        gates.append(_time(f"latency/{place}/{TOTAL}", one.steps.get("model"), max(left, 0.0)))
    return [*gates, _load(place, one, policy.load_s), _golden(place, one)]


def _time(name: str, step: StepTime | None, budget_ms: float) -> Gate:
    gate = Gate(
        gate=name,
        kind="latency",
        verdict=Verdict.INCONCLUSIVE,
        limit=budget_ms,
        unit="ms",
        at_least=False,
    )
    if step is None:
        return msgspec.structs.replace(gate, reason="insufficient data: not measured")
    low, high = step.p95_low_ms, step.p95_high_ms
    if high is not None and high <= budget_ms:
        verdict, reason = Verdict.PASS, f"at most {high:.1f} ms of {budget_ms:g}"
    elif low is not None and low > budget_ms:
        verdict, reason = Verdict.FAIL, f"at least {low:.1f} ms, above {budget_ms:g}"
    else:
        verdict = Verdict.INCONCLUSIVE
        reason = f"insufficient data: {step.runs} runs do not tell on which side of {budget_ms:g}"
    return msgspec.structs.replace(
        gate,
        verdict=verdict,
        value=step.p95_ms,
        low=low,
        high=high,
        days=step.runs,
        needed=max(0, RUNS_FOR_P95 - step.runs) or None,
        reason=reason,
    )


def _load(place: str, one: HardwareTimes, limit_s: float) -> Gate:
    seconds = one.load_s
    if seconds is None:
        verdict, reason = Verdict.INCONCLUSIVE, "insufficient data: not measured"
    elif seconds < limit_s:
        verdict, reason = Verdict.PASS, f"{seconds:.1f} s of {limit_s:g}"
    else:
        verdict, reason = Verdict.FAIL, f"{seconds:.1f} s, above {limit_s:g}"
    return Gate(
        gate=f"load/{place}",
        kind="load",
        verdict=verdict,
        value=seconds,
        limit=limit_s,
        at_least=False,
        unit="s",
        reason=reason,
    )


def _golden(place: str, one: HardwareTimes) -> Gate:
    words = {
        None: (Verdict.INCONCLUSIVE, "insufficient data: not looked at"),
        True: (Verdict.PASS, "every golden frame within its tolerance"),
        False: (Verdict.FAIL, "a golden frame is not what it was where the bundle was made"),
    }
    verdict, reason = words[one.golden_ok]
    return Gate(gate=f"golden/{place}", kind="golden", verdict=verdict, reason=reason)


RUNS_FOR_P95: Final = 59
"""Runs from which the slowest is an upper 95 % bound of the 95th percentile: 0.95^59 < 0.05."""


def step_time(runs_ms: Sequence[float], confidence: float = 0.95) -> StepTime:
    """Return what so many runs say of a step, with bounds of its 95th percentile.

    Raises:
        ValueError: No runs.

    Source: David and Nagaraja, "Order Statistics", 3rd ed., section 7.1: the r-th smallest of n
    lies above a quantile with the chance that fewer than r of n lie below it, a binomial.
    """
    if not runs_ms:
        raise ValueError("no runs, no times")
    ordered = sorted(runs_ms)
    low, high = _p95_ranks(len(ordered), confidence)
    return StepTime(
        runs=len(ordered),
        p50_ms=_percentile(ordered, 0.50),
        p95_ms=_percentile(ordered, 0.95),
        p99_ms=_percentile(ordered, 0.99),
        p95_low_ms=None if low is None else ordered[low],
        p95_high_ms=None if high is None else ordered[high],
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _p95_ranks(count: int, confidence: float) -> tuple[int | None, int | None]:
    """Return the places of the order statistics that bound the 95th percentile from each side."""
    below, low, high = 0.0, None, None
    log_all = math.lgamma(count + 1)
    for k in range(count + 1):  # k runs lie below the quantile
        below += math.exp(
            log_all
            - math.lgamma(k + 1)
            - math.lgamma(count - k + 1)
            + k * math.log(0.95)
            + (count - k) * math.log(0.05)
        )
        if below <= 1 - confidence and k < count:
            low = k
        if high is None and below >= confidence and k < count:
            high = k
    return low, high
