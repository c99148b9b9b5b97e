"""The pipeline as the process that the agent starts: its ends, its refusals, what it leaves."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import msgspec
import pytest
import yaml

from vedette.clock import SystemClock
from vedette.edge import heartbeat, requests
from vedette.edge.evidence.examine import examine
from vedette.edge.evidence.facts import BlurredFacts
from vedette.edge.evidence.shelf import verify
from vedette.sim import footage
from vedette.sim.clip import load_clip
from vedette.sim.closed_world import World, back_and_forth, write_bundle
from vedette.sim.mount import Fault
from vedette.sim.pipeline_rig import read_spool
from vedette.sim.rtsp import RtspServer
from vedette.wire.messages import (
    Aggregate,
    CameraState,
    Drop,
    EventKind,
    EventReport,
    EvidenceRecord,
    State,
)

# Real processes in real time: a busy machine may be many times slower, and a wait costs nothing
# where what it waits for comes.
pytestmark = pytest.mark.timeout(240)

Start = Callable[[dict], subprocess.Popen[str]]
FPS = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a clip that repeats without a jump."""
    folder = tmp_path_factory.mktemp("closed-world")
    write_bundle(folder / "models" / "walkers")
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=4, leg_s=2.0)])
    footage.encode(folder / "loop.mp4", world.pictures(8, FPS), fps=FPS, gop_s=1.0)
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start pipeline processes; whatever still runs at the end of the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(config: dict) -> subprocess.Popen[str]:
        path = tmp_path / "edge.yaml"
        path.write_text(yaml.safe_dump(config))
        process = subprocess.Popen(
            [sys.executable, "-m", "vedette.edge.pipeline_main", "--config", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "default"},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> dict:
    """A device with one camera, as it stands in edge.yaml; its source is still to be said."""
    return {
        "state_dir": str(tmp_path / "state"),
        "models_dir": str(folder / "models"),
        "cameras": [
            {
                "id": "door",
                "source": "",
                "model": "walkers",
                "max_fps": FPS,
                "gate": {"enabled": False},
                "lines": [{"name": "mid", "a": [0.5, 0], "b": [0.5, 1], "evidence": True}],
            }
        ],
        "telemetry": {"aggregate_period_s": 2, "report_period_s": 2},
        "evidence": {"before_s": 1, "after_s": 1},
    }


def until(found: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Return once something is found; fail where the process ends or a minute and a half pass."""
    clock = SystemClock()
    deadline_ns = clock.mono_ns() + 90_000_000_000
    while not found():
        assert process.poll() is None, process.communicate()[0]
        assert clock.mono_ns() < deadline_ns, "never came"
        with_timeout(process)


def with_timeout(process: subprocess.Popen[str]) -> None:
    """Wait a moment for the process, which normally goes on."""
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_with_everything_written(
    start: Start, config: dict, folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """After the signal: exit 0, the last slice is cut, evidence is whole, all is in the spool."""
    state = tmp_path / "state"
    with RtspServer(SystemClock()) as server:
        server.add("door", {"normal": load_clip(folder / "loop.mp4")})
        config["cameras"][0]["source"] = server.url("door")
        process = start(config)
        until(lambda: list((state / "evidence").glob("2*/*/evidence.json")), process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert "Warning" not in output
    held = [message for _, message in read_spool(state / "spool")]
    slices = [m for m in held if isinstance(m, Aggregate)]
    events = [m for m in held if isinstance(m, EventReport)]
    records = Counter(m.evidence for m in held if isinstance(m, EvidenceRecord))
    assert records == Counter(e.evidence for e in events if e.evidence)
    assert EventKind.LINE_CROSSED in {e.kind for e in events}
    for before, after in itertools.pairwise(slices):
        assert before.end_ms == after.start_ms
    for one in slices:
        frames = one.frames
        assert frames.captured == frames.analysed + frames.gated + sum(frames.dropped.values())
        assert set(frames.dropped) <= {Drop.STALE, Drop.SHUTDOWN}
    beat = heartbeat.read(state)
    assert beat is not None
    assert beat.pid == process.pid
    assert beat.covered_until_ms == {"door": slices[-1].end_ms}
    for facts in (state / "evidence").glob("2*/*/evidence.json"):
        assert verify(facts.parent).status == "complete"
    assert not list((state / "evidence" / ".partial").glob("*"))


def test_clips_are_cut_from_the_second_stream_and_say_when_it_went(
    start: Start, config: dict, folder: Path, tmp_path: Path
) -> None:
    """Analysed small, kept large; without the large stream the camera is degraded and not down."""
    state, clock = tmp_path / "state", SystemClock()
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=4, leg_s=2.0)])
    large = (cv2.resize(one, (640, 384)) for one in world.pictures(8, FPS))
    footage.encode(tmp_path / "main.mp4", large, fps=FPS, gop_s=1.0)
    with RtspServer(clock) as server:
        server.add("sub", {"normal": load_clip(folder / "loop.mp4")})
        main = server.add("main", {"normal": load_clip(tmp_path / "main.mp4")})
        config["cameras"][0] |= {"source": server.url("sub"), "evidence_source": server.url("main")}
        process = start(config)
        until(lambda: list((state / "evidence").glob("2*/*/evidence.json")), process)
        main.set_fault(Fault.GONE)

        def is_degraded() -> bool:
            beat = heartbeat.read(state)
            return beat is not None and [c.state for c in beat.cameras] == [State.DEGRADED]

        until(is_degraded, process)
        gone_ns = clock.mono_ns()
        until(lambda: clock.mono_ns() - gone_ns > 4_500_000_000, process)
        assert is_degraded()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    held = [message for _, message in read_spool(state / "spool")]
    states = [m for m in held if isinstance(m, CameraState)]
    degraded = next(m for m in states if "EvidenceStreamDown" in m.signs)
    assert degraded.state is State.DEGRADED
    assert degraded.cause is None
    events = [m for m in held if isinstance(m, EventReport)]
    assert {event.picture_px for event in events} == {(320, 192)}
    assert [e for e in events if e.at_ms > degraded.at_ms], "people are seen as before"
    records = [m for m in held if isinstance(m, EvidenceRecord)]
    short = [r.shortfall for r in records if "the stream for clips is down" in r.shortfall]
    assert short, [r.shortfall for r in records]
    for path in (state / "evidence").glob("2*/*/*.mp4"):
        with av.open(str(path)) as video:
            assert (video.streams.video[0].width, video.streams.video[0].height) == (640, 384)


def test_a_blurred_copy_is_made_beside_the_pictures_and_told(
    start: Start, config: dict, folder: Path, tmp_path: Path
) -> None:
    """People in squares, for the most part not the whole picture; the record is sent again."""
    state = tmp_path / "state"
    config["evidence"]["blur"] = "people"
    with RtspServer(SystemClock()) as server:
        server.add("door", {"normal": load_clip(folder / "loop.mp4")})
        config["cameras"][0]["source"] = server.url("door")
        process = start(config)
        until(lambda: len(list((state / "evidence").glob("2*/*/blurred.json"))) >= 2, process)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    told = [m for _, m in read_spool(state / "spool") if isinstance(m, EvidenceRecord)]
    made = sorted((state / "evidence").glob("2*/*/blurred.json"))
    for path in made:
        assert examine(path.parent).problems == ()
        assert (path.parent / "blurred.jpg").read_bytes().startswith(b"\xff\xd8\xff")
        words = [m.blurred for m in told if m.evidence == path.parent.name]
        assert words in ([False, True], [False])  # the last one may have been made at the end
    assert sum(m.blurred for m in told) >= len(made) - 1
    last = msgspec.json.decode(made[-1].read_bytes(), type=BlurredFacts)
    whole_ms = sum(end - start for start, end in last.whole_ms)
    assert whole_ms < (last.clip.window_ms[1] - last.clip.window_ms[0]) / 2


def test_after_kill_9_the_spool_is_whole_and_owed_evidence_is_told(
    start: Start, config: dict, folder: Path, tmp_path: Path
) -> None:
    """Killed without a word, a second start answers for every clip that was asked for."""
    state = tmp_path / "state"
    with RtspServer(SystemClock()) as server:
        server.add("door", {"normal": load_clip(folder / "loop.mp4")})
        config["cameras"][0]["source"] = server.url("door")
        first = start(config)
        until(lambda: list((state / "evidence").glob("2*/*/evidence.json")), first)
        first.kill()
        first.communicate()
        second = start(config)
        until(lambda: (beat := heartbeat.read(state)) and beat.pid == second.pid, second)
        second.terminate()
        second.communicate(timeout=90)
    held = [message for _, message in read_spool(state / "spool")]
    asked = {m.evidence for m in held if isinstance(m, EventReport) and m.evidence}
    answered = {m.evidence for m in held if isinstance(m, EvidenceRecord)}
    assert asked
    assert asked <= answered


@pytest.mark.parametrize("label", ["walker", "", "person"])
def test_a_missing_model_is_refused_in_words(start: Start, config: dict, label: str) -> None:
    """A model or a class that is not there: exit 2, and what to do instead, without a traceback."""
    camera = config["cameras"][0]
    camera["source"] = "nowhere.mp4"
    if label == "person":
        camera["model"] = "walkerz"
    else:
        camera["labels"] = [label]
    process = start(config)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 2, output
    assert "Traceback" not in output
    assert "walkers" in output if label == "person" else "person" in output


def test_no_usable_configuration_is_refused(start: Start, config: dict) -> None:
    """An unknown key ends the start with the key's name and exit 2."""
    config["camera"] = []
    output, _ = (process := start(config)).communicate(timeout=90)
    assert process.returncode == 2
    assert "camera" in output
    assert "Traceback" not in output


def test_a_missing_file_is_a_camera_that_is_down_not_a_crash(
    start: Start, config: dict, tmp_path: Path
) -> None:
    """One camera without its file: the process lives, says why, and goes on trying."""
    config["cameras"][0]["source"] = str(tmp_path / "missing.mp4")
    process = start(config)
    state = tmp_path / "state"

    def is_down() -> bool:
        beat = heartbeat.read(state)
        return beat is not None and [c.state for c in beat.cameras] == [State.DOWN]

    until(is_down, process)
    process.terminate()
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    held = [m for _, m in read_spool(state / "spool") if isinstance(m, CameraState)]
    assert any("no such file" in m.detail for m in held)


def test_thumbnails_are_answered_or_refused_in_words(
    start: Start, config: dict, folder: Path, tmp_path: Path
) -> None:
    """Without enough background a request ends with a reason, never with a picture."""
    state = tmp_path / "state"
    with RtspServer(SystemClock()) as server:
        server.add("door", {"normal": load_clip(folder / "loop.mp4")})
        config["cameras"][0]["source"] = server.url("door")
        process = start(config)
        for name, camera in (("early", "door"), ("wrong", "yard")):
            wanted = requests.ThumbnailRequest(
                request=name, camera=camera, width_px=48, expires_ms=1
            )
            (state / requests.FOLDER).mkdir(parents=True, exist_ok=True)
            requests.ask(state, wanted)
        until(
            lambda: requests.answered(state, "early") and requests.answered(state, "wrong"), process
        )
        process.terminate()
        process.communicate(timeout=90)
    early, wrong = requests.answered(state, "early"), requests.answered(state, "wrong")
    assert early is not None
    assert wrong is not None
    assert early[0] is None
    assert "background" in early[1]
    assert wrong == (None, "no such camera")
    assert json.loads((state / requests.FOLDER / "early.json").read_text())["camera"] == "door"
