"""Counting one camera's minutes: the `wire.messages.Aggregate`.

Here: the running counts between two cuts and the slicing of time at minutes' edges. Not here: how
aggregates add up (`stats.summing`), what was observed (the device's coverage ledger) and sending.

The rules:

- Nothing but counts, sums and sketches; no rate, no mean. So `merge` is exact, associative and
  commutative: seconds are kept in whole 1/1024 s, which doubles add without rounding.
- Time is held from one look to the next: what was there at a look is there until the following
  one, but never across a gap (`interrupt`) nor over a silence longer than `HOLD_S`, or than the
  camera's own slow rate explains.
- A slice never crosses a minute's edge, so a minute's rollup is made of whole aggregates.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.stats.summing import add_frames, exact, merge, union
from vedette.vision import geometry
from vedette.vision.detections import Detections
from vedette.vision.happenings import BACKWARD, BORN, FORWARD, LOST, Happening
from vedette.vision.tracking import Tracks
from vedette.wire.messages import (
    Aggregate,
    Bins,
    EventKind,
    Frames,
    Heatmap,
    LineCounts,
    Span,
    ZoneCounts,
)

__all__ = ["Aggregator", "merge", "minute_slices"]

MINUTE_MS: Final = 60_000
HEATMAP_ROWS: Final = 18
HEATMAP_COLUMNS: Final = 32
CONFIDENCE_BINS: Final = 50
ENTROPY_BINS: Final = 32
QUALITY_BINS: Final = 20
HOLD_S: Final = 15.0
"""Longest time that one look speaks for, usually; the coverage ledger calls a longer silence a gap.
"""

_TOLD: Final = (
    EventKind.LOITER,
    EventKind.HEADING,
    EventKind.PICKED,
    EventKind.PLACED,
    EventKind.SHELF_CHANGED,
)


def minute_slices(start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a stretch of time, cut at every minute's edge; none if it is empty."""
    while start_ms < end_ms:
        edge_ms = min((start_ms // MINUTE_MS + 1) * MINUTE_MS, end_ms)
        yield start_ms, edge_ms
        start_ms = edge_ms


class Aggregator:
    """Counts what happens on one camera between two cuts.

    Thread: one at a time; the caller holds a lock where several threads report to it.
    """

    def __init__(self, camera: str, labels: Sequence[str], *, hold_s: float = HOLD_S) -> None:
        """Begin with nothing.

        Args:
            camera: Its id.
            labels: Names by class id.
            hold_s: Longest time that one look speaks for.
        """
        self._hold_s = hold_s
        self._camera = camera
        self._labels: tuple[str, ...] = tuple(labels)
        self._mapped = False
        self._held: _Held | None = None
        self._shed_t_s: float | None = None
        self._heat_s = np.zeros((HEATMAP_ROWS, HEATMAP_COLUMNS))
        self._clear()

    def _clear(self) -> None:
        self._frames = Frames()
        self._spans: list[Span] = []
        self._presence_s: defaultdict[str, float] = defaultdict(float)
        self._occupancy_s: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._occupancy_max: Counter[tuple[str, str]] = Counter()
        self._entered: Counter[tuple[str, str]] = Counter()
        self._left: Counter[tuple[str, str]] = Counter()
        self._visits: Counter[tuple[str, str]] = Counter()
        self._told: dict[EventKind, Counter[tuple[str, str]]] = {k: Counter() for k in _TOLD}
        self._crossed: Counter[tuple[str, str, str]] = Counter()
        self._detections: Counter[str] = Counter()
        self._dwell: dict[tuple[str, str], ExpHistogram] = {}
        self._stages: dict[str, ExpHistogram] = {}
        self._confidence: dict[str, LinearBins] = {}
        self._entropy: dict[str, LinearBins] = {}
        self._quality: dict[str, LinearBins] = {}
        self._shed_s = 0.0

    def add_frame_accounting(self, frames: Frames) -> None:
        """Add what became of frames since the last call.

        Raises:
            ValueError: The invariant of `Frames` does not hold.
        """
        if frames.captured != frames.analysed + frames.gated + sum(frames.dropped.values()):
            raise ValueError(f"frames do not add up: {frames}")
        self._frames = add_frames(self._frames, frames)

    def add_spans(self, spans: Iterable[Span]) -> None:
        """Add what was observed, or not, within the slice."""
        self._spans.extend(spans)

    def add_tracks(self, tracks: Tracks, t_s: float, picture_size: tuple[int, int]) -> None:
        """Count the time since the last look for what was there then, and hold what is there now.

        Args:
            tracks: As the tracker reports them; only confirmed ones count.
            t_s: The look's time, on the tracker's clock.
            picture_size: Width and height in pixels; pictures of any size fall into one grid.
        """
        self._elapse(t_s)
        self._shed_t_s = None
        sure = tracks.where(tracks.confirmed)
        self._mapped = True
        self._held = _Held(
            t_s=t_s,
            labels=frozenset(self._label(int(k)) for k in np.unique(sure.class_id)),
            cells=_cells(sure, picture_size),
            occupancy={},
        )

    def add_occupancy(self, occupancy: Mapping[tuple[str, str], int], t_s: float) -> None:
        """Hold who is inside which zone, from `ZoneWatch.occupancy()`; after `add_tracks`."""
        self._elapse(t_s)
        if self._held is not None:
            self._held.occupancy = dict(occupancy)
        for key, count in occupancy.items():
            self._occupancy_max[key] = max(self._occupancy_max[key], count)

    def relabel(self, labels: Sequence[str]) -> None:
        """Have other names by class id from now on; cut before, so that no sum is of two models."""
        self._labels = tuple(labels)
        gone = [key for key in self._occupancy_max if key[1] not in labels]
        for key in gone:
            del self._occupancy_max[key]
        if self._held is not None:
            self._held.labels &= frozenset(labels)
            self._held.occupancy = {k: n for k, n in self._held.occupancy.items() if k[1] in labels}

    def interrupt(self) -> None:
        """Hold nothing over a gap: time until the next look belongs to nobody."""
        self._held = self._shed_t_s = None

    def add_happenings(self, happenings: Iterable[Happening]) -> None:
        """Count crossings, entries, visits, exits, the dwell of finished visits, and events."""
        for h in happenings:
            key = (h.where, h.label)
            if h.kind is EventKind.LINE_CROSSED:
                self._crossed[(*key, h.direction)] += 1
            elif h.kind is EventKind.ZONE_ENTERED:
                self._entered[key] += h.direction != BORN
                self._visits[key] += 1
            elif h.kind is EventKind.ZONE_LEFT:
                self._left[key] += h.direction != LOST
                if h.dwell_s is not None:
                    self._dwell.setdefault(key, ExpHistogram()).add(h.dwell_s)
            elif h.kind in _TOLD:
                self._told[h.kind][key] += 1

    def add_detections(self, detections: Detections) -> None:
        """Count detections, their confidence and entropy, per class."""
        for class_id in np.unique(detections.class_id).tolist():
            label, mine = self._label(class_id), detections.class_id == class_id
            self._detections[label] += int(mine.sum())
            for into, values, n in (
                (self._confidence, detections.confidence[mine], CONFIDENCE_BINS),
                (self._entropy, detections.entropy[mine], ENTROPY_BINS),
            ):
                finite = values[np.isfinite(values)]
                into.setdefault(label, LinearBins(n)).add_many(finite.tolist())

    def add_stage_ms(self, stage: str, ms: float) -> None:
        """Count how long one stage took for one frame, in milliseconds."""
        self._stages.setdefault(stage, ExpHistogram()).add(ms)

    def add_quality(self, name: str, bins: LinearBins) -> None:
        """Add the distribution of one of the pictures' scores, in `QUALITY_BINS` bins.

        Raises:
            ValueError: Another number of bins than this name had before.
        """
        self._quality.setdefault(name, LinearBins(len(bins.counts))).merge(bins)

    def shed(self, t_s: float) -> None:
        """Count nothing of this look; time from it to the next one is stated as shed.

        What was held before counts up to here. Use it instead of `add_tracks`, `add_occupancy` and
        `add_detections`; happenings belong to the fast path and are added as ever.

        Args:
            t_s: The look's time, on the tracker's clock.
        """
        self._elapse(t_s)
        self._held, self._shed_t_s = None, t_s

    def cut(
        self,
        start_ms: int,
        end_ms: int,
        *,
        spans: Iterable[Span] = (),
        frames: Frames | None = None,
        model: str = "",
        t_s: float | None = None,
    ) -> Aggregate:
        """Return what was counted since the last cut and begin anew.

        Args:
            start_ms: Wall time at which this slice begins.
            end_ms: Wall time at which it ends, exclusive.
            spans: What was observed of it, besides what `add_spans` said.
            frames: What became of its frames, besides what `add_frame_accounting` said.
            model: Name of the model that made the detections.
            t_s: `end_ms` on the tracker's clock, so that what is held counts up to there. Without
                it that bit of time counts in the next slice.

        Raises:
            ValueError: The slice is empty or crosses a minute's edge; or frames do not add up.
        """
        if end_ms <= start_ms or (end_ms - 1) // MINUTE_MS != start_ms // MINUTE_MS:
            raise ValueError(f"{start_ms} to {end_ms} ms is not within one minute")
        if frames is not None:
            self.add_frame_accounting(frames)
        if t_s is not None:
            self._elapse(t_s)
        aggregate = Aggregate(
            camera=self._camera,
            start_ms=start_ms,
            end_ms=end_ms,
            spans=union([*self._spans, *spans]),
            frames=self._frames,
            model=model,
            zones=self._zone_counts(),
            lines=self._line_counts(),
            presence_s={label: exact(s) for label, s in sorted(self._presence_s.items())},
            heatmap=self._cut_heatmap(),
            stage_ms={stage: sketch.to_wire() for stage, sketch in sorted(self._stages.items())},
            confidence=_bins(self._confidence),
            entropy=_bins(self._entropy),
            detections=dict(sorted(self._detections.items())),
            quality=_bins(self._quality),
            slow_path_shed_s=exact(self._shed_s),
        )
        self._clear()
        for key, count in self._held.occupancy.items() if self._held else ():
            self._occupancy_max[key] = count
        return aggregate

    def _elapse(self, t_s: float) -> None:
        """Count what is held for the time up to `t_s`."""
        if self._shed_t_s is not None and 0.0 < t_s - self._shed_t_s <= self._hold_s:
            self._shed_s += t_s - self._shed_t_s
            self._shed_t_s = t_s
        held = self._held
        if held is None:
            return
        if t_s <= held.t_s or t_s - held.looked_s > self._hold_s:
            return
        dt_s, held.t_s = t_s - held.t_s, t_s
        for label in held.labels:
            self._presence_s[label] += dt_s
        for key, count in held.occupancy.items():
            self._occupancy_s[key] += dt_s * count
        np.add.at(self._heat_s, (held.cells[:, 0], held.cells[:, 1]), dt_s)

    def _cut_heatmap(self) -> Heatmap | None:
        """Return whole deciseconds; what is left over counts in the next slice."""
        if not self._mapped:
            return None
        whole = np.floor(self._heat_s * 10.0 + 1e-6)
        self._heat_s = np.maximum(self._heat_s - whole / 10.0, 0.0)
        return Heatmap(
            rows=HEATMAP_ROWS,
            columns=HEATMAP_COLUMNS,
            deciseconds=whole.astype(np.int64).ravel().tolist(),
        )

    def _zone_counts(self) -> dict[str, dict[str, ZoneCounts]]:
        zones: dict[str, dict[str, ZoneCounts]] = {}
        told = self._told
        touched = {*self._visits, *self._left, *self._occupancy_s, *self._occupancy_max}
        for key in sorted(touched.union(self._dwell, *told.values())):
            dwell = self._dwell.get(key)
            zones.setdefault(key[0], {})[key[1]] = ZoneCounts(
                entered=self._entered[key],
                left=self._left[key],
                occupancy_s=exact(self._occupancy_s[key]),
                occupancy_max=self._occupancy_max[key],
                dwell_s=dwell.to_wire() if dwell else None,
                visits=self._visits[key],
                loitered=told[EventKind.LOITER][key],
                headed=told[EventKind.HEADING][key],
                picked=told[EventKind.PICKED][key],
                placed=told[EventKind.PLACED][key],
                shelf_changed=told[EventKind.SHELF_CHANGED][key],
            )
        return zones

    def _line_counts(self) -> dict[str, dict[str, LineCounts]]:
        lines: dict[str, dict[str, LineCounts]] = {}
        for line, label in sorted({(line, label) for line, label, _ in self._crossed}):
            lines.setdefault(line, {})[label] = LineCounts(
                forward=self._crossed[line, label, FORWARD],
                backward=self._crossed[line, label, BACKWARD],
            )
        return lines

    def _label(self, class_id: int) -> str:
        return self._labels[class_id] if 0 <= class_id < len(self._labels) else str(class_id)


class _Held:
    """What was there at the look of `looked_s`; its time is counted up to `t_s`."""

    __slots__ = ("cells", "labels", "looked_s", "occupancy", "t_s")

    def __init__(
        self,
        *,
        t_s: float,
        labels: frozenset[str],
        cells: npt.NDArray[np.intp],
        occupancy: dict[tuple[str, str], int],
    ) -> None:
        self.looked_s = self.t_s = t_s
        self.labels = labels
        self.cells = cells
        self.occupancy = occupancy


def _cells(tracks: Tracks, picture_size: tuple[int, int]) -> npt.NDArray[np.intp]:
    """Return row and column of each foot point, (n, 2); outside the picture: the nearest."""
    width, height = picture_size
    feet = geometry.foot_points(tracks.boxes_xyxy)
    grid = np.array([HEATMAP_ROWS, HEATMAP_COLUMNS])
    shares = np.stack((feet[:, 1] / height, feet[:, 0] / width), axis=1)
    return np.clip(np.floor(shares * grid), 0, grid - 1).astype(np.intp)


def _bins(sketches: Mapping[str, LinearBins]) -> dict[str, Bins]:
    return {name: sketch.to_wire() for name, sketch in sorted(sketches.items())}
