"""Packages that must stay: held by central or by a person at the device, until they are released.

    evidence/.holds/<id>.json    who holds it, since when, why
    evidence/holds.jsonl         every hold and release, one line each

Here: holding, releasing, and what is held. Not here: deleting, which asks here first (`shelf`). The
rules: a hold ends only by a release and never by a clock; each holder releases their own; all holds
together have a bound, so that they cannot quietly take the place of everything new.

Thread and process: any; one at a time, by a lock on the folder.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import Clock, wall_ms
from vedette.edge.evidence import catalog, facts
from vedette.edge.settings import EvidenceSettings
from vedette.errors import EvidenceError, NotAllowed
from vedette.ids import is_slug
from vedette.trust.keys import write_private

CENTRAL: Final = "central"
HERE: Final = "here"
"""Whoever stands at the device."""

FOLDER: Final = ".holds"
LOG: Final = "holds.jsonl"
NEARLY_FULL: Final = 0.8
MAX_HELD: Final = 2_000
MAX_REASON_CHARS: Final = 500
_MAX_BYTES: Final = 64 * 1024
_MB: Final = 1024 * 1024
_SETTLE_S: Final = 0.05
_SETTLE_TURNS: Final = 40


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """One holder's hold; `by` is the person, as far as that is known."""

    at_ms: int
    by: str = ""
    reason: str = ""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in the file of a held package: by holder, `central` or `here`."""

    evidence: str
    holders: dict[str, Hold]


class HoldLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `holds.jsonl`."""

    at_ms: int
    evidence: str
    holder: str
    done: str
    by: str
    reason: str


def limit_bytes(settings: EvidenceSettings) -> int:
    """Return how much may be held: never more than half of what may be kept."""
    return round(min(settings.hold_mb, settings.keep_mb / 2) * _MB)


def is_held(root: Path, evidence: str) -> bool:
    """True where somebody holds a package; also where that cannot be read."""
    return (root / FOLDER / f"{evidence}.json").exists()


def held_ids(root: Path) -> frozenset[str]:
    """Return the ids of what is held, by one look into a folder.

    Raises:
        EvidenceError: The folder cannot be read.
    """
    with facts.translated("the holds cannot be read"), contextlib.suppress(FileNotFoundError):
        names = [path.stem for path in (root / FOLDER).iterdir() if path.suffix == ".json"]
        return frozenset(name for name in names if is_slug(name))
    return frozenset()


def held(root: Path) -> list[Held]:
    """Return what is held, by id.

    Raises:
        EvidenceError: The folder cannot be read.
    """
    return [_read(root, evidence) for evidence in sorted(held_ids(root))]


def held_bytes(root: Path) -> int:
    """Return the size of everything that is held.

    Raises:
        EvidenceError: The folder cannot be read.
    """
    return sum(_size(root, one.evidence) for one in held(root))


