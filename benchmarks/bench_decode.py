"""From encoded video to what a model takes: ours beside OpenCV's reading, CPU per 720p picture.

    python benchmarks/bench_decode.py

Ways, in turns over the same clip: PyAV's decoding and the planes-first conversion to a float tensor
(what the pipeline does), with and without H.264's loop filter; `cv2.VideoCapture.read`, which ends
at a full-size BGR picture; the same with letterboxing and `blobFromImage`. The goal is ours at most
0.8 of OpenCV's read alone. CPU of the whole process counts: nobody hides work in threads.
"""

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from vedette.edge.frame import planes
from vedette.sim import footage
from vedette.vision.preprocess import Preprocess, prepare

PICTURES = 150
ROUNDS = 7
SIDE = 320
SPEC = Preprocess(size=(SIDE, SIDE), anchor="center", scale=1 / 255)


def main() -> None:
    cv2.setNumThreads(1)  # as the pipeline does
    with tempfile.TemporaryDirectory() as scratch:
        clip = Path(scratch) / "clip.mp4"
        found = footage.prepare(say=print)
        write(found.clips["full"], clip)
        ways: dict[str, Callable[[Path], int]] = {
            "ours: decode to tensor": ours,
            "ours without the loop filter": without_filter,
            "cv2 read": read,
            "cv2 read, letterbox, blob": read_and_blob,
        }
        costs = measure(ways, clip)
    figures: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, PyAV {av.__version__}, OpenCV {cv2.__version__}",
        "clip": f"{PICTURES} pictures of 1280x720, {found.origin}",
        "cpu_ms": {name: spread(values) for name, values in costs.items()},
        "ours_of_cv2_read": ratio(costs, "cv2 read"),
        "without_filter_of_cv2_read": ratio(costs, "cv2 read", mine="ours without the loop filter"),
        "ours_of_cv2_read_and_blob": ratio(costs, "cv2 read, letterbox, blob"),
    }
    print(json.dumps(figures, indent=1))
    target = Path(__file__).parent / "results" / "decode.json"
    target.write_text(json.dumps(figures, indent=1) + "\n")


def write(source: Path, clip: Path) -> None:
    """Encode the first pictures at 720p, H.264."""
    pictures = []
    with av.open(str(source)) as video:
        for frame in video.decode(video=0):
            bgr = frame.to_ndarray(format="bgr24")
            pictures.append(np.asarray(cv2.resize(bgr, (1280, 720)), np.uint8))
            if len(pictures) == PICTURES:
                break
    footage.encode(clip, pictures, fps=10, gop_s=2.0)


def without_filter(clip: Path) -> int:
    """Do the same with H.264's deblocking left out: cheaper, and errors add up to a keyframe."""
    return ours(clip, {"skip_loop_filter": "all"})


def ours(clip: Path, options: dict[str, str] | None = None) -> int:
    """Decode on one thread and make the tensor of every picture."""
    count = 0
    with av.open(str(clip)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        container.streams.video[0].codec_context.options = options or {}
        for video in container.decode(video=0):
            prepare(planes(video), SPEC)
            count += 1
    return count


def read(clip: Path) -> int:
    """Read every picture as BGR."""
    video, count = cv2.VideoCapture(str(clip)), 0
    while video.read()[0]:
        count += 1
    return count


def read_and_blob(clip: Path) -> int:
    """Read, letterbox and convert every picture."""
    video, count = cv2.VideoCapture(str(clip)), 0
    while True:
        more, picture = video.read()
        if not more:
            return count
        height = round(SIDE * picture.shape[0] / picture.shape[1])
        canvas = np.full((SIDE, SIDE, 3), 114, np.uint8)
        top = (SIDE - height) // 2
        canvas[top : top + height] = cv2.resize(picture, (SIDE, height))
        cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True)
        count += 1


def measure(ways: dict[str, Callable[[Path], int]], clip: Path) -> dict[str, list[float]]:
    """Return CPU ms per picture of each way and round; the first round warms caches."""
    costs: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            began_s = time.process_time()
            count = way(clip)
            if turn:
                costs[name].append((time.process_time() - began_s) / count * 1e3)
    return costs


def spread(values: list[float]) -> dict[str, float]:
    """Return the quantiles of a few rounds."""
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 3),
        "p95": round(ordered[-1], 3),
        "p99": round(ordered[-1], 3),
    }


def ratio(
    costs: dict[str, list[float]], other: str, *, mine: str = "ours: decode to tensor"
) -> dict[str, float]:
    """Return one way over another, per round."""
    return spread([a / b for a, b in zip(costs[mine], costs[other], strict=True)])


if __name__ == "__main__":
    main()
