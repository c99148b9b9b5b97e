"""Motion JPEG's `multipart/x-mixed-replace`, from bytes to pictures: pure, no socket, no clock.

Here: finding the parts, whatever cameras make of the standard: no boundary announced, one with its
dashes in the announcement, lengths that are missing or wrong. Not here: the connection
(`capture.http`) and decoding. The rule: what is held is bounded, and a lie costs the part that it
stands in, never the stream.

Source: RFC 2046 section 5.1.1 (multipart); the type itself is Netscape's, 1995, and has no RFC.
"""

from typing import Final

from vedette.edge.capture.seam import Loss, SourceLost

MAX_PART_BYTES: Final = 16 * 1024 * 1024
MAX_HEAD_BYTES: Final = 8 * 1024
_MAX_BOUNDARY: Final = 200  # RFC 2046 allows 70; cameras do not read it
_END_OF_IMAGE: Final = b"\xff\xd9"


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary that a `Content-Type` announces, without leading dashes; else None."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "boundary":
            plain = value.strip().strip('"').lstrip("-").encode("latin-1", "replace")
            return plain[:_MAX_BOUNDARY] or None
    return None


class Parts:
    """Cuts a body into its parts. Thread: one."""

    def __init__(self, boundary: bytes | None) -> None:
        """Begin; without a boundary the first line of the body is taken for it."""
        self._delimiter = b"--" + boundary if boundary else b""
        self._buffer = bytearray()
        self._searched = 0  # so far the delimiter was not found
        self._in_part = False
        self._length: int | None = None
        self._skipped = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the parts that are complete with `data`.

        Raises:
            SourceLost: More was sent than one part or its head may hold: this is no motion JPEG.
        """
        self._buffer += data
        parts: list[bytes] = []
        while True:
            part = self._next()
            if part is None:
                return parts
            if part:
                parts.append(part)

    def _next(self) -> bytes | None:
        """Return a part, empty bytes where something was passed over, None for lack of data."""
        if not self._delimiter and not self._learn():
            return None
        if self._in_part:
            return self._body()
        return b"" if self._head() else None

    def _learn(self) -> bool:
        """Take the first line that begins with two dashes for the boundary."""
        start = 0 if self._buffer.startswith(b"--") else self._buffer.find(b"\n--") + 1
        end = self._buffer.find(b"\n", start)
        is_found = self._buffer.startswith(b"--", start) and end > start
        if is_found:
            line = bytes(self._buffer[start:end]).rstrip()
            self._delimiter = line[: _MAX_BOUNDARY + 2]
        elif len(self._buffer) > MAX_HEAD_BYTES:
            raise SourceLost(Loss.GARBAGE, "no multipart boundary", operator_hint=_HINT)
        return is_found and len(self._delimiter) > 2

    def _head(self) -> bool:
        """Pass over everything to the end of the next part's head; False for lack of data."""
        at = self._buffer.find(self._delimiter)
        if at < 0:
            self._skip(max(0, len(self._buffer) - len(self._delimiter)))
            return False
        start = at + len(self._delimiter)
        end, mark = _blank_line(self._buffer, start)
        if end < 0:
            if len(self._buffer) - start > MAX_HEAD_BYTES:
                self._skip(start)  # no head: look for the next delimiter
                return True
            return False
        self._length = _length(bytes(self._buffer[start:end]))
        del self._buffer[: end + mark]
        self._in_part, self._searched, self._skipped = True, 0, 0
        return True

    def _body(self) -> bytes | None:
        early = self._early_end()
        if early is not None:
            return self._cut(early)
        if self._length is not None:
            return self._cut(self._length) if len(self._buffer) >= self._length else None
        if len(self._buffer) > MAX_PART_BYTES:
            raise SourceLost(Loss.GARBAGE, "a picture without end", operator_hint=_HINT)
        return None

    def _early_end(self) -> int | None:
        """Return where a delimiter ends the part; None where none does, or an announced end first.

        Before the announced end it does so only where a picture ends there: then the length lies.
        """
        mark = b"\n" + self._delimiter
        at = self._buffer.find(mark, self._searched)
        while at >= 0 and (self._length is None or at < self._length):
            ends = bytes(self._buffer[max(0, at - 4) : at]).rstrip()
            if self._length is None or ends.endswith(_END_OF_IMAGE):
                return at
            at = self._buffer.find(mark, at + 1)
        self._searched = max(0, len(self._buffer) - len(self._delimiter))
        return None

    def _cut(self, size: int) -> bytes:
        part = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._in_part, self._searched = False, 0
        return part

    def _skip(self, size: int) -> None:
        del self._buffer[:size]
        self._skipped += size
        if self._skipped > MAX_PART_BYTES:
            raise SourceLost(Loss.GARBAGE, "no part begins", operator_hint=_HINT)


_HINT: Final = "the address answers, but not with motion JPEG: check its path"


def _blank_line(buffer: bytearray, start: int) -> tuple[int, int]:
    """Return where the first blank line after `start` is and how long it is; -1 where none is."""
    found = [(buffer.find(mark, start), len(mark)) for mark in (b"\r\n\r\n", b"\n\n")]
    return min((one for one in found if one[0] >= 0), default=(-1, 0))


def _length(head: bytes) -> int | None:
    """Return the announced length; None where there is none that could be true."""
    for line in head.split(b"\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            text = value.strip()
            if text.isdigit() and len(text) <= 8 and 0 < int(text) <= MAX_PART_BYTES:
                return int(text)
    return None
