"""Telling central what came of commissioning, once for each record that is stored.

The record itself stays on the device (`edge.commission.record`); what is told holds no picture.
Not here: how it is made. The agent must stay small, so that this reads the file without the rooms
that work on pictures. The rule: told is what the spool has; a record is told again rather than not
at all, and central knows it by its date.

Thread: the uplink's.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from vedette.wire.messages import CommissionReport
from vedette.wire.numbers import Count, Finite

_LOG = logging.getLogger(__name__)

FOLDER: Final = "commission"
TOLD: Final = "told.json"
FORMAT: Final = 1
MAX_BYTES: Final = 4 * 1024 * 1024
_BY_CHARS: Final = 120

Put = Callable[[str, CommissionReport], object]


class _Sample(msgspec.Struct, frozen=True, kw_only=True):
    pictures: Count = 0
    right: Count = 0
    wrong: Count = 0
    missed: Count = 0


class _Baseline(msgspec.Struct, frozen=True, kw_only=True):
    seconds: Finite
    observed_fraction: Finite
    captured: Count = 0
    analysed: Count = 0
    gated: Count = 0


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """What of `edge.commission.record.CommissionRecord` is told."""

    format: int
    camera: str
    at_ms: Count
    by: str = ""
    confirmed: list[str] = []
    refused: list[str] = []
    skipped: list[str] = []
    problems: list[str] = []
    picture_px: tuple[Count, Count] | None = None
    model: str = ""
    model_digest: str = ""
    settings_sha256: str = ""
    sharpness: Finite | None = None
    sample: _Sample | None = None
    baseline: _Baseline | None = None


class Telling:
    """Puts a report of every new record into the spool.

    Args:
        state_dir: The device's.
        put: Takes (schema, report); it raises nothing that has to be known here.
    """

    def __init__(self, state_dir: Path, put: Put) -> None:
        self._folder: Final = state_dir / FOLDER
        self._put: Final = put
        self._seen_ns: dict[str, int] = {}
        self._told: dict[str, int] = self._read_told()

    def tell(self, cameras: Iterable[str]) -> int:
        """Tell what is new of these cameras; return how many were told."""
        count = 0
        for camera in cameras:
            record = self._changed(camera)
            if record is None or self._told.get(camera, -1) >= record.at_ms:
                continue
            self._put("commission.v1", report_of(record))
            self._told[camera] = record.at_ms
            count += 1
        if count:
            self._write_told()
        return count

    def _changed(self, camera: str) -> _Record | None:
        """Return the record of a camera where its file is another than at the last look."""
        path = self._folder / camera / "record.json"
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            stat = path.stat()
            if self._seen_ns.get(camera) == stat.st_mtime_ns or stat.st_size > MAX_BYTES:
                return None
            record = msgspec.json.decode(path.read_bytes(), type=_Record)
            self._seen_ns[camera] = stat.st_mtime_ns
            if record.format == FORMAT and record.camera == camera:
                return record
        return None

    def _read_told(self) -> dict[str, int]:
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.json.decode((self._folder / TOLD).read_bytes(), type=dict[str, int])
        return {}

    def _write_told(self) -> None:
        temporary = self._folder / f".{TOLD}"
        try:
            temporary.write_bytes(msgspec.json.encode(self._told))
            temporary.replace(self._folder / TOLD)
        except OSError as error:  # then it is told again after the next start: harmless
            _LOG.warning(
                "what was told of commissioning was not kept",
                extra={"event": "commission.told_not_kept", "reason": str(error)},
            )


def report_of(record: _Record) -> CommissionReport:
    """Return what central is told of a record."""
    sample, base = record.sample or _Sample(), record.baseline
    return CommissionReport(
        camera=record.camera,
        at_ms=record.at_ms,
        by=record.by[:_BY_CHARS],
        confirmed=record.confirmed,
        refused=record.refused,
        skipped=record.skipped,
        problems=record.problems,
        picture_px=record.picture_px,
        model=record.model[:_BY_CHARS],
        model_digest=record.model_digest,
        settings_sha256=record.settings_sha256,
        sharpness=record.sharpness,
        pictures=sample.pictures,
        right=sample.right,
        wrong=sample.wrong,
        missed=sample.missed,
        baseline_s=base.seconds if base else None,
        observed_fraction=base.observed_fraction if base else None,
        captured=base.captured if base else 0,
        analysed=base.analysed if base else 0,
        gated=base.gated if base else 0,
    )
