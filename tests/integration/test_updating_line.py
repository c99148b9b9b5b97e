"""Files of the repository over a real connection: in parts, resumed, and never more than asked."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.unit.edge.updating_kit import CENTRAL, IDENTITY, FreeLine
from vedette.clock import ManualClock, SystemClock
from vedette.edge.central_client import CentralClient
from vedette.edge.settings import CentralLink
from vedette.edge.updating import download
from vedette.edge.updating.download import Download, Wanted
from vedette.errors import CentralUnreachable, HashMismatch
from vedette.trust.tuf.refusals import NotThere

DATA = bytes(range(256)) * 800
PATH = "targets/models/a b.vbundle"


class Central(BaseHTTPRequestHandler):
    """Gives tokens to anybody, and one file, as its `mood` says."""

    protocol_version = "HTTP/1.1"
    mood = "good"
    tokens = 0
    ranges: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Give a nonce or a token."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        Central.tokens += self.path == "/v1/token"
        said = {"nonce": "n", "expires_in_s": 60.0}
        if self.path == "/v1/token":
            said = {"access_token": f"t{Central.tokens}", "expires_in": 600, "token_type": "Bearer"}
        self._send(200, json.dumps(said).encode())

    def do_GET(self) -> None:
        """Give a part, or what a bad central gives."""
        if self.path != "/tuf/targets/models/a%20b.vbundle":
            return self._send(404, b"{}")
        if Central.mood == "old-token" and self.headers["Authorization"] == "Bearer t1":
            return self._send(401, b"{}")
        if Central.mood == "busy":
            Central.mood = "good"
            return self._send(429, b"{}", {"Retry-After": "7"})
        if Central.mood == "whole":
            return self._send(200, DATA)
        asked = self.headers["Range"]
        Central.ranges.append(asked)
        start, end = (int(n) for n in asked.removeprefix("bytes=").split("-"))
        part = DATA[start : end + 1]
        if Central.mood == "endless":
            part += b"more" * 100_000
        if Central.mood == "cut":
            Central.mood = "good"
            self._send(206, part, {"Content-Range": f"bytes {start}-{end}/{len(DATA)}"}, cut=50_000)
            return None
        return self._send(206, part, {"Content-Range": f"bytes {start}-{end}/{len(DATA)}"})

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = cut is not None

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - theirs
        """Say nothing."""
        del format, args


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Central)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client(url: str) -> Iterator[CentralClient]:
    """Return this device's way to it; central is good again."""
    Central.mood, Central.tokens, Central.ranges = "good", 0, []
    made = CentralClient(CentralLink(url=url), SystemClock(), identity=IDENTITY, key=CENTRAL)
    yield made
    made.close()


def bring(client: CentralClient, folder: Path, clock: ManualClock, sha256: str = "") -> Path:
    """Download the file in parts of 64 kB."""
    wanted = Wanted(PATH, sha256 or hashlib.sha256(DATA).hexdigest(), len(DATA))

    def fetch(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        return client.part("/tuf/" + path, offset, max_bytes)

    going = Download(wanted, folder, fetch, Slices(), clock=clock, stop=threading.Event())
    return going.run()


class Slices(FreeLine):
    """A line that takes 64 kB at a time."""

    def take(self, most: int) -> int:
        """Take a slice."""
        return min(most, 65_536)


def test_a_file_comes_in_parts_and_whole(client: CentralClient, tmp_path: Path) -> None:
    """Every part is asked for by its range."""
    assert bring(client, tmp_path, ManualClock()).read_bytes() == DATA
    assert Central.ranges[:2] == ["bytes=0-65535", "bytes=65536-131071"]
    assert len(Central.ranges) == 4


def test_a_connection_that_breaks_is_resumed(client: CentralClient, tmp_path: Path) -> None:
    """What came before the break is not asked for again."""
    Central.mood = "cut"
    with pytest.raises(CentralUnreachable):
        bring(client, tmp_path, ManualClock())
    Central.ranges.clear()
    assert bring(client, tmp_path, ManualClock()).read_bytes() == DATA
    assert 0 < int(Central.ranges[0].removeprefix("bytes=").partition("-")[0]) <= 50_000


def test_endless_data_is_cut_and_its_connection_closed(
    client: CentralClient, tmp_path: Path
) -> None:
    """More than was asked for is never read; the file is right all the same."""
    Central.mood = "endless"
    assert bring(client, tmp_path, ManualClock()).read_bytes() == DATA


def test_a_central_that_sends_the_whole_again_is_not_believed(
    client: CentralClient, tmp_path: Path
) -> None:
    """A part that is none would be put in the wrong place."""
    part = tmp_path / download.PARTS / hashlib.sha256(DATA).hexdigest()
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA[:100])
    Central.mood = "whole"
    with pytest.raises(CentralUnreachable, match="from byte 100"):
        bring(client, tmp_path, ManualClock())
    assert part.read_bytes() == DATA[:100]


def test_a_busy_central_is_waited_for(client: CentralClient, tmp_path: Path) -> None:
    """As long as it says, and then the download goes on."""
    Central.mood, clock = "busy", ManualClock()
    before_ns = clock.mono_ns()
    assert bring(client, tmp_path, clock).read_bytes() == DATA
    assert clock.mono_ns() - before_ns == 7 * 10**9


def test_a_token_that_is_not_good_any_more_is_renewed(
    client: CentralClient, tmp_path: Path
) -> None:
    """Once; the download notices nothing."""
    Central.mood = "old-token"
    assert bring(client, tmp_path, ManualClock()).read_bytes() == DATA
    assert Central.tokens == 2


def test_a_file_that_is_not_there_is_said(client: CentralClient) -> None:
    """As the repository's client expects it."""
    with pytest.raises(NotThere):
        list(client.part("/tuf/targets/models/gone", 0, 10))


def test_a_part_on_the_disk_that_was_spoiled_is_discarded(
    client: CentralClient, tmp_path: Path
) -> None:
    """A power cut may leave zeros where bytes were; the hash finds it, and it begins anew."""
    part = tmp_path / download.PARTS / hashlib.sha256(DATA).hexdigest()
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1000))
    with pytest.raises(HashMismatch):
        bring(client, tmp_path, ManualClock())
    assert bring(client, tmp_path, ManualClock()).read_bytes() == DATA
