"""Plane geometry on arrays: boxes, polygons, lines.

Here: overlap of boxes, where a point lies to a polygon or a line, whether a step crosses a line.
Not here: what any of it means (`zones`, `tracking`). The rule: no state, no thresholds; every edge
case is decided by a half-open comparison, so that neighbours that share an edge or a corner never
both claim a point and never both miss it.

Picture coordinates: x to the right, y down.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Point = tuple[float, float]

_TINY: Final = 1e-12


def box_overlap(a: Floats, b: Floats) -> Floats:
    """Return the intersection over union of every box of `a` with every box of `b`.

    Args:
        a: float64, (n, 4), xyxy.
        b: float64, (m, 4), xyxy.

    Returns:
        float64, (n, m), 0 to 1; 0 where either box has no area.
    """
    left_top = np.maximum(a[:, None, :2], b[None, :, :2])
    right_bottom = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(right_bottom - left_top, 0.0)
    shared = sides[..., 0] * sides[..., 1]
    union = box_area(a)[:, None] + box_area(b)[None, :] - shared
    return np.where(union > _TINY, shared / np.maximum(union, _TINY), 0.0)


def box_area(boxes: Floats) -> Floats:
    """Return the area of each xyxy box, (n,); 0 where it is inverted."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    return sides[:, 0] * sides[:, 1]


def to_centre(boxes_xyxy: Floats) -> Floats:
    """Return centre x, centre y, width, height for xyxy boxes, (n, 4)."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    return np.concatenate(((low + high) * 0.5, high - low), axis=1)


def to_corners(boxes_cxcywh: Floats) -> Floats:
    """Return xyxy for centre x, centre y, width, height, (n, 4)."""
    half = boxes_cxcywh[:, 2:] * 0.5
    centre = boxes_cxcywh[:, :2]
    return np.concatenate((centre - half, centre + half), axis=1)


def foot_points(boxes_xyxy: npt.NDArray[np.floating]) -> Floats:
    """Return the middle of each box's lower edge, (n, 2): where an upright object stands."""
    boxes = np.asarray(boxes_xyxy, np.float64)
    return np.stack(((boxes[:, 0] + boxes[:, 2]) * 0.5, boxes[:, 3]), axis=1)


def side_of_line(a: Point, b: Point, p: Point) -> float:
    """Return twice the signed area of A, B, P: negative left of A→B as one sees it, positive right.

    ::

             left (negative)
        A ──────────────────▶ B
             right (positive)
    """
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def crossing(a: Point, b: Point, start: Point, end: Point) -> int:
    """Return 1 where the step goes through the segment A→B from left to right, -1 back, else 0.

    ::

        start ·            start is left of A→B, end is right of it, and A and B lie on
               ╲           different sides of the step: 1.
        A ──────╳─────▶ B
                 ╲
                  · end

    Half-open: a point on the line counts as left, and B's side is compared likewise. So touching
    the line and going back is no crossing, stepping onto it and on is one, and two segments that
    share a corner never both count a step through that corner.
    """
    right_before = side_of_line(a, b, start) > 0.0
    right_after = side_of_line(a, b, end) > 0.0
    if right_before == right_after:
        return 0
    if (side_of_line(start, end, a) > 0.0) == (side_of_line(start, end, b) > 0.0):
        return 0
    return 1 if right_after else -1


def distance_to_segment(a: Point, b: Point, p: Point) -> float:
    """Return how far P is from the nearest point of the segment AB."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length2 = dx * dx + dy * dy
    t = 0.0 if length2 <= _TINY else ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length2
    t = min(max(t, 0.0), 1.0)
    return math.hypot(p[0] - a[0] - t * dx, p[1] - a[1] - t * dy)


def is_inside(polygon: tuple[Point, ...], p: Point) -> bool:
    """True where P is inside the polygon, by the even-odd rule, whichever way its corners run.

    Half-open on y and x, so that polygons that share an edge divide its points between them.

    Source: the crossing-number test; M. Shimrat, Algorithm 112, CACM 5(8), 1962.
    """
    inside = False
    previous = polygon[-1]
    for corner in polygon:
        (x0, y0), (x1, y1) = previous, corner
        if (y0 > p[1]) != (y1 > p[1]) and p[0] < (x1 - x0) * (p[1] - y0) / (y1 - y0) + x0:
            inside = not inside
        previous = corner
    return inside


def signed_distance(polygon: tuple[Point, ...], p: Point) -> float:
    """Return how far P is from the polygon's edge: positive inside, negative outside."""
    edges = zip((polygon[-1], *polygon[:-1]), polygon, strict=True)
    nearest = min(distance_to_segment(a, b, p) for a, b in edges)
    return nearest if is_inside(polygon, p) else -nearest


def thickness(polygon: tuple[Point, ...]) -> float:
    """Return area over half the perimeter: about the radius of what fits into the polygon.

    A disc of radius r gives r, a long strip of width w gives w.
    """
    area = length = 0.0
    for (x0, y0), (x1, y1) in zip((polygon[-1], *polygon[:-1]), polygon, strict=True):
        area += x0 * y1 - x1 * y0
        length += math.hypot(x1 - x0, y1 - y0)
    return abs(area) / length if length > _TINY else 0.0
