"""Cells of output grids, and rows with an objectness: what several YOLO families share.

Here: where a cell lies, and which rows of (box, objectness, classes) are worth decoding. Not here:
what the four box numbers mean, which is each family's own.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vedette.vision.heads.boxes import logit, reaching, sigmoid
from vedette.vision.heads.spec import Floats, HeadSpec, require_scores

STRIDES = (8, 16, 32)
Index = npt.NDArray[np.intp]


def count(input_px: tuple[int, int], strides: tuple[int, ...]) -> int:
    """Return how many cells all grids have together."""
    return sum(-(-input_px[0] // stride) * -(-input_px[1] // stride) for stride in strides)


@lru_cache(maxsize=8)
def cells(input_px: tuple[int, int], strides: tuple[int, ...]) -> Floats:
    """Return column, row and stride of every cell of every grid: float32, (n, 3), read-only.

    Grids stand one after another, each row by row. A side that is not a multiple of the stride has
    a cell for the rest, as a strided convolution with padding makes it.
    """
    levels: list[npt.NDArray[np.intp]] = []
    for stride in strides:
        columns, rows = -(-input_px[0] // stride), -(-input_px[1] // stride)
        row, column = np.divmod(np.arange(rows * columns), columns)
        levels.append(np.stack([column, row, np.full_like(row, stride)], axis=1))
    grid = np.concatenate(levels).astype(np.float32)
    grid.flags.writeable = False
    return grid


def sure_rows(
    spec: HeadSpec, rows: Floats, threshold: float, role: str
) -> tuple[Index, Floats, Floats, Index]:
    """Return the rows whose objectness times class score reaches `threshold`.

    Args:
        spec: Says whether scores are logits.
        rows: float32, (n, 5 + classes), finite: four numbers of the box, objectness, classes.
        threshold: 0–1, on the product.
        role: For the error.

    Returns:
        Their indices (m,), scores float32 (m, classes), confidence (m,) and class (m,).

    Raises:
        BadModelOutput: Objectness anywhere, or a class score in a row of interest, is not 0 to 1.
    """
    logits = spec.activation == "sigmoid"
    objectness = rows[:, 4]
    if not logits and len(objectness):
        require_scores(float(objectness.min()), float(objectness.max()), role)
    # A product of two numbers up to 1 reaches the threshold only if the objectness alone does.
    likely = reaching(objectness, logit(threshold) if logits else threshold)
    found = rows[likely, 4:]
    scores = sigmoid(found) if logits else found
    if len(scores):
        require_scores(float(scores.min()), float(scores.max()), role)
    scores = scores[:, 1:] * scores[:, :1]
    class_id = scores.argmax(axis=1)
    confidence = scores[np.arange(len(scores)), class_id]
    sure = np.flatnonzero(confidence >= threshold)
    return likely[sure], scores[sure], confidence[sure], class_id[sure]
