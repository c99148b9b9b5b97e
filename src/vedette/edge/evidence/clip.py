"""From ring packets to an MP4, without encoding anything again.

Here: muxing in memory. Not here: which packets (`edge.ring`) and where the file goes (`shelf`). The
rules: the index stands before the media, so that a browser can play it while it loads; timestamps
begin at zero and decoding times only rise; the whole clip is made in memory, so that a full disk is
met by one plain write and not inside FFmpeg.

Source: ISO/IEC 14496-12 (moov, edit list); FFmpeg's `moov_size` leaves room for the index in front.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, cast

import av
import av.error
from av.container import InputContainer, OutputContainer

from vedette.edge.capture import nal
from vedette.edge.capture.packets import EncodedPacket, StreamInfo
from vedette.errors import EvidenceError

_TICKS: Final = 90_000
_BASE: Final = Fraction(1, _TICKS)
_RAW_FORMATS: Final = {"h264": "h264", "hevc": "hevc", "mjpeg": "mjpeg", "mpeg4": "m4v"}
_INDEX_BYTES: Final = 8_192
_INDEX_BYTES_PER_PACKET: Final = 40  # stts 8, ctts 8, stsz 4, stss 4, stco 4, stsc 12


@dataclass(frozen=True, slots=True)
class Clip:
    """A finished MP4.

    Attributes:
        picture_px: As it is coded.
        rotation_deg: Clockwise, how players turn it for showing.
        start_s: When its first picture is shown, on the camera's timeline.
        end_s: The same for its last.
    """

    data: bytes = field(repr=False)
    codec: str
    picture_px: tuple[int, int]
    start_s: float
    end_s: float
    rotation_deg: int = 0


def remux(packets: Sequence[EncodedPacket]) -> Clip:
    """Return the packets as an MP4; they are of one stream and begin with a keyframe.

    Raises:
        EvidenceError: No packets, a codec that MP4 cannot hold, or bytes that are no such video.
    """
    if not packets or not packets[0].keyframe:
        raise EvidenceError("no keyframe to begin with", operator_hint="enlarge evidence.ring_mb")
    out = io.BytesIO()
    try:
        size = _mux(packets, out)
    except (av.error.FFmpegError, ValueError, OSError) as problem:
        raise EvidenceError(
            f"the packets cannot be put into an MP4 ({packets[0].info.codec})",
            operator_hint="set the camera to H.264 or H.265",
        ) from problem
    return Clip(
        data=out.getvalue(),
        codec=packets[0].info.codec,
        picture_px=size,
        start_s=min(packet.t_s for packet in packets),
        end_s=max(packet.t_s for packet in packets),
        rotation_deg=packets[0].info.rotation_deg,
    )


def _mux(packets: Sequence[EncodedPacket], out: io.BytesIO) -> tuple[int, int]:
    info = packets[0].info
    options = {"moov_size": str(_INDEX_BYTES + _INDEX_BYTES_PER_PACKET * len(packets))}
    with _probe(info, packets[0].data) as template:
        found = template.streams.video[0]
        size = (found.width, found.height)
        if 0 in size:
            raise ValueError("the keyframe does not say how large the picture is")
        with cast("OutputContainer", av.open(out, "w", format="mp4", options=options)) as mp4:
            # `opaque`: the stream is described by the decoder's parameters; no encoder is opened.
            stream = mp4.add_stream_from_template(found, opaque=True)
            stream.codec_context.extradata = _extradata(info, packets[0].data)
            stream.time_base = _BASE
            if info.rotation_deg:
                # Counter-clockwise in FFmpeg. Players turn it; the packets stay as they are.
                stream.set_display_rotation(-info.rotation_deg)
            _write(mp4, stream, packets)
    return size


def _write(mp4: OutputContainer, stream: av.VideoStream, packets: Sequence[EncodedPacket]) -> None:
    zero_s = packets[0].t_s
    last_dts = None
    step = _TICKS // 25
    for packet, following in zip(packets, [*packets[1:], None], strict=True):
        dts = round((packet.dts_s - zero_s) * _TICKS)
        if last_dts is not None:
            dts = max(dts, last_dts + 1)
        last_dts = dts
        raw = av.Packet(packet.data)
        raw.stream = stream
        raw.time_base = _BASE
        raw.dts = dts
        raw.pts = max(dts, round((packet.t_s - zero_s) * _TICKS))
        if following is not None:
            step = max(1, round((following.dts_s - packet.dts_s) * _TICKS))
        raw.duration = step  # the last one as long as the one before: without it, players skip it
        raw.is_keyframe = packet.keyframe
        mp4.mux_one(raw)


def _probe(info: StreamInfo, keyframe: bytes) -> InputContainer:
    """Open one keyframe as a raw stream: it says its picture's size and is the muxer's template."""
    raw_format = _RAW_FORMATS.get(info.codec)
    if raw_format is None:
        raise ValueError(f"no raw format for {info.codec}")
    blob = keyframe
    options: dict[str, str] = {}
    if info.codec in ("h264", "hevc"):
        prefix = nal.prefix_bytes(info.codec, info.extradata)
        units = nal.split_prefixed(keyframe, prefix) if prefix else nal.split_annexb(keyframe)
        sets = nal.from_extradata(info.codec, info.extradata)
        options["skip_frame"] = "all"  # the parser says the size; decoding would cost 50 times more
        blob = nal.to_annexb(iter(sets)) + nal.to_annexb(units)
    elif info.codec == "mpeg4":
        blob = info.extradata + keyframe
    return cast(
        "InputContainer", av.open(io.BytesIO(blob), "r", format=raw_format, options=options)
    )


def _extradata(info: StreamInfo, keyframe: bytes) -> bytes | None:
    if info.extradata or info.codec not in ("h264", "hevc"):
        return info.extradata or None
    return nal.to_annexb(iter(nal.in_band(info.codec, keyframe, 0))) or None
