"""The incomplete beta function, its inverse, and Student's t: what bounds of a share are made of.

Pure arithmetic, no SciPy: a workbench and a device have the same numbers. The rule: everything
takes real arguments, because an effective number of trials is seldom a whole one.
"""

import math
from functools import lru_cache
from typing import Final

_TERMS: Final = 20_000
_EPSILON: Final = 1e-14
_TINY: Final = 1e-300
_STEPS: Final = 200
_CLOSE: Final = 1e-12


def incomplete(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    It is the chance that a beta variable is at most `x`. `a` and `b` are above zero.

    Source: NIST Digital Library of Mathematical Functions, 8.17.22 (continued fraction, by Lentz's
    method) and 8.17.4 (I_x(a, b) = 1 - I_{1-x}(b, a)), whichever converges.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _fraction(b, a, 1 - x)
    return _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    """Return I_x(a, b) by its continued fraction; `x` is not far above the mean."""
    whole = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(whole + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1) or _TINY)
    found = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d or _TINY)
            c = 1.0 + term / c or _TINY
            found *= c * d
        if abs(c * d - 1.0) < _EPSILON:
            break
    return min(1.0, front * found)


def quantile(share: float, a: float, b: float) -> float:
    """Return the `x` at which I_x(a, b) is `share`, 0 to 1: Newton's method kept in a bracket."""
    low, high = 0.0, 1.0
    x = a / (a + b)
    whole = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(_STEPS):
        away = incomplete(a, b, x) - share
        low, high = (x, high) if away < 0 else (low, x)
        if high - low < _CLOSE:
            break
        slope = math.exp(min(whole + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x), 700.0))
        step = x - away / slope if slope > 0 else -1.0
        new = step if low < step < high else (low + high) / 2
        if abs(new - x) < _CLOSE:
            return new
        x = new
    return (low + high) / 2


@lru_cache(maxsize=4096)
def student_t(confidence: float, degrees: float) -> float:
    """Return the one-sided quantile of Student's t: so much is exceeded once in 1/(1-confidence).

    Args:
        confidence: Above one half.
        degrees: Degrees of freedom, above zero.

    Source: NIST Digital Library of Mathematical Functions, 8.17(i): the tail of t with ν degrees
    is half of I_x(ν/2, 1/2) at x = ν / (ν + t²).
    """
    x = quantile(2 * (1 - confidence), degrees / 2, 0.5)
    return math.sqrt(degrees * (1 - x) / x) if x > 0 else math.inf
