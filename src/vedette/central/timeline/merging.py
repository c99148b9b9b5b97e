"""One page of several lists that are each in order. Pure.

An entry's place is its moment and its key; keys are the same whenever it is read, so that a page
goes on where the last one ended whatever came meanwhile. The rule: newest first, nothing twice,
nothing left out.
"""

from collections.abc import Iterable

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened.

    Attributes:
        key: Names it among all of its moment.
        kind: One of `words.KINDS`.
        state: The state that its mark is drawn as: ok, dark, down, degraded, …; empty: none.
        end_ms: Where it is a stretch of time.
        actor: Who did it, where somebody did.
        noticed_ms: When central knew, where that was later.
    """

    key: str
    at_ms: int
    kind: str
    title: str
    detail: str = ""
    device: str = ""
    camera: str = ""
    state: str = ""
    end_ms: int | None = None
    actor: str = ""
    noticed_ms: int | None = None


Place = tuple[int, str]
"""Moment and key of the last entry of a page."""


def place(entry: Entry) -> Place:
    """Return where an entry stands."""
    return entry.at_ms, entry.key


def merged(lists: Iterable[Iterable[Entry]], after: Place | None, limit: int) -> list[Entry]:
    """Return at most `limit` entries of all lists, newest first, older than `after`.

    Each list must hold its `limit` newest that are older than `after`, in any order.
    """
    found: dict[Place, Entry] = {}
    for one in lists:
        for entry in one:
            if after is None or place(entry) < after:
                found.setdefault(place(entry), entry)
    return [found[at] for at in sorted(found, reverse=True)[:limit]]
