"""Merging what was counted: aggregates to minutes, minutes to hours, hours to days. Pure.

Everything merges exactly by addition: counts, sums and sketches. Spans are not here (coverage has
them), so a merged aggregate must never be shown without the coverage of its time.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Final, TypeVar

import msgspec

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
    ZoneCounts,
)

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

V = TypeVar("V")
_encode = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(Aggregate)


def floor_ms(t_ms: int, step_ms: int) -> int:
    """Return the start of the step that `t_ms` lies in."""
    return t_ms - t_ms % step_ms


def encode(aggregate: Aggregate) -> bytes:
    """Return the bytes of a rollup row."""
    return _encode(aggregate)


def decode(body: bytes) -> Aggregate:
    """Return the aggregate of a rollup row."""
    return _decoder.decode(body)


def strip(aggregate: Aggregate, shift_ms: int = 0) -> Aggregate:
    """Return `aggregate` without spans, moved by `shift_ms`: the form that is merged."""
    return msgspec.structs.replace(
        aggregate,
        spans=[],
        start_ms=aggregate.start_ms + shift_ms,
        end_ms=aggregate.end_ms + shift_ms,
    )


def merge(a: Aggregate, b: Aggregate) -> Aggregate:
    """Return everything that `a` and `b` counted, of one camera, over both their times."""
    return Aggregate(
        camera=a.camera,
        start_ms=min(a.start_ms, b.start_ms),
        end_ms=max(a.end_ms, b.end_ms),
        frames=_frames(a.frames, b.frames),
        model=a.model if a.end_ms >= b.end_ms and a.model else b.model or a.model,
        zones=_maps(a.zones, b.zones, lambda x, y: _maps(x, y, _zone)),
        lines=_maps(a.lines, b.lines, lambda x, y: _maps(x, y, _line)),
        presence_s=_maps(a.presence_s, b.presence_s, lambda x, y: x + y),
        heatmap=_heatmap(a.heatmap, b.heatmap),
        stage_ms=_maps(a.stage_ms, b.stage_ms, histogram),
        confidence=_maps(a.confidence, b.confidence, bins),
        entropy=_maps(a.entropy, b.entropy, bins),
        detections=_maps(a.detections, b.detections, lambda x, y: x + y),
        quality=_maps(a.quality, b.quality, bins),
        slow_path_shed_s=a.slow_path_shed_s + b.slow_path_shed_s,
    )


def merge_all(aggregates: Iterable[Aggregate]) -> Aggregate | None:
    """Return all of them together; None for none."""
    found = list(aggregates)
    return reduce(merge, found) if found else None


def histogram(a: Histogram, b: Histogram) -> Histogram:
    """Return both distributions together.

    Raises:
        MalformedReport: Together they claim more than can be counted; nothing may be kept that
            could not be read again.
    """
    sketch = ExpHistogram.from_wire(a)
    sketch.merge(ExpHistogram.from_wire(b))
    if sketch.count > MAX_COUNT:
        raise MalformedReport("merged histograms claim more observations than can be counted")
    return sketch.to_wire()


def bins(a: Bins, b: Bins) -> Bins:
    """Return both together; where a new version changed the number of bins, the larger count.

    Raises:
        MalformedReport: As `histogram`.
    """
    if len(a.counts) != len(b.counts):
        return max(a, b, key=lambda one: sum(one.counts))
    merged = LinearBins.from_wire(a)
    merged.merge(LinearBins.from_wire(b))
    if merged.count > MAX_COUNT:
        raise MalformedReport("merged bins claim more observations than can be counted")
    return merged.to_wire()


def _maps(a: dict[str, V], b: dict[str, V], join: Callable[[V, V], V]) -> dict[str, V]:
    if not b:
        return a
    merged = dict(a)
    for name, value in b.items():
        merged[name] = join(merged[name], value) if name in merged else value
    return merged


def _frames(a: Frames, b: Frames) -> Frames:
    dropped: dict[Drop, int] = dict(a.dropped)
    for cause, count in b.dropped.items():
        dropped[cause] = dropped.get(cause, 0) + count
    return Frames(
        captured=a.captured + b.captured,
        analysed=a.analysed + b.analysed,
        gated=a.gated + b.gated,
        dropped=dropped,
    )


def _zone(a: ZoneCounts, b: ZoneCounts) -> ZoneCounts:
    dwell_s = histogram(a.dwell_s, b.dwell_s) if a.dwell_s and b.dwell_s else a.dwell_s or b.dwell_s
    return ZoneCounts(
        entered=a.entered + b.entered,
        left=a.left + b.left,
        occupancy_s=a.occupancy_s + b.occupancy_s,
        occupancy_max=max(a.occupancy_max, b.occupancy_max),
        dwell_s=dwell_s,
    )


def _line(a: LineCounts, b: LineCounts) -> LineCounts:
    return LineCounts(forward=a.forward + b.forward, backward=a.backward + b.backward)


def _heatmap(a: Heatmap | None, b: Heatmap | None) -> Heatmap | None:
    if a is None or b is None:
        return a or b
    if (a.rows, a.columns) != (b.rows, b.columns):
        return max(a, b, key=lambda one: sum(one.deciseconds))
    cells = [x + y for x, y in zip(a.deciseconds, b.deciseconds, strict=True)]
    return Heatmap(rows=a.rows, columns=a.columns, deciseconds=cells)
