"""Receivers on loopback for tests of channels: an HTTP server that answers as it is told."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec


class Got(msgspec.Struct, frozen=True):
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: bytes


Answer = bytes | Callable[[Got, asyncio.StreamWriter], Awaitable[bytes | None]]
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: int, head: str = "", body: bytes = b"") -> bytes:
    """An answer with a status."""
    return f"HTTP/1.1 {status} X\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Receiver:
    """What came, and what is answered: the first of `answers` until it is the last one."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answers: list[Answer] = [OK]
        self.port = 0
        self.connections = 0
        self.came = asyncio.Condition()

    async def wait_for(self, count: int) -> None:
        """Wait until so many requests came."""
        async with asyncio.timeout(20), self.came:
            await self.came.wait_for(lambda: len(self.got) >= count)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request, answer it, close."""
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            pairs = (line.partition(": ") for line in lines[1:] if line)
            headers = {name.lower(): value for name, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            got = Got(lines[0].split()[1], headers, body)
            async with self.came:
                self.got.append(got)
                self.came.notify_all()
            now = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            reply = now if isinstance(now, bytes) else await now(got, writer)
            if reply is not None:
                writer.write(reply)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Give a receiver that listens on loopback."""
    receiver = Receiver()
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await receiver.handle(reader, writer)
        except asyncio.CancelledError:
            writer.close()
        finally:
            handlers.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


@contextmanager
def receiving_apart() -> Iterator[Receiver]:
    """Give a receiver with a thread of its own: for tests whose client holds the loop."""
    ready = threading.Event()
    held: list[tuple[Receiver, asyncio.Event, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        over = asyncio.Event()
        async with receiving() as receiver:
            held.append((receiver, over, asyncio.get_running_loop()))
            ready.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    receiver, over, loop = held[0]
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
