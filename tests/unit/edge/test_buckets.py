"""When a batch starts: full, or just in time, and never by waiting for everybody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.clock import NS_PER_MS
from vedette.edge.buckets import SAFETY, SLACK_MS, Buckets


def test_a_full_batch_starts_at_once() -> None:
    """However far the deadline is."""
    buckets = Buckets([1, 4])
    buckets.ran(4, 30.0)
    assert buckets.decide(4, 10**12, 0) == (4, 0)
    assert buckets.decide(9, 10**12, 0) == (4, 0)


def test_a_batch_waits_until_its_time_is_just_enough() -> None:
    """The start is the deadline less the predicted time of the size that it will have."""
    buckets = Buckets([1, 2, 4])
    buckets.ran(4, 40.0)
    start_ns = round((500 - 40 * SAFETY - SLACK_MS) * NS_PER_MS)
    assert buckets.decide(3, 500 * NS_PER_MS, 0) == (0, start_ns)
    assert buckets.decide(3, 500 * NS_PER_MS, start_ns) == (3, start_ns)


def test_what_is_not_known_is_learnt_by_doing() -> None:
    """The first batch of a size does not wait; the estimate then follows slowly."""
    buckets = Buckets([2])
    assert buckets.decide(1, 10**12, 0) == (1, 0)
    buckets.ran(2, 10.0)
    buckets.ran(2, 20.0)
    assert buckets.predicted_ms(2) == pytest.approx(12.0)


@given(st.sets(st.integers(1, 64), min_size=1), st.integers(1, 80))
def test_a_size_holds_what_is_in_it(sizes: set[int], count: int) -> None:
    """The smallest that holds all; the largest where there are more than it holds."""
    fit = Buckets(sorted(sizes)).fit(count)
    assert fit in sizes
    assert fit == max(sizes) or fit >= count
    assert not any(count <= size < fit for size in sizes)


def test_no_size_is_refused() -> None:
    """A bucket of nothing is a mistake."""
    with pytest.raises(ValueError, match="at least one"):
        Buckets([])
    with pytest.raises(ValueError, match="at least one"):
        Buckets([0, 2])
