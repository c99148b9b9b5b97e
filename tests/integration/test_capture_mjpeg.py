"""Motion JPEG over HTTP from a real server: in health, in sickness and in bad faith."""

import logging
import random
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
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
from vedette.edge.capture.http import authorise
from vedette.edge.evidence.clip import remux
from vedette.edge.frame import Frame
from vedette.ids import CameraId
from vedette.sim.mjpeg import Fault, MjpegServer

DOOR = CameraId("door")


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

    def down(self) -> CameraDown:
        """Wait until it is down and return what was said."""
        self.wait(lambda b: any(isinstance(s, CameraDown) for s in b.said))
        return next(s for s in self.said if isinstance(s, CameraDown))


def jpeg(width: int = 96, height: int = 64, shade: int = 90) -> bytes:
    """Return a small picture."""
    picture = np.full((height, width, 3), shade, np.uint8)
    cv2.circle(picture, (width // 2, height // 2), 10, (20, 200, 240), -1)
    done, data = cv2.imencode(".jpg", picture)
    assert done
    return data.tobytes()


PICTURES = [jpeg(shade=40 + 10 * n) for n in range(8)]


@pytest.fixture
def camera() -> Iterator[MjpegServer]:
    """A camera that asks for a password."""
    with MjpegServer(SystemClock(), PICTURES, fps=40, users={"ann": "hunter2"}) as running:
        yield running


Watch = Callable[..., Notebook]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Start capture of an address; everything is stopped at the end.

    Only where a time limit is what the test is about is it short: on a busy machine even an
    answer in words takes its time.
    """
    running: list[CaptureSupervisor] = []

    def start(
        source: str, *, rotate_deg: int | None = None, open_s: float = 8.0, read_s: float = 8.0
    ) -> Notebook:
        book = Notebook()
        supervisor = CaptureSupervisor(book, SystemClock(), rng=random.Random(1))
        supervisor.add(
            CaptureSettings(
                camera=DOOR,
                source=source,
                rotate_deg=rotate_deg,
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


@pytest.mark.parametrize(
    "fault",
    [
        Fault.NONE,
        Fault.NO_LENGTH,
        Fault.DASHED,
        Fault.UNANNOUNCED,
        Fault.CHUNKED,
        Fault.TOO_LONG,
        Fault.MOVED,
    ],
)
def test_pictures_come_however_the_camera_reads_the_standard(
    camera: MjpegServer, watch: Watch, fault: Fault
) -> None:
    """Frames without a loss, a clip can be made of the packets, the password is not told."""
    camera.fault = fault
    book = watch(camera.url)
    book.wait(lambda b: len(b.frames) >= 10)
    assert {(f.width, f.height) for f in book.frames} == {(96, 64)}
    assert book.undecodable == 0
    assert all(packet.keyframe for packet in book.packets)
    assert remux(book.packets[:8]).codec == "mjpeg"
    assert "hunter2" not in str(book.said)
    assert not any(isinstance(state, CameraDown) for state in book.said)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.FORBIDDEN, Loss.FORBIDDEN),
        (Fault.NOT_FOUND, Loss.NOT_FOUND),
        (Fault.BROKEN, Loss.FAILED),
        (Fault.PAGE, Loss.NO_VIDEO),
        (Fault.SNAPSHOT, Loss.NO_VIDEO),
        (Fault.TO_FILE, Loss.MOVED),
        (Fault.TO_ITSELF, Loss.MOVED),
        (Fault.STALL, Loss.TIMEOUT),
        (Fault.DRIP, Loss.TIMEOUT),
        (Fault.ENDLESS, Loss.GARBAGE),
    ],
)
def test_what_is_no_camera_is_said_in_words_with_advice(
    camera: MjpegServer,
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    reason: Loss,
) -> None:
    """Each refusal, lie and silence has its own reason, within the time limit of opening."""
    camera.fault = fault
    limits = {"open_s": 0.7, "read_s": 0.35} if reason is Loss.TIMEOUT else {}
    with caplog.at_level(logging.DEBUG):
        book = watch(camera.url, **limits)
        down = book.down()
    assert down.reason is reason, down
    assert book.frames == []
    assert "hunter2" not in f"{book.said} {[vars(record) for record in caplog.records]}"


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_is_checked(
    certificate: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch, *, trusted: bool
) -> None:
    """One that nobody vouches for is refused before the password is sent; a known one is fine."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    users = {"ann": "hunter2"}
    with MjpegServer(SystemClock(), PICTURES, fps=40, users=users, tls=tls) as camera:
        book = watch(camera.url)
        if trusted:
            book.wait(lambda b: len(b.frames) > 3)
        else:
            assert book.down().reason is Loss.UNTRUSTED
            assert camera.requests == []


def test_a_wrong_password_is_refused_and_not_tried_for_ever(
    camera: MjpegServer, watch: Watch
) -> None:
    """One attempt with credentials per connection, then the reason."""
    book = watch(camera.url.replace("hunter2", "hunter3"))
    assert book.down().reason is Loss.UNAUTHORISED
    assert [given for _, given in camera.requests[:2]] == [False, True]


def test_a_redirect_to_another_address_does_not_get_the_password(watch: Watch) -> None:
    """The password belongs to the address that it was written for."""
    with (
        MjpegServer(SystemClock(), PICTURES, fps=40, users={"x": "y"}) as other,
        MjpegServer(SystemClock(), PICTURES, fps=40) as first,
    ):
        first.fault = Fault.MOVED
        first.moved_to = f"http://{other.address}/video.mjpg"
        book = watch(first.url.replace("http://", "http://ann:hunter2@"))
        assert book.down().reason is Loss.UNAUTHORISED
        assert other.requests
        assert not any(given for _, given in other.requests)


def test_a_camera_that_stalls_or_hangs_up_is_lost_and_comes_back(
    camera: MjpegServer, watch: Watch
) -> None:
    """Silent in mid-stream: down within its limit with the cause; then pictures again."""
    book = watch(camera.url, open_s=1.0, read_s=1.0)
    book.wait(lambda b: len(b.frames) > 3)
    camera.fault = Fault.STALL
    assert book.down().reason is Loss.TIMEOUT
    camera.fault = Fault.NONE
    before = len(book.frames)
    book.wait(lambda b: len(b.frames) > before + 3)
    camera.fault = Fault.HANG_UP
    book.wait(lambda b: any(getattr(s, "reason", None) is Loss.CLOSED for s in b.said))


def test_lies_in_mid_stream_cost_pictures_and_not_the_connection(
    camera: MjpegServer, watch: Watch
) -> None:
    """Lengths too small and parts that are no pictures are counted; what follows is seen."""
    book = watch(camera.url)
    book.wait(lambda b: len(b.frames) > 3)
    camera.fault = Fault.NOISE
    book.wait(lambda b: b.undecodable >= 2)
    camera.fault = Fault.TOO_SHORT
    book.wait(lambda b: len(b.packets) > 30)
    camera.fault = Fault.NONE
    before = len(book.frames)
    book.wait(lambda b: len(b.frames) > before + 5)
    assert not any(isinstance(state, CameraDown) for state in book.said)


def test_a_new_size_in_mid_stream_is_a_new_stream_for_clips(
    camera: MjpegServer, watch: Watch
) -> None:
    """Frames say that they do not continue, packets that they are of another stream."""
    book = watch(camera.url, rotate_deg=90)
    book.wait(lambda b: len(b.frames) > 3)
    camera.pictures = [jpeg(64, 48)]
    book.wait(lambda b: b.frames[-1].width == 48)
    first = next(frame for frame in book.frames if frame.width == 48)
    assert first.discontinuity
    assert {(p.info.width, p.info.rotation_deg) for p in book.packets} == {(96, 90), (64, 90)}


def test_digest_answers_as_in_the_standards_own_example() -> None:
    """RFC 7616 section 3.9.1, MD5 and SHA-256, but for the client's own nonce."""
    from urllib.parse import urlsplit

    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    parts = urlsplit("http://www.example.org/dir/index.html")
    with pytest.MonkeyPatch.context() as patch:
        nonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
        patch.setattr("vedette.edge.capture.login.secrets.token_hex", lambda _n: nonce)
        said = authorise(parts, ("Mufasa", "Circle of Life"), ['Basic realm="x"', challenge])
        assert said is not None
        wanted = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        assert f'response="{wanted}"' in said
        said = authorise(parts, ("Mufasa", "Circle of Life"), [challenge.replace("SHA-256", "MD5")])
        assert said is not None
        assert 'response="8ca523f5e9506fed4657c9700eebdbec"' in said
