"""Durable reports per second: `POST /v1/up` beside one INSERT per request, in one run.

Ways over the same embedded PostgreSQL (`synchronous_commit = on`), the same realistic messages and
the same clients (keep-alive connections, bodies made before the clock starts):

    vedette, 1 per batch    health and minute aggregates alternately, one message per request
    vedette, 20 per batch   the same, as a device with a backlog sends them
    naive                   Litestar, body decoded, one INSERT and one commit per request
    vedette, full reports   a device of four cameras: health, and each minute four aggregates
    naive, full reports     the same requests, one INSERT of the whole body for each

Rounds are interleaved. Server, clients and database share the machine, so the CPU time of server
and database per request says more than the rate where something else runs too.

    python benchmarks/bench_ingest.py

Writes benchmarks/results/ingest.json.
"""

import asyncio
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import psutil
import psycopg

from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.wire import codec, messages
from vedette.wire.envelope import Batch, ClockState, Envelope
from vedette.wire.streams import Lane

ROUNDS = 3
CONNECTIONS = 64
REPORTS = 6_400
CAMERAS = 4
MINUTE = 60_000


def a_histogram(rng: random.Random, median: float) -> messages.Histogram:
    sketch = ExpHistogram()
    sketch.add_many(rng.lognormvariate(0, 0.4) * median for _ in range(300))
    return sketch.to_wire()


def an_aggregate(rng: random.Random, start_ms: int, camera: str = "door") -> messages.Aggregate:
    scores = LinearBins(50)
    scores.add_many(rng.random() for _ in range(200))
    zone = messages.ZoneCounts(entered=4, left=4, occupancy_s=61.5, occupancy_max=3)
    return messages.Aggregate(
        camera=camera,
        start_ms=start_ms,
        end_ms=start_ms + MINUTE,
        spans=[messages.Span(start_ms=start_ms, end_ms=start_ms + MINUTE, rate_fps=5.0)],
        frames=messages.Frames(captured=300, analysed=180, gated=120),
        model="centernet@1",
        zones={"till": {"person": zone}, "aisle": {"person": zone}},
        lines={"entrance": {"person": messages.LineCounts(forward=3, backward=2)}},
        presence_s={"person": 41.5},
        stage_ms={
            stage: a_histogram(rng, median)
            for stage, median in (("preprocess", 3), ("inference", 60), ("total", 80))
        },
        confidence={"person": scores.to_wire()},
        detections={"person": 200},
    )


def a_health(rng: random.Random, at_ms: int) -> messages.HealthReport:
    camera = messages.CameraHealth(
        camera="door",
        state=messages.State.OK,
        since_ms=at_ms - 3_600_000,
        frames=messages.Frames(captured=150, analysed=100, gated=50),
        rate_fps=5.0,
        stage_ms={"total": a_histogram(rng, 80)},
    )
    return messages.HealthReport(
        at_ms=at_ms,
        period_s=30.0,
        version="1",
        system=messages.SystemHealth(
            uptime_s=1e5, cpu_fraction=0.4, temperatures_c={"cpu": 61.0, "gpu": 58.5}
        ),
        pipeline=messages.PipelineHealth(running=True, cameras=[camera]),
        spool=messages.SpoolHealth(depth={"live": 0}, oldest_ms=at_ms),
    )


