"""What can be read through the operator API: the views that the pages show, as JSON.

Every number that speaks of time stands beside its coverage and the causes of what is missing; a
value without coverage is `null`. The rule: nothing here changes anything, except that a look at a
picture is recorded.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Response, get
from litestar.params import FromPath, FromQuery, QueryParameter

from vedette.central import (
    audit,
    camera_settings,
    desired,
    enrolment,
    events,
    fleet,
    hours,
    tree,
)
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.api.tagging import tag_of, tagged
from vedette.central.camera_settings import Sheet
from vedette.central.hours import Hours
from vedette.central.services import Services
from vedette.central.views import CameraView, Coverage, EventRow, FleetView, Segment, SiteRow
from vedette.ids import is_slug
from vedette.wire.signed import CameraSettings

DAY_MS: Final = 86_400_000
LONGEST_MS: Final = 92 * DAY_MS
CAMERA: Final = "/sites/{site:str}/devices/{device:str}/cameras/{camera:str}"

FromMs = Annotated[int | None, QueryParameter(description="Start, ms since 1970 UTC")]  # fmt: skip
ToMs = Annotated[int | None, QueryParameter(description="End, ms since 1970 UTC; now")]


class BadRequest(access.HTTPException):
    """The question cannot be answered as it stands; `detail` says why."""

    status_code = 400


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """A site, without its devices; `etag` for `If-Match` when it is changed."""

    site: str
    name: str
    time_zone: str
    site_keys: list[str]
    site_threshold: int
    policy_version: int
    folder: str = ""
    labels: dict[str, str] = {}
    hours: Hours | None = None
    open_now: bool = True
    next_change_ms: int | None = None
    etag: str = ""


class CoverageView(msgspec.Struct, frozen=True, kw_only=True):
    """The coverage ledger of one camera over a window."""

    from_ms: int
    to_ms: int
    coverage: Coverage
    segments: list[Segment]


class EventsView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of events, newest first; `next_cursor` asks for the next, null on the last."""

    events: list[EventRow]
    next_cursor: str | None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the audit log; `hash` covers it and the entry before it."""

    number: int
    at_ms: int
    actor: str
    action: str
    target: str
    detail: dict[str, object]
    hash: str


def window(from_ms: int | None, to_ms: int | None, now_ms: int) -> tuple[int, int]:
    """Return a window that makes sense: the last day where nothing was asked.

    Raises:
        BadRequest: Backwards, or longer than what is kept.
    """
    end = now_ms if to_ms is None else to_ms
    start = end - DAY_MS if from_ms is None else from_ms
    if not 0 <= start < end:
        raise BadRequest(detail="from_ms must be before to_ms")
    if end - start > LONGEST_MS:
        raise BadRequest(detail="at most 92 days can be asked for at once")
    return start, end


async def camera_view(
    services: Services, session: Session, place: tuple[str, str, str], asked: tuple[int, int]
) -> CameraView:
    """Return a camera within the asker's scope over the asked window.

    Raises:
        NotThere: No such camera at that site, or out of scope.
    """
    site, device, camera = place
    access.require_site(session, site)
    if not all(is_slug(name) for name in place):
        raise NotThere(detail="there is no such camera")
    view = await fleet.camera_view(
        services.db, device, camera, *asked, services.now_ms(), session.sites
    )
    if view is None or view.row.site != site:
        raise NotThere(detail="there is no such camera")
    return view


async def require_camera(services: Services, session: Session, place: tuple[str, str, str]) -> None:
    """Return where this camera is there and in the asker's scope.

    Raises:
        NotThere: It is not.
    """
    now_ms = services.now_ms()
    await camera_view(services, session, place, (now_ms - 60_000, now_ms))


async def thumbnail_answer(
    services: Services, session: Session, place: tuple[str, str, str], headers: dict[str, str]
) -> Response[bytes]:
    """Return the newest picture of a camera, after the look was recorded.

    Raises:
        NotThere: No such camera in scope, or no picture was ever taken.
    """
    await require_camera(services, session, place)
    _, device, camera = place
    found = await desired.newest_thumbnail(services.db, device, camera)
    if found is None:
        raise NotThere(detail="nobody asked for a picture of this camera yet")
    async with services.db.transaction() as tx:
        await audit.write(
            tx,
            at_ms=services.now_ms(),
            actor=session.username,
            action="thumbnail.look",
            target=f"{device}/{camera}",
            detail={"request": found.request},
        )
    return Response(
        found.answer,
        media_type="image/jpeg",
        headers=headers | {"Cache-Control": "private, max-age=3600"},
    )


@get("/fleet", summary="Every site, device and camera, with a day of coverage")
async def read_fleet(services: TheServices, session: TheSession) -> FleetView:
    """Return what the fleet page shows."""
    return await fleet.fleet_view(services.db, services.now_ms(), session.sites)


@get("/sites", summary="Every site in scope")
async def read_sites(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[SiteView]]:
    """Return the sites without their devices, by name."""
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        rows = await tx.all("sites_all", enrolment.Site)
        places = {place.site: place for place in await tree.sites(tx, session.sites)}
    seen = [row for row in rows if row.site in places]
    page, further = cut(seen, lambda row: (row.site,), Cursors(services, "sites"), cursor, limit)
    views = [
        msgspec.structs.replace(
            row,
            folder=places[row.site].folder,
            labels=places[row.site].labels,
            etag=site_tag(places[row.site]),
            **opening_at(places[row.site], now_ms),
        )
        for row in _views(page)
    ]
    return paged(request, views, further)


def site_tag(place: tree.SitePlace) -> str:
    """Return the tag of what can be changed of a site."""
    return tag_of(place.name, place.time_zone, place.folder, place.hours)


def opening_at(place: tree.SitePlace, now_ms: int) -> dict[str, Any]:
    """Return a site's hours, whether it is open now, and when that changes next."""
    opening, zone = place.opening(), hours.zone_of(place.time_zone)
    return {
        "hours": opening,
        "open_now": hours.is_open(opening, zone, now_ms),
        "next_change_ms": hours.next_change_ms(opening, zone, now_ms),
    }


