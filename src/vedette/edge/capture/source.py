"""Where packets come from: which source an address is, and those that PyAV (FFmpeg) opens.

Here: opening, demuxing and the translation of FFmpeg's errors into `SourceLost`. Not here:
retrying, times, decoding. The rules: FFmpeg is given the narrowest set of protocols and formats
that the source needs (a file that is really a playlist must not make the device fetch anything),
and no text of FFmpeg that may hold the address goes further.
"""

import errno
import itertools
import os
import stat
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol, cast

import av
import av.error
import av.logging
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vedette.clock import NS_PER_S, Clock
from vedette.edge.address import (
    DeviceAddress,
    Kind,
    device_address,
    kind_of,
    path_of,
    pipeline_words,
)
from vedette.edge.capture import device, gst
from vedette.edge.capture.folder import FolderStream, WatchedSource
from vedette.edge.capture.mjpeg import MjpegSource
from vedette.edge.capture.packets import StreamInfo
from vedette.edge.capture.rtsp import CameraSource
from vedette.edge.capture.rtsp.refusal import HINTS
from vedette.edge.capture.seam import Loss, SourceLost
from vedette.edge.capture.settings import CaptureSettings, RtspClient
from vedette.edge.capture.still import MAX_PIXELS, Stills
from vedette.edge.frame import stated_rotation
from vedette.logs import redact_url
from vedette.wire.streams import CAMERA_DOWN_AFTER_S

# FFmpeg would write to the process's stderr, addresses with passwords included.
av.logging.set_level(None)

# What PyAV lets out: FFmpeg's errors, and those of its own checks.
_PROBLEMS: Final = (av.error.FFmpegError, OSError, ValueError, RuntimeError, MemoryError)

_FOLDER_FPS: Final = 5.0
_TURNED_FORMATS: Final = ("mov", "matroska")  # those that carry a display matrix
_PROBE_PACKETS: Final = 32
_FILE_FORMATS: Final = "mov,matroska,webm,avi,mpegts,mpeg,h264,hevc,m4v,mjpeg,flv,ogg,ivf"


class OpenStream(Protocol):
    """One connection to a source, or one run through a file. Used by one thread only."""

    info: StreamInfo

    def packets(self) -> Iterator[av.Packet]:
        """Yield the video packets, an empty one last where the end was reached in order.

        Raises:
            SourceLost: The source broke off.
        """
        ...

    @property
    def codec_context(self) -> VideoCodecContext | Stills:
        """What decodes the packets."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


class Source(Protocol):
    """Something that can be opened again and again."""

    name: str  # without credentials
    live: bool

    def open(self) -> OpenStream:
        """Connect.

        Raises:
            SourceLost: It refused, or is no video.
        """
        ...


def make_source(settings: CaptureSettings, clock: Clock) -> Source:
    """Return the source that `settings.source` names; nothing is opened yet."""
    text = settings.source
    kind = kind_of(text)
    limits_s = (settings.open_timeout_s, settings.read_timeout_s)
    if kind is Kind.RTSP:
        return _rtsp(settings, clock)
    if kind is Kind.HTTP:
        slow_s = max(0.0, settings.silent_s - CAMERA_DOWN_AFTER_S)
        return MjpegSource(text, limits_s[0] + slow_s, limits_s[1] + slow_s / 2, clock)
    if kind is Kind.DEVICE:
        return DeviceSource(device_address(text), *limits_s)
    if kind is Kind.GSTREAMER:
        return GStreamerSource(pipeline_words(text), *limits_s)
    if kind is Kind.WATCHED:
        return WatchedSource(path_of(text), clock)
    return FileSource(path_of(text), settings.max_fps or _FOLDER_FPS)


def _rtsp(settings: CaptureSettings, clock: Clock) -> Source:
    text = settings.source
    limits_s = (settings.open_timeout_s, settings.read_timeout_s)
    ffmpeg = RtspSource(text, *limits_s, clock)
    if settings.rtsp_client is RtspClient.FFMPEG:
        return ffmpeg
    # FFmpeg checks no certificate: for rtsps it has to be asked for by name.
    may_fall_back = settings.rtsp_client is RtspClient.AUTO and text[:6].lower() != "rtsps:"
    return CameraSource(text, *limits_s, clock, other=ffmpeg if may_fall_back else None)


class RtspSource:
    """A camera over RTSP by FFmpeg's client, media interleaved in its TCP connection."""

    live = True

    def __init__(
        self, url: str, open_timeout_s: float, read_timeout_s: float, clock: Clock
    ) -> None:
        self.name = redact_url(url)
        self._url = url
        self._timeout_s = (open_timeout_s, read_timeout_s)
        self._clock = clock

    def open(self) -> OpenStream:
        """Connect, describe, set up and play.

        Raises:
            SourceLost: Refused, unauthorised, no such stream, no answer, garbage, no video.
        """
        options = {
            "rtsp_transport": "tcp",
            "allowed_media_types": "video",
            # The socket's own limit, besides PyAV's: one of them is always looked at.
            "timeout": str(round(self._timeout_s[0] * 1e6)),
            "protocol_whitelist": "rtp,tcp,tls,crypto,rtsp,rtsps,udp",
            "probesize": "2000000",
            "analyzeduration": "2000000",
            "max_pixels": str(MAX_PIXELS),
        }
        began_ns = self._clock.mono_ns()
        try:
            return _open(self._url, options, self._timeout_s, live=True)
        except SourceLost as lost:
            took_s = (self._clock.mono_ns() - began_ns) / NS_PER_S
            if lost.reason is Loss.GARBAGE and took_s >= self._timeout_s[0] * 0.9:
                # FFmpeg calls an answer that never came "invalid data" too.
                raise SourceLost(Loss.TIMEOUT, operator_hint=HINTS[Loss.TIMEOUT]) from None
            raise


