"""Files named by the SHA-256 of their content, in a folder beside the database.

    blobs/ab/abcdef…             whole, checked, never changed
    blobs/.partial/<hash>.<device>   what has come of one so far

The seam for other stores (S3) is this class: append a part, finish, open, drop. The rules: a path
is made of 64 hexadecimal digits and a device's name and of nothing that was sent besides; a part is
on the disk before it is acknowledged; a file appears by one rename, after its hash was found right.

Thread: any; two writers of one part wait for nobody, the second is refused.
"""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from vedette.errors import ConflictError, HashMismatch, StoreError, TooLarge
from vedette.ids import is_slug
from vedette.wire.evidence import is_sha256

MIN_FREE_BYTES: Final = 512 * 1024 * 1024
"""Clips never take the last of a disk that the database needs too."""

_PARTIAL: Final = ".partial"
_HEAD_BYTES: Final = 16


class Blobs:
    """The folder; nothing is made in it before the first part comes."""

    def __init__(self, root: Path) -> None:
        self._root: Final = root

    def path(self, sha256: str) -> Path:
        """Return where a whole file lies, or would.

        Raises:
            ValueError: Not a hash.
        """
        if not is_sha256(sha256):
            raise ValueError("not a SHA-256 in lower-case hexadecimal digits")
        return self._root / sha256[:2] / sha256

    def _part(self, sha256: str, device: str) -> Path:
        if not is_sha256(sha256) or not is_slug(device):
            raise ValueError("not the name of a part")
        return self._root / _PARTIAL / f"{sha256}.{device}"

    def has(self, sha256: str) -> bool:
        """True where the whole file is here."""
        return self.path(sha256).is_file()

    def room_bytes(self) -> int:
        """Return how much may still be written on this disk."""
        there = next((p for p in (self._root, *self._root.parents) if p.exists()), Path("/"))
        with _translated():
            return shutil.disk_usage(there).free - MIN_FREE_BYTES

    def come(self, sha256: str, device: str) -> int:
        """Return how many bytes of a file a device has sent so far."""
        try:
            return self._part(sha256, device).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, sha256: str, device: str, start: int, part: bytes, total: int) -> int:
        """Add a part and return how many bytes are there, on the disk.

        Raises:
            ConflictError: It does not begin where the last one ended, or another is being written.
            TooLarge: It would be longer than was announced.
            StoreError: The disk refuses.
        """
        path = self._part(sha256, device)
        with _translated():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(path, flags, 0o600)
            try:
                _hold(handle)
                have = os.fstat(handle).st_size
                if start != have:
                    raise ConflictError(f"{have} bytes are here; this part begins at {start}")
                if have + len(part) > total:
                    raise TooLarge(f"{have + len(part)} bytes of {total} that were announced")
                _write(handle, part, have)
                os.fsync(handle)
                return have + len(part)
            finally:
                os.close(handle)

    def finish(self, sha256: str, device: str) -> bytes:
        """Have the whole file in its place; return its first bytes.

        Raises:
            HashMismatch: What came is not what was announced; nothing of it stays.
            StoreError: The disk refuses.
        """
        part, place = self._part(sha256, device), self.path(sha256)
        with _translated():
            with part.open("rb") as file:
                head = file.read(_HEAD_BYTES)
                file.seek(0)
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                part.unlink()
                raise HashMismatch("what came is not what was announced (SHA-256)")
            if not place.parent.is_dir():
                place.parent.mkdir(mode=0o700, exist_ok=True)
                _sync(self._root)
            part.replace(place)
            _sync(place.parent)
            _sync(part.parent)
        return head

    def open(self, sha256: str) -> BinaryIO:
        """Return a whole file, open for reading.

        Raises:
            FileNotFoundError: It is not here.
        """
        return self.path(sha256).open("rb")

    def forget(self, sha256: str, device: str) -> None:
        """Have nothing of a file that came in part."""
        with _translated():
            self._part(sha256, device).unlink(missing_ok=True)

    def sweep(self, named: Iterable[str], older_s: float, *, now_s: float) -> int:
        """Drop whole files that nobody names and parts that nobody goes on with; return how many.

        What is younger than `older_s` stays: its row may be about to be written.
        """
        keep = set(named)
        gone = 0
        for path in list(self._files()):
            with _translated():
                name, is_part = path.name, path.parent.name == _PARTIAL
                try:
                    is_old = path.stat().st_mtime < now_s - older_s
                except FileNotFoundError:
                    continue
                if is_old and (name[:64] not in keep if is_part else name not in keep):
                    path.unlink(missing_ok=True)
                    gone += 1
        return gone

    def _files(self) -> Iterator[Path]:
        if self._root.is_dir():
            for folder in sorted(self._root.iterdir()):
                if folder.is_dir() and not folder.is_symlink():
                    yield from sorted(folder.iterdir())


def _hold(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConflictError("another part of this file is being written") from error


def _write(handle: int, part: bytes, start: int) -> None:
    view = memoryview(part)
    try:
        while view:
            done = os.pwrite(handle, view, start)
            view, start = view[done:], start + done
    except OSError:
        os.ftruncate(handle, start)  # what is there is what was written: the sender asks how much
        raise


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        why = "the disk is full" if full else error.strerror
        raise StoreError(
            f"clips cannot be kept: {why}",
            operator_hint="free space where central keeps its state" if full else None,
        ) from error
