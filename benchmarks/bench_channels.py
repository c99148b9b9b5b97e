"""What sending costs: from the row to the receiver, a backlog, and one that never answers.

    paced      one notice each 50 ms to a webhook: from its commit to its arrival
    hanging    the same, beside a channel whose receiver never answers and has a backlog
    backlog    notices to four webhooks at once: how many a second, processor time of each

The receiver is a process of its own. Everything is real: PostgreSQL, the dispatcher, signatures.

    python benchmarks/bench_channels.py

Writes benchmarks/results/channels.json.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from vedette.central.alerting.channels import dispatch, outbox, signing, store
from vedette.central.alerting.channels.facts import NOW, Secret, SharedSecret, Webhook
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.facts import (
    Incident,
    IncidentState,
    Notice,
    NoticeKind,
    Severity,
    Subject,
)
from vedette.central.app import build_services
from vedette.central.services import Services
from vedette.central.settings import Alerts, CentralConfig
from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.trust.keys import SigningKey

ROOT = Path(__file__).resolve().parents[1]
EVERY_S = 0.05


def percentiles(values: list[float]) -> dict[str, float]:
    """Return p50, p95, p99 and the most."""
    ordered = sorted(values)
    found = {
        f"p{share}": ordered[min(len(ordered) - 1, len(ordered) * share // 100)]
        for share in (50, 95, 99)
    }
    return {name: round(value, 2) for name, value in (found | {"max": ordered[-1]}).items()}


async def serve() -> None:
    """Answer every POST, but on `/hangs`; print when each came once standard input ends."""
    came: dict[str, float] = {}
    never = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        came[body["data"]["incident"]["id"]] = time.time()
        if head.startswith("POST /hangs"):
            await never.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(came), flush=True)
    os._exit(0)


def notice(name: str, channel: str, now_ms: int) -> Notice:
    """Return what is told of an incident of this name."""
    incident = Incident(
        incident=name,
        key=name,
        rule="dark",
        severity=Severity.CRITICAL,
        state=IncidentState.OPEN,
        title="No word from the site",
        subject=Subject(site="shop"),
        opened_ms=now_ms,
        changed_ms=now_ms,
        known_ms=now_ms,
    )
    return Notice(
        key=name, kind=NoticeKind.OPENED, channel=channel, due_ms=now_ms, incident=incident
    )


async def put(services: Services, *names: str, channel: str) -> None:
    """Have notices waiting, and the dispatcher told."""
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await outbox.put(tx, [notice(name, channel, now_ms) for name in names], now_ms)
    services.bulletin.publish(NOW)


async def until_sent(services: Services, prefix: str) -> None:
    """Wait until everything of this name was sent."""
    while True:
        async with services.db.transaction() as tx:
            cursor = await tx.connection.execute(
                b"SELECT count(*) FROM deliveries WHERE key LIKE %s AND state <> 'sent'",
                (f"{prefix}%",),
            )
            ((left,),) = await cursor.fetchall()
        if not left:
            return
        await asyncio.sleep(0.05)


async def paced(services: Services, prefix: str, count: int) -> tuple[dict[str, float], float]:
    """Return when each was committed, and processor milliseconds of each."""
    made: dict[str, float] = {}
    cpu_s = time.process_time()
    for number in range(count):
        name = f"{prefix}-{number}"
        await put(services, name, channel="one")
        made[name] = time.time()
        await asyncio.sleep(EVERY_S)
    await until_sent(services, prefix)
    return made, (time.process_time() - cpu_s) * 1000 / count


def receiving() -> "subprocess.Popen[bytes]":
    """Return the receiver as a process."""
    line = [sys.executable, __file__, "--serve"]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def measure(conninfo: str, state: Path, count: int) -> dict[str, Any]:
    """Return every figure."""
    with receiving() as receiver:
        assert receiver.stdout is not None
        port = int(receiver.stdout.readline())
        alerts = Alerts(allow_private=["127.0.0.0/8"], ports=[port])
        config = CentralConfig(state_dir=str(state), alerts=alerts)
        services = build_services(config, conninfo, SigningKey.generate())
        await services.db.open()
        secret = Secret(shared=[SharedSecret(secret=signing.fresh("v1"), made_ms=0)])
        async with services.db.transaction() as tx:
            for name in ("one", "two", "three", "four", "hangs"):
                settings = Webhook(
                    url=f"http://127.0.0.1:{port}/{name}", per_minute=6000, at_once=8
                )
                await store.put(tx, Seal(state), name, settings, secret, actor="bench", now_ms=0)
        running = asyncio.create_task(dispatch.run(services))
        await paced(services, "warm", 20)
        alone, cpu_ms = await paced(services, "alone", count)
        await put(services, *(f"hang-{n}" for n in range(100)), channel="hangs")
        beside, _ = await paced(services, "beside", count)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for channel in ("one", "two", "three", "four"):
            await put(services, *(f"many-{channel}-{n}" for n in range(250)), channel=channel)
        await until_sent(services, "many")
        wall_s, backlog_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await services.db.close()
        said, _ = receiver.communicate(b"")
        came = json.loads(said)
    return {
        "paced_ms": percentiles([(came[name] - at_s) * 1000 for name, at_s in alone.items()]),
        "paced_cpu_ms_each": round(cpu_ms, 2),
        "beside_hanging_ms": percentiles(
            [(came[name] - at_s) * 1000 for name, at_s in beside.items()]
        ),
        "backlog_a_second": round(1000 / wall_s, 1),
        "backlog_cpu_ms_each": round(backlog_cpu_s, 2),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--count", type=int, default=300)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve())
        return
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "pg") as server:
            asyncio.run(migrate(server.conninfo))
            found = asyncio.run(measure(server.conninfo, Path(folder) / "state", asked.count))
    found["machine"] = {
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 1),
    }
    text = json.dumps(found, indent=2)
    print(text)
    (ROOT / "benchmarks" / "results" / "channels.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
