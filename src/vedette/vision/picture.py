"""One decoded picture as I420 planes, the form in which decoders hand it over.

Here: the planes, views on them, and conversions that make something small. Not here: decoding
(`edge.capture`) and the way into a model (`vision.preprocess`). The rule: planes are views, never
written to and never copied at full size; a full-size BGR picture is made only by `to_bgr()` without
a size, which the path of a frame does not call.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]

LIMITED_BLACK = 16
NEUTRAL_CHROMA = 128


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Three uint8 planes of one picture, 4:2:0 subsampled; rows may have a stride.

    Attributes:
        y: Luma, uint8, (h, w); 16–235, or 0–255 where `full_range`.
        u: Blue difference (Cb), uint8, (ceil(h/2), ceil(w/2)), 128 is neutral.
        v: Red difference (Cr), same shape as `u`.
        full_range: True for "J" formats (JPEG range); cameras mostly send limited range.

    Raises:
        ValueError: A plane is not uint8, is empty, or the shapes do not belong together.
    """

    y: Plane
    u: Plane
    v: Plane
    full_range: bool = False

    def __post_init__(self) -> None:
        if any(plane.dtype != np.uint8 or plane.ndim != 2 for plane in (self.y, self.u, self.v)):
            raise ValueError("planes must be two-dimensional uint8 arrays")
        height, width = self.y.shape
        if height == 0 or width == 0:
            raise ValueError("an empty picture")
        half = ((height + 1) // 2, (width + 1) // 2)
        if self.u.shape != half or self.v.shape != half:
            raise ValueError(f"chroma of a {width}x{height} picture must be {half[1]}x{half[0]}")

    @property
    def width(self) -> int:
        """Width in pixels of the luma plane."""
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels of the luma plane."""
        return int(self.y.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    @classmethod
    def from_bgr(cls, bgr: Plane) -> "Picture":
        """Return the picture of a uint8 (h, w, 3) BGR array, 0–255, as limited-range BT.601."""
        if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8:
            raise ValueError("expected a uint8 array of shape (h, w, 3)")
        height, width = bgr.shape[:2]
        down, right = height % 2, width % 2
        if down or right:
            # OpenCV's 4:2:0 conversion wants even sides; the repeated edge is cut off again below.
            bgr = _plane(cv2.copyMakeBorder(bgr, 0, down, 0, right, cv2.BORDER_REPLICATE))
        full_h, full_w = bgr.shape[:2]
        flat = _plane(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420))
        chroma = flat[full_h:].reshape(2, full_h // 2, full_w // 2)
        return cls(flat[:height, :width], chroma[0], chroma[1])

    @classmethod
    def from_gray(cls, gray: Plane) -> "Picture":
        """Return a colourless picture whose luma plane is `gray` itself: uint8, (h, w)."""
        half = ((gray.shape[0] + 1) // 2, (gray.shape[1] + 1) // 2)
        neutral = np.full(half, NEUTRAL_CHROMA, np.uint8)
        return cls(gray, neutral, neutral)

    def part(self, window: tuple[int, int, int, int]) -> "Picture":
        """Return the part within left, top, right and bottom as views; left and top must be even.

        Raises:
            ValueError: It begins at an odd pixel, where chroma cannot be cut, or is empty.
        """
        left, top, right, bottom = window
        if left % 2 or top % 2:
            raise ValueError("a part begins at even pixels")
        across, down = slice(left // 2, (right + 1) // 2), slice(top // 2, (bottom + 1) // 2)
        return Picture(
            self.y[top:bottom, left:right],
            self.u[down, across],
            self.v[down, across],
            self.full_range,
        )

    def luma(self, step: int = 1) -> Plane:
        """Return every `step`-th luma sample in both directions, uint8; a view, not a copy."""
        return self.y[::step, ::step]

    def small_luma(self, width: int = 160) -> Plane:
        """Return the luma plane averaged down to `width` columns: uint8, (h, w), never enlarged."""
        columns = min(width, self.width)
        rows = max(1, round(self.height * columns / self.width))
        return shrink(self.y, columns, rows)

    def to_bgr(self, size: tuple[int, int] | None = None) -> Plane:
        """Return uint8 BGR, 0–255, (h, w, 3), at full size or resized to (width, height)."""
        width, height = size or self.size
        return planes_to_bgr(
            self.y, self.u, self.v, size=(width, height), full_range=self.full_range
        )


def shrink(plane: Plane, width: int, height: int) -> Plane:
    """Return `plane` at (height, width), uint8: averaged going down, interpolated going up."""
    # Linear sampling reads 2x2 neighbours: beyond a factor of two it would skip pixels and alias.
    # Averaging whole 2x2 blocks first costs a fraction of averaging over uneven areas.
    while plane.shape[0] >= 2 * height and plane.shape[1] >= 2 * width:
        rows, columns = plane.shape[0] // 2, plane.shape[1] // 2
        even = plane[: 2 * rows, : 2 * columns]
        plane = _plane(cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA))
    if plane.shape == (height, width):
        return plane
    coarse = plane.shape[0] > 2 * height or plane.shape[1] > 2 * width
    kind = cv2.INTER_AREA if coarse else cv2.INTER_LINEAR
    return _plane(cv2.resize(plane, (width, height), interpolation=kind))


def planes_to_bgr(
    y: Plane, u: Plane, v: Plane, *, size: tuple[int, int], full_range: bool
) -> Plane:
    """Return uint8 BGR (height, width, 3): planes resized first, colour converted only then.

    Source: ITU-R BT.601, limited range, and JPEG's full range (ITU-T T.871) where asked for.
    """
    width, height = size
    if full_range or width % 2 or height % 2:
        return _upsampled_to_bgr(y, u, v, size=size, full_range=full_range)
    flat = np.empty((height * 3 // 2, width), np.uint8)
    chroma = flat[height:].reshape(2, height // 2, width // 2)
    flat[:height] = shrink(y, width, height)
    chroma[0] = shrink(u, width // 2, height // 2)
    chroma[1] = shrink(v, width // 2, height // 2)
    return _plane(cv2.cvtColor(flat, cv2.COLOR_YUV2BGR_I420))


def _upsampled_to_bgr(
    y: Plane, u: Plane, v: Plane, *, size: tuple[int, int], full_range: bool
) -> Plane:
    """Return the same at odd sizes and in full range, with chroma brought to the full size."""
    planes = [shrink(plane, *size) for plane in (y, v, u)]
    if not full_range:
        tables = (_LUMA_TO_FULL, _CHROMA_TO_FULL, _CHROMA_TO_FULL)
        planes = [cv2.LUT(plane, table) for plane, table in zip(planes, tables, strict=True)]
    return _plane(cv2.cvtColor(cv2.merge(planes), cv2.COLOR_YCrCb2BGR))


def _stretched(black: float, gain: float, around: float) -> Plane:
    values = (np.arange(256, dtype=np.float64) - black) * gain + around
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


# Limited to full range: 219 luma steps above black at 16, 224 chroma steps around 128.
_LUMA_TO_FULL = _stretched(LIMITED_BLACK, 255 / 219, 0)
_CHROMA_TO_FULL = _stretched(NEUTRAL_CHROMA, 255 / 224, NEUTRAL_CHROMA)


def _plane(array: npt.NDArray[np.generic] | cv2.typing.MatLike) -> Plane:
    """Return the array as uint8: OpenCV's stubs say only that it is some number."""
    return np.asarray(array, dtype=np.uint8)
