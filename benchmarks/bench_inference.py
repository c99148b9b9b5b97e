"""Inference alone and with everything around it, from one caller to several on one session.

Bare: ONNX Runtime on a ready tensor. Whole: `Model.detect`, so preprocessing, the head and our own
code are in it. The ratio of the two is what Vedette costs.

    python benchmarks/bench_inference.py [MODELS_DIR] [NAME]
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort

from vedette.inference.library import Library
from vedette.inference.model import Model
from vedette.lab import scene
from vedette.vision.picture import Picture
from vedette.vision.preprocess import prepare

RUNS = 60


def timed(call: Callable[[], object], runs: int = RUNS) -> list[float]:
    for _ in range(5):
        call()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1e3)
    return times


def quantiles(times: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(times, q)), 2) for q in (50, 95, 99)}


def rate(call: Callable[[], object], workers: int) -> float:
    with ThreadPoolExecutor(workers) as pool:
        started = time.perf_counter()
        list(pool.map(lambda _: call(), range(RUNS * workers)))
        return round(RUNS * workers / (time.perf_counter() - started), 1)


def main() -> None:
    models = Path(sys.argv[1] if len(sys.argv) > 1 else "models")
    name = sys.argv[2] if len(sys.argv) > 2 else "centernet"
    bundle = Library(models).find(name)
    model = Model.load(bundle)
    picture = Picture.from_bgr(scene.render())
    tensor, _ = prepare(picture, model.manifest.preprocess)
    feeds = {model.backend.inputs[0].name: tensor}
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"onnxruntime": ort.__version__, "numpy": np.__version__},
        "model": f"{name} {bundle.digest[:19]}",
        "bare_ms": quantiles(timed(lambda: model.backend.run(feeds))),
        "whole_ms": quantiles(timed(lambda: model.detect(picture))),
    }
    for workers in (1, 2):
        bare = rate(lambda: model.backend.run(feeds), workers)
        whole = rate(lambda: model.detect(picture), workers)
        figures[f"{workers}_workers_per_s"] = {
            "bare": bare,
            "whole": whole,
            "ratio": round(whole / bare, 3),
        }
    text = json.dumps(figures, indent=1)
    print(text)
    target = Path(__file__).parent / "results" / "inference.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text + "\n")


if __name__ == "__main__":
    main()
