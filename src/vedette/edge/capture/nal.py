"""Parameter sets of H.264 and H.265 inside packets.

Here: splitting Annex-B and length-prefixed data into NAL units, and finding parameter sets, so that
a change of picture size in mid-stream is seen at the packet that brings it. Not here: what is in a
parameter set. The rule: hostile bytes give an empty answer, never an exception or a long loop.

Source: ITU-T H.264 (Annex B, 7.4.1), ITU-T H.265 (Annex B, 7.4.2), ISO/IEC 14496-15 (5.3.3, 8.3.3).
"""

from collections.abc import Iterator
from typing import Final

START: Final = b"\x00\x00\x00\x01"
_SHORT_START: Final = b"\x00\x00\x01"
_H264_SPS, _H264_PPS = 7, 8
_HEVC_VPS, _HEVC_SPS, _HEVC_PPS = 32, 33, 34
_CODECS: Final = frozenset({"h264", "hevc"})
_MAX_NALS: Final = 512
_AVCC_HEAD, _HVCC_HEAD = 6, 23


def is_annexb(data: bytes) -> bool:
    """True where `data` begins with a start code."""
    return data.startswith((START, _SHORT_START))


def split_annexb(data: bytes) -> Iterator[bytes]:
    """Yield the NAL units between start codes, at most 512."""
    start = data.find(_SHORT_START)
    for _ in range(_MAX_NALS):
        if start < 0:
            return
        start += 3
        end = data.find(_SHORT_START, start)
        unit = data[start:] if end < 0 else data[start:end]
        if end >= 0:
            unit = unit.rstrip(b"\x00")  # trailing_zero_8bits, or the longer start code's first
        if unit:
            yield unit
        start = end


def split_prefixed(data: bytes, prefix_bytes: int) -> Iterator[bytes]:
    """Yield the NAL units of length-prefixed data, up to the first length that cannot be true."""
    at = 0
    for _ in range(_MAX_NALS):
        size = int.from_bytes(data[at : at + prefix_bytes], "big")
        at += prefix_bytes
        if size == 0 or at + size > len(data):
            return
        yield data[at : at + size]
        at += size


def prefix_bytes(codec: str, extradata: bytes) -> int:
    """Return how many bytes a NAL unit's length takes; 0 for Annex-B and other codecs."""
    if codec not in _CODECS or is_annexb(extradata):
        return 0
    at = 4 if codec == "h264" else 21
    return (extradata[at] & 3) + 1 if len(extradata) > at else 0


def parameter_sets(codec: str, units: Iterator[bytes]) -> tuple[bytes, ...]:
    """Return the parameter sets among NAL units, in their order."""
    if codec == "h264":
        return tuple(u for u in units if (u[0] & 31) in (_H264_SPS, _H264_PPS))
    kinds = (_HEVC_VPS, _HEVC_SPS, _HEVC_PPS)
    return tuple(u for u in units if len(u) > 1 and (u[0] >> 1) & 63 in kinds)


def from_extradata(codec: str, extradata: bytes) -> tuple[bytes, ...]:
    """Return the parameter sets of an avcC/hvcC record or of Annex-B extradata."""
    if codec not in _CODECS or not extradata:
        return ()
    if is_annexb(extradata):
        return parameter_sets(codec, split_annexb(extradata))
    units = _avcc_units(extradata) if codec == "h264" else _hvcc_units(extradata)
    return parameter_sets(codec, iter(units))


def in_band(codec: str, data: bytes, prefix: int) -> tuple[bytes, ...]:
    """Return the parameter sets that a packet brings along; `prefix` as from `prefix_bytes`."""
    if codec not in _CODECS:
        return ()
    units = split_prefixed(data, prefix) if prefix else split_annexb(data)
    return parameter_sets(codec, units)


def picture_parameters(codec: str, sets: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return those sets that fix the picture's size and format: the SPS, sorted."""
    if codec == "h264":
        return tuple(sorted(u for u in sets if (u[0] & 31) == _H264_SPS))
    return tuple(sorted(u for u in sets if (u[0] >> 1) & 63 == _HEVC_SPS))


def to_annexb(units: Iterator[bytes]) -> bytes:
    """Return NAL units with start codes."""
    return b"".join(START + unit for unit in units)


def _counted(data: bytes, at: int, count: int, into: list[bytes]) -> int:
    for _ in range(count):
        size = int.from_bytes(data[at : at + 2], "big")
        unit = data[at + 2 : at + 2 + size]
        if size == 0 or len(unit) < size:
            return len(data)
        into.append(unit)
        at += 2 + size
    return at


def _avcc_units(record: bytes) -> list[bytes]:
    units: list[bytes] = []
    if len(record) <= _AVCC_HEAD:
        return units
    at = _counted(record, _AVCC_HEAD, record[5] & 31, units)
    if at < len(record):
        _counted(record, at + 1, record[at], units)
    return units


def _hvcc_units(record: bytes) -> list[bytes]:
    units: list[bytes] = []
    if len(record) < _HVCC_HEAD:
        return units
    at = _HVCC_HEAD
    for _ in range(record[22]):
        if at + 3 > len(record):
            break
        count = int.from_bytes(record[at + 1 : at + 3], "big")
        at = _counted(record, at + 3, count, units)
    return units
