"""Questions to central: values beside coverage and causes, equal to the sums of what was sent."""

import msgspec
import pytest

from vedette.central import jobs, liveness
from vedette.central.query import answers, engine, keeping, shapes
from vedette.central.rollups import DAY_MS, HOUR_MS, MINUTE_MS, floor_ms
from vedette.errors import ConfigError
from vedette.stats.sketch import ExpHistogram
from vedette.wire.messages import (
    Aggregate,
    Cause,
    Frames,
    HealthReport,
    Heatmap,
    Span,
    SpoolHealth,
    SystemHealth,
    ZoneCounts,
)

pytestmark = pytest.mark.anyio


def minute(start_ms: int, camera: str = "door", *, cause: Cause | None = None, **more) -> Aggregate:
    """One minute of a camera: five visits, one of each of two dwell times."""
    dwell = ExpHistogram()
    dwell.add_many([10.0, 40.0])
    seen = cause is None
    return Aggregate(
        camera=camera,
        start_ms=start_ms,
        end_ms=start_ms + MINUTE_MS,
        spans=[Span(start_ms=start_ms, end_ms=start_ms + MINUTE_MS, cause=cause)],
        frames=Frames(captured=300, analysed=300) if seen else Frames(),
        model=more.pop("model", "m@1"),
        zones={
            "till": {
                "person": ZoneCounts(
                    visits=5, occupancy_s=30.0, occupancy_max=3, dwell_s=dwell.to_wire()
                )
            }
        }
        if seen
        else {},
        heatmap=Heatmap(rows=1, columns=2, deciseconds=[10, 20]) if seen else None,
        **more,
    )


