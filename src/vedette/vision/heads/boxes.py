"""The last steps that all heads share: back to the picture, suppression, how undecided it was.

Here: overlap, per-class suppression and `finish`. Not here: where candidates come from. The rule:
what leaves `finish` is inside the picture, has an area, and is sorted by confidence.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vedette.vision.detections import Detections
from vedette.vision.heads.spec import HeadSpec
from vedette.vision.preprocess import Transform

Floats = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]

# Bounds the work that a broken model can cause; a real picture has a few hundred candidates.
MAX_CANDIDATES = 2048
# Suppression goes by blocks: the best of those that are left decide over the rest at once.
BLOCK = 64
# The picture is far smaller. Farther out, a box in float32 would become infinite on its way back.
FAR_PX = 1e7


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), float32, without overflow."""
    return (1.0 / (1.0 + np.exp(-np.clip(logits, -50.0, 50.0)))).astype(np.float32)


def softmax(logits: Floats) -> Floats:
    """Return exp(x) / sum(exp(x)) over the last axis, float32, without overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def logit(probability: float) -> float:
    """Return the value whose sigmoid is `probability`; infinite at 0 and 1."""
    if probability <= 0:
        return -np.inf
    if probability >= 1:
        return np.inf
    return float(np.log(probability / (1.0 - probability)))


def strongest(values: Floats, most: int) -> Index:
    """Return the indices of the `most` largest values (n,), all where there are no more."""
    if len(values) <= most:
        return np.arange(len(values))
    return np.argpartition(values, len(values) - most)[len(values) - most :]


def reaching(values: Floats, cut: float) -> Index:
    """Return where `values` (n,) is at least `cut`: at most `MAX_CANDIDATES`, the largest ones."""
    above = np.flatnonzero(values >= cut)
    return above[strongest(values[above], MAX_CANDIDATES)]


def xyxy(boxes: Floats, order: str) -> Floats:
    """Return boxes (n, 4) in `order` (`xyxy`, `yxyx` or `cxcywh`) as xyxy, float32, a new array."""
    if order == "yxyx":
        return np.ascontiguousarray(boxes[:, [1, 0, 3, 2]], np.float32)
    if order == "cxcywh":
        centre, half = boxes[:, :2], boxes[:, 2:4] / 2
        return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    return np.array(boxes, np.float32)


def iou_matrix(a_xyxy: Floats, b_xyxy: Floats) -> Floats:
    """Return intersection over union of every pair: float32 (n, m), 0–1; 0 where both are empty."""
    shared, union = _shared_and_union(a_xyxy.T, b_xyxy.T)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(
    boxes_xyxy: Floats,
    confidence: Floats,
    class_id: npt.NDArray[np.integer],
    iou: float,
    most: int | None = None,
) -> Index:
    """Return the indices that stay, most confident first: greedy suppression within each class.

    A box goes when a more confident one of its class, itself kept, overlaps it by more than `iou`.
    Equal confidences are decided by order, so the answer is the same every time.

    Args:
        boxes_xyxy: float32, (n, 4).
        confidence: float32, (n,).
        class_id: int, (n,).
        iou: 0–1; at 1 nothing goes.
        most: At most so many stay; all by default.

    Cost: benchmarks/bench_heads.py.
    """
    order = np.argsort(-confidence, kind="stable")
    if iou >= 1:
        return order[:most]
    # One flat array per side: an axis of two or four is slow in NumPy.
    sides, classes = np.ascontiguousarray(boxes_xyxy[order].T), class_id[order]
    kept: list[Index] = []
    count = 0
    while len(order) and (most is None or count < most):
        block, block_classes = sides[:, :BLOCK], classes[:BLOCK]
        clashes = _overlap_by_more(block, block, iou)
        clashes &= block_classes[:, None] == block_classes
        alive = np.ones(len(block_classes), bool)
        # Only boxes that clash with a later one can remove anything; usually these are few.
        for index in np.flatnonzero(np.triu(clashes, 1).any(axis=1)):
            if alive[index]:
                alive[index + 1 :] &= ~clashes[index, index + 1 :]
        kept.append(order[:BLOCK][alive])
        count += len(kept[-1])
        order, sides, classes = order[BLOCK:], sides[:, BLOCK:], classes[BLOCK:]
        if len(order):
            clashes = _overlap_by_more(block[:, alive], sides, iou)
            clashes &= block_classes[alive][:, None] == classes
            left = np.flatnonzero(~clashes.any(axis=0))
            order, sides, classes = order[left], sides.take(left, axis=1), classes[left]
    return np.concatenate([*kept, np.zeros(0, np.intp)])[:most]


def _overlap_by_more(a: Floats, b: Floats, iou: float) -> npt.NDArray[np.bool_]:
    """Return which boxes overlap by more than `iou`; sides first, (4, n) and (4, m), gives (n, m).

    Compared without a division, which would be the most expensive step.
    """
    shared, union = _shared_and_union(a, b)
    union *= iou
    return shared > union


def _shared_and_union(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return the areas of intersection and union of every pair, float32 (n, m) each."""
    a_left, a_top, a_right, a_bottom = a[:, :, None]
    left, top, right, bottom = b
    shared = np.minimum(a_right, right)
    spare = np.maximum(a_left, left)
    shared -= spare
    np.maximum(shared, 0, out=shared)
    height = np.minimum(a_bottom, bottom)
    height -= np.maximum(a_top, top, out=spare)
    np.maximum(height, 0, out=height)
    shared *= height
    a_area = np.maximum(a_right - a_left, 0) * np.maximum(a_bottom - a_top, 0)
    union = np.add(a_area, np.maximum(right - left, 0) * np.maximum(bottom - top, 0), out=spare)
    union -= shared
    return shared, union


