"""The whole pipeline on RTSP cameras over real sockets, in real time, while one of them fails."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from vedette.clock import SystemClock
from vedette.edge.evidence.examine import examine
from vedette.edge.evidence.facts import read_facts
from vedette.edge.evidence.shelf import verify
from vedette.edge.settings import (
    Camera,
    EdgeConfig,
    EvidenceSettings,
    Gate,
    PipelineSettings,
    Telemetry,
)
from vedette.sim import footage
from vedette.sim.clip import Clip, load_clip
from vedette.sim.closed_world import Quirk, World, back_and_forth, write_bundle
from vedette.sim.mount import Fault
from vedette.sim.pipeline_rig import PipelineRig, read_spool
from vedette.sim.rtsp import RtspServer
from vedette.wire.messages import (
    Aggregate,
    CameraState,
    Cause,
    CoverageReport,
    EventKind,
    EventReport,
    EvidenceRecord,
    Span,
    State,
)
from vedette.wire.signed import Line
from vedette.wire.streams import CAMERA_DOWN_AFTER_S

# Real processes in real time: a busy machine may be many times slower, and a wait costs nothing
# where what it waits for comes.
pytestmark = pytest.mark.timeout(240)

FPS = 10
MID = Line(name="mid", a=(0.5, 0.0), b=(0.5, 1.0), evidence=True)
LATE_MS = 3_000
"""What a busy machine may add to a time that is bounded."""

Config = Callable[..., EdgeConfig]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, and a clip that begins and ends with the same picture."""
    folder = tmp_path_factory.mktemp("closed-world")
    write_bundle(folder / "models" / "walkers")
    write_bundle(folder / "models" / "walkers-slow", Quirk.SLOW, work=4000)
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=4, leg_s=2.0)])
    footage.encode(folder / "loop.mp4", world.pictures(8, FPS), fps=FPS, gop_s=1.0)
    footage.encode(folder / "rare.mp4", world.pictures(8, FPS), fps=FPS, gop_s=10.0)
    return folder


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    """Somebody crosses the middle every two seconds, for ever."""
    return load_clip(folder / "loop.mp4")


@pytest.fixture
def server() -> Iterator[RtspServer]:
    """Our own RTSP server."""
    with RtspServer(SystemClock()) as server:
        yield server


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> Config:
    """Make a configuration of cameras by name and address."""

    def make(
        sources: dict[str, str], model: str = "walkers", *, before_s: float = 1.0
    ) -> EdgeConfig:
        return EdgeConfig(
            state_dir=tmp_path / "state",
            models_dir=folder / "models",
            cameras=[
                Camera(
                    id=name,
                    source=url,
                    model=model,
                    max_fps=FPS,
                    lines=[MID],
                    gate=Gate(enabled=False),
                )
                for name, url in sources.items()
            ],
            pipeline=PipelineSettings(workers=2),
            evidence=EvidenceSettings(before_s=before_s, after_s=1.0),
            telemetry=Telemetry(aggregate_period_s=2.0, report_period_s=2.0),
        )

    return make


def of(camera: str, state: State, after_ms: int = 0) -> Callable[[CameraState], bool]:
    """Return a question for `wait_for`."""
    return lambda m: m.camera == camera and m.state is state and m.noticed_ms > after_ms


def slices(rig: PipelineRig, camera: str) -> list[Aggregate]:
    """Return a camera's slices after checking invariant and tiling in each of them."""
    found = [m for m in rig.messages(Aggregate) if m.camera == camera]
    for before, after in itertools.pairwise(found):
        assert before.end_ms == after.start_ms
    for one in found:
        frames = one.frames
        assert frames.captured == frames.analysed + frames.gated + sum(frames.dropped.values())
        at_ms = one.start_ms
        for span in one.spans:
            assert span.start_ms == at_ms
            at_ms = span.end_ms
        assert at_ms == one.end_ms
        assert one.start_ms // 60_000 == (one.end_ms - 1) // 60_000
    return found


