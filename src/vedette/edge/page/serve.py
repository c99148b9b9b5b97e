"""The small HTTP server of the device's page and metrics: `GET /`, `GET /metrics`, nothing else.

It lives in the agent, so it is the standard library's, with few threads, short timeouts and no
bodies. A browser's page elsewhere must not read it through a name of its own (DNS rebinding):
requests must name an address, `localhost` or this machine.
"""

import http.server
import ipaddress
import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Final

from vedette.clock import Clock, wall_ms
from vedette.edge.page import html
from vedette.edge.page.metrics import Exposition
from vedette.edge.settings import EdgeConfig, LocalMetrics
from vedette.wire.messages import HealthReport

_LOG = logging.getLogger(__name__)

AT_ONCE: Final = 8
READ_S: Final = 5.0
MAX_HEADERS: Final = 40


class LocalPage:
    """The server and what it shows. Thread: `take` any; it serves in threads of its own.

    Attributes:
        port: The one it listens on; None where the address could not be had.
        problem: Why it does not listen, in words.
    """

    def __init__(
        self, config: EdgeConfig, clock: Clock, who: Callable[[], tuple[str, str]]
    ) -> None:
        """Listen.

        Args:
            config: Its `local_metrics` says where; its cameras have names.
            clock: For ages.
            who: Returns (device, site); empty where not enrolled.
        """
        self._config: Final = config
        self._clock: Final = clock
        self._who: Final = who
        self._exposition: Final = Exposition()
        self._report: HealthReport | None = None
        self.port: int | None = None
        self.problem = ""
        self._server = self._listen(config.local_metrics)

    def take(self, report: HealthReport) -> None:
        """Show this report; each must come once."""
        self._exposition.take(report)
        self._report = report

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def page(self) -> bytes:
        """Return the page as it is now."""
        device, site = self._who()
        return html.page(
            self._report,
            device=device,
            site=site,
            now_ms=wall_ms(self._clock.now_at()),
            has_central=self._config.central is not None,
            names={camera.id: camera.name for camera in self._config.cameras if camera.name},
        )

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return `(body, content type)` of the metrics."""
        return self._exposition.text(accept)

    def _listen(self, wanted: LocalMetrics) -> "_Server | None":
        try:
            server = _Server((wanted.host, wanted.port), self)
        except OSError as error:
            self.problem = (
                f"the device's page cannot listen on {wanted.host}:{wanted.port}: {error.strerror}"
            )
            _LOG.warning(
                "no local page", extra={"event": "page.not_listening", "reason": self.problem}
            )
            return None
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, name="local-page", daemon=True).start()
        _LOG.info(
            "the device's page listens",
            extra={"event": "page.started", "host": wanted.host, "port": self.port},
        )
        return server


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16
    server_address: tuple[str, int]  # type: ignore[assignment]

    def __init__(self, address: tuple[str, int], shown: LocalPage) -> None:
        self.shown: Final = shown
        self._free: Final = threading.BoundedSemaphore(AT_ONCE)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        """Answer in a thread, while there are not too many; who is too many is let go at once."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)  # type: ignore[arg-type]
            return
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """As the parent, and free the place."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - theirs
        """Say nothing: whoever breaks off a connection to this page is not our trouble."""
        _LOG.debug("a connection broke", extra={"event": "page.broken"}, exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server  # type: ignore[assignment]
    timeout = READ_S
    protocol_version = "HTTP/1.0"  # one request each: a place is never held by an idle connection
    server_version = "vedette"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer `/` and `/metrics`."""
        if len(self.headers) > MAX_HEADERS or not is_named_here(self.headers.get("Host", "")):
            self._send(403, b"open this page by the device's address\n", "text/plain")
        elif self.path == "/metrics":
            self._send(200, *self.server.shown.metrics(self.headers.get("Accept", "")))
        elif self.path == "/":
            self._send(200, self.server.shown.page(), "text/html; charset=utf-8")
        else:
            self._send(404, b"there is / and /metrics\n", "text/plain")

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", html.POLICY),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - theirs
        """Log nothing: people reload this page all day."""


def is_named_here(host: str) -> bool:
    """True where a `Host` header names an address, `localhost`, or this machine."""
    name = host.strip()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name in {"", "localhost"}:
        return True
    machine = socket.gethostname().lower()
    if name.lower().rstrip(".") in {machine, machine.partition(".")[0] + ".local"}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
