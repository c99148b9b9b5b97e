"""A camera that sends motion JPEG over HTTP: real sockets, real time, faults on demand.

    with MjpegServer(SystemClock(), pictures) as camera:
        ... read camera.url ...
        camera.fault = Fault.LYING

One thread per connection. Who may see it is asked with Digest, as cameras do. Here lives what a
camera sends and how it misbehaves; nothing here reads motion JPEG.
"""

import contextlib
import enum
import http.server
import ssl
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final

from vedette.clock import Clock
from vedette.sim.rtsp_request import Gatekeeper, Request

BOUNDARY: Final = "vedetteframe"
_JOIN_S: Final = 5.0
_PIECE: Final = 1024


class Fault(enum.StrEnum):
    """How the camera misbehaves from the next picture or request on."""

    NONE = "none"
    NO_LENGTH = "no_length"  # parts without Content-Length
    DASHED = "dashed"  # the boundary is announced with its dashes, as many cameras do
    UNANNOUNCED = "unannounced"  # no boundary in the Content-Type
    TOO_SHORT = "too_short"  # lengths smaller than the pictures
    TOO_LONG = "too_long"  # lengths far larger than the pictures
    CHUNKED = "chunked"  # transfer coding of HTTP/1.1
    ENDLESS = "endless"  # one part that never ends
    DRIP = "drip"  # a byte now and then
    STALL = "stall"  # answers, then nothing
    HANG_UP = "hang_up"  # closes in the middle of a picture
    NOISE = "noise"  # parts that are no pictures
    PAGE = "page"  # a web page
    SNAPSHOT = "snapshot"  # a single picture
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    BROKEN = "broken"  # 500
    TO_FILE = "to_file"  # redirects to file:///etc/hostname
    TO_ITSELF = "to_itself"  # redirects for ever
    MOVED = "moved"  # redirects once, to a place that works


_REFUSALS: Final = {Fault.FORBIDDEN: 403, Fault.NOT_FOUND: 404, Fault.BROKEN: 500}


class MjpegServer:
    """One camera on a port of its own. Thread: any."""

    def __init__(
        self,
        clock: Clock,
        pictures: Sequence[bytes],
        *,
        fps: float = 20.0,
        users: Mapping[str, str] | None = None,
        auth: str = "digest",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.clock = clock
        self.pictures = list(pictures)
        self.period_s = 1 / fps
        self.gatekeeper = Gatekeeper(users or {}, scheme=auth)
        self.fault = Fault.NONE
        self.moved_to = "/moved/video.mjpg"
        self.requests: list[tuple[str, bool]] = []  # path, and whether credentials came along
        self.stopping = threading.Event()
        self._users = dict(users or {})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._scheme = "https" if tls else "http"
        if tls:
            # The handshake is done in the connection's own thread, at its first read.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> "MjpegServer":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_JOIN_S)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Its address, with credentials where it asks for them."""
        user = next(iter(self._users.items()), None)
        login = f"{user[0]}:{user[1]}@" if user else ""
        return f"{self._scheme}://{login}{self.address}/video.mjpg?channel=1"

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                """Answer, and play until the client leaves."""
                with contextlib.suppress(OSError):  # the client went away, as clients do
                    _Showing(camera, self).answer()
                self.close_connection = True

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Say nothing."""

        return Handler


class _Showing:
    """One request and its answer. Thread: its own."""

    def __init__(self, camera: MjpegServer, handler: http.server.BaseHTTPRequestHandler) -> None:
        self._camera = camera
        self._to = handler
        self._chunked = False

    def answer(self) -> None:
        camera, to, fault = self._camera, self._to, self._camera.fault
        headers = {name.lower(): value for name, value in to.headers.items()}
        camera.requests.append((to.path, "authorization" in headers))
        if fault in _REFUSALS:
            return self._head(_REFUSALS[fault], {"Content-Length": "0"})
        if fault in (Fault.TO_FILE, Fault.TO_ITSELF) or (
            fault is Fault.MOVED and not to.path.startswith("/moved")
        ):
            target = {Fault.TO_FILE: "file:///etc/hostname", Fault.MOVED: camera.moved_to}
            where = target.get(fault, to.path)
            return self._head(302, {"Location": where, "Content-Length": "0"})
        request = Request(to.command, to.path, "HTTP/1.1", headers)
        if not camera.gatekeeper.admits(request):
            return self._head(401, {**camera.gatekeeper.challenge(), "Content-Length": "0"})
        if fault is Fault.PAGE:
            return self._head(200, {"Content-Type": "text/html"})
        if fault is Fault.SNAPSHOT:
            self._head(200, {"Content-Type": "image/jpeg"})
            to.wfile.write(camera.pictures[0])
            return None
        return self._play(fault)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self._to.send_response(status)
        for name, value in headers.items():
            self._to.send_header(name, value)
        self._to.end_headers()

    def _play(self, fault: Fault) -> None:
        camera = self._camera
        self._chunked = fault is Fault.CHUNKED
        boundary = {Fault.DASHED: f"; boundary=--{BOUNDARY}", Fault.UNANNOUNCED: ""}
        kind = "multipart/x-mixed-replace" + boundary.get(fault, f"; boundary={BOUNDARY}")
        headers = {"Content-Type": kind, "Cache-Control": "no-cache"}
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        self._head(200, headers)
        number = 0
        while not camera.clock.wait(camera.stopping, camera.period_s):
            self._part(camera.pictures[number % len(camera.pictures)], camera.fault)
            number += 1
            if camera.fault is Fault.HANG_UP and number > 3:
                return

    def _part(self, picture: bytes, fault: Fault) -> None:
        if fault is Fault.STALL:
            return
        if fault is Fault.DRIP:
            self._send(b"-")
            return
        if fault is Fault.NOISE:
            picture = b"\xff\xd8" + bytes(range(256)) * 8
        lengths = {Fault.TOO_SHORT: len(picture) // 2, Fault.TOO_LONG: len(picture) + 100_000}
        lines = [f"--{BOUNDARY}", "Content-Type: image/jpeg"]
        if fault not in (Fault.NO_LENGTH, Fault.ENDLESS):
            lines.append(f"Content-Length: {lengths.get(fault, len(picture))}")
        self._send(("\r\n".join(lines) + "\r\n\r\n").encode())
        if fault is Fault.HANG_UP:
            picture = picture[: len(picture) // 2]
        if fault is Fault.ENDLESS:
            block = picture.replace(b"\xff\xd9", b"") * 200
            while not self._camera.stopping.is_set():
                self._send(block)
        self._send(picture + b"\r\n")

    def _send(self, data: bytes) -> None:
        if not self._chunked:
            self._to.wfile.write(data)
            return
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            self._to.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