def stated(rig: PipelineRig, camera: str) -> list[Span]:
    """Return every gap that was stated for a camera, in slices and as corrections."""
    found = [s for one in slices(rig, camera) for s in one.spans if s.cause]
    reports = [m for m in rig.messages(CoverageReport) if m.camera == camera]
    return found + [s for m in reports for s in m.spans]


def covers(spans: list[Span], cause: Cause, start_ms: int, end_ms: int) -> bool:
    """True where the spans of one cause cover a stretch of time without a hole."""
    at_ms = start_ms
    for span in sorted((s for s in spans if s.cause is cause), key=lambda s: s.start_ms):
        if span.start_ms <= at_ms:
            at_ms = max(at_ms, span.end_ms)
    return at_ms >= end_ms


def test_a_camera_that_vanishes_is_a_gap_and_comes_back(
    config: Config, server: RtspServer, clip: Clip, folder: Path
) -> None:
    """Down with the time of its last frame, a stated gap with its cause, then observed again.

    Four seconds before an event lie before the camera came, in the outage, or (in the yard) long
    after the last keyframe: each clip is whole and says what it lacks.
    """
    mount = server.add("door", {"normal": clip})
    server.add("yard", {"normal": load_clip(folder / "rare.mp4")})
    sources = {name: server.url(name) for name in ("door", "yard")}
    with PipelineRig(config(sources, before_s=4.0), SystemClock()) as rig:
        event = rig.wait_for(
            EventReport, lambda e: e.camera == "door" and e.kind is EventKind.LINE_CROSSED
        )
        assert event.latency_ms is not None
        assert event.latency_ms > 0
        first = rig.wait_for(EvidenceRecord, lambda r: r.event == event.event)
        mount.set_fault(Fault.GONE)
        down = rig.wait_for(CameraState, of("door", State.DOWN))
        early = rig.wait_for(
            EvidenceRecord,
            lambda r: (
                r.camera == "yard"
                and r.wanted_ms[1] > down.at_ms + 2500  # else it was away too short to be missed
                and r.actual_ms is not None
                and r.actual_ms[0] < r.wanted_ms[0] - 500
            ),
        )
        mount.set_fault(Fault.NONE)
        up = rig.wait_for(
            CameraState,
            lambda m: (
                m.camera == "door" and m.noticed_ms > down.noticed_ms and m.state is not State.DOWN
            ),
        )
        crossing = rig.wait_for(
            EventReport, lambda e: e.camera == "door" and e.at_ms > up.at_ms and e.where == "mid"
        )
        across = rig.wait_for(EvidenceRecord, lambda r: r.event == crossing.event)
    assert down.cause is Cause.CAMERA_DOWN
    assert down.detail
    assert down.noticed_ms - down.at_ms <= CAMERA_DOWN_AFTER_S * 1000
    assert covers(stated(rig, "door"), Cause.CAMERA_DOWN, down.at_ms, up.at_ms)
    assert any(one.spans[-1].cause is None for one in slices(rig, "door")[-2:])
    beats = [m for m in rig.messages(EvidenceRecord) if m.status == "complete"]
    packages = {p.evidence: p.path for p in rig.evidence.list_packages()}
    for record in beats:
        assert verify(packages[record.evidence]).sha256 == record.sha256
        assert examine(packages[record.evidence]).problems == ()
    assert "only then" in first.shortfall
    assert early.shortfall == ""
    assert "the camera was lost" in across.shortfall
    around = read_facts(packages[across.evidence]).surroundings
    assert around is not None
    assert around.coverage is not None
    assert Cause.CAMERA_DOWN in {span.cause for span in around.coverage.spans}


