"""A TCP proxy on loopback whose link can be cut, held, slowed and mended while it is in use.

It stands between a device and central, or between a camera and a device. One thread, one asyncio
loop. The rule: bytes that a mended link lets through are exactly the bytes that were sent, in
order; a cut link loses whole connections, never parts of a stream that go on.
"""

import asyncio
import enum
import threading
from types import TracebackType
from typing import Final

import msgspec

from vedette.errors import ConfigError

_CHUNK_BYTES: Final = 16_384


class Link(enum.StrEnum):
    """What the network does."""

    UP = "up"
    CUT = "cut"  # connections are reset, new ones are reset as soon as they come
    BLACKHOLE = "blackhole"  # connections stay and are accepted, nothing passes


class Weather(msgspec.Struct, frozen=True):
    """How good the link is while it is up: delay each way, and bytes per second (None: free)."""

    delay_s: float = 0.0
    bytes_per_s: float | None = None


class NetCut:
    """The proxy. Thread: any; its loop runs in its own.

    Attributes:
        passed_bytes: Bytes handed on, both ways.
        connections: Connections accepted so far.
    """

    def __init__(self, target_port: int, *, target_host: str = "127.0.0.1", port: int = 0) -> None:
        self.link = Link.UP
        self.weather = Weather()
        self.passed_bytes = 0
        self.connections = 0
        self._target = (target_host, target_port)
        self._port = port
        self._loop: asyncio.AbstractEventLoop  # made by `start`
        self._thread = threading.Thread(target=self._run, name="sim-netcut", daemon=True)
        self._ready = threading.Event()
        self._failed: OSError | None = None
        self._stop = asyncio.Event()
        self._mended = asyncio.Event()
        self._mended.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> "NetCut":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    def start(self) -> None:
        """Listen from now on.

        Raises:
            ConfigError: The port cannot be had.
        """
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise ConfigError(
                f"cannot listen on port {self._port}: {self._failed}",
                operator_hint="choose another port",
            ) from self._failed

    def stop(self) -> None:
        """Reset every connection and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def set_link(self, link: Link) -> None:
        """Cut, hold or mend the link; True for every connection when this returns."""
        asyncio.run_coroutine_threadsafe(self._set_link(link), self._loop).result(timeout=5.0)

    def set_weather(self, weather: Weather) -> None:
        """Delay and slow what passes from now on."""
        self.weather = weather

    async def _set_link(self, link: Link) -> None:
        self.link = link
        if link is Link.BLACKHOLE:
            self._mended.clear()
        else:
            self._mended.set()
        if link is Link.CUT:
            self._reset_all()

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        try:
            listener = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        except OSError as error:
            self._failed = error
            self._ready.set()
            return
        self._port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        listener.close()
        self.link = Link.CUT
        self._mended.set()
        self._reset_all()
        while self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._mended.wait()
            if self.link is Link.CUT:
                writer.transport.abort()
                return
            await self._join(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()  # nobody there: what a dead server looks like from here
            return
        self._writers.add(far_writer)
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._writers.discard(far_writer)
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK_BYTES):
                await self._mended.wait()
                weather = self.weather
                pause_s = weather.delay_s
                if weather.bytes_per_s:
                    pause_s += len(data) / weather.bytes_per_s
                if pause_s:
                    await asyncio.sleep(pause_s)
                    await self._mended.wait()
                if writer.transport.is_closing():
                    return
                writer.write(data)
                await writer.drain()
                self.passed_bytes += len(data)
            if writer.can_write_eof() and not writer.transport.is_closing():
                writer.write_eof()
        except OSError:
            writer.transport.abort()
