"""How well and how fast trackers follow, side by side: MOTA, IDF1, HOTA, switches, milliseconds.

Run: python benchmarks/bench_tracker.py [--detections DIR] [--bundle DIR] [--seeds N]

Prints machine and versions, writes benchmarks/results/tracker.json. Confirmed tracks are judged
where they were observed, at IoU 0.5; coasting boxes are not handed in. Peers (`tracker_peers.py`)
run on the same boxes in the same run where the package `trackers` is installed:

- `TUD, shipped boxes`: TUD-Campus and TUD-Stadtmitte with the boxes that lie beside their ground
  truth in `motmetrics` (a tracker's output with its identities removed).
- `TUD, Faster R-CNN`: the same with detections in MOT format from DIR/<sequence>/det.txt; the
  figures kept are those with the detections that were published with SORT.
- `vtest`: frames 1 to 400, YOLOX-nano; CenterNet where --bundle names its folder; Faster R-CNN
  where DIR has PETS09-S2L1, which is the same footage.
- `crowd`: simulated places whose truth is known (`vedette.sim.crowd`).

Lower rates are every n-th look; peers get the real time of each. The constants of our tracker were
chosen on simulated crowds; the real sequences, with a dozen or two people each, only checked that
they carry over. One swap moves IDF1 of TUD by several hundredths: read it with that in mind.

The table of sensitivity tells what becomes of the means when one constant is 30 % smaller or
larger.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import motmetrics
import numpy as np
from tracker_data import Scene, scenes
from tracker_peers import Follow, Make, peers, plain, vedette, version
from tracker_scores import Frame, Score, score

from vedette.sim.crowd import Look
from vedette.vision import kalman
from vedette.vision.detections import Detections
from vedette.vision.geometry import box_overlap
from vedette.vision.tracking import Tracker, TrackerSettings

RESULTS = Path(__file__).resolve().parent / "results" / "tracker.json"
UPDATES = 400
SETTINGS = (
    "strangers",
    "lost_s",
    "tentative_s",
    "confirm_evidence",
    "high_confidence",
    "low_confidence",
    "duplicate_overlap",
)
NOISES = ("_ACCELERATION", "_FIRST_SPEED", "_MEASUREMENT", "_SPEED_MEMORY_S")
Means = dict[str, dict[str, float]]


def follow_all(make: Make, scene: Scene, every: int) -> list[list[Frame]]:
    """Return what one tracker made of each sequence, looking at every `every`-th look."""
    return [_follow(make, looks, every) for looks in scene.sequences]


def _follow(make: Make, looks: list[Look], every: int) -> list[Frame]:
    follow = make(1.0 / (looks[1].t_s - looks[0].t_s) / every)
    frames: list[Frame] = []
    for look in looks[::every]:
        ids, boxes = follow(look.found, look.t_s)
        frames.append((look.person, look.boxes_xyxy, ids, boxes))
    return frames


def judge(make: Make, scene: Scene, every: int) -> Score:
    """Return the score of one tracker over a scene."""
    return sum((score(frames) for frames in follow_all(make, scene, every)), Score())


def check(scene: Scene) -> None:
    """Stop where our arithmetic and motmetrics disagree about MOTA or IDF1."""
    for looks in scene.sequences:
        frames = _follow(vedette(), looks, 1)
        record = motmetrics.MOTAccumulator(auto_id=True)
        for true_ids, true_boxes, ids, boxes in frames:
            overlap = box_overlap(true_boxes, boxes)
            distance = np.where(overlap >= 0.5, 1.0 - overlap, np.nan)
            record.update(true_ids.tolist(), ids.tolist(), distance)
        theirs = motmetrics.metrics.create().compute(record, metrics=["mota", "idf1"])
        own = score(frames)
        for name, value in (("mota", own.mota), ("idf1", own.idf1)):
            other = float(theirs[name].iloc[0])
            if abs(value - other) > 0.002:
                raise SystemExit(f"{scene.name}: {name} is {value}, motmetrics says {other}")


def compare(found: list[Scene], makes: dict[str, Make]) -> dict[str, object]:
    """Print and return every tracker's score in every scene at every rate."""
    results: dict[str, object] = {}
    for scene in found:
        if not scene.name.startswith("crowd"):
            check(scene)
        for every in scene.rates:
            name = f"{scene.name}, every {every}"
            print(f"\n{name}{'MOTA':>{44 - len(name)}}   IDF1   HOTA  switches")
            rows = {tracker: judge(make, scene, every).row() for tracker, make in makes.items()}
            for tracker, row in rows.items():
                figures = f"{row['mota']:7.3f}{row['idf1']:7.3f}{row['hota']:7.3f}"
                print(f"  {tracker:35s}{figures}{row['switches']:10.0f}", flush=True)
            results[name] = rows
    return results


def means(make: Make, found: list[Scene]) -> Means:
    """Return mean MOTA and IDF1 over rates and scenes of each kind."""
    sums: dict[str, list[tuple[float, float]]] = {}
    for scene in found:
        kind = scene.name.split(",")[0].split(":")[0]
        for every in scene.rates:
            result = judge(make, scene, every)
            sums.setdefault(kind, []).append((result.mota, result.idf1))
    return {
        kind: {"mota": float(np.mean(rows, 0)[0]), "idf1": float(np.mean(rows, 0)[1])}
        for kind, rows in sums.items()
    }


