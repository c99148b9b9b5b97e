"""The repository of what may be installed, through the operator API: look, send files, publish.

The rule: only an administrator of the whole fleet sends anything, and what they send is taken by
the rules of the repository alone; central's own word adds nothing to it. Files come first, in
parts that may be repeated; then all metadata at once.
"""

import asyncio
from typing import Final

import msgspec
from litestar import get, post, put
from litestar.params import FromPath, JSONBody

from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import TheServices, TheSession
from vedette.central.releases import keeping
from vedette.central.releases.keeping import UPLOAD, ReleasesView, Taken
from vedette.errors import MalformedReport, TooLarge
from vedette.trust.tuf.hosting import MAX_TARGET_BYTES
from vedette.wire.evidence import is_sha256

MAX_PART_BYTES: Final = 256 * 1024


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a file: where it begins, how long the whole is, and its bytes in base64."""

    begin: int
    total: int
    data: bytes


class Offered(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Metadata by file name, `3.targets.json`, in base64."""

    files: dict[str, bytes]


class Come(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a file is here."""

    bytes: int
    whole: bool


@get("/releases", summary="What may be installed: roles, versions, keys, expiry")
async def read_releases(services: TheServices, session: TheSession) -> ReleasesView:
    """Return how the repository stands; it names no site and no device."""
    del session
    async with services.db.transaction() as tx:
        return await keeping.view(tx, services.now_ms())


@post(
    "/releases/metadata",
    status_code=200,
    summary="Publish metadata that its signers signed: all of it or nothing (admin)",
    request_max_body_size=2 * keeping.MAX_BUNDLE_BYTES,
)
async def publish(services: TheServices, session: TheSession, data: JSONBody[Offered]) -> Taken:
    """Take it by the rules of the repository: thresholds, versions, expiry, hashes, folders."""
    _require_publisher(session)
    return await keeping.publish(
        services.db,
        services.config.state,
        data.files,
        actor=session.username,
        now_ms=services.now_ms(),
    )


@get("/releases/files/{sha256:str}", summary="How much of a file has come (admin)")
async def read_come(services: TheServices, session: TheSession, sha256: FromPath[str]) -> Come:
    """Return where an upload goes on."""
    _require_publisher(session)
    blobs = keeping.release_blobs(services.config.state)
    _require_hash(sha256)
    if await asyncio.to_thread(blobs.has, sha256):
        size = await asyncio.to_thread(lambda: blobs.path(sha256).stat().st_size)
        return Come(bytes=size, whole=True)
    return Come(bytes=await asyncio.to_thread(blobs.come, sha256, UPLOAD), whole=False)


@put("/releases/files/{sha256:str}", status_code=200, summary="Send a part of a file (admin)")
async def send_part(
    services: TheServices, session: TheSession, sha256: FromPath[str], data: JSONBody[Part]
) -> Come:
    """Take a part where the last one ended, at most a quarter of a megabyte; checked when whole."""
    _require_publisher(session)
    _require_hash(sha256)
    begin, total = data.begin, data.total
    if total > MAX_TARGET_BYTES:
        raise TooLarge(f"a file of {total} bytes; at most {MAX_TARGET_BYTES}")
    if not 0 <= begin <= total or len(data.data) > MAX_PART_BYTES:
        raise MalformedReport(f"a part lies within its file and has at most {MAX_PART_BYTES} bytes")
    blobs = keeping.release_blobs(services.config.state)
    if await asyncio.to_thread(blobs.has, sha256):
        return Come(bytes=total, whole=True)
    if await asyncio.to_thread(blobs.room_bytes) < total:
        raise TooLarge("central's disk has no room for this file")
    have = await asyncio.to_thread(blobs.append, sha256, UPLOAD, begin, data.data, total)
    if have == total:
        await asyncio.to_thread(blobs.finish, sha256, UPLOAD)
    return Come(bytes=have, whole=have == total)


def _require_publisher(session: Session) -> None:
    access.require(session, "admin")
    access.require_whole(session)


def _require_hash(sha256: str) -> None:
    if not is_sha256(sha256):
        raise MalformedReport("a file is named by its SHA-256: 64 lower-case hexadecimal digits")


ROUTES: Final = [read_releases, publish, read_come, send_part]
