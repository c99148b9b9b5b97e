"""What devices send of a clip: an offer, part after part, or why it does not come.

The rules: only the device that was asked is heard; a content counts as known only where that very
device sent it before, so that nobody gets another's clip by naming its hash; what is announced has
its room kept from then on; what came is what was announced, or nothing. Where a signature came with
it, it is this device's and speaks of these files (`proving`), or the clip is not kept.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import msgspec

from vedette.central.bulletin import Bulletin
from vedette.central.clips import fetching, proving
from vedette.central.clips.blobs import Blobs
from vedette.central.clips.fetching import Clip, StoredFile, settle
from vedette.central.store.db import Database, Tx
from vedette.errors import (
    HashMismatch,
    MalformedReport,
    NotAllowed,
    TooLarge,
    TrustError,
    WireError,
)
from vedette.ids import is_slug
from vedette.wire import codec
from vedette.wire.evidence import (
    BLURRED,
    CLIP,
    JPEG,
    JSON,
    MAX_CLIP_BYTES,
    MAX_FILES,
    MAX_PART_BYTES,
    MAX_SIGNATURE_BYTES,
    MP4,
    BlurredFacts,
    Facts,
    Offer,
    PackageSignature,
    Standing,
    Taken,
    is_sha256,
    media_type,
    most_bytes,
    signature_of,
)

MB = 1024 * 1024
_SHAPES: Final = {"evidence.json": Facts, "blurred.json": BlurredFacts}


@dataclass(frozen=True, slots=True)
class Sender:
    """The device that speaks, and what is needed to hear it."""

    db: Database
    bulletin: Bulletin
    blobs: Blobs
    device: str

    def tell(self) -> None:
        """Have the device, and the pages that show it, know that something changed."""
        fetching.tell(self.bulletin, self.device)


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    request: str
    evidence: str
    name: str
    bytes: int
    whole: bool
    form: str


async def _waited_for(tx: Tx, device: str, request: str, now_ms: int) -> Clip:
    found = None
    if is_slug(request):
        of = {"request": request, "device": device, "now_ms": now_ms}
        found = await tx.one("clip_of_request", Clip, **of)
    if found is None:
        raise NotAllowed("nobody is waiting for this clip")
    return found


def checked(offer: Offer, evidence: str) -> Offer:
    """Return an offer that may be taken.

    Raises:
        MalformedReport: For another clip, of no known form, with files that such a clip has not.
        TooLarge: More than central takes.
    """
    if offer.evidence != evidence or offer.form not in {CLIP, BLURRED}:
        raise MalformedReport("an offer of another clip than was asked for")
    names = [file.name for file in offer.files]
    main = "clip.mp4" if offer.form == CLIP else "blurred.mp4"
    if not 0 < len(names) <= MAX_FILES or len(set(names)) != len(names) or main not in names:
        raise MalformedReport(f"a clip has {main} and up to {MAX_FILES - 1} other files")
    for file in offer.files:
        media = media_type(offer.form, file.name)
        if not media or not is_sha256(file.sha256):
            raise MalformedReport(f"a {offer.form} has no file {file.name[:40]!r}")
        is_signature = file.name == signature_of(offer.form)
        most = MAX_SIGNATURE_BYTES if is_signature else most_bytes(media)
        if not 0 < file.bytes <= most:
            raise TooLarge(f"{file.name} of {file.bytes} bytes")
    if len({(file.sha256, file.bytes) for file in offer.files}) != len(
        {file.sha256 for file in offer.files}
    ):
        raise MalformedReport("one content of two lengths")
    if sum(file.bytes for file in offer.files) > MAX_CLIP_BYTES:
        raise TooLarge(f"a clip of more than {MAX_CLIP_BYTES // MB} MB")
    return offer


async def take_offer(
    sender: Sender, request: str, offer: Offer, *, keep_bytes: int, now_ms: int
) -> Standing:
    """Keep room for a clip; return how much of each file is here.

    Raises:
        NotAllowed: Nobody asked this device for it.
        MalformedReport, TooLarge: As `checked`, or there is no room, which ends the request.
    """
    full, false, is_done = "", "", False
    device, blobs = sender.device, sender.blobs
    async with sender.db.transaction() as tx:
        await tx.value("clips_lock")
        clip = await _waited_for(tx, device, request, now_ms)
        checked(offer, clip.evidence)
        of = {"device": device, "evidence": clip.evidence}
        standing = await fetching.files(tx, device, clip.evidence)
        announced = [(f.name, f.sha256, f.bytes) for f in sorted(offer.files, key=lambda f: f.name)]
        if announced != [(f.name, f.sha256, f.bytes) for f in standing]:
            await tx.run("clip_files_drop", **of)
            for file in offer.files:
                sent = await tx.value("clip_blob_sent", device=device, sha256=file.sha256)
                whole = sent is True and await asyncio.to_thread(blobs.has, file.sha256)
                await tx.run("clip_file_put", **of, **msgspec.to_builtins(file), whole=whole)
            full = await _is_full(tx, blobs, offer, keep_bytes)
            standing = await fetching.files(tx, device, clip.evidence)
        if full:
            await tx.run("clip_files_drop", **of)
            await settle(tx, clip, "failed", full, now_ms)
        else:
            sending = {"state": "sending", "form": offer.form, "said": "", "settled_ms": None}
            await tx.run("clip_settle", **of, **sending)
            is_done = not await tx.value("clip_missing", **of)
            if is_done:
                clip = msgspec.structs.replace(clip, form=offer.form)
                false = await _arrive(tx, blobs, clip, now_ms)
    sender.tell()
    if full:
        raise TooLarge(full)
    if false:
        raise MalformedReport(false)
    have = {file.sha256: await _have(blobs, device, file) for file in standing}
    return Standing(have=have, done=is_done)


async def _arrive(tx: Tx, blobs: Blobs, clip: Clip, now_ms: int) -> str:
    """Have a clip of which every file is here at its end; return why it is not kept, if so."""
    try:
        await proving.prove(tx, blobs, clip)
    except TrustError as error:
        said = f"its signature does not hold: {error}"
        await tx.run("clip_files_drop", device=clip.device, evidence=clip.evidence)
        await settle(tx, clip, "failed", said, now_ms)
        return said
    await settle(tx, clip, "here", "", now_ms)
    return ""


async def _have(blobs: Blobs, device: str, file: StoredFile) -> int:
    if file.whole:
        return file.bytes
    come = await asyncio.to_thread(blobs.come, file.sha256, device)
    if come < file.bytes:
        return come
    # Central ended between the last part and its check: nobody will send a part after the last.
    await asyncio.to_thread(blobs.forget, file.sha256, device)
    return 0


async def _is_full(tx: Tx, blobs: Blobs, offer: Offer, keep_bytes: int) -> str:
    """Return why there is no room for what was just announced; empty where there is."""
    used = await tx.value("clips_bytes")
    if isinstance(used, int) and used > keep_bytes:
        return (
            f"central keeps {keep_bytes // MB} MB of clips, and that is full (retention.clips_mb)"
        )
    if await asyncio.to_thread(blobs.room_bytes) < sum(file.bytes for file in offer.files):
        return "central's disk is nearly full"
    return ""


async def refuse(sender: Sender, request: str, why: str, *, now_ms: int) -> None:
    """Take a device's word that a clip does not come; what had come of it goes.

    Raises:
        NotAllowed: Nobody asked this device for it.
    """
    device, blobs = sender.device, sender.blobs
    async with sender.db.transaction() as tx:
        clip = await _waited_for(tx, device, request, now_ms)
        parts = [f.sha256 for f in await fetching.files(tx, device, clip.evidence) if not f.whole]
        await tx.run("clip_files_drop", device=device, evidence=clip.evidence)
        await settle(tx, clip, "refused", why, now_ms)
    for sha256 in parts:
        await asyncio.to_thread(blobs.forget, sha256, device)
    sender.tell()


async def announced(sender: Sender, sha256: str, total: int, now_ms: int) -> None:
    """Return where this device is sending a file of this content and length.

    Raises:
        NotAllowed: It is not.
        TooLarge: It announced another length.
    """
    async with sender.db.transaction() as tx:
        await _part_of(tx, sender.device, sha256, total, now_ms)


async def _part_of(tx: Tx, device: str, sha256: str, total: int, now_ms: int) -> _Part:
    found = None
    if is_sha256(sha256):
        of = {"device": device, "sha256": sha256, "now_ms": now_ms}
        found = await tx.one("clip_of_blob", _Part, **of)
    if found is None:
        raise NotAllowed("nobody is waiting for this file")
    if found.bytes != total:
        raise TooLarge(f"{found.bytes} bytes were announced, not {total}")
    return found


async def take_part(
    sender: Sender,
    sha256: str,
    part: bytes,
    *,
    start: int,
    total: int,
    now_ms: int,
) -> Taken:
    """Add a part to a file that was announced; the last one of a clip makes it `here`.

    Raises:
        NotAllowed: Nobody waits for this file from this device.
        ConflictError: The part does not begin where the last one ended.
        TooLarge: More than was announced.
        MalformedReport: What came is not what was announced; the clip is `failed`.
    """
    if not 0 < len(part) <= MAX_PART_BYTES:
        raise TooLarge(f"a part of {len(part)} bytes; 1 to {MAX_PART_BYTES} are allowed")
    device, blobs = sender.device, sender.blobs
    async with sender.db.transaction() as tx:
        found = await _part_of(tx, device, sha256, total, now_ms)
    if found.whole:
        return Taken(have=total)
    have = await asyncio.to_thread(blobs.append, sha256, device, start, part, total)
    if have < total:
        return Taken(have=have)
    try:
        head = await asyncio.to_thread(blobs.finish, sha256, device)
        await asyncio.to_thread(check_content, blobs, sha256, found, head)
    except (HashMismatch, WireError) as error:
        await _fail(sender, found, str(error), now_ms)
        raise MalformedReport(str(error)) from error
    async with sender.db.transaction() as tx:
        clip = await _waited_for(tx, device, found.request, now_ms)
        await tx.run("clip_blob_whole", device=device, sha256=sha256)
        missing = await tx.value("clip_missing", device=device, evidence=clip.evidence)
        false = "" if missing else await _arrive(tx, blobs, clip, now_ms)
    sender.tell()
    if false:
        raise MalformedReport(false)
    return Taken(have=total, done=not missing)


async def _fail(sender: Sender, part: _Part, why: str, now_ms: int) -> None:
    device = sender.device
    async with sender.db.transaction() as tx:
        clip = await _waited_for(tx, device, part.request, now_ms)
        await tx.run("clip_files_drop", device=device, evidence=clip.evidence)
        await settle(tx, clip, "failed", why, now_ms)
    sender.tell()


def check_content(blobs: Blobs, sha256: str, part: _Part, head: bytes) -> None:
    """Return where a whole file is what its name says; browsers are told so, and must not guess.

    Raises:
        MalformedReport: It is something else.
    """
    media = media_type(part.form, part.name)
    if media == MP4 and head[4:8] != b"ftyp":
        raise MalformedReport("what came as a video is none")
    if media == JPEG and not head.startswith(b"\xff\xd8\xff"):
        raise MalformedReport("what came as a picture is none")
    if media == JSON:
        with blobs.open(sha256) as file:
            body = file.read(most_bytes(JSON) + 1)
        codec.decode(body, _SHAPES.get(part.name, PackageSignature), json=True)
