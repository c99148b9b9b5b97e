"""What answers for the list of events and for one event."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, QueryParameter

from vedette.central import cameras, desired, events, fleet
from vedette.central.accounts import Session
from vedette.central.api import clips, holding
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.api.paging import Cursors
from vedette.central.api.reading import event_cursors
from vedette.central.console.doors import Form, sentence
from vedette.central.console.events import present
from vedette.central.console.events.present import EventQuery
from vedette.central.console.page import page, page_of, see_other
from vedette.central.console.urls import event_url
from vedette.central.exporting import holding as keeping
from vedette.central.exporting.holding import MAX_REASON_CHARS
from vedette.central.services import Services
from vedette.errors import ConfigError, NotAllowed

EVENTS_A_PAGE: Final = 50
HOLDS_A_PAGE: Final = 100
AROUND_MS: Final = 10 * 60_000
"""How much before and after an event its page says whether the camera was observed."""


def _field_ms(text: str) -> int | None:
    """Return the moment of a `datetime-local` field, read as UTC; None where it is empty.

    Raises:
        ConfigError: It is none. Left out, a page or file would show more than was asked for.
    """
    if not text:
        return None
    try:
        return round(datetime.fromisoformat(text[:25]).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError as error:
        raise ConfigError(
            f"{text[:25]!r} is no date and time", operator_hint="as in 2026-11-17T09:30"
        ) from error


async def asked_of(
    *,
    site: FromQuery[str] = "",
    device: FromQuery[str] = "",
    camera: FromQuery[str] = "",
    kind: FromQuery[str] = "",
    label: FromQuery[str] = "",
    from_text: Annotated[str, QueryParameter(name="from")] = "",
    to_text: Annotated[str, QueryParameter(name="to")] = "",
    where: FromQuery[str] = "",
    evidence: FromQuery[str] = "",
    late: FromQuery[str] = "",
    cursor: FromQuery[str] = "",
) -> EventQuery:
    """Return what the page's URL asks for, cut to size."""
    return EventQuery(
        site=site[:64],
        device=device[:64],
        camera=camera[:64],
        kind=kind[:32],
        label=label[:64],
        from_text=from_text[:25],
        to_text=to_text[:25],
        where=where[:64],
        evidence=evidence if evidence in events.EVIDENCE else "",
        late="1" if late else "",
        cursor=cursor,
    )


def _filters(asked: EventQuery) -> events.EventFilters:
    return events.EventFilters(
        site=asked.site,
        device=asked.device,
        camera=asked.camera,
        kind=asked.kind,
        label=asked.label,
        from_ms=_field_ms(asked.from_text),
        to_ms=_field_ms(asked.to_text),
        where=asked.where,
        evidence=asked.evidence,
        late=bool(asked.late),
    )


TheAsked = NamedDependency[EventQuery]
_ASKED: Final = {"asked": Provide(asked_of)}


@get("/events", include_in_schema=False, dependencies=_ASKED)
async def events_page(
    request: AnyRequest, services: TheServices, session: TheSession, asked: TheAsked
) -> Response[str]:
    """Show events, newest first."""
    filters = _filters(asked)
    cursors = event_cursors(services, filters)
    after = cursors.read(asked.cursor, events.Key)
    found = await fleet.events_page(services.db, filters, after, EVENTS_A_PAGE + 1, session.sites)
    rows, further = cursors.ends(found, events.key_of, EVENTS_A_PAGE)
    made = page_of(request, services, session)
    return page(present.events_html(rows, asked, further, made))


@get(["/events.csv", "/events.json"], include_in_schema=False, dependencies=_ASKED)
async def events_file(
    request: AnyRequest, services: TheServices, session: TheSession, asked: TheAsked
) -> Response[Any]:
    """Send what the filters leave as a file: all pages of it, up to a bound."""
    rows = await events.every(services.db, _filters(asked), session.sites)
    kind = request.url.path.rpartition(".")[2]
    headers = {"Content-Disposition": f'attachment; filename="vedette-events.{kind}"'}
    if kind == "csv":
        text = present.csv_text(rows)
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
    return Response(msgspec.json.encode(rows), media_type="application/json", headers=headers)


