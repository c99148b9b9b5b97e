"""A whole pipeline in this process, joined as on a device, for tests and measurements.

Real: files or RTSP cameras, ONNX, evidence on disk, the spool. What is different: who holds the
clock. With a `ManualClock` the media moves it, so that minutes of video pass in seconds and every
slice still ends where it should; with a `SystemClock` time is real.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

import msgspec

from vedette.clock import Clock, ManualClock
from vedette.edge.assembly import Assembly, report
from vedette.edge.capture import Pace
from vedette.edge.evidence.store import EvidenceStore
from vedette.edge.frame import Frame
from vedette.edge.lane import CameraLane, Observer
from vedette.edge.models import Models, worker_count
from vedette.edge.pipeline import Pipeline
from vedette.edge.pipeline_main import SpoolDoor, memory_of
from vedette.edge.reporter import Reporter
from vedette.edge.settings import EdgeConfig
from vedette.edge.spool import Spool
from vedette.edge.stages import CameraPlan, Tap, Work
from vedette.edge.steady import SteadyClock
from vedette.edge.swapping import Swapper
from vedette.inference.model import Result
from vedette.wire import codec
from vedette.wire.envelope import Envelope
from vedette.wire.streams import stream

BOOT: Final = "rig"
_EVERYTHING: Final = 1 << 30

M = TypeVar("M", bound=msgspec.Struct)


class PipelineRig:
    """Cameras of `config` running; a context manager that starts and ends them.

    Args:
        config: As on a device.
        clock: `ManualClock`: files are read as fast as possible and move it. Else real time.
        observer: Sees every frame with its tracks.
        pace: How fast files are read, where not as the clock says.
    """

    def __init__(
        self,
        config: EdgeConfig,
        clock: Clock,
        *,
        observer: Observer | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._manual = clock if isinstance(clock, ManualClock) else None
        self.clock = SteadyClock(clock)
        self.spool = Spool.open(
            config.state_dir / "spool",
            round(config.spool.quota_mb * 1024 * 1024),
            self.clock,
            BOOT,
            writer=self._manual is None,
        )
        self._door = SpoolDoor(self.spool)
        self._told = threading.Condition()
        self._messages: list[msgspec.Struct] = []
        self.memory = memory_of(config, self.clock, self.spool, BOOT)
        self.evidence = EvidenceStore(
            config.state_dir / "evidence", config.evidence, self.clock, memory=self.memory
        )
        self._door.told = self.memory.take
        self.models = Models.of(config, self.clock)
        if pace is None:
            pace = Pace.AS_FAST_AS_POSSIBLE if self._manual else Pace.REAL_TIME
        self.plans = Assembly(
            config, self.models, self.clock, emit=self._emit, evidence=self.evidence
        ).plans(pace=pace, observer=observer)
        for plan in self.plans:
            self.memory.watch(plan.lane.name, plan.lane.covered)
        self.pipeline = _Stepped(
            self.plans,
            workers=worker_count(config),
            deadline_ms=config.pipeline.deadline_ms,
            clock=self.clock,
            before_frame=self._pass_time if self._manual else lambda _frame: None,
            tap=OpenTap(),
        )
        self.swapper = Swapper(
            self.models, [lane.model for lane in self.lanes], self.pipeline.serve, self.clock
        )
        self.reporter = Reporter(
            self.pipeline,
            self.lanes,
            self.models,
            self.clock,
            settings=config.telemetry,
            state_dir=config.state_dir,
            boot_id=BOOT,
            emit=self._emit,
            slots=self.swapper.running,
        )
        self._stop = threading.Event()
        self._ticking = threading.Lock()
        self._threads = [
            threading.Thread(target=self.reporter.run, args=(self._stop,), daemon=True),
            threading.Thread(target=self._package, daemon=True),
        ]

    def __enter__(self) -> "PipelineRig":
        self.pipeline.start()
        if self._manual is None:
            for thread in self._threads:
                thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def lanes(self) -> list[CameraLane]:
        """The cameras' lanes."""
        return [plan.lane for plan in self.plans]

    def stop(self) -> None:
        """End as the pipeline process does: cameras, evidence, the last slice, the spool."""
        if self._stop.is_set():
            return
        self._stop.set()
        self.pipeline.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        report(self.evidence, self.evidence.work(everything=True), self._keep)
        self.reporter.finish()
        self.spool.close()

    def read_to_the_end(self, *, timeout_s: float = 50.0) -> None:
        """Return once every file was read and analysed to its end.

        Raises:
            TimeoutError: It took longer.
        """
        names = [lane.name for lane in self.lanes]

        def done() -> bool:
            return self.pipeline.capture.has_ended and not any(map(self.pipeline.depth, names))

        watch = threading.Event()
        for _ in range(round(timeout_s / 0.02)):
            if done():
                return
            watch.wait(0.02)
        raise TimeoutError(f"never read to the end: {self.pipeline.capture.status()}")

    def messages(self, kind: type[M]) -> list[M]:
        """Return what was handed to the spool so far, of one kind, in order."""
        with self._told:
            return [message for message in self._messages if isinstance(message, kind)]

    def wait_for(self, kind: type[M], wanted: Callable[[M], bool], *, timeout_s: float = 50.0) -> M:
        """Return the first message of that kind that is wanted, waiting for it.

        Raises:
            TimeoutError: It did not come.
        """

        def find() -> M | None:
            return next((m for m in self._messages if isinstance(m, kind) and wanted(m)), None)

        with self._told:
            found = self._told.wait_for(find, timeout_s)
            if found is None:
                last = "; ".join(repr(message)[:200] for message in self._messages[-8:])
                raise TimeoutError(f"no such {kind.__name__}; the last ones: {last}")
            return found

    def _emit(self, message: msgspec.Struct) -> None:
        self._door(message)
        self._note(message)

    def _keep(self, message: msgspec.Struct) -> bool:
        kept = self._door.keep(message)
        self._note(message)
        return kept

    def _note(self, message: msgspec.Struct) -> None:
        with self._told:
            self._messages.append(message)
            self._told.notify_all()

    def _package(self) -> None:
        while not self._stop.wait(0.2):
            report(self.evidence, self.evidence.work(), self._keep)

    def _pass_time(self, frame: Frame) -> None:
        """Let the clock reach a frame's time, in steps of the reporter's own beat."""
        assert self._manual is not None
        with self._ticking:
            ahead_s = (frame.captured_at - self.clock.now_at()).total_seconds()
            while ahead_s > 0:
                step_s = min(ahead_s, 0.5)
                self._manual.advance(step_s)
                self.reporter.tick()
                ahead_s -= step_s
            report(self.evidence, self.evidence.work(), self._keep)


