"""What the own RTSP client and FFmpeg's cost and how long they hold a picture, side by side.

Both watch the same simulated camera at the same time, each in a thread of its own, at 5 and at 25
pictures a second. Measured per picture: from its sending until its packet is here, and until it is
decoded; and the CPU time of the reading thread for one packet, decoding not included.

    python benchmarks/bench_rtsp.py

Writes benchmarks/results/rtsp.json.
"""

import json
import os
import platform
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from vedette.clock import SystemClock
from vedette.edge.capture import CaptureSettings, RtspClient
from vedette.edge.capture.source import make_source
from vedette.ids import CameraId
from vedette.sim import footage
from vedette.sim.clip import load_clip
from vedette.sim.rtsp import RtspServer

PICTURES: Final = 150
WARM: Final = 25
CLIENTS: Final = {"own client": RtspClient.VEDETTE, "FFmpeg": RtspClient.FFMPEG}


class Meter:
    """One client's figures."""

    def __init__(self, url: str, client: RtspClient, sent_ns: dict[int, int]) -> None:
        self.packet_ms: list[float] = []
        self.picture_ms: list[float] = []
        self.cpu_ms: list[float] = []
        self.packets_of: dict[int, int] = {}
        self._settings = CaptureSettings(camera=CameraId("b"), source=url, rtsp_client=client)
        self._sent_ns = sent_ns
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def _run(self) -> None:
        stream = make_source(self._settings, SystemClock()).open()
        packets = iter(stream.packets())
        for number in range(PICTURES + WARM):
            began = time.thread_time()
            packet = next(packets)
            cpu_s, here_ns = time.thread_time() - began, time.monotonic_ns()
            size = packet.size
            decoded = stream.codec_context.decode(packet)
            seen_ns = time.monotonic_ns()
            if number < WARM:
                continue
            self.cpu_ms.append(cpu_s * 1e3)
            sent_ns = self._sent_ns.get(size)
            if sent_ns and decoded:
                self.packet_ms.append((here_ns - sent_ns) / 1e6)
                self.picture_ms.append((seen_ns - sent_ns) / 1e6)
        stream.close()


def measure(path: Path) -> dict[str, Meter]:
    """Return what both clients found watching one camera."""
    with RtspServer(SystemClock()) as server:
        mount = server.add("door", {"normal": load_clip(path)})
        sent_ns: dict[int, int] = {}
        pack = mount._packets_of  # noqa: SLF001 - where a picture leaves the camera

        def packets_of(out: Any) -> list[bytes]:
            # Pictures are told apart by their size: each client has timestamps of its own.
            sent_ns[sum(len(nal) + 4 for nal in out.nals)] = time.monotonic_ns()
            return pack(out)

        mount._packets_of = packets_of  # noqa: SLF001
        meters = {
            name: Meter(server.url("door"), client, sent_ns) for name, client in CLIENTS.items()
        }
        for meter in meters.values():
            meter.join()
    return meters


def spread(values: list[float]) -> dict[str, float]:
    """Return percentiles."""
    return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 95, 99)}


def main() -> None:
    """Measure, print and write."""
    figures: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, PyAV {av.__version__}",
        "clip": f"H.264, 1280x720, {PICTURES} pictures per client and rate",
    }
    print(figures["machine"], figures["clip"], sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        for fps in (5, 25):
            path = Path(folder) / f"scene-{fps}.mp4"
            footage.render(path, seconds=6.0, fps=fps, size_px=(1280, 720))
            found = figures[f"{fps} fps"] = {}
            for name, meter in measure(path).items():
                found[name] = {
                    "sent to packet, ms": spread(meter.packet_ms),
                    "sent to picture, ms": spread(meter.picture_ms),
                    "CPU per packet, ms": spread(meter.cpu_ms),
                    "mean CPU per packet, ms": round(float(np.mean(meter.cpu_ms)), 3),
                }
                print(f"{fps:3} fps  {name:12}", json.dumps(found[name]))
    target = Path(__file__).parent / "results" / "rtsp.json"
    target.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
