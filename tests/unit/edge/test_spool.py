"""The spool: order, settlement, quota, coverage and everything that a disk can do to it."""

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.clock import ManualClock, SystemClock, wall_ms
from vedette.edge.spool import ClockNote, Kept, Spool, pack
from vedette.edge.spool import spool as spool_module
from vedette.edge.spool.rows import to_ranges
from vedette.errors import SpoolUnwritable, TooLarge, UnknownSchema
from vedette.wire.codec import decode_body
from vedette.wire.envelope import ClockState, Envelope, LaneAck, Rejection, UpAnswer
from vedette.wire.messages import (
    Aggregate,
    CameraState,
    Cause,
    CoverageReport,
    EventKind,
    EventReport,
    HealthReport,
    State,
    Tombstone,
)
from vedette.wire.streams import Lane, stream

QUOTA = 64 * 1024 * 1024
MINUTE_MS = 60_000


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that the test moves."""
    return ManualClock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    """Return a spool without its writer thread: the test flushes."""
    opened = Spool.open(tmp_path / "spool", QUOTA, clock, "boot-1", writer=False)
    yield opened
    opened.close()


def reopen(tmp_path: Path, clock: ManualClock, quota: int = QUOTA, boot: str = "boot-1") -> Spool:
    """Open the same folder again."""
    return Spool.open(tmp_path / "spool", quota, clock, boot, writer=False)


def health(n: int = 0, problems: Iterable[str] = ()) -> HealthReport:
    """Return a small health report."""
    return HealthReport(at_ms=n, period_s=30, version="t", problems=list(problems))


def event(name: str = "ev-1") -> EventReport:
    """Return a small event."""
    return EventReport(event=name, camera="door", kind=EventKind.PRESENCE, at_ms=1)


def aggregate(start_ms: int, end_ms: int, camera: str = "door") -> Aggregate:
    """Return an empty aggregate over a time."""
    return Aggregate(camera=camera, start_ms=start_ms, end_ms=end_ms)


def keys(batch: Iterable[Envelope]) -> list[tuple[str, int]]:
    """Return lane and number of each envelope."""
    return [(e.lane.value, e.seq) for e in batch]


def bodies(batch: Iterable[Envelope], kind: type) -> list[msgspec.Struct]:
    """Return the decoded bodies of one kind."""
    decoded = [decode_body(e.body, stream(e.schema)) for e in batch]
    return [body for body in decoded if isinstance(body, kind)]


def everything(spool: Spool) -> list[Envelope]:
    """Return all that waits."""
    return spool.next_batch(max_bytes=1 << 30, max_n=100_000)


def ack(lane: Lane, through: int, *have: tuple[int, int], epoch: int = 1) -> UpAnswer:
    """Return an answer that acknowledges one lane."""
    return UpAnswer(acks=[LaneAck(epoch=epoch, lane=lane, acked_through=through, have=list(have))])


# ------------------------------------------------------------------------------------ in and out


def test_what_central_must_know_at_once_is_durable_on_return(tmp_path: Path, spool: Spool) -> None:
    """An alert takes everything that waits with it into its commit; telemetry waits."""
    assert spool.put("health.v1", health()) is Kept.WAITING
    assert everything(spool) == []
    assert spool.put("event.v1", event()) is Kept.DURABLE
    other = reopen(tmp_path, ManualClock())
    assert keys(everything(other)) == [("alert", 1), ("live", 1)]
    other.close()


def test_the_writer_commits_without_being_asked(tmp_path: Path) -> None:
    """The group commit runs in its own thread."""
    opened = Spool.open(tmp_path / "spool", QUOTA, SystemClock(), "boot-1")
    watcher = reopen(tmp_path, ManualClock())
    before = watcher.version()
    opened.put("health.v1", health())
    opened._writer and opened._stop.set()
    opened._writer and opened._writer.join(10)
    assert watcher.version() != before
    assert len(everything(watcher)) == 1
    opened.close()
    watcher.close()


def test_numbers_run_per_lane_from_one_and_survive_a_restart(
    tmp_path: Path, clock: ManualClock, spool: Spool
) -> None:
    """No number is used twice, even after everything was settled."""
    for n in range(3):
        spool.put("health.v1", health(n))
    spool.put("event.v1", event())
    spool.settle(ack(Lane.LIVE, 3))
    spool.settle(ack(Lane.ALERT, 1))
    spool.close()
    again = reopen(tmp_path, clock)
    again.put("health.v1", health())
    again.put("event.v1", event())
    assert keys(everything(again)) == [("alert", 2), ("live", 4)]
    assert {e.epoch for e in everything(again)} == {1}
    again.close()


def test_fresh_goes_before_what_waited(spool: Spool, clock: ManualClock) -> None:
    """Alerts, then live, then evidence, then backfill lane by lane; without it none of that."""
    spool.put("health.v1", health(1))
    spool.put("event.v1", event("old"))
    clock.advance(121)
    spool.put("health.v1", health(2))
    spool.put("event.v1", event("new"))
    assert keys(spool.next_batch()) == [("alert", 2), ("live", 2), ("alert", 1), ("live", 1)]
    assert keys(spool.next_batch(backfill=False)) == [("alert", 2), ("live", 2)]
    assert spool.has_backfill()


def test_backfill_leaves_central_no_holes(spool: Spool, clock: ManualClock) -> None:
    """What waited goes in the order of its numbers: importance would make a hole per message."""
    for n in range(20):
        spool.put("health.v1", health(n))
        spool.put("aggregate.v1", aggregate(n * MINUTE_MS, (n + 1) * MINUTE_MS))
    spool.flush()
    clock.advance(121)
    assert keys(spool.next_batch(max_n=10)) == [("live", seq) for seq in range(1, 11)]


def test_a_message_of_an_earlier_boot_is_backfill(tmp_path: Path, clock: ManualClock) -> None:
    """Monotonic times of two boots do not compare, so the older boot's message is not fresh."""
    first = reopen(tmp_path, clock)
    first.put("event.v1", event())
    first.close()
    second = reopen(tmp_path, clock, boot="boot-2")
    assert second.next_batch(backfill=False) == []
    assert second.newest_alert() == 0
    assert keys(second.next_batch()) == [("alert", 1)]
    second.close()


