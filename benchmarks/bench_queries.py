"""Dashboard queries over a large fleet with months of history: p50, p95, p99 of each.

200 sites × 3 cameras × 90 days of merged hours and days, of resolved coverage and laid-out metrics,
49 hours of raw coverage claims, events; minutes of the last 7 days of all of them. The rows are
written with COPY from a few hundred realistic aggregates, in the form in which the jobs write them;
a question reads them as it does in service. Time is from the question to its JSON, database
included, one question at a time; `cpu` is the processor time of both sides, which other work on the
machine stretches less.

    python benchmarks/bench_queries.py
    python benchmarks/bench_queries.py --sites 40 --days 30   # smaller and quicker

Writes benchmarks/results/queries.json and docs/pictures/queries.svg.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import psutil
import psycopg

from vedette.central import fleet, hours, rollups, serve
from vedette.central.query import (
    answers,
    engine,
    packing,
    runs,
    scalars,
    shapes,
    sketch_days,
    weeks,
)
from vedette.central.rollups import DAY_MS, HOUR_MS, MINUTE_MS
from vedette.central.store.db import Database
from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.central.views import Segment
from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.wire import messages

ROOT = Path(__file__).resolve().parents[1]
CAMERAS = ("door", "till", "shelf")
ZONES = ("Europe/Lisbon", "Europe/Berlin", "UTC", "America/New_York")
NOW = 1_772_442_000_000 + 37 * MINUTE_MS  # 37 minutes into an hour
OPEN = msgspec.json.encode(hours.read("mo-fr 09:00-20:00; sa 10:00-18:00", []))
TEMPLATES = 240
EVENTS_A_DAY = 20
REPEATS = 30


def a_histogram(rng: random.Random, median: float, n: int) -> messages.Histogram:
    sketch = ExpHistogram()
    sketch.add_many(rng.lognormvariate(0, 0.4) * median for _ in range(n))
    return sketch.to_wire()


def an_aggregate(
    rng: random.Random, camera: str, length_ms: int, observations: int
) -> messages.Aggregate:
    scores = LinearBins(50)
    scores.add_many(rng.random() for _ in range(observations))
    busy = length_ms / MINUTE_MS

    def zone() -> messages.ZoneCounts:
        return messages.ZoneCounts(
            entered=int(4 * busy),
            left=int(4 * busy),
            occupancy_s=61.5 * busy,
            occupancy_max=rng.randrange(1, 9),
            visits=int(4 * busy),
            dwell_s=a_histogram(rng, 40, observations // 4 + 2),
        )

    frames = int(300 * busy)
    return messages.Aggregate(
        camera=camera,
        start_ms=0,
        end_ms=length_ms,
        frames=messages.Frames(captured=frames, analysed=frames // 2, gated=frames - frames // 2),
        model="centernet@1",
        zones={"counter": {"person": zone()}, "aisle": {"person": zone()}},
        lines={"entrance": {"person": messages.LineCounts(forward=int(3 * busy), backward=2)}},
        presence_s={"person": 41.5 * busy},
        heatmap=messages.Heatmap(
            rows=18, columns=32, deciseconds=[rng.randrange(200) for _ in range(18 * 32)]
        ),
        stage_ms={
            stage: a_histogram(rng, median, observations)
            for stage, median in (
                ("capture", 5),
                ("preprocess", 3),
                ("inference", 60),
                ("postprocess", 4),
                ("dispatch", 2),
                ("total", 80),
            )
        },
        confidence={"person": scores.to_wire()},
        entropy={"person": scores.to_wire()},
        detections={"person": int(200 * busy)},
    )


class Fleet:
    """What is written: names, and templates of aggregates of each length."""

    def __init__(self, sites: int, days: int, minute_sites: int) -> None:
        rng = random.Random(7)
        self.sites = [f"site-{n:03d}" for n in range(sites)]
        self.devices = [f"box-{n:03d}" for n in range(sites)]
        self.today = NOW - NOW % DAY_MS
        self.hour = NOW - NOW % HOUR_MS
        self.start = self.today - days * DAY_MS
        self.minute_devices = self.devices[:minute_sites]
        of = lambda length, n, seen: [  # noqa: E731
            an_aggregate(rng, CAMERAS[k % 3], length, seen) for k in range(n)
        ]
        self.minutes = [rollups.encode(a) for a in of(MINUTE_MS, 60, 60)]
        self.hours = [rollups.encode(a) for a in of(HOUR_MS, TEMPLATES, 900)]
        self.counts = [scalars.counts_of(body) for body in self.hours]
        self.days = [rollups.encode(a) for a in of(DAY_MS, 24, 3000)]

    def each(self) -> Iterator[tuple[int, str, int, str]]:
        """Give every camera: number and name of its device, its own number and name."""
        for number, device in enumerate(self.devices):
            for at, camera in enumerate(CAMERAS):
                yield number, device, at, camera

    def rollup_hours(self) -> Iterator[tuple]:
        """Give the merged hours."""
        for number, device, at, camera in self.each():
            for n, start in enumerate(range(self.start, self.hour, HOUR_MS)):
                body = self.hours[((number * 7 + n) * 3 + at) % TEMPLATES]
                yield device, camera, start, body, False

    def rollup_days(self) -> Iterator[tuple]:
        """Give the merged days."""
        for number, device, at, camera in self.each():
            for n, start in enumerate(range(self.start, self.today + 1, DAY_MS)):
                yield device, camera, start, self.days[((number + n) * 3 + at) % 24]

    def rollup_minutes(self) -> Iterator[tuple]:
        """Give the minutes of the last week of some."""
        for device in self.minute_devices:
            for at, camera in enumerate(CAMERAS):
                for start in range(self.hour - 7 * DAY_MS, NOW - MINUTE_MS, MINUTE_MS):
                    yield device, camera, start, self.minutes[(start // MINUTE_MS * 3 + at) % 60]

    def metric_days(self) -> Iterator[tuple]:
        """Give the metrics as they are laid out."""
        for number, device in enumerate(self.devices):
            for day in range(self.start, NOW, DAY_MS):
                laid: dict = {}
                counted = []
                for at, camera in enumerate(CAMERAS):
                    for start in range(day, min(day + DAY_MS, self.hour), HOUR_MS):
                        n = (start - self.start) // HOUR_MS
                        counts = self.counts[((number * 7 + n) * 3 + at) % TEMPLATES]
                        counted.append((camera, start, counts))
                laid = scalars.lay(counted, day)
                segments = {c: self.segments(number, c, day) for c in CAMERAS}
                laid |= runs.day_sums(segments, day)
                for metric, series in laid.items():
                    yield device, metric, day, *packing.encode(series)

    def segments(self, number: int, camera: str, day: int) -> list[Segment]:
        """Return the coverage of one camera's day."""
        rng = random.Random(f"{number}{camera}{day}")
        end = min(day + DAY_MS, self.hour)
        edges = sorted({day, end, *(rng.randrange(day, end) for _ in range(rng.randrange(7)))})
        return [
            Segment(start_ms=a, end_ms=b, cause="CAMERA_DOWN" if n % 2 else None)
            for n, (a, b) in enumerate(pairwise(edges))
        ]

    def coverage_days(self) -> Iterator[tuple]:
        """Give the resolved coverage."""
        for number, device, _, camera in self.each():
            for day in range(self.start, self.hour, DAY_MS):
                yield device, camera, day, runs.encode(self.segments(number, camera, day), day)

    def claims(self) -> Iterator[tuple]:
        """Give what the devices claimed: by the minute for 49 hours, joined before."""
        for number, device, _, camera in self.each():
            raw_from = self.hour - 49 * HOUR_MS
            for day in range(self.start, self.hour, DAY_MS):
                for s in self.segments(number, camera, day):
                    if s.end_ms <= raw_from:
                        yield device, camera, s.start_ms, s.end_ms, s.cause, False, None, ""
            for at in range(raw_from, NOW - 2 * MINUTE_MS, MINUTE_MS):
                rate = 5.0 + at // MINUTE_MS % 3
                yield device, camera, at, at + MINUTE_MS, None, False, rate, ""

    def events(self) -> Iterator[tuple]:
        """Give the events."""
        body = msgspec.msgpack.encode(
            messages.EventReport(
                event="e", camera="door", kind=messages.EventKind.ZONE_ENTERED, at_ms=0
            )
        )
        step = DAY_MS // EVENTS_A_DAY
        for number, device, _, camera in self.each():
            for at in range(self.start + number * 1000, NOW, step):
                yield (
                    device, f"{device}{camera}{at}", self.sites[number], camera, "zone_entered",
                    at, at, False, True, "person", "till", "", body,
                )  # fmt: skip


