"""How sure a rate is that was counted: confidence intervals of events over an exposure.

Pure arithmetic, no SciPy. The rule: no event is evidence too. It gives a rate of zero with an upper
bound that depends on how long was looked at, and no exposure gives no rate at all.
"""

import math
from functools import lru_cache
from typing import Final

_HALVINGS: Final = 80
_TERMS: Final = 10_000
_EPSILON: Final = 1e-15
MAX_EVENTS: Final = 10_000_000


def garwood(events: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of the mean of a Poisson count of which one was seen.

    Divided by the exposure it is the interval of the rate.

    Args:
        events: 0 to 10 million.
        confidence: Least probability with which the interval holds the true mean.

    Raises:
        ValueError: A count or confidence that cannot be.

    Source: F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28, 1936: half
    the quantiles of chi-square with 2n and 2n + 2 degrees of freedom, which are the means at which
    the tail beyond what was seen is half of what is left.
    """
    if not 0 <= events <= MAX_EVENTS or not 0 < confidence < 1:
        raise ValueError(f"no count: {events} at {confidence}")
    tail = (1 - confidence) / 2
    low = 0.0 if events == 0 else _gamma_quantile(events, tail)
    return low, _gamma_quantile(events + 1, 1 - tail)


@lru_cache(maxsize=4096)  # gates ask for the same few counts in every turn
def _gamma_quantile(shape: int, share: float) -> float:
    """Return where the gamma distribution of this shape (scale 1) has `share` below it."""
    low, high = 0.0, shape + 40.0 * math.sqrt(shape) + 40.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _lower_gamma(shape, middle) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _lower_gamma(shape: int, x: float) -> float:
    """Return the regularised lower incomplete gamma function P(shape, x).

    Source: NIST Digital Library of Mathematical Functions, 8.11.4 (series, below the mean) and
    8.9.2 (continued fraction, above it, by Lentz's method).
    """
    if x <= 0:
        return 0.0
    weight = math.exp(shape * math.log(x) - x - math.lgamma(shape + 1))
    if x < shape + 1:
        term = total = 1.0
        for k in range(1, _TERMS):
            term *= x / (shape + k)
            total += term
            if term < total * _EPSILON:
                break
        return min(1.0, weight * total)
    return max(0.0, 1.0 - weight * shape * _upper_fraction(shape, x))


def _upper_fraction(shape: int, x: float) -> float:
    """Return the continued fraction of the upper incomplete gamma function."""
    tiny = 1e-300
    b = x + 1.0 - shape
    c = 1.0 / tiny
    d = 1.0 / (b or tiny)
    found = d
    for i in range(1, _TERMS):
        a = -i * (i - shape)
        b += 2.0
        d = 1.0 / (a * d + b or tiny)
        c = b + a / c or tiny
        step = d * c
        found *= step
        if abs(step - 1.0) < _EPSILON:
            break
    return found
