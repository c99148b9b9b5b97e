"""A shelf zone's part of the picture, small, and how two of them differ.

Here: cutting out, what moved, what is structurally another, and which of two pictures shows a thing
that the other lacks. Not here: time, people and events (`shelf`). Pure functions on arrays.

The rule: light must not count. Luma is compared as its logarithm, in which a lamp, a cloud or a
shadow adds a constant, and that constant is taken out in every small window. What is left is
structure: edges and print, and how strong they are.
"""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from vedette.vision.geometry import Point
from vedette.vision.picture import Picture, shrink

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

LONG_SIDE_PX: Final = 160
"""A patch is reduced to this: noise averages out, and a product is still ten or more pixels."""

MARGIN: Final = 0.06
"""Seen around the zone's box, as a part of its longer side: who stands before a shelf reaches
over its edge, what stands in it does not."""

WINDOW_PX: Final = 7
"""Side of the window in which structure is compared, about a small product's width."""

CONTRAST_NOISE: Final = 0.004
"""Variance of log-luma that noise and compression leave, and therefore is no structure."""

LEAST_STRUCTURE: Final = 0.5
"""Windows less alike than this differ; the measure is 1 for equal, 0 for unrelated."""

LEAST_CHROMA: Final = 10.0
"""Steps of Cb and Cr together from which on a colour is another one."""

MOVED: Final = 0.10
"""Change of log-luma from look to look, beyond the whole patch's own, that is movement."""

