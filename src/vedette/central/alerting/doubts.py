"""What is doubtful about ladders and schedules that can be: who would not be reached. Pure.

What lives here: words for whoever writes them, and for the pages. What does not: what cannot be at
all (`rules`). The rule: a doubt names the hole and until when it is; it holds nobody up.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from vedette.central import hours
from vedette.central.alerting import oncall, reaching
from vedette.central.alerting.facts import Book, Ladder, Override, Schedule, Severity

AHEAD_MS: Final = 28 * 86_400_000
MAX_GAPS: Final = 5


def of_ladder(ladder: Ladder, book: Book) -> list[str]:
    """Return which of its steps lead to nobody; an empty hour of a schedule is not its doubt."""
    found: list[str] = []
    for number, step in enumerate(ladder.steps, 1):
        for word in step.tell:
            found += [f"step {number}: {why}" for why in _of_word(word, book)]
    return found


def _of_word(word: str, book: Book) -> Iterable[str]:
    kind, _, name = word.partition(":")
    if kind == "oncall":
        if name not in book.schedules:
            yield f"there is no schedule {name}"
    elif kind == "person":
        yield from of_person(name, book)
    else:
        yield from reaching.resolve([word], Severity.CRITICAL, book, [], 0).missed


def of_person(person: str, book: Book) -> list[str]:
    """Return why a person is not reached by any contact even for what is critical; empty: is."""
    found = reaching.resolve([f"person:{person}"], Severity.CRITICAL, book, [], 0)
    return [] if found.targets else found.missed


def of_schedule(
    schedule: Schedule, book: Book, overrides: Sequence[Override], now_ms: int
) -> list[str]:
    """Return when nobody is on call in the next four weeks, and who in it is not reached."""
    found = gap_words(schedule, overrides, now_ms, now_ms + AHEAD_MS)
    named = {person for shift in schedule.shifts for person in shift.people}
    named |= {each.person for each in overrides if each.schedule == schedule.schedule}
    for person in sorted(named):
        found += of_person(person, book)
    return found


def gap_words(
    schedule: Schedule, overrides: Sequence[Override], from_ms: int, to_ms: int
) -> list[str]:
    """Return `nobody from Sat 28 Nov 18:00 to Mon 30 Nov 09:00`, by the schedule's clock."""
    gaps = oncall.gaps(schedule, overrides, from_ms, to_ms)
    words = [f"nobody {span_words(schedule, *gap, from_ms, to_ms)}" for gap in gaps[:MAX_GAPS]]
    if len(gaps) > MAX_GAPS:
        words.append(f"and {len(gaps) - MAX_GAPS} more such gaps")
    return words


def span_words(schedule: Schedule, start_ms: int, end_ms: int, from_ms: int, to_ms: int) -> str:
    """Return a stretch in words; one that goes beyond what was looked at has no such end."""
    until = at_words(schedule, end_ms)
    if start_ms <= from_ms:
        return f"now, until {until}" if end_ms < to_ms else "is on call at all"
    since = at_words(schedule, start_ms)
    return f"from {since} to {until}" if end_ms < to_ms else f"from {since} on"


def at_words(schedule: Schedule, at_ms: int) -> str:
    """Return a moment by the schedule's clock."""
    zone = hours.zone_of(schedule.time_zone)
    return f"{datetime.fromtimestamp(at_ms / 1000, zone):%a %d %b %H:%M}"


def of_book(book: Book, overrides: Sequence[Override], now_ms: int) -> list[str]:
    """Return every doubt of a book, named by what it is of."""
    found = [
        f"ladder {name}: {why}"
        for name, ladder in sorted(book.ladders.items())
        for why in of_ladder(ladder, book)
    ]
    for name, schedule in sorted(book.schedules.items()):
        found += [
            f"schedule {name}: {why}" for why in of_schedule(schedule, book, overrides, now_ms)
        ]
    for name, rule in sorted(book.rules.items()):
        if rule.enabled and rule.ladder and rule.ladder not in book.ladders:
            found.append(f"rule {name}: there is no ladder {rule.ladder}")
    return found
