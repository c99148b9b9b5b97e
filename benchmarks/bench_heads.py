"""What decoding costs per family: outputs of a usual size to boxes in the picture.

Run: python benchmarks/bench_heads.py. Prints p50/p95/p99 of CPU milliseconds (this thread's) and
writes benchmarks/results/heads.json. Outputs are made up: 20 objects with a dozen rows each that
overlap, at two thresholds: 0.4, as alerts use, and 0.1, as a tracker asks for, where 600 more rows
are candidates. Beside it, in the same rounds, the usual way for YOLOv8: transpose, arg-max, mask,
OpenCV's batched suppression.
"""

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vedette.vision.heads import HeadSpec, decode
from vedette.vision.heads.boxes import suppress
from vedette.vision.preprocess import Preprocess, Transform

ROUNDS = 300
OBJECTS, ROWS_EACH, WEAK = 20, 12, 600
PICTURE = (1280, 720)
Floats = npt.NDArray[np.float32]
Outputs = dict[str, npt.NDArray[Any]]


def _rows(count: int, side: int, classes: int) -> tuple[Floats, Floats]:
    """Return boxes (n, 4) as centre and size in pixels, and scores (n, classes)."""
    rng = np.random.default_rng(1)
    boxes = np.concatenate(
        [rng.uniform(0, side, (count, 2)), rng.uniform(10, side / 4, (count, 2))], axis=1
    )
    scores = rng.uniform(0, 0.05, (count, classes))
    at = rng.permutation(count)
    strong = at[: min(OBJECTS * ROWS_EACH, count)]
    for number, row in enumerate(strong):
        thing = number % OBJECTS
        boxes[row] = boxes[strong[thing]] + rng.normal(0, 2, 4)
        scores[row, thing % classes] = rng.uniform(0.3, 0.9)
    weak = at[len(strong) : len(strong) + WEAK]
    scores[weak, rng.integers(0, classes, len(weak))] = rng.uniform(0.1, 0.4, len(weak))
    return boxes.astype(np.float32), scores.astype(np.float32)


def _yolov8(count: int, side: int, classes: int) -> Outputs:
    boxes, scores = _rows(count, side, classes)
    return {"o": np.ascontiguousarray(np.concatenate([boxes, scores], axis=1).T[None])}


def _with_objectness(count: int, side: int, classes: int) -> Outputs:
    boxes, scores = _rows(count, side, classes)
    best = scores.max(axis=1, keepdims=True)
    return {"o": np.concatenate([boxes, best, scores / best], axis=1)[None]}


def _nanodet(count: int, side: int, classes: int) -> Outputs:
    _, scores = _rows(count, side, classes)
    bins = np.random.default_rng(2).normal(0, 1, (count, 32)).astype(np.float32)
    return {"o": np.concatenate([scores, bins], axis=1)[None]}


def _ssd_raw(count: int, side: int, classes: int) -> Outputs:
    boxes, scores = _rows(count, side, classes)
    background = np.clip(1 - scores.sum(axis=1, keepdims=True), 1e-3, 1)
    logits = np.log(np.concatenate([background, scores], axis=1) + 1e-6)
    return {
        "b": np.random.default_rng(2).normal(0, 1, (1, count, 4)).astype(np.float32),
        "s": logits[None],
        "p": boxes / side,
    }


def _detr(count: int, side: int, classes: int) -> Outputs:
    boxes, scores = _rows(count, side, classes)
    return {"b": boxes[None] / side, "l": np.log(scores / (1 - scores))[None]}


def _fastestdet(_: int, side: int, classes: int) -> Outputs:
    cells = side // 16
    _, scores = _rows(cells * cells, side, classes)
    best = scores.max(axis=1, keepdims=True)
    box = np.random.default_rng(2).normal(0, 1, (len(scores), 4)).astype(np.float32)
    rows = np.concatenate([best, box, scores / scores.sum(axis=1, keepdims=True)], axis=1)
    return {"o": np.ascontiguousarray(rows.T.reshape(1, -1, cells, cells))}


def _finished(count: int, side: int, classes: int) -> Outputs:
    boxes, scores = _rows(count, side, classes)
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    best = scores.max(axis=1, keepdims=True)
    label = scores.argmax(axis=1)[:, None]
    return {"o": np.concatenate([corners, best, label], axis=1, dtype=np.float32)[None]}


Case = tuple[HeadSpec, int, Outputs]


