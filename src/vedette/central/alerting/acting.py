"""What people do about incidents: take them on, give them back, end them, open them again.

What lives here: each action on one incident, in the caller's transaction, with its line on the
timeline and in the audit log. What does not: who may (API, console), what follows (`planner`).

The rule: an action that is done already changes nothing, so doing it twice is doing it once; it
can be held against the version that a person saw. Nobody decides while the engine does: both hold
the same lock.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from vedette.central import audit
from vedette.central.alerting import documents, ladder, planner, store, wording
from vedette.central.alerting.channels import outbox
from vedette.central.alerting.facts import Book, History, Incident, IncidentState
from vedette.central.alerting.ladder import Climbed
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, ConflictError

MAX_NOTE_CHARS: Final = 500
MAX_AT_ONCE: Final = 200

Check = Callable[[Incident], None]
"""Raises where somebody else changed it since it was read."""


class ByLink(msgspec.Struct, frozen=True, kw_only=True):
    """By which link in a notice somebody acted; of which round and step, from which address."""

    delivery: str
    round: int
    step: int
    address: str


class NoIncident(ConfigError):
    """There is no such incident."""


async def acknowledge(
    tx: Tx,
    incident: str,
    *,
    by: str,
    note: str = "",
    now_ms: int,
    check: Check | None = None,
    link: ByLink | None = None,
) -> Incident:
    """Return the incident with somebody on it: nobody is told any further while that holds.

    `link`: by which link in a notice, without signing in; the timeline and the audit log say so.

    Raises:
        NoIncident: There is none.
        ConflictError: It is over.
    """
    found, book = await _held(tx, incident, check)
    if found.state is IncidentState.RESOLVED:
        raise ConflictError("it is over already", operator_hint="open it again first")
    note = said(note)
    if found.state is IncidentState.ACKNOWLEDGED and (found.ack_by, found.ack_note) == (by, note):
        return found
    rule = book.rules.get(found.rule)
    rules = book.ladders.get(rule.ladder) if rule else None
    how = f", by the link of round {link.round}, step {link.step}" if link else ""
    climbed = ladder.acknowledged(found, rules, by, now_ms, note, how=how)
    return await _done(tx, climbed, book, "acknowledge", by, note, now_ms, link)


async def unacknowledge(
    tx: Tx, incident: str, *, by: str, now_ms: int, check: Check | None = None
) -> Incident:
    """Return the incident with nobody on it any more: its ladder is climbed anew.

    Raises:
        NoIncident: There is none.
    """
    found, book = await _held(tx, incident, check)
    if found.state is not IncidentState.ACKNOWLEDGED:
        return found
    climbed = ladder.unacknowledged(found, by, now_ms)
    return await _done(tx, climbed, book, "unacknowledge", by, "", now_ms)


async def resolve(
    tx: Tx, incident: str, *, by: str, reason: str, now_ms: int, check: Check | None = None
) -> Incident:
    """Return the incident as over, because somebody says so.

    What is still wrong in it opens the next one only once it was well in between.

    Raises:
        NoIncident: There is none.
    """
    found, book = await _held(tx, incident, check)
    if found.state is IncidentState.RESOLVED:
        return found
    why = f"by {by}" + (f": {said(reason)}" if reason else "")
    climbed = planner.resolve(found, book, why, now_ms)
    line = History(
        incident=incident, at_ms=now_ms, kind="resolved", actor=by, text=said(reason)
    )  # fmt: skip
    climbed = Climbed(
        incident=climbed.incident, notices=climbed.notices, history=[line, *climbed.history]
    )
    return await _done(tx, climbed, book, "resolve", by, said(reason), now_ms)


async def reopen(
    tx: Tx, incident: str, *, by: str, note: str = "", now_ms: int, check: Check | None = None
) -> Incident:
    """Return the incident as open again: its ladder is climbed anew.

    It stays open until something happens to it, or somebody resolves it.

    Raises:
        NoIncident: There is none.
        ConflictError: It was late news, or what it is about is in another open one.
    """
    found, book = await _held(tx, incident, check)
    if found.state is not IncidentState.RESOLVED:
        return found
    if found.late_only:
        raise ConflictError("it was over before central knew of it: late news wakes nobody")
    taken = await tx.value("incident_open_of_key", key=found.key) or await tx.value(
        "incident_members_taken",
        rule=found.rule,
        subjects=[store.text_of(member.subject) for member in found.members],
    )
    if taken:
        raise ConflictError(
            "the same is open already in another incident", operator_hint="act on that one"
        )
    opened = replace(
        found, state=IncidentState.OPEN, resolved_ms=None, resolved_why="", reopened_ms=now_ms,
        ack_by="", ack_ms=None, ack_until_ms=None, ack_note="", flaps=[], flapping_ms=None,
    )  # fmt: skip
    line = History(incident=incident, at_ms=now_ms, kind="reopened", actor=by, text=said(note))
    climbed = Climbed(incident=ladder.again(opened, now_ms), history=[line])
    return await _done(tx, climbed, book, "reopen", by, said(note), now_ms)


async def note(
    tx: Tx, incident: str, *, by: str, text: str, now_ms: int, check: Check | None = None
) -> Incident:
    """Return the incident with a line of somebody's on its timeline.

    Raises:
        NoIncident: There is none.
        ConfigError: The note is empty.
    """
    found, book = await _held(tx, incident, check)
    words = said(text)
    if not words:
        raise ConfigError("a note says something")
    line = History(incident=incident, at_ms=now_ms, kind="note", actor=by, text=words)
    return await _done(tx, Climbed(incident=found, history=[line]), book, "note", by, words, now_ms)


def said(text: str) -> str:
    """Return what a person wrote, in one line without controls."""
    return wording.plain(text, MAX_NOTE_CHARS)


async def _held(tx: Tx, incident: str, check: Check | None) -> tuple[Incident, Book]:
    await store.hold(tx)
    found = await store.get(tx, incident)
    if found is None:
        raise NoIncident(
            "there is no such incident", operator_hint="vedette central incidents list"
        )
    if check is not None:
        check(found)
    return found, await documents.current(tx)


async def _done(  # noqa: PLR0917 - what was done, by whom, why, when
    tx: Tx,
    climbed: Climbed,
    book: Book,
    action: str,
    by: str,
    text: str,
    now_ms: int,
    link: ByLink | None = None,
) -> Incident:
    """Write what an action came to; the engine looks at it at once."""
    is_open = climbed.incident.state is not IncidentState.RESOLVED
    changed = replace(
        climbed.incident,
        changed_ms=now_ms,
        due_ms=now_ms if is_open else None,
        version=climbed.incident.version + 1,
    )
    await store.put(tx, [changed], book.rules)
    await store.add_history(tx, climbed.history)
    await outbox.put(tx, climbed.notices, now_ms)
    if not is_open:
        await tx.run("incidents_wake", incidents=[changed.incident], sites=[], now_ms=now_ms)
    detail: dict[str, object] = {"note": text, "rule": changed.rule, "title": changed.title}
    if link is not None:
        detail |= {"by": "link", **msgspec.structs.asdict(link)}
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=by,
        action=f"incident.{action}",
        target=changed.incident,
        detail=detail,
    )
    return changed
