"""People as alerting knows them: who can be reached, who took over, a test of their contacts.

What lives here: rows of people, channels and overrides, one way and the other. What does not: whom
a step reaches (`reaching`), schedules (`oncall`), contacts as documents (`documents`).

The rule: each change is in the audit log in the same transaction; an override that was in force
stays as it was, it can only end earlier.
"""

import hashlib
from typing import Final

import msgspec

from vedette.central import audit
from vedette.central.alerting import reaching
from vedette.central.alerting.channels.facts import NO_NOTICES
from vedette.central.alerting.facts import (
    Book,
    Incident,
    IncidentState,
    Notice,
    NoticeKind,
    Override,
    Reach,
    Severity,
    Subject,
)
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.ids import new_id

MAX_OVERRIDES: Final = 200
MAX_OVERRIDE_MS: Final = 92 * 86_400_000
LAST_MS: Final = 4_000_000_000_000
MAX_NOTE_CHARS: Final = 200
MAX_TESTS: Final = 20
TESTS_WITHIN_MS: Final = 3_600_000
_SHOWN: Final = 5_000
_TEST_EACH_MS: Final = 60_000

_override = msgspec.json.Decoder(Override).decode


class _Found(msgspec.Struct, frozen=True):
    what: str
    name: str
    why: str


class _Choice(msgspec.Struct, frozen=True):
    channel: str


class _Row(msgspec.Struct, frozen=True):
    body: bytes


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """A contact to which a test is on its way; `why`: it is not, because."""

    channel: str
    why: str = ""


async def reach(tx: Tx) -> Reach:
    """Return who can be reached at all: users that are enabled, channels that carry."""
    found = await tx.all("alert_reach", _Found, no_notices=NO_NOTICES)
    return Reach(
        admins=[one.name for one in found if one.what == "admin"],
        away={one.name: one.why for one in found if one.what == "away"},
        channels={one.name: one.why for one in found if one.what == "channel"},
    )


async def choices(tx: Tx, *, whole: bool) -> list[str]:
    """Return the channels that somebody may choose from, to be reached by.

    Args:
        whole: Whether they see the whole fleet. Who does not is offered channels to people alone:
            the name of a webhook may speak of a site that is not theirs.
    """
    return [one.channel for one in await tx.all("channels_to_choose", _Choice, all=whole)]


# ----------------------------------------------------------------------------------- overrides


async def overrides(tx: Tx, from_ms: int, schedule: str | None = None) -> list[Override]:
    """Return who takes over from a time on, in one schedule or in all, by when it begins."""
    rows = await tx.all(
        "alert_overrides_of", _Row, from_ms=from_ms, schedule=schedule, limit=_SHOWN
    )
    return [_override(row.body) for row in rows]


async def take_over(tx: Tx, book: Book, wanted: Override) -> Override:
    """Have somebody take over a schedule for a while.

    Args:
        tx: The transaction.
        book: As it is now.
        wanted: `made_by` and `made_ms` say who asks, and when it is; its id is made here.

    Raises:
        ConfigError: No such schedule or person, a time that cannot be, or too many.
    """
    _check(book, wanted)
    schedule, now_ms = wanted.schedule, wanted.made_ms
    count = await tx.value("alert_overrides_count", schedule=schedule, now_ms=now_ms)
    if isinstance(count, int) and count >= MAX_OVERRIDES:
        raise ConfigError(
            f"{schedule} has {count} overrides that are not over",
            operator_hint="end some, or write the turns into the schedule itself",
        )
    if await tx.value("user_is_there", username=wanted.person) is None:
        raise ConfigError(
            f"there is no user {wanted.person[:40]!r} who is enabled",
            operator_hint="vedette central user list",
        )
    made = msgspec.structs.replace(wanted, override=new_id("ov"))
    await _put(tx, made)
    await _write(tx, made, "oncall.override", wanted.made_by, now_ms)
    return made


