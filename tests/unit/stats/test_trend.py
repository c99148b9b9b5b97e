"""Whether a series rises: known answers, agreement with scipy, and few false alarms."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.stats.trend import mann_kendall, theil_sen

VALUES = st.lists(st.integers(-50, 50).map(float), min_size=8, max_size=30)


def test_one_wild_point_does_not_move_the_slope():
    """Least squares would follow it; the median of all slopes does not."""
    values = [2.0 * t for t in range(20)]
    values[7] = 1e6
    assert theil_sen(range(20), values) == pytest.approx(2.0)


def test_a_steady_rise_is_a_trend_and_a_constant_is_none():
    """Twenty rising points cannot be chance; twenty equal ones say nothing."""
    assert mann_kendall(range(20), [0.1 * t for t in range(20)]) < 1e-6
    assert mann_kendall(range(20), [5.0] * 20) == 1.0


def test_too_few_points_show_nothing():
    """Seven rising points are not enough for the normal approximation."""
    assert mann_kendall(range(7), [float(t) for t in range(7)]) == 1.0
    with pytest.raises(ValueError, match="different times"):
        theil_sen([1.0], [1.0])
    with pytest.raises(ValueError, match="as many"):
        mann_kendall([1.0], [])


@given(values=VALUES)
def test_slope_and_p_value_agree_with_scipy(values):
    """Where the noise does not remember itself the two are the textbook's."""
    stats = pytest.importorskip("scipy.stats")
    times = [float(t) for t in range(len(values))]
    assert theil_sen(times, values) == pytest.approx(stats.theilslopes(values, times)[0], abs=1e-9)
    score = sum(
        (values[j] > values[i]) - (values[j] < values[i])
        for i in range(len(values))
        for j in range(i + 1, len(values))
    )
    n = len(values)
    ties = sum(t * (t - 1) * (2 * t + 5) for t in (values.count(v) for v in set(values)))
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    plain = 1.0
    if score and variance:
        plain = math.erfc((abs(score) - 1) / math.sqrt(variance) / math.sqrt(2))
    assert mann_kendall(times, values) >= plain - 1e-12, "the correction only ever asks for more"


@given(values=VALUES)
def test_a_series_and_its_mirror_are_judged_alike(values):
    """Falling is as significant as rising; only the slope's sign differs."""
    times = [float(t) for t in range(len(values))]
    mirrored = [-v for v in values]
    assert mann_kendall(times, values) == pytest.approx(mann_kendall(times, mirrored))
    assert theil_sen(times, mirrored) == pytest.approx(-theil_sen(times, values))


def test_noise_that_remembers_itself_must_show_more():
    """The correction makes wandering series far less often 'significant' than the plain test."""
    rng = random.Random(4)
    alarms = 0
    for _ in range(60):
        value, values = 0.0, []
        for _ in range(60):
            value = 0.8 * value + rng.gauss(0, 1)
            values.append(value)
        alarms += mann_kendall(range(60), values) < 0.01
    assert alarms <= 6