def bodies(devices: list[str], per_batch: int, epoch: int) -> list[list[bytes]]:
    """One list of request bodies per connection; each connection is one device."""
    rng = random.Random(1)
    now_ms = int(time.time() * 1000)
    each = REPORTS // len(devices)
    patterns = [an_aggregate(rng, 0) for _ in range(8)]
    made: list[list[bytes]] = []
    for device in devices:
        first_ms = (now_ms // MINUTE - each * (epoch + 1)) * MINUTE  # other minutes each round
        envelopes = []
        for n in range(each):
            start_ms = first_ms + n * MINUTE
            body = (
                msgspec.structs.replace(
                    patterns[n % 8],
                    start_ms=start_ms,
                    end_ms=start_ms + MINUTE,
                    spans=[messages.Span(start_ms=start_ms, end_ms=start_ms + MINUTE)],
                )
                if n % 2
                else a_health(rng, start_ms)
            )
            envelopes.append(
                Envelope(
                    epoch=epoch,
                    boot_id="b",
                    lane=Lane.LIVE,
                    seq=n + 1,
                    t_wall_ms=start_ms + MINUTE,
                    t_mono_ms=n,
                    clock_state=ClockState.TRUSTED,
                    schema="aggregate.v1" if n % 2 else "health.v1",
                    body=msgspec.Raw(codec.encode(body)),
                )
            )
        batches = [envelopes[at : at + per_batch] for at in range(0, each, per_batch)]
        made.append(
            [
                codec.encode_batch(
                    Batch(
                        device=device,
                        boot_id="b",
                        sent_mono_ms=10**6,
                        sent_wall_ms=now_ms,
                        envelopes=batch,
                    )
                )
                for batch in batches
            ]
        )
    return made


def full_bodies(devices: list[str], _per_batch: int, epoch: int) -> list[list[bytes]]:
    """The same for devices of four cameras; every second request has four aggregates too."""
    rng = random.Random(1)
    now_ms = int(time.time() * 1000)
    each = REPORTS // len(devices)
    patterns = {f"camera-{n}": an_aggregate(rng, 0, f"camera-{n}") for n in range(CAMERAS)}
    first_ms = (now_ms // MINUTE - each * (epoch + 1)) * MINUTE
    made: list[list[bytes]] = []
    for device in devices:
        requests, seq = [], 0
        for n in range(each):
            start_ms = first_ms + n // 2 * MINUTE
            end_ms = start_ms + MINUTE
            said: list[tuple[str, msgspec.Struct]] = [("health.v1", a_health(rng, end_ms))]
            if n % 2:
                span = messages.Span(start_ms=start_ms, end_ms=end_ms, rate_fps=5.0)
                said += [
                    (
                        "aggregate.v1",
                        msgspec.structs.replace(
                            one, start_ms=start_ms, end_ms=end_ms, spans=[span]
                        ),
                    )
                    for one in patterns.values()
                ]
            envelopes = [
                Envelope(
                    epoch=epoch,
                    boot_id="b",
                    lane=Lane.LIVE,
                    seq=seq + at,
                    t_wall_ms=end_ms,
                    t_mono_ms=n,
                    clock_state=ClockState.TRUSTED,
                    schema=schema,
                    body=msgspec.Raw(codec.encode(body)),
                )
                for at, (schema, body) in enumerate(said, 1)
            ]
            seq += len(said)
            batch = Batch(
                device=device,
                boot_id="b",
                sent_mono_ms=10**6,
                sent_wall_ms=now_ms,
                envelopes=envelopes,
            )
            requests.append(codec.encode_batch(batch))
        made.append(requests)
    return made


async def drive(port: int, path: str, tokens: list[str], work: list[list[bytes]]) -> list[float]:
    """Send everything; return the latency of each request in milliseconds."""
    latencies: list[float] = []

    async def one(token: str, requests: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in requests:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Type: application/msgpack\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            began = time.perf_counter()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.split(b" ", 2)[1].startswith(b"2"):
                raise SystemExit(answer.decode())
            length = answer.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0]
            await reader.readexactly(int(length))
            latencies.append((time.perf_counter() - began) * 1000)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one(t, w) for t, w in zip(tokens, work, strict=True)))
    return latencies


# --------------------------------------------------------------------------------- servers


async def serve_vedette(conninfo: str, port: int) -> None:
    from granian.constants import Interfaces
    from granian.server.embed import Server

    from vedette.central.app import Central, build_services
    from vedette.central.serve import calm_collector
    from vedette.central.settings import CentralConfig
    from vedette.trust.keys import SigningKey

    async def no_web(_scope: object, _receive: object, _send: object) -> None:
        raise RuntimeError

    services = build_services(CentralConfig(), conninfo, SigningKey.generate())
    central = Central(services, no_web)
    calm_collector()
    async with central.running():
        server = Server(central, port=port, interface=Interfaces.ASGINL, log_enabled=False)
        await server.serve()


async def serve_naive(conninfo: str, port: int) -> None:
    from granian.constants import Interfaces
    from granian.server.embed import Server
    from litestar import Litestar, Request, post
    from psycopg_pool import AsyncConnectionPool

    pool = AsyncConnectionPool(conninfo, min_size=8, max_size=16, open=False)
    await pool.open(wait=True)

    @post("/naive", status_code=200)
    async def up(request: Request) -> dict[str, int]:
        data = await request.body()
        batch = codec.decode_batch(data)
        envelope = batch.envelopes[0]
        body = bytes(envelope.body) if len(batch.envelopes) == 1 else data
        async with pool.connection() as connection:
            await connection.execute(
                "INSERT INTO naive (device, epoch, lane, seq, body) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (batch.device, envelope.epoch, envelope.lane, envelope.seq, body),
            )
        return {"acked": envelope.seq}

    server = Server(Litestar([up]), port=port, interface=Interfaces.ASGINL, log_enabled=False)
    await server.serve()


def start(which: str, conninfo: str) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, __file__, which, conninfo, str(port)])
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return process, port
    raise SystemExit(f"{which} does not start")


# ------------------------------------------------------------------------------------- run


