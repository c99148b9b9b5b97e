"""SSD and RetinaNet-like heads: one box and one score per class for every prior box.

Outputs: `boxes` (1, n, 4) and `scores` (1, n, classes), with one score more where the background
has one. Without the role `priors`, `boxes` are boxes, in the order and unit that the bundle says.
With it they are offsets from prior boxes: `priors` (n, 4) or (1, n, 4), centre, width and height in
fractions of the input, is an output of the network, constant. A raw export has no such output; the
import adds it from a file.

Source: Liu et al., "SSD: Single Shot MultiBox Detector", 2016, section 2.2 (offsets from default
boxes); variances 0.1 and 0.2 as in its published code, the inverse of TensorFlow's scale factors
10 and 5.
"""

import math

import numpy as np

from vedette.vision.detections import Detections
from vedette.vision.heads.boxes import Index, finish, logit, reaching, sigmoid, softmax, xyxy
from vedette.vision.heads.spec import Floats, HeadSpec, Outputs, bad, require_scores, take
from vedette.vision.preprocess import Transform

MAX_LOG_SIDE = 10.0
PRIORS = "priors"


def decode(spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return the objects whose best score but the background's reaches `threshold`.

    Raises:
        BadModelOutput: Wrong shapes, or values that are not finite or not scores.
    """
    wide = spec.classes + (spec.background != "none")
    rows = take(spec, outputs, "scores", (1, None, wide))[0]
    boxes = take(spec, outputs, "boxes", (1, len(rows), 4))[0]
    at, scores, confidence, class_id = class_scores(spec, rows, threshold)
    found = boxes[at]
    if PRIORS in spec.outputs:
        shapes = ((len(rows), 4), (1, len(rows), 4))
        priors = take(spec, outputs, PRIORS, *shapes).reshape(-1, 4)
        found = _from_priors(spec, found, priors[at])
    else:
        found = xyxy(found, spec.boxes)
    if spec.unit == "fraction" or PRIORS in spec.outputs:
        found *= np.array(transform.input_px * 2, np.float32)
    return finish(found, confidence, class_id, transform, spec, scores_of=lambda kept: scores[kept])


def class_scores(
    spec: HeadSpec, rows: Floats, threshold: float
) -> tuple[Index, Floats, Floats, Index]:
    """Return the rows whose best class reaches `threshold`, the background left out.

    Args:
        spec: Says which column is the background and how scores are activated.
        rows: float32, (n, columns), finite.
        threshold: 0–1.

    Returns:
        Their indices (m,), scores float32 (m, classes), confidence (m,) and class (m,).

    Raises:
        BadModelOutput: Scores that are said to be activated are not 0 to 1.
    """
    first = int(spec.background == "first")
    classes = slice(first, first + spec.classes)
    best = rows[:, classes].max(axis=1)
    if spec.activation == "none":
        if rows.size:
            require_scores(float(rows.min()), float(rows.max()), "scores")
        at = reaching(best, threshold)
        scores = rows[at, classes]
    elif spec.activation == "sigmoid":
        at = reaching(best, logit(threshold))
        scores = sigmoid(rows[at, classes])
    else:
        # A softmax reaches t only if its logit is within -log t of the row's largest one: so the
        # exponentials of most rows are never computed.
        margin = best - rows.max(axis=1)
        at = reaching(margin, math.log(threshold) if threshold > 0 else -math.inf)
        scores = softmax(rows[at])[:, classes] if len(at) else rows[at, classes]
    class_id = scores.argmax(axis=1) if len(at) else np.zeros(0, np.intp)
    confidence = scores[np.arange(len(at)), class_id]
    sure = np.flatnonzero(confidence >= threshold)
    return at[sure], scores[sure], confidence[sure], class_id[sure]


def _from_priors(spec: HeadSpec, offsets: Floats, priors: Floats) -> Floats:
    """Return boxes xyxy, float32 (n, 4), in fractions of the input.

    Raises:
        BadModelOutput: A prior box has no area.
    """
    if len(priors) and priors[:, 2:].min() <= 0:
        raise bad("a prior box has no area; priors are centre, width and height")
    if spec.boxes == "yxyx":
        offsets = offsets[:, [1, 0, 3, 2]]
    centre_scale, side_scale = spec.variances
    centre = priors[:, :2] + offsets[:, :2] * centre_scale * priors[:, 2:]
    log_sides = np.minimum(offsets[:, 2:] * side_scale, MAX_LOG_SIDE)
    sides = np.exp(log_sides) * priors[:, 2:]
    return xyxy(np.concatenate([centre, sides], axis=1, dtype=np.float32), "cxcywh")
