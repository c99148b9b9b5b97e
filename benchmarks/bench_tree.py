"""What a scoped user waits for in a large fleet: their groups, and the pages of their cameras.

500 sites × 5 devices × 4 cameras (10,000), an inventory of each with some history, labels, and 500
groups with stars, negations and labels; the asker sees all sites of one folder, or nearly all.
Processor time of this process and of the database's is taken as well, which other work on the
machine stretches less. Side by side in the same run: each group asked of each subject
(`selection.matches`, as it was before the index), over a tenth of the groups.

    python benchmarks/bench_tree.py
    python benchmarks/bench_tree.py --sites 50    # smaller and quicker

Writes benchmarks/results/tree.json.
"""

import argparse
import asyncio
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

import psycopg

from vedette.central import inventory, selection, tree
from vedette.central.store.db import Database, Tx
from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 10
GROUPS = 500
SEED = """
INSERT INTO sites (site, name, created_ms, folder)
SELECT 'site-' || n, '', 0, 'region-' || n %% 20 || '/city-' || n %% 100
FROM generate_series(1, %(sites)s) n;
INSERT INTO devices (device, site, public_key, enrolled_ms, hardware, version, state)
SELECT 'box-' || n, 'site-' || 1 + n %% %(sites)s, 'key ' || n, 0,
       (ARRAY['Jetson Orin Nano', 'Raspberry Pi 5', 'x86'])[1 + n %% 3], '0.' || n %% 7,
       CASE WHEN n %% 50 = 0 THEN 'dark' ELSE 'ok' END
FROM generate_series(1, %(sites)s * 5) n;
INSERT INTO cameras (device, camera, known_from_ms, state)
SELECT 'box-' || n, 'cam-' || c, 0, CASE WHEN n %% 40 = 0 THEN 'down' ELSE 'ok' END
FROM generate_series(1, %(sites)s * 5) n, generate_series(1, 4) c;
INSERT INTO camera_inventory (device, camera, since_ms, make, model, firmware, serial, codec,
                              source_kind, seen_ms)
SELECT device, camera, v, 'Maker', 'Model ' || length(device), '1.' || v, '', 'h264', 'rtsp', v
FROM cameras, generate_series(1, 3) v;
INSERT INTO labels (site, device, camera, key, value)
SELECT site, '', '', 'tier', (ARRAY['gold', 'tin'])[1 + length(site) %% 2] FROM sites;
INSERT INTO selections (name, expression, changed_ms, changed_by)
SELECT 'group-' || n, (ARRAY['folder:region-' || n %% 20 || '/** -state:dark',
    'label:tier=gold hardware:*orin* site:site-' || n || '*',
    'device:box-' || n || '* or camera:cam-9',
    'version:>=0.' || n %% 7 || ' -hardware:*pi* make:maker'])[1 + n %% 4], 0, ''
FROM generate_series(1, %(groups)s) n;
ANALYZE;
"""


async def seed(conninfo: str, sites: int) -> None:
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        for statement in SEED.split(";\n"):
            if statement.strip():
                values = {"sites": sites, "groups": GROUPS}
                await psycopg.AsyncClientCursor(connection).execute(statement.encode(), values)


async def old_groups(tx: Tx, scope: list[str]) -> int:
    """Ask each tenth group of each subject, as it was done before."""
    found = await tx.all("selections_all", tree.Group)
    seen = [
        subject
        for level in ("camera", "device", "site")
        for subject in await tree.subjects(tx, level, scope)
    ]
    nodes = [selection.parse(group.expression) for group in found[::10]]
    return sum(any(selection.matches(node, one) for one in seen) for node in nodes)


async def timed(db: Database, ask: Callable[[Tx], Awaitable[object]], repeats: int) -> dict:
    wall: list[float] = []
    cpu: list[float] = []
    for _ in range(repeats):
        async with db.transaction() as tx:
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            await ask(tx)
            cpu.append((time.process_time() - began_cpu_s) * 1e3)
            wall.append((time.perf_counter() - began_s) * 1e3)
    ordered = sorted(wall)
    return {
        "p50": round(statistics.median(ordered), 2),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 2),
        "p99": round(ordered[-1], 2),
        "cpu_p50": round(statistics.median(cpu), 2),
    }


async def measure(conninfo: str, sites: int) -> dict[str, Any]:
    await migrate(conninfo)
    await seed(conninfo, sites)
    db = Database(conninfo)
    await db.open()
    scope = [f"site-{n}" for n in range(1, sites)]
    asked: dict[str, tuple[Callable[[Tx], Awaitable[object]], int]] = {
        "groups of a scoped user": (lambda tx: tree.groups(tx, scope), REPEATS),
        "each tenth group of each subject": (lambda tx: old_groups(tx, scope), 3),
        "a page of 500 cameras": (lambda tx: inventory.present(tx, scope, limit=501), REPEATS),
        "every camera in scope": (lambda tx: inventory.present(tx, scope), REPEATS),
        "every camera with its history": (lambda tx: inventory.history(tx, scope), REPEATS),
    }
    found = {}
    for words, (ask, repeats) in asked.items():
        found[words] = await timed(db, ask, repeats)
        print(f"{words:<40}{found[words]}", flush=True)
    await db.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="What a scoped user waits for in a large fleet.")
    parser.add_argument("--sites", type=int, default=500)
    sites = parser.parse_args().sites
    folder = Path(tempfile.mkdtemp(prefix="vedette-bench-"))
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder / "pg") as server:
            found = asyncio.run(measure(server.conninfo, sites))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    facts = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "cameras": sites * 20,
        "groups": GROUPS,
    }
    place = ROOT / "benchmarks" / "results" / "tree.json"
    place.write_text(json.dumps(facts | found, indent=2) + "\n")


if __name__ == "__main__":
    main()