def binary_entropy(scores: Floats) -> Floats:
    """Return the largest binary entropy over the last axis: float32, 0–1, shape without that axis.

    Each class score is taken as a yes-or-no probability of its own (most heads here are sigmoid),
    so a detection is as undecided as its most undecided class: 1 where any class is at 0.5, near 0
    where one is near 1 and all others are near 0.

    Source: Shannon 1948, H(p) = -p log2 p - (1-p) log2 (1-p).
    """
    # H grows towards one half, so the score nearest to it decides; only that one needs logarithms.
    nearest = 0.5 - np.abs(scores - 0.5).min(axis=-1)
    p = np.clip(nearest, 1e-7, 0.5)
    return (-p * np.log2(p) - (1 - p) * np.log2(1 - p)).astype(np.float32)


def finish(
    boxes_input_px: Floats,
    confidence: Floats,
    class_id: npt.NDArray[np.integer],
    transform: Transform,
    spec: HeadSpec,
    *,
    scores_of: Callable[[Index], Floats] | None = None,
) -> Detections:
    """Return detections in the picture from candidates in the model's input.

    Args:
        boxes_input_px: float32, (n, 4), xyxy in pixels of the model's input.
        confidence: float32, (n,), 0–1, of the class that each candidate stands for.
        class_id: int, (n,), that class.
        transform: From the picture to that input.
        spec: Says what suppresses what, and how many are returned at most.
        scores_of: Returns the scores of all classes, float32 (k, classes), for some of the
            candidates; where there is none, the confidence alone says how undecided it was.
    """
    width, height = transform.picture_px
    boxes = transform.to_picture(np.clip(boxes_input_px, -FAR_PX, FAR_PX))
    boxes[:, 0::2] = np.clip(boxes[:, 0::2], 0, width)
    boxes[:, 1::2] = np.clip(boxes[:, 1::2], 0, height)
    # Inverted boxes stay inverted or become empty by clipping, so one test drops both.
    real = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    kept = real[
        suppress(boxes[real], confidence[real], class_id[real], spec.iou, spec.max_detections)
    ]
    sure = np.clip(confidence[kept], 0, 1).astype(np.float32)
    scores = sure[:, None] if scores_of is None else scores_of(kept)
    return Detections(boxes[kept], sure, class_id[kept].astype(np.int32), binary_entropy(scores))
