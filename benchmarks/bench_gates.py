"""How often the bounds of the model gates hold, where errors come in camera-days.

Prints, for shares and correlations within a day, how often the lower 95 % bound lies below the true
share: taken over all objects, and over camera-days as the gates do. Also what a verdict costs.

    python benchmarks/bench_gates.py [--rounds 400]
"""

import argparse
import json
import platform
import random
import time
from pathlib import Path

from vedette import __version__
from vedette.stats.clustered import Counts, one_sided, share_of
from vedette.stats.gates import Evidence, Policy, judge
from vedette.wire.evaluation import CameraDay, Tally

RESULTS = Path(__file__).parent / "results" / "gates.json"


def days(rng: random.Random, share: float, correlation: float, count: int) -> list[Counts]:
    """Return camera-days of 10 to 90 objects, the share of each drawn from a beta distribution."""
    a, b = (part * (1 - correlation) / max(correlation, 1e-6) for part in (share, 1 - share))
    made = []
    for _ in range(count):
        objects = rng.randint(10, 90)
        of_day = rng.betavariate(a, b) if correlation else share
        made.append((sum(rng.random() < of_day for _ in range(objects)), objects))
    return made


def coverage(rounds: int) -> list[dict[str, float]]:
    """Return how often each bound holds, row by row."""
    rows = []
    for count in (10, 20, 60):
        for share in (0.90, 0.95, 0.98):
            for correlation in (0.0, 0.1, 0.3, 0.6):
                rng, naive, clustered, lows = random.Random(1), 0, 0, 0.0
                for _ in range(rounds):
                    found = share_of(days(rng, share, correlation, count))
                    assert found is not None
                    clustered += found.low <= share
                    naive += one_sided(found.successes, found.trials)[0] <= share
                    lows += found.low
                rows.append({
                    "camera_days": count, "share": share, "correlation": correlation,
                    "plain": naive / rounds, "clustered": clustered / rounds,
                    "mean_bound": round(lows / rounds, 3),
                })  # fmt: skip
    return rows


def cost() -> dict[str, float]:
    """Return processor milliseconds of the verdict on 80 classes over 300 camera-days."""
    rng, labels = random.Random(2), [f"class-{n}" for n in range(80)]
    made = [
        CameraDay(site=f"s{n % 10}", camera=str(n), day="2026-05-17", pictures=9,
                  tallies={label: Tally(rng.randint(5, 30), 1, 1) for label in labels})
        for n in range(300)
    ]  # fmt: skip
    evidence = Evidence(labels=labels, days=made, incumbent=made, has_incumbent=True)
    spent = []
    for _ in range(9):
        begun = time.process_time()
        judge(Policy(), evidence)
        spent.append((time.process_time() - begun) * 1e3)
    spent.sort()
    return {"p50_ms": round(spent[4], 1), "max_ms": round(spent[-1], 1)}


def main() -> None:
    """Print and write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds
    machine = f"{platform.machine()}, Python {platform.python_version()}, Vedette {__version__}"
    print(machine)
    rows, spent = coverage(rounds), cost()
    print(f"{'days':>5} {'share':>6} {'corr.':>6} {'plain':>7} {'clustered':>10} {'bound':>6}")
    for row in rows:
        print("{camera_days:>5} {share:>6.2f} {correlation:>6.1f} {plain:>7.1%} {clustered:>10.1%}"
              " {mean_bound:>6.3f}".format(**row))  # fmt: skip
    print(f"least: plain {min(r['plain'] for r in rows):.1%}, "
          f"clustered {min(r['clustered'] for r in rows):.1%}")  # fmt: skip
    print(f"verdict on 80 classes, 300 camera-days, CPU: {spent}")
    RESULTS.parent.mkdir(exist_ok=True)
    told = {"machine": machine, "rounds": rounds, "coverage": rows, "verdict_cpu": spent}
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
