"""Questions to central: values beside coverage and causes, equal to the sums of what was sent."""

from datetime import timedelta

import msgspec
import pytest

from vedette.central import hours, jobs, liveness, tree
from vedette.central.query import (
    answers,
    engine,
    keeping,
    metric_days,
    minutes,
    packing,
    shapes,
    sketch_days,
    weeks,
)
from vedette.central.rollups import DAY_MS, HOUR_MS, MINUTE_MS, floor_ms
from vedette.clock import from_wall_ms
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
        """Let the jobs do what they do, once what changed is settled."""
        self.fleet.clock.advance(60)
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
    told.shop, told.far = shop, far
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


async def test_what_is_asked_under_a_name_has_the_coverage_of_all_its_cameras(told) -> None:
    """Added up by device or camera by camera: the same, whatever is asked of them."""
    at = range(told.start_ms, told.start_ms + HOUR_MS, MINUTE_MS)
    await told.send(told.shop, [minute(one, "yard") for one in at])
    await told.settle()
    window = (told.start_ms, told.start_ms + 3 * HOUR_MS)
    apart = await told.ask("coverage", *window, by=["site", "camera"])
    observed_s = {"shop": 0.0, "far": 0.0}
    for line in apart.lines:
        observed_s[line.group["site"]] += line.points[0].coverage.observed_s
    assert observed_s == {"shop": 3 * 3600.0, "far": 3600.0}
    for more in ({"names": ["till"]}, {"labels": ["person"]}, {"of": "site:*", "names": ["none"]}):
        told_of = await told.ask("dwell", *window, by=["site"], stat="p95", **more)
        found = {line.group["site"]: line.points[0].coverage for line in told_of.lines}
        assert {site: one.observed_s for site, one in found.items()} == observed_s
        both = await told.ask("dwell", *window, stat="p95", **more)
        assert both.lines[0].points[0].coverage.observed_s == 4 * 3600.0


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


async def test_folded_weeks_answer_as_their_days_did_and_take_late_news(told) -> None:
    """Sums, sums by name, coverage and readings: the same; news unfolds its week."""
    hour = floor_ms(told.now_ms, HOUR_MS)
    told.fleet.clock.advance(3600)
    await told.fleet.rows("UPDATE devices SET drained_to_ms = %s RETURNING 1", told.now_ms)
    await told.settle()
    window = (told.start_ms, hour + HOUR_MS)

    async def everything() -> list[bytes]:
        asked = (
            {"metric": "zone.visits", "step": "hour"},
            {"metric": "zone.visits", "step": "day", "by": ["site"]},
            {"metric": "zone.visits", "by": ["camera", "name", "model"]},
            {"metric": "zone.occupancy_max"},
            {"metric": "coverage", "step": "hour", "by": ["device"], "of": "site:shop"},
            {"metric": "occupancy", "by": ["site"], "names": ["till"]},
            {"metric": "device.temperature_c", "by": ["name"], "stat": "min"},
            {"metric": "device.sent_bytes"},
        )
        found = [await told.ask(from_ms=window[0], to_ms=window[1], **one) for one in asked]
        return [msgspec.json.encode(answer.lines) for answer in found]

    await metric_days.lay_out(told.fleet.db, told.now_ms, 90)
    before = await everything()
    later = told.now_ms + 10 * DAY_MS
    week = floor_ms(told.start_ms, packing.WEEK_MS)
    await told.fleet.rows("UPDATE coverage_through SET through_ms = %s RETURNING 1", later)
    assert await weeks.fold(told.fleet.db, week + packing.WEEK_MS) == 0, "not over yet"
    folded = await weeks.fold(told.fleet.db, later)
    assert folded >= 2
    assert await told.fleet.rows("SELECT count(*) FROM metric_day") == [(0,)]
    assert await everything() == before
    shop = told.devices[0]
    async with told.fleet.db.transaction() as tx:
        await metric_days.lay_day(tx, shop, floor_ms(told.start_ms, DAY_MS))
    assert [d for (d,) in await told.fleet.rows("SELECT DISTINCT device FROM metric_day")] == [shop]
    assert await everything() == before
    await told.fleet.rows("INSERT INTO metric_dirty VALUES (%s, %s) RETURNING 1", shop, week)
    assert await weeks.fold(told.fleet.db, later) == 0, "a mark says that a day will change"
    await metric_days.lay_out(told.fleet.db, told.now_ms, 90)
    assert await weeks.fold(told.fleet.db, later) >= 1
    assert await everything() == before


