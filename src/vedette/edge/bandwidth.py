"""How much of the backlog may cross the line now: a cap by local time of day, and a token bucket.

Only what had waited is counted, before compression, so that the line sees less than the cap.
Alerts and fresh reports are never asked about here: they always go.

The rule: over any stretch of time no more than the cap allows, plus one batch of at most a second's
worth (or `CHUNK_BYTES` where that is more). The pace is kept in monotonic time, so that a step of
the wall clock opens or closes a window but never gives bytes away.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from vedette.clock import NS_PER_S, Clock
from vedette.edge.settings import BandwidthWindow, UplinkSettings, minute_of_day

CHUNK_BYTES: Final = 16 * 1024
"""A batch of the backlog may be this large on the slowest line: smaller ones cost more than they
spare, and an alert waits behind no more than this."""

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def cap_kbit_s(settings: UplinkSettings, local_at: datetime) -> float:
    """Return the cap at this local time: of the first window that holds, or the general one."""
    for window in settings.windows:
        if _holds(window, local_at):
            return window.backfill_kbit_s
    return settings.backfill_kbit_s


def _holds(window: BandwidthWindow, local_at: datetime) -> bool:
    """True within the window; what lies past midnight belongs to the day on which it began.

    A start equal to the end is the whole day. Where daylight saving skips or repeats an hour, the
    clock on the wall decides: a window may be an hour shorter or longer that night.
    """
    start, end = minute_of_day(window.start), minute_of_day(window.end)
    minute = local_at.hour * 60 + local_at.minute
    began_at = local_at
    if start < end:
        inside = start <= minute < end
    else:
        inside = minute >= start or minute < end
        if minute < end and minute < start:
            began_at = local_at - timedelta(days=1)
    return inside and (not window.days or _DAYS[began_at.weekday()] in window.days)


class Bandwidth:
    """The bucket, shared by all that may wait: the backlog and clips. Thread: any."""

    def __init__(
        self, settings: Callable[[], UplinkSettings], time_zone: Callable[[], str], clock: Clock
    ) -> None:
        """Prepare; both callables are asked each time, so that a change holds at once."""
        self._settings: Final = settings
        self._time_zone: Final = time_zone
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._filled_ns = clock.mono_ns()
        self._bytes = 0.0

    @property
    def rate_bytes_s(self) -> float:
        """Bytes per second that hold now; 0 where nothing of the backlog may go."""
        try:
            zone = ZoneInfo(self._time_zone())
        except (ZoneInfoNotFoundError, ValueError):
            zone = ZoneInfo("UTC")  # `check` refused it where it was set; the line still works
        return cap_kbit_s(self._settings(), self._clock.now_at().astimezone(zone)) * 1000 / 8

    def take(self, most: int) -> int:
        """Return how many bytes of the backlog may go now, at most `most`; 0: none."""
        rate = self._fill()
        if rate <= 0 or self._bytes < 0:
            return 0
        return min(most, max(CHUNK_BYTES, round(rate)))

    def spend(self, size: int) -> None:
        """Count bytes of the backlog that were sent, whether or not they arrived."""
        with self._lock:
            self._bytes -= size

    def pause_s(self) -> float | None:
        """Return the seconds until more may go; None while nothing may."""
        rate = self._fill()
        if rate <= 0:
            return None
        return max(-self._bytes / rate, 0.0)

    def _fill(self) -> float:
        now_ns = self._clock.mono_ns()
        rate = self.rate_bytes_s
        with self._lock:
            self._bytes = min(0.0, self._bytes + (now_ns - self._filled_ns) / NS_PER_S * rate)
            self._filled_ns = now_ns
        return rate
