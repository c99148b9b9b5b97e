"""From sums by hour to lines of steps: the last part of answering a question."""

from collections import defaultdict

import numpy as np

from vedette.central.query import engine, runs, scalars, sketches, unmerged
from vedette.central.query.catalogue import STATS, Kind
from vedette.central.query.engine import (
    FEW,
    LITTLE,
    MAX_CELLS,
    MAX_LINES,
    Answer,
    Array,
    Block,
    Camera,
    Ground,
    Key,
    Line,
    Question,
    Scope,
    Step,
    Sums,
)
from vedette.central.store.db import Tx
from vedette.central.views import Coverage
from vedette.errors import ConfigError

Read = dict[tuple[Key, int], tuple[float | None, int]] | None
"""By line and step, the wanted number of a distribution and of how many observations."""

_UNSEEN = "coverage.NO_REPORT"


NOTHING = Coverage(fraction=None, observed_s=0.0, accountable_s=0.0)


async def ask(
    tx: Tx,
    question: Question,
    scope: Scope,
    now_ms: int,
    *,
    max_lines: int = MAX_LINES,
    merged: sketches.Merged | None = None,
) -> Answer:
    """Return the answer to a question, within the sites in `scope`.

    `merged` is filled with the distributions themselves, where the question is about one.

    Raises:
        ConfigError: It cannot be answered as it stands; the message says what to change.
    """
    ground = await engine.prepare(tx, question, scope, now_ms)
    if ground.metric.of_device:
        sums, read = await _of_devices(tx, ground), None
    else:
        sums, read = await _of_cameras(tx, ground, now_ms, {} if merged is None else merged)
    lines = _lines(ground, sums, read, max_lines)
    metric = ground.metric
    choice = STATS.get(metric.kind, ("",))
    return Answer(
        metric=metric.name,
        unit=f"{metric.unit}/h" if question.per_hour else metric.unit,
        kind=str(metric.kind),
        stat=question.stat or choice[0],
        from_ms=ground.grid.from_ms,
        to_ms=ground.grid.to_ms,
        step=question.step,
        clock=question.clock,
        complete_to_ms=ground.complete_to_ms,
        unmerged_hours=len(ground.left_out),
        cameras=len(ground.cameras),
        lines=lines,
        hours=question.hours,
    )


def _zone(ground: Ground, camera: Camera) -> str:
    return camera.time_zone if ground.question.clock == "site" else "UTC"


async def _of_cameras(
    tx: Tx, ground: Ground, now_ms: int, merged: sketches.Merged
) -> tuple[Sums, Read]:
    metric, made = ground.metric, ground.grid
    covered = engine.cut(ground, await engine.coverage_of(tx, ground, now_ms))
    if metric.name != "coverage":  # that is exact at every moment
        covered = unmerged.put_off(ground, covered)
    by_model = bool(ground.question.model) or "model" in ground.question.by
    masks = await _models(tx, ground) if by_model else None
    names = {part for parts in metric.parts for part in parts}
    found: list[Block] = []
    read = sketches.NOTHING
    if metric.kind is Kind.DISTRIBUTION:
        read = await sketches.read(tx, ground)
        found = [
            Block(device=d, metric="", series=[series], units=np.zeros((1, made.units)))
            for d, series in {(d, series): None for d, series, _ in read.found}
        ]
    elif names - {"observed_s", "accountable_s"}:
        found = engine.cut(ground, await engine.values_of(tx, ground, names))
        unmerged.leave_out(ground, found)
    sums = Sums(made.units)
    seen = _add_values(ground, sums, found, masks)
    _add_coverage(ground, sums, covered, masks, seen)
    if metric.kind is Kind.DISTRIBUTION:
        merged |= sketches.merge(ground, read)
        return sums, sketches.by_step(ground, merged)
    return sums, None


Masks = dict[tuple[str, str], dict[str, Array]] | None
"""By camera and model, the hours in which it ran, 1 or 0; None where models do not matter."""

