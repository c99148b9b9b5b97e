"""The sketches: an exact grid, exact merges, bounded error, hostile input refused."""

import math
import random
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.errors import MalformedReport
from vedette.stats.sketch import (
    MAX_COUNT,
    MAX_EXPONENT,
    MIN_EXPONENT,
    ExpHistogram,
    LinearBins,
    bucket_index,
)
from vedette.wire import codec
from vedette.wire.messages import Bins, Histogram

observations = st.floats(min_value=0.0, max_value=1e9, allow_nan=False)
in_range = st.floats(
    min_value=2.0**MIN_EXPONENT, max_value=2.0**MAX_EXPONENT, exclude_min=True, allow_nan=False
)
scores = st.floats(min_value=0.0, max_value=1.0)


def sketch_of(values: list[float], scale: int = 5) -> ExpHistogram:
    """Return a sketch that counted `values`."""
    sketch = ExpHistogram(scale)
    sketch.add_many(values)
    return sketch


def bins_of(values: list[float], n: int = 50) -> LinearBins:
    """Return bins that counted `values`."""
    bins = LinearBins(n)
    bins.add_many(values)
    return bins


@given(in_range, st.integers(0, 8))
def test_index_is_exact_in_rational_arithmetic(value: float, scale: int) -> None:
    """2^i < value^(2^scale) <= 2^(i+1), checked without any rounding."""
    index = bucket_index(value, scale)
    assert index is not None
    power = Fraction(value) ** (1 << scale)
    assert Fraction(2) ** index < power <= Fraction(2) ** (index + 1)


@pytest.mark.parametrize("k", range(-20, 40))
def test_powers_of_two_belong_to_the_bucket_below(k: int) -> None:
    """The grid's upper bounds are inclusive, as OpenTelemetry's are."""
    if k > MIN_EXPONENT:
        assert bucket_index(2.0**k) == k * 32 - 1
    assert bucket_index(math.nextafter(2.0**k, math.inf)) == k * 32


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 2.2e-308, 2.0**-20, -3.0, -1e300])
def test_nothing_and_less_than_nothing_are_zero(value: float) -> None:
    """Subnormals, zero and clock steps backwards end in the zero bucket."""
    sketch = sketch_of([value])
    assert bucket_index(value) is None
    assert (sketch.count, sketch.quantile(1.0)) == (1, 0.0)
    assert sketch.sum >= 0.0


def test_values_above_the_range_stay_in_the_last_bucket() -> None:
    """The number of buckets is bounded whatever is observed."""
    last = MAX_EXPONENT * 32 - 1
    assert bucket_index(2.0**MAX_EXPONENT) == last
    assert bucket_index(1.7e308) == last
    wire = sketch_of([2.0**-19.99, 1.7e308]).to_wire()
    assert len(wire.counts) == 1920


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_observation_is_refused(value: float) -> None:
    """NaN and infinity never poison a sum."""
    with pytest.raises(ValueError, match="not an observation"):
        ExpHistogram().add(value)


@given(st.lists(observations), st.lists(observations), st.lists(observations))
def test_merge_is_exact_associative_and_commutative(
    a: list[float], b: list[float], c: list[float]
) -> None:
    """Any order and grouping equals one sketch that saw everything, sum included."""
    whole = sketch_of(a + b + c)
    left = sketch_of(a)
    left.merge(sketch_of(b))
    left.merge(sketch_of(c))
    tail = sketch_of(c)
    tail.merge(sketch_of(b))
    tail.merge(sketch_of(a))
    assert left == whole
    assert tail == whole
    assert left.to_wire() == whole.to_wire() == tail.to_wire()


@given(st.lists(observations), st.lists(observations), st.integers(0, 8), st.integers(0, 8))
def test_merging_scales_gives_the_coarser_one(
    a: list[float], b: list[float], scale_a: int, scale_b: int
) -> None:
    """A finer sketch coarsens exactly, in either order."""
    one, two = sketch_of(a, scale_a), sketch_of(b, scale_b)
    one.merge(sketch_of(b, scale_b))
    two.merge(sketch_of(a, scale_a))
    assert one == two == sketch_of(a + b, min(scale_a, scale_b))


@given(st.lists(in_range, min_size=1), st.floats(0.0, 1.0))
def test_quantile_error_is_bounded(values: list[float], q: float) -> None:
    """A quantile is within half a bucket of the order statistic it stands for."""
    found = sketch_of(values).quantile(q)
    true = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    assert found is not None
    assert abs(math.log2(found) - math.log2(true)) <= 1 / 64 + 1e-9


def test_empty_has_no_quantile_and_no_mean() -> None:
    """No data is not zero."""
    sketch = ExpHistogram()
    assert (sketch.quantile(0.5), sketch.mean, sketch.count, sketch.sum) == (None, None, 0, 0.0)
    assert LinearBins(4).quantile(0.5) is None


def test_quantile_asked_outside_is_refused() -> None:
    """95 is not 0.95."""
    with pytest.raises(ValueError, match="within 0 to 1"):
        sketch_of([1.0]).quantile(95)


@given(st.lists(st.floats(0.0, 1e6), max_size=1000), st.integers(0, 8))
def test_wire_round_trip_is_the_same_sketch(values: list[float], scale: int) -> None:
    """Through real msgpack bytes and back nothing changes."""
    sketch = sketch_of(values, scale)
    data = codec.encode(sketch.to_wire())
    assert ExpHistogram.from_wire(codec.decode(data, Histogram)) == sketch


