"""RTSP 1.0 requests: parsing with limits, answers, and authentication.

What a client may send is bounded here: line length, header count, body size. Nothing here knows
sockets' states or cameras.

Source: RFC 2326; Basic and Digest (MD5, as cameras have it) as in RFC 2617.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Final

import msgspec

from vedette.errors import MalformedReport, TooLarge

MAX_LINE_BYTES: Final = 2_048
MAX_HEADERS: Final = 40
MAX_BODY_BYTES: Final = 8_192

REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    505: "RTSP Version Not Supported",
}


class Request(msgspec.Struct, frozen=True):
    """One request; header names in lower case."""

    method: str
    url: str
    version: str
    headers: dict[str, str]

    @property
    def sequence(self) -> str:
        """`CSeq`, which every answer repeats."""
        return self.headers.get("cseq", "0")


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Return the next request, passing over interleaved frames (receiver reports); None at the end.

    Raises:
        MalformedReport: Not RTSP.
        TooLarge: Over a limit of this module.
    """
    while True:
        first = await reader.read(1)
        if not first:
            return None
        if first == b"$":
            header = await reader.readexactly(3)
            await reader.readexactly(int.from_bytes(header[1:], "big"))
            return Request("", "", "", {})
        if first in b"\r\n":
            continue
        break
    words = (first.decode("latin-1") + await _line(reader)).split()
    if len(words) != 3 or not words[2].startswith("RTSP/"):
        raise MalformedReport("not an RTSP request line")
    headers: dict[str, str] = {}
    while line := await _line(reader):
        if len(headers) >= MAX_HEADERS:
            raise TooLarge(f"more than {MAX_HEADERS} headers")
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedReport("header without a colon")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        raise TooLarge("body longer than allowed")
    await reader.readexactly(int(length))
    return Request(words[0].upper(), words[1], words[2], headers)


async def _line(reader: asyncio.StreamReader) -> str:
    try:
        raw = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise TooLarge("line longer than allowed") from error
    if len(raw) > MAX_LINE_BYTES:
        raise TooLarge("line longer than allowed")
    return raw.decode("latin-1").rstrip("\r\n")


def answer(
    status: int, sequence: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """Return one answer as it goes on the wire."""
    lines = [f"RTSP/1.0 {status} {REASONS[status]}", f"CSeq: {sequence}", "Server: vedette-sim"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Gatekeeper:
    """Decides whether a request shows a known user and password. Thread: any."""

    def __init__(self, users: Mapping[str, str], *, scheme: str = "digest") -> None:
        self._users = dict(users)
        self._scheme = scheme
        self._nonce = secrets.token_hex(16)

    def challenge(self) -> dict[str, str]:
        """Return the header that asks for credentials."""
        if self._scheme == "basic":
            return {"WWW-Authenticate": 'Basic realm="vedette"'}
        return {"WWW-Authenticate": f'Digest realm="vedette", nonce="{self._nonce}"'}

    def admits(self, request: Request) -> bool:
        """True where no users are set, or the request carries the right credentials."""
        if not self._users:
            return True
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic" and self._scheme == "basic":
            return self._admits_basic(rest)
        if scheme.lower() == "digest" and self._scheme == "digest":
            return self._admits_digest(request, rest)
        return False

    def _admits_basic(self, rest: str) -> bool:
        try:
            user, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
        except ValueError:
            return False
        known = self._users.get(user)
        return known is not None and hmac.compare_digest(known.encode(), password.encode())

    def _admits_digest(self, request: Request, rest: str) -> bool:
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        password = self._users.get(fields.get("username", ""))
        if password is None or fields.get("nonce") != self._nonce:
            return False
        one = _md5(f"{fields['username']}:vedette:{password}")
        two = _md5(f"{request.method}:{fields.get('uri', '')}")
        wanted = _md5(f"{one}:{self._nonce}:{two}")
        return hmac.compare_digest(wanted, fields.get("response", ""))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