class OpenTap:
    """Whoever looks on may come later: a candidate's desk, say. Thread: any."""

    def __init__(self) -> None:
        self.to: Tap | None = None

    def __call__(self, plan: CameraPlan, item: Work, found: Result, *, is_idle: bool) -> None:
        """Hand one settled frame on, where somebody looks on."""
        if self.to is not None:
            self.to(plan, item, found, is_idle=is_idle)


class _Stepped(Pipeline):
    """A pipeline that says so before it takes a frame."""

    def __init__(
        self,
        plans: list[CameraPlan],
        *,
        workers: int,
        deadline_ms: float,
        clock: Clock,
        before_frame: Callable[[Frame], None],
        tap: "OpenTap",
    ) -> None:
        super().__init__(plans, workers=workers, deadline_ms=deadline_ms, clock=clock, tap=tap)
        self.tap = tap
        self._before_frame = before_frame

    def on_frame(self, frame: Frame) -> None:
        """Take one decoded frame."""
        self._before_frame(frame)
        super().on_frame(frame)


def read_spool(folder: Path) -> list[tuple[Envelope, msgspec.Struct]]:
    """Return what lies in a spool's folder: each envelope with its message, in sending order."""
    spool = Spool.open(folder, _EVERYTHING, SteadyClock(ManualClock()), BOOT, writer=False)
    try:
        batch = spool.next_batch(max_bytes=_EVERYTHING, max_n=_EVERYTHING)
        return [(e, codec.decode_body(e.body, stream(e.schema))) for e in batch]
    finally:
        spool.close()
