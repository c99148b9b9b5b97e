"""What answers for a camera's page.

The rule: asking for a picture and looking at one are written into the audit log before anything is
sent.
"""

from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from vedette.central import camera_settings, commissioned, desired, own_shapes
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.api.changing import OutOfDate, Over, Refused, save_settings
from vedette.central.api.reading import camera_view, require_camera, thumbnail_answer
from vedette.central.console.camera import present
from vedette.central.console.doors import Form
from vedette.central.console.headers import SECURITY_HEADERS
from vedette.central.console.page import page, page_of, see_other
from vedette.central.console.ranges import DEFAULT_RANGE, RANGES, fitting_range
from vedette.central.console.urls import camera_url
from vedette.central.rollups import DAY_MS
from vedette.central.services import Services
from vedette.central.views import CameraView

CAMERA: Final = "/sites/{site:str}/cameras/{device:str}/{camera:str}"


@get(CAMERA, include_in_schema=False)
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
    name = range_name if range_name in RANGES else DEFAULT_RANGE
    view = await camera_view(services, session, place, (now_ms - RANGES[name][1], now_ms))
    fitting = fitting_range([view.row.strip], now_ms)
    if not range_name and fitting != name:
        name = fitting
        span_ms = RANGES[name][1]
        view = await camera_view(services, session, place, (now_ms - span_ms, now_ms))
    await desired.attend(services.db, device, now_ms)
    view = with_picture(view)
    async with services.db.transaction() as tx:
        told = await commissioned.of_camera(tx, device, camera)
    made = present.camera_html(
        view,
        name,
        page_of(request, services, session),
        may_request=access.may(session, "operator"),
        commissioned=told,
    )
    return page(made)


def with_picture(view: CameraView) -> CameraView:
    """Return the view with where its picture is had from; empty where none was taken."""
    row, shown = view.row, view.thumbnail
    # The moment in the URL lets a browser keep the picture: one look is one entry in the log.
    url = f"{camera_url(row.site, row.device, row.camera)}/thumbnail?taken={shown.taken_ms}"
    shown = msgspec.structs.replace(shown, url=url if shown.taken_ms is not None else "")
    return msgspec.structs.replace(view, thumbnail=shown)


@get(f"{CAMERA}/zones", include_in_schema=False)
async def zones_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show zones and lines to be drawn, how far the newest version is, and all before it."""
    now_ms = services.now_ms()
    place = (site, device, camera)
    view = with_picture(await camera_view(services, session, place, (now_ms - DAY_MS, now_ms)))
    await desired.attend(services.db, device, now_ms)
    async with services.db.transaction() as tx:
        sheet = await camera_settings.sheet(tx, device, camera, now_ms)
        own = await own_shapes.read(tx, device, sheet.settings, view.counts)
    made = present.zones_html(
        view,
        sheet,
        page_of(request, services, session),
        may_edit=access.may(session, "operator"),
        done=done[:32],
        own=own,
    )
    return page(made)


@post(f"{CAMERA}/zones/back", include_in_schema=False, status_code=200)
async def bring_back(
    *,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    data: Form,
) -> Response[str]:
    """Have a version of before again, as a new one; everything else of the device stays."""
    access.require(session, "operator")
    await require_camera(services, session, (site, device, camera))
    there = f"{camera_url(site, device, camera)}/zones"
    version = await _bring_back(services, session, (device, camera), data)
    return see_other(f"{there}?done={version}")


async def _bring_back(
    services: Services, session: Session, of: tuple[str, str], form: dict[str, str]
) -> str:
    """Save what a form names; return what to say about it."""
    numbers = [form.get(name, "") for name in ("version", "if_version")]
    if not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in numbers):
        raise Refused(detail="a version is a number")
    version, if_version = map(int, numbers)
    async with services.db.transaction() as tx:
        wanted = await camera_settings.version_of(tx, *of, version)
    if wanted is None:
        return "gone"
    note = f"brought back from version {version}"
    try:
        await save_settings(services, session, of[0], wanted, Over(if_version=if_version), note)
    except OutOfDate:
        return "overtaken"
    return "back"


@post(f"{CAMERA}/thumbnail", include_in_schema=False, status_code=200)
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


@get(f"{CAMERA}/thumbnail", include_in_schema=False)
async def thumbnail(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
) -> Response[bytes]:
    """Send the newest privacy-safe picture; the look stands in the audit log."""
    return await thumbnail_answer(services, session, (site, device, camera), SECURITY_HEADERS)


OWN: Final = [camera_page, zones_page, bring_back, ask_thumbnail, thumbnail]