def cases() -> dict[str, Case]:
    """Return head, side of the input and outputs by name."""
    priors = {"boxes": "b", "scores": "s", "priors": "p"}
    return {
        "yolov8 84×8400": (HeadSpec(kind="yolov8", classes=80), 640, _yolov8(8400, 640, 80)),
        "yolov5 25200×85": (
            HeadSpec(kind="yolov5", classes=80),
            640,
            _with_objectness(25200, 640, 80),
        ),
        "yolox 3549×85": (HeadSpec(kind="yolox", classes=80), 416, _with_objectness(3549, 416, 80)),
        "fastestdet 85×22×22": (
            HeadSpec(kind="fastestdet", classes=80),
            352,
            _fastestdet(0, 352, 80),
        ),
        "nanodet-plus 3598×112": (
            HeadSpec(kind="nanodet", classes=80),
            416,
            _nanodet(3598, 416, 80),
        ),
        "ssd, raw 8732×21": (
            HeadSpec(
                kind="ssd",
                classes=20,
                activation="softmax",
                background="first",
                outputs=priors,
            ),
            300,
            _ssd_raw(8732, 300, 20),
        ),
        "detr 300×80": (
            HeadSpec(kind="detr", classes=80, activation="sigmoid", iou=1.0),
            640,
            _detr(300, 640, 80),
        ),
        "end to end 300×6": (
            HeadSpec(kind="end_to_end", classes=80, iou=1.0),
            640,
            _finished(300, 640, 80),
        ),
    }


def usual(output: Floats, transform: Transform, threshold: float) -> int:
    """Decode YOLOv8 the way that tutorials do, vectorised; return how many boxes are left."""
    rows = output[0].T
    class_id = rows[:, 4:].argmax(axis=1)
    confidence = rows[np.arange(len(rows)), class_id + 4]
    mask = confidence > threshold
    found, confidence, class_id = rows[mask], confidence[mask], class_id[mask]
    corner = found[:, :2] - found[:, 2:4] / 2
    boxes = np.concatenate([corner, found[:, 2:4]], axis=1) / transform.scale[0]
    return len(
        cv2.dnn.NMSBoxesBatched(
            boxes.tolist(), confidence.tolist(), class_id.tolist(), threshold, 0.5
        )
    )


def _cpu_ms(call: Callable[[], object]) -> float:
    start = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - start) / 1e6


def _percentiles(samples: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(samples, q)), 3) for q in (50, 95, 99)}


def suppression() -> dict[str, dict[str, float]]:
    """Return what suppressing alone costs, where little and where everything overlaps."""
    results = {}
    rng = np.random.default_rng(4)
    for name, spread in (("2048 boxes, crowded", 100), ("2048 boxes, scattered", 4000)):
        corner = rng.uniform(0, spread, (2048, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 80, (2048, 2))], axis=1)
        boxes = boxes.astype(np.float32)
        scores = rng.uniform(0.1, 1, 2048).astype(np.float32)
        classes = np.zeros(2048, np.int32)
        samples = [
            _cpu_ms(lambda b=boxes, s=scores, c=classes: suppress(b, s, c, 0.5, 300))
            for _ in range(ROUNDS // 3)
        ]
        results[name] = _percentiles(samples)
        print(f"  suppress {name:28} {results[name]}")
    return results


def main() -> None:
    """Measure, print and write the result."""
    cv2.setNumThreads(1)
    machine = {
        "machine": platform.machine(),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
        "rounds": ROUNDS,
    }
    print(machine)
    results: dict[str, Any] = dict(machine)
    for threshold in (0.4, 0.1):
        row: dict[str, Any] = {}
        for name, (head, side, outputs) in cases().items():
            preprocess = Preprocess(size=(side, side), anchor="center")
            transform = Transform.between(PICTURE, preprocess)
            ours: list[float] = []
            plain: list[float] = []
            for _ in range(ROUNDS):
                ours.append(_cpu_ms(lambda: decode(head, outputs, transform, threshold)))  # noqa: B023 - called at once
                if head.kind == "yolov8":
                    plain.append(_cpu_ms(lambda: usual(outputs["o"], transform, threshold)))  # noqa: B023
            row[name] = _percentiles(ours)
            left = len(decode(head, outputs, transform, threshold))
            print(f"  {threshold} {name:24} {row[name]} -> {left} boxes")
            if plain:
                row["the usual way, 84×8400"] = _percentiles(plain)
                row["usual ÷ ours"] = round(float(np.median(plain) / np.median(ours)), 2)
                print(f"      the usual way {_percentiles(plain)}, x{row['usual ÷ ours']}")
        results[f"threshold {threshold}"] = row
    results["suppression"] = suppression()
    target = Path(__file__).parent / "results" / "heads.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
