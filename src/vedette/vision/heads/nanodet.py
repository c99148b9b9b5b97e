"""NanoDet and NanoDet-Plus: class scores, and for each side a distribution over distances.

Output: `predictions` (1, n, classes + 4 * bins), rows of the grids one after another: class scores
(past the sigmoid in an export), then the logits of left, top, right and bottom, `bins` each. A
distance is the mean of the softmax over 0, 1, ... bins - 1, times the stride. NanoDet-Plus has the
strides 8 to 64 and measures from the cell's corner; the first NanoDet 8 to 32, from its middle.

Source: Li et al., "Generalized Focal Loss", 2020, section 3 (distribution of box sides);
RangiLyu/nanodet, nanodet_plus_head.py and gfl_head.py (centre of a cell, order of outputs).
"""

import numpy as np

from vedette.vision.detections import Detections
from vedette.vision.heads.boxes import Index, finish, logit, reaching, sigmoid, softmax
from vedette.vision.heads.grid import cells
from vedette.vision.heads.spec import Floats, HeadSpec, Outputs, bad, require_scores, take
from vedette.vision.preprocess import Transform

STRIDES = (8, 16, 32, 64)
MAX_BINS = 64


def decode(spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return the objects whose best class score reaches `threshold`, in picture pixels.

    Raises:
        BadModelOutput: Wrong shapes, or values that are not finite or not scores.
    """
    grid = cells(transform.input_px, spec.strides or STRIDES)
    rows = take(spec, outputs, "predictions", (1, len(grid), None))[0]
    bins, rest = divmod(rows.shape[1] - spec.classes, 4)
    if rest or not 2 <= bins <= MAX_BINS:
        raise bad(f"{rows.shape[1]} columns are not {spec.classes} classes and four distributions")
    scores = rows[:, : spec.classes]
    best = scores.max(axis=1)
    logits = spec.activation == "sigmoid"
    if not logits:
        require_scores(float(scores.min()), float(best.max()), "scores")
    at = reaching(best, logit(threshold) if logits else threshold)
    distances = softmax(rows[at, spec.classes :].reshape(-1, 4, bins)) @ np.arange(
        bins, dtype=np.float32
    )
    stride = grid[at, 2:]
    point = (grid[at, :2] + np.float32(spec.cell_offset)) * stride
    reach = distances * stride
    boxes = np.concatenate([point - reach[:, :2], point + reach[:, 2:]], axis=1)

    def scores_of(kept: Index) -> Floats:
        some = scores[at[kept]]
        return sigmoid(some) if logits else some

    confidence = sigmoid(best[at]) if logits else best[at]
    class_id = scores[at].argmax(axis=1)
    return finish(
        boxes.astype(np.float32), confidence, class_id, transform, spec, scores_of=scores_of
    )
