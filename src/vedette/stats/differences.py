"""Whether a metric got worse: before and after on each device, minus the same on controls.

The rule: the device is the unit. A thousand readings of one device are one difference; pooling them
calls every correlated metric a regression. What is not known about two devices stays not known.

Source: difference in differences: O. Ashenfelter, D. Card, Rev. Econ. Stat. 67 (1985) 648–660;
clusters as units: M. Bertrand, E. Duflo, S. Mullainathan, Q. J. Econ. 119 (2004) 249–275; two
variances: B. L. Welch, Biometrika 34 (1947) 28–35, with the smaller group's degrees of freedom,
which never gives too short an interval: P. L. Hsu, Statist. Res. Mem. 2 (1938) 1–24; H. Scheffé,
J. Am. Stat. Assoc. 65 (1970) 1501–1508.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, variance
from typing import Final

_HALVINGS: Final = 100
_TERMS: Final = 500
_EPSILON: Final = 1e-14


@dataclass(frozen=True)
class Difference:
    """What the candidate changed.

    Attributes:
        value: Mean change of the devices with it, minus that of the controls.
        low, high: Each end holds by itself at the confidence that was asked for.
        taken, controls: How many devices of each; 0 controls: only before and after.
    """

    value: float
    low: float
    high: float
    taken: int
    controls: int


def difference(
    taken: Sequence[float], controls: Sequence[float], confidence: float = 0.95
) -> Difference | None:
    """Return what changed on devices with the candidate beyond what changed on the controls.

    Fewer than two of either side have no interval: None. Without controls at all it is only before
    and after, and whoever asks has to know whether that is enough.

    Args:
        taken: After minus before, one number a device.
        controls: Likewise.
        confidence: Of each end by itself, 0.5 to 1.

    Raises:
        ValueError: A confidence that cannot be.
    """
    if not 0.5 < confidence < 1:
        raise ValueError(f"no confidence: {confidence}")
    if len(taken) < 2 or len(controls) == 1:
        return None
    value = fmean(taken)
    square = variance(taken) / len(taken)
    freedom = len(taken) - 1
    if controls:
        value -= fmean(controls)
        square += variance(controls) / len(controls)
        freedom = min(freedom, len(controls) - 1)
    reach = student_quantile(confidence, freedom) * math.sqrt(square)
    return Difference(value, value - reach, value + reach, len(taken), len(controls))


@lru_cache(maxsize=4096)
def student_quantile(share: float, freedom: int) -> float:
    """Return below what Student's t has `share` of its probability, 0.5 to 1.

    Source: NIST Digital Library of Mathematical Functions, 8.17: the tail is half the regularised
    incomplete beta function at freedom / (freedom + t²).
    """
    tail = 2 * (1 - share)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        if _incomplete_beta(freedom / 2, 0.5, middle) < tail:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom * (1 - high) / high)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function (DLMF 8.17.22, by Lentz's method)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x > (a + 1) / (a + b + 2):
        return 1 - front * _fraction(b, a, 1 - x) / b
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d or tiny)
    found = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for part in (even, odd):
            d = 1 / ((1 + part * d) or tiny)
            c = (1 + part / c) or tiny
            step = d * c
            found *= step
        if abs(step - 1) < _EPSILON:
            break
    return found
