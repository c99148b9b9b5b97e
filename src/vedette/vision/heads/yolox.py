"""YOLOX: one row per cell of three grids, with a box relative to its cell, objectness and classes.

Output: `predictions` (1, n, 5 + classes), rows of the grids one after another, row by row: centre
offset in cells (x, y), logarithm of width and height in cells, objectness, class scores. An export
that has decoded the boxes already is read as `yolov5`.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", section 2 (anchor-free decoding).
"""

import numpy as np

from vedette.vision.detections import Detections
from vedette.vision.heads.boxes import finish
from vedette.vision.heads.grid import STRIDES, cells, sure_rows
from vedette.vision.heads.spec import Floats, HeadSpec, Outputs, take
from vedette.vision.preprocess import Transform

# exp(10) cells are far wider than any input: more only overflows, and boxes are clipped anyway.
MAX_LOG_SIDE = 10.0


def decode(spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return the objects whose objectness times class score reaches `threshold`.

    Raises:
        BadModelOutput: Wrong shapes, or values that are not finite or not scores.
    """
    grid = cells(transform.input_px, spec.strides or STRIDES)
    shape = (1, len(grid), 5 + spec.classes)
    rows = take(spec, outputs, "predictions", shape)[0]
    at, scores, confidence, class_id = sure_rows(spec, rows, threshold, "predictions")
    boxes = _boxes(rows[at, :4], grid[at])
    return finish(boxes, confidence, class_id, transform, spec, scores_of=lambda kept: scores[kept])


def _boxes(found: Floats, grid: Floats) -> Floats:
    """Return xyxy in pixels of the input, float32, (n, 4)."""
    centre = (found[:, :2] + grid[:, :2]) * grid[:, 2:]
    half = np.exp(np.minimum(found[:, 2:4], MAX_LOG_SIDE)) * grid[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
