"""The whole pipeline beside what it cannot do without, and beside the loop anybody writes first.

Three measurements, each side by side with interleaved rounds in one process:

1. Throughput of a file, as fast as possible, gate off: the pipeline (quality, tamper, tracking,
   zones, aggregates, evidence ring, spool) against bare decode + fused conversion + bare inference
   with the same number of inference threads.
2. CPU seconds per frame: the pipeline against `cv2.VideoCapture` + resize + cvtColor + ONNX
   Runtime, same model, same clip; that loop alone, and as many of it at once as the pipeline has
   inference threads (two networks at once share caches and cost more each). And by stage.
3. Latency of live cameras at 5 fps over RTSP, one and three of them: from a picture's capture to
   its tracks and to its events, and from the camera's sending to its capture (FFmpeg's parser holds
   a picture back until the next one begins, which is in no latency that a device can see). Beside
   it the plain loop, one thread a camera: read with FFmpeg, convert, resize, run. Both from the
   camera's sending to the result.

    python benchmarks/bench_pipeline.py [MODELS_DIR] [MODEL]

The model is CenterNet where it was pulled, else the detector of the closed world. Footage is real
where Debian's package is to be had, else rendered. Writes benchmarks/results/pipeline.json.
"""

import itertools
import json
import os
import platform
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnxruntime as ort
from stage_meter import StageMeter

from vedette.clock import SystemClock
from vedette.edge.capture import Pace
from vedette.edge.frame import Frame, planes
from vedette.edge.pipeline_main import tune
from vedette.edge.settings import Camera, EdgeConfig, Gate, PipelineSettings, Telemetry
from vedette.inference.bundle import Bundle
from vedette.inference.library import Library, default_dir
from vedette.inference.model import Model
from vedette.sim import footage
from vedette.sim.clip import load_clip
from vedette.sim.closed_world import write_bundle
from vedette.sim.pipeline_rig import PipelineRig
from vedette.sim.rtsp import RtspServer
from vedette.stats.sketch import ExpHistogram
from vedette.vision.preprocess import Preprocess
from vedette.wire.messages import Aggregate, EventReport
from vedette.wire.signed import Line, Zone

THREADS = 2
FRAMES = 160
ROUNDS = 3
LIVE_S = 12.0
LIVE_FPS = 5
PLAIN_OPTIONS = {"rtsp_transport": "tcp", "analyzeduration": "500000"}
PLAIN_WARM_S = 4.0  # what queued up while FFmpeg looked at the stream is not counted against it
CACHE_MODELS = footage.cache_folder().parent / "models"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bundle = choose_model(folder)
        found = footage.prepare(say=print)
        clip, live = folder / "clip.mp4", folder / "live.mp4"
        cut_clips(found.clips["full"], clip, live)
        tune()
        figures: dict[str, Any] = machine(bundle, found.origin)
        for line in ("machine", "versions", "model", "clip"):
            print(figures[line])
        figures["throughput"], figures["cpu"] = files(folder, bundle, clip)
        figures["live"] = {
            f"{n} camera{'s' if n > 1 else ''}": cameras(folder, bundle, live, n) for n in (1, 3)
        }
        figures["load_at_end"] = round(os.getloadavg()[0], 1)
    target = Path(__file__).parent / "results" / "pipeline.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(figures, indent=1) + "\n")


def choose_model(folder: Path) -> Bundle:
    """Return the named model, else CenterNet from where it may have been pulled, else our own."""
    places = [Path(sys.argv[1])] if len(sys.argv) > 1 else [default_dir(), CACHE_MODELS]
    name = sys.argv[2] if len(sys.argv) > 2 else "centernet"
    for place in places:
        if (place / name).is_dir():
            return Library(place).find(name)
    return write_bundle(folder / "models" / "walkers")


def cut_clips(source: Path, clip: Path, live: Path) -> None:
    """Write the first frames for the file runs and, at half the rate, for the live ones."""
    with av.open(str(source)) as video:
        frames = itertools.islice(video.decode(video=0), FRAMES)
        pictures = [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in frames]
    footage.encode(clip, pictures, fps=10, gop_s=1.0)
    footage.encode(live, pictures[::2], fps=LIVE_FPS, gop_s=1.0)