class Told:
    """A fleet that was told things, with questions to it."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet

    @property
    def now_ms(self) -> int:
        return self.fleet.now_ms

    async def send(self, device, aggregates: list[Aggregate]) -> None:
        made = [device.envelope("aggregate.v1", one) for one in aggregates]
        health = HealthReport(
            at_ms=self.now_ms, period_s=30.0, version="1", spool=SpoolHealth(),
            system=SystemHealth(cpu_fraction=0.5, temperatures_c={"soc": 61.0}),
        )  # fmt: skip
        await device.up(*made, device.envelope("health.v1", health))

    async def settle(self) -> None:
        """Let the jobs do what they do."""
        await self.fleet.rows("UPDATE central_heartbeat SET beat_ms = %s RETURNING 1", self.now_ms)
        await jobs.merge_hours(self.fleet.db, self.now_ms)
        await keeping.advance(self.fleet.db, self.now_ms)

    async def ask(self, metric: str, from_ms: int, to_ms: int, scope=None, **more):
        question = engine.Question(metric=metric, from_ms=from_ms, to_ms=to_ms, **more)
        async with self.fleet.db.transaction() as tx:
            return await answers.ask(tx, question, scope, self.now_ms)


@pytest.fixture
async def told(fleet) -> Told:
    """Two sites: `shop` observed in two of three hours, `far` in one; the third hour is down."""
    told = Told(fleet)
    start = floor_ms(fleet.now_ms, HOUR_MS) + HOUR_MS
    fleet.clock.advance((start + 3 * HOUR_MS - fleet.now_ms) / 1000 + 600)
    await liveness.tick(fleet.db, fleet.services.bulletin, fleet.now_ms)  # its own absence is known
    shop, far = await fleet.device("shop"), await fleet.device("far")
    for hour in range(3):
        down = Cause.CAMERA_DOWN if hour == 2 else None
        minutes = range(start + hour * HOUR_MS, start + (hour + 1) * HOUR_MS, MINUTE_MS)
        await told.send(shop, [minute(at, cause=down) for at in minutes])
        if hour == 0:
            await told.send(far, [minute(at, model="m@2") for at in minutes])
    told.start_ms = start
    told.devices = shop.device, far.device
    return told


async def test_a_sum_is_the_same_before_and_after_the_jobs(told) -> None:
    """From minutes, and from what is laid out of merged hours: the same, and what was sent."""
    window = (told.start_ms, told.start_ms + 3 * HOUR_MS)
    before = await told.ask("zone.visits", *window, step="hour", by=["site"])
    await told.settle()
    after = await told.ask("zone.visits", *window, step="hour", by=["site"])
    assert msgspec.json.encode(before.lines) == msgspec.json.encode(after.lines)
    told_of = {line.group["site"]: [p.value for p in line.points] for line in after.lines}
    assert told_of == {"shop": [300.0, 300.0, None], "far": [300.0, None, None]}
    minutes = await told.ask(
        "zone.visits", told.start_ms, told.start_ms + HOUR_MS, step="minute", of="site:shop"
    )
    assert [p.value for p in minutes.lines[0].points] == [5.0] * 60


async def test_what_was_not_observed_is_null_with_its_cause(told) -> None:
    """Never 0: the hour without a camera says CAMERA_DOWN."""
    await told.settle()
    window = (told.start_ms, told.start_ms + 3 * HOUR_MS)
    answer = await told.ask("zone.visits", *window, step="hour", of="site:shop")
    last = answer.lines[0].points[2]
    assert last.value is None
    assert last.coverage.causes == {"CAMERA_DOWN": 3600.0}
    assert last.note == "nothing was observed"
    zero = await told.ask("line.forward", *window, step="hour", of="site:shop")
    assert [p.value for p in zero.lines[0].points] == [0.0, 0.0, None]


async def test_ratios_are_of_sums_and_maxima_are_the_largest(told) -> None:
    """Occupancy over observed time, the largest occupancy, visits per observed hour."""
    await told.settle()
    window = (told.start_ms, told.start_ms + 3 * HOUR_MS)
    occupancy = await told.ask("occupancy", *window, of="site:shop")
    assert occupancy.lines[0].points[0].value == pytest.approx(0.5)
    most = await told.ask("zone.occupancy_max", *window)
    assert most.lines[0].points[0].value == 3.0
    rate = await told.ask("zone.visits", *window, of="site:shop", per_hour=True)
    assert rate.lines[0].points[0].value == 300.0
    coverage = await told.ask("coverage", *window, of="site:shop")
    assert coverage.lines[0].points[0].value == pytest.approx(2 / 3, abs=1e-6)


async def test_models_are_told_apart_by_the_hours_they_ran(told) -> None:
    """Each model version has its own counts and its own coverage."""
    await told.settle()
    window = (told.start_ms, told.start_ms + 3 * HOUR_MS)
    answer = await told.ask("zone.visits", *window, by=["model"])
    found = {line.group["model"]: line.points[0] for line in answer.lines}
    assert found["m@2"].value == 300.0
    assert found["m@2"].coverage.observed_s == 3600.0
    only = await told.ask("zone.visits", *window, model="m@1")
    assert only.lines[0].points[0].value == 600.0


async def test_quantiles_are_of_the_merged_distribution(told) -> None:
    """Dwell over both sites: the sketch of all visits, before and after merging."""
    window = (told.start_ms, told.start_ms + 3 * HOUR_MS)
    early = await told.ask("dwell", *window, stat="p95")
    await told.settle()
    late = await told.ask("dwell", *window, stat="p95")
    assert early.lines == late.lines
    whole = ExpHistogram()
    whole.add_many([10.0, 40.0] * 180)
    assert late.lines[0].points[0].value == pytest.approx(whole.quantile(0.95), abs=1e-6)
    assert late.lines[0].points[0].count == 360
    question = engine.Question(metric="dwell", from_ms=window[0], to_ms=window[1], by=["site"])
    async with told.fleet.db.transaction() as tx:
        shape = await shapes.distribution(tx, question, None, told.now_ms)
        heat = await shapes.heatmap(
            tx, msgspec.structs.replace(question, of="site:far", by=[]), None, told.now_ms
        )
    assert {line.group["site"]: line.count for line in shape.lines} == {"shop": 240, "far": 120}
    assert all(sum(line.counts) == line.count for line in shape.lines)
    assert heat.seconds == [60.0, 120.0]


async def test_the_worst_first_and_the_little_observed_apart(told) -> None:
    """A camera of which little was seen is not ranked among the others, nor hidden."""
    await told.settle()
    question = engine.Question(
        metric="zone.visits", from_ms=told.start_ms, to_ms=told.start_ms + 3 * HOUR_MS
    )
    async with told.fleet.db.transaction() as tx:
        found = await shapes.worst(tx, question, None, told.now_ms)
        dark = await shapes.worst(
            tx, msgspec.structs.replace(question, metric="coverage"), None, told.now_ms
        )
    assert [row.group["site"] for row in found.ranked] == ["shop"]
    assert [row.group["site"] for row in found.little] == ["far"]
    assert [row.group["site"] for row in dark.ranked] == ["far", "shop"]


async def test_readings_of_devices_keep_mean_least_and_largest(told) -> None:
    """Health by hour: what the reports said, with the time that they speak of."""
    hour = floor_ms(told.now_ms, HOUR_MS)
    told.fleet.clock.advance(2 * 3600)
    await told.fleet.rows("UPDATE devices SET drained_to_ms = %s RETURNING 1", told.now_ms)
    await told.settle()
    window = (hour, hour + HOUR_MS)
    answer = await told.ask("device.temperature_c", *window, by=["name"], stat="max")
    assert [(n.group["name"], n.points[0].value) for n in answer.lines] == [("soc", 61.0)]
    seen = answer.lines[0].points[0].coverage
    assert seen.observed_s == 2 * 3 * 30 - 60
    assert seen.causes == {"NO_REPORT": 7200 - seen.observed_s}


async def test_a_question_out_of_scope_or_out_of_bounds_is_refused_in_words(told) -> None:
    """Another's site is not there; too many points, unknown names and circles are said."""
    await told.settle()
    window = (told.start_ms, told.start_ms + HOUR_MS)
    theirs = await told.ask("zone.visits", *window, scope=["far"], by=["site"])
    assert [line.group["site"] for line in theirs.lines] == ["far"]
    nothing = await told.ask("zone.visits", *window, scope=["far"], of="site:shop")
    assert nothing.cameras == 0
    assert nothing.lines == []
    for wrong, words in (
        ({"metric": "zone.visit"}, "zone.visits"),
        ({"step": "minute", "to_ms": told.start_ms + 400 * DAY_MS}, "points"),
        ({"by": ["colour"]}, "group by"),
        ({"stat": "p95"}, "has no"),
        ({"of": "(("}, "selection"),
        ({"to_ms": 0}, "empty"),
    ):
        asked = {"metric": "zone.visits", "from_ms": window[0], "to_ms": window[1]} | wrong
        question = engine.Question(**asked)
        async with told.fleet.db.transaction() as tx:
            with pytest.raises(ConfigError) as caught:
                await answers.ask(tx, question, None, told.start_ms + 500 * DAY_MS)
        assert words in f"{caught.value} {caught.value.operator_hint}"
