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
MIN_AREA: Final = 0.0001
"""A zone smaller than a ten-thousandth of the picture is a slip of the hand."""


def complaints(settings: CameraSettings) -> list[str]:
    """Return what is wrong with the settings of one camera; empty where nothing is."""
    zones, lines = settings.zones or [], settings.lines or []
    names = [zone.name for zone in zones] + [line.name for line in lines]
    out = [f"{name!r} cannot be a name: use a-z 0-9 . _ -" for name in names if not is_slug(name)]
    out += [f"two zones or lines are named {n!r}" for n in sorted(set(names)) if names.count(n) > 1]
    if len(names) > MAX_ZONES:
        out.append(f"at most {MAX_ZONES} zones and lines on one camera")
    out += [text for zone in zones for text in _zone(zone)]
    out += [text for line in lines for text in _line(line)]
    if settings.threshold is not None and not 0 < settings.threshold < 1:
        out.append("a threshold lies between 0 and 1, for example 0.4")
    for start, end in settings.off_hours or []:
        if not (_is_time(start) and _is_time(end)):
            out.append(f"off hours {start!r} to {end!r}: write times as 22:00")
        elif start == end:
            out.append("off hours that begin and end at the same time are no hours")
    return out


def _zone(zone: Zone) -> list[str]:
    """Return what is wrong with one zone."""
    if not 3 <= len(zone.polygon) <= MAX_CORNERS:
        return [f"zone {zone.name}: a polygon has 3 to {MAX_CORNERS} corners"]
    out = _outside(f"zone {zone.name}", zone.polygon)
    if not out and abs(area(zone.polygon)) < MIN_AREA:
        out.append(f"zone {zone.name}: it has no area")
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
