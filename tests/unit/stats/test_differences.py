"""Differences by device: the right quantiles, intervals that hold from two devices on."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vedette.stats.differences import difference, student_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 7, 30, 1_000, 20_000])
@pytest.mark.parametrize("share", [0.6, 0.9, 0.95, 0.99, 0.9999])
def test_the_quantile_is_students(share, freedom):
    """The same as another implementation's."""
    assert student_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-6)


@pytest.mark.parametrize(
    ("taken", "controls"), [([], [1.0, 2.0]), ([3.0], []), ([3.0, 4.0], [1.0])]
)
def test_fewer_than_two_of_a_side_have_no_interval(taken, controls):
    """One device has no scatter, so nothing can be said about how far it may be off."""
    assert difference(taken, controls) is None


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 18), (5, 5), (10, 3)])
def test_an_end_of_the_interval_is_wrong_at_most_as_often_as_it_says(n, m):
    """Without a change the lower end is above zero in at most 5 of 100 cases, also for two."""
    rng = random.Random(n * 100 + m)
    wrong = sum(
        found.low > 0
        for _ in range(800)
        if (
            found := difference(
                [rng.gauss(3, 5) for _ in range(n)], [rng.gauss(3, 1) for _ in range(m)]
            )
        )
    )
    assert wrong / 800 < 0.072


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12),
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12),
    st.floats(-1e3, 1e3),
)
def test_what_all_devices_have_in_common_falls_out(taken, controls, common):
    """A change on both sides is no difference."""
    one = difference(taken, controls)
    two = difference([t + common for t in taken], [c + common for c in controls])
    assert one is not None
    assert two is not None
    assert two.value == pytest.approx(one.value, abs=1e-6)
    assert one.low <= one.value <= one.high


@pytest.mark.parametrize("confidence", [0.0, 0.5, 1.0, 7.0])
def test_a_confidence_that_cannot_be_is_refused(confidence):
    """No silent nonsense."""
    with pytest.raises(ValueError, match="no confidence"):
        difference([1.0, 2.0], [1.0, 2.0], confidence)
