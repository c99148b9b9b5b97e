"""Cameras on which nothing happens cost little, and are back when something does: real time."""

from pathlib import Path

import av
import msgspec
import pytest

from vedette.clock import SystemClock
from vedette.edge import decoding
from vedette.edge.capture import Decode, EncodedPacket, StreamInfo
from vedette.edge.capture.decode import Decoder
from vedette.edge.settings import Camera, EdgeConfig, Gate, PipelineSettings, Telemetry
from vedette.sim import footage
from vedette.sim.clip import load_clip
from vedette.sim.closed_world import World, back_and_forth, write_bundle
from vedette.sim.pipeline_rig import PipelineRig
from vedette.sim.rtsp import RtspServer
from vedette.wire.messages import Aggregate, EventReport
from vedette.wire.signed import Line

# Real processes in real time: a busy machine may be many times slower, and a wait costs nothing
# where what it waits for comes.
pytestmark = pytest.mark.timeout(240)

FPS = 10
MID = Line(name="mid", a=(0.5, 0.0), b=(0.5, 1.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a street without anybody, and the same with one who walks to and fro."""
    folder = tmp_path_factory.mktemp("idle")
    write_bundle(folder / "models" / "walkers")
    walker = back_and_forth(1, y=0.8, start_s=0.0, legs=4, leg_s=2.0)
    for name, world in (("empty", World([])), ("busy", World([walker]))):
        footage.encode(folder / f"{name}.mp4", world.pictures(8, FPS), fps=FPS, gop_s=1.0)
    return folder


def test_an_idle_camera_is_decoded_by_keyframes_until_somebody_comes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coverage and health state the lower rate; all packets stay; then every picture is back."""
    monkeypatch.setattr(decoding, "IDLE_AFTER_S", 1.5)
    clips = {name: load_clip(folder / f"{name}.mp4") for name in ("empty", "busy")}
    with RtspServer(SystemClock()) as server:
        mount = server.add("door", clips, shown="empty")
        camera = Camera(
            id="door",
            source=server.url("door"),
            model="walkers",
            max_fps=FPS,
            lines=[MID],
            idle_keyframes=True,
        )
        config = EdgeConfig(
            state_dir=tmp_path,
            models_dir=folder / "models",
            cameras=[msgspec.structs.replace(camera, gate=Gate(full_scan_s=60.0))],
            pipeline=PipelineSettings(workers=1),
            telemetry=Telemetry(aggregate_period_s=1.0, report_period_s=1.0),
        )
        with PipelineRig(config, SystemClock()) as rig:
            lane, ring = rig.lanes[0], rig.plans[0].ring

            def is_idle(one: Aggregate) -> bool:
                rates = [s.rate_fps for s in one.spans if s.cause is None and s.rate_fps]
                return bool(rates) and max(rates) <= 3.0 and lane.decode == "keyframes"

            idle = rig.wait_for(Aggregate, is_idle)
            assert lane.health(idle.end_ms + 1, 0).decode == "keyframes"
            assert ring.held_s >= 2.0
            mount.show("busy")
            rig.wait_for(EventReport, lambda event: event.where == "mid")
            assert lane.decode == "all"


def test_after_a_keyframe_every_picture_is_decoded_at_once(folder: Path) -> None:
    """Where nothing was left out since the keyframe, nothing is waited for."""
    info = StreamInfo("h264", b"")
    with av.open(str(folder / "busy.mp4")) as container:
        stream = container.streams.video[0]
        decoder = Decoder(stream.codec_context, Decode.KEYFRAMES)
        seen = []
        for n, raw in enumerate(container.demux(stream)):
            if raw.pts is None:
                break
            packet = EncodedPacket(b"", n / FPS, n / FPS, raw.is_keyframe, 0, 0, info)
            decoder.set_mode(Decode.ALL if 11 <= n < 15 else Decode.KEYFRAMES)
            seen += [n for _ in decoder.decode(raw, packet)]
    assert seen[:6] == [0, 10, 11, 12, 13, 14]
    assert seen[6:8] == [20, 30]
    assert decoder.undecodable == 0
