"""Single pictures as files and cameras send them: which codec, how large, and decoding each alone.

Here: recognising JPEG, PNG, WebP, BMP and TIFF by their first bytes, and a decoder that takes them
in any order, each by its own codec. Not here: where they come from. The rule: what a picture
declares is looked at before memory is taken for it.

Source: ITU-T T.81 (JPEG, B.2.2), ISO/IEC 15948 (PNG, 11.2.2), RFC 9649 (WebP).
"""

from typing import Final, cast

import av
from av.video.codeccontext import VideoCodecContext

from vedette.edge.capture.packets import StreamInfo

MAX_PIXELS: Final = 8192 * 4608
"""A picture that declares more than this is refused before memory is taken for it."""

_MAGIC: Final = (
    (b"\xff\xd8\xff", "mjpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)
_JPEG_SIZES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MAX_SEGMENTS: Final = 200


def recognise(data: bytes) -> StreamInfo | None:
    """Return codec and size (0 where the first bytes do not tell) of a picture; None for others."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return StreamInfo("webp", b"")
    codec = next((name for magic, name in _MAGIC if data.startswith(magic)), None)
    if codec is None:
        return None
    width, height = 0, 0
    if codec == "mjpeg":
        width, height = _jpeg_size(data)
    elif codec == "png" and len(data) >= 24:
        width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return StreamInfo(codec, b"", width, height)


def is_too_large(info: StreamInfo) -> bool:
    """True where the declared picture would not fit `MAX_PIXELS`."""
    return info.width * info.height > MAX_PIXELS


def new_context(codec: str, *, strict: bool = False) -> VideoCodecContext:
    """Return a decoder for single pictures; a strict one refuses those that end too early."""
    context = cast("VideoCodecContext", av.CodecContext.create(codec, "r"))
    context.thread_count = 1
    context.options = {"max_pixels": str(MAX_PIXELS)}
    if strict:
        context.options = {**context.options, "err_detect": "explode"}
    return context


class Stills:
    """Decodes single pictures, whatever codec each has. Thread: one.

    Args:
        strict: Refuse a picture that ends too early, instead of filling up what is missing.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self.skip_frame = "DEFAULT"  # nothing refers to anything: there is nothing to skip
        self._contexts: dict[str, VideoCodecContext] = {}

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """Return the packet's picture; nothing at the end, for nothing is held back.

        Raises:
            ValueError, av.error.FFmpegError: No picture, a broken or a huge one.
        """
        if packet is None:
            return []
        info = recognise(bytes(packet))
        if info is None:
            raise ValueError("no picture of a format that is read here")
        if is_too_large(info):
            raise ValueError(f"{info.width}x{info.height} pixels are too many")
        if info.codec not in self._contexts:
            self._contexts[info.codec] = new_context(info.codec, strict=self._strict)
        return self._contexts[info.codec].decode(packet)


def as_packet(data: bytes) -> av.Packet:
    """Return a picture as the packet that it is: one that needs no other."""
    packet = av.Packet(data)
    packet.is_keyframe = True
    return packet


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Return width and height of the first frame header; zeros where there is none in reach."""
    at = 2
    for _ in range(_MAX_SEGMENTS):
        if at + 9 > len(data) or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _JPEG_SIZES:
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            return int.from_bytes(data[at + 7 : at + 9], "big"), height
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return 0, 0
