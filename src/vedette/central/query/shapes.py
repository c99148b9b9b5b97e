"""Questions whose answer is no series: worst-first lists, distributions, heatmaps."""

from typing import Final

import msgspec

from vedette.central.query import answers, engine, sketches
from vedette.central.query.catalogue import Kind, Metric
from vedette.central.query.engine import LITTLE, Question, Scope, Step
from vedette.central.store.db import Tx
from vedette.central.views import Coverage
from vedette.errors import ConfigError
from vedette.stats.sketch import ExpHistogram, LinearBins

MAX_WORST: Final = 500
_SHOWN_SCALE: Final = 2
_LOW_IS_BAD: Final = ("coverage", "frames.rate", "device.signal_dbm", "device.disk_free_mb")
_HEAT: Final = Metric(
    name="heatmap",
    unit="s",
    kind=Kind.DISTRIBUTION,
    about="Where tracks stood",
    parts=(("heatmap",),),
)


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """One place in a worst-first list."""

    group: dict[str, str]
    value: float | None
    coverage: Coverage
    note: str


class Worst(msgspec.Struct, frozen=True, kw_only=True):
    """A worst-first list. `little` is apart: too little was observed to rank them."""

    metric: str
    unit: str
    stat: str
    order: str
    from_ms: int
    to_ms: int
    ranked: list[Ranked]
    little: list[Ranked]


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """One merged distribution: quantiles and bins; `upper` bounds of the bins, in the unit."""

    group: dict[str, str]
    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    upper: list[float]
    counts: list[int]
    coverage: Coverage
    note: str


class Distributions(msgspec.Struct, frozen=True, kw_only=True):
    """The distributions of a question, a line each."""

    metric: str
    unit: str
    from_ms: int
    to_ms: int
    lines: list[Distribution]


class HeatmapView(msgspec.Struct, frozen=True, kw_only=True):
    """Where tracks stood: seconds by cell, row by row; null where nothing was observed."""

    rows: int
    columns: int
    seconds: list[float] | None
    from_ms: int
    to_ms: int
    coverage: Coverage
    left_out: int


async def worst(
    tx: Tx, question: Question, scope: Scope, now_ms: int, *, order: str = "", limit: int = 50
) -> Worst:
    """Return cameras (or what `by` says) with the worst value first.

    Raises:
        ConfigError: As `answers.ask`.
    """
    if order not in {"", "low", "high"}:
        raise ConfigError("no such order", operator_hint="use low or high")
    by = question.by or ["site", "device"]
    asked = msgspec.structs.replace(question, step="total", by=by)
    metric = engine.prepare_metric(asked)
    if not question.by and not metric.of_device:
        asked = msgspec.structs.replace(asked, by=["site", "device", "camera"])
    told = await answers.ask(tx, asked, scope, now_ms, max_lines=20_000)
    order = order or ("low" if metric.name in _LOW_IS_BAD else "high")
    rows = [_ranked(line.group, line.points[0]) for line in told.lines if line.points]
    good = [row for row in rows if row.value is not None and (row.coverage.fraction or 0) >= LITTLE]
    # Coverage itself is what is ranked where it is asked for: little of it is the answer.
    if metric.name == "coverage":
        good = [row for row in rows if row.coverage.accountable_s]
        good = [r if r.value is not None else msgspec.structs.replace(r, value=0.0) for r in good]
    kept = {tuple(row.group.values()) for row in good}
    sign = 1.0 if order == "low" else -1.0
    return Worst(
        metric=told.metric,
        unit=told.unit,
        stat=told.stat,
        order=order,
        from_ms=told.from_ms,
        to_ms=told.to_ms,
        ranked=sorted(good, key=lambda r: (sign * (r.value or 0.0), tuple(r.group.values())))[
            :limit
        ],
        little=sorted(
            (row for row in rows if tuple(row.group.values()) not in kept),
            key=lambda r: (r.coverage.fraction or 0.0, tuple(r.group.values())),
        )[:limit],
    )


