"""One RTSP connection, cut into messages and interleaved frames.

Here: the socket, its one buffer, and what stands in it. Not here: what messages and frames mean.
The rules: the buffer never grows, every wait has an end, and what is neither a message nor a frame
is passed over up to a limit (some cameras spill a few bytes) and then is garbage.

Thread: one.

Source: RFC 2326 (10.12 interleaved data).
"""

import contextlib
import re
import socket
import ssl
from dataclasses import replace
from typing import Final

from vedette.clock import NS_PER_S, Clock
from vedette.edge.capture.rtsp.address import Address
from vedette.edge.capture.rtsp.message import MAX_HEAD_BYTES, Message, body_bytes, parse_head
from vedette.edge.capture.rtsp.refusal import garbage, lost, translate
from vedette.edge.capture.seam import Loss

Frame = tuple[int, memoryview]
"""Channel and payload; the payload is valid until the next `fill`."""

_BUFFER_BYTES: Final = 512 * 1024
_ROOM_BYTES: Final = 128 * 1024  # more than the largest frame, and than a head with its body
_MAX_SPILLED: Final = 1024 * 1024
_DOLLAR: Final = 0x24
_WORDS: Final = re.compile(rb"RTSP/\d|[A-Z_]{3,20} ")
_WORDS_BYTES: Final = 24
_SEND_S: Final = 2.0


class Wire:
    """A connection and what came in over it."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        self._sock = sock
        self._clock = clock
        self._view = memoryview(bytearray(_BUFFER_BYTES))
        self._bytes: bytearray = self._view.obj  # pyright: ignore[reportAttributeAccessIssue]
        self._at = self._end = 0
        self._spilled = 0
        self.channels: tuple[int, ...] = ()  # those in use: elsewhere a frame cannot begin

    def send(self, data: bytes, limit_s: float = _SEND_S) -> None:
        """Send a request.

        Raises:
            SourceLost: The connection is gone, or its other end reads nothing.
        """
        try:
            self._sock.settimeout(limit_s)
            self._sock.sendall(data)
        except OSError as problem:
            raise translate(problem) from None

    def fill(self, until_ns: int) -> bool:
        """Read what is there; False where nothing came until then.

        Raises:
            SourceLost: The connection is gone.
        """
        left_s = (until_ns - self._clock.mono_ns()) / NS_PER_S
        if left_s <= 0:
            return False
        if self._at == self._end:
            self._at = self._end = 0
        elif _BUFFER_BYTES - self._end < _ROOM_BYTES:
            kept = self._end - self._at
            self._view[:kept] = self._view[self._at : self._end]
            self._at, self._end = 0, kept
        try:
            self._sock.settimeout(left_s)
            size = self._sock.recv_into(self._view[self._end :])
        except TimeoutError:
            return False
        except OSError as problem:
            raise translate(problem) from None
        if size == 0:
            raise lost(Loss.CLOSED)
        self._end += size
        return True

    def take(self) -> Message | Frame | None:
        """Return the next message or frame; None where none is complete yet.

        Raises:
            SourceLost: What stands there is neither.
        """
        while self._at < self._end:
            first = self._bytes[self._at]
            if first == _DOLLAR:
                return self._frame()
            if first in b"\r\n":
                self._at += 1
                continue
            found = self._is_message()
            if found is None:
                return None
            if found:
                return self._message()
            self._pass_over()
        return None

    def close(self, last_words: bytes = b"") -> None:
        """Hang up, saying goodbye where that is possible at once."""
        if last_words:
            with contextlib.suppress(OSError):
                self._sock.settimeout(0.2)
                self._sock.sendall(last_words)
        with contextlib.suppress(OSError):
            self._sock.close()

    def _frame(self) -> Frame | None:
        at = self._at
        have = self._end - at
        if have < 4:
            return None
        size = (self._bytes[at + 2] << 8) | self._bytes[at + 3]
        if have < 4 + size:
            return None
        self._at = at + 4 + size
        return self._bytes[at + 1], self._view[at + 4 : at + 4 + size]

    def _is_message(self) -> bool | None:
        """True where a message begins here; None where too little is there to tell."""
        start = bytes(self._view[self._at : min(self._end, self._at + _WORDS_BYTES)])
        if _WORDS.match(start):
            return True
        if len(start) < _WORDS_BYTES and start.replace(b"_", b"A").replace(b"/", b"A").isalpha():
            return None
        return False

    def _message(self) -> Message | None:
        limit = min(self._end, self._at + MAX_HEAD_BYTES)
        ends = [
            (found + len(mark), found)
            for mark in (b"\r\n\r\n", b"\n\n")
            if (found := self._bytes.find(mark, self._at, limit)) >= 0
        ]
        if not ends:
            if self._end - self._at >= MAX_HEAD_BYTES:
                raise garbage("a head without end")
            return None
        begin, end = min(ends)
        head = parse_head(bytes(self._view[self._at : end]))
        size = body_bytes(head)
        if self._end - begin < size:
            return None
        self._at = begin + size
        return replace(head, body=bytes(self._view[begin : begin + size])) if size else head

    def _pass_over(self) -> None:
        """Go on where the next frame may begin."""
        if not self.channels:
            raise garbage("no RTSP")
        starts = [
            found
            for channel in self.channels
            if (found := self._bytes.find(bytes((_DOLLAR, channel)), self._at + 1, self._end)) >= 0
        ]
        after = min(starts) if starts else self._end
        self._spilled += after - self._at
        self._at = after
        if self._spilled > _MAX_SPILLED:
            raise garbage("neither RTSP nor RTP")


def connect(address: Address, clock: Clock, deadline_ns: int) -> Wire:
    """Return a connection to the server, encrypted and its certificate checked for rtsps.

    Raises:
        SourceLost: Refused, unreachable, not trusted, no answer in time.
    """
    left_s = max(0.1, (deadline_ns - clock.mono_ns()) / NS_PER_S)
    try:
        with contextlib.ExitStack() as undo:
            sock = socket.create_connection((address.host, address.port), timeout=left_s)
            undo.callback(sock.close)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.scheme == "rtsps":
                trust = ssl.create_default_context()
                sock = trust.wrap_socket(sock, server_hostname=address.host)
            undo.pop_all()
            return Wire(sock, clock)
    except OSError as problem:
        raise translate(problem) from None
    except (ValueError, UnicodeError):
        raise lost(Loss.UNREACHABLE, "no such host") from None
