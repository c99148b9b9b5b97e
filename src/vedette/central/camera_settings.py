"""A camera's settings over time: kept by version, compared, followed to the device.

    newer      what somebody else changed since a version was read
    sheet      what holds now, all versions with what each changed, and how far the newest one is
    progress   saved → signed → at the device → running, from what the device itself reported

Saving itself is `desired.change_camera`. The rule: nothing is called running before the device said
so.
"""

from typing import Final

import msgspec

from vedette.central import desired, rows
from vedette.central.desired import of_camera
from vedette.central.settings_words import changes
from vedette.central.store.db import Tx
from vedette.wire.messages import CameraHealth, HealthReport
from vedette.wire.signed import CameraSettings, DeviceSettings

SHOWN: Final = 50
_NO_VERSION: Final = 2**62
_settings = msgspec.json.Decoder(CameraSettings)


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a camera's settings.

    Attributes:
        version: Of the device's settings: they are signed as one.
        actor: Who saved it; empty for one from before versions were kept.
        changes: What it changed of the version before it, in words.
    """

    version: int
    at_ms: int
    actor: str
    note: str
    changes: list[str]
    settings: CameraSettings


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a version's way; `state` is done, waiting, refused or unknown."""

    name: str
    state: str
    text: str
    at_ms: int | None = None


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """What a camera is to look for, how it came to that, and how far it is.

    Attributes:
        version: Of the device's settings now; 0 where central never signed any. What is saved with
            `if_version` names it.
        progress: Of the newest version that changed this camera; empty where there is none.
        picture_px: Of the camera's pictures; null where the device never said.
    """

    version: int
    settings: CameraSettings
    versions: list[Version]
    progress: list[Step]
    picture_px: tuple[int, int] | None = None


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    at_ms: int
    actor: str
    note: str
    settings: bytes


async def newer(
    tx: Tx, present: DeviceSettings | None, camera: str, if_version: int | None
) -> Version | None:
    """Return what changed this camera after `if_version`; None where nothing did.

    A version of the device's settings in which only other cameras changed is no hindrance.
    """
    if if_version is None or present is None or present.version == if_version:
        return None
    found = await versions(tx, present.device, camera) or _unkept(present, camera)
    return found[0] if found and found[0].version > if_version else None


def _unkept(present: DeviceSettings, camera: str) -> list[Version]:
    """Return what was signed before versions were kept: that there is one, not who made it."""
    settings = of_camera(present, camera)
    if settings == CameraSettings(camera=camera):
        return []
    return [
        Version(
            version=present.version,
            at_ms=present.issued_ms,
            actor="",
            note="",
            changes=changes(None, settings),
            settings=settings,
        )
    ]


async def versions(tx: Tx, device: str, camera: str, limit: int = SHOWN) -> list[Version]:
    """Return the versions of a camera's settings, newest first."""
    found = await tx.all(
        "camera_settings_of", _Row, device=device, camera=camera, below=_NO_VERSION, limit=limit + 1
    )
    read = [_settings.decode(row.settings) for row in found]
    before: list[CameraSettings | None] = [*read, None][1:]
    made = [
        Version(
            version=row.version,
            at_ms=row.at_ms,
            actor=row.actor,
            note=row.note,
            changes=changes(was, now),
            settings=now,
        )
        for row, now, was in zip(found, read, before, strict=True)
    ]
    return made[:limit]


async def version_of(tx: Tx, device: str, camera: str, version: int) -> CameraSettings | None:
    """Return one version of a camera's settings; None where it is not kept."""
    found = await tx.one("camera_settings_one", _Row, device=device, camera=camera, version=version)
    return _settings.decode(found.settings) if found else None


