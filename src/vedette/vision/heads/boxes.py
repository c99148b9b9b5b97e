"""The last steps that all heads share: back to the picture, suppression, how undecided it was.

Here: overlap, per-class suppression and `finish`. Not here: where candidates come from. The rule:
what leaves `finish` is inside the picture, has an area, and is sorted by confidence.
"""

import numpy as np
import numpy.typing as npt

from vedette.vision.detections import Detections
from vedette.vision.preprocess import Transform

Floats = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]

# Bounds the work that a broken model can cause; a real picture has a few hundred candidates.
MAX_CANDIDATES = 2048


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), float32, without overflow."""
    return (1.0 / (1.0 + np.exp(-np.clip(logits, -50.0, 50.0)))).astype(np.float32)


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


def iou_matrix(a_xyxy: Floats, b_xyxy: Floats) -> Floats:
    """Return intersection over union of every pair: float32 (n, m), 0–1; 0 where both are empty."""
    top_left = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    overlap = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    union = _area(a_xyxy)[:, None] + _area(b_xyxy)[None, :] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def suppress(
    boxes_xyxy: Floats, confidence: Floats, class_id: npt.NDArray[np.integer], iou: float
) -> Index:
    """Return the indices that stay, most confident first: greedy suppression within each class.

    A box goes when a more confident one of its class, itself kept, overlaps it by more than `iou`.
    Equal confidences are decided by order, so the answer is the same every time.
    """
    order = np.argsort(-confidence, kind="stable")
    clashes = _overlap_by_more(boxes_xyxy[order], iou)
    classes = class_id[order]
    clashes &= classes[:, None] == classes
    alive = np.ones(len(order), bool)
    # Only boxes that clash with a later one can remove anything; usually these are few.
    for index in np.flatnonzero(np.triu(clashes, 1).any(axis=1)):
        if alive[index]:
            alive[index + 1 :] &= ~clashes[index, index + 1 :]
    return order[alive]


def _overlap_by_more(boxes_xyxy: Floats, iou: float) -> npt.NDArray[np.bool_]:
    """Return for every pair of boxes (n, 4) whether their overlap is more than `iou`, (n, n)."""
    # One flat array per side and no division: an axis of two or four is slow in NumPy.
    left, top, right, bottom = np.ascontiguousarray(boxes_xyxy.T)
    width = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    height = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    area = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    return shared > iou * (area[:, None] + area - shared)


def binary_entropy(scores: Floats) -> Floats:
    """Return the largest binary entropy over the last axis: float32, 0–1, shape without that axis.

    Each class score is a yes-or-no probability of its own (heads here are sigmoid, not softmax),
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
    scores: Floats,
    transform: Transform,
    *,
    class_id: npt.NDArray[np.integer],
    iou: float,
    most: int,
) -> Detections:
    """Return detections in the picture from candidates in the model's input.

    Args:
        boxes_input_px: float32, (n, 4), xyxy in pixels of the model's input.
        scores: float32, (n, classes), 0–1.
        transform: From the picture to that input.
        class_id: int, (n,), the class that each candidate stands for.
        iou: Overlap above which the weaker box of a class goes.
        most: At most so many are returned.
    """
    confidence = scores[np.arange(len(scores)), class_id]
    width, height = transform.picture_px
    boxes = transform.to_picture(boxes_input_px)
    boxes[:, 0::2] = np.clip(boxes[:, 0::2], 0, width)
    boxes[:, 1::2] = np.clip(boxes[:, 1::2], 0, height)
    # Inverted boxes stay inverted or become empty by clipping, so one test drops both.
    real = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    kept = real[suppress(boxes[real], confidence[real], class_id[real], iou)][:most]
    return Detections(
        boxes[kept],
        np.clip(confidence[kept], 0, 1).astype(np.float32),
        class_id[kept].astype(np.int32),
        binary_entropy(scores[kept]),
    )


def _area(boxes_xyxy: Floats) -> Floats:
    return np.prod(np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None), axis=1)
