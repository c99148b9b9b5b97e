"""Runtimes and precisions side by side: what one run costs, and how long loading takes.

Two networks: the default model's (found as `bench_inference` finds it; left out where it is not
there) and one with the layers of YOLOv8n at 320 × 320 and random weights. Each in float32 and in
8-bit integers as `vedette model quantize` makes them, on ONNX Runtime and on OpenVINO, one thread
per run. The variants take turns, so that a busy machine is busy for all of them; processor time
per run is the figure to trust, wall time is beside it. What it finds is not looked at here.

    python benchmarks/bench_runtimes.py [MODELS_DIR] [NAME]
"""

import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from vedette.errors import ConfigError
from vedette.inference.backends import Backend, open_backend
from vedette.inference.backends.openvino import VERSION
from vedette.inference.library import Library
from vedette.lab import quantize, scene
from vedette.sim import yolo_shaped
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess, prepare

ROUNDS = 12
PER_ROUND = 5
RUNTIMES = ("onnxruntime", "openvino")


def networks(models: Path, name: str) -> dict[str, tuple[bytes, Preprocess]]:
    """Return what is compared: network and input by name."""
    found = {}
    try:
        bundle = Library(models).find(name)
        found[name] = (bundle.read(bundle.manifest.model), bundle.manifest.preprocess)
    except ConfigError as error:
        print(f"without {name}: {error}", file=sys.stderr)
    spec = Preprocess(size=(320, 320), scale=1 / 255)
    found["yolov8n-shaped 320"] = (yolo_shaped.build(320).model, spec)
    return found


def as_int8(data: bytes, spec: Preprocess) -> bytes:
    """Return the network quantized on shifted copies of the rendered scene: only speed matters."""
    pictures = [np.roll(scene.render(), 16 * step, axis=1) for step in range(8)]
    tensors = [prepare(Picture.from_bgr(picture), spec)[0] for picture in pictures]
    return quantize.to_int8(data, tensors)[0]


def load_s(data: bytes, runtime: str, cache: Path | None) -> tuple[Backend, float]:
    """Return the loaded network and how long that took."""
    started = time.perf_counter()
    backend = open_backend(data, runtime=runtime, cache_dir=cache)
    return backend, time.perf_counter() - started


def taking_turns(calls: dict[str, Callable[[], object]]) -> dict[str, dict[str, float]]:
    """Return processor milliseconds and wall milliseconds per run of each variant."""
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    wall: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, call in calls.items():
            for _ in range(PER_ROUND):
                began, worked = time.perf_counter(), time.process_time()
                call()
                if number:  # the first round warms up
                    cpu[name].append((time.process_time() - worked) * 1e3)
                    wall[name].append((time.perf_counter() - began) * 1e3)
    return {
        name: {
            "cpu_ms_median": round(float(np.median(cpu[name])), 2),
            **{f"p{q}_ms": round(float(np.percentile(wall[name], q)), 2) for q in (50, 95, 99)},
        }
        for name in calls
    }


def busy_cores(backend: Backend, feeds: dict[str, np.ndarray], workers: int) -> dict[str, float]:
    """Return runs per second and processor seconds per second with so many callers."""
    barrier = threading.Barrier(workers + 1)

    def work() -> None:
        barrier.wait()
        for _ in range(PER_ROUND * 6):
            backend.run(feeds)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    barrier.wait()
    began, worked = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    passed = time.perf_counter() - began
    return {
        "runs_per_s": round(workers * PER_ROUND * 6 / passed, 1),
        "cores": round((time.process_time() - worked) / passed, 2),
    }


def compare(data: bytes, spec: Preprocess, cache: Path) -> dict[str, object]:
    """Return every figure of one network."""
    tensor, _ = prepare(Picture.from_bgr(scene.render()), spec)
    variants = {"float32": data, "int8": as_int8(data, spec)}
    calls: dict[str, Callable[[], object]] = {}
    loads: dict[str, dict[str, float]] = {}
    for precision, network in variants.items():
        for runtime in RUNTIMES:
            label = f"{runtime} {precision}"
            backend, cold = load_s(network, runtime, cache / label)
            _, again = load_s(network, runtime, cache / label)
            loads[label] = {"cold_s": round(cold, 3), "again_s": round(again, 3)}
            feeds = {backend.inputs[0].name: tensor}
            calls[label] = lambda backend=backend, feeds=feeds: backend.run(feeds)
    runs = taking_turns(calls)
    base = runs["onnxruntime float32"]["cpu_ms_median"]
    ratios = {name: round(base / run["cpu_ms_median"], 2) for name, run in runs.items()}
    parallel = {}
    for runtime in RUNTIMES:
        for workers in (1, 2):
            backend = open_backend(data, runtime=runtime, workers=workers)
            feeds = {backend.inputs[0].name: tensor}
            backend.run(feeds)
            parallel[f"{runtime} float32, {workers} callers"] = busy_cores(backend, feeds, workers)
    return {"run": runs, "times_as_fast_by_cpu": ratios, "load": loads, "parallel": parallel}


def main() -> None:
    models = Path(sys.argv[1] if len(sys.argv) > 1 else "models")
    name = sys.argv[2] if len(sys.argv) > 2 else "centernet"
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"onnxruntime": ort.__version__, "openvino": VERSION, "numpy": np.__version__},
    }
    with tempfile.TemporaryDirectory() as cache:
        for label, (data, spec) in networks(models, name).items():
            figures[label] = compare(data, spec, Path(cache) / label)
    text = json.dumps(figures, indent=1)
    print(text)
    target = Path(__file__).parent / "results" / "runtimes.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text + "\n")


if __name__ == "__main__":
    main()
