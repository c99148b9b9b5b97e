"""A prepared H.264 clip in memory, as access units that a camera can send again and again.

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
from vedette.sim.rtp import CLOCK_HZ, NAL_PPS, NAL_SPS, nal_type, split_annex_b


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

    def parameter_sets(self) -> str:
        """Return `sprop-parameter-sets` of the session description (RFC 6184 section 8.1)."""
        wanted = [nal for nal in self.units[0].nals if nal_type(nal) in (NAL_SPS, NAL_PPS)]
        return ",".join(base64.b64encode(nal).decode() for nal in wanted)

    def profile_level_id(self) -> str:
        """Return the three bytes after the SPS header in hex."""
        sps = next(nal for nal in self.units[0].nals if nal_type(nal) == NAL_SPS)
        return sps[1:4].hex()

    def frame_ticks(self) -> int:
        """Return the mean time between pictures."""
        return max(1, self.duration_ticks // len(self.units))


def load_clip(path: Path) -> Clip:
    """Return the H.264 video of a file, from its first keyframe.

    Raises:
        ConfigError: Not readable, no H.264 in it, or no keyframe.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.codec_context.name != "h264":
                raise ConfigError(
                    f"{path.name} is {stream.codec_context.name}, not H.264",
                    operator_hint="prepare it with `vedette sim footage`",
                )
            return _read(container, stream, path.name)
    except (FFmpegError, IndexError) as error:
        raise ConfigError(
            f"cannot read a video from {path.name}: {error}",
            operator_hint="give a video file with an H.264 track",
        ) from error


def _read(container: InputContainer, stream: VideoStream, name: str) -> Clip:
    to_annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
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
    if not units or not any(nal_type(nal) == NAL_SPS for nal in units[0].nals):
        raise ConfigError(f"no keyframe with parameter sets in {name}")
    last = units[-1].send_ticks
    step = last // (len(units) - 1) if len(units) > 1 else CLOCK_HZ // 10
    return Clip(
        units=units,
        duration_ticks=last + step,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
    )
