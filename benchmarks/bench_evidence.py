"""What one evidence package costs: cutting, remuxing, facts, writing durably, signing, the poster.

A ten-second window from a ring of twenty seconds; the same with a keyframe only every ten seconds,
where the clip begins at the keyframe before. The facts have boxes of four people at five looks a
second, the camera's last minutes and five weeks of hours. Signing is the agent's: it reads and
hashes what the pipeline wrote. No picture is decoded for any of this. Beside it, for the ratio:
decoding the same window, which every way of encoding again has to pay before it begins, and both
blurred copies, which are encoded again (in a thread of the lowest priority, never on the way of an
event).

    python benchmarks/bench_evidence.py [FILE]

Without a file a scene is rendered. Writes benchmarks/results/evidence.json.
"""

import io
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from vedette.clock import SystemClock, wall_ms
from vedette.edge.capture import EncodedPacket, StreamInfo
from vedette.edge.evidence.blur import blurred_copy
from vedette.edge.evidence.clip import remux
from vedette.edge.evidence.facts import Facts, read_facts
from vedette.edge.evidence.poster import poster_jpeg
from vedette.edge.evidence.signing import PackageSigner
from vedette.edge.evidence.store import EvidenceStore, Wanted
from vedette.edge.evidence.surroundings import Memory
from vedette.edge.frame import planes
from vedette.edge.ring import PacketRing
from vedette.edge.settings import EvidenceSettings
from vedette.ids import CameraId, new_id
from vedette.sim import footage
from vedette.vision.picture import Picture
from vedette.wire.envelope import ClockState
from vedette.wire.messages import Aggregate, Box, EventKind, EventReport, Span

RUNS = 40
SLOW_RUNS = 5
WINDOW = (5.0, 15.0)
AT_S = 10.0


def load(path: Path) -> tuple[PacketRing, Picture]:
    """Return a ring of the file's first twenty seconds and its first picture."""
    ring = PacketRing(60.0, 64 * 1024 * 1024)
    with av.open(str(path), "r") as container:
        picture = planes(next(container.decode(video=0)))
    with av.open(str(path), "r") as container:
        stream = container.streams.video[0]
        info = StreamInfo(stream.codec_context.name, stream.codec_context.extradata or b"")
        for raw in container.demux(stream):
            if not raw.size or raw.pts is None or raw.dts is None:
                continue
            shown, decoded = float(raw.pts * raw.time_base), float(raw.dts * raw.time_base)
            if shown > 20:
                break
            ring.put(EncodedPacket(bytes(raw), shown, decoded, raw.is_keyframe, 0, 0, info))
    ring.close()
    return ring, picture


def decode(data: bytes) -> None:
    with av.open(io.BytesIO(data), "r") as container:
        container.streams.video[0].codec_context.thread_count = 1
        for _ in container.decode(video=0):
            pass


def sightings(store: EvidenceStore) -> None:
    """Note four people who walk, five looks a second."""
    for n in range(100):
        boxes = [
            Box(
                xyxy=(x := 200.0 * k + 20 * n / 5, 200.0, x + 60, 380.0),
                label="person",
                confidence=0.9,
                track=k,
            )
            for k in range(4)
        ]
        store.note(CameraId("bench"), n / 5, boxes)


def blur(clip: bytes, said: Facts, mode: str) -> None:
    blurred_copy(clip, said, mode, should_stop=lambda: "")


def remembered(folder: Path) -> Memory:
    """Return a memory of ten minutes, and of five weeks of hours with events of ten kinds."""
    clock = SystemClock()
    now_ms = wall_ms(clock.now_at())
    memory = Memory(folder, clock, boot_id="bench", clock_state=lambda: ClockState.TRUSTED)
    for n in range(36 * 24):
        start_ms = now_ms - n * 3_600_000
        span = Span(start_ms=start_ms, end_ms=start_ms + 60_000)
        aggregate = Aggregate(
            camera="bench", start_ms=start_ms, end_ms=start_ms + 60_000, spans=[span]
        )
        memory.take(aggregate)
        for k in range(10):
            memory.take(happened(start_ms, f"line-{k}"))
    for n in range(10):
        start_ms = now_ms - (10 - n) * 60_000
        span = Span(start_ms=start_ms, end_ms=start_ms + 60_000)
        memory.take(
            Aggregate(camera="bench", start_ms=start_ms, end_ms=start_ms + 60_000, spans=[span])
        )
        memory.take(happened(start_ms, "line-1"))
    return memory


