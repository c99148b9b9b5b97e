"""Picks from shelves: somebody reached in, and what stands there is lastingly another.

Here: one camera's shelf zones over time. Not here: how patches are compared (`shelf_picture`) and
what becomes of a happening. Pure: pictures, tracks and seconds come in.

The rules:

- Only what lasts counts: a place is compared once it was at rest, and nobody stood before it, for
  `SETTLE_S`. The picture before is from the last time it was at rest.
- Only a reach counts: a person's box over the zone, or movement across its edge. What changes
  without one (a screen, a fallen card) becomes part of the shelf and is no event.
- What reaches over the zone's edge may be somebody who stands there and was not detected. It has
  to stay for `LEAN_S`; so draw the zone a little larger than what it holds.
- A change of more than `MOST_CHANGED` of the zone is another view or a covered lens, not a pick.
- Taken or put: by what looks like a thing before and after, and by memory, since what is as it was
  before a pick has been put back. Where neither is clear the happening says only SHELF_CHANGED.
- Changes at one place between two rests are one; things that touch may be counted as one.
- While anything is not at rest, the picture before stays as it is, except where a change was told.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from vedette.vision import shelf_picture
from vedette.vision.happenings import Happening
from vedette.vision.picture import Picture
from vedette.vision.shelf_picture import Mask, Patch, Window
from vedette.vision.tracking import Tracks
from vedette.wire.messages import EventKind
from vedette.wire.signed import Zone

SETTLE_S: Final = 1.0
LEAN_S: Final = 8.0
LOOK_AGAIN_S: Final = 0.3
"""While something is not at rest, the comparison is repeated so often."""

COVER_S: Final = 1.5
"""A person's box counts for so long after it was last seen: detectors blink."""

FOLLOW_EVERY_S: Final = 1.0
FOLLOW_S: Final = 20.0
"""Time constant with which the picture before follows what is at rest and the same."""

LEAST_AREA: Final = 0.0025
"""Of the zone: smaller changes are not looked at."""

LEAST_THICKNESS_PX: Final = 4.0
"""Half the width, in the patch, of what counts: a shadow's edge is thinner."""

MOST_CHANGED: Final = 0.6
UNCLEAR: Final = 0.2
"""Below this difference between before and after it is not said which of both it was."""

REMEMBERED: Final = 16
PEOPLE: Final = ("person",)
MAX_REACHING: Final = 16

Box = tuple[float, float, float, float]


@dataclass(slots=True)
class _Reacher:
    """A track over the zone: its box in the patch's pixels, and how long it covered which place."""

    box: tuple[int, int, int, int]
    seen_s: float
    label: str
    class_id: int
    covered_s: npt.NDArray[np.float32]


@dataclass(slots=True)
class _Change:
    """What is remembered of a change, to recognise its reversal."""

    mask: Mask
    before: Patch
    kind: EventKind


@dataclass(slots=True)
class _Shelf:
    """One zone's memory; arrays have the patch's shape."""

    zone: Zone
    window: Window
    classes: frozenset[int]
    before: Patch | None = None
    before_s: float = 0.0
    last: shelf_picture.Floats | None = None
    last_s: float = 0.0
    steady: Patch | None = None
    disturbed_s: npt.NDArray[np.float32] = field(init=False)
    """When each place was last moving or covered, seconds since `zero_s`."""
    zero_s: float = 0.0
    known: Mask = field(init=False)
    reached: Mask = field(init=False)
    reach_s: float = -math.inf
    compared_s: float = -math.inf
    is_open: bool = True
    """True while something waits to be compared."""
    reachers: dict[int, _Reacher] = field(default_factory=dict)
    changes: deque[_Change] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def __post_init__(self) -> None:
        shape = self.window.inside.shape
        self.disturbed_s = np.zeros(shape, np.float32)
        self.known = np.zeros(shape, np.bool_)
        self.reached = np.zeros(shape, np.bool_)