def _ranked(group: dict[str, str], step: Step) -> Ranked:
    return Ranked(group=group, value=step.value, coverage=step.coverage, note=step.note)


async def distribution(tx: Tx, question: Question, scope: Scope, now_ms: int) -> Distributions:
    """Return merged distributions with quantiles and bins.

    Raises:
        ConfigError: The metric is no distribution; else as `answers.ask`.
    """
    asked = msgspec.structs.replace(question, step="total", stat="count")
    metric = engine.prepare_metric(msgspec.structs.replace(asked, stat=""))
    if metric.kind is not Kind.DISTRIBUTION:
        raise ConfigError(
            f"{metric.name} is no distribution",
            operator_hint="ask for latency, dwell, confidence, entropy, quality or scores",
        )
    merged: sketches.Merged = {}
    told = await answers.ask(tx, asked, scope, now_ms, merged=merged)
    lines: list[Distribution] = []
    for line in told.lines:
        sketch = merged.get((tuple(line.group.values()), 0))
        step = line.points[0]
        seen = step.value is not None and sketch is not None
        upper, counts = _bins(sketch) if sketch is not None and seen else ([], [])
        lines.append(
            Distribution(
                group=line.group,
                count=sketch.count if sketch is not None else 0,
                mean=sketches.number(sketch, "mean") if sketch is not None and seen else None,
                p50=sketches.number(sketch, "p50") if sketch is not None and seen else None,
                p95=sketches.number(sketch, "p95") if sketch is not None and seen else None,
                p99=sketches.number(sketch, "p99") if sketch is not None and seen else None,
                upper=upper,
                counts=counts,
                coverage=step.coverage,
                note=step.note,
            )
        )
    return Distributions(
        metric=metric.name, unit=metric.unit, from_ms=told.from_ms, to_ms=told.to_ms, lines=lines
    )


def _bins(sketch: ExpHistogram | LinearBins) -> tuple[list[float], list[int]]:
    """Return upper bounds and counts, without empty bins at the ends, four a doubling at most."""
    if isinstance(sketch, LinearBins):
        size = len(sketch.counts)
        return [round((at + 1) / size, 6) for at in range(size)], list(sketch.counts)
    coarse = ExpHistogram(_SHOWN_SCALE)
    coarse.merge(sketch)
    wire = coarse.to_wire()
    step = 1 << wire.scale
    upper = [round(2.0 ** ((wire.offset + at + 1) / step), 6) for at in range(len(wire.counts))]
    return ([0.0, *upper], [wire.zero, *wire.counts]) if wire.zero else (upper, list(wire.counts))


async def heatmap(tx: Tx, question: Question, scope: Scope, now_ms: int) -> HeatmapView:
    """Return where tracks stood in front of one camera.

    Raises:
        ConfigError: The selection does not mean exactly one camera.
    """
    asked = msgspec.structs.replace(question, metric="dwell", step="total", by=[], stat="")
    ground = await engine.prepare(tx, asked, scope, now_ms)
    if len(ground.cameras) != 1:
        raise ConfigError(
            f"a heatmap is of one camera; this selects {len(ground.cameras)}",
            operator_hint='for example of="device:lisbon-1 camera:door"',
        )
    found = await sketches.read(tx, msgspec.structs.replace(ground, metric=_HEAT))
    total, left_out = sketches.heat(found)
    coverage = await answers.ask(
        tx, msgspec.structs.replace(asked, metric="coverage"), scope, now_ms
    )
    told = coverage.lines[0].points[0].coverage if coverage.lines else answers.NOTHING
    seen = total is not None and told.observed_s > 0
    return HeatmapView(
        rows=total.rows if total else 0,
        columns=total.columns if total else 0,
        seconds=[n / 10 for n in total.deciseconds] if total and seen else None,
        from_ms=ground.grid.from_ms,
        to_ms=ground.grid.to_ms,
        coverage=told,
        left_out=left_out,
    )
