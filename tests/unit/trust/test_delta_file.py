"""What a delta makes, and what it may not: a bomb, the wrong file, other bytes, no end."""

import hashlib
import io
import random
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import MalformedReport
from vedette.trust import delta_file, delta_making
from vedette.trust.delta_file import LENGTH, MAGIC, PART, PIECE, File, Header, apply, raw_dictionary
from vedette.wire.slots import ArtefactKind

KIND = ArtefactKind.MODEL
PART_BYTES = delta_file.PART_BYTES
OLD = random.Random(1).randbytes(300_000)
NEW = OLD[:100_000] + b"a new threshold" + OLD[100_050:] + b"and an end"


def file_of(data: bytes) -> File:
    """Return how a delta names a file."""
    return File(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def header_of(old: bytes = OLD, new: bytes = NEW, kind: ArtefactKind = KIND) -> Header:
    """Return what a delta of these says."""
    return Header(kind=kind, before=file_of(old), after=file_of(new))


def head(header: Header) -> bytes:
    """Return the beginning of a delta."""
    text = msgspec.json.encode(header)
    return MAGIC + LENGTH.pack(len(text)) + text


def made(tmp_path: Path, old: bytes = OLD, new: bytes = NEW) -> bytes:
    """Return a delta as it is made for signing."""
    for name, data in (("old", old), ("new", new)):
        (tmp_path / name).write_bytes(data)
    delta_making.make(tmp_path / "old", tmp_path / "new", KIND, tmp_path / "delta")
    return (tmp_path / "delta").read_bytes()


def applied(delta: bytes, wanted: Header | None = None, old: bytes = OLD) -> bytes:
    """Return what a device makes of it."""
    out = io.BytesIO()
    apply(io.BytesIO(delta), io.BytesIO(old), out, wanted or header_of())
    return out.getvalue()


def test_a_delta_makes_the_new_file_of_the_old_one(tmp_path: Path) -> None:
    """Exactly its bytes, of far fewer."""
    delta = made(tmp_path)
    assert applied(delta) == NEW
    assert len(delta) < len(NEW) / 100
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@given(old=st.binary(min_size=1, max_size=300), edits=st.lists(st.binary(max_size=40), max_size=5))
@settings(max_examples=30, deadline=None)
def test_any_two_files_have_a_delta(
    tmp_path_factory: pytest.TempPathFactory, old: bytes, edits: list[bytes]
) -> None:
    """Whatever stands in them, it makes the one of the other."""
    new = b"".join(edit + old[len(edit) :] for edit in edits) or b"0"
    delta = made(tmp_path_factory.mktemp("any"), old, new)
    assert applied(delta, header_of(old, new), old) == new


def test_files_of_several_parts_are_found_again_where_their_bytes_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that swapped places, and zeros between them, cost next to nothing."""
    for name, size in (("PART_BYTES", 1 << 18), ("DICTIONARY_BYTES", 1 << 19)):
        monkeypatch.setattr(delta_file, name, size)
        monkeypatch.setattr(delta_making, name, size)
    monkeypatch.setattr(delta_making, "_BLOCK", 1 << 15)
    monkeypatch.setattr(delta_making, "_MARGIN", 1 << 13)
    monkeypatch.setattr(delta_making, "_NEAR", 1 << 15)
    a, b, c = (random.Random(seed).randbytes(700_000) for seed in (2, 3, 4))
    old, new = a + bytes(100_000) + b, b + b"moved" + bytes(90_000) + c[:70_000] + a
    delta = made(tmp_path, old, new)
    assert applied(delta, header_of(old, new), old) == new
    assert len(delta) < 70_000 * 1.5


def test_a_delta_for_another_device_or_kind_is_refused(tmp_path: Path) -> None:
    """From another file, to another one, of another kind: nothing is made."""
    delta = made(tmp_path)
    for wanted in (
        header_of(old=OLD + b"."),
        header_of(new=NEW + b"."),
        header_of(kind=ArtefactKind.APP),
    ):
        with pytest.raises(MalformedReport, match="another one is wanted"):
            applied(delta, wanted)


def test_a_wrong_file_before_makes_nothing_that_counts(tmp_path: Path) -> None:
    """The same length and other bytes: it is noticed by the hash of what was made."""
    with pytest.raises(MalformedReport, match=r"unpacked|other bytes"):
        applied(made(tmp_path), old=OLD[::-1])


def test_an_altered_truncated_or_prolonged_delta_is_refused_everywhere(tmp_path: Path) -> None:
    """Cut at any place, or with one bit turned: never the wrong file without an error."""
    delta = made(tmp_path)
    for end in range(0, len(delta), 7):
        with pytest.raises(MalformedReport):
            applied(delta[:end])
    with pytest.raises(MalformedReport, match="behind its end"):
        applied(delta + b"0")
    for at in range(0, len(delta), 5):
        turned = bytearray(delta)
        turned[at] ^= 1 << at % 8
        try:
            assert applied(bytes(turned)) == NEW  # a bit that says nothing, as a frame may have
        except MalformedReport:
            continue


def part_of(frame: bytes, *pieces: tuple[int, int], count: int | None = None) -> bytes:
    """Return one part."""
    said = PART.pack(len(pieces) if count is None else count, len(frame))
    return said + b"".join(PIECE.pack(*piece) for piece in pieces) + frame


def bomb(size: int, *, says: bool = True) -> bytes:
    """Return a frame of that many zeros."""
    return zstandard.ZstdCompressor(level=1, write_content_size=says).compress(bytes(size))


@pytest.mark.parametrize(
    "part",
    [
        part_of(bomb(64 << 20)),
        part_of(bomb(64 << 20, says=False)),
        part_of(bomb(len(NEW)) + bomb(len(NEW))),
        part_of(b"\x28\xb5\x2f\xfd\xe0" + (1 << 62).to_bytes(8, "little") + b"\x01\0\0"),
        part_of(zstandard.ZstdCompressor().compress(NEW), (len(OLD), 1)),
        part_of(zstandard.ZstdCompressor().compress(NEW), (2**64 - 1, 2**32 - 1)),
        part_of(zstandard.ZstdCompressor().compress(NEW), *[(0, 290_000)] * 30),
        part_of(b"", count=255),
        PART.pack(0, 2**32 - 1),
        part_of(b"\x50\x2a\x4d\x18" + (2**31).to_bytes(4, "little") + b"skip"),
    ],
    ids=[
        "bomb", "bomb-without-length", "two-frames", "says-much", "reads-behind", "reads-far",
        "reads-much", "many-pieces", "long", "skippable",
    ],
)  # fmt: skip
def test_a_bomb_is_refused_before_it_is_unpacked(part: bytes) -> None:
    """No more is unpacked, read or waited for than the result has bytes; all limits hold."""
    read: list[int] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            read.append(size or 0)
            return super().read(size)

    out = io.BytesIO()
    with pytest.raises(MalformedReport):
        apply(Counted(head(header_of()) + part), Counted(OLD), out, header_of())
    assert not out.getvalue()
    assert 0 < max(read) <= delta_file.DICTIONARY_BYTES


def test_an_endless_delta_is_read_no_further_than_its_result() -> None:
    """A stream that never ends is left where the result has its length."""
    frame = zstandard.ZstdCompressor(dict_data=raw_dictionary(OLD)).compress(NEW)
    good = head(header_of()) + part_of(frame, (0, len(OLD)))

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert size >= 0
            return super().read(size).ljust(size, b"0")

    out = io.BytesIO()
    with pytest.raises(MalformedReport, match="behind its end"):
        apply(Endless(good), io.BytesIO(OLD), out, header_of())
    with pytest.raises(MalformedReport, match="header of"):
        delta_file.read_header(Endless(MAGIC + LENGTH.pack(2**31)))
    with pytest.raises(MalformedReport, match="no delta"):
        delta_file.read_header(Endless(b"PK"))
