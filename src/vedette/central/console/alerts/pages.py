"""What answers for incidents and silences.

The rule: looking and acting are what the operator API does, by the same functions and within the
same scope; a form that was filled in over something that changed since is refused and says so.
"""

from typing import Annotated, Final
from urllib.parse import urlencode

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, FromQuery, QueryParameter

from vedette.central.accounts import Session
from vedette.central.alerting import acting, documents, jobs, looking, picturing, silences
from vedette.central.alerting.facts import Incident, IncidentState, Severity, Where
from vedette.central.alerting.looking import Filters
from vedette.central.alerting.silences import NewSilence
from vedette.central.alerting.views import IncidentView
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, Forbidden, NotThere, TheServices, TheSession
from vedette.central.console.alerts import forms, incidents
from vedette.central.console.alerts import silences as silence_pages
from vedette.central.console.alerts.incidents import ListQuery, incident_url
from vedette.central.console.doors import Form, sentence
from vedette.central.console.page import page, page_of, see_other
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, ConflictError
from vedette.ids import is_slug

MAX_ROWS: Final = 200
INCIDENT: Final = "/incidents/{incident:str}"
Chosen = Annotated[dict[str, str | list[str]], Body(media_type=RequestEncodingType.URL_ENCODED)]
InState = Annotated[str, QueryParameter(name="state")]
_STATES: Final = {*map(str, IncidentState), "silenced", "inhibited", "any"}


async def listed_of(
    in_state: InState = "",
    severity: FromQuery[str] = "",
    site: FromQuery[str] = "",
    rule: FromQuery[str] = "",
    q: FromQuery[str] = "",
) -> ListQuery:
    """Return what the list's URL asks for, cut to size."""
    return ListQuery(
        state=in_state if in_state in _STATES else "",
        severity=severity if severity in set(Severity) else "",
        site=site[:64].replace("\0", ""),
        rule=rule[:64].replace("\0", ""),
        q=q[:64].replace("\0", ""),
    )


def _filters(asked: ListQuery) -> Filters:
    quiet = asked.state if asked.state in {"silenced", "inhibited"} else ""
    state = {"any": "", "": "unresolved"}.get(asked.state, "unresolved" if quiet else asked.state)
    return Filters(
        state=state, severity=asked.severity, site=asked.site, rule=asked.rule, quiet=quiet
    )


@get("/incidents", include_in_schema=False, dependencies={"asked": Provide(listed_of)})
async def incidents_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    asked: NamedDependency[ListQuery],
    before: FromQuery[str] = "",
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show incidents, what nobody looks after first."""
    async with services.db.transaction() as tx:
        rows = await looking.page(
            tx,
            _filters(asked),
            session.sites,
            book=await documents.current(tx),
            now_ms=services.now_ms(),
            after=_cursor(before),
            limit=MAX_ROWS + 1,
        )
        tally = await looking.tally(tx, session.sites)
    older = ""
    if len(rows) > MAX_ROWS:
        rows = rows[:MAX_ROWS]
        last = rows[-1].incident
        further = {"before": f"{last.opened_ms}.{last.incident}"}
        older = f"/incidents?{urlencode(msgspec.structs.asdict(asked) | further)}"
    if asked.q:
        rows = [row for row in rows if asked.q.casefold() in row.incident.title.casefold()]
    made = page_of(request, services, session)
    return page(incidents.list_html(rows, tally, asked, made, older, done))


def _cursor(before: str) -> tuple[int, str] | None:
    opened, _, name = before[:128].partition(".")
    return (int(opened), name) if opened.isdecimal() and len(opened) < 17 and name else None


@post("/incidents/acknowledge", include_in_schema=False, status_code=200)
async def acknowledge_chosen(
    services: TheServices, session: TheSession, data: Chosen
) -> Response[str]:
    """Take on every incident that was chosen; those that changed since are passed over."""
    access.require(session, "operator")
    chosen = data.get("incident", [])
    note = data.get("note", "")
    names = [chosen] if isinstance(chosen, str) else chosen
    for name in dict.fromkeys(names[:MAX_ROWS]):
        try:
            async with services.db.transaction() as tx:
                await _seen(tx, services, session, name, to_act=True)
                await acting.acknowledge(
                    tx,
                    name,
                    by=session.username,
                    note=note if isinstance(note, str) else "",
                    now_ms=services.now_ms(),
                )
        except (ConflictError, NotThere, Forbidden):
            continue
    _wake(services, *names)
    return see_other("/incidents?done=bulk")


@get(INCIDENT, include_in_schema=False)
async def incident_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    incident: FromPath[str],
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show one incident: what is wrong, who was told, who is next."""
    async with services.db.transaction() as tx:
        view = await _seen(tx, services, session, incident)
        seen = view.row.incident.seen  # None too where it was at a site of others
        picture = await picturing.find(tx, seen, services.now_ms()) if seen else None
    made = page_of(request, services, session)
    return page(incidents.incident_html(view, made, done=done, picture=picture))


