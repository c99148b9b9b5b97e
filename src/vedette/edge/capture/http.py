"""One HTTP request to a camera: connect, authenticate, follow what may be followed.

Here: getting a response whose body can be read under one deadline. Not here: what the body means
(`capture.mjpeg`). The rules: every wait ends at the deadline, however slowly bytes drip; only HTTP
is spoken, wherever a redirect points; the password goes to the address that it was given for and to
no other; certificates are checked.

Source: RFC 9110 (15.4 redirects).
"""

import contextlib
import http.client
import io
import socket
import ssl
from typing import Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from vedette.clock import NS_PER_S, Clock
from vedette.edge.capture.login import answer_challenge
from vedette.edge.capture.seam import Loss, SourceLost

MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_REFUSALS: Final = {
    401: Loss.UNAUTHORISED,
    403: Loss.FORBIDDEN,
    404: Loss.NOT_FOUND,
    410: Loss.NOT_FOUND,
}


class Line:
    """A connection that gives up at `deadline_ns`, however little is missing. Thread: one."""

    def __init__(self, sock: socket.socket, clock: Clock, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self._sock = sock
        self._clock = clock

    def sendall(self, data: bytes) -> None:
        """Send everything, or raise `TimeoutError` at the deadline."""
        self._sock.settimeout(self._left_s())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return what `http.client` reads from."""
        del mode
        return io.BufferedReader(_Reading(self), 64 * 1024)

    def recv_into(self, buffer: memoryview) -> int:
        """Read what is there, or raise `TimeoutError` at the deadline."""
        self._sock.settimeout(self._left_s())
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def _left_s(self) -> float:
        left_s = (self.deadline_ns - self._clock.mono_ns()) / NS_PER_S
        if left_s <= 0:
            raise TimeoutError("the deadline has passed")
        return left_s


class _Reading(io.RawIOBase):
    """`Line` as a stream of bytes."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._line.recv_into(buffer)


class Answer:
    """A response whose body is read piece by piece; `extend` before each wait."""

    def __init__(self, line: Line, response: http.client.HTTPResponse) -> None:
        self._line = line
        self._response = response
        self.content_type = response.getheader("Content-Type", "")

    def extend(self, deadline_ns: int) -> None:
        """Let reading go on until then."""
        self._line.deadline_ns = deadline_ns

    def read(self) -> bytes:
        """Return what is there, at least one byte; empty at the end."""
        return self._response.read1(64 * 1024)

    def close(self) -> None:
        """Hang up."""
        self._response.close()
        self._line.close()


def get(url: str, clock: Clock, deadline_ns: int) -> Answer:
    """Return the answer with status 200 to a GET of `url`.

    Raises:
        SourceLost: Refused, redirected to where it may not go, or no status that could be used.
        OSError, http.client.HTTPException: The connection failed; see `translate`.
    """
    parts = urlsplit(url)
    login = (unquote(parts.username or ""), unquote(parts.password or ""))
    home = _origin(parts)
    challenges: list[str] = []
    for _ in range(MAX_REDIRECTS + 2):
        own = login if _origin(parts) == home and login[0] else None
        line, response = _ask(parts, clock, deadline_ns, authorise(parts, own, challenges))
        if response.status == 200:
            return Answer(line, response)
        asked = response.headers.get_all("WWW-Authenticate") or []
        location = response.getheader("Location", "")
        line.close()
        if response.status in _REDIRECTS:
            parts, challenges = _follow(parts, location), []
        elif response.status == 401 and own and asked and not challenges:
            challenges = asked
        else:
            raise _refused(response.status)
    raise SourceLost(Loss.MOVED, "again and again", operator_hint=_MOVED_HINT)


def authorise(
    parts: SplitResult, login: tuple[str, str] | None, challenges: list[str]
) -> str | None:
    """Return the `Authorization` of a GET that answers the best of the challenges; None without."""
    return answer_challenge("GET", _target(parts), login, challenges)


def translate(problem: Exception) -> SourceLost:
    """Return what a failed connection means, without text that may hold an address."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        hint = "add its certificate to this machine's trusted ones, or use http:// on a closed net"
        return SourceLost(Loss.UNTRUSTED, problem.verify_message, operator_hint=hint)
    if isinstance(problem, ssl.SSLError):
        return SourceLost(Loss.GARBAGE, "no TLS", operator_hint="try http:// in place of https://")
    if isinstance(problem, socket.gaierror):
        hint = "check the host's name in the camera's `source`"
        return SourceLost(Loss.UNREACHABLE, "no such host", operator_hint=hint)
    if isinstance(problem, ConnectionRefusedError):
        hint = "check the camera's address and that its video service is on"
        return SourceLost(Loss.REFUSED, operator_hint=hint)
    if isinstance(problem, TimeoutError):
        hint = "the camera or the network to it hangs: power-cycle it if this stays"
        return SourceLost(Loss.TIMEOUT, operator_hint=hint)
    if isinstance(problem, ConnectionError | http.client.IncompleteRead):
        return SourceLost(Loss.CLOSED)
    if isinstance(problem, OSError):
        hint = "check the camera's cable, power and address"
        return SourceLost(Loss.UNREACHABLE, problem.strerror or "", operator_hint=hint)
    return SourceLost(Loss.GARBAGE, "no HTTP", operator_hint="check port and path of the address")


_MOVED_HINT: Final = "write the address that it redirects to into the camera's `source`"


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return (
        parts.scheme.lower(),
        parts.hostname or "",
        parts.port or (443 if parts.scheme.lower() == "https" else 80),
    )


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _ask(
    parts: SplitResult, clock: Clock, deadline_ns: int, authorisation: str | None
) -> tuple[Line, http.client.HTTPResponse]:
    """Connect, send one GET and read the answer's head."""
    scheme, host, port = _origin(parts)
    left_s = max(0.1, (deadline_ns - clock.mono_ns()) / NS_PER_S)
    sock = socket.create_connection((host, port), timeout=left_s)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        if scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
            undo.callback(sock.close)
        line = Line(sock, clock, deadline_ns)
        connection = http.client.HTTPConnection(host, port)
        connection.sock = line
        headers = {"User-Agent": "vedette", "Accept": "*/*", "Connection": "close"}
        if authorisation:
            headers["Authorization"] = authorisation
        connection.request("GET", _target(parts), headers=headers)
        # Not `getresponse`: that one closes the socket as soon as an answer ends with it.
        response = http.client.HTTPResponse(line, method="GET")  # pyright: ignore[reportArgumentType]
        response.begin()
        undo.pop_all()
        return line, response


def _follow(parts: SplitResult, location: str) -> SplitResult:
    try:
        target = urlsplit(urljoin(parts.geturl(), location))
        _ = target.port
    except ValueError as problem:
        raise SourceLost(Loss.MOVED, "no address", operator_hint=_MOVED_HINT) from problem
    allowed = {"https"} if parts.scheme.lower() == "https" else {"http", "https"}
    if not location or target.scheme.lower() not in allowed or not target.hostname:
        raise SourceLost(
            Loss.MOVED, f"{target.scheme[:20] or 'nowhere'}:", operator_hint=_MOVED_HINT
        )
    return target


def _refused(status: int) -> SourceLost:
    reason = _REFUSALS.get(status)
    hints = {
        Loss.UNAUTHORISED: "check user and password in the camera's `source`",
        Loss.FORBIDDEN: "this user may not see the stream: change it in the camera",
        Loss.NOT_FOUND: "check the path in the camera's `source`",
    }
    if reason is None:
        return SourceLost(Loss.FAILED, f"it answers {status}", operator_hint="see its web page")
    return SourceLost(reason, operator_hint=hints[reason])
