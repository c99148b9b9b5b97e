"""RTP packets become pictures again, however they were cut, lost, doubled or made up."""

import itertools
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.edge.capture.nal import START
from vedette.edge.capture.rtsp import header
from vedette.edge.capture.rtsp.payload import MAX_UNIT_BYTES
from vedette.edge.capture.rtsp.units import Unit, Units

PT = 96
STEP = 18_000  # 5 pictures a second


def rtp(
    payload: bytes,
    sequence: int,
    timestamp: int,
    *,
    marker: bool = False,
    kind: int = PT,
    source: int = 7,
) -> memoryview:
    """Return one packet."""
    second = kind | (0x80 if marker else 0)
    head = struct.pack("!BBHII", 0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, source)
    return memoryview(head + payload)


def h264(kind: int, body: bytes, *, first: bool = True) -> bytes:
    """Return a NAL unit; a slice says whether it begins its picture."""
    return bytes((0x60 | kind, 0x80 if first else 0x40)) + body


def hevc(kind: int, body: bytes, *, first: bool = True) -> bytes:
    """Return a NAL unit of H.265."""
    return bytes((kind << 1, 1, 0x80 if first else 0x40)) + body


bodies = st.binary(min_size=1, max_size=60)


@st.composite
def pictures(draw: st.DrawFn, codec: str) -> list[list[bytes]]:
    """Return pictures as lists of units: parameter sets before the first, one or more slices."""
    unit = h264 if codec == "h264" else hevc
    sets, key, plain = ((7, 8), 5, 1) if codec == "h264" else ((32, 33, 34), 19, 1)
    found: list[list[bytes]] = []
    for number in range(draw(st.integers(1, 5))):
        units = [unit(kind, draw(bodies)) for kind in sets] if number == 0 else []
        kind = plain if number else key
        slices = range(draw(st.integers(1, 3)))
        units += [unit(kind, draw(bodies), first=part == 0) for part in slices]
        found.append(units)
    return found


def fragments(codec: str, unit: bytes, cuts: list[int]) -> list[bytes]:
    """Return a unit as fragments, cut where told."""
    if codec == "h264":
        head, kind, body = bytes(((unit[0] & 0xE0) | 28,)), unit[0] & 31, unit[1:]
    else:
        head, kind, body = bytes((49 << 1, unit[1])), unit[0] >> 1, unit[2:]
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(body)}), len(body)]
    parts = list(itertools.pairwise(edges))
    return [
        head
        + bytes((kind | (0x80 if n == 0 else 0) | (0x40 if n == len(parts) - 1 else 0),))
        + body[begin:end]
        for n, (begin, end) in enumerate(parts)
    ]


def aggregate(codec: str, units: list[bytes]) -> bytes:
    """Return several units in one payload."""
    head = b"\x78" if codec == "h264" else bytes((48 << 1, 1))
    return head + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)


@st.composite
def packetised(draw: st.DrawFn, codec: str, units: list[bytes]) -> list[bytes]:
    """Return one picture's payloads: each unit alone, in an aggregate or in fragments."""
    payloads: list[bytes] = []
    at = 0
    while at < len(units):
        how = draw(st.sampled_from(("single", "aggregate", "fragments")))
        if how == "single":
            payloads.append(units[at])
            at += 1
        elif how == "aggregate":
            count = draw(st.integers(1, len(units) - at))
            payloads.append(aggregate(codec, units[at : at + count]))
            at += count
        else:
            cuts = draw(st.lists(st.integers(1, 60), min_size=1, max_size=6))
            payloads += fragments(codec, units[at], cuts)
            at += 1
    return payloads


