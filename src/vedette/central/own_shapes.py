"""Zones and lines of a device's own configuration file, for showing where they lie.

    read      what holds on a camera that central never drew on, as far as central can know it

Central does not have the file: it has the newest answer to the question `config`, and the names
under which the device counts. The rule: these are shown and never signed; a name without an outline
is told as one, not left out.
"""

import contextlib
from collections.abc import Iterable
from typing import Final

import msgspec

from vedette.central.store.db import Tx
from vedette.central.views import CountRow
from vedette.wire.diagnostics import ConfigAnswer
from vedette.wire.signed import CameraSettings, Line, Zone

_KINDS: Final = {"entered": "zones", "forward": "lines"}
MAX_SHOWN: Final = 32


class OwnShapes(msgspec.Struct, frozen=True, kw_only=True):
    """What a device has of its own on one camera.

    Attributes:
        told_ms: When it told its configuration; null where it did not, or too long ago to be kept.
        elsewhere: Names under which it counts and whose outlines central does not know.
    """

    zones: list[Zone] = []
    lines: list[Line] = []
    told_ms: int | None = None
    elsewhere: list[str] = []


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    answered_ms: int
    answer: bytes


async def read(
    tx: Tx, device: str, settings: CameraSettings, counts: Iterable[CountRow]
) -> OwnShapes:
    """Return what the device has of its own where `settings` leave that to it."""
    left = {kind for kind in ("zones", "lines") if getattr(settings, kind) is None}
    if not left:
        return OwnShapes()
    told = await tx.one("diagnostics_newest_config", _Answer, device=device)
    zones, lines = shapes_in(told.answer, settings.camera) if told else ([], [])
    zones, lines = zones if "zones" in left else [], lines if "lines" in left else []
    known = {shape.name for shape in (*zones, *lines)}
    counted = {row.what for row in counts if _KINDS.get(row.kind) in left}
    return OwnShapes(
        zones=zones,
        lines=lines,
        told_ms=told.answered_ms if told else None,
        elsewhere=sorted(counted - known)[:MAX_SHOWN],
    )


def shapes_in(answer: bytes, camera: str) -> tuple[list[Zone], list[Line]]:
    """Return a camera's own zones and lines in an answer to `config`; none that are not well made.

    What central had decided at that time is not the device's own and is left out.
    """
    with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
        told = msgspec.json.decode(answer, type=ConfigAnswer)
        by_central = {origin.part for origin in told.origins if origin.signer == "central"}
        cameras = msgspec.convert(told.config.get("cameras", []), list[dict[str, object]])
        own = next((one for one in cameras if one.get("id") == camera), {})
        zones, lines = (
            [] if f"cameras.{camera}.{kind}" in by_central else own.get(kind, [])
            for kind in ("zones", "lines")
        )
        return (
            msgspec.convert(zones, list[Zone], strict=False)[:MAX_SHOWN],
            msgspec.convert(lines, list[Line], strict=False)[:MAX_SHOWN],
        )
    return [], []
