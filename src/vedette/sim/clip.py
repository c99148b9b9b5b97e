"""A prepared H.264 or H.265 clip in memory, as access units that a camera can send again and again.

Reading the container is all that happens here; nothing is decoded, paced or sent.
"""

import base64
from fractions import Fraction
from pathlib import Path

import av
import msgspec
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from vedette.errors import ConfigError
from vedette.sim.rtp import (
    CLOCK_HZ,
    HEVC_SETS,
    NAL_PPS,
    NAL_SPS,
    hevc_type,
    nal_type,
    split_annex_b,
)


class AccessUnit(msgspec.Struct, frozen=True):
    """One coded picture.

    Attributes:
        nals: Its NAL units without start codes; parameter sets stand before a keyframe's slices.
        send_ticks: When it is sent, in 90 kHz ticks from the clip's start (decoding order).
        pts_ticks: When it is shown, in the same ticks.
    """

    nals: list[bytes]
    send_ticks: int
    pts_ticks: int
    keyframe: bool


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """A whole clip; `duration_ticks` is where the next round of it begins."""

    units: list[AccessUnit]
    duration_ticks: int
    width: int
    height: int
    codec: str = "h264"

    def rtp_name(self) -> str:
        """Return the encoding's name in a session description."""
        return "H265" if self.codec == "hevc" else "H264"

    def parameters(self) -> str:
        """Return the format parameters of a session description (RFC 6184 8.1, RFC 7798 7.1)."""
        first = self.units[0].nals
        if self.codec == "hevc":
            names = zip(("sprop-vps", "sprop-sps", "sprop-pps"), HEVC_SETS, strict=True)
            return ";".join(
                f"{name}={base64.b64encode(nal).decode()}"
                for name, kind in names
                for nal in first
                if hevc_type(nal) == kind
            )
        sets = [nal for nal in first if nal_type(nal) in (NAL_SPS, NAL_PPS)]
        sps = next(nal for nal in first if nal_type(nal) == NAL_SPS)
        spoken = ",".join(base64.b64encode(nal).decode() for nal in sets)
        level = sps[1:4].hex()
        return f"packetization-mode=1;profile-level-id={level};sprop-parameter-sets={spoken}"

    def frame_ticks(self) -> int:
        """Return the mean time between pictures."""
        return max(1, self.duration_ticks // len(self.units))


def load_clip(path: Path) -> Clip:
    """Return the H.264 or H.265 video of a file, from its first keyframe.

    Raises:
        ConfigError: Not readable, neither in it, or no keyframe.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.codec_context.name not in ("h264", "hevc"):
                raise ConfigError(
                    f"{path.name} is {stream.codec_context.name}, not H.264 or H.265",
                    operator_hint="prepare it with `vedette sim footage`",
                )
            return _read(container, stream, path.name)
    except (FFmpegError, IndexError) as error:
        raise ConfigError(
            f"cannot read a video from {path.name}: {error}",
            operator_hint="give a video file with an H.264 track",
        ) from error


def _read(container: InputContainer, stream: VideoStream, name: str) -> Clip:
    codec = stream.codec_context.name
    to_annex_b = BitStreamFilterContext(f"{codec}_mp4toannexb", stream)
    base = stream.time_base or Fraction(1, CLOCK_HZ)
    units: list[AccessUnit] = []
    first: int | None = None
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        for out in to_annex_b.filter(packet):
            if not units and not out.is_keyframe:
                continue
            sent = out.dts if out.dts is not None else out.pts
            if sent is None:
                continue
            first = sent if first is None else first
            shown = out.pts if out.pts is not None else sent
            units.append(
                AccessUnit(
                    split_annex_b(bytes(out)),
                    round((sent - first) * base * CLOCK_HZ),
                    round((shown - first) * base * CLOCK_HZ),
                    out.is_keyframe,
                )
            )
    if not units or not _has_sets(units[0].nals, codec):
        raise ConfigError(f"no keyframe with parameter sets in {name}")
    last = units[-1].send_ticks
    step = last // (len(units) - 1) if len(units) > 1 else CLOCK_HZ // 10
    return Clip(
        units=units,
        duration_ticks=last + step,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        codec=codec,
    )


def _has_sets(nals: list[bytes], codec: str) -> bool:
    if codec == "hevc":
        return set(HEVC_SETS) <= {hevc_type(nal) for nal in nals}
    return any(nal_type(nal) == NAL_SPS for nal in nals)
