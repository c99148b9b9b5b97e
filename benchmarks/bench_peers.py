"""Vedette beside what a user could pick instead: same clip, same network, same cores, one run.

    python benchmarks/bench_peers.py --prepare     once: one environment per contestant (12 GB)
    python benchmarks/bench_peers.py               measure; leaves results/peers.json

The clip is 720p H.264 at 10 fps (real pedestrians where Debian's `opencv-doc` is to be had). The
network has the shape and cost of YOLOv8n at 320 × 320 with random weights: what it finds means
nothing, what it costs does. Every picture is analysed. Contestants run one after the other, in
rounds; a contestant whose environment is not there is left out, and the page says so.

Contestants differ in what they do besides: Vedette also judges quality and tampering, tracks,
counts, and keeps packets and a durable spool.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
import onnx

from vedette.sim import footage, yolo_shaped

HERE: Final = Path(__file__).resolve().parent
SCRIPTS: Final = HERE / "compare"
ENVIRONMENTS: Final = Path(
    os.environ.get("VEDETTE_PEERS", str(footage.cache_folder().parent / "peers"))
)
OURS: Final = "vedette"
REQUIREMENTS: Final = {
    "ultralytics": ("ultralytics==8.4.190", "onnxruntime==1.31.1", "onnx", "lap"),
    "roboflow": ("inference==1.8.3",),
    "model_api": ("openvino-model-api==0.4.7", "openvino==2026.4.1", "onnx"),
    "trackers": ("trackers==2.6.1", "onnxruntime==1.31.1", "opencv-python-headless"),
}
PICTURES: Final = 330
FPS: Final = 10
PACED_PICTURES: Final = 130
SIDE: Final = 320
ROUNDS: Final = 3
LIMIT_S: Final = 240


@dataclass(frozen=True)
class Contestant:
    """One way: its script, environment, model and options."""

    name: str
    script: str
    environment: str
    model: str
    options: tuple[str, ...] = ()


ASYNC: Final = ("--runtime", "openvino-async")
OPENVINO: Final = ("--runtime", "openvino")
BF16: Final = ("--precision", "bf16")
CONTESTANTS: Final = (
    Contestant("plain loop, ONNX Runtime", "plain.py", OURS, "onnx"),
    Contestant("plain loop + ByteTrack", "plain.py", "trackers", "onnx", ("--track",)),
    Contestant("ultralytics track", "ultralytics_track.py", "ultralytics", "named"),
    Contestant("Roboflow InferencePipeline", "roboflow_pipeline.py", "roboflow", "onnx"),
    Contestant("Vedette, ONNX Runtime", "ours.py", OURS, "bundle"),
    Contestant("Model API async, FP32", "model_api_async.py", "model_api", "onnx"),
    Contestant("OpenVINO queue by hand, FP32", "plain.py", OURS, "onnx", ASYNC),
    Contestant("Vedette, OpenVINO FP32", "ours.py", OURS, "bundle", OPENVINO),
    Contestant("Model API async, BF16", "model_api_async.py", "model_api", "onnx", BF16),
    Contestant("OpenVINO queue by hand, BF16", "plain.py", OURS, "onnx", (*ASYNC, *BF16)),
    Contestant("Vedette, OpenVINO BF16", "ours.py", OURS, "bundle", (*OPENVINO, *BF16)),
    Contestant("Model API async, INT8", "model_api_async.py", "model_api", "int8", BF16),
    Contestant("OpenVINO queue by hand, INT8", "plain.py", OURS, "int8", (*ASYNC, *BF16)),
    Contestant("Vedette, OpenVINO INT8", "ours.py", OURS, "int8 bundle", (*OPENVINO, *BF16)),
)
GROUPS: Final = {
    "Vedette, ONNX Runtime": CONTESTANTS[:4],
    "Vedette, OpenVINO FP32": CONTESTANTS[5:7],
    "Vedette, OpenVINO BF16": CONTESTANTS[8:10],
    "Vedette, OpenVINO INT8": CONTESTANTS[11:13],
}
"""Who is compared with whom: same runtime, same precision."""

PACED: Final = ("plain loop, ONNX Runtime", "Vedette, ONNX Runtime", "Vedette, OpenVINO FP32")


def main() -> int:
    """Prepare, or measure and write the results; 1 where a contestant failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepare", action="store_true", help="make the environments")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="those whose name holds this")
    given = parser.parse_args()
    if given.prepare:
        return prepare()
    with tempfile.TemporaryDirectory() as scratch:
        clip, paced, origin, models = material(Path(scratch))
        chosen = [c for c in CONTESTANTS if given.only in c.name and is_there(c)]
        for missing in (c for c in CONTESTANTS if not is_there(c)):
            print(f"left out, its environment is not there: {missing.name}")
        figures = measure(chosen, given.rounds, clip, models)
        latency = live([c for c in chosen if c.name in PACED], paced, models)
    show(figures, latency)
    if not given.only:
        write(figures, latency, origin)
    return int(any(not rounds for rounds in figures.values()))


