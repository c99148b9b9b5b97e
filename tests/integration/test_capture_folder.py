"""Folders of pictures: from first to last, or live as they fall in; and what is in the way."""

import os
import random
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from vedette.clock import ManualClock, SystemClock
from vedette.edge.capture import (
    CameraDown,
    CameraSays,
    CaptureSettings,
    CaptureSupervisor,
    EncodedPacket,
    Loss,
    Pace,
    SourceEnded,
)
from vedette.edge.capture.folder import MAX_PICTURE_BYTES, WatchedSource, order
from vedette.edge.frame import Frame
from vedette.ids import CameraId

SHELF = CameraId("shelf")


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
        with self._changed:
            self.packets.append(packet)
            self._changed.notify_all()

    def on_frame(self, frame: Frame) -> None:
        """Keep it."""
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Count it."""
        del camera
        with self._changed:
            self.undecodable += count
            self._changed.notify_all()

    def on_state(self, state: CameraSays) -> None:
        """Keep it."""
        with self._changed:
            self.said.append(state)
            self._changed.notify_all()

    def wait(self, until: Callable[["Notebook"], bool]) -> None:
        """Return once `until` holds; fail where it never does."""
        with self._changed:
            if not self._changed.wait_for(lambda: until(self), 20.0):
                pytest.fail(f"never came: {len(self.frames)} frames, said {self.said}")

    def verdict(self) -> CameraDown | SourceEnded:
        """Wait for the end or the failure and return it."""
        self.wait(lambda b: any(isinstance(s, CameraDown | SourceEnded) for s in b.said))
        return next(s for s in self.said if isinstance(s, CameraDown | SourceEnded))


Read = Callable[..., Notebook]


@pytest.fixture
def read() -> Iterator[Read]:
    """Start capture of a source as fast as possible; everything is stopped at the end."""
    running: list[CaptureSupervisor] = []

    def start(source: str | Path, *, rotate_deg: int | None = None) -> Notebook:
        book = Notebook()
        supervisor = CaptureSupervisor(book, SystemClock(), rng=random.Random(1))
        supervisor.add(
            CaptureSettings(
                camera=SHELF,
                source=str(source),
                max_fps=5.0,
                rotate_deg=rotate_deg,
                pace=Pace.AS_FAST_AS_POSSIBLE,
            )
        )
        supervisor.start()
        running.append(supervisor)
        return book

    yield start
    for supervisor in running:
        supervisor.stop()


def picture(ending: str, width: int = 64, height: int = 48, shade: int = 100) -> bytes:
    """Return an encoded picture: dark, with a bright upper left corner."""
    pixels = np.full((height, width, 3), shade, np.uint8)
    pixels[: height // 4, : width // 4] = 250
    done, data = cv2.imencode(ending, pixels)
    assert done
    return data.tobytes()


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    """Return the JPEG with an EXIF orientation put behind its first marker."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 1) + entry + bytes(4)
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def corner(frame: Frame) -> str:
    """Return which corner of the picture is bright."""
    y = frame.picture.y
    h, w = y.shape
    parts = {
        "upper left": y[: h // 4, : w // 4],
        "upper right": y[: h // 4, -w // 4 :],
        "lower left": y[-h // 4 :, : w // 4],
        "lower right": y[-h // 4 :, -w // 4 :],
    }
    return max(parts, key=lambda name: float(parts[name].mean()))


def test_pictures_of_every_format_come_in_order(tmp_path: Path, read: Read) -> None:
    """Names sort as people count; each codec has its own decoder; then a clean end."""
    names = ["2.jpg", "10.PNG", "1.webp", "3.bmp", "11.tiff"]
    for name in names:
        shade = 20 * int(Path(name).stem) % 200
        (tmp_path / name).write_bytes(picture(Path(name).suffix.lower(), shade=shade))
    (tmp_path / "labels.txt").write_text("no picture")
    (tmp_path / ".4.jpg").write_bytes(b"hidden")
    book = read(tmp_path)
    end = book.verdict()
    assert isinstance(end, SourceEnded)
    assert end.complete
    codecs = [packet.info.codec for packet in book.packets]
    assert codecs == ["webp", "mjpeg", "bmp", "png", "tiff"]
    assert len(book.frames) == 5
    assert book.undecodable == 0
    steps = np.diff([frame.t_s for frame in book.frames])
    assert np.allclose(steps, 0.2, atol=1e-3)
    shades = [int(frame.picture.y[-1, -1]) for frame in book.frames]
    assert shades[0] < shades[1] < shades[2]


def test_broken_huge_and_strange_files_are_counted_and_passed_over(
    tmp_path: Path, read: Read
) -> None:
    """None of them ends the folder, hangs it or takes memory."""
    whole = picture(".jpg")
    (tmp_path / "0.jpg").write_bytes(whole)
    (tmp_path / "1.jpg").write_bytes(b"")
    (tmp_path / "2.jpg").write_bytes(b"This is no picture.")
    at = whole.index(b"\xff\xc0") + 5
    (tmp_path / "3.jpg").write_bytes(whole[:at] + b"\xff\xdc\xff\xdc" + whole[at + 4 :])
    with (tmp_path / "4.jpg").open("wb") as file:
        file.truncate(MAX_PICTURE_BYTES + 1)
    os.mkfifo(tmp_path / "5.jpg")
    (tmp_path / "6.jpg").mkdir()
    (tmp_path / "7.jpg").symlink_to(tmp_path / "nowhere")
    png = picture(".png")
    (tmp_path / "8.png").write_bytes(png[:16] + b"\x00\x01\x00\x00" * 2 + png[24:])
    (tmp_path / "9.jpg").write_bytes(whole)
    book = read(tmp_path)
    end = book.verdict()
    assert isinstance(end, SourceEnded)
    assert len(book.frames) == 2
    assert book.undecodable == 8


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), Loss.NO_VIDEO),
        (lambda path: None, Loss.NO_FILE),
    ],
)
def test_a_folder_without_pictures_is_said(
    tmp_path: Path, read: Read, make: Callable[[Path], None], reason: Loss
) -> None:
    """Down with the reason, not an end as if everything had been seen."""
    make(tmp_path / "in")
    verdict = read(tmp_path / "in").verdict()
    assert isinstance(verdict, CameraDown)
    assert verdict.reason is reason


