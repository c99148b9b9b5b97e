"""From a model's outputs to detections in the picture.

    family      outputs                                             entry
    centernet   heatmap (1, h, w, classes), boxes (1, h, w, 4)      centernet.decode
    yolox       predictions (1, n, 5 + classes)                     yolox.decode

Here: the table of families, `decode`, and `recognise`, which proposes a family from shapes when a
model is imported. Not here: running the model. The rule: adding a family is adding a row.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from vedette.vision.detections import Detections
from vedette.vision.heads import centernet, yolox
from vedette.vision.heads.spec import HeadSpec, Outputs
from vedette.vision.preprocess import Transform

__all__ = ["HeadSpec", "decode", "recognise"]

Decoder = Callable[[HeadSpec, Outputs, Transform, float], Detections]
Dimension = int | str | None  # ONNX allows a name or nothing where a size is free
Shapes = Mapping[str, Sequence[Dimension]]

FAMILIES: Final[dict[str, Decoder]] = {"centernet": centernet.decode, "yolox": yolox.decode}


def decode(head: HeadSpec, outputs: Outputs, transform: Transform, threshold: float) -> Detections:
    """Return what `outputs` say is in the picture, with a confidence of at least `threshold`.

    Boxes are clipped to the picture; those that are inverted or have no area are dropped.

    Raises:
        BadModelOutput: NaN, infinity, a wrong shape, or scores outside 0 to 1.
    """
    return FAMILIES[head.kind](head, outputs, transform, threshold)


def recognise(inputs: Shapes, outputs: Shapes) -> HeadSpec | None:
    """Return the head whose shapes these are, or None; shapes cannot tell the activation.

    Args:
        inputs: Shape per input name, (1, 3, h, w) or (1, h, w, 3).
        outputs: Shape per output name.
    """
    size = _input_px(inputs)
    if size is None:
        return None
    return _as_yolox(size, outputs) or _as_centernet(size, outputs)


def _input_px(inputs: Shapes) -> tuple[int, int] | None:
    if len(inputs) != 1:
        return None
    sides = tuple(next(iter(inputs.values())))[1:]
    match sides:
        case (3, int(height), int(width)) | (int(height), int(width), 3):
            return width, height
        case _:
            return None


def _as_yolox(size: tuple[int, int], outputs: Shapes) -> HeadSpec | None:
    if len(outputs) != 1:
        return None
    name, shape = next(iter(outputs.items()))
    match tuple(shape)[1:]:
        case (int(count), int(wide)) if wide > 5 and count == len(yolox.cells(size, yolox.STRIDES)):
            roles = {"predictions": name}
            return HeadSpec(kind="yolox", classes=wide - 5, strides=yolox.STRIDES, outputs=roles)
        case _:
            return None


def _as_centernet(size: tuple[int, int], outputs: Shapes) -> HeadSpec | None:
    """Return the head where one output has four channels and the other one per class."""
    grid = (size[1] // centernet.STRIDE, size[0] // centernet.STRIDE)
    channels: dict[str, int] = {}
    for name, shape in outputs.items():
        match tuple(shape)[1:]:
            case (int(rows), int(columns), int(depth)) if (rows, columns) == grid:
                channels[name] = depth
            case _:
                return None
    boxes = [name for name, depth in channels.items() if depth == 4]
    if len(channels) != 2 or len(boxes) != 1:
        return None  # a model of exactly four classes must name its outputs in its bundle
    heatmap = next(name for name in channels if name != boxes[0])
    return HeadSpec(
        kind="centernet",
        classes=channels[heatmap],
        strides=(centernet.STRIDE,),
        outputs={"heatmap": heatmap, "boxes": boxes[0]},
    )
