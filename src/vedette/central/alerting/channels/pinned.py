"""One HTTP request to an address that was looked at.

What lives here: the connection, under the rules of egress. What does not: what is asked, and what
an answer means (`webhook`, `bucket`). The rule: the connection goes to an address that `egress`
looked at, under the certificate of the name; no redirect is followed, no proxy of the environment
is asked, at most `MAX_ANSWER_BYTES` of an answer are read.

Thread: the event loop's.
"""

import os
import ssl
from collections.abc import AsyncIterable, Callable
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec

from vedette import __version__
from vedette.central.alerting.channels import egress
from vedette.central.alerting.channels.egress import Rules
from vedette.errors import UplinkError

CONNECT_S: Final = 5.0
STEP_S: Final = 20.0
MAX_ANSWER_BYTES: Final = 64 * 1024
MOST_ADDRESSES: Final = 3
_USUAL: Final = {"https": 443, "http": 80}


class NoAnswer(UplinkError):
    """There was no connection, or it broke off; the message never holds the address."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How requests of one kind leave.

    Attributes:
        ports: Usual ones of the kind.
        proxy: Takes every connection where it is given.
    """

    rules: Rules
    ports: tuple[int, ...]
    tls: ssl.SSLContext
    proxy: str = ""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request.

    Attributes:
        body: Bytes, or what gives them anew for each connection that is tried.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | Callable[[], AsyncIterable[bytes]] = b""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer; `body` may be cut."""

    status: int
    headers: httpx.Headers
    body: bytes


def place_of(url: str) -> tuple[str, int]:
    """Return host and port of an address."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _USUAL.get(parts.scheme, 443)


def host_header(url: str) -> str:
    """Return what stands in `Host`: the port only where it is not the usual one."""
    parts = urlsplit(url)
    host, port = place_of(url)
    named = f"[{host}]" if ":" in host else host
    return named if port == _USUAL.get(parts.scheme) else f"{named}:{port}"


async def ask(way: Way, asked: Ask) -> Answer:
    """Return what was answered.

    Raises:
        NoAnswer: No connection, no answer, or it broke off.
        Refused: Central may not connect there.
        Unresolved: There is no such name now.
    """
    parts = urlsplit(asked.url)
    host, port = place_of(asked.url)
    egress.check_port(way.rules, port, way.ports)
    addresses = await egress.resolve(way.rules, host, port)
    if parts.scheme == "http":
        egress.check_inside(addresses)
    if way.proxy:
        # The name was looked at, but it is the proxy that resolves it for the connection.
        addresses = [host]
    failed = NoAnswer("no address")
    for address in addresses[:MOST_ADDRESSES]:
        there = f"[{address}]" if ":" in address else address
        pinned = parts._replace(netloc=f"{there}:{port}").geturl()
        try:
            return await _once(way, asked, pinned, host)
        except httpx.ConnectError as error:
            failed = NoAnswer(_why(error))
    raise failed


async def _once(way: Way, asked: Ask, url: str, host: str) -> Answer:
    """Return the answer; a connection that could not be had is raised for the next one.

    Raises:
        httpx.ConnectError: No connection; nothing was sent.
        NoAnswer: It broke off.
    """
    headers = {
        "user-agent": f"vedette/{__version__}",
        **asked.headers,
        "host": host_header(asked.url),
    }
    try:
        async with (
            httpx.AsyncClient(
                verify=way.tls,
                follow_redirects=False,
                trust_env=False,
                timeout=httpx.Timeout(STEP_S, connect=CONNECT_S),
                proxy=way.proxy or None,
            ) as client,
            client.stream(
                asked.method,
                url,
                headers=headers,
                content=asked.body if isinstance(asked.body, bytes) else asked.body(),
                extensions={"sni_hostname": host},
            ) as answer,
        ):
            body = await _read(answer)
            return Answer(status=answer.status_code, headers=answer.headers, body=body)
    except httpx.ConnectError:
        raise
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise NoAnswer(_why(error)) from error


async def _read(answer: httpx.Response) -> bytes:
    """Return a little of an answer as it came, not decompressed; what is longer is left."""
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            break
    return bytes(body[:MAX_ANSWER_BYTES])


def _why(error: Exception) -> str:
    """Return what went wrong without the address, which may hold a secret."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate does not hold: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason or 'no common version'}"
        if isinstance(error, httpx.ConnectError) and isinstance(cause, OSError) and cause.errno:
            return f"no connection: {os.strerror(cause.errno)}"
        cause = cause.__cause__ or cause.__context__
    names = {
        httpx.ConnectError: "no connection",
        httpx.ConnectTimeout: f"no connection within {CONNECT_S:.0f} s",
        httpx.ReadTimeout: f"no answer within {STEP_S:.0f} s",
        httpx.WriteTimeout: f"nothing was taken for {STEP_S:.0f} s",
        httpx.RemoteProtocolError: "the answer is no HTTP, or broke off",
        httpx.ReadError: "the connection broke off",
        httpx.WriteError: "the connection broke off",
        httpx.ProxyError: "the proxy refuses",
    }
    return names.get(type(error), type(error).__name__)
