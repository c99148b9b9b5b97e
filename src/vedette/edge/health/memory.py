"""Whether a process leaks: the trend of its memory over hours.

Samples are put together to medians of five minutes; a trend counts when eight hours of them (three
at least) rise significantly, by enough to matter, and still rise in their later half: a cache that
fills and then stands is no leak. A process that started anew starts with nothing.

The statistics are `stats.trend`. Not here: reading memory (`system`).
"""

import math
from collections import deque
from statistics import median
from typing import Final

from vedette.clock import NS_PER_S
from vedette.stats.trend import mann_kendall, theil_sen

BUCKET_S: Final = 300.0
KEEP_BUCKETS: Final = 96
LEAST_BUCKETS: Final = 36
WARM_UP_S: Final = 900.0
"""Models load and caches fill: the first quarter of an hour of a process says nothing."""

SURE: Final = 0.001
"""Largest p-value that counts; two series are judged twelve times an hour, for years."""

LEAST_MB_PER_H: Final = 0.5
LEAST_MB: Final = 4.0
STILL_PART: Final = 0.3
WARN_H: Final = 72.0
"""A trend that would use up the memory within so many hours is a problem to be told."""


class MemoryTrend:
    """The memory of some processes over time. Thread: one at a time.

    Attributes:
        growth_mb_per_h: By process, only where it is significant.
    """

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}
        self.growth_mb_per_h: dict[str, float] = {}

    def note(self, name: str, pid: int | None, rss_mb: float | None, mono_ns: int) -> None:
        """Add a sample of a process; another pid is another process and starts a new series."""
        if pid is None or rss_mb is None or not math.isfinite(rss_mb):
            self._series.pop(name, None)
            self.growth_mb_per_h.pop(name, None)
            return
        series = self._series.get(name)
        if series is None or series.pid != pid:
            series = self._series[name] = _Series(pid, mono_ns)
            self.growth_mb_per_h.pop(name, None)
        if series.add(rss_mb, mono_ns):
            growth = series.growth_mb_per_h()
            if growth is None:
                self.growth_mb_per_h.pop(name, None)
            else:
                self.growth_mb_per_h[name] = round(growth, 2)

    def problem(self, available_mb: float | None) -> str:
        """Return in words that the memory will be used up soon; empty where it will not."""
        growth = sum(self.growth_mb_per_h.values())
        if available_mb is None or growth <= 0:
            return ""
        left_h = available_mb / growth
        if left_h > WARN_H:
            return ""
        who = " and ".join(
            f"the {name} by {rate:.1f} MB an hour" for name, rate in self.growth_mb_per_h.items()
        )
        return (
            f"memory grows: {who}; what is left ({available_mb:.0f} MB) lasts about {left_h:.0f} h"
        )


class _Series:
    """One process's medians of five minutes."""

    def __init__(self, pid: int, mono_ns: int) -> None:
        self.pid: Final = pid
        self._began_ns: Final = mono_ns
        self._bucket = -1
        self._samples: list[float] = []
        self._medians: deque[tuple[float, float]] = deque(maxlen=KEEP_BUCKETS)

    def add(self, rss_mb: float, mono_ns: int) -> bool:
        """Take a sample; return whether that completed a bucket."""
        age_s = (mono_ns - self._began_ns) / NS_PER_S
        if age_s < WARM_UP_S:
            return False
        bucket = int(age_s // BUCKET_S)
        complete = bucket != self._bucket and bool(self._samples)
        if complete:
            hour = (self._bucket + 0.5) * BUCKET_S / 3600
            self._medians.append((hour, median(self._samples)))
        if bucket != self._bucket:
            self._bucket, self._samples = bucket, []
        self._samples.append(rss_mb)
        return complete

    def growth_mb_per_h(self) -> float | None:
        """Return the slope where it is significant and matters, else None."""
        if len(self._medians) < LEAST_BUCKETS:
            return None
        hours = [hour for hour, _ in self._medians]
        values = [value for _, value in self._medians]
        slope = theil_sen(hours, values)
        if slope < LEAST_MB_PER_H or slope * (hours[-1] - hours[0]) < LEAST_MB:
            return None
        half = len(hours) // 2
        if theil_sen(hours[half:], values[half:]) < STILL_PART * slope:
            return None
        return slope if mann_kendall(hours, values) < SURE else None
