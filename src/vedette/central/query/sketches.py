"""Distributions: merged sketches of a question's cameras, by step. Decoded only when asked for.

Whole UTC days inside a step come from merged days, the rest from merged hours; both hold the very
sums of their minutes, so which is read changes nothing.
"""

from collections import defaultdict
from collections.abc import Iterator

import msgspec
import numpy as np

from vedette.central.query import engine, totals
from vedette.central.query.engine import Ground, Key
from vedette.central.query.packing import Series
from vedette.central.rollups import DAY_MS, HOUR_MS, floor_ms
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.wire.messages import Bins, Heatmap, Histogram


class _Dwell(msgspec.Struct, frozen=True):
    dwell_s: Histogram | None = None


class _Zones(msgspec.Struct, frozen=True):
    zones: dict[str, dict[str, _Dwell]] = {}


class _Stages(msgspec.Struct, frozen=True):
    stage_ms: dict[str, Histogram] = {}


class _Confidence(msgspec.Struct, frozen=True):
    confidence: dict[str, Bins] = {}


class _Entropy(msgspec.Struct, frozen=True):
    entropy: dict[str, Bins] = {}


class _Quality(msgspec.Struct, frozen=True):
    quality: dict[str, Bins] = {}


class _Heat(msgspec.Struct, frozen=True):
    heatmap: Heatmap | None = None


class _Scores(msgspec.Struct, frozen=True):
    scores: dict[str, Bins] = {}


_DECODERS = {
    "zones": msgspec.msgpack.Decoder(_Zones).decode,
    "stage_ms": msgspec.msgpack.Decoder(_Stages).decode,
    "confidence": msgspec.msgpack.Decoder(_Confidence).decode,
    "entropy": msgspec.msgpack.Decoder(_Entropy).decode,
    "quality": msgspec.msgpack.Decoder(_Quality).decode,
    "heatmap": msgspec.msgpack.Decoder(_Heat).decode,
    "scores": msgspec.msgpack.Decoder(_Scores).decode,
}

Sketch = Histogram | Bins | Heatmap

Found = dict[tuple[str, Series], list[tuple[int, Sketch]]]
"""By device and series, sketches with the unit of the window that each begins in."""

Merged = dict[tuple[Key, int], ExpHistogram | LinearBins]


async def read(tx: Tx, ground: Ground) -> Found:
    """Return every sketch of the question's metric, unmerged.

    Raises:
        ConfigError: Too many to be read for one answer.
    """
    made = ground.grid
    days = _whole_days(ground) if made.unit_ms == HOUR_MS else []
    covered = len(days) * 24
    if (len(days) + made.units - covered) * len(ground.cameras) > engine.MAX_BODIES:
        raise ConfigError(
            f"more than {engine.MAX_BODIES} sketches would have to be read",
            operator_hint="ask for fewer cameras, a shorter window, step=total or clock=utc",
        )
    of = {
        "devices": [c.device for c in ground.cameras],
        "cameras": [c.camera for c in ground.cameras],
    }
    found: Found = defaultdict(list)
    if made.unit_ms != HOUR_MS:
        rows = await tx.tuples("ask_minute_bodies", **of, from_ms=made.from_ms, to_ms=made.to_ms)
        _put(ground, found, rows)
        return found
    late = set(ground.unmerged)
    for query, from_ms, to_ms in _stretches(ground, days):
        rows = await tx.tuples(query, **of, from_ms=from_ms, to_ms=to_ms)
        _put(ground, found, [row for row in rows if (row[0], row[1], row[2]) not in late])
    for device, camera, hour_ms in ground.unmerged:
        one = {"device": device, "camera": camera}
        closed = await tx.tuples("ask_closed_hour", **one, start_ms=hour_ms)
        window = {"from_ms": hour_ms, "to_ms": hour_ms + HOUR_MS}
        rows = await tx.tuples("ask_minute_bodies", devices=[device], cameras=[camera], **window)
        rows += [(device, camera, hour_ms, body) for (body,) in closed]
        _put(ground, found, rows)
    return found


def _whole_days(ground: Ground) -> list[int]:
    """Return the UTC days that lie whole within one step in every time zone, and are merged."""
    made = ground.grid
    late = {floor_ms(hour_ms, DAY_MS) for _, _, hour_ms in ground.unmerged}
    end_ms = min(made.to_ms, floor_ms(ground.complete_to_ms, DAY_MS))
    found: list[int] = []
    for day_ms in range(-floor_ms(-made.from_ms, DAY_MS), end_ms - DAY_MS + 1, DAY_MS):
        first = (day_ms - made.from_ms) // HOUR_MS
        if day_ms not in late and all(
            steps[first] == steps[first + 23] for steps in made.step_of.values()
        ):
            found.append(day_ms)
    return found


