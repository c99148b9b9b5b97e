"""What tracks do: presence, lines crossed, zones entered and left, staying too long, heading.

Here: the small state per confirmed track, and the happenings that come of it. Not here: shelves
(`shelf`), evidence, messages and counting over time (`aggregates`). Pure: time comes in as seconds.

The rules:

- A track stands where its foot point is (the middle of the box's lower edge), in pixels.
- Only confirmed tracks count. A track's places before its confirmation are remembered, so that
  what it did meanwhile is told when it is confirmed, not lost.
- Only places where it was really observed count; a coasting box moves nobody.
- Jitter does not count. Each test has a dead band of `MARGIN` of the box's height: inside and
  outside change only beyond it, and a crossing is told once the foot point is clear of the line
  and, where the line wants that, the far side was kept for a while (`crossings`).
- Entering and leaving are movements that were seen. Who is born inside a zone (the first sight of
  a track) is present and occupies it, but did not enter; whose track ends inside did not leave:
  their visit ends as `lost`, with the time until last seen as its dwell, which is a lower bound.
  A visit that began by birth is told as `born`, to be counted as a visit and nothing else.
- Nobody jumps across a gap: `interrupt` forgets all places. A visit that a gap cuts short has no
  dwell, and whoever is inside after it counts as born inside.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from vedette.vision import geometry
from vedette.vision.crossings import Crosser
from vedette.vision.geometry import Point
from vedette.vision.happenings import BACKWARD, BORN, FORWARD, LOST, Happening
from vedette.vision.tracking import Tracks
from vedette.vision.visits import Heading, Loitering
from vedette.wire.messages import EventKind
from vedette.wire.signed import Line, Zone

MARGIN: Final = 0.05
"""Dead band in box heights: twice the foot point's usual jitter."""

ABSENCE_S: Final = 10.0
"""A class is absent after this long without a confirmed track; then its next one is an event."""

