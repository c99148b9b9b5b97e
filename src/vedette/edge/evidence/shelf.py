"""The folder that evidence packages lie in.

    evidence/2026-03-02/ev-3f9a…/{clip.mp4, evidence.json, poster.jpg, reported}
    evidence/.partial/…   being written, or on its way to be deleted
    evidence/.wanted/…    asked for and not yet packaged

Here: budgets, writing so that a killed process leaves a whole package or none, deleting the oldest,
checking. Not here: what is in a package and when it is due (`store`). The rule: a package appears
and disappears by one rename; everything else about it happens under `.partial`.

Thread: one (the evidence thread), but `used_bytes` and `packages` from any.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import Clock
from vedette.errors import EvidenceError
from vedette.wire.messages import Box, EventReport, EvidenceRecord

PRIORITY_SHARE: Final = {0: 1.0, 1: 0.85, 2: 0.6}
"""Part of the day's budget that clips of a priority may fill: what matters most is never crowded
out by what came before it."""

MIN_FREE_BYTES: Final = 128 * 1024 * 1024
"""Evidence never takes the last of a disk that the spool needs too."""

CLIP, FACTS, POSTER, REPORTED = "clip.mp4", "evidence.json", "poster.jpg", "reported"
_PARTIAL, _WANTED = ".partial", ".wanted"


class FrameBoxes(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen in one analysed frame."""

    at_ms: int
    boxes: list[Box]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in `evidence.json`."""

    record: EvidenceRecord
    event: EventReport
    frames: list[FrameBoxes]


@dataclass(frozen=True, slots=True)
class PackageInfo:
    """One package in the folder."""

    evidence: str
    path: Path
    day: str
    bytes: int
    mtime_ns: int
    is_reported: bool


class Shelf:
    """The packages on this device, within their budgets."""

    def __init__(
        self,
        root: Path,
        clock: Clock,
        *,
        daily_bytes: int,
        keep_bytes: int,
        min_free_bytes: int = MIN_FREE_BYTES,
    ) -> None:
        """Open the folder; what a killed process left half-done is gone afterwards.

        Raises:
            EvidenceError: The folder cannot be made or read.
        """
        self._root = root
        self._clock = clock
        self._daily_bytes = daily_bytes
        self._keep_bytes = keep_bytes
        self._min_free_bytes = min_free_bytes
        self._lock = threading.Lock()
        with _translated("the evidence folder cannot be used"):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.rmtree(root / _PARTIAL, ignore_errors=True)
            for name in (_PARTIAL, _WANTED):
                (root / name).mkdir(exist_ok=True, mode=0o700)
            found = sorted(_scan(root), key=lambda package: package.mtime_ns)
        self._packages = {package.evidence: package for package in found}

    # -------------------------------------------------------------------------------- budgets

    def refusal(self, size: int, priority: int) -> str:
        """Return in words why a clip of `size` bytes may not be kept; empty where it may."""
        if size > self._keep_bytes:
            return "larger than everything that may be kept (evidence.keep_mb)"
        share = PRIORITY_SHARE.get(priority, min(PRIORITY_SHARE.values()))
        if self.used_bytes(self._today()) + size > self._daily_bytes * share:
            return f"today's budget is used up for priority {priority} (evidence.daily_mb)"
        try:
            free = shutil.disk_usage(self._root).free
        except OSError:
            return "the disk cannot be asked for its free space"
        if free < size + self._min_free_bytes:
            return "the disk is nearly full"
        return ""

    def used_bytes(self, day: str | None = None) -> int:
        """Return the size of all packages, or of those of one day."""
        with self._lock:
            return sum(p.bytes for p in self._packages.values() if day is None or p.day == day)

    def packages(self) -> list[PackageInfo]:
        """Return every package, the oldest first."""
        with self._lock:
            return list(self._packages.values())

    # -------------------------------------------------------------------------------- writing

    def write(self, evidence: str, files: Mapping[str, bytes]) -> Path:
        """Put a package on the shelf and return its folder; the oldest go where room is needed.

        Raises:
            EvidenceError: The disk is full or refuses; nothing of the package stays behind.
        """
        size = sum(len(data) for data in files.values())
        self._make_room(size)
        partial = self._root / _PARTIAL / evidence
        day = self._today()
        final = self._root / day / evidence
        try:
            with _translated("the package could not be written"):
                partial.mkdir(mode=0o700)
                for name, data in files.items():
                    _write_durably(partial / name, data)
                _sync_folder(partial)
                if not final.parent.exists():
                    final.parent.mkdir(mode=0o700)
                    _sync_folder(self._root)
                partial.rename(final)
                _sync_folder(final.parent)
        except EvidenceError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        with self._lock:
            self._packages[evidence] = PackageInfo(
                evidence, final, day, size, final.stat().st_mtime_ns, is_reported=False
            )
        return final

    def mark_reported(self, evidence: str) -> None:
        """Note that the package's record is in the spool: `unreported` does not give it again."""
        with self._lock:
            package = self._packages.get(evidence)
            if package:
                self._packages[evidence] = replace(package, is_reported=True)
        with contextlib.suppress(OSError):  # at worst it is reported twice, under the same id
            if package:
                (package.path / REPORTED).touch(mode=0o600)
            (self._root / _WANTED / evidence).unlink(missing_ok=True)

    def unreported(self) -> list[EvidenceRecord]:
        """Return the records of packages that were finished but perhaps never reported."""
        records: list[EvidenceRecord] = []
        for package in self.packages():
            if not package.is_reported:
                with contextlib.suppress(EvidenceError):
                    records.append(read_facts(package.path).record)
        return records

    # ------------------------------------------------------------------------- wanted, not yet made

    def note_wanted(self, record: EvidenceRecord) -> None:
        """Remember across a crash that this package was asked for."""
        with _translated("the request could not be noted"):
            (self._root / _WANTED / record.evidence).write_bytes(msgspec.json.encode(record))

    def wanted(self) -> list[EvidenceRecord]:
        """Return what was asked for and never packaged."""
        records: list[EvidenceRecord] = []
        for path in sorted((self._root / _WANTED).iterdir()):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=EvidenceRecord)
            except (OSError, msgspec.MsgspecError):
                path.unlink(missing_ok=True)  # torn by a power cut: nobody can say what it was
                continue
            if record.evidence in self._packages:
                path.unlink(missing_ok=True)
            else:
                records.append(record)
        return records

    # -------------------------------------------------------------------------------- deleting

    def _make_room(self, size: int) -> None:
        while self.used_bytes() + size > self._keep_bytes:
            with self._lock:
                oldest = next(iter(self._packages.values()), None)
            if oldest is None:
                return
            self.delete(oldest.evidence)

    def delete(self, evidence: str) -> None:
        """Take a package off the shelf.

        Raises:
            EvidenceError: The disk refuses.
        """
        with self._lock:
            package = self._packages.pop(evidence, None)
        if package is None:
            return
        gone = self._root / _PARTIAL / f"{evidence}.gone"
        with _translated("a package could not be deleted"):
            package.path.rename(gone)
            shutil.rmtree(gone)
            with contextlib.suppress(OSError):
                package.path.parent.rmdir()  # works only where it was the day's last

    def _today(self) -> str:
        return self._clock.now_at().astimezone(UTC).date().isoformat()


