"""How well a bundle does on labelled pictures: counts by class and camera-day, never shares.

What lives here: running the model, matching finds with truth, counting. What does not: bounds and
verdicts (`stats.gates`). The rule: only classes that were looked for in every picture are counted;
a car in a folder where nobody labelled cars is neither right nor wrong.

A find is right where it overlaps an object of its class that no surer find took, by `IOU` at least.
What is left over of both is then put together across classes, for the confusion matrix: such a
pair stays one wrong find and one missed object.

Source: Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 88, 2010, section
4.2 (matching by confidence, one find per object).
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from vedette.errors import ConfigError
from vedette.inference.model import Model
from vedette.lab.labelled import Boxes, LabelledSet, Truth
from vedette.vision.detections import Detections
from vedette.vision.picture import Picture
from vedette.wire.evaluation import (
    BACKGROUND,
    CameraDay,
    Confused,
    DataSet,
    EvaluationRecord,
    Tally,
)

IOU: Final = 0.5
MAX_SIDE_PX: Final = 8192

Cells = Counter[tuple[str, str]]
"""Objects by what they are and what they were taken for."""


def evaluate(
    model: Model,
    labelled: LabelledSet,
    *,
    at_ms: int,
    by: str = "",
    name: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationRecord:
    """Return what the model made of every picture.

    Raises:
        ConfigError: A picture cannot be read, or no class is both labelled and known.
        BadModelOutput: The model failed on a picture.
    """
    classes = [label for label in model.labels if label in labelled.classes]
    if not classes:
        raise ConfigError(
            f"{model.name} knows none of the classes that are labelled: "
            f"{', '.join(labelled.classes[:8])}",
            operator_hint="Name the classes as the bundle does; `vedette bundle test` lists them.",
        )
    days: dict[tuple[str, str, str], tuple[Counter[str], Cells]] = {}
    for number, truth in enumerate(labelled.pictures):
        picture = _load(labelled.folder / truth.name)
        found = model.detect(picture).detections
        cells = count(found, model.labels, truth, picture.size, classes)
        pictures, whole = days.setdefault(truth.key, (Counter(), Counter()))
        pictures["pictures"] += 1
        whole.update(cells)
        if progress:
            progress(number + 1, len(labelled.pictures))
    total: Cells = Counter()
    for _, cells in days.values():
        total.update(cells)
    return EvaluationRecord(
        digest=model.digest,
        at_ms=at_ms,
        by=by,
        method=f"boxes of {', '.join(classes[:10])}{' …' if len(classes) > 10 else ''}, surest "
        "first, at the bundle's own thresholds",
        iou=IOU,
        data=DataSet(
            name=name or labelled.folder.name,
            sha256=labelled.sha256,
            pictures=len(labelled.pictures),
        ),
        days=[
            CameraDay(
                site=key[0],
                camera=key[1],
                day=key[2],
                pictures=pictures["pictures"],
                tallies=tallies(cells),
            )
            for key, (pictures, cells) in sorted(days.items())
        ],
        confusion=[Confused(truth, found, n) for (truth, found), n in sorted(total.items())],
    )


def count(
    found: Detections,
    labels: list[str],
    truth: Truth,
    size: tuple[int, int],
    classes: list[str],
) -> Cells:
    """Return the cells of the confusion matrix that one picture adds to."""
    cells: Cells = Counter()
    wanted = [i for i, label in enumerate(truth.labels) if label in classes]
    boxes = truth.in_pixels(*size)
    objects = [i for i in wanted if not truth.crowd[i]]
    order = [int(i) for i in np.argsort(-found.confidence, kind="stable")]
    finds = [i for i in order if labels[int(found.class_id[i])] in classes]
    left_finds: list[int] = []
    for i in finds:
        label = labels[int(found.class_id[i])]
        same = [k for k in objects if truth.labels[k] == label]
        best = _best(found.boxes_xyxy[i], boxes, same)
        if best is None:
            left_finds.append(i)
        else:
            objects.remove(best)
            cells[label, label] += 1
    crowds = [i for i in wanted if truth.crowd[i]]
    for i in left_finds:
        label = labels[int(found.class_id[i])]
        if _is_in_crowd(
            found.boxes_xyxy[i], boxes, [k for k in crowds if truth.labels[k] == label]
        ):
            continue
        best = _best(found.boxes_xyxy[i], boxes, objects)
        if best is not None:
            objects.remove(best)
        cells[truth.labels[best] if best is not None else BACKGROUND, label] += 1
    for k in objects:
        cells[truth.labels[k], BACKGROUND] += 1
    return cells


def tallies(cells: Cells) -> dict[str, Tally]:
    """Return right, wrong and missed of each class in a confusion matrix."""
    sums: dict[str, list[int]] = {}
    for (truth, found), objects in cells.items():
        if truth == found:
            sums.setdefault(truth, [0, 0, 0])[0] += objects
            continue
        if found != BACKGROUND:
            sums.setdefault(found, [0, 0, 0])[1] += objects
        if truth != BACKGROUND:
            sums.setdefault(truth, [0, 0, 0])[2] += objects
    return {label: Tally(*of) for label, of in sorted(sums.items())}


def _best(box: Boxes, boxes: Boxes, among: list[int]) -> int | None:
    """Return which of the boxes `among` overlaps most, at least by `IOU`; None: none does."""
    if not among:
        return None
    others = boxes[among]
    both = _both(box, others)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    overlap = both / np.maximum(float(np.prod(box[2:] - box[:2])) + areas - both, 1e-9)
    at = int(np.argmax(overlap))
    return among[at] if overlap[at] >= IOU else None


def _is_in_crowd(box: Boxes, boxes: Boxes, crowds: list[int]) -> bool:
    if not crowds:
        return False
    own = max(float(np.prod(box[2:] - box[:2])), 1e-9)
    return bool(np.any(_both(box, boxes[crowds]) / own >= IOU))


def _both(box: Boxes, others: Boxes) -> Boxes:
    """Return the area, float32 (n,), that a box shares with each of `others` (n, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return np.clip(sides, 0, None).prod(axis=1)


def _load(path: Path) -> Picture:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None or max(picture.shape) > MAX_SIDE_PX:
        raise ConfigError(f"{path} is not a picture of at most {MAX_SIDE_PX} pixels a side")
    return Picture.from_bgr(np.asarray(picture, np.uint8))
