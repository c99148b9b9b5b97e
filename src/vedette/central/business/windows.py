"""The days that a page about the business speaks of: which they are, and by whose clock. Pure.

Days are a site's own days. Where the sites asked about lie in different time zones, the window
runs by UTC and the page says so. The rule: a window ends now at the latest; what has not happened
is not asked for.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

import msgspec

from vedette.central.hours import zone_of
from vedette.central.rollups import HOUR_MS
from vedette.clock import from_wall_ms, wall_ms
from vedette.errors import ConfigError

RANGES: Final[dict[str, tuple[str, int]]] = {
    "today": ("Today", 0),
    "yesterday": ("Yesterday", 1),
    "7d": ("7 days", 7),
    "30d": ("30 days", 30),
    "90d": ("90 days", 90),
}
DEFAULT_RANGE: Final = "7d"
MAX_DAYS: Final = 400
_HOURLY_DAYS: Final = 3
_DAILY_DAYS: Final = 120


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of whole days.

    Attributes:
        first, last: The first and the last day, both in it, as `2026-11-17`.
        to_ms: The end of the last day, or now where that is earlier.
        zone: The time zone of the days; `UTC` where the sites are in several.
        range_name: One of `RANGES`; empty where dates were given.
        step: Into which steps its course is cut: hour, day or week.
    """

    from_ms: int
    to_ms: int
    first: str
    last: str
    zone: str
    range_name: str
    step: str

    @property
    def days(self) -> int:
        """How many days it has."""
        return (date.fromisoformat(self.last) - date.fromisoformat(self.first)).days + 1

    def before(self) -> tuple[int, int]:
        """Return the stretch (ms) that it is compared with: as many days, a week or more before."""
        tz = zone_of(self.zone)
        # A day is compared with the same day of the week before: Tuesdays are like Tuesdays.
        moved = timedelta(days=max(7, self.days))
        return _moved(self.from_ms, tz, moved), _moved(self.to_ms, tz, moved)


def _moved(at_ms: int, tz: tzinfo, by: timedelta) -> int:
    """Return the moment at which clocks in `tz` showed the same, some days earlier."""
    local = from_wall_ms(at_ms).astimezone(tz).replace(tzinfo=None) - by
    return wall_ms(local.replace(tzinfo=tz).astimezone(UTC))


def window(range_name: str, first: str, last: str, zones: Iterable[str], now_ms: int) -> Window:
    """Return the days that were asked for: dates before a range, the last 7 days without either.

    Raises:
        ConfigError: A date that is none, the wrong way round, in the future, or too many days.
    """
    known = sorted(set(zones))
    zone = known[0] if len(known) == 1 else "UTC"
    tz = zone_of(zone)
    today = from_wall_ms(now_ms).astimezone(tz).date()
    if first or last:
        name = ""
        begin, end = _dates(first or last, last or first, today)
    else:
        name = range_name if range_name in RANGES else DEFAULT_RANGE
        days = RANGES[name][1]
        begin = today - timedelta(days=days if name in {"today", "yesterday"} else days - 1)
        end = begin if name == "yesterday" else today
    from_ms, to_ms = _midnight(begin, tz), min(_midnight(end + timedelta(days=1), tz), now_ms)
    count = (end - begin).days + 1
    step = "hour" if count <= _HOURLY_DAYS else "day" if count <= _DAILY_DAYS else "week"
    return Window(
        from_ms=from_ms,
        # Right after midnight, a day still has its first hour to speak of.
        to_ms=max(to_ms, from_ms + HOUR_MS),
        first=begin.isoformat(),
        last=end.isoformat(),
        zone=zone,
        range_name=name,
        step=step,
    )


def _dates(first: str, last: str, today: date) -> tuple[date, date]:
    try:
        begin, end = date.fromisoformat(first[:10]), date.fromisoformat(last[:10])
    except ValueError as error:
        raise ConfigError(
            f"{first[:20]!r} to {last[:20]!r} are no dates", operator_hint="as in 2026-11-17"
        ) from error
    if begin > end:
        raise ConfigError("the first day is after the last", operator_hint="swap them")
    if begin > today:
        raise ConfigError(
            f"{begin} has not come yet", operator_hint=f"today is {today}; ask for an earlier day"
        )
    if (end - begin).days >= MAX_DAYS:
        raise ConfigError(
            f"more than {MAX_DAYS} days", operator_hint="ask for fewer, or the query API"
        )
    return begin, min(end, today)


def _midnight(day: date, tz: tzinfo) -> int:
    return wall_ms(datetime.combine(day, time.min, tzinfo=tz).astimezone(UTC))


def day_text(at_ms: int, zone: str) -> str:
    """Return the weekday and date of a moment, as `Tue 17 Nov`."""
    return from_wall_ms(at_ms).astimezone(zone_of(zone)).strftime("%a %d %b")


def hour_of_week(at_ms: int, zone: str) -> tuple[int, int]:
    """Return the weekday (Monday is 0) and the hour that clocks in `zone` show."""
    local = from_wall_ms(at_ms).astimezone(zone_of(zone))
    return local.weekday(), local.hour