def test_a_batch_keeps_its_limits_but_is_never_stuck(spool: Spool) -> None:
    """Bytes and number are bounded; one message larger than the bound still goes, alone."""
    for n in range(5):
        spool.put("health.v1", health(n, ["x" * 1000]))
    spool.flush()
    assert len(spool.next_batch(max_n=2)) == 2
    assert len(spool.next_batch(max_bytes=4_200)) == 2
    assert len(spool.next_batch(max_bytes=10)) == 1


def test_only_what_was_acknowledged_leaves(spool: Spool) -> None:
    """`acked_through`, `have` and rejections settle exactly their numbers."""
    for n in range(10):
        spool.put("health.v1", health(n))
    spool.flush()
    assert spool.settle(ack(Lane.LIVE, 2, (5, 6), (9, 9))) == 5
    assert [seq for _, seq in keys(everything(spool))] == [3, 4, 7, 8, 10]
    refused = UpAnswer(rejected=[Rejection(epoch=1, lane=Lane.LIVE, seq=4, reason="no")])
    assert spool.settle(refused) == 1
    assert spool.settle(ack(Lane.LIVE, 10, epoch=7)) == 0
    assert [seq for _, seq in keys(everything(spool))] == [3, 7, 8, 10]
    assert spool.health().depth == {"alert": 0, "live": 4, "evidence": 0}


@settings(max_examples=30, deadline=None)
@given(
    total=st.integers(1, 30),
    through=st.integers(0, 30),
    have=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=4),
)
def test_settlement_is_a_difference_of_sets(
    tmp_path_factory: pytest.TempPathFactory,
    total: int,
    through: int,
    have: list[tuple[int, int]],
) -> None:
    """For any acknowledgement within what was given, what stays is what it does not name."""
    ranges = [(low, min(low + n, total)) for low, n in have if low <= total]
    through = min(through, total)
    opened = reopen(tmp_path_factory.mktemp("s"), ManualClock())
    for n in range(total):
        opened.put("health.v1", health(n))
    opened.flush()
    opened.settle(ack(Lane.LIVE, through, *ranges))
    named = set(range(1, through + 1)).union(*(range(low, high + 1) for low, high in ranges))
    assert {seq for _, seq in keys(everything(opened))} == set(range(1, total + 1)) - named
    opened.close()


