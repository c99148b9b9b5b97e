"""Incidents in, pages out. Pure: no request, no database, no clock.

The rule: what nobody looks after comes first, the worst first; every page says who is told next,
and when.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from vedette.central.alerting import seeing
from vedette.central.alerting.facts import Incident, IncidentState, Severity, Subject
from vedette.central.alerting.picturing import Found
from vedette.central.alerting.views import IncidentRow, IncidentView, Tally
from vedette.central.console.alerts import sentences, words
from vedette.central.console.page import Page
from vedette.central.console.render import render
from vedette.central.console.urls import camera_url, device_url, event_url, site_url

DONE: Final = {
    "ack": "It is yours: nobody else is told while the acknowledgement holds.",
    "unack": "The acknowledgement is taken back: the ladder goes on.",
    "resolve": "It is over. What comes after it is another incident.",
    "reopen": "It is open again.",
    "note": "Your note stands in the timeline.",
    "bulk": "Those are yours now.",
    "stale": "It had changed in between: look again.",
}
"""What a page says was done; named in the address, so that nobody puts words into it by a link."""

_RANKS: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}
MAX_MEMBERS: Final = 50


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What the list's URL asks for. `state`: empty (all that is not over), a state, or `any`."""

    state: str = ""
    severity: str = ""
    site: str = ""
    rule: str = ""
    q: str = ""

    def query(self, **changes: str) -> str:
        """Return these filters as a query string, some of them changed, empty ones left out."""
        named = msgspec.structs.asdict(self) | changes
        return urlencode({key: value for key, value in named.items() if value})


def incident_url(incident: str) -> str:
    """Return the URL of an incident's page."""
    return f"/incidents/{quote(incident, safe='')}"


def subject_url(subject: Subject) -> str:
    """Return the URL of what a signal is about; empty where that is no one page."""
    if subject.site and subject.device and subject.camera:
        return camera_url(subject.site, subject.device, subject.camera)
    if subject.site and subject.device:
        return device_url(subject.site, subject.device)
    return site_url(subject.site) if subject.site else ""


def subject_text(subject: Subject) -> str:
    """Return what a signal is about, from the narrow to the wide."""
    parts = [subject.what, subject.place, subject.camera, subject.device, subject.site]
    return " · ".join(part for part in parts if part) or "the fleet"


def rank(row: IncidentRow) -> tuple[int, int, int]:
    """Return where a row stands: unattended first, the worst first, the newest first."""
    incident = row.incident
    group = {
        IncidentState.OPEN: 2 if incident.silenced or incident.inhibited else 0,
        IncidentState.ACKNOWLEDGED: 1,
        IncidentState.RESOLVED: 3,
    }[incident.state]
    severity = 0 if group == 3 else _RANKS[incident.severity]
    at_ms = incident.resolved_ms or incident.opened_ms
    return group, severity, -at_ms


def list_html(  # noqa: PLR0917 - rows, how many there are, what was asked, for whom
    rows: Sequence[IncidentRow],
    tally: Tally,
    query: ListQuery,
    page: Page,
    older: str = "",
    done: str = "",
) -> str:
    """Return the list of incidents, or its live part; `older`: the next page's address."""
    return render(
        "alerts/list_body.html" if page.part else "alerts/list.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        rows=sorted(rows, key=rank),
        tally=tally,
        open_count=sum(tally.open.values()),
        query=query,
        older=older,
        words=words,
        incident_url=incident_url,
        subject_url=subject_url,
        subject_text=subject_text,
        done=DONE.get(done, ""),
    )


def incident_html(
    view: IncidentView,
    page: Page,
    *,
    done: str = "",
    problem: str = "",
    picture: Found | None = None,
) -> str:
    """Return the page of one incident, or its live part."""
    incident = view.row.incident
    members = sorted(
        incident.members, key=lambda one: (one.ended_ms is not None, -(one.ended_ms or one.last_ms))
    )
    return render(
        "alerts/one_body.html" if page.part else "alerts/one.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        view=view,
        row=view.row,
        incident=incident,
        url=incident_url(incident.incident),
        members=members[:MAX_MEMBERS],
        hidden=max(0, len(members) - MAX_MEMBERS) + incident.more,
        live=sum(member.ended_ms is None for member in incident.members),
        words=words,
        sentences=sentences,
        subject_url=subject_url,
        subject_text=subject_text,
        incident_url=incident_url,
        event_url=event_url,
        seen=seeing.sentence(incident.seen) if incident.seen else "",
        picture_url=_picture_url(incident, picture),
        picture=picture,
        done=DONE.get(done, ""),
        problem=problem,
    )


def _picture_url(incident: Incident, picture: Found | None) -> str:
    if incident.seen is None or picture is None or picture.file is None:
        return ""
    return f"{event_url(incident.seen.event)}/clip/{picture.file.name}"


def resolve_html(incident: Incident, page: Page, *, problem: str = "") -> str:
    """Return the page that says what ending an incident by hand does, with its form."""
    return render(
        "alerts/resolve.html",
        looker=page.looker,
        now_ms=page.now_ms,
        incident=incident,
        url=incident_url(incident.incident),
        live=sum(member.ended_ms is None for member in incident.members),
        words=words,
        problem=problem,
    )
