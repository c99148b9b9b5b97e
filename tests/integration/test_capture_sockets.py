"""RTSP addresses behind which there is no camera: raw sockets that misbehave."""

import random
import socket
import threading
from collections.abc import Callable, Iterator

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
from vedette.edge.frame import Frame
from vedette.ids import CameraId


class Ear:
    """A sink that only listens for states."""

    def __init__(self) -> None:
        self.downs: list[CameraDown] = []
        self._changed = threading.Condition()

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """None will come."""

    def on_frame(self, frame: Frame) -> None:
        """None will come."""

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """None will come."""

    def on_state(self, state: CameraSays) -> None:
        """Keep it."""
        with self._changed:
            assert isinstance(state, CameraDown)
            self.downs.append(state)
            self._changed.notify_all()

    def first(self) -> CameraDown:
        """Return the first time it went down."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.downs), 30.0)
            return self.downs[0]


class Listener:
    """A port that treats whoever connects as told. Everything ends with the test."""

    def __init__(self, treat: Callable[[socket.socket], None]) -> None:
        self._treat = treat
        self._server = socket.create_server(("127.0.0.1", 0))
        self._guests: list[socket.socket] = []
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                guest, _ = self._server.accept()
            except OSError:
                return
            self._guests.append(guest)
            try:
                self._treat(guest)
            except OSError:
                continue

    def stop(self) -> None:
        """Close everything."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for guest in self._guests:
            guest.close()
        self._thread.join(10)


def silent(guest: socket.socket) -> None:
    """Accept and never say a word."""
    del guest


def vanish(guest: socket.socket) -> None:
    """Take the first request and hang up."""
    guest.recv(4096)
    guest.close()


def garbage(guest: socket.socket) -> None:
    """Answer with noise."""
    guest.sendall(random.Random(1).randbytes(20_000))


def web(guest: socket.socket) -> None:
    """Answer as a web server does."""
    guest.recv(4096)
    guest.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    guest.close()


def forbid(guest: socket.socket) -> None:
    """Refuse in the protocol's own words."""
    guest.recv(4096)
    guest.sendall(b"RTSP/1.0 403 Forbidden\r\nCSeq: 1\r\n\r\n")


def redirect(guest: socket.socket) -> None:
    """Send the client to a file of its own machine."""
    guest.recv(4096)
    guest.sendall(b"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: file:///etc/hostname\r\n\r\n")
    guest.close()


Listen = Callable[[Callable[[socket.socket], None]], Listener]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Open a port; it is closed at the end."""
    opened: list[Listener] = []

    def start(treat: Callable[[socket.socket], None]) -> Listener:
        opened.append(Listener(treat))
        return opened[-1]

    yield start
    for listener in opened:
        listener.stop()


@pytest.fixture
def watch() -> Iterator[Callable[..., Ear]]:
    """Point a camera at a port; it is stopped at the end."""
    running: list[CaptureSupervisor] = []

    def start(port: int, limit_s: float = 8.0) -> Ear:
        ear = Ear()
        supervisor = CaptureSupervisor(ear, SystemClock(), rng=random.Random(2))
        source = f"rtsp://ann:hunter2@127.0.0.1:{port}/door"
        supervisor.add(
            CaptureSettings(
                camera=CameraId("door"),
                source=source,
                open_timeout_s=limit_s,
                read_timeout_s=limit_s,
            )
        )
        supervisor.start()
        running.append(supervisor)
        return ear

    yield start
    for supervisor in running:
        supervisor.stop()


@pytest.mark.parametrize(
    ("treat", "reasons"),
    [
        (silent, {Loss.TIMEOUT}),
        (vanish, {Loss.CLOSED, Loss.GARBAGE, Loss.UNREACHABLE, Loss.FAILED}),
        (garbage, {Loss.GARBAGE}),
        (web, {Loss.GARBAGE, Loss.CLOSED, Loss.FAILED, Loss.UNREACHABLE}),
        (forbid, {Loss.FORBIDDEN}),
        (redirect, {Loss.MOVED}),
    ],
)
def test_what_is_no_camera_is_said_in_words_without_the_password(
    listen: Listen,
    watch: Callable[..., Ear],
    caplog: pytest.LogCaptureFixture,
    treat: Callable[[socket.socket], None],
    reasons: set[Loss],
) -> None:
    """A reason for people, nothing secret in states or logs."""
    down = watch(listen(treat).port, 1.0 if treat is silent else 8.0).first()
    assert down.reason in reasons
    told = f"{down} {[vars(record) for record in caplog.records]}"
    assert "hunter2" not in told


def test_a_port_that_nobody_listens_on_is_refused(watch: Callable[..., Ear]) -> None:
    """The plainest failure of all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert watch(port).first().reason is Loss.REFUSED
