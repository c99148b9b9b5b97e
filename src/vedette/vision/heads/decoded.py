"""Networks that end in finished detections: boxes, scores and class ids, suppression done inside.

`end_to_end`  `predictions` (1, n, 6): left, top, right, bottom, score, class. YOLOv10, YOLO26, and
              any YOLO exported with suppression inside.
`decoded`     `boxes` (n, 4), `scores` (n,), `labels` (n,), each with or without a leading 1, and
              optionally `count` (how many of the rows are real): TensorFlow's detection models,
              torchvision, RT-DETR's and D-FINE's deploy exports. `boxes` may have a fifth column
              with the score (OpenMMLab). Or one output `detections` (1, 1, n, 7): picture, class,
              score, left, top, right, bottom (OpenVINO's DetectionOutput).

Rows below the threshold are padding and may hold anything finite. One score per object is all that
such a network tells, so its entropy is that of the score alone.

Source: Ultralytics end-to-end detection guide; TensorFlow Object Detection API, exporter (names;
boxes are ymin, xmin, ymax, xmax in fractions, ids from 1); torchvision detection models; OpenVINO
operation set, DetectionOutput-8.
"""

import numpy as np

from vedette.vision.detections import Detections
from vedette.vision.heads.boxes import finish, reaching, xyxy
from vedette.vision.heads.spec import Floats, HeadSpec, Outputs, bad, require_scores, take
from vedette.vision.preprocess import Transform


def decode_end_to_end(
    spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float
) -> Detections:
    """Return the rows whose score reaches `threshold`, in picture pixels.

    Raises:
        BadModelOutput: Wrong shapes, values that are not finite, not scores, or not class ids.
    """
    rows = take(spec, outputs, "predictions", (1, None, 6))[0]
    return _reported(
        spec, transform, threshold, boxes=rows[:, :4], scores=rows[:, 4], labels=rows[:, 5]
    )


def decode(spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return the finished detections whose score reaches `threshold`, in picture pixels.

    Raises:
        BadModelOutput: Wrong shapes, values that are not finite, not scores, or not class ids.
    """
    if "detections" in spec.outputs:
        rows = take(spec, outputs, "detections", (1, 1, None, 7)).reshape(-1, 7)
        # The first row of picture -1 ends the list.
        end = np.flatnonzero(rows[:, 0] < 0)
        rows = rows[: end[0]] if len(end) else rows
        return _reported(
            spec, transform, threshold, boxes=rows[:, 3:], scores=rows[:, 2], labels=rows[:, 1]
        )
    wide = 5 if "scores" not in spec.outputs and "boxes" in spec.outputs else 4
    boxes = take(spec, outputs, "boxes", (None, wide), (1, None, wide)).reshape(-1, wide)
    n = len(boxes)
    flat = ((n,), (1, n))
    scores = boxes[:, 4] if wide == 5 else take(spec, outputs, "scores", *flat).ravel()
    labels = take(spec, outputs, "labels", *flat).ravel()
    if "count" in spec.outputs:
        count = float(take(spec, outputs, "count", (), (1,), (1, 1)).ravel()[0])
        if not 0 <= count <= n or count % 1:
            raise bad(f"it says that {count} of {n} rows are real")
        n = int(count)
    return _reported(
        spec, transform, threshold, boxes=boxes[:n, :4], scores=scores[:n], labels=labels[:n]
    )


def _reported(
    spec: HeadSpec,
    transform: Transform,
    threshold: float,
    *,
    boxes: Floats,
    scores: Floats,
    labels: Floats,
) -> Detections:
    """Return the rows whose score reaches `threshold`, after looking at their class ids."""
    if scores.size:
        require_scores(float(scores.min()), float(scores.max()), "scores")
    at = reaching(scores, threshold)
    found = xyxy(boxes[at], spec.boxes)
    # Padding is all zeros; at a threshold of zero only the missing area tells it from an object.
    real = (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
    at, found = at[real], found[real]
    class_id = labels[at] - (spec.background == "first")
    if len(at) and ((class_id % 1).any() or class_id.min() < 0 or class_id.max() >= spec.classes):
        wrong = labels[at][(class_id % 1 != 0) | (class_id < 0) | (class_id >= spec.classes)][0]
        raise bad(f"class id {wrong:g} is none of its {spec.classes} classes")
    if spec.unit == "fraction":
        found *= np.array(transform.input_px * 2, np.float32)
    return finish(found, scores[at], class_id.astype(np.intp), transform, spec)
