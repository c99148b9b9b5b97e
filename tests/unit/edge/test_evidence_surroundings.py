"""What a package tells of the time around its event: coverage, other events, other days."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.clock import ManualClock, wall_ms
from vedette.edge.evidence.pattern import DAYS, MAX_DAYS, MAX_KINDS, Pattern
from vedette.edge.evidence.surroundings import (
    AROUND_MS,
    FILE,
    MAX_RELATED,
    SAVE_EVERY_S,
    Memory,
    covered_by,
    within,
)
from vedette.errors import SpoolUnwritable
from vedette.wire.envelope import ClockState
from vedette.wire.messages import (
    Aggregate,
    Cause,
    CoverageReport,
    EventKind,
    EventReport,
    Span,
)

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_MS = 3_600_000


def at_ms(year: int, month: int, day: int, hour: int = 12, minute: int = 0) -> int:
    """Return a moment in Berlin."""
    return wall_ms(datetime(year, month, day, hour, minute, tzinfo=BERLIN).astimezone(UTC))


def event(at: int, number: int = 0, camera: str = "door") -> EventReport:
    """Return an event at the door."""
    return EventReport(
        event=f"ev-{number}", camera=camera, kind=EventKind.LINE_CROSSED, at_ms=at, where="kerb"
    )


def minute(start_ms: int, cause: Cause | None = None) -> Aggregate:
    """Return what a minute says of itself."""
    span = Span(start_ms=start_ms, end_ms=start_ms + 60_000, cause=cause)
    return Aggregate(camera="door", start_ms=start_ms, end_ms=start_ms + 60_000, spans=[span])


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


def memory(
    folder: Path, clock: ManualClock, state: ClockState = ClockState.TRUSTED, zone: str = "UTC"
) -> Memory:
    """Return a memory of a device in a shop."""
    return Memory(
        folder,
        clock,
        boot_id="boot-1",
        time_zone=zone,
        who=("shop", "box-1"),
        clock_state=lambda: state,
    )


# ------------------------------------------------------------------------------------------- hours


def test_an_hour_nobody_watched_has_no_count() -> None:
    """No data is not zero: seen and quiet is 0, not seen is null, and how much was seen is said."""
    pattern = Pattern(BERLIN)
    pattern.observe("door", at_ms(2026, 3, 2, 12), at_ms(2026, 3, 2, 12, 30))
    pattern.observe("door", at_ms(2026, 3, 3, 12), at_ms(2026, 3, 3, 13))
    for n in range(3):
        pattern.count("door", at_ms(2026, 3, 3, 12, n), "line_crossed", "kerb")
    pattern.count("door", at_ms(2026, 3, 3, 12), "line_crossed", "other")
    pattern.count("door", at_ms(2026, 3, 3, 13), "line_crossed", "kerb")
    hour, days = pattern.days("door", at_ms(2026, 3, 4, 12, 59), "line_crossed", "kerb")
    assert hour == 12
    assert [(d.day, d.observed_s, d.events) for d in days[-3:]] == [
        ("2026-03-02", 1800.0, 0),
        ("2026-03-03", 3600.0, 3),
        ("2026-03-04", 0.0, None),
    ]
    assert len(days) == DAYS + 1
    assert {d.events for d in days[:-3]} == {None}


def test_what_was_taken_back_was_not_observed() -> None:
    """A gap that was noticed late; never less than nothing."""
    pattern = Pattern(BERLIN)
    start = at_ms(2026, 3, 2, 12, 58)
    pattern.observe("door", start, start + 240_000)
    pattern.observe("door", start + 60_000, start + 180_000, sign=-1)
    pattern.observe("door", start - HOUR_MS, start - HOUR_MS + 1000, sign=-1)
    seen = [pattern.days("door", start + n * HOUR_MS, "x", "")[1][-1] for n in (-1, 0, 1)]
    assert [one.observed_s for one in seen] == [0.0, 60.0, 60.0]


@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 5000)), max_size=20),
    st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]),
)
def test_hours_hold_all_that_was_observed(parts: list[tuple[int, int]], zone: str) -> None:
    """Over nights and days of 23 and 25 hours, in zones of half hours: no moment lost or twice."""
    pattern, start = Pattern(ZoneInfo(zone)), at_ms(2026, 3, 27)
    for after_min, length_s in parts:
        begin = start + after_min * 60_000
        pattern.observe("door", begin, begin + length_s * 1000)
    total_ms = sum(
        hour.observed_ms
        for day in pattern._cameras.get("door", {}).values()
        for hour in day.values()
    )
    assert total_ms == sum(length_s for _, length_s in parts) * 1000


def test_a_clock_that_leaps_makes_no_watched_time() -> None:
    """From 1970 to now, or to the end of all dates: nobody watched that, and nothing breaks."""
    pattern = Pattern(BERLIN)
    pattern.observe("door", 0, at_ms(2026, 3, 2))
    pattern.count("door", 2**53, "dwell", "")
    pattern.observe("door", 2**53, 2**53 + 60_000)
    assert {d.observed_s for d in pattern.days("door", at_ms(2026, 3, 2), "dwell", "")[1]} == {0.0}
    assert pattern.days("door", 2**53, "dwell", "")[1][-1].events == 1


def test_the_past_is_kept_small_and_a_wrong_clock_costs_a_day_of_it() -> None:
    """Five weeks; a day in 1970 or in a far future takes one place and not all."""
    pattern = Pattern(BERLIN)
    for day in range(60):
        at = at_ms(2026, 3, 1) + day * 24 * HOUR_MS
        pattern.count("door", at, "dwell", "")
    pattern.count("door", 0, "dwell", "")
    pattern.count("door", at_ms(2090, 1, 1), "dwell", "")
    last = at_ms(2026, 3, 1) + 59 * 24 * HOUR_MS
    _, days = pattern.days("door", last, "dwell", "")
    assert [day.events for day in days] == [1] * (DAYS + 1)
    assert len(pattern._cameras["door"]) == MAX_DAYS
    for n in range(MAX_KINDS + 9):
        pattern.count("yard", last, "dwell", str(n))
    (hours,) = pattern._cameras["yard"].values()
    assert [len(hour.events) for hour in hours.values()] == [MAX_KINDS]


def test_hours_outlive_a_restart_and_junk_is_no_past(tmp_path: Path) -> None:
    """Saved and read again; cut, foreign, deep or empty: a device begins anew and works."""
    pattern, at = Pattern(BERLIN), at_ms(2026, 3, 2)
    pattern.observe("door", at, at + 60_000)
    pattern.count("door", at, "dwell", "x")
    path = tmp_path / "p"
    pattern.save(path)
    again = Pattern(BERLIN)
    assert again.load(path)
    assert again.days("door", at, "dwell", "x") == pattern.days("door", at, "dwell", "x")
    whole = path.read_bytes()
    for junk in (b"", whole[:-3], b"\x92\x02\x80", b"\x91" * 100_000, b"{}"):
        path.write_bytes(junk)
        assert not Pattern(BERLIN).load(path)
    assert not Pattern(BERLIN).load(tmp_path / "none")


# ------------------------------------------------------------------------------------ surroundings


def test_a_package_tells_what_was_watched_around_its_event(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Minutes that were told, a gap, and the part of this minute that nobody told yet."""
    start = wall_ms(clock.now_at())
    kept = memory(tmp_path, clock)
    for n in range(12):
        kept.take(minute(start + n * 60_000, Cause.CAMERA_DOWN if n == 9 else None))
    now = start + 12 * 60_000 + 20_000
    kept.watch("door", lambda until: [Span(start_ms=now - 20_000, end_ms=until)])
    clock.advance(12 * 60 + 20)
    found = kept.around(event(now - 4_000))
    assert found.coverage is not None
    assert found.coverage.window_ms == (now - 4_000 - AROUND_MS, now)
    assert found.coverage.known_from_ms == start
    assert [(s.start_ms - start, s.end_ms - start, s.cause) for s in found.coverage.spans] == [
        (436_000, 540_000, None),
        (540_000, 600_000, Cause.CAMERA_DOWN),
        (600_000, 740_000, None),
    ]
    assert (found.site, found.device) == ("shop", "box-1")
    assert found.clock is not None
    assert (found.clock.state, found.clock.made_ms) == ("trusted", now)
    empty = kept.around(event(now, camera="yard")).coverage
    assert empty is not None
    assert empty.spans == []


