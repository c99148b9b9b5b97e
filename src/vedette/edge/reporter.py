"""The pipeline's slow heartbeat: slices, health windows, silent cameras, thumbnails.

One thread, twice a second. It is the only one that looks at the time of day, so that slices end
where they should and a stepped clock is noticed between two of them.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import NS_PER_S, wall_ms
from vedette.edge import heartbeat, requests
from vedette.edge.heartbeat import Heartbeat
from vedette.edge.lane import CameraLane
from vedette.edge.models import Models
from vedette.edge.pipeline import Pipeline
from vedette.edge.settings import Telemetry
from vedette.edge.slots import SlotRunning
from vedette.edge.steady import SteadyClock
from vedette.stats.sketch import LinearBins
from vedette.wire.messages import Aggregate, Bins, CameraHealth, ModelHealth

_LOG = logging.getLogger(__name__)

TICK_S: Final = 0.5
CHECK_EVERY_NS: Final = NS_PER_S
STEP_S: Final = 2.0
"""A wall clock that moved further than this from the steady one was set by somebody."""
MINUTE_MS: Final = 60_000


def next_cut_ms(start_ms: int, period_ms: int) -> int:
    """Return where a slice that began at `start_ms` ends: the period's or the minute's edge."""
    return min((start_ms // period_ms + 1) * period_ms, (start_ms // MINUTE_MS + 1) * MINUTE_MS)


class Reporter:
    """Ends slices and windows, and says that the pipeline lives."""

    def __init__(
        self,
        pipeline: Pipeline,
        lanes: Sequence[CameraLane],
        models: Models,
        clock: SteadyClock,
        *,
        settings: Telemetry,
        state_dir: Path,
        boot_id: str,
        emit: Callable[[msgspec.Struct], None],
        slots: Callable[[], list[SlotRunning]] = list,
        needs_restart: Callable[[], str] = str,
    ) -> None:
        self._pipeline = pipeline
        self._lanes = list(lanes)
        self._models = models
        self._clock = clock
        self._settings = settings
        self._state_dir = state_dir
        self._boot_id = boot_id
        self._emit = emit
        self._slots = slots
        self._needs_restart = needs_restart
        now_ms = wall_ms(clock.now_at())
        self._started_ms = now_ms
        self._window = 0
        self._window_ms = now_ms
        self._checked_ns = 0
        self._cameras: list[CameraHealth] = []
        self._model_health: list[ModelHealth] = []
        self._totals: dict[tuple[str, str], _ModelTotals] = {}
        self._covered: dict[str, int] = {}

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set. Thread: the reporter's own."""
        while not self._clock.wait(stop, TICK_S):
            self.tick()

    def tick(self) -> None:
        """Do whatever is due."""
        self._follow_clock()
        now_ms = wall_ms(self._clock.now_at())
        period_ms = round(self._settings.aggregate_period_s * 1000)
        for lane in self._lanes:
            if now_ms >= next_cut_ms(lane.start_ms, period_ms):
                self.cut(lane, now_ms - now_ms % min(period_ms, 1000))
        if now_ms - self._window_ms >= self._settings.report_period_s * 1000:
            self._end_window(now_ms)
        if self._clock.mono_ns() - self._checked_ns >= CHECK_EVERY_NS:
            self._checked_ns = self._clock.mono_ns()
            self._pipeline.capture.check()
            self._answer_requests(now_ms)
            self._beat()

    def finish(self) -> None:
        """Cut everything up to now, as the last thing before the end."""
        now_ms = wall_ms(self._clock.now_at())
        for lane in self._lanes:
            self.cut(lane, now_ms)
        self._beat()

    def cut(self, lane: CameraLane, end_ms: int) -> None:
        """End one camera's slice and hand out what it says."""
        for message in lane.cut(end_ms):
            self._emit(message)
            if isinstance(message, Aggregate):
                self._covered[lane.name] = message.end_ms
                self._count(lane, message)

    def _follow_clock(self) -> None:
        """Where somebody set the system's clock: end slices by the old time, begin by the new."""
        step_s = self._clock.step_s()
        if abs(step_s) < STEP_S:
            return
        before_ms = wall_ms(self._clock.now_at())
        for lane in self._lanes:
            self.cut(lane, before_ms)
        self._clock.anchor()
        after_ms = wall_ms(self._clock.now_at())
        for lane in self._lanes:
            lane.clock_stepped(after_ms)
        self._window_ms = after_ms
        _LOG.warning(
            "the system's clock was set by %.1f s", step_s, extra={"event": "clock.stepped"}
        )

    def _end_window(self, now_ms: int) -> None:
        self._window += 1
        self._window_ms = now_ms
        self._cameras = [
            lane.health(now_ms, self._pipeline.depth(lane.name)) for lane in self._lanes
        ]
        self._model_health = [
            self._totals.pop((name, loaded.model.digest), _ModelTotals()).health(
                name,
                loaded.model.digest,
                loaded.load_s,
                backend=loaded.model.backend.name,
                golden_ok=loaded.golden_ok,
            )
            for name, loaded in self._models.loaded.items()
        ] + [  # those that ran in the window, and do not any more
            totals.health(name, digest) for (name, digest), totals in self._totals.items()
        ]
        self._totals.clear()

    def _count(self, lane: CameraLane, message: Aggregate) -> None:
        totals = self._totals.setdefault((lane.model, message.model), _ModelTotals())
        totals.add(message)

    def _answer_requests(self, now_ms: int) -> None:
        lanes = {lane.name: lane for lane in self._lanes}
        for wanted in requests.waiting(self._state_dir):
            lane = lanes.get(wanted.camera)
            if lane is None:
                requests.answer(self._state_dir, wanted.request, None, "no such camera")
                continue
            if wanted.kind == requests.REFERENCE:
                pinned = lane.reference(wanted.width_px)
                why = "" if pinned else "no scene was pinned; vedette edge commission does"
                requests.answer(self._state_dir, wanted.request, pinned, why)
                continue
            picture = lane.thumbnail(wanted.width_px)
            if picture is not None:
                requests.answer(self._state_dir, wanted.request, picture)
            elif now_ms > wanted.expires_ms:
                why = "not enough of the background was seen yet"
                requests.answer(self._state_dir, wanted.request, None, why)

    def _beat(self) -> None:
        hangs = self._pipeline.capture.needs_process_restart
        cameras = self._cameras or [lane.snapshot() for lane in self._lanes]
        beat = Heartbeat(
            pid=os.getpid(),
            boot_id=self._boot_id,
            mono_ns=self._clock.mono_ns(),
            started_ms=self._started_ms,
            window=self._window,
            needs_restart="too many capture threads hang" if hangs else self._needs_restart(),
            cameras=cameras,
            models=self._model_health,
            covered_until_ms=dict(self._covered),
            slots=self._slots(),
        )
        try:
            heartbeat.write(self._state_dir, beat)
        except OSError as error:
            _LOG.warning(
                "cannot write the heartbeat: %s", error, extra={"event": "heartbeat.failed"}
            )


