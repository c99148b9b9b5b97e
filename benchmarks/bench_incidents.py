"""What the alerts' engine takes: incidents an hour, the time of a turn, lateness, and kills.

    paced      one event a turn, each an incident of its own, beside 10,000 that are open: what a
               commit waits for until its delivery is a row
    ceiling    as many as there are, 500 a turn: incidents an hour at most
    ladder     1,000 incidents whose next step is due at moments spread over seconds: how late each
               is decided by the loop as it runs in central
    kills      worker processes that decide and send are killed with SIGKILL again and again under
               load; what a receiver saw against what was decided

    python benchmarks/bench_incidents.py
    python benchmarks/bench_incidents.py --kills 5 --open 1000

Writes benchmarks/results/incidents.json.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from vedette.central.alerting import jobs
from vedette.central.alerting.jobs import Engine
from vedette.central.services import Services
from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.sim import alert_kills

ROOT = Path(__file__).resolve().parents[1]
FEED_S = 0.02


def percentiles(values: list[float]) -> dict[str, float]:
    """Return p50, p95, p99 and the most, in what the values are in."""
    ordered = sorted(values)
    found = {
        f"p{share}": ordered[min(len(ordered) - 1, len(ordered) * share // 100)]
        for share in (50, 95, 99)
    }
    return {name: round(value, 2) for name, value in (found | {"max": ordered[-1]}).items()}


async def feed(services: Services, first: int, count: int) -> None:
    """Have so many events, each of a camera of its own."""
    async with services.db.transaction() as tx:
        for number in range(first, first + count):
            await alert_kills.happen(tx, number, services.now_ms())


async def drain(engine: Engine, services: Services) -> tuple[int, float, float]:
    """Turn until nothing is left; return incidents, wall and processor seconds."""
    wall_s, cpu_s, count = time.perf_counter(), time.process_time(), 0
    while True:
        turned = await engine.turn(services.now_ms(), look=False)
        count += turned.signals
        if not turned.signals:
            return count, time.perf_counter() - wall_s, time.process_time() - cpu_s


async def ceiling(services: Services, standing: int) -> dict[str, Any]:
    """Return how fast a backlog becomes incidents."""
    engine = Engine(services.db, services.bulletin)
    await feed(services, 0, standing)
    count, wall_s, cpu_s = await drain(engine, services)
    return {
        "incidents": count,
        "an_hour": round(count / wall_s * 3600),
        "ms_each": round(wall_s / count * 1000, 3),
        "cpu_ms_each": round(cpu_s / count * 1000, 3),
    }


async def paced(services: Services, standing: int, turns: int) -> dict[str, Any]:
    """Return what one event costs beside many open incidents, and an empty turn."""
    async with services.db.transaction() as tx:
        await tx.connection.execute(b"UPDATE incidents SET due_ms = NULL")
    engine = Engine(services.db, services.bulletin)
    wall: list[float] = []
    cpu: list[float] = []
    empty: list[float] = []
    for number in range(turns):
        await feed(services, standing + number, 1)
        began_cpu_s = time.process_time()
        began_s = time.perf_counter()
        turned = await engine.turn(services.now_ms(), look=False)
        wall.append((time.perf_counter() - began_s) * 1000)
        cpu.append((time.process_time() - began_cpu_s) * 1000)
        assert turned.incidents >= 1  # earlier ones climb on meanwhile
        began_s = time.perf_counter()
        await engine.turn(services.now_ms(), look=False)
        empty.append((time.perf_counter() - began_s) * 1000)
    return {
        "event_to_delivery_row_ms": percentiles(wall),
        "cpu_ms": percentiles(cpu),
        "empty_turn_ms": percentiles(empty),
    }


async def ladder(services: Services, due: int, over_s: float) -> dict[str, Any]:
    """Return how late steps are decided whose moments are spread over `over_s`."""
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await tx.connection.execute(b"UPDATE incidents SET due_ms = NULL")
        rows = await (
            await tx.connection.execute(
                b"SELECT incident, body FROM incidents ORDER BY incident LIMIT %s", (due,)
            )
        ).fetchall()
        for number, (incident, body) in enumerate(rows):
            at_ms = now_ms + 3_000 + round(over_s * 1000 * number / due)
            told = json.loads(body)
            told["climb"] |= {"step": 1, "began_ms": at_ms - 2_000, "due_ms": at_ms}
            told["due_ms"] = at_ms
            await tx.connection.execute(
                b"UPDATE incidents SET due_ms = %s, body = %s WHERE incident = %s",
                (at_ms, json.dumps(told).encode(), incident),
            )
        await tx.connection.execute(b"DELETE FROM deliveries")
    loop = asyncio.create_task(jobs.run(services))
    await asyncio.sleep(over_s + 8)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    async with services.db.transaction() as tx:
        rows = await (
            await tx.connection.execute(
                b"SELECT made_ms - asked_ms FROM deliveries WHERE channel = 'second'"
            )
        ).fetchall()
    return {"steps": len(rows), "late_ms": percentiles([float(late) for (late,) in rows])}


async def kills(  # noqa: PLR0917 - what the workers and the count share
    conninfo: str, services: Services, folder: Path, port: int, times: int,
    receiver: alert_kills.Receiver,
) -> dict[str, Any]:  # fmt: skip
    """Return what became of events while two workers were killed again and again."""
    chance = random.Random(7)
    workers = [await alert_kills.start(conninfo, folder, port) for _ in range(2)]
    stop = asyncio.Event()
    fed = 0

    async def load() -> None:
        nonlocal fed
        while not stop.is_set():
            await feed(services, fed, 1)
            fed += 1
            await asyncio.sleep(FEED_S)

    feeding = asyncio.create_task(load())
    try:
        for _ in range(times):
            seen = receiver.count  # whoever is killed shall have something under way
            while receiver.count < seen + 5:
                receiver.news.clear()
                await receiver.news.wait()
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            number = chance.randrange(2)
            workers[number].kill()
            await workers[number].wait()
            workers[number] = await alert_kills.start(conninfo, folder, port)
        stop.set()
        await feeding
        for _ in range(400):  # leases of the dead hold for two minutes
            async with services.db.transaction() as tx:
                found = await alert_kills.tally(tx, receiver)
            if found.deliveries == 2 * fed and not found.missing:
                break
            await asyncio.sleep(1)
    finally:
        for worker in workers:
            worker.kill()
            await worker.wait()
    return {
        "kills": times, "events": fed, "incidents": found.incidents,
        "deliveries": found.deliveries, "ids_received": found.ids,
        "requests_received": found.received, "ids_received_twice": found.repeated,
        "ids_with_two_contents": len(found.altered), "missing": len(found.missing),
    }  # fmt: skip


async def with_database(
    server: EmbeddedPostgres, name: str, folder: Path, work: Callable[..., Awaitable[Any]]
) -> Any:
    """Return what `work` returns, over a database and a receiver of its own."""
    conninfo = server.conninfo_for(name)
    receiver = alert_kills.Receiver()
    port = await receiver.open()
    state = folder / name
    state.mkdir()
    services = alert_kills.services_for(conninfo, state, port)
    await services.db.open()
    try:
        await alert_kills.prepare(services, port)
        return await work(conninfo, services, state, port, receiver)
    finally:
        await services.db.close()
        receiver.close()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--open", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=400)
    parser.add_argument("--kills", type=int, default=25)
    given = parser.parse_args()
    found: dict[str, Any] = {
        "machine": {
            "cpus": os.cpu_count(), "platform": platform.platform(),
            "python": platform.python_version(), "load_1m": round(os.getloadavg()[0], 1),
        }
    }  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="vedette-bench-"))
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.conninfo))
            copy(server, "engine", "kills")

            async def engine(
                _conninfo: str, services: Services, _state: Path, _port: int, _r: object
            ) -> dict[str, Any]:
                return {
                    "ceiling": await ceiling(services, given.open),
                    "paced": await paced(services, given.open, given.turns),
                    "ladder": await ladder(services, min(1_000, given.open), 20.0),
                }

            async def killing(
                conninfo: str, services: Services, state: Path, port: int,
                receiver: alert_kills.Receiver,
            ) -> dict[str, Any]:  # fmt: skip
                return await kills(conninfo, services, state, port, given.kills, receiver)

            found |= asyncio.run(with_database(server, "engine", folder, engine))
            print(json.dumps(found, indent=2), flush=True)
            found["kills"] = asyncio.run(with_database(server, "kills", folder, killing))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found, indent=2))
    path = ROOT / "benchmarks" / "results" / "incidents.json"
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def copy(server: EmbeddedPostgres, *names: str) -> None:
    """Have databases of these names, migrated and empty."""
    import psycopg

    with psycopg.connect(server.conninfo_for("postgres"), autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE vedette".encode())


if __name__ == "__main__":
    main()
