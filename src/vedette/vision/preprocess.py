"""From a picture's planes to a model's input tensor, and from its boxes back to the picture.

Here: the description of an input (`Preprocess`, part of every model bundle), the way there
(`prepare`) and the way back (`Transform`). Not here: running the model (`inference`) and reading
its outputs (`vision.heads`). The rule: planes are resized first and colour is converted at the
model's size only, and the device and the workbench call this one function.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from vedette.vision.picture import Picture, Plane, planes_to_bgr

Boxes = npt.NDArray[np.float32]
Tensor = npt.NDArray[Any]

MAX_SIDE_PX = 8192


class Preprocess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model wants to be fed: value = (pixel * scale - mean) / std, per channel.

    Attributes:
        size: Width and height of the input in pixels.
        layout: `NCHW` or `NHWC`; N is always 1.
        color: Order of the channels, also of `mean` and `std`.
        resize: `letterbox` keeps the aspect ratio and pads, `stretch` does not.
        anchor: Where a letterboxed picture sits: `top_left` (YOLOX) or `center` (most others).
        pad_value: Padding, 0–255, before `scale`.
        scale: Factor on the 0–255 pixel value.
        mean: Subtracted after `scale`.
        std: Divided by, last.
        dtype: Element type of the tensor.

    Raises:
        ValueError: A size, scale or deviation that no tensor can be made with.
    """

    size: tuple[int, int]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    color: Literal["RGB", "BGR"] = "RGB"
    resize: Literal["letterbox", "stretch"] = "letterbox"
    anchor: Literal["top_left", "center"] = "top_left"
    pad_value: int = 114
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    dtype: Literal["float32", "float16", "uint8", "int32"] = "float32"

    def __post_init__(self) -> None:
        if not all(1 <= side <= MAX_SIDE_PX for side in self.size):
            raise ValueError(f"size must be 1 to {MAX_SIDE_PX} pixels a side")
        if not 0 <= self.pad_value <= 255:
            raise ValueError("pad_value must be 0 to 255")
        if not all(math.isfinite(x) for x in (self.scale, *self.mean, *self.std)):
            raise ValueError("scale, mean and std must be finite")
        if any(x == 0 for x in self.std):
            raise ValueError("std must not be zero")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor."""
        width, height = self.size
        return (1, 3, height, width) if self.layout == "NCHW" else (1, height, width, 3)

    @property
    def is_identity(self) -> bool:
        """True where pixel values go in as they are, 0–255."""
        return self.scale == 1.0 and self.mean == (0.0,) * 3 and self.std == (1.0,) * 3


@dataclass(frozen=True, slots=True)
class Transform:
    """Where the picture lies in the model's input: input = picture * scale + offset, per axis.

    Attributes:
        scale: Input pixels per picture pixel, (x, y).
        offset_px: Where the picture's top left corner is in the input, (x, y).
        picture_px: Width and height of the picture.
        input_px: Width and height of the input.
    """

    scale: tuple[float, float]
    offset_px: tuple[float, float]
    picture_px: tuple[int, int]
    input_px: tuple[int, int]

    @classmethod
    def between(cls, picture_px: tuple[int, int], spec: Preprocess) -> "Transform":
        """Return where a picture of that size will lie in the input that `spec` describes."""
        (width, height), (to_w, to_h) = picture_px, spec.size
        content_w, content_h, left, top = to_w, to_h, 0, 0
        if spec.resize == "letterbox":
            ratio = min(to_w / width, to_h / height)
            content_w = max(1, min(to_w, _even(width * ratio)))
            content_h = max(1, min(to_h, _even(height * ratio)))
            if spec.anchor == "center":
                left, top = (to_w - content_w) // 2, (to_h - content_h) // 2
        return cls(
            scale=(content_w / width, content_h / height),
            offset_px=(float(left), float(top)),
            picture_px=picture_px,
            input_px=spec.size,
        )

    @property
    def content_px(self) -> tuple[int, int]:
        """Width and height of the resized picture inside the input."""
        width, height = self.picture_px
        return round(width * self.scale[0]), round(height * self.scale[1])

    def to_picture(self, boxes_xyxy: Boxes) -> Boxes:
        """Return boxes (float32, (n, 4), input pixels) in pixels of the picture, not clipped."""
        return ((boxes_xyxy - self._offset) / self._scale).astype(np.float32)

    def to_input(self, boxes_xyxy: Boxes) -> Boxes:
        """Return boxes (float32, (n, 4), picture pixels) in pixels of the model's input."""
        return (boxes_xyxy * self._scale + self._offset).astype(np.float32)

    @property
    def _scale(self) -> Boxes:
        return np.array(self.scale * 2, np.float32)

    @property
    def _offset(self) -> Boxes:
        return np.array(self.offset_px * 2, np.float32)


