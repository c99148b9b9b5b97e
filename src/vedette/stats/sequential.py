"""Whether bad events became more frequent: an anytime-valid test of counts that cluster.

Here: the model of the counts, the e-value and the confidence sequence of the ratio. Not here: what
is counted, and what is done about it (`central.rollouts.gates`). The rule: it may be looked at as
often as one likes; the chance that a change which is none is ever called one is at most `alpha`
where the model holds, and `benchmarks/bench_rollout.py` shows what is left where it does not.

**The model.** Device i has, per covered camera-hour, bad events at a rate of its own, and good and
bad days; all devices share what happens to everybody (a network, the weather, a Monday):

    events of i since then ~ NegativeBinomial(mean = ratio_i · common · rate_i · hours_i,
                                              relative variance v_i),  ratio_i = 1 without candidate

`rate_i` is the mean of its past and the fleet's, weighted by what each knows (gamma–Poisson, with
the past discounted by its own clustering); `v_i` adds what is not known of the rate, the relative
variance between days divided by the days seen, and slow drift. So ten events on one bad day weigh
about as much as one bad day. `common` is integrated over, with the controls' likelihood: with many
controls it is known, with none it is as uncertain as its prior says, and the test becomes timid.

**The test.** e = ∫ L(ratio) dπ(ratio > 1) / L(1). Under "no rise" its expectation is at most 1 at
any time that one stops (Ville's inequality: P(ever e ≥ 1/α) ≤ α), because L rises with the counts.

Source: M. Lindon, C. Sanden, V. Shirikian, "Rapid regression detection in software deployments
through sequential testing", arXiv 2205.14762 (counts by mixtures, canary beside control);
A. Ramdas, P. Grünwald, V. Vovk, G. Shafer, "Game-theoretic statistics and safe anytime-valid
inference", arXiv 2210.01948 (e-processes, Ville); negative binomial as gamma–Poisson mixture:
M. Greenwood, G. U. Yule, J. R. Stat. Soc. 83 (1920) 255–279.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vedette.stats.poisson import garwood

Floats = npt.NDArray[np.float64]

DEVICE_VARIANCE: Final = 1.0
DAY_VARIANCE: Final = 1.0
PRIOR_PAIRS: Final = 10.0
"""What is believed of the clustering before anything was seen, worth so many coincidences."""

DRIFT_VARIANCE: Final = 0.1
"""Relative variance by which a device's rate wanders between its past and now."""

COMMON_SIGMA: Final = 0.35
"""Standard deviation of the logarithm of `common` before the controls were seen."""

RISES: Final[Floats] = np.exp(np.linspace(math.log(1.3), math.log(32.0), 14))
"""Ratios that the test looks for, with equal weights."""

_RATIOS: Final[Floats] = np.exp(np.linspace(math.log(1 / 20), math.log(200.0), 120))
_LIKELY: Final[npt.NDArray[np.bool_]] = (_RATIOS > 0.5) & (_RATIOS < 1.5)
_PRIOR: Final[Floats] = np.log(0.5 / len(_RATIOS) + 0.5 * _LIKELY / _LIKELY.sum())
"""Of the intervals: half of it where good candidates are, because it is them that must pass."""

_COMMONS: Final = 41
_COMMON_WIDTH: Final = 6.0
_GRID_STEP: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Bad events of one kind, one row a device. All arrays float64, shape (n,), not negative.

    Attributes:
        taken: bool, (n,): runs the candidate.
        events_before, hours_before, days_before: In its past.
        squares_before: Sum over those days of the day's events squared.
        events, hours, days: Since then.
    """

    taken: npt.NDArray[np.bool_]
    events_before: Floats
    hours_before: Floats
    days_before: Floats
    squares_before: Floats
    events: Floats
    hours: Floats
    days: Floats


@dataclass(frozen=True)
class Spread:
    """How the counts of a fleet scatter: mean rate per hour, relative variances."""

    rate: float
    device: float
    day: float


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the counts say.

    Attributes:
        e_value: Against "no more frequent"; 1: nothing is known.
        ratio, low, high: Estimate and confidence sequence of the ratio at 1 - alpha, ends of the
            grid where nothing excludes them.
        rate, rate_high: Per covered camera-hour, of those that run the candidate, with its upper
            bound at 1 - alpha (for one look); infinite without any hours.
        seen, expected: Events on devices with the candidate, and how many no change would give.
        hours: Their covered camera-hours.
    """

    e_value: float
    ratio: float
    low: float
    high: float
    rate: float
    rate_high: float
    seen: float
    expected: float
    hours: float


