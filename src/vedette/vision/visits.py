"""One track and one zone: stays that add up to loitering, and movement in a watched direction.

Here: two small pure states, told where the track is. Not here: what is inside (`zones`).
"""

import math
from collections import deque
from typing import Final

from vedette.vision.geometry import Point
from vedette.wire.limits import LOITER_WINDOW_S

LOITER_REARM: Final = 0.5
"""Told again only after the sum fell below this part of the limit: somebody who really went away
and came back, not one whose oldest stay slips out of the window."""

MAX_STAYS: Final = 256
"""Stays remembered per track and zone; with more of them the oldest are forgotten."""

HEADING_HEIGHTS: Final = 0.5
"""Least movement, in box heights: about 0.8 m for a person; the foot point jitters by a twentieth
of that."""

PLACES: Final = 16
PLACE_HEIGHTS: Final = 0.1
"""Places remembered of one visit, at least so far apart, in box heights."""


class Loitering:
    """The stays of one track in one zone.

    Args:
        limit_s: Seconds that its stays within `LOITER_WINDOW_S` may add up to.
    """

    __slots__ = ("_limit_s", "_stays", "_told")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._stays: deque[tuple[float, float]] = deque(maxlen=MAX_STAYS)
        self._told = False

    def leave(self, since_s: float, t_s: float) -> None:
        """Remember a stay that ended."""
        self._stays.append((since_s, t_s))

    def total_s(self, since_s: float | None, t_s: float) -> float:
        """Return the seconds inside within the window that ends at `t_s`.

        Args:
            since_s: When the stay began that is still going on; None where there is none.
            t_s: Now.
        """
        begin_s = t_s - LOITER_WINDOW_S
        while self._stays and self._stays[0][1] <= begin_s:
            self._stays.popleft()
        past_s = sum(end_s - max(start_s, begin_s) for start_s, end_s in self._stays)
        return past_s + (0.0 if since_s is None else t_s - max(since_s, begin_s))

    def look(self, since_s: float | None, t_s: float) -> float | None:
        """Return the sum in seconds once, when it reached the limit; None otherwise."""
        total_s = self.total_s(since_s, t_s)
        if self._told and total_s < LOITER_REARM * self._limit_s:
            self._told = False
        if self._told or since_s is None or total_s < self._limit_s:
            return None
        self._told = True
        return total_s


class Heading:
    """The movement of one visit, looked at for one direction.

    The vector from any place of the visit to the present one counts, so that somebody who first
    looks around and then goes is seen going; it has to be long enough to be no jitter.

    Args:
        degrees: Watched direction in the picture: 0 is right, 90 down.
        tolerance_deg: How far off it still counts.
    """

    __slots__ = ("_degrees", "_places", "_told", "_tolerance_deg")

    def __init__(self, degrees: float, tolerance_deg: float) -> None:
        self._degrees = degrees
        self._tolerance_deg = tolerance_deg
        self._places: deque[Point] = deque(maxlen=PLACES)
        self._told = False

    def look(self, foot: Point, height_px: float) -> float | None:
        """Return the direction in degrees, 0 to 360, when it first was the watched one.

        Args:
            foot: Where the track stands, in pixels.
            height_px: Of its box.
        """
        if self._told:
            return None
        for place in self._places:
            degrees = direction_deg(place, foot)
            far_enough = math.dist(place, foot) >= HEADING_HEIGHTS * height_px
            if far_enough and between_deg(degrees, self._degrees) <= self._tolerance_deg:
                self._told = True
                return degrees
        if not self._places or math.dist(self._places[-1], foot) >= PLACE_HEIGHTS * height_px:
            self._places.append(foot)
        return None


def direction_deg(start: Point, end: Point) -> float:
    """Return where END lies as seen from START: 0 right, 90 down, in [0, 360)."""
    return math.degrees(math.atan2(end[1] - start[1], end[0] - start[0])) % 360.0


def between_deg(a: float, b: float) -> float:
    """Return the angle between two directions, 0 to 180 degrees."""
    return abs((a - b + 180.0) % 360.0 - 180.0)
