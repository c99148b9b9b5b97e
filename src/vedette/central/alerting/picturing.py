"""Whether a picture goes with a notice, and which: or in a sentence why none does.

What lives here: what of an event's clip is in central already and may be sent on. What does not:
asking a device for it (`asking`), attaching it (`channels`). The rules: the site's policy decides,
as central has it now, also over what came under another one: where it lets only blurred clips
leave, only the blurred copy's own picture goes; a notice never waits for a picture, and what cannot
be had at this moment is a sentence.
"""

import asyncio
from typing import Final

import msgspec

from vedette.central.alerting.facts import Seen
from vedette.central.clips import fetching, looking
from vedette.central.clips.blobs import Blobs
from vedette.central.clips.fetching import Clip, StoredFile
from vedette.central.store.db import Tx
from vedette.wire.evidence import BLURRED, BLURRED_POSTER, POSTER

MAX_PICTURE_BYTES: Final = 1024 * 1024
"""Larger ones are looked at in the console: mail servers and services refuse large messages."""

GOES: Final = ""
STAYS: Final = "No picture: the site's policy keeps pictures at the site."
NO_CLIP: Final = "No picture: the device kept no clip of it."
NOT_ASKED: Final = "No picture: nobody has asked the device for the clip yet."
COMING: Final = "No picture yet: the device is asked for the clip; it comes to the incident's page."
ONLY_BLURRED: Final = "No picture: only the blurred clip may leave the site; it has none."
TOO_LARGE: Final = "No picture: it is too large to be sent; it is on the event's page."
NONE_SENT: Final = "No picture: the device sent none"
UNREADABLE: Final = "No picture: central cannot read it at the moment."


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What there is: `file` where the picture may go, otherwise why not in `said`."""

    said: str = ""
    file: StoredFile | None = None


def judged(
    seen: Seen, leaves: str, clip: Clip | None, files: list[StoredFile], *, asked: bool
) -> Found:
    """Return whether a picture may go. Pure.

    Args:
        seen: The event.
        leaves: In which form clips may leave its site; empty: not at all.
        clip: How far its clip is; None: nobody asked.
        files: Of the clip.
        asked: The device is about to be asked.
    """
    if not seen.evidence:
        return Found(said=NO_CLIP)
    if not leaves:
        return Found(said=STAYS)
    if clip is None or clip.state == "expired":
        return Found(said=COMING if asked else NOT_ASKED)
    if clip.state in {"asked", "sending"}:
        return Found(said=COMING)
    if clip.state != "here":
        why = f" ({clip.said})" if clip.said else ""
        return Found(said=f"{NONE_SENT}{why}.")
    may_go = {BLURRED_POSTER} if leaves == BLURRED else {POSTER, BLURRED_POSTER}
    poster = next((file for file in files if file.name in may_go and file.whole), None)
    if poster is None:
        return Found(said=ONLY_BLURRED)
    return Found(file=poster) if poster.bytes <= MAX_PICTURE_BYTES else Found(said=TOO_LARGE)


async def find(tx: Tx, seen: Seen, now_ms: int) -> Found:
    """Return whether a picture of an event may go now."""
    device, evidence = seen.subject.device, seen.evidence
    if not evidence:
        return Found(said=NO_CLIP)
    leaves = await looking.may_leave(tx, seen.subject.site)
    clip = await fetching.one(tx, device, evidence, now_ms)
    files = await fetching.files(tx, device, evidence) if clip else []
    asked = await tx.value("clip_ask_waits", device=device, evidence=evidence) is True
    return judged(seen, leaves, clip, files, asked=asked)


async def read(blobs: Blobs, file: StoredFile) -> bytes:
    """Return a picture; empty where it is not where the database says."""
    return await asyncio.to_thread(_read, blobs, file)


def _read(blobs: Blobs, file: StoredFile) -> bytes:
    try:
        with blobs.open(file.sha256) as opened:
            data = opened.read(MAX_PICTURE_BYTES + 1)
    except OSError:
        return b""
    return data if len(data) == file.bytes else b""
