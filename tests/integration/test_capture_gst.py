"""A GStreamer pipeline as a camera: pictures, ends, mistakes, hangs and what is left behind."""

import os
import random
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vedette.clock import SystemClock
from vedette.edge.capture import (
    CameraDown,
    CameraSays,
    CaptureSettings,
    CaptureSupervisor,
    EncodedPacket,
    Loss,
)
from vedette.edge.capture.gst import TOOL, command, judge
from vedette.edge.frame import Frame
from vedette.ids import CameraId
from vedette.sim import footage

DOOR = CameraId("door")


def _has(element: str) -> bool:
    tool = shutil.which("gst-inspect-1.0")
    return tool is not None and (
        subprocess.run([tool, "--exists", element], check=False, timeout=30).returncode == 0
    )


needs_gstreamer = pytest.mark.skipif(
    shutil.which(TOOL) is None or not _has("avdec_h264") or not _has("matroskamux"),
    reason="GStreamer is not installed (Debian: gstreamer1.0-tools, -plugins-good, -libav)",
)


class Notebook:
    """A sink that writes everything down and can be waited on."""

    def __init__(self) -> None:
        self.packets: list[EncodedPacket] = []
        self.frames: list[Frame] = []
        self.said: list[CameraSays] = []
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
        """Nobody asks."""

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

    def down(self) -> CameraDown:
        """Wait until it is down and return what was said."""
        self.wait(lambda b: any(isinstance(s, CameraDown) for s in b.said))
        return next(s for s in self.said if isinstance(s, CameraDown))


Watch = Callable[..., Notebook]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Start capture of a pipeline; everything is stopped at the end."""
    running: list[CaptureSupervisor] = []

    def start(pipeline: str, *, open_s: float = 8.0, read_s: float = 2.0) -> Notebook:
        book = Notebook()
        supervisor = CaptureSupervisor(book, SystemClock(), rng=random.Random(1))
        supervisor.add(
            CaptureSettings(
                camera=DOOR,
                source=f"gst:{pipeline}",
                open_timeout_s=open_s,
                read_timeout_s=read_s,
            )
        )
        supervisor.start()
        running.append(supervisor)
        return book

    yield start
    for supervisor in running:
        supervisor.stop()


@needs_gstreamer
def test_a_file_decoded_by_gstreamer_is_seen_at_its_own_pace(tmp_path: Path, watch: Watch) -> None:
    """Every picture comes, turned into I420, at its own times; then the end, as a camera's."""
    path = tmp_path / "a street.mp4"
    footage.render(path, seconds=1.5, fps=20)
    book = watch(f"filesrc location='{path}' ! qtdemux ! h264parse ! avdec_h264")
    down = book.down()
    assert down.reason is Loss.CLOSED, down
    assert 25 <= len(book.frames) <= 30
    assert {(f.width, f.height) for f in book.frames} == {(320, 180)}
    assert all(frame.is_direct for frame in book.frames)
    spread_s = book.frames[-1].t_s - book.frames[5].t_s
    assert 0.8 < spread_s < 1.6
    assert book.packets == []  # raw pictures are not kept for clips
    assert len({int(frame.picture.y.sum()) for frame in book.frames}) > 10


@needs_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "reason", "words"),
    [
        ("nosuchelement", Loss.FAILED, "nosuchelement"),
        ("videotestsrc bogus=1", Loss.FAILED, "bogus"),
        ("filesrc location=/nonexistent/x ! decodebin", Loss.NO_FILE, ""),
        ("videotestsrc num-buffers=0", Loss.CLOSED, ""),
        ("audiotestsrc num-buffers=5", Loss.FAILED, "link"),
    ],
)
def test_a_mistake_in_the_pipeline_is_said_in_words(
    watch: Watch, pipeline: str, reason: Loss, words: str
) -> None:
    """The process's last words are translated; the camera is down, with advice."""
    down = watch(pipeline).down()
    assert down.reason is reason, down
    assert words in down.detail


@needs_gstreamer
def test_what_gstreamer_says_holds_no_password_of_the_pipeline(watch: Watch) -> None:
    """GStreamer repeats a value that it cannot set; neither it nor the name shows it."""
    book = watch("videotestsrc name=cam pattern=password-hunter2 user-pw=hunter2 ! identity")
    down = book.down()
    assert "hunter2" not in f"{book.said}"
    assert "user-pw" in down.detail or "pattern" in down.detail


def test_a_pipeline_that_hangs_is_given_up_and_its_process_is_gone(watch: Watch) -> None:
    """Pictures stop: down with the reason, the process killed, another one tried."""
    name = f"v{os.getpid()}"  # other runs of this test may be under way
    stuck = f"videotestsrc is-live=true num-buffers=10 ! valve name={name} drop=true"
    down = watch(stuck, open_s=0.7).down()
    assert down.reason is Loss.TIMEOUT
    tool = shutil.which("pgrep")
    if tool is None:
        pytest.skip("pgrep is not installed")
    alive = [tool, "-f", f"valve name={name} drop=true"]
    found = subprocess.run(alive, check=False, capture_output=True, timeout=10).stdout.split()
    assert len(found) <= 1  # the present attempt at most


_OWNER = """
import sys
from vedette.edge.capture.gst import Running
running = Running("videotestsrc is-live=true ! valve drop=true".split(), 5.0)
print(running.pid, flush=True)
sys.stdin.read()
"""


@needs_gstreamer
def test_a_killed_owner_takes_its_pipeline_along() -> None:
    """SIGKILL to the pipeline process leaves no GStreamer behind, though it writes nothing."""
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        ended = os.pidfd_open(pid)
        try:
            owner.kill()
            assert select.select([ended], [], [], 10.0)[0], "the pipeline lives on"
        finally:
            os.close(ended)


def test_arguments_are_passed_as_they_are_and_never_through_a_shell() -> None:
    """What looks like a shell's is an argument."""
    argv = command("/usr/bin/gst-launch-1.0", ["filesrc", "location=$(reboot)", "!", "x"], 7)
    assert "location=$(reboot)" in argv
    assert argv[argv.index("fdsink") + 1] == "fd=7"
    assert not any(" " in word for word in argv)


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (0, [], Loss.CLOSED),
        (1, [], Loss.FAILED),
        (-11, [], Loss.FAILED),
        (1, ["ERROR: from element /a/b: Unauthorized"], Loss.UNAUTHORISED),
        (1, ["ERROR: from element /a/b: Could not open", "Device is busy"], Loss.BUSY),
        (1, ["ERROR: from element x: Internal", "streaming stopped, reason not-negotiated (-4)"],
         Loss.GARBAGE),
    ],
)  # fmt: skip
def test_the_end_of_the_process_has_a_meaning(status: int, said: list[str], reason: Loss) -> None:
    """Exit status and last words become one of the reasons that people know."""
    lost = judge(status, said)
    assert lost.reason is reason
    assert "/a/b" not in str(lost)
