"""What a bundle says about its model's outputs, and how an output is fetched by that.

Here: `HeadSpec` and the checks that every head makes first. Not here: the decoding of one family
of models (`centernet`, `yolox`). The rule: a wrong shape or a value that is not finite is
`BadModelOutput`, never a strange box.
"""

import math
from typing import Any, Final, Literal

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from vedette.errors import BadModelOutput

Floats = npt.NDArray[np.float32]
Outputs = dict[str, npt.NDArray[Any]]

HINT: Final = (
    "The model does not answer as its bundle says. Inspect the bundle and pull it again; if it was "
    "converted here, check the head's output names and activation."
)


class HeadSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to read the outputs of a model.

    Attributes:
        kind: The family: `centernet` or `yolox`.
        classes: How many classes the model tells apart.
        activation: `none` where scores come out as 0–1, `sigmoid` where they are logits.
        strides: Input pixels per output cell, one per level.
        outputs: Name of the output per role (`heatmap` and `boxes`, or `predictions`); may be left
            out where shapes tell them apart.
        iou: Overlap above which the weaker of two boxes of one class goes.
        max_detections: At most this many per picture, the most confident ones.

    Raises:
        ValueError: A number that no head can work with.
    """

    kind: Literal["centernet", "yolox"]
    classes: int
    activation: Literal["none", "sigmoid"] = "none"
    strides: tuple[int, ...] = ()
    outputs: dict[str, str] = {}
    iou: float = 0.5
    max_detections: int = 300

    def __post_init__(self) -> None:
        if not 1 <= self.classes <= 100_000:
            raise ValueError("classes must be 1 to 100000")
        if not all(1 <= stride <= 1024 for stride in self.strides):
            raise ValueError("strides must be 1 to 1024")
        if not 0 < self.iou <= 1:
            raise ValueError("iou must be above 0 and at most 1")
        if not 1 <= self.max_detections <= 10_000:
            raise ValueError("max_detections must be 1 to 10000")


def take(spec: HeadSpec, outputs: Outputs, role: str, shape: tuple[int, ...]) -> Floats:
    """Return the output that plays `role`: float32, of exactly `shape`, all finite.

    Raises:
        BadModelOutput: There is no such output, it has another shape, or holds NaN or infinity.
    """
    name = spec.outputs.get(role)
    if name is None:
        fitting = [array for array in outputs.values() if array.shape == shape]
        if len(fitting) != 1:
            shapes = {key: array.shape for key, array in outputs.items()}
            raise bad(f"{len(fitting)} outputs of shape {shape} for {role}, among {shapes}")
        found = fitting[0]
    elif name in outputs:
        found = outputs[name]
    else:
        raise bad(f"no output named {name!r} for {role}, only {sorted(outputs)}")
    if found.shape != shape:
        raise bad(f"{role} has shape {found.shape}, expected {shape}")
    values = np.asarray(found, np.float32)
    # One pass: a sum (of doubles, so that it cannot overflow) is finite only if every term is.
    if values.size and not math.isfinite(cv2.sumElems(values.reshape(1, -1))[0]):
        raise bad(f"{role} holds values that are not finite")
    return values


def bad(what: str) -> BadModelOutput:
    """Return the error that says `what` is wrong with the outputs."""
    return BadModelOutput(f"model output: {what}", operator_hint=HINT)