Seen = dict[tuple[str, str], set[Key]]
"""By camera, the lines in which it has a series."""


def _add_values(ground: Ground, sums: Sums, found: list[Block], masks: Masks) -> Seen:
    """Add what was counted, series of one line at once; return who is in which line."""
    question, made = ground.question, ground.grid
    cameras = {(c.device, c.camera): c for c in ground.cameras}
    end = -((made.from_ms - ground.complete_to_ms) // made.unit_ms)
    is_largest = ground.metric.kind is Kind.MAXIMUM
    seen: Seen = defaultdict(set)
    for block in found:
        block.units[:, end:] = 0.0
        rows: dict[tuple[Key, str], list[int]] = defaultdict(list)
        for n, series in enumerate(block.series):
            camera = cameras.get((block.device, series[0]))
            if camera is None or not engine.is_wanted(question, series):
                continue
            for model, mask in _parts(masks, block.device, series[0]):
                key = engine.group_of(question, camera, series, model)
                seen[block.device, series[0]].add(key)
                if mask is None:
                    rows[key, _zone(ground, camera)].append(n)
                    continue
                into = sums.values[key, _zone(ground, camera)]
                add = sums.largest if is_largest else sums.add
                add(into, block.metric, block.units[n] * mask)
        for at, numbers in rows.items():
            if is_largest:
                sums.largest(sums.values[at], block.metric, block.units[numbers].max(axis=0))
            else:
                sums.add(sums.values[at], block.metric, block.units[numbers].sum(axis=0))
    return seen


def _add_coverage(
    ground: Ground, sums: Sums, covered: list[Block], masks: Masks, seen: Seen
) -> None:
    """Add the coverage of every camera to the lines that it is in."""
    question = ground.question
    cameras = {(c.device, c.camera): c for c in ground.cameras}
    is_split = bool({"name", "label"} & set(question.by))
    for block in covered:
        rows: dict[tuple[Key, str], list[int]] = defaultdict(list)
        for n, (name, _, _) in enumerate(block.series):
            camera = cameras.get((block.device, name))
            if camera is None:
                continue
            zone = _zone(ground, camera)
            for model, mask in _parts(masks, block.device, name):
                own = {engine.group_of(question, camera, (name, "", ""), model)}
                for key in seen.get((block.device, name), set()) if is_split else own:
                    if mask is None:
                        rows[key, zone].append(n)
                    elif not is_split or _is_of(question, key, model):
                        into = sums.coverage[key, zone]
                        sums.add(into, block.metric, block.units[n] * mask)
        for at, numbers in rows.items():
            sums.add(sums.coverage[at], block.metric, block.units[numbers].sum(axis=0))


def _is_of(question: Question, key: Key, model: str) -> bool:
    """True where a line is about this model, or about all of them."""
    return "model" not in question.by or key[question.by.index("model")] == model


def _parts(masks: Masks, device: str, camera: str) -> list[tuple[str, Array | None]]:
    """Return the models that a camera ran with the hours of each; one part where unasked."""
    if masks is None:
        return [("", None)]
    return list(masks.get((device, camera), {}).items())


async def _models(tx: Tx, ground: Ground) -> dict[tuple[str, str], dict[str, Array]]:
    """Return, by camera and model, the hours in which only that model ran."""
    masks: dict[tuple[str, str], dict[str, Array]] = defaultdict(dict)
    for block in await engine.values_of(tx, ground, [scalars.MODEL_S]):
        for n, (camera, model, _) in enumerate(block.series):
            if not ground.question.model or model == ground.question.model:
                mask = (block.units[n] > 0).astype(np.float64)
                before = masks[block.device, camera].get(model)
                masks[block.device, camera][model] = (
                    mask if before is None else np.maximum(before, mask)
                )
    return masks


async def _of_devices(tx: Tx, ground: Ground) -> Sums:
    """Return the sums of a metric of devices: readings, or sums of them."""
    question, metric, made = ground.question, ground.metric, ground.grid
    devices = {c.device: c for c in ground.cameras}
    wanted = [metric.parts[0][0], scalars.REPORTED_S]
    blocks = await engine.hours_of(tx, ground, wanted, none=np.nan)
    engine.cut(ground, blocks, none=np.nan)
    found = [
        (block.device, block.metric, series, block.units[n])
        for block in blocks
        for n, series in enumerate(block.series)
    ]
    stat = question.stat or "mean"
    sums = Sums(made.units)
    end = -((made.from_ms - ground.complete_to_ms) // made.unit_ms)
    reported: dict[str, Array] = {}
    split: dict[str, set[Key]] = defaultdict(set)
    for device, name, series, units in found:
        camera = devices[device]
        if name == scalars.REPORTED_S:
            before = reported.get(device, np.zeros(made.units))
            reported[device] = before + np.nan_to_num(units)
            continue
        plain = series if metric.kind is not Kind.GAUGE else (series[0], series[1], "")
        if metric.kind is Kind.GAUGE and series[2] != stat:
            continue
        if not engine.is_wanted(question, plain):
            continue
        key = engine.group_of(question, camera, plain)
        split[device].add(key)
        into = sums.values[key, _zone(ground, camera)]
        if metric.kind is Kind.GAUGE and stat in {"min", "max"}:
            pick = np.fmin if stat == "min" else np.fmax
            into["reading"] = pick(into.get("reading", np.full(made.units, np.nan)), units)
        else:
            sums.add(into, "reading", np.nan_to_num(units))
            sums.add(into, "readings", (~np.isnan(units)).astype(np.float64))
    for device, camera in devices.items():
        heard = np.minimum(reported.get(device, np.zeros(made.units)) * 1000, made.unit_ms)
        lost = np.full(made.units, float(made.unit_ms)) - heard
        starts = made.from_ms + np.arange(made.units) * made.unit_ms
        lost[(starts < camera.known_from_ms) | (np.arange(made.units) >= end)] = 0.0
        if ground.opened is not None:
            lost[~ground.opened[camera.site]] = 0.0
        default = {engine.group_of(question, camera, ("", "", ""))}
        for key in split[device] if "name" in question.by else default:
            into = sums.coverage[key, _zone(ground, camera)]
            sums.add(into, runs.OBSERVED, heard)
            sums.add(into, _UNSEEN, lost)
    return sums


# -------------------------------------------------------------------------------------- lines


def _lines(ground: Ground, sums: Sums, read: Read, max_lines: int) -> list[Line]:
    keys = sorted({key for key, _ in sums.values} | {key for key, _ in sums.coverage})
    made = ground.grid
    if len(keys) > max_lines or len(keys) * len(made.starts) > MAX_CELLS:
        raise ConfigError(
            f"{len(keys)} lines of {len(made.starts)} steps are too many",
            operator_hint="select fewer cameras, group by less, or take a longer step",
        )
    zones_of: dict[Key, set[str]] = defaultdict(set)
    for key, zone in (*sums.values, *sums.coverage):
        zones_of[key].add(zone)
    return [
        Line(
            group=dict(zip(ground.question.by, key, strict=True)),
            points=_points(ground, sums, key, sorted(zones_of[key]), read),
        )
        for key in keys
    ]


def _points(
    ground: Ground,
    sums: Sums,
    key: Key,
    zones: list[str],
    read: Read,
) -> list[Step]:
    made = ground.grid
    coverage: dict[str, Array] = {}
    for zone in zones:
        for cause, units in sums.coverage.get((key, zone), {}).items():
            steps = _by_step(ground, zone, units)
            coverage[cause] = coverage[cause] + steps if cause in coverage else steps
    values = _values(ground, sums, key, zones, coverage)
    points: list[Step] = []
    for at, start_ms in enumerate(made.starts):
        told = _coverage({cause: float(steps[at]) for cause, steps in coverage.items()})
        value: float | None = float(values[at]) if np.isfinite(values[at]) else None
        count: int | None = None
        if read is not None:
            value, count = read.get((key, at), (None, 0))
        if told.observed_s == 0.0:
            value = None
        points.append(
            Step(
                t_ms=start_ms,
                end_ms=made.ends[at],
                value=None if value is None else round(value, 6),
                coverage=told,
                note=_note(told, value, count),
                count=count,
            )
        )
    return points


def _note(told: Coverage, value: float | None, count: int | None) -> str:
    if told.observed_s == 0.0:
        return "nothing was observed" if told.accountable_s else "no time to account for"
    if count is not None and value is not None and count < FEW:
        return f"only {count} observations"
    if told.fraction is not None and told.fraction < LITTLE:
        return f"little was observed: {told.fraction:.0%}"
    return ""


def _coverage(found: dict[str, float]) -> Coverage:
    observed_ms = found.pop(runs.OBSERVED, 0.0)
    causes = {
        name.removeprefix("coverage."): lost / 1000
        for name, lost in sorted(found.items())
        if lost and name != "coverage.AWAITING"
    }
    accountable_s = observed_ms / 1000 + sum(causes.values())
    return Coverage(
        fraction=observed_ms / 1000 / accountable_s if accountable_s else None,
        observed_s=observed_ms / 1000,
        accountable_s=accountable_s,
        causes=causes,
    )


def _values(
    ground: Ground, sums: Sums, key: Key, zones: list[str], coverage: dict[str, Array]
) -> Array:
    """Return the value of every step; NaN where there is none."""
    metric, made = ground.metric, ground.grid
    steps = len(made.starts)
    none = np.zeros(steps)
    parts: dict[str, Array] = {}
    for zone in zones:
        for name, units in sums.values.get((key, zone), {}).items():
            if metric.kind in {Kind.MAXIMUM, Kind.GAUGE} and name != "readings":
                some = _extreme(ground, zone, units)
                before = parts.get(name)
                parts[name] = some if before is None else _pick(ground, before, some)
            else:
                some = _by_step(ground, zone, units)
                parts[name] = parts[name] + some if name in parts else some
    observed_s = coverage.get(runs.OBSERVED, none) / 1000
    losses = [lost for name, lost in coverage.items() if name != "coverage.AWAITING"]
    parts["observed_s"] = observed_s
    parts["accountable_s"] = sum(losses, none) / 1000
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric.kind is Kind.RATIO:
            above, below = (
                sum((parts.get(name, none) for name in names), none) for names in metric.parts
            )
            return above / below
        if metric.kind is Kind.GAUGE:
            reading = parts.get("reading", np.full(steps, np.nan))
            return reading / parts["readings"] if "readings" in parts else reading
        name = "reading" if metric.of_device else metric.parts[0][0]
        total = parts.get(name, none)
        return total / (observed_s / 3600) if ground.question.per_hour else total


def _by_step(ground: Ground, zone: str, units: Array) -> Array:
    """Return the sum of every step."""
    steps = np.bincount(ground.grid.step_of[zone], weights=units, minlength=len(ground.grid.starts))
    return steps.astype(np.float64)


def _extreme(ground: Ground, zone: str, units: Array) -> Array:
    """Return the largest, smallest, newest or summed of each step, as the question wants it."""
    steps = len(ground.grid.starts)
    stat = "max" if ground.metric.kind is Kind.MAXIMUM else (ground.question.stat or "mean")
    if stat in {"mean", "last"}:
        return _by_step(ground, zone, np.nan_to_num(units))
    made = np.full(steps, np.nan)
    (np.fmin if stat == "min" else np.fmax).at(made, ground.grid.step_of[zone], units)
    return made


def _pick(ground: Ground, one: Array, other: Array) -> Array:
    stat = "max" if ground.metric.kind is Kind.MAXIMUM else (ground.question.stat or "mean")
    if stat in {"mean", "last"}:
        return one + other
    return np.fmin(one, other) if stat == "min" else np.fmax(one, other)
