"""Whether zones, lines and thresholds can be: said in words, before central signs them.

Pure. The device checks again and by itself; this is for the person who draws. The rule: every
complaint names the thing and what to write instead.
"""

from collections.abc import Sequence
from datetime import time
from typing import Final

from vedette.ids import is_slug
from vedette.wire.limits import LOITER_WINDOW_S, MAX_CONFIRM_S
from vedette.wire.signed import CameraSettings, Line, Zone

MAX_CORNERS: Final = 32
MAX_ZONES: Final = 32
MAX_OFF_HOURS: Final = 32
MAX_LABELS: Final = 100
MAX_LABEL_CHARS: Final = 128
MIN_AREA: Final = 0.0001
"""A zone smaller than a ten-thousandth of the picture is a slip of the hand."""

Point = tuple[float, float]


def complaints(settings: CameraSettings) -> list[str]:
    """Return what is wrong with the settings of one camera; empty where nothing is."""
    too_much = _too_much(settings)
    if too_much:  # nobody reads a complaint about each of thousands
        return too_much
    zones, lines = settings.zones or [], settings.lines or []
    names = [zone.name for zone in zones] + [line.name for line in lines]
    out = [f"{name!r} cannot be a name: use a-z 0-9 . _ -" for name in names if not is_slug(name)]
    out += [f"two zones or lines are named {n!r}" for n in sorted(set(names)) if names.count(n) > 1]
    out += [text for zone in zones for text in _zone(zone)]
    out += [text for line in lines for text in _line(line)]
    if settings.threshold is not None and not 0 < settings.threshold < 1:
        out.append("a threshold lies between 0 and 1, for example 0.4")
    for number, region in enumerate(settings.regions or [], start=1):
        out += _zone(Zone(name=f"of region {number}", polygon=region))
    for start, end in settings.off_hours or []:
        if not (_is_time(start) and _is_time(end)):
            out.append(f"off hours {start[:9]!r} to {end[:9]!r}: write times as 22:00")
        elif start == end:
            out.append("off hours that begin and end at the same time are no hours")
    return out


def _too_much(settings: CameraSettings) -> list[str]:
    """Return which parts are more than a camera can have, or a device would read."""
    zones, lines = settings.zones or [], settings.lines or []
    out: list[str] = []
    if len(zones) + len(lines) > MAX_ZONES:
        out.append(f"at most {MAX_ZONES} zones and lines on one camera")
    if len(settings.regions or []) > MAX_ZONES:
        out.append(f"at most {MAX_ZONES} regions on one camera")
    if len(settings.off_hours or []) > MAX_OFF_HOURS:
        out.append(f"at most {MAX_OFF_HOURS} spells of off hours")
    several = [settings.labels or [], *(one.labels for one in (*zones, *lines))]
    if max(map(len, several)) > MAX_LABELS:
        out.append(f"at most {MAX_LABELS} labels in one list")
    elif any(len(label) > MAX_LABEL_CHARS for labels in several for label in labels):
        out.append(f"a label has at most {MAX_LABEL_CHARS} characters")
    if any(len(one.name) > MAX_LABEL_CHARS for one in (*zones, *lines)):
        out.append("a name has at most 64 characters")
    return out


def _zone(zone: Zone) -> list[str]:
    """Return what is wrong with one zone."""
    if not 3 <= len(zone.polygon) <= MAX_CORNERS:
        return [f"zone {zone.name}: a polygon has 3 to {MAX_CORNERS} corners"]
    out = _outside(f"zone {zone.name}", zone.polygon)
    if not out:
        out = _shape(f"zone {zone.name}", zone.polygon)
    if zone.dwell_s is not None and not 0 < zone.dwell_s <= 86_400:
        out.append(f"zone {zone.name}: dwell_s lies between 0 and 86400 seconds")
    if zone.loiter_s is not None and not 0 < zone.loiter_s <= LOITER_WINDOW_S:
        out.append(f"zone {zone.name}: loiter_s lies between 0 and {LOITER_WINDOW_S:g} seconds")
    if zone.heading_deg is not None and not -360 <= zone.heading_deg <= 360:
        out.append(f"zone {zone.name}: heading_deg is 0 for right, 90 down, 180 left, 270 up")
    if not 0 < zone.heading_tolerance_deg <= 180:
        out.append(f"zone {zone.name}: heading_tolerance_deg lies between 0 and 180")
    return out


def _line(line: Line) -> list[str]:
    """Return what is wrong with one line."""
    out = _outside(f"line {line.name}", [line.a, line.b])
    if line.a == line.b:
        out.append(f"line {line.name}: its ends are the same point")
    if not 0 <= line.confirm_s <= MAX_CONFIRM_S:
        out.append(f"line {line.name}: confirm_s lies between 0 and {MAX_CONFIRM_S:g} seconds")
    return out


def _outside(what: str, points: Sequence[tuple[float, float]]) -> list[str]:
    """Complain once where a point is not in the picture; NaN is not."""
    good = all(0 <= x <= 1 and 0 <= y <= 1 for x, y in points)
    return [] if good else [f"{what}: points are fractions of width and height, 0 to 1"]


def _shape(what: str, polygon: Sequence[Point]) -> list[str]:
    """Return what is wrong with the outline of a zone that lies in the picture."""
    out = [f"{what}: it has no area"] if abs(area(polygon)) < MIN_AREA else []
    crossed = crossing(polygon)
    if crossed is not None:
        first, second = crossed
        out.append(f"{what}: its edges {first} and {second} cross; move or remove a corner")
    return out


def crossing(polygon: Sequence[Point]) -> tuple[int, int] | None:
    """Return the numbers, from 1, of the first two edges that meet elsewhere than at a corner.

    Edge n goes from corner n to the next one. Neighbours cross where one folds back onto the other.
    """
    n = len(polygon)
    for i in range(n):
        a, b = polygon[i], polygon[(i + 1) % n]
        for j in range(i + 1, n):
            c, d = polygon[j], polygon[(j + 1) % n]
            if j == i + 1:
                crosses = folds(a, b, d)
            elif i == 0 and j == n - 1:
                crosses = folds(c, a, b)
            else:
                crosses = meet(a, b, c, d)
            if crosses:
                return i + 1, j + 1
    return None


def folds(a: Point, b: Point, c: Point) -> bool:
    """True where the way from a over b to c turns back onto itself, or does not leave a corner."""
    if b in (a, c):
        return True
    towards = (a[0] - b[0]) * (c[0] - b[0]) + (a[1] - b[1]) * (c[1] - b[1])
    return turn(a, b, c) == 0 and towards > 0


def meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """True where the stretch from a to b has a point in common with the one from c to d."""
    sides = turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)
    if sides[0] != sides[1] and sides[2] != sides[3]:
        return True
    ends = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(side == 0 and _within(*end) for side, end in zip(sides, ends, strict=True))


def turn(a: Point, b: Point, c: Point) -> int:
    """Return 1, -1 or 0: to which side the way from a over b to c turns."""
    found = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return (found > 0) - (found < 0)


def _within(a: Point, b: Point, p: Point) -> bool:
    """True where p, on the line through a and b, lies between them."""
    return min(a[0], b[0]) <= p[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= p[1] <= max(a[1], b[1])


def area(polygon: Sequence[tuple[float, float]]) -> float:
    """Return the signed area of a polygon in fractions of the picture.

    Source: the shoelace formula.
    """
    following = [*polygon[1:], polygon[0]]
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(polygon, following, strict=True)) / 2


def _is_time(text: str) -> bool:
    """True where `text` is a time of day."""
    try:
        time.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 5
