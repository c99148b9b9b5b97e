"""Tiers, advice and estimates: what a person is told about a device, and what never."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.condition import advice, covered, drain, series, tiers
from vedette.central.console import specimens
from vedette.central.console.device import specimens as device
from vedette.central.throttle_words import flag_text
from vedette.central.views import Point, Segment
from vedette.edge.health.nvidia import REASONS
from vedette.edge.health.raspberry_pi import FLAGS
from vedette.wire.messages import (
    HealthReport,
    NetworkHealth,
    PipelineHealth,
    SpoolHealth,
    SystemHealth,
)

NOW_MS = specimens.NOW_MS


def report(**parts: object) -> HealthReport:
    """Return a report that says nothing but `parts`."""
    return HealthReport(at_ms=NOW_MS, period_s=30, version="1", **parts)


def tier(name: str, clock_state: str = "trusted", **parts: object) -> tiers.Tier:
    """Return one part of a device that reported `parts`."""
    return next(t for t in tiers.tiers(report(**parts), clock_state) if t.name == name)


def test_a_machine_that_tells_nothing_is_not_called_well() -> None:
    """Silence is unknown in every part that can be silent, and in all of them without a report."""
    said = {t.name: t.state for t in tiers.tiers(report(), "")}
    assert said.pop("spool") == "ok"  # an empty spool is said by leaving it out
    assert set(said.values()) == {"unknown"}
    assert {t.state for t in tiers.tiers(None, "trusted")} == {"unknown"}
    assert tuple(said) == tuple(name for name in tiers.NAMES if name != "spool")


def test_what_holds_a_machine_back_is_said_in_words() -> None:
    """Names of drivers are words on a page; one that is not known yet is shown as it is."""
    hot = SystemHealth(throttle_flags=["soft-temperature-limit", "odd-flag"])
    assert tier("heat", system=hot).said == "held back now: close to its heat limit, odd-flag"
    weak = SystemHealth(throttle_flags=["under-voltage"], power_w=4.0)
    assert tier("power", system=weak).said == "too little voltage, 4.0 W"
    for flag in (*FLAGS, *REASONS.values()):
        assert flag_text([flag]) not in {flag, ""}


@pytest.mark.parametrize(
    ("name", "parts", "state"),
    [
        ("power", {"system": SystemHealth(throttle_flags=["under-voltage"])}, "degraded"),
        ("power", {"system": SystemHealth(throttle_flags=["under-voltage-occurred"])}, "degraded"),
        ("power", {"system": SystemHealth(throttle_flags=["throttled-occurred"])}, "ok"),
        ("heat", {"system": SystemHealth(throttle_flags=["thermal-throttled"])}, "degraded"),
        ("heat", {"system": SystemHealth(temperatures_c={"cpu": 80.0})}, "degraded"),
        ("heat", {"system": SystemHealth(temperatures_c={"cpu": 79.0})}, "ok"),
        ("disk", {"system": SystemHealth(disk_used_fraction=0.95)}, "degraded"),
        ("disk", {"system": SystemHealth(disk_used_fraction=0.99)}, "down"),
        ("memory", {"system": SystemHealth(growth_mb_per_h={"agent": 2.0})}, "degraded"),
        ("memory", {"pipeline": PipelineHealth(running=True, memory_kills=1)}, "down"),
        ("network", {"network": NetworkHealth(requests=4, failures=2)}, "degraded"),
        ("network", {"network": NetworkHealth(loss_fraction=0.05)}, "degraded"),
        ("spool", {"spool": SpoolHealth(bytes=95, quota_bytes=100)}, "degraded"),
        ("spool", {"spool": SpoolHealth(evicted=3)}, "down"),
        ("pipeline", {"pipeline": PipelineHealth(running=False, last_exit="killed")}, "down"),
        ("pipeline", {"pipeline": PipelineHealth(running=True, crashes=1)}, "degraded"),
        ("pipeline", {"pipeline": PipelineHealth(running=True)}, "ok"),
    ],
)
def test_each_part_is_judged_by_its_own_numbers(
    name: str, parts: dict[str, object], state: str
) -> None:
    """What is not well says what to do; what is well says nothing of the kind."""
    found = tier(name, **parts)
    assert found.state == state
    assert bool(found.todo) == (state != "ok")


def test_a_clock_is_as_good_as_its_state() -> None:
    """Untrusted is worse than not confirmed; an offset that is corrected for is told."""
    states = {s: tier("clock", s).state for s in ("trusted", "floor", "untrusted", "")}
    assert states == {"trusted": "ok", "floor": "degraded", "untrusted": "down", "": "unknown"}
    assert tier("clock", network=NetworkHealth(clock_offset_ms=-9_000)).state == "degraded"


def test_a_site_that_is_dark_is_told_once() -> None:
    """Two dark devices with four cameras are one finding; a device that speaks keeps its own."""
    dark = device.device("dark", "dark", "dark")
    well = device.device("ok", "down")
    row = specimens.fleet().sites[0]
    row = msgspec.structs.replace(
        row, devices=[dark, dark, well], dark_since_ms=NOW_MS - 1000, dark_together=["a", "b"]
    )
    found = advice.findings(row)
    assert [(one.state, one.device) for one in found] == [("dark", ""), ("down", "north-1")]
    assert "2 devices fell silent together" in found[0].what
    assert len(advice.findings(msgspec.structs.replace(row, dark_since_ms=None))) == 3


def test_a_stopped_pipeline_is_told_once_and_not_for_each_camera() -> None:
    """The device says it; a camera with a fault of its own still says that."""
    row = device.device("degraded", "down", "down", "down")
    said = "the pipeline does not run: exit status 2"
    cameras = [msgspec.structs.replace(c, detail=said) for c in row.cameras[:2]]
    row = msgspec.structs.replace(row, cameras=[*cameras, row.cameras[2]])
    found = advice.of_device(row)
    assert [(one.what, one.camera) for one in found] == [
        (said, ""),
        ("connection refused by the camera", "down-2"),
    ]


@pytest.mark.parametrize(
    ("detail", "word"),
    [
        ("401 Unauthorized", "password"),
        ("404 Not Found", "address"),
        ("connection refused", "restart the camera"),
        ("no route to host", "cable"),
        ("silent for 10 s", "cable"),
        ("", "tried again"),
    ],
)
def test_what_to_do_about_a_camera_follows_from_its_reason(detail: str, word: str) -> None:
    """Each reason that the device gives has its own advice; none has the general one."""
    row = specimens.camera_row("down", camera="dock", device="a", site="b")
    assert word in advice.of_camera(msgspec.structs.replace(row, detail=detail)).todo


def points(*values: float | None) -> list[Point]:
    """Return readings a minute apart."""
    return [Point(t_ms=n * 60_000, value=value) for n, value in enumerate(values)]


def test_a_backlog_has_an_estimate_only_while_it_falls() -> None:
    """Falling by 100 a minute from 1,000 is ten minutes; all else has none."""
    falling = drain.drain(points(1500, 1400, 1300, 1200, 1100, 1000))
    assert falling.state == "falling"
    assert (falling.soonest_s, falling.latest_s) == (pytest.approx(600), pytest.approx(600))
    assert drain.drain(points(1000, 1100, 1200, 1300)).state == "rising"
    assert drain.drain(points(1000, 1000, 1000, 1000)).state == "steady"
    assert drain.drain(points(900, 5, 4, 3)).state == "empty"
    assert drain.drain(points(1000, 900, 800, None, 1000)).state == "unknown"
    assert drain.drain([]) == drain.Drain(state="unknown")
    assert drain.drain(points(2000, 1000, 1000, 1000, 1000, 1000)).state == "steady"


@given(st.lists(st.floats(0, 1e7) | st.none(), max_size=40))
def test_an_estimate_never_contradicts_itself(values: list[float | None]) -> None:
    """Whatever the readings: both ends or none, in order, and only where it falls."""
    found = drain.drain(points(*values))
    if found.state == "falling":
        assert found.soonest_s is not None
        assert found.latest_s is not None
        assert 0 <= found.soonest_s <= found.latest_s
    else:
        assert found.soonest_s is found.latest_s is None


def test_a_line_breaks_where_reports_are_missing() -> None:
    """Ten silent minutes are a hole in every line, not a slope through it."""
    at = [0, 60_000, 120_000, 720_000, 780_000]
    made = series.lines([(ms, device.health(ms)) for ms in at], 60_000)
    for name in ("heat", "memory", "spool", "clock", "trip", "loss", "rate", "power"):
        for line in made[name].values():
            values = [point.value is None for point in line]
            assert values == [False, False, False, True, False, False], name
            assert [p.t_ms for p in line] == sorted(p.t_ms for p in line)


def test_a_window_counts_what_waits_as_not_known_yet() -> None:
    """Data still to come makes it undecided: neither met nor missed; without it, met."""
    day = 86_400_000
    seen = Segment(start_ms=0, end_ms=2 * day - 36_000_00)
    waits = Segment(start_ms=seen.end_ms, end_ms=2 * day, cause="PENDING_BACKFILL")
    found = covered.judged("7 d", [[seen, waits]], (0, 2 * day), ("", 99.0))
    assert (found.verdict, found.objective_of) == ("undecided", "everywhere")
    assert found.best_fraction == 1.0
    assert found.coverage.causes == {"PENDING_BACKFILL": 3600.0}
    assert covered.judged("7 d", [[seen]], (0, 2 * day), ("", 99.0)).verdict == "met"
    assert covered.judged("7 d", [], (0, 2 * day), ("", 99.0)).coverage.fraction is None


def test_days_begin_at_the_sites_midnight() -> None:
    """In Lima, ten in the morning UTC is five: today is five hours old, the month a day more."""
    found = dict(covered.windows("America/Lima", NOW_MS))
    assert (NOW_MS - found["today"]) / 3_600_000 == 5
    assert (NOW_MS - found["this month"]) / 3_600_000 == 29
    assert (NOW_MS - found["7 d"]) / 3_600_000 == 168
