"""`/-/patterns`: every component in every state, and whole pages from made-up views.

For looking at, and for tests that need no database. Holds nothing real.
"""

from collections.abc import Callable
from typing import Final

from vedette.central.console import specimens
from vedette.central.console.alerts import specimens as alerts
from vedette.central.console.alerts import specimens_exports as alert_exports
from vedette.central.console.alerts import specimens_rules as alert_rules
from vedette.central.console.alerts import specimens_take as alert_links
from vedette.central.console.business import specimens as business
from vedette.central.console.camera import specimens as camera
from vedette.central.console.device import specimens as device
from vedette.central.console.events import specimens as events
from vedette.central.console.fleet import specimens as fleet
from vedette.central.console.models import specimens as models
from vedette.central.console.page import Page, error_html
from vedette.central.console.render import Looker, render
from vedette.central.console.review import specimens as review
from vedette.central.console.rollouts import specimens as rollouts
from vedette.central.console.settings import specimens as settings
from vedette.central.console.site import specimens as site

_PAGES: Final[dict[str, Callable[[Page], str]]] = {
    **fleet.PATTERNS,
    **site.PATTERNS,
    **device.PATTERNS,
    **camera.PATTERNS,
    **events.PATTERNS,
    **alerts.PATTERNS,
    **alert_rules.PATTERNS,
    **alert_exports.PATTERNS,
    **alert_links.PATTERNS,
    **business.PATTERNS,
    **models.PATTERNS,
    **rollouts.PATTERNS,
    **review.PATTERNS,
    **settings.PATTERNS,
    "error": lambda page: error_html(
        "Not found", "There is no such page.", page.looker, page.now_ms
    ),
}

NAMES: Final = tuple(_PAGES)


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
