"""When which step is taken: one turn after another, in a thread that waits for nothing long.

One turn: take over a new assignment, make jobs of it, and for each job do what `machine.decide`
says. What takes long (download, proof) is done beside (`work`), so that something just activated is
looked at each second, and goes back within seconds, with no network.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import NS_PER_S, Clock
from vedette.edge.updating import machine, planning, shelf, windows
from vedette.edge.updating.accepting import Refused, accept
from vedette.edge.updating.doing import AtStep, Came, Connection, Doer, Told
from vedette.edge.updating.download import Stopped
from vedette.edge.updating.journal import ACTIVE, ENDED, Job
from vedette.edge.updating.kinds import Installer, Standing
from vedette.edge.updating.machine import Action, Decision, Facts
from vedette.edge.updating.work import Beside, Work
from vedette.errors import HashMismatch, Retry, SpoolError, VedetteError
from vedette.wire.signed import Signed
from vedette.wire.slots import UpdateHealth, UpdateState
from vedette.wire.updates import UpdateReport

log = logging.getLogger(__name__)

WATCH_S: Final = 1.0
IDLE_S: Final = 10.0
BACKOFF_S: Final = (15.0, 1800.0)
MAX_TOLD: Final = 64
_NO_LINE: Final = "waits for central, and for a repository that is trusted"


@dataclass(slots=True)
class _Watch:
    """One job in this process's time."""

    key: tuple[str, str, int]
    state: UpdateState
    since_ns: int
    looked_ns: int
    heard_ns: int
    steady_s: float = 0.0
    setbacks: int = 0
    not_before_ns: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


