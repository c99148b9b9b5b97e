"""What people see of a clip: how far it is, its files, and each look at one in the audit log.

The rule: whoever may see the event may see the clip; a look is written down before the first byte
goes, once for the many parts that a player asks for.
"""

import weakref
import zipfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

import msgspec

from vedette.central import audit
from vedette.central.clips import fetching
from vedette.central.clips.blobs import Blobs
from vedette.central.clips.fetching import Clip, StoredFile
from vedette.central.clips.proving import is_signed
from vedette.central.store.db import Tx
from vedette.errors import StoreError
from vedette.trust.keys import from_text
from vedette.wire import codec
from vedette.wire.evidence import MP4, media_type
from vedette.wire.signed import PixelPolicy, Signed, SitePolicy

SAME_LOOK_S: Final = 300
ZIP: Final = "all.zip"
CHUNK: Final = 256 * 1024
_signed = msgspec.json.Decoder(Signed)


class ClipView(msgspec.Struct, frozen=True, kw_only=True):
    """How far a clip is.

    Attributes:
        state: `none` where nobody asked, or as in `fetching.Clip`.
        leaves: In which form the site's policy, as central has it, lets clips leave: `clip`,
            `blurred`, or empty: not at all. The device decides by its own copy of that policy.
        come_bytes: What is here of it so far.
        silent_ms: Since when the device says nothing; null where it speaks.
        signed: It is here with a signature, which held when it came: the device made these files.
            False where the device's version did not sign yet.
    """

    state: str
    leaves: str
    form: str = ""
    said: str = ""
    asked_by: str = ""
    asked_ms: int | None = None
    expires_ms: int | None = None
    settled_ms: int | None = None
    bytes: int = 0
    come_bytes: int = 0
    silent_ms: int | None = None
    files: list[StoredFile] = []
    signed: bool = False

    @property
    def video(self) -> str:
        """The name of the file that a player begins with; empty where there is none."""
        main = "blurred.mp4" if self.form == "blurred" else "clip.mp4"
        return main if any(file.name == main for file in self.files) else ""


async def view(tx: Tx, blobs: Blobs, place: tuple[str, str, str], now_ms: int) -> ClipView:
    """Return how far the clip of (site, device, evidence) is."""
    site, device, evidence = place
    clip = await fetching.one(tx, device, evidence, now_ms)
    leaves = await may_leave(tx, site)
    silent_ms = await _silent_ms(tx, device)
    if clip is None:
        return ClipView(state="none", leaves=leaves, silent_ms=silent_ms)
    files = await fetching.files(tx, device, evidence)
    come = sum(
        file.bytes if file.whole else min(blobs.come(file.sha256, device), file.bytes)
        for file in files
    )
    return ClipView(
        state=_state(clip, files, blobs),
        leaves=leaves,
        form=clip.form,
        said=clip.said,
        asked_by=clip.asked_by,
        asked_ms=clip.asked_ms,
        expires_ms=clip.expires_ms,
        settled_ms=clip.settled_ms,
        bytes=sum(file.bytes for file in files),
        come_bytes=come,
        silent_ms=silent_ms,
        files=files if clip.state == "here" else [],
        signed=clip.state == "here" and is_signed(clip.form, files),
    )


def _state(clip: Clip, files: Sequence[StoredFile], blobs: Blobs) -> str:
    if clip.state == "here" and not all(blobs.has(file.sha256) for file in files):
        return "lost"  # the database was restored without the folder beside it
    return clip.state


async def may_leave(tx: Tx, site: str) -> str:
    """Return in which form the site's policy lets clips leave, as central has it; empty: not."""
    rows = await tx.tuples("fleet_policies", sites=[site])
    pixels = PixelPolicy()
    if rows:
        signed = _signed.decode(rows[0][2])
        pixels = codec.decode(from_text(signed.payload), SitePolicy, json=True).pixels
    if not pixels.evidence_leaves:
        return ""
    return "blurred" if pixels.evidence_blurred else "clip"


async def _silent_ms(tx: Tx, device: str) -> int | None:
    rows = await tx.tuples("device_silence", device=device)
    return None if not rows or rows[0][0] == "ok" else rows[0][1]


async def look(
    tx: Tx, place: tuple[str, str], name: str, *, how: str, actor: str, now_ms: int
) -> None:
    """Write down that somebody looks at a file of (device, evidence), or takes a copy of it.

    Args:
        tx: The caller's transaction.
        place: Device and evidence.
        name: Of the file.
        how: `look` or `download`.
        actor: Who.
        now_ms: When.
    """
    device, evidence = place
    of = {"actor": actor, "device": device, "evidence": evidence, "name": f"{how} {name}"}
    if await tx.value("clip_look", **of, now_ms=now_ms, same_ms=SAME_LOOK_S * 1000) is None:
        return
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action=f"clip.{how}",
        target=f"{device}/{evidence}",
        detail={"file": name},
    )


def part_of(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    """Return a part of a file in pieces; it is closed after the last, or when nobody asks for more.

    Also where a client left before the first piece: a generator that never began closes nothing.
    """
    pieces = _pieces(file, start, size)
    weakref.finalize(pieces, file.close)
    return pieces


def _pieces(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        left = size
        while left:
            chunk = file.read(min(left, CHUNK))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk


class Flow:
    """What a zip is written into: bytes that are taken away as they come."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._chunks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: `take` gives everything."""

    def take(self) -> bytes:
        """Return what came since the last call."""
        taken, self._chunks = b"".join(self._chunks), []
        return taken


def zipped(blobs: Blobs, files: Sequence[StoredFile], folder: str) -> Iterator[bytes]:
    """Yield a zip of whole files with their `SHA256SUMS`, without holding one in memory."""
    flow = Flow()
    with zipfile.ZipFile(flow, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]
        for stored in files:
            info = zipfile.ZipInfo(f"{folder}/{stored.name}")
            info.file_size = stored.bytes
            with archive.open(info, "w") as to, blobs.open(stored.sha256) as file:
                while chunk := file.read(CHUNK):
                    to.write(chunk)
                    yield flow.take()
        sums = "".join(f"{stored.sha256}  {stored.name}\n" for stored in files)
        archive.writestr(f"{folder}/SHA256SUMS", sums)
    yield flow.take()


def opened(blobs: Blobs, stored: StoredFile) -> BinaryIO:
    """Return a file, open.

    Raises:
        StoreError: It is not where the database says.
    """
    try:
        return blobs.open(stored.sha256)
    except OSError as error:
        raise StoreError(f"the file of a clip cannot be read: {error.strerror}") from error


def media_of(form: str, name: str) -> str:
    """Return what a browser is told that a file is; never anything that it would run."""
    return media_type(form, name) or "application/octet-stream"


def is_video(form: str, name: str) -> bool:
    """True for what a player plays."""
    return media_type(form, name) == MP4
