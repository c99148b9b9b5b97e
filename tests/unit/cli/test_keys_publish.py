"""Sending a repository to central: more parts than central takes at once."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from vedette.cli.keys_publish import Central
from vedette.clock import ManualClock
from vedette.errors import CentralUnreachable

SHA = "ab" * 32


class Strict(HTTPServer):
    """Takes a file in parts; every other request it refuses, or hangs up on."""

    def __init__(self, clock: ManualClock, *, is_dead: bool) -> None:
        """Listen on loopback."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.clock, self.is_dead = clock, is_dead
        self.come, self.asked = 0, 0
        self.refused_ns: int | None = None
        self.pauses_s: list[float] = []


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Strict

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer how much came."""
        self._answer(b"")

    def do_PUT(self) -> None:
        """Take a part."""
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        house = self.server
        house.asked += 1
        if house.refused_ns is not None:
            house.pauses_s.append((house.clock.mono_ns() - house.refused_ns) / 1e9)
            house.refused_ns = None
        if house.is_dead or house.asked % 2:
            house.refused_ns = house.clock.mono_ns()
            if house.is_dead or house.asked % 4 == 1:
                self.close_connection = True
                return  # the line is closed without a word
            self._send(429, {"title": "Too often"})
            return
        if body:
            said = json.loads(body)
            assert said["begin"] == house.come
            house.come = min(said["total"], house.come + 256 * 1024)
        self._send(200, {"bytes": house.come, "whole": house.come >= 600_000})

    def _send(self, status: int, said: dict[str, object]) -> None:
        data = json.dumps(said).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "7")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def strict(clock: ManualClock, *, is_dead: bool = False) -> Iterator[Strict]:
    """Have one that listens."""
    with Strict(clock, is_dead=is_dead) as house:
        thread = threading.Thread(target=house.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield house
        finally:
            house.shutdown()
            thread.join(10)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three parts of a file."""
    (tmp_path / "file").write_bytes(b"p" * 600_000)
    return tmp_path / "file"


def test_a_file_of_more_parts_than_central_takes_at_once_arrives(file: Path) -> None:
    """Refused or hung up on, it waits, as long as it is asked to, and goes on."""
    clock = ManualClock()
    with strict(clock) as house:
        url = f"http://127.0.0.1:{house.server_port}"
        Central(url, "token", clock).send("app/x/1.vapp", SHA, 600_000, file)
        assert house.come == 600_000
        assert house.pauses_s == [1.0, 7.0, 1.0, 7.0]


def test_a_central_that_never_answers_is_given_up(file: Path) -> None:
    """After a minute and a half, with what to do."""
    clock = ManualClock()
    with strict(clock, is_dead=True) as house:
        url = f"http://127.0.0.1:{house.server_port}"
        with pytest.raises(CentralUnreachable) as refused:
            Central(url, "token", clock).send("app/x/1.vapp", SHA, 600_000, file)
        assert "run the command again" in (refused.value.operator_hint or "")
        assert house.pauses_s == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
