"""Whom a step reaches, now: channels, people by their contacts, whoever is on call. Pure.

What lives here: `tell` words to targets. What does not: when (`ladder`), sending (`channels`).

The rule: whoever is not reached is named with the reason; addresses are in no reason.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from vedette.central import hours
from vedette.central.alerting import oncall
from vedette.central.alerting.facts import Book, Contact, Override, Schedule, Severity, Target


class Reached(msgspec.Struct, kw_only=True):
    """Where to tell, and why somebody is not among them; a target may stand there twice."""

    targets: list[Target] = msgspec.field(default_factory=list)
    missed: list[str] = msgspec.field(default_factory=list)


def resolve(
    tell: Iterable[str],
    severity: Severity,
    book: Book,
    overrides: Sequence[Override],
    now_ms: int,
) -> Reached:
    """Return whom these words reach: `channel:NAME`, `person:USER`, `oncall:SCHEDULE`."""
    reached = Reached()
    for word in tell:
        kind, _, name = word.partition(":")
        if kind == "channel":
            _channel(reached, book, name)
        elif kind == "person":
            _person(reached, book, name, severity, now_ms)
        elif kind == "oncall":
            _on_call(reached, book, overrides, name, severity, now_ms)
        else:
            reached.missed.append(f"{word!r} is nobody: channel:, person: or oncall:")
    return reached


def why_not(book: Book, channel: str) -> str:
    """Return why a channel does not carry; empty: it does, or is not known not to."""
    if book.reach.channels is None:
        return ""
    if channel not in book.reach.channels:
        return "there is no such channel"
    return book.reach.channels[channel]


def _channel(reached: Reached, book: Book, name: str) -> None:
    why = why_not(book, name)
    if why:
        reached.missed.append(f"channel {name}: {why}")
    else:
        reached.targets.append(Target(channel=name))


def _on_call(  # noqa: PLR0917 - what a word is resolved with
    reached: Reached,
    book: Book,
    overrides: Sequence[Override],
    name: str,
    severity: Severity,
    now_ms: int,
) -> None:
    schedule = book.schedules.get(name)
    if schedule is None:
        reached.missed.append(f"there is no schedule {name}")
        return
    person = oncall.who(schedule, overrides, now_ms)
    if person is None:
        reached.missed.append(f"nobody is on call in {name}{_until(schedule, overrides, now_ms)}")
        return
    _person(reached, book, person, severity, now_ms)


def _until(schedule: Schedule, overrides: Sequence[Override], now_ms: int) -> str:
    """Return until when nobody is on call, by the schedule's clock."""
    next_ms = oncall.next_duty_ms(schedule, overrides, now_ms)
    if next_ms is None:
        return ""
    zone = hours.zone_of(schedule.time_zone)
    return f" until {datetime.fromtimestamp(next_ms / 1000, zone):%a %d %b %H:%M %Z}"


def _person(reached: Reached, book: Book, person: str, severity: Severity, now_ms: int) -> None:
    away = book.reach.away.get(person)
    if away:
        reached.missed.append(f"{person}: {away}")
        return
    contacts = book.contacts.get(person, [])
    if not contacts:
        reached.missed.append(f"{person} has no contact")
        return
    reasons: list[str] = []
    for contact in contacts:
        why = _why_not_by(contact, severity, book, now_ms)
        if why:
            reasons.append(f"{contact.channel}: {why}")
        else:
            reached.targets.append(
                Target(channel=contact.channel, address=contact.address, person=person)
            )
    if len(reasons) == len(contacts):
        reached.missed.append(f"{person} has no contact that carries ({'; '.join(reasons)})")


def _why_not_by(contact: Contact, severity: Severity, book: Book, now_ms: int) -> str:
    """Return why a person is not told by this contact; empty: they are."""
    if severity.rank < contact.least.rank:
        return f"only from {contact.least}"
    if contact.quiet and severity is not Severity.CRITICAL:
        zone = hours.zone_of(contact.time_zone)
        if hours.is_open(hours.Hours(weekly=contact.quiet), zone, now_ms):
            return "quiet hours"
    return why_not(book, contact.channel)
