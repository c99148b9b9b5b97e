"""Motion JPEG's parts, however the bytes arrive and whatever their heads claim."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.edge.capture.multipart import MAX_PART_BYTES, Parts, boundary_of
from vedette.edge.capture.seam import SourceLost

PICTURES = [b"\xff\xd8" + random.Random(n).randbytes(40 + 9 * n) + b"\xff\xd9" for n in range(5)]


def body(pictures: list[bytes], *, length: int | None = 0, end: bytes = b"\r\n") -> bytes:
    """Return a stream: lengths are true plus `length`, or absent where that is None."""
    out = b""
    for picture in pictures:
        out += b"--cut" + end + b"Content-Type: image/jpeg" + end
        if length is not None:
            out += b"Content-Length: %d" % max(0, len(picture) + length) + end
        out += end + picture + end
    return out + b"--cut" + end


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=60),
    st.sampled_from([b"\r\n", b"\n"]),
    st.sampled_from([0, None]),
)
def test_parts_are_the_same_however_the_bytes_arrive(
    sizes: list[int], end: bytes, length: int | None
) -> None:
    """Any cutting of the stream gives the same pictures, in order."""
    parts, got = Parts(b"cut"), []
    data = body(PICTURES, length=length, end=end)
    for size in sizes:
        got += parts.feed(data[:size])
        data = data[size:]
    got += parts.feed(data)
    assert [part.rstrip(b"\r\n") for part in got] == PICTURES


@pytest.mark.parametrize("length", [50, 1_000, 5_000_000])
def test_a_length_too_large_does_not_swallow_the_next_pictures(length: int) -> None:
    """A boundary behind the end of a picture ends the part, whatever was announced."""
    got = Parts(b"cut").feed(body(PICTURES, length=length))
    assert [part.rstrip(b"\r\n") for part in got] == PICTURES


def test_a_length_too_small_costs_the_ends_of_pictures_and_not_the_stream() -> None:
    """Each part comes, cut short; the next is found at its boundary."""
    got = Parts(b"cut").feed(body(PICTURES, length=-20))
    assert got == [picture[:-20] for picture in PICTURES]


@pytest.mark.parametrize("claim", [b"-5", b"1e9", b"99999999999", b"0", b"x" * 50, b""])
def test_a_length_that_cannot_be_true_is_not_believed(claim: bytes) -> None:
    """The part then ends at the next boundary."""
    data = b"--cut\r\nContent-Length: " + claim + b"\r\n\r\n" + PICTURES[0] + b"\r\n--cut\r\n"
    assert [part.rstrip() for part in Parts(b"cut").feed(data)] == PICTURES[:1]


def test_a_boundary_that_was_not_announced_is_learned() -> None:
    """The first line of the body says it."""
    got = Parts(None).feed(b"\r\n" + body(PICTURES))
    assert [part.rstrip(b"\r\n") for part in got] == PICTURES


@pytest.mark.parametrize(
    "announced",
    ["multipart/x-mixed-replace; boundary=cut", 'x; BOUNDARY="--cut"', "x;boundary= ----cut"],
)
def test_boundaries_are_read_as_cameras_write_them(announced: str) -> None:
    """Quotes, case and dashes do not matter."""
    assert boundary_of(announced) == b"cut"
    assert boundary_of("multipart/x-mixed-replace") is None


@pytest.mark.parametrize("start", [b"", b"--cut\r\nContent-Type: image/jpeg\r\n\r\n"])
def test_a_part_without_end_or_beginning_is_given_up(start: bytes) -> None:
    """No more is held than one part may have."""
    parts = Parts(b"cut")
    parts.feed(start)

    def flood() -> None:
        for _ in range(MAX_PART_BYTES // 1_000_000 + 2):
            parts.feed(b"\x55" * 1_000_000)

    with pytest.raises(SourceLost):
        flood()


@given(st.binary(max_size=400), st.sampled_from([b"cut", None]))
def test_hostile_bytes_give_parts_or_a_loss_never_another_error(
    data: bytes, boundary: bytes | None
) -> None:
    """Whatever it is: what comes out was in it."""
    for part in Parts(boundary).feed(b"--cut\r\n\r\n" + data):
        assert part in data


def test_delimiters_without_number_within_an_announced_length_are_part_of_the_picture() -> None:
    """A length that is said and thousands of delimiters before it: no recursion, one part."""
    body = b"\n--cut" * 20_000
    head = b"--cut\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert Parts(b"cut").feed(head + body) == [body]
