"""Which part of a camera's picture is looked at: polygons outside of which nothing counts.

Here: what the polygons mean for motion (a mask), for detections (which count) and for the picture
that a model gets (a cut-out, where the regions are small). Not here: zones, which say what somebody
does inside; a region says where to look at all. The rule: outside is outside for everyone, motion,
detections and tracks, so that a region never shows what the gate could not have seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from vedette.vision import geometry
from vedette.vision.detections import Detections
from vedette.vision.picture import Picture, Plane

Window = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of a picture, in pixels; left and top are even."""

CUT_BELOW: Final = 0.5
"""Most of the picture that a cut-out may cover: a larger one would gain hardly any resolution."""

MARGIN: Final = 0.05
"""Of the picture's sides, around the regions, so that who stands at their edge is whole."""

HEADROOM: Final = 0.15
"""Of the picture's height, above the regions: who stands in them reaches over them."""


@dataclass(slots=True)
class Regions:
    """The regions of one camera; without polygons the whole picture.

    Attributes:
        polygons: Corners in fractions of width and height (0 to 1), each polygon of 3 or more.

    Thread: any; a mask or window may be made twice.
    """

    polygons: Sequence[Sequence[tuple[float, float]]] = ()
    _masks: dict[tuple[int, int], Plane] = field(init=False, default_factory=dict)
    _windows: dict[tuple[int, int], Window | None] = field(init=False, default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """True where the whole picture is looked at."""
        return not self.polygons

    def mask(self, shape: tuple[int, int]) -> Plane | None:
        """Return 255 inside and 0 outside, uint8 of `shape` (h, w); None for the whole picture."""
        if self.is_whole:
            return None
        found = self._masks.get(shape)
        if found is None:
            found = np.zeros(shape, np.uint8)
            scale = np.array([shape[1], shape[0]], np.float64)
            for polygon in self.polygons:
                corners = np.rint(np.asarray(polygon) * scale - 0.5).astype(np.int32)
                cv2.fillPoly(found, [corners], 255)
            self._masks[shape] = found
        return found

    def window(self, picture_px: tuple[int, int]) -> Window | None:
        """Return the part of a picture to be analysed; None where it is the whole of it."""
        if picture_px not in self._windows:
            self._windows[picture_px] = self._window(*picture_px)
        return self._windows[picture_px]

    def cut(self, picture: Picture) -> Picture:
        """Return what of the picture is to be analysed: views, nothing is copied."""
        window = self.window(picture.size)
        return picture if window is None else picture.part(window)

    def counted(self, found: Detections, picture_px: tuple[int, int]) -> Detections:
        """Return those that count, in pixels of the whole picture.

        Counted is who stands or is inside: foot point or centre within a region.

        Args:
            found: In pixels of what `cut` returned.
            picture_px: Width and height of the whole picture.
        """
        if self.is_whole or not len(found):
            return found
        window = self.window(picture_px)
        boxes = found.boxes_xyxy
        if window is not None:
            boxes = boxes + np.array(window[:2] * 2, np.float32)
            found = Detections(boxes, found.confidence, found.class_id, found.entropy)
        feet = geometry.foot_points(boxes)
        centres = geometry.to_centre(boxes.astype(np.float64))[:, :2]
        return found.where(self._inside(feet, picture_px) | self._inside(centres, picture_px))

    def _inside(
        self, points_px: npt.NDArray[np.float64], picture_px: tuple[int, int]
    ) -> npt.NDArray[np.bool_]:
        """Return which points (n, 2) lie within a region, (n,)."""
        # A foot point lies on the picture's lower edge where the picture ends at the knees.
        points = np.clip(points_px / np.array(picture_px, np.float64), 0.0, 1.0 - 1e-6)
        inside = np.zeros(len(points), np.bool_)
        for polygon in self.polygons:
            corners = tuple((float(x), float(y)) for x, y in polygon)
            inside |= [geometry.is_inside(corners, (float(x), float(y))) for x, y in points]
        return inside

    def _window(self, width: int, height: int) -> Window | None:
        if self.is_whole:
            return None
        corners = np.concatenate([np.asarray(polygon, np.float64) for polygon in self.polygons])
        low, high = corners.min(axis=0), corners.max(axis=0)
        left, top = low[0] - MARGIN, low[1] - HEADROOM
        right, bottom = high[0] + MARGIN, high[1] + MARGIN
        window = (
            max(0, int(left * width)) // 2 * 2,
            max(0, int(top * height)) // 2 * 2,
            min(width, int(np.ceil(right * width))),
            min(height, int(np.ceil(bottom * height))),
        )
        area = (window[2] - window[0]) * (window[3] - window[1])
        return window if area <= CUT_BELOW * width * height else None
