"""The session description (SDP): which track is the video, and its parameter sets. Pure.

Here: reading the few lines that matter. The rule: the first video track in a codec of ours is
taken, everything else is passed over; limits hold for lines and tracks.

Source: RFC 8866 (5), RFC 6184 (8.1), RFC 7798 (7.1).
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Final

from vedette.edge.capture import nal
from vedette.edge.capture.rtsp.refusal import NotOurs, lost
from vedette.edge.capture.seam import Loss

_CODECS: Final = {"H264": "h264", "H265": "hevc", "HEVC": "hevc"}
_SPROPS: Final = {
    "h264": ("sprop-parameter-sets",),
    "hevc": ("sprop-vps", "sprop-sps", "sprop-pps"),
}
_MAX_LINES: Final = 2000
_MAX_TRACKS: Final = 32
_CLOCKS_HZ: Final = range(1_000, 10_000_001)


@dataclass(frozen=True, slots=True)
class Track:
    """The video as the description announces it.

    Attributes:
        codec: `h264` or `hevc`.
        control: Relative or absolute address of the track.
        sets: Parameter sets, without start codes; empty where they come in-band.
        fps: Pictures per second, where it says so.
    """

    codec: str
    payload_type: int
    clock_hz: int
    control: str
    sets: tuple[bytes, ...] = ()
    fps: float | None = None


@dataclass(slots=True)
class _Media:
    kind: str
    profile: str
    types: list[int]
    control: str = ""
    fps: float | None = None
    maps: dict[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])
    formats: dict[int, dict[str, str]] = field(default_factory=dict[int, dict[str, str]])


def read(data: bytes) -> tuple[str, Track]:
    """Return the control address of the whole session and the video track.

    Raises:
        SourceLost: No video in it.
        NotOurs: Video, but nothing that is depacketised here.
    """
    control, tracks = _media(data.decode("utf-8", "replace"))
    videos = [track for track in tracks if track.kind == "video"]
    if not videos:
        raise lost(Loss.NO_VIDEO if tracks else Loss.GARBAGE)
    reasons: list[str] = []
    for video in videos:
        for number in video.types:
            found = _track(video, number)
            if isinstance(found, Track):
                return control, found
            reasons.append(found)
    raise NotOurs(reasons[0] if reasons else "a track without a format")


def _media(text: str) -> tuple[str, list[_Media]]:
    control, tracks = "", list[_Media]()
    for line in text.splitlines()[:_MAX_LINES]:
        key, _, value = line.strip().partition("=")
        if key == "m":
            if len(tracks) == _MAX_TRACKS:
                break
            tracks.append(_new_media(value))
        elif key == "a":
            name, _, rest = value.partition(":")
            if tracks:
                _attribute(tracks[-1], name.strip().lower(), rest.strip())
            elif name.strip().lower() == "control":
                control = rest.strip()
    return control, tracks


def _new_media(value: str) -> _Media:
    words = value.split()
    types = [
        int(word) for word in words[3:19] if word.isascii() and word.isdigit() and len(word) < 4
    ]
    return _Media(
        words[0].lower() if words else "", words[2].upper() if len(words) > 2 else "", types
    )


def _attribute(media: _Media, name: str, value: str) -> None:
    if name == "control":
        media.control = value
        return
    if name in ("framerate", "x-framerate"):
        media.fps = _fps(value)
        return
    if name not in ("rtpmap", "fmtp"):
        return
    number, _, rest = value.partition(" ")
    if not (number.isascii() and number.isdigit()) or len(number) > 3:
        return
    if name == "rtpmap":
        codec, _, clock = rest.strip().partition("/")
        clock = clock.partition("/")[0]
        hertz = int(clock) if clock.isascii() and clock.isdigit() and len(clock) < 9 else 90_000
        media.maps[int(number)] = codec.strip().upper(), hertz
    else:
        pairs = (part.partition("=") for part in rest.split(";"))
        media.formats[int(number)] = {key.strip().lower(): said.strip() for key, _, said in pairs}


def _track(media: _Media, number: int) -> Track | str:
    """Return the track, or why it is not ours."""
    name, clock_hz = media.maps.get(number, ("JPEG" if number == 26 else "", 90_000))
    codec = _CODECS.get(name)
    if codec is None:
        return f"its codec is {name[:20] if name.isalnum() else 'unknown'}"
    if media.profile not in ("RTP/AVP", "RTP/AVP/TCP", "RTP/AVPF", ""):
        return "its media is encrypted or of another transport"
    said = media.formats.get(number, {})
    if said.get("packetization-mode") == "2" or said.get("sprop-max-don-diff", "0") != "0":
        return "its packets come out of order on purpose"
    if clock_hz not in _CLOCKS_HZ:
        clock_hz = 90_000
    return Track(codec, number, clock_hz, media.control, _sets(codec, said), media.fps)


def _fps(text: str) -> float | None:
    """Return a rate that a camera can have; Source: RFC 8866 (6.13)."""
    plain = text.strip()
    if not plain.isascii() or not plain.replace(".", "", 1).isdigit() or len(plain) > 12:
        return None
    return float(plain) if 0 < float(plain) <= 1000 else None


def _sets(codec: str, said: dict[str, str]) -> tuple[bytes, ...]:
    units: list[bytes] = []
    for name in _SPROPS[codec]:
        for text in said.get(name, "").split(","):
            try:
                unit = base64.b64decode(text)
            except (binascii.Error, ValueError):
                continue
            units += nal.split_annexb(unit) if nal.is_annexb(unit) else [unit] if unit else []
    return nal.parameter_sets(codec, iter(units))
