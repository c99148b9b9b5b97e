"""Parts of a picture made into squares of one colour, so that nobody can be recognised in them.

Here: the squares. Pure pixels. Not here: where people are (`edge.evidence.cover`) and video. The
rules: a square holds the mean of its pixels, rounded to a few levels, and nothing else, so no
computation brings back what was in it; squares are so large that a person is a few of them across,
whatever the size; they lie on one grid per size, so that a person who moves is not sampled anew at
every pixel.

Source: blurring by convolution can be inverted and small mosaics be matched against candidates
(Hill, Zhou, Saul, Shacham: On the (In)effectiveness of Mosaicing and Blurring as Tools for Document
Redaction, PETS 2016); hence few squares, few levels, and one grid.
"""

from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np

from vedette.vision.picture import Picture, Plane

CELLS_ACROSS: Final = 5
"""Squares over the shorter side of a covered object, at most."""

CELL_STEP_PX: Final = 16
"""Squares are multiples of this: whole chroma samples, whole blocks of any codec."""

LEVELS: Final = 16
WHOLE_ACROSS: Final = 32
"""Squares over the longer side where the whole picture is covered."""

Area = tuple[float, float, float, float]
"""xyxy in pixels."""


def cell_px(area: Area) -> int:
    """Return the side of the squares that cover an object of this size."""
    shorter = min(area[2] - area[0], area[3] - area[1])
    steps = -(-max(shorter, 1.0) // (CELLS_ACROSS * CELL_STEP_PX))
    return max(1, int(steps)) * CELL_STEP_PX


def whole_cell_px(size_px: tuple[int, int]) -> int:
    """Return the side of the squares where the whole picture is covered."""
    side = max(size_px) * CELLS_ACROSS / WHOLE_ACROSS
    return cell_px((0.0, 0.0, side, side))


def pixelated(picture: Picture, areas: Iterable[tuple[Area, int]]) -> Picture:
    """Return a copy in which nothing but squares is left within the areas.

    Args:
        picture: I420; not changed.
        areas: Where, and the side of the squares there. Grown to whole squares; what lies outside
            of the picture does not matter. Where areas meet, the larger squares win.
    """
    planes = [plane.copy() for plane in (picture.y, picture.u, picture.v)]
    originals = (picture.y, picture.u, picture.v)
    for area, cell in sorted(areas, key=lambda one: one[1]):
        snapped = _snapped(area, cell, picture.size)
        if snapped is None:
            continue
        for plane, original, halved in zip(planes, originals, (1, 2, 2), strict=True):
            _cover(plane, original, snapped, cell, halved)
    return Picture(planes[0], planes[1], planes[2], full_range=picture.full_range)


def _snapped(area: Area, cell: int, size_px: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return the area grown to the grid, within the grid's cover of the picture; None if empty."""
    x0, y0 = (max(0, int(value // cell)) for value in area[:2])
    x1 = min(-(-size_px[0] // cell), int(-(-area[2] // cell)))
    y1 = min(-(-size_px[1] // cell), int(-(-area[3] // cell)))
    if x1 <= x0 or y1 <= y0 or area[2] <= area[0] or area[3] <= area[1]:
        return None
    return x0, y0, x1, y1


def _cover(
    plane: Plane, original: Plane, cells: tuple[int, int, int, int], cell: int, halved: int
) -> None:
    """Write squares into `plane` (uint8 (h, w)); `cells` are columns and rows of the grid."""
    side = cell // halved
    x0, y0, x1, y1 = cells
    part = original[y0 * side : y1 * side, x0 * side : x1 * side]
    height, width = part.shape
    if not (height and width):
        return  # an odd picture's last cell without chroma of its own
    below, beside = (y1 - y0) * side - height, (x1 - x0) * side - width
    padded = cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_REPLICATE)
    means = cv2.resize(padded, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    step = 255 / (LEVELS - 1)
    rough = (np.rint(np.asarray(means, np.float32) / step) * step).astype(np.uint8)
    squares = rough.repeat(side, axis=0).repeat(side, axis=1)
    plane[y0 * side : y1 * side, x0 * side : x1 * side] = squares[:height, :width]
