"""Intervals of a rate: exact against another implementation, honest with little."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vedette.stats.poisson import garwood


@pytest.mark.parametrize("events", [0, 1, 2, 5, 17, 100, 1_234, 50_000])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_the_interval_is_garwoods(events, confidence):
    """The same bounds as half of chi-square's quantiles."""
    tail = (1 - confidence) / 2
    low = stats.chi2.ppf(tail, 2 * events) / 2 if events else 0.0
    high = stats.chi2.ppf(1 - tail, 2 * events + 2) / 2
    assert garwood(events, confidence) == pytest.approx((low, high), rel=1e-8, abs=1e-12)


def test_no_event_says_only_how_many_there_are_at_most():
    """The rule of three: nothing seen is compatible with 3.7 expected (95 %, two-sided)."""
    low, high = garwood(0)
    assert low == 0.0
    assert high == pytest.approx(3.688879, rel=1e-6)


@given(st.integers(0, 2_000), st.floats(0.5, 0.999))
def test_the_interval_holds_what_was_seen_and_grows_with_it(events, confidence):
    """The count itself is inside; one more event moves both bounds up."""
    low, high = garwood(events, confidence)
    assert low <= events < high
    more = garwood(events + 1, confidence)
    assert more[0] > low
    assert more[1] > high


@pytest.mark.parametrize(("events", "confidence"), [(-1, 0.9), (10**9, 0.9), (1, 0.0), (1, 1.0)])
def test_counts_that_cannot_be_are_refused(events, confidence):
    """No silent nonsense."""
    with pytest.raises(ValueError, match="no count"):
        garwood(events, confidence)
