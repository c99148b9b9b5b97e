"""A fleet taking good and worse models over the real protocol: what came of it, what it cost.

Each run is `vedette sim rollout`: a central of its own, its database, simulated devices, the real
rollout engine, two nights in accelerated time. Told are where it ended and why, when each stage was
entered (in simulated hours since the rollout began), and wall and processor time of everybody in
it: devices, central and PostgreSQL together.

    python benchmarks/bench_rollout_fleet.py                   # 20 devices
    python benchmarks/bench_rollout_fleet.py --devices 200     # an hour or more on two busy cores
    python benchmarks/bench_rollout_fleet.py --devices 200 --only "bad, no shadow"

Adds to benchmarks/results/rollout_fleet.json: a run replaces the one of its name and size.
"""

import argparse
import json
import logging
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from vedette.sim.fleet import rollout
from vedette.sim.fleet.performance import Candidate
from vedette.sim.fleet.wish import BEGINS_H, Told, Wish

ROOT: Final = Path(__file__).resolve().parents[1]
RUNS: Final = {
    "good": Wish(max_h=24.0, faults=0),
    "good, faults": Wish(max_h=24.0, faults=3),
    "bad": Wish(model=Candidate.BAD, max_h=3.0, faults=0),
    "bad, no shadow": Wish(model=Candidate.BAD, shadow=False, max_h=5.0, faults=0),
    "slow": Wish(model=Candidate.SLOW, max_h=6.0, faults=0),
    "bad, no shadow, faults": Wish(model=Candidate.BAD, shadow=False, max_h=5.0, faults=3),
}


def told(now: Told) -> None:
    """Print where it stands, and where it can be watched."""
    at = f"{now.view.row.state}: {now.view.row.reason}" if now.view else f"console: {now.link}"
    print(f"{now.hours:6.2f} h  {now.running}  {at[:150]}", flush=True)


def cpu_s() -> float:
    """Return processor seconds of this process and of its children that ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def lived(wish: Wish) -> dict[str, Any]:
    """Return how it ended, with what it cost."""
    began_s, began_cpu_s = time.perf_counter(), cpu_s()
    ended = rollout.run(wish, told)
    found = msgspec.to_builtins(ended)
    found["hours"] = round(ended.hours - BEGINS_H, 2)
    found["course"] = [[at, round(hour - BEGINS_H, 2)] for at, hour in ended.course]
    return found | {
        "model": str(wish.model),
        "devices": wish.devices,
        "faults": wish.faults,
        "wall_s": round(time.perf_counter() - began_s),
        "cpu_s": round(cpu_s() - began_cpu_s),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="A simulated fleet takes good and bad models.")
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--only", choices=list(RUNS), help="only this run")
    asked = parser.parse_args()
    logging.getLogger("vedette").setLevel(logging.CRITICAL)  # its devices do fall silent
    path = ROOT / "benchmarks" / "results" / "rollout_fleet.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 1),
    }
    for name in [asked.only] if asked.only else RUNS:
        faults = min(RUNS[name].faults, asked.devices // 20)
        wish = msgspec.structs.replace(RUNS[name], devices=asked.devices, faults=faults)
        ended = lived(wish)
        found.setdefault("runs", {})[f"{asked.devices} devices, {name}"] = ended
        print(json.dumps(ended, indent=1), flush=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
