"""A mark that says "merge this hour again" is never taken away from a transaction under way."""

import pytest

from tests.integration.conftest import Fleet
from vedette.central import jobs, rollups
from vedette.central.ingest import writing
from vedette.central.ingest.effects import Effects
from vedette.central.rollups import HOUR_MS, MINUTE_MS
from vedette.central.store.db import Tx
from vedette.wire.messages import Aggregate, Frames

pytestmark = pytest.mark.anyio


async def test_a_minute_under_way_is_in_the_hour_that_is_merged_after_it(fleet: Fleet) -> None:
    """The job that merges passes over an hour whose mark somebody holds, and merges it later."""
    await fleet.device(name="box")
    hour_ms = rollups.floor_ms(fleet.now_ms, HOUR_MS) - 3 * HOUR_MS
    minutes = [
        Aggregate(
            camera="door",
            start_ms=hour_ms + n * MINUTE_MS,
            end_ms=hour_ms + (n + 1) * MINUTE_MS,
            frames=Frames(captured=10, analysed=10),
        )
        for n in range(2)
    ]

    async def count(tx: Tx, minute: Aggregate, now_ms: int) -> None:
        effects = Effects(minutes={("box", "door", minute.start_ms): [minute]})
        await writing.write(tx, effects, heard={}, lanes={}, now_ms=now_ms)

    async with fleet.db.transaction() as tx:
        await tx.run("cameras_know", devices=["box"], cameras=["door"], from_ms=[hour_ms])
        await count(tx, minutes[0], fleet.now_ms - HOUR_MS)
    async with fleet.db.transaction() as tx:
        await count(tx, minutes[1], fleet.now_ms)
        assert await jobs.merge_hours(fleet.db, fleet.now_ms) == 0
    assert await jobs.merge_hours(fleet.db, fleet.now_ms) == 1
    ((body,),) = await fleet.rows("SELECT body FROM rollup_hour WHERE device = 'box'")
    assert rollups.decode(body).frames.captured == 20
