"""CenterNet: a heatmap per class whose peaks are objects, and the four sides around each cell.

Outputs, both channels last on a grid of one stride: `heatmap` (1, h, w, classes) and `boxes`
(1, h, w, 4), the distances from the cell's corner to the left, top, right and bottom side in
pixels of the input. The model's own top-100 selection is cut off, because it would hide the whole
score vector from the entropy and fix the threshold.

Source: Zhou, Wang and Krähenbühl, "Objects as Points", 2019, section 4 (3x3 maximum as peak test);
four distances in place of width and height as in TTFNet, Liu et al. 2020.
"""

import numpy as np
import numpy.typing as npt

from vedette.vision.detections import Detections
from vedette.vision.heads.boxes import MAX_CANDIDATES, finish, logit, sigmoid, strongest
from vedette.vision.heads.spec import HeadSpec, Outputs, require_scores, take
from vedette.vision.preprocess import Transform

STRIDE = 4
Floats = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]


def decode(spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return the objects at the heatmap's peaks of at least `threshold`, in picture pixels.

    Raises:
        BadModelOutput: Wrong shapes, or values that are not finite or not scores.
    """
    stride = spec.strides[0] if spec.strides else STRIDE
    columns, rows = (side // stride for side in transform.input_px)
    heatmap = take(spec, outputs, "heatmap", (1, rows, columns, spec.classes))[0]
    sides = take(spec, outputs, "boxes", (1, rows, columns, 4))[0]
    cut = logit(threshold) if spec.activation == "sigmoid" else threshold
    row, column, class_id = peaks(heatmap, cut)
    scores = heatmap[row, column]
    if spec.activation == "sigmoid":
        scores = sigmoid(scores)
    elif len(scores):
        require_scores(float(scores.min()), float(scores.max()), "heatmap")
    corner = np.stack([column, row, column, row], axis=1).astype(np.float32) * stride
    boxes = corner + sides[row, column] * np.array([-1, -1, 1, 1], np.float32)
    confidence = scores[np.arange(len(scores)), class_id]
    return finish(boxes, confidence, class_id, transform, spec, scores_of=lambda kept: scores[kept])


def peaks(heatmap: Floats, threshold: float) -> tuple[Index, Index, Index]:
    """Return row, column and class of every value >= threshold that no 3x3 neighbour exceeds.

    Args:
        heatmap: float32, (rows, columns, classes).
        threshold: On the heatmap's own scale.
    """
    # Few cells reach the threshold: looking at their neighbours beats a 3x3 maximum everywhere.
    above = np.flatnonzero(heatmap >= threshold)
    above = above[strongest(heatmap.ravel()[above], MAX_CANDIDATES)]
    row, column, class_id = np.unravel_index(above, heatmap.shape)
    steps = np.array([-1, 0, 1])
    rows = np.clip(row[:, None, None] + steps[None, :, None], 0, heatmap.shape[0] - 1)
    columns = np.clip(column[:, None, None] + steps[None, None, :], 0, heatmap.shape[1] - 1)
    around = heatmap[rows, columns, class_id[:, None, None]].max(axis=(1, 2))
    top = heatmap[row, column, class_id] >= around
    return row[top], column[top], class_id[top]
