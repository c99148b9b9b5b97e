"""The HTTP boundary of the device API: bytes in with limits, errors out as answers.

Devices speak to raw ASGI handlers, not through the web framework: they need four routes, counted
bodies and speed. A handler gets a `Request` and returns an `Answer`; what it raises becomes a
status here and nowhere else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from vedette.errors import (
    BadSignature,
    ConflictError,
    Expired,
    NotAllowed,
    Retry,
    TooLarge,
    TrustError,
    VedetteError,
    WireError,
)

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON: Final = "application/json"
_BODY_TIMEOUT_S: Final = 30.0
_RETRY_AFTER_S: Final = 10


class TooManyRequests(VedetteError):
    """This client asks too often; the next request fits in `retry_after_s`."""

    retry = Retry.LATER

    def __init__(self, message: str, *, retry_after_s: int = _RETRY_AFTER_S) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Request:
    """One request, its body not yet read."""

    def __init__(self, scope: Scope, receive: Receive, *, behind_proxy: bool = False) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self._query: bytes = scope.get("query_string", b"")
        self._receive = receive
        client = scope.get("client")
        self.client: str = client[0] if client else ""
        if behind_proxy and "x-forwarded-for" in self.headers:
            # The last entry is the one that our own proxy wrote; those before it are hearsay.
            self.client = self.headers["x-forwarded-for"].rsplit(",", 1)[-1].strip()

    @property
    def query(self) -> dict[str, str]:
        """The first value of each query parameter.

        Raises:
            WireError: More than 20 of them.
        """
        try:
            parsed = parse_qs(self._query.decode("latin-1"), max_num_fields=20)
        except ValueError as error:
            raise WireError("more than 20 query parameters") from error
        return {name: values[0] for name, values in parsed.items()}

    @property
    def bearer(self) -> str:
        """The bearer token; empty where there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    async def body(self, max_bytes: int) -> bytes:
        """Return the whole body, counted while it arrives.

        Raises:
            TooLarge: More than `max_bytes`; the rest is not read.
        """
        stated = self.headers.get("content-length", "")
        if stated.isdigit() and int(stated) > max_bytes:
            raise TooLarge(f"body of {stated} bytes; at most {max_bytes} are allowed")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise WireError("the client left before its body had arrived")
                    chunk: bytes = message.get("body", b"")
                    size += len(chunk)
                    if size > max_bytes:
                        raise TooLarge(f"body of more than {max_bytes} bytes")
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError as error:
            raise WireError("the body did not arrive in time") from error


LEFT: Final = "vedette_client_left"
"""In a request's scope where its client left, or was too slow, before the body was there."""


def within_time(
    receive: Receive, timeout_s: float = _BODY_TIMEOUT_S, scope: Scope | None = None
) -> Receive:
    """Return `receive` for a whole body within `timeout_s`; a client that is slower has left.

    Once the body is there it waits as long as it takes: for the client to go away. That it left
    before is noted in `scope`, for whoever has to say what went wrong.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    whole = False

    async def hurried() -> MutableMapping[str, Any]:
        nonlocal whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            message = {"type": "http.disconnect"}
        if message["type"] == "http.disconnect":
            if scope is not None:
                scope[LEFT] = True
            return message
        whole = not message.get("more_body", False)
        return message

    return hurried


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What goes back."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = {}

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = {
            "content-type": self.content_type,
            "content-length": str(len(self.body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **self.headers,
        }
        if self.status in {204, 304}:
            del headers["content-type"], headers["content-length"]
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        await send({"type": "http.response.body", "body": self.body})


Handler = Callable[[Request], Awaitable[Answer]]


def json_answer(
    message: object, *, status: int = 200, headers: dict[str, str] | None = None
) -> Answer:
    """Return `message` as JSON."""
    return Answer(status=status, body=msgspec.json.encode(message), headers=headers or {})


def error_answer(error: VedetteError) -> Answer:
    """Return what a client learns of an error: status, words, and whether to come back."""
    headers: dict[str, str] = {}
    status = _status(error)
    if status in {429, 503}:
        wait_s = error.retry_after_s if isinstance(error, TooManyRequests) else _RETRY_AFTER_S
        headers["retry-after"] = str(wait_s)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    told = str(error) if status < 500 else "central cannot do this now"
    hint = error.operator_hint if status < 500 else None
    return json_answer({"error": told[:500], "hint": hint}, status=status, headers=headers)


def _status(error: VedetteError) -> int:
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return 503 if error.retry is Retry.LATER else 500


_STATUSES: Final[tuple[tuple[type[VedetteError], int], ...]] = (
    (TooLarge, 413),
    (WireError, 400),
    (TooManyRequests, 429),
    (NotAllowed, 403),
    (BadSignature, 401),
    (Expired, 401),
    (TrustError, 403),
    (ConflictError, 409),
)


async def guard(handler: Handler, request: Request) -> Answer:
    """Return the handler's answer, or the one that stands for what it raised."""
    try:
        return await handler(request)
    except VedetteError as error:
        answer = error_answer(error)
        if answer.status >= 500:
            _log.error(
                "request failed",
                extra={"event": "http.failed", "path": request.path, "why": str(error)},
            )
        return answer
    except Exception:
        _log.exception("request failed", extra={"event": "http.broken", "path": request.path})
        return json_answer({"error": "central cannot do this now"}, status=500)
