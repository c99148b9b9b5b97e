"""A tar with limits: what artefacts of several files are packed in.

Plain POSIX tar (ustar), uncompressed: regular files only, names of a few kinds, the first of them a
small JSON manifest. Uncompressed, because wheels and packages are compressed already and because a
difference to the version before stays small. No links, no folders, no long-name or sparse entries:
whoever signs an artefact could run anything here anyway, but a mistake or a torn file must not.

Source: POSIX.1-1988 ustar; headers are read by `tarfile.TarInfo.frombuf`, bodies by us.
"""

import io
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec

from vedette.errors import ConfigError

BLOCK: Final = 512
MAX_BYTES: Final = 2 * 1024**3
MAX_MEMBERS: Final = 512
MAX_MANIFEST_BYTES: Final = 64 * 1024
_NAME: Final = re.compile(r"(?:[a-z]{1,16}/)?[A-Za-z0-9][A-Za-z0-9._+~!%:=-]{0,180}")
_PART: Final = 1024 * 1024
HINT: Final = "build the artefact again, sign it, and assign that one"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an archive."""

    name: str
    bytes: int


def manifest(file: Path, name: str) -> bytes:
    """Return the first file of an archive, which has to be called `name`.

    Raises:
        ConfigError: It is not, or the file is no such archive.
    """
    with _opened(file) as stream:
        for member in _members(stream, file.stat().st_size):
            if member.name != name:
                raise ConfigError(
                    f"its first file is {member.name[:60]!r}, not {name}", operator_hint=HINT
                )
            if member.bytes > MAX_MANIFEST_BYTES:
                raise ConfigError(f"{name} has {member.bytes} bytes", operator_hint=HINT)
            return _exactly(stream, member.bytes)
    raise ConfigError("an empty archive", operator_hint=HINT)


def unpack(file: Path, folder: Path) -> list[Member]:
    """Have every file of an archive below `folder`, which is made; return them in order.

    Nothing lies outside of `folder`, and nothing there is overwritten.

    Raises:
        ConfigError: The file is no such archive, or breaks a limit.
        OSError: The disk refuses.
    """
    folder.mkdir(mode=0o700, parents=True)
    found: list[Member] = []
    with _opened(file) as stream:
        for member in _members(stream, file.stat().st_size):
            target = folder / member.name
            target.parent.mkdir(mode=0o700, exist_ok=True)
            with target.open("xb") as out:
                left = member.bytes
                while left:
                    out.write(part := _exactly(stream, min(left, _PART)))
                    left -= len(part)
            found.append(member)
    return found


def pack(out: Path, members: Sequence[tuple[str, Path | bytes]]) -> None:
    """Write an archive; the same members give the same bytes.

    Raises:
        ConfigError: A name or size that could not be unpacked.
        OSError: A file cannot be read, or `out` not be written.
    """
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with (
            scratch.open("xb") as raw,
            tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for name, content in members:
                _add(tar, name, content)
        _check(scratch)
        scratch.replace(out)
    finally:
        scratch.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o644
    if isinstance(content, bytes):
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
        return
    entry.size = content.stat().st_size
    with content.open("rb") as file:
        tar.addfile(entry, file)


def _check(file: Path) -> None:
    with file.open("rb") as stream:
        for member in _members(stream, file.stat().st_size):
            stream.seek(member.bytes, os.SEEK_CUR)


def _opened(file: Path) -> IO[bytes]:
    return file.open("rb")


def _members(stream: IO[bytes], total: int) -> Iterator[Member]:
    """Yield each file; whoever takes one has read its bytes when the next is asked for.

    Raises:
        ConfigError: No such archive.
    """
    if total > MAX_BYTES:
        raise ConfigError(f"{total} bytes, more than {MAX_BYTES}", operator_hint=HINT)
    seen: set[str] = set()
    while len(header := stream.read(BLOCK)) == BLOCK and header.strip(b"\0"):
        member = _member(header)
        at = stream.tell()
        if member.bytes > total - at:
            raise ConfigError(f"{member.name} is cut off", operator_hint=HINT)
        if member.name in seen or len(seen) >= MAX_MEMBERS:
            why = f"{member.name} stands twice" if member.name in seen else "too many files"
            raise ConfigError(why, operator_hint=HINT)
        seen.add(member.name)
        yield member
        stream.seek(at + -(-member.bytes // BLOCK) * BLOCK)
    if len(header) != BLOCK:
        raise ConfigError("the archive is cut off", operator_hint=HINT)


def _member(header: bytes) -> Member:
    try:
        entry = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise ConfigError(f"not an archive: {error}", operator_hint=HINT) from error
    if entry.type not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
        raise ConfigError(f"{entry.name[:60]!r} is no plain file", operator_hint=HINT)
    if not _NAME.fullmatch(entry.name) or entry.size < 0:
        raise ConfigError(f"{entry.name[:60]!r} is no name for a file here", operator_hint=HINT)
    return Member(name=entry.name, bytes=entry.size)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise ConfigError("the archive is cut off", operator_hint=HINT)
    return data