_LOG: Final = np.log(np.arange(256, dtype=np.float32) + 8.0)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One zone at one moment.

    Attributes:
        luma: Natural logarithm of luma, float32, (h, w).
        chroma: Cb and Cr around 0, float32, (h, w, 2), -128 to 127.
    """

    luma: Floats
    chroma: Floats

    def mixed(self, other: "Patch", where: Mask, weight: float) -> "Patch":
        """Return a copy that follows `other` by `weight` (0 to 1) where the mask is set."""
        share: Floats = where.astype(np.float32)
        share *= weight
        luma, chroma = other.luma - self.luma, other.chroma - self.chroma
        luma *= share
        luma += self.luma
        chroma *= share[..., None]
        chroma += self.chroma
        return Patch(luma, chroma)

    def patched(self, other: "Patch", where: Mask, same: Mask) -> "Patch":
        """Return a copy with `other` where the mask is set, in this patch's own light.

        Args:
            other: The same zone later.
            where: What is taken over.
            same: Where both show the same, which tells how the light changed.
        """
        if not where.any():
            return self
        luma, chroma = self.luma.copy(), self.chroma.copy()
        shift = float(np.median((self.luma - other.luma)[same])) if same.any() else 0.0
        luma[where] = other.luma[where] + np.float32(shift)
        chroma[where] = other.chroma[where]
        return Patch(luma, chroma)


class Window:
    """Where a zone lies in the picture and in its patch.

    Args:
        polygon: Corners in pixels of the picture.
        picture_size: Width and height in pixels.
    """

    def __init__(self, polygon: tuple[Point, ...], picture_size: tuple[int, int]) -> None:
        xs, ys = [p[0] for p in polygon], [p[1] for p in polygon]
        grow = MARGIN * max(max(xs) - min(xs), max(ys) - min(ys))
        width, height = picture_size
        # Even edges, so that the chroma planes are cut at the same places.
        self.left = min(max(0, math.floor(min(xs) - grow)), width - 1) & ~1
        self.top = min(max(0, math.floor(min(ys) - grow)), height - 1) & ~1
        self.right = max(self.left + 2, min(width, math.ceil(max(xs) + grow)))
        self.bottom = max(self.top + 2, min(height, math.ceil(max(ys) + grow)))
        wide, high = self.right - self.left, self.bottom - self.top
        self.scale = min(1.0, LONG_SIDE_PX / max(wide, high))
        self.size = (max(2, round(wide * self.scale)), max(2, round(high * self.scale)))
        # Of a large picture some rows are enough: tens of pixels still make one of the patch's.
        self._row_step = min(4, max(1, int(0.4 / self.scale)))
        inside = np.zeros(self.size[::-1], np.uint8)
        corners = np.array([self.to_patch(p) for p in polygon])
        cv2.fillPoly(inside, [np.rint(corners).astype(np.int32)], 1)
        self.inside: Mask = inside.astype(np.bool_)
        frame = np.ones_like(self.inside)
        frame[1:-1, 1:-1] = False
        kernel = np.ones((3, 3), np.uint8)
        self.border: Mask = (cv2.erode(inside, kernel, iterations=3) == 0) | frame
        """Outside the zone and a little within its edge."""

    def to_patch(self, p: Point) -> Point:
        """Return a place of the picture in the patch's pixels."""
        return ((p[0] - self.left) * self.scale, (p[1] - self.top) * self.scale)

    def to_picture(self, x: float, y: float) -> Point:
        """Return a place of the patch in the picture's pixels."""
        return (self.left + x / self.scale, self.top + y / self.scale)

    def luma(self, picture: Picture) -> Floats:
        """Return the zone's log-luma, float32, (h, w); cheap enough for every look."""
        rows = slice(self.top, self.bottom, self._row_step)
        return _LOG[shrink(picture.y[rows, self.left : self.right], *self.size)]

    def patch(self, picture: Picture, luma: Floats) -> Patch:
        """Return the zone's patch, given its luma."""
        rows = slice(self.top // 2, (self.bottom + 1) // 2, self._row_step)
        columns = slice(self.left // 2, (self.right + 1) // 2)
        planes = [shrink(plane[rows, columns], *self.size) for plane in (picture.u, picture.v)]
        return Patch(luma, cv2.merge(planes).astype(np.float32) - np.float32(128.0))


def moved(before: Floats, now: Floats) -> Mask:
    """Return where log-luma moved between two looks; light that changed everywhere is none."""
    change = now - before
    change -= np.median(change[::4, ::4])
    return np.abs(cv2.blur(change, (3, 3))) > MOVED


def differs(before: Patch, after: Patch, where: Mask) -> Mask:
    """Return where two patches show different things, whatever the light.

    Args:
        before: One.
        after: The other.
        where: The zone; its common shift of colour is the light's.

    Source: the contrast-structure term of SSIM, Z. Wang et al., "Image Quality Assessment: From
    Error Visibility to Structural Similarity", IEEE TIP 13(4), 2004; here of log-luma.
    """
    side = (WINDOW_PX, WINDOW_PX)
    mean_a, mean_b = cv2.blur(before.luma, side), cv2.blur(after.luma, side)
    var_a = cv2.blur(before.luma * before.luma, side) - mean_a * mean_a
    var_b = cv2.blur(after.luma * after.luma, side) - mean_b * mean_b
    cov = cv2.blur(before.luma * after.luma, side) - mean_a * mean_b
    alike = (2 * cov + CONTRAST_NOISE) / (var_a + var_b + CONTRAST_NOISE)
    gain = np.exp(np.clip(mean_b - mean_a, -0.7, 0.7))[..., None]
    tint = cv2.blur(after.chroma - gain * before.chroma, (3, 3))
    tint -= np.median(tint[where], axis=0) if where.any() else np.float32(0.0)
    return (alike < LEAST_STRUCTURE) | (np.abs(tint).sum(axis=2) > LEAST_CHROMA)


def solid(mask: Mask) -> npt.NDArray[np.uint8]:
    """Return a mask without specks, its gaps closed and its holes filled: uint8, 0 or 1."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(3))
    closed = cv2.morphologyEx(closed, cv2.MORPH_CLOSE, _disc(7))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(closed)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return np.asarray(filled, np.uint8)


def thing_shown(before: Patch, after: Patch, changed: Mask) -> float:
    """Return how much more the patch before shows a thing there than the one after does.

    Positive: there was a thing and it is gone. Negative: there is one now. Three signs are added,
    each a logarithm or a difference of such: the outline (a thing has edges where it ends, the
    ground behind it goes on), the print inside, and how far it stands out from its surroundings.

    Source: the outline as in J. Connell et al., "Detection and Tracking in the IBM PeopleVision
    System", ICME 2004; the surroundings as in J. San Miguel, J. Martínez, "Robust Unattended and
    Stolen Object Detection by Fusing Simple Algorithms", AVSS 2008.
    """
    whole = changed.astype(np.uint8)
    thing = cv2.erode(whole, _disc(WINDOW_PX - 2))
    if not thing.any():
        thing = whole
    outline = (cv2.dilate(thing, _disc(5)) - cv2.erode(thing, _disc(3))) > 0
    print_ = cv2.erode(thing, _disc(5)) > 0
    if not print_.any():
        print_ = thing > 0
    around = (cv2.dilate(whole, _disc(13)) - cv2.dilate(whole, _disc(3))) > 0
    edges = [_edges(patch) for patch in (before, after)]
    ends = math.log((edges[0][outline].mean() + 0.03) / (edges[1][outline].mean() + 0.03))
    prints = math.log((edges[0][print_].mean() + 0.03) / (edges[1][print_].mean() + 0.03))
    if not around.any():
        return ends + 0.5 * prints
    stands_out = [_contrast(patch, thing > 0, around) for patch in (before, after)]
    return ends + 0.5 * prints + (stands_out[0] - stands_out[1])


def _edges(patch: Patch) -> Floats:
    """Return the strength of edges in luma and colour, (h, w)."""
    planes = (patch.luma, patch.chroma[..., 0] / 40.0, patch.chroma[..., 1] / 40.0)
    total = np.zeros_like(patch.luma)
    for plane in planes:
        smooth = cv2.blur(plane, (3, 3))
        dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.125)
        dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.125)
        total += np.asarray(cv2.magnitude(dx, dy), np.float32)
    return total


def _contrast(patch: Patch, thing: Mask, around: Mask) -> float:
    """Return how far the thing's mean lies from that of its surroundings, in luma and colour."""
    luma = abs(float(patch.luma[thing].mean()) - float(np.median(patch.luma[around])))
    tint = patch.chroma[thing].mean(axis=0) - np.median(patch.chroma[around], axis=0)
    return min(1.5, luma + float(np.abs(tint).sum()) / 40.0)


def _disc(side: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
