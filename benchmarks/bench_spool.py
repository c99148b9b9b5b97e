"""What the spool costs: durable alerts, group commits, picking and settling behind a long backlog.

    python benchmarks/bench_spool.py [FOLDER]

The bare figure beside it is one SQLite row with synchronous=FULL in WAL mode, in the same folder
and the same run. Writes benchmarks/results/spool.json.
"""

import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vedette.clock import ManualClock
from vedette.edge.spool import Spool
from vedette.wire.envelope import LaneAck, UpAnswer
from vedette.wire.messages import EventKind, EventReport, HealthReport

BACKLOG = 50_000
ALERTS = 300
ROUNDS = 100


def percentiles_ms(samples_s: list[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds."""
    cuts = statistics.quantiles(samples_s, n=100)
    return {name: round(cuts[i] * 1000, 3) for name, i in (("p50", 49), ("p95", 94), ("p99", 98))}


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


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
    began = time.perf_counter()
    for n in range(BACKLOG):
        spool.put("health.v1", health)
        if n % 1000 == 999:
            spool.flush()
    group_s = time.perf_counter() - began
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
        "pick_256_kb_ms": percentiles_ms(pick_s),
        "settle_256_kb_ms": percentiles_ms(settle_s),
        "health_of_backlog_ms": percentiles_ms(health_s),
        "backlog_messages": BACKLOG,
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
