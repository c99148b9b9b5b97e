"""Opening hours as a form and as a drawing. Pure.

The rule: what cannot be is refused by `central.hours` and by nothing else; the drawing is made of
the same stretches, and the days to come of the same moments, as everything that counts by them.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from vedette.central import hours
from vedette.central.hours import DAYS, Hours, Stretch
from vedette.errors import ConfigError

WORDS: Final = {
    "mo": "Monday",
    "tu": "Tuesday",
    "we": "Wednesday",
    "th": "Thursday",
    "fr": "Friday",
    "sa": "Saturday",
    "su": "Sunday",
}
AHEAD_DAYS: Final = 14
_DAY_MIN: Final = 24 * 60
_LINE: Final = re.compile(r"[\r\n;]+")
_DASHES: Final = str.maketrans({"–": "-", "—": "-", "‑": "-"})
_MAX_CHARS: Final = 20_000


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of one day's row, in per cent of the day."""

    x: float
    width: float
    title: str


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """One day of the week: what stands in its field, and what is drawn beside it."""

    day: str
    word: str
    text: str
    bars: list[Bar]


class Ahead(msgspec.Struct, frozen=True, kw_only=True):
    """A date to come: when it is open by the wall clock there, and how long that really is.

    Attributes:
        note: Why it is not like other weeks: an exception, or the clocks change.
    """

    date: str
    word: str
    open: str
    long_s: float
    note: str


class HoursForm(msgspec.Struct, frozen=True, kw_only=True):
    """What the form holds: always open, or fields by day and lines for exceptions."""

    always: bool
    week: dict[str, str]
    exceptions: str


def form_of(opening: Hours | None) -> HoursForm:
    """Return the form as it stands."""
    weekly = opening.weekly if opening else {}
    exceptions = opening.exceptions if opening else {}
    return HoursForm(
        always=opening is None,
        week={day: _text(weekly.get(day, [])) for day in DAYS},
        exceptions="\n".join(
            f"{date} {_text(stretches) or 'closed'}"
            for date, stretches in sorted(exceptions.items())
        ),
    )


def posted(data: dict[str, str]) -> HoursForm:
    """Return what was posted."""
    return HoursForm(
        always=data.get("when") == "always",
        week={day: data.get(day, "")[:200] for day in DAYS},
        exceptions=data.get("exceptions", "")[:_MAX_CHARS],
    )


def read(form: HoursForm) -> Hours | None:
    """Return the hours that a form asks for; None: always open.

    Raises:
        ConfigError: They cannot be; the message names the day.
    """
    if form.always:
        return None
    week = {day: text.translate(_DASHES).strip() for day, text in form.week.items()}
    weekly = "; ".join(f"{day} {text}" for day, text in week.items() if text)
    if ";" in "".join(week.values()):
        raise ConfigError(
            "part the times of a day by commas", operator_hint="09:00-12:00, 13:00-20:00"
        )
    lines = [line.strip().translate(_DASHES) for line in _LINE.split(form.exceptions)]
    return hours.read(weekly, [line for line in lines if line])


def _text(stretches: Sequence[Stretch]) -> str:
    return ", ".join(f"{start}-{end}" for start, end in stretches)


def rows(form: HoursForm, opening: Hours | None) -> list[Day]:
    """Return the week as fields with their drawing; what runs past midnight is on both days."""
    weekly = opening.weekly if opening else {}
    found: list[Day] = []
    for index, day in enumerate(DAYS):
        before = weekly.get(DAYS[index - 1], [])
        bars = [bar for stretch in before if (bar := _over_midnight(stretch))]
        bars += [_bar(stretch) for stretch in weekly.get(day, [])]
        found.append(Day(day=day, word=WORDS[day], text=form.week.get(day, ""), bars=bars))
    return found


def _minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def _bar(stretch: Stretch) -> Bar:
    start, end = _minute(stretch[0]), _minute(stretch[1])
    end = _DAY_MIN if end <= start else end
    return _drawn(start, end, f"{stretch[0]}-{stretch[1]}")


def _over_midnight(stretch: Stretch) -> Bar | None:
    start, end = _minute(stretch[0]), _minute(stretch[1])
    return _drawn(0, end, f"until {stretch[1]}, from the day before") if 0 < end <= start else None


def _drawn(start: int, end: int, title: str) -> Bar:
    x = round(100 * start / _DAY_MIN, 2)
    return Bar(x=x, width=round(100 * (end - start) / _DAY_MIN, 2), title=title)


def ahead(
    opening: Hours | None, zone: ZoneInfo, now_ms: int, days: int = AHEAD_DAYS
) -> list[Ahead]:
    """Return the days to come, with how long the site is really open on each."""
    if opening is None:
        return []
    first = datetime.fromtimestamp(now_ms / 1000, zone).date()
    found: list[Ahead] = []
    for number in range(days):
        day = first + timedelta(days=number)
        start_ms, end_ms = _midnight_ms(day, zone), _midnight_ms(day + timedelta(days=1), zone)
        notes = ["exception"] if day.isoformat() in opening.exceptions else []
        if end_ms - start_ms != _DAY_MIN * 60_000:
            notes.append(f"the clocks change: {(end_ms - start_ms) / 3_600_000:g} hours long")
        found.append(
            Ahead(
                date=day.isoformat(),
                word=WORDS[DAYS[day.weekday()]],
                open=_text(hours.stretches_of(opening, day)),
                long_s=hours.open_ms(opening, zone, start_ms, end_ms) / 1000,
                note=", ".join(notes),
            )
        )
    return found


def _midnight_ms(day: object, zone: ZoneInfo) -> int:
    """Return when a date begins by the wall clock there."""
    at = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=zone)
    return round(at.timestamp() * 1000)