def spread(counts: Counts) -> Spread:
    """Return how the fleet scattered in its past, drawn to what is believed where little was seen.

    With x events on a day, x² - x estimates (1 + day) (rate · h)² and the product of two different
    days estimates (rate · h)², so their quotient is 1 + day; likewise for devices against the mean
    of all. Pairs, and not squares, because the Poisson scatter falls out of them.
    """
    x, hours, days = counts.events_before, counts.hours_before, counts.days_before
    rate = (float(x.sum()) + 0.5) / max(float(hours.sum()), 1.0)
    several = days > 1
    x, hours, days, squares = (
        column[several] for column in (x, hours, days, counts.squares_before)
    )
    across = np.maximum(x * x - squares, 0.0)
    same_day = float((squares - x).sum())
    other_day = float((across / (days - 1)).sum())
    day = (same_day + PRIOR_PAIRS * (1 + DAY_VARIANCE)) / (other_day + PRIOR_PAIRS) - 1
    of_mean = float(((rate * hours) ** 2 * (days - 1) / days).sum())
    device = (float(across.sum()) + PRIOR_PAIRS * (1 + DEVICE_VARIANCE)) / (of_mean + PRIOR_PAIRS)
    return Spread(rate, max(device - 1, 0.05), max(day, 0.05))


def expected(counts: Counts, of: Spread) -> tuple[Floats, Floats]:
    """Return for each device how many events no change would give, and their relative variance."""
    a_day = of.rate * counts.hours_before / np.maximum(counts.days_before, 1.0)
    discount = 1 + of.day * a_day
    shape = 1 / of.device + counts.events_before / discount
    inverse_scale = 1 / (of.device * of.rate) + counts.hours_before / discount
    mean = shape / inverse_scale * counts.hours
    variance = 1 / shape + of.day / np.maximum(counts.days, 1.0) + DRIFT_VARIANCE
    return mean, variance


def judge(counts: Counts, of: Spread, alpha: float = 0.05) -> Judged:
    """Return what the counts say about the ratio of bad events, with and without the candidate.

    Args:
        counts: Of devices with the candidate and of controls over the same time.
        of: From the past of the same fleet.
        alpha: One minus the confidence of the intervals; the e-value does not depend on it.
    """
    mean, variance = expected(counts, of)
    has = counts.hours > 0
    on, off = has & counts.taken, has & ~counts.taken
    hours = float(counts.hours[on].sum())
    if hours == 0 or float(mean[on].sum()) == 0:
        nothing = float(_RATIOS[0]), float(_RATIOS[-1])
        return Judged(
            e_value=1.0, ratio=1.0, low=nothing[0], high=nothing[1], rate=0.0, rate_high=math.inf,
            seen=0.0, expected=0.0, hours=0.0,
        )  # fmt: skip
    log_common, weights = _common(_Side(counts.events[off], mean[off], variance[off]))
    side = _Side(counts.events[on], mean[on], variance[on])
    grid = side.on_grid(
        float(np.log(_RATIOS[0]) + log_common[0]), float(np.log(_RATIOS[-1]) + log_common[-1])
    )
    rises = _mixed(grid, np.log(RISES), log_common, weights)
    null = _mixed(grid, np.zeros(1), log_common, weights)[0]
    all_ratios = _mixed(grid, np.log(_RATIOS), log_common, weights)
    e_value = float(np.exp(np.minimum(_log_mean(rises) - null, 600.0)))
    inside = _not_excluded(all_ratios, alpha)
    before = float(mean[on].sum())
    seen = float(counts.events[on].sum())
    return Judged(
        e_value=e_value,
        ratio=float(_RATIOS[int(np.argmax(all_ratios))]),
        low=float(inside[0]),
        high=float(inside[-1]),
        rate=seen / hours,
        rate_high=_rate_high(counts, of, seen, hours, alpha),
        seen=seen,
        expected=before * float(np.exp(log_common) @ weights / weights.sum()),
        hours=hours,
    )


def _rate_high(counts: Counts, of: Spread, seen: float, hours: float, alpha: float) -> float:
    """Return the upper bound of the rate, without any comparison.

    Garwood's bound of as many clusters as the usual size makes of what was seen. Where bad events
    are rare a cluster is one event, so no event in many hours is a low rate even on two devices.
    """
    a_day = of.rate * float(counts.hours_before.sum()) / max(float(counts.days_before.sum()), 1.0)
    size = 1 + of.day * a_day
    high = garwood(math.ceil(seen / size), 1 - 2 * alpha)[1]
    return size * high / hours