def _views(rows: list[enrolment.Site]) -> list[SiteView]:
    return [
        SiteView(
            site=row.site,
            name=row.name,
            time_zone=row.time_zone,
            site_keys=row.site_keys,
            site_threshold=row.site_threshold,
            policy_version=row.policy_version,
        )
        for row in rows
    ]


@get("/sites/{site:str}", summary="One site with its devices and cameras")
async def read_site(services: TheServices, session: TheSession, site: FromPath[str]) -> SiteRow:
    """Return one site of the fleet."""
    access.require_site(session, site)
    view = await fleet.fleet_view(services.db, services.now_ms(), [site])
    found = next((row for row in view.sites if row.site == site), None)
    if found is None:
        raise NotThere(detail="there is no such site")
    return found


@get(CAMERA, summary="One camera: coverage, gaps, latency, counts, events")
async def read_camera(
    *,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    from_ms: FromMs = None,
    to_ms: ToMs = None,
) -> CameraView:
    """Return what the camera page shows over a window."""
    asked = window(from_ms, to_ms, services.now_ms())
    return await camera_view(services, session, (site, device, camera), asked)


@get(f"{CAMERA}/coverage", summary="What was observed, and why the rest was not")
async def read_coverage(
    *,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    from_ms: FromMs = None,
    to_ms: ToMs = None,
) -> CoverageView:
    """Return the coverage ledger of one camera."""
    start, end = window(from_ms, to_ms, services.now_ms())
    view = await camera_view(services, session, (site, device, camera), (start, end))
    return CoverageView(
        from_ms=start, to_ms=end, coverage=view.row.coverage, segments=view.row.strip
    )


