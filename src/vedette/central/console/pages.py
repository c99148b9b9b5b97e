"""The pages behind the door: fleet, camera, events, patterns, and the files that browsers load.

Handlers only: they ask `central.fleet` for views within the asker's scope and hand them to
`present`. A request by htmx gets the live part of the page, under the same URL. The rule: asking
for a picture and looking at one are written into the audit log before anything is sent.
"""

from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import quote, urlencode

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from vedette.central import desired, fleet
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.reading import camera_view, require_camera, thumbnail_answer
from vedette.central.console import assets, present
from vedette.central.console.doors import looker_of, page, see_other
from vedette.central.console.headers import SECURITY_HEADERS
from vedette.central.console.patterns import pattern_html
from vedette.central.console.present import EventQuery, FleetFilters, Page, camera_url
from vedette.central.services import Services

EVENTS_A_PAGE: Final = 50
_CAMERA: Final = "/sites/{site:str}/cameras/{device:str}/{camera:str}"


def _page_of(request: AnyRequest, services: Services, session: Session) -> Page:
    """Return for whom and under which URL a page is made."""
    query = f"?{request.url.query}" if request.url.query else ""
    return Page(
        looker=looker_of(session),
        now_ms=services.now_ms(),
        self_url=request.url.path + query,
        part=request.headers.get("hx-request") == "true",
    )


@get("/", include_in_schema=False)
async def fleet_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    q: FromQuery[str] = "",
    state_name: Annotated[str, QueryParameter(name="state")] = "",
    range_name: Annotated[str, QueryParameter(name="range")] = "",
) -> Response[str]:
    """Show the fleet, worst first."""
    now_ms = services.now_ms()
    asked = range_name if range_name in present.FLEET_RANGES else ""
    span_ms = present.RANGES[asked or present.DEFAULT_RANGE][1]
    view = await fleet.fleet_view(services.db, now_ms, session.sites, span_ms)
    filters = FleetFilters(q=q[:100], state=state_name[:20], range_name=asked)
    return page(present.fleet_html(view, filters, _page_of(request, services, session)))


@get(_CAMERA, include_in_schema=False)
async def camera_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    range_name: Annotated[str, QueryParameter(name="range")] = "",
) -> Response[str]:
    """Show one camera; while somebody looks, its device answers faster."""
    now_ms = services.now_ms()
    place = (site, device, camera)
    name = range_name if range_name in present.RANGES else present.DEFAULT_RANGE
    view = await camera_view(services, session, place, (now_ms - present.RANGES[name][1], now_ms))
    fitting = present.fitting_range([view.row.strip], now_ms)
    if not range_name and fitting != name:
        name = fitting
        span_ms = present.RANGES[name][1]
        view = await camera_view(services, session, place, (now_ms - span_ms, now_ms))
    await desired.attend(services.db, device, now_ms)
    shown = view.thumbnail
    # The moment in the URL lets a browser keep the picture: one look is one entry in the log.
    url = f"{camera_url(site, device, camera)}/thumbnail?taken={shown.taken_ms}"
    shown = msgspec.structs.replace(shown, url=url if shown.taken_ms is not None else "")
    view = msgspec.structs.replace(view, thumbnail=shown)
    may_request = access.may(session, "operator")
    made = present.camera_html(
        view, name, _page_of(request, services, session), may_request=may_request
    )
    return page(made)


@get("/at/{site:str}/{device:str}", include_in_schema=False)
async def labelled_device(
    session: TheSession, site: FromPath[str], device: FromPath[str]
) -> Response[str]:
    """Lead from a printed label to its device; labels outlive the addresses of pages."""
    access.require_site(session, site)
    return see_other(f"/?{urlencode({'q': device})}#site-{quote(site, safe='')}")


@get("/at/{site:str}/{device:str}/{camera:str}", include_in_schema=False)
async def labelled_camera(
    session: TheSession, site: FromPath[str], device: FromPath[str], camera: FromPath[str]
) -> Response[str]:
    """Lead from a printed label to its camera."""
    access.require_site(session, site)
    return see_other(camera_url(site, device, camera))


@post(f"{_CAMERA}/thumbnail", include_in_schema=False, status_code=200)
async def ask_thumbnail(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
) -> Response[str]:
    """Ask the device for a privacy-safe picture and go back to the camera."""
    access.require(session, "operator")
    now_ms = services.now_ms()
    await require_camera(services, session, (site, device, camera))
    await desired.ask_thumbnail(
        services.db, services.bulletin, device, camera, actor=session.username, now_ms=now_ms
    )
    return see_other(camera_url(site, device, camera))


