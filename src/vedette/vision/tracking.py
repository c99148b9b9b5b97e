"""Who is who over time: detections become tracks.

Here: birth, confirmation, continuation, loss and death of tracks, per class. Not here: motion
(`kalman`), how well a box fits a track (`affinity`), the matching (`assignment`) and what tracks
mean (`zones`, `aggregates`).

The rule: every duration is in seconds and the real time step is used, because frames are dropped,
gated and slowed down on purpose. All tracks live in arrays; none is an object.

Association is by likelihood (`affinity`) in ByteTrack's order: sure detections first, then the
unsure ones, but only for tracks seen at the last look, so that a half-hidden person keeps the track
and a ghost never starts one.

Source: Y. Zhang et al., "ByteTrack", ECCV 2022. Decision 0014 tells what else was tried.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from vedette.vision import geometry
from vedette.vision.affinity import pairs
from vedette.vision.assignment import assign_edges
from vedette.vision.detections import Detections
from vedette.vision.kalman import BoxMotion

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """How sure and how patient a tracker is.

    Attributes:
        high_confidence: A detection at or above this may start a track, unless the tracker is
            given each class's own.
        low_confidence: One below this is ignored; between the two it may only continue a track.
        confirm_evidence: A track is confirmed when its confidences add up to this, in at least
            two detections: two sure ones, or three of 0.5.
        lost_s: A track unseen for longer is over.
        tentative_s: The same while it is not confirmed.
        coast_s: A confirmed track unseen for at most this long is still reported, at its
            predicted place and with `observed` False.
        bridge_s: Tracks are never continued over a gap between two looks longer than this.
        walk_s: Nobody's way is followed over a longer step: then a track goes on with a box about
            where it stood. Doubt that grew with time would let nobody be known again, and a
            camera looked at every few seconds would count none of those who stand in its view.
        strangers: How densely boxes that belong to no track lie about, per square of a box's
            size and per unit of the logarithms of width and height: a track continues with a box
            only where the track explains it better than this does.
        duplicate_overlap: A detection that overlaps a continued track of its class by more than
            this starts no track of its own.
    """

    high_confidence: float = 0.4
    low_confidence: float = 0.1
    confirm_evidence: float = 1.2
    lost_s: float = 2.0
    tentative_s: float = 0.3
    coast_s: float = 0.5
    bridge_s: float = 10.0
    walk_s: float = 2.5
    strangers: float = 0.01
    duplicate_overlap: float = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """n tracks at one moment, in no promised order.

    Attributes:
        track_id: int64, (n,), from 1; never used twice by one tracker.
        boxes_xyxy: float32, (n, 4), picture pixels; may reach over the picture's edge.
        class_id: int32, (n,).
        confidence: float32, (n,): of the last detection.
        confirmed: bool, (n,).
        born_t_s: float64, (n,): when first seen.
        seen_t_s: float64, (n,): when last seen.
        observed: bool, (n,): seen at this very moment; False where the box is a prediction.
    """

    track_id: npt.NDArray[np.int64]
    boxes_xyxy: npt.NDArray[np.float32]
    class_id: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    confirmed: Mask
    born_t_s: Floats
    seen_t_s: Floats
    observed: Mask

    def __len__(self) -> int:
        return len(self.track_id)

    def where(self, which: Mask | Rows) -> "Tracks":
        """Return those that a boolean mask (n,) or an index array selects."""
        return Tracks(*(getattr(self, field.name)[which] for field in fields(self)))

    @classmethod
    def empty(cls) -> "Tracks":
        """Return no tracks."""
        return _Book.empty().tracks(np.zeros((0, 4)))


@dataclass(slots=True)
class _Book:
    """What is known of each live track besides its motion; one row each, in the same order.

    `missed` counts the looks since it was last seen: 0 while it is.
    """

    track_id: npt.NDArray[np.int64]
    class_id: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    confirmed: Mask
    evidence: Floats
    hits: npt.NDArray[np.int64]
    missed: npt.NDArray[np.int64]
    born_t_s: Floats
    seen_t_s: Floats

    @classmethod
    def empty(cls) -> "_Book":
        return cls(
            np.zeros(0, np.int64),
            np.zeros(0, np.int32),
            np.zeros(0, np.float32),
            np.zeros(0, np.bool_),
            np.zeros(0),
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
            np.zeros(0),
            np.zeros(0),
        )

    @classmethod
    def born(cls, first_id: int, detections: Detections, t_s: float) -> "_Book":
        n = len(detections)
        return cls(
            np.arange(first_id, first_id + n, dtype=np.int64),
            detections.class_id.copy(),
            detections.confidence.copy(),
            np.zeros(n, np.bool_),
            detections.confidence.astype(np.float64),
            np.ones(n, np.int64),
            np.zeros(n, np.int64),
            np.full(n, t_s),
            np.full(n, t_s),
        )

    def take(self, which: Mask) -> "_Book":
        return _Book(*(getattr(self, field.name)[which] for field in fields(self)))

    def joined(self, other: "_Book") -> "_Book":
        return _Book(
            *(
                np.concatenate((getattr(self, field.name), getattr(other, field.name)))
                for field in fields(self)
            )
        )

    def tracks(self, boxes_xyxy: Floats) -> Tracks:
        return Tracks(
            track_id=self.track_id.copy(),
            boxes_xyxy=boxes_xyxy.astype(np.float32),
            class_id=self.class_id.copy(),
            confidence=self.confidence.copy(),
            confirmed=self.confirmed.copy(),
            born_t_s=self.born_t_s.copy(),
            seen_t_s=self.seen_t_s.copy(),
            observed=self.missed == 0,
        )


class Tracker:
    """Follows the objects of one camera. Thread: confined to one thread."""

    def __init__(
        self,
        settings: TrackerSettings | None = None,
        *,
        high_by_class: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Begin with nobody.

        Args:
            settings: Where None, the usual ones.
            high_by_class: float32, (k,), 0 to 1: `high_confidence` of each class by its id.
        """
        self.settings = settings or TrackerSettings()
        self._high_by_class = high_by_class
        self._motion = BoxMotion.empty()
        self._book = _Book.empty()
        self._next_id = 1
        self._t_s: float | None = None
        self._last_t_s = 0.0

    def update(self, detections: Detections, t_s: float) -> Tracks:
        """Return the tracks after one look at the scene.

        Boxes that are not finite or have no area are ignored, whatever came before. Time that
        stands still or runs backwards counts as no time passed.

        Args:
            detections: What was found, of all classes.
            t_s: When the picture was taken, seconds on any clock that only moves forward.
        """
        self._step(t_s)
        found = detections.where(_usable(detections, self.settings.low_confidence))
        boxes = found.boxes_xyxy.astype(np.float64)
        taken = self._associate(found, boxes)
        self._start(found, boxes, taken)
        return self._report()

    def still(self, t_s: float) -> Tracks:
        """Return the tracks after a look that showed no change since the last one.

        For a motion gate: whoever was seen at the last look stands where they stood. Without
        this a person who stops moving would be lost while the gate is closed.
        """
        last_t_s = self._t_s
        if last_t_s is None:
            return self._report()
        now_s = _later(last_t_s, t_s)
        self._book.seen_t_s[self._book.missed == 0] = now_s
        self._motion.halt()
        self._t_s = now_s
        self._keep(self._patient(now_s))
        return self._report()

    def interrupt(self) -> None:
        """Forget every track: after a gap nobody can say who is who. Ids go on counting."""
        self._motion, self._book = BoxMotion.empty(), _Book.empty()
        self._t_s = None

    def relabel(
        self,
        ids: npt.NDArray[np.int32],
        *,
        settings: TrackerSettings | None = None,
        high_by_class: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Go on with detections whose classes are numbered otherwise, as of another detector.

        Args:
            ids: int32, (k,): the new id of each class so far; negative: it is no more, and its
                tracks end.
            settings: From now on, where they are others.
            high_by_class: float32, (m,): as at the beginning, by the new ids.
        """
        self._book.class_id = ids[self._book.class_id].astype(np.int32)
        self._keep(self._book.class_id >= 0)
        self.settings = settings or self.settings
        self._high_by_class = high_by_class

    def _step(self, t_s: float) -> None:
        """Move everything to `t_s` and bury what cannot be continued."""
        if self._t_s is None:
            self._t_s = t_s if math.isfinite(t_s) else 0.0
            return
        now_s = _later(self._t_s, t_s)
        dt_s = now_s - self._t_s
        self._last_t_s = self._t_s
        if dt_s > self.settings.bridge_s:
            self.interrupt()
        else:
            # Who was seen at the last look gets this chance even where one step outlasts
            # the patience, as it does at one look every few seconds.
            self._keep(self._patient(now_s) | (self._book.missed == 0))
            self._motion.predict(min(dt_s, self.settings.walk_s))
        self._book.missed += 1
        self._t_s = now_s

    def _patient(self, now_s: float) -> Mask:
        """Return who is not unseen for too long, (n,)."""
        s, book = self.settings, self._book
        limit_s = np.where(book.confirmed, s.lost_s, s.tentative_s)
        return now_s - book.seen_t_s <= limit_s

    def _keep(self, which: Mask) -> None:
        if not which.all():
            self._motion, self._book = self._motion.take(which), self._book.take(which)

    def _associate(self, found: Detections, boxes: Floats) -> Mask:
        """Continue tracks with what was found; return which detections were used, (m,).

        1. confirmed tracks with sure detections; 2. confirmed tracks that were seen at the last
        look with unsure ones; 3. tentative tracks with the sure detections that are left.
        """
        free = np.ones(len(self._motion), np.bool_)
        taken = np.zeros(len(found), np.bool_)
        if not len(free) or not len(taken):
            return taken
        centres = geometry.to_centre(boxes)
        handicap = (self._last_t_s - self._book.seen_t_s) / self.settings.lost_s
        rows, columns, weights = pairs(
            self._motion, centres, strangers=self.settings.strangers, handicap=handicap
        )
        alike = self._book.class_id[rows] == found.class_id[columns]
        rows, columns, weights = rows[alike], columns[alike], weights[alike]
        sure = self._sure(found)[columns]
        confirmed, fresh = self._book.confirmed[rows], self._book.missed[rows] == 1
        for stage in (confirmed & sure, confirmed & fresh & ~sure, ~confirmed & sure):
            edges = np.flatnonzero(stage & free[rows] & ~taken[columns])
            if len(edges):
                edges = edges[assign_edges(rows[edges], columns[edges], weights[edges])]
                r, c = rows[edges], columns[edges]
                free[r], taken[c] = False, True
                self._continue(r, found.where(c), centres[c])
        return taken

    def _sure(self, found: Detections) -> Mask:
        """Return which detections are sure enough to start a track, (m,)."""
        if self._high_by_class is None:
            return found.confidence >= self.settings.high_confidence
        return found.confidence >= self._high_by_class[found.class_id]

    def _continue(self, rows: Rows, found: Detections, centres: Floats) -> None:
        book = self._book
        self._motion.correct(rows, centres, found.confidence.astype(np.float64))
        book.confidence[rows] = found.confidence
        book.evidence[rows] += found.confidence
        book.hits[rows] += 1
        book.missed[rows] = 0
        book.seen_t_s[rows] = self._t_s
        enough = book.evidence[rows] >= self.settings.confirm_evidence
        book.confirmed[rows] |= enough & (book.hits[rows] >= 2)

    def _start(self, found: Detections, boxes: Floats, taken: Mask) -> None:
        """Begin a track for each sure detection that is left and is nobody's double."""
        begins = ~taken & self._sure(found)
        if taken.any() and begins.any():
            same_class = found.class_id[:, None] == found.class_id[None, taken]
            overlap = geometry.box_overlap(boxes, boxes[taken]) * same_class
            begins &= overlap.max(axis=1) <= self.settings.duplicate_overlap
        if not begins.any():
            return
        new = found.where(begins)
        centre = geometry.to_centre(boxes[begins])
        self._motion = self._motion.joined(BoxMotion.at(centre, new.confidence.astype(np.float64)))
        self._book = self._book.joined(_Book.born(self._next_id, new, self._t_s or 0.0))
        self._next_id += len(new)

    def _report(self) -> Tracks:
        """Return who is seen, and who is confirmed and was seen a moment ago."""
        now_s = self._t_s or 0.0
        book = self._book
        unseen_s = now_s - book.seen_t_s
        shown = (book.missed == 0) | (book.confirmed & (unseen_s <= self.settings.coast_s))
        boxes = geometry.to_corners(self._motion.position[shown])
        return book.take(shown).tracks(boxes)


def _usable(detections: Detections, low_confidence: float) -> Mask:
    """Return which boxes are finite, have an area and are not below the least confidence."""
    boxes = detections.boxes_xyxy
    finite = (np.abs(boxes) < 1e6).all(axis=1)  # NaN compares as False
    solid = (boxes[:, 2] - boxes[:, 0] > 0.0) & (boxes[:, 3] - boxes[:, 1] > 0.0)
    return finite & solid & (detections.confidence >= low_confidence)


def _later(last_s: float, t_s: float) -> float:
    """Return `t_s`, or `last_s` where time stood still, ran backwards or is no number."""
    return t_s if math.isfinite(t_s) and t_s > last_s else last_s
