"""A fleet against one central: in step, at the ceiling, and when all of it comes back at once.

    python benchmarks/bench_fleet.py --prepare    once: an environment with FastAPI
    python benchmarks/bench_fleet.py              all three parts, the storm scaled down
    python benchmarks/bench_fleet.py --only storm --whole --storm-folder DIR
                                                  the storm as large as it gets: 1,000 × 48 h, an
                                                  hour at most; Ctrl-C, and the same line goes on
    python benchmarks/bench_fleet.py --only steady

A *report* is what a device of four cameras says for 30 s: its health with every camera's, and each
second time one aggregate per camera for the minute; three messages on average. All of it goes
through the real protocol into a central of its own (`vedette central run`, embedded PostgreSQL):
durable acknowledgement, rollups, coverage, liveness, exactly once.

    steady     10,000 devices, one report per 30 s each; latency counts from when a report was due.
               Told apart: the first period, in which all is new. A checkpoint follows it, so that
               the database uses its log's files again instead of making new ones, as it does
               from its first checkpoint on (ten minutes, or half a gigabyte)
    ceiling    a closed loop; in turns with it the plain pattern, FastAPI with one INSERT per
               report (same content as JSON, no rollups, coverage or sequence numbers)
    storm      every device was away and sends what waited while it goes on reporting

Client, central and database share the machine; CPU seconds are told for each. Writes
benchmarks/results/fleet.json.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import psycopg

from vedette.central.store.postgres import EmbeddedPostgres
from vedette.clock import SystemClock
from vedette.sim import footage
from vedette.sim.faults import free_port
from vedette.sim.fleet import roll, template
from vedette.sim.fleet.http import Pool
from vedette.sim.fleet.load import Load, Paused
from vedette.sim.fleet.meter import Result, latency
from vedette.sim.fleet.own import OwnCentral, own_central
from vedette.sim.fleet.template import Hole
from vedette.trust.keys import SigningKey
from vedette.wire import codec
from vedette.wire.envelope import Batch
from vedette.wire.streams import stream

HERE: Final = Path(__file__).resolve().parent
ENVIRONMENTS: Final = Path(
    os.environ.get("VEDETTE_PEERS", str(footage.cache_folder().parent / "peers"))
)
REQUIREMENTS: Final = ("fastapi==0.165.0", "uvicorn[standard]", "psycopg[binary,pool]")
CLOCK: Final = SystemClock()
CORES: Final = os.cpu_count() or 1
PERIOD_S: Final = 30.0


def python() -> Path:
    """Return the interpreter with FastAPI."""
    return ENVIRONMENTS / "fastapi" / "bin" / "python"


def prepare() -> int:
    """Make the environment."""
    folder = ENVIRONMENTS / "fastapi"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *REQUIREMENTS]
    return subprocess.run(install, check=False).returncode


def figures(result: Result, cpu: dict[str, float]) -> dict[str, Any]:
    """Return what is kept of one run."""
    spent = sum(cpu.values())
    return {
        "seconds": round(result.seconds, 1),
        "devices": result.devices,
        "reports": result.reports,
        "reports_per_s": round(result.reports_per_s, 1),
        "messages_per_s": round(result.messages_per_s, 1),
        "ack_ms": msgspec.to_builtins(result.ack_ms),
        "errors": result.errors,
        "overdue": result.overdue,
        "connections": result.connections,
        "cpu_s": {name: round(value, 2) for name, value in cpu.items()},
        "share_of_machine": round(spent / (result.seconds * CORES), 3),
        "server_cpu_ms_per_report": server_cpu(cpu, result.reports),
    }


async def measured(
    central: OwnCentral, run: Callable[[], Awaitable[Result]]
) -> tuple[Result, dict[str, float]]:
    """Return the result of a run, and who spent how much CPU meanwhile."""
    before = central.usage()
    result = await run()
    used = central.usage().since(before)
    return result, msgspec.structs.asdict(used) | {"client": result.cpu_s}


def bulk(central: OwnCentral, devices: int) -> list[roll.Member]:
    return roll.enrol_in_bulk(central.database_url, devices, central.audience, CLOCK)


# ------------------------------------------------------------------------------------- steady


def steady(devices: int, seconds: float) -> dict[str, Any]:
    """Everybody in step; the first period, in which all is new, is told apart."""

    async def run(central: OwnCentral) -> dict[str, Any]:
        async with Pool(central.url, 256) as pool:
            load = Load(pool, bulk(central, devices), CLOCK)
            first, _ = await measured(
                central, lambda: load.paced(period_s=PERIOD_S, duration_s=PERIOD_S)
            )
            with psycopg.connect(central.database_url, autocommit=True) as db:
                db.execute("CHECKPOINT")
            result, cpu = await measured(
                central, lambda: load.paced(period_s=PERIOD_S, duration_s=seconds)
            )
        found = figures(result, cpu)
        found["first_period_ack_ms"] = msgspec.to_builtins(first.ack_ms)
        found["dark"] = dark(central)
        return found

    with own_central(CLOCK) as central:
        return asyncio.run(run(central))


def dark(central: OwnCentral) -> int:
    """Return how often central called a device dark."""
    with psycopg.connect(central.database_url) as db:
        row = db.execute("SELECT count(*) FROM device_transitions WHERE state = 'dark'").fetchone()
    return int(row[0]) if row else 0


# ------------------------------------------------------------------------------------ ceiling


def ceiling(devices: int, seconds: float, rounds: int) -> dict[str, Any]:
    """The closed loop, in turns with the plain pattern where its environment is there."""
    ours: list[dict[str, Any]] = []
    plain: list[dict[str, Any]] = []
    with own_central(CLOCK) as central, naive(central) as other:
        members = bulk(central, devices)

        async def one() -> dict[str, Any]:
            async with Pool(central.url, 128) as pool:
                load = Load(pool, members, CLOCK, seed=len(ours))
                return figures(
                    *await measured(
                        central,
                        lambda: load.closed(
                            duration_s=seconds, concurrency=128, hours_ago=40 - 2 * len(ours)
                        ),
                    )
                )

        for turn in range(rounds):
            ours.append(asyncio.run(one()))
            print(f"  round {turn + 1}: ours {ours[-1]['reports_per_s']:.0f} reports/s", flush=True)
            if other is not None:
                plain.append(asyncio.run(drive_naive(central, other, seconds)))
                print(f"           plain {plain[-1]['reports_per_s']:.0f} reports/s", flush=True)
    best = sorted(ours, key=lambda one: one["reports_per_s"])[len(ours) // 2]
    found: dict[str, Any] = {"ours": best, "rounds": [one["reports_per_s"] for one in ours]}
    if plain:
        found["plain"] = sorted(plain, key=lambda one: one["reports_per_s"])[len(plain) // 2]
        pairs = zip(ours, plain, strict=True)
        ratios = [a["reports_per_s"] / b["reports_per_s"] for a, b in pairs]
        found["times_plain"] = round(statistics.median(ratios), 2)
        costs = [
            b["server_cpu_ms_per_report"] / a["server_cpu_ms_per_report"]
            for a, b in zip(ours, plain, strict=True)
        ]
        found["times_plain_by_cpu"] = round(statistics.median(costs), 2)
    return found


@contextmanager
def naive(central: OwnCentral) -> Iterator[tuple[int, psutil.Process] | None]:
    """Give port and process of the plain service over the same PostgreSQL; None: no environment."""
    if not python().exists():
        print("left out, its environment is not there: FastAPI (run with --prepare)")
        yield None
        return
    server = EmbeddedPostgres(central.folder / "pg")
    server.attach()
    with psycopg.connect(server.conninfo_for("postgres"), autocommit=True) as db:
        db.execute("CREATE DATABASE naive")
    with psycopg.connect(server.conninfo_for("naive")) as db:
        db.execute(
            "CREATE TABLE naive (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
            " device text NOT NULL, at_ms bigint NOT NULL, body jsonb NOT NULL)"
        )
        db.execute("CREATE INDEX ON naive (device, at_ms)")
    port = free_port()
    script = HERE / "compare" / "fastapi_insert.py"
    line = [str(python()), str(script), server.conninfo_for("naive"), str(port)]
    process = subprocess.Popen(line)
    try:
        asyncio.run(wait_for(port))
        yield port, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


async def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit("the plain service does not start")


def json_bodies() -> list[bytes]:
    """Return the same reports as JSON, as many with aggregates as without."""
    rng = random.Random(1)
    now = int(time.time() * 1000)
    bodies = []
    for n in range(16):
        made = template.make(rng, 4, [n % 2 == 1])
        numbers = template.values({Hole.SEQ: 1, Hole.EPOCH: 1, Hole.WALL: now, Hole.MONO: 10**9})
        numbers[Hole.MINUTE] = now // 60_000 * 60_000 - 60_000
        batch = codec.decode(made.fill(b"@" * template.NAME_CHARS, numbers), Batch)
        document = msgspec.to_builtins(msgspec.structs.replace(batch, envelopes=[]))
        for envelope in batch.envelopes:
            plain = msgspec.structs.asdict(envelope)
            plain["body"] = codec.decode_body(envelope.body, stream(envelope.schema))
            document["envelopes"].append(msgspec.to_builtins(plain))
        bodies.append(json.dumps(document).encode())
    return bodies


async def drive_naive(
    central: OwnCentral, other: tuple[int, psutil.Process], seconds: float
) -> dict[str, Any]:
    """Return what the plain pattern takes in a closed loop of the same width."""
    port, process = other
    bodies = json_bodies()
    names = [name.encode() for name in roll.names(2_000)]
    heads = [
        b"POST /report HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
        for body in bodies
    ]
    took: list[float] = []
    errors = 0
    turn = 0
    began, cpu = time.perf_counter(), time.process_time()
    before, database = process.cpu_times(), central.usage()
    async with Pool(f"http://127.0.0.1:{port}", 128) as pool:

        def send() -> None:
            nonlocal turn
            which = turn % len(bodies)
            name = names[turn % len(names)]
            turn += 1
            sent = time.perf_counter()

            def done(status: int, _data: bytes) -> None:
                nonlocal errors
                if not status:  # the pool is closed: the time is over
                    return
                now = time.perf_counter()
                took.append((now - sent) * 1000)
                errors += status != 200
                if now - began < seconds:
                    send()

            pool.send(heads[which] + bodies[which].replace(b"@" * template.NAME_CHARS, name), done)

        for _ in range(128):
            send()
        await asyncio.sleep(seconds + 0.3)
    after = process.cpu_times()
    spent = {
        "service": round(after.user + after.system - before.user - before.system, 2),
        "postgres": central.usage().since(database).postgres,
        "client": round(time.process_time() - cpu, 2),
    }
    return {
        "reports_per_s": round(len(took) / seconds, 1),
        "ack_ms": msgspec.to_builtins(latency(took)),
        "errors": errors,
        "cpu_s": spent,
        "server_cpu_ms_per_report": server_cpu(spent, len(took)),
    }


def server_cpu(spent: dict[str, float], reports: int) -> float:
    """Return CPU milliseconds per report of service and database: what a busy machine spares."""
    served = sum(value for name, value in spent.items() if name != "client")
    return round(served * 1000 / max(reports, 1), 3)


# -------------------------------------------------------------------------------------- storm


class Saved(msgspec.Struct):
    """What a storm that was interrupted needs to go on, within a day: the tokens' life."""

    members: list[tuple[str, str, str, str]]
    paused: Paused
    reports: int
    seconds: float
    dark: int


