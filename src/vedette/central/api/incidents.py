"""Incidents and silences through the operator API: looking, acting, keeping quiet.

The rule: somebody sees an incident where they see one of its sites, and of it only what concerns
theirs; they act on it where they see all of its sites, with the role operator. A silence is made
where all that it means is in scope. What is changed can be held against `If-Match`.
"""

from typing import Annotated, Final, Literal

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from vedette.central.accounts import Session
from vedette.central.alerting import acting, documents, jobs, looking, silences, store
from vedette.central.alerting.facts import Incident, IncidentState, Severity, Silence, Where
from vedette.central.alerting.looking import Filters
from vedette.central.alerting.silences import NewSilence, Preview
from vedette.central.alerting.views import (
    IncidentRow,
    IncidentView,
    SilenceRow,
    Tally,
    TimelineRow,
)
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, HTTPException, NotThere, TheServices, TheSession
from vedette.central.api.paging import Cursor, Cursors, Limit, paged
from vedette.central.api.tagging import IfMatch, require_match, tag_of, tagged
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.central.views import EventRow
from vedette.errors import ConfigError, ConflictError

INCIDENT: Final = "/incidents/{incident:str}"
SILENCE: Final = "/silences/{silence:str}"

Note = Annotated[str, msgspec.Meta(max_length=acting.MAX_NOTE_CHARS)]


class NewAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done about an incident, and why."""

    action: Literal["acknowledge", "unacknowledge", "resolve", "reopen", "note"]
    note: Note = ""


class NewActions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done about several incidents at once."""

    incidents: Annotated[list[str], msgspec.Meta(min_length=1, max_length=acting.MAX_AT_ONCE)]
    action: Literal["acknowledge", "unacknowledge", "resolve", "note"]
    note: Note = ""


class IncidentStanding(msgspec.Struct, frozen=True, kw_only=True):
    """Where an incident is after an action."""

    incident: str
    state: IncidentState
    version: int
    ack_by: str = ""
    ack_until_ms: int | None = None


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an action on several: those that it holds for, and why not for the others."""

    done: list[IncidentStanding]
    refused: dict[str, str]


class IncidentsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of incidents, newest first; `next_cursor` asks for the next, null on the last."""

    incidents: list[IncidentRow]
    next_cursor: str | None


class TimelinePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of what happened to an incident, newest first."""

    timeline: list[TimelineRow]
    next_cursor: str | None


class IncidentEventsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of an incident's events, newest first."""

    events: list[EventRow]
    next_cursor: str | None


class SilencesPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of silences, those that end last first."""

    silences: list[SilenceRow]
    next_cursor: str | None


# ------------------------------------------------------------------------------------- looking


@get("/incidents", summary="Incidents of your sites, newest first")
async def read_incidents(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    in_state: Annotated[
        str,
        QueryParameter(name="state", description="open, acknowledged, resolved or unresolved"),
    ] = "",
    severity: Annotated[str, QueryParameter(description="info, warning or critical")] = "",
    site: Annotated[str, QueryParameter(description="Only those that concern it")] = "",
    device: Annotated[str, QueryParameter(description="Only those about it alone")] = "",
    rule: Annotated[str, QueryParameter(description="Only of this rule")] = "",
    quiet: Annotated[str, QueryParameter(description="silenced, inhibited or no")] = "",
    late: Annotated[bool, QueryParameter(description="With late news")] = True,
    from_ms: Annotated[int | None, QueryParameter(description="Began then or later")] = None,
    to_ms: Annotated[int | None, QueryParameter(description="Began before")] = None,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[IncidentsPage]:
    """Return each with who is told next, if nobody acknowledges."""
    _one_of("state", in_state, looking.STATES)
    _one_of("severity", severity, ("", *Severity))
    _one_of("quiet", quiet, looking.QUIET)
    filters = Filters(
        state=in_state, severity=severity, site=site, device=device, rule=rule, quiet=quiet,
        late=late, from_ms=from_ms, to_ms=to_ms,
    )  # fmt: skip
    cursors = Cursors(services, "incidents", *msgspec.structs.astuple(filters))
    after = cursors.read(cursor, tuple[int, str])
    async with services.db.transaction() as tx:
        rows = await looking.page(
            tx,
            filters,
            session.sites,
            book=await documents.current(tx),
            now_ms=services.now_ms(),
            after=after,
            limit=limit + 1,
        )
    page, further = cursors.ends(
        rows, lambda row: (row.incident.opened_ms, row.incident.incident), limit
    )
    return paged(request, IncidentsPage(incidents=page, next_cursor=further), further)


@get("/incidents/counts", summary="How many incidents are open, by severity")
async def read_incident_counts(
    request: AnyRequest, services: TheServices, session: TheSession
) -> Response[Tally]:
    """Return counts for a badge; what is silenced or inhibited is counted apart."""
    async with services.db.transaction() as tx:
        return tagged(request, await looking.tally(tx, session.sites))


@get(INCIDENT, summary="One incident with its newest timeline and events")
async def read_incident(
    request: AnyRequest, services: TheServices, session: TheSession, incident: FromPath[str]
) -> Response[IncidentView]:
    """Return all of it that concerns your sites; its `etag` is for `If-Match` of actions."""
    async with services.db.transaction() as tx:
        found = await looking.one(
            tx,
            incident,
            session.sites,
            book=await documents.current(tx),
            now_ms=services.now_ms(),
            may_act=access.may(session, "operator"),
        )
    if found is None:
        raise _no_incident()
    return tagged(request, found, _tag(found.row.incident))


@get(f"{INCIDENT}/timeline", summary="What happened to an incident, newest first")
async def read_incident_timeline(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    incident: FromPath[str],
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[TimelinePage]:
    """Return every step with who and when."""
    cursors = Cursors(services, "incident-timeline", incident)
    after = cursors.read(cursor, tuple[int])
    async with services.db.transaction() as tx:
        await _seen(tx, session, incident)
        rows = await looking.timeline(
            tx, incident, session.sites, below=after[0] if after else 2**62, limit=limit + 1
        )
    page, further = cursors.ends(rows, lambda row: (row.number,), limit)
    return paged(request, TimelinePage(timeline=page, next_cursor=further), further)


@get(f"{INCIDENT}/events", summary="Events of an incident, newest first")
async def read_incident_events(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    incident: FromPath[str],
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[IncidentEventsPage]:
    """Return them as the list of all events does."""
    cursors = Cursors(services, "incident-events", incident)
    after = cursors.read(cursor, tuple[int, str, str])
    async with services.db.transaction() as tx:
        await _seen(tx, session, incident)
        rows = await looking.events_of(tx, incident, session.sites, after=after, limit=limit + 1)
    page, further = cursors.ends(rows, lambda row: (row.at_ms, row.event, row.device), limit)
    return paged(request, IncidentEventsPage(events=page, next_cursor=further), further)


# -------------------------------------------------------------------------------------- acting


@post(
    f"{INCIDENT}/actions", status_code=200,
    summary="Acknowledge, give back, resolve, reopen or note (operator)",
)  # fmt: skip
async def act_on_incident(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    incident: FromPath[str],
    data: JSONBody[NewAction],
    if_match: IfMatch = None,
) -> Response[IncidentStanding]:
    """Do it once, however often it is asked; it stands on the timeline and in the audit log."""
    access.require(session, "operator")

    def check(found: Incident) -> None:
        require_match(if_match, _tag(found))

    async with services.db.transaction() as tx:
        await _seen(tx, session, incident, to_act=True)
        changed = await _act(tx, services, session, incident, data, check)
    _wake(services, incident)
    return tagged(request, _standing(changed), _tag(changed))


@post("/incidents/actions", status_code=200, summary="Act on several incidents (operator)")
async def act_on_incidents(
    services: TheServices, session: TheSession, data: JSONBody[NewActions]
) -> Acted:
    """Do it to each; what cannot be is said for each, and holds up none of the others."""
    access.require(session, "operator")
    done: list[IncidentStanding] = []
    refused: dict[str, str] = {}
    one = NewAction(action=data.action, note=data.note)
    for incident in dict.fromkeys(data.incidents):
        try:
            async with services.db.transaction() as tx:
                await _seen(tx, session, incident, to_act=True)
                changed = await _act(tx, services, session, incident, one, None)
        except HTTPException as error:
            refused[incident[:64]] = error.detail
        except (ConfigError, ConflictError) as error:
            refused[incident[:64]] = str(error)
        else:
            done.append(_standing(changed))
    _wake(services, *(one.incident for one in done))
    return Acted(done=done, refused=refused)


async def _act(  # noqa: PLR0917 - who does what to which, over which version
    tx: Tx,
    services: Services,
    session: Session,
    incident: str,
    wanted: NewAction,
    check: acting.Check | None,
) -> Incident:
    by, now_ms = session.username, services.now_ms()
    if wanted.action == "unacknowledge":
        return await acting.unacknowledge(tx, incident, by=by, now_ms=now_ms, check=check)
    if wanted.action == "resolve":
        return await acting.resolve(
            tx, incident, by=by, reason=wanted.note, now_ms=now_ms, check=check
        )
    if wanted.action == "note":
        return await acting.note(tx, incident, by=by, text=wanted.note, now_ms=now_ms, check=check)
    act = acting.acknowledge if wanted.action == "acknowledge" else acting.reopen
    return await act(tx, incident, by=by, note=wanted.note, now_ms=now_ms, check=check)


# ------------------------------------------------------------------------------------ silences


@get("/silences", summary="Silences and planned work, those that end last first")
async def read_silences(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    in_state: Annotated[str, QueryParameter(name="state", description="now, to_come or over")] = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[SilencesPage]:
    """Return those that speak of your sites, with how many incidents each hides now."""
    _one_of("state", in_state, silences.STATES)
    cursors = Cursors(services, "silences", in_state)
    async with services.db.transaction() as tx:
        rows = await silences.page(
            tx,
            now_ms=services.now_ms(),
            state=in_state,
            after=cursors.read(cursor, tuple[int, str]),
            limit=limit + 1,
            sites=session.sites,
            folders=session.folders,
        )
    page, further = cursors.ends(rows, lambda row: (row.silence.to_ms, row.silence.silence), limit)
    return paged(request, SilencesPage(silences=page, next_cursor=further), further)


@post("/silences/preview", status_code=200, summary="What a silence would hide now (operator)")
async def preview_silence(
    services: TheServices, session: TheSession, data: JSONBody[NewSilence]
) -> Preview:
    """Return the open incidents that it would keep quiet. Nothing is stored."""
    access.require(session, "operator")
    _require_where(session, data.where)
    async with services.db.transaction() as tx:
        return await silences.preview(
            tx, data, by=session.username, now_ms=services.now_ms(), sites=session.sites
        )


@post("/silences", status_code=201, summary="Have nobody told for a while (operator)")
async def make_silence(
    services: TheServices, session: TheSession, data: JSONBody[NewSilence]
) -> Silence:
    """Store it; open incidents are looked at again at once."""
    access.require(session, "operator")
    _require_where(session, data.where)
    async with services.db.transaction() as tx:
        made = await silences.add(tx, data, by=session.username, now_ms=services.now_ms())
    _wake(services)
    return made


@get(SILENCE, summary="One silence")
async def read_silence(
    request: AnyRequest, services: TheServices, session: TheSession, silence: FromPath[str]
) -> Response[Silence]:
    """Return it; its `etag` is for `If-Match` of changes."""
    async with services.db.transaction() as tx:
        found = await _silence(tx, session, silence)
    return tagged(request, found, tag_of(found))


@put(SILENCE, summary="Prolong or change a silence (operator)")
async def change_silence(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    silence: FromPath[str],
    data: JSONBody[NewSilence],
    if_match: IfMatch = None,
) -> Response[Silence]:
    """Have it be as given; who made it stays."""
    access.require(session, "operator")
    async with services.db.transaction() as tx:
        await store.hold(tx)
        known = await _silence(tx, session, silence, to_change=True)
        require_match(if_match, tag_of(known))
        _require_where(session, data.where)
        changed = await silences.change(
            tx, silence, data, by=session.username, now_ms=services.now_ms()
        )
    _wake(services)
    return tagged(request, changed, tag_of(changed))


@delete(SILENCE, status_code=200, summary="End a silence now (operator)")
async def end_silence(
    services: TheServices, session: TheSession, silence: FromPath[str]
) -> Silence:
    """Have it over; it stays in the list as over."""
    access.require(session, "operator")
    async with services.db.transaction() as tx:
        await store.hold(tx)
        await _silence(tx, session, silence, to_change=True)
        ended = await silences.end(tx, silence, by=session.username, now_ms=services.now_ms())
    _wake(services)
    return ended


# --------------------------------------------------------------------------------- small words


async def _seen(tx: Tx, session: Session, incident: str, *, to_act: bool = False) -> None:
    if not await looking.in_scope(tx, incident, session.sites):
        raise _no_incident()
    if to_act and not await looking.acts_in(tx, incident, session.sites):
        raise access.Forbidden(
            detail="it concerns sites besides yours: somebody who sees them all has to act on it"
        )


async def _silence(tx: Tx, session: Session, silence: str, *, to_change: bool = False) -> Silence:
    try:
        found = await silences.get(tx, silence)
    except silences.NoSilence:
        raise NotThere(detail="there is no such silence") from None
    if not silences.may_see(found, session.sites, session.folders):
        raise NotThere(detail="there is no such silence")
    if to_change and not silences.may_make(found.where, session.sites, session.folders):
        raise access.Forbidden(detail="it holds beyond your sites: it is not yours to change")
    return silences.theirs(found, session.sites)


def _require_where(session: Session, where: Where) -> None:
    if not silences.may_make(where, session.sites, session.folders):
        raise access.Forbidden(
            detail="a silence of yours names sites or folders, all of them yours"
        )


def _one_of(name: str, value: str, words: tuple[str, ...]) -> None:
    if value not in words:
        known = ", ".join(word for word in words if word)
        raise HTTPException(detail=f"{name} is one of {known}", status_code=400)


def _no_incident() -> NotThere:
    return NotThere(detail="there is no such incident")


def _tag(incident: Incident) -> str:
    return tag_of(incident.incident, incident.version)


def _standing(incident: Incident) -> IncidentStanding:
    return IncidentStanding(
        incident=incident.incident,
        state=incident.state,
        version=incident.version,
        ack_by=incident.ack_by,
        ack_until_ms=incident.ack_until_ms,
    )


def _wake(services: Services, *incidents: str) -> None:
    changed = (f"incident:{incident}" for incident in incidents)
    services.bulletin.publish(jobs.NOW, jobs.CHANGED, *changed)


ROUTES: Final = [
    read_incidents,
    read_incident_counts,
    read_incident,
    read_incident_timeline,
    read_incident_events,
    act_on_incident,
    act_on_incidents,
    read_silences,
    preview_silence,
    make_silence,
    read_silence,
    change_silence,
    end_silence,
]
