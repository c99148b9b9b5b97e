"""The wire's parsers against hostile bytes, and the limits that hold them."""

import contextlib

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from vedette.errors import MalformedReport, TooLarge, UnknownSchema, WireError
from vedette.wire import codec, limits
from vedette.wire.envelope import Batch, ClockState, Envelope
from vedette.wire.messages import CameraState, State
from vedette.wire.streams import STREAMS, Lane, stream


def envelope(body=b"\x80", **changes):
    """Return a valid envelope around an encoded body."""
    fields = {
        "epoch": 1,
        "boot_id": "boot",
        "lane": Lane.ALERT,
        "seq": 1,
        "t_wall_ms": 1_700_000_000_000,
        "t_mono_ms": 5_000,
        "clock_state": ClockState.TRUSTED,
        "schema": "camera_state.v1",
        "body": msgspec.Raw(body),
    }
    return Envelope(**(fields | changes))


def batch(*envelopes):
    """Return a batch around envelopes."""
    return Batch(
        device="dev", boot_id="boot", sent_mono_ms=1, sent_wall_ms=1, envelopes=list(envelopes)
    )


def test_a_batch_survives_the_way_there_and_back():
    """What was encoded is what is decoded, bodies included."""
    state = CameraState(camera="door", at_ms=1, noticed_ms=2, state=State.DOWN)
    sent = batch(envelope(codec.encode(state)))
    got = codec.decode_batch(codec.encode_batch(sent))
    assert codec.decode_body(got.envelopes[0].body, stream("camera_state.v1")) == state
    assert got.envelopes[0].schema == "camera_state.v1"


def test_json_is_accepted_for_the_same_batch():
    """Scripts and other languages may speak JSON."""
    state = CameraState(camera="door", at_ms=1, noticed_ms=2, state=State.DOWN)
    text = msgspec.json.encode(batch(envelope(msgspec.json.encode(state))))
    got = codec.decode_batch(text, json=True, zstd=False)
    body = codec.decode_body(got.envelopes[0].body, stream("camera_state.v1"), json=True)
    assert body == state


def test_a_zstd_bomb_is_refused_before_it_is_unpacked():
    """A small frame that states a huge size costs nothing."""
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(limits.MAX_INFLATED_BYTES + 1))
    assert len(bomb) < 10_000
    with pytest.raises(TooLarge, match="unpacks to"):
        codec.decompress(bomb)


def test_a_bomb_that_hides_its_size_is_refused():
    """A frame must state its size, so that nothing is unpacked on trust."""
    hidden = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1_000_000))
    with pytest.raises(MalformedReport, match="state its size"):
        codec.decompress(hidden)


def test_a_truncated_frame_and_trailing_bytes_are_refused():
    """Neither less nor more than one frame."""
    good = codec.compress(b"x" * 1000)
    for bad in (good[:-3], good + b"more"):
        with pytest.raises(MalformedReport):
            codec.decompress(bad)


def test_deep_nesting_is_refused():
    """A thousand brackets end as a clear error, not as a crash."""
    for data, json in ((b"\x91" * 100_000, False), (b"[" * 100_000, True)):
        with pytest.raises(WireError):
            codec.decode(data, Batch, json=json)


def test_a_body_over_its_rows_limit_is_refused():
    """Every schema has its own largest size."""
    row = stream("camera_state.v1")
    with pytest.raises(TooLarge, match=r"camera_state\.v1"):
        codec.decode_body(b"\x00" * (row.max_bytes + 1), row)


def test_too_many_envelopes_are_refused():
    """A batch has a largest count too."""
    many = batch(*[envelope(seq=n + 1) for n in range(limits.MAX_ENVELOPES + 1)])
    with pytest.raises(TooLarge, match="envelopes"):
        codec.decode_batch(codec.encode_batch(many))


@pytest.mark.parametrize("change", [{"seq": 0}, {"epoch": 0}, {"boot_id": ""}, {"seq": -5}])
def test_an_envelope_without_a_place_in_its_lane_is_refused(change):
    """Sequence numbers and epochs start at 1, and a boot has a name."""
    with pytest.raises(MalformedReport):
        codec.decode_batch(codec.encode_batch(batch(envelope(**change))))


def test_an_unknown_schema_says_what_to_do():
    """A newer device talking to an older central is told apart from garbage."""
    with pytest.raises(UnknownSchema) as caught:
        stream("event.v99")
    assert "update central" in (caught.value.operator_hint or "")


@given(st.binary(max_size=400))
def test_any_bytes_are_a_batch_or_a_wire_error(data):
    """No input escapes as another exception."""
    for json, zstd in ((False, True), (False, False), (True, False)):
        try:
            codec.decode_batch(data, json=json, zstd=zstd)
        except WireError:
            continue


@given(st.data())
def test_bit_flips_in_a_real_batch_are_a_batch_or_a_wire_error(data):
    """What a bad network card makes of a message never crashes the parser."""
    raw = bytearray(codec.encode(batch(envelope(), envelope(seq=2))))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(WireError):
        codec.decode_batch(bytes(raw), zstd=False)


def test_the_stream_table_has_each_schema_once_and_fits_the_batch():
    """One row per schema, and every row's largest body fits into one request."""
    assert len({row.schema for row in STREAMS}) == len(STREAMS)
    assert all(row.max_bytes < limits.MAX_BODY_BYTES for row in STREAMS)
