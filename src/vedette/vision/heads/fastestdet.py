"""FastestDet: one grid of stride 16, channels first, with objectness, box and softmax classes.

Output: `predictions` (1, 5 + classes, h, w): objectness (0–1), centre offset in cells before tanh
(x, y), width and height as fractions of the input before the sigmoid, class probabilities.

Source: dog-qiuqiu/FastestDet, utils/tool.py (the box) and its C++ example (confidence is
objectness^0.6 times class^0.4, which keeps a confidence of 0.65 where the two are unequal).
"""

import numpy as np

from vedette.vision.detections import Detections
from vedette.vision.heads.boxes import finish, reaching, sigmoid, xyxy
from vedette.vision.heads.spec import HeadSpec, Outputs, require_scores, take
from vedette.vision.preprocess import Transform

STRIDE = 16
OBJECT_POWER, CLASS_POWER = 0.6, 0.4


def decode(spec: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return the objects whose weighted confidence reaches `threshold`, in picture pixels.

    Raises:
        BadModelOutput: Wrong shapes, or values that are not finite or not scores.
    """
    stride = spec.strides[0] if spec.strides else STRIDE
    columns, lines = (-(-side // stride) for side in transform.input_px)
    grid = take(spec, outputs, "predictions", (1, 5 + spec.classes, lines, columns))[0]
    flat = grid.reshape(5 + spec.classes, -1)
    require_scores(float(flat[0].min()), float(flat[0].max()), "objectness")
    # The class probability is at most 1, so the objectness alone must reach this.
    at = reaching(flat[0], threshold ** (1 / OBJECT_POWER) if threshold > 0 else threshold)
    found = flat[:, at]
    if len(at):
        require_scores(float(found[5:].min()), float(found[5:].max()), "class scores")
    objectness = np.clip(found[0], 0, 1) ** OBJECT_POWER
    scores = (objectness * np.clip(found[5:], 0, 1) ** CLASS_POWER).T.astype(np.float32)
    class_id = scores.argmax(axis=1)
    confidence = scores[np.arange(len(scores)), class_id]
    sure = np.flatnonzero(confidence >= threshold)
    cell = np.stack(np.divmod(at, columns)[::-1]).astype(np.float32)
    width, height = transform.input_px
    centre = (np.tanh(found[1:3]) + cell) * np.array([[width / columns], [height / lines]])
    sides = sigmoid(found[3:5]) * np.array([[width], [height]])
    boxes = xyxy(np.concatenate([centre, sides]).T[sure], "cxcywh")
    return finish(
        boxes,
        confidence[sure],
        class_id[sure],
        transform,
        spec,
        scores_of=lambda kept: scores[sure[kept]],
    )