def test_a_gap_noticed_late_stands_over_what_was_told(tmp_path: Path, clock: ManualClock) -> None:
    """The camera was gone ten seconds before that was known; its hour loses them too."""
    start = wall_ms(clock.now_at())
    kept = memory(tmp_path, clock)
    kept.take(minute(start))
    gap = Span(start_ms=start + 50_000, end_ms=start + 60_000, cause=Cause.CAMERA_DOWN)
    kept.take(CoverageReport(camera="door", spans=[gap]))
    found = kept.around(event(start + 30_000))
    assert found.coverage is not None
    assert found.pattern is not None
    assert [(s.end_ms - start, s.cause) for s in found.coverage.spans] == [
        (50_000, None),
        (60_000, Cause.CAMERA_DOWN),
    ]
    assert found.pattern.days[-1].observed_s == 50.0


def test_related_events_are_the_nearest_and_what_is_left_out_is_counted(
    tmp_path: Path, clock: ManualClock
) -> None:
    """This camera's, within five minutes, not the event itself; in order of time."""
    kept, now = memory(tmp_path, clock), wall_ms(clock.now_at())
    for n in range(80):
        kept.take(event(now + n * 1000, n))
    kept.take(event(now, 900, camera="yard"))
    kept.take(event(now - AROUND_MS - 1, 901))
    found = kept.around(event(now, 0))
    assert [one.event for one in found.related] == [f"ev-{n}" for n in range(1, MAX_RELATED + 1)]
    assert found.related_left_out == 79 - MAX_RELATED