COPIES = (
    (
        "rollup_hour",
        "device,camera,start_ms,body,closed",
        ("text", "text", "int8", "bytea", "bool"),
    ),
    ("rollup_day", "device,camera,start_ms,body", ("text", "text", "int8", "bytea")),
    ("rollup_minute", "device,camera,start_ms,body", ("text", "text", "int8", "bytea")),
    ("metric_day", "device,metric,day_ms,keys,hours", ("text", "text", "int8", "text", "bytea")),
    ("coverage_day", "device,camera,day_ms,runs", ("text", "text", "int8", "bytea")),
    (
        "coverage_claims",
        "device,camera,start_ms,end_ms,cause,weak,rate_fps,detail",
        ("text", "text", "int8", "int8", "text", "bool", "float8", "text"),
    ),
    (
        "events",
        "device,event,site,camera,kind,at_ms,received_ms,late,dated,label,where_name,evidence,body",
        ("text",) * 5 + ("int8", "int8", "bool", "bool", "text", "text", "text", "bytea"),
    ),
)


def fill(conninfo: str, made: Fleet) -> None:
    """Write the fleet's history."""
    sources = (
        made.rollup_hours, made.rollup_days, made.rollup_minutes, made.metric_days,
        made.coverage_days, made.claims, made.events,
    )  # fmt: skip
    health = messages.HealthReport(
        at_ms=NOW - 20_000,
        period_s=30.0,
        version="1",
        pipeline=messages.PipelineHealth(
            running=True,
            cameras=[
                messages.CameraHealth(camera=c, state=messages.State.OK, since_ms=0, rate_fps=5.0)
                for c in CAMERAS
            ],
        ),
    )
    with psycopg.connect(conninfo, autocommit=True) as db:
        db.execute("SET session_replication_role = replica")  # no marks: all of it is laid out
        for number, (site, device) in enumerate(zip(made.sites, made.devices, strict=True)):
            db.execute(
                "INSERT INTO sites (site, name, time_zone, created_ms, hours)"
                " VALUES (%s, %s, %s, 0, %s)",
                (site, site, ZONES[number % 4], OPEN),
            )
            db.execute(
                "INSERT INTO devices (device, site, public_key, enrolled_ms, state, since_ms,"
                " last_contact_ms, dark_deadline_ms, health, health_at_ms, drained_to_ms)"
                " VALUES (%s, %s, %s, 0, 'ok', 0, %s, %s, %s, %s, %s)",
                (device, site, device, NOW - 20_000, NOW + 85_000,
                 msgspec.msgpack.encode(health), NOW - 20_000, NOW - 200_000),
            )  # fmt: skip
            for camera in CAMERAS:
                db.execute(
                    "INSERT INTO cameras (device, camera, known_from_ms, state, since_ms)"
                    " VALUES (%s, %s, %s, 'ok', 0)",
                    (device, camera, made.start),
                )
                db.execute(
                    "INSERT INTO rollup_dirty VALUES (%s, %s, %s, %s)",
                    (device, camera, made.hour, NOW),
                )
            db.execute("INSERT INTO coverage_through VALUES (%s, %s)", (device, made.hour))
        for (table, columns, types), source in zip(COPIES, sources, strict=True):
            began = time.perf_counter()
            rows = 0
            with (
                db.cursor() as cursor,
                cursor.copy(
                    f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)".encode()
                ) as copy,
            ):
                copy.set_types(types)
                for row in source():
                    copy.write_row(row)
                    rows += 1
            print(
                f"  {table:16} {rows:>9,} rows in {time.perf_counter() - began:5.1f} s", flush=True
            )
        db.execute("DELETE FROM metric_dirty")
        db.execute("INSERT INTO sketch_dirty SELECT DISTINCT device, start_ms FROM rollup_day")


