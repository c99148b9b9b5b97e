"""A second stream that is only kept for clips, over real sockets: alone in coming and going."""

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from vedette.clock import SystemClock
from vedette.edge.capture import (
    CameraDown,
    CameraSays,
    CameraUp,
    CaptureSettings,
    CaptureSupervisor,
    EncodedPacket,
    EvidenceStream,
)
from vedette.edge.evidence.clip import remux
from vedette.edge.frame import Frame
from vedette.edge.ring import PacketRing
from vedette.ids import CameraId
from vedette.sim import footage
from vedette.sim.clip import Clip, load_clip
from vedette.sim.mount import Fault, Mount
from vedette.sim.rtsp import RtspServer
from vedette.sim.scene import covered

DOOR = CameraId("door")


class Notebook:
    """A sink with a ring, as the pipeline has it."""

    def __init__(self) -> None:
        self.ring = PacketRing(20.0, 8_000_000)
        self.packets: list[EncodedPacket] = []
        self.frames: list[Frame] = []
        self.said: list[CameraSays] = []
        self._changed = threading.Condition()

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """Keep it."""
        del camera
        with self._changed:
            self.ring.put(packet)
            self.packets.append(packet)
            self._changed.notify_all()

    def on_frame(self, frame: Frame) -> None:
        """Keep it."""
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Nobody asks."""

    def on_state(self, state: CameraSays) -> None:
        """Keep it."""
        with self._changed:
            self.said.append(state)
            self._changed.notify_all()

    def wait(self, until: Callable[["Notebook"], bool]) -> None:
        """Return once `until` holds; fail where it never does."""
        with self._changed:
            if not self._changed.wait_for(lambda: until(self), 30.0):
                pytest.fail(f"never came: {len(self.frames)} frames, said {self.said}")

    @property
    def second(self) -> list[EvidenceStream]:
        """What was said of the second stream."""
        return [state for state in self.said if isinstance(state, EvidenceStream)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, Clip]:
    """The same two seconds, small and large."""
    folder = tmp_path_factory.mktemp("clips")
    small = (covered((160, 96), n / 20) for n in range(40))
    footage.encode(folder / "sub.mp4", small, fps=20)
    footage.render(folder / "main.mp4", seconds=2.0, fps=20)
    return load_clip(folder / "sub.mp4"), load_clip(folder / "main.mp4")


@pytest.fixture
def streams(clips: tuple[Clip, Clip]) -> Iterator[tuple[RtspServer, Mount]]:
    """A camera with a substream and a main stream; returns the main one's mount."""
    with RtspServer(SystemClock()) as server:
        server.add("sub", {"normal": clips[0]})
        yield server, server.add("main", {"normal": clips[1]})


@pytest.fixture
def book(streams: tuple[RtspServer, Mount]) -> Iterator[Notebook]:
    """Capture of both, started."""
    server, _ = streams
    seen = Notebook()
    supervisor = CaptureSupervisor(seen, SystemClock(), rng=random.Random(1))
    both = CaptureSettings(camera=DOOR, source=server.url("sub"), read_timeout_s=8.0)
    supervisor.add(replace(both, evidence_source=server.url("main"), open_timeout_s=8.0))
    supervisor.start()
    yield seen
    supervisor.stop()


def test_the_small_stream_is_seen_and_the_large_one_is_kept(book: Notebook) -> None:
    """Frames have the one size, packets the other; a clip around a frame's time can be cut."""
    book.wait(lambda b: len(b.frames) > 25 and b.ring.held_s > 1.5)
    assert {(f.width, f.height) for f in book.frames} == {(160, 96)}
    assert {(p.info.width, p.info.height) for p in book.packets} == {(320, 180)}
    assert [state.up for state in book.second] == [True]
    at_s = book.frames[-10].t_s
    cut = book.ring.cut(at_s - 0.5, at_s + 0.2, at_s)
    assert cut.shortfall == ""
    assert remux(cut.packets).picture_px == (320, 180)


def test_a_second_stream_that_goes_leaves_the_camera_up_and_its_clips_say_so(
    streams: tuple[RtspServer, Mount], book: Notebook
) -> None:
    """Frames go on, nothing is said of the camera, and the cause is known; it comes back too."""
    book.wait(lambda b: len(b.frames) > 5 and len(b.packets) > 5)
    _, main = streams
    main.set_fault(Fault.GONE)
    book.wait(lambda b: any(not state.up for state in b.second))
    before = len(book.frames)
    book.wait(lambda b: len(b.frames) > before + 20)
    assert not any(isinstance(state, CameraDown) for state in book.said)
    assert len([state for state in book.said if isinstance(state, CameraUp)]) == 1
    down = next(state for state in book.second if not state.up)
    assert down.detail == "closed by the camera"
    main.set_fault(Fault.NONE)
    book.wait(lambda b: b.second[-1].up)


def test_a_second_stream_that_never_answered_is_said_and_is_not_the_camera(
    clips: tuple[Clip, Clip],
) -> None:
    """Its address is wrong: the camera is up, the second stream is down with the reason."""
    book = Notebook()
    with RtspServer(SystemClock()) as server:
        server.add("sub", {"normal": clips[0]})
        supervisor = CaptureSupervisor(book, SystemClock(), rng=random.Random(1))
        supervisor.add(
            CaptureSettings(
                camera=DOOR, source=server.url("sub"), evidence_source=server.url("nothing")
            )
        )
        supervisor.start()
        book.wait(lambda b: len(b.frames) > 3 and bool(b.second))
        supervisor.stop()
    assert not book.second[0].up
    assert "404" in book.second[0].detail
    assert book.packets == []


def test_both_streams_stand_on_one_timeline(tmp_path: Path) -> None:
    """What both show at the same moment has the same time, within two pictures."""
    footage.render(tmp_path / "clip.mp4", seconds=2.0, fps=20)
    clip = load_clip(tmp_path / "clip.mp4")
    first, second = Notebook(), Notebook()
    with RtspServer(SystemClock()) as server:
        server.add("one", {"normal": clip})
        url = server.url("one")
        supervisor = CaptureSupervisor(first, SystemClock(), rng=random.Random(1))
        supervisor.add(CaptureSettings(camera=DOOR, source=url))
        other = CaptureSupervisor(second, SystemClock(), rng=random.Random(2))
        nowhere = tmp_path / "none.mp4"
        other.add(CaptureSettings(camera=DOOR, source=str(nowhere), evidence_source=url))
        supervisor.start()
        other.start()
        first.wait(lambda b: len(b.packets) > 70)
        second.wait(lambda b: len(b.packets) > 70)
        supervisor.stop()
        other.stop()
    seen = {packet.data: packet.t_s for packet in first.packets[-30:]}
    apart = [abs(seen[p.data] - p.t_s) for p in second.packets[-30:] if p.data in seen]
    assert len(apart) > 10
    assert max(apart) < 0.1
