"""Silences in, pages out. Pure: no request, no database, no clock.

The rule: what is kept quiet now stands first, with how many incidents it hides.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from vedette.central.alerting.views import SilenceRow
from vedette.central.console.alerts import sentences, words
from vedette.central.console.alerts.rules import Filled
from vedette.central.console.page import Page
from vedette.central.console.render import render

DONE: Final = {
    "made": "It is quiet there now. Incidents are kept and say so.",
    "ended": "The silence is over: ladders go on.",
}
_ORDER: Final = {"now": 0, "to_come": 1, "over": 2}
FIELDS: Final = ("rule", "site", "folder", "group", "device", "camera")


def list_html(
    rows: Sequence[SilenceRow],
    page: Page,
    *,
    asked: Mapping[str, str] | None = None,
    done: str = "",
    problem: str = "",
) -> str:
    """Return silences with the form for another; `asked` fills it in."""
    found = sorted(rows, key=lambda row: (_ORDER.get(row.state, 3), -row.silence.from_ms))
    return render(
        "alerts/silences.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        rows=found,
        asked=Filled(asked or {}),
        words=words,
        sentences=sentences,
        done=DONE.get(done, ""),
        problem=problem,
    )
