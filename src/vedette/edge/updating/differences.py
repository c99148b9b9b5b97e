"""Brings a file as a difference to the version that runs, where its signers offer one; else whole.

    updates/files/{sha256}          what runs: its file stays where there is room
    updates/parts/{sha256}.delta    the difference on its way; in files/, come
    updates/parts/{sha256}.made     the new file, while it is made
    updates/parts/{sha256}.whole    how often that was in vain: no more, the whole file comes

All of them are named by the new file's hash, so they live as long as its job. The rule: a
difference can save time and nothing else. Whatever is wrong with it, the whole file is brought, and
what either way made is verified by the same hash.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vedette.clock import Clock
from vedette.edge.updating import shelf
from vedette.edge.updating.accepting import Targets
from vedette.edge.updating.download import (
    FILES,
    PARTS,
    Download,
    Fetch,
    Line,
    Stopped,
    Wanted,
    is_whole,
    sync_folder,
)
from vedette.errors import CentralUnreachable, VedetteError
from vedette.trust.delta_file import File, Header, apply
from vedette.trust.tuf.client import TargetInfo
from vedette.trust.tuf.delta_paths import delta_path
from vedette.wire.updates import Artefact

log = logging.getLogger(__name__)

MAX_CUT: Final = 3
"""Broken connections in the middle of a difference: then the whole file is tried."""

MAX_HELD: Final = 8
"""Files here that a difference is asked for."""


@dataclass(frozen=True, slots=True)
class Brought:
    """How a file came.

    Attributes:
        saved_bytes: That did not have to come.
        note: Why it came whole though there was a difference; in words.
    """

    saved_bytes: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One that is signed, and the file here that it is against."""

    held: File
    found: TargetInfo


class Bringing:
    """Brings one file. Thread: `run` on one; `done_bytes` any."""

    def __init__(
        self,
        artefact: Artefact,
        wanted: Wanted,
        state_dir: Path,
        clock: Clock,
        stop: threading.Event,
        *,
        at_step: Callable[[str], None] = lambda _step: None,
    ) -> None:
        """Prepare.

        Args:
            artefact: What the file is.
            wanted: The whole file, as signed.
            state_dir: The agent's.
            clock: For durations.
            stop: Ends it.
            at_step: Called between steps that a power cut could part, for tests.
        """
        self._artefact: Final = artefact
        self._wanted: Final = wanted
        self._home: Final = shelf.home(state_dir)
        self._clock: Final = clock
        self._stop: Final = stop
        self._at_step: Final = at_step
        self._download: Download | None = None
        self._in_vain: Final = self._home / PARTS / f"{wanted.sha256}.whole"

    @property
    def done_bytes(self) -> int:
        """How much of what comes has come."""
        return self._download.done_bytes if self._download is not None else 0

    def run(self, targets: Targets, held: Iterable[str], fetch: Fetch, line: Line) -> Brought:
        """Have the file: whole, verified, and on the disk; return how it came.

        Args:
            targets: Refreshed.
            held: Hashes of files of this kind that may lie here.
            fetch: Brings bytes.
            line: What they may use of it.

        Raises:
            VedetteError, OSError: As `Download.run`, of the whole file.
        """
        file = self._home / FILES / self._wanted.sha256
        if is_whole(file, self._wanted):
            return Brought()
        difference = self._choose(targets, held)
        note = ""
        if difference is not None:
            try:
                self._by_difference(difference, fetch, line)
                return Brought(saved_bytes=self._wanted.bytes - difference.found.bytes)
            except Stopped:
                raise
            except (VedetteError, OSError) as error:
                note = self._failed(error)
        self._have(self._wanted, fetch, line)
        return Brought(note=note)

    def _choose(self, targets: Targets, held: Iterable[str]) -> Difference | None:
        """Return the shortest way from what lies here, where it is shorter than what is left."""
        if _size(self._in_vain) >= MAX_CUT:
            return None
        left = self._wanted.bytes - _size(self._home / PARTS / self._wanted.sha256)
        best: Difference | None = None
        for sha256 in list(dict.fromkeys(held))[:MAX_HELD]:
            size = _size(self._home / FILES / sha256)
            if not sha256 or not size or sha256 == self._wanted.sha256:
                continue
            try:
                found = targets.target(delta_path(self._artefact.kind, sha256, self._wanted.sha256))
            except VedetteError:
                continue  # none is offered, or none that could be believed
            if found.bytes < min(left, best.found.bytes if best else left):
                best = Difference(File(sha256=sha256, bytes=size), found)
        return best

    def _by_difference(self, difference: Difference, fetch: Fetch, line: Line) -> None:
        """Have the file made of what is here and a difference.

        Raises:
            VedetteError, OSError: It cannot be; nothing of it lies in the file's place.
        """
        held, found = difference.held, difference.found
        base = self._home / FILES / held.sha256
        if not is_whole(base, Wanted("", held.sha256, held.bytes)):
            raise VedetteError("the file of what runs has changed on the disk")
        name = f"{self._wanted.sha256}.delta"
        delta = self._have(
            Wanted(found.where, found.sha256, found.bytes, self._wanted.max_kbit_s, name),
            fetch,
            line,
        )
        self._at_step("delta")
        header = Header(
            kind=self._artefact.kind,
            before=held,
            after=File(sha256=self._wanted.sha256, bytes=self._wanted.bytes),
        )
        made = self._home / PARTS / f"{self._wanted.sha256}.made"
        with delta.open("rb") as said, base.open("rb") as before, made.open("wb") as out:
            apply(said, before, out, header, goes_on=self._go_on)
            out.flush()
            os.fsync(out.fileno())
        file = self._home / FILES / self._wanted.sha256
        self._at_step("made")
        made.replace(file)
        sync_folder(file.parent)
        for spent in (delta, self._home / PARTS / self._wanted.sha256):
            spent.unlink(missing_ok=True)
        log.info(
            "a file was made of the version before and a difference",
            extra={
                "event": "updates.by_difference",
                "target": self._artefact.target,
                "bytes": found.bytes,
                "saved_bytes": self._wanted.bytes - found.bytes,
            },
        )

    def _have(self, wanted: Wanted, fetch: Fetch, line: Line) -> Path:
        self._download = Download(
            wanted, self._home, fetch, line, clock=self._clock, stop=self._stop
        )
        return self._download.run()

    def _failed(self, error: VedetteError | OSError) -> str:
        """Return why the whole file comes now; it is known after a restart, too.

        Raises:
            CentralUnreachable: The connection broke, which may be no fault of the difference: what
                came of it is kept, and it goes on later.
        """
        is_cut = isinstance(error, CentralUnreachable)
        self._in_vain.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._in_vain.open("ab") as count:
            count.write(b"." * (1 if is_cut else MAX_CUT))
        if is_cut and _size(self._in_vain) < MAX_CUT:
            raise error
        for folder, name in ((PARTS, "delta"), (FILES, "delta"), (PARTS, "made")):
            (self._home / folder / f"{self._wanted.sha256}.{name}").unlink(missing_ok=True)
        note = f"the difference did not help ({error}): the whole file comes"
        log.warning(
            note, extra={"event": "updates.difference_failed", "target": self._artefact.target}
        )
        return note

    def _go_on(self) -> None:
        self._at_step("making")
        if self._stop.is_set():
            raise Stopped("the device stops; the difference lies here, and is used later")


def _size(file: Path) -> int:
    """Return a file's length; 0: it is not there."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