def storm(devices: int, hours: float, limit_s: float, folder: Path | None) -> dict[str, Any]:
    """Everybody was away for `hours`, comes back, and goes on reporting meanwhile.

    Ends after `limit_s` or at Ctrl-C with what was reached; with `folder` the same command goes on
    from there.
    """
    path = folder / "storm.msgpack" if folder else None
    saved = (
        msgspec.msgpack.decode(path.read_bytes(), type=Saved) if path and path.exists() else None
    )

    async def run(central: OwnCentral) -> dict[str, Any]:
        members = known(saved.members) if saved else bulk(central, devices)
        async with Pool(central.url, len(members)) as pool:
            load = Load(pool, members, CLOCK)
            if saved:
                load.recall(saved.paused)
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
            telling = asyncio.create_task(tell(load))
            result, cpu = await measured(
                central,
                lambda: load.paced(
                    period_s=PERIOD_S,
                    duration_s=limit_s,
                    backlog_s=hours * 3600,
                    until_drained=True,
                    stop=stop,
                ),
            )
            telling.cancel()
        done = (saved.reports if saved else 0) + result.backlog_reports
        seconds = (saved.seconds if saved else 0.0) + result.seconds
        if path:
            rows = [(one.name, one.site, one.address, one.token) for one in members]
            kept = Saved(rows, load.remember(), done, seconds, dark(central))
            path.write_bytes(msgspec.msgpack.encode(kept))
        rate = done / seconds
        return figures(result, cpu) | {
            "hours_away": hours,
            "backlog_reports": done,
            "backlog_left": result.backlog_left,
            "drained_in_min": round(seconds / 60, 1),
            "drained_per_s": round(rate, 1),
            "whole_storm_would_take_min": round(1_000 * 5_760 / rate / 60, 1) if rate else None,
            "backlog_batch_ms": msgspec.to_builtins(result.backlog_ms),
            "dark": dark(central),
        }

    with own_central(CLOCK, folder) as central:
        return asyncio.run(run(central))