class Holds:
    """Holds and releases packages in one evidence folder."""

    def __init__(self, root: Path, settings: EvidenceSettings, clock: Clock) -> None:
        self._root: Final = root
        self._settings: Final = settings
        self._clock: Final = clock

    def hold(self, evidence: str, holder: str, *, by: str = "", reason: str = "") -> int:
        """Have a package held; return its size. Held already by this holder: nothing changes.

        Raises:
            EvidenceError: It is not here, or the disk refuses.
            NotAllowed: Too much would be held.
        """
        with self._locked():
            if not self._is_here(evidence):
                raise EvidenceError(f"there is no package {evidence!r} here")
            size = _size(self._root, evidence)
            now = self._present(evidence)
            if holder in now.holders:
                return size
            if not now.holders:
                self._require_room(size)
            one = Hold(at_ms=self._now_ms(), by=by[:200], reason=reason[:MAX_REASON_CHARS])
            self._note(evidence, holder, "held", one)
            self._write(msgspec.structs.replace(now, holders={**now.holders, holder: one}))
            if not self._stays(evidence):
                (self._root / FOLDER / f"{evidence}.json").unlink(missing_ok=True)
                raise EvidenceError(f"{evidence} was deleted at this moment: its room was needed")
        return size

    def release(self, evidence: str, holder: str, *, by: str = "", reason: str = "") -> bool:
        """Have a package held by this holder no more; False where it was not.

        Raises:
            EvidenceError: The disk refuses.
        """
        with self._locked():
            if not is_held(self._root, evidence):
                return False
            now = self._present(evidence)
            if holder not in now.holders:
                return False
            one = Hold(at_ms=self._now_ms(), by=by[:200], reason=reason[:MAX_REASON_CHARS])
            self._note(evidence, holder, "released", one)
            left = {name: hold for name, hold in now.holders.items() if name != holder}
            if left:
                self._write(msgspec.structs.replace(now, holders=left))
            else:
                (self._root / FOLDER / f"{evidence}.json").unlink(missing_ok=True)
        return True

    def is_held(self, evidence: str) -> bool:
        """True where somebody holds a package."""
        return is_held(self._root, evidence)

    def size(self, evidence: str) -> int:
        """Return the size of a package; 0 where it is not here, or not yet."""
        return _size(self._root, evidence)

    def used_bytes(self) -> int:
        """Return the size of everything that is held; raises as `held`."""
        return held_bytes(self._root)

    def warning(self) -> str:
        """Return in words that holds take nearly all the room that they may; empty where not."""
        try:
            used, most = held_bytes(self._root), self.limit_bytes
        except EvidenceError as problem:
            return str(problem)
        if used < NEARLY_FULL * most or not used:
            return ""
        return (
            f"evidence under hold takes {used / 1e6:.0f} of {most / 1e6:.0f} MB: release what "
            "nobody needs any more, or raise evidence.hold_mb"
        )

    @property
    def limit_bytes(self) -> int:
        """How much may be held at most."""
        return limit_bytes(self._settings)

    # ------------------------------------------------------------------------------- internals

    def _now_ms(self) -> int:
        return wall_ms(self._clock.now_at())

    def _is_here(self, evidence: str) -> bool:
        if not is_slug(evidence):
            return False
        waits = (self._root / ".wanted" / evidence).exists()
        return waits or catalog.place(self._root, evidence) is not None

    def _stays(self, evidence: str) -> bool:
        """Return whether a package is still there after its hold was written.

        Whoever deletes it moves it away first, looks for a hold once more, and puts it back.
        """
        gone, never = self._root / ".partial" / f"{evidence}.gone", threading.Event()
        for _ in range(_SETTLE_TURNS):
            if self._is_here(evidence):
                return True
            if not gone.exists():
                return self._is_here(evidence)
            self._clock.wait(never, _SETTLE_S)
        return False

    def _present(self, evidence: str) -> Held:
        if not is_held(self._root, evidence):
            return Held(evidence=evidence, holders={})
        return _read(self._root, evidence)

    def _require_room(self, size: int) -> None:
        used, most = held_bytes(self._root), limit_bytes(self._settings)
        count = len(held(self._root))
        if used + size > most or count >= MAX_HELD:
            raise NotAllowed(
                f"{used / 1e6:.0f} MB in {count} packages are held already; at most "
                f"{most / 1e6:.0f} MB may be (evidence.hold_mb, and half of evidence.keep_mb)",
                operator_hint="release what nobody needs any more, or fetch it and release it",
            )

    def _write(self, now: Held) -> None:
        with facts.translated(f"{now.evidence} could not be held"):
            (self._root / FOLDER).mkdir(mode=0o700, exist_ok=True)
            write_private(self._root / FOLDER / f"{now.evidence}.json", msgspec.json.encode(now))

    def _note(self, evidence: str, holder: str, done: str, one: Hold) -> None:
        line = HoldLine(
            at_ms=one.at_ms, evidence=evidence, holder=holder, done=done, by=one.by,
            reason=one.reason,
        )  # fmt: skip
        facts.append_line(self._root / LOG, msgspec.json.encode(line))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with facts.translated("the evidence folder cannot be used"):
            handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _read(root: Path, evidence: str) -> Held:
    """Return a package's holds; one that cannot be read is held, by nobody knows whom."""
    try:
        raw = facts.read_limited(root / FOLDER / f"{evidence}.json", _MAX_BYTES)
        return msgspec.json.decode(raw, type=Held)
    except (EvidenceError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Held(evidence=evidence, holders={HERE: Hold(at_ms=0, reason="not readable")})


def _size(root: Path, evidence: str) -> int:
    path = catalog.place(root, evidence)
    if path is None:
        return 0
    with contextlib.suppress(OSError):
        return sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(path))
    return 0
