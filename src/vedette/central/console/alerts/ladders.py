"""Ladders and schedules in, pages out. Pure: no request, no database, no clock.

The rule: whoever reads a ladder sees whom it would reach now, and where nobody is.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from vedette.central.alerting.handing import Left
from vedette.central.alerting.views import Duty, Followed, LadderRow, ScheduleRow
from vedette.central.console.alerts import sentences, words
from vedette.central.console.alerts.rules import Filled, Version
from vedette.central.console.page import Page
from vedette.central.console.render import render
from vedette.central.console.strip import Tick
from vedette.central.rollups import DAY_MS
from vedette.clock import from_wall_ms

DONE: Final = {
    "kept": "It is kept. What is open climbs by the ladder that it began with.",
    "removed": "It is removed.",
    "over": "They take over in that time.",
    "ended": "The override is over.",
    "left": "It is kept for whoever comes on call next.",
}
_EDGE: Final = 6.0
"""Percent of the width in which no name of a day fits at the edges."""

COLOURS: Final = 6
"""How many people a calendar tells apart; their names stand in it in any case."""


class Bar(msgspec.Struct, frozen=True):
    """Somebody's duty, in percent of the window; `css` tells people apart."""

    person: str
    x: float
    width: float
    css: str
    title: str


def ladder_url(ladder: str) -> str:
    """Return the URL of a ladder's page."""
    return f"/ladders/{quote(ladder, safe='')}"


def schedule_url(schedule: str) -> str:
    """Return the URL of a schedule's page."""
    return f"/oncall/{quote(schedule, safe='')}"


def bars(spans: Sequence[Duty], from_ms: int, to_ms: int) -> list[Bar]:
    """Return spans as parts of a window, each person in one colour; gaps have none."""
    people = sorted({span.person for span in spans if span.person})
    found: list[Bar] = []
    for span in spans:
        start, end = max(span.from_ms, from_ms), min(span.to_ms, to_ms)
        if end <= start:
            continue
        css = f"duty-{people.index(span.person) % COLOURS}" if span.person else "duty-none"
        found.append(
            Bar(
                person=span.person,
                x=round(100 * (start - from_ms) / (to_ms - from_ms), 3),
                width=round(100 * (end - start) / (to_ms - from_ms), 3),
                css=css,
                title=f"{span.person or 'nobody'}{' (takes over)' if span.override else ''}",
            )
        )
    return found


def day_ticks(from_ms: int, to_ms: int, most: int = 7) -> list[Tick]:
    """Return midnights (UTC) for the axis of a calendar, so few that their names fit a phone."""
    days = (to_ms - from_ms) / DAY_MS
    step_ms = max(1, math.ceil(days / most)) * DAY_MS
    first = -(-from_ms // DAY_MS) * DAY_MS
    found: list[Tick] = []
    for at_ms in range(first, to_ms, step_ms):
        x = 100 * (at_ms - from_ms) / (to_ms - from_ms)
        if _EDGE <= x <= 100 - _EDGE:
            text = f"{from_wall_ms(at_ms):%d %b}"
            found.append(Tick(x=round(x, 2), text=text, anchor="middle"))
    return found


def ladders_html(rows: Sequence[LadderRow], page: Page, *, done: str = "") -> str:
    """Return all ladders."""
    return render(
        "alerts/ladders.html",
        looker=page.looker,
        now_ms=page.now_ms,
        rows=rows,
        sentences=sentences,
        ladder_url=ladder_url,
        done=DONE.get(done, ""),
        problem="",
    )


def ladder_html(
    row: LadderRow | None,
    text: str,
    page: Page,
    *,
    followed: Followed | None = None,
    asked: Mapping[str, str] | None = None,
    versions: Sequence[Version] = (),
    done: str = "",
    problem: str = "",
) -> str:
    """Return the page of one ladder (None: a new one), with whom it would reach."""
    return render(
        "alerts/ladder.html",
        looker=page.looker,
        now_ms=page.now_ms,
        row=row,
        text=text,
        followed=followed,
        asked=Filled(asked or {}),
        versions=versions,
        words=words,
        sentences=sentences,
        url=ladder_url(row.ladder.ladder) if row else "/ladders/new",
        done=DONE.get(done, ""),
        problem=problem,
    )


def oncall_html(
    rows: Sequence[ScheduleRow], page: Page, window_ms: tuple[int, int], *, done: str = ""
) -> str:
    """Return all schedules: who is on call now, and in the days to come."""
    return render(
        "alerts/oncall.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url="/oncall",
        rows=[(row, bars(row.spans, *window_ms)) for row in rows],
        ticks=day_ticks(*window_ms),
        from_ms=window_ms[0],
        to_ms=window_ms[1],
        schedule_url=schedule_url,
        done=DONE.get(done, ""),
        problem="",
    )


def schedule_html(
    row: ScheduleRow | None,
    text: str,
    page: Page,
    window_ms: tuple[int, int],
    *,
    people: Sequence[tuple[str, bool]] = (),
    overrides: Sequence[tuple[str, str, int, int, str]] = (),
    versions: Sequence[Version] = (),
    asked: Mapping[str, str] | None = None,
    left: Left | None = None,
    told: str = "",
    done: str = "",
    problem: str = "",
) -> str:
    """Return one schedule (None: a new one) with its calendar, overrides and text.

    Args:
        people: Who may take over, and whether they have a contact to be reached by.
        overrides: Id, person, from, to and note of those that are not over.
        window_ms: What the calendar shows.
        left: What is kept for whoever comes next.
        told: What telling whoever came last came to.
    """
    return render(
        "alerts/schedule.html",
        looker=page.looker,
        now_ms=page.now_ms,
        row=row,
        bars=bars(row.spans, *window_ms) if row else [],
        ticks=day_ticks(*window_ms),
        from_ms=window_ms[0],
        to_ms=window_ms[1],
        text=text,
        people=people,
        overrides=overrides,
        left=left,
        told=told,
        versions=versions,
        asked=Filled(asked or {}),
        url=schedule_url(row.schedule.schedule) if row else "/oncall/new",
        done=DONE.get(done, ""),
        problem=problem,
    )
