"""The packet ring: bounded, decodable from its first packet, honest about what is missing."""

import itertools

import pytest
from hypothesis import given, settings
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
    assert "5.100 s within are missing" in ring.cut(1.0, 11.0, 2.0).shortfall


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


def test_a_ten_second_group_is_there_from_its_keyframe_on() -> None:
    """A keyframe every ten seconds, a ring of six: the whole group that the window begins in."""
    ring = PacketRing(6, 1_000_000)
    fill(ring, 0, 290, gop=100)
    cut = ring.cut(24.0, 28.0, 26.0)
    assert cut.packets[0].t_s == 20.0
    assert cut.shortfall == ""


def test_the_bound_that_let_the_beginning_go_is_named() -> None:
    """Seconds or bytes: the operator learns which of the two to raise."""
    by_seconds = PacketRing(3, 1_000_000)
    fill(by_seconds, 0, 200)
    assert "evidence.ring_s" in by_seconds.cut(10.0, 19.0, 18.0).shortfall
    by_bytes = PacketRing(60, 3_000)
    fill(by_bytes, 0, 200)
    assert "evidence.ring_mb" in by_bytes.cut(10.0, 19.0, 18.0).shortfall
    assert "evidence.ring_mb" in by_bytes.cut(1.0, 2.0, 1.5).shortfall


def test_a_camera_that_came_after_the_beginning_is_told_from_a_device_that_did() -> None:
    """Half a second after its first picture something happens: why there is nothing before."""
    camera = PacketRing(60, 1_000_000, opened_s=0.0)
    fill(camera, 100, 150)
    assert camera.cut(6.5, 14.5, 10.5).shortfall == (
        "begins 3.500 s late: the camera's first picture came only then"
    )
    device = PacketRing(60, 1_000_000, opened_s=9.0)
    fill(device, 100, 150)
    assert "the device began to record only then" in device.cut(6.5, 14.5, 10.5).shortfall


def test_a_hole_of_a_reconnect_says_why_and_where() -> None:
    """Away from 3.0 to 4.5 s with the same stream: one part, times go on, the hole is told."""
    ring = PacketRing(60, 1_000_000)
    fill(ring, 0, 30)
    ring.source_lost(2.9, "the camera was lost (no answer in time)")
    ring.source_lost(3.5, "the camera was lost (connection refused)")
    ring.source_back(4.5)
    fill(ring, 50, 120)
    cut = ring.cut(1.0, 8.0, 2.0)
    assert len(cut.parts) == 1
    assert "2.100 s within are missing: the camera was lost (connection refused)" in cut.shortfall
    assert [(hole.start_s, hole.end_s) for hole in cut.holes] == [(2.9, 5.0)]


def test_pictures_from_before_a_long_absence_are_not_in_the_window() -> None:
    """Away for a minute; the event comes at once after: what was a minute ago is no evidence."""
    ring = PacketRing(300, 1_000_000)
    fill(ring, 0, 30)
    ring.source_lost(2.9, "the camera was lost (closed by the camera)")
    ring.source_back(63.0)
    fill(ring, 630, 700)
    cut = ring.cut(60.0, 68.0, 64.0)
    assert cut.packets[0].t_s == 63.0
    assert cut.shortfall == "begins 3.000 s late: the camera was lost (closed by the camera)"


def test_a_camera_that_is_still_away_ends_the_window_early_with_its_cause() -> None:
    """Lost within the time after the event, and not back when the clip is made."""
    ring = PacketRing(60, 1_000_000)
    fill(ring, 0, 60)
    ring.source_lost(5.9, "the camera was lost (no picture any more)")
    assert "ends 2.100 s early: the camera was lost (no picture any more)" in (
        ring.cut(2.0, 8.0, 4.0).shortfall
    )


def test_each_format_of_the_stream_becomes_a_part() -> None:
    """Another resolution after the event: the second part is no loss, and is told."""
    ring = PacketRing(60, 1_000_000)
    fill(ring, 0, 50)
    fill(ring, 50, 100, info=OTHER)
    cut = ring.cut(4.0, 7.0, 4.5)
    assert [part.packets[0].info for part in cut.parts] == [H264, OTHER]
    assert cut.main == 0
    assert "2 files" in cut.shortfall
    assert ring.cut(4.0, 7.0, 6.0).main == 1


