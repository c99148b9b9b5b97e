"""Who is on call: turns by the clock on the wall, layers, and whoever took over. Pure.

What lives here: one moment (`who`), a stretch of time for a calendar (`spans`), holes in it
(`gaps`). What does not: how a person is reached (`ladder`), where overrides are kept (`people`).

The rules: the override that was made last decides, else the first layer that has somebody, else
nobody is on call. Turn n of a layer begins n × `turn_days` days after its start, at the same time
by the wall clock; where that time is jumped over it begins at the jump, where it comes twice it
begins the first time. Before its first hand-over a layer has nobody.

Source: PEP 495 (`fold`) for local times that come twice or never.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from vedette.central import hours
from vedette.central.alerting.facts import Override, Schedule, Shift
from vedette.errors import ConfigError

FIRST_YEAR: Final = 1990
LAST_YEAR: Final = 2200
"""Far from where dates end, so that no turn before or after leaves them."""

MAX_SPAN_MS: Final = 400 * 86_400_000
LOOK_AHEAD_MS: Final = 14 * 86_400_000


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """From when to when who is on call.

    Attributes:
        person: Empty: nobody.
        layer: Counts from 1; 0: by an override, or nobody.
        override: Its id, where one decides.
    """

    from_ms: int
    to_ms: int
    person: str
    layer: int = 0
    override: str = ""


def is_start(text: str) -> bool:
    """True where this can be the start of a layer: a local date and time, to the minute."""
    try:
        _parsed(text)
    except ValueError:
        return False
    return True


def who(schedule: Schedule, overrides: Sequence[Override], now_ms: int) -> str | None:
    """Return who is on call at a moment; None: nobody is."""
    return duty_at(schedule, overrides, now_ms).person or None


def duty_at(schedule: Schedule, overrides: Sequence[Override], at_ms: int) -> Duty:
    """Return who is on call at a moment and why; `from_ms` and `to_ms` are that moment."""
    zone = hours.zone_of(schedule.time_zone)
    taken = _override(schedule, overrides, at_ms)
    if taken is not None:
        return Duty(from_ms=at_ms, to_ms=at_ms, person=taken.person, override=taken.override)
    for layer, shift in enumerate(schedule.shifts, 1):
        person = _on_shift(shift, zone, at_ms)
        if person:
            return Duty(from_ms=at_ms, to_ms=at_ms, person=person, layer=layer)
    return Duty(from_ms=at_ms, to_ms=at_ms, person="")


def spans(
    schedule: Schedule, overrides: Sequence[Override], from_ms: int, to_ms: int
) -> list[Duty]:
    """Return who is on call from one moment to another, in order, without a hole.

    Stretches in which nobody is are among them, with an empty `person`.

    Raises:
        ConfigError: More than 400 days.
    """
    if to_ms - from_ms > MAX_SPAN_MS:
        raise ConfigError("more than 400 days of a schedule", operator_hint="ask for fewer")
    edges = sorted({from_ms, to_ms} | _edges(schedule, overrides, from_ms, to_ms))
    found: list[Duty] = []
    for start_ms, end_ms in pairwise(edges):
        duty = duty_at(schedule, overrides, start_ms)
        before = found[-1] if found else None
        if before and (before.person, before.layer, before.override) == (
            duty.person,
            duty.layer,
            duty.override,
        ):
            found[-1] = msgspec.structs.replace(before, to_ms=end_ms)
        else:
            found.append(msgspec.structs.replace(duty, from_ms=start_ms, to_ms=end_ms))
    return found


def gaps(
    schedule: Schedule, overrides: Sequence[Override], from_ms: int, to_ms: int
) -> list[tuple[int, int]]:
    """Return the stretches in which nobody is on call, in order."""
    duties = spans(schedule, overrides, from_ms, to_ms)
    return [(duty.from_ms, duty.to_ms) for duty in duties if not duty.person]


def next_duty_ms(schedule: Schedule, overrides: Sequence[Override], now_ms: int) -> int | None:
    """Return when somebody is on call next, where nobody is now; None: not within two weeks."""
    edges = sorted(_edges(schedule, overrides, now_ms, now_ms + LOOK_AHEAD_MS))
    return next((at_ms for at_ms in edges if who(schedule, overrides, at_ms)), None)


# ---------------------------------------------------------------------------------- one layer


def _override(schedule: Schedule, overrides: Sequence[Override], at_ms: int) -> Override | None:
    holding = [
        each
        for each in overrides
        if each.schedule == schedule.schedule and each.from_ms <= at_ms < each.to_ms
    ]
    return max(holding, key=lambda each: (each.made_ms, each.override), default=None)


def _on_shift(shift: Shift, zone: ZoneInfo, at_ms: int) -> str:
    """Return whose turn it is in a layer; empty: it has nobody now."""
    if shift.weekly and not hours.is_open(hours.Hours(weekly=shift.weekly), zone, at_ms):
        return ""
    turn = _turn(shift, zone, at_ms)
    return "" if turn < 0 else shift.people[turn % len(shift.people)]


def _turn(shift: Shift, zone: ZoneInfo, at_ms: int) -> int:
    """Return which turn it is, from 0; below 0: before the first hand-over."""
    start = _start(shift, zone)
    local = datetime.fromtimestamp(at_ms / 1000, zone)
    turn = (local.date() - start.date()).days // shift.turn_days
    while _begins_ms(shift, zone, turn) > at_ms:
        turn -= 1
    while _begins_ms(shift, zone, turn + 1) <= at_ms:
        turn += 1
    return turn


def _begins_ms(shift: Shift, zone: ZoneInfo, turn: int) -> int:
    start = _start(shift, zone)
    day = start.date() + timedelta(days=turn * shift.turn_days)
    return hours.instant(day, f"{start:%H:%M}", zone, fold=0)


def _start(shift: Shift, zone: ZoneInfo) -> datetime:
    return _parsed(shift.start).replace(tzinfo=zone)


def _parsed(text: str) -> datetime:
    start = datetime.fromisoformat(text)
    if "T" not in text or start.tzinfo or start.second or start.microsecond:
        raise ValueError(text)
    if not FIRST_YEAR <= start.year <= LAST_YEAR:
        raise ValueError(text)
    return start


def _edges(schedule: Schedule, overrides: Sequence[Override], from_ms: int, to_ms: int) -> set[int]:
    """Return every moment between two at which it may become somebody else."""
    zone = hours.zone_of(schedule.time_zone)
    found: set[int] = set()
    for each in overrides:
        if each.schedule == schedule.schedule:
            found |= {each.from_ms, each.to_ms}
    for shift in schedule.shifts:
        turn = max(_turn(shift, zone, from_ms), 0)
        while (begins_ms := _begins_ms(shift, zone, turn)) < to_ms:
            found.add(begins_ms)
            turn += 1
        if shift.weekly:
            weekly = hours.Hours(weekly=shift.weekly)
            for spell in hours.spells(weekly, zone, from_ms, to_ms):
                found |= set(spell)
    return {edge_ms for edge_ms in found if from_ms < edge_ms < to_ms}