class Updater:
    """All updates of one device.

    Thread: `begin` before, then `run` on its own; `take`, `connect` and `health` any.
    """

    def __init__(
        self,
        state_dir: Path,
        clock: Clock,
        installers: Sequence[Installer],
        *,
        time: Callable[[], Told],
        time_zone: Callable[[], str],
        report: Callable[[UpdateReport], object],
        work: Work | None = None,
        free_bytes: Callable[[Path], int] = shelf.free_bytes,
        at_step: AtStep = lambda _step: None,
    ) -> None:
        """Read the journal; nothing is done yet.

        Args:
            state_dir: The agent's.
            clock: For durations.
            installers: What can be installed here, one of each kind.
            time: What windows and approvals are judged by.
            time_zone: The site's.
            report: Takes each step, durably.
            work: Does what takes long; by default a thread of its own.
            free_bytes: What the disk has left.
            at_step: Called between any two steps that a power cut could part, for tests.
        """
        self._clock: Final = clock
        self._time: Final = time
        self._time_zone: Final = time_zone
        self._report: Final = report
        self._wanted: Final = threading.Event()
        self._work: Final = work or Beside(self._wanted.set)
        self._lock: Final = threading.Lock()
        self._doer: Final = Doer(
            state_dir, clock, installers, time, free_bytes=free_bytes, at_step=at_step
        )
        self._watches: dict[str, _Watch] = {}
        self._connection: Connection | None = None
        self._given: Signed | None = None
        self._refused = ""
        self._disk = ""

    # ------------------------------------------------------------------------------- from outside

    def begin(self) -> None:
        """Have what is to run asked for, before the pipeline starts; needs no network."""
        try:
            self._doer.settle_all()
            for name, job in list(self._doer.journal.book.jobs.items()):
                if job.state in ACTIVE:
                    self._begin_again(name, job)
            self._doer.sweep()
        except OSError as error:
            self._say_disk(error)

    def _begin_again(self, name: str, job: Job) -> None:
        again = msgspec.structs.replace(job, starts=job.starts + 1)
        self._doer.keep(name, again, "started")
        decision = machine.decide(again, Facts(now_ms=self._time().now_ms))
        try:
            if decision.action is Action.GO_BACK:
                self._doer.go_back(name, again, decision.why, was_active=True)
            else:
                self._doer.resume(name, again)
        except VedetteError as error:
            self._doer.go_back(name, again, f"after a start: {error}", was_active=True)

    def connect(self, connection: Connection) -> None:
        """Take assignments of this central from now on."""
        with self._lock:
            self._connection = connection
        self._wanted.set()

    def take(self, signed: Signed) -> None:
        """Have an assignment considered."""
        with self._lock:
            self._given = signed
        self._wanted.set()

    def wake(self) -> None:
        """End a wait and a download, to stop."""
        for watch in list(self._watches.values()):
            watch.stop.set()
        self._wanted.set()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`."""
        while not stop.is_set():
            pause_s = self.step()
            self._clock.wait(self._wanted, pause_s)
            self._wanted.clear()

    @property
    def assignment_version(self) -> int:
        """Of the newest assignment that was accepted."""
        assignment = self._doer.journal.book.assignment
        return assignment.version if assignment else 0

    @property
    def tuf_versions(self) -> dict[str, int]:
        """Role to version of the metadata that was trusted last."""
        return dict(self._doer.versions)

    @property
    def problems(self) -> list[str]:
        """What is wrong with updates as a whole, in words."""
        return [text for text in (self._refused, self._disk, self._doer.journal.problem) if text]

    def health(self) -> list[UpdateHealth]:
        """Return every slot: what runs, what is coming, why it waits."""
        doer, busy = self._doer, self._work.busy()
        found: list[UpdateHealth] = []
        for name, job in doer.journal.book.jobs.items():
            slot_name, kind = job.assigned.slot, job.assigned.artefact.kind
            done = doer.done_bytes if busy == name else 0
            slot, standing = doer.slot(slot_name, kind), doer.standing(slot_name, kind)
            found.append(planning.health_of(slot_name, slot, job, standing, done))
        told = {one.slot for one in found if one.state is not UpdateState.SHADOWING}
        for installer in doer.installers.values():
            for name in installer.slots():
                if name not in told:
                    slot, standing = doer.slot(name, installer.kind), installer.standing(name)
                    found.append(planning.health_of(name, slot, None, standing, 0))
        return found[:MAX_TOLD]

    # ----------------------------------------------------------------------------------- one turn

    def step(self) -> float:
        """Do what can be done now; return the seconds until the next look."""
        book = self._doer.journal.book
        try:
            self._take_given()
            followed = planning.follow(self._doer.journal.book, self._time().now_ms)
            self._doer.write(followed, "followed")
            self._take_done()
            self._tell()
            for name in list(self._doer.journal.book.jobs):
                self._turn(name)
            self._tell()
            self._disk = ""
        except OSError as error:
            self._say_disk(error)
            return IDLE_S
        if book != self._doer.journal.book and not self._work.busy():
            return 0.0
        jobs = self._doer.journal.book.jobs.values()
        return WATCH_S if any(job.state not in ENDED for job in jobs) else IDLE_S

    def _take_given(self) -> None:
        with self._lock:
            given, connection = self._given, self._connection
            if given is None or connection is None:
                return
            self._given = None
        book, identity = self._doer.journal.book, connection.identity
        central, held = identity.central.keyid, book.assignment
        if held is not None and (book.central, held.device) != (central, identity.device):
            held = None  # enrolled anew: another central counts by itself
        try:
            said = accept(given, identity, held)
        except VedetteError as error:
            self._refused = f"assignment refused: {error}"[:500]
            log.warning(self._refused, extra={"event": "updates.refused"})
            return
        self._refused = ""
        book = msgspec.structs.replace(book, assignment=said, central=central)
        self._doer.write(book, "assigned")

    def _turn(self, name: str) -> None:
        """Do what is to be done with one job now."""
        job = self._doer.journal.book.jobs[name]
        if job.state in ENDED:
            return
        watch = self._watch(name, job)
        standing = self._doer.standing(job.assigned.slot, job.assigned.artefact.kind)
        self._look(watch, job, standing)
        decision = machine.decide(job, self._facts(name, job, watch, standing))
        if self._work.busy() == name:
            if decision.action in {Action.DROP, Action.GO_BACK}:
                watch.stop.set()
            return
        is_put_off = self._clock.mono_ns() < watch.not_before_ns
        if is_put_off and decision.action not in {Action.DROP, Action.GO_BACK}:
            return
        try:
            self._do(name, job, decision)
        except VedetteError as error:
            self._fail(name, job, error)

    def _do(self, name: str, job: Job, decision: Decision) -> None:
        doer = self._doer
        match decision.action:
            case Action.WAIT:
                self._note(name, job, decision.why)
            case Action.TURN:
                doer.turn_to(name, job, decision.to or job.state)
            case Action.DOWNLOAD | Action.PREPARE:
                self._begin_work(name, job, decision.action)
            case Action.ACTIVATE:
                doer.activate(name, job)
            case Action.CONFIRM:
                doer.confirm(name, job)
            case Action.GO_BACK:
                doer.go_back(name, job, decision.why, was_active=job.state in ACTIVE)
            case Action.SHADOW:
                doer.shadow(name, job)
            case Action.DROP:
                doer.drop(name, job, decision.why)

    # -------------------------------------------------------------------------- what takes long

    def _begin_work(self, name: str, job: Job, action: Action) -> None:
        """Begin a download or a proof, where none is being done.

        Raises:
            Refused: This device has no such slot.
        """
        doer, connection, stop = self._doer, self._connection, self._watches[name].stop
        doer.installer(job)
        if self._work.busy():
            return
        if action is Action.PREPARE:
            self._work.begin(name, lambda: doer.prepare(job))
        elif connection is None:
            self._note(name, job, _NO_LINE)
        else:
            if job.problem == _NO_LINE:  # else it would be shown beside a download that runs
                self._note(name, job, "")
            self._work.begin(name, lambda: doer.fetch(job, connection, stop))

    def _take_done(self) -> None:
        """Take in what came of the long thing that is over."""
        done = self._work.take()
        if done is None:
            return
        name, result = done
        job, watch = self._doer.journal.book.jobs.get(name), self._watches.get(name)
        if job is None or watch is None or watch.key != job.key or job.state in ENDED:
            return  # it is not wanted any more
        match result:
            case Came():
                came = msgspec.structs.replace(
                    job,
                    approved_ms=result.issued_ms,
                    expires_ms=result.expires_ms,
                    saved_bytes=result.saved_bytes,
                )
                self._doer.turn_to(name, came, result.state, result.note[:500])
            case UpdateState():
                self._doer.turn_to(name, job, result)
            case VedetteError():
                self._fail(name, job, result)
            case _:
                self._put_off(name, job, f"the disk refuses: {result}")

    def _fail(self, name: str, job: Job, error: VedetteError) -> None:
        """Try again later, or never, as the error says."""
        is_coming = job.state is UpdateState.ASSIGNED
        if isinstance(error, Stopped):
            return
        if is_coming and isinstance(error, HashMismatch):
            self._put_off(name, msgspec.structs.replace(job, spoiled=job.spoiled + 1), str(error))
        elif (is_coming and not isinstance(error, Refused)) or error.retry is not Retry.NEVER:
            # What concerns the repository as a whole is central's or a stranger's trouble; it
            # stops new installations, and may pass.
            self._put_off(name, job, str(error))
        else:
            why = f"refused: {error}"[:1000]
            self._doer.go_back(name, job, why, was_active=job.state in ACTIVE)

    def _put_off(self, name: str, job: Job, why: str) -> None:
        watch = self._watch(name, job)
        first, most = BACKOFF_S
        pause_s = min(first * 2 ** min(watch.setbacks, 10), most)
        watch.setbacks += 1
        watch.not_before_ns = self._clock.mono_ns() + round(pause_s * NS_PER_S)
        self._note(name, job, why)
        log.info("an update waits", extra={"event": "updates.waits", "slot": name, "reason": why})

    # --------------------------------------------------------------------------- what is looked at

    def _watch(self, name: str, job: Job) -> _Watch:
        """Return what is known of the job in this process's time; anew where it changed."""
        now_ns = self._clock.mono_ns()
        watch = self._watches.get(name)
        if watch is None or watch.key != job.key or watch.state is not job.state:
            if watch is not None and watch.key != job.key:
                watch.stop.set()
            watch = _Watch(job.key, job.state, now_ns, now_ns, now_ns)
            self._watches[name] = watch
        return watch

    def _look(self, watch: _Watch, job: Job, standing: Standing) -> None:
        now_ns = self._clock.mono_ns()
        if standing.running:
            watch.heard_ns = now_ns
        if standing.running == job.assigned.artefact.digest:
            watch.steady_s += (now_ns - watch.looked_ns) / NS_PER_S
        watch.looked_ns = now_ns

    def _facts(self, name: str, job: Job, watch: _Watch, standing: Standing) -> Facts:
        told, now_ns = self._time(), self._clock.mono_ns()
        wanted = planning.asked(self._doer.journal.book, name)
        artefact, spans = job.assigned.artefact, job.assigned.windows
        installer = self._doer.installers.get(artefact.kind)
        return Facts(
            now_ms=told.now_ms,
            is_timed=told.is_timed,
            waited_s=(now_ns - watch.since_ns) / NS_PER_S,
            opens_ms=windows.opens_ms(spans, told.now_ms, self._time_zone()),
            is_asked=wanted is not None,
            replaced=wanted is not None and wanted.artefact.digest != artefact.digest,
            standing=standing,
            silent_s=(now_ns - watch.heard_ns) / NS_PER_S,
            steady_s=watch.steady_s,
            activation_s=installer.activation_s if installer else 0.0,
        )

    def _note(self, name: str, job: Job, why: str) -> None:
        """Have it known why a job waits; what changed is told."""
        if why != self._doer.journal.book.jobs[name].problem or job.spoiled:
            self._doer.keep(name, msgspec.structs.replace(job, problem=why), "noted")

    def _tell(self) -> None:
        """Report each state that was not reported yet; at least once, whatever is cut off."""
        book = self._doer.journal.book
        jobs = dict(book.jobs)
        for name, job in book.jobs.items():
            said = f"{job.state.value} {job.problem}"
            if job.told != said:
                running = self._doer.standing(job.assigned.slot, job.assigned.artefact.kind)
                report = planning.report_of(job, running.running, self._time().now_ms)
                try:
                    self._report(report)
                except SpoolError as error:
                    log.warning("a step is told later: %s", error, extra={"event": "updates.told"})
                    continue
                jobs[name] = msgspec.structs.replace(job, told=said)
        self._doer.write(msgspec.structs.replace(book, jobs=jobs), "told")

    def _say_disk(self, error: OSError) -> None:
        self._disk = f"updates wait: the disk refuses ({error.strerror or error})"
        log.error(self._disk, extra={"event": "updates.disk"})
