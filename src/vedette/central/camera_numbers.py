"""One camera's numbers over a window, for its pages: asked of `query`, never summed here.

    speed     rate, latency of every stage against its budget, what was lost and why
    quality   the scores of its pictures
    counts    zones and lines by step, stays, where they stood, confidence against the time before

The rule: a step of which nothing was observed is null, and every panel carries the coverage of the
whole window. What "confidence now" is compared with are the seven days before the window.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from vedette.central.cameras import BUDGET_MS
from vedette.central.query import answers, shapes, sketches
from vedette.central.query.engine import Answer, Question, Scope
from vedette.central.rollups import DAY_MS, HOUR_MS
from vedette.central.store.db import Tx
from vedette.central.views import Coverage, Point, Stage

REFERENCE_MS: Final = 7 * DAY_MS
ENOUGH: Final = 200
"""Detections that a distribution needs before two of them are compared."""

_BY_MINUTE_MS: Final = 6 * HOUR_MS
_BY_HOUR_MS: Final = 31 * DAY_MS


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """Which camera, over which window, seen by whom."""

    device: str
    camera: str
    from_ms: int
    to_ms: int
    now_ms: int
    scope: Scope = None

    def question(self, metric: str, **more: object) -> Question:
        """Return a question about this camera over its window."""
        of = f"device:{self.device} camera:{self.camera}"
        asked = Question(metric=metric, of=of, from_ms=self.from_ms, to_ms=self.to_ms, clock="utc")
        return msgspec.structs.replace(asked, **more)

    @property
    def step(self) -> str:
        """How fine its lines are: minutes of hours, hours of weeks, days of months."""
        span_ms = self.to_ms - self.from_ms
        if span_ms <= _BY_MINUTE_MS:
            return "minute"
        return "hour" if span_ms <= _BY_HOUR_MS else "day"


Lines = dict[str, list[Point]]


class StageTrend(msgspec.Struct, frozen=True, kw_only=True):
    """One stage over time against its budget, and over the whole window."""

    stage: Stage
    lines: Lines


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Rate, latency and losses.

    Attributes:
        complete_to_ms, unmerged_hours: Up to where they speak, and how many hours before it are not
            merged yet: as `query.engine.Answer`.
    """

    step: str
    complete_to_ms: int
    unmerged_hours: int
    coverage: Coverage
    rate: list[Point]
    stages: list[StageTrend]
    drops: Lines


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """The mean score of each measure over time, 0 to 1, and over the whole window."""

    step: str
    complete_to_ms: int
    unmerged_hours: int
    coverage: Coverage
    lines: Lines
    means: dict[str, float | None]


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """One zone or line by step, each with its coverage."""

    name: str
    kind: str
    steps: list[tuple[int, int, float | None, Coverage]]
    total: float | None


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A class's confidence now and in the time before.

    Attributes:
        distance: The largest difference between both cumulated shares, 0 alike to 1 apart; None
            where either has less than `ENOUGH`.
    """

    label: str
    now: list[int]
    before: list[int]
    distance: float | None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What the camera counted and how its detections were."""

    step: str
    complete_to_ms: int
    unmerged_hours: int
    coverage: Coverage
    columns: list[Columns]
    dwell: list[shapes.Distribution]
    heatmap: shapes.HeatmapView
    compared: list[Compared]
    before: Coverage


def _points(answer: Answer, at: int = 0) -> list[Point]:
    if at >= len(answer.lines):
        return []
    return [Point(t_ms=step.t_ms, value=step.value) for step in answer.lines[at].points]


def _by_name(answer: Answer, word: str = "name") -> Lines:
    return {line.group[word]: _points(answer, n) for n, line in enumerate(answer.lines)}


async def _coverage(tx: Tx, of: Camera) -> Coverage:
    told = await answers.ask(tx, of.question("coverage"), of.scope, of.now_ms)
    return told.lines[0].points[0].coverage if told.lines else answers.NOTHING


async def speed(tx: Tx, of: Camera) -> Speed:
    """Return how fast the camera's pictures are worked off.

    Raises:
        ConfigError: The window is too long for what is kept.
    """
    rate = await answers.ask(tx, of.question("frames.rate", step=of.step), of.scope, of.now_ms)
    drops = await answers.ask(
        tx, of.question("frames.dropped", step=of.step, by=["name"]), of.scope, of.now_ms
    )
    trends = await _latency(tx, of, of.step)
    whole = await shapes.distribution(tx, of.question("latency", by=["name"]), of.scope, of.now_ms)
    stages = {line.group["name"]: _stage(line) for line in whole.lines}
    order = [*BUDGET_MS, *sorted(set(stages) - set(BUDGET_MS))]
    return Speed(
        step=of.step,
        complete_to_ms=rate.complete_to_ms,
        unmerged_hours=rate.unmerged_hours,
        coverage=await _coverage(tx, of),
        rate=_points(rate),
        stages=[
            StageTrend(stage=stages[name], lines=trends.get(name, {}))
            for name in order
            if name in stages
        ],
        drops={name: points for name, points in _by_name(drops).items() if _some(points)},
    )


def _some(points: Sequence[Point]) -> bool:
    return any(point.value for point in points)


