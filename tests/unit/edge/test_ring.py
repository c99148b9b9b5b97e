"""The packet ring: bounded, decodable from its first packet, honest about what is missing."""

from hypothesis import given
from hypothesis import strategies as st

from vedette.edge.capture import EncodedPacket, StreamInfo
from vedette.edge.ring import PIN_FACTOR, PacketRing

H264 = StreamInfo("h264", b"one")
OTHER = StreamInfo("h264", b"two")


def packet(
    t_s: float, *, key: bool = False, size: int = 100, info: StreamInfo = H264, lag_s: float = 0.0
) -> EncodedPacket:
    """Return a packet shown at `t_s` and decoded `lag_s` before."""
    return EncodedPacket(
        data=bytes(size),
        t_s=t_s,
        dts_s=t_s - lag_s,
        keyframe=key,
        received_mono_ns=round(t_s * 1e9),
        at_ms=round(t_s * 1000),
        info=info,
    )


def fill(ring: PacketRing, start: int, end: int, *, gop: int = 10, info: StreamInfo = H264) -> None:
    """Put packets a tenth of a second apart, from `start` to before `end`, in tenths."""
    for n in range(start, end):
        ring.put(packet(n / 10, key=n % gop == 0, info=info))


def test_a_window_begins_with_a_keyframe_at_or_before_its_start() -> None:
    """Wanted from 3.4 s: the group that began at 3.0 s comes whole."""
    ring = PacketRing(60, 1_000_000)
    fill(ring, 0, 100)
    cut = ring.cut(3.4, 5.2, 4.0)
    assert cut.packets[0].keyframe
    assert cut.packets[0].t_s == 3.0
    assert cut.packets[-1].t_s == 5.2
    assert cut.shortfall == ""


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(1, 400), st.floats(0.01, 2.0)),
        min_size=1,
        max_size=150,
    ),
    st.integers(300, 3000),
)
def test_the_ring_never_exceeds_its_bounds_and_can_always_be_decoded(
    stream: list[tuple[bool, int, float]], max_bytes: int
) -> None:
    """Whatever comes: the byte bound holds (a last group aside), first packets are keyframes."""
    ring, t_s = PacketRing(5.0, max_bytes), 0.0
    for key, size, step_s in stream:
        t_s += step_s
        ring.put(packet(t_s, key=key, size=min(size, max_bytes)))
        assert ring.held_bytes <= max_bytes
        cut = ring.cut(t_s - 5, t_s, t_s)
        assert not cut.packets or cut.packets[0].keyframe


def test_seconds_are_trimmed_by_whole_groups() -> None:
    """Five seconds are kept, and at most one group more."""
    ring = PacketRing(5, 1_000_000)
    fill(ring, 0, 300)
    assert 5 <= ring.held_s < 6.1


def test_what_is_older_than_the_ring_is_missing_in_words() -> None:
    """The window began before anything that is still kept."""
    ring = PacketRing(5, 1_000_000)
    fill(ring, 0, 200)
    cut = ring.cut(5.0, 16.0, 15.5)
    assert "late" in cut.shortfall
    assert cut.packets[0].keyframe


def test_a_pin_keeps_what_an_open_event_needs_until_released() -> None:
    """Pinned at 3.0 s, sixty seconds later still there; released, it goes with the next packet."""
    ring = PacketRing(5, 1_000_000)
    fill(ring, 0, 50)
    with ring.pin(3.0):
        fill(ring, 50, 600)
        assert ring.cut(3.0, 10.0, 5.0).shortfall == ""
    fill(ring, 600, 601)
    assert ring.cut(3.0, 10.0, 5.0).packets == ()


def test_a_pin_that_nobody_releases_cannot_fill_the_memory() -> None:
    """Twice the byte bound is the end; then the oldest goes although it is pinned."""
    ring = PacketRing(5, 10_000)
    fill(ring, 0, 20)
    ring.pin(0.0)
    fill(ring, 20, 5000)
    assert ring.held_bytes <= PIN_FACTOR * 10_000


