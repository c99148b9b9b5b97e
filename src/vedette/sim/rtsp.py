"""An RTSP 1.0 server that plays cameras: real protocol, real time, faults on demand.

    with RtspServer(SystemClock()) as server:
        door = server.add("door", {"normal": clip, "covered": dark})
        ... read server.url("door") ...
        door.set_fault(Fault.STALL)

One thread runs an asyncio loop; every mount is one live film (`sim.reel`) that all its viewers
share, as with a camera. RTP goes over the RTSP connection (TCP interleaved) only. Here live
connections, sessions and pacing; bytes are in `sim.rtp`, requests in `sim.rtsp_request`.
"""

import asyncio
import logging
import secrets
import ssl
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from vedette.clock import Clock
from vedette.errors import ConfigError, WireError
from vedette.sim.clip import Clip
from vedette.sim.mount import Fault, Mount, Viewer
from vedette.sim.rtsp_request import Gatekeeper, Request, answer, read_request

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 64


class _Connection:
    """One client's connection and its session. Thread: the server's loop."""

    def __init__(
        self,
        server: "RtspServer",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._session = ""
        self._channels = (0, 1)
        self._viewer: Viewer | None = None
        self._mount: Mount | None = None

    async def serve(self) -> None:
        """Answer requests until the client leaves, misbehaves or is silent for too long."""
        try:
            while True:
                async with asyncio.timeout(self._server.session_timeout_s):
                    request = await read_request(self._reader)
                if request is None or not await self._answer(request):
                    break
        except WireError:
            self._writer.write(answer(400, "0"))
            log.info("refused an RTSP request", extra={"event": "sim.rtsp_refused"})
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away: what servers see all day
        finally:
            if self._mount is not None and self._viewer is not None:
                self._mount.leave(self._viewer)
            self._writer.close()

    async def _answer(self, request: Request) -> bool:
        if not request.method:
            return True
        mount = self._server.mount_of(request.url)
        fault = mount.fault if mount else Fault.NONE
        if fault is Fault.GONE:
            self._writer.transport.abort()
            return False
        if fault is Fault.SILENT:
            return True
        status, headers, body = self._decide(request, mount)
        self._writer.write(answer(status, request.sequence, headers, body))
        await self._writer.drain()
        if request.method == "PLAY" and status == 200 and mount and self._viewer:
            self._viewer.send(mount.group_so_far(), keyframe=True)
        return request.method != "TEARDOWN"

    def _decide(self, request: Request, mount: Mount | None) -> tuple[int, dict[str, str], bytes]:
        if request.version != "RTSP/1.0":
            return 505, {}, b""
        if request.method == "OPTIONS":
            names = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
            return 200, {"Public": names}, b""
        if mount is None or mount.fault is Fault.NOT_FOUND:
            return 404, {}, b""
        gate = self._server.gatekeeper
        if mount.fault is Fault.UNAUTHORISED or not gate.admits(request):
            return 401, gate.challenge(), b""
        if request.method == "DESCRIBE":
            base = request.url.rstrip("/") + "/"
            return (
                200,
                {"Content-Type": "application/sdp", "Content-Base": base},
                mount.describe(),
            )
        if request.method == "SETUP":
            return self._setup(request)
        if not self._session or request.headers.get("session", "").split(";")[0] != self._session:
            return 454, {}, b""
        return self._in_session(request, mount)

    def _setup(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        wanted = request.headers.get("transport", "")
        offer = next((part for part in wanted.split(",") if "RTP/AVP/TCP" in part), None)
        if offer is None or self._viewer is not None:
            return 461, {}, b""
        for field in offer.split(";"):
            name, _, value = field.strip().partition("=")
            low, _, high = value.partition("-")
            if name == "interleaved" and low.isdigit() and int(low) < 255:
                self._channels = (int(low), int(high) & 0xFF if high.isdigit() else int(low) + 1)
        self._session = secrets.token_hex(8)
        low, high = self._channels
        return (
            200,
            {
                "Transport": f"RTP/AVP/TCP;unicast;interleaved={low}-{high}",
                "Session": f"{self._session};timeout={round(self._server.session_timeout_s)}",
            },
            b"",
        )

    def _in_session(self, request: Request, mount: Mount) -> tuple[int, dict[str, str], bytes]:
        session = {"Session": self._session}
        if request.method == "PLAY":
            if self._viewer is not None:
                return 200, session, b""
            self._viewer = Viewer(self._writer, self._channels)
            self._mount = mount
            seq, stamp = mount.join(self._viewer)
            url = request.url.rstrip("/") + "/track1"
            info = f"url={url};seq={seq};rtptime={stamp}"
            return 200, {**session, "Range": "npt=now-", "RTP-Info": info}, b""
        if request.method in ("GET_PARAMETER", "SET_PARAMETER", "TEARDOWN"):
            return 200, session, b""
        return 405, {}, b""


class RtspServer:
    """The server: one port, any number of mounts. Thread: any; its loop runs in its own."""

    def __init__(
        self,
        clock: Clock,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        users: Mapping[str, str] | None = None,
        auth: str = "digest",
        session_timeout_s: float = 60.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.gatekeeper = Gatekeeper(users or {}, scheme=auth)
        self.session_timeout_s = session_timeout_s
        self._users = dict(users or {})
        self._tls = tls
        self._clock = clock
        self._host = host
        self._port = port
        self._mounts: dict[str, Mount] = {}
        self._loop: asyncio.AbstractEventLoop  # made by `start`
        self._thread = threading.Thread(target=self._run, name="sim-rtsp", daemon=True)
        self._ready = threading.Event()
        self._failed: OSError | None = None
        self._stop: asyncio.Event | None = None
        self._producers: list[asyncio.Task[None]] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._alone = asyncio.Event()
        self._alone.set()

    def __enter__(self) -> "RtspServer":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen and serve from now on.

        Raises:
            ConfigError: The port cannot be had.
        """
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise ConfigError(
                f"cannot listen on {self._host}:{self._port}: {self._failed}",
                operator_hint="choose another port",
            ) from self._failed

    def stop(self) -> None:
        """Drop every client and end the thread."""
        if self._thread.is_alive() and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    def url(self, name: str) -> str:
        """Return a mount's address, with credentials where the server asks for them."""
        user = next(iter(self._users.items()), None)
        login = f"{user[0]}:{user[1]}@" if user else ""
        scheme = "rtsps" if self._tls else "rtsp"
        return f"{scheme}://{login}{self._host}:{self._port}/{name}"

    def add(self, name: str, clips: Mapping[str, Clip], shown: str = "normal") -> Mount:
        """Return a new camera that begins to play at once."""
        if shown not in clips:
            raise ConfigError(f"mount {name!r} has no clip {shown!r}")
        mount = Mount(name, clips, shown, self._loop)
        asyncio.run_coroutine_threadsafe(self._add(mount), self._loop).result(timeout=5.0)
        return mount

    def mount_of(self, url: str) -> Mount | None:
        """Return the mount that a request's address names."""
        path = urlsplit(url).path.strip("/")
        return self._mounts.get(path) or self._mounts.get(path.rpartition("/")[0])

    async def _add(self, mount: Mount) -> None:
        self._mounts[mount.name] = mount
        self._producers.append(self._loop.create_task(mount.produce(self._clock)))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        try:
            listener = await asyncio.start_server(
                self._accept, self._host, self._port, limit=16_384, ssl=self._tls
            )
        except OSError as error:
            self._failed = error
            self._ready.set()
            return
        self._port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        listener.close()
        for producer in self._producers:
            producer.cancel()
        await asyncio.gather(*self._producers, return_exceptions=True)
        for writer in list(self._writers):
            writer.transport.abort()
        await self._alone.wait()  # each connection ends by itself when its transport is gone

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._writers.add(writer)
        self._alone.clear()
        try:
            await _Connection(self, reader, writer).serve()
        finally:
            self._writers.discard(writer)
            if not self._writers:
                self._alone.set()