def test_days_before_survive_a_restart_and_an_untrusted_clock_adds_none(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Saved now and then; a device that woke in 1970 does not count into hours that never were."""
    start = wall_ms(clock.now_at())
    first = memory(tmp_path, clock)
    first.take(minute(start))
    first.take(event(start + 1))
    first.tend()
    assert not (tmp_path / FILE).exists()
    clock.advance(SAVE_EVERY_S)
    first.tend()
    second = memory(tmp_path, clock, ClockState.UNTRUSTED)
    second.tend()
    second.take(minute(start + 60_000))
    second.take(event(start + 60_001))
    found = second.around(event(start)).pattern
    assert found is not None
    assert (found.days[-1].observed_s, found.days[-1].events) == (60.0, 1)


def test_what_is_not_known_is_no_reason_to_make_no_package(
    tmp_path: Path, clock: ManualClock
) -> None:
    """A spool that cannot be read, a zone that is none, a folder that takes nothing."""

    def broken() -> ClockState:
        raise SpoolUnwritable("the disk is gone")

    kept = Memory(
        tmp_path / "none" / FILE, clock, boot_id="b", time_zone="Mars/Base", clock_state=broken
    )
    (tmp_path / "none").write_text("x")
    kept.take(event(1))
    kept.tend()
    kept.save()
    found = kept.around(event(1))
    assert found.clock is not None
    assert (found.clock.state, found.clock.time_zone) == ("", "UTC")


SPANS = st.lists(st.integers(1, 50), max_size=12)


@given(SPANS, st.integers(0, 300), st.integers(0, 300))
def test_a_gap_over_spans_changes_no_moment_outside_of_it(
    lengths: list[int], start: int, length: int
) -> None:
    """Moment by moment: within the gap nothing is observed any more, elsewhere all is as it was."""
    spans, at = [], 0
    for n, one in enumerate(lengths):
        spans.append(Span(start_ms=at, end_ms=at + one, cause=Cause.TAMPERED if n % 3 else None))
        at += one
    gap = Span(start_ms=start, end_ms=start + length, cause=Cause.CAMERA_DOWN)

    def causes(said: list[Span]) -> list[str | None]:
        return [s.cause for s in said for _ in range(s.end_ms - s.start_ms)]

    after = covered_by(spans, gap)
    wanted = [
        gap.cause if cause is None and start <= n < start + length else cause
        for n, cause in enumerate(causes(spans))
    ]
    assert causes(after) == wanted
    assert causes(within(after, 0, at)) == wanted
    assert timedelta(milliseconds=at) >= timedelta(0)