def prepare() -> int:
    """Make one environment per contestant."""
    for name, wanted in REQUIREMENTS.items():
        folder = ENVIRONMENTS / name
        print(f"{name}: {' '.join(wanted)} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted]
        subprocess.run(pip, check=True)
    return 0


def interpreter(environment: str) -> Path:
    """Return the Python of an environment."""
    return (
        Path(sys.executable) if environment == OURS else ENVIRONMENTS / environment / "bin/python"
    )


def is_there(one: Contestant) -> bool:
    """Return whether a contestant can run here."""
    return interpreter(one.environment).exists()


def material(folder: Path) -> tuple[Path, Path, str, dict[str, Path]]:
    """Return the clip, a shorter one, where the pictures are from, and the network in each form."""
    found = footage.prepare(say=print)
    clip, paced = folder / "clip.mp4", folder / "paced.mp4"
    pictures = []
    with av.open(str(found.clips["full"])) as video:
        for frame in video.decode(video=0):
            bgr = frame.to_ndarray(format="bgr24")
            pictures.append(np.asarray(cv2.resize(bgr, (1280, 720)), np.uint8))
            if len(pictures) == PICTURES:
                break
    while len(pictures) < PICTURES:
        pictures += pictures[: PICTURES - len(pictures)]
    footage.encode(clip, pictures, fps=FPS, gop_s=2.0)
    footage.encode(paced, pictures[:PACED_PICTURES], fps=FPS, gop_s=2.0)
    return clip, paced, found.origin, networks(folder, clip)


def networks(folder: Path, clip: Path) -> dict[str, Path]:
    """Write the network as ONNX, with Ultralytics' metadata, as INT8, and as our bundles."""
    from compare.bundles import pack, quantized

    plain = folder / "net.onnx"
    plain.write_bytes(yolo_shaped.build(SIDE).model)
    named = onnx.load(str(plain))
    names = {i: f"class{i}" for i in range(yolo_shaped.CLASSES)}
    for key, value in (
        ("names", str(names)),
        ("imgsz", f"[{SIDE}, {SIDE}]"),
        ("stride", "32"),
        ("task", "detect"),
        ("batch", "1"),
    ):
        entry = named.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(named, str(folder / "named.onnx"))
    int8 = quantized(plain, folder / "int8.onnx", clip, SIDE)
    return {
        "onnx": plain,
        "named": folder / "named.onnx",
        "bundle": pack(plain, folder / "models" / "fp32", SIDE),
        "int8": int8,
        "int8 bundle": pack(int8, folder / "models" / "int8", SIDE),
    }


def run(one: Contestant, clip: Path, model: Path, *more: str) -> dict[str, Any] | None:
    """Return what one run measured; None where it failed, saying why."""
    command = [
        interpreter(one.environment),
        SCRIPTS / one.script,
        "--model",
        model,
        "--clip",
        clip,
        "--side",
        str(SIDE),
        *one.options,
        *more,
    ]
    # OpenCV's own pool must not decide who wins: everybody has the same cores.
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        print(f"{one.name} failed: {done.stderr.strip()[-300:]}")
        return None
    return json.loads(lines[-1])


def measure(
    chosen: list[Contestant], rounds: int, clip: Path, models: dict[str, Path]
) -> dict[str, list[dict[str, Any]]]:
    """Return the rounds of each contestant, taken in turns so that all see the same machine."""
    figures: dict[str, list[dict[str, Any]]] = {one.name: [] for one in chosen}
    for turn in range(rounds):
        for one in chosen:
            print(f"round {turn + 1} of {rounds}: {one.name}", flush=True)
            found = run(one, clip, models[one.model])
            if found is not None:
                figures[one.name].append(found)
    return figures


def live(
    chosen: list[Contestant], clip: Path, models: dict[str, Path]
) -> dict[str, dict[str, float]]:
    """Return latencies where pictures come at a camera's pace: from due to result."""
    latency = {}
    for one in chosen:
        found = run(one, clip, models[one.model], "--paced-fps", str(FPS))
        if found is not None and found["latency_ms"]:
            cuts = statistics.quantiles(found["latency_ms"], n=100)
            latency[one.name] = {"p50": round(cuts[49], 1), "p95": round(cuts[94], 1)}
    return latency


def middle(rounds: list[dict[str, Any]], key: str) -> float:
    """Return the median of the rounds."""
    return statistics.median(one[key] for one in rounds)


def show(figures: dict[str, list[dict[str, Any]]], latency: dict[str, dict[str, float]]) -> None:
    """Print the table."""
    print(f"\n{'':32}{'frames/s':>10}{'CPU ms':>9}{'RSS MB':>8}{'p50 ms live':>13}")
    for name, rounds in figures.items():
        if not rounds:
            print(f"{name:32}{'failed':>10}")
            continue
        shown = "".join(
            f"{middle(rounds, key):{width}.{digits}f}"
            for key, width, digits in (("fps", 10, 1), ("cpu_ms", 9, 1), ("rss_mb", 8, 0))
        )
        print(f"{name:32}{shown}{latency.get(name, {}).get('p50', ''):>13}")


def write(
    figures: dict[str, list[dict[str, Any]]],
    latency: dict[str, dict[str, float]],
    origin: str,
) -> None:
    """Write results/peers.json, ratios per round beside the figures."""
    document: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the end",
        "versions": f"Python {platform.python_version()}, PyAV {av.__version__}, OpenCV "
        f"{cv2.__version__}; {'; '.join(' '.join(v) for v in REQUIREMENTS.values())}",
        "rounds": max(len(rounds) for rounds in figures.values()),
        "clip": f"{PICTURES} pictures of 1280x720 at {FPS} fps, {origin}",
        "ways": {
            name: {
                key: round(middle(rounds, key), digits)
                for key, digits in (("fps", 1), ("cpu_ms", 1), ("rss_mb", 0))
            }
            for name, rounds in figures.items()
            if rounds
        },
        "live_ms": latency,
        "ratios": ratios(figures),
    }
    target = HERE / "results" / "peers.json"
    target.write_text(json.dumps(document, indent=1) + "\n")


def ratios(figures: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return ours over each other's, median of the rounds: frames/s, and CPU ms the other way."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for ours, others in GROUPS.items():
        for other in others:
            pairs = list(zip(figures.get(ours, []), figures.get(other.name, []), strict=False))
            if pairs:
                found.setdefault(ours, {})[other.name] = {
                    "fps": round(statistics.median(a["fps"] / b["fps"] for a, b in pairs), 2),
                    "cpu": round(statistics.median(b["cpu_ms"] / a["cpu_ms"] for a, b in pairs), 2),
                }
    return found


if __name__ == "__main__":
    sys.exit(main())
