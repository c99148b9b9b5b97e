"""What making a model's input costs: planes first against a full-size BGR picture first.

Run: python benchmarks/bench_preprocess.py. Prints p50/p95/p99 in milliseconds for both ways, side
by side and interleaved in one run, and writes benchmarks/results/preprocess.json. Pictures are
textured noise, whose content does not change the cost.
"""

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess, prepare

ROUNDS = 300
CASES = {
    "768x576 to 512x512 NHWC stretch": (
        (768, 576),
        Preprocess(size=(512, 512), layout="NHWC", resize="stretch"),
    ),
    "768x576 to 416x416 NCHW letterbox": ((768, 576), Preprocess(size=(416, 416), color="BGR")),
    "768x576 to 640x640 NCHW letterbox /255": (
        (768, 576),
        Preprocess(size=(640, 640), anchor="center", scale=1 / 255),
    ),
    "1920x1080 to 512x512 NHWC stretch": (
        (1920, 1080),
        Preprocess(size=(512, 512), layout="NHWC", resize="stretch"),
    ),
    "1920x1080 to 416x416 NCHW letterbox": ((1920, 1080), Preprocess(size=(416, 416), color="BGR")),
}


def _picture(width: int, height: int) -> Picture:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Picture.from_bgr(np.asarray(cv2.resize(coarse, (width, height)), np.uint8))


def _full_bgr_first(picture: Picture, spec: Preprocess) -> object:
    """Do the usual thing: convert all of it, resize, then make the tensor."""
    flat = np.concatenate([picture.y.ravel(), picture.u.ravel(), picture.v.ravel()])
    bgr = cv2.cvtColor(flat.reshape(-1, picture.width), cv2.COLOR_YUV2BGR_I420)
    width, height = spec.size
    if spec.resize == "letterbox":
        ratio = min(width / picture.width, height / picture.height)
        canvas = np.full((height, width, 3), spec.pad_value, np.uint8)
        content = cv2.resize(bgr, (int(picture.width * ratio), int(picture.height * ratio)))
        canvas[: content.shape[0], : content.shape[1]] = content
        bgr = canvas
    else:
        bgr = cv2.resize(bgr, (width, height))
    pixels = bgr if spec.color == "BGR" else bgr[..., ::-1]
    tensor = pixels.astype(np.float32) * np.float32(spec.scale)
    return np.ascontiguousarray(tensor.transpose(2, 0, 1) if spec.layout == "NCHW" else tensor)


def _timed_ms(call: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6


def _percentiles(samples: list[float]) -> dict[str, float]:
    return {f"p{q}_ms": round(float(np.percentile(samples, q)), 3) for q in (50, 95, 99)}


def measure(threads: int) -> dict[str, dict[str, object]]:
    """Return the percentiles of both ways per case, with OpenCV held to `threads` threads."""
    cv2.setNumThreads(threads)
    results: dict[str, dict[str, object]] = {}
    for name, (size, spec) in CASES.items():
        picture = _picture(*size)
        ours: list[float] = []
        usual: list[float] = []
        for _ in range(ROUNDS):
            ours.append(_timed_ms(lambda: prepare(picture, spec)))  # noqa: B023 - called at once
            usual.append(_timed_ms(lambda: _full_bgr_first(picture, spec)))  # noqa: B023
        row = {"planes_first": _percentiles(ours), "full_bgr_first": _percentiles(usual)}
        ratio = round(float(np.median(usual) / np.median(ours)), 2)
        results[name] = {**row, "ratio_p50": ratio}
        print(f"  {name:42} planes {row['planes_first']}  full {row['full_bgr_first']}  x{ratio}")
    return results


def main() -> None:
    """Measure, print and write the result."""
    machine = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "rounds": ROUNDS,
    }
    print(machine)
    results: dict[str, object] = {"machine": machine}
    for threads in (1, 2):
        print(f"OpenCV threads: {threads}")
        results[f"threads_{threads}"] = measure(threads)
    target = Path(__file__).parent / "results" / "preprocess.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