def known(rows: list[tuple[str, str, str, str]]) -> list[roll.Member]:
    """Return the devices of a storm that was interrupted; their tokens are good for a day."""
    members = []
    for name, site, address, token in rows:
        members.append(roll.Member(name, site, SigningKey.generate(), address))
        members[-1].token = token
    return members


async def tell(load: Load, every_s: float = 15.0) -> None:
    """Print how far a storm is, until cancelled."""
    began_s, all_of_it = CLOCK.mono_ns() / 1e9, 0
    while True:
        await asyncio.sleep(every_s)
        passed_s = CLOCK.mono_ns() / 1e9 - began_s
        drained, left = load.meter.backlog_reports, load.backlog_reports
        all_of_it = max(all_of_it, drained + left)
        rate = drained / passed_s
        print(
            f"  {passed_s:6.0f} s: {drained:9,} of {all_of_it:,} drained, {rate:6.0f}/s,"
            f" {left / rate / 60 if rate else 0:5.1f} min to go;"
            f" live p99 of the last 5,000 {load.meter.recent().p99:.0f} ms",
            flush=True,
        )


# --------------------------------------------------------------------------------------- main


def show(name: str, found: dict[str, Any]) -> None:
    ack = found["ack_ms"]
    print(
        f"{name}: {found['reports_per_s']:.0f} reports/s ({found['messages_per_s']:.0f} messages/s)"
        f"  ack p50 {ack['p50']}  p95 {ack['p95']}  p99 {ack['p99']} ms\n"
        f"    CPU s {found['cpu_s']} in {found['seconds']} s on {CORES} cores:"
        f" {found['share_of_machine']:.0%} of the machine,"
        f" {found['server_cpu_ms_per_report']} ms of server and database per report;"
        f" errors {found['errors'] or 'none'}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="A fleet against one central.")
    parser.add_argument("--prepare", action="store_true", help="make the environment with FastAPI")
    parser.add_argument("--only", choices=("steady", "ceiling", "storm"), default="")
    parser.add_argument("--devices", type=int, default=10_000, help="of the steady fleet")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the steady fleet")
    parser.add_argument("--rounds", type=int, default=3, help="of the ceiling")
    parser.add_argument("--round-seconds", type=float, default=12.0)
    parser.add_argument("--storm-devices", type=int, default=1_000)
    parser.add_argument("--storm-hours", type=float, default=0.5)
    parser.add_argument("--whole", action="store_true", help="1,000 devices × 48 h: 5.76 million")
    parser.add_argument("--storm-limit", type=float, default=0.0, help="seconds; then it ends")
    parser.add_argument("--storm-folder", type=Path, help="keep the storm here, and go on with it")
    given = parser.parse_args()
    if given.prepare:
        return prepare()
    machine = f"{platform.machine()}, {CORES} cores, load {os.getloadavg()[0]:.1f} at the start"
    print(f"{machine}; Python {platform.python_version()}")
    path = HERE / "results" / "fleet.json"
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    document |= {"machine": machine, "python": platform.python_version()}
    if given.only in {"", "steady"}:
        document["steady"] = steady(given.devices, given.seconds)
        show("steady", document["steady"])
    if given.only in {"", "ceiling"}:
        document["ceiling"] = ceiling(2_000, given.round_seconds, given.rounds)
        show("ceiling", document["ceiling"]["ours"])
        if "plain" in document["ceiling"]:
            found = document["ceiling"]
            print(
                f"    {found['times_plain']} × FastAPI with one INSERT per report,"
                f" {found['times_plain_by_cpu']} × by CPU time"
            )
    if given.only in {"", "storm"}:
        hours = 48.0 if given.whole else given.storm_hours
        limit_s = given.storm_limit or (3_600.0 if given.whole else 300.0)
        if given.storm_folder:
            given.storm_folder.mkdir(parents=True, exist_ok=True)
            given.storm_folder.chmod(0o755)
        document["storm"] = storm(given.storm_devices, hours, limit_s, given.storm_folder)
        show("storm", document["storm"])
        found = document["storm"]
        print(
            f"    drained {found['drained_per_s']} reports/s, {found['backlog_left']} left;"
            f" wrongly dark {found['dark']};"
            f" 5.76 million would take {found['whole_storm_would_take_min']} min"
        )
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