def test_a_watched_folder_gives_what_falls_in_and_not_the_past(tmp_path: Path, read: Read) -> None:
    """What was there is not taken; what is being written is waited for; broken ones count."""
    (tmp_path / "old.jpg").write_bytes(picture(".jpg", 32, 32))
    book = read(f"watch:{tmp_path}")
    whole = picture(".jpg")
    while not book.frames:  # the folder is read for the first time at some moment of this loop
        number = len(list(tmp_path.iterdir()))
        (tmp_path / f"new-{number}.jpg").write_bytes(whole)
        threading.Event().wait(0.1)
    assert {(frame.width, frame.height) for frame in book.frames} == {(64, 48)}
    with (tmp_path / "slow.png").open("wb") as file:
        data = picture(".png", 80, 60)
        file.write(data[:40])
        file.flush()
        before = len(book.packets)
        (tmp_path / "zz.jpg").write_bytes(whole)
        book.wait(lambda b: len(b.packets) > before)
        file.write(data[40:])
    book.wait(lambda b: any(frame.width == 80 for frame in b.frames) or b.undecodable > 0)
    (tmp_path / "zzz.jpg").write_bytes(b"\xff\xd8 broken")
    book.wait(lambda b: b.undecodable > 0)
    assert not any(isinstance(state, CameraDown) for state in book.said)


def test_a_watched_folder_that_goes_is_down_with_its_reason(tmp_path: Path, read: Read) -> None:
    """A disk that was unmounted looks like this."""
    folder = tmp_path / "in"
    folder.mkdir()
    book = read(f"watch:{folder}")
    folder.rmdir()
    verdict = book.verdict()
    assert isinstance(verdict, CameraDown)
    assert verdict.reason is Loss.NO_FILE


@pytest.mark.parametrize(
    ("orientation", "where", "size"),
    [
        (1, "upper left", (64, 48)),
        (3, "lower right", (64, 48)),
        (6, "upper right", (48, 64)),
        (8, "lower left", (48, 64)),
    ],
)
def test_exif_orientation_is_applied_by_itself_and_overruled_by_settings(
    tmp_path: Path, read: Read, orientation: int, where: str, size: tuple[int, int]
) -> None:
    """`rotate: auto` turns as the picture says; 0 leaves it."""
    (tmp_path / "1.jpg").write_bytes(with_exif(picture(".jpg"), orientation))
    book = read(tmp_path)
    book.verdict()
    (frame,) = book.frames
    assert (frame.width, frame.height) == frame.picture.size == size
    assert corner(frame) == where
    plain = read(tmp_path, rotate_deg=0)
    plain.verdict()
    assert corner(plain.frames[0]) == "upper left"


@pytest.mark.parametrize(
    ("turn", "where"), [(90, "upper right"), (180, "lower right"), (270, "lower left")]
)
def test_any_source_can_be_turned_and_odd_sizes_too(
    tmp_path: Path, read: Read, turn: int, where: str
) -> None:
    """Clockwise; sizes are those after turning; chroma turns with luma."""
    pixels = np.full((47, 63, 3), 90, np.uint8)
    pixels[:12, :16] = (0, 0, 255)
    done, data = cv2.imencode(".png", pixels)
    assert done
    (tmp_path / "1.png").write_bytes(data.tobytes())
    book = read(tmp_path, rotate_deg=turn)
    book.verdict()
    (frame,) = book.frames
    assert frame.picture.size == (frame.width, frame.height)
    assert frame.width == (63 if turn == 180 else 47)
    bgr = frame.picture.to_bgr()
    assert bgr.shape[:2] == (frame.height, frame.width)
    red = np.argwhere(bgr[..., 2].astype(int) - bgr[..., 0] > 80)
    middle = red.mean(axis=0) / bgr.shape[:2]
    wanted = {"upper right": (0, 1), "lower right": (1, 1), "lower left": (1, 0)}[where]
    assert np.abs(middle - wanted).max() < 0.25


def test_names_sort_as_people_count() -> None:
    """Numbers by value, the rest by text, whatever is mixed."""
    names = ["a10.jpg", "a9.jpg", "a.jpg", "10.jpg", "2.jpg", "b1-20.jpg", "b1-3.jpg"]
    wanted = ["2.jpg", "10.jpg", "a.jpg", "a9.jpg", "a10.jpg", "b1-3.jpg", "b1-20.jpg"]
    assert sorted(names, key=order) == wanted


def test_pictures_that_fall_within_one_step_of_the_folders_clock_are_all_seen(
    tmp_path: Path,
) -> None:
    """Some file systems tell a folder's time in steps of two seconds: it may not seem to change."""
    stream = WatchedSource(tmp_path, ManualClock()).open()
    packets = stream.packets()
    (tmp_path / "1.jpg").write_bytes(picture(".jpg"))
    step = tmp_path.stat()
    assert any(next(packets).size for _ in range(10))
    (tmp_path / "2.jpg").write_bytes(picture(".jpg"))
    os.utime(tmp_path, ns=(step.st_atime_ns, step.st_mtime_ns))
    assert any(next(packets).size for _ in range(10))
