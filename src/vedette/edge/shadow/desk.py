"""The candidates of a device: which run, what they are shown, what is told of them.

Here: the hand-over from the workers, the one thread that asks candidates, failures and their end,
the reports. Not here: the process (`candidate`), comparing (`looking`). The rules:

- A worker gives a picture away only after its own result is settled, only where no frame waits, and
  only one at a time: what is due and cannot be given is counted as shed. All that it costs the
  incumbent is a copy of the planes, for each camera once in `ShadowPlan.every_s`.
- A candidate that does not load, or whose process died `MAX_DEATHS` times, or that gave
  `MAX_FAILED` bad answers in a row, is left alone until something else is wanted; why is said.
- Without `review_frames` in the site's signed policy no picture is made.
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from vedette.clock import NS_PER_S, Clock, wall_ms
from vedette.edge.models import Models, opened
from vedette.edge.serving import Reading, Serving
from vedette.edge.shadow.candidate import Candidate
from vedette.edge.shadow.child import Start
from vedette.edge.shadow.looking import Compared, Shown, compare, disagreement
from vedette.edge.shadow.sampling import WINDOWS_PER_DAY, Sample, quota
from vedette.edge.shadow.tally import Names, Tally
from vedette.edge.slots import Shadowed
from vedette.edge.stages import CameraPlan, Work
from vedette.errors import BadModelOutput, VedetteError
from vedette.inference.bundle import Bundle
from vedette.inference.model import Result
from vedette.vision.picture import Picture
from vedette.wire.signed import PixelPolicy
from vedette.wire.updates import Disagreement

_LOG = logging.getLogger(__name__)

MAX_DEATHS: Final = 3
MAX_FAILED: Final = 20
REPORT_S: Final = 300.0
WINDOW_MS: Final = 86_400_000 // WINDOWS_PER_DAY
_WAKE_S: Final = 1.0

Emit = Callable[[msgspec.Struct], None]
Open = Callable[[Start, Clock], Candidate]


@dataclass(slots=True)
class _Beside:
    """One slot's candidate and what came of it so far."""

    slot: str
    what: Shadowed
    candidate: Candidate | None = None
    bundle: Bundle | None = None
    runs: bool = False
    problem: str = ""
    deaths: int = 0
    failed: int = 0
    due_ns: dict[str, int] = field(default_factory=dict)
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    """By camera and the incumbent's digest."""
    told_ns: int = 0
    window: int = -1
    sample: Sample[Disagreement] | None = None


@dataclass(slots=True)
class _Job:
    beside: _Beside
    serving: Serving
    shown: Shown


