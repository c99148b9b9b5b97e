"""An archive as a folder: the same files as in the zip, and one that was stopped is gone on with.

    packages/, events/, manifest.json, SHA256SUMS    as in the zip (`archive`)
    .vedette-archive.json                            what it holds, decided when it was begun
    .part                                            what is being written

The rule: a file takes its name by one rename after its hash was found right, and one that has its
name is hashed again before it counts; the manifest and SHA256SUMS come last, so a folder without
them is not whole. What central let go of meanwhile is not copied any more, whatever was decided.
What the note says is checked before it becomes a path: others may write where archives are kept.

Thread: one; a second copy into the same folder is refused.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from vedette.central.clips.blobs import Blobs
from vedette.central.clips.fetching import StoredFile
from vedette.central.clips.looking import CHUNK
from vedette.central.exporting import archive
from vedette.central.exporting.archive import LeftOut, Packed, Plan
from vedette.errors import ConfigError
from vedette.wire.evidence import is_sha256

NOTE: Final = ".vedette-archive.json"
PART: Final = ".part"
LAST: Final = "SHA256SUMS"
"""Is written when everything else is there."""

_VERSION: Final = 1
_FOLDER: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.~-]{0,299}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
_ANOTHER: Final = "choose another folder"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder was begun for: what was asked, as it was typed, and what it shall hold."""

    version: int = _VERSION
    asked: dict[str, str]
    plan: Plan


def begun(root: Path) -> Note | None:
    """Return what a folder was begun for and is not yet; None: nothing is there.

    Raises:
        ConfigError: A whole archive or something else is there, or the note cannot be read.
    """
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is no folder", operator_hint=_ANOTHER)
    if not root.is_dir() or {path.name for path in root.iterdir()} <= {PART}:
        return None
    try:
        note = msgspec.json.decode((root / NOTE).read_bytes(), type=Note)
    except FileNotFoundError:
        raise ConfigError(
            f"{root} holds other things than an archive", operator_hint=_ANOTHER
        ) from None
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{root / NOTE} cannot be read", operator_hint=_ANOTHER) from error
    if note.version != _VERSION or not all(_is_plain(one, note.plan) for one in note.plan.packages):
        raise ConfigError(f"{root / NOTE} is not one of ours", operator_hint=_ANOTHER)
    if (root / LAST).exists():
        raise ConfigError(f"{root} is a whole archive already", operator_hint=_ANOTHER)
    return note


def _is_plain(one: Packed, plan: Plan) -> bool:
    return (
        _FOLDER.fullmatch(one.folder) is not None
        and one.folder in plan.said
        and all(_NAME.fullmatch(file.name) and is_sha256(file.sha256) for file in one.files)
    )


@contextmanager
def kept(root: Path) -> Iterator[None]:
    """Have a folder to oneself, made where it is not there.

    Raises:
        ConfigError: Another copies into it now, or it cannot be written.
    """
    handle = -1
    try:
        root.mkdir(exist_ok=True)
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _hold(handle, root)
        yield
    except OSError as error:
        raise ConfigError(
            f"{root} cannot be written: {error.strerror}",
            operator_hint="see that it is there and has room; then the same command goes on",
        ) from error
    finally:
        if handle >= 0:
            with suppress(OSError):
                (root / PART).unlink(missing_ok=True)
            os.close(handle)


def _hold(handle: int, root: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"another archive is being written into {root}", operator_hint="wait for it to end"
        ) from error
    except OSError:
        return  # a share of another machine that knows no locks: then it is on whoever types


def begin(root: Path, note: Note) -> None:
    """Have it noted in a folder what it shall hold."""
    _put(root, root / NOTE, msgspec.json.encode(note))


class Filling:
    """A folder on its way to be whole; how far it is stands in its attributes.

    Attributes:
        whole: Packages that are in the folder, each of their files by its hash.
        kept_bytes: What of that was there before.
        left_out: What is not, and why.
    """

    def __init__(self, root: Path, blobs: Blobs, plan: Plan, still_here: AbstractSet[str]) -> None:
        self._root: Final = root
        self._blobs: Final = blobs
        self._plan: Final = plan
        self._still_here: Final = still_here
        self.whole = 0
        self.kept_bytes = 0
        self.left_out: list[LeftOut] = list(plan.left_out)

    def run(self, *, actor: str, now_ms: int) -> Iterator[int]:
        """Copy what is not there and whole; yield how many bytes more are.

        Raises:
            ConfigError: A link stands where a folder should.
            OSError: The disk refuses.
        """
        inside: list[Packed] = []
        sums: list[str] = []
        for one in self._plan.packages:
            if not (yield from self._package(one)):
                self._drop(one)
                self.left_out.append(archive.gone(one))
                continue
            said = self._plan.said[one.folder]
            _put(self._root, self._folder("events") / f"{one.folder}.json", said)
            sums += archive.sums_of(one, said)
            inside.append(one)
            self.whole += 1
        body = archive.manifest_of(self._plan, inside, self.left_out, actor=actor, now_ms=now_ms)
        _put(self._root, self._root / "manifest.json", body)
        sums.append(f"{hashlib.sha256(body).hexdigest()}  manifest.json")
        _put(self._root, self._root / LAST, ("\n".join(sums) + "\n").encode())

    def _package(self, one: Packed) -> Iterator[int]:
        """Have every file of a package there; return True where they are."""
        folder = self._folder("packages", one.folder)
        for stored in one.files:
            place = folder / stored.name
            if _is_whole(place, stored):
                self.kept_bytes += stored.bytes
                yield stored.bytes
            elif one.folder not in self._still_here or not (yield from self._copy(stored, place)):
                return False
        return True

    def _copy(self, stored: StoredFile, place: Path) -> Iterator[int]:
        """Have a file there; return True where what central has of it is whole."""
        part, found = self._root / PART, hashlib.sha256()
        try:
            source = self._blobs.open(stored.sha256)
        except OSError:
            return False
        part.unlink(missing_ok=True)
        with source, part.open("xb") as to:
            while chunk := source.read(CHUNK):
                to.write(chunk)
                found.update(chunk)
                yield len(chunk)
        if found.hexdigest() != stored.sha256:
            return False
        part.replace(place)
        return True

    def _drop(self, one: Packed) -> None:
        """Have nothing of a package that cannot be whole any more: half of one proves nothing."""
        folder = self._folder("packages", one.folder)
        for stored in one.files:
            (folder / stored.name).unlink(missing_ok=True)
        (self._folder("events") / f"{one.folder}.json").unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()

    def _folder(self, *names: str) -> Path:
        place = self._root
        for name in names:
            place /= name
            if place.is_symlink():
                raise ConfigError(f"{place} is a link and leads elsewhere", operator_hint=_ANOTHER)
            place.mkdir(exist_ok=True)
        return place


def _is_whole(place: Path, stored: StoredFile) -> bool:
    if place.is_symlink() or not place.is_file() or place.stat().st_size != stored.bytes:
        return False
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == stored.sha256


def _put(root: Path, place: Path, body: bytes) -> None:
    """Have a small file there, whole from the first moment."""
    part = root / PART
    part.unlink(missing_ok=True)
    with part.open("xb") as file:
        file.write(body)
    part.replace(place)
