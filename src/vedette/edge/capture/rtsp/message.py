"""RTSP 1.0 messages: heads in and out, with limits. Pure.

Here: from bytes to status and fields, and a request as bytes. Not here: where they are found in the
stream (`rtsp.wire`). The rule: a head is small, and no field of a request can hold a line's end.

Source: RFC 2326 (4, 6, 7; 12.39 for the session's time limit).
"""

from dataclasses import dataclass
from typing import Final

from vedette.edge.capture.rtsp.refusal import garbage

MAX_HEAD_BYTES: Final = 16_384
MAX_BODY_BYTES: Final = 65_536
_MAX_FIELDS: Final = 100
_AGENT: Final = "vedette"


@dataclass(frozen=True, slots=True)
class Message:
    """An answer, or a request that the server makes (`status` 0)."""

    status: int
    method: str
    fields: tuple[tuple[str, str], ...]  # names in lower case
    body: bytes = b""

    def get(self, name: str) -> str:
        """Return a field's first value; empty where it is missing."""
        return next((value for known, value in self.fields if known == name), "")

    def every(self, name: str) -> list[str]:
        """Return all values of a field."""
        return [value for known, value in self.fields if known == name]


def parse_head(data: bytes) -> Message:
    """Return the head that stands in `data`, without a body.

    Raises:
        SourceLost: No RTSP, or too many fields.
    """
    lines = data.decode("utf-8", "replace").splitlines()
    words = lines[0].split(None, 2) if lines else []
    if len(words) < 2:
        raise garbage("no RTSP")
    status, method = 0, words[0]
    if words[0].upper().startswith("RTSP/"):
        if not (words[1].isascii() and words[1].isdigit() and len(words[1]) == 3):
            raise garbage("no RTSP")
        status, method = int(words[1]), ""
    if len(lines) > _MAX_FIELDS:
        raise garbage("a head without end")
    fields: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:  # a line without one is a camera's mistake, and harmless
            fields.append((name.strip().lower(), value.strip()))
    return Message(status, method, tuple(fields))


def body_bytes(head: Message) -> int:
    """Return how many bytes follow the head.

    Raises:
        SourceLost: More than any description needs, or no number.
    """
    text = head.get("content-length") or "0"
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) > MAX_BODY_BYTES:
        raise garbage("a body that is too long")
    return int(text)


def request(method: str, uri: str, sequence: int, fields: dict[str, str]) -> bytes:
    """Return a request as it goes on the wire; fields without a value are left out.

    Raises:
        SourceLost: A value, which came from the server, holds what no line can hold.
    """
    said = {"CSeq": str(sequence), "User-Agent": _AGENT, **fields}
    lines = [
        f"{method} {uri} RTSP/1.0",
        *(f"{name}: {value}" for name, value in said.items() if value),
    ]
    if not all(line.isprintable() for line in lines):
        raise garbage("control characters in what has to be repeated")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def not_implemented(sequence: str) -> bytes:
    """Return the answer to whatever a server asks of its client."""
    number = sequence if sequence.isascii() and sequence.isdigit() and len(sequence) < 12 else "0"
    return f"RTSP/1.0 501 Not Implemented\r\nCSeq: {number}\r\n\r\n".encode()


def session_of(answer: Message) -> tuple[str, float]:
    """Return the session's name and after how many seconds of silence the server ends it."""
    name, *parameters = answer.get("session").split(";")
    timeout_s = 60.0
    for parameter in parameters:
        key, _, value = parameter.strip().partition("=")
        if key.lower() == "timeout" and value.isascii() and value.isdigit() and len(value) < 7:
            timeout_s = float(value)
    return name.strip()[:512], min(max(timeout_s, 1.0), 3600.0)


def channels_of(answer: Message) -> tuple[int, int] | None:
    """Return the channels that a SETUP's answer grants; None where it chose another transport."""
    text = answer.get("transport").split(",")[0].lower()
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name == "interleaved":
            low, _, high = value.partition("-")
            if low.isascii() and low.isdigit() and int(low[:4]) < 256:
                data = int(low)
                control = int(high[:4]) & 255 if high.isascii() and high.isdigit() else data ^ 1
                return data, control
    return (0, 1) if "tcp" in text and "interleaved" not in text else None
