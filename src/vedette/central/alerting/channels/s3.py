"""Exports into buckets: the files of a clip, and last what says that all of them are there.

    PREFIX/FOLDER/ID/NAME    each file of a clip
    PREFIX/FOLDER/ID.json    its CloudEvent: whoever finds it finds every file it names

The rules: the CloudEvent is put last, so a reader that waits for it never sees half; a key follows
from what is put and nothing else, so what is put twice is one object; a file is hashed on its way,
and what is not what central recorded does not become an object.

What does not live here: requests and refusals (`bucket`). A bucket carries no notices; a message to
test the channel is a small object, written and removed.
"""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from typing import BinaryIO, Final, TypeVar
from urllib.parse import quote

import msgspec

from vedette.central.alerting.channels.bucket import PORTS, Bucket, NotTaken, Thing
from vedette.central.alerting.channels.egress import Rules, Unresolved
from vedette.central.alerting.channels.facts import (
    CLOUD_EVENT,
    NO_NOTICES,
    PACKAGE,
    S3,
    Channel,
    Delivery,
    End,
    Outcome,
    told,
)
from vedette.central.alerting.channels.pinned import Way
from vedette.central.alerting.facts import NoticeKind
from vedette.central.clips.blobs import Blobs
from vedette.central.exporting.facts import File, Package
from vedette.errors import ConfigError

MAX_FILES: Final = 32
CHUNK_BYTES: Final = 1024 * 1024
_MIB: Final = 1024 * 1024
_T = TypeVar("_T")


class _Named(msgspec.Struct, frozen=True, kw_only=True):
    """What names a CloudEvent."""

    id: str
    source: str


class S3Sender:
    """Sends on channels of kind s3. Thread: the event loop's; files are read in its threads."""

    def __init__(
        self, rules: Rules, blobs: Blobs, *, proxy: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        """Prepare; nothing is connected between requests."""
        self._way: Final = Way(
            rules=rules, ports=PORTS, tls=tls or ssl.create_default_context(), proxy=proxy
        )
        self._blobs: Final = blobs

    async def send(self, channel: Channel, delivery: Delivery, now_ms: int) -> Outcome:
        """Return what putting everything of one delivery came to."""
        settings = channel.settings
        assert isinstance(settings, S3)
        bucket = Bucket(self._way, channel, now_ms)
        try:
            if delivery.media:
                package = _package(delivery)
                return await self._put(bucket, settings.prefix, package, again=delivery.tries > 1)
            if delivery.kind == NoticeKind.TEST:
                return await _test(bucket, settings.prefix, delivery.delivery)
            return Outcome(end=End.REFUSED, said=NO_NOTICES)
        except NotTaken as error:
            return error.outcome
        except Unresolved as error:
            return Outcome(end=End.AGAIN, said=told(str(error)), is_channels=True)
        except ConfigError as error:
            return Outcome(end=End.REFUSED, said=told(str(error)), is_channels=True)

    async def close(self) -> None:
        """Nothing stays open between messages."""

    async def _put(self, bucket: Bucket, prefix: str, package: Package, *, again: bool) -> Outcome:
        """Have every file there, then the CloudEvent."""
        named = _decoded(bytes(package.cloud_event), _Named)
        place = f"{prefix}/{package.folder}" if prefix else package.folder
        stem = f"{place}/{segment(named.id)}"
        if len(package.files) > MAX_FILES or not named.id:
            raise _never(f"{len(package.files)} files in one clip, of event {named.id!r}")
        for file in package.files:
            await self._put_file(bucket, f"{stem}/{segment(file.name)}", file, again=again)
        await bucket.put(_thing(f"{stem}.json", bytes(package.cloud_event), CLOUD_EVENT))
        mib = sum(file.bytes for file in package.files) / _MIB
        files = f"{len(package.files)} files, {mib:.1f} MiB, and " if package.files else ""
        return Outcome(end=End.SENT, said=told(f"{files}{stem}.json in the bucket"))

    async def _put_file(self, bucket: Bucket, key: str, file: File, *, again: bool) -> None:
        try:
            opened = self._blobs.open(file.sha256)
        except (FileNotFoundError, ValueError) as error:
            raise _never(f"{file.name} of the clip is not here any more") from error
        with opened:
            thing = Thing(
                key=key,
                sha256=file.sha256,
                size_bytes=file.bytes,
                media=file.media,
                body=lambda: _read(opened, file),
            )
            # What an earlier try put whole is not sent again: a slow line gets there in several.
            if not (again and await bucket.has(thing)):
                await bucket.put(thing)


async def _read(opened: BinaryIO, file: File) -> AsyncIterator[bytes]:
    """Yield a file's content; the last of it only where all of it is what was recorded.

    Raises:
        NotTaken: It is not; the request breaks off, and the server has no object.
    """
    digest = hashlib.sha256()

    def more() -> bytes:
        chunk = opened.read(CHUNK_BYTES)
        digest.update(chunk)
        return chunk

    opened.seek(0)
    size, held = 0, b""
    while chunk := await asyncio.to_thread(more):
        if held:
            yield held
        held = chunk
        size += len(chunk)
    if digest.hexdigest() != file.sha256 or size != file.bytes:
        raise _never(f"{file.name} of the clip is not what came from the device (SHA-256)")
    if held:
        yield held


async def _test(bucket: Bucket, prefix: str, delivery: str) -> Outcome:
    """Write a small object and remove it."""
    name = f"vedette-test-{segment(delivery)}.txt"
    key = f"{prefix}/{name}" if prefix else name
    await bucket.put(_thing(key, b"A message to test the channel.\n", "text/plain"))
    try:
        await bucket.remove(key)
    except NotTaken as error:
        said = told(f"wrote {key}, which is enough; but it was not removed: {error.outcome.said}")
        return Outcome(end=End.SENT, said=said)
    return Outcome(end=End.SENT, said=f"wrote {name} and removed it")


def segment(text: str) -> str:
    """Return text as one part of a key: letters and digits stay, everything else has its code.

    Two different texts are two different parts.
    """
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if not quoted.strip(".") else quoted


def _package(delivery: Delivery) -> Package:
    """Return what a delivery has put; a CloudEvent alone lies where it is from."""
    if delivery.media == PACKAGE:
        package = _decoded(delivery.body, Package)
        folder = package.folder
    else:
        named = _decoded(delivery.body, _Named)
        alone = msgspec.Raw(delivery.body)
        package = Package(folder="", device="", evidence="", files=[], cloud_event=alone)
        folder = delivery.address or named.source
    parts = [segment(part) for part in folder.split("/") if part]
    if not parts:
        raise _never("it says no place to put it")
    return msgspec.structs.replace(package, folder="/".join(parts))


def _decoded(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _never("this is no CloudEvent, or no package") from error


def _thing(key: str, body: bytes, media: str) -> Thing:
    sha256 = hashlib.sha256(body).hexdigest()
    return Thing(key=key, sha256=sha256, size_bytes=len(body), media=media, body=body)


def _never(said: str) -> NotTaken:
    return NotTaken(Outcome(end=End.REFUSED, said=told(said)))
