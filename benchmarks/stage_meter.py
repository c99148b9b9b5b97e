"""CPU time of the pipeline's stages, by the clock of the thread that runs them.

    with StageMeter() as meter:
        ...                         # run a pipeline
    meter.table(frames)             # ms of CPU per frame by stage

Functions are wrapped while the meter is on, at a cost of about a microsecond a call, so throughput
is measured without it. A stage's time holds that of the stages called from it; `table` takes apart
what is nested.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from vedette.edge import lookout
from vedette.edge.analysis import Analysis
from vedette.edge.capture.decode import Decoder
from vedette.edge.capture.thread import CaptureThread
from vedette.edge.evidence.store import EvidenceStore
from vedette.edge.intake import Intake
from vedette.edge.lane import CameraLane
from vedette.edge.pipeline import Pipeline
from vedette.inference import model
from vedette.inference.backends.onnxruntime import OnnxRuntimeBackend
from vedette.vision.tamper import TamperWatch
from vedette.vision.tracking import Tracker
from vedette.vision.zones import ZoneWatch

STAGES: tuple[tuple[Any, str, str], ...] = (
    (CaptureThread, "_run", "capture thread"),
    (Pipeline, "on_packet", "packets to the ring"),
    (Pipeline, "on_frame", "judged and offered"),
    (lookout.Lookout, "look", "quality, tamper, gate"),
    (TamperWatch, "update", "  of it tamper"),
    (Intake, "take", "intake"),
    (model, "prepare", "conversion"),
    (OnnxRuntimeBackend, "run", "inference"),
    (model.Model, "_decode", "postprocess"),
    (CameraLane, "finish", "lane"),
    (Analysis, "advance", "analysis"),
    (Tracker, "update", "  of it tracking"),
    (ZoneWatch, "update", "  of it zones and lines"),
    (EvidenceStore, "work", "evidence packages"),
)

NEEDED = ("decode", "conversion", "inference")
"""What a pipeline cannot do without; everything else is its own cost."""


class StageMeter:
    """Adds up thread CPU time by stage while it is entered. Thread: any may be measured."""

    def __init__(self) -> None:
        self.spent_ns: Counter[str] = Counter()
        self._undo: list[Callable[[], None]] = []
        self._began_s = self.process_s = 0.0

    def __enter__(self) -> "StageMeter":
        for owner, name, stage in STAGES:
            self._wrap(owner, name, stage)
        self._wrap_decoder()
        self._began_s = time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process_s = time.process_time() - self._began_s
        for undo in self._undo:
            undo()

    def table(self, frames: int) -> dict[str, float]:
        """Return ms of CPU per frame: stages, what they need, and everything else."""
        ms = {stage: ns / 1e6 / frames for stage, ns in self.spent_ns.items()}
        rows = {name: ms.get(name, 0.0) for name in NEEDED}
        rows |= {
            "quality, tamper, gate": ms.get("quality, tamper, gate", 0.0),
            "  of it tamper": ms.get("  of it tamper", 0.0),
            "postprocess": ms.get("postprocess", 0.0),
            "analysis": ms.get("analysis", 0.0),
            "  of it tracking": ms.get("  of it tracking", 0.0),
            "  of it zones and lines": ms.get("  of it zones and lines", 0.0),
            "lane, without analysis": ms.get("lane", 0.0) - ms.get("analysis", 0.0),
            "packets to the ring": ms.get("packets to the ring", 0.0),
            "evidence packages": ms.get("evidence packages", 0.0),
        }
        whole = self.process_s * 1e3 / frames
        named = sum(v for name, v in rows.items() if not name.startswith("  "))
        rows["rest: threads, spool, reports"] = whole - named
        rows["everything but decode, conversion and inference"] = whole - sum(
            rows[name] for name in NEEDED
        )
        rows["all"] = whole
        return {name: round(value, 3) for name, value in rows.items()}

    def _wrap(self, owner: Any, name: str, stage: str) -> None:
        inner = getattr(owner, name)

        def measured(*given: Any, **named: Any) -> Any:
            began_ns = time.thread_time_ns()
            try:
                return inner(*given, **named)
            finally:
                self.spent_ns[stage] += time.thread_time_ns() - began_ns

        setattr(owner, name, measured)
        self._undo.append(lambda: setattr(owner, name, inner))

    def _wrap_decoder(self) -> None:
        inner = Decoder._run  # noqa: SLF001 - where FFmpeg's decoder is called

        def measured(decoder: Decoder, *given: Any) -> Iterator[Any]:
            began_ns = time.thread_time_ns()
            pictures = list(inner(decoder, *given))
            self.spent_ns["decode"] += time.thread_time_ns() - began_ns
            yield from pictures

        setattr(Decoder, "_run", measured)  # noqa: B010 - an assignment would have to fit its type
        self._undo.append(lambda: setattr(Decoder, "_run", inner))
