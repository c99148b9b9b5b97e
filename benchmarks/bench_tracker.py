"""How well and how fast the tracker follows: MOTA, IDF1 and milliseconds per update.

Run: python benchmarks/bench_tracker.py [--detections DIR]. Prints machine and versions, writes
benchmarks/results/tracker.json. Quality is judged by `motmetrics` at IoU 0.5 and set beside a plain
matching of overlaps from frame to frame (no motion, no second stage), in one run. Confirmed tracks
are judged where they were observed; coasting boxes are not handed in:

- `shipped`: TUD-Campus and TUD-Stadtmitte with the boxes that lie beside their ground truth in
  `motmetrics` (a tracker's output with its identities removed). They find 61 % of the people, so
  the MOTA that a perfect association could reach with them is printed beside it.
- `detections`: the same sequences with detections in MOT format (scores 0 to 1) from
  DIR/<sequence>/det.txt, where that is given; the figures kept are those with the Faster R-CNN
  detections that were published with SORT.
- `vtest`: frames 1 to 400 with YOLOX-nano, every, every 2nd, 3rd and 6th frame, where the test
  material lies beside the checkout.

Nothing was tuned to these sequences. With a dozen people in each, one swap moves IDF1 by several
hundredths: neighbouring settings differ by as much, so read it with that in mind.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import motmetrics
import numpy as np
import numpy.typing as npt
import onnxruntime
import pandas as pd
from scipy.optimize import linear_sum_assignment

from vedette.vision.detections import Detections
from vedette.vision.geometry import box_overlap
from vedette.vision.heads import HeadSpec, decode
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess, prepare
from vedette.vision.tracking import Tracker, TrackerSettings

Floats = npt.NDArray[np.float64]
Follow = Callable[[Detections, float], tuple[list[int], Floats]]

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "tracker.json"
TESTDATA = Path(os.environ.get("VEDETTE_TESTDATA", HERE.parents[1] / "shared" / "testdata"))
SHIPPED = Path(motmetrics.__file__).parent / "data"
TUD = ("TUD-Campus", "TUD-Stadtmitte")
TUD_FPS, VTEST_FPS = 25.0, 10.0
VTEST_FRAMES = 400
UPDATES = 400
COLUMNS = ["mota", "idf1", "precision", "recall", "num_switches"]


def read_mot(path: Path) -> dict[int, Floats]:
    """Return rows (id, x1, y1, x2, y2, score) by frame number of a MOT text file."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    rows[:, 4:6] += rows[:, 2:4]
    return {int(f): rows[rows[:, 0] == f, 1:7] for f in np.unique(rows[:, 0])}


def as_detections(rows: Floats) -> Detections:
    """Return one frame's rows as detections of persons; a score of -1 counts as sure."""
    score = np.where(rows[:, 5] < 0, 1.0, np.minimum(rows[:, 5], 1.0))
    n = len(rows)
    return Detections(
        rows[:, 1:5].astype(np.float32),
        score.astype(np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.float32),
    )


def ours(threshold: float) -> Follow:
    """Return our tracker as a function of detections and time."""
    tracker = Tracker(TrackerSettings(high_confidence=threshold))

    def follow(found: Detections, t_s: float) -> tuple[list[int], Floats]:
        tracks = tracker.update(found, t_s)
        tracks = tracks.where(tracks.confirmed & tracks.observed)
        return tracks.track_id.tolist(), tracks.boxes_xyxy.astype(np.float64)

    return follow


def plain(threshold: float) -> Follow:
    """Return a matching of overlaps above 0.3 with the frame before, and nothing else."""
    state: dict[str, object] = {"boxes": np.zeros((0, 4)), "ids": [], "next": 1}

    def follow(found: Detections, _t_s: float) -> tuple[list[int], Floats]:
        boxes = found.boxes_xyxy[found.confidence >= threshold].astype(np.float64)
        before, known, fresh = state["boxes"], state["ids"], state["next"]
        overlap = box_overlap(before, boxes)
        ids = [0] * len(boxes)
        for r, c in zip(*linear_sum_assignment(-overlap), strict=True):
            if overlap[r, c] >= 0.3:
                ids[c] = known[r]
        for i, known_id in enumerate(ids):
            if not known_id:
                ids[i], fresh = fresh, fresh + 1
        state.update(boxes=boxes, ids=ids, next=fresh)
        return ids, boxes

    return follow


def judge(
    truth: dict[int, Floats], found: dict[int, Detections], follow: Follow, fps: float, every: int
) -> motmetrics.MOTAccumulator:
    """Return the record of one tracker over every `every`-th frame."""
    record = motmetrics.MOTAccumulator(auto_id=True)
    for frame in range(min(truth), max(truth) + 1, every):
        ids, boxes = follow(found.get(frame, Detections.empty()), frame / fps)
        true = truth.get(frame, np.zeros((0, 6)))
        overlap = box_overlap(true[:, 1:5], boxes)
        distance = np.where(overlap >= 0.5, 1.0 - overlap, np.nan)
        record.update(true[:, 0].astype(int).tolist(), ids, distance)
    return record