@get(f"{_CAMERA}/thumbnail", include_in_schema=False)
async def thumbnail(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
) -> Response[bytes]:
    """Send the newest privacy-safe picture; the look stands in the audit log."""
    return await thumbnail_answer(services, session, (site, device, camera), SECURITY_HEADERS)


def _field_ms(text: str) -> int | None:
    """Return the moment of a `datetime-local` field, read as UTC; None where it is not one."""
    try:
        return round(datetime.fromisoformat(text[:25]).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return None


@get("/events", include_in_schema=False)
async def events_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromQuery[str] = "",
    device: FromQuery[str] = "",
    camera: FromQuery[str] = "",
    kind: FromQuery[str] = "",
    label: FromQuery[str] = "",
    from_text: Annotated[str, QueryParameter(name="from")] = "",
    to_text: Annotated[str, QueryParameter(name="to")] = "",
    cursor: FromQuery[str] = "",
) -> Response[str]:
    """Show events, newest first."""
    asked = EventQuery(
        site=site[:64],
        device=device[:64],
        camera=camera[:64],
        kind=kind[:32],
        label=label[:64],
        from_text=from_text[:25],
        to_text=to_text[:25],
        cursor=cursor[:200],
    )
    filters = fleet.EventFilters(
        site=asked.site,
        device=asked.device,
        camera=asked.camera,
        kind=asked.kind,
        label=asked.label,
        from_ms=_field_ms(from_text),
        to_ms=_field_ms(to_text),
    )
    found = await fleet.events_page(
        services.db, filters, asked.cursor, EVENTS_A_PAGE, session.sites
    )
    made = _page_of(request, services, session)
    return page(present.events_html(found.rows, asked, found.next_cursor or None, made))


@get("/events/{event:str}", include_in_schema=False)
async def event_page(
    request: AnyRequest, services: TheServices, session: TheSession, event: FromPath[str]
) -> Response[str]:
    """Show one event, its boxes and its evidence."""
    row = await fleet.event(services.db, event, session.sites)
    if row is None:
        raise NotThere(detail="there is no such event")
    return page(present.event_html(row, _page_of(request, services, session)))


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the palette finds."""

    text: str
    kind: str
    href: str


@get("/places", include_in_schema=False)
async def places(services: TheServices, session: TheSession) -> list[Place]:
    """Return every site, device and camera in scope, for the palette."""
    view = await fleet.fleet_view(services.db, services.now_ms(), session.sites)
    found: list[Place] = []
    for site in view.sites:
        there = present.fleet_url(FleetFilters(q=site.site))
        found.append(Place(text=site.name or site.site, kind="site", href=there))
        for device in site.devices:
            here = present.fleet_url(FleetFilters(q=device.device))
            found.append(Place(text=device.device, kind=f"device · {site.site}", href=here))
            found += [
                Place(
                    text=row.name or row.camera,
                    kind=f"camera · {row.site} · {row.device}",
                    href=camera_url(row.site, row.device, row.camera),
                )
                for row in device.cameras
            ]
    return found


@get(["/-/patterns", "/-/patterns/{name:str}"], include_in_schema=False)
async def patterns_page(
    request: AnyRequest, session: TheSession, name: FromPath[str] = ""
) -> Response[str]:
    """Show every component in every state."""
    part = request.headers.get("hx-request") == "true"
    html = pattern_html(name, looker_of(session), part=part)
    if html is None:
        raise NotThere(detail="there is no such pattern")
    return page(html)


@get("/static/{version:str}/{name:path}", include_in_schema=False)
async def static_file(version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Send a file that a page loads; under the present version it may be kept forever."""
    found = assets.asset(str(name).lstrip("/"))
    if found is None:
        raise NotThere(detail="there is no such file")
    kept = "public, max-age=31536000, immutable"
    headers = SECURITY_HEADERS | {
        "Cache-Control": kept if version == assets.asset_version() else "no-store"
    }
    return Response(found[0], media_type=found[1], headers=headers)


OPEN: Final = [static_file]
"""Reached without a session."""

OWN: Final = [
    fleet_page,
    labelled_device,
    labelled_camera,
    camera_page,
    ask_thumbnail,
    thumbnail,
    events_page,
    event_page,
    places,
    patterns_page,
]