def prepare(picture: Picture, spec: Preprocess) -> tuple[Tensor, Transform]:
    """Return the input tensor of `picture` (shape and dtype as `spec` says) and its transform.

    Cost: benchmarks/bench_preprocess.py.
    """
    transform = Transform.between(picture.size, spec)
    bgr = planes_to_bgr(
        picture.y,
        picture.u,
        picture.v,
        size=transform.content_px,
        full_range=picture.full_range,
    )
    return _tensor(_padded(bgr, transform, spec.pad_value), spec), transform


def _padded(bgr: Plane, transform: Transform, value: int) -> Plane:
    width, height = transform.input_px
    content_w, content_h = transform.content_px
    if (content_w, content_h) == (width, height):
        return bgr
    canvas = np.full((height, width, 3), value, np.uint8)
    left, top = int(transform.offset_px[0]), int(transform.offset_px[1])
    canvas[top : top + content_h, left : left + content_w] = bgr
    return canvas


def _tensor(bgr: Plane, spec: Preprocess) -> Tensor:
    """Return the tensor of a uint8 BGR array that already has the input's size."""
    tensor = np.empty(spec.shape, spec.dtype)
    gain = spec.scale / np.array(spec.std, np.float64)
    bias = -np.array(spec.mean, np.float64) / np.array(spec.std, np.float64)
    if spec.layout == "NHWC":
        pixels = bgr if spec.color == "BGR" else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        # Rows are treated as one long line of values: a last axis of three would defeat SIMD.
        rows = (spec.size[1], spec.size[0] * 3)
        repeats = spec.size[0]
        _fill(
            tensor.reshape(rows),
            np.asarray(pixels, np.uint8).reshape(rows),
            np.tile(gain, repeats),
            np.tile(bias, repeats),
            spec,
        )
        return tensor
    planes = cv2.split(bgr)
    for channel, plane in enumerate(planes if spec.color == "BGR" else planes[::-1]):
        _fill(
            tensor[0, channel],
            np.asarray(plane, np.uint8),
            gain[channel : channel + 1],
            bias[channel : channel + 1],
            spec,
        )
    return tensor


def _fill(
    target: Tensor,
    pixels: Plane,
    gain: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    spec: Preprocess,
) -> None:
    """Write pixels * gain + bias into `target`, rounded and saturated where it holds integers."""
    if spec.is_identity:
        np.copyto(target, pixels)
        return
    if target.dtype == np.float32:
        # Cast first: a multiplication of mixed types goes through NumPy's slow buffered path.
        np.copyto(target, pixels)
        target *= gain.astype(np.float32)
        if bias.any():
            target += bias.astype(np.float32)
        return
    values = pixels * gain.astype(np.float32) + bias.astype(np.float32)
    if target.dtype.kind in "iu":
        bounds = np.iinfo(target.dtype)
        values = np.clip(np.rint(values), bounds.min, bounds.max)
    np.copyto(target, values, casting="unsafe")


def _even(length: float) -> int:
    """Return the even whole number nearest to `length`: half of it is the size of the chroma."""
    return 2 * round(length / 2)
