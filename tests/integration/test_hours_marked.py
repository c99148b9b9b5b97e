"""A mark that says "merge this hour again" is never taken away from a transaction under way."""

import pytest

from tests.integration.conftest import Fleet
from vedette.central import jobs, rollups
from vedette.central.rollups import HOUR_MS, MINUTE_MS
from vedette.wire.messages import Aggregate, Frames

pytestmark = pytest.mark.anyio


async def test_a_minute_under_way_is_in_the_hour_that_is_merged_after_it(fleet: Fleet) -> None:
    """The job that merges passes over an hour whose mark somebody holds, and merges it later."""
    await fleet.device(name="box")
    hour_ms = rollups.floor_ms(fleet.now_ms, HOUR_MS) - 3 * HOUR_MS
    of = {"devices": ["box"], "cameras": ["door"], "hours": [hour_ms]}
    minutes = [
        Aggregate(
            camera="door",
            start_ms=hour_ms + n * MINUTE_MS,
            end_ms=hour_ms + (n + 1) * MINUTE_MS,
            frames=Frames(captured=10, analysed=10),
        )
        for n in range(2)
    ]
    put = "INSERT INTO rollup_minute VALUES (%s, %s, %s, %s)"

    async with fleet.db.transaction() as tx:
        await tx.run("cameras_know", devices=["box"], cameras=["door"], from_ms=[hour_ms])
        row = ("box", "door", minutes[0].start_ms, rollups.encode(minutes[0]))
        await tx.connection.execute(put.encode(), row)
        await tx.run("hours_mark_dirty", **of, now_ms=fleet.now_ms - HOUR_MS)
    async with fleet.db.transaction() as tx:
        row = ("box", "door", minutes[1].start_ms, rollups.encode(minutes[1]))
        await tx.connection.execute(put.encode(), row)
        await tx.run("hours_mark_dirty", **of, now_ms=fleet.now_ms)
        assert await jobs.merge_hours(fleet.db, fleet.now_ms) == 0
    assert await jobs.merge_hours(fleet.db, fleet.now_ms) == 1
    ((body,),) = await fleet.rows("SELECT body FROM rollup_hour WHERE device = 'box'")
    assert rollups.decode(body).frames.captured == 20
