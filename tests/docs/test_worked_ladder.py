"""The ladder of docs/who-is-told.md does what the page says of it."""

import re
from datetime import datetime

from vedette.central.alerting import doubts, rules, simulate
from vedette.central.alerting.facts import Book, Reach, Severity
from vedette.clock import from_wall_ms


def ms(text: str) -> int:
    """Return a moment that is written with its offset."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_the_worked_ladder_tells_whom_the_page_says(docs):
    """Its hole is the one that applying names, and its course is the one that is printed."""
    page = (docs.root / "docs/who-is-told.md").read_text("utf-8")
    [sample] = [block for block in docs.blocks("yaml") if "schedule: leads" in block.text]
    written = rules.load(sample.text.encode())
    book = Book(
        ladders={one.ladder: one for one in written.ladders},
        schedules={one.schedule: one for one in written.schedules},
        contacts=written.contacts,
        reach=Reach(channels={"mail": "", "phone": "", "control-room": ""}),
    )
    shops = book.schedules["shops"]
    start_ms = ms("2026-03-07T05:50+01:00")
    found = doubts.of_schedule(shops, book, [], ms("2026-03-06T12:00+01:00"))
    assert found[0] in " ".join(page.split())
    course = simulate.in_thought(
        book, [], book.ladders["shops"], severity=Severity.CRITICAL, start_ms=start_ms
    )
    printed = re.findall(r"^Sat 07 Mar (\d\d:\d\d):00 .* (\d) +(\w+) +(.+)$", page, re.MULTILINE)
    assert printed == [
        (
            f"{from_wall_ms(one.at_ms):%H:%M}",
            str(one.round),
            one.kind,
            one.tell or one.problem,
        )
        for one in course.steps[: len(printed)]
    ]
    assert len(printed) == 5
