"""How sure a share is whose trials are not independent: objects of one camera on one day.

Hundreds of objects of one camera-day share the light, the crowd and the view, so they say less
than as many objects of as many days. What lives here: one-sided Clopper-Pearson bounds over an
effective number of trials, and the difference of two shares over the same camera-days. What does
not: verdicts (`stats.gates`). Pure. The rule: where the correlation cannot be estimated it is
assumed, and never assumed away.

    p     = Σ x / N,  N = Σ n                    over all camera-days
    n̄     = Σ n² / N                             the size of the day that an object finds itself in
    S     = Σ (x - p·n)² + (½·p·n̄)²              the days seen, and one that was not
    v     = m/(m-1) · S / N²                     m camera-days; linearised variance of that ratio
    deff  = max(v / (p(1-p)/N), 1 + (n̄-1)·ρ₀, 1)
    n*    = N / deff · (t_{N-1} / t_{m-1})²      and never more than N or less than N/n̄
    bound = Clopper-Pearson of p·n* in n*

The second term of S stands for a camera-day half of whose objects went wrong and that the sample
happened to miss: where errors come in few bad days, those seen show too little of the variance,
and where nobody made a mistake they show none. N/n̄ is what is left where all objects of a day
stand or fall together: less than that no correlation can take.

Source: Korn and Graubard, "Confidence intervals for proportions with small expected number of
positive counts estimated from survey data", Survey Methodology 24(2), 1998 (n* and its correction
by Student's t); Kish, "Survey Sampling", 1965, section 5.4 (1 + (n-1)ρ). The unseen day is ours:
without it their bound held only 79 to 93 % of the time in simulation where errors come in days,
with it 94 to 100 % (benchmarks/bench_gates.py).
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.stats.beta import quantile, student_t

Counts = tuple[int, int]
"""Successes and trials of one camera-day."""

LEAST_CORRELATION: Final = 0.05
"""ρ₀: of two objects of one camera-day, as long as the days seen do not show more."""
UNSEEN: Final = 0.5
"""Share of the objects of the unseen day that went wrong."""
MAX_DAYS: Final = 1_000_000
_NORMAL_DEGREES: Final = 1e6


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A share with a bound on each side, each of which holds by itself.

    Attributes:
        value: Successes over trials, 0 to 1.
        low: Least share that is consistent with what was seen, one-sided.
        high: Likewise the largest.
        clusters: Camera-days with any trial.
        design_effect: How many times the plain variance.
        effective: Independent trials that would say as much.
    """

    value: float
    low: float
    high: float
    successes: int
    trials: int
    clusters: int
    design_effect: float
    effective: float


def share_of(
    counts: Sequence[Counts],
    confidence: float = 0.95,
) -> Share | None:
    """Return the share over all camera-days with its bounds; None without any trial.

    Args:
        counts: Successes and trials of each camera-day; those without a trial say nothing.
        confidence: Of each bound by itself.

    Raises:
        ValueError: More successes than trials, or less than none.
    """
    if any(not 0 <= x <= n for x, n in counts):
        raise ValueError("successes must lie between none and all of the trials")
    days = [(x, n) for x, n in counts if n]
    if not days:
        return None
    seen = _Seen.of(days)
    effect, effective = seen.effective(len(days), confidence)
    low, high = one_sided(seen.value * effective, effective, confidence)
    return Share(
        value=seen.value,
        low=low,
        high=high,
        successes=sum(x for x, _ in days),
        trials=seen.trials,
        clusters=len(days),
        design_effect=effect,
        effective=effective,
    )


