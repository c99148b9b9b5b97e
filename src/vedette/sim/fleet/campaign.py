"""A whole scenario: a central of our own, a fleet, simulated hours, and the verdict over the books.

`live` over a database that the caller has, `run` with an embedded one that is thrown away.
"""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.clock import ManualClock
from vedette.sim.checker import Verdict
from vedette.sim.fleet import books, roll
from vedette.sim.fleet.http import Pool
from vedette.sim.fleet.inside import central_inside
from vedette.sim.fleet.scenario import Scenario, check
from vedette.sim.fleet.simulate import Simulation

CONNECTIONS: Final = 32
Watch = Callable[[Simulation], None]


async def live(database_url: str, scenario: Scenario, watch: Watch | None = None) -> Verdict:
    """Return the verdict over a scenario, run on an empty, migrated database.

    Raises:
        ConfigError: A scenario that cannot be.
        StoreError, CentralUnreachable: The database or central inside failed.
    """
    check(scenario)
    clock = ManualClock()
    async with (
        central_inside(database_url, clock) as inside,
        Pool(inside.url, CONNECTIONS) as pool,
    ):
        audience = inside.services.online_key.public.keyid
        members = await asyncio.to_thread(
            roll.enrol_in_bulk,
            database_url,
            scenario.devices,
            audience,
            clock,
            per_site=scenario.per_site,
        )
        simulation = Simulation(inside, pool, members, scenario, clock)
        await simulation.run(watch)
        return await books.compare(simulation, inside.services.db)


def run(scenario: Scenario, watch: Watch | None = None) -> Verdict:
    """Return the verdict over a scenario, with a database of our own.

    Raises:
        ConfigError, StoreError, CentralUnreachable: As `live`.
    """
    check(scenario)
    with tempfile.TemporaryDirectory(prefix="vedette-fleet-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # the database may have to run as another user
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.conninfo))
            return asyncio.run(live(server.conninfo, scenario, watch))
