"""Counting one camera's minutes: the `wire.messages.Aggregate` and how aggregates add up.

Here: the running counts between two cuts, the slicing of time at minutes' edges, and `merge`. Not
here: what was observed (the spans come from the device's coverage ledger) and sending.

The rules:

- Nothing but counts, sums and sketches; no rate, no mean. So `merge` is exact, associative and
  commutative: seconds are kept in whole 1/1024 s, which doubles add without rounding.
- Time is held from one look to the next: what was there at a look is there until the following
  one, but never across a gap (`interrupt`) nor over a silence longer than `HOLD_S`.
- A slice never crosses a minute's edge, so a minute's rollup is made of whole aggregates.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.vision import geometry
from vedette.vision.detections import Detections
from vedette.vision.tracking import Tracks
from vedette.vision.zones import BACKWARD, FORWARD, LOST, Happening
from vedette.wire.messages import (
    Aggregate,
    Bins,
    Drop,
    EventKind,
    Frames,
    Heatmap,
    Histogram,
    LineCounts,
    Span,
    ZoneCounts,
)

MINUTE_MS: Final = 60_000
HEATMAP_ROWS: Final = 18
HEATMAP_COLUMNS: Final = 32
CONFIDENCE_BINS: Final = 50
ENTROPY_BINS: Final = 32
QUALITY_BINS: Final = 20
HOLD_S: Final = 15.0
"""Longest time that one look speaks for; the coverage ledger calls a longer silence a gap."""

_TICKS_PER_S: Final = 1024

K = TypeVar("K")
V = TypeVar("V")


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

    def __init__(
        self,
        camera: str,
        labels: Sequence[str],
        *,
        picture_size: tuple[int, int] | None = None,
        model: str = "",
    ) -> None:
        """Begin with nothing.

        Args:
            camera: Its id.
            labels: Names by class id.
            picture_size: Width and height in pixels, for the heatmap; None: no heatmap yet.
            model: Name of the model that makes the detections.
        """
        self.model = model
        self._camera = camera
        self._labels = tuple(labels)
        self._picture_size = picture_size
        self._held: _Held | None = None
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
        self._crossed: Counter[tuple[str, str, str]] = Counter()
        self._detections: Counter[str] = Counter()
        self._dwell: dict[tuple[str, str], ExpHistogram] = {}
        self._stages: dict[str, ExpHistogram] = {}
        self._confidence: dict[str, LinearBins] = {}
        self._entropy: dict[str, LinearBins] = {}
        self._quality: dict[str, LinearBins] = {}
        self._shed_s = 0.0

    def set_picture(self, width: int, height: int) -> None:
        """Say how large pictures are from now on; foot points fall into the same grid."""
        self._picture_size = (width, height)

    def add_frame_accounting(self, frames: Frames) -> None:
        """Add what became of frames since the last call.

        Raises:
            ValueError: The invariant of `Frames` does not hold.
        """
        if frames.captured != frames.analysed + frames.gated + sum(frames.dropped.values()):
            raise ValueError(f"frames do not add up: {frames}")
        self._frames = _add_frames(self._frames, frames)

    def add_spans(self, spans: Iterable[Span]) -> None:
        """Add what was observed, or not, within the slice."""
        self._spans.extend(spans)

    def add_tracks(
        self,
        tracks: Tracks,
        t_s: float,
        occupancy: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        """Count the time since the last look for what was there then, and hold what is there now.

        Args:
            tracks: As the tracker reports them; only confirmed ones count.
            t_s: The look's time, on the tracker's clock.
            occupancy: `ZoneWatch.occupancy()` at this look.
        """
        self._elapse(t_s)
        sure = tracks.where(tracks.confirmed)
        inside = dict(occupancy or {})
        self._held = _Held(
            t_s=t_s,
            labels=frozenset(self._label(int(k)) for k in np.unique(sure.class_id)),
            cells=self._cells(sure),
            occupancy=inside,
        )
        for key, count in inside.items():
            self._occupancy_max[key] = max(self._occupancy_max[key], count)

    def interrupt(self) -> None:
        """Hold nothing over a gap: time until the next look belongs to nobody."""
        self._held = None

    def add_happenings(self, happenings: Iterable[Happening]) -> None:
        """Count crossings, entries, exits and the dwell of finished visits."""
        for h in happenings:
            key = (h.where, h.label)
            if h.kind is EventKind.LINE_CROSSED:
                self._crossed[(*key, h.direction)] += 1
            elif h.kind is EventKind.ZONE_ENTERED:
                self._entered[key] += 1
            elif h.kind is EventKind.ZONE_LEFT:
                self._left[key] += h.direction != LOST
                if h.dwell_s is not None:
                    self._dwell.setdefault(key, ExpHistogram()).add(h.dwell_s)

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

    def add_quality(self, scores: Mapping[str, float]) -> None:
        """Count one picture's scores, each 0 to 1, by name."""
        for name, score in scores.items():
            self._quality.setdefault(name, LinearBins(QUALITY_BINS)).add(score)

    def add_shed(self, seconds: float) -> None:
        """Add time in which the slow path was shed."""
        self._shed_s += seconds

    def cut(self, start_ms: int, end_ms: int, *, t_s: float | None = None) -> Aggregate:
        """Return what was counted since the last cut and begin anew.

        Args:
            start_ms: Wall time at which this slice begins.
            end_ms: Wall time at which it ends, exclusive.
            t_s: `end_ms` on the tracker's clock, so that what is held counts up to there. Without
                it that bit of time counts in the next slice.

        Raises:
            ValueError: The slice is empty or crosses a minute's edge.
        """
        if end_ms <= start_ms or (end_ms - 1) // MINUTE_MS != start_ms // MINUTE_MS:
            raise ValueError(f"{start_ms} to {end_ms} ms is not within one minute")
        if t_s is not None:
            self._elapse(t_s)
        aggregate = Aggregate(
            camera=self._camera,
            start_ms=start_ms,
            end_ms=end_ms,
            spans=_union(self._spans),
            frames=self._frames,
            model=self.model,
            zones=self._zone_counts(),
            lines=self._line_counts(),
            presence_s={label: _exact(s) for label, s in sorted(self._presence_s.items())},
            heatmap=self._cut_heatmap(),
            stage_ms={stage: sketch.to_wire() for stage, sketch in sorted(self._stages.items())},
            confidence=_bins(self._confidence),
            entropy=_bins(self._entropy),
            detections=dict(sorted(self._detections.items())),
            quality=_bins(self._quality),
            slow_path_shed_s=_exact(self._shed_s),
        )
        self._clear()
        for key, count in self._held.occupancy.items() if self._held else ():
            self._occupancy_max[key] = count
        return aggregate

    def _elapse(self, t_s: float) -> None:
        """Count what is held for the time up to `t_s`."""
        held = self._held
        if held is None:
            return
        if t_s <= held.t_s or t_s - held.looked_s > HOLD_S:
            return
        dt_s, held.t_s = t_s - held.t_s, t_s
        for label in held.labels:
            self._presence_s[label] += dt_s
        for key, count in held.occupancy.items():
            self._occupancy_s[key] += dt_s * count
        np.add.at(self._heat_s, (held.cells[:, 0], held.cells[:, 1]), dt_s)

    def _cells(self, tracks: Tracks) -> npt.NDArray[np.intp]:
        """Return row and column of each foot point, (n, 2); outside the picture: the nearest."""
        if self._picture_size is None:
            return np.zeros((0, 2), np.intp)
        width, height = self._picture_size
        feet = geometry.foot_points(tracks.boxes_xyxy)
        grid = np.array([HEATMAP_ROWS, HEATMAP_COLUMNS])
        shares = np.stack((feet[:, 1] / height, feet[:, 0] / width), axis=1)
        return np.clip(np.floor(shares * grid), 0, grid - 1).astype(np.intp)

    def _cut_heatmap(self) -> Heatmap | None:
        """Return whole deciseconds; what is left over counts in the next slice."""
        if self._picture_size is None:
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
        touched = {*self._entered, *self._left, *self._occupancy_s, *self._occupancy_max}
        for key in sorted(touched | set(self._dwell)):
            dwell = self._dwell.get(key)
            zones.setdefault(key[0], {})[key[1]] = ZoneCounts(
                entered=self._entered[key],
                left=self._left[key],
                occupancy_s=_exact(self._occupancy_s[key]),
                occupancy_max=self._occupancy_max[key],
                dwell_s=dwell.to_wire() if dwell else None,
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


def merge(a: Aggregate, b: Aggregate) -> Aggregate:
    """Return the aggregate of both times of one camera; in any order and grouping the same.

    Counts, sums and sketches add, maxima take the larger, spans are united. Where models differ,
    both are named, separated by commas.

    Raises:
        ValueError: Different cameras or heatmap grids, or bins of different sizes.
        MalformedReport: A sketch in one of them is not one.
    """
    if a.camera != b.camera:
        raise ValueError(f"cameras {a.camera!r} and {b.camera!r} do not merge")
    models = {name for side in (a, b) for name in side.model.split(",") if name}
    return Aggregate(
        camera=a.camera,
        start_ms=min(a.start_ms, b.start_ms),
        end_ms=max(a.end_ms, b.end_ms),
        spans=_union([*a.spans, *b.spans]),
        frames=_add_frames(a.frames, b.frames),
        model=",".join(sorted(models)),
        zones=_join(a.zones, b.zones, lambda x, y: _join(x, y, _add_zones)),
        lines=_join(a.lines, b.lines, lambda x, y: _join(x, y, _add_lines)),
        presence_s=_join(a.presence_s, b.presence_s, _add_seconds),
        heatmap=_add_heatmaps(a.heatmap, b.heatmap),
        stage_ms=_join(a.stage_ms, b.stage_ms, _add_histograms),
        confidence=_join(a.confidence, b.confidence, _add_bins),
        entropy=_join(a.entropy, b.entropy, _add_bins),
        detections=_join(a.detections, b.detections, lambda x, y: x + y),
        quality=_join(a.quality, b.quality, _add_bins),
        slow_path_shed_s=_add_seconds(a.slow_path_shed_s, b.slow_path_shed_s),
    )


def _exact(seconds: float) -> float:
    """Return seconds in whole 1/1024: sums of such numbers are exact up to a million years."""
    return round(seconds * _TICKS_PER_S) / _TICKS_PER_S


def _add_seconds(a: float, b: float) -> float:
    return _exact(a) + _exact(b)


def _join(a: Mapping[K, V], b: Mapping[K, V], add: Callable[[V, V], V]) -> dict[K, V]:
    """Return both maps in one, adding where both have a key."""
    joined = dict(a)
    for key, value in b.items():
        joined[key] = add(joined[key], value) if key in joined else value
    return joined


def _add_frames(a: Frames, b: Frames) -> Frames:
    dropped: dict[Drop, int] = _join(a.dropped, b.dropped, lambda x, y: x + y)
    return Frames(
        captured=a.captured + b.captured,
        analysed=a.analysed + b.analysed,
        gated=a.gated + b.gated,
        dropped=dropped,
    )


def _add_histograms(a: Histogram, b: Histogram) -> Histogram:
    sketch = ExpHistogram.from_wire(a)
    sketch.merge(ExpHistogram.from_wire(b))
    return sketch.to_wire()


def _add_bins(a: Bins, b: Bins) -> Bins:
    bins = LinearBins.from_wire(a)
    bins.merge(LinearBins.from_wire(b))
    return bins.to_wire()


def _add_zones(a: ZoneCounts, b: ZoneCounts) -> ZoneCounts:
    both = [side.dwell_s for side in (a, b) if side.dwell_s is not None]
    return ZoneCounts(
        entered=a.entered + b.entered,
        left=a.left + b.left,
        occupancy_s=_add_seconds(a.occupancy_s, b.occupancy_s),
        occupancy_max=max(a.occupancy_max, b.occupancy_max),
        dwell_s=_add_histograms(both[0], both[1]) if len(both) == 2 else next(iter(both), None),
    )


def _add_lines(a: LineCounts, b: LineCounts) -> LineCounts:
    return LineCounts(forward=a.forward + b.forward, backward=a.backward + b.backward)


def _add_heatmaps(a: Heatmap | None, b: Heatmap | None) -> Heatmap | None:
    if a is None or b is None:
        return a or b
    shape = (a.rows, a.columns)
    if shape != (b.rows, b.columns) or len(a.deciseconds) != len(b.deciseconds):
        raise ValueError(f"heatmaps of {shape} and {(b.rows, b.columns)} do not merge")
    cells = [x + y for x, y in zip(a.deciseconds, b.deciseconds, strict=True)]
    return Heatmap(rows=a.rows, columns=a.columns, deciseconds=cells)


def _union(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, those alike that touch or overlap made one."""

    def kind(span: Span) -> tuple[str, float, str]:
        return (span.cause or "", -1.0 if span.rate_fps is None else span.rate_fps, span.detail)

    united: list[Span] = []
    for span in sorted(spans, key=lambda s: (kind(s), s.start_ms, s.end_ms)):
        last = united[-1] if united else None
        if last is not None and kind(last) == kind(span) and span.start_ms <= last.end_ms:
            end_ms = max(last.end_ms, span.end_ms)
            united[-1] = Span(
                start_ms=last.start_ms,
                end_ms=end_ms,
                cause=last.cause,
                rate_fps=last.rate_fps,
                detail=last.detail,
            )
        else:
            united.append(span)
    return sorted(united, key=lambda s: (s.start_ms, s.end_ms, kind(s)))


def _bins(sketches: Mapping[str, LinearBins]) -> dict[str, Bins]:
    return {name: sketch.to_wire() for name, sketch in sorted(sketches.items())}
