"""How aggregates add up: any two times of one camera become one.

Here: `merge` and the sums it is made of, the same on the device and in central. Not here: counting
(`vision.aggregates`) and what is kept of it (`central.rollups`). The rule: exact, associative and
commutative, so that minutes, hours and days may be put together in any order. Only integers are
added, and seconds in whole 1/1024, which doubles add without rounding.

Where a new version changed the shape of a grid or the number of bins, the two do not add up; the
one with more in it stands, chosen by its content alone, so that the order does not matter.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from vedette.errors import MalformedReport
from vedette.stats.sketch import MAX_COUNT, ExpHistogram, LinearBins
from vedette.wire.messages import (
    Aggregate,
    Bins,
    Drop,
    Frames,
    Heatmap,
    Histogram,
    LineCounts,
    Span,
    ZoneCounts,
)

MAX_LEFT_OUT: Final = 32
"""Names of what is lacking that a sum keeps; the first by the alphabet, in any order of adding."""

_TICKS_PER_S: Final = 1024

K = TypeVar("K")
V = TypeVar("V")


def merge(a: Aggregate, b: Aggregate) -> Aggregate:
    """Return the aggregate of both times of one camera; in any order and grouping the same.

    Counts, sums and sketches add, maxima take the larger, spans are united. Where models differ,
    both are named, separated by commas.

    Raises:
        ValueError: Different cameras.
        MalformedReport: A sketch in one of them is not one, or together they claim more than can
            be counted: nothing may be kept that could not be read again.
    """
    if a.camera != b.camera:
        raise ValueError(f"cameras {a.camera!r} and {b.camera!r} do not merge")
    models = {name for side in (a, b) for name in side.model.split(",") if name}
    return Aggregate(
        camera=a.camera,
        start_ms=min(a.start_ms, b.start_ms),
        end_ms=max(a.end_ms, b.end_ms),
        spans=union([*a.spans, *b.spans]),
        frames=add_frames(a.frames, b.frames),
        model=",".join(sorted(models)),
        zones=_join(a.zones, b.zones, lambda x, y: _join(x, y, add_zones)),
        lines=_join(a.lines, b.lines, lambda x, y: _join(x, y, add_lines)),
        presence_s=_join(a.presence_s, b.presence_s, _add_seconds),
        heatmap=_add_heatmaps(a.heatmap, b.heatmap),
        stage_ms=_join(a.stage_ms, b.stage_ms, _add_histograms),
        confidence=_join(a.confidence, b.confidence, _add_bins),
        entropy=_join(a.entropy, b.entropy, _add_bins),
        detections=_join(a.detections, b.detections, lambda x, y: x + y),
        quality=_join(a.quality, b.quality, _add_bins),
        slow_path_shed_s=_add_seconds(a.slow_path_shed_s, b.slow_path_shed_s),
        class_s=_join(a.class_s, b.class_s, _add_seconds),
        scores=_join(a.scores, b.scores, _add_bins),
        left_out=sorted({*a.left_out, *b.left_out})[:MAX_LEFT_OUT],
    )


def exact(seconds: float) -> float:
    """Return seconds in whole 1/1024: sums of such numbers are exact up to a million years."""
    return round(seconds * _TICKS_PER_S) / _TICKS_PER_S


def _add_seconds(a: float, b: float) -> float:
    return exact(a) + exact(b)


def _join(a: Mapping[K, V], b: Mapping[K, V], add: Callable[[V, V], V]) -> dict[K, V]:
    """Return both maps in one, adding where both have a key."""
    joined = dict(a)
    for key, value in b.items():
        joined[key] = add(joined[key], value) if key in joined else value
    return joined


def add_frames(a: Frames, b: Frames) -> Frames:
    """Return both accounts in one; where both hold the invariant, so does the sum."""
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
    if sketch.count > MAX_COUNT:
        raise MalformedReport("merged histograms claim more observations than can be counted")
    return sketch.to_wire()


def _add_bins(a: Bins, b: Bins) -> Bins:
    if len(a.counts) != len(b.counts):
        return max(a, b, key=lambda one: (sum(one.counts), one.counts))
    bins = LinearBins.from_wire(a)
    bins.merge(LinearBins.from_wire(b))
    if bins.count > MAX_COUNT:
        raise MalformedReport("merged bins claim more observations than can be counted")
    return bins.to_wire()


def add_zones(a: ZoneCounts, b: ZoneCounts) -> ZoneCounts:
    """Return the counts of both times of one zone."""
    both = [side.dwell_s for side in (a, b) if side.dwell_s is not None]
    return ZoneCounts(
        entered=a.entered + b.entered,
        left=a.left + b.left,
        occupancy_s=_add_seconds(a.occupancy_s, b.occupancy_s),
        occupancy_max=max(a.occupancy_max, b.occupancy_max),
        dwell_s=_add_histograms(both[0], both[1]) if len(both) == 2 else next(iter(both), None),
        visits=a.visits + b.visits,
        loitered=a.loitered + b.loitered,
        picked=a.picked + b.picked,
        placed=a.placed + b.placed,
        headed=a.headed + b.headed,
        shelf_changed=a.shelf_changed + b.shelf_changed,
    )


def add_lines(a: LineCounts, b: LineCounts) -> LineCounts:
    """Return the crossings of both times of one line."""
    return LineCounts(forward=a.forward + b.forward, backward=a.backward + b.backward)


def _add_heatmaps(a: Heatmap | None, b: Heatmap | None) -> Heatmap | None:
    if a is None or b is None:
        return a or b
    if (a.rows, len(a.deciseconds)) != (b.rows, len(b.deciseconds)):
        return max(a, b, key=lambda one: (sum(one.deciseconds), one.rows, one.deciseconds))
    cells = [x + y for x, y in zip(a.deciseconds, b.deciseconds, strict=True)]
    return Heatmap(rows=a.rows, columns=a.columns, deciseconds=cells)


def union(spans: Iterable[Span]) -> list[Span]:
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
