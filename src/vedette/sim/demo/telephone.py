"""Who is told in the demo: a receiver of signed webhooks, and the rules that have it told.

It stands for somebody's telephone. It trusts nothing that is not signed by the secret which central
showed once, by the Standard Webhooks specification: HMAC-SHA256 over `id.timestamp.body`.
"""

import base64
import binascii
import hashlib
import hmac
import http.server
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import msgspec

from vedette.errors import BadSignature

CHANNEL: Final = "telephone"
COVERED_RULE: Final = "covered-lens"
MAX_BODY_BYTES: Final = 1 << 20
MAX_NOTICES: Final = 1000

RULES: Final = f"""\
rules:
  - rule: {COVERED_RULE}
    severity: critical
    title: "Camera {{camera}} at {{site}} was tampered with"
    todo: Compare the newest picture with the pinned one; have it uncovered or turned back.
    health: {{is: tampered}}
    ladder: at-once
  - rule: camera-down
    severity: warning
    title: "Camera {{camera}} at {{site}} is down"
    todo: Open the camera's page for the reason. Most often a cable, a password or a new address.
    health: {{is: camera_down}}
    ladder: at-once
  - rule: site-dark
    severity: critical
    title: "{{site}} is dark"
    todo: Call the site. Is there power, is the line up? Its devices record and send it later.
    health: {{is: site_dark}}
    ladder: at-once
ladders:
  - ladder: at-once
    steps:
      - tell: ["channel:{CHANNEL}"]
    repeat_s: 3600
"""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One notice as it was received.

    Attributes:
        kind: As `opened` or `resolved`.
        rule: Of the incident.
    """

    kind: str
    rule: str
    subject: str


class Telephone:
    """A receiver on loopback. Thread: its server's; `notices` may be read by any."""

    def __init__(self, ring: Callable[[Notice], None]) -> None:
        self.secret = ""
        self.notices: list[Notice] = []
        self._ring = ring
        self._seen: set[str] = set()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="telephone", daemon=True
        )

    def __enter__(self) -> "Telephone":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Take what was posted; what came before, under the same id, is dropped.

        Raises:
            BadSignature: It is not signed by the secret.
        """
        name = headers.get("webhook-id", "")
        if not is_signed(self.secret, headers, body):
            raise BadSignature("not signed by this secret")
        if name in self._seen or len(self._seen) >= MAX_NOTICES:
            return
        self._seen.add(name)
        said: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])["data"]
        notice = Notice(
            kind=str(said["kind"]),
            rule=str(said["incident"]["rule"]),
            subject=str(said["subject"]),
        )
        self.notices.append(notice)
        self._ring(notice)


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """True where one of the signatures is by the secret.

    Source: Standard Webhooks specification 1.0, symmetric signatures.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return False
    head = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}."
    expected = b"v1," + base64.b64encode(hmac.digest(key, head.encode() + body, hashlib.sha256))
    given = headers.get("webhook-signature", "").encode().split(b" ")
    return bool(key) and any(hmac.compare_digest(one, expected) for one in given)


def _handler(telephone: Telephone) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            """Take a notice; 200 where it was signed by the secret, 400 otherwise."""
            length = self.headers.get("content-length", "")
            size = int(length) if length.isdecimal() else MAX_BODY_BYTES + 1
            if size > MAX_BODY_BYTES:
                return self._answer(413)
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                telephone.take(headers, self.rfile.read(size))
            except (BadSignature, msgspec.DecodeError, KeyError, TypeError):
                return self._answer(400)
            return self._answer(200)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing: the demo says what came."""

    return Handler