async def _latency(tx: Tx, of: Camera, step: str) -> dict[str, Lines]:
    """Return the quantiles of every stage by step, from one reading of the sketches."""
    merged: sketches.Merged = {}
    asked = of.question("latency", step=step, by=["name"])
    told = await answers.ask(tx, asked, of.scope, of.now_ms, merged=merged)
    found: dict[str, Lines] = {}
    for line in told.lines:
        key = tuple(line.group.values())
        found[line.group["name"]] = {
            stat: [
                Point(t_ms=point.t_ms, value=_read(merged, (key, n), stat, point.value))
                for n, point in enumerate(line.points)
            ]
            for stat in ("p50", "p95", "p99")
        }
    return found


def _read(
    merged: sketches.Merged, at: tuple[tuple[str, ...], int], stat: str, seen: float | None
) -> float | None:
    """Return one quantile of one step; None where nothing was observed in it."""
    sketch = merged.get(at)
    if sketch is None or seen is None:
        return None
    value = sketches.number(sketch, stat)
    return None if value is None else round(value, 3)


def _stage(line: shapes.Distribution) -> Stage:
    name = line.group["name"]
    return Stage(
        stage=name,
        budget_ms=BUDGET_MS.get(name),
        p50_ms=line.p50,
        p95_ms=line.p95,
        p99_ms=line.p99,
        count=line.count,
    )


async def quality(tx: Tx, of: Camera) -> Quality:
    """Return how good the camera's pictures were.

    Raises:
        ConfigError: The window is too long for what is kept.
    """
    asked = of.question("quality", by=["name"], stat="mean")
    over_time = msgspec.structs.replace(asked, step=of.step)
    told = await answers.ask(tx, over_time, of.scope, of.now_ms)
    whole = await answers.ask(tx, asked, of.scope, of.now_ms)
    return Quality(
        step=of.step,
        complete_to_ms=told.complete_to_ms,
        unmerged_hours=told.unmerged_hours,
        coverage=await _coverage(tx, of),
        lines=_by_name(told),
        means={line.group["name"]: line.points[0].value for line in whole.lines},
    )


_COUNTED: Final = (
    ("zone.entered", "entered"),
    ("line.forward", "forward"),
    ("line.backward", "backward"),
)


async def counts(tx: Tx, of: Camera) -> Counts:
    """Return what the camera counted, by hour or day, and what its detections were like.

    Raises:
        ConfigError: The window is too long for what is kept.
    """
    step = "hour" if of.step == "minute" else of.step
    complete_ms, unmerged, columns = of.to_ms, 0, []
    for metric, kind in _COUNTED:
        asked = of.question(metric, step=step, by=["name"])
        told = await answers.ask(tx, asked, of.scope, of.now_ms)
        complete_ms = min(complete_ms, told.complete_to_ms)
        unmerged = max(unmerged, told.unmerged_hours)
        columns += [_columns(line.group["name"], kind, line.points) for line in told.lines]
    dwell = await shapes.distribution(tx, of.question("dwell", by=["name"]), of.scope, of.now_ms)
    before_of = msgspec.structs.replace(of, from_ms=of.from_ms - REFERENCE_MS, to_ms=of.from_ms)
    now, before = [
        await shapes.distribution(
            tx, one.question("confidence", by=["label"]), one.scope, one.now_ms
        )
        for one in (of, before_of)
    ]
    heat = await shapes.heatmap(tx, of.question("dwell"), of.scope, of.now_ms)
    return Counts(
        step=step,
        complete_to_ms=complete_ms,
        unmerged_hours=unmerged,
        coverage=await _coverage(tx, of),
        columns=sorted(columns, key=lambda one: (one.name, one.kind)),
        dwell=dwell.lines,
        heatmap=heat,
        compared=_compared(_bins(now), _bins(before)),
        before=await _coverage(tx, before_of),
    )


def _columns(name: str, kind: str, points: Sequence[answers.Step]) -> Columns:
    seen = [point.value for point in points if point.value is not None]
    return Columns(
        name=name,
        kind=kind,
        steps=[(p.t_ms, p.end_ms, p.value, p.coverage) for p in points],
        total=sum(seen) if seen else None,
    )


def _bins(told: shapes.Distributions) -> dict[str, list[int]]:
    return {line.group["label"]: line.counts for line in told.lines if line.count}


def _compared(now: Mapping[str, list[int]], before: Mapping[str, list[int]]) -> list[Compared]:
    return [
        Compared(
            label=label,
            now=now.get(label, []),
            before=before.get(label, []),
            distance=distance(now.get(label, []), before.get(label, [])),
        )
        for label in sorted(now.keys() | before.keys())
    ]


def distance(now: Sequence[int], before: Sequence[int]) -> float | None:
    """Return how far two distributions over the same bins are apart, 0 to 1; None: too little.

    Source: the two-sample statistic of Kolmogorov and Smirnov. It is told without a level of
    significance: detections of one person in many pictures are not independent.
    """
    n, m = sum(now), sum(before)
    if min(n, m) < ENOUGH or len(now) != len(before):
        return None
    largest, here, there = 0.0, 0, 0
    for a, b in zip(now, before, strict=True):
        here, there = here + a, there + b
        largest = max(largest, abs(here / n - there / m))
    return largest
