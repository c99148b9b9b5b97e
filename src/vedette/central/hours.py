"""Opening hours: when a site is open, by its own clock on the wall. Pure.

A week of local times and exceptions by date; a stretch belongs to the date on which it begins and
may end after midnight. The rules where the clocks change: a stretch begins at the first moment at
which the wall clock shows its start or later, and ends after the last moment before its end. So a
time that the clocks jump over becomes the moment of the jump, and an hour that comes twice is open
both times, without a hole.

Source: PEP 495 (`fold`) for local times that come twice or never.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from vedette.errors import ConfigError

DAYS: Final = ("mo", "tu", "we", "th", "fr", "sa", "su")
MAX_EXCEPTIONS: Final = 400
MAX_A_DAY: Final = 8
_DAY: Final = timedelta(days=1)
_LOOK_AHEAD_DAYS: Final = 400
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")

Stretch = tuple[str, str]
"""From and to as `HH:MM`; a `to` that is not later than `from` is on the next day."""


class Hours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a site is open.

    Attributes:
        weekly: By day (`mo` … `su`), stretches `["09:00", "20:00"]`; a day left out is closed.
        exceptions: By date (`2026-12-25`), stretches instead of the day's own; none is closed.
    """

    weekly: dict[str, list[Stretch]] = {}
    exceptions: dict[str, list[Stretch]] = {}


def check(hours: Hours) -> Hours:
    """Return `hours` where they can be.

    Raises:
        ConfigError: A day, date or time that cannot be; the message names it.
    """
    for day, stretches in hours.weekly.items():
        if day not in DAYS:
            raise _wrong(f"{day[:20]!r} is no day: one of {', '.join(DAYS)}")
        _check_stretches(day, stretches)
    if len(hours.exceptions) > MAX_EXCEPTIONS:
        raise _wrong(f"more than {MAX_EXCEPTIONS} exceptions")
    for day, stretches in hours.exceptions.items():
        try:
            is_iso = date.fromisoformat(day).isoformat() == day
        except ValueError:
            is_iso = False
        if not is_iso:
            raise _wrong(f"{day[:20]!r} is no date, as in 2026-12-25")
        _check_stretches(day, stretches)
    return hours


def _check_stretches(day: str, stretches: list[Stretch]) -> None:
    if len(stretches) > MAX_A_DAY:
        raise _wrong(f"{day}: more than {MAX_A_DAY} stretches")
    for start, end in stretches:
        for text in (start, end):
            if not _TIME.fullmatch(text):
                raise _wrong(f"{day}: {text[:20]!r} is no time, as in 09:00")
        if start in {"24:00", end}:
            raise _wrong(f"{day}: {start}-{end} has no length; all day is 00:00-24:00")


def _wrong(why: str) -> ConfigError:
    return ConfigError(
        f"these hours cannot be: {why}",
        operator_hint="for example: mo-fr 09:00-20:00; sa 10:00-14:00,15:00-18:00",
    )


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        ConfigError: There is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"no such time zone: {name[:60]}", operator_hint="for example Europe/Berlin"
        ) from error


# -------------------------------------------------------------------------------------- asking


def is_open(hours: Hours | None, zone: ZoneInfo, t_ms: int) -> bool:
    """True where the site is open at `t_ms`; a site without hours always is."""
    if hours is None:
        return True
    return bool(spells(hours, zone, t_ms, t_ms + 1))


def open_ms(hours: Hours | None, zone: ZoneInfo, from_ms: int, to_ms: int) -> int:
    """Return for how many milliseconds between `from_ms` and `to_ms` the site is open."""
    return sum(end_ms - start_ms for start_ms, end_ms in spells(hours, zone, from_ms, to_ms))


def next_change_ms(hours: Hours | None, zone: ZoneInfo, t_ms: int) -> int | None:
    """Return when the site next opens or closes after `t_ms`; None where not within 400 days."""
    if hours is None:
        return None
    end_ms = t_ms + _LOOK_AHEAD_DAYS * 86_400_000
    for spell in spells(hours, zone, t_ms, end_ms):
        for edge_ms in spell:
            if t_ms < edge_ms < end_ms:
                return edge_ms
    return None


