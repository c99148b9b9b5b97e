r"""A delta: what makes one file, that a device holds, into another one that it is to have.

    b"VDELTA1\n"  uint32 length  header (JSON): kind, before, after
    for each 4 MiB of the result, in order:
        uint8 pieces  uint32 packed  pieces x (uint64 start, uint32 bytes)  packed bytes

Each part of the result is a Zstandard frame of its own, packed against at most 8 MiB of the file
that is held: the named pieces of it, one after another, as a dictionary of raw content. So what a
device needs of memory depends neither on the size of a file nor on what a delta says. Numbers are
little-endian. Making one is `delta_making`'s.

The rule: a delta is signed before it comes here, and what it makes is verified afterwards; and yet
nothing in it is believed. Each length is known, or bounded, before a byte is read for it.

Source: RFC 8878 (Zstandard), sections 3.1.1 (frames) and 5 (dictionaries).
"""

import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec
import zstandard

from vedette.errors import MalformedReport
from vedette.wire.slots import ArtefactKind

MAGIC: Final = b"VDELTA1\n"
PART_BYTES: Final = 4 * 1024 * 1024
DICTIONARY_BYTES: Final = 8 * 1024 * 1024
MAX_PIECES: Final = 32
MAX_HEADER_BYTES: Final = 4096
MAX_PACKED_BYTES: Final = PART_BYTES + PART_BYTES // 128 + 1024
"""What does not pack becomes longer by less: a block of 128 KiB has a header of three bytes."""

LENGTH: Final = struct.Struct("<I")
PART: Final = struct.Struct("<BI")
PIECE: Final = struct.Struct("<QI")
_HINT: Final = "the whole file is downloaded in its place; have the delta made anew"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One side: its SHA-256 in lower-case hex, and its length."""

    sha256: str
    bytes: int


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a delta is for."""

    kind: ArtefactKind
    before: File
    after: File


class Readable(Protocol):
    """A file, or what can be read like one."""

    def read(self, size: int = ..., /) -> bytes:
        """Return at most so many bytes; fewer only at the end."""
        ...


class Seekable(Readable, Protocol):
    """The same, from anywhere."""

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Go there."""
        ...


class Writable(Protocol):
    """Where the result goes."""

    def write(self, data: bytes, /) -> int:
        """Take it."""
        ...


def apply(
    delta: Readable,
    held: Seekable,
    out: Writable,
    wanted: Header,
    *,
    goes_on: Callable[[], None] = lambda: None,
) -> None:
    """Have in `out` exactly the bytes of `wanted.after`.

    Args:
        delta: From its beginning.
        held: The file that the delta is against.
        out: What came there may be wrong or cut off where this raises.
        wanted: What the delta has to be for, as signed metadata says.
        goes_on: Called before each part; may raise to end it.

    Raises:
        MalformedReport: It is another delta, or none, or breaks a limit, or makes other bytes.
        OSError: The disk refuses.
    """
    said = read_header(delta)
    if said != wanted:
        raise MalformedReport(
            f"a delta of {said.kind.value} from {said.before.sha256[:12]} to"
            f" {said.after.sha256[:12]}, and another one is wanted",
            operator_hint=_HINT,
        )
    digest = hashlib.sha256()
    for size in part_sizes(wanted.after.bytes):
        goes_on()
        part = _part(delta, held, size, wanted.before.bytes)
        digest.update(part)
        out.write(part)
    if delta.read(1):
        raise MalformedReport("a delta with something behind its end", operator_hint=_HINT)
    if digest.hexdigest() != wanted.after.sha256:
        raise MalformedReport("a delta that makes other bytes", operator_hint=_HINT)


def read_header(delta: Readable) -> Header:
    """Return what a delta says that it is for.

    Raises:
        MalformedReport: It is no delta.
    """
    if _exactly(delta, len(MAGIC)) != MAGIC:
        raise MalformedReport("no delta", operator_hint=_HINT)
    (size,) = LENGTH.unpack(_exactly(delta, LENGTH.size))
    if size > MAX_HEADER_BYTES:
        raise MalformedReport(f"a delta with a header of {size} bytes", operator_hint=_HINT)
    try:
        return msgspec.json.decode(_exactly(delta, size), type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedReport(f"no delta: {error}", operator_hint=_HINT) from error


def part_sizes(total: int) -> Iterator[int]:
    """Yield the length of each part of a result."""
    for start in range(0, total, PART_BYTES):
        yield min(PART_BYTES, total - start)


def _part(delta: Readable, held: Seekable, size: int, held_bytes: int) -> bytes:
    count, packed = PART.unpack(_exactly(delta, PART.size))
    if count > MAX_PIECES or packed > MAX_PACKED_BYTES:
        raise MalformedReport(f"a part of {count} pieces, {packed} bytes", operator_hint=_HINT)
    pieces = [PIECE.unpack(_exactly(delta, PIECE.size)) for _ in range(count)]
    needed = sum(length for _, length in pieces)
    if needed > DICTIONARY_BYTES or any(at + length > held_bytes for at, length in pieces):
        raise MalformedReport("a part that reads what is not there", operator_hint=_HINT)
    frame = _exactly(delta, packed)
    _refuse_frame(frame, size)
    dictionary = b"".join(_at(held, at, length) for at, length in pieces)
    try:
        part = zstandard.ZstdDecompressor(
            dict_data=raw_dictionary(dictionary), max_window_size=PART_BYTES
        ).decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise MalformedReport(f"a part cannot be unpacked: {error}", operator_hint=_HINT) from error
    if len(part) != size:
        raise MalformedReport(f"a part of {len(part)} bytes, not {size}", operator_hint=_HINT)
    return part


def _refuse_frame(frame: bytes, size: int) -> None:
    """Raise where a frame says that it holds anything but `size` bytes: none is unpacked then."""
    try:
        said = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise MalformedReport(f"a part is no frame: {error}", operator_hint=_HINT) from error
    if said.content_size != size or said.window_size > PART_BYTES:
        raise MalformedReport(f"a part that says {said.content_size} bytes", operator_hint=_HINT)


def raw_dictionary(data: bytes) -> zstandard.ZstdCompressionDict | None:
    """Return `data` as a dictionary that is nothing but content; None: there is none."""
    if not data:
        return None
    return zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _at(held: Seekable, start: int, length: int) -> bytes:
    held.seek(start)
    return _exactly(held, length)


def _exactly(stream: Readable, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise MalformedReport("it is cut off", operator_hint=_HINT)
    return data
