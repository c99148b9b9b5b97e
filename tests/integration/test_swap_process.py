"""The pipeline as a process: CenterNet and YOLOX swapped under cameras that run."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml

from vedette.clock import SystemClock
from vedette.edge import heartbeat, slots
from vedette.edge.slots import Filled, Shadowed, Slots
from vedette.inference import bundle as bundles
from vedette.inference.bundle import Bundle
from vedette.inference.guard import Proven
from vedette.inference.library import PROVEN
from vedette.inference.model import Model
from vedette.sim import exact_heads, footage
from vedette.sim.clip import load_clip
from vedette.sim.closed_world import SIZE_PX, World, back_and_forth, write_bundle
from vedette.sim.exact_heads import Thing
from vedette.sim.pipeline_rig import read_spool
from vedette.sim.rtsp import RtspServer
from vedette.vision.heads import recognise
from vedette.vision.picture import Picture
from vedette.vision.preprocess import Preprocess
from vedette.wire.messages import Aggregate, Drop
from vedette.wire.updates import ShadowPlan, ShadowReport

# Real processes in real time: a busy machine may be many times slower.
pytestmark = pytest.mark.timeout(240)

FPS = 10


def yolox(folder: Path) -> Bundle:
    """Write a network with YOLOX's outputs that finds one person in every bright picture."""
    said = exact_heads.answers("yolox", [Thing((100.0, 60.0, 140.0, 150.0), 0, 0.9)], SIZE_PX, 2)
    network = exact_heads.network(said, SIZE_PX, level=1.0)
    plain = write_bundle(folder / "like")
    prepare = Preprocess(size=SIZE_PX, resize="stretch", scale=1.0)
    outputs = {name: list(value.shape) for name, value in said.bright.items()}
    inputs = {"images": [1, 3, *SIZE_PX[::-1]]}
    head = next(one for one in recognise(inputs, outputs, classes=2) if one.kind == "yolox")
    manifest = msgspec.structs.replace(
        plain.manifest, name="yolox", preprocess=prepare, head=head, threshold=0.4
    )
    Proven(folder / PROVEN).remember(network, "onnxruntime")
    return bundles.write(folder / "yolox", manifest, {"model.onnx": network})


def until(found: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Return once something is found; fail where the process ends or a minute and a half pass."""
    clock = SystemClock()
    deadline_ns = clock.mono_ns() + 90_000_000_000
    while not found():
        assert process.poll() is None, process.communicate()[0]
        assert clock.mono_ns() < deadline_ns, "never came"
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue


def test_centernet_and_yolox_are_swapped_under_cameras_that_run(tmp_path: Path) -> None:
    """There and back, a candidate in shadow in between: every frame accounted, none mixed up."""
    state = tmp_path / "state"
    own = write_bundle(tmp_path / "models" / "people")
    other = yolox(tmp_path / "updates")
    grey = Picture.from_gray(np.full(SIZE_PX[::-1], 120, np.uint8))
    assert len(Model.load(other).detect(grey).detections) == 1
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=4, leg_s=2.0)])
    footage.encode(tmp_path / "loop.mp4", world.pictures(8, FPS), fps=FPS, gop_s=1.0)
    cameras = ("door", "yard")

    def runs(digest: str, shadow: str = "") -> Callable[[], bool]:
        def look() -> bool:
            beat = heartbeat.read(state)
            said = beat.slots[0] if beat and beat.slots else None
            return said is not None and (said.digest, said.shadow) == (digest, shadow)

        return look

    with RtspServer(SystemClock()) as server:
        for name in cameras:
            server.add(name, {"normal": load_clip(tmp_path / "loop.mp4")})
        config = {
            "state_dir": str(state),
            "models_dir": str(tmp_path / "models"),
            "cameras": [
                {"id": name, "source": server.url(name), "model": "people", "max_fps": FPS,
                 "gate": {"enabled": False}}
                for name in cameras
            ],
            "telemetry": {"aggregate_period_s": 1, "report_period_s": 1},
        }  # fmt: skip
        path = tmp_path / "edge.yaml"
        path.write_text(yaml.safe_dump(config))
        process = subprocess.Popen(
            [sys.executable, "-m", "vedette.edge.pipeline_main", "--config", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "default"},
        )
        try:
            until(runs(own.digest), process)
            until(lambda: (b := heartbeat.read(state)) and len(b.covered_until_ms) == 2, process)
            slots.write(
                state, Slots(filled={"people": Filled(digest=other.digest, path=str(other.path))})
            )
            until(runs(other.digest), process)
            candidate = Shadowed(
                rollout="r-1", digest=own.digest, path=str(own.path), plan=ShadowPlan(every_s=0.2)
            )
            filled = Filled(digest=other.digest, path=str(other.path))
            slots.write(state, Slots(filled={"people": filled}, shadows={"people": candidate}))
            until(runs(other.digest, own.digest), process)
            began_ns = SystemClock().mono_ns()
            until(lambda: SystemClock().mono_ns() - began_ns > 1_500_000_000, process)
            slots.write(state, Slots())
            until(runs(own.digest), process)
            began_ms = (b := heartbeat.read(state)) and max(b.covered_until_ms.values())
            until(
                lambda: (
                    (b := heartbeat.read(state))
                    and began_ms
                    and min(b.covered_until_ms.values()) > began_ms + 1000
                ),
                process,
            )
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=90)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    held = [message for _, message in read_spool(state / "spool")]
    for name in cameras:
        sums = [m for m in held if isinstance(m, Aggregate) and m.camera == name]
        for before, after in itertools.pairwise(sums):
            assert before.end_ms == after.start_ms
        for one in sums:
            frames = one.frames
            assert frames.captured == frames.analysed + sum(frames.dropped.values())
            assert set(frames.dropped) <= {Drop.STALE, Drop.SHUTDOWN}, "no frame failed"
        order = [digest for digest, _ in itertools.groupby(one.model for one in sums)]
        assert order == [own.digest, other.digest, own.digest]
    told = [m for m in held if isinstance(m, ShadowReport)]
    assert {(m.a, m.b) for m in told} == {(other.digest, own.digest)}
    assert sum(m.frames + m.shed for m in told) > 0
    assert sum(m.failed for m in told) == 0