async def test_distributions_are_told_apart_by_model(told) -> None:
    """A shop whose model changed at noon: each hour's sketches under the model that ran in it."""
    at = range(told.start_ms + HOUR_MS, told.start_ms + 2 * HOUR_MS, MINUTE_MS)
    await told.send(told.far, [minute(one, model="m@3") for one in at])
    at = range(told.start_ms + 2 * HOUR_MS, told.start_ms + 3 * HOUR_MS, MINUTE_MS)
    await told.send(told.far, [minute(one, model="m@3") for one in at[:30]])
    await told.send(told.far, [minute(one, model="m@2") for one in at[30:]])
    window = (told.start_ms, told.start_ms + 3 * HOUR_MS)
    wanted = {"m@1": 240, "m@2": 120, "m@3": 120, "m@2,m@3": 120}
    for settled in (False, True):
        if settled:
            await told.settle()
        for metric in ("dwell", "zone.visits"):
            stat = "count" if metric == "dwell" else ""
            answer = await told.ask(metric, *window, by=["model"], stat=stat)
            each = 1.0 if metric == "dwell" else 2.5
            found = {line.group["model"]: line.points[0].value for line in answer.lines}
            assert found == {name: n * each for name, n in wanted.items()}, settled
        only = await told.ask("dwell", *window, model="m@2", stat="p99", by=["name"])
        (line,) = only.lines
        assert (line.group, line.points[0].count) == ({"name": "till"}, 120)
        assert line.points[0].coverage.observed_s == 3600.0
    question = engine.Question(
        metric="dwell", from_ms=window[0], to_ms=window[1], by=["site", "model"]
    )
    async with told.fleet.db.transaction() as tx:
        shape = await shapes.distribution(tx, question, None, told.now_ms)
        heat = await shapes.heatmap(
            tx, msgspec.structs.replace(question, of="site:far", by=[], model="m@3"), None,
            told.now_ms,
        )  # fmt: skip
    assert {line.group["model"]: line.count for line in shape.lines} == wanted
    assert heat.seconds == [60.0, 120.0]


async def test_sketches_of_whole_devices_say_what_their_cameras_say(told) -> None:
    """From days of cameras, from rows by day, by week, and after late news: the same answers."""
    at = range(told.start_ms + HOUR_MS, told.start_ms + 2 * HOUR_MS, MINUTE_MS)
    await told.send(told.far, [minute(one, model="m@3") for one in at])
    await told.settle()
    day = floor_ms(told.start_ms, DAY_MS)
    told.fleet.clock.advance(12 * 24 * 3600)
    await liveness.tick(told.fleet.db, told.fleet.services.bulletin, told.now_ms)  # as in `told`
    asked = (
        {"metric": "dwell", "stat": "p95"},
        {"metric": "dwell", "stat": "mean", "by": ["site"]},
        {"metric": "dwell", "stat": "count", "by": ["site", "model"]},
        {"metric": "dwell", "stat": "p50", "model": "m@3", "clock": "utc", "step": "day"},
        {"metric": "dwell", "stat": "count", "of": "site:far", "names": ["till"]},
        {"metric": "dwell", "stat": "count", "labels": ["cat"]},
        {"metric": "latency", "stat": "p99"},
    )
    week = floor_ms(day, packing.WEEK_MS)

    async def everything() -> list[bytes]:
        found = [await told.ask(from_ms=week, to_ms=week + 9 * DAY_MS, **one) for one in asked]
        assert found[0].lines[0].points[0].count == 480
        return [msgspec.json.encode(answer.lines) for answer in found]

    before = await everything()
    db = told.fleet.db
    assert await told.fleet.rows("SELECT count(*) FROM sketch_dirty") == [(2,)]
    while await sketch_days.lay_out(db, told.now_ms):
        pass
    assert await told.fleet.rows("SELECT count(*) FROM sketch_dirty") == [(0,)]
    assert await everything() == before
    assert await sketch_days.fold(db, told.now_ms) >= 2
    await told.fleet.rows("DELETE FROM sketch_day WHERE days = 1 RETURNING 1")
    assert await everything() == before, "from weeks alone"
    await told.fleet.rows("UPDATE rollup_day SET body = body RETURNING 1")
    assert await everything() == before, "from the source, while marked"
    while await sketch_days.lay_out(db, told.now_ms):
        pass
    await told.fleet.rows("DELETE FROM sketch_day WHERE days = 7 RETURNING 1")
    assert await everything() == before, "from days, until the weeks are merged again"