@get(f"{CAMERA}/settings", summary="What central last signed for this camera")
async def read_settings(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
) -> Response[CameraSettings]:
    """Return the settings that this camera should have; empty where none were ever set."""
    await require_camera(services, session, (site, device, camera))
    found = desired.of_camera(await desired.settings_of(services.db, device), camera)
    return tagged(request, found, tag_of(found))


@get(f"{CAMERA}/settings/versions", summary="Every version, and how far the newest one is")
async def read_settings_versions(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
) -> Sheet:
    """Return who changed what and when, and whether the device runs it already."""
    await require_camera(services, session, (site, device, camera))
    async with services.db.transaction() as tx:
        return await camera_settings.sheet(tx, device, camera, services.now_ms())


@get(f"{CAMERA}/thumbnail", summary="The newest privacy-safe picture", media_type="image/jpeg")
async def read_thumbnail(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
) -> Response[bytes]:
    """Return the picture; the look stands in the audit log."""
    return await thumbnail_answer(services, session, (site, device, camera), {})


def event_cursors(services: Services, filters: events.EventFilters) -> Cursors:
    """Return the cursors of the events that these filters leave."""
    return Cursors(services, "events", *msgspec.structs.astuple(filters))


@get("/events", summary="Events, newest first")
async def read_events(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromQuery[str] = "",
    device: FromQuery[str] = "",
    camera: FromQuery[str] = "",
    kind: FromQuery[str] = "",
    label: FromQuery[str] = "",
    from_ms: FromQuery[int | None] = None,
    to_ms: FromQuery[int | None] = None,
    where: FromQuery[str] = "",
    evidence: Annotated[
        Literal["", "any", "none", "waiting", "on_site", "here", "refused", "failed"],
        QueryParameter(description="How the evidence stands"),
    ] = "",
    late: FromQuery[bool] = False,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[EventsView]:
    """Return one page of events."""
    filters = fleet.EventFilters(
        site=site,
        device=device,
        camera=camera,
        kind=kind,
        label=label,
        from_ms=from_ms,
        to_ms=to_ms,
        where=where,
        evidence=evidence,
        late=late,
    )
    cursors = event_cursors(services, filters)
    after = cursors.read(cursor, events.Key)
    found = await fleet.events_page(services.db, filters, after, limit + 1, session.sites)
    page, further = cursors.ends(found, events.key_of, limit)
    return paged(request, EventsView(events=page, next_cursor=further), further)


@get("/events/{event:str}", summary="One event with its evidence record")
async def read_event(services: TheServices, session: TheSession, event: FromPath[str]) -> EventRow:
    """Return one event."""
    row = await fleet.event(services.db, event, session.sites)
    if row is None:
        raise NotThere(detail="there is no such event")
    return row


@get("/audit", summary="The audit log, newest first (admin)")
async def read_audit(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[list[AuditEntry]]:
    """Return a page of entries."""
    access.require(session, "admin")
    if not access.may_audit(session):
        raise access.Forbidden(detail="the audit log speaks of every site; yours are some")
    cursors = Cursors(services, "audit")
    below = cursors.read(cursor, tuple[int])
    found = await audit.page(services.db, below[0] if below else None, limit + 1)
    page, further = cursors.ends(found, lambda entry: (entry.number,), limit)
    rows = [
        AuditEntry(
            number=entry.number,
            at_ms=entry.at_ms,
            actor=entry.actor,
            action=entry.action,
            target=entry.target,
            detail=msgspec.json.decode(entry.detail, type=dict[str, object]),
            hash=entry.hash.hex(),
        )
        for entry in page
    ]
    return paged(request, rows, further)


ROUTES: Final = [
    read_fleet,
    read_sites,
    read_site,
    read_camera,
    read_coverage,
    read_settings,
    read_settings_versions,
    read_thumbnail,
    read_events,
    read_event,
    read_audit,
]