def test_a_camera_that_falls_silent_is_down_in_time_and_delays_nobody(
    config: Config, server: RtspServer, clip: Clip
) -> None:
    """A stalled stream is noticed within ten seconds; the other cameras never feel it."""
    door, _ = server.add("door", {"normal": clip}), server.add("yard", {"normal": clip})
    server.add("dead", {"normal": clip}).set_fault(Fault.SILENT)
    sources = {name: server.url(name) for name in ("dead", "door", "yard")}
    with PipelineRig(config(sources), SystemClock()) as rig:
        rig.wait_for(CameraState, of("yard", State.OK))
        rig.wait_for(CameraState, of("door", State.OK))
        door.set_fault(Fault.STALL)
        down = rig.wait_for(CameraState, of("door", State.DOWN))
        rig.wait_for(CameraState, of("dead", State.DOWN))
        rig.wait_for(EventReport, lambda e: e.camera == "yard" and e.at_ms > down.noticed_ms)
    assert down.noticed_ms - down.at_ms <= CAMERA_DOWN_AFTER_S * 1000 + LATE_MS
    assert {span.cause for span in stated(rig, "dead")} == {Cause.CAMERA_DOWN}
    assert not [m for m in rig.messages(EventReport) if m.camera == "dead"]
    up = next(m for m in rig.messages(CameraState) if m.camera == "yard")
    late = [s for s in stated(rig, "yard") if s.start_ms > up.at_ms + LATE_MS]
    assert not late, "a dead camera made a hole in another"
    # It goes on all the time: about a hundred pictures, of which a busy machine sheds its part.
    frames = [one.frames for one in slices(rig, "yard")]
    assert sum(f.analysed for f in frames) > 2 * FPS
    assert sum(f.captured for f in frames) > 8 * FPS


def test_damaged_slices_do_not_stop_a_camera(
    config: Config, server: RtspServer, clip: Clip
) -> None:
    """While bits flip, packets are counted or shown damaged; afterwards counting goes on."""
    mount = server.add("door", {"normal": clip})
    with PipelineRig(config({"door": server.url("door")}), SystemClock()) as rig:
        rig.wait_for(EventReport, lambda e: e.where == "mid")
        mount.set_fault(Fault.CORRUPT)
        first = len(rig.messages(Aggregate))
        rig.wait_for(Aggregate, lambda m: m in rig.messages(Aggregate)[first + 1 :])
        mount.set_fault(Fault.NONE)
        healed_ms = rig.messages(Aggregate)[-1].end_ms
        rig.wait_for(EventReport, lambda e: e.where == "mid" and e.at_ms > healed_ms)
    assert sum(one.frames.captured for one in slices(rig, "door")) > 0


def test_overload_sheds_frames_and_says_so(
    config: Config, server: RtspServer, clip: Clip, folder: Path
) -> None:
    """With a model far too slow the newest frames win, the rest is counted as stale, none waits."""
    server.add("door", {"normal": clip})
    made = config({"door": server.url("door")}, "walkers-slow")
    deepest = 0
    with PipelineRig(made, SystemClock()) as rig:
        wanted = 2

        def enough(_one: Aggregate) -> bool:
            nonlocal deepest
            deepest = max(deepest, rig.pipeline.depth("door"))
            return sum(m.frames.analysed > 0 for m in rig.messages(Aggregate)) >= wanted

        rig.wait_for(Aggregate, enough)
    frames = [one.frames for one in slices(rig, "door")]
    assert sum(f.analysed for f in frames) > 0
    assert sum(f.dropped.get("stale", 0) for f in frames) > 0
    assert deepest <= 3, "two workers and one slot"
    held = read_spool(made.state_dir / "spool")
    assert sum(isinstance(message, Aggregate) for _, message in held) == len(frames)


def test_a_source_never_shows_its_password(config: Config, clip: Clip, tmp_path: Path) -> None:
    """Nothing that the pipeline says about a camera with a password holds the password."""
    with RtspServer(SystemClock(), users={"op": "hunter2x"}) as server:
        mount = server.add("door", {"normal": clip})
        url = server.url("door")
        assert "hunter2x" in url
        with PipelineRig(config({"door": url}), SystemClock()) as rig:
            rig.wait_for(EventReport, lambda e: e.camera == "door")
            mount.set_fault(Fault.UNAUTHORISED)
            rig.wait_for(CameraState, of("door", State.DOWN))
        said = [
            msgspec.json.encode(m)
            for kind in (EventReport, CameraState, Aggregate, EvidenceRecord)
            for m in rig.messages(kind)
        ]
    beat = (tmp_path / "state" / "pipeline.json").read_bytes()
    assert said
    assert not [text for text in (*said, beat) if b"hunter2x" in text]