def happened(at_ms: int, where: str) -> EventReport:
    return EventReport(
        event=new_id("ev"),
        camera="bench",
        kind=EventKind.PRESENCE,
        at_ms=at_ms,
        where=where,
        evidence=new_id("evd"),
    )


def whole(store: EvidenceStore, ring: PacketRing, picture: Picture) -> None:
    report = happened(wall_ms(SystemClock().now_at()), "line-1")
    wanted = Wanted(event=report, at_t_s=AT_S, picture=picture, watches_people=True)
    store.request(wanted, ring)
    (record,) = store.work()
    if record.status != "complete":
        raise SystemExit(record.detail)


def signed(signer: PackageSigner) -> None:
    if signer.step() != 1:
        raise SystemExit(signer.problem or "nothing was signed")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "scene.mp4"
        if len(sys.argv) == 1:
            footage.render(path, seconds=20.0, fps=20, size_px=(1280, 720))
        ring, picture = load(path)
        cut = ring.cut(*WINDOW, AT_S)
        clip = remux(cut.packets)
        settings = EvidenceSettings(daily_mb=100_000.0, keep_mb=500.0)
        (folder / "evidence").mkdir()
        memory = remembered(folder / "evidence")
        store = EvidenceStore(folder / "evidence", settings, SystemClock(), memory=memory)
        signer = PackageSigner(folder, SystemClock(), lambda: ClockState.TRUSTED)
        signer.step()
        sightings(store)
        whole(store, ring, picture)
        signed(signer)
        path = store.list_packages()[0].path
        said, data = read_facts(path), (path / "clip.mp4").read_bytes()
        footage.render(folder / "long.mp4", seconds=20.0, fps=20, size_px=(1280, 720), gop_s=10.0)
        long_ring, _ = load(folder / "long.mp4")
        steps: dict[str, Callable[[], object]] = {
            "cut from the ring": lambda: ring.cut(*WINDOW, AT_S),
            "remux to MP4": lambda: remux(cut.packets),
            "poster": lambda: poster_jpeg(picture),
            "whole package, fsync included": lambda: whole(store, ring, picture),
            "signing it, fsync included": lambda: signed(signer),
            "the same, a keyframe every 10 s": lambda: whole(store, long_ring, picture),
            "signing that": lambda: signed(signer),
            "decoding the same window": lambda: decode(clip.data),
            "blurred copy, people": lambda: blur(data, said, "people"),
            "blurred copy, whole picture": lambda: blur(data, said, "picture"),
        }
        report(steps, f"{len(cut.packets)} packets, {len(clip.data) / 1e3:.0f} kB", clip.picture_px)


def report(steps: dict[str, Callable[[], object]], window: str, size: tuple[int, int]) -> None:
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    wall: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(RUNS + 2):
        for name, step in steps.items():
            if name.startswith("blurred") and turn >= SLOW_RUNS + 2:
                continue
            began, began_cpu = time.perf_counter(), time.process_time()
            step()
            if turn >= 2:
                wall[name].append((time.perf_counter() - began) * 1e3)
                cpu[name].append((time.process_time() - began_cpu) * 1e3)
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, PyAV {av.__version__}",
        "window": f"{window}, {size[0]}x{size[1]}",
        "unit": "ms",
    }
    print(figures["machine"], figures["window"], sep="\n")
    for name in steps:
        row: dict[str, object] = {
            kind: {f"p{q}": round(float(np.percentile(values[name], q)), 2) for q in (50, 95, 99)}
            for kind, values in (("cpu", cpu), ("wall", wall))
        }
        row["runs"] = len(cpu[name])
        figures[name] = row
        print(f"{name:32}", row)
    target = Path(__file__).parent / "results" / "evidence.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
