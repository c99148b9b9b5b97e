"""The folder that evidence packages lie in.

    evidence/2026-03-02/ev-3f9a…/   a package; `facts` says what is in it
    evidence/.partial/…   being written, or on its way to be deleted
    evidence/.wanted/…    asked for and not yet packaged
    evidence/.unsigned/…  packages that wait for the agent's signature (`signing`)
    evidence/.holds/…     packages that must stay (`holds`)
    evidence/.budget.json, .lock

Here: writing so that a killed process leaves a whole package or none, deleting within the budgets.
Not here: what is in a package and when it is due (`store`), reading (`catalog`), counting
(`budget`). The rule: a package appears and disappears by one rename; everything else about it
happens under `.partial`. One process writes; a second one that is started beside it (the first
hangs and was given up) writes its own packages and sweeps nothing that may be the first one's.

Thread: one (the evidence thread), but `used_bytes`, `packages` and `refusal` from any; the blurring
thread uses `add` and `mark`.
"""

import contextlib
import fcntl
import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import Clock
from vedette.edge.evidence import budget, catalog, facts, holds
from vedette.edge.evidence.budget import DayBudget
from vedette.edge.evidence.catalog import PackageInfo
from vedette.edge.evidence.facts import digest, read_facts, translated
from vedette.errors import EvidenceError
from vedette.wire.messages import EvidenceRecord

MIN_FREE_BYTES: Final = 128 * 1024 * 1024
"""Evidence never takes the last of a disk that the spool needs too."""

