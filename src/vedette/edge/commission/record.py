"""What is kept of a camera's commissioning, and where.

    commission/<camera>/record.json          the last one
    commission/<camera>/record.<ms>.json     those before it
    commission/<camera>/reference.png        the scene, grey, reduced: what "moved" is judged by

The reference shows the emptied scene at 160 columns. It leaves the device only as coarse as a
thumbnail, and only where the site's policy lets thumbnails leave.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final

import cv2
import msgspec
import numpy as np

from vedette.edge.settings import Camera
from vedette.errors import ConfigError
from vedette.ids import is_slug
from vedette.stats.intervals import clopper_pearson
from vedette.vision.picture import Plane
from vedette.wire.messages import Bins, Histogram

FOLDER: Final = "commission"
FORMAT: Final = 1
MAX_RECORD_BYTES: Final = 4 * 1024 * 1024
MAX_REFERENCE_PX: Final = 512
CONFIDENCE: Final = 0.95


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Pictures that a person compared with what the model said, on the spot.

    Attributes:
        pictures: How many were looked at.
        right: Boxes that were right.
        wrong: Boxes around nothing, or around something else.
        missed: Objects that had no box.
    """

    pictures: int = 0
    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> tuple[float, float] | None:
        """The 95 % interval of right among all boxes; None without any box."""
        return clopper_pearson(self.right, self.right + self.wrong, CONFIDENCE)

    @property
    def recall(self) -> tuple[float, float] | None:
        """The 95 % interval of found among all objects; None without any object."""
        return clopper_pearson(self.right, self.right + self.missed, CONFIDENCE)


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What the pipeline did with this camera while it was being commissioned.

    Attributes:
        seconds: How long it was watched.
        observed_fraction: Part of that time that was observed, 0 to 1.
        captured, analysed, gated: Pictures.
        dropped: Pictures that were lost, by cause; records from before this was kept have none.
        stage_ms: Latency per stage.
        confidence, quality, detections: As in `wire.messages.Aggregate`.
    """

    seconds: float
    observed_fraction: float
    captured: int = 0
    analysed: int = 0
    gated: int = 0
    dropped: dict[str, int] = {}
    stage_ms: dict[str, Histogram] = {}
    confidence: dict[str, Bins] = {}
    quality: dict[str, Bins] = {}
    detections: dict[str, int] = {}


class CommissionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One camera's commissioning.

    Attributes:
        by: Who did it, as they wrote it.
        source: Without credentials.
        settings_sha256: Of zones, lines, regions and rotation; another value later means that
            what was confirmed is no longer what runs.
        confirmed: Steps that a person said yes to.
        refused: Steps that a person said no to: the camera is not ready.
        skipped: Steps that nobody answered.
        sharpness: Of the picture when focusing ended; None where it could not be judged.
        best_sharpness: The best that was seen while focusing.
        problems: Of the picture, as `vision.quality` names them.
        reference_sha256: Of `reference.png`; empty where none was pinned.
    """

    format: int = FORMAT
    camera: str
    at_ms: int
    by: str = ""
    source: str = ""
    codec: str = ""
    picture_px: tuple[int, int] | None = None
    rate_fps: float | None = None
    keyframe_s: float | None = None
    model: str = ""
    model_digest: str = ""
    settings_sha256: str = ""
    confirmed: list[str] = []
    refused: list[str] = []
    skipped: list[str] = []
    sharpness: float | None = None
    best_sharpness: float | None = None
    problems: list[str] = []
    reference_sha256: str = ""
    sample: Sample | None = None
    baseline: Baseline | None = None

    @property
    def is_complete(self) -> bool:
        """True where every step was taken and none refused."""
        return not self.skipped and not self.refused


def settings_digest(camera: Camera) -> str:
    """Return the hash of what a person confirms by looking: where is looked, and how turned."""
    said = (camera.zones, camera.lines, camera.regions, str(camera.rotate))
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()


def save(state_dir: Path, record: CommissionRecord, reference: Plane | None) -> Path:
    """Keep the record, the one before it under its date, and the reference; return its file.

    Raises:
        ConfigError: The folder cannot be written.
        ValueError: The camera's name could leave the folder.
    """
    folder = _folder(state_dir, record.camera)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if reference is not None:
            png = _png(reference)
            _write(folder / "reference.png", png)
            digest = hashlib.sha256(png).hexdigest()
            record = msgspec.structs.replace(record, reference_sha256=digest)
        before = load(state_dir, record.camera)
        if before is not None:
            kept = folder / f"record.{before.at_ms}.json"
            _write(kept, msgspec.json.format(msgspec.json.encode(before)))
        path = folder / "record.json"
        _write(path, msgspec.json.format(msgspec.json.encode(record)))
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}",
            operator_hint="make the state directory writable for this user",
        ) from error
    return path


def record_path(state_dir: Path, camera: str) -> Path:
    """Return the file of a camera's last record, whether there is one or not."""
    return _folder(state_dir, camera) / "record.json"


def load(state_dir: Path, camera: str) -> CommissionRecord | None:
    """Return the last record of a camera; None where there is none that can be read."""
    path = record_path(state_dir, camera)
    with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
        if path.stat().st_size <= MAX_RECORD_BYTES:
            record = msgspec.json.decode(path.read_bytes(), type=CommissionRecord)
            return record if record.format == FORMAT else None
    return None


def load_reference(state_dir: Path, camera: str) -> Plane | None:
    """Return the pinned reference, uint8 (h, w) luma; None where none was pinned or it changed."""
    record = load(state_dir, camera)
    if record is None or not record.reference_sha256:
        return None
    path = _folder(state_dir, camera) / "reference.png"
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_RECORD_BYTES:
            return None
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != record.reference_sha256:
            return None
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if found is not None and max(found.shape) <= MAX_REFERENCE_PX:
            return np.asarray(found, np.uint8)
    return None


def _folder(state_dir: Path, camera: str) -> Path:
    if not is_slug(camera):
        raise ValueError(f"{camera!r} is no camera's name")
    return state_dir / FOLDER / camera


def _png(reference: Plane) -> bytes:
    _, encoded = cv2.imencode(".png", reference)
    return encoded.tobytes()


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
