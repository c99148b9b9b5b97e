"""What stands in a camera's `source`: which kind it is, its parts, and what is refused.

Here: reading the text, so that a mistake in it is said when the configuration is loaded. Not here:
opening anything (`edge.capture`). The rule: what is not known is refused with the list of what is;
nothing is guessed from an address, and no part of it is ever a shell's.

    rtsp://… rtsps://…        an RTSP camera
    http://… https://…        motion JPEG over HTTP
    /dev/video0               a camera of this machine; also v4l2:/dev/video0?size=1280x720
    gst:filesrc location=…    a GStreamer pipeline that ends in video
    watch:folder              a folder into which pictures fall, live
    path (file:path)          a video file, or a folder of pictures from the first to the last
"""

import enum
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from vedette.errors import ConfigError

MAX_ADDRESS: Final = 4096


class Kind(enum.Enum):
    """What a source is; a path is a file or a folder, which only the disk knows."""

    RTSP = "rtsp"
    HTTP = "http"
    DEVICE = "v4l2"
    GSTREAMER = "gst"
    WATCHED = "watch"
    PATH = "path"


_SCHEMES: Final = {
    "rtsp": Kind.RTSP,
    "rtsps": Kind.RTSP,
    "http": Kind.HTTP,
    "https": Kind.HTTP,
}
_LIVE: Final = frozenset({Kind.RTSP, Kind.HTTP, Kind.DEVICE, Kind.GSTREAMER, Kind.WATCHED})
_KEPT: Final = frozenset({Kind.RTSP, Kind.HTTP, Kind.PATH})
"""What an `evidence_source` may be: only these give encoded video that was not made here."""

_KNOWN: Final = (
    "write rtsp://…, rtsps://…, http://… or https://… (motion JPEG), /dev/video0, gst:…, "
    "watch:folder, or the path of a video file or a folder of pictures"
)
_DEVICE: Final = re.compile(r"/dev/(?:video\d{1,3}|v4l/by-(?:id|path)/[\w.:+@-]{1,200})")
_SIZE: Final = re.compile(r"(\d{2,4})x(\d{2,4})")
_PIXELS: Final = frozenset({"mjpeg", "h264", "yuyv422", "uyvy422", "nv12", "yuv420p", "gray"})


@dataclass(frozen=True, slots=True)
class DeviceAddress:
    """A camera of this machine: what is asked of its driver; None and empty leave it the choice."""

    path: str
    size: tuple[int, int] | None = None
    fps: int | None = None
    format: str = ""


def kind_of(source: str) -> Kind:
    """Return what `source` is.

    Raises:
        ConfigError: A scheme that is not read here.
    """
    scheme, mark, _ = source.partition("://")
    if mark and "/" not in scheme and ":" not in scheme and " " not in scheme:
        kind = _SCHEMES.get(scheme.lower())
        if kind is None and scheme.lower() != "file":
            raise ConfigError(f"{scheme[:20]}:// is not supported", operator_hint=_KNOWN)
        return kind or Kind.PATH
    for prefix, kind in (("gst:", Kind.GSTREAMER), ("watch:", Kind.WATCHED)):
        if source.startswith(prefix):
            return kind
    if source.startswith(("v4l2:", "/dev/video", "/dev/v4l/")):
        return Kind.DEVICE
    return Kind.PATH


def is_live(source: str) -> bool:
    """True where pictures come at their own time and cannot be asked for again."""
    return kind_of(source) in _LIVE


def is_raw(source: str) -> bool:
    """True where a source is sure to give pictures that nobody encoded: no clip can be cut."""
    kind = kind_of(source)
    if kind is Kind.DEVICE:
        return device_address(source).format in _PIXELS - {"mjpeg", "h264"}
    return kind is Kind.GSTREAMER


def check_source(source: str) -> None:
    """Raise `ConfigError` where nothing could ever be read from `source`; empty says nothing."""
    if len(source) > MAX_ADDRESS or not source.isprintable():
        raise ConfigError("source: too long, or with control characters", operator_hint=_KNOWN)
    kind = kind_of(source)
    if kind in (Kind.RTSP, Kind.HTTP):
        _check_url(source)
    elif kind is Kind.DEVICE:
        device_address(source)
    elif kind is Kind.GSTREAMER:
        pipeline_words(source)
    elif kind is Kind.WATCHED and not source.removeprefix("watch:"):
        raise ConfigError("watch: names no folder", operator_hint="write watch:/path/of/folder")


def check_evidence_source(source: str) -> None:
    """Raise `ConfigError` where a source cannot be the stream that clips are cut from."""
    check_source(source)
    if source and kind_of(source) not in _KEPT:
        raise ConfigError(
            "evidence_source: only a stream that is encoded already can be kept",
            operator_hint="write an rtsp:// or http:// address, or the path of a video file",
        )


def path_of(source: str) -> Path:
    """Return the path that a source of kind `PATH` or `WATCHED` names."""
    if source.startswith("file://"):
        return Path(source.removeprefix("file://"))
    return Path(source.removeprefix("file:").removeprefix("watch:"))


def device_address(source: str) -> DeviceAddress:
    """Return the parts of `/dev/video0` or `v4l2:/dev/video0?size=1280x720&fps=15&format=mjpeg`.

    Raises:
        ConfigError: No video device, or an option that is not known or not sane.
    """
    path, _, query = source.removeprefix("v4l2:").partition("?")
    if not _DEVICE.fullmatch(path) or ".." in path:
        raise ConfigError(
            f"{path[:80]!r} is no video device",
            operator_hint="write /dev/video0 or /dev/v4l/by-id/… (see: ls -l /dev/v4l/by-id)",
        )
    size, fps, pixels = None, None, ""
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=8):
        if name == "size" and (found := _SIZE.fullmatch(value)):
            size = (int(found[1]), int(found[2]))
        elif name == "fps" and value.isdecimal() and 1 <= int(value) <= 240:
            fps = int(value)
        elif name == "format" and value in _PIXELS:
            pixels = value
        else:
            raise ConfigError(
                f"{name[:20]}={value[:20]} is no option of a video device",
                operator_hint="size=1280x720, fps=15, format= one of: "
                + ", ".join(sorted(_PIXELS)),
            )
    return DeviceAddress(path, size, fps, pixels)


def pipeline_words(source: str) -> list[str]:
    """Return a GStreamer description as the words of a command: quotes are read, nothing else.

    Raises:
        ConfigError: Empty, a quote that is not closed, or an element that ends the pipeline itself.
    """
    try:
        words = shlex.split(source.removeprefix("gst:"))
    except ValueError as error:
        raise ConfigError(
            f"gst: {error}", operator_hint="close every quote in the pipeline"
        ) from error
    if not words:
        raise ConfigError(
            "gst: no pipeline follows",
            operator_hint="write gst:rtspsrc location=… ! rtph264depay ! avdec_h264",
        )
    if words[0].startswith("-"):
        raise ConfigError(
            f"gst: a pipeline begins with an element, not with {words[0][:20]!r}",
            operator_hint="write gst:rtspsrc location=… ! rtph264depay ! avdec_h264",
        )
    return words


def _check_url(source: str) -> None:
    try:
        parts = urlsplit(source)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(
            "source: no address", operator_hint="write scheme://user:password@host:port/path"
        ) from error
    if not parts.hostname:
        raise ConfigError("source: no host in it", operator_hint="write scheme://host:port/path")
