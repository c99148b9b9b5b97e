"""YOLOX: one row per cell of three grids, with a box relative to its cell, objectness and classes.

Output: `predictions` (1, n, 5 + classes), rows of the grids one after another, row by row: centre
offset in cells (x, y), logarithm of width and height in cells, objectness, class scores.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", section 2 (anchor-free decoding).
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vedette.vision.detections import Detections
from vedette.vision.heads.boxes import MAX_CANDIDATES, finish, logit, sigmoid, strongest
from vedette.vision.heads.spec import HeadSpec, Outputs, bad, take
from vedette.vision.preprocess import Transform

STRIDES = (8, 16, 32)
# exp(10) cells are far wider than any input: more only overflows, and boxes are clipped anyway.
MAX_LOG_SIDE = 10.0

Floats = npt.NDArray[np.float32]


def decode(spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return the objects whose objectness times class score reaches `threshold`.

    Raises:
        BadModelOutput: Wrong shapes, or values that are not finite or not scores.
    """
    grid = cells(transform.input_px, spec.strides or STRIDES)
    shape = (1, len(grid), 5 + spec.classes)
    predictions = take(spec, outputs, "predictions", shape)[0]
    logits = spec.activation == "sigmoid"
    # A product of two numbers up to 1 reaches the threshold only if the objectness alone does.
    likely = np.flatnonzero(predictions[:, 4] >= (logit(threshold) if logits else threshold))
    likely = likely[strongest(predictions[likely, 4], MAX_CANDIDATES)]
    found, grid = predictions[likely], grid[likely]
    scores = sigmoid(found[:, 4:]) if logits else found[:, 4:]
    if len(scores) and (scores.max() > 1 or scores.min() < 0):
        raise bad("scores are not within 0 to 1; the activation may be `sigmoid`")
    scores = scores[:, 1:] * scores[:, :1]
    class_id = scores.argmax(axis=1)
    sure = scores[np.arange(len(scores)), class_id] >= threshold
    return finish(
        _boxes(found[sure], grid[sure]),
        scores[sure],
        transform,
        class_id=class_id[sure],
        iou=spec.iou,
        most=spec.max_detections,
    )


@lru_cache(maxsize=8)
def cells(input_px: tuple[int, int], strides: tuple[int, ...]) -> Floats:
    """Return column, row and stride of every cell of every grid: float32, (n, 3), read-only."""
    levels: list[npt.NDArray[np.intp]] = []
    for stride in strides:
        columns, rows = input_px[0] // stride, input_px[1] // stride
        row, column = np.divmod(np.arange(rows * columns), max(columns, 1))
        levels.append(np.stack([column, row, np.full_like(row, stride)], axis=1))
    grid = np.concatenate(levels).astype(np.float32)
    grid.flags.writeable = False
    return grid


def _boxes(found: Floats, grid: Floats) -> Floats:
    """Return xyxy in pixels of the input, float32, (n, 4)."""
    centre = (found[:, :2] + grid[:, :2]) * grid[:, 2:]
    half = np.exp(np.minimum(found[:, 2:4], MAX_LOG_SIDE)) * grid[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
