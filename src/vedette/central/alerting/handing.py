"""Word to whoever comes on call: that they are, until when, and what is open. Pure.

What lives here: whether duty changed hands since it was looked at last, and what is said then. What
does not: who is on call (`oncall`), rows (`handover`). The rules: a schedule that is looked at for
the first time hands nothing over; what was missed while nobody looked is one word to whoever has it
now; a note is told once, and kept while nobody is there to be told.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from vedette.central import hours
from vedette.central.alerting import oncall, reaching, wording
from vedette.central.alerting.facts import (
    Book,
    Incident,
    IncidentState,
    Notice,
    NoticeKind,
    Override,
    Schedule,
    Severity,
    Subject,
)

SHOWN: Final = 5
NEVER_MS: Final = 0
"""`Held.since_ms` of a schedule that nobody looked at yet."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Who had a schedule when it was looked at last; `person` empty: nobody.

    Attributes:
        due_ms: When it may be somebody else; None: not to be foreseen.
        said: What telling them came to.
    """

    schedule: str
    person: str
    since_ms: int
    due_ms: int | None = None
    said: str = ""


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody leaves to whoever comes."""

    note: str
    made_by: str
    made_ms: int


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """Incidents that climb to this schedule and are not over: how many, and the worst of them."""

    count: int = 0
    worst: list[Incident] = []


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """What a look comes to; `told`: the note was, if there was one."""

    held: Held
    notices: list[Notice] = []
    told: bool = False


def due(schedule: Schedule, overrides: Sequence[Override], now_ms: int) -> int:
    """Return when somebody else may be on call, or is to be looked for again."""
    end_ms = now_ms + oncall.LOOK_AHEAD_MS
    return oncall.spans(schedule, overrides, now_ms, end_ms)[0].to_ms


def has_changed(held: Held, person: str) -> bool:
    """True where somebody came who did not have it before."""
    return held.since_ms != NEVER_MS and bool(person) and person != held.person


def look(
    held: Held,
    book: Book,
    overrides: Sequence[Override],
    now_ms: int,
    *,
    left: Left | None = None,
    opened: Open | None = None,
) -> Handed:
    """Return who has a schedule now, and word to them where that is somebody else.

    Args:
        held: As it was found last.
        book: With this schedule.
        overrides: Of all schedules.
        now_ms: By central's clock.
        left: What is to be told to whoever comes.
        opened: What is open; None: nothing.
    """
    schedule = book.schedules[held.schedule]
    duty = oncall.duty_at(schedule, overrides, now_ms)
    due_ms = due(schedule, overrides, now_ms)
    now = msgspec.structs.replace(held, person=duty.person, due_ms=due_ms)
    if duty.person != held.person or held.since_ms == NEVER_MS:
        now = msgspec.structs.replace(now, since_ms=now_ms, said="")
    if not has_changed(held, duty.person):
        return Handed(held=now)
    found = reaching.resolve(
        [f"person:{duty.person}"], Severity.WARNING, book, overrides, now_ms
    )  # fmt: skip
    if not found.targets:
        said = f"{duty.person} was not told: {'; '.join(found.missed)}"
        return Handed(held=msgspec.structs.replace(now, said=wording.plain(said, 300)))
    incident = _stand_in(schedule, opened or Open(), now_ms)
    text = _text(schedule, opened or Open(), left, due_ms)
    notices = [
        Notice(
            key=_key(schedule.schedule, now_ms, target.channel, target.address),
            kind=NoticeKind.ON_CALL,
            channel=target.channel,
            address=target.address,
            person=target.person,
            due_ms=now_ms,
            incident=incident,
            text=text,
        )
        for target in found.targets
    ]
    said = f"{duty.person} was told by {', '.join(sorted({one.channel for one in found.targets}))}"
    return Handed(held=msgspec.structs.replace(now, said=said), notices=notices, told=True)


def _key(schedule: str, at_ms: int, channel: str, address: str) -> str:
    where = hashlib.sha256(f"{channel}|{address}".encode()).hexdigest()[:16]
    return f"oncall:{schedule}:{at_ms}:{where}"


def _stand_in(schedule: Schedule, opened: Open, now_ms: int) -> Incident:
    """Return what stands in a notice where an incident would."""
    many = f"{opened.count} incidents are" if opened.count != 1 else "1 incident is"
    return Incident(
        incident="",
        key="",
        rule="",
        severity=Severity.INFO,
        state=IncidentState.OPEN,
        title=f"You are on call now: {schedule.schedule}; {many} open",
        subject=Subject(),
        opened_ms=now_ms,
        changed_ms=now_ms,
        known_ms=now_ms,
    )


def _text(schedule: Schedule, opened: Open, left: Left | None, until_ms: int) -> str:
    zone = hours.zone_of(schedule.time_zone)
    until = datetime.fromtimestamp(until_ms / 1000, zone)
    lines = [f"Until {until:%a %d %b %H:%M %Z} at least."]
    for one in opened.worst[:SHOWN]:
        state = f"{one.ack_by} is on it" if one.ack_by else "nobody is on it"
        lines.append(f"[{one.severity}] {one.title} ({state})")
    if opened.count > len(opened.worst[:SHOWN]):
        lines.append(f"and {opened.count - len(opened.worst[:SHOWN])} more")
    if left is not None:
        lines.append(f"{left.made_by} leaves you: {left.note}")
    return "\n".join(wording.plain(line, 500) for line in lines)
