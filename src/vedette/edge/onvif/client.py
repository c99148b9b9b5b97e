"""Two questions to a camera's ONVIF service over HTTP, with an end to every wait.

The rules: one deadline holds for each port, however slowly bytes drip; no redirect is followed, and
no address in an answer is ever called; the login of the camera's own address goes to that host
and no other, as a digest and never as the password itself; no answer stands in a log.

Thread: one.
"""

import contextlib
import http.client
import secrets
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from vedette.clock import NS_PER_S, Clock
from vedette.edge.capture.http import Line
from vedette.edge.capture.login import answer_challenge
from vedette.edge.identity import Identity
from vedette.edge.onvif import soap
from vedette.edge.onvif.soap import NotOnvif

PORTS: Final = (80, 8080, 2020, 8000)
"""Where cameras usually have it."""

PORT_S: Final = 5.0
CONNECT_S: Final = 2.0
_PATH: Final = "/onvif/device_service"
_TIME, _IDENTITY = "GetSystemDateAndTime", "GetDeviceInformation"

Login = tuple[str, str]


def ask(host: str, login: Login | None, clock: Clock, *, ports: Sequence[int] = PORTS) -> Identity:
    """Return what the camera at `host` says that it is.

    Raises:
        NotOnvif: Nothing answers on any of the ports, or it refuses.
    """
    why = NotOnvif("no ONVIF service answers")
    for port in ports:
        try:
            return _ask_port(host, port, login, clock)
        except NotOnvif as error:
            why = error
        except (OSError, http.client.HTTPException, ValueError, OverflowError):
            continue  # nobody there, nobody who speaks HTTP, or a clock at the end of time
    raise why


def _ask_port(host: str, port: int, login: Login | None, clock: Clock) -> Identity:
    deadline_ns = clock.mono_ns() + round(PORT_S * NS_PER_S)
    door = _Door(host, port, login, clock, deadline_ns)
    asked_at = clock.now_at()
    theirs = soap.read_time(door.post(_TIME, soap.request(_TIME), with_login=False))
    security = ""
    if login is not None:
        # Cameras refuse digests that are not of their own time.
        ahead = theirs - asked_at if theirs else timedelta()
        at = clock.now_at() + ahead
        security = soap.username_token(login, secrets.token_bytes(16), at)
    body = door.post(_IDENTITY, soap.request(_IDENTITY, security), with_login=True)
    return soap.read_identity(body)


class _Door:
    """One port of one camera."""

    def __init__(
        self, host: str, port: int, login: Login | None, clock: Clock, deadline_ns: int
    ) -> None:
        self._host = host
        self._port = port
        self._login = login
        self._clock = clock
        self._deadline_ns = deadline_ns

    def post(self, question: str, body: bytes, *, with_login: bool) -> bytes:
        """Return the answer to a question; HTTP's own digest is answered once where it is asked."""
        status, challenges, answer = self._once(question, body, None)
        digests = [text for text in challenges if text.lower().startswith("digest")]
        if status == 401 and with_login and self._login and digests:
            said = answer_challenge("POST", _PATH, self._login, digests)
            status, _, answer = self._once(question, body, said)
        if status == 401:
            raise NotOnvif("it refuses user or password")
        if status not in {200, 400, 500}:  # faults come with the latter two
            raise NotOnvif(f"it answers {status}")
        return answer

    def _once(
        self, question: str, body: bytes, authorisation: str | None
    ) -> tuple[int, list[str], bytes]:
        left_s = (self._deadline_ns - self._clock.mono_ns()) / NS_PER_S
        timeout_s = max(0.1, min(CONNECT_S, left_s))
        sock = socket.create_connection((self._host, self._port), timeout=timeout_s)
        with contextlib.closing(Line(sock, self._clock, self._deadline_ns)) as line:
            connection = http.client.HTTPConnection(self._host, self._port)
            connection.sock = line
            kind = f'application/soap+xml; charset=utf-8; action="{soap.action(question)}"'
            headers = {"User-Agent": "vedette", "Content-Type": kind, "Connection": "close"}
            if authorisation:
                headers["Authorization"] = authorisation
            connection.request("POST", _PATH, body=body, headers=headers)
            response = http.client.HTTPResponse(line, method="POST")  # pyright: ignore[reportArgumentType]
            response.begin()
            asked = response.headers.get_all("WWW-Authenticate") or []
            return response.status, asked, response.read(soap.MAX_BYTES + 1)
