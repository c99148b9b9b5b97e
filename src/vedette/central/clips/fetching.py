"""What is asked of a device, and how far each clip is.

A clip is `asked`, then `sending`, then `here`, `refused` (by the device) or `failed` (here, with
why); past its time without either it is `expired`. What comes from the device is `taking`. The
rule: asking twice is asking once, and who asked stands in the audit log.
"""

from typing import Final

import msgspec

from vedette.central import audit, desired
from vedette.central.bulletin import Bulletin
from vedette.central.store.db import Database, Tx
from vedette.errors import ConfigError, NotAllowed
from vedette.ids import new_id

ASK_S: Final = 24 * 3600
MAX_OPEN: Final = 8
"""Clips that one device is asked for at once."""

MB: Final = 1024 * 1024


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """A clip that was asked for and how far it is.

    Attributes:
        state: `asked`, `sending`, `here`, `refused`, `failed` or `expired`.
        form: `clip`, or `blurred`: a copy that shows nobody; empty until the device said.
        said: Why not, in the device's or central's words.
    """

    device: str
    evidence: str
    event: str
    site: str
    camera: str
    request: str
    asked_by: str
    asked_ms: int
    expires_ms: int
    state: str
    form: str = ""
    said: str = ""
    settled_ms: int | None = None


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a clip; `whole` once it is here."""

    name: str
    sha256: str
    bytes: int
    whole: bool = False


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which clip is asked for."""

    device: str
    evidence: str
    event: str
    site: str
    camera: str


async def ask(db: Database, bulletin: Bulletin, wanted: Wanted, *, actor: str, now_ms: int) -> Clip:
    """Ask a device for a clip; one that is here or asked for already stays as it is.

    Raises:
        ConfigError: The device is not there any more.
        NotAllowed: It is asked for too many already.
    """
    of = {"device": wanted.device, "evidence": wanted.evidence}
    async with db.transaction() as tx:
        await tx.value("clips_lock")
        present = await one(tx, wanted.device, wanted.evidence, now_ms)
        if present is not None and present.state in {"asked", "sending", "here"}:
            return present
        if await tx.value("diagnostics_device", device=wanted.device) is None:
            raise ConfigError("the device is not there any more: its clips cannot be asked for")
        count = await tx.value("clips_open_count", device=wanted.device, now_ms=now_ms)
        if isinstance(count, int) and count >= MAX_OPEN:
            raise NotAllowed(
                f"{wanted.device} is asked for {count} clips already",
                operator_hint="wait until it has sent them",
            )
        request = new_id("rq")
        await tx.run("clip_files_drop", **of)
        put = {
            **of,
            "request": request,
            "camera": wanted.camera,
            "asked_by": actor,
            "now_ms": now_ms,
            "expires_ms": now_ms + ASK_S * 1000,
        }
        await tx.run("clip_put", **put, event=wanted.event, site=wanted.site)
        await tx.run("clip_request_put", **put)
        await desired.refresh(tx, wanted.device, now_ms)
        await tx.run("device_attend", device=wanted.device, until_ms=now_ms + 60_000)
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action="clip.ask",
            target=f"{wanted.device}/{wanted.evidence}",
            detail={"request": request},
        )
        made = await one(tx, wanted.device, wanted.evidence, now_ms)
    tell(bulletin, wanted.device)
    if made is None:
        raise ConfigError("the clip was taken away at this moment")
    return made


def tell(bulletin: Bulletin, device: str) -> None:
    """Have the device, and the pages that show it, know that something changed."""
    bulletin.publish(f"desired:{device}", f"device:{device}")


async def one(tx: Tx, device: str, evidence: str, now_ms: int) -> Clip | None:
    """Return how far a clip is; None where nobody asked for it."""
    row = await tx.one("clip_of", Clip, device=device, evidence=evidence)
    if row is not None and row.state in {"asked", "sending"} and row.expires_ms <= now_ms:
        return msgspec.structs.replace(row, state="expired")
    return row


async def files(tx: Tx, device: str, evidence: str) -> list[StoredFile]:
    """Return the files of a clip, by name."""
    return await tx.all("clip_files_of", StoredFile, device=device, evidence=evidence)


async def drop(tx: Tx, device: str, evidence: str, *, now_ms: int) -> bool:
    """Have nothing of a clip here, and the device not asked for it; False where nothing was.

    Raises:
        NotAllowed: It is held.
    """
    await tx.value("clips_lock")
    clip = await one(tx, device, evidence, now_ms)
    if clip is None:
        return False
    if await tx.value("hold_names", device=device, evidence=evidence) is True:
        raise NotAllowed(
            "this clip is held: it stays until it is released",
            operator_hint="vedette central holds says why; vedette central release lets it go",
        )
    await tx.run("clip_request_done", request=clip.request, said="taken back", now_ms=now_ms)
    await tx.run("clip_drop", device=device, evidence=evidence)
    await desired.refresh(tx, device, now_ms)
    return True


async def settle(tx: Tx, clip: Clip, state: str, said: str, now_ms: int) -> None:
    """Have a clip at its end, and the device no longer asked for it."""
    await tx.run(
        "clip_settle",
        device=clip.device,
        evidence=clip.evidence,
        state=state,
        form=clip.form,
        said=said,
        settled_ms=now_ms,
    )
    await tx.run("clip_request_done", request=clip.request, said=said, now_ms=now_ms)
    await desired.refresh(tx, clip.device, now_ms)
