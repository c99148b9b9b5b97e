"""How often a rollout is stopped for nothing, how often a bad one is missed, and how soon seen.

Made-up fleets whose bad events cluster by device and by day, in a way that the test does not assume
(good and bad days are lognormal; a day's luck is shared by the fleet as well):

    counts      rules side by side on the same events, looked at every hour: the e-process of
                `stats.sequential`, a z-test repeated, "more than twice the controls", and a mixture
                e-process that takes events as independent (Poisson)
    metrics     latency that is correlated within a device: pooled readings against devices
    rollouts    `planner.decide` from start to end, every two hours, with the stages as they come;
                of the kinds of bad events that central counts one becomes more frequent
    slower      the same with a candidate that takes longer (`rollout_worlds`)
    heat        the same in a heat wave that slows everybody down

and the time of one tick with 10,000 devices.

    python benchmarks/bench_rollout.py
    python benchmarks/bench_rollout.py --share 0.1     # a tenth of the rollouts

Writes benchmarks/results/rollout.json.
"""

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rollout_worlds import CAMERAS, CLUSTERED, PAST_DAYS, RATE, World, fleet, lived, plan_for

from vedette.central.rollouts import following, planner
from vedette.central.rollouts.facts import Progress
from vedette.stats import sequential
from vedette.stats.differences import difference

ROOT = Path(__file__).resolve().parents[1]
HOURS = 72
ALPHA = 0.05
LOOKS = [*range(1, 25), *range(28, HOURS + 1, 4)]
FLEETS = ((2, 1), (20, 2), (200, 2), (200, 20))
SCATTERS = {
    "calm": {"device": 0.2, "day": 0.05, "common": 0.1},
    "clustered": CLUSTERED,
    "calm and rare": {"device": 0.2, "day": 0.05, "common": 0.1, "rate": RATE / 4},
}
RATIOS = (1, 2, 3, 10)
SLOWER = (1.0, 1.25, 1.5, 2.0, 3.0, 10.0)


