"""What one turn over a rollout costs central: facts of 10,000 devices, a decision, what follows.

500 sites × 20 devices with a slot, four cameras and rare bad events; one rollout in its first wave,
half of the devices assigned. Told apart: the turn that makes the rows, the one that assigns half of
the fleet, the signing of those assignments, and a turn in which nothing changed (the usual one).
Processor time of this process is taken as well, which other work on the machine stretches less.

    python benchmarks/bench_rollout_turn.py
    python benchmarks/bench_rollout_turn.py --devices 1000

Writes benchmarks/results/rollout_turn.json.
"""

import argparse
import asyncio
import hashlib
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from vedette.central.bulletin import Bulletin
from vedette.central.releases import keeping
from vedette.central.rollouts import assigning, jobs, ordering, store
from vedette.central.rollouts.facts import Asked, Gates, Order, Plan, RolloutState, Stage
from vedette.central.store.db import Database
from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.trust.keys import SigningKey
from vedette.trust.tuf.approvals import approval_path
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Approval, Artefact

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 10
NOW_MS = 1_772_000_000_000
HOUR_MS = 3_600_000
SEED = """
INSERT INTO sites (site, name, created_ms)
SELECT 'site-' || n, '', 0 FROM generate_series(0, 499) n;
INSERT INTO devices (device, site, public_key, enrolled_ms, hardware, version, state,
                     last_contact_ms, health_at_ms)
SELECT 'box-' || n, 'site-' || n %% 500, 'key ' || n, 0,
       (ARRAY['Jetson Orin Nano', 'Raspberry Pi 5', 'x86'])[1 + n %% 3], '1', 'ok',
       %(now_ms)s, %(now_ms)s
FROM generate_series(1, %(devices)s) n;
INSERT INTO device_slots (device, slot, kind, running, epoch, seq, changed_ms)
SELECT device, 'app', 'app', %(old)s, 1, 1, %(now_ms)s FROM devices;
INSERT INTO camera_inventory (device, camera, since_ms, make, model, firmware, serial, codec,
                              source_kind, seen_ms)
SELECT d.device, 'cam-' || c, 1, 'Maker', 'Model ' || c, '1', '', 'h264', 'rtsp', 1
FROM devices d, generate_series(1, 4) c;
INSERT INTO device_bad_hours (device, hour_ms, kind, count)
SELECT device, %(now_ms)s / 3600000 * 3600000 - (1 + length(device) * 7) * 3600000::bigint,
       'crash', 1 FROM devices WHERE length(device) %% 2 = 0;
ANALYZE;
"""


def artefact(name: str) -> Artefact:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return Artefact(
        kind=ArtefactKind.APP,
        target=f"app/{name}",
        sha256=sha256,
        bytes=1,
        digest=f"sha256:{sha256}",
    )


async def seed(conninfo: str, devices: int) -> None:
    values = {"devices": devices, "now_ms": NOW_MS, "old": artefact("old").digest}
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        for statement in SEED.split(";\n"):
            if statement.strip():
                await psycopg.AsyncClientCursor(connection).execute(statement.encode(), values)


async def begin(db: Database, state: Path) -> None:
    new, old = artefact("new"), artefact("old")
    stages = [Stage(state=RolloutState.WAVE, share=share, soak_h=0.0) for share in (0.5, 1.0)]
    plan = Plan(
        rollout="ro", kind=ArtefactKind.APP, slot="app", artefact=new, back=old, stages=stages,
        gates=Gates(needs_shadow=False),
    )  # fmt: skip
    approval = Approval(
        rollout="ro", issued_ms=NOW_MS, expires_ms=NOW_MS + 10**10, artefacts=[new, old],
        sites=["*"],
    )  # fmt: skip
    body = msgspec.json.encode(approval)
    sha256 = hashlib.sha256(body).hexdigest()
    blobs = keeping.release_blobs(state)
    blobs.append(sha256, "bench", 0, body, len(body))
    blobs.finish(sha256, "bench")
    async with db.transaction() as tx:
        path = approval_path("ro")
        await tx.run("release_file_put", path=path, sha256=sha256, bytes=len(body))
        await ordering.make(tx, plan, actor="ada", note="", now_ms=NOW_MS)
        await ordering.approve(tx, "ro", actor="eve", two_people=True, now_ms=NOW_MS)
        start = Asked(order=Order.START, at_ms=NOW_MS, by="ada")
        await ordering.order(tx, "ro", start, now_ms=NOW_MS)


async def timed(words: str, work: Callable[[int], Awaitable[object]], repeats: int) -> dict:
    wall: list[float] = []
    cpu: list[float] = []
    for number in range(repeats):
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        await work(number)
        cpu.append(time.process_time() - began_cpu_s)
        wall.append(time.perf_counter() - began_s)
    ordered = sorted(wall)
    found = {
        "p50": round(statistics.median(ordered), 3),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 3),
        "p99": round(ordered[-1], 3),
        "cpu_p50": round(statistics.median(cpu), 3),
    }
    print(f"{words:<44}{found}", flush=True)
    return found


async def measure(conninfo: str, state: Path, devices: int) -> dict[str, Any]:
    await migrate(conninfo)
    await seed(conninfo, devices)
    db = Database(conninfo)
    await db.open()
    await begin(db, state)
    bulletin, key = Bulletin(), SigningKey.generate()

    async def turn(number: int) -> None:
        now_ms = NOW_MS + 1 + number * 30_000
        await jobs.tick(db, bulletin, state=state, now_ms=now_ms)

    async def sign(_: int) -> None:
        await assigning.sign_due(db, bulletin, key, NOW_MS)

    found = {"make rows and begin": await timed("make rows and begin", turn, 1)}
    first = NOW_MS + 60_000
    found["assign half of the fleet"] = await timed(
        "assign half of the fleet",
        lambda _: jobs.tick(db, bulletin, state=state, now_ms=first),
        1,
    )
    found["sign those assignments"] = await timed("sign those assignments", sign, 1)
    found["a turn in which nothing changed"] = await timed(
        "a turn in which nothing changed", lambda n: turn(n + 10), REPEATS
    )
    async with db.transaction() as tx:
        row = await store.get(tx, "ro")
    assert row is not None, "it was just made"
    assert row.at is RolloutState.WAVE, row.reason
    await db.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="What one turn over a rollout costs central.")
    parser.add_argument("--devices", type=int, default=10_000)
    devices = parser.parse_args().devices
    folder = Path(tempfile.mkdtemp(prefix="vedette-bench-"))
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder / "pg") as server:
            found = asyncio.run(measure(server.conninfo, folder / "state", devices))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    facts = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "devices": devices,
        "seconds": found,
    }
    path = ROOT / "benchmarks" / "results" / "rollout_turn.json"
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
