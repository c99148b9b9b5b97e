"""Time, as a parameter.

Two clocks that are never mixed: wall time (aware UTC, for people and for central) and monotonic
time (for durations, timeouts and order within one boot). Everything that waits or dates something
takes a `Clock`, so that tests move time by hand and none of them sleeps.
"""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(Protocol):
    """What tells the time and waits."""

    def now_at(self) -> datetime:
        """Return the wall time, aware UTC."""
        ...

    def mono_ns(self) -> int:
        """Return monotonic nanoseconds; the zero is arbitrary and differs between boots."""
        ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until `event` is set or `timeout_s` has passed; True where it was set."""
        ...


class SystemClock:
    """The machine's own clocks. Thread: any."""

    def now_at(self) -> datetime:
        """Return the wall time, aware UTC."""
        return datetime.now(UTC)

    def mono_ns(self) -> int:
        """Return `time.monotonic_ns()`: the same clock in every process of one boot on Linux."""
        return time.monotonic_ns()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait in real time."""
        return event.wait(timeout_s)


def elapsed_ns() -> int:
    """Return nanoseconds since the machine's start, its sleep included where that is counted.

    Source: `CLOCK_BOOTTIME`, clock_gettime(2); elsewhere the monotonic clock.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return time.monotonic_ns()


class ManualClock:
    """A clock that moves only when told: for tests and for accelerated simulation.

    `wait` returns at once and moves time forward by the whole timeout, so that loops written for
    real time run as fast as they can. Thread: any.
    """

    def __init__(self, start_at: datetime | None = None) -> None:
        self._at = start_at or datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
        self._mono_ns = 1_000 * NS_PER_S
        self._lock = threading.Lock()

    def now_at(self) -> datetime:
        """Return the wall time, aware UTC."""
        with self._lock:
            return self._at

    def mono_ns(self) -> int:
        """Return monotonic nanoseconds."""
        with self._lock:
            return self._mono_ns

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Move time forward by `timeout_s` unless `event` is set already."""
        if event.is_set():
            return True
        self.advance(timeout_s)
        return event.is_set()

    def advance(self, by_s: float) -> None:
        """Move both clocks forward, as time does."""
        with self._lock:
            self._at += timedelta(seconds=by_s)
            self._mono_ns += round(by_s * NS_PER_S)

    def step_wall(self, to_at: datetime) -> None:
        """Set the wall clock alone, as NTP or a flat battery does."""
        with self._lock:
            self._at = to_at


def wall_ms(at: datetime) -> int:
    """Return `at` as whole milliseconds since 1970 UTC: how wall time crosses the wire."""
    return round(at.timestamp() * 1000)


def from_wall_ms(ms: int) -> datetime:
    """Return aware UTC for milliseconds since 1970."""
    return datetime.fromtimestamp(ms / 1000, UTC)