def _stretches(ground: Ground, days: list[int]) -> Iterator[tuple[str, int, int]]:
    """Give what to read: runs of whole days as days, all between them as hours."""
    at_ms = ground.grid.from_ms
    for day_ms in days:
        if at_ms < day_ms:
            yield "ask_bodies", at_ms, day_ms
        if at_ms <= day_ms:
            last = day_ms
            while last + DAY_MS in days:
                last += DAY_MS
            yield "ask_day_bodies", day_ms, last + DAY_MS
            at_ms = last + DAY_MS
    if at_ms < ground.grid.to_ms:
        yield "ask_bodies", at_ms, min(ground.grid.to_ms, ground.complete_to_ms)


def _put(ground: Ground, found: Found, rows: list[tuple[str, str, int, bytes]]) -> None:
    field = ground.metric.parts[0][0]
    made = ground.grid
    for device, camera, start_ms, body in rows:
        unit = (start_ms - made.from_ms) // made.unit_ms
        for name, label, sketch in _sketches(field, _DECODERS[field](body)):
            series = (camera, name, label)
            if engine.is_wanted(ground.question, series):
                found[device, series].append((unit, sketch))


def _sketches(field: str, body: object) -> Iterator[tuple[str, str, Sketch]]:
    if isinstance(body, _Zones):
        for zone, by_label in body.zones.items():
            for label, dwell in by_label.items():
                if dwell.dwell_s is not None:
                    yield zone, label, dwell.dwell_s
        return
    if isinstance(body, _Heat):
        if body.heatmap is not None:
            yield "", "", body.heatmap
        return
    for word, sketch in getattr(body, field).items():
        by_class = field in {"confidence", "entropy"}
        yield ("", word, sketch) if by_class else (word, "", sketch)


def merge(ground: Ground, found: Found) -> Merged:
    """Return the sketch of every line and step."""
    cameras = {(c.device, c.camera): c for c in ground.cameras}
    grouped: dict[tuple[Key, int], list[Sketch]] = defaultdict(list)
    for (device, series), listed in found.items():
        camera = cameras[device, series[0]]
        zone = camera.time_zone if ground.question.clock == "site" else "UTC"
        key = engine.group_of(ground.question, camera, series)
        steps = ground.grid.step_of[zone]
        for unit, sketch in listed:
            grouped[key, int(steps[unit])].append(sketch)
    return {at: _merged(listed) for at, listed in grouped.items()}


def _merged(listed: list[Sketch]) -> ExpHistogram | LinearBins:
    """Return all of them as one; bins of another number than the first's are left out."""
    if isinstance(listed[0], Bins):
        size = max(len(one.counts) for one in listed if isinstance(one, Bins))
        rows = [one.counts for one in listed if isinstance(one, Bins) and len(one.counts) == size]
        counts = np.array(rows, dtype=np.int64).sum(axis=0)
        return LinearBins.from_wire(Bins(counts=[int(n) for n in counts]))
    histograms = [one for one in listed if isinstance(one, Histogram)]
    return totals.sketch_of(histograms)


def by_step(ground: Ground, merged: Merged) -> dict[tuple[Key, int], tuple[float | None, int]]:
    """Return the wanted number of every line and step, and of how many observations."""
    stat = ground.question.stat or "p50"
    return {at: (number(sketch, stat), sketch.count) for at, sketch in merged.items()}


def number(sketch: ExpHistogram | LinearBins, stat: str) -> float | None:
    """Return one number of a distribution: count, mean or a quantile as p95."""
    if stat == "count":
        return float(sketch.count)
    if stat == "mean":
        if isinstance(sketch, ExpHistogram):
            return sketch.mean
        size = len(sketch.counts)
        total = sum(n * (at + 0.5) / size for at, n in enumerate(sketch.counts))
        return total / sketch.count if sketch.count else None
    return sketch.quantile(float(stat.removeprefix("p")) / 100)


def heat(found: Found) -> tuple[Heatmap | None, int]:
    """Return all heatmaps of the largest grid as one, and how many of other grids were left out."""
    maps = [one for listed in found.values() for _, one in listed if isinstance(one, Heatmap)]
    if not maps:
        return None, 0
    rows, columns = max((one.rows, one.columns) for one in maps)
    alike = [
        one.deciseconds
        for one in maps
        if (one.rows, one.columns) == (rows, columns) and len(one.deciseconds) == rows * columns
    ]
    cells = np.array(alike, dtype=np.int64).reshape(len(alike), rows * columns).sum(axis=0)
    total = Heatmap(rows=rows, columns=columns, deciseconds=[int(n) for n in cells])
    return total, len(maps) - len(alike)
