"""Duty that changes hands: rows, looked at when it may be somebody else.

What lives here: reading and writing around `handing`, and the note that somebody leaves. The rules:
all of it is in the engine's own turn, under its lock, so a restart or a second worker tells nobody
twice and nobody never; one schedule that cannot be judged waits an hour and holds up nothing else.
"""

import logging
from typing import Final

import msgspec

from vedette.central import audit
from vedette.central.alerting import handing, wording
from vedette.central.alerting.facts import Book, Incident, Notice, Override
from vedette.central.alerting.handing import Handed, Held, Left, Open
from vedette.central.store.db import Tx
from vedette.errors import ConfigError

_log = logging.getLogger(__name__)

MAX_NOTE_CHARS: Final = 500
AT_ONCE: Final = 50
LATER_MS: Final = 3_600_000
_incident = msgspec.json.Decoder(Incident).decode


async def sync(tx: Tx, book: Book, now_ms: int) -> None:
    """Have a row for each schedule that tells at hand-over, all of them due now."""
    tells = sorted(name for name, one in book.schedules.items() if one.tell)
    await tx.run("duties_sync", schedules=tells, now_ms=now_ms, never_ms=handing.NEVER_MS)
    await tx.run("duties_drop_others", schedules=tells)


async def due(tx: Tx, now_ms: int) -> list[Held]:
    """Return the schedules that may have changed hands."""
    return await tx.all("duties_due", Held, now_ms=now_ms, limit=AT_ONCE)


async def turn(
    tx: Tx, found: list[Held], book: Book, overrides: list[Override], now_ms: int
) -> list[Notice]:
    """Return word to whoever came on call; who has it is written down."""
    notices: list[Notice] = []
    for held in found:
        if held.schedule not in book.schedules:
            await tx.run("duty_drop", schedule=held.schedule)
            continue
        handed = await _looked(tx, held, book, overrides, now_ms)
        await tx.run("duty_put", **msgspec.structs.asdict(handed.held))
        if handed.told:
            await tx.run("handover_drop", schedule=held.schedule)
        notices += handed.notices
    return notices


async def _looked(
    tx: Tx, held: Held, book: Book, overrides: list[Override], now_ms: int
) -> Handed:  # fmt: skip
    left = await tx.one("handover_of", Left, schedule=held.schedule)
    opened = await _open(tx, held.schedule, book)
    try:
        return handing.look(held, book, overrides, now_ms, left=left, opened=opened)
    except (ConfigError, ValueError, LookupError, ArithmeticError) as error:
        _log.error(
            "a schedule cannot be judged",
            extra={"event": "alerts.duty_failed", "schedule": held.schedule, "why": str(error)},
        )
        later = msgspec.structs.replace(held, due_ms=now_ms + LATER_MS, said="it cannot be judged")
        return Handed(held=later)


async def _open(tx: Tx, schedule: str, book: Book) -> Open:
    """Return what is open of the rules whose ladder climbs to a schedule."""
    word = f"oncall:{schedule}"
    ladders = {
        name
        for name, ladder in book.ladders.items()
        if any(word in step.tell for step in ladder.steps)
    }
    rules = [name for name, rule in book.rules.items() if rule.ladder in ladders]
    rows = await tx.tuples("incidents_open_of", rules=rules, limit=handing.SHOWN) if rules else []
    count = int(rows[0][1]) if rows else 0
    return Open(count=count, worst=[_incident(body) for body, _ in rows])


async def leave(tx: Tx, book: Book, schedule: str, note: str, *, by: str, now_ms: int) -> Left:
    """Keep a note for whoever comes on call next; an empty one takes back what was kept.

    Raises:
        ConfigError: No such schedule, or one that tells nobody at hand-over.
    """
    known = book.schedules.get(schedule)
    if known is None:
        raise ConfigError(
            f"there is no schedule {schedule[:64]!r}",
            operator_hint=f"there are: {', '.join(sorted(book.schedules)) or 'none yet'}",
        )
    if not known.tell:
        raise ConfigError(
            f"{schedule} tells nobody who comes on call", operator_hint="write tell: true in it"
        )
    left = Left(note=wording.plain(note, MAX_NOTE_CHARS), made_by=by, made_ms=now_ms)
    if left.note:
        await tx.run("handover_put", schedule=schedule, **msgspec.structs.asdict(left))
    else:
        await tx.run("handover_drop", schedule=schedule)
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=by,
        action="oncall.hand_over",
        target=schedule,
        detail={"note": left.note},
    )
    return left


async def said_of(tx: Tx, schedule: str) -> str:
    """Return what telling whoever came on call last came to; empty: nobody came yet."""
    return str(await tx.value("duty_said", schedule=schedule) or "")


async def left_of(tx: Tx, schedule: str) -> Left | None:
    """Return what is kept for whoever comes next; None: nothing."""
    return await tx.one("handover_of", Left, schedule=schedule)
