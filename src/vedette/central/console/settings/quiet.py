"""Quiet hours of one's own contacts as small forms, and back. Pure.

The rule: a form changes one contact, and only as it was shown: what was changed in between, in
another window or by an administrator, is shown first. What cannot be stands at its form, with what
was typed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from vedette.central import hours
from vedette.central.alerting.facts import Contact
from vedette.central.console.settings import week
from vedette.central.console.settings.week import Day
from vedette.central.hours import Hours, Stretch
from vedette.errors import ConfigError, ConflictError, VedetteError

_HINT: Final = "as 22:00-06:00, several with commas; an empty day has none"


class QuietForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form of one contact.

    Attributes:
        number: Its place in the list; names it on the page.
        seen: What the contact was when the page was made.
        words: The quiet hours as they stand, in a line; empty: none.
        problem, hint: Why it was not taken, and what to do; empty: nothing was posted, or it was.
    """

    number: int
    channel: str
    address: str
    seen: str
    words: str
    week: list[Day]
    time_zone: str
    problem: str = ""
    hint: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was posted: of which contact, over what, and what it shall be."""

    channel: str
    address: str
    seen: str
    week: dict[str, str]
    time_zone: str


def posted(data: Mapping[str, str]) -> Asked:
    """Return what was posted."""
    return Asked(
        channel=data.get("channel", ""),
        address=data.get("address", ""),
        seen=data.get("seen", "")[:64],
        week=week.posted(dict(data)).week,
        time_zone=data.get("time_zone", "").strip()[:64],
    )


def changed(contacts: Sequence[Contact], asked: Asked) -> list[Contact]:
    """Return all contacts, one of them with other quiet hours.

    Raises:
        ConfigError: Such hours or such a time zone cannot be.
        ConflictError: The contact is another than was shown, or is gone.
    """
    weekly = _weekly(asked)
    zone = hours.zone_of(asked.time_zone or "UTC").key
    places = [n for n, one in enumerate(contacts) if _is_of(one, asked)]
    if not places:
        raise ConflictError(
            "this contact is not there any more", operator_hint="add it again, then its quiet hours"
        )
    place = next((n for n in places if seen_of(contacts[n]) == asked.seen), None)
    if place is None:
        stands = words_of(contacts[places[0]]) or "none"
        raise ConflictError(
            f"it was changed in between; the quiet hours are: {stands}",
            operator_hint="press the button again to have yours instead",
        )
    made = list(contacts)
    made[place] = replace(made[place], quiet=weekly, time_zone=zone)
    return made


def _weekly(asked: Asked) -> dict[str, list[Stretch]]:
    form = week.HoursForm(always=False, week=asked.week, exceptions="")
    try:
        found = week.read(form)
    except ConfigError as error:
        raise ConfigError(str(error), operator_hint=_HINT) from error
    return {day: stretches for day, stretches in found.weekly.items() if stretches} if found else {}


def _is_of(contact: Contact, asked: Asked) -> bool:
    return (contact.channel, contact.address) == (asked.channel, asked.address)


def seen_of(contact: Contact) -> str:
    """Return a short name for exactly this contact as it stands."""
    return hashlib.sha256(msgspec.json.encode(contact)).hexdigest()[:16]


def words_of(contact: Contact) -> str:
    """Return its quiet hours in a line, as `sa-su 00:00-24:00, Europe/Berlin`; empty: none."""
    parts = hours.text_of(Hours(weekly=contact.quiet)).split("; ")
    said = [part for part in parts if not part.endswith(" closed")]
    return f"{'; '.join(said)}, {contact.time_zone}" if said else ""


def forms_of(
    contacts: Sequence[Contact], asked: Asked | None = None, wrong: VedetteError | None = None
) -> list[QuietForm]:
    """Return the form of each contact; the one that was posted as it was typed, and why not."""
    theirs = [n for n, one in enumerate(contacts) if asked and _is_of(one, asked)]
    same = [n for n in theirs if asked and seen_of(contacts[n]) == asked.seen]
    typed = (same or theirs or [-1])[0]
    return [
        _form(n + 1, one, asked if n == typed else None, wrong if n == typed else None)
        for n, one in enumerate(contacts)
    ]


def _form(
    number: int, contact: Contact, asked: Asked | None, wrong: VedetteError | None
) -> QuietForm:
    opening = Hours(weekly=contact.quiet)
    form = week.form_of(opening)
    return QuietForm(
        number=number,
        channel=contact.channel,
        address=contact.address,
        seen=seen_of(contact),
        words=words_of(contact),
        week=week.rows(replace(form, week=asked.week) if asked else form, opening),
        time_zone=asked.time_zone if asked else contact.time_zone,
        problem=_sentence(str(wrong)) if wrong else "",
        hint=_sentence(wrong.operator_hint or "") if wrong else "",
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