class FileSource:
    """A video file, or a folder of pictures."""

    live = False

    def __init__(self, path: Path, folder_fps: float = _FOLDER_FPS) -> None:
        self.name = path.name
        self._path = path
        self._folder_fps = folder_fps
        self._turn: tuple[tuple[int, int], int] | None = None

    def open(self) -> OpenStream:
        """Open from the start.

        Raises:
            SourceLost: Missing, neither a file nor a folder, or no video.
        """
        try:
            found = self._path.stat()
            mode = found.st_mode
        except OSError as problem:
            raise SourceLost(
                Loss.NO_FILE, self.name, operator_hint="check the path in `source`"
            ) from problem
        if stat.S_ISDIR(mode):
            return FolderStream(self._path, self._folder_fps)
        if not stat.S_ISREG(mode):
            raise SourceLost(Loss.NO_FILE, f"{self.name} is not a regular file")
        options = {
            "protocol_whitelist": "file",
            "format_whitelist": _FILE_FORMATS,
            "probesize": "5000000",
            "max_pixels": str(MAX_PIXELS),
        }
        address = os.fspath(self._path.absolute())
        stream = _open(address, options, (20.0, 20.0), live=False)
        if stream.format.startswith(_TURNED_FORMATS):
            version = (found.st_mtime_ns, found.st_size)
            if self._turn is None or self._turn[0] != version:
                self._turn = version, _turn_of(_open(address, options, (20.0, 20.0), live=False))
            stream.info = replace(stream.info, rotation_deg=self._turn[1])
        return stream


class DeviceSource:
    """A USB or built-in camera, through V4L2."""

    live = True

    def __init__(
        self,
        wanted: DeviceAddress,
        open_timeout_s: float,
        read_timeout_s: float,
        *,
        driver: str = "v4l2",
        check: Callable[[Path], None] = device.check,
    ) -> None:
        """Name the device; `driver` is FFmpeg's input device, another one only in tests."""
        self.name = wanted.path
        self._wanted = wanted
        self._timeout_s = (open_timeout_s, read_timeout_s)
        self._driver = driver
        self._check = check

    def open(self) -> OpenStream:
        """Open the device and ask its driver for size, rate and format.

        Raises:
            SourceLost: Not there, no right to it, in use, or not able to do what was asked.
        """
        path = Path(self._wanted.path)
        self._check(path)
        try:
            return _open(
                self._wanted.path,
                device.options(self._wanted),
                self._timeout_s,
                live=True,
                file_format=self._driver,
                explain=lambda problem: device.refused(problem, path),
            )
        except SourceLost as lost:
            if lost.reason is Loss.CLOSED and not path.exists():
                raise device.refused(FileNotFoundError(errno.ENOENT, ""), path) from None
            raise


class GStreamerSource:
    """What a GStreamer pipeline gives."""

    live = True

    def __init__(self, words: list[str], open_timeout_s: float, read_timeout_s: float) -> None:
        self.name = redact_url(f"gst:{words[0]}")
        self._words = words
        self._open_s = open_timeout_s
        self._read_s = 2 * read_timeout_s

    def open(self) -> OpenStream:
        """Start the pipeline and wait for its first picture.

        Raises:
            SourceLost: Not installed, a mistake in the pipeline, no picture in time.
        """
        running = gst.Running(self._words, self._open_s)
        try:
            stream = _open(
                running,
                {"probesize": "32", "max_pixels": str(MAX_PIXELS)},
                None,
                live=True,
                file_format="matroska",
                explain=lambda problem: _why_gst(running, problem),
                close=running.close,
            )
        except SourceLost:
            running.close()
            raise
        running.read_s = self._read_s
        return stream


def _why_gst(running: gst.Running, problem: BaseException | None) -> SourceLost:
    if isinstance(problem, TimeoutError):
        return SourceLost(
            Loss.TIMEOUT,
            "GStreamer gives no picture",
            operator_hint="the pipeline hangs: try it by hand with gst-launch-1.0",
        )
    return running.why()


