"""Adding up many aggregates of one camera at once: as `rollups.merge_all`, in less time. Pure.

Sketches and grids are added as arrays. Where shapes differ, which happens at a change of version,
`merge_all` does it: the answer is the same either way.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np

from vedette.central import rollups
from vedette.errors import MalformedReport
from vedette.stats.sketch import MAX_COUNT, SCALE, ExpHistogram
from vedette.stats.summing import MAX_LEFT_OUT, add_frames, add_lines, exact
from vedette.wire.messages import (
    Aggregate,
    Bins,
    Frames,
    Heatmap,
    Histogram,
    LineCounts,
    ZoneCounts,
)

_QUANTUM: Final = 2.0**-20  # of a sketch's sum
_ZONE_COUNTS: Final = (
    "entered", "left", "visits", "loitered", "picked", "placed", "headed", "shelf_changed",
)  # fmt: skip

V = TypeVar("V")
R = TypeVar("R")


class _Uneven(Exception):
    """Two things of one name have different shapes."""


def total(aggregates: Iterable[Aggregate]) -> Aggregate | None:
    """Return all of them together; None for none.

    Raises:
        MalformedReport: Together they claim more than can be counted.
    """
    found = list(aggregates)
    if len(found) < 3 or any(one.spans for one in found):
        return rollups.merge_all(found)
    try:
        return _total(found)
    except _Uneven:
        return rollups.merge_all(found)


def _total(found: Sequence[Aggregate]) -> Aggregate:
    frames = Frames()
    for one in found:
        frames = add_frames(frames, one.frames)
    heatmaps = [one.heatmap for one in found if one.heatmap is not None]
    return Aggregate(
        camera=found[0].camera,
        start_ms=min(one.start_ms for one in found),
        end_ms=max(one.end_ms for one in found),
        frames=frames,
        model=",".join(sorted({n for one in found for n in one.model.split(",") if n})),
        zones=_nested([one.zones for one in found], _zones),
        lines=_nested([one.lines for one in found], _lines),
        presence_s=_each([one.presence_s for one in found], _seconds),
        heatmap=_heatmap(heatmaps) if heatmaps else None,
        stage_ms=_each([one.stage_ms for one in found], add_histograms),
        confidence=_each([one.confidence for one in found], add_bins),
        entropy=_each([one.entropy for one in found], add_bins),
        detections=_each([one.detections for one in found], sum),
        quality=_each([one.quality for one in found], add_bins),
        slow_path_shed_s=_seconds([one.slow_path_shed_s for one in found]),
        class_s=_each([one.class_s for one in found], _seconds),
        scores=_each([one.scores for one in found], add_bins),
        left_out=sorted({name for one in found for name in one.left_out})[:MAX_LEFT_OUT],
    )


def _each(maps: Iterable[Mapping[str, V]], add: Callable[[list[V]], R]) -> dict[str, R]:
    """Return the sums of what stands under each name."""
    gathered: dict[str, list[V]] = defaultdict(list)
    for one in maps:
        for name, value in one.items():
            gathered[name].append(value)
    return {name: add(values) for name, values in gathered.items()}


def _nested(
    maps: Iterable[Mapping[str, Mapping[str, V]]], add: Callable[[list[V]], R]
) -> dict[str, dict[str, R]]:
    return _each(maps, lambda inner: _each(inner, add))


def _seconds(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(exact(value) for value in listed) if len(listed) > 1 else listed[0]


def add_histograms(listed: list[Histogram]) -> Histogram:
    """Return histograms of one scale as one, exactly.

    Raises:
        MalformedReport: Together they claim more observations than can be counted.
    """
    if len(listed) == 1:
        return listed[0]
    if len({one.scale for one in listed}) > 1:
        raise _Uneven
    zero = sum(one.zero for one in listed)
    quanta = sum(round(one.sum / _QUANTUM) for one in listed)
    filled = [one for one in listed if one.counts]
    first = min((one.offset for one in filled), default=0)
    counts = np.zeros(
        max((one.offset + len(one.counts) for one in filled), default=0) - first, dtype=np.int64
    )
    for one in filled:
        at = one.offset - first
        counts[at : at + len(one.counts)] += np.array(one.counts, dtype=np.int64)
    _check(zero + int(counts.sum(dtype=np.float64)), "histograms")
    used = np.flatnonzero(counts)
    if not len(used):
        return Histogram(scale=listed[0].scale, zero=zero, sum=quanta * _QUANTUM)
    return Histogram(
        scale=listed[0].scale,
        zero=zero,
        offset=first + int(used[0]),
        counts=counts[used[0] : used[-1] + 1].tolist(),
        sum=quanta * _QUANTUM,
    )


def sketch_of(listed: list[Histogram]) -> ExpHistogram:
    """Return the sketch of all of them, whatever their scales.

    Raises:
        MalformedReport: Together they claim more observations than can be counted.
    """
    by_scale: dict[int, list[Histogram]] = defaultdict(list)
    for one in listed:
        by_scale[one.scale].append(one)
    sketch = ExpHistogram(min(by_scale, default=SCALE))
    for some in by_scale.values():
        sketch.merge(ExpHistogram.from_wire(add_histograms(some)))
    return sketch


def add_bins(listed: list[Bins]) -> Bins:
    """Return bins of one number as one, exactly.

    Raises:
        MalformedReport: Together they claim more observations than can be counted.
    """
    if len({len(one.counts) for one in listed}) > 1:
        raise _Uneven
    counts = np.array([one.counts for one in listed], dtype=np.int64).sum(axis=0)
    if len(listed) > 1:
        _check(int(counts.sum(dtype=np.float64)), "bins")
    return Bins(counts=counts.tolist())


def _check(count: int, what: str) -> None:
    if count > MAX_COUNT:
        raise MalformedReport(f"merged {what} claim more observations than can be counted")


def _heatmap(listed: list[Heatmap]) -> Heatmap:
    if len({(one.rows, len(one.deciseconds)) for one in listed}) > 1:
        raise _Uneven
    cells = np.array([one.deciseconds for one in listed], dtype=np.int64).sum(axis=0)
    return Heatmap(rows=listed[0].rows, columns=listed[0].columns, deciseconds=cells.tolist())


def _zones(listed: list[ZoneCounts]) -> ZoneCounts:
    dwells = [one.dwell_s for one in listed if one.dwell_s is not None]
    return ZoneCounts(
        **{name: sum(getattr(one, name) for one in listed) for name in _ZONE_COUNTS},
        occupancy_s=_seconds([one.occupancy_s for one in listed]),
        occupancy_max=max(one.occupancy_max for one in listed),
        dwell_s=add_histograms(dwells) if dwells else None,
    )


def _lines(listed: list[LineCounts]) -> LineCounts:
    crossed = listed[0]
    for one in listed[1:]:
        crossed = add_lines(crossed, one)
    return crossed