async def sheet(tx: Tx, device: str, camera: str, now_ms: int) -> Sheet:
    """Return everything about a camera's settings. The caller saw to it that the camera is there.

    Raises:
        NotAllowed: No such device.
    """
    present = await desired.read_settings(tx, device)
    found = await versions(tx, device, camera)
    facts = await tx.one("camera_settings_device", rows.DeviceFacts, device=device)
    report = facts.report() if facts else None
    health = _health_of(report, camera)
    settings = of_camera(present, camera)
    found = found or (_unkept(present, camera) if present else [])
    return Sheet(
        version=present.version if present else 0,
        settings=settings,
        versions=found,
        progress=progress(found[0], facts, report, now_ms) if found and facts else [],
        picture_px=health.picture_px if health else None,
    )


def _health_of(report: HealthReport | None, camera: str) -> CameraHealth | None:
    listed = report.pipeline.cameras if report and report.pipeline else []
    return next((row for row in listed if row.camera == camera), None)


# ------------------------------------------------------------------------------------ progress


def progress(
    newest: Version, device: rows.DeviceFacts, report: HealthReport | None, now_ms: int
) -> list[Step]:
    """Return how far a version is. Pure: from what the device reported, and when it was heard."""
    whom = newest.actor or "somebody, before versions were kept"
    at_device = _at_device(newest, device, report, now_ms)
    return [
        Step(name="saved", state="done", text=f"by {whom}", at_ms=newest.at_ms),
        Step(
            name="signed",
            state="done",
            text=f"version {newest.version}, by central's online key",
            at_ms=newest.at_ms,
        ),
        at_device,
        _running(newest, device, report, is_there=at_device.state == "done"),
    ]


def _at_device(
    newest: Version, device: rows.DeviceFacts, report: HealthReport | None, now_ms: int
) -> Step:
    """Say whether the device accepted the version, refused it, or cannot have seen it."""
    name = "at the device"
    if report is not None and _number(report.config_version) >= newest.version:
        return Step(name=name, state="done", text="the device accepted it", at_ms=report.at_ms)
    refused = [text for text in report.problems if "settings refused" in text] if report else []
    if refused and report is not None and report.at_ms >= newest.at_ms:
        return Step(name=name, state="refused", text=refused[0][:300], at_ms=report.at_ms)
    if device.state == "never":
        return Step(name=name, state="waiting", text="the device was never heard from")
    if device.state == "dark":
        text = "the device is dark: it takes it up when it is back"
        return Step(name=name, state="waiting", text=text, at_ms=device.last_contact_ms)
    ago_s = max(0, now_ms - (device.last_contact_ms or now_ms)) // 1000
    text = f"taken up at its next contact; last heard {ago_s} s ago"
    return Step(name=name, state="waiting", text=text, at_ms=device.last_contact_ms)


def _running(
    newest: Version, device: rows.DeviceFacts, report: HealthReport | None, *, is_there: bool
) -> Step:
    """Say whether the pipeline was started with the version; a dark device's word is its last."""
    name = "running"
    pipeline = report.pipeline if report else None
    if not is_there or report is None or pipeline is None:
        return Step(name=name, state="waiting", text="not before the device has it")
    runs = (
        pipeline.settings_version >= newest.version
        if pipeline.settings_version is not None
        # A device of before says only when its pipeline started.
        else (pipeline.since_ms or 0) >= newest.at_ms
    )
    if not pipeline.running:
        why = f": {pipeline.last_exit}" if pipeline.last_exit else ""
        text = f"the pipeline does not run{why}"[:300]
        return Step(name=name, state="waiting", text=text, at_ms=report.at_ms)
    if not runs:
        text = "the pipeline starts anew with it"
        return Step(name=name, state="waiting", text=text, at_ms=report.at_ms)
    if device.state == "dark":
        text = "it ran when the device was last heard; now the device is dark"
        return Step(name=name, state="unknown", text=text, at_ms=report.at_ms)
    return Step(name=name, state="done", text="the pipeline counts by it", at_ms=report.at_ms)


def _number(text: str) -> int:
    """Return a version as a device says it; 0 where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
