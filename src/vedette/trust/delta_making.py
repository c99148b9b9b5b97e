"""Makes a delta of two files: on the machine with the keys, before it is signed.

A part of the new file is packed against those pieces of the old one that look like it. Where they
lie is found by probes: 32 bytes of the new file, looked for near where the part before was found,
and then anywhere, within a budget. The rule: a wrong guess costs length, never bytes; what was made
is applied and compared before it is handed out.
"""

import hashlib
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import zstandard

from vedette.errors import ConfigError, MalformedReport
from vedette.trust.delta_file import (
    DICTIONARY_BYTES,
    LENGTH,
    MAGIC,
    PART,
    PART_BYTES,
    PIECE,
    File,
    Header,
    apply,
    part_sizes,
    raw_dictionary,
)
from vedette.wire.slots import ArtefactKind

MAX_FILE_BYTES: Final = 2 * 1024**3
_LEVEL: Final = 19
_WINDOW_LOG: Final = 24  # the dictionary and a part lie in one window
_BLOCK: Final = 512 * 1024
_MARGIN: Final = 256 * 1024
"""On either side: all blocks of a part with their margins are no longer than a dictionary."""

_PROBE: Final = 32
_DIFFERENT: Final = 8
"""A probe with fewer different bytes stands everywhere: padding, tables of zeros."""

_TRIES: Final = 3
_NEAR: Final = 2 * 1024 * 1024
_SCAN_BYTES: Final = 32 * 1024**3
"""Looked through in all, where what is looked for is nowhere near."""


def make(before: Path, after: Path, kind: ArtefactKind, out: Path) -> int:
    """Have in `out` what makes `before` into `after`, tried; return its length.

    Raises:
        ConfigError: A file cannot be read, or is too large.
        OSError: `out` cannot be written.
    """
    header = Header(kind=kind, before=named(before), after=named(after))
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with before.open("rb") as old, after.open("rb") as new, scratch.open("xb") as made:
            text = msgspec.json.encode(header)
            made.write(MAGIC + LENGTH.pack(len(text)) + text)
            for part in _parts(old, new, header):
                made.write(part)
        with before.open("rb") as old, scratch.open("rb") as made:
            apply(made, old, _Nowhere(), header)
        scratch.replace(out)
    except MalformedReport as error:
        raise ConfigError(f"a file changed while the delta was made: {error}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return out.stat().st_size


class _Nowhere:
    def write(self, data: bytes, /) -> int:
        return len(data)


def named(path: Path) -> File:
    """Return how a delta names a file.

    Raises:
        ConfigError: It has more bytes than deltas are made of, or none.
    """
    with path.open("rb") as opened:
        size = path.stat().st_size
        if not 0 < size <= MAX_FILE_BYTES:
            raise ConfigError(
                f"{path.name} has {size} bytes; deltas are made of 1 to {MAX_FILE_BYTES}"
            )
        return File(sha256=hashlib.file_digest(opened, "sha256").hexdigest(), bytes=size)


def _parts(old: BinaryIO, new: BinaryIO, header: Header) -> Iterator[bytes]:
    with mmap.mmap(old.fileno(), 0, access=mmap.ACCESS_READ) as held:
        search = _Search(held)
        start = 0
        for size in part_sizes(header.after.bytes):
            part = new.read(size)
            pieces = search.pieces(part, start)
            dictionary = b"".join(held[at : at + length] for at, length in pieces)
            frame = _packer(dictionary).compress(part)
            head = PART.pack(len(pieces), len(frame))
            yield head + b"".join(PIECE.pack(*piece) for piece in pieces) + frame
            start += size


def _packer(dictionary: bytes) -> zstandard.ZstdCompressor:
    parameters = zstandard.ZstdCompressionParameters.from_level(  # pyright: ignore[reportUnknownMemberType] - theirs
        _LEVEL,
        source_size=PART_BYTES,
        dict_size=len(dictionary),
        window_log=_WINDOW_LOG,
        enable_ldm=True,
        write_content_size=True,
    )
    return zstandard.ZstdCompressor(
        compression_params=parameters, dict_data=raw_dictionary(dictionary)
    )


class _Search:
    """Where in the old file something like a part of the new one lies."""

    def __init__(self, held: mmap.mmap) -> None:
        self._held: Final = held
        self._shift = 0  # of what was found last: where it lies in the old file, less in the new
        self._left = _SCAN_BYTES

    def pieces(self, part: bytes, start: int) -> list[tuple[int, int]]:
        """Return (start, length) of pieces of the old file, in order, in all below the limit."""
        total = len(self._held)
        if total <= DICTIONARY_BYTES:
            return [(0, total)]
        found: list[tuple[int, int]] = []
        for at in range(0, len(part), _BLOCK):
            place = self._place(part[at : at + _BLOCK], start + at)
            first = max(0, min(place - _MARGIN, total))
            last = max(first, min(place + _BLOCK + _MARGIN, total))
            found.append((first, last))
        return _merged(found)

    def _place(self, block: bytes, start: int) -> int:
        guess = start + self._shift
        for probe, offset in _probes(block):
            near = self._held.find(probe, max(0, guess + offset - _NEAR), guess + offset + _NEAR)
            if near < 0 and self._left > 0:
                near = self._held.find(probe)
                self._left -= len(self._held) if near < 0 else near
            if near >= 0:
                self._shift = near - offset - start
                return start + self._shift
        return guess


def _probes(block: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield a few places of a block that stand for it, with their offsets."""
    step = max(1, len(block) // (2 * _TRIES))
    given = 0
    for offset in range(0, len(block) - _PROBE, step):
        probe = block[offset : offset + _PROBE]
        if given < _TRIES and len(set(probe)) >= _DIFFERENT:
            given += 1
            yield probe, offset


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (start, length) of what the spans (start, end) cover, each byte once."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        elif last > first:
            merged.append((first, last))
    return [(first, last - first) for first, last in merged]
