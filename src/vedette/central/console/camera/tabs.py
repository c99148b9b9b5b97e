"""What answers for the pages with a camera's numbers: picture, speed, counts.

The rule: numbers are asked of `camera_numbers`; a question that is too large for what is kept is an
answer in words, not a broken page.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar

from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter

from vedette.central import audit, camera_numbers, desired, reference
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.reading import camera_view, require_camera
from vedette.central.camera_numbers import Camera
from vedette.central.console.camera import numbers
from vedette.central.console.camera.pages import CAMERA, with_picture
from vedette.central.console.headers import SECURITY_HEADERS
from vedette.central.console.page import page, page_of, see_other
from vedette.central.console.ranges import DEFAULT_RANGE, RANGES
from vedette.central.console.urls import camera_url
from vedette.central.rollups import DAY_MS
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.central.views import CameraView
from vedette.errors import ConfigError

T = TypeVar("T")
Range = Annotated[str, QueryParameter(name="range", max_length=8)]


async def _look(
    services: Services, session: Session, place: tuple[str, str, str], range_name: str
) -> tuple[CameraView, Camera, str]:
    """Return a camera's head, the window that is asked about, and the window's name."""
    now_ms = services.now_ms()
    name = range_name if range_name in numbers.CAMERA_RANGES else DEFAULT_RANGE
    view = await camera_view(services, session, place, (now_ms - DAY_MS, now_ms))
    await desired.attend(services.db, place[1], now_ms)
    of = Camera(
        device=place[1],
        camera=place[2],
        from_ms=now_ms - RANGES[name][1],
        to_ms=now_ms,
        now_ms=now_ms,
        scope=session.sites,
    )
    return with_picture(view), of, name


async def _told(
    services: Services, ask: Callable[[Tx, Camera], Awaitable[T]], of: Camera
) -> T | str:
    """Return what was asked for, or in words why it cannot be told."""
    try:
        async with services.db.transaction() as tx:
            return await ask(tx, of)
    except ConfigError as error:
        return f"{error}: {error.operator_hint}" if error.operator_hint else str(error)


@get(f"{CAMERA}/picture", include_in_schema=False)
async def picture_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    range_name: Range = "",
) -> Response[str]:
    """Show then and now side by side, and how good the pictures were."""
    view, of, name = await _look(services, session, (site, device, camera), range_name)
    told = await _told(services, camera_numbers.quality, of)
    async with services.db.transaction() as tx:
        then = await reference.read(tx, device, camera, of.now_ms)
    shown = numbers.Shown(view=view, of=of, range_name=name)
    may_request = access.may(session, "operator")
    made = numbers.picture_html(
        shown, told, then, page_of(request, services, session), may_request=may_request
    )
    return page(made)


@get(f"{CAMERA}/reference", include_in_schema=False)
async def reference_picture(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
) -> Response[bytes]:
    """Send how the camera looked when it was right; the look stands in the audit log."""
    await require_camera(services, session, (site, device, camera))
    found = await reference.newest(services.db, device, camera)
    if found is None:
        raise NotThere(detail="no picture of this camera was kept")
    async with services.db.transaction() as tx:
        await audit.write(
            tx,
            at_ms=services.now_ms(),
            actor=session.username,
            action="reference.look",
            target=f"{device}/{camera}",
            detail={"request": found.request},
        )
    headers = SECURITY_HEADERS | {"Cache-Control": "private, max-age=3600"}
    return Response(found.answer, media_type="image/jpeg", headers=headers)


@post([f"{CAMERA}/reference/{how}" for how in ("ask", "keep")], include_in_schema=False,
      status_code=200)  # fmt: skip
async def have_reference(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
) -> Response[str]:
    """Ask the device for its pinned scene, or keep the newest picture as how it shall look."""
    access.require(session, "operator")
    await require_camera(services, session, (site, device, camera))
    of = (services.db, services.bulletin, device, camera)
    by = {"actor": session.username, "now_ms": services.now_ms()}
    if request.url.path.endswith("/ask"):
        await desired.ask_thumbnail(*of, **by, kind="reference")
    else:
        await reference.keep(*of, **by)
    return see_other(f"{camera_url(site, device, camera)}/picture")


@get(f"{CAMERA}/speed", include_in_schema=False)
async def speed_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    range_name: Range = "",
) -> Response[str]:
    """Show rate, latency of every stage against its budget, and what was lost."""
    view, of, name = await _look(services, session, (site, device, camera), range_name)
    told = await _told(services, camera_numbers.speed, of)
    shown = numbers.Shown(view=view, of=of, range_name=name)
    return page(numbers.speed_html(shown, told, page_of(request, services, session)))


@get(f"{CAMERA}/counts", include_in_schema=False)
async def counts_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    range_name: Range = "",
) -> Response[str]:
    """Show what was counted by hour, stays, where they stood, and how sure the model was."""
    view, of, name = await _look(services, session, (site, device, camera), range_name)
    told = await _told(services, camera_numbers.counts, of)
    shown = numbers.Shown(view=view, of=of, range_name=name)
    return page(numbers.counts_html(shown, told, page_of(request, services, session)))


OWN: Final = [picture_page, reference_picture, have_reference, speed_page, counts_page]
