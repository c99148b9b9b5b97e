"""From a model's outputs to detections in the picture.

    kind        outputs                                                 entry
    centernet   heatmap (1, h, w, classes), boxes (1, h, w, 4)          centernet.decode
    yolox       predictions (1, n, 5 + classes), relative to cells      yolox.decode
    yolov5      predictions (1, n, 5 + classes), decoded                yolov5.decode
    yolov5_raw  level0.. (1, 3, h, w, 5 + classes), relative to anchors yolov5.decode_raw
    yolov8      predictions (1, 4 + classes, n)                         yolov8.decode
    end_to_end  predictions (1, n, 6)                                   decoded.decode_end_to_end
    fastestdet  predictions (1, 5 + classes, h, w)                      fastestdet.decode
    nanodet     predictions (1, n, classes + 4 * bins)                  nanodet.decode
    ssd         boxes (1, n, 4), scores (1, n, classes)                 ssd.decode
    detr        logits (1, q, classes), boxes (1, q, 4)                 detr.decode
    decoded     boxes (n, 4), scores (n), labels (n)                    decoded.decode

Here: the table of families, `decode`, and `recognise`, which proposes families from shapes when a
model is imported. Not here: running the model. The rule: adding a family is adding a row.
"""

from collections.abc import Callable
from typing import Final

from vedette.vision.detections import Detections
from vedette.vision.heads import (
    centernet,
    decoded,
    detr,
    fastestdet,
    nanodet,
    ssd,
    yolov5,
    yolov8,
    yolox,
)
from vedette.vision.heads.recognition import recognise
from vedette.vision.heads.spec import HeadSpec, Kind, Outputs
from vedette.vision.preprocess import Transform

__all__ = ["FAMILIES", "HeadSpec", "Kind", "decode", "recognise"]

Decoder = Callable[[HeadSpec, Outputs, Transform, float], Detections]

FAMILIES: Final[dict[Kind, Decoder]] = {
    "centernet": centernet.decode,
    "yolox": yolox.decode,
    "yolov5": yolov5.decode,
    "yolov5_raw": yolov5.decode_raw,
    "yolov8": yolov8.decode,
    "end_to_end": decoded.decode_end_to_end,
    "fastestdet": fastestdet.decode,
    "nanodet": nanodet.decode,
    "ssd": ssd.decode,
    "detr": detr.decode,
    "decoded": decoded.decode,
}


def decode(head: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return what `outputs` say is in the picture, with a confidence of at least `threshold`.

    Boxes are clipped to the picture; those that are inverted or have no area are dropped.

    Raises:
        BadModelOutput: NaN, infinity, a wrong shape, or scores outside 0 to 1.
    """
    return FAMILIES[head.kind](head, outputs, transform, threshold)
