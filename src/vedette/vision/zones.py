"""What tracks do: presence, lines crossed, zones entered and left, staying too long.

Here: the small state per confirmed track, and the happenings that come of it. Not here: evidence,
messages and counting over time (`aggregates`). Pure: time comes in as seconds.

The rules:

- A track stands where its foot point is (the middle of the box's lower edge), in pixels.
- Only confirmed tracks count. A track's places before its confirmation are remembered, so that
  what it did meanwhile is told when it is confirmed, not lost.
- Only places where it was really observed count; a coasting box moves nobody.
- Jitter does not count. Each test has a dead band of `MARGIN` of the box's height: inside and
  outside change only beyond it, and a crossing is told once the foot point is clear of the line.
- Entering and leaving are movements that were seen. Who is born inside a zone (the first sight of
  a track) is present and occupies it, but did not enter; whose track ends inside did not leave:
  their visit ends as `lost`, with the time until last seen as its dwell, which is a lower bound.
- Nobody jumps across a gap: `interrupt` forgets all places. A visit that a gap cuts short has no
  dwell, and whoever is inside after it counts as born inside.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from vedette.vision import geometry
from vedette.vision.geometry import Point
from vedette.vision.tracking import Tracks
from vedette.wire.messages import EventKind
from vedette.wire.signed import Line, Zone

MARGIN: Final = 0.05
"""Dead band in box heights: twice the foot point's usual jitter."""

ABSENCE_S: Final = 10.0
"""A class is absent after this long without a confirmed track; then its next one is an event."""

FORGET_S: Final = 3.0
"""A track unseen for longer is over. Longer than the tracker's patience, so that it may return."""

