"""A corpus of strange and hostile files, made here by code: each is read, or refused in words."""

import random
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import FFmpegError

from vedette.clock import SystemClock
from vedette.edge.capture import (
    CameraDown,
    CameraSays,
    CaptureSettings,
    CaptureSupervisor,
    EncodedPacket,
    Pace,
    SourceEnded,
)
from vedette.edge.capture.still import MAX_PIXELS
from vedette.edge.evidence.clip import remux
from vedette.edge.frame import Frame
from vedette.ids import CameraId

FILE = CameraId("file")


class Notebook:
    """A sink that writes everything down and can be waited on."""

    def __init__(self) -> None:
        self.packets: list[EncodedPacket] = []
        self.frames: list[Frame] = []
        self.said: list[CameraSays] = []
        self.undecodable = 0
        self._changed = threading.Condition()

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """Keep it."""
        del camera
        self.packets.append(packet)

    def on_frame(self, frame: Frame) -> None:
        """Keep it."""
        self.frames.append(frame)

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Count it."""
        del camera
        self.undecodable += count

    def on_state(self, state: CameraSays) -> None:
        """Keep it."""
        with self._changed:
            self.said.append(state)
            self._changed.notify_all()

    def verdict(self) -> CameraDown | SourceEnded:
        """Wait for the end or the failure and return it."""
        with self._changed:
            ends = CameraDown | SourceEnded
            assert self._changed.wait_for(lambda: any(isinstance(s, ends) for s in self.said), 20)
        return next(s for s in self.said if isinstance(s, ends))


Read = Callable[..., Notebook]


@pytest.fixture
def read() -> Iterator[Read]:
    """Read a file to its end or failure, as fast as possible."""
    running: list[CaptureSupervisor] = []

    def start(path: Path, *, rotate_deg: int | None = None) -> Notebook:
        book = Notebook()
        supervisor = CaptureSupervisor(book, SystemClock(), rng=random.Random(1))
        supervisor.add(
            CaptureSettings(
                camera=FILE,
                source=str(path),
                rotate_deg=rotate_deg,
                pace=Pace.AS_FAST_AS_POSSIBLE,
            )
        )
        supervisor.start()
        running.append(supervisor)
        book.verdict()
        return book

    yield start
    for supervisor in running:
        supervisor.stop()


def film(
    path: Path,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (96, 64),
    pixels: str = "yuv420p",
    times: list[int] | None = None,
    turn: int = 0,
) -> Path:
    """Write a short film: a bright block walks over grey; `times` in thousandths of a second."""
    times = times if times is not None else [100 * n for n in range(10)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = 5
        if codec == "libx264":
            stream.options = {"preset": "ultrafast"}
        if codec == "libx265":
            stream.options = {"preset": "ultrafast", "x265-params": "log-level=none"}
        if turn:
            stream.set_display_rotation(turn)
        for number, at in enumerate(times):
            picture = np.full((size[1], size[0], 3), 90, np.uint8)
            at_px = number * 4 % max(1, size[0] // 2)
            picture[: size[1] // 2, at_px : at_px + 8] = 230
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("codec", "size", "pixels"),
    [
        ("libx264", (16, 16), "yuv420p"),
        ("mjpeg", (33, 17), "yuvj420p"),
        ("libx264", (35, 19), "yuv444p"),
        ("libx264", (96, 64), "yuv420p10le"),
        ("libx265", (96, 64), "yuv420p10le"),
        ("libx264", (96, 64), "gray"),
        ("png", (30, 20), "rgb24"),
    ],
)
def test_sizes_and_formats_that_cameras_do_not_have_are_seen(
    tmp_path: Path, read: Read, codec: str, size: tuple[int, int], pixels: str
) -> None:
    """Every picture comes as 8-bit I420 of its own size, its grey still grey."""
    book = read(
        film(
            tmp_path / ("a.avi" if codec == "png" else "a.mkv"),
            codec=codec,
            size=size,
            pixels=pixels,
        )
    )
    assert len(book.frames) == 10, book.said
    assert book.undecodable == 0
    for frame in book.frames:
        assert frame.picture.size == size == (frame.width, frame.height)
        assert abs(int(frame.picture.u[-1, -1]) - 128) < 8
        assert 70 < int(frame.picture.y[-1, -1]) < 120


def test_an_8k_picture_is_seen(tmp_path: Path, read: Read) -> None:
    """The largest that cameras send; what declares more is refused (`test_capture_files`)."""
    size = (7680, 4320)
    assert size[0] * size[1] <= MAX_PIXELS
    book = read(film(tmp_path / "8k.mkv", codec="mjpeg", size=size, pixels="yuvj420p", times=[0]))
    assert book.frames[0].picture.size == size


@pytest.mark.parametrize(("stated", "clockwise"), [(90, 270), (180, 180), (-90, 90)])
def test_a_films_display_matrix_is_followed_and_told_to_the_clip(
    tmp_path: Path, read: Read, stated: int, clockwise: int
) -> None:
    """Frames are turned; packets are not, but say by how much; `rotate: 0` overrules it."""
    path = film(tmp_path / "turned.mp4", turn=stated)
    book = read(path)
    size = (96, 64) if clockwise == 180 else (64, 96)
    assert {frame.picture.size for frame in book.frames} == {size}
    assert {packet.info.rotation_deg for packet in book.packets} == {clockwise}
    assert remux(book.packets).picture_px == (96, 64)
    plain = read(path, rotate_deg=0)
    assert {frame.picture.size for frame in plain.frames} == {(96, 64)}
    assert {packet.info.rotation_deg for packet in plain.packets} == {0}


def test_a_frame_rate_that_varies_is_kept_as_it_is(tmp_path: Path, read: Read) -> None:
    """Nothing is derived from an announced rate."""
    times = [0, 40, 80, 500, 540, 1200, 1210, 1300, 2000]
    book = read(film(tmp_path / "varies.mkv", times=times))
    seen = [frame.t_s - book.frames[0].t_s for frame in book.frames]
    assert np.allclose(seen, np.array(times) / 1000, atol=0.002)


def test_a_stream_that_changes_size_codec_and_time_in_the_middle_is_read_on(
    tmp_path: Path, read: Read
) -> None:
    """Transport streams put behind each other, as recorders do: time only rises."""
    one = film(tmp_path / "a.ts").read_bytes()
    larger = film(tmp_path / "b.ts", size=(128, 96)).read_bytes()
    other = film(tmp_path / "c.ts", codec="libx265").read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(one + larger + one)
    book = read(path)
    sizes = [frame.picture.size for frame in book.frames]
    assert {(96, 64), (128, 96)} <= set(sizes)
    first = sizes.index((128, 96))
    assert book.frames[first].discontinuity
    times = [frame.t_s for frame in book.frames]
    assert times == sorted(set(times))
    assert times[-1] - times[0] < 10
    path.write_bytes(one + other + one)
    mixed = read(path)
    assert len(mixed.frames) >= 10
    assert all(frame.picture.size == (frame.width, frame.height) for frame in mixed.frames)


def test_sei_messages_full_of_garbage_change_nothing(tmp_path: Path, read: Read) -> None:
    """Random bytes in every message kind before each picture: all pictures come."""
    rng = random.Random(5)
    plain = film(tmp_path / "plain.h264").read_bytes()
    out = b""
    for unit in plain.split(b"\x00\x00\x00\x01")[1:]:
        for _ in range(3):
            body = rng.randbytes(rng.randrange(1, 300)).replace(b"\x00\x00", b"\x00\x03")
            out += b"\x00\x00\x00\x01\x06" + bytes((rng.randrange(256),)) + body
        out += b"\x00\x00\x00\x01" + unit
    (tmp_path / "sei.h264").write_bytes(out)
    book = read(tmp_path / "sei.h264")
    assert len(book.frames) >= 9


@pytest.mark.parametrize("name", ["cut.mkv", "cut.ts", "cut.avi"])
def test_films_cut_off_anywhere_end_or_are_refused(tmp_path: Path, read: Read, name: str) -> None:
    """Twelve places each: never a crash, a hang or a picture of another size."""
    whole = film(tmp_path / f"whole-{name}").read_bytes()
    rng = random.Random(9)
    for _ in range(12):
        (tmp_path / name).write_bytes(whole[: rng.randrange(len(whole))])
        book = read(tmp_path / name)
        assert all(frame.picture.size == (96, 64) for frame in book.frames)
        assert book.frames or isinstance(book.verdict(), CameraDown)


def test_packets_of_a_hostile_stream_cannot_make_a_clip_fail_otherwise_than_in_words(
    tmp_path: Path, read: Read
) -> None:
    """Damaged transport streams still give packets: a clip is made of them, or refused."""
    from vedette.errors import EvidenceError

    data = bytearray(film(tmp_path / "whole.ts").read_bytes())
    rng = random.Random(4)
    for _ in range(60):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    (tmp_path / "bad.ts").write_bytes(data)
    book = read(tmp_path / "bad.ts")
    try:
        made = remux(book.packets)
    except EvidenceError:
        return
    except FFmpegError as leak:
        pytest.fail(f"FFmpeg's own error came through: {leak}")
    assert made.data