def test_a_group_larger_than_the_ring_keeps_its_decodable_beginning() -> None:
    """A camera with one keyframe a minute: the head of the group stays, the rest is told."""
    ring = PacketRing(5, 2_000)
    fill(ring, 0, 100, gop=1000)
    cut = ring.cut(1.0, 9.0, 5.0)
    assert len(cut.packets) == 20
    assert "cut short" in cut.shortfall
    assert "early" in cut.shortfall


def test_a_group_longer_than_the_ring_stays_whole_while_the_bytes_allow() -> None:
    """Seconds never cut into a group."""
    ring = PacketRing(5, 1_000_000)
    fill(ring, 0, 300, gop=1000)
    assert ring.cut(0.0, 29.9, 20.0).shortfall == ""


def test_a_clip_holds_one_stream_and_says_that_the_other_is_missing() -> None:
    """The camera changed its resolution at 5.0 s; the event came after."""
    ring = PacketRing(60, 1_000_000)
    fill(ring, 0, 50)
    fill(ring, 50, 100, info=OTHER)
    cut = ring.cut(4.0, 7.0, 5.5)
    assert {one.info for one in cut.packets} == {OTHER}
    assert "format" in cut.shortfall
    assert ring.cut(6.0, 7.0, 6.5).shortfall == ""


def test_a_hole_within_the_window_is_told() -> None:
    """The camera was away from 3.0 to 8.0 s and came back with the same stream."""
    ring = PacketRing(60, 1_000_000)
    fill(ring, 0, 30)
    fill(ring, 80, 120)
    assert "5.1 s within are missing" in ring.cut(1.0, 11.0, 2.0).shortfall


def test_reordered_pictures_at_the_end_leave_no_hole() -> None:
    """A reference that is shown after the end brings along the pictures shown before it."""
    ring = PacketRing(60, 1_000_000)
    ring.put(packet(0.0, key=True, lag_s=0.2))
    for shown, decoded in ((0.4, 0.1), (0.2, 0.15), (0.3, 0.2), (0.8, 0.25), (0.6, 0.5)):
        ring.put(packet(shown, lag_s=shown - decoded))
    shown = [one.t_s for one in ring.cut(0.0, 0.12, 0.0).packets]
    assert shown == [0.0, 0.4, 0.2, 0.3]


def test_nothing_is_kept_before_the_first_keyframe() -> None:
    """A connection that joins in mid-group begins with the next keyframe."""
    ring = PacketRing(60, 1_000_000)
    fill(ring, 5, 10)
    assert ring.cut(0, 1, 0.5).packets == ()
    assert ring.newest is not None
    fill(ring, 10, 12)
    assert len(ring.cut(0, 2, 0.5).packets) == 2


def test_a_clip_of_a_time_without_its_stream_says_why() -> None:
    """The stream was gone within the window: the cause stands in the shortfall, not elsewhere."""
    ring = PacketRing(60, 1_000_000)
    fill(ring, 0, 50)
    ring.source_lost(5.0, "the stream for clips is down: closed")
    ring.source_back(9.0)
    fill(ring, 90, 150)
    assert "the stream for clips is down: closed" in ring.cut(4.0, 6.0, 5.0).shortfall
    assert "is down" not in ring.cut(10.0, 12.0, 11.0).shortfall
    ring.source_lost(15.0, "the stream for clips is down: refused")
    assert "down: refused" in ring.cut(14.0, 20.0, 16.0).shortfall


def test_a_ring_that_never_had_a_stream_says_why() -> None:
    """Nothing was kept: the clip is empty and names the cause."""
    ring = PacketRing(60, 1_000_000)
    ring.source_lost(0.0, "the stream for clips is down: no such stream (404)")
    cut = ring.cut(1.0, 3.0, 2.0)
    assert cut.packets == ()
    assert "404" in cut.shortfall
