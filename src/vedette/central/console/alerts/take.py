"""A link's standing in, the page of one button out. Pure."""

from typing import Final

import msgspec

from vedette.central.alerting import seeing
from vedette.central.alerting.channels import words as said
from vedette.central.alerting.facts import Severity
from vedette.central.alerting.taking import Holds, Standing
from vedette.central.console.alerts import words
from vedette.central.console.alerts.words import Word
from vedette.central.console.render import render

_OFF: Final = (
    "This link takes nothing on.",
    "Links in notices are switched off here. Sign in to act on incidents.",
)
_VOID: Final = (
    "This link does not hold.",
    "It was not copied whole, or what it was for is no more. Sign in to act on incidents.",
)
_EXPIRED: Final = (
    "This link has run out.",
    "The newest notice has one that holds; or sign in to act on the incident.",
)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What the page says of the incident: as the notice said it."""

    severity: Word
    title: str
    seen: str
    since: str
    todo: str
    person: str
    url: str


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """Where the button leads, and the word that proves that this page was read."""

    url: str
    csrf: str


def html(found: Standing, form: Form | None, now_ms: int, *, is_on: bool) -> str:
    """Return the page; without a form it has no button."""
    problem, hint = "", ""
    if found.notice is None:
        expired = _EXPIRED if found.holds is Holds.EXPIRED else _VOID
        problem, hint = expired if is_on else _OFF
    return render(
        "alerts/take.html",
        looker=None,
        now_ms=now_ms,
        heading="An incident" if found.notice else "No incident",
        holds=str(found.holds),
        shown=_shown(found),
        by=found.by,
        since_ms=found.since_ms,
        form=form,
        problem=problem,
        hint=hint,
    )


def often_html(now_ms: int) -> str:
    """Return the page for whoever asks too often."""
    return render(
        "alerts/take.html",
        looker=None,
        now_ms=now_ms,
        heading="Too often",
        holds="void",
        shown=None,
        by="",
        since_ms=None,
        form=None,
        problem="Too many tries.",
        hint="Wait a minute, then open the link again.",
    )


def _shown(found: Standing) -> Shown | None:
    notice = found.notice
    if notice is None:
        return None
    incident = notice.incident
    zone = incident.seen.time_zone if incident.seen else "UTC"
    return Shown(
        severity=words.severity_word(Severity(incident.severity)),
        title=incident.title,
        seen=seeing.sentence(incident.seen) if incident.seen else said.where(incident.subject),
        since=seeing.local(incident.opened_ms, zone),
        todo=incident.todo,
        person=notice.person,
        url=f"/incidents/{incident.incident}",
    )
