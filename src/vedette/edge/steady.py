"""A wall clock that cannot jump: anchored once, then carried on by the monotonic clock.

Somebody sets the system's clock, NTP steps it, a flat battery wakes in 1970: counting must not
notice. The pipeline dates everything by this clock, so what one process says is consistent; how
far it may be believed stands in each envelope, and central moves times that were wrong.
"""

import threading
from datetime import datetime, timedelta

from vedette.clock import NS_PER_S, Clock


class SteadyClock:
    """A `Clock` over another. Thread: any; `anchor` from one."""

    def __init__(self, system: Clock) -> None:
        self._system = system
        self._anchor = (system.now_at(), system.mono_ns())

    def now_at(self) -> datetime:
        """Return the anchored wall time, aware UTC."""
        at, mono_ns = self._anchor
        return at + timedelta(microseconds=(self._system.mono_ns() - mono_ns) / 1000)

    def mono_ns(self) -> int:
        """Return monotonic nanoseconds."""
        return self._system.mono_ns()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait as the underlying clock does."""
        return self._system.wait(event, timeout_s)

    def step_s(self) -> float:
        """Return how far the system's wall clock has moved away from this one."""
        return (self._system.now_at() - self.now_at()).total_seconds()

    def anchor(self) -> None:
        """Take over the system's wall clock as it is now."""
        self._anchor = (self._system.now_at(), self._system.mono_ns())

    @property
    def offset_s(self) -> float:
        """Wall minus monotonic seconds: constant between two anchorings."""
        at, mono_ns = self._anchor
        return at.timestamp() - mono_ns / NS_PER_S
