"""RTP for H.264 and H.265: access units in, packets out, and the sender report.

Here live the byte layouts of RFC 3550, RFC 6184 and RFC 7798 and nothing that waits, sends or knows
a camera; `sim.rtsp` does that. Pure functions over bytes.

Source: RFC 3550 sections 5.1 and 6.4.1; RFC 6184 sections 5.6 (single NAL) and 5.8 (FU-A);
RFC 7798 sections 4.4.1 (single NAL) and 4.4.3 (FU).
"""

import struct
from typing import Final

import msgspec

CLOCK_HZ: Final = 90_000
"""RTP clock of every video payload."""

PAYLOAD_TYPE: Final = 96
MAX_PAYLOAD: Final = 1_400
"""Bytes of one RTP payload: fits an Ethernet frame, as cameras do it even over TCP."""

NAL_SPS: Final = 7
NAL_PPS: Final = 8
HEVC_SETS: Final = (32, 33, 34)
"""NAL unit types of H.265's VPS, SPS and PPS."""

_NAL_FU_A: Final = 28
_HEVC_FU: Final = 49
_NTP_EPOCH_S: Final = 2_208_988_800  # 1900 to 1970


class Payload(msgspec.Struct, frozen=True):
    """One RTP payload; `marker` is set on the last one of an access unit."""

    data: bytes
    marker: bool


def nal_type(nal: bytes) -> int:
    """Return the NAL unit type, 0 to 31."""
    return nal[0] & 0x1F


def hevc_type(nal: bytes) -> int:
    """Return the NAL unit type of H.265, 0 to 63."""
    return (nal[0] >> 1) & 0x3F


def split_annex_b(data: bytes) -> list[bytes]:
    """Return the NAL units between start codes, without the codes and without trailing zeros."""
    starts: list[int] = []
    at = data.find(b"\x00\x00\x01")
    while at >= 0:
        starts.append(at + 3)
        at = data.find(b"\x00\x00\x01", at + 3)
    ends = [start - 3 for start in starts[1:]] + [len(data)]
    units = [data[start:end].rstrip(b"\x00") for start, end in zip(starts, ends, strict=True)]
    return [unit for unit in units if unit]


def packetise(
    nals: list[bytes], max_payload: int = MAX_PAYLOAD, *, codec: str = "h264"
) -> list[Payload]:
    """Return the RTP payloads of one access unit; a NAL unit that is too large is fragmented."""
    fragments = _hevc_fragments if codec == "hevc" else _fragments
    parts: list[bytes] = []
    for nal in nals:
        if len(nal) <= max_payload:
            parts.append(nal)
        else:
            parts.extend(fragments(nal, max_payload))
    return [Payload(part, index == len(parts) - 1) for index, part in enumerate(parts)]


def _fragments(nal: bytes, max_payload: int) -> list[bytes]:
    indicator = (nal[0] & 0xE0) | _NAL_FU_A
    room = max_payload - 2
    body = nal[1:]
    out: list[bytes] = []
    for at in range(0, len(body), room):
        start = 0x80 if at == 0 else 0
        end = 0x40 if at + room >= len(body) else 0
        out.append(bytes((indicator, start | end | nal_type(nal))) + body[at : at + room])
    return out


def _hevc_fragments(nal: bytes, max_payload: int) -> list[bytes]:
    header = bytes(((nal[0] & 0x81) | (_HEVC_FU << 1), nal[1]))
    room = max_payload - 3
    body = nal[2:]
    out: list[bytes] = []
    for at in range(0, len(body), room):
        start = 0x80 if at == 0 else 0
        end = 0x40 if at + room >= len(body) else 0
        out.append(header + bytes((start | end | hevc_type(nal),)) + body[at : at + room])
    return out


def rtp_packet(payload: Payload, *, seq: int, timestamp: int, ssrc: int) -> bytes:
    """Return one RTP packet; `seq` and `timestamp` wrap as on the wire."""
    second = PAYLOAD_TYPE | (0x80 if payload.marker else 0)
    header = struct.pack("!BBHII", 0x80, second, seq & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return header + payload.data


def sender_report(*, ssrc: int, unix_s: float, timestamp: int, packets: int, octets: int) -> bytes:
    """Return an RTCP sender report that ties the RTP `timestamp` to wall time."""
    whole = int(unix_s)
    fraction = int((unix_s - whole) * (1 << 32))
    return struct.pack(
        "!BBHIIIIII",
        0x80,
        200,
        6,
        ssrc,
        (whole + _NTP_EPOCH_S) & 0xFFFFFFFF,
        fraction,
        timestamp & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )


def interleaved(channel: int, packet: bytes) -> bytes:
    """Return `packet` framed for RTP over the RTSP connection (RFC 2326 section 10.12)."""
    return struct.pack("!cBH", b"$", channel, len(packet)) + packet