async def derive(conninfo: str) -> None:
    """Do what the jobs do with what is over."""
    db = Database(conninfo, max_size=1)
    await db.open()
    try:
        for job in (sketch_days.lay_out, weeks.fold, sketch_days.fold):
            while await job(db, NOW):
                pass
    finally:
        await db.close()
    with psycopg.connect(conninfo, autocommit=True) as there:
        there.execute("VACUUM ANALYZE")


Ask = Callable[[], Awaitable[object]]


def questions(db: Database, made: Fleet) -> dict[str, Ask]:
    """Return what a dashboard asks, by name."""
    site, device, end = made.sites[1], made.devices[1], NOW

    async def ask(**more: Any) -> object:
        async with db.transaction() as tx:
            question = engine.Question(to_ms=end, **more)
            return await answers.ask(tx, question, None, NOW)

    async def page() -> object:
        return await fleet.fleet_view(db, NOW, None)

    async def camera(days: float) -> object:
        start = end - int(days * DAY_MS)
        return await fleet.camera_view(db, device, "door", start, end, NOW, None)

    async def shaped(kind: Callable[..., Awaitable[object]], **more: Any) -> object:
        async with db.transaction() as tx:
            return await kind(tx, engine.Question(to_ms=end, **more), None, NOW)

    back = lambda days: max(made.start, end - days * DAY_MS)  # noqa: E731
    return {
        "fleet page: every strip and count": page,
        "camera page, 24 hours": lambda: camera(1),
        "camera page, 7 days": lambda: camera(7),
        "camera page, 90 days": lambda: camera(90),
        "worst first: coverage, 7 days": lambda: shaped(
            shapes.worst, metric="coverage", from_ms=back(7)
        ),
        "visits of the fleet by day, 90 days": lambda: ask(
            metric="zone.visits", from_ms=back(90), step="day"
        ),
        "heatmap of a camera, 30 days": lambda: shaped(
            shapes.heatmap, metric="dwell", from_ms=back(30), of=f"device:{device} camera:door"
        ),
        "dwell of a site, 90 days": lambda: shaped(
            shapes.distribution, metric="dwell", from_ms=back(90), of=f"site:{site}", by=["name"]
        ),
        "coverage by site and month, 90 days": lambda: ask(
            metric="coverage", from_ms=back(90), step="month", by=["site"]
        ),
        "occupancy of a camera by minute, 24 hours": lambda: ask(
            metric="occupancy", from_ms=back(1), step="minute", of=f"device:{device} camera:door"
        ),
        "visits of a site by minute, 24 hours": lambda: ask(
            metric="zone.visits", from_ms=back(1), step="minute", of=f"site:{site}"
        ),
        "visits of the fleet by minute, 1 hour": lambda: ask(
            metric="zone.visits", from_ms=end - HOUR_MS, step="minute"
        ),
        "visits by site while open, 30 days": lambda: ask(
            metric="zone.visits", from_ms=back(30), by=["site"], hours="open"
        ),
        "latency p99 of the fleet, 90 days": lambda: ask(
            metric="latency", from_ms=back(90), stat="p99", names=["total"]
        ),
        "latency p95 of the fleet by day, 90 days": lambda: ask(
            metric="latency", from_ms=back(90), stat="p95", names=["total"], step="day",
            clock="utc",
        ),
        "confidence by model, fleet, 90 days": lambda: shaped(
            shapes.distribution, metric="confidence", from_ms=back(90), by=["model"]
        ),
        "latency p95 of a site by day, 30 days": lambda: ask(
            metric="latency", from_ms=back(30), step="day", of=f"site:{site}", stat="p95",
            names=["total"], clock="utc",
        ),
    }  # fmt: skip


