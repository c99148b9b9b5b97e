"""Capture against our own RTSP cameras over real sockets, in health and in sickness."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from vedette.clock import NS_PER_S, SystemClock
from vedette.edge.capture import (
    CameraDown,
    CameraSays,
    CameraUp,
    CaptureSettings,
    CaptureSupervisor,
    EncodedPacket,
    Loss,
    RtspClient,
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
    """A sink that writes everything down and can be waited on."""

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

    def wait(self, until: Callable[["Notebook"], bool], timeout_s: float = 30.0) -> None:
        """Return once `until` holds; fail where it never does."""
        with self._changed:
            if not self._changed.wait_for(lambda: until(self), timeout_s):
                pytest.fail(f"never came: {len(self.frames)} frames, said {self.said}")

    @property
    def downs(self) -> list[CameraDown]:
        """Every time it went down."""
        return [state for state in self.said if isinstance(state, CameraDown)]

    @property
    def ups(self) -> list[CameraUp]:
        """Every time it came up."""
        return [state for state in self.said if isinstance(state, CameraUp)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    """Two seconds of street, 320x180 at 20 fps, and a second of darkness in another size."""
    folder = tmp_path_factory.mktemp("clips")
    footage.render(folder / "street.mp4", seconds=2.0, fps=20)
    dark = (covered((160, 96), n / 20) for n in range(20))
    footage.encode(folder / "dark.mp4", dark, fps=20)
    street = [picture for picture, _ in zip(_street(), range(40), strict=False)]
    footage.encode(folder / "hevc.mp4", street, fps=20, codec="hevc")
    footage.encode(folder / "b.mp4", street, fps=20, b_frames=2)
    footage.encode(folder / "long.mp4", street, fps=20, gop_s=10.0)
    names = {"normal": "street", "dark": "dark", "hevc": "hevc", "b": "b", "long": "long"}
    return {name: load_clip(folder / f"{file}.mp4") for name, file in names.items()}


def _street() -> Iterator[npt.NDArray[np.uint8]]:
    """Yield textured pictures in which a square walks."""
    ground = np.random.default_rng(1).integers(40, 200, (12, 20, 3), np.uint8)
    ground = ground.repeat(15, 0).repeat(16, 1)
    for number in itertools.count():
        picture = ground.copy()
        picture[60:120, 6 * number % 280 :][:, :40] = 240
        yield picture


@pytest.fixture
def server() -> Iterator[RtspServer]:
    """A server that asks for a password."""
    with RtspServer(SystemClock(), users={"ann": "hunter2"}) as running:
        yield running


@pytest.fixture
def mount(server: RtspServer, clips: dict[str, Clip]) -> Mount:
    """Its camera."""
    return server.add("door", clips)


Watch = Callable[..., tuple[Notebook, CaptureSupervisor]]
both_clients = pytest.mark.parametrize("client", [RtspClient.VEDETTE, RtspClient.FFMPEG])


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Start capture of a source; everything is stopped at the end.

    Only where a time limit is what the test is about is it short: on a busy machine even a healthy
    camera is slow.
    """
    running: list[CaptureSupervisor] = []

    def start(
        source: str, *, limit_s: float = 8.0, client: RtspClient = RtspClient.AUTO
    ) -> tuple[Notebook, CaptureSupervisor]:
        book = Notebook()
        supervisor = CaptureSupervisor(book, SystemClock(), rng=random.Random(1))
        supervisor.add(
            CaptureSettings(
                camera=DOOR,
                source=source,
                open_timeout_s=limit_s,
                read_timeout_s=limit_s,
                rtsp_client=client,
            )
        )
        supervisor.start()
        running.append(supervisor)
        return book, supervisor

    yield start
    for supervisor in running:
        supervisor.stop()


@both_clients
def test_pictures_and_packets_come_and_the_password_is_not_told(
    server: RtspServer, mount: Mount, watch: Watch, client: RtspClient
) -> None:
    """The camera comes up, frames are numbered without gaps, its name hides the password."""
    book, supervisor = watch(server.url("door"), client=client)
    book.wait(lambda b: len(b.frames) >= 30)
    assert mount.viewers == 1
    assert [frame.number for frame in book.frames[:30]] == list(range(30))
    assert book.frames[0].picture.size == (320, 180)
    assert book.packets[0].keyframe
    assert book.frames[0].discontinuity
    (up,) = book.ups
    assert up.picture_px == (320, 180)
    assert "hunter2" not in f"{up}{supervisor.status()}"


def test_the_past_that_a_camera_sends_first_does_not_stretch_the_timeline(
    server: RtspServer, mount: Mount, watch: Watch
) -> None:
    """Frames of a 20 fps camera stand 50 ms apart on the timeline whatever the announced rate."""
    assert mount.fault is Fault.NONE
    book, _ = watch(server.url("door"))
    book.wait(lambda b: len(b.frames) >= 60)
    steps = [later.t_s - earlier.t_s for earlier, later in pairwise(book.frames[30:60])]
    assert not any(frame.discontinuity for frame in book.frames[30:60])
    assert min(steps) > 0.03
    assert max(steps) < 0.07


