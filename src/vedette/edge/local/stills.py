"""From the bytes of a still picture to its planes, turned as its own data says.

The rule: what a picture declares is looked at before memory is taken for it, and what decodes it is
what decodes cameras' pictures.
"""

from dataclasses import dataclass
from typing import Final

import av.error

from vedette.edge.capture.still import MAX_PIXELS, Stills, as_packet, is_too_large, recognise
from vedette.edge.frame import planes, stated_rotation, turned
from vedette.errors import DecodeFailed
from vedette.vision.picture import Picture

FORMATS: Final = "JPEG, PNG, WebP, BMP or TIFF"


@dataclass(frozen=True, slots=True)
class Still:
    """A decoded picture.

    Attributes:
        picture: Its planes, after turning.
        format: FFmpeg's name of its codec.
        turned_deg: By how much it was turned clockwise, because its EXIF data says so.
    """

    picture: Picture
    format: str
    turned_deg: int


def decode(data: bytes) -> Still:
    """Return the picture in `data`. Thread: any; each call has a decoder of its own.

    Raises:
        DecodeFailed: No picture of a format that is read here, broken, or too large.
    """
    info = recognise(data)
    if info is None:
        raise DecodeFailed(
            "the body is no picture of a known format", operator_hint=f"send {FORMATS}"
        )
    if is_too_large(info):
        raise DecodeFailed(
            f"{info.width}x{info.height} pixels are too many",
            operator_hint=f"send at most {MAX_PIXELS // 10**6} million pixels",
        )
    try:
        found = Stills(strict=True).decode(as_packet(data))
    except (av.error.FFmpegError, ValueError, MemoryError) as problem:
        raise DecodeFailed(
            f"the {info.codec} picture cannot be decoded", operator_hint="it is broken: send again"
        ) from problem
    if not found:
        raise DecodeFailed(
            f"the {info.codec} picture ends too early", operator_hint="send the whole file"
        )
    turn = stated_rotation(found[0])
    return Still(turned(planes(found[0]), turn), info.codec, turn)