def read_facts(path: Path) -> Facts:
    """Return what a package's JSON says.

    Raises:
        EvidenceError: Missing or not readable.
    """
    with _translated(f"{path.name}: its facts cannot be read"):
        raw = (path / FACTS).read_bytes()
    try:
        return msgspec.json.decode(raw, type=Facts)
    except msgspec.MsgspecError as problem:
        raise EvidenceError(f"{path.name}: its facts are damaged") from problem


def verify(path: Path) -> EvidenceRecord:
    """Return the record of a package whose clip is, to the byte, the one that was written.

    Raises:
        EvidenceError: A file is missing, damaged or was changed.
    """
    record = read_facts(path).record
    with _translated(f"{path.name}: its clip cannot be read"), (path / CLIP).open("rb") as clip:
        found = hashlib.file_digest(clip, "sha256").hexdigest()
    if found != record.sha256:
        raise EvidenceError(
            f"{path.name}: the clip is not the one that was recorded",
            operator_hint="the disk is failing, or somebody changed the file",
        )
    return record


def _scan(root: Path) -> Iterator[PackageInfo]:
    for day in root.iterdir():
        if day.name.startswith(".") or not day.is_dir() or not _is_day(day.name):
            continue
        for path in day.iterdir():
            if (path / FACTS).is_file():
                yield PackageInfo(
                    path.name,
                    path,
                    day.name,
                    sum(file.stat().st_size for file in path.iterdir()),
                    path.stat().st_mtime_ns,
                    (path / REPORTED).exists(),
                )


def _is_day(name: str) -> bool:
    try:
        date.fromisoformat(name)
    except ValueError:
        return False
    return True


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        full = problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise EvidenceError(
            f"{what}: {'the disk is full' if full else problem.strerror}",
            operator_hint="free space on the device or lower evidence.keep_mb" if full else None,
        ) from problem