def one_sided(successes: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two one-sided Clopper-Pearson bounds of so many in so many real trials.

    Source: Clopper and Pearson, Biometrika 26, 1934, as quantiles of the beta distribution:
    B(1-c; x, n-x+1) and B(c; x+1, n-x).
    """
    failures = trials - successes
    tail = 1 - confidence
    low = quantile(tail, successes, failures + 1) if successes > 0 else 0.0
    high = quantile(confidence, successes + 1, failures) if failures > 0 else 1.0
    return low, high


def days_needed(counts: Sequence[Counts], least: float, confidence: float = 0.95) -> int | None:
    """Return how many more camera-days like those seen would lift the lower bound to `least`.

    None: never, if the share stays what it is, or nothing was seen. A guess for planning, no
    promise.
    """
    days = [(x, n) for x, n in counts if n]
    if not days:
        return None
    seen = _Seen.of(days)
    if seen.value <= least:
        return None

    def is_enough(count: int) -> bool:
        effective = seen.effective(count, confidence)[1]
        return one_sided(seen.value * effective, effective, confidence)[0] >= least

    most = len(days)
    while not is_enough(most):
        most *= 2
        if most > MAX_DAYS:
            return None
    low = most // 2
    while low + 1 < most:
        middle = (low + most) // 2
        low, most = (low, middle) if is_enough(middle) else (middle, most)
    return max(0, most - len(days))


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How much larger a second share is than the first, over the same camera-days."""

    value: float
    low: float
    high: float
    clusters: int


def difference(
    pairs: Sequence[tuple[Counts, Counts]], confidence: float = 0.95
) -> Difference | None:
    """Return second minus first share, paired by camera-day; None below two days with trials.

    What a day does to both models alike cancels, which is why it has to be the same pictures.

    Source: the linearised difference of two ratio estimators over the same clusters; Cochran,
    "Sampling Techniques", 3rd ed., section 6.19, with Student's t at one degree less than clusters.
    """
    days = [(a, b) for a, b in pairs if a[1] or b[1]]
    all_a, all_b = sum(a[1] for a, _ in days), sum(b[1] for _, b in days)
    count = len(days)
    if count < 2 or not all_a or not all_b:
        return None
    share_a = sum(a[0] for a, _ in days) / all_a
    share_b = sum(b[0] for _, b in days) / all_b
    spread = math.fsum(
        ((b[0] - share_b * b[1]) / all_b - (a[0] - share_a * a[1]) / all_a) ** 2 for a, b in days
    )
    width = math.sqrt(spread * count / (count - 1)) * student_t(confidence, count - 1)
    value = share_b - share_a
    return Difference(value=value, low=value - width, high=value + width, clusters=count)


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the camera-days say of spread, so that as many again can be thought of.

    Attributes:
        size: n̄, the size of the day that an object finds itself in.
        spread: Σ (x - p·n)² of one day, on average.
    """

    value: float
    trials: int
    days: int
    size: float
    spread: float

    @classmethod
    def of(cls, days: Sequence[Counts]) -> "_Seen":
        """Return it of days that have trials."""
        trials = sum(n for _, n in days)
        value = sum(x for x, _ in days) / trials
        return cls(
            value=value,
            trials=trials,
            days=len(days),
            size=math.fsum(n * n for _, n in days) / trials,
            spread=math.fsum((x - value * n) ** 2 for x, n in days) / len(days),
        )

    def effective(self, days: int, confidence: float) -> tuple[float, float]:
        """Return the design effect and the effective trials of so many days of this kind."""
        trials = self.trials * days / self.days
        alone = trials / self.size
        if days < 2:  # one day says nothing of other days
            return self.size, alone
        unseen = (UNSEEN * self.value * self.size) ** 2
        variance = days / (days - 1) * (self.spread * days + unseen) / trials**2
        plain = self.value * (1 - self.value) / trials
        effect = max(variance / plain if plain else math.inf, 1.0)
        effect = max(effect, 1 + (self.size - 1) * LEAST_CORRELATION)
        wide = student_t(confidence, min(max(trials - 1, 1.0), _NORMAL_DEGREES))
        shrunk = min(1.0, (wide / student_t(confidence, days - 1)) ** 2)
        effective = min(max(trials / effect * shrunk, alone), trials)
        return trials / effective, effective
