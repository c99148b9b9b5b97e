"""The proxy hands bytes on exactly, and a cut is a cut."""

import socket
import threading
from collections.abc import Iterator

import pytest

from vedette.sim.netcut import Link, NetCut, Weather


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(50)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    def answer(client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(65536):
                    client.sendall(data)
            except OSError:
                return

    worker = threading.Thread(target=serve, daemon=True)
    worker.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    worker.join(5)


@pytest.fixture
def proxy(echo: int) -> Iterator[NetCut]:
    """A proxy before the echo server."""
    with NetCut(echo) as running:
        yield running


def _connect(proxy: NetCut) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=20)


def _exactly(client: socket.socket, count: int) -> bytes:
    out = b""
    while len(out) < count:
        part = client.recv(count - len(out))
        if not part:
            raise ConnectionResetError
        out += part
    return out


def _round_trip(client: socket.socket, data: bytes) -> None:
    with client:
        client.sendall(data)
        assert _exactly(client, len(data)) == data


def test_a_megabyte_passes_unchanged(proxy: NetCut) -> None:
    """Both ways, in order, and half-close is handed on."""
    sent = bytes(range(256)) * 4096
    with _connect(proxy) as client:
        writer = threading.Thread(
            target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR))
        )
        writer.start()
        got = b""
        while part := client.recv(65536):
            got += part
        writer.join(5)
    assert got == sent
    assert proxy.passed_bytes == 2 * len(sent)


def test_a_cut_resets_what_is_open_and_what_comes(proxy: NetCut) -> None:
    """No byte passes a cut link; a mended one works for new connections."""
    with _connect(proxy) as client:
        client.sendall(b"one")
        assert _exactly(client, 3) == b"one"
        proxy.set_link(Link.CUT)
        with pytest.raises(OSError):
            _round_trip(client, b"two")
    with pytest.raises(OSError):
        _round_trip(_connect(proxy), b"three")
    proxy.set_link(Link.UP)
    with _connect(proxy) as client:
        client.sendall(b"four")
        assert _exactly(client, 4) == b"four"


def test_a_black_hole_answers_nothing_and_gives_it_all_back_when_mended(proxy: NetCut) -> None:
    """Bytes sent into it arrive later, complete."""
    with _connect(proxy) as client:
        client.sendall(b"a")
        _exactly(client, 1)
        proxy.set_link(Link.BLACKHOLE)
        client.sendall(b"held")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(20)
        proxy.set_link(Link.UP)
        assert _exactly(client, 4) == b"held"


def test_a_dead_server_is_a_reset(proxy: NetCut, echo: int) -> None:
    """A proxy to nobody lets the caller see it at once."""
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with NetCut(port) as dead, _connect(dead) as client, pytest.raises(OSError):
        _round_trip(client, b"x")


def test_bad_weather_changes_no_byte(proxy: NetCut) -> None:
    """Delay and throttle slow the link and keep its order."""
    proxy.set_weather(Weather(delay_s=0.01, bytes_per_s=2_000_000))
    sent = bytes(range(256)) * 256
    with _connect(proxy) as client:
        client.sendall(sent)
        assert _exactly(client, len(sent)) == sent
