"""RTP for H.264: what is split is put together again by the rules of the RFCs."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from vedette.sim import rtp


def _reassemble(payloads: list[rtp.Payload]) -> list[bytes]:
    """Depacketise as RFC 6184 tells a receiver to."""
    nals: list[bytes] = []
    for payload in payloads:
        kind = payload.data[0] & 0x1F
        if kind != 28:
            nals.append(payload.data)
        elif payload.data[1] & 0x80:
            head = (payload.data[0] & 0xE0) | (payload.data[1] & 0x1F)
            nals.append(bytes([head]) + payload.data[2:])
        else:
            nals[-1] += payload.data[2:]
    return nals


_nal = st.builds(
    lambda head, body: bytes([head]) + body,
    st.integers(1, 23).map(lambda kind: 0x60 | kind),
    st.binary(min_size=0, max_size=5000),
)


@given(st.lists(_nal, min_size=1, max_size=4), st.integers(16, 1400))
def test_a_receiver_gets_the_nal_units_back(nals: list[bytes], room: int) -> None:
    """Packetise, then depacketise: the same units, within the limit, one marker at the end."""
    payloads = rtp.packetise(nals, room)
    assert _reassemble(payloads) == nals
    assert max(len(payload.data) for payload in payloads) <= room
    assert [payload.marker for payload in payloads] == [False] * (len(payloads) - 1) + [True]


def test_a_fragment_says_where_it_starts_and_ends() -> None:
    """Only the first fragment has the start bit and only the last the end bit."""
    flags = [p.data[1] & 0xC0 for p in rtp.packetise([b"\x65" + bytes(3000)], 1000)]
    assert flags[0] == 0x80
    assert flags[-1] == 0x40
    assert set(flags[1:-1]) == {0}


def test_start_codes_of_three_and_four_bytes_split() -> None:
    """Both forms of start code separate units and belong to none."""
    data = b"\x00\x00\x00\x01\x67\x01\x00\x00\x01\x68\x02\x00\x00\x00\x01\x65\x03"
    assert rtp.split_annex_b(data) == [b"\x67\x01", b"\x68\x02", b"\x65\x03"]


def test_sequence_and_timestamp_wrap() -> None:
    """Numbers beyond the field wrap instead of failing after hours."""
    packet = rtp.rtp_packet(
        rtp.Payload(b"x", marker=True), seq=65536 + 5, timestamp=2**32 + 9, ssrc=7
    )
    assert struct.unpack("!BBHII", packet[:12]) == (0x80, 0xE0, 5, 9, 7)


def test_a_sender_report_ties_the_timestamp_to_wall_time() -> None:
    """NTP seconds count from 1900 and the fraction is binary."""
    report = rtp.sender_report(ssrc=1, unix_s=0.5, timestamp=90, packets=2, octets=3)
    assert struct.unpack("!BBHIIIIII", report) == (
        0x80, 200, 6, 1, 2_208_988_800, 1 << 31, 90, 2, 3,
    )  # fmt: skip
