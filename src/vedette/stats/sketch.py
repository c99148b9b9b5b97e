"""Sketches: distributions of fixed size that merge exactly.

Here: `ExpHistogram` for latencies, durations and sizes, `LinearBins` for scores between 0 and 1.
Not here: anything that decides on a distribution (that is change detection and drift).

The rule: merging is addition of integers and nothing else. A minute merged into an hour, or camera
into fleet, in any order and grouping, gives the very same counts as adding every observation to
one sketch. The sum is kept in whole quanta of 2^-20 for the same reason: adding floats is not
associative (on the wire it is a double, exact up to 2^33 and to 16 digits beyond). What comes from
the wire is checked before it is believed.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from functools import cache
from itertools import accumulate
from typing import Final, Self

from vedette.errors import MalformedReport
from vedette.wire.messages import Bins, Histogram

SCALE: Final = 5
"""Buckets grow by 2^(1/32): a quantile is at most 1.1 % away from the observation it stands for."""

MIN_EXPONENT: Final = -20
"""Observations at or below 2^-20 (of a millisecond: one nanosecond) count as zero."""

MAX_EXPONENT: Final = 40
"""Observations above 2^40 count in the last bucket: 35 years in milliseconds, 1 TiB in bytes."""

MAX_SCALE: Final = 8
"""Finest grid that is accepted; a sketch never has more than 60 × 2^scale buckets."""

MAX_COUNT: Final = 2**53
"""Most observations that one sketch from the wire may claim: exact as a double everywhere."""

_QUANTUM: Final = 2.0**-20
_TOP: Final = 2.0**MAX_EXPONENT


@cache
def _inner_bounds(scale: int) -> tuple[float, ...]:
    """Return, for k in 0..2^scale-1, the largest double not above 2^(k/2^scale) / 2.

    A double x of mantissa [0.5, 1) is at or below the true, mostly irrational boundary exactly
    where it is at or below this one. The integer square root, taken `scale` times, is the floor
    of the 2^scale-th root, so no rounding of `pow` or `log` is involved.
    """
    bounds: list[float] = []
    for k in range(1 << scale):
        root = 1 << ((52 << scale) + k)
        for _ in range(scale):
            root = math.isqrt(root)
        bounds.append(math.ldexp(root, -53))
    return tuple(bounds)


def bucket_index(value: float, scale: int = SCALE) -> int | None:
    """Return i such that 2^(i/2^scale) < value <= 2^((i+1)/2^scale); None for the zero bucket.

    Exact for every double: subnormals, zero and negative values are in the zero bucket, values
    above 2^40 in the last one.

    Raises:
        ValueError: NaN or infinity.

    Source: OpenTelemetry metrics data model, exponential histogram (upper-inclusive buckets).
    """
    if not math.isfinite(value):
        raise ValueError(f"not an observation: {value}")
    if value <= 2.0**MIN_EXPONENT:
        return None
    if value > 2.0**MAX_EXPONENT:
        return (MAX_EXPONENT << scale) - 1
    mantissa, exponent = math.frexp(value)
    return ((exponent - 1) << scale) + bisect_left(_inner_bounds(scale), mantissa) - 1


class ExpHistogram:
    """An exponential histogram of non-negative observations, with a bounded number of buckets.

    Buckets are the OpenTelemetry / Prometheus native-histogram grid. The range is fixed, from
    2^-20 to 2^40, so the number of buckets is at most 60 × 2^scale (1,920 at scale 5) and no
    observation ever changes the grid: below the range counts as zero, above it as 2^40.
    Negative observations (a clock stepped back) count as zero and add nothing to the sum.

    Thread: confined to one thread.
    """

    __slots__ = ("_counts", "_quanta", "_scale", "_zero")

    def __init__(self, scale: int = SCALE) -> None:
        """Make an empty sketch.

        Raises:
            ValueError: `scale` is not within 0 to `MAX_SCALE`.
        """
        if not 0 <= scale <= MAX_SCALE:
            raise ValueError(f"scale {scale} is not within 0 to {MAX_SCALE}")
        self._scale = scale
        self._zero = 0
        self._counts: dict[int, int] = {}
        self._quanta = 0

    @property
    def scale(self) -> int:
        """Grid scale: 2^scale buckets per doubling."""
        return self._scale

    @property
    def count(self) -> int:
        """Number of observations."""
        return self._zero + sum(self._counts.values())

    @property
    def sum(self) -> float:
        """Sum of the observations, each rounded to 2^-20, in their own unit."""
        return self._quanta * _QUANTUM

    @property
    def mean(self) -> float | None:
        """Mean of the observations; None where there are none."""
        count = self.count
        return self.sum / count if count else None

    def add(self, value: float, n: int = 1) -> None:
        """Count `value` `n` times.

        Raises:
            ValueError: NaN, infinity or a negative `n`.
        """
        if n < 0:
            raise ValueError("cannot take observations back")
        if n == 0:
            return
        index = bucket_index(value, self._scale)
        if index is None:
            self._zero += n
        else:
            self._counts[index] = self._counts.get(index, 0) + n
        if value > 0.0:
            self._quanta += round(min(value, _TOP) / _QUANTUM) * n

    def add_many(self, values: Iterable[float]) -> None:
        """Count every value once.

        Raises:
            ValueError: NaN or infinity among them; those before it are counted.
        """
        for value in values:
            self.add(float(value))

    def merge(self, other: Self) -> None:
        """Add everything that `other` counted; where scales differ, the coarser one holds."""
        if other._scale < self._scale:
            self._coarsen(other._scale)
        shift = other._scale - self._scale
        for index, n in other._counts.items():
            key = index >> shift
            self._counts[key] = self._counts.get(key, 0) + n
        self._zero += other._zero
        self._quanta += other._quanta

    def quantile(self, q: float) -> float | None:
        """Return the observation of rank ceil(q × count), as the middle of its bucket in log space.

        Off by at most a factor of 2^(1/2^(scale+1)): 1.1 % at scale 5. Zero bucket: 0.0. No
        observations: None.

        Raises:
            ValueError: `q` is not within 0 to 1.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"quantile {q} is not within 0 to 1")
        count = self.count
        if count == 0:
            return None
        left = max(1, math.ceil(q * count)) - self._zero
        if left <= 0:
            return 0.0
        index = 0
        for index in sorted(self._counts):
            left -= self._counts[index]
            if left <= 0:
                break
        return math.exp2((index + 0.5) / (1 << self._scale))

    def copy(self) -> "ExpHistogram":
        """Return an equal sketch that shares nothing."""
        other = ExpHistogram(self._scale)
        other.merge(self)
        return other

    def to_wire(self) -> Histogram:
        """Return the one wire form of these counts: no empty bucket at either end."""
        if not self._counts:
            return Histogram(scale=self._scale, zero=self._zero, sum=self.sum)
        first, last = min(self._counts), max(self._counts)
        return Histogram(
            scale=self._scale,
            zero=self._zero,
            offset=first,
            counts=[self._counts.get(index, 0) for index in range(first, last + 1)],
            sum=self.sum,
        )

    @classmethod
    def from_wire(cls, message: Histogram) -> Self:
        """Return the sketch that a message holds.

        Raises:
            MalformedReport: A negative count, a bucket outside the range, a sum that is not a
                finite non-negative number, or more than `MAX_COUNT` observations.
        """
        _check_histogram(message)
        sketch = cls(message.scale)
        sketch._zero = message.zero
        sketch._counts = {message.offset + at: n for at, n in enumerate(message.counts) if n}
        sketch._quanta = round(message.sum / _QUANTUM)
        return sketch

    def _coarsen(self, scale: int) -> None:
        """Move to a coarser grid. Exact: 2^shift neighbouring buckets become one."""
        shift = self._scale - scale
        coarse: dict[int, int] = {}
        for index, n in self._counts.items():
            coarse[index >> shift] = coarse.get(index >> shift, 0) + n
        self._scale, self._counts = scale, coarse

    def __eq__(self, other: object) -> bool:
        """True where both have the same grid, counts and sum."""
        if not isinstance(other, ExpHistogram):
            return NotImplemented
        return (self._scale, self._zero, self._counts, self._quanta) == (
            other._scale,
            other._zero,
            other._counts,
            other._quanta,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return what a person wants to see of it."""
        return (
            f"ExpHistogram(count={self.count}, p50={self.quantile(0.5)}, p99={self.quantile(0.99)})"
        )


def _check_histogram(message: Histogram) -> None:
    """Return where `message` could have been made by `ExpHistogram.to_wire`, more or less."""
    if not 0 <= message.scale <= MAX_SCALE:
        raise MalformedReport(f"histogram scale {message.scale} is not within 0 to {MAX_SCALE}")
    first, end = MIN_EXPONENT << message.scale, MAX_EXPONENT << message.scale
    size = len(message.counts)
    if size and not first <= message.offset <= end - size:
        raise MalformedReport(f"histogram buckets {message.offset} + {size} leave the grid's range")
    if message.zero < 0 or any(n < 0 for n in message.counts):
        raise MalformedReport("histogram has a negative count")
    total = message.zero + sum(message.counts)
    if total > MAX_COUNT:
        raise MalformedReport("histogram claims more observations than can be counted")
    if not (math.isfinite(message.sum) and message.sum >= 0.0):
        raise MalformedReport("histogram sum is not a finite non-negative number")
    if message.sum > total * _TOP:
        raise MalformedReport("histogram has a larger sum than its observations can have")


class LinearBins:
    """Counts over `n` equal bins of [0, 1]: bin i holds [i/n, (i+1)/n), the last one 1 as well.

    Values outside are counted in the nearest bin. Thread: confined to one thread.
    """

    __slots__ = ("_counts",)

    def __init__(self, n: int) -> None:
        """Make `n` empty bins.

        Raises:
            ValueError: Fewer than one bin.
        """
        if n < 1:
            raise ValueError("at least one bin is needed")
        self._counts = [0] * n

    @property
    def counts(self) -> tuple[int, ...]:
        """Observations per bin, lowest first."""
        return tuple(self._counts)

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self._counts)

    def add(self, value: float, n: int = 1) -> None:
        """Count `value` `n` times.

        Raises:
            ValueError: NaN, or a negative `n`.
        """
        if math.isnan(value) or n < 0:
            raise ValueError(f"not an observation: {value} counted {n} times")
        size = len(self._counts)
        clipped = min(max(value, 0.0), 1.0)
        self._counts[min(int(clipped * size), size - 1)] += n

    def add_many(self, values: Iterable[float]) -> None:
        """Count every value once.

        Raises:
            ValueError: NaN among them; those before it are counted.
        """
        for value in values:
            self.add(float(value))

    def merge(self, other: Self) -> None:
        """Add everything that `other` counted.

        Raises:
            ValueError: Not the same number of bins.
        """
        if len(other._counts) != len(self._counts):
            raise ValueError(f"{len(other._counts)} bins cannot merge into {len(self._counts)}")
        self._counts = [a + b for a, b in zip(self._counts, other._counts, strict=True)]

    def quantile(self, q: float) -> float | None:
        """Return the middle of the bin with the observation of rank ceil(q × count); None if empty.

        Raises:
            ValueError: `q` is not within 0 to 1.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"quantile {q} is not within 0 to 1")
        count = self.count
        if count == 0:
            return None
        rank = max(1, math.ceil(q * count))
        at = next(at for at, upto in enumerate(accumulate(self._counts)) if upto >= rank)
        return (at + 0.5) / len(self._counts)

    def to_wire(self) -> Bins:
        """Return the wire form."""
        return Bins(counts=list(self._counts))

    @classmethod
    def from_wire(cls, message: Bins, n: int | None = None) -> Self:
        """Return the bins that a message holds; `n` is how many there must be, if that is known.

        Raises:
            MalformedReport: A wrong number of bins, a negative count or too many observations.
        """
        size = len(message.counts)
        if size < 1 or (n is not None and size != n):
            raise MalformedReport(f"{size} bins where {n or 'some'} are needed")
        if any(count < 0 for count in message.counts):
            raise MalformedReport("bins have a negative count")
        if sum(message.counts) > MAX_COUNT:
            raise MalformedReport("bins claim more observations than can be counted")
        bins = cls(size)
        bins._counts = list(message.counts)
        return bins

    def __eq__(self, other: object) -> bool:
        """True where both have the same counts."""
        return isinstance(other, LinearBins) and self._counts == other._counts

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return what a person wants to see of it."""
        return f"LinearBins(n={len(self._counts)}, count={self.count}, p50={self.quantile(0.5)})"
