"""What capture costs per frame beside bare PyAV on the same file, in the same run.

Four ways, CPU time of the whole process per picture of the file: PyAV demuxing only, PyAV decoding
with one thread, capture with every frame handed over and its luma looked at, capture at half the
rate, and capture of keyframes only. Rounds are interleaved, so that a busy machine hits all alike.

    python benchmarks/bench_capture.py [FILE]

Without a file a scene of 1280x720 is rendered. Writes benchmarks/results/capture.json.
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

import av
import numpy as np

from vedette.clock import SystemClock
from vedette.edge.capture import (
    CameraSays,
    CaptureSettings,
    CaptureSupervisor,
    Decode,
    EncodedPacket,
    Pace,
    SourceEnded,
)
from vedette.edge.frame import Frame
from vedette.ids import CameraId
from vedette.sim import footage

ROUNDS = 12


class Eye:
    """Look at every frame as the motion gate does: strided luma, nothing converted."""

    def __init__(self) -> None:
        self.frames = 0
        self.ended = threading.Event()

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """Let it pass."""

    def on_frame(self, frame: Frame) -> None:
        """Look."""
        frame.picture.luma(8)
        self.frames += 1

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Let it pass."""

    def on_state(self, state: CameraSays) -> None:
        """Wait for the end."""
        if isinstance(state, SourceEnded):
            self.ended.set()


def demux(path: Path) -> None:
    with av.open(str(path), "r") as container:
        for _ in container.demux(video=0):
            pass


def bare(path: Path) -> None:
    with av.open(str(path), "r") as container:
        container.streams.video[0].codec_context.thread_count = 1
        for _ in container.decode(video=0):
            pass


def capture(path: Path, *, max_fps: float | None, decode: Decode = Decode.ALL) -> None:
    eye = Eye()
    supervisor = CaptureSupervisor(eye, SystemClock())
    supervisor.add(
        CaptureSettings(
            camera=CameraId("bench"),
            source=str(path),
            max_fps=max_fps,
            pace=Pace.AS_FAST_AS_POSSIBLE,
            decode=decode,
        )
    )
    supervisor.start()
    if not eye.ended.wait(120):
        raise SystemExit(f"never ended: {supervisor.status()}")
    supervisor.stop()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "scene.mp4"
        if len(sys.argv) == 1:
            footage.render(path, seconds=8.0, fps=20, size_px=(1280, 720))
        report(path, *facts(path))


def facts(path: Path) -> tuple[int, tuple[int, int], float]:
    with av.open(str(path), "r") as container:
        stream = container.streams.video[0]
        count = sum(1 for packet in container.demux(stream) if packet.size)
        return count, (stream.width, stream.height), float(stream.average_rate or 10)


def report(path: Path, pictures: int, size: tuple[int, int], fps: float) -> None:
    ways: dict[str, Callable[[], None]] = {
        "PyAV demux only": lambda: demux(path),
        "PyAV decode, 1 thread": lambda: bare(path),
        "capture, all frames": lambda: capture(path, max_fps=None),
        "capture, half the frames": lambda: capture(path, max_fps=fps / 2),
        "capture, keyframes only": lambda: capture(path, max_fps=None, decode=Decode.KEYFRAMES),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            if turn:
                times[name].append((time.process_time() - began) * 1e3 / pictures)
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, PyAV {av.__version__}",
        "clip": f"{pictures} pictures of {size[0]}x{size[1]}",
        "unit": "ms CPU per picture of the file, over rounds",
    }
    base = float(np.median(times["PyAV decode, 1 thread"]))
    print(figures["machine"], figures["clip"], figures["unit"], sep="\n")
    for name, values in times.items():
        row = {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 95, 99)}
        row["of_bare_decode"] = round(float(np.median(values)) / base, 3)
        figures[name] = row
        print(f"{name:26}", row)
    target = Path(__file__).parent / "results" / "capture.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
