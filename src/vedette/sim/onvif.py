"""An ONVIF device service for tests: answers two questions, or misbehaves in a chosen way.

It checks user name tokens as cameras do: digest, nonce used once, and a created time by its own
clock, which may be wrong by hours.
"""

import base64
import hashlib
import re
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final
from xml.sax.saxutils import unescape

_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:tds="http://www.onvif.org/ver10/device/wsdl"'
    ' xmlns:tt="http://www.onvif.org/ver10/schema"><SOAP-ENV:Body>{}</SOAP-ENV:Body>'
    "</SOAP-ENV:Envelope>"
)
_FAULT: Final = (
    "<SOAP-ENV:Fault><SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:Sender</SOAP-ENV:Value>"
    "</SOAP-ENV:Code></SOAP-ENV:Fault>"
)
_TOLERANCE: Final = timedelta(seconds=10)


class OnvifCamera:
    """A camera's web port on 127.0.0.1. Thread: any; requests run in threads of their own.

    Attributes:
        seen: The bodies of all requests.
        answer: Sent raw in place of an answer, where set: `(status, headers, body)`.
    """

    def __init__(
        self,
        *,
        login: tuple[str, str] | None = None,
        now: datetime | None = None,
        firmware: str = "9.80.1",
    ) -> None:
        self.login = login
        self.now = now or datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
        self.firmware = firmware
        self.seen: list[str] = []
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self._nonces: set[str] = set()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = min(int(self.headers.get("Content-Length", "0")), 65_536)
                body = self.rfile.read(size).decode("utf-8", "replace")
                camera.seen.append(body)
                status, headers, said = camera.answer or camera.reply(body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="sim-onvif", daemon=True
        )

    def __enter__(self) -> "OnvifCamera":
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
        self._thread.join(5)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.server_address[1]

    def reply(self, body: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body for a request."""
        if "GetSystemDateAndTime" in body:
            return _soap(200, self._time())
        if "GetDeviceInformation" in body and self.admits(body):
            return _soap(200, self._information())
        return _soap(400, _FAULT)

    def admits(self, body: str) -> bool:
        """True where the user name token is right, of this clock's time, and was not used."""
        if self.login is None:
            return True
        said = {
            name: unescape(found[1])
            if (found := re.search(rf"<{name}[^>]*>([^<]*)</{name}>", body))
            else ""
            for name in ("Username", "Password", "Nonce", "Created")
        }
        if said["Nonce"] in self._nonces or said["Username"] != self.login[0]:
            return False
        self._nonces.add(said["Nonce"])
        mixed = base64.b64decode(said["Nonce"]) + said["Created"].encode() + self.login[1].encode()
        digest = base64.b64encode(hashlib.sha1(mixed, usedforsecurity=False).digest()).decode()
        try:
            at = datetime.strptime(said["Created"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            return False
        return digest == said["Password"] and abs(at - self.now) <= _TOLERANCE

    def _time(self) -> str:
        at = self.now
        return (
            "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime>"
            f"<tt:UTCDateTime><tt:Time><tt:Hour>{at.hour}</tt:Hour><tt:Minute>{at.minute}"
            f"</tt:Minute><tt:Second>{at.second}</tt:Second></tt:Time><tt:Date><tt:Year>{at.year}"
            f"</tt:Year><tt:Month>{at.month}</tt:Month><tt:Day>{at.day}</tt:Day></tt:Date>"
            "</tt:UTCDateTime><tt:LocalDateTime><tt:Time><tt:Hour>1</tt:Hour></tt:Time>"
            "</tt:LocalDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
        )

    def _information(self) -> str:
        return (
            "<tds:GetDeviceInformationResponse><tds:Manufacturer>ACME</tds:Manufacturer>"
            "<tds:Model>Eye 3 &amp; more</tds:Model>"
            f"<tds:FirmwareVersion>{self.firmware}</tds:FirmwareVersion>"
            "<tds:SerialNumber>ACCC8E000001</tds:SerialNumber><tds:HardwareId>7</tds:HardwareId>"
            "</tds:GetDeviceInformationResponse>"
        )


def _soap(status: int, body: str) -> tuple[int, dict[str, str], bytes]:
    said = _ENVELOPE.format(body).encode()
    headers = {"Content-Type": "application/soap+xml", "Content-Length": str(len(said))}
    return status, headers, said