def spells(hours: Hours | None, zone: ZoneInfo, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
    """Return the stretches of `from_ms` to `to_ms` in which the site is open, in order, apart."""
    if to_ms <= from_ms:
        return []
    if hours is None:
        return [(from_ms, to_ms)]
    day = _local(from_ms, zone).date() - 2 * _DAY
    last = _local(to_ms, zone).date() + _DAY
    found: list[tuple[int, int]] = []
    while day <= last:
        found += [_instants(day, stretch, zone) for stretch in stretches_of(hours, day)]
        day += _DAY
    joined: list[tuple[int, int]] = []
    for start_ms, end_ms in sorted(found):
        start, end = max(start_ms, from_ms), min(end_ms, to_ms)
        if start >= end:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def stretches_of(hours: Hours, day: date) -> list[Stretch]:
    """Return the stretches that begin on a date."""
    return hours.exceptions.get(day.isoformat(), hours.weekly.get(DAYS[day.weekday()], []))


def _local(t_ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(t_ms / 1000, zone)


def _instants(day: date, stretch: Stretch, zone: ZoneInfo) -> tuple[int, int]:
    start, end = stretch
    end_day = day + _DAY if end <= start else day
    return instant(day, start, zone, fold=0), instant(end_day, end, zone, fold=1)


def instant(day: date, text: str, zone: ZoneInfo, *, fold: int) -> int:
    """Return when the wall clock shows `text` on `day`, in ms since 1970; of two, by `fold`."""
    if text == "24:00":
        day, text = day + _DAY, "00:00"
    wall = datetime(day.year, day.month, day.day, int(text[:2]), int(text[3:]), tzinfo=zone)
    early, late = (wall.replace(fold=f).astimezone(UTC) for f in (0, 1))
    there = (late if fold else early).astimezone(zone)
    if there.replace(tzinfo=None) != wall.replace(tzinfo=None):
        return _jump_ms(wall, late, early, zone)
    return _epoch_ms(late if fold else early)


def _jump_ms(wall: datetime, before: datetime, after: datetime, zone: ZoneInfo) -> int:
    """Return when the clocks jumped over `wall`: between these two its date and time are passed."""
    low, high = _epoch_ms(before) // 1000, _epoch_ms(after) // 1000
    wanted = wall.replace(tzinfo=None)
    while low < high:
        middle = (low + high) // 2
        shown = datetime.fromtimestamp(middle, zone).replace(tzinfo=None)
        low, high = (low, middle) if shown >= wanted else (middle + 1, high)
    return low * 1000


def _epoch_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


# ------------------------------------------------------------------------------ as people write


def read(weekly: str, exceptions: list[str]) -> Hours:
    """Return hours from `mo-fr 09:00-20:00; sa 10:00-14:00,15:00-18:00` and `2026-12-25 closed`.

    Raises:
        ConfigError: They cannot be understood.
    """
    week: dict[str, list[Stretch]] = {}
    for part in filter(None, (part.strip() for part in weekly.split(";"))):
        days, stretches = _part(part)
        first, _, last = days.lower().partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise _wrong(f"{days[:20]!r} is no day: one of {', '.join(DAYS)}, or mo-fr")
        start, end = DAYS.index(first), DAYS.index(last or first)
        for step in range((end - start) % 7 + 1):
            week[DAYS[(start + step) % 7]] = stretches
    dates = dict(_part(part.strip()) for part in exceptions)
    return check(Hours(weekly=week, exceptions=dates))


def _part(text: str) -> tuple[str, list[Stretch]]:
    name, _, said = text.partition(" ")
    if said.strip() == "closed":
        return name, []
    stretches: list[Stretch] = []
    for one in said.replace(" ", "").split(","):
        start, _, end = one.partition("-")
        stretches.append((start, end))
    return name, stretches


def text_of(hours: Hours) -> str:
    """Return the week as `read` takes it; days with the same stretches together."""
    parts: list[tuple[str, str]] = []
    for index, day in enumerate(DAYS):
        stretches = hours.weekly.get(day, [])
        said = ",".join(f"{start}-{end}" for start, end in stretches) or "closed"
        if parts and parts[-1][1] == said and parts[-1][0].endswith(DAYS[index - 1]):
            parts[-1] = (f"{parts[-1][0].partition('-')[0]}-{day}", said)
        else:
            parts.append((day, said))
    return "; ".join(f"{days} {said}" for days, said in parts)