def machine(bundle: Bundle, origin: str) -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} "
        "at the start",
        "versions": f"Python {platform.python_version()}, PyAV {av.__version__}, ONNX Runtime "
        f"{ort.__version__}, OpenCV {cv2.__version__}",
        "model": f"{bundle.manifest.name} {bundle.manifest.preprocess.size}",
        "clip": f"{FRAMES} frames, {origin}",
    }


# ------------------------------------------------------------------------------------------ files


def files(folder: Path, bundle: Bundle, clip: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return throughput and CPU figures of the three ways over the same file."""
    model = Model.load(bundle, threads=1)
    plain = plain_session(bundle)
    rounds = itertools.count()
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "pipeline": lambda: pipeline(folder / f"state-{next(rounds)}", bundle, clip),
        "bare": lambda: bare(model, clip),
        "opencv loop": lambda: opencv_loop(plain, bundle, clip),
        "opencv loops at once": lambda: opencv_loops(plain, bundle, clip),
    }
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            wall_s, cpu_s = way()
            if turn:  # the first round warms caches
                wall[name].append(FRAMES / wall_s)
                cpu[name].append(cpu_s / FRAMES * 1e3)
    throughput = {name: spread(wall[name]) for name in ways}
    throughput = {
        "unit": f"frames per second, {THREADS} inference threads, over {ROUNDS} rounds",
        **throughput,
        **{
            f"pipeline_of_{name.replace(' ', '_')}": spread(ratios(wall["pipeline"], wall[name]), 3)
            for name in ("bare", "opencv loops at once")
        },
    }
    meter = StageMeter()
    pipeline(folder / f"state-{next(rounds)}", bundle, clip, meter)
    costs = {
        "unit": f"ms of CPU per frame, over {ROUNDS} rounds",
        **{name: spread(values) for name, values in cpu.items()},
        **{
            f"pipeline_of_{name.replace(' ', '_')}": spread(ratios(cpu["pipeline"], cpu[name]), 3)
            for name in ("bare", "opencv loop", "opencv loops at once")
        },
        "by stage": meter.table(FRAMES),
    }
    print_table("1. throughput", throughput)
    print_table("2. CPU per frame", costs)
    return throughput, costs


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Return ours in parts of theirs, round by round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def pipeline(
    state: Path, bundle: Bundle, clip: Path, meter: StageMeter | None = None
) -> tuple[float, float]:
    """Return (wall, CPU) seconds of the whole pipeline from its first frame to its last slice."""
    config = configuration(state, bundle, [str(clip)], max_fps=120)
    rig = PipelineRig(config, SystemClock(), pace=Pace.AS_FAST_AS_POSSIBLE)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    with meter or nullcontext(), rig:
        rig.read_to_the_end()
        took = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    frames = [message.frames for message in rig.messages(Aggregate)]
    assert sum(f.analysed for f in frames) == FRAMES, frames
    return took


def bare(model: Model, clip: Path) -> tuple[float, float]:
    """Return (wall, CPU) seconds of decoding, converting and running the model, and no more."""
    waiting: queue.Queue[av.VideoFrame | None] = queue.Queue(THREADS)

    def infer() -> None:
        while (video := waiting.get()) is not None:
            model.raw(planes(video))

    workers = [threading.Thread(target=infer) for _ in range(THREADS)]
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.start()
    with av.open(str(clip)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for video in container.decode(video=0):
            waiting.put(video)
    for _ in workers:
        waiting.put(None)
    for worker in workers:
        worker.join()
    return time.perf_counter() - began_s, time.process_time() - began_cpu_s


def plain_session(bundle: Bundle) -> ort.InferenceSession:
    """Return ONNX Runtime as its first example shows it, but with one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    data = bundle.read(bundle.manifest.model)
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def opencv_loop(session: ort.InferenceSession, bundle: Bundle, clip: Path) -> tuple[float, float]:
    """Return (wall, CPU) seconds of the plain loop: read, resize, convert, run."""
    spec = bundle.manifest.preprocess
    name = session.get_inputs()[0].name
    count = 0
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    video = cv2.VideoCapture(str(clip))
    while True:
        more, picture = video.read()
        if not more:
            break
        session.run(None, {name: plain_tensor(cv2.resize(picture, spec.size), spec)})
        count += 1
    video.release()
    assert count == FRAMES, count
    return time.perf_counter() - began_s, time.process_time() - began_cpu_s


def plain_tensor(small: Any, spec: Preprocess) -> Any:
    """Return the input as everybody writes it first, from BGR of the model's size."""
    scale = np.float32(spec.scale)
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    if spec.color == "RGB":
        small = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
    tensor = small.astype(np.float32)
    if not spec.is_identity:
        tensor = (tensor * scale - mean) / std
    if spec.layout == "NCHW":
        tensor = np.ascontiguousarray(tensor.transpose(2, 0, 1))
    return tensor[None].astype(spec.dtype, copy=False)


def opencv_loops(session: ort.InferenceSession, bundle: Bundle, clip: Path) -> tuple[float, float]:
    """Return (wall, CPU) seconds per clip of as many plain loops at once as inference threads."""
    loops = [
        threading.Thread(target=opencv_loop, args=(session, bundle, clip)) for _ in range(THREADS)
    ]
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    return (
        (time.perf_counter() - began_s) / THREADS,
        (time.process_time() - began_cpu_s) / THREADS,
    )


# ------------------------------------------------------------------------------------------- live


class Sending:
    """When each picture left the camera, by its RTP timestamp."""

    def __init__(self, mount: Any) -> None:
        self._mount = mount
        self._sent_ns: dict[int, int] = {}
        self.held_ms: list[float] = []
        self.result_ms: list[float] = []
        self._joined: int | None = None
        pack = mount._packets_of  # noqa: SLF001 - where a picture leaves the camera

        def packets_of(out: Any) -> list[bytes]:
            packets = pack(out)
            self._sent_ns[mount._last_rtp] = time.monotonic_ns()  # noqa: SLF001
            return packets

        join = mount.join

        def joined(viewer: Any) -> tuple[int, int]:
            seq, stamp = join(viewer)
            self._joined = stamp
            return seq, stamp

        mount._packets_of, mount.join = packets_of, joined  # noqa: SLF001

    def see(self, frame: Frame, _tracks: object, _events: object) -> None:
        """Compare a frame's capture, and its result, which is now, with its sending."""
        if frame.pts_s is None:
            return
        sent_ns = self.sent_ns(frame.pts_s)
        if sent_ns is not None:
            self.held_ms.append((frame.captured_mono_ns - sent_ns) / 1e6)
            self.result_ms.append((time.monotonic_ns() - sent_ns) / 1e6)

    def sent_ns(self, pts_s: float) -> int | None:
        """Return when the picture of that time left the camera; None for those before joining."""
        if self._joined is None:
            return None
        return self._sent_ns.get((self._joined + round(pts_s * 90_000)) & 0xFFFFFFFF)


def cameras(folder: Path, bundle: Bundle, live: Path, count: int) -> dict[str, Any]:
    """Return latencies of `count` RTSP cameras at 5 fps, all of the same footage."""
    clip = load_clip(live)
    with RtspServer(SystemClock()) as server:
        mounts = [server.add(f"cam{n}", {"normal": clip}) for n in range(count)]
        sending = Sending(mounts[0])
        config = configuration(
            folder / f"live-{count}",
            bundle,
            [server.url(mount.name) for mount in mounts],
            max_fps=LIVE_FPS,
        )

        def observe(frame: Frame, tracks: object, events: object) -> None:
            if frame.camera == "cam0":
                sending.see(frame, tracks, events)

        rig = PipelineRig(config, SystemClock(), observer=observe)
        with rig:
            threading.Event().wait(LIVE_S)
        plain = plain_cameras(server, bundle, mounts)
    events = [e.latency_ms for e in rig.messages(EventReport) if e.latency_ms is not None]
    total = ExpHistogram()
    for message in rig.messages(Aggregate):
        if "total" in message.stage_ms:
            total.merge(ExpHistogram.from_wire(message.stage_ms["total"]))
    frames = [message.frames for message in rig.messages(Aggregate)]
    figures = {
        "unit": f"ms, over {LIVE_S:.0f} s at {LIVE_FPS} fps a camera",
        "capture to tracks": {
            "n": total.count,
            **{f"p{round(q * 100)}": rounded(total.quantile(q)) for q in (0.5, 0.95, 0.99)},
        },
        "capture to event": spread(events, 1) if events else None,
        "sent to tracks": spread(sending.result_ms, 1) if sending.result_ms else None,
        "sent to result, plain loop": spread(plain, 1) if plain else None,
        "sent to capture": spread(sending.held_ms, 1) if sending.held_ms else None,
        "frames": sum(f.captured for f in frames),
        "dropped": sum(sum(f.dropped.values()) for f in frames),
    }
    print_table(f"3. live, {count} over RTSP", figures)
    return figures


def plain_cameras(server: RtspServer, bundle: Bundle, mounts: list[Any]) -> list[float]:
    """Return ms from sending to result of the plain loop, one thread for each of the cameras."""
    session, spec = plain_session(bundle), bundle.manifest.preprocess
    name = session.get_inputs()[0].name
    from_ns = time.monotonic_ns() + round(PLAIN_WARM_S * 1e9)
    until_s = from_ns / 1e9 + LIVE_S
    found: list[float] = []

    def loop(mount: Any, sending: Sending | None) -> None:
        with av.open(server.url(mount.name), options=PLAIN_OPTIONS) as camera:
            camera.streams.video[0].codec_context.thread_count = 1
            for video in camera.decode(video=0):
                picture = cv2.resize(video.to_ndarray(format="bgr24"), spec.size)
                session.run(None, {name: plain_tensor(picture, spec)})
                sent_ns = sending and video.time is not None and sending.sent_ns(video.time)
                if sent_ns and sent_ns >= from_ns:
                    found.append((time.monotonic_ns() - sent_ns) / 1e6)
                if time.monotonic() > until_s:
                    return

    threads = [
        threading.Thread(target=loop, args=(mount, None if n else Sending(mount)))
        for n, mount in enumerate(mounts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def configuration(state: Path, bundle: Bundle, sources: list[str], *, max_fps: float) -> EdgeConfig:
    """Return cameras whose every picture is analysed, with zones all over so that events come."""
    cells = [(x / 4, y / 3) for y in range(3) for x in range(4)]
    zones = [
        Zone(
            name=f"cell-{n}",
            polygon=[(x, y), (x + 0.25, y), (x + 0.25, y + 1 / 3), (x, y + 1 / 3)],
        )
        for n, (x, y) in enumerate(cells)
    ]
    return EdgeConfig(
        state_dir=state,
        models_dir=bundle.path.parent,
        cameras=[
            Camera(
                id=f"cam{n}",
                source=source,
                model=bundle.path.name,
                max_fps=max_fps,
                zones=zones,
                lines=[Line(name="mid", a=(0.5, 0.0), b=(0.5, 1.0), evidence=True)],
                gate=Gate(enabled=False),
            )
            for n, source in enumerate(sources)
        ],
        pipeline=PipelineSettings(workers=THREADS),
        telemetry=Telemetry(aggregate_period_s=10.0),
    )


# ----------------------------------------------------------------------------------------- output


def spread(values: list[float], digits: int = 2) -> dict[str, float | int]:
    """Return n, p50, p95 and p99."""
    cuts = {f"p{q}": round(float(np.percentile(values, q)), digits) for q in (50, 95, 99)}
    return {"n": len(values), **cuts}


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def print_table(title: str, figures: dict[str, Any]) -> None:
    print(f"\n{title}: {figures['unit']}")
    for name, row in figures.items():
        if name == "by stage":
            print("  ms of CPU per frame by stage")
            for stage, ms in row.items():
                print(f"    {stage:48} {ms:8.3f}")
        elif name != "unit":
            print(f"  {name:34}", row)


if __name__ == "__main__":
    main()
