"""The jobs in a process of their own: what a turn does, and what happens when that process dies."""

import asyncio
import signal
import sys

import pytest

from tests.integration.conftest import Fleet
from vedette.central import jobs, rollups
from vedette.central.housework import Housework
from vedette.central.ingest import writing
from vedette.central.ingest.effects import Effects
from vedette.central.rollups import HOUR_MS, MINUTE_MS
from vedette.central.settings import Retention
from vedette.errors import StoreError
from vedette.wire.messages import Aggregate, Frames

pytestmark = pytest.mark.anyio


async def _count(fleet: Fleet, start_ms: int) -> None:
    """Have one minute of the device `box`, marked long ago."""
    minute = Aggregate(
        camera="door",
        start_ms=start_ms,
        end_ms=start_ms + MINUTE_MS,
        frames=Frames(captured=10, analysed=10),
    )
    effects = Effects(
        cameras={("box", "door"): start_ms}, minutes={("box", "door", start_ms): [minute]}
    )
    async with fleet.db.transaction() as tx:
        await writing.write(tx, effects, heard={}, lanes={}, now_ms=fleet.now_ms - HOUR_MS)


async def test_a_killed_child_costs_one_turn_at_most_and_nothing_twice(
    fleet: Fleet, conninfo: str
) -> None:
    """The next turn starts another, which does what was not done; closing leaves no process."""
    await fleet.device(name="box")
    hour_ms = rollups.floor_ms(fleet.now_ms, HOUR_MS) - 3 * HOUR_MS
    turn = jobs.Turn(now_ms=fleet.now_ms, retention=Retention(), expire=True)
    housework = Housework(conninfo)
    try:
        await _count(fleet, hour_ms)
        await housework.do(turn)
        first = housework.child
        assert first is not None
        first.kill()
        await first.wait()
        await _count(fleet, hour_ms + MINUTE_MS)
        await housework.do(turn)
        second = housework.child
        assert second is not None
        assert second.pid != first.pid
    finally:
        await housework.close()
    assert second.returncode == 0
    ((body,),) = await fleet.rows("SELECT body FROM rollup_hour WHERE device = 'box'")
    assert rollups.decode(body).frames.captured == 20


async def test_a_child_that_dies_at_work_fails_that_turn_only(fleet: Fleet, conninfo: str) -> None:
    """Whoever waits for it learns that it failed, as for a database that is away."""
    housework = Housework(conninfo)
    turn = jobs.Turn(now_ms=fleet.now_ms, retention=Retention())
    try:
        await housework.do(turn)
        assert housework.child is not None
        housework.child.send_signal(signal.SIGSTOP)  # so that it answers nothing before the end
        working = asyncio.create_task(housework.do(turn))
        await asyncio.sleep(0)
        housework.child.kill()
        with pytest.raises(StoreError):
            await working
        await housework.do(turn)
    finally:
        await housework.close()


async def test_a_child_that_hangs_is_ended_and_the_next_turn_is_done(
    fleet: Fleet, conninfo: str
) -> None:
    """Stopped in the middle of a turn: whoever waits is told soon, and another takes over."""
    housework = Housework(conninfo)
    turn = jobs.Turn(now_ms=fleet.now_ms, retention=Retention())
    try:
        await housework.do(turn)
        hung = housework.child
        assert hung is not None
        hung.send_signal(signal.SIGSTOP)
        housework.silent_s = 0.2
        async with asyncio.timeout(30):
            with pytest.raises(StoreError, match="hangs"):
                await housework.do(turn)
        assert hung.returncode == -signal.SIGKILL
        housework.silent_s = 60.0
        await housework.do(turn)
    finally:
        await housework.close()


async def test_a_turn_that_waits_for_a_lock_for_ever_is_given_up(
    fleet: Fleet, conninfo: str
) -> None:
    """The child says that it is at work, and is: another session holds what it wants."""
    housework = Housework(conninfo)
    turn = jobs.Turn(now_ms=fleet.now_ms, retention=Retention())
    try:
        await housework.do(turn)
        async with fleet.db.transaction() as tx:
            await tx.connection.execute(b"LOCK TABLE job_runs")
            housework.turn_s = 0.5
            with pytest.raises(StoreError, match="hangs"):
                await housework.do(turn)
        housework.turn_s = 60.0
        await housework.do(turn)
    finally:
        await housework.close()


async def test_a_child_that_babbles_or_cannot_be_started_fails_a_turn_only(
    fleet: Fleet, conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither ends the task that waits for it, and with it central."""
    turn = jobs.Turn(now_ms=fleet.now_ms, retention=Retention())
    for arguments in (("-c", "print('x' * 200_000)"), ("-c", "print('hello')")):
        housework = Housework(conninfo)
        housework.child = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        with pytest.raises(StoreError, match="should not"):
            await housework.do(turn)
        assert housework.child is None
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StoreError, match="started"):
        await Housework(conninfo).do(turn)


async def test_a_job_that_fails_holds_up_no_other(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be merged is told, and what is old goes all the same."""

    async def broken(*_: object) -> int:
        raise StoreError("cannot merge")

    monkeypatch.setattr(jobs, "merge_hours", broken)
    turn = jobs.Turn(now_ms=fleet.now_ms, retention=Retention(), expire=True)
    with pytest.raises(StoreError, match="cannot merge"):
        await jobs.do(fleet.db, turn)
    found = dict(await fleet.rows("SELECT job, ended_ms IS NOT NULL FROM job_runs"))
    assert found["hours and days"] is False
    assert found["retention"] is True