def test_central_that_knows_too_much_starts_a_new_epoch(tmp_path: Path, spool: Spool) -> None:
    """A wiped folder gave numbers again that central has: nothing may be deleted for them."""
    spool.put("health.v1", health(7))
    spool.put("event.v1", event())
    assert spool.settle(ack(Lane.LIVE, 5_000)) == 0
    waiting = everything(spool)
    assert keys(waiting) == [("alert", 1), ("live", 1)]
    assert {e.epoch for e in waiting} == {2}
    spool.put("event.v1", event("next"))
    assert [(e.epoch, e.seq) for e in everything(spool) if e.lane is Lane.ALERT] == [(2, 1), (2, 2)]
    assert b'"epoch":2' in (tmp_path / "spool.epoch").read_bytes()


def test_mistakes_are_refused_at_the_door(spool: Spool) -> None:
    """An unknown schema, a wrong body and one over its limit never enter."""
    with pytest.raises(UnknownSchema):
        spool.put("nothing.v9", health())
    with pytest.raises(TypeError):
        spool.put("event.v1", health())
    with pytest.raises(TooLarge):
        spool.put(
            "camera_state.v1",
            CameraState(camera="c", at_ms=1, noticed_ms=1, state=State.OK, detail="x" * 5_000),
        )
    spool.flush()
    assert everything(spool) == []


# --------------------------------------------------------------------------------------- quota


