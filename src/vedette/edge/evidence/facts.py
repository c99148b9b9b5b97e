"""What stands in a package, and how it is read back without trusting it.

    clip.mp4        the part of the stream with the event      clip-2.mp4 …  parts of other formats
    evidence.json   `Facts`                                     poster.jpg    the event's picture
    SHA256SUMS      of all of these, for `sha256sum -c`
    blurred.mp4, blurred.jpg, blurred.json                      only where a blurred copy was made
    signature.json, blurred-signature.json                      what the device signed (`signing`)
    reported, priority-N, blur-wanted, blur-failed              marks, for this device only

Here: names, and reading; the structure of the JSON is in `wire.evidence`. The rule: a package is a
folder that anybody may have written into: sizes are limited, links are not followed, and what is
wrong is said in words.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from vedette.errors import EvidenceError
from vedette.wire.evidence import (
    BLURRED_POSTER,
    MAX_JSON_BYTES,
    POSTER,
    BlurredFacts,
    BlurredPoster,
    ClipFile,
    Facts,
    FrameBoxes,
    Hole,
)

__all__ = [
    "BLURRED_POSTER",
    "POSTER",
    "BlurredFacts",
    "BlurredPoster",
    "ClipFile",
    "Facts",
    "FrameBoxes",
    "Hole",
    "append_line",
    "blurred_files",
    "digest",
    "is_plain_name",
    "plain",
    "read_blurred",
    "read_facts",
    "read_limited",
    "read_sums",
    "sums_text",
    "translated",
]

CLIP: Final = "clip.mp4"
FACTS: Final = "evidence.json"
SUMS: Final = "SHA256SUMS"
REPORTED: Final = "reported"
BLURRED_CLIP: Final = "blurred.mp4"
BLURRED_FACTS: Final = "blurred.json"
BLUR_WANTED: Final = "blur-wanted"
BLUR_FAILED: Final = "blur-failed"
PRIORITY_MARK: Final = "priority-"

DEFAULT_PRIORITY: Final = 1
MAX_FACTS_BYTES: Final = MAX_JSON_BYTES
MAX_SUMS_BYTES: Final = 16 * 1024


def read_facts(path: Path) -> Facts:
    """Return what a package's JSON says.

    Raises:
        EvidenceError: Missing, a link, larger than any that was written, or not readable.
    """
    raw = read_limited(path / FACTS, MAX_FACTS_BYTES)
    try:
        return msgspec.json.decode(raw, type=Facts)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise EvidenceError(f"{path.name}: its facts are damaged") from problem


def read_blurred(path: Path) -> BlurredFacts:
    """Return what a package says of its blurred copy.

    Raises:
        EvidenceError: Missing, a link, too large, or not readable.
    """
    raw = read_limited(path / BLURRED_FACTS, MAX_FACTS_BYTES)
    try:
        return msgspec.json.decode(raw, type=BlurredFacts)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise EvidenceError(f"{path.name}: {BLURRED_FACTS} is damaged") from problem


def blurred_files(said: BlurredFacts) -> dict[str, str]:
    """Return the pictures of a blurred copy with their hashes; no name is taken from its facts."""
    poster = {BLURRED_POSTER: said.poster.sha256} if said.poster else {}
    return {BLURRED_CLIP: said.clip.sha256, **poster}


def is_plain_name(name: str) -> bool:
    """True for what can be a file's name in a package, and no way out of it."""
    return bool(name) and "/" not in name and not name.startswith(".") and "\0" not in name


def read_limited(path: Path, most: int) -> bytes:
    """Return a plain file's bytes.

    Raises:
        EvidenceError: Missing, not a plain file, or of more than `most` bytes.
    """
    name = f"{path.parent.name}: {path.name}"
    with translated(f"{name} cannot be read"), plain(path, name) as handle:
        with os.fdopen(os.dup(handle), "rb") as file:
            data = file.read(most + 1)
    if len(data) > most:
        raise EvidenceError(f"{name} has more than {most} bytes: not written by this program")
    return data


def digest(path: Path) -> str:
    """Return the SHA-256 of a plain file in hex.

    Raises:
        EvidenceError: Missing or not a plain file.
    """
    name = f"{path.parent.name}: {path.name}"
    with translated(f"{name} cannot be read"), plain(path, name) as handle:
        with os.fdopen(os.dup(handle), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def plain(path: Path, name: str) -> Iterator[int]:
    """Open a plain file; a link, a pipe or a device is refused instead of waited for."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise EvidenceError(f"{name} is no plain file")
        yield handle
    finally:
        os.close(handle)


def append_line(path: Path, line: bytes) -> None:
    """Have a line at a file's end, on the disk before this returns.

    Raises:
        EvidenceError: The disk refuses, or the file is a link.
    """
    with translated(f"{path.name} could not be written, so nothing was done"):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.write(handle, line + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)


def sums_text(files: Mapping[str, bytes]) -> bytes:
    """Return `SHA256SUMS` for these files, as `sha256sum` writes it."""
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()]
    return "".join(lines).encode()


def read_sums(path: Path) -> dict[str, str]:
    """Return file name to SHA-256 of a package; empty where it has no `SHA256SUMS`.

    Raises:
        EvidenceError: It is there and makes no sense.
    """
    if not (path / SUMS).exists():
        return {}
    try:
        text = read_limited(path / SUMS, MAX_SUMS_BYTES).decode("ascii")
    except UnicodeDecodeError as problem:
        raise EvidenceError(f"{path.name}: {SUMS} is damaged") from problem
    sums: dict[str, str] = {}
    for line in text.splitlines():
        found, _, name = line.partition("  ")
        if len(found) != 64 or not name or "/" in name or name.startswith("."):
            raise EvidenceError(f"{path.name}: {SUMS} is damaged")
        sums[name] = found
    return sums


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what the disk refuses into an `EvidenceError` that begins with `what`."""
    try:
        yield
    except OSError as problem:
        full = problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        link = problem.errno == errno.ELOOP
        why = "the disk is full" if full else "it is a link" if link else problem.strerror
        raise EvidenceError(
            f"{what}: {why}",
            operator_hint="free space on the device or lower evidence.keep_mb" if full else None,
        ) from problem
