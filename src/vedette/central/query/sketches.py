"""Distributions: merged sketches of a question's cameras, by step. Decoded only when asked for.

Whole UTC days inside a step come from merged days, and where whole devices are asked about from
what `sketch_days` laid out of them; the rest from merged hours. All hold the very sums of their
minutes, so which is read changes nothing. By model, a day in which it changed is read by the hour.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import numpy as np

from vedette.central.query import engine, packing, sketch_days, totals
from vedette.central.query.engine import Ground, Key
from vedette.central.query.packing import Series
from vedette.central.rollups import DAY_MS, HOUR_MS, floor_ms
from vedette.central.store.db import TupleRow, Tx
from vedette.errors import ConfigError
from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.wire.messages import Bins, Heatmap, Histogram


class _Dwell(msgspec.Struct, frozen=True):
    dwell_s: Histogram | None = None


class _OfModel(msgspec.Struct, frozen=True):
    model: str = ""


class _Zones(_OfModel, frozen=True):
    zones: dict[str, dict[str, _Dwell]] = {}


class _Stages(_OfModel, frozen=True):
    stage_ms: dict[str, Histogram] = {}


class _Confidence(_OfModel, frozen=True):
    confidence: dict[str, Bins] = {}


class _Entropy(_OfModel, frozen=True):
    entropy: dict[str, Bins] = {}


class _Quality(_OfModel, frozen=True):
    quality: dict[str, Bins] = {}


class _Heat(_OfModel, frozen=True):
    heatmap: Heatmap | None = None


class _Scores(_OfModel, frozen=True):
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

_of_model = msgspec.msgpack.Decoder(_OfModel).decode

Sketch = Histogram | Bins | Heatmap

Found = dict[tuple[str, Series, str], list[tuple[int, Sketch]]]
"""By device, series and model (empty where unasked), sketches with the unit that each begins in."""

Merged = dict[tuple[Key, int], ExpHistogram | LinearBins]


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What was read: sketches of cameras, and by line and step those of whole devices."""

    found: Found
    packed: dict[tuple[Key, int], list[Sketch]]


NOTHING: Final = Read(found={}, packed={})


async def read(tx: Tx, ground: Ground) -> Read:
    """Return every sketch of the question's metric, unmerged.

    Raises:
        ConfigError: Too many to be read for one answer.
    """
    made = ground.grid
    found: Found = defaultdict(list)
    of = {
        "devices": [c.device for c in ground.cameras],
        "cameras": [c.camera for c in ground.cameras],
    }
    if made.unit_ms != HOUR_MS:
        _check(made.units * len(ground.cameras))
        rows = await tx.packed("ask_minute_bodies", **of, from_ms=made.from_ms, to_ms=made.to_ms)
        _put(ground, found, rows)
        return Read(found=found, packed={})
    days = _whole_days(ground)
    packed: dict[tuple[Key, int], list[Sketch]] = {}
    alone: list[tuple[str, str, int]] = []
    is_packed = engine.can_pack(ground.question) and len(ground.whole) == len(ground.devices)
    if is_packed and ground.metric.parts[0][0] in sketch_days.FIELDS and days:
        packed, alone = await _packed(tx, ground, days)
    by_day = 0 if packed or alone else len(days) * len(ground.cameras)
    _check(by_day + len(alone) + (made.units - len(days) * 24) * len(ground.cameras))
    late = set(ground.unmerged)
    for query, from_ms, to_ms in _stretches(ground, days):
        if query == "ask_day_bodies" and (packed or alone):
            continue
        rows = await tx.packed(query, **of, from_ms=from_ms, to_ms=to_ms)
        rows = [row for row in rows if (row[0], row[1], row[2]) not in late]
        await _put_days(tx, ground, found, rows)
    if alone:
        rows = await tx.packed("ask_bodies_of_days", **_pairs(alone))
        await _put_days(tx, ground, found, rows)
    for device, camera, hour_ms in ground.unmerged:
        one = {"device": device, "camera": camera}
        closed = await tx.packed("ask_closed_hour", **one, start_ms=hour_ms)
        window = {"from_ms": hour_ms, "to_ms": hour_ms + HOUR_MS}
        rows = await tx.packed("ask_minute_bodies", devices=[device], cameras=[camera], **window)
        rows += [(device, camera, hour_ms, body) for (body,) in closed]
        models = {_model(body) for *_, body in rows}
        _put(ground, found, rows, engine.joined(models))
    return Read(found=found, packed=packed)


