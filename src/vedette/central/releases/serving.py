"""Devices ask for metadata and files of the repository.

    GET /tuf/metadata/{name}    timestamp.json, 3.root.json, …
    GET /tuf/targets/{path}     models/yolox/<sha256>.1.2.0.vbundle, in ranges where asked

Only enrolled devices are answered, as often as a device may need. A file goes out piece by piece,
read outside of the event loop, and only while current metadata names it.
"""

import asyncio
import re
from typing import BinaryIO, Final

from vedette.central import enrolment
from vedette.central.boundary import Answer, Handler, Request, Send, json_answer
from vedette.central.rate import RateLimit
from vedette.central.releases.keeping import Published, ReleaseFile, etag_of, release_blobs
from vedette.central.services import Services
from vedette.central.tokens import Bearer, Tokens
from vedette.wire.evidence import is_sha256

METADATA: Final = "/tuf/metadata/"
TARGETS: Final = "/tuf/targets/"
BINARY: Final = "application/octet-stream"
_PIECE_BYTES: Final = 256 * 1024
_PIECE_S: Final = 60.0
_NAME: Final = re.compile(r"(?:([0-9]{1,10})\.)?([a-z]{1,32})\.json")
_RANGE: Final = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")


class FileAnswer(Answer, frozen=True, kw_only=True):
    """A part of a file, sent as it is read."""

    file: BinaryIO
    start: int
    count: int

    async def send(self, send: Send) -> None:
        """Send it, and close the file however that ends.

        A client that takes no piece in a minute has left.
        """
        headers = {
            "content-type": self.content_type,
            "content-length": str(self.count),
            "x-content-type-options": "nosniff",
            **self.headers,
        }
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": pairs})
            await asyncio.to_thread(self.file.seek, self.start)
            left = self.count
            while left > 0:
                piece = await asyncio.to_thread(self.file.read, min(_PIECE_BYTES, left))
                if not piece:
                    break
                left -= len(piece)
                body = {"type": "http.response.body", "body": piece, "more_body": True}
                async with asyncio.timeout(_PIECE_S):
                    await send(body)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.file.close()


class ReleasesApi:
    """The handlers, with what they share."""

    def __init__(self, services: Services, tokens: Tokens) -> None:
        self._services = services
        self._tokens = tokens
        self._blobs = release_blobs(services.config.state)
        self._metadata_limit = RateLimit(services.clock, per_minute=60, burst=60)
        self._file_limit = RateLimit(services.clock, per_minute=60, burst=60)

    def routes(self) -> dict[tuple[str, str], Handler]:
        """Return what answers where."""
        return {("GET", METADATA): self.metadata, ("GET", TARGETS): self.target}

    async def metadata(self, request: Request) -> Answer:
        """Give one file of metadata."""
        holder = await self._tokens.holder_of(request.bearer)
        self._metadata_limit.spend(holder.device)
        found = await self._metadata(holder, request.path.removeprefix(METADATA)[:80])
        if found is None:
            return json_answer({"error": "there is no such metadata", "hint": None}, status=404)
        etag = f'"{etag_of(found.body)}"'
        if request.headers.get("if-none-match") == etag:
            return Answer(status=304, headers={"etag": etag})
        return Answer(body=found.body, headers={"etag": etag})

    async def _metadata(self, holder: Bearer, name: str) -> Published | None:
        said = _NAME.fullmatch(name)
        async with self._services.db.transaction() as tx:
            await enrolment.require_speaker(tx, holder)
            if said is None or (said[1] is None) != (said[2] == "timestamp"):
                return None
            if said[1] is None:
                return await tx.one("release_newest", Published, role=said[2])
            return await tx.one("release_one", Published, role=said[2], version=int(said[1]))

    async def target(self, request: Request) -> Answer:
        """Give a file, or the asked range of it (RFC 9110 section 14)."""
        holder = await self._tokens.holder_of(request.bearer)
        self._file_limit.spend(holder.device)
        found = await self._named(holder, request.path.removeprefix(TARGETS))
        if found is None or not self._blobs.has(found.sha256):
            return json_answer({"error": "there is no such file", "hint": None}, status=404)
        etag = f'"{found.sha256}"'
        headers = {"etag": etag, "accept-ranges": "bytes"}
        if request.headers.get("if-none-match") == etag:
            return Answer(status=304, headers=headers)
        is_same = request.headers.get("if-range", etag) == etag
        asked = request.headers.get("range", "") if is_same else ""
        start, end = range_of(asked, found.bytes)
        if start >= end and found.bytes:
            headers["content-range"] = f"bytes */{found.bytes}"
            return Answer(status=416, headers=headers)
        status = 200
        if (start, end) != (0, found.bytes):
            headers["content-range"] = f"bytes {start}-{end - 1}/{found.bytes}"
            status = 206
        return FileAnswer(
            status=status,
            content_type=BINARY,
            headers=headers,
            file=await asyncio.to_thread(self._blobs.open, found.sha256),
            start=start,
            count=end - start,
        )

    async def _named(self, holder: Bearer, path: str) -> ReleaseFile | None:
        folder, _, name = path.rpartition("/")
        sha256, _, plain = name.partition(".")
        async with self._services.db.transaction() as tx:
            await enrolment.require_speaker(tx, holder)
            if not is_sha256(sha256):
                return None
            found = await tx.one("release_path", ReleaseFile, path=f"{folder}/{plain}"[:400])
        return found if found and found.sha256 == sha256 else None


def range_of(asked: str, size: int) -> tuple[int, int]:
    """Return start and end of what a Range header asks for; the whole where it makes no sense."""
    found = _RANGE.fullmatch(asked.strip()[:64])
    if not found or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        return max(0, size - int(found[2])), size
    return int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