UNSIGNED: Final = ".unsigned"
_PARTIAL, _WANTED, _BUDGET, _LOCK = ".partial", ".wanted", ".budget.json", ".lock"


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
        self._keep_bytes = keep_bytes
        self._min_free_bytes = min_free_bytes
        self._lock = threading.Lock()
        with translated("the evidence folder cannot be used"):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.is_sole = _lock(root / _LOCK)
            if self.is_sole:
                shutil.rmtree(root / _PARTIAL, ignore_errors=True)
            for name in (_PARTIAL, _WANTED, UNSIGNED):
                (root / name).mkdir(exist_ok=True, mode=0o700)
        found = catalog.packages(root)
        self._packages = {package.evidence: package for package in found}
        self._budget = DayBudget(root / _BUDGET, daily_bytes)
        if not self._budget.was_read:
            self._budget.expect((package.mtime_ns / 1e9, package.bytes) for package in found)

    # -------------------------------------------------------------------------------- budgets

    def refusal(self, size: int, priority: int) -> str:
        """Return in words why a clip of `size` bytes may not be kept; empty where it may."""
        if size > self._keep_bytes:
            return "larger than everything that may be kept (evidence.keep_mb)"
        with self._lock:
            room = self._budget.room_bytes(self._clock.now_at(), priority)
        try:
            if size and self.used_bytes() + size > self._keep_bytes + self._loose_bytes():
                return "clips that are held leave no room (evidence.keep_mb): release some"
        except EvidenceError as problem:
            return str(problem)
        if size > room:
            return (
                f"the budget of the last 24 hours is used up for priority {priority} "
                "(evidence.daily_mb)"
            )
        try:
            free = shutil.disk_usage(self._root).free
        except OSError:
            return "the disk cannot be asked for its free space"
        if free < size + self._min_free_bytes:
            return "the disk is nearly full"
        return ""

    def _loose_bytes(self) -> int:
        """Return the size of the packages that may go."""
        if self.used_bytes() < self._keep_bytes // 2:  # no more than this can ever be held
            return self._keep_bytes
        kept = holds.held_ids(self._root)
        return sum(package.bytes for package in self.packages() if package.evidence not in kept)

    def used_bytes(self) -> int:
        """Return the size of all packages."""
        with self._lock:
            return sum(package.bytes for package in self._packages.values())

    def packages(self) -> list[PackageInfo]:
        """Return every package, the oldest first."""
        with self._lock:
            return list(self._packages.values())

    # -------------------------------------------------------------------------------- writing

    def write(
        self,
        evidence: str,
        files: Mapping[str, bytes],
        *,
        priority: int = facts.DEFAULT_PRIORITY,
        marks: Iterable[str] = (),
    ) -> Path:
        """Put a package on the shelf and return its folder; others go where room is needed.

        `SHA256SUMS` of the files is added; `marks` are empty files for this device.

        Raises:
            EvidenceError: The disk is full or refuses; nothing of the package stays behind.
        """
        files = {**files, facts.SUMS: facts.sums_text(files)}
        marks = [f"{facts.PRIORITY_MARK}{priority}", *marks]
        size = sum(len(data) for data in files.values())
        self._make_room(size)
        partial = self._root / _PARTIAL / evidence
        day = self._today()
        final = self._root / day / evidence
        try:
            with translated("the package could not be written"):
                partial.mkdir(mode=0o700)
                for name, data in files.items():
                    _write_durably(partial / name, data)
                for name in marks:
                    (partial / name).touch(mode=0o600)
                _sync_folder(partial)
                if not final.parent.exists():
                    final.parent.mkdir(mode=0o700)
                    _sync_folder(self._root)
                partial.rename(final)
                _sync_folder(final.parent)
        except EvidenceError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        self._mark_unsigned(evidence)
        with self._lock:
            self._budget.add(self._clock.now_at(), size)
            self._packages[evidence] = PackageInfo(
                evidence,
                final,
                day,
                size,
                final.stat().st_mtime_ns,
                is_reported=False,
                priority=priority,
                wants_blur=facts.BLUR_WANTED in marks,
            )
        return final

    def add(self, evidence: str, files: Mapping[str, bytes]) -> None:
        """Add files to a package, each whole or not there, the last one last.

        Raises:
            EvidenceError: The disk is full or refuses, or the package has been deleted meanwhile.
        """
        with self._lock:
            package = self._packages.get(evidence)
        if package is None:
            raise EvidenceError(f"{evidence}: the package is not there any more")
        size = sum(len(data) for data in files.values())
        for name, data in files.items():
            scratch = self._root / _PARTIAL / f"{evidence}.{name}"
            try:
                with translated(f"{evidence}: {name} could not be written"):
                    scratch.unlink(missing_ok=True)
                    _write_durably(scratch, data)
                    scratch.rename(package.path / name)
                    _sync_folder(package.path)
            except EvidenceError:
                scratch.unlink(missing_ok=True)
                raise
        self._mark_unsigned(evidence)
        with self._lock:
            self._budget.add(self._clock.now_at(), size)
            if evidence in self._packages:
                now = self._packages[evidence]
                self._packages[evidence] = replace(
                    now,
                    bytes=now.bytes + size,
                    has_blurred=now.has_blurred or facts.BLURRED_FACTS in files,
                    has_blurred_poster=now.has_blurred_poster or facts.BLURRED_POSTER in files,
                )

    def _mark_unsigned(self, evidence: str) -> None:
        with contextlib.suppress(OSError):  # at worst it is signed when the agent starts again
            (self._root / UNSIGNED / evidence).touch(mode=0o600)

    def settle_blur(self, evidence: str, failed: str = "") -> None:
        """Note that no blurred copy is waited for any more; `failed` says why there is none."""
        with self._lock:
            package = self._packages.get(evidence)
            if package is None:
                return
            self._packages[evidence] = replace(package, wants_blur=False)
        with contextlib.suppress(OSError):  # at worst it is tried again by the next process
            if failed:
                (package.path / facts.BLUR_FAILED).write_text(failed + "\n")
            (package.path / facts.BLUR_WANTED).unlink(missing_ok=True)

    def mark_reported(self, evidence: str) -> None:
        """Note that the package's record is in the spool: `unreported` does not give it again."""
        with self._lock:
            package = self._packages.get(evidence)
            if package:
                self._packages[evidence] = replace(package, is_reported=True)
        with contextlib.suppress(OSError):  # at worst it is reported twice, under the same id
            if package:
                (package.path / facts.REPORTED).touch(mode=0o600)
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
        with translated("the request could not be noted"):
            (self._root / _WANTED / record.evidence).write_bytes(msgspec.json.encode(record))

    def wanted(self) -> list[EvidenceRecord]:
        """Return what was asked for and never packaged."""
        records: list[EvidenceRecord] = []
        if not self.is_sole:
            return []  # they are the other process's
        for path in sorted((self._root / _WANTED).iterdir()):
            try:
                raw = facts.read_limited(path, facts.MAX_FACTS_BYTES)
                record = msgspec.json.decode(raw, type=EvidenceRecord)
            except (EvidenceError, msgspec.MsgspecError, UnicodeDecodeError):
                with contextlib.suppress(OSError):  # torn by a power cut: who knows what it was
                    path.unlink(missing_ok=True)
                continue
            if record.evidence in self._packages:
                path.unlink(missing_ok=True)
            else:
                records.append(record)
        return records

    # -------------------------------------------------------------------------------- deleting

    def _make_room(self, size: int) -> None:
        now_s = self._clock.now_at().timestamp()
        while self.used_bytes() + size > self._keep_bytes:
            kept = holds.held_ids(self._root)
            with self._lock:
                goes = budget.first_to_go(
                    (
                        (p.evidence, p.mtime_ns / 1e9, p.priority)
                        for p in self._packages.values()
                        if p.evidence not in kept
                    ),
                    now_s,
                )
            if goes is None:
                return
            self.delete(goes)

    def expire(self, keep_days: float) -> int:
        """Delete what is older than `keep_days` and not held; return how many went.

        Raises:
            EvidenceError: The disk refuses.
        """
        before_ns = round((self._clock.now_at().timestamp() - keep_days * 86_400) * 1e9)
        old = [p.evidence for p in self.packages() if p.mtime_ns < before_ns]
        return sum(self.delete(name) for name in old)

    def delete(self, evidence: str) -> bool:
        """Take a package off the shelf; False where it is not there, or somebody holds it.

        Raises:
            EvidenceError: The disk refuses.
        """
        if holds.is_held(self._root, evidence):
            return False
        with self._lock:
            package = self._packages.pop(evidence, None)
        if package is None:
            return False
        gone = self._root / _PARTIAL / f"{evidence}.gone"
        with translated("a package could not be deleted"):
            package.path.rename(gone)
            if holds.is_held(self._root, evidence):  # somebody came to hold it at this moment
                gone.rename(package.path)
                with self._lock:
                    self._packages[evidence] = package
                return False
            shutil.rmtree(gone)
            with contextlib.suppress(OSError):
                package.path.parent.rmdir()  # works only where it was the day's last
        return True

    def _today(self) -> str:
        return self._clock.now_at().astimezone(UTC).date().isoformat()


def verify(path: Path) -> EvidenceRecord:
    """Return the record of a package whose clip is, to the byte, the one that was written.

    Raises:
        EvidenceError: A file is missing, damaged or was changed.
    """
    record = read_facts(path).record
    found = digest(path / facts.CLIP)
    if found != record.sha256:
        raise EvidenceError(
            f"{path.name}: the clip is not the one that was recorded",
            operator_hint="the disk is failing, or somebody changed the file",
        )
    return record


def _lock(path: Path) -> bool:
    """Return whether this process is the only one here; it then is so until it ends.

    A lock of the process (POSIX), not of the file handle: a second shelf within one process is the
    same owner. The handle stays open on purpose.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
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