def test_bursts_of_450_ms_keep_the_spacing_of_their_pictures(
    server: RtspServer, mount: Mount, watch: Watch
) -> None:
    """What arrives together is not dated together: trackers see the camera's own time steps."""
    mount.set_fault(Fault.BURST)
    book, _ = watch(server.url("door"))
    book.wait(lambda b: len(b.frames) >= 80)
    frames = book.frames[40:80]
    steps = [later.t_s - earlier.t_s for earlier, later in pairwise(frames)]
    came = [
        (later.captured_mono_ns - earlier.captured_mono_ns) / NS_PER_S
        for earlier, later in pairwise(frames)
    ]
    assert max(came) > 0.3
    assert max(steps) < 0.1
    assert min(steps) > 0.02


@both_clients
def test_a_camera_that_vanishes_is_down_at_once_and_comes_back(
    server: RtspServer, mount: Mount, watch: Watch, client: RtspClient
) -> None:
    """Down is dated at the last frame, up at the first one after; numbers go on without a gap."""
    book, supervisor = watch(server.url("door"), client=client)
    book.wait(lambda b: len(b.frames) >= 5)
    mount.set_fault(Fault.GONE)
    book.wait(lambda b: bool(b.downs))
    last = book.frames[-1]
    assert abs((book.downs[0].at - last.captured_at).total_seconds()) < 0.2
    seen = len(book.frames)
    mount.set_fault(Fault.NONE)
    book.wait(lambda b: len(b.ups) == 2 and len(b.frames) > seen + 5)
    assert [frame.number for frame in book.frames] == list(range(len(book.frames)))
    assert book.frames[seen].discontinuity
    times = [frame.t_s for frame in book.frames]
    assert times == sorted(set(times))
    assert supervisor.status()[0].opened >= 2


@pytest.mark.parametrize(
    "refusal",
    [(Fault.NOT_FOUND, Loss.NOT_FOUND), (Fault.UNAUTHORISED, Loss.UNAUTHORISED)],
)
@both_clients
def test_a_refusal_is_told_in_words(
    server: RtspServer,
    mount: Mount,
    watch: Watch,
    refusal: tuple[Fault, Loss],
    client: RtspClient,
) -> None:
    """A camera that never gave a picture is down since the start, with the camera's reason."""
    mount.set_fault(refusal[0])
    book, _ = watch(server.url("door"), client=client)
    book.wait(lambda b: bool(b.downs))
    assert book.downs[0].reason is refusal[1]
    assert "hunter2" not in str(book.downs)


@pytest.mark.parametrize(
    ("fault", "client"),
    [
        (Fault.STALL, RtspClient.VEDETTE),
        (Fault.SILENT, RtspClient.VEDETTE),
        (Fault.SILENT, RtspClient.FFMPEG),
    ],
)
def test_a_camera_that_goes_silent_in_mid_stream_is_lost_by_the_clients_own_limit(
    server: RtspServer, mount: Mount, watch: Watch, fault: Fault, client: RtspClient
) -> None:
    """The connection stays, pictures stop: after the read timeout the camera is down."""
    book, supervisor = watch(server.url("door"), client=client, limit_s=1.0)
    book.wait(lambda b: len(b.frames) >= 5)
    mount.set_fault(fault)
    book.wait(lambda b: bool(b.downs))
    assert book.downs[0].reason in (Loss.TIMEOUT, Loss.CLOSED)
    mount.set_fault(Fault.NONE)
    book.wait(lambda b: len(b.ups) >= 2)
    assert supervisor.status()[0].abandoned == 0


def test_a_new_resolution_in_mid_stream_is_a_new_segment(
    server: RtspServer, mount: Mount, watch: Watch
) -> None:
    """Frames carry their own size; a clip over the change holds one stream and says so."""
    book, _ = watch(server.url("door"))
    book.wait(lambda b: len(b.frames) >= 25)
    mount.show("dark")
    book.wait(lambda b: sum(f.width == 160 for f in b.frames) >= 10)
    first = next(frame for frame in book.frames if frame.width == 160)
    assert first.discontinuity
    assert first.picture.size == (160, 96)
    cut = book.ring.cut(first.t_s - 0.5, first.t_s + 0.3, first.t_s + 0.1)
    assert "format" in cut.shortfall
    assert remux(cut.packets).picture_px == (160, 96)
    assert not book.downs


