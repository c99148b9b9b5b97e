"""A folder of labelled pictures: what is in each, and on which camera and day it was taken.

What lives here: reading COCO's one JSON file, or YOLO's text file beside each picture, under
limits. What does not: running a model on them (`lab.evaluating`). The rule: a picture of which
nobody says the camera and the day counts as taken with all the others like it, never as a witness
of its own: too few independent days is what a folder of frames of one afternoon is.

    annotations.json            COCO: images may have `site`, `camera`, `date_captured`
    SITE/CAMERA/2026-05-17/…    else the folders above the picture say it
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from vedette.errors import ConfigError

ANNOTATIONS: Final = "annotations.json"
NAMES: Final = "classes.txt"
MAX_PICTURES: Final = 100_000
MAX_JSON_BYTES: Final = 256 * 1024 * 1024
MAX_TEXT_BYTES: Final = 1024 * 1024
MAX_PICTURE_BYTES: Final = 64 * 1024 * 1024
PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_HINT: Final = (
    "A folder with COCO's annotations.json, or pictures with YOLO's .txt beside them and the "
    "names of the classes in classes.txt."
)

Boxes = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Truth:
    """What is in one picture.

    Attributes:
        name: Path below the folder.
        boxes: float32, (n, 4), xyxy; pixels, or fractions of the picture where `is_relative`.
        labels: Of each box.
        crowd: bool, (n,): many of them in one box; a find in it is neither right nor wrong.
        key: Site, camera and day.
    """

    name: str
    boxes: Boxes
    labels: tuple[str, ...]
    crowd: npt.NDArray[np.bool_]
    key: tuple[str, str, str]
    is_relative: bool = False

    def in_pixels(self, width: int, height: int) -> Boxes:
        """Return the boxes in pixels of a picture of this size."""
        if not self.is_relative:
            return self.boxes
        return (self.boxes * np.array([width, height, width, height])).astype(np.float32)


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """The pictures of a folder; `classes`: those that were looked for in every one of them."""

    folder: Path
    classes: tuple[str, ...]
    pictures: tuple[Truth, ...]
    sha256: str


class _CocoImage(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    file_name: str
    site: str = ""
    camera: str = ""
    date_captured: str = ""


class _CocoBox(msgspec.Struct, frozen=True, kw_only=True):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _CocoClass(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    name: str


class _Coco(msgspec.Struct, frozen=True, kw_only=True):
    images: list[_CocoImage]
    annotations: list[_CocoBox]
    categories: list[_CocoClass]


def read(folder: Path, *, each_alone: bool = False) -> LabelledSet:
    """Return the labelled pictures of a folder.

    Args:
        folder: With `annotations.json`, or with pictures and their text files.
        each_alone: The pictures have nothing to do with one another: each is a day of its own.

    Raises:
        ConfigError: It is not there, not labelled, or over a limit.
    """
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}", operator_hint=_HINT)
    annotated = folder / ANNOTATIONS
    classes, found = _from_coco(annotated) if annotated.is_file() else _from_yolo(folder)
    if not found:
        raise ConfigError(f"there are no labelled pictures in {folder}", operator_hint=_HINT)
    if each_alone:
        found = [_alone(truth) for truth in found]
    found.sort(key=lambda truth: truth.name)
    return LabelledSet(folder, classes, tuple(found), _fingerprint(folder, classes, found))


def _alone(truth: Truth) -> Truth:
    name = hashlib.sha256(truth.name.encode()).hexdigest()[:16]
    return Truth(
        truth.name, truth.boxes, truth.labels, truth.crowd, ("", name, ""), truth.is_relative
    )


def _bounded(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise ConfigError(f"{path} has more than {limit} bytes", operator_hint=_HINT)
        with path.open("rb") as opened:
            return opened.read(limit)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def _from_coco(path: Path) -> tuple[tuple[str, ...], list[Truth]]:
    data = _bounded(path, MAX_JSON_BYTES)
    try:
        said = msgspec.json.decode(data, type=_Coco)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not COCO's JSON: {error}", operator_hint=_HINT) from error
    if len(said.images) > MAX_PICTURES:
        raise ConfigError(f"{path} has more than {MAX_PICTURES} pictures")
    names = {one.id: one.name for one in said.categories}
    boxes: dict[int, list[_CocoBox]] = {one.id: [] for one in said.images}
    for box in said.annotations:
        if box.image_id not in boxes or box.category_id not in names:
            raise ConfigError(f"{path}: a box of a picture or class that is not there")
        boxes[box.image_id].append(box)
    return tuple(names.values()), [_coco_truth(one, boxes[one.id], names) for one in said.images]


def _coco_truth(image: _CocoImage, boxes: list[_CocoBox], names: dict[int, str]) -> Truth:
    name = PurePosixPath(image.file_name)
    if name.is_absolute() or ".." in name.parts:
        raise ConfigError(f"{image.file_name[:80]!r} leads out of the folder")
    site, camera, day = _key_of(name)
    corners = [(x, y, x + w, y + h) for x, y, w, h in (box.bbox for box in boxes)]
    return Truth(
        str(name),
        np.array(corners, np.float32).reshape(-1, 4),
        tuple(names[box.category_id] for box in boxes),
        np.array([bool(box.iscrowd) for box in boxes], np.bool_),
        (image.site or site, image.camera or camera, image.date_captured[:10] or day),
    )


def _from_yolo(folder: Path) -> tuple[tuple[str, ...], list[Truth]]:
    classes = tuple(_lines(folder / NAMES)) if (folder / NAMES).is_file() else ()
    pictures = _pictures(folder)
    if not classes:
        raise ConfigError(f"{folder} has neither {ANNOTATIONS} nor {NAMES}", operator_hint=_HINT)
    return classes, [
        _yolo_truth(folder, path, classes) for path in pictures if _text_of(folder, path).is_file()
    ]


def _pictures(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in folder.rglob("*"):
        if path.suffix.lower() in PICTURES and path.is_file():
            found.append(path)
            if len(found) > MAX_PICTURES:
                raise ConfigError(f"{folder} has more than {MAX_PICTURES} pictures")
    return found


def _text_of(folder: Path, picture: Path) -> Path:
    """Return the text of a picture: beside it, or under `labels` where it lies under `images`."""
    beside = picture.with_suffix(".txt")
    below = picture.relative_to(folder)
    if beside.is_file() or below.parts[0] != "images":
        return beside
    return (folder / "labels" / Path(*below.parts[1:])).with_suffix(".txt")


def _lines(path: Path) -> Iterable[str]:
    try:
        text = _bounded(path, MAX_TEXT_BYTES).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text: {error}", operator_hint=_HINT) from error
    return (line.strip() for line in text.splitlines() if line.strip())


def _yolo_truth(folder: Path, picture: Path, classes: tuple[str, ...]) -> Truth:
    text = _text_of(folder, picture)
    corners: list[tuple[float, float, float, float]] = []
    labels: list[str] = []
    for line in _lines(text):
        try:
            which, x, y, width, height = line.split()[:5]
            label, box = classes[int(which)], [float(v) for v in (x, y, width, height)]
        except (ValueError, IndexError) as error:
            raise ConfigError(f"{text}: {line[:60]!r} is no box", operator_hint=_HINT) from error
        if not all(0 <= value <= 1 for value in box):
            raise ConfigError(f"{text}: {line[:60]!r} is not in fractions of the picture")
        corners.append(
            (box[0] - box[2] / 2, box[1] - box[3] / 2, box[0] + box[2] / 2, box[1] + box[3] / 2)
        )
        labels.append(label)
    name = PurePosixPath(picture.relative_to(folder).as_posix())
    return Truth(
        str(name),
        np.array(corners, np.float32).reshape(-1, 4),
        tuple(labels),
        np.zeros(len(labels), np.bool_),
        _key_of(name),
        is_relative=True,
    )


def _key_of(name: PurePosixPath) -> tuple[str, str, str]:
    """Return site, camera and day by the folders above a picture, the day nearest to it."""
    parts = [part for part in name.parts[:-1] if part not in {"images", "train", "val", "test"}]
    day = parts.pop() if parts and _DAY.fullmatch(parts[-1]) else ""
    camera = parts.pop() if parts else ""
    return (parts.pop() if parts else "", camera, day)


def _fingerprint(folder: Path, classes: tuple[str, ...], found: list[Truth]) -> str:
    """Return the SHA-256 over every picture's bytes and what is true of it."""
    whole = hashlib.sha256(repr(classes).encode())
    for truth in found:
        picture = _bounded(folder / truth.name, MAX_PICTURE_BYTES)
        whole.update(hashlib.sha256(picture).digest())
        whole.update(repr((truth.name, truth.labels, truth.key)).encode())
        whole.update(truth.boxes.tobytes() + truth.crowd.tobytes())
    return whole.hexdigest()
