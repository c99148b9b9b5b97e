"""Local times of day between which something may become active. Pure.

A window from 22:00 to 05:00 crosses midnight; equal times are the whole day; no window at all is
any time. Where daylight saving skips or repeats an hour, the clock on the wall decides.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from vedette.clock import from_wall_ms, wall_ms
from vedette.edge.settings import minute_of_day

Windows = Sequence[tuple[str, str]]


def check(windows: Windows) -> None:
    """Return where every time is one.

    Raises:
        ConfigError: One is none.
    """
    for start, end in windows:
        minute_of_day(start)
        minute_of_day(end)


def is_open(windows: Windows, now_ms: int, time_zone: str) -> bool:
    """Return whether `now_ms` lies in one of the windows, by the clock on the site's wall."""
    at = from_wall_ms(now_ms).astimezone(_zone(time_zone))
    now = at.hour * 60 + at.minute
    return not windows or any(_holds(start, end, now) for start, end in windows)


def opens_ms(windows: Windows, now_ms: int, time_zone: str) -> int:
    """Return when the next window opens; `now_ms` where one is open."""
    if is_open(windows, now_ms, time_zone):
        return now_ms
    zone = _zone(time_zone)
    today = from_wall_ms(now_ms).astimezone(zone)
    found: list[int] = []
    for day in range(3):
        for start, _ in windows:
            minute = minute_of_day(start)
            date = today.date() + timedelta(days=day)
            local = datetime(date.year, date.month, date.day, tzinfo=zone)
            at = local.replace(hour=minute // 60 % 24, minute=minute % 60)
            if (ms := wall_ms(at.astimezone(UTC))) > now_ms:
                found.append(ms)
    return min(found, default=now_ms)


def _holds(start: str, end: str, now: int) -> bool:
    first, last = minute_of_day(start), minute_of_day(end)
    return first <= now < last if first < last else now >= first or now < last


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")  # refused where it was set; an update need not wait for it