async def test_minutes_kept_in_memory_are_what_the_database_says(told, monkeypatch) -> None:
    """The same as read anew: at first, again, after a late minute, over another window between."""
    start = told.start_ms
    asked = (
        {"metric": "zone.visits", "by": ["site", "name"]},
        {"metric": "occupancy", "by": ["model"]},
        {"metric": "zone.entered", "of": "site:far"},
        {"metric": "zone.occupancy_max"},
    )

    async def everything(from_ms: int) -> list[bytes]:
        window = {"from_ms": from_ms, "to_ms": from_ms + HOUR_MS, "step": "minute"}
        return [msgspec.json.encode(await told.ask(**window, **one)) for one in asked]

    async def read_anew(from_ms: int) -> list[bytes]:
        with monkeypatch.context() as patch:
            patch.setattr(minutes, "MAX_CAMERAS", 0)
            return await everything(from_ms)

    first = await read_anew(start)
    assert await everything(start) == first
    assert await everything(start) == first
    later = start + minutes.RING * MINUTE_MS // 2  # partly the same slots of the rings
    assert await everything(later) == await read_anew(later)
    assert await everything(start) == first
    await told.send(told.far, [minute(start + 5 * MINUTE_MS, model="m@2")])
    now = await everything(start)
    assert now != first
    assert now == await read_anew(start)
    await told.fleet.rows("DELETE FROM rollup_minute WHERE start_ms = %s RETURNING 1", start)
    assert await everything(start) == await read_anew(start)
    monkeypatch.setattr(minutes, "MAX_SERIES", 3)
    minutes.forget()
    assert await everything(start) == await read_anew(start), "too many names to be kept"


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


async def test_open_and_closed_hours_are_together_all_of_them(told) -> None:
    """Values, coverage and sketches of open hours alone; a shop without hours is never closed."""
    await told.settle()
    window = (told.start_ms, told.start_ms + 3 * HOUR_MS)
    start = from_wall_ms(told.start_ms)
    of_day = f"{hours.DAYS[start.weekday()]} {start:%H}:00-{start + timedelta(hours=1):%H}:00"
    async with told.fleet.db.transaction() as tx:
        await tree.change_site(
            tx, "shop", actor="test", now_ms=told.now_ms, opening=hours.read(of_day, [])
        )
    found = {}
    for which in ("all", "open", "closed"):
        visits = await told.ask("zone.visits", *window, of="site:shop", hours=which)
        dwell = await told.ask("dwell", *window, of="site:shop", hours=which, stat="count")
        cpu = await told.ask("device.cpu", *window, of="site:shop", hours=which)
        point = visits.lines[0].points[0]
        heard = cpu.lines[0].points[0].coverage
        found[which] = (
            point.value, dwell.lines[0].points[0].value, point.coverage.observed_s,
            point.coverage.accountable_s, heard.accountable_s,
        )  # fmt: skip
    assert found["open"] == (300.0, 120.0, 3600.0, 3600.0, 3600.0)
    assert found["closed"] == (300.0, 120.0, 3600.0, 7200.0, 7200.0)
    assert found["all"] == (600.0, 240.0, 7200.0, 10800.0, 10800.0)
    never = await told.ask("zone.visits", *window, of="site:far", hours="closed")
    assert never.lines[0].points[0].value is None
    assert never.lines[0].points[0].note == "no time to account for"
    minutes = await told.ask(
        "zone.visits", told.start_ms, told.start_ms + 2 * HOUR_MS,
        of="site:shop", hours="open", step="minute",
    )  # fmt: skip
    assert [p.value for p in minutes.lines[0].points] == [5.0] * 60 + [None] * 60


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
        ({"hours": "lunch"}, "open"),
        ({"to_ms": 0}, "empty"),
    ):
        asked = {"metric": "zone.visits", "from_ms": window[0], "to_ms": window[1]} | wrong
        question = engine.Question(**asked)
        async with told.fleet.db.transaction() as tx:
            with pytest.raises(ConfigError) as caught:
                await answers.ask(tx, question, None, told.start_ms + 500 * DAY_MS)
        assert words in f"{caught.value} {caught.value.operator_hint}"