def _check(bodies: int) -> None:
    if bodies > engine.MAX_BODIES:
        raise ConfigError(
            f"more than {engine.MAX_BODIES} sketches would have to be read",
            operator_hint="ask for fewer cameras, a shorter window, step=total or clock=utc, or"
            " without group_by of cameras, names and labels",
        )


def _pairs(listed: Iterable[tuple[str, str, int]]) -> dict[str, list[str] | list[int]]:
    rows = list(listed)
    return {
        "devices": [device for device, _, _ in rows],
        "cameras": [camera for _, camera, _ in rows],
        "days": [day_ms for _, _, day_ms in rows],
    }


async def _put_days(tx: Tx, ground: Ground, found: Found, rows: list[TupleRow]) -> None:
    """Take in merged days or hours; of a day in which the model changed, its hours if asked."""
    if _by_model(ground):
        mixed = [row for row in rows if row[2] % DAY_MS == 0 and "," in _model(row[3])]
        if mixed:
            pairs = _pairs((device, camera, day_ms) for device, camera, day_ms, _ in mixed)
            hours = await tx.packed("ask_bodies_within_days", **pairs)
            have = {(device, camera, floor_ms(at, DAY_MS)) for device, camera, at, _ in hours}
            rows = [row for row in rows if (row[0], row[1], row[2]) not in have] + hours
    _put(ground, found, rows)


def _by_model(ground: Ground) -> bool:
    return bool(ground.question.model) or "model" in ground.question.by


def _model(body: bytes) -> str:
    return _of_model(body).model


async def _packed(
    tx: Tx, ground: Ground, days: list[int]
) -> tuple[dict[tuple[Key, int], list[Sketch]], list[tuple[str, str, int]]]:
    """Return sketches of whole devices, and the days of cameras that are not laid out yet."""
    question, made = ground.question, ground.grid
    window = {"devices": ground.devices, "from_ms": days[0], "to_ms": days[-1] + DAY_MS}
    wanted = set(days)
    dirty = {row for row in await tx.tuples("ask_sketch_dirty", **window) if row[1] in wanted}
    whose = {device for device, _ in dirty}
    alone = [
        (c.device, c.camera, day_ms)
        for c in ground.cameras
        if c.device in whose
        for day_ms in days
        if (c.device, day_ms) in dirty
    ]
    loose = {at for (at,) in await tx.tuples("ask_sketch_loose", **window)}
    loose |= {floor_ms(day_ms, packing.WEEK_MS) for _, day_ms in dirty}
    spans = _spans(ground, days, loose)
    parts: dict[Key, int] = {}
    of_part: list[engine.Camera] = []
    part_of: dict[str, int] = {}
    for camera in ground.cameras:
        key = engine.group_of(question, camera, (camera.camera, "", ""))
        if key not in parts:
            parts[key] = len(of_part)
            of_part.append(camera)
        part_of.setdefault(camera.device, parts[key])
    await tx.value("ask_more_memory")
    rows = await tx.packed(
        "ask_sketches",
        field=ground.metric.parts[0][0],
        names=question.names or None,
        devices=list(part_of),
        parts=list(part_of.values()),
        starts=[at for at, _, _ in spans],
        days=[length for _, length, _ in spans],
        steps=[step for _, _, step in spans],
        dirty_devices=[device for device, _ in dirty],
        dirty_days=[day_ms for _, day_ms in dirty],
        from_ms=floor_ms(days[0], packing.WEEK_MS),
        to_ms=made.to_ms,
    )
    packed: dict[tuple[Key, int], list[Sketch]] = defaultdict(list)
    for part, step, name, *laid in rows:
        camera = of_part[part]
        for (label, model, _), sketch in sketch_days.unpack(*laid):
            series = (camera.camera, name, label)
            if engine.is_wanted(question, series) and question.model in {"", model}:
                packed[engine.group_of(question, camera, series, model), step].append(sketch)
    return packed, alone