class _Side:
    """The devices with, or without, the candidate: their likelihood by one common factor."""

    def __init__(self, events: Floats, mean: Floats, variance: Floats) -> None:
        self.events, self.mean, self.shape = events, mean, 1 / variance

    def log_likelihood(self, log_factors: Floats) -> Floats:
        """Return the log-likelihood, up to a constant, at each factor of the means."""
        means = self.mean * np.exp(log_factors)[:, None]
        tail = (self.events + self.shape) * np.log1p(means / self.shape)
        found: Floats = self.events.sum() * log_factors - tail.sum(axis=1)
        return found

    def slopes(self, log_factors: Floats) -> Floats:
        """Return its derivative there."""
        means = self.mean * np.exp(log_factors)[:, None]
        pull = (self.events + self.shape) * means / (self.shape + means)
        found: Floats = self.events.sum() - pull.sum(axis=1)
        return found

    def on_grid(self, low: float, high: float) -> tuple[Floats, Floats, Floats]:
        """Return a grid of log factors with values and slopes, to interpolate between."""
        steps = max(2, math.ceil((high - low) / _GRID_STEP) + 1)
        at = np.linspace(low, high, steps)
        return at, self.log_likelihood(at), self.slopes(at)


def _common(controls: _Side) -> tuple[Floats, Floats]:
    """Return log factors common to all, and the weight of each: prior times controls' likelihood.

    The points lie around the mode (Newton's method; the sum is concave enough within the prior),
    six standard deviations to both sides, so that thousands of controls are resolved too.
    """
    mode = np.zeros(1)
    precision = 1 / COMMON_SIGMA**2
    for _ in range(30):
        slope = controls.slopes(mode)[0] - mode[0] / COMMON_SIGMA**2
        means = controls.mean * math.exp(mode[0])
        bend = (controls.events + controls.shape) * controls.shape * means
        precision = float((bend / (controls.shape + means) ** 2).sum()) + 1 / COMMON_SIGMA**2
        step = float(np.clip(slope / precision, -0.5, 0.5))
        mode = mode + step
        if abs(step) < 1e-9:
            break
    width = _COMMON_WIDTH / math.sqrt(precision)
    at: Floats = float(mode[0]) + width * np.linspace(-1.0, 1.0, _COMMONS, dtype=np.float64)
    log_weights: Floats = controls.log_likelihood(at) - at * at / (2 * COMMON_SIGMA**2)
    return at, np.exp(log_weights - log_weights.max())


def _mixed(
    grid: tuple[Floats, Floats, Floats], log_ratios: Floats, log_common: Floats, weights: Floats
) -> Floats:
    """Return the log-likelihood at each ratio, integrated over what is common to all."""
    values = _between(grid, log_ratios[:, None] + log_common)
    highest = values.max(axis=1)
    found: Floats = np.log(np.exp(values - highest[:, None]) @ weights) + highest
    return found


def _between(grid: tuple[Floats, Floats, Floats], wanted: Floats) -> Floats:
    """Return values between grid points by cubic Hermite interpolation."""
    at, values, slopes = grid
    step = at[1] - at[0]
    left = np.clip(((wanted - at[0]) / step).astype(np.int64), 0, len(at) - 2)
    t = (wanted - at[left]) / step
    rest = 1 - t
    found: Floats = rest * rest * ((1 + 2 * t) * values[left] + t * step * slopes[left]) + t * t * (
        (3 - 2 * t) * values[left + 1] - rest * step * slopes[left + 1]
    )
    return found


def _not_excluded(logs: Floats, alpha: float) -> Floats:
    """Return the ratios of the confidence sequence: those that no mixture beats by 1 / alpha.

    Source: A. Wald, "Sequential Analysis", 1947, and arXiv 2210.01948: for the true ratio the
    quotient of mixture and likelihood is a test martingale, whatever the mixture's weights.
    """
    beaten = _log_mean(logs + _PRIOR + math.log(len(logs)))
    found: Floats = _RATIOS[beaten - logs < -math.log(alpha)]
    return found


def _log_mean(logs: Floats) -> float:
    """Return the logarithm of the mean of what these are logarithms of."""
    highest = float(logs.max())
    return highest + math.log(float(np.exp(logs - highest).mean()))