_backend: list[psutil.Process] = []


def busy_s() -> float:
    """Return the processor time so far of this process and of the database's side of it."""
    there = _backend[0].cpu_times()
    return time.process_time() + there.user + there.system


async def timed(ask: Ask, repeats: int) -> dict[str, float]:
    """Return quantiles of the milliseconds that a question takes, JSON included."""
    began = time.perf_counter()
    await ask()
    first = (time.perf_counter() - began) * 1000
    for _ in range(2):
        await ask()
    taken: list[float] = []
    size, cpu = 0, busy_s()
    for _ in range(repeats):
        began = time.perf_counter()
        size = len(msgspec.json.encode(await ask()))
        taken.append((time.perf_counter() - began) * 1000)
    cpu = (busy_s() - cpu) * 1000 / repeats
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    found = {"p50_ms": cuts[49], "p95_ms": cuts[94], "p99_ms": cuts[98], "cpu_ms": cpu}
    found["first_ms"] = first
    return {name: round(value, 1) for name, value in found.items()} | {"bytes": size}


async def growth(db: Database, made: Fleet, repeats: int) -> list[dict[str, float]]:
    """Return how two questions grow with the number of sites and of days."""
    found: list[dict[str, float]] = []
    for share in (8, 4, 2, 1):
        scope = made.sites[::share]
        for days in (7, 30, 90):
            start = max(made.start, NOW - days * DAY_MS)

            async def by_day(start: int = start, scope: list[str] = scope) -> object:
                question = engine.Question(
                    metric="zone.visits", from_ms=start, to_ms=NOW, step="day"
                )
                async with db.transaction() as tx:
                    return await answers.ask(tx, question, scope, NOW)

            told = await timed(by_day, max(5, repeats // 3))
            found.append({"sites": len(scope), "days": days, **told})

        async def page(scope: list[str] = scope) -> object:
            return await fleet.fleet_view(db, NOW, scope)

        told = await timed(page, max(5, repeats // 3))
        found.append({"sites": len(scope), "days": 0, **told})
    return found


def draw(rows: list[dict[str, float]]) -> str:
    """Return a plot: p95 over sites, a line for each length of window."""
    kinds = {0: "fleet page", 7: "visits by day, 7 days", 30: "30 days", 90: "90 days"}
    colours = {0: "#222", 7: "#8bb8e8", 30: "#3f7fc4", 90: "#0b4a8f"}
    top = max(100.0, *(row["p95_ms"] for row in rows))
    most = max(row["sites"] for row in rows)
    x = lambda sites: 60 + 460 * sites / most  # noqa: E731
    y = lambda ms: 260 - 230 * ms / top  # noqa: E731
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 310" font-family="sans-serif"'
        ' font-size="12"><rect width="700" height="310" fill="#fff"/>'
    )
    out = [head]
    for ms in range(0, int(top) + 1, 25):
        out.append(f'<path d="M60 {y(ms):.1f}H520" stroke="#ddd"/>')
        out.append(f'<text x="52" y="{y(ms) + 4:.1f}" text-anchor="end">{ms}</text>')
    out += [
        f'<text x="{x(sites):.1f}" y="280" text-anchor="middle">{int(sites)}</text>'
        for sites in sorted({row["sites"] for row in rows})
    ]
    for days, name in kinds.items():
        points = sorted((row["sites"], row["p95_ms"]) for row in rows if row["days"] == days)
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        out.append(
            f'<polyline points="{path}" fill="none" stroke="{colours[days]}" stroke-width="2"/>'
        )
        a, b = points[-1]
        out.append(
            f'<text x="{x(a) + 8:.1f}" y="{y(b) + 4:.1f}" fill="{colours[days]}">{name}</text>'
        )
    out.append('<text x="290" y="302" text-anchor="middle">sites of three cameras</text>')
    out.append('<text x="60" y="18">p95 of one question, ms</text></svg>\n')
    return "\n".join(out)


async def measure(conninfo: str, made: Fleet, repeats: int) -> dict[str, object]:
    """Return every figure."""
    serve.calm_collector()  # as central does
    db = Database(conninfo, max_size=1)
    await db.open()
    try:
        async with db.transaction() as tx:
            cursor = await tx.connection.execute(b"SELECT pg_backend_pid()")
            row = await cursor.fetchone()
        _backend.append(psutil.Process(int(row[0]) if row else 0))
        told = {name: await timed(ask, repeats) for name, ask in questions(db, made).items()}
        grown = await growth(db, made, repeats)
    finally:
        await db.close()
    return {"queries": told, "growth": grown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=200)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--minute-sites", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--keep", type=Path, help="write the fleet here once, and use it again")
    options = parser.parse_args()
    made = Fleet(options.sites, options.days, options.minute_sites)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="vedette-bench-"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    written = folder / f"written-{options.sites}-{options.days}-{options.minute_sites}"
    try:
        with EmbeddedPostgres(folder / "pg") as server:
            if not written.exists():
                asyncio.run(migrate(server.conninfo))
                print(
                    f"writing {options.sites} sites × 3 cameras × {options.days} days", flush=True
                )
                fill(server.conninfo, made)
                asyncio.run(derive(server.conninfo))
                written.touch()
            found = asyncio.run(measure(server.conninfo, made, options.repeats))
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    found |= {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "sites": options.sites,
        "cameras": options.sites * len(CAMERAS),
        "days": options.days,
        "minute_sites": options.minute_sites,
        "repeats": options.repeats,
    }
    for name, row in found["queries"].items():
        cuts = "  ".join(f"{cut[:3]} {row[cut]:7.1f}" for cut in ("p50_ms", "p95_ms", "p99_ms"))
        print(f"{name:45} {cuts} ms  cpu {row['cpu_ms']:6.1f}  first {row['first_ms']:7.1f} ms")
    for row in found["growth"]:
        what = f"visits by day, {row['days']} days" if row["days"] else "fleet page"
        print(f"{int(row['sites']):4} sites  {what:25} p95 {row['p95_ms']:7.1f} ms")
    if (options.sites, options.days) == (200, 90):
        (ROOT / "benchmarks/results/queries.json").write_text(json.dumps(found, indent=1) + "\n")
        (ROOT / "docs/pictures/queries.svg").write_text(draw(found["growth"]))


if __name__ == "__main__":
    main()