@get("/events/{event:str}", include_in_schema=False)
async def event_page(
    request: AnyRequest, services: TheServices, session: TheSession, event: FromPath[str]
) -> Response[str]:
    """Show one event, its boxes and its evidence."""
    return page(await _event(request, services, session, event))


async def _event(  # noqa: PLR0917 - which, for whom, and what was typed
    request: AnyRequest,
    services: Services,
    session: Session,
    event: str,
    problem: str = "",
    reason: str = "",
) -> str:
    row = await clips.event_of(services, session, event)
    clip = await clips.view_of(services, row) if row.evidence else None
    held = await holding.standing(services, session, event)
    now_ms = services.now_ms()
    waits = held is not None and held.on_device == "asked"
    if waits or (clip is not None and clip.state in {"asked", "sending"}):
        await desired.attend(services.db, row.device, now_ms)
    to_ms = max(min(row.at_ms + AROUND_MS, now_ms), row.at_ms + 1)
    made = page_of(request, services, session)
    return present.event_html(
        row,
        msgspec.structs.replace(made, self_url=event_url(event)),
        clip=clip,
        related=await events.related(services.db, row, session.sites),
        watched=await cameras.watched(
            services.db,
            row.device,
            row.camera,
            from_ms=row.at_ms - AROUND_MS,
            to_ms=to_ms,
            now_ms=now_ms,
        ),
        held=held,
        problem=problem,
        reason=reason,
    )


@post("/events/{event:str}/hold", include_in_schema=False, status_code=200)
async def hold_event(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    event: FromPath[str],
    data: Form,
) -> Response[str]:
    """Have an event and its evidence outlive every retention."""
    reason = data.get("reason", "")
    try:
        await holding.hold(services, session, event, reason)
    except (ConfigError, NotAllowed) as error:
        said, typed = sentence(error), reason[:MAX_REASON_CHARS]
        return page(await _event(request, services, session, event, said, typed), 422)
    return see_other(f"{event_url(event)}#h-hold")


@post("/events/{event:str}/hold/drop", include_in_schema=False, status_code=200)
async def release_event(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    event: FromPath[str],
    data: Form,
) -> Response[str]:
    """Let a held event go its way again."""
    reason = data.get("reason", "")
    try:
        await holding.release(services, session, event, reason)
    except ConfigError as error:
        return page(await _event(request, services, session, event, sentence(error)), 422)
    return see_other(f"{event_url(event)}#h-hold")


@post("/events/{event:str}/clip", include_in_schema=False, status_code=200)
async def ask_clip(
    services: TheServices, session: TheSession, event: FromPath[str]
) -> Response[str]:
    """Ask the device for the clip and go back to the event."""
    await clips.ask(services, session, event)
    return see_other(f"{event_url(event)}#h-clip")


@post("/events/{event:str}/clip/drop", include_in_schema=False, status_code=200)
async def drop_clip(
    services: TheServices, session: TheSession, event: FromPath[str]
) -> Response[str]:
    """Have central's copy of the clip no more, or take the question back."""
    await clips.drop(services, session, event)
    return see_other(f"{event_url(event)}#h-clip")


@get("/events/{event:str}/clip/{name:str}", include_in_schema=False)
async def clip_file(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    event: FromPath[str],
    name: FromPath[str],
    download: FromQuery[str] = "",
) -> Response[Any]:
    """Send a file of the clip, or a part of one; the look stands in the audit log."""
    row = await clips.event_of(services, session, event)
    return await clips.file_answer(request, services, session, row, name, download=bool(download))


@get("/holds", include_in_schema=False)
async def holds_page(
    request: AnyRequest, services: TheServices, session: TheSession, cursor: FromQuery[str] = ""
) -> Response[str]:
    """Show what is held, why, by whom, and what the devices say to it."""
    cursors = Cursors(services, "held")
    after = cursors.read(cursor, tuple[int, str, str])
    async with services.db.transaction() as tx:
        found = await keeping.page(tx, session.sites, after=after, limit=HOLDS_A_PAGE + 1)
    rows, further = cursors.ends(
        found, lambda one: (one.held_ms, one.device, one.event), HOLDS_A_PAGE
    )
    return page(present.holds_html(rows, further, page_of(request, services, session)))


OWN: Final = [
    events_page,
    events_file,
    holds_page,
    event_page,
    ask_clip,
    drop_clip,
    clip_file,
    hold_event,
    release_event,
]