def lighter(scene: Scene) -> Scene:
    """Return a scene with one crowd instead of several: the table takes long enough."""
    keep = 1 if scene.name.startswith("crowd") else len(scene.sequences)
    return dataclasses.replace(scene, sequences=scene.sequences[:keep])


def sensitivity(found: list[Scene]) -> dict[str, object]:
    """Print and return how the means move when one constant is 30 % smaller or larger."""
    base = means(vedette(), found)
    print(f"\nsensitivity: change of IDF1 (MOTA) at ×0.7 and ×1.3; {base}")
    results: dict[str, object] = {"base": base}
    defaults = TrackerSettings()
    for name in (*SETTINGS, *NOISES):
        moved: dict[str, Means] = {}
        for factor in (0.7, 1.3):
            settings = {name: getattr(defaults, name) * factor} if name in SETTINGS else {}
            with _scaled(name, factor):
                moved[f"×{factor}"] = means(vedette(**settings), found)
        results[name] = {
            step: {
                kind: {k: round(v - base[kind][k], 4) for k, v in row.items()}
                for kind, row in values.items()
            }
            for step, values in moved.items()
        }
        parts = [
            f"{kind} {row['idf1'] - base[kind]['idf1']:+.3f} "
            f"({row['mota'] - base[kind]['mota']:+.3f})"
            for values in moved.values()
            for kind, row in values.items()
        ]
        print(f"  {name.strip('_').lower():20s}{' | '.join(parts)}", flush=True)
    return results


@contextmanager
def _scaled(name: str, factor: float) -> Iterator[None]:
    """Scale one of the filter's constants for a while."""
    if name not in NOISES:
        yield
        return
    array = getattr(kalman, name)
    kept = array.copy()
    array *= factor
    try:
        yield
    finally:
        array[:] = kept


def crowd_of(n: int, updates: int) -> list[Detections]:
    """Return n walkers on a picture that grows with them, one in ten missed."""
    dice = np.random.default_rng(7)
    side = 220.0 * np.sqrt(n)
    places = dice.random((n, 2)) * side
    speeds = dice.normal(0.0, 40.0, (n, 2))
    looks = []
    for _ in range(updates):
        places = (places + speeds * 0.1) % side
        jitter = dice.normal(0.0, 2.0, (n, 4))
        boxes = np.concatenate((places, places + np.array([40.0, 100.0])), axis=1) + jitter
        seen = dice.random(n) > 0.1
        k = int(seen.sum())
        looks.append(
            Detections(
                boxes[seen].astype(np.float32),
                dice.uniform(0.3, 1.0, k).astype(np.float32),
                np.zeros(k, np.int32),
                np.zeros(k, np.float32),
            )
        )
    return looks


def _own_update(_fps: float) -> Follow:
    """Return our tracker's update alone, as it is called in the pipeline."""
    tracker = Tracker()

    def follow(found: Detections, t_s: float) -> tuple[np.ndarray, np.ndarray]:
        tracks = tracker.update(found, t_s)
        return tracks.track_id, tracks.boxes_xyxy

    return follow


def speed(make: Make, n: int, updates: int = UPDATES) -> dict[str, float]:
    """Return percentiles of one update's CPU time with n objects; the first 20 are left out."""
    follow, spent = make(10.0), []
    for number, found in enumerate(crowd_of(n, updates)):
        start = time.thread_time_ns()
        follow(found, number * 0.1)
        spent.append((time.thread_time_ns() - start) / 1e6)
    return {f"p{q}_ms": round(float(np.percentile(spent[20:], q)), 3) for q in (50, 95, 99)}


def machine() -> dict[str, object]:
    """Return what this ran on."""
    versions = {n: importlib.metadata.version(n) for n in ("numpy", "motmetrics", "onnxruntime")}
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
        "trackers": version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detections", type=Path, help="folder with <sequence>/det.txt")
    parser.add_argument("--bundle", type=Path, help="folder with CenterNet's bundle")
    parser.add_argument("--seeds", type=int, default=2, help="crowds per place")
    parser.add_argument("--no-sensitivity", action="store_true", help="leave that table out")
    arguments = parser.parse_args()
    results: dict[str, object] = {"machine": machine()}
    print(results["machine"])
    rivals = peers()
    own = {str(n): speed(_own_update, n) for n in (10, 50, 200)}
    theirs = {name: speed(make, 50, 120) for name, make in rivals.items()}
    for title, rows in (("update", own), ("update of peers, 50 objects", theirs)):
        results[title] = rows
        for name, percentiles in rows.items():
            print(f"{title}, {name}: {percentiles}")
    found = scenes(arguments.detections, arguments.bundle, seeds=arguments.seeds)
    results["quality"] = compare(found, {"vedette": vedette(), "plain overlap": plain, **rivals})
    if not arguments.no_sensitivity:
        results["sensitivity"] = sensitivity([lighter(scene) for scene in found])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