@pytest.mark.parametrize(
    "attack",
    [
        Histogram(scale=-1),
        Histogram(scale=9),
        Histogram(scale=10**9, counts=[1]),
        Histogram(zero=-1),
        Histogram(counts=[1, -1, 1]),
        Histogram(offset=10**12, counts=[1]),
        Histogram(offset=-(10**12), counts=[1]),
        Histogram(offset=40 * 32, counts=[1]),
        Histogram(offset=40 * 32 - 1, counts=[1, 0]),
        Histogram(offset=-20 * 32 - 1, counts=[1]),
        Histogram(counts=[0] * 100_000),
        Histogram(zero=2**63, sum=1.0),
        Histogram(counts=[MAX_COUNT, 1], sum=1.0),
        Histogram(zero=1, sum=math.nan),
        Histogram(zero=1, sum=math.inf),
        Histogram(zero=1, sum=-1.0),
        Histogram(zero=1, sum=1e300),
        Histogram(sum=5.0),
    ],
)
def test_hostile_histogram_is_refused(attack: Histogram) -> None:
    """Nothing that could not have been counted is believed."""
    with pytest.raises(MalformedReport):
        ExpHistogram.from_wire(attack)


def test_limits_of_the_grid_are_accepted() -> None:
    """The first and the last bucket are inside."""
    first = ExpHistogram.from_wire(Histogram(offset=-20 * 32, counts=[1], sum=1e-6))
    last = ExpHistogram.from_wire(Histogram(offset=40 * 32 - 1, counts=[1], sum=1e12))
    assert first.count == last.count == 1


def test_copy_shares_nothing() -> None:
    """A copy stands still while the original goes on."""
    sketch = sketch_of([1.0])
    other = sketch.copy()
    sketch.add(2.0)
    assert (other.count, sketch.count) == (1, 2)


def test_counting_n_times_is_adding_n_times() -> None:
    """`n` is a short cut and cannot be negative."""
    sketch = ExpHistogram()
    sketch.add(3.3, n=7)
    sketch.add(4.4, n=0)
    assert sketch == sketch_of([3.3] * 7)
    with pytest.raises(ValueError, match="back"):
        sketch.add(1.0, n=-1)


def test_sum_does_not_drift_over_a_million_observations() -> None:
    """Whole quanta add without rounding."""
    sketch = ExpHistogram()
    sketch.add(0.1, n=1_000_000)
    assert sketch.sum == pytest.approx(100_000.0, rel=1e-5)
    parts = ExpHistogram()
    for _ in range(1000):
        part = ExpHistogram()
        part.add(0.1, n=1000)
        parts.merge(part)
    assert parts.sum == sketch.sum


@given(st.lists(scores), st.lists(scores), st.lists(scores))
def test_bins_merge_exactly(a: list[float], b: list[float], c: list[float]) -> None:
    """Any order and grouping equals bins that saw everything."""
    left, right = bins_of(a), bins_of(c)
    left.merge(bins_of(b))
    left.merge(bins_of(c))
    right.merge(bins_of(b))
    right.merge(bins_of(a))
    assert left == right == bins_of(a + b + c)


@given(scores, st.integers(1, 64))
def test_every_score_has_one_bin(value: float, n: int) -> None:
    """Both ends of [0, 1] belong somewhere, and the bin is the right one."""
    bins = bins_of([value], n)
    at = bins.counts.index(1)
    assert bins.count == 1
    assert at / n <= value + 1e-12
    assert value - 1e-12 <= (at + 1) / n


def test_scores_a_little_outside_are_clipped_and_nan_refused() -> None:
    """A float32 just above 1 is 1; NaN is nothing."""
    assert bins_of([1.0000001, -0.1, math.inf], 4).counts == (1, 0, 0, 2)
    with pytest.raises(ValueError, match="not an observation"):
        LinearBins(4).add(math.nan)


def test_bins_of_other_sizes_do_not_merge() -> None:
    """50 bins of confidence are never mixed with 32 of entropy."""
    with pytest.raises(ValueError, match="cannot merge"):
        LinearBins(50).merge(LinearBins(32))


@pytest.mark.parametrize(
    ("attack", "n"),
    [
        (Bins(counts=[]), None),
        (Bins(counts=[1] * 49), 50),
        (Bins(counts=[1] * 51), 50),
        (Bins(counts=[1, -1]), 2),
        (Bins(counts=[2**62, 1]), 2),
    ],
)
def test_hostile_bins_are_refused(attack: Bins, n: int | None) -> None:
    """Wrong lengths and impossible counts never reach a rollup."""
    with pytest.raises(MalformedReport):
        LinearBins.from_wire(attack, n)


def test_fractions_are_refused_by_the_codec_before_the_sketch() -> None:
    """Half an observation cannot arrive: the struct's type forbids it."""
    data = msgspec.msgpack.encode({"counts": [0.5]})
    with pytest.raises(MalformedReport):
        codec.decode(data, Bins)


def test_bins_round_trip_and_quantile() -> None:
    """What was sent is what was counted."""
    numbers = random.Random(4)
    bins = bins_of([numbers.random() for _ in range(1000)])
    assert LinearBins.from_wire(bins.to_wire(), 50) == bins
    assert bins.quantile(0.5) == pytest.approx(0.5, abs=0.06)
    assert LinearBins.from_wire(Bins(counts=[0, 1])).quantile(0.0) == 0.75