class ShelfWatch:
    """Watches one camera's shelf zones. Thread: confined to one thread.

    Args:
        zones: All zones of the camera; those without `shelf` are passed over.
        picture_size: Width and height in pixels.
        labels: Names by class id. Who can reach: the zone's labels; without any, persons.
    """

    def __init__(
        self, zones: Sequence[Zone], picture_size: tuple[int, int], labels: Sequence[str]
    ) -> None:
        width, height = picture_size
        self._labels: tuple[str, ...] = tuple(labels)
        self._shelves = [
            _Shelf(
                zone,
                Window(tuple((x * width, y * height) for x, y in zone.polygon), picture_size),
                _reaching(zone, labels),
            )
            for zone in zones
            if zone.shelf
        ]

    def __bool__(self) -> bool:
        """True where there is a shelf to watch."""
        return bool(self._shelves)

    def update(self, picture: Picture, tracks: Tracks, t_s: float) -> list[Happening]:
        """Return the changes that are known to last since this look.

        Args:
            picture: Of the size given before; its planes are only read.
            tracks: All tracks at this moment; confirmed ones count, coasting ones too.
            t_s: Seconds; never earlier than the last one.
        """
        return [one for shelf in self._shelves for one in self._look(shelf, picture, tracks, t_s)]

    def interrupt(self) -> None:
        """Forget who is there: after a gap nobody can say who reached. The shelves stay known.

        What differs after it is absorbed without an event.
        """
        for shelf in self._shelves:
            shelf.before = shelf.last = shelf.steady = None
            shelf.known[:] = shelf.reached[:] = False
            shelf.reach_s, shelf.is_open = -math.inf, True
            shelf.reachers.clear()

    def relabel(self, labels: Sequence[str], ids: Sequence[int]) -> None:
        """Go on with classes that are numbered otherwise.

        Args:
            labels: Names by new id.
            ids: The new id of each class so far, negative where it has none.
        """
        self._labels = tuple(labels)
        for shelf in self._shelves:
            shelf.classes = _reaching(shelf.zone, labels)
            for reacher in shelf.reachers.values():
                known = reacher.class_id >= 0
                reacher.class_id = ids[reacher.class_id] if known else reacher.class_id

    # -- one look at one shelf

    def _look(self, shelf: _Shelf, picture: Picture, tracks: Tracks, t_s: float) -> list[Happening]:
        luma = shelf.window.luma(picture)
        if shelf.last is None or shelf.before is None or shelf.steady is None:
            shelf.last, shelf.before = luma, shelf.window.patch(picture, luma)
            shelf.steady = shelf.before
            shelf.before_s = shelf.last_s = shelf.zero_s = t_s
            shelf.disturbed_s[:] = 0.0
            return []
        dt_s, shelf.last_s = t_s - shelf.last_s, t_s
        moved = shelf_picture.moved(shelf.last, luma)
        shelf.last = luma
        covered = self._cover(shelf, tracks, t_s, dt_s)
        is_restless = bool(moved.any()) or covered is not None
        if not is_restless and not shelf.is_open:
            if t_s - shelf.before_s >= FOLLOW_EVERY_S:
                _follow(shelf, shelf.window.patch(picture, luma))
            return []
        self._disturb(shelf, shelf.window.patch(picture, luma), moved, covered, t_s)
        if t_s - shelf.compared_s < LOOK_AGAIN_S:
            return []
        shelf.compared_s = t_s
        return self._compare(shelf, t_s)

    def _cover(self, shelf: _Shelf, tracks: Tracks, t_s: float, dt_s: float) -> Mask | None:
        """Return where people are before the zone; None where nobody is."""
        window = shelf.window
        for row in range(len(tracks)):
            if not tracks.confirmed[row] or int(tracks.class_id[row]) not in shelf.classes:
                continue
            track = int(tracks.track_id[row])
            box = _in_patch(window, tracks.boxes_xyxy[row])
            known = shelf.reachers.get(track)
            if known is not None:
                known.box, known.seen_s = box, t_s
            elif _any(window.inside, box) and len(shelf.reachers) < MAX_REACHING:
                class_id = int(tracks.class_id[row])
                nothing = np.zeros(window.inside.shape, np.float32)
                label = self._labels[class_id]
                shelf.reachers[track] = _Reacher(box, t_s, label, class_id, nothing)
        covered: Mask | None = None
        for one in shelf.reachers.values():
            x0, y0, x1, y1 = one.box
            if t_s - one.seen_s > COVER_S or not _any(window.inside, one.box):
                continue
            if covered is None:
                covered = np.zeros_like(window.inside)
            covered[y0:y1, x0:x1] = True
            one.covered_s[y0:y1, x0:x1] += dt_s
            shelf.reach_s = t_s
        return covered

    def _disturb(
        self, shelf: _Shelf, now: Patch, moved: Mask, covered: Mask | None, t_s: float
    ) -> None:
        """Note what is not at rest and whether somebody reached in."""
        shelf.is_open = True
        blobs = cv2.dilate(moved.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.bool_)
        if np.count_nonzero(moved & shelf.window.border) >= 8 and np.any(
            blobs & shelf.window.inside & ~shelf.window.border
        ):
            shelf.reach_s = t_s
        restless = blobs if covered is None else blobs | covered
        shelf.disturbed_s[restless] = t_s - shelf.zero_s
        if t_s - shelf.reach_s <= SETTLE_S:
            shelf.reached |= restless
        assert shelf.steady is not None
        shelf.steady = shelf.steady.mixed(now, ~restless, 0.4).mixed(now, restless, 1.0)

    def _compare(self, shelf: _Shelf, t_s: float) -> list[Happening]:
        """Compare before and now; tell what lasts, absorb what does not count."""
        assert shelf.before is not None
        assert shelf.steady is not None
        rested_s = (t_s - shelf.zero_s) - shelf.disturbed_s
        rested = rested_s >= SETTLE_S
        inside = shelf.window.inside
        mask = shelf_picture.differs(shelf.before, shelf.steady, inside) & shelf.known
        count, names, stats, _ = cv2.connectedComponentsWithStats(shelf_picture.solid(mask))
        told: list[Happening] = []
        waits, done = np.zeros_like(inside), ~shelf.known & rested
        for name in range(1, count):
            part = names == name
            verdict = self._judge(shelf, part, rested_s, int(stats[name, cv2.CC_STAT_AREA]))
            if verdict == "wait":
                waits |= part
            elif verdict == "tell":
                told.append(self._tell(shelf, part, t_s))
                done |= part
        shelf.known |= rested
        shelf.is_open = bool(waits.any()) or not bool(rested.all())
        if shelf.is_open:
            shelf.before = shelf.before.patched(shelf.steady, done, shelf.known & ~mask)
        else:
            # Only now: what was taken over piece by piece would show the seams of changing light.
            shelf.before, shelf.before_s = shelf.steady, t_s
            shelf.reached[:] = False
            shelf.reachers.clear()
        return told

    def _judge(
        self, shelf: _Shelf, part: Mask, rested_s: npt.NDArray[np.float32], area: int
    ) -> str:
        """Return `wait`, `tell`, or `absorb` for one part that differs."""
        inside = shelf.window.inside
        zone_area = int(np.count_nonzero(inside))
        within = int(np.count_nonzero(part & inside))
        leans = area - within > 0.15 * area or bool(np.any(part & _frame(inside)))
        least_s = LEAN_S if leans else SETTLE_S
        if float(np.count_nonzero(part & (rested_s < least_s))) > 0.03 * area:
            return "wait"
        depth = cv2.distanceTransform(np.pad(part, 1).astype(np.uint8), cv2.DIST_L2, 3)
        is_thing = (
            within >= LEAST_AREA * zone_area
            and within >= 0.5 * area
            and within <= MOST_CHANGED * zone_area
            and float(depth.max()) >= LEAST_THICKNESS_PX
        )
        was_reached = np.count_nonzero(part & shelf.reached) >= 0.2 * area
        return "tell" if is_thing and was_reached else "absorb"

    def _tell(self, shelf: _Shelf, part: Mask, t_s: float) -> Happening:
        """Return the change, and remember it."""
        assert shelf.before is not None
        assert shelf.steady is not None
        kind = _kind(shelf, part)
        shelf.changes.append(_Change(part, shelf.before, kind))
        track, who = _reacher(shelf, part)
        return Happening(
            kind=kind,
            where=shelf.zone.name,
            class_id=who.class_id if who else -1,
            label=who.label if who else "",
            track=track,
            t_s=min(shelf.zero_s + float(shelf.disturbed_s[part].max()), t_s),
            box=_box(shelf.window, part),
            event=shelf.zone.events,
            evidence=shelf.zone.evidence,
            compared_s=(shelf.before_s, t_s),
        )


