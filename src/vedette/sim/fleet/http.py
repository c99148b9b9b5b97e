"""A bounded pool of keep-alive connections to one central, with as little between as there can be.

Callbacks instead of tasks: at thousands of requests a second, what asyncio's streams cost per
request is more than making the report. Ten thousand devices share as many connections as are
allowed here. Only what central really answers is understood: a status, a length, a body.
"""

import asyncio
import resource
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Final
from urllib.parse import urlsplit

from vedette.errors import CentralUnreachable, ConfigError

Done = Callable[[int, bytes], None]
"""Called once with status and body; status 0: no answer, the body says why."""

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
TIMEOUT_S: Final = 30.0
_OTHER_FILES: Final = 200
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


def allow_sockets(count: int) -> None:
    """Have room for `count` connections beside what this process has open.

    Raises:
        ConfigError: The machine does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise ConfigError(
                f"{count} connections, but this machine allows {hard} open files",
                operator_hint="fewer --connections, or raise the limit (ulimit -n)",
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Connection(asyncio.Protocol):
    """One connection; at most one request at a time."""

    __slots__ = ("_buffer", "_pool", "_transport", "began_s", "done")

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.done: Done | None = None
        self.began_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def write(self, request: bytes, done: Done, now_s: float) -> None:
        self.done, self.began_s = done, now_s
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head_end = data.find(_HEAD_END)
        if head_end < 0 or self.done is None:
            self._keep(data)
            return
        length = _body_length(data, head_end)
        end = head_end + 4 + length
        if length < 0 or end > MAX_ANSWER_BYTES:
            self.abort("an answer without a length, or a huge one")
        elif len(data) < end:
            self._buffer = data
        else:
            self._buffer = b""
            done, self.done = self.done, None
            self._pool.give_back(self)
            done(int(data[9:12]), data[head_end + 4 : end])

    def _keep(self, data: bytes) -> None:
        if self.done is None or len(data) > MAX_ANSWER_BYTES:
            self.abort("bytes that nobody asked for")
        else:
            self._buffer = data

    def abort(self, why: str) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._fail(why)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        self._fail(f"connection lost: {exc or 'closed by central'}")

    def _fail(self, why: str) -> None:
        done, self.done = self.done, None
        if done is not None:
            done(0, why.encode())


def _body_length(data: bytes, head_end: int) -> int:
    at = data.find(_LENGTH, 0, head_end)
    if at < 0:
        at = data[:head_end].lower().find(_LENGTH)
    if at < 0:
        return 0 if data[9:12] in {b"204", b"304"} else -1
    stated = data[at + len(_LENGTH) : data.find(b"\r\n", at)].strip()
    return int(stated) if stated.isdigit() else -1


class Pool:
    """At most `size` connections. Use as an async context manager. Thread: one event loop."""

    def __init__(self, url: str, size: int, *, timeout_s: float = TIMEOUT_S) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            ConfigError: Not an http(s) address.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"{url!r} is no address", operator_hint="write http://host:port")
        self._host: Final = parts.hostname
        self._port: Final = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls: Final = ssl.create_default_context() if parts.scheme == "https" else None
        self.host: Final = parts.netloc.rpartition("@")[2]
        self.size: Final = size
        self._timeout_s: Final = timeout_s
        self._all: set[_Connection] = set()
        self._free: list[_Connection] = []
        self._waiting: deque[tuple[bytes, Done]] = deque()
        self._opening = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def __aenter__(self) -> "Pool":
        allow_sockets(self.size)
        self._loop = asyncio.get_running_loop()
        self._start(self._sweep())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._all):
            connection.abort("the pool is closed")
        while self._waiting:
            self._waiting.popleft()[1](0, b"the pool is closed")

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._all)

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return len(self._waiting)

    def send(self, request: bytes, done: Done) -> None:
        """Send a whole request as soon as a connection is free; `done` is called once."""
        if self._free and self._loop is not None:
            self._free.pop().write(request, done, self._loop.time())
            return
        if self._closed:
            done(0, b"the pool is closed")
            return
        self._waiting.append((request, done))
        self._open_another()

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Return status and body.

        Raises:
            CentralUnreachable: No answer.
        """
        answered: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

        def done(status: int, data: bytes) -> None:
            if not answered.done():
                answered.set_result((status, data))

        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\n"
            f"{lines}Content-Length: {len(body)}\r\n\r\n"
        )
        self.send(head.encode("latin-1") + body, done)
        status, data = await answered
        if not status:
            raise CentralUnreachable(
                f"{method} {path}: {data.decode(errors='replace')}",
                operator_hint="check the address, and central itself",
            )
        return status, data

    def give_back(self, connection: _Connection) -> None:
        """Take a connection that is done with its request."""
        if self._waiting and self._loop is not None:
            connection.write(*self._waiting.popleft(), self._loop.time())
        else:
            self._free.append(connection)

    def forget(self, connection: _Connection) -> None:
        """Have one connection less."""
        self._all.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if self._waiting and not self._closed:
            self._open_another()

    def _open_another(self) -> None:
        if len(self._all) + self._opening < self.size:
            self._opening += 1
            self._start(self._open())

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self), self._host, self._port, ssl=self._tls
                )
        except OSError as error:
            self._opening -= 1
            why = f"cannot connect: {error}".encode()
            # Those that wait beyond the size of the pool have nobody who connects for them.
            hopeless = 1 if self._all else len(self._waiting)
            for _, done in [self._waiting.popleft() for _ in range(hopeless) if self._waiting]:
                done(0, why)
            return
        self._opening -= 1
        self._all.add(connection)
        self.give_back(connection)

    async def _sweep(self) -> None:
        """End what is not answered in time."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            before_s = loop.time() - self._timeout_s
            for connection in list(self._all):
                if connection.done is not None and connection.began_s < before_s:
                    connection.abort("no answer in time")