def prepare(conninfo: str) -> tuple[list[str], list[str]]:
    asyncio.run(migrate(conninfo))
    devices = [f"dev-{n}" for n in range(CONNECTIONS)]
    tokens = [f"token-{n}" for n in range(CONNECTIONS)]
    with psycopg.connect(conninfo, autocommit=True) as db:
        db.execute("INSERT INTO sites (site, name, created_ms) VALUES ('bench', 'bench', 0)")
        for device, token in zip(devices, tokens, strict=True):
            db.execute(
                "INSERT INTO devices (device, site, public_key, enrolled_ms) VALUES (%s,%s,%s,0)",
                (device, "bench", device),
            )
            db.execute(
                "INSERT INTO access_tokens VALUES (%s, %s, %s)",
                (hashlib.sha256(token.encode()).digest(), device, 2**53),
            )
        db.execute(
            "CREATE TABLE naive (device text, epoch bigint, lane text, seq bigint, body bytea,"
            " PRIMARY KEY (device, epoch, lane, seq))"
        )
    return devices, tokens


def percentile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(int(q * len(ordered)), len(ordered) - 1)], 2)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="vedette-bench-"))
    folder.chmod(0o755)
    rates: dict[str, list[float]] = {name: [] for name, _, _ in WAYS}
    latencies: dict[str, list[float]] = {name: [] for name, _, _ in WAYS}
    costs: dict[str, list[float]] = {name: [] for name, _, _ in WAYS}
    with EmbeddedPostgres(folder / "pg") as postgres:
        devices, tokens = prepare(postgres.conninfo)
        servers = {which: start(which, postgres.conninfo) for which in ("vedette", "naive")}
        try:
            epoch = 0
            for round_number in range(ROUNDS + 1):  # the first only warms up
                for name, make, per_batch in WAYS:
                    epoch += 1
                    work = make(devices, per_batch, epoch)
                    which = name.partition(",")[0]
                    path = "/naive" if which == "naive" else "/v1/up"
                    used = cpu_s(servers[which][0].pid, postgres.pid)
                    began = time.perf_counter()
                    took = asyncio.run(drive(servers[which][1], path, tokens, work))
                    seconds = time.perf_counter() - began
                    if round_number:
                        rates[name].append(REPORTS / seconds)
                        spent = cpu_s(servers[which][0].pid, postgres.pid) - used
                        costs[name].append(spent / REPORTS * 1e6)
                        latencies[name] += took
            with psycopg.connect(postgres.conninfo) as db:
                row = db.execute("SELECT count(*) FROM reports").fetchone()
                each = REPORTS * 2 + REPORTS * (2 + CAMERAS) // 2
                assert row == (each * (ROUNDS + 1),), row
        finally:
            for process, _ in servers.values():
                process.send_signal(signal.SIGKILL)
                process.wait()
        version = postgres_version(postgres.conninfo)
    shutil.rmtree(folder, ignore_errors=True)
    report(rates, latencies, costs, version)


def cpu_s(*pids: int | None) -> float:
    """CPU seconds of these processes and their children."""
    found = [psutil.Process(pid) for pid in pids if pid]
    found += [child for one in found for child in one.children()]
    used = [one.cpu_times() for one in found]
    return sum(one.user + one.system for one in used)


def postgres_version(conninfo: str) -> str:
    with psycopg.connect(conninfo) as db:
        row = db.execute("SHOW server_version").fetchone()
        return str(row[0]) if row else ""


WAYS = (
    ("vedette, 1 per batch", bodies, 1),
    ("vedette, 20 per batch", bodies, 20),
    ("naive", bodies, 1),
    ("vedette, full reports", full_bodies, 1),
    ("naive, full reports", full_bodies, 1),
)


def report(
    rates: dict[str, list[float]],
    latencies: dict[str, list[float]],
    costs: dict[str, list[float]],
    version: str,
) -> None:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}; Python {platform.python_version()}, PostgreSQL {version}")
    print(f"{CONNECTIONS} connections, {REPORTS} reports a round, median of {ROUNDS} rounds\n")
    rows = {}
    for name, values in rates.items():
        rate, cost_us = statistics.median(values), min(costs[name])
        base = statistics.median(rates["naive, full reports" if "full" in name else "naive"])
        p50, p95, p99 = (percentile(latencies[name], q) for q in (0.5, 0.95, 0.99))
        rows[name] = {
            "reports_per_s": round(rate),
            "times_naive": round(rate / base, 2),
            "server_and_database_cpu_us": round(cost_us),
            "request_ms": {"p50": p50, "p95": p95, "p99": p99},
        }
        print(
            f"{name:24}{rate:8.0f} reports/s  {rate / base:5.2f} x naive  {cost_us:5.0f} us CPU   "
            f"request p50 {p50:7.2f}  p95 {p95:7.2f}  p99 {p99:7.2f} ms"
        )
    result = {"machine": machine, "python": platform.python_version(), "postgresql": version}
    path = Path(__file__).parent / "results" / "ingest.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result | {"ways": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        serve = serve_vedette if sys.argv[1] == "vedette" else serve_naive
        asyncio.run(serve(sys.argv[2], int(sys.argv[3])))
    else:
        main()
