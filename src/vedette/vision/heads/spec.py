"""What a bundle says about its model's outputs, and how an output is fetched by that.

Here: `HeadSpec` and the checks that every head makes first. Not here: the decoding of one family
of models (one module each). The rule: a wrong shape, a value that is not finite or a score outside
0 to 1 is `BadModelOutput`, never a strange box.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, Literal

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from vedette.errors import BadModelOutput

Floats = npt.NDArray[np.float32]
Outputs = dict[str, npt.NDArray[Any]]
Shape = Sequence[int | None]
Kind = Literal[
    "centernet",
    "yolox",
    "yolov5",
    "yolov5_raw",
    "yolov8",
    "end_to_end",
    "fastestdet",
    "nanodet",
    "ssd",
    "detr",
    "decoded",
]

MAX_LEVELS: Final = 16
# Softmax and sigmoid in half precision may end a little above one.
SCORE_SLACK: Final = 1e-3

HINT: Final = (
    "The model does not answer as its bundle says. Inspect the bundle and pull it again; if it was "
    "converted here, check the head's output names and activation."
)


class HeadSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to read the outputs of a model.

    Attributes:
        kind: The family; docs/models.md has the table.
        classes: How many classes the model tells apart, background not among them.
        activation: `none` where scores come out as 0–1, `sigmoid` or `softmax` where they are
            logits.
        strides: Input pixels per output cell, one per level.
        outputs: Name of the output per role (such as `predictions`, or `boxes` and `scores`); may
            be left out where shapes tell them apart.
        iou: Overlap above which the weaker of two boxes of one class goes; 1 turns this off.
        max_detections: At most this many per picture, the most confident ones.
        anchors: Width and height of every anchor in input pixels, per level (`yolov5_raw`).
        boxes: Order of a box's numbers (`ssd`, `decoded`).
        unit: Pixels of the input, or fractions of its width and height (`ssd`, `decoded`,
            `end_to_end`).
        background: Which score, or class id, stands for nothing (`ssd`, `detr`, `decoded`).
        variances: Scale of a centre's and of a side's offset from its prior box (`ssd`).
        cell_offset: Where in its cell a point stands: 0 at the corner, 0.5 in the middle
            (`nanodet`).

    Raises:
        ValueError: A number that no head can work with.
    """

    kind: Kind
    classes: int
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    strides: tuple[int, ...] = ()
    outputs: dict[str, str] = {}
    iou: float = 0.5
    max_detections: int = 300
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    boxes: Literal["xyxy", "yxyx", "cxcywh"] = "xyxy"
    unit: Literal["pixels", "fraction"] = "pixels"
    background: Literal["none", "first", "last"] = "none"
    variances: tuple[float, float] = (0.1, 0.2)
    cell_offset: float = 0.0

    def __post_init__(self) -> None:
        sides = [side for level in self.anchors for anchor in level for side in anchor]
        for fine, problem in (
            (1 <= self.classes <= 100_000, "classes must be 1 to 100000"),
            (len(self.strides) <= MAX_LEVELS, f"at most {MAX_LEVELS} strides"),
            (all(1 <= stride <= 1024 for stride in self.strides), "strides must be 1 to 1024"),
            (0 < self.iou <= 1, "iou must be above 0 and at most 1"),
            (1 <= self.max_detections <= 10_000, "max_detections must be 1 to 10000"),
            (
                len(self.anchors) <= MAX_LEVELS and len(sides) <= 2 * 64 * MAX_LEVELS,
                f"at most {MAX_LEVELS} levels of 64 anchors",
            ),
            (all(0 < side <= 1e5 for side in sides), "anchors must be 0 to 100000 pixels"),
            (all(0 < v <= 10 for v in self.variances), "variances must be above 0, at most 10"),
            (0 <= self.cell_offset <= 1, "cell_offset must be 0 to 1"),
            (
                len(set(self.outputs.values())) == len(self.outputs),
                "one output cannot play two roles",
            ),
        ):
            if not fine:
                raise ValueError(problem)


def take(spec: HeadSpec, outputs: Outputs, role: str, *shapes: Shape) -> Floats:
    """Return the output that plays `role`: float32, of one of `shapes`, all finite.

    Args:
        spec: Names the output, or leaves it to be found by its shape.
        outputs: What the network gave.
        role: What is wanted.
        shapes: Allowed shapes; None stands for any length.

    Raises:
        BadModelOutput: There is no such output, it has another shape or type, or holds NaN or
            infinity.
    """
    values = fetch(spec, outputs, role, *shapes)
    require_finite(values, role)
    return values


def fetch(spec: HeadSpec, outputs: Outputs, role: str, *shapes: Shape) -> Floats:
    """Return what `take` does, but without having looked for NaN and infinity.

    Raises:
        BadModelOutput: There is no such output, or it has another shape or type.
    """
    found = _find(spec, outputs, role, shapes)
    if not any(fits(found.shape, shape) for shape in shapes):
        wanted = " or ".join(_words(shape) for shape in shapes)
        raise bad(f"{role} has shape {found.shape}, expected {wanted}")
    if found.dtype.kind != "f" and role not in {"labels", "count"}:
        raise bad(f"{role} is {found.dtype}; a quantized output has to be turned back to floats")
    return np.asarray(found, np.float32)


def _find(spec: HeadSpec, outputs: Outputs, role: str, shapes: Sequence[Shape]) -> npt.NDArray[Any]:
    name = spec.outputs.get(role)
    if name in outputs:
        return outputs[name]
    if name is not None:
        raise bad(f"no output named {name!r} for {role}, only {sorted(outputs)}")
    free = {key: array for key, array in outputs.items() if key not in spec.outputs.values()}
    fitting = [
        array for array in free.values() if any(fits(array.shape, shape) for shape in shapes)
    ]
    if len(fitting) != 1:
        wanted = " or ".join(_words(shape) for shape in shapes)
        seen = {key: array.shape for key, array in outputs.items()}
        raise bad(f"{len(fitting)} outputs of shape {wanted} for {role}, among {seen}")
    return fitting[0]


def fits(shape: Sequence[int], wanted: Shape) -> bool:
    """Return whether `shape` is `wanted`, where None stands for any length."""
    return len(shape) == len(wanted) and all(
        want is None or side == want for side, want in zip(shape, wanted, strict=True)
    )


def require_finite(values: Floats, role: str) -> None:
    """Return where every value is a number.

    Raises:
        BadModelOutput: NaN or infinity is among them.
    """
    # One pass: a sum (of doubles, so that it cannot overflow) is finite only if every term is.
    if values.size and not math.isfinite(cv2.sumElems(values.reshape(1, -1))[0]):
        raise bad(f"{role} holds values that are not finite")


def require_scores(low: float, high: float, role: str) -> None:
    """Return where the smallest and the largest score are within 0 to 1.

    Raises:
        BadModelOutput: They are not, or not numbers.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise bad(f"{role} holds values that are not finite")
    if low < -SCORE_SLACK or high > 1 + SCORE_SLACK:
        raise bad(
            f"{role} is not within 0 to 1 but {low:.3g} to {high:.3g}; the activation may be "
            "`sigmoid` or `softmax`"
        )


def bad(what: str) -> BadModelOutput:
    """Return the error that says `what` is wrong with the outputs."""
    return BadModelOutput(f"model output: {what}", operator_hint=HINT)


def _words(shape: Shape) -> str:
    return "(" + ", ".join("n" if side is None else str(side) for side in shape) + ")"
