"""Resolved coverage in short: runs of one camera's day, and their sums by hour. Pure.

A day is UTC, from `day_ms` on. Runs carry cause and words, not rates: they are what the fleet's
strips show. Joining runs of neighbouring stretches gives what resolving both at once would give.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from vedette.central.rollups import DAY_MS, HOUR_MS, floor_ms
from vedette.central.views import Segment
from vedette.wire.messages import Cause

OBSERVED: Final = "coverage.observed"
METRICS: Final = (OBSERVED, *(f"coverage.{cause}" for cause in Cause))
"""The metric of observed milliseconds, and those of gaps, by cause."""

_Row = tuple[int, int, str | None, str]  # start and end in ms of the day, cause, words

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Row]).decode


def encode(segments: Iterable[Segment], day_ms: int) -> bytes:
    """Return segments that lie within the day as bytes."""
    return _encode([(s.start_ms - day_ms, s.end_ms - day_ms, s.cause, s.detail) for s in segments])


def decode(body: bytes, day_ms: int) -> list[Segment]:
    """Return the segments of a kept day."""
    return [
        Segment(start_ms=day_ms + start, end_ms=day_ms + end, cause=cause, detail=detail)
        for start, end, cause, detail in _decode(body)
    ]


def clip(segments: Iterable[Segment], from_ms: int, to_ms: int) -> list[Segment]:
    """Return what of the segments lies within the window."""
    return [
        segment
        if from_ms <= segment.start_ms and segment.end_ms <= to_ms
        else msgspec.structs.replace(
            segment, start_ms=max(segment.start_ms, from_ms), end_ms=min(segment.end_ms, to_ms)
        )
        for segment in segments
        if max(segment.start_ms, from_ms) < min(segment.end_ms, to_ms)
    ]


def join(segments: Iterable[Segment]) -> list[Segment]:
    """Return segments in order with touching neighbours of the same kind made one."""
    joined: list[Segment] = []
    for segment in segments:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.end_ms == segment.start_ms
            and (last.cause, last.rate_fps, last.detail)
            == (segment.cause, segment.rate_fps, segment.detail)
        ):
            joined[-1] = msgspec.structs.replace(last, end_ms=segment.end_ms)
        else:
            joined.append(segment)
    return joined


def splice(
    kept: Iterable[Segment], fresh: Iterable[Segment], from_ms: int, to_ms: int
) -> list[Segment]:
    """Return `kept` with everything within the window replaced by `fresh`."""
    listed = list(kept)
    before = clip(listed, 0, from_ms) if from_ms > 0 else []
    after = clip(listed, to_ms, max([to_ms, *(s.end_ms for s in listed)]))
    return join([*before, *clip(fresh, from_ms, to_ms), *after])


def days(from_ms: int, to_ms: int) -> range:
    """Return the starts of the days that a window touches."""
    return range(floor_ms(from_ms, DAY_MS), to_ms, DAY_MS)


def spread(
    segments: Iterable[Segment], from_ms: int, unit_ms: int, count: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Return, by metric of coverage, the milliseconds in each unit of time; float64, (count,).

    What lies outside the `count` units from `from_ms` on is left out.
    """
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for segment in segments:
        start = max(segment.start_ms - from_ms, 0)
        end = min(segment.end_ms - from_ms, count * unit_ms)
        if end <= start:
            continue
        name = OBSERVED if segment.cause is None else f"coverage.{segment.cause}"
        units = sums.setdefault(name, np.zeros(count))
        first, last = start // unit_ms, (end - 1) // unit_ms
        if first == last:
            units[first] += end - start
            continue
        units[first] += (first + 1) * unit_ms - start
        units[first + 1 : last] += unit_ms
        units[last] += end - last * unit_ms
    return sums


def day_sums(
    cameras: Mapping[str, Iterable[Segment]], day_ms: int
) -> dict[str, dict[tuple[str, str, str], npt.NDArray[np.float64]]]:
    """Return the sums of every camera of a device, by metric and series."""
    found: dict[str, dict[tuple[str, str, str], npt.NDArray[np.float64]]] = {}
    for camera, segments in sorted(cameras.items()):
        for metric, hours in spread(segments, day_ms, HOUR_MS, 24).items():
            found.setdefault(metric, {})[camera, "", ""] = hours
    # Every camera in every row: rows of the same series are read as one matrix.
    for series in found.values():
        for camera in cameras:
            series.setdefault((camera, "", ""), np.zeros(24))
    return found