def test_a_stream_that_changes_all_the_time_gives_no_more_than_four_parts() -> None:
    """The part with the event is one of them; the rest is told."""
    ring = PacketRing(60, 1_000_000)
    for n in range(10):
        fill(ring, n * 10, n * 10 + 10, info=StreamInfo("h264", bytes([n])))
    for at_s in (0.5, 5.5, 9.5):
        cut = ring.cut(0.0, 10.0, at_s)
        assert len(cut.parts) == 4
        assert cut.packets[0].info.extradata == bytes([int(at_s)])
        assert "6 further formats" in cut.shortfall


def test_pictures_that_lean_on_the_group_before_are_left_out_at_the_beginning() -> None:
    """An open group: two pictures decoded after the keyframe are shown before it."""
    ring = PacketRing(5, 1_000_000)
    ring.put(packet(1.0, key=True, lag_s=0.3))
    for shown in (0.8, 0.9, 1.1, 1.2, 1.3, 1.4):
        ring.put(packet(shown, lag_s=shown - 0.71))
    assert [one.t_s for one in ring.cut(0.9, 1.4, 1.1).packets] == [1.0, 1.1, 1.2, 1.3, 1.4]


@st.composite
def streams(draw: st.DrawFn) -> list[EncodedPacket]:
    """A camera's life: groups of any length, holes, changes of format, reordered pictures."""
    t_s, packets = 0.0, []
    for _ in range(draw(st.integers(1, 12))):
        info = draw(st.sampled_from([H264, H264, H264, OTHER]))
        t_s += draw(st.sampled_from([0.0, 0.0, 0.0, 1.7, 9.0]))
        for n in range(draw(st.integers(1, 30))):
            t_s += draw(st.sampled_from([0.05, 0.1, 0.3]))
            lag_s = draw(st.sampled_from([0.0, 0.0, 0.04]))
            size = draw(st.integers(1, 300))
            packets.append(packet(t_s, key=n == 0, size=size, info=info, lag_s=lag_s))
    return packets


@settings(max_examples=60)
@given(streams(), st.floats(0, 1), st.floats(0.1, 12), st.integers(500, 9000), st.floats(2, 20))
def test_whatever_came_a_cut_can_be_decoded_keeps_its_window_and_tells_what_it_lacks(
    packets: list[EncodedPacket], at: float, length_s: float, max_bytes: int, max_s: float
) -> None:
    """Parts begin with keyframes, hold one stream, end in time; nothing missing goes untold."""
    ring = PacketRing(max_s, max_bytes)
    for one in packets:
        ring.put(one)
    start_s = packets[-1].t_s * at
    end_s = start_s + length_s
    cut = ring.cut(start_s, end_s, (start_s + end_s) / 2)
    kept = [one for part in cut.parts for one in part.packets]
    for part in cut.parts:
        assert part.packets[0].keyframe
        assert len({one.info for one in part.packets}) == 1
        assert part.start_s == min(one.t_s for one in part.packets)
        assert all(one.dts_s <= end_s or one.t_s < part.end_s for one in part.packets[:-1])
        before = [one for one in part.packets if one.keyframe and one.t_s <= start_s]
        assert len(before) <= 1  # nothing older than the keyframe that the window needs
    assert len({id(one) for one in kept}) == len(kept)
    times = sorted(one.t_s for one in kept)
    if not times:
        assert cut.shortfall
        return
    if times[0] > start_s + 0.5:
        assert f"begins {times[0] - start_s:.3f} s late" in cut.shortfall
    if times[-1] < end_s - 0.5:
        assert f"ends {end_s - times[-1]:.3f} s early" in cut.shortfall
    gaps = [(a, b) for a, b in itertools.pairwise(times) if b - a > 1.5 and b > start_s]
    assert {(hole.start_s, hole.end_s) for hole in cut.holes} >= set(gaps)
    assert not gaps or "within are missing" in cut.shortfall
    if "late" in cut.shortfall:
        assert times[0] > start_s
    if "early" in cut.shortfall:
        assert times[-1] < end_s


@pytest.mark.parametrize("factor", [1, PIN_FACTOR])
def test_a_group_that_an_open_event_needs_may_grow_to_the_pins_bound(factor: int) -> None:
    """Without a pin one byte bound, with one twice as much; then it is cut short, and told."""
    ring = PacketRing(5, 2_000)
    fill(ring, 0, 10, gop=1000)
    if factor == PIN_FACTOR:
        ring.pin(0.5)
    fill(ring, 10, 100, gop=1000)
    assert ring.held_bytes == 2_000 * factor
    assert "cut short" in ring.cut(0.5, 9.0, 1.0).shortfall


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