FORGET_S: Final = 3.0
"""A track unseen for longer is over. Longer than the tracker's patience, so that it may return."""


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
    born: bool = False
    dwell_told: bool = False
    heading: Heading | None = None


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
    loitering: dict[int, Loitering] = field(default_factory=dict)
    """By index of the zone."""
    crossers: dict[int, Crosser] = field(default_factory=dict)
    """By index of the line, while steps through it are not told yet."""


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
        present_s: Mapping[int, float] | None = None,
    ) -> None:
        """Take over what to watch.

        Args:
            zones: Polygons in fractions of width and height.
            lines: Lines in fractions of width and height.
            picture_size: Width and height in pixels.
            labels: Names by class id.
            absence_s: Seconds without a class after which its next track is a PRESENCE.
            present_s: When each class was last seen, from the camera's watch before this one.

        Raises:
            ValueError: A polygon with fewer than three corners, or a place that is no number.
        """
        width, height = picture_size

        def to_px(p: Point) -> Point:
            if not (math.isfinite(p[0]) and math.isfinite(p[1])):
                raise ValueError(f"not a place in the picture: {p}")
            return (p[0] * width, p[1] * height)

        self._labels: tuple[str, ...] = tuple(labels)
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
        self._present_s: dict[int, float] = dict(present_s or {})

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
                happenings += self._zones(walk, before)
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

    def part(self, gone: Collection[int]) -> list[Happening]:
        """End every walk of the classes in `gone` as lost; return what that tells."""
        left = [walk for walk in self._walks.values() if walk.class_id in gone]
        return [told for walk in left for told in self._lose(walk)]

    def relabel(self, labels: Sequence[str], ids: Sequence[int]) -> None:
        """Go on with classes that are numbered otherwise.

        Args:
            labels: Names by new id.
            ids: The new id of each class so far, negative where it has none; see `part`.
        """
        self._labels = tuple(labels)
        for area in self._areas:
            area.classes = self._classes(area.zone.labels)
        for wire in self._wires:
            wire.classes = self._classes(wire.line.labels)
        self._walks = {t: walk for t, walk in self._walks.items() if ids[walk.class_id] >= 0}
        for walk in self._walks.values():
            walk.class_id = ids[walk.class_id]
        self._present_s = {ids[k]: s for k, s in self._present_s.items() if ids[k] >= 0}

    @property
    def present_s(self) -> Mapping[int, float]:
        """When each class was last seen, by class id."""
        return self._present_s

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
                visit = _visit(area.zone, row.born_s, row.foot, row.height_px)
                visit.born = True
                walk.visits[index] = visit
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
                    walk.crossers.setdefault(index, Crosser(wire.line.confirm_s)).step(net)

    def _lines(self, walk: _Walk) -> list[Happening]:
        """Tell the crossings that count from now on."""
        told: list[Happening] = []
        for index, crosser in list(walk.crossers.items()):
            wire = self._wires[index]
            clear_px = geometry.distance_to_segment(wire.a, wire.b, walk.foot)
            is_clear = clear_px > MARGIN * walk.height_px
            crossed = crosser.look(walk.seen_s, walk.box, walk.confidence, is_clear=is_clear)
            if crosser.is_idle:
                del walk.crossers[index]
            if crossed is None:
                continue
            way = FORWARD if crossed.net > 0 else BACKWARD
            now = self._tell(walk, EventKind.LINE_CROSSED, where=wire.line, direction=way)
            then = replace(now, t_s=crossed.t_s, box=crossed.box, confidence=crossed.confidence)
            told += [then] * abs(crossed.net)
        return told

    def _zones(self, walk: _Walk, before: Point) -> list[Happening]:
        """Tell zones that the walk came into, left, stays in for long or moves through."""
        told: list[Happening] = []
        for index, area in enumerate(self._areas):
            if walk.class_id not in area.classes:
                continue
            visit = walk.visits.get(index)
            depth_px = geometry.signed_distance(area.polygon, walk.foot)
            margin_px = min(MARGIN * walk.height_px, 0.25 * area.thickness_px)
            if visit is None:
                if depth_px <= margin_px:
                    continue
                visit = _visit(area.zone, walk.seen_s, before, walk.height_px)
                walk.visits[index] = visit
                told.append(self._tell(walk, EventKind.ZONE_ENTERED, where=area.zone))
            elif visit.born:
                visit.born = False
                one = self._tell(walk, EventKind.ZONE_ENTERED, where=area.zone, direction=BORN)
                told.append(one)
            told += self._staying(walk, index, visit)
            if depth_px < -margin_px:
                del walk.visits[index]
                if index in walk.loitering:
                    walk.loitering[index].leave(visit.since_s, walk.seen_s)
                dwell_s = walk.seen_s - visit.since_s
                told.append(self._tell(walk, EventKind.ZONE_LEFT, where=area.zone, dwell_s=dwell_s))
        return told

    def _staying(self, walk: _Walk, index: int, visit: _Visit) -> list[Happening]:
        """Tell a stay that became longer than the zone allows, stays that add up, a direction."""
        told: list[Happening] = []
        zone = self._areas[index].zone
        dwell_s = walk.seen_s - visit.since_s
        if zone.dwell_s is not None and not visit.dwell_told and dwell_s >= zone.dwell_s:
            visit.dwell_told = True
            told.append(self._tell(walk, EventKind.DWELL, where=zone, dwell_s=dwell_s))
        if zone.loiter_s is not None:
            stays = walk.loitering.setdefault(index, Loitering(zone.loiter_s))
            total_s = stays.look(visit.since_s, walk.seen_s)
            if total_s is not None:
                told.append(self._tell(walk, EventKind.LOITER, where=zone, dwell_s=total_s))
        if visit.heading is not None:
            degrees = visit.heading.look(walk.foot, walk.height_px)
            if degrees is not None:
                way = f"{degrees:.0f}°"
                told.append(self._tell(walk, EventKind.HEADING, where=zone, direction=way))
        return told

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
            told += self._lose(walk)
        return told

    def _lose(self, walk: _Walk) -> list[Happening]:
        """Drop a walk that is over; return the end of its open visits."""
        del self._walks[walk.track]
        if not walk.confirmed:
            return []
        return [
            self._tell(
                walk,
                EventKind.ZONE_LEFT,
                where=self._areas[index].zone,
                direction=LOST,
                dwell_s=walk.seen_s - visit.since_s,
            )
            for index, visit in walk.visits.items()
        ]

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
            event=(where is None or where.events) and direction not in {LOST, BORN},
            evidence=where is not None and where.evidence and direction not in {LOST, BORN},
        )

    def _classes(self, wanted: Sequence[str]) -> frozenset[int]:
        every = range(len(self._labels))
        return frozenset(i for i in every if not wanted or self._labels[i] in wanted)

    def _label(self, class_id: int) -> str:
        return self._labels[class_id] if 0 <= class_id < len(self._labels) else str(class_id)


def _visit(zone: Zone, since_s: float, foot: Point, height_px: float) -> _Visit:
    """Return a visit that begins; the step into the zone is part of its movement."""
    heading = None
    if zone.heading_deg is not None:
        heading = Heading(zone.heading_deg, zone.heading_tolerance_deg)
        heading.look(foot, height_px)
    return _Visit(since_s=since_s, heading=heading)


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
