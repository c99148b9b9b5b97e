"""YOLOv8 and its successors without an objectness: a column per place, boxes decoded.

Output: `predictions` (1, 4 + classes, n), or the same with the last two axes swapped: centre, width
and height in pixels of the input, then one score per class. YOLOv8, v9, 11, 12, and 26 where its
end-to-end branch is left out.

Source: Ultralytics documentation, export and "end-to-end detection" guides: (N, nc + 4, 8400) at
640 pixels, xywh; scores have passed the sigmoid.
"""

import numpy as np

from vedette.vision.detections import Detections
from vedette.vision.heads.boxes import Index, finish, logit, reaching, sigmoid, xyxy
from vedette.vision.heads.spec import (
    Floats,
    HeadSpec,
    Outputs,
    fetch,
    require_finite,
    require_scores,
)
from vedette.vision.preprocess import Transform


def decode(spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return the objects whose best class score reaches `threshold`, in picture pixels.

    Raises:
        BadModelOutput: Wrong shapes, or values that are not finite or not scores.
    """
    wide = 4 + spec.classes
    columns = fetch(spec, outputs, "predictions", (1, wide, None), (1, None, wide))[0]
    if columns.shape[0] != wide:
        columns = columns.T
    boxes, scores = columns[:4], columns[4:]
    require_finite(boxes, "boxes")
    # One pass for the best class; with the smallest value it also proves that all are finite.
    best = scores.max(axis=0)
    logits = spec.activation == "sigmoid"
    if best.size:
        low, high = float(scores.min()), float(best.max())
        if logits:
            require_finite(np.array([low, high], np.float32), "scores")
        else:
            require_scores(low, high, "scores")
    at = reaching(best, logit(threshold) if logits else threshold)
    sure = best[at]
    # The class is looked up only here: an arg-max over all places would cost more than all else.
    class_id = (scores[:, at] == sure).argmax(axis=0)

    def scores_of(kept: Index) -> Floats:
        some = scores[:, at[kept]].T
        return sigmoid(some) if logits else some

    confidence = sigmoid(sure) if logits else sure
    return finish(
        xyxy(boxes[:, at].T, "cxcywh"), confidence, class_id, transform, spec, scores_of=scores_of
    )
