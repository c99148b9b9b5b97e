"""Where people may be at any time, from where they were seen at some times.

Here: the areas to cover in one picture. Pure. The rules, each on the safe side:

- Between two sightings of a track everything it can have passed through on the way is covered: the
  hull of both boxes, not a guess in between.
- Before its first and after its last sighting a track is held for `HOLD_S` and grows with a
  person's speed: a tracker needs some pictures before it is sure, and loses people at their end.
- Where nobody looked (before the first analysed frame, after the last, in a gap), or where the
  camera does not look for people everywhere, nobody can say where people are: the whole picture.

What this cannot cover: a person whom the detector never saw. Only the mode `picture` covers those.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Final

from vedette.edge.evidence.facts import FrameBoxes
from vedette.vision.pixelation import Area

HOLD_S: Final = 1.5
GAP_S: Final = 2.5
SPEED_WIDTHS_PER_S: Final = 3.0
"""Who walks passes about three of their own widths in a second."""

_MARGIN: Final = 0.15
_LEAST_MARGIN_PX: Final = 8.0

Sighting = tuple[float, Area]


class Cover:
    """The areas of one clip.

    Args:
        frames: What was seen when.
        watched: False where not everybody in the picture would have been seen.
        slack_s: How far the clip's times may be off those of the frames: it is of another stream.
    """

    def __init__(
        self, frames: Iterable[FrameBoxes], *, watched: bool, slack_s: float = 0.0
    ) -> None:
        self._watched = watched
        self._slack_s = slack_s
        self._looked_s: list[float] = []
        self._tracks: dict[tuple[str, int], list[Sighting]] = {}
        for number, frame in enumerate(sorted(frames, key=lambda one: one.at_ms)):
            at_s = frame.at_ms / 1000
            self._looked_s.append(at_s)
            for order, box in enumerate(frame.boxes):
                # Without a track each sighting stands alone: held before and after.
                key = ("t", box.track) if box.track is not None else (f"f{number}", order)
                self._tracks.setdefault(key, []).append((at_s, _upright(box.xyxy)))

    def areas(self, at_ms: float) -> list[Area] | None:
        """Return what to cover in the picture of this time; None: all of it."""
        ends_s = (at_ms / 1000 - self._slack_s, at_ms / 1000 + self._slack_s)
        if not self._watched or not all(self._was_looked_at(end_s) for end_s in ends_s):
            return None
        found = (_during(sightings, *ends_s) for sightings in self._tracks.values())
        return [_with_margin(area) for area in found if area is not None]

    def _was_looked_at(self, at_s: float) -> bool:
        after = bisect_right(self._looked_s, at_s)
        before_s = self._looked_s[after - 1] if after else None
        after_s = self._looked_s[after] if after < len(self._looked_s) else None
        if before_s is not None and after_s is not None:
            return after_s - before_s <= GAP_S
        nearest_s = before_s if before_s is not None else after_s
        return nearest_s is not None and abs(at_s - nearest_s) <= HOLD_S / 2


def _upright(area: Area) -> Area:
    """Return the area between two corners, whichever of them a model named first."""
    return _hull(area, (area[2], area[3], area[0], area[1]))


def _during(sightings: Sequence[Sighting], start_s: float, end_s: float) -> Area | None:
    """Return where one track can be at any time of a stretch; None where it is not there in it."""
    reached = [_area(sightings, start_s), _area(sightings, end_s)]
    if start_s < end_s:
        reached += [box for seen_s, box in sightings if start_s < seen_s < end_s]
        reached += [_area(sightings, (start_s + end_s) / 2)]
    areas = [area for area in reached if area is not None]
    return reduce(_hull, areas) if areas else None


def _area(sightings: Sequence[Sighting], at_s: float) -> Area | None:
    """Return where one track can be; None where it is not there any more or not yet."""
    after = bisect_right(sightings, at_s, key=lambda one: one[0])
    before, behind = (
        sightings[after - 1] if after else None,
        sightings[after] if after < len(sightings) else None,
    )
    if before is not None and behind is not None and behind[0] - before[0] <= GAP_S:
        return _hull(before[1], behind[1])
    held = [one for one in (before, behind) if one is not None and abs(one[0] - at_s) <= HOLD_S]
    areas = [_grown(box, abs(seen_s - at_s)) for seen_s, box in held]
    if not areas:
        return None
    return areas[0] if len(areas) == 1 else _hull(*areas)


def _hull(one: Area, other: Area) -> Area:
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _grown(area: Area, for_s: float) -> Area:
    """Return the area that somebody can have reached: sideways, and half as far up and down."""
    reach = SPEED_WIDTHS_PER_S * for_s * min(area[2] - area[0], area[3] - area[1])
    return area[0] - reach, area[1] - reach / 2, area[2] + reach, area[3] + reach / 2


def _with_margin(area: Area) -> Area:
    x = max(_LEAST_MARGIN_PX, _MARGIN * (area[2] - area[0]))
    y = max(_LEAST_MARGIN_PX, _MARGIN * (area[3] - area[1]))
    return area[0] - x, area[1] - y, area[2] + x, area[3] + y
