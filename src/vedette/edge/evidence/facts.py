"""What stands in a package, and how it is read back without trusting it.

    clip.mp4        the part of the stream with the event      clip-2.mp4 …  parts of other formats
    evidence.json   `Facts`                                     poster.jpg    the event's picture
    SHA256SUMS      of all of these, for `sha256sum -c`
    blurred.mp4, blurred.json                                   only where a blurred copy was made
    reported, priority-N, blur-wanted, blur-failed              marks, for this device only

Here: names, the structure of the JSON, reading it. The rule: a package is a folder that anybody may
have written into: sizes are limited, links are not followed, and what is wrong is said in words.
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
from vedette.wire.messages import Box, EventReport, EvidenceRecord

CLIP: Final = "clip.mp4"
FACTS: Final = "evidence.json"
POSTER: Final = "poster.jpg"
SUMS: Final = "SHA256SUMS"
REPORTED: Final = "reported"
BLURRED_CLIP: Final = "blurred.mp4"
BLURRED_FACTS: Final = "blurred.json"
BLUR_WANTED: Final = "blur-wanted"
BLUR_FAILED: Final = "blur-failed"
PRIORITY_MARK: Final = "priority-"

DEFAULT_PRIORITY: Final = 1
MAX_FACTS_BYTES: Final = 16 * 1024 * 1024
MAX_SUMS_BYTES: Final = 16 * 1024


class FrameBoxes(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen in one frame that was analysed, or held because nothing moved."""

    at_ms: int
    boxes: list[Box]


class ClipFile(msgspec.Struct, frozen=True, kw_only=True):
    """One video file of a package.

    Attributes:
        window_ms: When its first and its last picture are shown.
        picture_px: As it is coded; `rotation_deg` turns it clockwise for showing.
    """

    file: str
    sha256: str
    bytes: int
    codec: str
    picture_px: tuple[int, int]
    window_ms: tuple[int, int]
    packets: int
    rotation_deg: int = 0


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch within the window without pictures."""

    window_ms: tuple[int, int]
    cause: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in `evidence.json`; boxes are in pixels of the main clip.

    Attributes:
        clips: The video files in order of time; empty in packages of before version 0.2.
        holes: Where within the window there are no pictures.
        priority: See `budget.PRIORITY_SHARE`.
        watches_people: True where everybody in the picture was looked for: the model knows people,
            and no part of the picture was left out.
        slack_ms: How far the times of frames and of the clip may be apart: the clip is of another
            stream than the one that was analysed.
    """

    record: EvidenceRecord
    event: EventReport
    frames: list[FrameBoxes]
    clips: list[ClipFile] = []
    holes: list[Hole] = []
    priority: int = DEFAULT_PRIORITY
    watches_people: bool = False
    slack_ms: int = 0


class BlurredFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in `blurred.json`: what was done to make a copy that shows nobody.

    Attributes:
        made_from: SHA-256 of the main clip.
        mode: `people` or `picture`.
        whole_ms: Stretches in which the whole picture is pixelated, because nobody can say where
            people were.
        cells_px: Sides of the squares that were used, in pixels.
    """

    evidence: str
    made_from: str
    clip: ClipFile
    mode: str
    whole_ms: list[tuple[int, int]] = []
    cells_px: list[int] = []


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


def read_limited(path: Path, most: int) -> bytes:
    """Return a plain file's bytes.

    Raises:
        EvidenceError: Missing, not a plain file, or of more than `most` bytes.
    """
    name = f"{path.parent.name}: {path.name}"
    with translated(f"{name} cannot be read"), _plain(path, name) as handle:
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
    with translated(f"{name} cannot be read"), _plain(path, name) as handle:
        with os.fdopen(os.dup(handle), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _plain(path: Path, name: str) -> Iterator[int]:
    """Open a plain file; a link, a pipe or a device is refused instead of waited for."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise EvidenceError(f"{name} is no plain file")
        yield handle
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
