"""What the agent costs at rest: CPU time, memory, bytes written to the disk.

    python benchmarks/bench_agent.py [SECONDS]

Real processes: central with its PostgreSQL, `vedette edge run` enrolled with it, and the pipeline
it starts, without cameras. Counted is the agent's process alone, by the kernel's own books
(`/proc/<pid>/stat`, `statm`, `io`), over whole report periods after a minute of settling; the
pipeline's stand beside it. Writes benchmarks/results/agent.json.
"""

import contextlib
import json
import os
import platform
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import yaml

from vedette import __version__
from vedette.clock import SystemClock
from vedette.edge.central_client import CentralClient
from vedette.edge.enrolment import enrol
from vedette.edge.settings import CentralLink
from vedette.edge.wear import written_by
from vedette.sim.demo.operator import Operator
from vedette.sim.faults import Child, free_port, wait_until
from vedette.sim.rig import central_child, central_folder, open_central
from vedette.trust.keys import SigningKey

SETTLE_S = 60.0
PERIOD_S = 30.0
DAY_S = 86_400


def books(pid: int) -> dict[str, float]:
    """Return what the kernel counted for a process so far."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    switches = process.num_ctx_switches()
    return {
        "cpu_s": times.user + times.system,
        "rss_mb": process.memory_info().rss / 2**20,
        "pss_mb": process.memory_full_info().pss / 2**20,
        "written": written_by(pid) or 0,
        "wakeups": switches.voluntary,
        "threads": process.num_threads(),
    }


def cost(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
    """Return the cost between two looks, per second, core and day."""
    return {
        "cpu_percent_of_a_core": round(100 * (after["cpu_s"] - before["cpu_s"]) / seconds, 3),
        "rss_mb": round(after["rss_mb"], 1),
        "pss_mb": round(after["pss_mb"], 1),
        "written_mb_per_day": round(
            (after["written"] - before["written"]) / 1e6 / seconds * DAY_S, 1
        ),
        "written_kb_per_report": round(
            (after["written"] - before["written"]) / 1e3 / seconds * PERIOD_S, 1
        ),
        "wakeups_per_s": round((after["wakeups"] - before["wakeups"]) / seconds, 2),
        "threads": after["threads"],
    }


def main(folder: Path, seconds: float) -> dict[str, object]:
    """Measure in `folder`."""
    clock, never = SystemClock(), threading.Event()
    with contextlib.ExitStack() as open_until:
        port = free_port()
        operator = Operator(f"http://127.0.0.1:{port}")
        central = central_child(
            central_folder(folder / "central", open_until), port, folder / "central.log"
        )
        open_until.callback(central.stop)
        open_central(central, operator, clock)
        key = SigningKey.load_or_make(folder / "site.key")
        operator.add_site("yard", "Yard", key.public.text)
        link = CentralLink(url=f"http://127.0.0.1:{port}")
        client = CentralClient(link, clock)
        state = folder / "device"
        enrol(state, client, operator.claim_token("yard", "box"), version=__version__)
        client.close()
        config = folder / "edge.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "state_dir": str(state),
                    "models_dir": str(folder / "models"),
                    "central": {"url": link.url},
                    "telemetry": {"report_period_s": PERIOD_S},
                }
            )
        )
        command = [sys.executable, "-m", "vedette.cli.main", "edge", "run", "--config", str(config)]
        agent = Child("agent", command, folder / "agent.log")
        open_until.callback(agent.stop)
        agent.start()
        status = state / "agent.json"
        wait_until("the first report", status.exists, clock, timeout_s=90.0, alive=[agent])
        clock.wait(never, SETTLE_S)
        children = [one.pid for one in agent.descendants()]
        if agent.pid is None:
            raise RuntimeError("the agent does not run")
        began_ns = clock.mono_ns()
        before = {pid: books(pid) for pid in (agent.pid, *children)}
        clock.wait(never, max(round(seconds / PERIOD_S), 1) * PERIOD_S)
        took_s = (clock.mono_ns() - began_ns) / 1e9
        costs = {pid: cost(before[pid], books(pid), took_s) for pid in before}
        report = json.loads(status.read_text())
        return {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "seconds": round(took_s, 1),
            "report_period_s": PERIOD_S,
            "agent": costs[agent.pid],
            "idle pipeline beside it": costs[children[0]] if children else None,
            "central_reached": report["network"]["last_contact_ms"] is not None,
        }


if __name__ == "__main__":
    measured_s = float(sys.argv[1]) if len(sys.argv) > 1 else 180.0
    with tempfile.TemporaryDirectory() as name:
        figures = main(Path(name), measured_s)
    text = json.dumps(figures, indent=2)
    (Path(__file__).parent / "results" / "agent.json").write_text(text + "\n", encoding="utf-8")
    print(text)
