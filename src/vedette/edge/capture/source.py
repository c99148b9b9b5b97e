"""Where packets come from: RTSP cameras and files, through PyAV (FFmpeg).

Here: opening, demuxing and the translation of FFmpeg's errors into `SourceLost`. Not here:
retrying, times, decoding. The rules: FFmpeg is given the narrowest set of protocols and formats
that the source needs (a file that is really a playlist must not make the device fetch anything),
and no text of FFmpeg that may hold the address goes further.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final, Protocol, cast

import av
import av.error
import av.logging
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext

from vedette.clock import NS_PER_S, Clock
from vedette.edge.address import Kind, kind_of, path_of
from vedette.edge.capture.packets import StreamInfo
from vedette.edge.capture.seam import Loss, SourceLost
from vedette.edge.capture.settings import CaptureSettings
from vedette.logs import redact_url

# FFmpeg would write to the process's stderr, addresses with passwords included.
av.logging.set_level(None)

MAX_PIXELS: Final = 8192 * 4608
"""A picture that declares more than this is refused before memory is taken for it."""

# What PyAV lets out: FFmpeg's errors, and those of its own checks.
_PROBLEMS: Final = (av.error.FFmpegError, OSError, ValueError, RuntimeError, MemoryError)

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
    def codec_context(self) -> VideoCodecContext:
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
    if kind is Kind.RTSP:
        return RtspSource(text, settings.open_timeout_s, settings.read_timeout_s, clock)
    return FileSource(path_of(text))


class RtspSource:
    """A camera over RTSP, media interleaved in its TCP connection."""

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
                raise SourceLost(Loss.TIMEOUT, operator_hint=_HINTS[Loss.TIMEOUT]) from None
            raise


class FileSource:
    """A video file."""

    live = False

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path

    def open(self) -> OpenStream:
        """Open from the start.

        Raises:
            SourceLost: Missing, not a regular file, or no video.
        """
        try:
            mode = self._path.stat().st_mode
        except OSError as problem:
            raise SourceLost(
                Loss.NO_FILE, self.name, operator_hint="check the path in `source`"
            ) from problem
        if not stat.S_ISREG(mode):
            raise SourceLost(Loss.NO_FILE, f"{self.name} is not a regular file")
        options = {
            "protocol_whitelist": "file",
            "format_whitelist": _FILE_FORMATS,
            "probesize": "5000000",
            "max_pixels": str(MAX_PIXELS),
        }
        return _open(os.fspath(self._path.absolute()), options, (20.0, 20.0), live=False)


class _AvStream:
    def __init__(self, container: InputContainer, *, live: bool) -> None:
        self._container = container
        self._live = live
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
        )

    @property
    def codec_context(self) -> VideoCodecContext:
        return self._video.codec_context

    def packets(self) -> Iterator[av.Packet]:
        try:
            while not (yield from self._until_stranger()):
                pass
        except _PROBLEMS as problem:
            raise translate(problem, live=self._live) from None
        if self._live:
            raise SourceLost(Loss.CLOSED)

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


def _open(
    address: str, options: dict[str, str], timeout_s: tuple[float, float], *, live: bool
) -> OpenStream:
    try:
        container = cast(
            "InputContainer", av.open(address, mode="r", options=options, timeout=timeout_s)
        )
    except _PROBLEMS as problem:
        raise translate(
            problem, live=live
        ) from None  # the original holds the address with its password
    try:
        return _AvStream(container, live=live)
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

_HINTS: Final[dict[Loss, str]] = {
    Loss.REFUSED: "check the camera's address and that RTSP is switched on in it",
    Loss.UNREACHABLE: "check the camera's cable, power and address",
    Loss.UNAUTHORISED: "check user and password in the camera's `source`",
    Loss.FORBIDDEN: "this user may not see the stream: change it in the camera",
    Loss.NOT_FOUND: "check the path in the camera's `source`",
    Loss.TIMEOUT: "the camera or the network to it hangs: power-cycle it if this stays",
    Loss.GARBAGE: "the address answers, but not with video: check port and path",
}


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
    return SourceLost(reason, detail, operator_hint=_HINTS.get(reason) if live else None)
