"""Asking a device how it is, from afar, through the operator API.

The rule: it takes the role operator, at a site in scope, for asking as for reading: a log tells of
the inside of a site. Who asked, and each look at an answer, stands in the audit log.
"""

from typing import Annotated, Final, Literal

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from vedette.central import desired, diagnosing, tree
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.changing import Asked
from vedette.central.api.paging import Cursor, Cursors, Limit, paged
from vedette.central.diagnosing import Diagnostic, Question
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.ids import is_slug
from vedette.wire.diagnostics import MAX_LINES, THUMBNAIL

DEVICE: Final = "/sites/{site:str}/devices/{device:str}"


class NewQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to ask: `lines` of a log, `with_cameras` of the doctor, `camera` of a thumbnail."""

    kind: Literal["log", "config", "network", "doctor", "thumbnail"]
    lines: int = 0
    with_cameras: bool = False
    camera: str = ""


class DiagnosticsView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of questions, newest first; `next_cursor` asks for the next, null on the last."""

    diagnostics: list[Diagnostic]
    next_cursor: str | None


class DeviceItem(msgspec.Struct, frozen=True, kw_only=True):
    """A device in a list; `GET /v1/sites/{site}` has its cameras.

    Attributes:
        cameras_down: Cameras that give no picture, with the reason in the device's words.
    """

    device: str
    site: str
    state: str
    since_ms: int | None
    last_contact_ms: int | None
    version: str
    hardware: str
    clock_state: str
    settings_version: int
    enrolled_ms: int
    cameras_down: dict[str, str]


class DevicesView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of devices by site and name; `next_cursor` asks for the next, null on the last."""

    devices: list[DeviceItem]
    next_cursor: str | None


async def require_device(tx: Tx, session: Session, site: str, device: str) -> None:
    """Return where this device is there, alive, at that site, and the asker its operator.

    Raises:
        NotThere: It is not; that it exists elsewhere is not said.
    """
    access.require(session, "operator")
    access.require_site(session, site)
    found = await tx.value("diagnostics_device", device=device) if is_slug(device) else None
    if found is None or found != site:
        raise NotThere(detail="there is no such device")


@post(f"{DEVICE}/diagnostics", status_code=202, summary="Ask a device how it is (operator)")
async def ask_device(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    data: JSONBody[NewQuestion],
) -> Asked:
    """Ask; the device answers at its next contact, where the site's policy lets it."""
    async with services.db.transaction() as tx:
        await require_device(tx, session, site, device)
    if data.kind == THUMBNAIL:
        return Asked(request=await _ask_thumbnail(services, session, device, data.camera))
    if not 0 <= data.lines <= MAX_LINES:
        raise access.HTTPException(detail=f"lines: 1 to {MAX_LINES}", status_code=400)
    question = Question(kind=data.kind, lines=data.lines, with_cameras=data.with_cameras)
    request = await diagnosing.ask(
        services.db,
        services.bulletin,
        device,
        question,
        actor=session.username,
        now_ms=services.now_ms(),
    )
    return Asked(request=request)


async def _ask_thumbnail(services: Services, session: Session, device: str, camera: str) -> str:
    if not is_slug(camera):
        raise NotThere(detail="there is no such camera")
    now_ms = services.now_ms()
    return await desired.ask_thumbnail(
        services.db, services.bulletin, device, camera, actor=session.username, now_ms=now_ms
    )


@get(f"{DEVICE}/diagnostics", summary="What a device was asked, newest first (operator)")
async def read_questions(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[DiagnosticsView]:
    """Return questions with their state, without the answers."""
    cursors = Cursors(services, "diagnostics", site, device)
    after = cursors.read(cursor, tuple[int, str])
    async with services.db.transaction() as tx:
        await require_device(tx, session, site, device)
        rows = await diagnosing.page(tx, device, after, limit + 1, services.now_ms())
    page, further = cursors.ends(rows, lambda row: (row.asked_ms, row.request), limit)
    return paged(request, DiagnosticsView(diagnostics=page, next_cursor=further), further)


@get(f"{DEVICE}/diagnostics/{{request_id:str}}", summary="How far one question is (operator)")
async def read_question(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    request_id: FromPath[str],
) -> Diagnostic:
    """Return whether it waits, was answered or refused, or has expired."""
    async with services.db.transaction() as tx:
        return await _question(services, tx, session, (site, device, request_id))


async def _question(
    services: Services, tx: Tx, session: Session, place: tuple[str, str, str]
) -> Diagnostic:
    site, device, request = place
    await require_device(tx, session, site, device)
    found = await diagnosing.one(tx, device, request, services.now_ms())
    if found is None:
        raise NotThere(detail="there is no such question")
    return found


@get(
    f"{DEVICE}/diagnostics/{{request_id:str}}/answer",
    summary="The answer itself (operator; each look is recorded)",
    media_type="application/octet-stream",
)
async def read_answer(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    request_id: FromPath[str],
) -> Response[bytes]:
    """Return the text, JSON or picture that the device sent."""
    async with services.db.transaction() as tx:
        found = await _question(services, tx, session, (site, device, request_id))
        if found.state != "answered":
            raise NotThere(detail=f"there is no answer: {found.refused or found.state}")
        now_ms = services.now_ms()
        body = await diagnosing.look(tx, found, actor=session.username, now_ms=now_ms)
    media_type = (found.content_type or "image/jpeg").partition(";")[0]  # Litestar adds the charset
    return Response(body, media_type=media_type)


@get("/devices", summary="Every device in scope")
async def read_devices(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    q: FromQuery[str] = "*",
    in_state: Annotated[
        Literal["", "ok", "dark", "never"],
        QueryParameter(name="state", description="Only devices in this state"),
    ] = "",
    version: FromQuery[str] = "",
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[DevicesView]:
    """Return the devices that a selection means, in a state, of a version."""
    cursors = Cursors(services, "devices", q, in_state, version)
    after = cursors.read(cursor, tuple[str, str]) or ("", "")
    async with services.db.transaction() as tx:
        chosen = None
        if q != "*":
            found = await tree.select(tx, q, "device", session.sites)
            chosen = [place.device for place in found]
        rows = await tx.all(
            "devices_page",
            DeviceItem,
            scope=session.sites,
            state=in_state,
            version=version[:64].replace("\0", ""),
            chosen=chosen,
            after_site=after[0],
            after_device=after[1],
            limit=limit + 1,
        )
    page, further = cursors.ends(rows, lambda row: (row.site, row.device), limit)
    return paged(request, DevicesView(devices=page, next_cursor=further), further)


ROUTES: Final = [ask_device, read_questions, read_question, read_answer, read_devices]