@given(st.data(), st.sampled_from(["h264", "hevc"]), st.booleans())
def test_any_packetisation_gives_the_same_pictures(
    data: st.DataObject, codec: str, marks: bool
) -> None:
    """Alone, aggregated, fragmented anywhere; across both wraps; with and without marker bits."""
    wanted = data.draw(pictures(codec))
    units = Units(codec, PT)
    sequence = data.draw(st.sampled_from([0, 65_530]))
    began = data.draw(st.sampled_from([0, 2**32 - 2 * STEP]))
    got: list[Unit] = []
    for number, picture in enumerate(wanted):
        payloads = data.draw(packetised(codec, picture))
        for n, payload in enumerate(payloads):
            last = n == len(payloads) - 1
            packet = rtp(payload, sequence, began + STEP * number, marker=marks and last)
            units.feed(packet)
            sequence += 1
        if marks:
            assert len(units.ready) == 1, "a picture waits for the next one"
        while units.ready:
            got.append(units.ready.popleft())
    units.flush()
    got += units.ready
    assert [bytes(unit.data) for unit in got] == [
        b"".join(START + one for one in picture) for picture in wanted
    ]
    assert [unit.ticks for unit in got] == [STEP * n for n in range(len(wanted))]
    assert [unit.keyframe for unit in got] == [n == 0 for n in range(len(wanted))]
    assert not any(unit.damaged for unit in got)
    assert units.lost_packets == 0
    assert units.by_marker


@given(st.data(), st.sampled_from(["h264", "hevc"]))
def test_what_lost_packets_took_a_part_of_is_damaged_and_nothing_else(
    data: st.DataObject, codec: str
) -> None:
    """One packet of a stream is lost: at most two pictures are damaged, the rest is whole."""
    unit = h264 if codec == "h264" else hevc
    wanted = [[unit(1, data.draw(bodies)), unit(1, b"end", first=False)] for _ in range(4)]
    sent: list[tuple[int, bytes, bool]] = []
    for number, picture in enumerate(wanted):
        payloads = data.draw(packetised(codec, picture))
        sent += [(number, p, n == len(payloads) - 1) for n, p in enumerate(payloads)]
    gone = data.draw(st.integers(1, len(sent) - 2))
    units = Units(codec, PT)
    for sequence, (number, payload, last) in enumerate(sent):
        if sequence != gone:
            units.feed(rtp(payload, sequence, STEP * number, marker=last))
    units.flush()
    whole = {b"".join(START + one for one in picture) for picture in wanted}
    assert units.lost_packets == 1
    for got in units.ready:
        assert got.damaged or bytes(got.data) in whole
    hit = sent[gone][0]
    intact = {got.ticks // STEP for got in units.ready if not got.damaged}
    assert intact >= {n for n in range(4) if n != hit}
    assert hit not in intact


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=0, max_size=80), st.integers(0, 3), st.integers(0, 3), st.booleans()
        ),
        max_size=60,
    ),
    st.sampled_from(["h264", "hevc"]),
    st.booleans(),
)
@settings(max_examples=200)
def test_random_packets_never_raise(
    packets: list[tuple[bytes, int, int, bool]], codec: str, framed: bool
) -> None:
    """Noise, and noise behind a correct head: something or nothing comes out, no exception."""
    units = Units(codec, PT)
    sequence = 0
    for noise, skip, tick, marker in packets:
        sequence += skip
        packet = rtp(noise, sequence, tick, marker=marker) if framed else memoryview(noise)
        units.feed(packet)
    units.flush()
    for unit in units.ready:
        assert unit.data.startswith(START)


def test_marker_bits_in_the_middle_of_pictures_cost_one_picture() -> None:
    """A camera that marks every slice: after the first torn picture timestamps decide."""
    units = Units("h264", PT)
    sequence = 0
    for number in range(4):
        for part in range(3):
            unit = h264(1, b"slice", first=part == 0)
            units.feed(rtp(unit, sequence, STEP * number, marker=True))
            sequence += 1
    units.flush()
    assert not units.by_marker
    got = list(units.ready)
    assert [unit.ticks for unit in got] == [0, 0, STEP, 2 * STEP, 3 * STEP]
    assert [unit.damaged for unit in got] == [False, True, False, False, False]
    assert all(unit.data.count(START) == 3 for unit in got[2:])


def test_parameter_sets_that_are_marked_as_a_picture_wait_for_it() -> None:
    """SPS and PPS with marker bits, and even with a timestamp of their own, stay with the slice."""
    units = Units("h264", PT)
    units.feed(rtp(h264(7, b"sps"), 1, 0, marker=True))
    units.feed(rtp(h264(8, b"pps"), 2, 0, marker=True))
    assert not units.ready
    units.feed(rtp(h264(5, b"slice"), 3, 90, marker=True))
    (unit,) = units.ready
    assert unit.data.count(START) == 3
    assert unit.keyframe
    assert unit.sps == h264(7, b"sps")


