"""Workers that decide and send alerts are killed at a random moment under load."""

from pathlib import Path

import pytest

from vedette.central.alerting.channels.dispatch import Dispatcher
from vedette.central.alerting.channels.sending import LEASE_MS
from vedette.central.alerting.jobs import Engine
from vedette.clock import ManualClock, SystemClock
from vedette.sim import alert_kills

pytestmark = pytest.mark.anyio
EVENTS = 30


async def test_a_killed_worker_tells_nobody_twice_and_nobody_never(conninfo: str, tmp_path: Path):
    """It dies with turns and tries under way; whoever comes next finds the rest, and no more."""
    receiver = alert_kills.Receiver()
    port = await receiver.open()
    clock = ManualClock(SystemClock().now_at())
    services = alert_kills.services_for(conninfo, tmp_path, port, clock)
    await services.db.open()
    await alert_kills.prepare(services, port)
    worker = await alert_kills.start(conninfo, tmp_path, port)
    try:
        for number in range(EVENTS):
            async with services.db.transaction() as tx:
                await alert_kills.happen(tx, number, services.now_ms())
        while receiver.count < EVENTS // 3:
            receiver.news.clear()
            await receiver.news.wait()
    finally:
        worker.kill()
        await worker.wait()
    clock.advance(LEASE_MS / 1000 + 300)  # the worker had the machine's own time
    engine, dispatcher = Engine(services.db, services.bulletin), Dispatcher(services)
    for _ in range(6):
        await engine.turn(services.now_ms())
        await dispatcher.turn(services.now_ms())
        await dispatcher.settled()
        clock.advance(LEASE_MS / 1000)
    async with services.db.transaction() as tx:
        found = await alert_kills.tally(tx, receiver)
    assert (found.incidents, found.deliveries, found.ids) == (EVENTS, 2 * EVENTS, 2 * EVENTS)
    assert found.altered == []
    assert found.missing == []
    await dispatcher.close()
    await services.db.close()
    receiver.close()