def made(
    rng: np.random.Generator, devices: int, taken: int, ratio: float, scatter: dict[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the past as columns, and cumulated events by hour (devices, HOURS)."""
    rates = fleet(rng, devices, scatter, PAST_DAYS + HOURS // 24, scatter.get("rate", RATE))
    rates[:taken, PAST_DAYS * 24 :] *= ratio
    events = rng.poisson(rates)
    days = events[:, : PAST_DAYS * 24].reshape(devices, PAST_DAYS, 24).sum(axis=2)
    return days, events[:, PAST_DAYS * 24 :].cumsum(axis=1)


def counts_of(days: np.ndarray, since: np.ndarray, taken: int, hours: int) -> sequential.Counts:
    devices = len(days)

    def full(value: float) -> np.ndarray:
        return np.full(devices, float(value))

    return sequential.Counts(
        taken=np.arange(devices) < taken,
        events_before=days.sum(axis=1).astype(float),
        hours_before=full(PAST_DAYS * 24 * CAMERAS),
        days_before=full(PAST_DAYS),
        squares_before=(days**2).sum(axis=1).astype(float),
        events=since.astype(float),
        hours=full(hours * CAMERAS),
        days=full(hours / 24),
    )


# --------------------------------------------------------------------------------------- rules


def by_e_process(days: np.ndarray, events: np.ndarray, taken: int) -> int | None:
    """Return the hour at which the e-process stops."""
    of = None
    for hour in LOOKS:
        counts = counts_of(days, events[:, hour - 1], taken, hour)
        of = of or sequential.spread(counts)
        if sequential.judge(counts, of, ALPHA).e_value >= 1 / ALPHA:
            return hour
    return None


def by_z_test(_: np.ndarray, events: np.ndarray, taken: int) -> int | None:
    """Return the hour at which a one-sided z-test of two pooled rates has p < 0.05."""
    controls = len(events) - taken
    for hour in LOOKS:
        x, y = events[:taken, hour - 1].sum(), events[taken:, hour - 1].sum()
        pooled = (x + y) / (taken + controls)
        error = math.sqrt(pooled / taken + pooled / controls)
        if error and (x / taken - y / controls) / error > 1.645:
            return hour
    return None


def by_factor(_: np.ndarray, events: np.ndarray, taken: int) -> int | None:
    """Return the hour at which the rate is more than twice the controls', five events at least."""
    for hour in LOOKS:
        x, y = events[:taken, hour - 1].sum(), events[taken:, hour - 1].sum()
        if x >= 5 and x / taken > 2 * y / (len(events) - taken):
            return hour
    return None


def by_factor_at_once(_: np.ndarray, events: np.ndarray, taken: int) -> int | None:
    """Return the hour at which the rate is more than twice the controls', by one event too."""
    for hour in LOOKS:
        x, y = events[:taken, hour - 1].sum(), events[taken:, hour - 1].sum()
        if x / taken > 2 * y / (len(events) - taken):
            return hour
    return None


def by_poisson(_: np.ndarray, events: np.ndarray, taken: int) -> int | None:
    """Return the hour at which the conditional mixture test for independent events stops.

    Source: arXiv 2205.14762: given an event, it is a canary's with the share of exposure.
    """
    share = taken / len(events)
    for hour in LOOKS:
        x, y = int(events[:taken, hour - 1].sum()), int(events[taken:, hour - 1].sum())
        shares = sequential.RISES * share / (sequential.RISES * share + 1 - share)
        logs = x * np.log(shares / share) + y * np.log((1 - shares) / (1 - share))
        if logs.max() + math.log(np.exp(logs - logs.max()).mean()) >= math.log(1 / ALPHA):
            return hour
    return None


RULES: dict[str, Callable[[np.ndarray, np.ndarray, int], int | None]] = {
    "e-process": by_e_process,
    "z-test, repeated": by_z_test,
    "> 2 × controls": by_factor,
    "> 2 × controls, at once": by_factor_at_once,
    "Poisson e-process": by_poisson,
}


def counts_table(rng: np.random.Generator, share: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, scatter in SCATTERS.items():
        for devices, taken in FLEETS if name != "calm and rare" else FLEETS[2:3]:
            for ratio in RATIOS:
                runs = max(10, round((300 if ratio == 1 else 100) * share))
                hours: dict[str, list[int | None]] = {rule: [] for rule in RULES}
                for _ in range(runs):
                    days, events = made(rng, devices, taken, ratio, scatter)
                    for rule, judge in RULES.items():
                        hours[rule].append(judge(days, events, taken))
                key = f"{name}, {taken} of {devices}, {ratio}×"
                found[key] = {rule: summed(of) for rule, of in hours.items()}
                print(key, {r: list(v.values()) for r, v in found[key].items()}, flush=True)
    return found


def summed(hours: list[int | None]) -> dict[str, float | None]:
    """Return the shares stopped within a day and in all, and the median hour of those stopped."""
    stopped = [h for h in hours if h is not None]
    return {
        "stopped_24h": round(sum(h <= 24 for h in stopped) / len(hours), 3),
        f"stopped_{HOURS}h": round(len(stopped) / len(hours), 3),
        "median_h": statistics.median(stopped) if stopped else None,
    }


# ------------------------------------------------------------------------------------- metrics


def metrics_table(rng: np.random.Generator, share: float) -> dict[str, Any]:
    """Latency, p95 by hour, 24 hours before and after: devices drift by 5 ms, hours by 3 ms."""
    found: dict[str, Any] = {}
    runs = max(20, round(600 * share))
    for devices, taken in ((4, 2), (20, 2), (20, 10), (200, 20)):
        for worse_ms in (0.0, 10.0, 80.0):
            stops = {"pooled z-test": 0, "by device, > 0": 0, "by device, > 50 ms": 0}
            passed = 0
            for _ in range(runs):
                drift = rng.normal(0, 5, devices) + rng.normal(0, 5)
                before = 100 + rng.normal(0, 3, (devices, 24))
                after = 100 + drift[:, None] + rng.normal(0, 3, (devices, 24))
                after[:taken] += worse_ms
                change = after.mean(axis=1) - before.mean(axis=1)
                one, two = after[:taken].ravel(), after[taken:].ravel()
                error = math.sqrt(one.var(ddof=1) / one.size + two.var(ddof=1) / two.size)
                stops["pooled z-test"] += (one.mean() - two.mean()) / error > 1.645
                by_device = difference(change[:taken].tolist(), change[taken:].tolist())
                assert by_device is not None
                stops["by device, > 0"] += by_device.low > 0
                stops["by device, > 50 ms"] += by_device.low > 50
                passed += by_device.high <= 50
            key = f"{taken} of {devices}, +{worse_ms:g} ms"
            found[key] = {rule: round(float(n) / runs, 3) for rule, n in stops.items()}
            found[key]["passes (< 50 ms)"] = round(passed / runs, 3)
            print(key, found[key], flush=True)
    return found


# ------------------------------------------------------------------------------ whole rollouts


def outcome(ended: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what came of several rollouts: shares, and how soon and how far the stopped ones got.

    `missed` reached every device, `inconclusive` waits for a person with the candidate where it is.
    """
    runs = len(ended)
    stopped = [e for e in ended if e["stopped_h"] is not None]
    share = {
        "stopped": len(stopped) / runs,
        "inconclusive": sum(e["end"] == "inconclusive" for e in ended) / runs,
        "done": sum(e["end"] == "done" for e in ended) / runs,
        "stopped_in_canary": sum(e["stage"] == 0 for e in stopped) / runs,
    }
    why: dict[str, int] = {}
    for one in ended:
        for gate in one["why"]:
            why[gate] = why.get(gate, 0) + 1
    return {name: round(value, 3) for name, value in share.items()} | {
        "runs": runs,
        "median_stop_h": statistics.median(e["stopped_h"] for e in stopped) if stopped else None,
        "median_days": round(statistics.median(e["hours"] for e in ended) / 24, 1),
        "median_touched": statistics.median(e["touched"] for e in ended),
        "why": dict(sorted(why.items())),
    }


def rollouts_table(rng: np.random.Generator, share: float) -> dict[str, Any]:
    """One kind of bad event of six becomes more frequent."""
    found: dict[str, Any] = {}
    for count in (2, 20, 200):
        for ratio in RATIOS:
            runs = max(4, round((200 if ratio == 1 else 60) * share))
            ended = [lived(World(rng, count, ratio), plan_for()) for _ in range(runs)]
            key = f"{count} devices, {ratio}×"
            found[key] = outcome(ended)
            print(key, found[key], flush=True)
    return found


def slower_table(rng: np.random.Generator, share: float) -> dict[str, Any]:
    """Each picture takes longer; latency is correlated within devices, days and hours."""
    found: dict[str, Any] = {}
    for count in (2, 20, 200):
        for slower in SLOWER:
            runs = max(4, round(60 * share))
            ended = [lived(World(rng, count, slower=slower), plan_for()) for _ in range(runs)]
            key = f"{count} devices, {slower:g}× as long"
            found[key] = outcome(ended)
            print(key, found[key], flush=True)
    return found


def heat_table(rng: np.random.Generator, share: float) -> dict[str, Any]:
    """A heat wave slows devices down in the afternoons, with the candidate and without."""
    found: dict[str, Any] = {}
    for slower in (1.0, 3.0):
        runs = max(4, round(60 * share))
        ended = [
            lived(World(rng, 200, slower=slower, is_hot=True), plan_for()) for _ in range(runs)
        ]
        key = f"200 devices, {slower:g}× as long"
        found[key] = outcome(ended)
        print(key, found[key], flush=True)
    return found


def tick_table(rng: np.random.Generator) -> dict[str, float]:
    """Return the processor time of one decision about 10,000 devices, in three stages."""
    found: dict[str, float] = {}
    world, plan = World(rng, 10_000, days=4), plan_for()
    for name, index in (("canary begins", 0), ("last wave begins", 3), ("last wave soaks", 3)):
        state = plan.stages[index].state
        progress = Progress(state=state, stage=index, started=True)
        evidence = world.evidence(progress)
        times = []
        made = planner.decide(plan, progress, world.devices, evidence, world.now_ms)
        for _ in range(5):
            start = time.process_time()
            made = planner.decide(plan, progress, world.devices, evidence, world.now_ms)
            times.append(time.process_time() - start)
        found[f"{name}, ms"] = round(statistics.median(times) * 1000, 1)
        if index == 3:
            world.devices = following.applied(world.devices, made, world.now_ms)
            for _ in range(3):
                world.on()
        print(name, found, len(made.assigns), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulate rollouts beside other rules.")
    parser.add_argument("--share", type=float, default=1.0, help="of the rollouts, 0 to 1")
    parser.add_argument(
        "--part", help="only this one of counts, metrics, rollouts, slower, heat, tick"
    )
    asked = parser.parse_args()
    share = asked.share
    rng = np.random.default_rng(7)
    parts: dict[str, Callable[[], Any]] = {
        "tick": lambda: tick_table(rng),
        "rollouts": lambda: rollouts_table(rng, share),
        "slower": lambda: slower_table(rng, share),
        "heat": lambda: heat_table(rng, share),
        "metrics": lambda: metrics_table(rng, share),
        "counts": lambda: counts_table(rng, share),
    }
    path = ROOT / "benchmarks/results/rollout.json"
    found: dict[str, Any] = json.loads(path.read_text()) if asked.part else {}
    found["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    for name, measure in parts.items():
        if asked.part in {None, name}:
            found[name] = measure()
    path.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