def ceiling(truth: dict[int, Floats], found: dict[int, Detections]) -> tuple[int, int, int]:
    """Return true objects, detections, and detections that can be right: none coasts or is made."""
    people = boxes = right = 0
    for frame, true in truth.items():
        seen = found.get(frame, Detections.empty()).boxes_xyxy.astype(np.float64)
        fits = box_overlap(true[:, 1:5], seen) >= 0.5
        right += int(fits[linear_sum_assignment(fits, maximize=True)].sum())
        people, boxes = people + len(true), boxes + len(seen)
    return people, boxes, right


def compare(
    name: str,
    sequences: list[tuple[str, dict[int, Floats], dict[int, Detections]]],
    fps: float,
    threshold: float,
    every: int = 1,
) -> dict[str, object]:
    """Print and return what both trackers reach over all sequences together."""
    result: dict[str, object] = {}
    counts = np.sum([ceiling(truth, found) for _, truth, found in sequences], axis=0)
    if every == 1:
        best = (2 * counts[2] - counts[1]) / counts[0]
        result["mota_at_most"] = round(float(best), 3)
        print(f"\n{name}: MOTA with exactly these boxes {best:.3f}")
    for tracker, make in (("vedette", ours), ("plain overlap", plain)):
        records = [judge(t, f, make(threshold), fps, every) for _, t, f in sequences]
        table: pd.DataFrame = motmetrics.metrics.create().compute_many(
            records, metrics=COLUMNS, names=[s[0] for s in sequences], generate_overall=True
        )
        print(f"{name}, every {every}, {tracker}:\n{table.round(3).to_string()}")
        result[tracker] = {
            row: {k: round(float(v), 4) for k, v in values.items()}
            for row, values in table.to_dict("index").items()
        }
    return result


def tud(folder: Path, truth_folder: Path, name: str) -> list[tuple[str, dict, dict]]:
    """Return the TUD sequences that `folder` has boxes for."""
    sequences = []
    for sequence in TUD:
        boxes = folder / sequence / name
        if boxes.is_file():
            truth = read_mot(truth_folder / sequence / "gt.txt")
            found = {f: as_detections(rows) for f, rows in read_mot(boxes).items()}
            sequences.append((sequence, truth, found))
    return sequences


def vtest_detections() -> dict[int, Detections]:
    """Return what YOLOX-nano finds in frames 1 to 400, persons only, from confidence 0.1."""
    import av

    session = onnxruntime.InferenceSession(TESTDATA / "models" / "yolox_nano.onnx")
    spec = Preprocess(size=(416, 416), color="BGR")
    head = HeadSpec(kind="yolox", classes=80)
    name = session.get_inputs()[0].name
    output = session.get_outputs()[0].name
    found: dict[int, Detections] = {}
    with av.open(str(TESTDATA / "video" / "vtest.mp4")) as video:
        for number, frame in enumerate(video.decode(video=0), start=1):
            if number > VTEST_FRAMES:
                break
            tensor, transform = prepare(Picture.from_bgr(frame.to_ndarray(format="bgr24")), spec)
            outputs = {output: session.run([output], {name: tensor})[0]}
            seen = decode(head, outputs, transform, 0.1)
            found[number] = seen.where(seen.class_id == 0)
    return found


def crowd(n: int, updates: int) -> list[Detections]:
    """Return a simulated crowd: n walkers on a picture that grows with them, one in ten missed."""
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


def speed(n: int) -> dict[str, float]:
    """Return percentiles of one update's time with n objects, the first 20 updates left out."""
    tracker, spent = Tracker(), []
    for number, found in enumerate(crowd(n, UPDATES)):
        start = time.perf_counter_ns()
        tracker.update(found, number * 0.1)
        spent.append((time.perf_counter_ns() - start) / 1e6)
    return {f"p{q}_ms": round(float(np.percentile(spent[20:], q)), 3) for q in (50, 95, 99)}


def machine() -> dict[str, object]:
    """Return what this ran on."""
    versions = {n: importlib.metadata.version(n) for n in ("numpy", "motmetrics", "onnxruntime")}
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detections", type=Path, help="folder with <sequence>/det.txt")
    arguments = parser.parse_args()
    results: dict[str, object] = {"machine": machine()}
    print(results["machine"])
    results["update"] = {str(n): speed(n) for n in (10, 50, 200)}
    for n, percentiles in results["update"].items():
        print(f"{n} objects: {percentiles}")
    results["shipped"] = compare("shipped", tud(SHIPPED, SHIPPED, "test.txt"), TUD_FPS, 0.4)
    if arguments.detections:
        sequences = tud(arguments.detections, SHIPPED, "det.txt")
        results["detections"] = compare("detections", sequences, TUD_FPS, 0.4)
    if TESTDATA.is_dir():
        truth = read_mot(TESTDATA / "video" / "vtest-gt-frames-1-400.txt")
        found = vtest_detections()
        results["vtest"] = {
            f"every {every}": compare("vtest", [("vtest", truth, found)], VTEST_FPS, 0.4, every)
            for every in (1, 2, 3, 6)
        }
    else:
        print("vtest: left out, no test material")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
