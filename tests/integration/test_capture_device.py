"""Cameras of this machine: what can be shown without one. FFmpeg's test picture stands for it."""

import errno
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vedette.clock import SystemClock
from vedette.edge.address import DeviceAddress, device_address
from vedette.edge.capture import CameraDown, CaptureSettings, CaptureSupervisor, Loss, SourceLost
from vedette.edge.capture import device as devices
from vedette.edge.capture.source import DeviceSource, make_source
from vedette.edge.frame import Frame
from vedette.ids import CameraId

DESK = CameraId("desk")


class Notebook:
    """A sink that keeps frames and states, and counts packets."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.downs: list[CameraDown] = []
        self.packets = 0
        self.changed = threading.Condition()

    def on_packet(self, camera: CameraId, packet: object) -> None:
        """Count it."""
        del camera, packet
        self.packets += 1

    def on_frame(self, frame: Frame) -> None:
        """Keep it."""
        with self.changed:
            self.frames.append(frame)
            self.changed.notify_all()

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Nobody asks."""

    def on_state(self, state: object) -> None:
        """Keep it where the camera is down."""
        if isinstance(state, CameraDown):
            with self.changed:
                self.downs.append(state)
                self.changed.notify_all()


@pytest.fixture
def book() -> Iterator[Notebook]:
    """Capture of FFmpeg's test picture, ten pictures long, by the way of a device."""
    seen = Notebook()
    source = DeviceSource(
        DeviceAddress("testsrc=size=160x120:rate=20:duration=0.5"),
        2.0,
        1.0,
        driver="lavfi",
        check=lambda _path: None,
    )
    supervisor = CaptureSupervisor(
        seen, SystemClock(), make=lambda *_: source, rng=random.Random(1)
    )
    supervisor.add(CaptureSettings(camera=DESK, source="/dev/video0"))
    supervisor.start()
    yield seen
    supervisor.stop()


def test_raw_pictures_of_a_device_are_seen_converted_and_not_kept(book: Notebook) -> None:
    """They come as RGB and leave as I420; the end is a loss, and it is opened again."""
    with book.changed:
        assert book.changed.wait_for(lambda: len(book.frames) > 12 and book.downs, 10.0)
    assert {frame.picture.size for frame in book.frames} == {(160, 120)}
    assert book.downs[0].reason is Loss.CLOSED
    assert book.packets == 0


def test_what_the_driver_is_asked_for_goes_to_ffmpeg_and_nothing_else() -> None:
    """Three options, by FFmpeg's names."""
    asked = devices.options(device_address("/dev/video0?size=1280x720&fps=15&format=mjpeg"))
    assert asked == {"video_size": "1280x720", "framerate": "15", "input_format": "mjpeg"}
    assert devices.options(device_address("/dev/video0")) == {}


def test_a_device_that_is_not_there_or_none_is_said(tmp_path: Path) -> None:
    """Not plugged in; a file; a pipe; another kind of device: each before FFmpeg is asked."""
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path / "video7", Loss.NO_FILE),
        (tmp_path / "file", Loss.NO_VIDEO),
        (tmp_path / "pipe", Loss.NO_VIDEO),
        (Path("/dev/null"), Loss.NO_VIDEO),
    ):
        with pytest.raises(SourceLost) as lost:
            devices.check(path)
        assert lost.value.reason is reason
        assert lost.value.operator_hint


def test_a_real_character_device_that_is_no_camera_is_refused_in_words() -> None:
    """FFmpeg's V4L2 itself is asked, and its error becomes a reason; nothing hangs."""
    source = DeviceSource(DeviceAddress("/dev/null"), 2.0, 1.0, check=lambda _path: None)
    with pytest.raises(SourceLost) as lost:
        source.open()
    assert lost.value.reason in (Loss.FAILED, Loss.GARBAGE)
    assert "null" in str(lost.value)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOENT, Loss.NO_FILE),
        (errno.EACCES, Loss.DENIED),
        (errno.EBUSY, Loss.BUSY),
        (errno.ENODEV, Loss.CLOSED),
        (errno.EINVAL, Loss.FAILED),
        (errno.ETIMEDOUT, Loss.TIMEOUT),
        (errno.EXDEV, Loss.FAILED),
    ],
)
def test_each_refusal_of_a_driver_has_a_reason_and_advice(number: int, reason: Loss) -> None:
    """Busy, unplugged, not allowed, not able."""
    lost = devices.refused(OSError(number, os.strerror(number)), Path("/dev/video0"))
    assert lost.reason is reason
    assert lost.operator_hint


def test_the_settings_choose_the_device() -> None:
    """An address of a device becomes a source of one."""
    source = make_source(CaptureSettings(camera=DESK, source="/dev/video0"), SystemClock())
    assert isinstance(source, DeviceSource)
    assert source.live
