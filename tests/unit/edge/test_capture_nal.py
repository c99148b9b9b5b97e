"""Parameter sets inside packets, also hostile ones."""

from hypothesis import given
from hypothesis import strategies as st

from vedette.edge.capture import nal

SPS, OTHER_SPS, PPS, SLICE = b"\x67\x01\x02", b"\x67\x09\x09", b"\x68\x03", b"\x65\x04\x05"
AVCC = b"\x01\x64\x00\x1f\xff\xe1\x00\x03" + SPS + b"\x01\x00\x02" + PPS


def test_parameter_sets_are_found_in_annexb_and_in_avcc() -> None:
    """Both ways of carrying them give the same sets."""
    packet = nal.START + SPS + nal.START[1:] + PPS + nal.START + SLICE
    assert nal.in_band("h264", packet, 0) == (SPS, PPS)
    assert nal.from_extradata("h264", AVCC) == (SPS, PPS)
    assert nal.prefix_bytes("h264", AVCC) == 4
    assert nal.prefix_bytes("h264", nal.START + SPS) == 0


def test_only_a_different_sps_is_a_different_picture() -> None:
    """A new PPS alone does not change size or format."""
    assert nal.picture_parameters("h264", (SPS, PPS)) == nal.picture_parameters("h264", (PPS, SPS))
    assert nal.picture_parameters("h264", (OTHER_SPS, PPS)) != (SPS,)


def test_hevc_sets_are_found_by_their_own_numbers() -> None:
    """VPS, SPS and PPS of H.265 in an hvcC record."""
    sets = (b"\x40\x01\x0c", b"\x42\x01\x01", b"\x44\x01\xc1")
    record = bytes(21) + b"\x03\x03"
    for unit in sets:
        record += bytes([(unit[0] >> 1) & 63]) + b"\x00\x01\x00\x03" + unit
    assert nal.from_extradata("hevc", record) == sets
    assert nal.prefix_bytes("hevc", record) == 4
    assert nal.picture_parameters("hevc", sets) == (sets[1],)


@given(st.sampled_from(["h264", "hevc", "mjpeg"]), st.binary(max_size=400), st.integers(0, 4))
def test_hostile_bytes_give_an_answer_never_an_exception(
    codec: str, data: bytes, prefix: int
) -> None:
    """Anything may stand in a packet or a record."""
    nal.from_extradata(codec, data)
    nal.prefix_bytes(codec, data)
    nal.in_band(codec, data, prefix)


@given(st.lists(st.binary(min_size=1, max_size=30).filter(lambda b: b"\0" not in b), max_size=8))
def test_units_survive_start_codes(units: list[bytes]) -> None:
    """What is put behind start codes is found again."""
    assert list(nal.split_annexb(nal.to_annexb(iter(units)))) == units
