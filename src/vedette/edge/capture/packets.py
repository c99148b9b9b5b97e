"""Encoded video as it came from the source, in a form that outlives the connection.

Here: what the packet ring keeps and evidence is made of. Not here: decoding. The rule: a packet
owns its bytes and carries its times on the camera's timeline (see `Frame.t_s`), so that nothing
has to remember the connection, its time base or its jumps.
"""

from dataclasses import dataclass, field
from typing import Final

RAW_CODECS: Final = frozenset({"rawvideo", "wrapped_avframe"})
"""Pictures that were never encoded: each stands alone, and they are too large to keep for clips."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a decoder must know before the first packet; equal ones can share one clip.

    Attributes:
        codec: FFmpeg's name: `h264`, `hevc`, `mjpeg`, …
        extradata: Parameter sets, as avcC/hvcC record or Annex-B; empty where they are in-band.
        width: Pixels as announced; 0 where unknown until decoded.
        height: Pixels as announced; 0 where unknown until decoded.
        rotation_deg: Clockwise turn under which it is to be shown: 0, 90, 180 or 270. The packets
            and the sizes above are not turned.
        announced_fps: As the stream says, whatever comes; None where it does not say.
        server: How the camera's server names itself. Neither makes another stream of one.
    """

    codec: str
    extradata: bytes = field(repr=False)
    width: int = 0
    height: int = 0
    rotation_deg: int = 0
    announced_fps: float | None = field(default=None, compare=False)
    server: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """One encoded picture, in decoding order.

    Attributes:
        data: The bytes as the source sent them (Annex-B or length-prefixed, see `info`).
        t_s: When it is shown, on the camera's timeline.
        dts_s: When it is decoded, on the same timeline; never goes back.
        keyframe: True where a clip may begin with it.
        received_mono_ns: Monotonic time at which it was here.
        at_ms: Wall time it is dated with, milliseconds since 1970 UTC.
        info: The stream it belongs to.
    """

    data: bytes = field(repr=False)
    t_s: float
    dts_s: float
    keyframe: bool
    received_mono_ns: int
    at_ms: int
    info: StreamInfo