def test_the_least_important_goes_first_and_a_tombstone_says_what(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Health goes before aggregates, the oldest first; alerts stay; no time is lost with health."""
    opened = reopen(tmp_path, clock, quota=60_000)
    opened.put("event.v1", event())
    opened.put("aggregate.v1", aggregate(0, MINUTE_MS))
    for n in range(200):
        opened.put("health.v1", health(n, ["x" * 400]))
        opened.flush()
    waiting = everything(opened)
    stones = bodies(waiting, Tombstone)
    assert stones
    gone = {seq for stone in stones for low, high in stone.ranges for seq in range(low, high + 1)}
    assert gone == set(range(2, max(gone) + 1))  # number 1 of the lane is the aggregate
    left = {e.seq for e in waiting if e.lane is Lane.LIVE}
    assert left | gone == set(range(1, 202))
    assert not left & gone
    assert all(stone.start_ms == stone.end_ms and not stone.cameras for stone in stones)
    assert len(stones) < len(gone) / 3
    assert opened.health().evicted == len(gone)
    assert opened.health().bytes <= 60_000
    opened.close()


def test_an_evicted_aggregate_names_its_time_and_camera(tmp_path: Path, clock: ManualClock) -> None:
    """Coverage that goes is stated as such, so that the hole has a cause."""
    opened = reopen(tmp_path, clock, quota=5_000)
    for n in range(40):
        opened.put("aggregate.v1", aggregate(n * MINUTE_MS, (n + 1) * MINUTE_MS, "door"))
    opened.flush()
    stones = bodies(everything(opened), Tombstone)
    assert len(stones) == 1
    (stone,) = stones
    assert stone.cameras == ["door"]
    assert stone.reason == "quota"
    assert stone.start_ms == 0
    assert stone.end_ms == stone.ranges[0][1] * MINUTE_MS
    opened.close()


def test_scattered_numbers_take_several_tombstones_of_legal_size() -> None:
    """Ranges are closed, ascending and minimal."""
    assert to_ranges([5, 1, 2, 3, 9, 8, 3]) == [(1, 3), (5, 5), (8, 9)]
    assert to_ranges([]) == []


def test_giving_up_a_message_leaves_a_tombstone(spool: Spool) -> None:
    """A message that central refuses as a whole goes, but not in silence."""
    spool.put("health.v1", health(1))
    spool.put("health.v1", health(2))
    spool.flush()
    assert spool.give_up(everything(spool)[:1], "refused: too odd") == 1
    waiting = everything(spool)
    assert keys(waiting) == [("alert", 1), ("live", 2)]
    (stone,) = bodies(waiting, Tombstone)
    assert (stone.lane, stone.ranges, stone.reason) == ("live", [(1, 1)], "refused: too odd")
    assert spool.give_up([e for e in waiting if e.lane is Lane.ALERT], "never") == 0


# ------------------------------------------------------------------------------------- coverage


def spans_of(spool: Spool, camera: str = "door") -> list[tuple[int, int, Cause | None]]:
    """Return all time that messages account for, in order."""
    waiting = everything(spool)
    spans = [
        (s.start_ms, s.end_ms, s.cause)
        for report in bodies(waiting, CoverageReport)
        if report.camera == camera
        for s in report.spans
    ]
    spans += [
        (a.start_ms, a.end_ms, None) for a in bodies(waiting, Aggregate) if a.camera == camera
    ]
    return sorted(spans)


def test_time_between_aggregates_is_never_silent(spool: Spool, clock: ManualClock) -> None:
    """Agent and pipeline off, agent on, pipeline on: dark, stopped, observed, without a seam."""
    t0 = wall_ms(clock.now_at())
    spool.put("aggregate.v1", aggregate(t0, t0 + 10_000))
    spool.flush()
    clock.advance(100)
    assert spool.state_gap(["door"], Cause.DEVICE_DARK, "the agent was not running") == 1
    clock.advance(30)
    assert spool.state_gap(["door"], Cause.PIPELINE_STOPPED) == 1
    spool.put("aggregate.v1", aggregate(t0 + 133_000, t0 + 140_000))
    spool.put("aggregate.v1", aggregate(t0 + 140_000, t0 + 150_000))
    spool.flush()
    assert spans_of(spool) == [
        (t0, t0 + 10_000, None),
        (t0 + 10_000, t0 + 100_000, Cause.DEVICE_DARK),
        (t0 + 100_000, t0 + 130_000, Cause.PIPELINE_STOPPED),
        (t0 + 130_000, t0 + 133_000, Cause.PIPELINE_STOPPED),
        (t0 + 133_000, t0 + 140_000, None),
        (t0 + 140_000, t0 + 150_000, None),
    ]
    assert spool.covered() == {"door": t0 + 150_000}


def test_a_new_camera_has_no_past(spool: Spool, clock: ManualClock) -> None:
    """Its time counts from when it is first known, even if it never gives a picture."""
    t0 = wall_ms(clock.now_at())
    assert spool.state_gap(["new"], Cause.DEVICE_DARK) == 0
    clock.advance(5)
    assert spool.state_gap(["new"], Cause.PIPELINE_STOPPED) == 1
    assert spans_of(spool, "new") == [(t0, t0 + 5_000, Cause.PIPELINE_STOPPED)]


def test_a_watermark_moves_only_with_its_message(
    tmp_path: Path, spool: Spool, clock: ManualClock
) -> None:
    """An aggregate that was not committed covers nothing."""
    t0 = wall_ms(clock.now_at())
    spool.put("aggregate.v1", aggregate(t0, t0 + 1_000))
    assert spool.covered() == {}
    spool.flush()
    assert spool.covered() == {"door": t0 + 1_000}


def test_a_step_of_the_wall_clock_makes_no_hole(spool: Spool, clock: ManualClock) -> None:
    """The clock leaps a year: messages say so at once, no gap is stated, and it goes on after."""
    t0, m0 = wall_ms(clock.now_at()), clock.mono_ns() // 1_000_000
    spool.note_clock(ClockNote("boot-1", ClockState.TRUSTED, t0 - m0))
    spool.put("aggregate.v1", aggregate(t0, t0 + 1_000))
    spool.flush()
    leap = datetime(2027, 1, 1, tzinfo=UTC)
    clock.step_wall(leap)
    t1 = wall_ms(leap)
    spool.put("aggregate.v1", aggregate(t1, t1 + 1_000))
    spool.flush()
    assert [e.clock_state for e in everything(spool)] == ["trusted", "untrusted"]
    assert spool.state_gap(["door"], Cause.PIPELINE_STOPPED) == 0
    m1 = clock.mono_ns() // 1_000_000
    spool.note_clock(ClockNote("boot-1", ClockState.TRUSTED, t1 - m1))
    spool.put("aggregate.v1", aggregate(t1 + 1_000, t1 + 2_000))
    spool.flush()
    assert [cause for _, _, cause in spans_of(spool)] == [None, None, None]


def test_a_watermark_moves_with_a_step_while_the_pipeline_stands(
    spool: Spool, clock: ManualClock
) -> None:
    """Stopped for ten seconds while the clock was set right by a year: ten seconds are missing."""
    t0, m0 = wall_ms(clock.now_at()), clock.mono_ns() // 1_000_000
    spool.note_clock(ClockNote("boot-1", ClockState.FLOOR, t0 - m0))
    spool.put("aggregate.v1", aggregate(t0, t0))
    spool.flush()
    clock.advance(4)
    clock.step_wall(datetime(2027, 1, 1, tzinfo=UTC))
    clock.advance(6)
    t1, m1 = wall_ms(clock.now_at()), clock.mono_ns() // 1_000_000
    spool.note_clock(ClockNote("boot-1", ClockState.TRUSTED, t1 - m1))
    spool.state_gap(["door"], Cause.PIPELINE_STOPPED)
    assert [s for s in spans_of(spool) if s[2]] == [(t1 - 10_000, t1, Cause.PIPELINE_STOPPED)]


# ---------------------------------------------------------------------------------- broken disks


def fill(spool: Spool, n: int = 200) -> None:
    """Put n health reports of about 1 kB and commit them."""
    for i in range(n):
        spool.put("health.v1", health(i, ["x" * 1000]))
    spool.flush()


def accounted(waiting: list[Envelope]) -> set[tuple[int, str, int]]:
    """Return every number that is either here or stated lost."""
    here = {(e.epoch, e.lane.value, e.seq) for e in waiting}
    stated = {
        (stone.epoch, stone.lane, seq)
        for stone in bodies(waiting, Tombstone)
        for low, high in stone.ranges
        for seq in range(low, high + 1)
    }
    assert not here & stated
    return here | stated


def test_a_torn_page_costs_only_itself(tmp_path: Path, clock: ManualClock) -> None:
    """The file is set aside, what is whole is carried over, the rest is stated lost by number."""
    first = reopen(tmp_path, clock)
    fill(first)
    first.settle(ack(Lane.LIVE, 20))
    first.close()
    path = tmp_path / "spool" / "spool.db"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 8192] = b"\xa5" * 8192
    path.write_bytes(data)
    again = reopen(tmp_path, clock)
    assert not again.verify()
    assert again.verify()
    assert (tmp_path / "spool" / "spool.corrupt-1.db").exists()
    waiting = everything(again)
    assert len([e for e in waiting if e.epoch == 1]) > 100
    assert bodies(waiting, Tombstone)[0].reason == "corrupt"
    old = {key for key in accounted(waiting) if key[0] == 1}
    assert old == {(1, "live", seq) for seq in range(21, 201)}
    again.put("health.v1", health())
    again.flush()
    assert (2, 1) in {(e.epoch, e.seq) for e in everything(again) if e.lane is Lane.LIVE}
    again.close()


def _damage(path: Path, moments: random.Random) -> None:
    """Do to a file what a failing card does: torn, stale, zeroed or missing pages."""
    data = bytearray(path.read_bytes())
    pages = len(data) // 4096
    for _ in range(moments.randint(1, 4)):
        at = moments.randrange(pages) * 4096
        what = moments.choice(["noise", "half", "zeros", "stale", "short"])
        if what == "noise":
            data[at : at + 4096] = moments.randbytes(4096)
        elif what == "half":
            data[at + 2048 : at + 4096] = bytes(2048)
        elif what == "zeros":
            data[at : at + 4096] = bytes(4096)
        elif what == "stale":
            other = moments.randrange(pages) * 4096
            data[at : at + 4096] = data[other : other + 4096]
        else:
            del data[moments.randrange(1, len(data)) :]
            break
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(10))
def test_no_damage_is_silent_or_stops_the_device(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Any pages of a spool with packs and kept messages: it opens, works, accounts for all."""
    monkeypatch.setattr(pack, "GROUP_N", 16)
    moments = random.Random(seed)
    first = reopen(tmp_path, clock)
    first.keep_s = 86_400.0
    for part in range(3):
        fill(first, 60)
        for n in range(20):
            first.put("event.v1", event(f"ev-{part}-{n}"))
        if part == 0:
            first.settle(ack(Lane.LIVE, 40))
        clock.advance(1_000)
        first.tend(pack_waiting=part < 2)
    first.close()
    given = {(1, "live", n) for n in range(41, 181)} | {(1, "alert", n) for n in range(1, 61)}
    _damage(tmp_path / "spool" / "spool.db", moments)
    again = reopen(tmp_path, clock)
    again.verify()
    again.put("health.v1", health())
    again.flush()
    waiting = everything(again)
    here = {(e.epoch, e.lane.value, e.seq) for e in waiting}
    stones = bodies(waiting, Tombstone)
    whole_lanes = {(stone.epoch, stone.lane) for stone in stones if not stone.ranges}
    stated = {
        (stone.epoch, stone.lane, seq)
        for stone in stones
        for low, high in stone.ranges
        for seq in range(low, high + 1)
    }
    missing = {key for key in given - here - stated if key[:2] not in whole_lanes}
    assert not missing
    assert len(keys(waiting)) == len(here)
    if again.health().epoch == 1:
        assert (1, "live", 181) in here
    else:
        assert (tmp_path / "spool" / "spool.corrupt-1.db").exists()
    again.close()


@pytest.mark.parametrize("damage", ["zeros", "truncated", "text", "gone"])
def test_a_lost_file_starts_a_new_epoch_and_says_so(
    tmp_path: Path, clock: ManualClock, damage: str
) -> None:
    """Whatever happens to the file or its folder, no number is given twice and the loss is told."""
    first = reopen(tmp_path, clock)
    fill(first)
    first.close()
    clock.advance(60)
    folder = tmp_path / "spool"
    path = folder / "spool.db"
    if damage == "gone":
        for child in folder.iterdir():
            child.unlink()
        folder.rmdir()
    elif damage == "zeros":
        path.write_bytes(bytes(path.stat().st_size))
    elif damage == "truncated":
        os.truncate(path, 4096 + 100)
    else:
        path.write_text("this is no database")
    again = reopen(tmp_path, clock)
    again.put("health.v1", health())
    again.flush()
    waiting = everything(again)
    assert {(e.epoch, e.seq) for e in waiting if e.lane is Lane.LIVE and e.epoch > 1} == {(2, 1)}
    stones = {stone.lane: stone for stone in bodies(waiting, Tombstone)}
    assert stones["live"].epoch == 1
    assert stones["live"].end_ms - stones["live"].start_ms == 60_000
    assert stones["alert"].start_ms == stones["alert"].end_ms
    again.close()


def test_a_flipped_bit_in_a_body_is_never_sent(tmp_path: Path, clock: ManualClock) -> None:
    """The database cannot see it; the checksum of the row does, while the agent runs."""
    opened = reopen(tmp_path, clock)
    fill(opened, 5)
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as db:
        db.execute("UPDATE message SET body = zeroblob(length(body)) WHERE seq = 3")
        db.commit()
    waiting = everything(opened)
    assert {(e.epoch, e.seq) for e in waiting if e.lane is Lane.LIVE} == {
        (1, n) for n in (1, 2, 4, 5)
    }
    assert accounted(waiting) == {(1, "live", n) for n in range(1, 6)} | {(2, "alert", 1)}
    opened.close()


def test_the_other_process_follows_to_the_new_file(tmp_path: Path, clock: ManualClock) -> None:
    """While one replaces a broken file, what the other puts goes to the new one, not the old."""
    agent, pipeline = reopen(tmp_path, clock), reopen(tmp_path, clock)
    fill(pipeline, 5)
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as db:
        db.execute("UPDATE message SET body = zeroblob(length(body)) WHERE seq = 3")
        db.commit()
    everything(agent)
    pipeline.put("event.v1", event())
    events = [e for e in everything(agent) if e.schema == "event.v1"]
    assert [e.epoch for e in events] == [2]
    agent.close()
    pipeline.close()


def test_a_crash_while_replacing_loses_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """The prepared file is taken where the old one was moved and the new one not yet."""
    first = reopen(tmp_path, clock)
    fill(first, 5)
    first.close()
    folder = tmp_path / "spool"
    (folder / "spool.db").rename(folder / "spool.new.db")
    again = reopen(tmp_path, clock)
    assert len(everything(again)) == 5
    assert {e.epoch for e in everything(again)} == {1}
    again.close()


def test_an_older_copy_put_back_does_not_reuse_numbers(tmp_path: Path, clock: ManualClock) -> None:
    """A restored backup keeps its rows, but what is new gets an epoch of its own."""
    (tmp_path / "spool.epoch").write_bytes(b'{"epoch":5,"since_ms":0}')
    first = reopen(tmp_path, clock)
    first.put("event.v1", event())
    assert first.health().epoch == 6
    first.close()
    (tmp_path / "spool.epoch").write_bytes(b'{"epoch":9,"since_ms":0}')
    second = reopen(tmp_path, clock)
    second.put("event.v1", event())
    assert {e.epoch for e in everything(second) if e.schema == "event.v1"} == {6, 10}
    second.close()


def limit_pages(spool: Spool, pages: int) -> None:
    """Let the database grow to this size only: it answers as a full disk does."""
    spool._file._db.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_makes_room_from_the_least_important(
    tmp_path: Path, clock: ManualClock
) -> None:
    """An alert still becomes durable when the disk is full of health reports."""
    opened = reopen(tmp_path, clock)
    fill(opened, 2_000)
    limit_pages(opened, 1)
    for n in range(200):
        assert opened.put("event.v1", event(f"ev-{n}")) is Kept.DURABLE
    waiting = everything(opened)
    assert len([e for e in waiting if e.schema == "event.v1"]) == 200
    stones = bodies(waiting, Tombstone)
    assert {stone.reason for stone in stones} == {"disk_full"}
    assert {k for k in accounted(waiting) if k[1] == "live"} == {
        (1, "live", n) for n in range(1, 2_001)
    }
    opened.close()


def test_a_disk_that_refuses_is_said_and_nothing_is_lost_within_the_bound(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Messages are held in memory in order and committed when the disk takes them again."""
    opened = reopen(tmp_path, clock)
    limit_pages(opened, 1)
    with pytest.raises(SpoolUnwritable) as caught:
        fill(opened, 300)
    assert caught.value.operator_hint
    assert opened.put("event.v1", event()) is Kept.HELD
    assert opened.status().problem
    assert opened.status().held == 301
    limit_pages(opened, 1_000_000)
    opened.flush()
    waiting = everything(opened)
    assert [e.seq for e in waiting if e.lane is Lane.LIVE] == list(range(1, 301))
    assert [e.schema for e in waiting if e.lane is Lane.ALERT] == ["event.v1"]
    assert opened.status().problem == ""
    opened.close()


def test_memory_is_bounded_while_the_disk_refuses_and_the_loss_is_stated(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health goes before aggregates, aggregates before alerts; a tombstone counts them."""
    monkeypatch.setattr(spool_module, "HELD_BYTES", 4_000)
    opened = reopen(tmp_path, clock)
    limit_pages(opened, 1)
    for n in range(50):
        opened.put("aggregate.v1", aggregate(n * MINUTE_MS, (n + 1) * MINUTE_MS))
        opened.put("health.v1", health(n, ["x" * 100]))
        opened.put("event.v1", event(f"ev-{n}"))
    dropped = opened.status().dropped
    assert dropped > 50
    limit_pages(opened, 1_000_000)
    opened.flush()
    waiting = everything(opened)
    stones = bodies(waiting, Tombstone)
    (memory,) = [stone for stone in stones if not stone.ranges]
    assert memory.reason == f"disk_full: {dropped} messages never reached the disk"
    assert memory.cameras == ["door"]
    by_number = sum(high - low + 1 for stone in stones for low, high in stone.ranges)
    assert len(waiting) - len(stones) + dropped + by_number == 150
    kept = [e.schema for e in waiting]
    assert kept.count("event.v1") > kept.count("health.v1")
    opened.close()


def test_what_is_acknowledged_leaves_a_full_disk_where_it_cannot_be_kept(
    tmp_path: Path, clock: ManualClock
) -> None:
    """A copy for a restored central has no room: the message goes all the same."""
    opened = reopen(tmp_path, clock)
    opened.keep_s = 86_400.0
    fill(opened, 500)
    limit_pages(opened, 1)
    assert opened.settle(ack(Lane.LIVE, 500)) == 500
    assert opened.health().kept == 0
    opened.close()


def fill_disk(folder: Path) -> None:
    """Write until not a page is free."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        while os.statvfs(folder).f_bavail:
            filler.write(bytes(4096))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_truly_full_disk_still_takes_alerts_and_settlements(tmp_path: Path) -> None:
    """No byte is free: alerts stay durable, what central has can be deleted, all is accounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        opened = Spool.open(disk / "spool", QUOTA, ManualClock(), "b", writer=False)
        fill(opened, 500)
        fill_disk(disk)
        for n in range(3_000):
            opened.put("health.v1", health(n, ["x" * 1000]))
            if n % 10 == 0:
                assert opened.put("event.v1", event(f"ev-{n}")) is Kept.DURABLE
        opened.flush()
        waiting = everything(opened)
        assert len([e for e in waiting if e.schema == "event.v1"]) == 300
        live = {number for _, lane, number in accounted(waiting) if lane == "live"}
        assert live == set(range(1, 3_501))
        assert opened.settle(ack(Lane.LIVE, 3_500)) > 0
        opened.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# ------------------------------------------------------------------------------------ processes


def _produce(folder: str, name: str, number: int) -> None:
    spool = Spool.open(Path(folder), QUOTA, SystemClock(), "boot-1")
    for n in range(number):
        spool.put("event.v1", event(f"{name}-{n}"))
        spool.put("health.v1", health(n))
    spool.close()


def _produce_until_killed(folder: str, pipe: object) -> None:
    spool = Spool.open(Path(folder), QUOTA, SystemClock(), "boot-1")
    n = 0
    while True:
        spool.put("health.v1", health(n))
        spool.put("event.v1", event(f"ev-{n}"))
        pipe.send(n)  # type: ignore[attr-defined]
        n += 1


def test_several_processes_share_one_order(tmp_path: Path) -> None:
    """Numbers are dense and unique whoever puts, while another process settles."""
    context = multiprocessing.get_context("spawn")
    folder = str(tmp_path / "spool")
    workers = [context.Process(target=_produce, args=(folder, f"p{i}", 40)) for i in range(2)]
    for worker in workers:
        worker.start()
    reader = Spool.open(tmp_path / "spool", QUOTA, SystemClock(), "boot-1", writer=False)
    seen: set[tuple[str, int]] = set()
    while any(w.is_alive() for w in workers) or everything(reader):
        for envelope in reader.next_batch(max_n=7):
            seen.add((envelope.lane.value, envelope.seq))
            one = (envelope.seq, envelope.seq)
            reader.settle(ack(envelope.lane, 0, one, epoch=envelope.epoch))
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert seen == {(lane, n) for lane in ("alert", "live") for n in range(1, 81)}
    reader.close()


def test_a_killed_process_loses_nothing_it_was_told_is_durable(tmp_path: Path) -> None:
    """After kill -9 in the middle of a commit the file is whole and holds every answered alert."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=_produce_until_killed, args=(str(tmp_path / "spool"), theirs))
    worker.start()
    last = -1
    while last < 50:
        assert ours.poll(30)
        last = ours.recv()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(30)
    while ours.poll(0):
        try:
            last = ours.recv()
        except EOFError:
            break
    spool = reopen(tmp_path, ManualClock())
    events = [e for e in everything(spool) if e.schema == "event.v1"]
    assert [e.seq for e in events][: last + 1] == list(range(1, last + 2))
    assert {e.epoch for e in events} == {1}
    spool.close()


def test_who_hands_an_alert_over_does_not_wait_and_the_writer_commits_it_at_once(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk is busy the caller goes on; then the alert is durable, long before a group."""
    monkeypatch.setattr(spool_module, "GROUP_COMMIT_S", 1_000.0)
    committed = threading.Event()

    class Told(Spool):
        def flush(self) -> None:
            super().flush()
            committed.set()

    opened = Told.open(tmp_path / "spool", QUOTA, clock, "boot-1", writer=True)
    try:
        with opened._commit_lock:  # a commit that takes long
            opened.hand_over("event.v1", event())
            assert not committed.is_set()
        assert committed.wait(20)
        other = reopen(tmp_path, clock)
        assert other.health().depth[Lane.ALERT] == 1
        other.close()
    finally:
        opened.close()


def test_without_a_writer_what_is_handed_over_is_durable_on_return(
    tmp_path: Path, spool: Spool, clock: ManualClock
) -> None:
    """Nobody else would commit it."""
    spool.hand_over("event.v1", event())
    assert spool.health().depth[Lane.ALERT] == 1