class _ModelTotals:
    """What one model did within a health window, over all its cameras."""

    def __init__(self) -> None:
        self._inferences = self._failures = 0
        self._detections: dict[str, int] = {}
        self._confidence: dict[str, LinearBins] = {}
        self._entropy: dict[str, LinearBins] = {}

    def add(self, message: Aggregate) -> None:
        """Add one camera's slice."""
        dropped = message.frames.dropped
        self._inferences += message.frames.analysed
        self._failures += sum(
            n for cause, n in dropped.items() if cause in {"bad_output", "backend"}
        )
        for label, count in message.detections.items():
            self._detections[label] = self._detections.get(label, 0) + count
        for into, values in (
            (self._confidence, message.confidence),
            (self._entropy, message.entropy),
        ):
            for label, bins in values.items():
                _merge(into, label, bins)

    def health(
        self,
        name: str,
        digest: str,
        load_s: float | None = None,
        *,
        backend: str = "",
        golden_ok: bool | None = None,
    ) -> ModelHealth:
        """Return the window as it goes into the report."""
        return ModelHealth(
            model=name,
            digest=digest,
            backend=backend,
            load_s=None if load_s is None else round(load_s, 3),
            golden_ok=golden_ok,
            inferences=self._inferences,
            failures=self._failures,
            confidence={label: bins.to_wire() for label, bins in self._confidence.items()},
            entropy={label: bins.to_wire() for label, bins in self._entropy.items()},
            detections=self._detections,
        )


def _merge(into: dict[str, LinearBins], label: str, bins: Bins) -> None:
    found = LinearBins.from_wire(bins)
    if label in into:
        into[label].merge(found)
    else:
        into[label] = found