def _turn_of(stream: "_AvStream") -> int:
    """Return the turn that the first picture's display matrix asks for; 0 where none comes."""
    try:
        for packet in itertools.islice(stream.packets(), _PROBE_PACKETS):
            for video in stream.codec_context.decode(packet):
                return stated_rotation(video)
    except (SourceLost, *_PROBLEMS):
        return 0  # the run that follows says what is wrong
    finally:
        stream.close()
    return 0


Explain = Callable[[BaseException | None], SourceLost]
"""What an error of FFmpeg, or None for an end, means for one kind of source."""


class _AvStream:
    def __init__(
        self,
        container: InputContainer,
        explain: Explain,
        *,
        live: bool,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._container = container
        self._explain = explain
        self._live = live
        self._close = close
        self.format = container.format.name
        found = container.streams.video
        if not found or container.streams.video[0].codec_context is None:
            raise SourceLost(
                Loss.NO_VIDEO,
                operator_hint="the source has sound or data only, or a codec that FFmpeg lacks",
            )
        self._video = found[0]
        context = self._video.codec_context
        context.thread_count = 1
        context.options = {"max_pixels": str(MAX_PIXELS)}
        self.info = StreamInfo(
            codec=context.name,
            extradata=context.extradata or b"",
            width=context.width,
            height=context.height,
            announced_fps=_rate_of(self._video),
        )

    @property
    def codec_context(self) -> VideoCodecContext:
        return self._video.codec_context

    def packets(self) -> Iterator[av.Packet]:
        try:
            while not (yield from self._until_stranger()):
                pass
        except _PROBLEMS as problem:
            raise self._explain(problem) from None
        if self._live:
            raise self._explain(None)

    def _until_stranger(self) -> Generator[av.Packet, None, bool]:
        """Yield packets; return False at one of a stream that was not there when it was opened.

        PyAV knows no such stream and raises; what follows can be read all the same. Damaged
        transport streams invent them.
        """
        try:
            yield from self._container.demux(self._video)
        except IndexError:
            return False
        return True

    def close(self) -> None:
        self._container.close()
        self._close()


def _rate_of(video: VideoStream) -> float | None:
    """Return the rate that a container or camera announces; None where there is none."""
    rate = video.average_rate
    fps = float(rate) if rate else 0.0
    return fps if 0 < fps <= 1000 else None


def _open(
    address: str | gst.Running,
    options: dict[str, str],
    timeout_s: tuple[float, float] | None,
    *,
    live: bool,
    file_format: str | None = None,
    explain: Explain | None = None,
    close: Callable[[], None] = lambda: None,
) -> _AvStream:
    explain = explain or (lambda problem: _what_it_means(problem, live=live))
    try:
        container = cast(
            "InputContainer",
            av.open(address, "r", format=file_format, options=options, timeout=timeout_s),
        )
    except _PROBLEMS as problem:
        raise explain(problem) from None  # the original holds the address with its password
    try:
        return _AvStream(container, explain, live=live, close=close)
    except SourceLost:
        container.close()
        raise


_REASONS: Final[tuple[tuple[type[BaseException], Loss], ...]] = (
    (av.error.HTTPUnauthorizedError, Loss.UNAUTHORISED),
    (av.error.HTTPForbiddenError, Loss.FORBIDDEN),
    (av.error.HTTPNotFoundError, Loss.NOT_FOUND),
    (ConnectionRefusedError, Loss.REFUSED),
    (ConnectionResetError, Loss.CLOSED),
    (BrokenPipeError, Loss.CLOSED),
    (EOFError, Loss.CLOSED),
    (TimeoutError, Loss.TIMEOUT),
    (av.error.ExitError, Loss.TIMEOUT),
    (FileNotFoundError, Loss.NO_FILE),
    (av.error.InvalidDataError, Loss.GARBAGE),
    (av.error.DemuxerNotFoundError, Loss.GARBAGE),
)

# FFmpeg says EIO where a host's name cannot be found.
_UNREACHABLE: Final = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EIO}
)


def _what_it_means(problem: BaseException | None, *, live: bool) -> SourceLost:
    return SourceLost(Loss.CLOSED) if problem is None else translate(problem, live=live)


def translate(problem: BaseException, *, live: bool) -> SourceLost:
    """Return what FFmpeg's error means, without any text that may hold an address."""
    reason = next((loss for kind, loss in _REASONS if isinstance(problem, kind)), None)
    words = str(getattr(problem, "strerror", "") or type(problem).__name__)
    if reason is None:
        number = getattr(problem, "errno", None)
        reason = Loss.UNREACHABLE if live and number in _UNREACHABLE else Loss.FAILED
    if not live and isinstance(problem, EOFError | av.error.ArgumentError):
        # "Invalid argument" is what FFmpeg says to a format that is not on the list.
        return SourceLost(Loss.GARBAGE, "no file of a format that is read here, or cut off")
    detail = words if reason in (Loss.FAILED, Loss.UNREACHABLE, Loss.GARBAGE) else ""
    return SourceLost(reason, detail, operator_hint=HINTS.get(reason) if live else None)
