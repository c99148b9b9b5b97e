"""Attacks on the commissioning page by whoever is in the site's network, over real sockets."""

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.unit.edge.conftest import make_frame
from vedette.clock import ManualClock, SystemClock
from vedette.edge.commission import CommissionRecord
from vedette.edge.commission.page import hurry, serve
from vedette.edge.commission.page.desk import IDLE_S, Abandoned, WebDesk
from vedette.edge.commission.page.floor import Floor
from vedette.edge.frame import Frame
from vedette.edge.settings import Camera, EdgeConfig
from vedette.errors import StreamLost

GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Where a page answers that is as impatient as a test."""
    monkeypatch.setattr(hurry.Hurried, "request_s", 0.4)

    def take(camera: Camera, *_: object) -> None:
        raise StreamLost(f"camera {camera.id}: no pictures")

    config = EdgeConfig(state_dir=tmp_path, models_dir=tmp_path, cameras=[Camera(id="door")])
    floor = Floor(config, SystemClock(), take, clear=False)
    stop, told = threading.Event(), threading.Event()
    found: list[str] = []

    def tell(address: str, pin: str) -> None:
        found[:] = [address, pin]
        told.set()

    thread = threading.Thread(
        target=serve.serve,
        args=(floor, SystemClock(), stop),
        kwargs={"device": "box", "listen": ("127.0.0.1", 0), "told": tell},
    )
    thread.start()
    assert told.wait(20)
    yield "127.0.0.1", int(found[0].rstrip("/").rpartition(":")[2])
    stop.set()
    thread.join(20)


def _closed(one: socket.socket) -> bool:
    """True once the other end has closed this connection."""
    one.settimeout(20)
    with contextlib.suppress(ConnectionResetError):
        while one.recv(4096):
            pass
    return True


@pytest.mark.parametrize(
    "begun",
    [b"", GET, GET.replace(b"GET /", b"POST /pin") + b"Content-Length: 4000\r\n\r\npin="],
    ids=["silent", "half a head", "half a body"],
)
def test_silent_connections_do_not_keep_the_installer_out(
    page: tuple[str, int], begun: bytes
) -> None:
    """As many as the page takes at once, from many addresses: they are closed and it answers."""
    held: list[socket.socket] = []
    try:
        for number in range(hurry.AT_ONCE + 8):
            one = socket.create_connection(page, 20, (f"127.0.1.{1 + number // 4}", 0))
            one.sendall(begun)
            held.append(one)
        assert all(_closed(one) for one in held)
        assert httpx.get(f"http://127.0.0.1:{page[1]}/", timeout=20).status_code == 200
    finally:
        for one in held:
            one.close()


def test_one_address_leaves_room_for_others(page: tuple[str, int]) -> None:
    """While somebody holds all connections that they can get, another phone is answered."""
    held: list[socket.socket] = []
    try:
        for _ in range(hurry.AT_ONCE):
            one = socket.create_connection(page, 20, ("127.0.2.2", 0))
            held.append(one)
        assert _closed(held[-1])
        transport = httpx.HTTPTransport(local_address="127.0.2.3")
        with httpx.Client(transport=transport, timeout=20) as phone:
            assert phone.get(f"http://127.0.0.1:{page[1]}/").status_code == 200
    finally:
        for one in held:
            one.close()


def test_a_connection_in_use_is_kept(page: tuple[str, int]) -> None:
    """One request after the other, for longer than a silent connection lives, on one socket."""
    with socket.create_connection(page, 20) as one:
        one.settimeout(20)
        clock = SystemClock()
        end_ns = clock.mono_ns() + 1_200_000_000
        while clock.mono_ns() < end_ns:
            one.sendall(GET.replace(b"GET /", b"GET /favicon.ico") + b"\r\n")
            assert one.recv(4096).startswith(b"HTTP/1.1 204")


def test_a_lens_that_nobody_turns_any_more_ends_the_session() -> None:
    """Pictures that go on for ever do not: who left during that step blocks no other camera."""
    clock = ManualClock()
    desk = WebDesk(clock, Camera(id="door"), clear=False)
    grey = np.full((16, 16, 3), 90, np.uint8)

    def pictures() -> Iterator[tuple[Frame, str]]:
        for number in itertools.count():
            clock.advance(60)
            assert number < IDLE_S, "it goes on for ever"
            yield make_frame(clock, grey, 0.0, number), "sharpness 80 %"

    with pytest.raises(Abandoned):
        desk.follow(pictures())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_that_nobody_foresaw_is_told_and_frees_the_page(tmp_path: Path) -> None:
    """The next camera can be begun, and the list says that the last one broke off."""

    def take(*_: object) -> CommissionRecord:
        raise ArithmeticError("nobody foresaw this")

    config = EdgeConfig(state_dir=tmp_path, models_dir=tmp_path, cameras=[Camera(id="door")])
    floor = Floor(config, ManualClock(), take, clear=False)
    assert floor.start("door", "Ann")
    floor.stop()
    assert floor.desk is None
    assert floor.failed is not None
    assert floor.failed.camera == "door"
    assert floor.start("door", "Ann")
    floor.stop()
