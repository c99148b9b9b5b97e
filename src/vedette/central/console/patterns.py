"""`/-/patterns`: every component in every state, and whole pages from made-up views.

For looking at, and for tests that need no database. Holds nothing real.
"""

from collections.abc import Callable
from typing import Final

from vedette.central.console import present, specimens
from vedette.central.console.present import EventQuery, FleetFilters, Page
from vedette.central.console.render import Looker, render

_PAGES: Final[dict[str, Callable[[Page], str]]] = {
    "fleet": lambda page: present.fleet_html(specimens.fleet(), FleetFilters(), page),
    "fleet-empty": lambda page: present.fleet_html(specimens.EMPTY_FLEET, FleetFilters(), page),
    "fleet-filtered": lambda page: present.fleet_html(
        specimens.fleet(), FleetFilters(state="dark"), page
    ),
    "fleet-nothing": lambda page: present.fleet_html(
        specimens.fleet(), FleetFilters(q="zzz"), page
    ),
    "fleet-wide": lambda page: present.fleet_html(specimens.wide_fleet(), FleetFilters(), page),
    "camera": lambda page: _camera("ok", page),
    "camera-mixed": lambda page: _camera("ok", page, "mixed"),
    "camera-down": lambda page: _camera("down", page),
    "camera-degraded": lambda page: _camera("degraded", page),
    "camera-tampered": lambda page: _camera("tampered", page),
    "camera-dark": lambda page: _camera("dark", page),
    "camera-unknown": lambda page: _camera("unknown", page),
    "events": lambda page: present.events_html(specimens.events(), EventQuery(), "c2", page),
    "events-empty": lambda page: present.events_html([], EventQuery(), None, page),
    "events-nothing": lambda page: present.events_html([], EventQuery(kind="dwell"), None, page),
    "event": lambda page: present.event_html(specimens.event(), page),
    "event-waiting": lambda page: present.event_html(specimens.event("waiting"), page),
    "event-bare": lambda page: present.event_html(specimens.events()[-1], page),
    "error": lambda page: present.error_html(
        "Not found", "There is no such page.", page.looker, page.now_ms
    ),
}

NAMES: Final = tuple(_PAGES)


def _camera(state: str, page: Page, key: str = "") -> str:
    view = specimens.camera(state, key)
    return present.camera_html(view, "24h", page, may_request=True)


def pattern_html(name: str, looker: Looker, *, part: bool = False) -> str | None:
    """Return the page of all components (`name` empty), or a whole page by name; None: no such."""
    if not name:
        return _all(looker)
    make = _PAGES.get(name)
    page = Page(looker=looker, now_ms=specimens.NOW_MS, self_url=f"/-/patterns/{name}", part=part)
    return make(page) if make else None


def _all(looker: Looker) -> str:
    """Return the page of all components."""
    return render(
        "patterns.html",
        looker=looker,
        now_ms=specimens.NOW_MS,
        from_ms=specimens.FROM_MS,
        pages=NAMES,
        strips=specimens.STRIPS,
        coverages={k: specimens.coverage_of(v) for k, v in specimens.STRIPS.items()},
        camera=specimens.camera("degraded", "mixed"),
        events=specimens.events(),
    )
