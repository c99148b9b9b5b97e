"""The steps themselves: fetch, prepare, activate, confirm, go back; each durable when it returns.

The rule: the journal is written first where something may come to run that is not confirmed, and
last where something has come to be. So a power cut anywhere leads back to a state from which the
same steps go on. When to take which step is not decided here.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import msgspec

from vedette.clock import Clock
from vedette.edge.enrolment import Identity
from vedette.edge.updating import planning, shelf
from vedette.edge.updating.accepting import Refused, Targets, permit
from vedette.edge.updating.differences import Bringing
from vedette.edge.updating.download import Fetch, Line, Wanted, is_whole
from vedette.edge.updating.journal import Book, Job, Journal, Slot, with_failed
from vedette.edge.updating.kinds import Installed, Installer, Standing
from vedette.errors import VedetteError
from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import ShadowPlan

log = logging.getLogger(__name__)

AtStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Told:
    """The time as well as this device knows it, and whether that is good enough for a window."""

    now_ms: int
    is_timed: bool


class Source(Targets, Protocol):
    """The part of `trust.tuf.client.Repository` that is used here."""

    def refresh(self) -> dict[str, int]:
        """Have the newest metadata; return versions by role."""
        ...


@runtime_checkable
class RunsBeside(Protocol):
    """An installer whose artefacts can run beside what is in use."""

    def shadow(self, wanted: Installed, rollout: str, plan: ShadowPlan) -> None:
        """Begin."""
        ...

    def unshadow(self, slot: str) -> None:
        """End."""
        ...


@dataclass(frozen=True, slots=True)
class Connection:
    """Where things come from, once this device is enrolled and trusts a repository."""

    identity: Identity
    source: Source
    fetch: Fetch
    line: Line


@dataclass(frozen=True, slots=True)
class Came:
    """A download is over: by which approval it may be used, and the job's next state.

    Attributes:
        saved_bytes: That did not have to come.
        note: What is to be known of how it came; in words.
    """

    issued_ms: int
    expires_ms: int
    state: UpdateState
    saved_bytes: int = 0
    note: str = ""


class Doer:
    """Thread: the updater's; `fetch` and `prepare` also beside it, one of them at a time.

    Attributes:
        journal: What has been done.
        versions: Role to version of the metadata that was trusted last.
        done_bytes: Of the download that is on its way.
    """

    def __init__(
        self,
        state_dir: Path,
        clock: Clock,
        installers: Sequence[Installer],
        time: Callable[[], Told],
        *,
        free_bytes: Callable[[Path], int] = shelf.free_bytes,
        at_step: AtStep = lambda _step: None,
    ) -> None:
        """Read the journal; nothing is done yet.

        Args:
            state_dir: The agent's.
            clock: For durations.
            installers: What can be installed here, one of each kind.
            time: What approvals are judged by.
            free_bytes: What the disk has left.
            at_step: Called between any two steps that a power cut could part, for tests.
        """
        self._state_dir: Final = state_dir
        self._clock: Final = clock
        self.installers: Final = {one.kind: one for one in installers}
        self._time: Final = time
        self._free_bytes: Final = free_bytes
        self._at_step: Final = at_step
        self.journal: Final = Journal(state_dir)
        self.versions: dict[str, int] = {}
        self._bringing: Bringing | None = None

    # ------------------------------------------------------------------------------- what there is

    @property
    def done_bytes(self) -> int:
        """How much of the file on its way has come."""
        bringing = self._bringing
        return bringing.done_bytes if bringing is not None else 0

    def installer(self, job: Job) -> Installer:
        """Return what installs this.

        Raises:
            Refused: This device has no such slot.
        """
        kind, slot = job.assigned.artefact.kind, job.assigned.slot
        found = self.installers.get(kind)
        if found is None or slot not in found.slots():
            raise Refused(f"this device has no slot {slot!r} of the kind {kind.value}")
        if job.assigned.shadow is not None and not isinstance(found, RunsBeside):
            raise Refused(f"nothing of the kind {kind.value} runs in shadow")
        return found

    def slot(self, name: str, kind: ArtefactKind) -> Slot:
        """Return what is confirmed in a slot."""
        return self.journal.slot(name, kind)

    def standing(self, slot: str, kind: ArtefactKind) -> Standing:
        """Return what runs in a slot, as far as anything says so."""
        found = self.installers.get(kind)
        return found.standing(slot) if found is not None else Standing()

    def installed(self, job: Job) -> Installed:
        """Return what a job installs, or what is here of it already."""
        item, artefact = job.assigned, job.assigned.artefact
        slot = self.slot(item.slot, artefact.kind)
        found = planning.here(slot, artefact.digest, self.standing(item.slot, artefact.kind))
        if found is not None:
            at = found.slot or item.slot
            return msgspec.structs.replace(found, slot=at, approved_ms=job.approved_ms)
        return Installed(
            kind=artefact.kind,
            slot=item.slot,
            digest=artefact.digest,
            folder=str(shelf.folder_of(self._state_dir, artefact.kind, artefact.digest)),
            sha256=artefact.sha256,
            name=artefact.name,
            version=artefact.version,
            approved_ms=job.approved_ms,
        )

    # -------------------------------------------------------------------------- what takes long

    def fetch(self, job: Job, connection: Connection, stop: threading.Event) -> Came:
        """Have the file of what may be installed, or nothing where it is installed already.

        Raises:
            Refused: It may not be installed here.
            HashMismatch: Other bytes came.
            NoRoom: The disk is too full.
            VedetteError, OSError: It does not come now.
        """
        self.versions = connection.source.refresh()
        item, artefact = job.assigned, job.assigned.artefact
        slot = self.slot(item.slot, artefact.kind)
        allowed = permit(
            item,
            connection.source,
            site=connection.identity.site,
            now_ms=self._time().now_ms,
            floor_ms=slot.floor_ms,
        )
        is_here = planning.here(slot, artefact.digest, self.standing(item.slot, artefact.kind))
        if is_here is not None:
            return Came(allowed.issued_ms, allowed.expires_ms, UpdateState.VERIFIED)
        self._have_room(job)
        wanted = Wanted(allowed.where, artefact.sha256, artefact.bytes, item.max_kbit_s)
        self._at_step(f"{item.slot}:downloading")
        self._bringing = Bringing(
            artefact,
            wanted,
            self._state_dir,
            self._clock,
            stop,
            at_step=lambda step: self._at_step(f"{item.slot}:{step}"),
        )
        try:
            came = self._bringing.run(
                connection.source,
                self._files_of(artefact.kind, item.slot),
                connection.fetch,
                connection.line,
            )
        finally:
            self._bringing = None
        self._at_step(f"{item.slot}:downloaded")
        return Came(
            allowed.issued_ms,
            allowed.expires_ms,
            UpdateState.DOWNLOADED,
            saved_bytes=came.saved_bytes,
            note=came.note,
        )

    def prepare(self, job: Job) -> UpdateState:
        """Have it lie ready, proven here; return the job's next state.

        Raises:
            VedetteError: It is refused, or what proves it is not here now.
            OSError: The disk refuses.
        """
        artefact, installer = job.assigned.artefact, self.installer(job)
        file = shelf.file_of(self._state_dir, artefact.sha256)
        if not is_whole(file, Wanted("", artefact.sha256, artefact.bytes)):
            return UpdateState.ASSIGNED  # the disk lost it: it is brought again
        folder = shelf.folder_of(self._state_dir, artefact.kind, artefact.digest)
        shelf.clear_out(folder)
        self._at_step(f"{job.assigned.slot}:preparing")
        installer.prepare(job.assigned.slot, artefact, file, folder)
        self._at_step(f"{job.assigned.slot}:prepared")
        return UpdateState.VERIFIED

    def _files_of(self, kind: ArtefactKind, slot: str) -> list[str]:
        """Return hashes of files of this kind that may lie here, this slot's first."""
        slots = self.journal.book.slots
        found = sorted(slots.items(), key=lambda named: named[0] != slot)
        return [
            one.sha256
            for _, held in found
            if held.kind is kind
            for one in (held.running, held.previous)
            if one is not None
        ]

    def _have_room(self, job: Job) -> None:
        artefact = job.assigned.artefact
        beside = self.installer(job).space_bytes(artefact)
        needed = shelf.need(artefact, self._state_dir, beside)
        if self._free_bytes(self._state_dir) < needed:
            self.sweep(spare=False)
            shelf.refuse_full(needed, self._free_bytes(self._state_dir))

    # -------------------------------------------------------------------------------- short steps

    def turn_to(self, name: str, job: Job, state: UpdateState, problem: str = "") -> Job:
        """Have a job in another state, on the disk; return it.

        Raises:
            OSError: The disk refuses; nothing changed.
        """
        turned = msgspec.structs.replace(
            job, state=state, was=job.state, since_ms=self._time().now_ms, problem=problem
        )
        self.keep(name, turned, state.value)
        return turned

    def keep(self, name: str, job: Job, step: str) -> None:
        """Have a job on the disk."""
        self.journal.put(name, job)
        self._at_step(f"{name}:{step}")

    def write(self, book: Book, step: str) -> None:
        """Have the book on the disk."""
        if book != self.journal.book:
            self.journal.write(book)
            self._at_step(step)

    def activate(self, name: str, job: Job) -> None:
        """Have it become what runs: unconfirmed, and known to be that after any power cut."""
        item, kind = job.assigned, job.assigned.artefact.kind
        slot, standing = self.slot(item.slot, kind), self.standing(item.slot, kind)
        if slot.running is None and standing.running:
            slot = msgspec.structs.replace(slot, came_with=standing.running)
            self.write(self.journal.with_slot(item.slot, slot), f"{name}:came_with")
        job = self.turn_to(name, job, UpdateState.ACTIVATING)
        self.resume(name, job)

    def resume(self, name: str, job: Job) -> None:
        """Ask for what is active and unconfirmed, or take it back where that was decided."""
        slot = self.slot(job.assigned.slot, job.assigned.artefact.kind)
        self.installer(job).activate(self.installed(job), slot.running)
        self._at_step(f"{name}:activated")

    def confirm(self, name: str, job: Job) -> None:
        """Have it be what runs, and what ran before what is gone back to."""
        item, kind = job.assigned, job.assigned.artefact.kind
        slot, wanted = self.slot(item.slot, kind), self.installed(job)
        running = wanted if wanted.folder else None
        is_other = (slot.running.digest if slot.running else "") != wanted.digest
        previous = slot.running if is_other else slot.previous
        if is_other and slot.running is None and slot.came_with:
            previous = planning.came_with(slot, slot.came_with, item.slot)
        confirmed = msgspec.structs.replace(
            slot,
            running=running,
            previous=previous,
            floor_ms=max(slot.floor_ms, job.approved_ms),
        )
        done = msgspec.structs.replace(
            job,
            state=UpdateState.CONFIRMED,
            was=job.state,
            since_ms=self._time().now_ms,
            problem="",
        )
        book = self.journal.with_slot(item.slot, confirmed)
        jobs = {**book.jobs, name: done}
        self.write(msgspec.structs.replace(book, jobs=jobs), f"{name}:confirmed")
        log.info(
            "an update is confirmed",
            extra={"event": "updates.confirmed", "slot": name, "digest": wanted.digest},
        )
        if running is not None:
            self.installer(job).settle(running, previous)
            self._at_step(f"{name}:settled")
        self.sweep()
        self._at_step(f"{name}:swept")

    def decide_back(self, name: str, job: Job, why: str) -> Job:
        """Have it known, after any power cut, that a job is to be taken back; return it."""
        if job.going_back:
            return job
        decided = msgspec.structs.replace(job, going_back=why, problem=why)
        self.keep(name, decided, "going_back")
        return decided

    def go_back(self, name: str, job: Job, why: str, *, was_active: bool) -> None:
        """Have what ran before asked for again, and this tried no more under its attempt."""
        item, kind = job.assigned, job.assigned.artefact.kind
        slot = self.slot(item.slot, kind)
        if was_active:
            job = self.decide_back(name, job, why)
            self.installers[kind].revert(item.slot, self.installed(job), slot.running)
            self._at_step(f"{name}:reverted")
        back = msgspec.structs.replace(
            job,
            state=UpdateState.REVERTED,
            was=job.state,
            since_ms=self._time().now_ms,
            problem=why,
        )
        book = self.journal.with_slot(item.slot, with_failed(slot, job.key))
        jobs = {**book.jobs, name: back}
        self.write(msgspec.structs.replace(book, jobs=jobs), f"{name}:gone_back")
        log.warning(
            "an update went back, or was refused",
            extra={"event": "updates.reverted", "slot": name, "reason": why},
        )
        self.sweep()
        self._at_step(f"{name}:swept")

    def shadow(self, name: str, job: Job) -> None:
        """Have it run beside what is in use."""
        installer, plan = self.installer(job), job.assigned.shadow
        if isinstance(installer, RunsBeside) and plan is not None:
            installer.shadow(self.installed(job), job.assigned.rollout, plan)
            self._at_step(f"{name}:shadowed")
            self.turn_to(name, job, UpdateState.SHADOWING)

    def drop(self, name: str, job: Job, why: str) -> None:
        """Have a job forgotten that nothing came of, or that only ran beside."""
        installer = self.installers.get(job.assigned.artefact.kind)
        if job.assigned.shadow is not None and isinstance(installer, RunsBeside):
            installer.unshadow(job.assigned.slot)
            self._at_step(f"{name}:unshadowed")
        book = self.journal.book
        jobs = {other: one for other, one in book.jobs.items() if other != name}
        self.write(msgspec.structs.replace(book, jobs=jobs), f"{name}:dropped")
        log.info("an update is dropped", extra={"event": "updates.dropped", "reason": why})
        self.sweep()

    def settle_all(self) -> None:
        """Have what is confirmed asked for, where nothing is being tried in its place."""
        book = self.journal.book
        for name, slot in book.slots.items():
            installer = self.installers.get(slot.kind)
            job = book.jobs.get(name)
            is_tried = job is not None and job.state in _ACTIVE
            if slot.running is None or installer is None or is_tried:
                continue
            try:
                installer.settle(slot.running, slot.previous)
            except VedetteError as error:
                log.warning(
                    "what is confirmed could not be asked for",
                    extra={"event": "updates.unsettled", "slot": name, "reason": str(error)},
                )

    def sweep(self, *, spare: bool = True) -> None:
        """Have only what is needed on the disk; with room to `spare`, what saves a download too."""
        in_use = [path for one in self.installers.values() for path in one.in_use()]
        spare = spare and self._free_bytes(self._state_dir) >= shelf.SPARE_BYTES
        keeps = [kind for kind, one in self.installers.items() if spare and one.keeps_file]
        shelf.sweep(self._state_dir, self.journal.book, in_use, keeps)


_ACTIVE: Final = frozenset({UpdateState.ACTIVATING, UpdateState.PROBATION})
