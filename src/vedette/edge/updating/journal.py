"""How far this device is with what it was assigned: one file, whole and on the disk, or as before.

    updates/journal.json

A step is done when it stands here, and not before: what a power cut leaves half done is done again
from the last step that does. The rule: whoever reads this after any cut knows what runs, what ran
before, and what is being tried.
"""

import logging
from pathlib import Path
from typing import Final

import msgspec

from vedette.edge.updating.kinds import Installed
from vedette.errors import ConfigError
from vedette.trust.keys import write_private
from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import Assigned, Assignment

log = logging.getLogger(__name__)

FOLDER: Final = "updates"
FILE: Final = "journal.json"
MAX_BYTES: Final = 4 * 1024 * 1024
MAX_FAILED: Final = 32

ENDED: Final = frozenset({UpdateState.CONFIRMED, UpdateState.REVERTED})
ACTIVE: Final = frozenset({UpdateState.ACTIVATING, UpdateState.PROBATION})
"""What is assigned may be what runs."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One assigned item, and how far it is.

    Attributes:
        since_ms: When it came into this state, by the best time there was.
        problem: Why it waits, or why it went back; in words.
        going_back: Why it is taken back: decided, and to be done even after a power cut.
        approved_ms: When the approval that allows it was issued; 0: not looked at yet.
        expires_ms: No activation after this.
        spoiled: How many times other bytes came than were promised.
        starts: How many times an agent started while it was active and unconfirmed.
        saved_bytes: What did not have to be downloaded, because a difference was enough.
        told: What was reported last: state and problem.
    """

    assigned: Assigned
    state: UpdateState = UpdateState.ASSIGNED
    was: UpdateState | None = None
    since_ms: int = 0
    problem: str = ""
    going_back: str = ""
    approved_ms: int = 0
    expires_ms: int = 0
    spoiled: int = 0
    starts: int = 0
    saved_bytes: int = 0
    told: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes an item another one: rollout, digest, attempt."""
        return self.assigned.rollout, self.assigned.artefact.digest, self.assigned.attempt


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """What is confirmed in a slot.

    Attributes:
        running: None: what the device came with, or was given by hand.
        previous: What to go back to, where something is confirmed.
        came_with: Digest of what ran before anything was assigned, as far as it is known.
        floor_ms: What an older approval allows is not installed any more.
        failed: What was tried in vain, as `Job.key`; only a higher attempt is tried again.
    """

    kind: ArtefactKind
    running: Installed | None = None
    previous: Installed | None = None
    came_with: str = ""
    floor_ms: int = 0
    failed: list[tuple[str, str, int]] = []


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file.

    Attributes:
        central: Key id of the central that the assignment is of.
        jobs: By `job_name`.
        slots: By name.
    """

    central: str = ""
    assignment: Assignment | None = None
    jobs: dict[str, Job] = {}
    slots: dict[str, Slot] = {}


def job_name(assigned: Assigned) -> str:
    """Return what an item's job is called: its slot, or apart from it where it only runs beside."""
    return f"{assigned.slot}/shadow" if assigned.shadow is not None else assigned.slot


class Journal:
    """The file, and what it says. Thread: one at a time writes; `book` any."""

    def __init__(self, state_dir: Path) -> None:
        """Read it; one that cannot be read is set aside, and `problem` says so."""
        self._path: Final = state_dir / FOLDER / FILE
        self.problem = ""
        self.book = self._read()

    def write(self, book: Book) -> None:
        """Have the book on the disk, then in `book`.

        Raises:
            OSError: The disk refuses; both are as they were.
        """
        if book == self.book:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._path, msgspec.json.encode(book))
        self.book = book

    def put(self, name: str, job: Job) -> None:
        """Have one job on the disk."""
        self.write(msgspec.structs.replace(self.book, jobs={**self.book.jobs, name: job}))

    def slot(self, name: str, kind: ArtefactKind) -> Slot:
        """Return what is confirmed in a slot."""
        return self.book.slots.get(name) or Slot(kind=kind)

    def with_slot(self, name: str, slot: Slot) -> Book:
        """Return the book with another slot."""
        return msgspec.structs.replace(self.book, slots={**self.book.slots, name: slot})

    def _read(self) -> Book:
        try:
            with self._path.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise ConfigError(f"{self._path.name} has more than {MAX_BYTES} bytes")
            return msgspec.json.decode(data, type=Book)
        except FileNotFoundError:
            return Book()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
            self.problem = (
                f"the journal of updates could not be read and is begun anew ({error}); what runs,"
                " runs on"
            )
            log.exception(self.problem, extra={"event": "updates.journal_lost"})
            aside = self._path.with_name(f"{FILE}.broken")
            try:
                self._path.replace(aside)
            except OSError:
                log.warning("it stays where it is", extra={"event": "updates.journal_stuck"})
            return Book()


def with_failed(slot: Slot, key: tuple[str, str, int]) -> Slot:
    """Return the slot with one more thing that was tried in vain; the oldest is forgotten."""
    failed = [one for one in slot.failed if one != key]
    return msgspec.structs.replace(slot, failed=[*failed, key][-MAX_FAILED:])


def has_failed(slot: Slot, job: Job) -> bool:
    """Return whether this was tried in vain, under this attempt or a later one."""
    rollout, digest, attempt = job.key
    return any(r == rollout and d == digest and a >= attempt for r, d, a in slot.failed)
