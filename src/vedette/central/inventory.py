"""What each camera is: make, model, firmware, codec and size as it says itself, over time.

Derived in the background from the newest health report of each device, so that taking reports in
costs nothing for it: each device is looked at about every ten minutes, and a row is written only
where something changed. The rule: nothing said is not a change. A camera whose ONVIF service is
silent after a restart keeps the make that it told before; a value that differs is a new row.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from vedette.central.events import Scope
from vedette.central.store.db import Database, Tx
from vedette.wire.messages import CameraHealth, HealthReport, State

Key = tuple[str, str, str]

LOOK_EVERY_MS: Final = 600_000
AT_ONCE: Final = 500
MAX_CHANGES: Final = 200
"""Rows of one camera: what changes more often says nothing, and must not grow for ever."""

_MAX_TEXT: Final = 120
_TEXTS: Final = ("make", "model", "firmware", "serial", "codec", "source_kind")
_OPTIONAL: Final = ("width_px", "height_px", "announced_fps")
_health = msgspec.msgpack.Decoder(HealthReport)


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """What a camera was from `since_ms` on.

    Attributes:
        announced_fps: As the stream says; `rate_fps` is what was looked at when last seen.
        source_kind: How it is reached: rtsp, http, usb, file, …
    """

    device: str
    camera: str
    since_ms: int
    make: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
    codec: str = ""
    width_px: int | None = None
    height_px: int | None = None
    announced_fps: float | None = None
    source_kind: str = ""
    rate_fps: float | None = None
    seen_ms: int = 0
    site: str = ""


class Present(Item, frozen=True, kw_only=True):
    """What a camera is now, and how it is.

    Attributes:
        since_ms: Since central knows of it, where it never said what it is.
        detail: Why the state is what it is, in the device's words; `signs` as ONVIF calls them.
    """

    state: str = "unknown"
    state_since_ms: int | None = None
    signs: list[str] = []
    detail: str = ""


class _Due(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    health: bytes
    health_at_ms: int


async def look(db: Database, now_ms: int) -> int:
    """Look at the devices that are due; return how many rows were written."""
    written = 0
    while True:
        async with db.transaction() as tx:
            due = await tx.all(
                "inventory_due", _Due, before_ms=now_ms - LOOK_EVERY_MS, limit=AT_ONCE
            )
            written += await _look_at(tx, due, now_ms)
        if len(due) < AT_ONCE:
            return written


async def _look_at(tx: Tx, due: list[_Due], now_ms: int) -> int:
    if not due:
        return 0
    devices = [one.device for one in due]
    latest = await tx.all("inventory_latest", Item, devices=devices)
    known = {(item.device, item.camera): item for item in latest}
    added: list[dict[str, object]] = []
    seen: list[dict[str, object]] = []
    for one in due:
        for camera in _cameras(one.health):
            before = known.get((one.device, camera.camera))
            item = read(one.device, camera, one.health_at_ms, before)
            into = seen if before and item.since_ms == before.since_ms else added
            row = msgspec.structs.asdict(item)
            into.append({key: value for key, value in row.items() if key != "site"})
    await tx.many("inventory_add", added)
    if added:
        changed = sorted({str(row["device"]) for row in added})
        await tx.run("inventory_trim", devices=changed, keep=MAX_CHANGES)
    wanted = ("device", "camera", "since_ms", "rate_fps", "seen_ms")
    await tx.many("inventory_seen", [{key: row[key] for key in wanted} for row in seen])
    at_ms = [one.health_at_ms for one in due]
    await tx.run("inventory_looked", devices=devices, at_ms=at_ms, now_ms=now_ms)
    return len(added)


def _cameras(health: bytes) -> list[CameraHealth]:
    try:
        report = _health.decode(health)
    except msgspec.DecodeError:  # of a version that this one does not know
        return []
    cameras = report.pipeline.cameras if report.pipeline else []
    # A camera that gave no picture yet has said nothing of itself.
    return [one for one in cameras if one.state is not State.STARTING and one.codec]


def read(device: str, camera: CameraHealth, at_ms: int, before: Item | None) -> Item:
    """Return what a camera is now: with the `since_ms` of `before` where nothing changed."""
    width, height = camera.picture_px or (None, None)
    said = Item(
        device=device,
        camera=camera.camera,
        since_ms=at_ms,
        make=_plain(camera.make),
        model=_plain(camera.model),
        firmware=_plain(camera.firmware),
        serial=_plain(camera.serial),
        codec=_plain(camera.codec),
        width_px=_pixels(width),
        height_px=_pixels(height),
        announced_fps=_fps(camera.announced_fps),
        source_kind=kind_of(camera.source),
        rate_fps=camera.rate_fps,
        seen_ms=at_ms,
    )
    if before is None:
        return said
    kept = {
        name: getattr(before, name)
        for name in (*_TEXTS, *_OPTIONAL)
        if getattr(said, name) in {"", None}
    }
    said = msgspec.structs.replace(said, **kept)
    same = all(getattr(said, name) == getattr(before, name) for name in (*_TEXTS, *_OPTIONAL))
    return msgspec.structs.replace(said, since_ms=before.since_ms) if same else said


def _plain(text: str) -> str:
    return "".join(char for char in text if char.isprintable()).strip()[:_MAX_TEXT]


def _pixels(value: int | None) -> int | None:
    return value if value is not None and 0 < value < 100_000 else None


def _fps(value: float | None) -> float | None:
    """Return an announced rate in hundredths, so that 29.97 and 29.970029 are one."""
    return round(value, 2) if value is not None and 0 < value < 1_000 else None


def kind_of(source: str) -> str:
    """Return in one word how a camera is reached, by its address without credentials."""
    scheme, found, _ = source.partition(":")
    if found and scheme.isascii() and scheme.isalpha():
        return scheme.lower()[:16]
    return "usb" if source.startswith("/dev/video") else "file" if source else ""


async def history(
    tx: Tx, scope: Scope, *, device: str | None = None, camera: str | None = None
) -> list[Item]:
    """Return what the cameras in scope were over time, oldest first within each.

    Those of revoked devices too: it is a question of what was.
    """
    listed = None if scope is None else list(scope)
    return await tx.all("inventory_of", Item, scope=listed, device=device, camera=camera)


async def present(
    tx: Tx,
    scope: Scope,
    *,
    chosen: Iterable[tuple[str, str]] | None = None,
    after: Key = ("", "", ""),
    limit: int | None = None,
) -> list[Present]:
    """Return what the cameras in scope are now, by name; `chosen` as device and camera."""
    pairs = None if chosen is None else list(chosen)
    return await tx.all(
        "inventory_present",
        Present,
        scope=None if scope is None else list(scope),
        devices=None if pairs is None else [device for device, _ in pairs],
        cameras=None if pairs is None else [camera for _, camera in pairs],
        after_site=after[0],
        after_device=after[1],
        after_camera=after[2],
        limit=limit,
    )


def key_of(item: Item) -> Key:
    """Return where a camera stands among others."""
    return item.site, item.device, item.camera
