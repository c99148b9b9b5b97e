"""DETR's descendants: a few hundred queries, each a box and one logit per class, no suppression.

Outputs: `logits` (1, q, classes) and `boxes` (1, q, 4), centre, width and height in fractions of
the input; or both in one, `predictions` (1, q, 4 + classes), boxes first. RT-DETR, D-FINE, DEIM,
LW-DETR and RF-DETR pass logits through a sigmoid; the first DETR through a softmax with "no object"
last. Of a query that stands for several classes the best one is taken.

Source: Carion et al. 2020 (boxes, no-object class); Zhu et al., "Deformable DETR", 2021 (focal
loss, hence a sigmoid); Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", 2024; export
scripts of lyuwenyu/RT-DETR, Peterande/D-FINE and Roboflow RF-DETR (names and shapes of outputs).
"""

import numpy as np

from vedette.vision.detections import Detections
from vedette.vision.heads.boxes import finish, xyxy
from vedette.vision.heads.spec import HeadSpec, Outputs, take
from vedette.vision.heads.ssd import class_scores
from vedette.vision.preprocess import Transform


def decode(spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return the queries whose best class reaches `threshold`, in picture pixels.

    Raises:
        BadModelOutput: Wrong shapes, or values that are not finite or not scores.
    """
    wide = spec.classes + (spec.background != "none")
    if "predictions" in spec.outputs:
        both = take(spec, outputs, "predictions", (1, None, 4 + wide))[0]
        boxes, rows = both[:, :4], both[:, 4:]
    else:
        rows = take(spec, outputs, "logits", (1, None, wide))[0]
        boxes = take(spec, outputs, "boxes", (1, len(rows), 4))[0]
    at, scores, confidence, class_id = class_scores(spec, rows, threshold)
    found = xyxy(boxes[at], "cxcywh") * np.array(transform.input_px * 2, np.float32)
    return finish(found, confidence, class_id, transform, spec, scores_of=lambda kept: scores[kept])