def test_h265_is_seen_and_kept_and_a_camera_may_change_to_it(
    server: RtspServer, mount: Mount, watch: Watch
) -> None:
    """Another codec behind the same address: it reconnects, and clips of both can be made."""
    book, _ = watch(server.url("door"))
    book.wait(lambda b: len(b.frames) >= 10)
    mount.replace("hevc")
    book.wait(lambda b: sum(p.info.codec == "hevc" for p in b.packets) >= 30)
    book.wait(lambda b: b.ups[-1].codec == "hevc")
    mount.show("dark")  # H.264 in a stream announced as H.265: no picture, but no crash
    mount.replace("hevc")
    seen = len(book.frames)
    book.wait(lambda b: len(b.frames) > seen + 10)
    newest = book.ring.newest
    assert newest is not None
    cut = book.ring.cut(newest.t_s - 0.6, newest.t_s, newest.t_s)
    clip = remux(cut.packets)
    assert clip.codec == "hevc"
    assert clip.picture_px == (320, 180)
    assert not any(frame.picture.size != (320, 180) for frame in book.frames)


@both_clients
def test_pictures_that_were_reordered_come_in_the_order_of_time(
    server: RtspServer, clips: dict[str, Clip], watch: Watch, client: RtspClient
) -> None:
    """B-frames: frames' times rise, evenly, and a clip of the packets plays."""
    server.add("b", clips, "b")
    book, _ = watch(server.url("b"), client=client)
    book.wait(lambda b: len(b.frames) >= 80)
    times = [frame.t_s for frame in book.frames]
    assert times == sorted(set(times))
    steps = [later - earlier for earlier, later in pairwise(times[50:])]
    assert sorted(steps)[len(steps) // 2] == pytest.approx(0.05, abs=0.02)
    assert max(steps) < 0.12
    assert len({int(frame.picture.y.sum()) for frame in book.frames[40:80]}) > 30
    assert remux(book.ring.cut(times[40], times[-1], times[50]).packets).codec == "h264"


def test_lost_packets_cost_pictures_and_not_the_camera(
    server: RtspServer, mount: Mount, watch: Watch
) -> None:
    """RTP packets that never arrive: what cannot be decoded is dropped, the rest goes on."""
    book, supervisor = watch(server.url("door"))
    book.wait(lambda b: len(b.frames) >= 10)
    mount.set_fault(Fault.LOSS)
    seen = len(book.packets)
    book.wait(lambda b: len(b.packets) >= seen + 40)
    mount.set_fault(Fault.NONE)
    seen = len(book.frames)
    book.wait(lambda b: len(b.frames) >= seen + 30)
    assert not book.downs
    assert supervisor.status()[0].opened == 1


def test_a_group_of_ten_seconds_is_kept_whole(
    server: RtspServer, clips: dict[str, Clip], watch: Watch
) -> None:
    """One keyframe in a long while: capture joins at once and the clip begins before the event."""
    server.add("long", clips, "long")
    book, _ = watch(server.url("long"))
    book.wait(lambda b: len(b.frames) >= 30)
    at_s = book.frames[-1].t_s
    cut = book.ring.cut(at_s - 0.3, at_s, at_s)
    assert cut.packets[0].keyframe
    assert cut.shortfall == ""


def test_timestamps_that_jump_back_never_turn_the_timeline_back(
    server: RtspServer, mount: Mount, watch: Watch
) -> None:
    """A jump is a discontinuity; times still rise and the clip's still begin at zero."""
    book, _ = watch(server.url("door"))
    book.wait(lambda b: len(b.frames) >= 25)
    seen = len(book.frames)
    mount.jump_back(5.0)
    book.wait(lambda b: len(b.frames) >= seen + 30)
    assert any(frame.discontinuity for frame in book.frames[seen:])
    times = [frame.t_s for frame in book.frames]
    assert times == sorted(set(times))
    assert times[-1] - times[0] < len(times) / 20 + 3
    assert remux(book.ring.cut(times[2], times[-1], times[seen]).packets).codec == "h264"


def test_one_dead_camera_does_not_delay_another(
    server: RtspServer, mount: Mount, watch: Watch, tmp_path: Path
) -> None:
    """A camera whose server accepts and stays silent, beside one that works."""
    dead = server.add("dead", {"normal": mount.clip})
    dead.set_fault(Fault.SILENT)
    book, supervisor = watch(server.url("door"))
    supervisor.add(
        CaptureSettings(camera=CameraId("dead"), source=server.url("dead"), open_timeout_s=1.0)
    )
    supervisor.add(CaptureSettings(camera=CameraId("none"), source=str(tmp_path / "none.mp4")))
    book.wait(lambda b: len(b.frames) >= 40)
    book.wait(lambda b: {state.camera for state in b.downs} == {"dead", "none"})
    assert not any(state.camera == DOOR for state in book.downs)


def test_a_session_that_the_server_would_forget_is_kept_alive(
    clips: dict[str, Clip], watch: Watch
) -> None:
    """A server that drops whoever says nothing for a second: the pictures go on over two."""
    with RtspServer(SystemClock(), session_timeout_s=1.0) as server:
        server.add("door", clips)
        book, supervisor = watch(server.url("door"), client=RtspClient.VEDETTE)
        book.wait(lambda b: len(b.frames) >= 45)
        assert not book.downs
        assert supervisor.status()[0].opened == 1
