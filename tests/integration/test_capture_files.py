"""Capture of files: whole ones, and everything that pretends to be one."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vedette.clock import SystemClock
from vedette.edge.capture import (
    CameraDown,
    CameraSays,
    CaptureSettings,
    CaptureSupervisor,
    Decode,
    EncodedPacket,
    Loss,
    Pace,
    SourceEnded,
)
from vedette.edge.frame import Frame, planes
from vedette.ids import CameraId
from vedette.sim import footage

FILE = CameraId("file")
FLIPS = 60


class Notebook:
    """A sink that writes everything down and can be waited on."""

    def __init__(self) -> None:
        self.packets: list[EncodedPacket] = []
        self.frames: list[Frame] = []
        self.said: list[CameraSays] = []
        self.undecodable = 0
        self.slow = threading.Semaphore(1_000_000)
        self._changed = threading.Condition()

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """Keep it."""
        del camera
        self.packets.append(packet)

    def on_frame(self, frame: Frame) -> None:
        """Keep it once there is room."""
        self.slow.acquire()
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Count it."""
        del camera
        self.undecodable += count

    def on_state(self, state: CameraSays) -> None:
        """Keep it."""
        with self._changed:
            self.said.append(state)
            self._changed.notify_all()

    def wait(self, until: Callable[["Notebook"], bool]) -> None:
        """Return once `until` holds; fail where it never does."""
        with self._changed:
            assert self._changed.wait_for(lambda: until(self), 20.0), self.said

    def verdict(self) -> CameraDown | SourceEnded:
        """Wait for the end or the failure and return it."""
        self.wait(lambda b: any(isinstance(s, CameraDown | SourceEnded) for s in b.said))
        return next(s for s in self.said if isinstance(s, CameraDown | SourceEnded))


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a rendered street at 10 fps."""
    path = tmp_path_factory.mktemp("clips") / "street.mp4"
    footage.render(path, seconds=2.0, fps=10)
    return path


Read = Callable[..., tuple[Notebook, CaptureSupervisor]]


@pytest.fixture
def read() -> Iterator[Read]:
    """Read a file as fast as possible; everything is stopped at the end."""
    running: list[CaptureSupervisor] = []

    def start(
        path: Path,
        *,
        max_fps: float | None = None,
        loop: bool = False,
        pace: Pace = Pace.AS_FAST_AS_POSSIBLE,
        decode: Decode = Decode.ALL,
    ) -> tuple[Notebook, CaptureSupervisor]:
        book = Notebook()
        supervisor = CaptureSupervisor(book, SystemClock(), rng=random.Random(1))
        running.append(supervisor)
        supervisor.add(
            CaptureSettings(
                camera=FILE, source=str(path), max_fps=max_fps, loop=loop, pace=pace, decode=decode
            )
        )
        supervisor.start()
        return book, supervisor

    yield start
    for supervisor in running:
        supervisor.stop()


def test_a_file_is_read_to_its_end_without_a_loss(street: Path, read: Read) -> None:
    """Every picture comes, then a clean end; nothing is down."""
    book, supervisor = read(street)
    end = book.verdict()
    assert isinstance(end, SourceEnded)
    assert end.complete
    assert end.frames == len(book.frames) == len(book.packets) == 20
    assert supervisor.has_ended
    seconds = (book.frames[-1].captured_at - book.frames[0].captured_at).total_seconds()
    assert seconds == pytest.approx(1.9, abs=0.01)


def test_a_slow_pipeline_holds_the_file_back_and_loses_nothing(street: Path) -> None:
    """Room for one frame at a time: reading waits, and is not taken for a camera that hangs."""
    book = Notebook()
    book.slow = threading.Semaphore(3)
    supervisor = CaptureSupervisor(book, SystemClock())
    supervisor.add(CaptureSettings(camera=FILE, source=str(street), pace=Pace.AS_FAST_AS_POSSIBLE))
    supervisor.start()
    book.wait(lambda b: len(b.frames) == 3)
    supervisor.check()
    assert len(book.packets) < 10
    book.slow.release(100)
    book.verdict()
    assert [frame.number for frame in book.frames] == list(range(20))
    supervisor.stop()


def test_max_fps_thins_by_the_files_own_time(street: Path, read: Read) -> None:
    """Five of ten frames a second, however fast the file is read; all packets stay."""
    book, _ = read(street, max_fps=5.0)
    book.verdict()
    assert len(book.frames) == 10
    assert len(book.packets) == 20


def test_keyframes_only_decodes_only_keyframes(street: Path, read: Read) -> None:
    """Two groups in two seconds: two pictures, all packets for the ring."""
    book, _ = read(street, decode=Decode.KEYFRAMES)
    book.verdict()
    assert [frame.keyframe for frame in book.frames] == [True, True]
    assert len(book.packets) == 20


def test_a_looping_file_goes_on_with_rising_time(street: Path, read: Read) -> None:
    """Three runs: one timeline, a discontinuity at each seam, the same stream for the ring."""
    book, _ = read(street, loop=True)
    book.wait(lambda b: len(b.frames) >= 60)
    times = [frame.t_s for frame in book.frames[:60]]
    assert times == sorted(set(times))
    assert [n for n in range(60) if book.frames[n].discontinuity] == [0, 20, 40]
    assert len({packet.info for packet in book.packets}) == 1
    dts = [packet.dts_s for packet in book.packets]
    assert dts == sorted(set(dts))


@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "yuv444p", "gray", "rgb24", "nv12"])
@pytest.mark.parametrize("size", [(64, 48), (67, 35), (1, 1)])
def test_planes_of_any_format_and_odd_sizes(form: str, size: tuple[int, int]) -> None:
    """The picture has the frame's size, and grey stays grey."""
    width, height = size
    video = av.VideoFrame(width, height, "gray8" if form == "gray" else form)
    for plane in video.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    picture = planes(video)
    assert picture.size == size
    assert picture.u.shape == ((height + 1) // 2, (width + 1) // 2)
    assert abs(int(picture.y[0, 0]) - 128) <= 20
    assert picture.full_range == (form == "yuvj420p")
    assert not picture.y.flags.writeable


def test_planes_outlive_the_decoders_frame(street: Path) -> None:
    """The picture holds the memory that it looks at."""
    with av.open(str(street)) as container:
        video = next(container.decode(video=0))
        expected = video.to_ndarray()[: video.height].copy()
        picture = planes(video)
        del video
    assert np.array_equal(picture.y, expected)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("This is no video.\n" * 500)


def _noise(path: Path) -> None:
    path.write_bytes(random.Random(3).randbytes(200_000))


def _audio(path: Path) -> None:
    with av.open(str(path), "w", format="mov") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame("s16", "mono", 1024)
        frame.sample_rate = 8000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))


