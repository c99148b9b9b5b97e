"""Ladders, schedules and who is on call, as API, console and terminal show them.

What lives here: rows from the book with what follows of it now. What does not: deciding (`ladder`,
`oncall`), writing (`documents`, `people`). The rule: names of people, never their addresses.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.alerting import documents, doubts, oncall, people
from vedette.central.alerting.facts import Book, Override, Schedule
from vedette.central.alerting.views import Duty, LadderRow, ScheduleRow
from vedette.central.store.db import Tx

AHEAD_MS: Final = doubts.AHEAD_MS
_NEVER: Final = documents.Version(
    kind="", name="", version=0, body=None, changed_by="", changed_ms=0
)


class OnCall(msgspec.Struct, frozen=True, kw_only=True):
    """Who is on call in one schedule, and who is next.

    Attributes:
        person: Empty: nobody.
        until_ms: Until when; None: for as long as was looked ahead.
        override: By which override; empty: by the schedule.
        next_person: Who follows; empty: nobody, or nothing changes.
        problems: Why they would not be reached.
        gap: In words, while nobody is on call.
    """

    schedule: str
    time_zone: str
    person: str
    until_ms: int | None = None
    override: str = ""
    next_person: str = ""
    problems: list[str] = []
    gap: str = ""


def on_call(schedule: Schedule, book: Book, overrides: Sequence[Override], now_ms: int) -> OnCall:
    """Return who is on call now in a schedule, until when, and who is next."""
    end_ms = now_ms + AHEAD_MS
    duties = _joined(oncall.spans(schedule, overrides, now_ms, end_ms))
    now, later = duties[0], duties[1:]
    gap = ""
    if not now.person:
        gap = f"nobody {doubts.span_words(schedule, now_ms, now.to_ms, now_ms, end_ms)}"
    return OnCall(
        schedule=schedule.schedule,
        time_zone=schedule.time_zone,
        person=now.person,
        until_ms=now.to_ms if later else None,
        override=now.override,
        next_person=later[0].person if later else "",
        problems=doubts.of_person(now.person, book) if now.person else [],
        gap=gap,
    )


def _joined(duties: Sequence[oncall.Duty]) -> list[Duty]:
    """Return duties; of one person by two layers one after the other is one duty."""
    found: list[Duty] = []
    for duty in duties:
        last = found[-1] if found else None
        if last and (last.person, last.override) == (duty.person, duty.override):
            found[-1] = msgspec.structs.replace(last, to_ms=duty.to_ms)
        else:
            found.append(
                Duty(
                    person=duty.person,
                    from_ms=duty.from_ms,
                    to_ms=duty.to_ms,
                    override=duty.override,
                )
            )
    return found


def calendar(
    schedule: Schedule, overrides: Sequence[Override], from_ms: int, to_ms: int
) -> list[Duty]:
    """Return who is on call from one moment to another, without a hole; nobody is a duty too."""
    return _joined(oncall.spans(schedule, overrides, from_ms, to_ms))


def schedule_row(
    schedule: Schedule,
    book: Book,
    overrides: Sequence[Override],
    now_ms: int,
    written: documents.Version = _NEVER,
) -> ScheduleRow:
    """Return a schedule with who is on call now and in the four weeks to come."""
    spans = calendar(schedule, overrides, now_ms, now_ms + AHEAD_MS)
    word = f"oncall:{schedule.schedule}"
    return ScheduleRow(
        schedule=schedule,
        version=written.version,
        changed_by=written.changed_by,
        changed_ms=written.changed_ms,
        now=spans[0],
        spans=spans,
        ladders=sorted(
            name
            for name, ladder in book.ladders.items()
            if any(word in step.tell for step in ladder.steps)
        ),
        problems=doubts.of_schedule(schedule, book, overrides, now_ms),
    )


async def ladder_rows(tx: Tx, book: Book, names: Sequence[str] | None = None) -> list[LadderRow]:
    """Return ladders (None: all) with the rules that climb them and what is doubtful."""
    written = await _written(tx, "ladder")
    rows: list[LadderRow] = []
    for name in sorted(book.ladders) if names is None else names:
        ladder = book.ladders[name]
        version = written.get(name, _NEVER)
        rows.append(
            LadderRow(
                ladder=ladder,
                version=version.version,
                changed_by=version.changed_by,
                changed_ms=version.changed_ms,
                rules=sorted(rule.rule for rule in book.rules.values() if rule.ladder == name),
                problems=doubts.of_ladder(ladder, book),
            )
        )
    return rows


async def schedule_rows(
    tx: Tx, book: Book, now_ms: int, names: Sequence[str] | None = None
) -> list[ScheduleRow]:
    """Return schedules (None: all) with who is on call now and in four weeks."""
    written = await _written(tx, "schedule")
    overrides = await people.overrides(tx, now_ms)
    return [
        schedule_row(book.schedules[name], book, overrides, now_ms, written.get(name, _NEVER))
        for name in (sorted(book.schedules) if names is None else names)
    ]


async def _written(tx: Tx, kind: str) -> dict[str, documents.Version]:
    rows = await tx.all("alert_documents_now", documents.Version)
    return {row.name: row for row in rows if row.kind == kind}
