"""What is made of detections: tracks, happenings, events and the slow path's sums.

One camera, in order of time. The fast path (tracks, zones, events) comes first and returns; the
slow path (heatmap, presence, occupancy, sketches) only adds up, and is shed under load.

Thread: called under the lane's lock.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np

from vedette.clock import NS_PER_MS, Clock, wall_ms
from vedette.edge.frame import Frame
from vedette.edge.patience import patience_s
from vedette.edge.scenes import SceneWatch
from vedette.edge.serving import GONE, Reading
from vedette.edge.settings import Camera
from vedette.edge.shedding import Shedding
from vedette.ids import new_id
from vedette.inference.model import Result
from vedette.stats.fitting import fit
from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.vision.aggregates import HOLD_S, Aggregator
from vedette.vision.detections import Detections
from vedette.vision.happenings import Happening
from vedette.vision.shelf import ShelfWatch
from vedette.vision.stillness import StillWatch
from vedette.vision.tracking import Tracker, TrackerSettings, Tracks
from vedette.vision.zones import ABSENCE_S, ZoneWatch
from vedette.wire.messages import (
    Aggregate,
    Box,
    EventKind,
    EventReport,
    Frames,
    Histogram,
    Span,
)

MAX_BOXES: Final = 32
MAX_SEEN: Final = 256
"""Boxes that are kept of one picture for clips; of more the whole picture is."""

CHANGED: Final = "changed"
"""Label of the box around what is another on a shelf."""

WantEvidence = Callable[[Frame, Happening, EventReport], EventReport]
"""Asks for a clip; returns the event with the evidence id that it was given, if any."""


class Analysis:
    """One camera's tracker, zones and sums.

    Args:
        camera: Its settings.
        reading: How it reads its model's answers, at first.
        clock: For the latency of events.
        want_evidence: Asks for a clip.
        quality: Gives the distributions of picture quality since the last cut.
        note_boxes: Told where everybody is in each frame that was looked at, for evidence.
        budget_ms: Oldest that a picture may get, by which lateness is judged; None where pictures
            cannot be late.
        note_reading: Told how answers are read from now on, and since when (`Frame.t_s`).
    """

    def __init__(
        self,
        camera: Camera,
        reading: Reading,
        *,
        clock: Clock,
        want_evidence: WantEvidence,
        quality: Callable[[], dict[str, LinearBins]] = dict,
        budget_ms: float | None = None,
        note_boxes: Callable[[Frame, list[Box]], None] = lambda _frame, _boxes: None,
        note_reading: Callable[[Reading, float], None] = lambda _reading, _t_s: None,
    ) -> None:
        self._camera = camera
        self.reading = reading
        self._clock = clock
        self._want_evidence = want_evidence
        self._quality = quality
        self._note_boxes = note_boxes
        self._note_reading = note_reading
        patience = TrackerSettings(low_confidence=reading.ask_threshold)
        patience = replace(patience, bridge_s=patience_s(camera, patience.bridge_s))
        self._tracker = Tracker(patience, high_by_class=reading.thresholds)
        self._zones: ZoneWatch | None = None
        self._shelves: ShelfWatch | None = None
        self._shedding = Shedding(budget_ms)
        self._overtaken = False
        self._size: tuple[int, int] | None = None
        self._sums = Aggregator(camera.id, reading.labels, hold_s=patience_s(camera, HOLD_S))
        self._stage_ms: dict[str, ExpHistogram] = {}
        self._last_t_s = 0.0
        self._still = StillWatch(camera.gate.still_after_s)
        self._has_news = False

    def part(self, later: Reading) -> None:
        """End the tracks of classes that `later` does not know, while sums are still of this one.

        First `part`, then `cut` at that moment, then `follow`: no sum is of two models.
        """
        if self._zones is None:
            return
        gone = np.flatnonzero(self.reading.ids_in(later) == GONE)
        self._sums.add_happenings(self._zones.part(frozenset(gone.tolist())))

    def follow(self, later: Reading, t_s: float) -> None:
        """Read the next answers as those of another model; who is in view stays who they are."""
        ids = self.reading.ids_in(later)
        patience = replace(self._tracker.settings, low_confidence=later.ask_threshold)
        self._tracker.relabel(ids, settings=patience, high_by_class=later.thresholds)
        if self._zones:
            self._zones.relabel(later.labels, ids.tolist())
        if self._shelves:
            self._shelves.relabel(later.labels, ids.tolist())
        if later.scene and self.reading.scene:
            later.scene.follow(self.reading.scene)
        if (later.scene is None) != (self.reading.scene is None):
            self._sums.interrupt()
        self._sums.relabel(later.labels)
        self.reading = later
        self._note_reading(later, t_s)

    @property
    def is_tracking(self) -> bool:
        """True while somebody is in view who has not stood still for long.

        Thread: any; a moment's truth.
        """
        return self._has_news

    def take_settled(self) -> list[tuple[float, float, float, float]]:
        """Return where, in fractions of the picture, somebody came to be known. Thread: any."""
        if self._size is None:
            return []
        (width, height), boxes = self._size, self._still.take_settled()
        return [(b[0] / width, b[1] / height, b[2] / width, b[3] / height) for b in boxes]

    def advance(self, frame: Frame, result: Result) -> tuple[Tracks, list[EventReport]]:
        """Take one analysed picture; return its tracks and the events that came of it."""
        if self.reading.scene is not None:
            return Tracks.empty(), self._look(self.reading.scene, frame, result)
        zones = self._zones_for(frame)
        found = result.detections
        found = found.where(self.reading.wanted[found.class_id]) if len(found) else found
        started_ns = self._clock.mono_ns()
        tracks = self._tracker.update(found, frame.t_s)
        happenings = zones.update(tracks, frame.t_s) + self._look_at_shelves(frame, tracks)
        boxes = self._boxes(tracks)
        self._note_boxes(frame, self._everybody(tracks, frame))
        events = [e for h in happenings if (e := self._event(frame, h, boxes)) is not None]
        self._time_all(frame, result, started_ns)
        sure = found.where(found.confidence >= self.reading.thresholds[found.class_id])
        self._sum_up(frame, tracks, happenings, sure)
        return tracks, events

    def hold(self, frame: Frame) -> tuple[Tracks, list[EventReport]]:
        """Take one picture in which nothing moved: everybody stands where they stood."""
        if self.reading.scene is not None:
            return Tracks.empty(), self._look(self.reading.scene, frame, None)
        zones = self._zones_for(frame)
        tracks = self._tracker.still(frame.t_s)
        happenings = zones.update(tracks, frame.t_s) + self._look_at_shelves(frame, tracks)
        boxes = self._boxes(tracks)
        # Looked at, and nobody moved: no gap for a blurred clip.
        self._note_boxes(frame, self._everybody(tracks, frame))
        events = [e for h in happenings if (e := self._event(frame, h, boxes)) is not None]
        self._sum_up(frame, tracks, happenings, None)
        return tracks, events

    def _look(self, scene: SceneWatch, frame: Frame, result: Result | None) -> list[EventReport]:
        """Take one picture as a whole; return the events that came of it."""
        started_ns = self._clock.mono_ns()
        signs = scene.look(result, frame.t_s)
        events: list[EventReport] = []
        for sign in signs:
            report = msgspec.structs.replace(
                self._report(frame, sign.what, list(sign.boxes)),
                track=None,
                confidence=sign.score if sign.what.label else None,
                score=sign.score,
                was=sign.was,
            )
            asks = sign.what.evidence
            events.append(self._want_evidence(frame, sign.what, report) if asks else report)
        if result is not None:
            self._note_boxes(frame, [box for sign in signs for box in sign.boxes])
            self._time_all(frame, result, started_ns)
        return events

    def interrupt(self, t_s: float | None) -> None:
        """Forget who is where: nobody may jump across a gap."""
        if self.reading.scene is not None:
            self.reading.scene.interrupt()
        self._tracker.interrupt()
        if self._zones:
            self._zones.interrupt(self._last_t_s if t_s is None else t_s)
        if self._shelves:
            self._shelves.interrupt()
        self._sums.interrupt()
        self._shedding.interrupt()
        self._still.interrupt()
        self._has_news = False

    def cut(
        self,
        start_ms: int,
        end_ms: int,
        spans: list[Span],
        frames: Frames,
        *,
        t_s: float | None = None,
    ) -> Aggregate:
        """Return the sums since the last cut and begin anew.

        Args:
            start_ms: Wall time at which the slice begins.
            end_ms: And ends, within one minute.
            spans: What was observed of it.
            frames: What became of its frames.
            t_s: `end_ms` as `Frame.t_s`, where what is held now counts up to there.
        """
        for name, bins in self._quality().items():
            self._sums.add_quality(name, bins)
        sums = self._sums.cut(
            start_ms, end_ms, spans=spans, frames=frames, model=self.reading.digest, t_s=t_s
        )
        return fit(self.reading.scene.add_to(sums) if self.reading.scene is not None else sums)

    def stages(self) -> dict[str, Histogram]:
        """Return latencies by stage since the last call."""
        stages, self._stage_ms = self._stage_ms, {}
        return {name: sketch.to_wire() for name, sketch in stages.items()}

    def _zones_for(self, frame: Frame) -> ZoneWatch:
        """Return the watch for this picture's size; another size is another view."""
        size = (frame.width, frame.height)
        if self._zones is None or size != self._size:
            if self._zones is not None:
                self._tracker.interrupt()
                self._sums.interrupt()
            # Who was present is so still, for `absence_s`.
            present_s = self._zones.present_s if self._zones is not None else {}
            self._zones = ZoneWatch(
                self._camera.zones,
                self._camera.lines,
                size,
                self.reading.labels,
                absence_s=patience_s(self._camera, ABSENCE_S),
                present_s=present_s,
            )
            self._shelves = ShelfWatch(self._camera.zones, size, self.reading.labels)
            self._size = size
        return self._zones

    def _look_at_shelves(self, frame: Frame, tracks: Tracks) -> list[Happening]:
        """Return what lastingly changed on the camera's shelves."""
        if not self._shelves:  # most cameras have none, and their pictures are not touched
            return []
        return self._shelves.update(frame.picture, tracks, frame.t_s)

    def note_stale(self) -> None:
        """Note that a picture was overtaken before anybody could look at it."""
        self._overtaken = True

    def _sum_up(
        self,
        frame: Frame,
        tracks: Tracks,
        happenings: list[Happening],
        found: Detections | None,
    ) -> None:
        """Count what happened; everything else only while there is time for it."""
        assert self._zones is not None
        self._sums.add_happenings(happenings)
        age_ms = (self._clock.mono_ns() - frame.captured_mono_ns) / NS_PER_MS
        overtaken, self._overtaken = self._overtaken, False
        if self._shedding.look(age_ms, frame.t_s, overtaken=overtaken):
            self._sums.shed(frame.t_s)
        else:
            if found is not None:
                self._sums.add_detections(found)
            self._sums.add_tracks(tracks, frame.t_s, (frame.width, frame.height))
            self._sums.add_occupancy(self._zones.occupancy(), frame.t_s)
        self._last_t_s = frame.t_s
        self._has_news = self._still.update(tracks, frame.t_s)

    def _time_all(self, frame: Frame, result: Result, started_ns: int) -> None:
        """Count the time of each stage; what began at `started_ns` ends now."""
        now_ns = self._clock.mono_ns()
        self._time("preprocess", result.preprocess_ms)
        self._time("inference", result.inference_ms)
        self._time("postprocess", result.postprocess_ms)
        self._time("tracking", (now_ns - started_ns) / NS_PER_MS)
        self._time("total", (now_ns - frame.captured_mono_ns) / NS_PER_MS)

    def _time(self, stage: str, ms: float) -> None:
        self._stage_ms.setdefault(stage, ExpHistogram()).add(max(0.0, ms))
        self._sums.add_stage_ms(stage, max(0.0, ms))

    def _everybody(self, tracks: Tracks, frame: Frame) -> list[Box]:
        """Return the box of everybody who was seen in the picture, known for longer or not.

        A blurred clip covers these and nothing else, so none may be left out: where there are too
        many to be kept, the last box is the whole picture.
        """
        seen = tracks.where(tracks.observed)
        boxes = self._as_boxes(seen, MAX_SEEN)
        if len(seen) > MAX_SEEN:
            boxes.append(Box(xyxy=(0.0, 0.0, frame.width, frame.height), label="", confidence=0.0))
        return boxes

    def _boxes(self, tracks: Tracks) -> list[Box]:
        return self._as_boxes(tracks.where(tracks.confirmed & tracks.observed), MAX_BOXES)

    def _as_boxes(self, shown: Tracks, most: int) -> list[Box]:
        return [
            Box(
                xyxy=tuple(round(float(x), 1) for x in shown.boxes_xyxy[i]),  # pyright: ignore[reportArgumentType]
                label=self.reading.labels[int(shown.class_id[i])],
                confidence=round(float(shown.confidence[i]), 4),
                track=int(shown.track_id[i]),
            )
            for i in range(min(len(shown), most))
        ]

    def _event(self, frame: Frame, what: Happening, boxes: list[Box]) -> EventReport | None:
        """Return the event of a happening, with evidence asked for; None where it only counts."""
        if not what.event:
            return None
        event = self._report(frame, what, boxes)
        if what.compared_s is not None:
            event = _of_shelf(event, what, frame)
        asks = what.evidence or (what.kind is EventKind.PRESENCE and self._camera.presence_evidence)
        return self._want_evidence(frame, what, event) if asks else event

    def _report(self, frame: Frame, what: Happening, boxes: list[Box]) -> EventReport:
        """Return the event of a happening, without evidence; its time is when it began."""
        late_ms = round((frame.t_s - what.t_s) * 1000)
        return EventReport(
            event=new_id("ev"),
            camera=self._camera.id,
            kind=what.kind,
            at_ms=wall_ms(frame.captured_at) - max(0, late_ms),
            where=what.where,
            direction=what.direction,
            label=what.label,
            confidence=round(what.confidence, 4),
            track=what.track,
            dwell_s=None if what.dwell_s is None else round(what.dwell_s, 3),
            boxes=boxes,
            picture_px=(frame.width, frame.height),
            model=self.reading.digest,
            latency_ms=round((self._clock.mono_ns() - frame.captured_mono_ns) / NS_PER_MS, 3),
        )


def _of_shelf(event: EventReport, what: Happening, frame: Frame) -> EventReport:
    """Return the event with the place that changed before all boxes, and what was compared."""
    assert what.compared_s is not None
    now_ms = wall_ms(frame.captured_at)
    before_ms, after_ms = (now_ms - round((frame.t_s - t_s) * 1000) for t_s in what.compared_s)
    x0, y0, x1, y1 = (round(side, 1) for side in what.box)
    place = Box(xyxy=(x0, y0, x1, y1), label=CHANGED, confidence=1.0, track=what.track)
    return msgspec.structs.replace(
        event,
        confidence=None,  # that it changed is measured; how sure that is was never calibrated
        boxes=[place, *event.boxes[: MAX_BOXES - 1]],
        compared_ms=(before_ms, after_ms),
    )
