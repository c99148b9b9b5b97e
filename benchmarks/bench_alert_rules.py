"""What health costs the rules: processor time to look at the reports of a fleet.

    reports   every device's newest report against the starter's rules, as each half minute; of this
              process and, apart, by report: the latency rule decodes histograms, the others do not
    turn      a look at central's own tables while nothing changed, and while many are dark

    python benchmarks/bench_alert_rules.py --devices 10000

Writes benchmarks/results/alert_rules.json.
"""

import argparse
import asyncio
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from vedette.central.alerting import conditions, documents, reports, rules, starter
from vedette.central.alerting.facts import Health
from vedette.central.store.db import Database
from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.stats.sketch import ExpHistogram
from vedette.wire.messages import (
    CameraHealth,
    HealthReport,
    PipelineHealth,
    SpoolHealth,
    State,
    SystemHealth,
)

ROOT = Path(__file__).resolve().parents[1]
NOW_MS = 1_772_438_400_000
ROUNDS = 5


def report() -> bytes:
    """Return a report of three cameras with their histograms, as msgpack."""
    spread = ExpHistogram()
    for n in range(300):
        spread.add(5.0 * 1.01**n)
    stages = ("capture", "preprocess", "inference", "postprocess", "dispatch", "total")
    cameras = [
        CameraHealth(
            camera=f"cam-{n}",
            state=State.OK,
            since_ms=NOW_MS,
            stage_ms={stage: spread.to_wire() for stage in stages},
        )
        for n in range(3)
    ]
    system = SystemHealth(
        disk_used_fraction=0.4, throttle_flags=[], agent_rss_mb=90, temperatures_c={"cpu": 60.0}
    )
    return msgspec.msgpack.encode(
        HealthReport(
            at_ms=NOW_MS,
            period_s=30,
            version="1",
            system=system,
            pipeline=PipelineHealth(running=True, cameras=cameras),
            spool=SpoolHealth(bytes=1, quota_bytes=100),
        )
    )


async def fill(db: Database, devices: int, body: bytes) -> None:
    """Have a fleet of devices, 50 to a site, each with this report."""
    async with db.transaction() as tx:
        await tx.connection.execute(
            "INSERT INTO sites (site, name, created_ms)"
            " SELECT 's' || n, '', 0 FROM generate_series(0, %s) n",
            (devices // 50,),
        )
        await tx.connection.execute(
            "INSERT INTO devices (device, site, public_key, enrolled_ms, state, since_ms,"
            " last_contact_ms, health, health_at_ms, clock_state) SELECT 'd' || n, 's' || n / 50,"
            " 'k' || n, 0, 'ok', %s, %s, %s, %s, 'trusted' FROM generate_series(1, %s) n",
            (NOW_MS, NOW_MS, body, NOW_MS, devices),
        )


async def put(db: Database, *, with_latency: bool) -> int:
    """Have the starter's rules of health; return how many of them reports answer."""
    async with db.transaction() as tx:
        for rule in rules.load(starter.text().encode()).rules:
            if rule.health is not None:
                on = with_latency or rule.health.is_ is not Health.LATENCY_BUDGET
                changed = msgspec.structs.replace(rule, enabled=on)
                await documents.put(tx, "rule", rule.rule, changed, "bench", NOW_MS)
        return len(reports.asking(await documents.current(tx)))


async def measured(work: Callable[[int], Awaitable[object]]) -> dict[str, float]:
    """Return the least and the middle processor time of this process, in ms, over some rounds."""
    spent: list[float] = []
    for number in range(ROUNDS):
        began_s = time.process_time()
        await work(number)
        spent.append((time.process_time() - began_s) * 1000)
    ordered = sorted(spent)
    return {"min_ms": round(ordered[0], 2), "p50_ms": round(ordered[ROUNDS // 2], 2)}


async def bench(conninfo: str, devices: int) -> dict[str, object]:
    """Return every figure."""
    db = Database(conninfo)
    await db.open()
    body = report()
    found: dict[str, object] = {"devices": devices, "report_bytes": len(body)}
    try:
        await fill(db, devices, body)
        for name, with_latency in (("reports", True), ("reports_without_latency", False)):
            asked = await put(db, with_latency=with_latency)

            async def all_reports(number: int) -> None:
                async with db.transaction() as tx:  # all were heard since
                    await tx.connection.execute(
                        "UPDATE devices SET last_contact_ms = %s, health_at_ms = %s",
                        (NOW_MS + number * 30_000, NOW_MS + number * 30_000),
                    )
                await reports.look(db, NOW_MS + number * 30_000)

            spent = await measured(all_reports)
            found[name] = spent | {
                "rules": asked,
                "us_each": round(spent["p50_ms"] * 1000 / devices, 1),
                "of_a_core_percent": round(spent["p50_ms"] / 30_000 * 100, 2),
            }

        async def turn(number: int) -> None:
            async with db.transaction() as tx:
                book = await documents.current(tx)
                await conditions.look(tx, book, NOW_MS + 1_000_000 + number * 3_000)

        await turn(-1)
        found["turn_quiet"] = await measured(turn)
        async with db.transaction() as tx:
            await tx.connection.execute("UPDATE devices SET state = 'dark'")
        began_s = time.process_time()
        await turn(ROUNDS)
        found["turn_all_dark_ms"] = round((time.process_time() - began_s) * 1000, 1)
    finally:
        await db.close()
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    devices = parser.parse_args().devices
    folder = Path(tempfile.mkdtemp(prefix="vedette-bench-"))
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.conninfo))
            found = asyncio.run(bench(server.conninfo, devices))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found["machine"] = {"python": platform.python_version(), "machine": platform.machine()}
    (ROOT / "benchmarks/results/alert_rules.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