FORWARD: Final = "forward"
BACKWARD: Final = "backward"
LOST: Final = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that one track did.

    Attributes:
        kind: PRESENCE, LINE_CROSSED, ZONE_ENTERED, ZONE_LEFT or DWELL.
        where: Zone or line; empty for presence.
        direction: `forward` (from the left of A→B to its right) or `backward` for lines; `lost`
            for a ZONE_LEFT that nobody saw; otherwise empty.
        label: The class's name.
        t_s: When; for `lost` the time last seen.
        dwell_s: Seconds inside so far, for ZONE_LEFT and DWELL.
        box: xyxy in pixels when it happened.
        event: True where it is worth an event of its own; the zone or line says so. False: it is
            only counted. Always False for `lost`.
        evidence: True where the zone or line asks for a clip.
    """

    kind: EventKind
    where: str = ""
    direction: str = ""
    class_id: int
    label: str
    track: int
    t_s: float
    dwell_s: float | None = None
    box: tuple[float, float, float, float]
    confidence: float = 0.0
    event: bool = True
    evidence: bool = False


@dataclass(slots=True)
class _Area:
    zone: Zone
    polygon: tuple[Point, ...]
    thickness_px: float
    classes: frozenset[int]


@dataclass(slots=True)
class _Wire:
    line: Line
    a: Point
    b: Point
    classes: frozenset[int]


@dataclass(slots=True)
class _Visit:
    since_s: float
    dwell_told: bool = False


@dataclass(slots=True)
class _Walk:
    """What is remembered of one track."""

    track: int
    class_id: int
    foot: Point
    height_px: float
    box: tuple[float, float, float, float]
    confidence: float
    seen_s: float
    confirmed: bool = False
    visits: dict[int, _Visit] = field(default_factory=dict)
    """By index of the zone."""
    nets: dict[int, int] = field(default_factory=dict)
    """By index of the line: steps through it that are not told yet, forward minus backward."""


class ZoneWatch:
    """Watches one camera's zones and lines. Thread: confined to one thread."""

    def __init__(
        self,
        zones: Sequence[Zone],
        lines: Sequence[Line],
        picture_size: tuple[int, int],
        labels: Sequence[str],
        *,
        absence_s: float = ABSENCE_S,
    ) -> None:
        """Take over what to watch.

        Args:
            zones: Polygons in fractions of width and height.
            lines: Lines in fractions of width and height.
            picture_size: Width and height in pixels.
            labels: Names by class id.
            absence_s: Seconds without a class after which its next track is a PRESENCE.

        Raises:
            ValueError: A polygon with fewer than three corners, or a place that is no number.
        """
        width, height = picture_size

        def to_px(p: Point) -> Point:
            if not (math.isfinite(p[0]) and math.isfinite(p[1])):
                raise ValueError(f"not a place in the picture: {p}")
            return (p[0] * width, p[1] * height)

        self._labels = tuple(labels)
        self._absence_s = absence_s
        self._areas: list[_Area] = []
        for zone in zones:
            if len(zone.polygon) < 3:
                raise ValueError(f"zone {zone.name!r} needs at least three corners")
            polygon = tuple(to_px(p) for p in zone.polygon)
            self._areas.append(
                _Area(zone, polygon, geometry.thickness(polygon), self._classes(zone.labels))
            )
        self._wires = [
            _Wire(line, to_px(line.a), to_px(line.b), self._classes(line.labels)) for line in lines
        ]
        self._walks: dict[int, _Walk] = {}
        self._present_s: dict[int, float] = {}

    def update(self, tracks: Tracks, t_s: float) -> list[Happening]:
        """Return what happened since the last look, in no promised order within it.

        Args:
            tracks: All tracks at this moment, confirmed or not, as `Tracker` reports them.
            t_s: The same time that the tracker was given; never earlier than the last one.
        """
        happenings: list[Happening] = []
        for row in _rows(tracks):
            walk = self._walks.get(row.track)
            if walk is None:
                walk = self._begin(row)
            before = walk.foot
            walk.foot, walk.box, walk.height_px = row.foot, row.box, row.height_px
            walk.confidence, walk.seen_s = row.confidence, t_s
            walk.confirmed |= row.confirmed
            self._step(walk, before)
            if walk.confirmed:
                happenings += self._presence(walk)
                happenings += self._lines(walk)
                happenings += self._zones(walk)
        happenings += self._forget(t_s)
        return happenings

    def interrupt(self, t_s: float) -> None:
        """Forget all places: after a gap nobody can say who came from where.

        Who was present before stays so for `absence_s`, so that a short gap is no new arrival.
        """
        self._walks.clear()
        self._present_s = {
            class_id: seen_s
            for class_id, seen_s in self._present_s.items()
            if t_s - seen_s < self._absence_s
        }

    def occupancy(self) -> Counter[tuple[str, str]]:
        """Return how many confirmed tracks are inside now, by zone and label."""
        return Counter(
            (self._areas[index].zone.name, self._label(walk.class_id))
            for walk in self._walks.values()
            if walk.confirmed
            for index in walk.visits
        )

    def _begin(self, row: "_Row") -> _Walk:
        walk = _Walk(
            track=row.track,
            class_id=row.class_id,
            foot=row.foot,
            height_px=row.height_px,
            box=row.box,
            confidence=row.confidence,
            seen_s=row.born_s,
        )
        for index, area in enumerate(self._areas):
            if row.class_id in area.classes and geometry.is_inside(area.polygon, row.foot):
                walk.visits[index] = _Visit(since_s=row.born_s)
        self._walks[row.track] = walk
        return walk

    def _step(self, walk: _Walk, before: Point) -> None:
        """Add up the steps through each line; they are told when the walk is clear of it."""
        if before == walk.foot:
            return
        for index, wire in enumerate(self._wires):
            if walk.class_id in wire.classes:
                net = geometry.crossing(wire.a, wire.b, before, walk.foot)
                if net:
                    walk.nets[index] = walk.nets.get(index, 0) + net

    def _lines(self, walk: _Walk) -> list[Happening]:
        """Tell the crossings of lines that the walk is clear of.

        ::

              · · ·  margin          Steps through the line add up as +1 and -1, so jitter on it
            A ───────────▶ B         comes to nothing or to one. The sum is told once the foot
              · · ·  margin          point is further than the margin from the segment.
        """
        told: list[Happening] = []
        for index, net in list(walk.nets.items()):
            wire = self._wires[index]
            clear_px = geometry.distance_to_segment(wire.a, wire.b, walk.foot)
            if net and clear_px <= MARGIN * walk.height_px:
                continue
            del walk.nets[index]
            told += [
                self._tell(
                    walk,
                    EventKind.LINE_CROSSED,
                    where=wire.line,
                    direction=FORWARD if net > 0 else BACKWARD,
                )
            ] * abs(net)
        return told

    def _zones(self, walk: _Walk) -> list[Happening]:
        """Tell zones that the walk came into, left or stays in for long."""
        told: list[Happening] = []
        for index, area in enumerate(self._areas):
            if walk.class_id not in area.classes:
                continue
            visit = walk.visits.get(index)
            depth_px = geometry.signed_distance(area.polygon, walk.foot)
            margin_px = min(MARGIN * walk.height_px, 0.25 * area.thickness_px)
            if visit is None and depth_px > margin_px:
                walk.visits[index] = visit = _Visit(since_s=walk.seen_s)
                told.append(self._tell(walk, EventKind.ZONE_ENTERED, where=area.zone))
            elif visit is not None and depth_px < -margin_px:
                dwell_s = walk.seen_s - visit.since_s
                del walk.visits[index]
                told += self._dwell(walk, area, visit)
                told.append(self._tell(walk, EventKind.ZONE_LEFT, where=area.zone, dwell_s=dwell_s))
                continue
            if visit is not None:
                told += self._dwell(walk, area, visit)
        return told

    def _dwell(self, walk: _Walk, area: _Area, visit: _Visit) -> list[Happening]:
        """Tell a stay that became longer than the zone allows, once per visit."""
        limit_s, dwell_s = area.zone.dwell_s, walk.seen_s - visit.since_s
        if limit_s is None or visit.dwell_told or dwell_s < limit_s:
            return []
        visit.dwell_told = True
        return [self._tell(walk, EventKind.DWELL, where=area.zone, dwell_s=dwell_s)]

    def _presence(self, walk: _Walk) -> list[Happening]:
        """Tell the first confirmed track of a class after its absence."""
        last_s = self._present_s.get(walk.class_id)
        self._present_s[walk.class_id] = walk.seen_s
        if last_s is not None and walk.seen_s - last_s < self._absence_s:
            return []
        return [self._tell(walk, EventKind.PRESENCE)]

    def _forget(self, t_s: float) -> list[Happening]:
        """Drop tracks that are over; a visit that was open ends when its track was last seen."""
        told: list[Happening] = []
        for walk in [w for w in self._walks.values() if t_s - w.seen_s > FORGET_S]:
            del self._walks[walk.track]
            if not walk.confirmed:
                continue
            for index, visit in walk.visits.items():
                told.append(
                    self._tell(
                        walk,
                        EventKind.ZONE_LEFT,
                        where=self._areas[index].zone,
                        direction=LOST,
                        dwell_s=walk.seen_s - visit.since_s,
                    )
                )
        return told

    def _tell(
        self,
        walk: _Walk,
        kind: EventKind,
        *,
        where: Zone | Line | None = None,
        direction: str = "",
        dwell_s: float | None = None,
    ) -> Happening:
        return Happening(
            kind=kind,
            where=where.name if where else "",
            direction=direction,
            class_id=walk.class_id,
            label=self._label(walk.class_id),
            track=walk.track,
            t_s=walk.seen_s,
            dwell_s=dwell_s,
            box=walk.box,
            confidence=walk.confidence,
            event=(where is None or where.events) and direction != LOST,
            evidence=where is not None and where.evidence and direction != LOST,
        )

    def _classes(self, wanted: Sequence[str]) -> frozenset[int]:
        every = range(len(self._labels))
        return frozenset(i for i in every if not wanted or self._labels[i] in wanted)

    def _label(self, class_id: int) -> str:
        return self._labels[class_id] if 0 <= class_id < len(self._labels) else str(class_id)


@dataclass(slots=True)
class _Row:
    track: int
    class_id: int
    foot: Point
    height_px: float
    box: tuple[float, float, float, float]
    confidence: float
    confirmed: bool
    born_s: float


def _rows(tracks: Tracks) -> list[_Row]:
    """Return the observed tracks one by one, as plain numbers."""
    seen = tracks.where(tracks.observed)
    feet = geometry.foot_points(seen.boxes_xyxy).tolist()
    boxes = seen.boxes_xyxy.tolist()
    return [
        _Row(
            track=int(seen.track_id[i]),
            class_id=int(seen.class_id[i]),
            foot=(feet[i][0], feet[i][1]),
            height_px=boxes[i][3] - boxes[i][1],
            box=(boxes[i][0], boxes[i][1], boxes[i][2], boxes[i][3]),
            confidence=float(seen.confidence[i]),
            confirmed=bool(seen.confirmed[i]),
            born_s=float(seen.born_t_s[i]),
        )
        for i in range(len(seen))
    ]