def _reaching(zone: Zone, labels: Sequence[str]) -> frozenset[int]:
    """Return the classes that can reach into a shelf."""
    return frozenset(i for i, one in enumerate(labels) if one in (zone.labels or PEOPLE))


def _reacher(shelf: _Shelf, part: Mask) -> tuple[int | None, _Reacher | None]:
    """Return the track that was longest before a part, None where nobody was."""
    times_s = {track: float(r.covered_s[part].mean()) for track, r in shelf.reachers.items()}
    track = max(times_s, key=times_s.__getitem__, default=None)
    if track is None or times_s[track] <= 0.0:
        return None, None
    return track, shelf.reachers[track]


def _follow(shelf: _Shelf, now: Patch) -> None:
    """Let the picture before follow the light while nothing happens."""
    assert shelf.before is not None
    weight = -math.expm1(-(shelf.last_s - shelf.before_s) / FOLLOW_S)
    shelf.before = shelf.before.mixed(now, shelf.known, weight)
    shelf.steady, shelf.before_s = now, shelf.last_s


_OPPOSITE: Final = {EventKind.PICKED: EventKind.PLACED, EventKind.PLACED: EventKind.PICKED}


def _kind(shelf: _Shelf, part: Mask) -> EventKind:
    """Return what happened to a part: PICKED, PLACED, or SHELF_CHANGED where that is not clear."""
    assert shelf.before is not None
    assert shelf.steady is not None
    for change in reversed(shelf.changes):
        shared = int(np.count_nonzero(change.mask & part))
        if shared < 0.5 * np.count_nonzero(change.mask | part):
            continue
        again = shelf_picture.differs(change.before, shelf.steady, shelf.window.inside)
        if np.count_nonzero(again & part) < 0.25 * np.count_nonzero(part):
            opposite = _OPPOSITE.get(change.kind)
            if opposite is not None:
                return opposite
        break
    score = shelf_picture.thing_shown(shelf.before, shelf.steady, part)
    if abs(score) < UNCLEAR:
        return EventKind.SHELF_CHANGED
    return EventKind.PICKED if score > 0 else EventKind.PLACED