def _spans(ground: Ground, days: list[int], loose: set[int]) -> list[tuple[int, int, int]]:
    """Return what to read: start, days (1 or 7) and step; whole weeks where all is merged."""
    made = ground.grid
    some = next(iter(made.step_of.values()))
    step_of = {day_ms: int(some[(day_ms - made.from_ms) // HOUR_MS]) for day_ms in days}
    spans: list[tuple[int, int, int]] = []
    taken: set[int] = set()
    for day_ms in days:
        if day_ms in taken:
            continue
        week = [day_ms + n * DAY_MS for n in range(7)]
        is_week = day_ms % packing.WEEK_MS == 0 and day_ms not in loose
        if is_week and all(step_of.get(at) == step_of[day_ms] for at in week):
            taken.update(week)
            spans.append((day_ms, 7, step_of[day_ms]))
        else:
            spans.append((day_ms, 1, step_of[day_ms]))
    return spans


def _whole_days(ground: Ground) -> list[int]:
    """Return the UTC days that are merged and wholly asked about, in one step in every zone."""
    made = ground.grid
    late = {floor_ms(hour_ms, DAY_MS) for _, _, hour_ms in ground.unmerged}
    end_ms = min(made.to_ms, floor_ms(ground.complete_to_ms, DAY_MS))
    opened = np.ones(made.units, dtype=np.bool_)
    for mask in (ground.opened or {}).values():
        opened &= mask
    found: list[int] = []
    for day_ms in range(-floor_ms(-made.from_ms, DAY_MS), end_ms - DAY_MS + 1, DAY_MS):
        first = (day_ms - made.from_ms) // HOUR_MS
        # The same step everywhere: midnight here and midnight there may part months.
        is_whole = (
            len({int(s[at]) for s in made.step_of.values() for at in (first, first + 23)}) == 1
        )
        if is_whole and day_ms not in late and opened[first : first + 24].all():
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


def _put(ground: Ground, found: Found, rows: list[TupleRow], model: str = "") -> None:
    """Take in bodies; `model` where it is known better than each of them knows."""
    field = ground.metric.parts[0][0]
    made = ground.grid
    by_model = _by_model(ground)
    site_of = {camera.device: camera.site for camera in ground.cameras}
    for device, camera, start_ms, body in rows:
        unit = (start_ms - made.from_ms) // made.unit_ms
        if ground.opened is not None and not ground.opened[site_of[device]][unit]:
            continue
        decoded = _DECODERS[field](body)
        ran = (model or decoded.model) if by_model else ""
        if ground.question.model not in {"", ran}:
            continue
        for name, label, sketch in _sketches(field, decoded):
            series = (camera, name, label)
            if engine.is_wanted(ground.question, series):
                found[device, series, ran].append((unit, sketch))


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


def merge(ground: Ground, read: Read) -> Merged:
    """Return the sketch of every line and step."""
    cameras = {(c.device, c.camera): c for c in ground.cameras}
    grouped: dict[tuple[Key, int], list[Sketch]] = defaultdict(list)
    for at, listed in read.packed.items():
        grouped[at] += listed
    for (device, series, model), listed in read.found.items():
        camera = cameras[device, series[0]]
        zone = camera.time_zone if ground.question.clock == "site" else "UTC"
        key = engine.group_of(ground.question, camera, series, model)
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


def heat(read: Read) -> tuple[Heatmap | None, int]:
    """Return all heatmaps of the largest grid as one, and how many of other grids were left out."""
    maps = [one for listed in read.found.values() for _, one in listed if isinstance(one, Heatmap)]
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
