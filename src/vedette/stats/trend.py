"""Whether a series rises, and how fast: robust against outliers, steps and ties.

Here: the Theil–Sen slope and the Mann–Kendall test with the variance corrected for
autocorrelation. Not here: what is done about a trend (`edge.health.memory`). The rule: no shape of
the noise is assumed, and a series that remembers itself must show more before it is believed.

Source: H. Theil, "A rank-invariant method of linear and polynomial regression analysis", 1950;
P. K. Sen, JASA 63 (1968) 1379–1389; H. B. Mann, Econometrica 13 (1945) 245–259; M. G. Kendall,
"Rank Correlation Methods", 1975; K. H. Hamed and A. R. Rao, "A modified Mann–Kendall trend test for
autocorrelated data", Journal of Hydrology 204 (1998) 182–196.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import Final

LEAST: Final = 8
"""Fewer points show no trend: the normal approximation of the test begins about here."""

_TWO_SIDED_5_PERCENT: Final = 1.96


def theil_sen(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the median of the slopes between all pairs of points, in values per unit of time.

    Cost: quadratic in the number of points; meant for a hundred of them.

    Raises:
        ValueError: Different lengths, or no two points at different times.
    """
    slopes = [
        (later - earlier) / (t_later - t_earlier)
        for (t_earlier, earlier), (t_later, later) in combinations(
            zip(times, values, strict=True), 2
        )
        if t_later != t_earlier
    ]
    if not slopes:
        raise ValueError("no two points at different times")
    return median(slopes)


def mann_kendall(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the two-sided p-value of "there is no monotonic trend"; 1 for fewer than `LEAST`.

    The variance is enlarged where the detrended ranks correlate with themselves (Hamed and Rao);
    it is never made smaller, so a series that swings is judged as if it did not.

    Raises:
        ValueError: Different lengths.
    """
    if len(times) != len(values):
        raise ValueError("as many times as values")
    count = len(values)
    if count < LEAST:
        return 1.0
    score = sum(_sign(later - earlier) for earlier, later in combinations(values, 2))
    ties = sum(t * (t - 1) * (2 * t + 5) for t in Counter(values).values() if t > 1)
    variance = (count * (count - 1) * (2 * count + 5) - ties) / 18
    variance *= _inflation(times, values)
    if score == 0 or variance <= 0:
        return 1.0
    z = (abs(score) - 1) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def _inflation(times: Sequence[float], values: Sequence[float]) -> float:
    """Return by how much autocorrelation enlarges the variance of the score; at least 1."""
    count = len(values)
    slope = theil_sen(times, values)
    ranks = _ranks([value - slope * time for time, value in zip(times, values, strict=True)])
    mean = sum(ranks) / count
    power = sum((rank - mean) ** 2 for rank in ranks)
    if power == 0:
        return 1.0
    total = 0.0
    for lag in range(1, count - 2):
        shared = sum((a - mean) * (b - mean) for a, b in zip(ranks, ranks[lag:], strict=False))
        correlation = shared / power
        if abs(correlation) > _TWO_SIDED_5_PERCENT / math.sqrt(count):
            weight = (count - lag) * (count - lag - 1) * (count - lag - 2)
            total += weight * correlation
    return max(1.0, 1 + 2 * total / (count * (count - 1) * (count - 2)))


def _ranks(values: Sequence[float]) -> list[float]:
    """Return each value's rank from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for position in range(start, end + 1):
            ranks[order[position]] = (start + end) / 2 + 1
        start = end + 1
    return ranks


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
