"""Central inside this process, with a clock that we hold: real HTTP, real PostgreSQL, other time.

Central dates by receive time, so hours can only be simulated where central's own clock is moved.
What follows the clock by itself is not started here: whoever moves time also calls `beat`, at least
every `liveness.AWAY_S`, or central rightly finds that it was away.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from granian.constants import Interfaces
from granian.server.embed import Server

from vedette.central import jobs, liveness
from vedette.central.app import Central, build_services
from vedette.central.boundary import Answer, Receive, Scope, Send
from vedette.central.query import keeping
from vedette.central.services import Services
from vedette.central.settings import CentralConfig
from vedette.central.web import build_web
from vedette.clock import Clock, SystemClock
from vedette.errors import CentralUnreachable, StoreError
from vedette.sim.faults import free_port
from vedette.sim.fleet.http import Pool
from vedette.trust.keys import SigningKey

_READY_S: Final = 10.0
_POLL_S: Final = 0.02
MANY: Final = 2_000
"""Devices whose coverage is resolved at once: nobody waits here."""


class Inside:
    """A running central and where it listens."""

    def __init__(self, services: Services, url: str) -> None:
        self.services = services
        self.url = url

    async def beat(self) -> list[str]:
        """Do what central does every two seconds; return the devices that it found dark."""
        services = self.services
        turned = await liveness.tick(services.db, services.bulletin, services.now_ms())
        return [dark.device for dark in turned]

    async def work(self) -> None:
        """Do what central does every half minute: partitions, hours and days, resolved coverage."""
        now_ms = self.services.now_ms()
        await jobs.make_partitions(self.services.db, now_ms)
        await jobs.merge_hours(self.services.db, now_ms)
        await keeping.advance(self.services.db, now_ms, limit=MANY)


async def _no_web(_scope: Scope, _receive: Receive, send: Send) -> None:
    await Answer(status=404).send(send)


@contextlib.asynccontextmanager
async def central_inside(
    database_url: str,
    clock: Clock | None = None,
    *,
    key: SigningKey | None = None,
    pages_state: Path | None = None,
) -> AsyncIterator[Inside]:
    """Give a central over a migrated database until the block ends.

    With `pages_state`, a folder that is there for its files, it has pages and the operator API too.

    Raises:
        CentralUnreachable: It does not answer.
    """
    config = CentralConfig(behind_proxy=True)
    if pages_state is not None:
        config = CentralConfig(behind_proxy=True, state_dir=str(pages_state))
    services = build_services(
        config, database_url, key or SigningKey.generate(), clock or SystemClock()
    )
    central = Central(services, build_web(services) if pages_state else _no_web)
    port = free_port()
    server = Server(
        central,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        websockets=False,
        log_enabled=False,
    )
    await services.db.open()
    inside = Inside(services, f"http://127.0.0.1:{port}")
    await inside.work()
    await inside.beat()
    tasks = [asyncio.create_task(central.committer.run()), asyncio.create_task(server.serve())]
    try:
        await _wait_ready(inside.url)
        yield inside
    finally:
        central.committer.close()
        server.stop()
        await asyncio.wait(tasks, timeout=_READY_S)
        await services.db.close()


async def _wait_ready(url: str) -> None:
    async with Pool(url, 1) as pool, asyncio.timeout(_READY_S):
        while True:
            with contextlib.suppress(CentralUnreachable):
                status, data = await pool.ask("GET", "/-/healthz")
                if status != 200:
                    raise StoreError(f"central is not well: {data[:200]!r}")
                return
            await asyncio.sleep(_POLL_S)