def test_packets_of_another_kind_and_copies_are_passed_over() -> None:
    """Another payload type in the channel is no loss; a packet that comes twice is taken once."""
    units = Units("h264", PT)
    units.feed(rtp(h264(1, b"a"), 1, 0))
    units.feed(rtp(b"what?", 2, 55, kind=107))
    units.feed(rtp(h264(1, b"b", first=False), 3, 0))
    units.feed(rtp(h264(1, b"b", first=False), 3, 0, marker=True))
    units.flush()
    (unit,) = units.ready
    assert unit.data.count(START) == 2
    assert not unit.damaged


def test_timestamps_that_go_back_stay_small_steps() -> None:
    """In decoding order, across the wrap: B-frames are dated before the one they follow."""
    units = Units("h264", PT)
    for sequence, number in enumerate([0, 3, 1, 2]):
        stamp = 2**32 - STEP + STEP * number
        units.feed(rtp(h264(1, b"x"), sequence, stamp, marker=True))
    assert [unit.ticks for unit in units.ready] == [0, 3 * STEP, STEP, 2 * STEP]


def test_a_sender_that_begins_anew_goes_on_where_the_time_was() -> None:
    """Another source id: its sequence and timestamps say nothing about the one before."""
    units = Units("h264", PT)
    units.feed(rtp(h264(5, b"a"), 1, 1000, marker=True))
    units.feed(rtp(h264(5, b"b"), 40_000, 4_000_000_000, marker=True, source=8))
    units.feed(rtp(h264(1, b"c"), 40_001, 4_000_000_000 + STEP, marker=True, source=8))
    assert [unit.ticks for unit in units.ready] == [0, 0, STEP]
    assert not any(unit.damaged for unit in units.ready)


def test_a_picture_without_end_takes_no_more_than_its_limit() -> None:
    """Fragments for ever: memory stays bounded and the stream recovers with the next picture."""
    units = Units("h264", PT)
    part = bytes((0x7C, 0x05)) + bytes(60_000)
    units.feed(rtp(bytes((0x7C, 0x85)) + b"\x80begin", 0, 0))
    draft = units._draft
    for sequence in range(1, 2 * MAX_UNIT_BYTES // 60_000):
        units.feed(rtp(part, sequence, 0))
        assert len(draft.data) <= MAX_UNIT_BYTES + 10
    assert not units.ready
    after = 2 * MAX_UNIT_BYTES // 60_000
    units.feed(rtp(h264(5, b"new"), after, STEP, marker=True))
    units.feed(rtp(h264(1, b"next"), after + 1, 2 * STEP, marker=True))
    assert [unit.damaged for unit in units.ready] == [True, False]


def test_a_fragment_without_its_beginning_is_dropped() -> None:
    """Joined in mid-picture: the rest of that picture is damaged and holds no headless bytes."""
    units = Units("h264", PT)
    units.feed(rtp(bytes((0x7C, 0x45)) + b"tail", 5, 0, marker=True))
    units.feed(rtp(h264(1, b"other", first=False), 6, 0, marker=True))
    (unit,) = units.ready
    assert unit.damaged
    assert b"tail" not in unit.data


@given(st.binary(max_size=120))
def test_heads_that_lie_about_their_length_are_no_packets(data: bytes) -> None:
    """Sources, extensions and padding that point beyond the packet."""
    found = header.parse(memoryview(data))
    assert found is None or 12 <= found.begin < found.end <= len(data)


def test_padding_extension_and_sources_are_cut_off() -> None:
    """What stands around the payload does not become part of the picture."""
    head = struct.pack("!BBHII", 0xB2, 0x80 | PT, 1, 0, 7) + bytes(8)
    packet = head + b"\xbe\xde\x00\x01abcd" + h264(5, b"x") + b"\x00\x00\x03"
    units = Units("h264", PT)
    units.feed(memoryview(packet))
    assert bytes(units.ready[0].data) == START + h264(5, b"x")
