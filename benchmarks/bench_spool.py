"""What the spool costs: durable alerts, group commits, picking and settling behind a long backlog.

    python benchmarks/bench_spool.py [FOLDER]

The bare figure beside it is one SQLite row with synchronous=FULL in WAL mode, in the same folder
and the same run. Writes benchmarks/results/spool.json.
"""

import json
import os
import platform
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from vedette.clock import ManualClock, wall_ms
from vedette.edge.spool import Spool
from vedette.edge.spool.entry import ROW_BYTES
from vedette.edge.wear import written_by
from vedette.wire import codec
from vedette.wire.envelope import LaneAck, UpAnswer
from vedette.wire.messages import (
    Aggregate,
    CameraHealth,
    EventKind,
    EventReport,
    Frames,
    HealthReport,
    Histogram,
    PipelineHealth,
    Span,
    State,
    SystemHealth,
    ZoneCounts,
)
from vedette.wire.streams import Lane

BACKLOG = 50_000
ALERTS = 300
ROUNDS = 100
WEAR_PERIODS = 480


def percentiles_ms(samples_s: list[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds."""
    cuts = statistics.quantiles(samples_s, n=100)
    return {name: round(cuts[i] * 1000, 3) for name, i in (("p50", 49), ("p95", 94), ("p99", 98))}


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def histogram(moments: random.Random, n: int) -> Histogram:
    """Return a sketch of `n` durations as a camera's stage gives them."""
    counts = [0] * 24
    for _ in range(n):
        counts[min(23, max(0, round(moments.gauss(11, 2.5))))] += 1
    return Histogram(counts=counts, sum=round(sum(counts) * moments.uniform(18, 22), 3))


def camera_minute(moments: random.Random, camera: str, start_ms: int) -> Aggregate:
    """Return a minute of a shop's camera: one zone, one line, every sketch, none alike."""
    people = moments.randint(0, 6)
    return Aggregate(
        camera=camera,
        start_ms=start_ms,
        end_ms=start_ms + 60_000,
        spans=[Span(start_ms=start_ms, end_ms=start_ms + 60_000, rate_fps=5.0)],
        frames=Frames(captured=900, analysed=300 - people, gated=600 + people),
        model="people-s 1.4.0",
        zones={"entrance": {"person": ZoneCounts()}},
        presence_s={"person": round(moments.uniform(0, 60), 2)},
        stage_ms={name: histogram(moments, 300) for name in ("decode", "infer", "total")},
        detections={"person": people * moments.randint(10, 40)},
    )


def report(moments: random.Random, cameras: list[str], at_ms: int) -> HealthReport:
    """Return a health report of a device with these cameras."""
    return HealthReport(
        at_ms=at_ms,
        period_s=30.0,
        version="0.4.0",
        system=SystemHealth(
            uptime_s=at_ms / 1000,
            boot_id="5f1c2d3e-0000-4000-8000-000000000000",
            cpu_fraction=round(moments.uniform(0.3, 0.6), 4),
            memory_used_fraction=round(moments.uniform(0.4, 0.5), 4),
            temperatures_c={"soc": round(moments.uniform(50, 60), 1)},
        ),
        pipeline=PipelineHealth(
            running=True,
            cameras=[
                CameraHealth(
                    camera=camera,
                    state=State.OK,
                    since_ms=1,
                    frames=Frames(captured=450, analysed=moments.randint(140, 150)),
                    rate_fps=round(moments.uniform(14.5, 15.1), 2),
                    stage_ms={"total": histogram(moments, 150)},
                    last_frame_ms=at_ms - moments.randint(0, 70),
                )
                for camera in cameras
            ],
        ),
    )


def two_days(folder: Path) -> dict[str, object]:
    """Fill a spool as four cameras do in 48 hours without central; measure size and reopening.

    `plain_mb` is what the same messages are as single rows, as the quota counts them.
    """
    moments = random.Random(1)
    clock = ManualClock()
    spool = Spool.open(folder / "two-days", 1 << 30, clock, "boot-of-the-device", writer=False)
    cameras = [f"cam-{n}" for n in range(4)]
    events = plain = 0

    def put(schema: str, body: msgspec.Struct) -> None:
        nonlocal plain
        plain += len(codec.encode(body)) + ROW_BYTES
        spool.put(schema, body, at_once=False)

    spent = -time.process_time()
    for step in range(2 * 2880):
        at_ms = wall_ms(clock.now_at())
        put("health.v1", report(moments, cameras, at_ms))
        if step % 2:
            for camera in cameras:
                put("aggregate.v1", camera_minute(moments, camera, at_ms - 60_000))
        for _ in range(6):
            events += 1
            made = EventReport(
                event=f"ev-{moments.getrandbits(64):016x}",
                camera=moments.choice(cameras),
                kind=EventKind.LINE_CROSSED,
                at_ms=at_ms - moments.randint(0, 30_000),
                where="entrance",
                direction=moments.choice(["in", "out"]),
                label="person",
                confidence=round(moments.uniform(0.4, 0.99), 3),
                track=step,
            )
            put("event.v1", made)
        spool.flush()
        spool.tend(pack_waiting=True)
        clock.advance(30)
    for _ in range(200):
        spool.tend(pack_waiting=True)
    spent += time.process_time()
    health = spool.health()
    killed = [shutil.copytree(folder / "two-days", folder / f"killed-{n}") for n in range(20)]
    spool.close()
    path = folder / "two-days" / "spool.db"
    size = sum(p.stat().st_size for p in path.parent.glob("spool.db*"))
    open_s, verify_s = [], []
    for left in killed:  # as kill -9 leaves the files: with the write-ahead log
        again: list[Spool] = []
        open_s.append(
            timed(lambda: again.append(Spool.open(left, 1 << 30, clock, "b2", writer=False)))  # noqa: B023
        )
        verify_s.append(timed(again[0].verify))
        again[0].close()
    return {
        "messages": sum(health.depth.values()),
        "events": events,
        "plain_mb": round(plain / 1e6, 2),
        "file_mb": round(size / 1e6, 2),
        "content_mb": round(health.bytes / 1e6, 2),
        "cpu_s_for_two_days": round(spent, 1),
        "reopen_after_kill_ms": percentiles_ms(open_s),
        "check_behind_ms": percentiles_ms(verify_s),
    }


def wear(folder: Path, cameras: int) -> dict[str, object]:
    """Measure what the disk is given while central answers: reports, minutes, settlements, packing.

    By the kernel's books, which count the pages of 4096 bytes that a process made dirty; on a disk
    in memory they count nothing.
    """
    moments = random.Random(2)
    clock = ManualClock()
    spool = Spool.open(folder / f"wear-{cameras}", 1 << 30, clock, "boot", writer=False)
    spool.keep_s = 86_400.0
    names = [f"cam-{n}" for n in range(cameras)]
    messages = 0
    before = written_by("self")
    for step in range(WEAR_PERIODS):
        at_ms = wall_ms(clock.now_at())
        spool.tend(pack_waiting=False)
        spool.put("health.v1", report(moments, names, at_ms))
        spool.flush()
        messages += 1
        if step % 2 and names:
            for name in names:
                spool.put("aggregate.v1", camera_minute(moments, name, at_ms - 60_000))
            spool.flush()
            messages += cameras
        spool.next_batch()
        ack = LaneAck(epoch=1, lane=Lane.LIVE, acked_through=messages)
        spool.settle(UpAnswer(acks=[ack]), later=True)
        clock.advance(30)
    after = written_by("self")
    spool.close()
    if before is None or after is None:
        return {}
    return {
        "kb_per_report_period": round((after - before) / 1e3 / WEAR_PERIODS, 1),
        "kb_per_message": round((after - before) / 1e3 / messages, 1),
        "mb_per_day": round((after - before) / 1e6 / WEAR_PERIODS * 2880, 1),
    }


def main(folder: Path) -> dict[str, object]:
    """Measure in `folder`."""
    clock = ManualClock()
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE row (body BLOB)")
    spool = Spool.open(folder / "spool", 1 << 30, clock, "boot", writer=False)
    alert = EventReport(event="ev-1", camera="door", kind=EventKind.PRESENCE, at_ms=1)
    health = HealthReport(at_ms=1, period_s=30, version="b", problems=["x" * 2000])
    bare_s, alert_s = [], []
    for _ in range(ALERTS):
        insert = "INSERT INTO row VALUES (zeroblob(200))"
        bare_s.append(timed(lambda: bare.execute(insert)))  # noqa: B023 - run at once
        alert_s.append(timed(lambda: spool.put("event.v1", alert)))
    began, began_cpu = time.perf_counter(), time.process_time()
    for n in range(BACKLOG):
        spool.put("health.v1", health)
        if n % 1000 == 999:
            spool.flush()
    group_s, group_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    clock.advance(3600)
    pick_s, settle_s, behind_s = [], [], []
    done = 0
    for _ in range(ROUNDS):
        batch: list[int] = []
        pick_s.append(
            timed(lambda: batch.append(len(spool.next_batch(max_bytes=256 * 1024, max_n=500))))  # noqa: B023
        )
        done += batch[0]
        answer = UpAnswer(acks=[LaneAck(epoch=1, lane="live", acked_through=done)])  # type: ignore[arg-type]
        settle_s.append(timed(lambda: spool.settle(answer)))  # noqa: B023
        behind_s.append(timed(lambda: spool.put("event.v1", alert)))
    health_s = [timed(spool.health) for _ in range(10)]
    result: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "bare_durable_row_ms": percentiles_ms(bare_s),
        "durable_alert_ms": percentiles_ms(alert_s),
        "durable_alert_behind_backlog_ms": percentiles_ms(behind_s),
        "ratio_alert_to_bare_p50": round(statistics.median(alert_s) / statistics.median(bare_s), 2),
        "group_commit_messages_per_s": round(BACKLOG / group_s),
        "group_commit_messages_per_cpu_s": round(BACKLOG / group_cpu_s),
        "pick_256_kb_ms": percentiles_ms(pick_s),
        "settle_256_kb_ms": percentiles_ms(settle_s),
        "health_of_backlog_ms": percentiles_ms(health_s),
        "backlog_messages": BACKLOG,
        "two_days_of_four_cameras": two_days(folder),
        "written_at_rest": wear(folder, 0),
        "written_with_four_cameras": wear(folder, 4),
    }
    spool.close()
    bare.close()
    return result


if __name__ == "__main__":
    if len(sys.argv) > 1:
        figures = main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as name:
            figures = main(Path(name))
    text = json.dumps(figures, indent=2)
    (Path(__file__).parent / "results" / "spool.json").write_text(text + "\n", encoding="utf-8")
    print(text)