@get(f"{INCIDENT}/resolve", include_in_schema=False)
async def resolve_page(
    request: AnyRequest, services: TheServices, session: TheSession, incident: FromPath[str]
) -> Response[str]:
    """Say what ending an incident by hand does, before it is done."""
    access.require(session, "operator")
    async with services.db.transaction() as tx:
        view = await _seen(tx, services, session, incident, to_act=True)
    made = page_of(request, services, session)
    return page(incidents.resolve_html(view.row.incident, made))


@post(f"{INCIDENT}/{{action:str}}", include_in_schema=False, status_code=200)
async def act(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    incident: FromPath[str],
    action: FromPath[str],
    data: Form,
) -> Response[str]:
    """Do what somebody decided about an incident."""
    access.require(session, "operator")
    done = _DONE.get(action)
    if done is None:
        raise NotThere(detail="there is no such action")
    try:
        async with services.db.transaction() as tx:
            await _seen(tx, services, session, incident, to_act=True)
            await _act(tx, services, session, incident, action, data)
    except (ConfigError, ConflictError) as error:
        async with services.db.transaction() as tx:
            view = await _seen(tx, services, session, incident)
        made = page_of(request, services, session)
        made = msgspec.structs.replace(made, self_url=incident_url(incident))
        return page(incidents.incident_html(view, made, problem=sentence(error)), 422)
    _wake(services, incident)
    return see_other(f"{incident_url(incident)}?done={done}")


_DONE: Final = {
    "acknowledge": "ack",
    "unacknowledge": "unack",
    "resolve": "resolve",
    "reopen": "reopen",
    "note": "note",
}


async def _act(  # noqa: PLR0917 - who does what to which
    tx: Tx,
    services: Services,
    session: Session,
    incident: str,
    action: str,
    data: dict[str, str],
) -> None:
    by, now_ms, note = session.username, services.now_ms(), data.get("note", "")
    check = _unchanged(data.get("version", ""))
    if action == "acknowledge":
        await acting.acknowledge(tx, incident, by=by, note=note, now_ms=now_ms, check=None)
    elif action == "unacknowledge":
        await acting.unacknowledge(tx, incident, by=by, now_ms=now_ms, check=check)
    elif action == "resolve":
        await acting.resolve(tx, incident, by=by, reason=note, now_ms=now_ms, check=None)
    elif action == "reopen":
        await acting.reopen(tx, incident, by=by, note=note, now_ms=now_ms, check=check)
    else:
        await acting.note(tx, incident, by=by, text=note, now_ms=now_ms)


def _unchanged(version: str) -> acting.Check | None:
    """Return what refuses to act over another version than the form was made from."""
    if not version.isdecimal():
        return None

    def check(found: Incident) -> None:
        if str(found.version) != version:
            raise ConflictError("it changed in between", operator_hint="look again, then decide")

    return check