class ShadowDesk:
    """Runs candidates beside what fills the slots. Thread: `run` in its own; the rest from any.

    Args:
        models: How models are run on this device.
        clock: The pipeline's.
        emit: Takes messages for the spool.
        pixels: What may leave the site, by its signed policy.
        open_candidate: Starts a candidate's process.
        uniform: Gives numbers in (0, 1] for the choice of samples.
    """

    def __init__(
        self,
        models: Models,
        clock: Clock,
        *,
        emit: Emit,
        pixels: PixelPolicy,
        open_candidate: Open = Candidate,
        uniform: Callable[[], float] | None = None,
    ) -> None:
        self._models = models
        self._clock = clock
        self._emit = emit
        self._pixels = pixels
        self._open = open_candidate
        generator = random.SystemRandom()
        self._uniform = uniform or (lambda: 1.0 - generator.random())
        self._changed = threading.Condition()
        self._slots: dict[str, _Beside] = {}
        self._job: _Job | None = None
        self._is_busy = False
        self._ended: list[Candidate] = []  # killed, and still to be cleared away by `turn`

    # -- from the swapper

    def follow(self, wanted: dict[str, Shadowed]) -> None:
        """Run these candidates and no others; those that go are ended before this returns."""
        with self._changed:
            for slot, beside in list(self._slots.items()):
                if wanted.get(slot) != beside.what:
                    del self._slots[slot]
                    if beside.candidate is not None:
                        beside.candidate.kill()
                        self._ended.append(beside.candidate)
                    self._tell(beside)
            for slot, what in wanted.items():
                self._slots.setdefault(slot, _Beside(slot, what))
            self._changed.notify_all()

    def says(self, slot: str) -> tuple[str, str]:
        """Return the digest of the candidate that runs in a slot, if any, and its problem."""
        beside = self._slots.get(slot)
        if beside is None:
            return "", ""
        return (beside.what.digest if beside.runs else ""), beside.problem

    # -- from workers

    def __call__(self, plan: CameraPlan, item: Work, found: Result, *, is_idle: bool) -> None:
        """Take one settled frame of a worker, where it is due; see `stages.Tap`."""
        if not self._slots:
            return
        camera = item.frame.camera
        with self._changed:
            beside = self._slots.get(plan.lane.model)
            if beside is None or not beside.runs or not self._is_due(beside, camera):
                return
            if not is_idle or self._is_busy:
                self._tally(beside, camera, item.served.reading.digest).shed += 1
                return
            self._is_busy = True
        picture = _copied(item.frame.picture)
        at_ms = wall_ms(item.frame.captured_at)
        shown = Shown(camera, at_ms, picture, plan.regions, item.served.reading, found)
        with self._changed:
            self._job = _Job(beside, plan.serving, shown)
            self._changed.notify_all()

    def _is_due(self, beside: _Beside, camera: str) -> bool:
        now_ns, until_ms = self._clock.mono_ns(), beside.what.plan.until_ms
        if now_ns < beside.due_ns.get(camera, 0):
            return False
        if until_ms and wall_ms(self._clock.now_at()) > until_ms:
            return False
        beside.due_ns[camera] = now_ns + round(max(0.1, beside.what.plan.every_s) * NS_PER_S)
        return True

    # -- the thread

    def run(self, stop: threading.Event) -> None:
        """Start candidates and ask them until `stop` is set. Thread: its own."""
        while not stop.is_set():
            with self._changed:
                if self._job is None and not any(self._waits(b) for b in self._slots.values()):
                    self._changed.wait(_WAKE_S)
            self.turn()
        self.follow({})
        self.turn()

    def turn(self) -> None:
        """Start what is to be started, ask once if there is something to ask, tell what is due."""
        with self._changed:
            ended, self._ended = self._ended, []
        for candidate in ended:
            candidate.close()
        for beside in list(self._slots.values()):
            if self._waits(beside):
                self._start(beside)
        with self._changed:
            job, self._job = self._job, None
        if job is not None:
            try:
                self._look(job)
            finally:
                self._is_busy = False
        with self._changed:
            for beside in self._slots.values():
                self._tell_if_due(beside)

    @staticmethod
    def _waits(beside: _Beside) -> bool:
        return not beside.runs and not beside.problem

    def _start(self, beside: _Beside) -> None:
        """Have the candidate run, or know why not."""
        what, models = beside.what, self._models
        try:
            beside.bundle = opened(what.path, what.digest)
            start = Start(
                path=what.path,
                digest=what.digest,
                runtime=models.runtime,
                providers=models.providers,
                options=models.options,
            )
            candidate = self._open(start, self._clock)
            with self._changed:
                beside.candidate = candidate
                is_wanted = beside in self._slots.values()
            if not is_wanted:
                candidate.kill()
            candidate.load()
        except (VedetteError, OSError) as error:
            self._give_up(beside, str(error))
            return
        with self._changed:
            beside.runs, beside.told_ns = True, self._clock.mono_ns()
        _LOG.info(
            "the candidate %s runs beside the slot %s",
            what.digest[:19],
            beside.slot,
            extra={"event": "shadow.started", "rollout": what.rollout},
        )

    def _give_up(self, beside: _Beside, problem: str) -> None:
        with self._changed:
            candidate, beside.candidate = beside.candidate, None
            beside.runs, beside.problem = False, problem[:500]
        if candidate is not None:
            candidate.close()
        _LOG.warning(
            "the candidate beside the slot %s is left alone: %s",
            beside.slot,
            problem,
            extra={"event": "shadow.given_up", "rollout": beside.what.rollout},
        )

    def _look(self, job: _Job) -> None:
        """Show the candidate one picture, and add what came of it."""
        beside, shown = job.beside, job.shown
        with self._changed:
            candidate, bundle = beside.candidate, beside.bundle
        if candidate is None or bundle is None:
            return
        try:
            reading = job.serving.reading(bundle.manifest, bundle.digest)
            answer = candidate.look(shown.regions.cut(shown.picture), reading.ask_threshold)
            compared = compare(shown, answer, reading)
        except BadModelOutput as error:
            self._has_failed(beside, candidate, shown, str(error))
        except VedetteError as error:  # it is no model for this camera
            self._give_up(beside, str(error))
        else:
            beside.failed = 0
            with self._changed:
                self._add(beside, shown, reading, compared)

    def _has_failed(
        self, beside: _Beside, candidate: Candidate, shown: Shown, problem: str
    ) -> None:
        with self._changed:
            if beside not in self._slots.values():  # ended on purpose
                return
            self._tally(beside, shown.camera, shown.a.digest).failed += 1
        beside.failed += 1
        if not candidate.is_alive:
            candidate.close()
            beside.deaths += 1
            with self._changed:
                beside.runs, beside.candidate = False, None
        if beside.deaths >= MAX_DEATHS or beside.failed >= MAX_FAILED:
            self._give_up(beside, problem)

    def _add(self, beside: _Beside, shown: Shown, reading: Reading, compared: Compared) -> None:
        tally = self._tally(beside, shown.camera, shown.a.digest)
        tally.add(compared.a, compared.b, compared.paired, compared.stage_ms)
        if not compared.paired.differs:
            return
        sample = self._sample(beside, shown.at_ms)
        names = self._names(beside, shown.camera, shown.a.digest)
        kind = f"{shown.camera}:{compared.kind}"
        sample.offer(kind, lambda: disagreement(names, shown, reading, compared, self._pixels))

    # -- telling; all under the lock

    def _tally(self, beside: _Beside, camera: str, a: str) -> Tally:
        key = (camera, a)
        if key not in beside.tallies:
            beside.tallies[key] = Tally(wall_ms(self._clock.now_at()))
        return beside.tallies[key]

    def _sample(self, beside: _Beside, at_ms: int) -> Sample[Disagreement]:
        window = at_ms // WINDOW_MS
        if beside.sample is None or window != beside.window:
            self._send_sample(beside)
            most = quota(beside.what.plan.samples_per_day, window % WINDOWS_PER_DAY)
            beside.sample, beside.window = Sample(most, self._uniform), window
        return beside.sample

    def _tell_if_due(self, beside: _Beside) -> None:
        now_ms = wall_ms(self._clock.now_at())
        if beside.sample is not None and now_ms // WINDOW_MS != beside.window:
            self._send_sample(beside)
        if self._clock.mono_ns() - beside.told_ns >= REPORT_S * NS_PER_S:
            self._send_tallies(beside)
        until_ms = beside.what.plan.until_ms
        if beside.runs and until_ms and now_ms > until_ms and beside.candidate is not None:
            beside.runs, beside.problem = False, "its time is over"
            beside.candidate.kill()
            self._tell(beside)

    def _tell(self, beside: _Beside) -> None:
        self._send_tallies(beside)
        self._send_sample(beside)

    def _send_tallies(self, beside: _Beside) -> None:
        beside.told_ns = self._clock.mono_ns()
        end_ms = wall_ms(self._clock.now_at())
        tallies, beside.tallies = beside.tallies, {}
        for (camera, a), tally in tallies.items():
            self._emit(tally.report(self._names(beside, camera, a), end_ms))

    def _send_sample(self, beside: _Beside) -> None:
        sample, beside.sample = beside.sample, None
        for chosen, weight in sample.take() if sample is not None else ():
            self._emit(msgspec.structs.replace(chosen, weight=round(weight, 4)))

    def _names(self, beside: _Beside, camera: str, a: str) -> Names:
        what = beside.what
        return Names(what.rollout, beside.slot, camera, a, what.digest)


def _copied(picture: Picture) -> Picture:
    """Return a copy that holds none of the decoder's memory."""
    return Picture(picture.y.copy(), picture.u.copy(), picture.v.copy(), picture.full_range)