def _check(book: Book, wanted: Override) -> None:
    if wanted.schedule not in book.schedules:
        raise ConfigError(
            f"there is no schedule {wanted.schedule[:64]!r}",
            operator_hint=f"there are: {', '.join(sorted(book.schedules)) or 'none yet'}",
        )
    if wanted.to_ms <= max(wanted.from_ms, wanted.made_ms):
        raise ConfigError(
            "an override ends after it begins, and not in the past",
            operator_hint="give a later end with --to, as 2026-03-09T06:00",
        )
    if wanted.from_ms < 0 or wanted.to_ms > LAST_MS:
        raise ConfigError("an override lies between 1970 and 2096", operator_hint="in milliseconds")
    if wanted.to_ms - wanted.from_ms > MAX_OVERRIDE_MS:
        raise ConfigError(
            "an override lasts three months at most",
            operator_hint="for longer, change the schedule itself",
        )
    if len(wanted.note) > MAX_NOTE_CHARS or not wanted.note.isprintable():
        raise ConfigError(f"a note has at most {MAX_NOTE_CHARS} printable characters")


async def give_back(tx: Tx, override: str, *, actor: str, now_ms: int) -> Override:
    """End an override: one that has not begun is gone, one in force ends now; return it.

    Raises:
        ConfigError: There is none, or it is over.
    """
    row = await tx.one("alert_override_hold", _Row, override=override[:64].replace("\0", ""))
    found = _override(row.body) if row else None
    if found is None or found.to_ms <= now_ms:
        raise ConfigError("there is no such override, or it is over")
    if found.from_ms >= now_ms:
        await tx.run("alert_override_drop", override=found.override)
        await tx.run("duties_wake", schedule=found.schedule)
    else:
        found = msgspec.structs.replace(found, to_ms=now_ms)
        await _put(tx, found)
    await _write(tx, found, "oncall.override_end", actor, now_ms)
    return found


async def _put(tx: Tx, override: Override) -> None:
    await tx.run(
        "alert_override_put",
        override=override.override,
        schedule=override.schedule,
        person=override.person,
        from_ms=override.from_ms,
        to_ms=override.to_ms,
        body=msgspec.json.encode(override),
    )
    await tx.run("duties_wake", schedule=override.schedule)


async def _write(tx: Tx, override: Override, action: str, actor: str, now_ms: int) -> None:
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action=action,
        target=override.schedule,
        detail={
            "override": override.override,
            "person": override.person,
            "from_ms": override.from_ms,
            "to_ms": override.to_ms,
            "note": override.note,
        },
    )


# ------------------------------------------------------------------------------------ contacts


async def forget(tx: Tx, username: str) -> None:
    """Keep no address of somebody, and nothing that they would have taken over."""
    await tx.run("alert_contacts_forget", username=username)
    await tx.run("alert_overrides_forget", username=username)
    await tx.run("duties_wake", schedule=None)
    await tx.run("alert_book_turn")


async def forget_contacts(tx: Tx, username: str, *, actor: str, now_ms: int) -> None:
    """Keep no address of somebody, nor any that they had before.

    Raises:
        ConfigError: There is none.
    """
    if not await tx.run("alert_contacts_forget", username=username):
        raise ConfigError(f"{username[:64]!r} has no contacts")
    await tx.run("alert_book_turn")
    await audit.write(
        tx, at_ms=now_ms, actor=actor, action="alerts.contacts.forget", target=username
    )


def tests_of(
    book: Book, person: str, *, by: str, url: str, now_ms: int
) -> tuple[list[Notice], list[Tested]]:
    """Return test notices to every contact of somebody, and what becomes of each.

    Within a minute a contact is tested once: their keys are the same.
    """
    notices: list[Notice] = []
    tested: list[Tested] = []
    for contact in book.contacts.get(person, []):
        why = book.reach.away.get(person) or reaching.why_not(book, contact.channel)
        tested.append(Tested(channel=contact.channel, why=why))
        if not why:
            where = hashlib.sha256(f"{contact.channel}|{contact.address}".encode()).hexdigest()
            notices.append(
                Notice(
                    key=f"test:{person}:{now_ms // _TEST_EACH_MS}:{where[:16]}",
                    kind=NoticeKind.TEST,
                    channel=contact.channel,
                    address=contact.address,
                    person=person,
                    due_ms=now_ms,
                    incident=_test_incident(person, by, now_ms),
                    url=url,
                )
            )
    return notices, tested


def _test_incident(person: str, by: str, now_ms: int) -> Incident:
    return Incident(
        incident="test",
        key="test",
        rule="test",
        severity=Severity.INFO,
        state=IncidentState.OPEN,
        title=f"Test of {person}'s contacts, asked for by {by}",
        todo="Nothing: this is how an alert would reach you.",
        subject=Subject(),
        opened_ms=now_ms,
        changed_ms=now_ms,
        known_ms=now_ms,
    )