def _folder(path: Path) -> None:
    path.mkdir()


def _nothing(path: Path) -> None:
    del path


def _huge(path: Path) -> None:
    """Pictures that declare 65,500 x 65,500 pixels: 6 GB each, if anybody believed it."""
    done, jpeg = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))
    assert done
    data = jpeg.tobytes()
    at = data.index(b"\xff\xc0") + 5  # SOF0: length, precision, then height and width
    path.write_bytes((data[:at] + b"\xff\xdc\xff\xdc" + data[at + 4 :]) * 20)


@pytest.mark.parametrize(
    ("make", "reasons"),
    [
        (_nothing, {Loss.NO_FILE}),
        (_folder, {Loss.NO_VIDEO}),
        (_empty, {Loss.GARBAGE}),
        (_text, {Loss.GARBAGE}),
        (_noise, {Loss.GARBAGE, Loss.UNDECODABLE, Loss.NO_VIDEO}),
        (_audio, {Loss.NO_VIDEO}),
        (_huge, {Loss.GARBAGE, Loss.UNDECODABLE, Loss.NO_VIDEO, Loss.FAILED}),
    ],
)
def test_what_is_no_video_is_said_in_words(
    tmp_path: Path, read: Read, make: Callable[[Path], None], reasons: set[Loss]
) -> None:
    """Down with a reason, never a crash and never an end as if it had been read."""
    path = tmp_path / "clip.mp4"
    make(path)
    book, _ = read(path)
    verdict = book.verdict()
    assert isinstance(verdict, CameraDown)
    assert verdict.reason in reasons
    assert book.frames == []


def test_a_playlist_in_disguise_fetches_nothing(tmp_path: Path, read: Read) -> None:
    """A file that is really a list of addresses must not make the device connect anywhere."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        address = f"http://127.0.0.1:{trap.getsockname()[1]}/x.ts"
        for name, text in (
            ("a.mp4", f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n"),
            ("b.mp4", f"ffconcat version 1.0\nfile {address}\n"),
        ):
            (tmp_path / name).write_text(text)
            book, _ = read(tmp_path / name)
            verdict = book.verdict()
            assert isinstance(verdict, CameraDown)
            assert verdict.reason is Loss.GARBAGE
        with pytest.raises(BlockingIOError):
            trap.accept()


def _annexb(street: Path, target: Path) -> None:
    with av.open(str(street)) as source, av.open(str(target), "w", format="h264") as out:
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)


@pytest.mark.parametrize("kind", ["mp4", "h264"])
def test_damaged_files_never_crash_or_hang(
    tmp_path: Path, street: Path, read: Read, kind: str
) -> None:
    """Cut off, bits flipped, bytes missing: each file ends or is down, within seconds."""
    whole = street
    if kind == "h264":
        whole = tmp_path / "whole.h264"
        _annexb(street, whole)
    raw = whole.read_bytes()
    undecodable = 0
    for seed in range(FLIPS):
        path = tmp_path / f"{seed}.{kind}"
        path.write_bytes(_damaged(raw, random.Random(seed)))
        book, supervisor = read(path)
        verdict = book.verdict()
        supervisor.stop()
        assert not isinstance(verdict, SourceEnded) or book.frames
        undecodable += book.undecodable
        for frame in book.frames:
            assert frame.picture.size == (frame.width, frame.height)
    assert undecodable > 0


def _damaged(raw: bytes, rng: random.Random) -> bytes:
    data = bytearray(raw)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    elif rng.random() < 0.3:
        start = rng.randrange(len(data))
        del data[start : start + rng.randrange(2000)]
    for _ in range(rng.choice([1, 3, 20, 200]) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def test_a_file_at_a_cameras_pace_is_received_when_it_is_due(street: Path, read: Read) -> None:
    """What waited for its time was not there before: latency must not count the waiting."""
    book, _ = read(street, pace=Pace.REAL_TIME)
    book.wait(lambda b: len(b.frames) >= 8)
    early_s = [frame.t_s - frame.captured_mono_ns / 1e9 for frame in book.frames[1:8]]
    assert max(early_s) <= 0.001