async def _seen(
    tx: Tx, services: Services, session: Session, incident: str, *, to_act: bool = False
) -> IncidentView:
    """Return an incident as the looker may see it.

    Raises:
        NotThere: There is none; that there is one of other sites is not said.
        Forbidden: It concerns sites of others too, and the looker wants to act.
    """
    view = await looking.one(
        tx,
        incident,
        session.sites,
        book=await documents.current(tx),
        now_ms=services.now_ms(),
        may_act=access.may(session, "operator"),
    )
    if view is None:
        raise NotThere(detail="there is no such incident")
    if to_act and not view.may_act:
        raise Forbidden(detail="it concerns sites that are not yours too")
    return view


def _wake(services: Services, *incidents_: str) -> None:
    topics = [f"incident:{name}" for name in incidents_]
    services.bulletin.publish(jobs.NOW, "incidents", *topics)


@get("/silences", include_in_schema=False)
async def silences_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rule: FromQuery[str] = "",
    site: FromQuery[str] = "",
    device: FromQuery[str] = "",
    camera: FromQuery[str] = "",
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show what is kept quiet, with the form for another silence."""
    asked = {"rule": rule, "site": site, "device": device, "camera": camera}
    asked = {key: value[:128] for key, value in asked.items()}
    return page(await _silences(request, services, session, asked, done=done))


async def _silences(
    request: AnyRequest,
    services: Services,
    session: Session,
    asked: dict[str, str],
    **said: str,
) -> str:
    async with services.db.transaction() as tx:
        rows = await silences.page(
            tx,
            now_ms=services.now_ms(),
            limit=MAX_ROWS,
            sites=session.sites,
            folders=session.folders,
        )
    made = page_of(request, services, session)
    made = msgspec.structs.replace(made, self_url="/silences")
    return silence_pages.list_html(rows, made, asked=asked, **said)


@post("/silences", include_in_schema=False, status_code=200)
async def make_silence(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Keep something quiet."""
    access.require(session, "operator")
    try:
        wanted = _silence_of(data, services.now_ms())
        if not silences.may_make(wanted.where, session.sites, session.folders):
            raise ConfigError(
                "it would keep sites quiet that are not yours", operator_hint="name your sites"
            )
        async with services.db.transaction() as tx:
            await silences.add(tx, wanted, by=session.username, now_ms=services.now_ms())
    except ConfigError as error:
        asked = {key: value[:1000] for key, value in data.items()}
        html = await _silences(request, services, session, asked, problem=sentence(error))
        return page(html, 422)
    _wake(services)
    return see_other("/silences?done=made")


def _silence_of(data: dict[str, str], now_ms: int) -> NewSilence:
    from_ms = forms.moment(data.get("from", ""))
    begin_ms = now_ms if from_ms is None else from_ms
    names = {field: forms.names(data.get(field, "")) for field in silence_pages.FIELDS}
    return NewSilence(
        from_ms=from_ms,
        to_ms=begin_ms + forms.hours_ms(data.get("hours", "")),
        rules=names["rule"],
        where=Where(
            sites=names["site"],
            folders=names["folder"],
            groups=names["group"],
            devices=names["device"],
            cameras=names["camera"],
        ),
        is_maintenance=data.get("maintenance") == "yes",
        reason=data.get("reason", "").strip(),
    )


@post("/silences/{silence:str}/end", include_in_schema=False, status_code=200)
async def end_silence(
    services: TheServices, session: TheSession, silence: FromPath[str]
) -> Response[str]:
    """End a silence now."""
    access.require(session, "operator")
    if not is_slug(silence):
        raise NotThere(detail="there is no such silence")
    try:
        async with services.db.transaction() as tx:
            known = await silences.get(tx, silence)
            if not silences.may_see(known, session.sites, session.folders):
                raise NotThere(detail="there is no such silence")
            if not silences.may_make(known.where, session.sites, session.folders):
                raise Forbidden(detail="it concerns sites that are not yours too")
            await silences.end(tx, silence, by=session.username, now_ms=services.now_ms())
    except silences.NoSilence:
        raise NotThere(detail="there is no such silence") from None
    _wake(services)
    return see_other("/silences?done=ended")


OWN: Final = [
    incidents_page,
    acknowledge_chosen,
    incident_page,
    resolve_page,
    act,
    silences_page,
    make_silence,
    end_silence,
]
