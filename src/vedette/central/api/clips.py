"""Clips of events through the operator API: asking for one, how far it is, and its files.

The rule: asking takes the role operator; whoever may see the event may look, and each look stands
in the audit log. Files go out under the type that central checked, in ranges where asked.
"""

import re
from typing import Any, Final

from litestar import Response, delete, get, post
from litestar.params import FromPath
from litestar.response import Stream

from vedette.central import audit, fleet
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, HTTPException, NotThere, TheServices, TheSession
from vedette.central.clips import fetching, looking
from vedette.central.clips.fetching import StoredFile, Wanted
from vedette.central.clips.looking import ZIP, ClipView
from vedette.central.services import Services
from vedette.central.views import EventRow

CLIP: Final = "/events/{event:str}/clip"
_RANGE: Final = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")


class NoClip(HTTPException):
    """The event has no clip that could be asked for."""

    status_code = 409


class NoSuchPart(HTTPException):
    """The asked range lies outside of the file."""

    status_code = 416


async def event_of(services: Services, session: Session, event: str) -> EventRow:
    """Return an event in the asker's scope.

    Raises:
        NotThere: There is none.
    """
    row = await fleet.event(services.db, event, session.sites)
    if row is None:
        raise NotThere(detail="there is no such event")
    return row


async def ask(services: Services, session: Session, event: str) -> ClipView:
    """Ask the device for the clip of an event.

    Raises:
        Forbidden: The asker is no operator.
        NotThere: No such event.
        NoClip: The event has none, or the device wrote none.
    """
    access.require(session, "operator")
    row = await event_of(services, session, event)
    if not row.evidence:
        raise NoClip(detail="no rule asked for a clip of this event")
    if row.evidence_status in {"refused", "failed"}:
        raise NoClip(detail="the device has no clip of this event")
    wanted = Wanted(
        device=row.device,
        evidence=row.evidence,
        event=row.event,
        site=row.site,
        camera=row.camera,
    )
    await fetching.ask(
        services.db, services.bulletin, wanted, actor=session.username, now_ms=services.now_ms()
    )
    return await view_of(services, row)


async def view_of(services: Services, row: EventRow) -> ClipView:
    """Return how far the clip of an event is."""
    place = (row.site, row.device, row.evidence)
    async with services.db.transaction() as tx:
        return await looking.view(tx, services.blobs, place, services.now_ms())


async def file_answer(
    request: AnyRequest,
    services: Services,
    session: Session,
    row: EventRow,
    name: str,
    *,
    download: bool,
) -> Response[Any]:
    """Return a file of a clip, or the asked range of it, after the look was recorded.

    Raises:
        NotThere: No such file.
        NoSuchPart: The range lies outside.
    """
    seen = await view_of(services, row)
    stored = next((file for file in seen.files if file.name == name), None)
    is_zip = name == ZIP and seen.state == "here"
    if seen.state != "here" or (stored is None and not is_zip):
        raise NotThere(detail="there is no such file of this clip")
    how = "download" if download or is_zip else "look"
    async with services.db.transaction() as tx:
        await looking.look(
            tx,
            (row.device, row.evidence),
            name,
            how=how,
            actor=session.username,
            now_ms=services.now_ms(),
        )
    base = base_of(row.device, row.event)
    if stored is None:
        content = looking.zipped(services.blobs, seen.files, base)
        named = {"Content-Disposition": f'attachment; filename="{base}.zip"'}
        return Stream(content, media_type="application/zip", headers=named)
    kind = "attachment" if download else "inline"
    return sent(request, services, stored, looking.media_of(seen.form, name), f"{kind} {base}")


def base_of(device: str, event: str) -> str:
    """Return a name for files of an event that every system takes."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{device}-{event}")[:100]


def sent(
    request: AnyRequest, services: Services, stored: StoredFile, media: str, shown: str
) -> Stream:
    """Return a file, or the asked range of it; `shown` is `inline` or `attachment` and a name.

    Raises:
        NoSuchPart: The range lies outside.
    """
    kind, base = shown.split(" ", 1)
    headers = {
        "Content-Disposition": f'{kind}; filename="{base}-{stored.name}"',
        "Accept-Ranges": "bytes",
        "ETag": f'"{stored.sha256}"',
        # Not guessed at, and nothing in it is run, should a browser ever show it as a page.
        "Content-Security-Policy": "sandbox; default-src 'none'; media-src 'self'",
    }
    return _ranged(request, services, stored, media, headers)


def _ranged(
    request: AnyRequest,
    services: Services,
    stored: StoredFile,
    media: str,
    headers: dict[str, str],
) -> Stream:
    """Return the asked range (RFC 9110 section 14); the whole where none makes sense."""
    start, end, status = 0, stored.bytes, 200
    unchanged = request.headers.get("if-range", headers["ETag"]) == headers["ETag"]
    found = _RANGE.fullmatch(request.headers.get("range", "").strip()) if unchanged else None
    if found and (found[1] or found[2]):
        first, last = found[1], found[2]
        start = int(first) if first else max(0, stored.bytes - int(last))
        end = min(stored.bytes, int(last) + 1) if first and last else stored.bytes
        if not start < end:
            raise NoSuchPart(
                detail=f"the file has {stored.bytes} bytes",
                headers={"Content-Range": f"bytes */{stored.bytes}"},
            )
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.bytes}"
    headers["Content-Length"] = str(end - start)
    content = looking.part_of(looking.opened(services.blobs, stored), start, end - start)
    return Stream(content, status_code=status, media_type=media, headers=headers)


async def drop(services: Services, session: Session, event: str) -> None:
    """Have central's copy of a clip no more; the device keeps its own.

    Raises:
        Forbidden: The asker is no operator.
        NotThere: No such event, or nothing of its clip is here.
    """
    access.require(session, "operator")
    row = await event_of(services, session, event)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        if not await fetching.drop(tx, row.device, row.evidence, now_ms=now_ms):
            raise NotThere(detail="nothing of this clip is here")
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=session.username,
            action="clip.drop",
            target=f"{row.device}/{row.evidence}",
        )
    services.bulletin.publish(f"desired:{row.device}", f"device:{row.device}")


@post(CLIP, status_code=202, summary="Ask a device for the clip of an event (operator)")
async def ask_clip(services: TheServices, session: TheSession, event: FromPath[str]) -> ClipView:
    """Ask; the device decides by its site's policy: nothing, a blurred copy, or the clip."""
    return await ask(services, session, event)


@get(CLIP, summary="How far the clip of an event is, and its files")
async def read_clip(services: TheServices, session: TheSession, event: FromPath[str]) -> ClipView:
    """Return whether it was asked for, is on its way, is here, or why it does not come."""
    return await view_of(services, await event_of(services, session, event))


@delete(CLIP, status_code=204, summary="Have central's copy of a clip no more (operator)")
async def drop_clip(services: TheServices, session: TheSession, event: FromPath[str]) -> None:
    """Drop the copy, or take back the question; the device keeps its own clip."""
    await drop(services, session, event)


@get(
    f"{CLIP}/{{name:str}}",
    summary="A file of a clip, in ranges where asked; `all.zip` has them all (looks are recorded)",
)
async def read_file(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    event: FromPath[str],
    name: FromPath[str],
) -> Response[Any]:
    """Return `clip.mp4`, `blurred.mp4`, `poster.jpg`, `blurred.jpg` or what else is listed."""
    row = await event_of(services, session, event)
    return await file_answer(request, services, session, row, name, download=True)


ROUTES: Final = [ask_clip, read_clip, drop_clip, read_file]