def _in_patch(window: Window, box: npt.NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Return a box, with a little around it, in whole pixels of the patch."""
    x0, y0 = window.to_patch((float(box[0]), float(box[1])))
    x1, y1 = window.to_patch((float(box[2]), float(box[3])))
    wide, high = window.size
    grow = 0.08 * (x1 - x0)
    return (
        min(max(0, math.floor(x0 - grow)), wide),
        min(max(0, math.floor(y0 - grow)), high),
        min(max(0, math.ceil(x1 + grow)), wide),
        min(max(0, math.ceil(y1 + grow)), high),
    )


def _any(inside: Mask, box: tuple[int, int, int, int]) -> bool:
    x0, y0, x1, y1 = box
    return bool(inside[y0:y1, x0:x1].any())


def _frame(inside: Mask) -> Mask:
    """Return the patch's outermost pixels."""
    frame = np.zeros_like(inside)
    frame[0] = frame[-1] = True
    frame[:, 0] = frame[:, -1] = True
    return frame


def _box(window: Window, part: Mask) -> Box:
    """Return the box around a part, xyxy in pixels of the picture."""
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    x0, y0 = window.to_picture(float(columns[0]), float(rows[0]))
    x1, y1 = window.to_picture(float(columns[-1] + 1), float(rows[-1] + 1))
    return (x0, y0, x1, y1)
