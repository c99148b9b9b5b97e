"""YOLOv5 and its relatives with an objectness: decoded rows, and the raw grids before them.

`yolov5`      `predictions` (1, n, 5 + classes): centre, width and height in input pixels,
              objectness, class scores, all activated. YOLOv5, v7, and v6 and YOLOX where their
              export decodes.
`yolov5_raw`  `level0`, `level1`, ... one per stride: (1, anchors, h, w, 5 + classes) or
              (1, anchors * (5 + classes), h, w). `activation: sigmoid` where the last layer's
              logits come out, `none` where all of them have passed a sigmoid already.

Source: Ultralytics YOLOv5, architecture description ("Eliminate Grid Sensitivity"): centre =
(2 s(x) - 0.5 + cell) * stride, side = anchor * (2 s(w))^2; default anchors from yolov5s.yaml, made
by k-means on COCO at 640 pixels.
"""

import numpy as np

from vedette.vision.detections import Detections
from vedette.vision.heads.boxes import Index, finish, sigmoid, xyxy
from vedette.vision.heads.grid import STRIDES, sure_rows
from vedette.vision.heads.spec import Floats, HeadSpec, Outputs, bad, take
from vedette.vision.preprocess import Transform

ANCHORS = (
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
)


def decode(spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return the objects of decoded rows whose objectness times class score reaches `threshold`.

    Raises:
        BadModelOutput: Wrong shapes, or values that are not finite or not scores.
    """
    rows = take(spec, outputs, "predictions", (1, None, 5 + spec.classes))[0]
    at, scores, confidence, class_id = sure_rows(spec, rows, threshold, "predictions")
    boxes = xyxy(rows[at, :4], "cxcywh")
    return finish(boxes, confidence, class_id, transform, spec, scores_of=lambda kept: scores[kept])


def decode_raw(
    spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float
) -> Detections:
    """Return the objects of all grids whose objectness times class score reaches `threshold`.

    Raises:
        BadModelOutput: Wrong shapes, or values that are not finite or not scores.
    """
    strides, anchors = spec.strides or STRIDES, spec.anchors or ANCHORS
    if len(strides) != len(anchors):
        raise bad(f"the head has {len(strides)} strides, but anchors for {len(anchors)} levels")
    found = [_level(spec, outputs, transform, threshold, at) for at in range(len(strides))]
    boxes = np.concatenate([level[0] for level in found])
    scores = np.concatenate([level[1] for level in found])
    confidence = np.concatenate([level[2] for level in found])
    class_id = np.concatenate([level[3] for level in found])
    return finish(boxes, confidence, class_id, transform, spec, scores_of=lambda kept: scores[kept])


def _level(
    spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float, number: int
) -> tuple[Floats, Floats, Floats, Index]:
    """Return boxes (n, 4) in input pixels, scores, confidence and class of one grid."""
    stride = (spec.strides or STRIDES)[number]
    anchors = np.array((spec.anchors or ANCHORS)[number], np.float32)
    columns, lines = (-(-side // stride) for side in transform.input_px)
    kinds, wide = len(anchors), 5 + spec.classes
    role = f"level{number}"
    shapes = ((1, kinds, lines, columns, wide), (1, kinds * wide, lines, columns))
    raw = take(spec, outputs, role, *shapes)[0]
    if raw.ndim == 3:
        raw = raw.reshape(kinds, wide, lines, columns).transpose(0, 2, 3, 1)
    rows = raw.reshape(-1, wide)
    at, scores, confidence, class_id = sure_rows(spec, rows, threshold, role)
    kind, line, column = np.unravel_index(at, (kinds, lines, columns))
    box = sigmoid(rows[at, :4]) if spec.activation == "sigmoid" else rows[at, :4]
    cell = np.stack([column, line], axis=1).astype(np.float32)
    centre = (2 * box[:, :2] - 0.5 + cell) * stride
    sides = (2 * box[:, 2:]) ** 2 * anchors[kind]
    boxes = xyxy(np.concatenate([centre, sides], axis=1), "cxcywh")
    return boxes, scores, confidence, class_id
