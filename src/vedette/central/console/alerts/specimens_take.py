"""The page behind a link in a notice; an incident with what was seen."""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.alerting.facts import Incident, Notice, NoticeKind, Seen
from vedette.central.alerting.picturing import COMING, Found
from vedette.central.alerting.taking import VOID, Holds, Standing
from vedette.central.console.alerts import incidents, take
from vedette.central.console.alerts.specimens import COVERED, NASTY, NOW_MS, view
from vedette.central.console.alerts.take import Form
from vedette.central.console.page import Page
from vedette.wire.messages import EventKind

_SEEN: Final = Seen(
    event="ev-1",
    evidence="cl-1",
    kind=EventKind.ZONE_ENTERED,
    at_ms=COVERED.opened_ms,
    subject=msgspec.structs.replace(COVERED.subject, place="entrance"),
    label="person",
    confidence=0.87,
    site_name="North Street",
    time_zone="Europe/Lisbon",
)
_FORM: Final = Form(url="/take/dl-6f1c0f3a9d2b4e5f6a7b.19b4a1c2d00.AAAAAAAA", csrf="AAAA")


def _standing(holds: Holds, incident: Incident) -> Standing:
    notice = Notice(
        key="k",
        kind=NoticeKind.OPENED,
        channel="mail",
        person="anna",
        due_ms=incident.opened_ms,
        incident=msgspec.structs.replace(incident, seen=_SEEN),
    )
    by = "anna" if holds is Holds.YOURS else "ben"
    return Standing(holds=holds, notice=notice, by=by, since_ms=NOW_MS - 60_000)


def _page(holds: Holds, incident: Incident = COVERED) -> Callable[[Page], str]:
    found = VOID if holds is Holds.VOID else _standing(holds, incident)
    form = _FORM if holds is Holds.OPEN else None
    return lambda page: take.html(found, form, page.now_ms, is_on=True)


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "take": _page(Holds.OPEN),
    "take-hostile": _page(Holds.OPEN, NASTY),
    "take-taken": _page(Holds.TAKEN),
    "take-void": _page(Holds.VOID),
    "incident-seen": lambda page: incidents.incident_html(
        view(msgspec.structs.replace(COVERED, seen=_SEEN)), page, picture=Found(said=COMING)
    ),
}
