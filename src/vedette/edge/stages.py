"""The worker: takes a frame, or several of one model, runs the model, gives results to the lanes.

The one place on the device with a broad catch: whatever a native library throws, the frame is
counted, the camera goes on, and the fault is logged once per kind.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from vedette.edge.accounting import Outcome, Ticket
from vedette.edge.buckets import Buckets
from vedette.edge.capture import CaptureSettings
from vedette.edge.frame import Frame
from vedette.edge.intake import Intake
from vedette.edge.lane import CameraLane
from vedette.edge.ring import PacketRing
from vedette.edge.serving import Served, Serving
from vedette.errors import BadModelOutput, DecodeFailed, RunFailed, VedetteError
from vedette.ids import CameraId
from vedette.inference.model import Result
from vedette.vision.regions import Regions
from vedette.wire.messages import Drop

_LOG = logging.getLogger(__name__)


class CameraPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One camera as the pipeline runs it.

    Attributes:
        live: False for a file that must not drop a frame.
        serving: Which model its pictures go through.
        regions: Where is looked at all.
        budget_ms: Oldest that a picture may get; None: what the pipeline says.
        batch_every_s: The period in the tier batch; None in realtime.
        idle_keyframes: Whether keyframes are enough while nothing moves.
        batches: Whether several pictures may go through one call, where the model can.
    """

    capture: CaptureSettings
    lane: CameraLane
    serving: Serving
    ring: PacketRing
    live: bool
    regions: Regions = msgspec.field(default_factory=Regions)
    budget_ms: float | None = None
    batch_every_s: float | None = None
    batches: bool = False
    idle_keyframes: bool = False


@dataclass(slots=True)
class Work:
    """A frame on its way through a worker, and what served its camera when it was captured."""

    ticket: Ticket
    frame: Frame
    served: Served


class Tap(Protocol):
    """Whoever sees what was analysed, without a part in it: `edge.shadow`."""

    def __call__(self, plan: CameraPlan, item: Work, found: Result, *, is_idle: bool) -> None:
        """Take one settled frame; `is_idle`: nobody waits for a worker."""
        ...


def work(
    intake: Intake[Work],
    plans: Mapping[CameraId, CameraPlan],
    buckets: Mapping[str, Buckets] | None = None,
    tap: Tap | None = None,
) -> None:
    """Analyse frames until the intake is closed. Thread: a worker's own.

    Args:
        intake: Where frames come from.
        plans: Every camera.
        buckets: By model, where several pictures go together.
        tap: Shown each analysed frame, once it is settled and where nobody waits.
    """
    told: set[str] = set()
    while (taken := intake.take()) is not None:
        batch = [(plans[CameraId(camera)], item) for camera, item in taken]
        results = _together(batch, buckets or {}) if len(batch) > 1 else [None]
        for (camera, item), (plan, _), result in zip(taken, batch, results, strict=True):
            outcome: Outcome = "analysed"
            found = result
            try:
                found = _counted(plan, item.frame, found) if found else _look(plan, item)
            except Exception as problem:  # the stage supervisor: a frame may fail, a worker may not
                outcome, found = _cause(problem), None
                _tell(told, camera, problem)
            try:
                plan.lane.finish(item.ticket, item.frame, outcome, found, item.served.reading)
            except Exception as problem:  # as above: the frame is settled, what it showed is lost
                _tell(told, camera, problem)
            finally:
                intake.done(camera)
            if tap is not None and found is not None:
                _show(tap, plan, item, found, is_idle=intake.is_idle)


def _show(tap: Tap, plan: CameraPlan, item: Work, found: Result, *, is_idle: bool) -> None:
    try:
        tap(plan, item, found, is_idle=is_idle)
    except Exception:  # as in `work`: whoever looks on may fail, a worker may not
        _LOG.warning("a look beside failed", exc_info=True, extra={"event": "pipeline.tap_failed"})


def _together(
    batch: list[tuple[CameraPlan, Work]], buckets: Mapping[str, Buckets]
) -> Sequence[Result | None]:
    """Return what the model sees in pictures of several cameras, from one call of a fixed size.

    None for each where the call failed: then each is tried alone, so that one bad picture costs
    its neighbours nothing but time. Likewise where they are of two models, at a swap.
    """
    sizes, model = buckets[batch[0][0].lane.model], batch[0][1].served.model
    if any(item.served.model is not model for _, item in batch):
        return [None] * len(batch)
    wanted = sizes.fit(len(batch))
    asked = [item.served.reading.ask_threshold for _, item in batch]
    try:
        pictures = [plan.regions.cut(item.frame.picture) for plan, item in batch]
        filled = pictures + pictures[-1:] * (wanted - len(pictures))
        results = model.detect_batch(filled, min(asked))[: len(batch)]
    except Exception:  # as in `work`; what is wrong shows with the one picture that it is in
        return [None] * len(batch)
    sizes.ran(wanted, sum(r.preprocess_ms + r.inference_ms for r in results))
    return [
        replace(r, detections=r.detections.where(r.detections.confidence >= least))
        for r, least in zip(results, asked, strict=True)
    ]


def _look(plan: CameraPlan, item: Work) -> Result:
    """Return what the model sees in the camera's regions, in pixels of the whole picture."""
    model, asked = item.served.model, item.served.reading.ask_threshold
    result = model.detect(plan.regions.cut(item.frame.picture), asked)
    return _counted(plan, item.frame, result)


def _counted(plan: CameraPlan, frame: Frame, result: Result) -> Result:
    return counted(plan.regions, (frame.width, frame.height), result)


def counted(regions: Regions, picture_px: tuple[int, int], result: Result) -> Result:
    """Return the result without what lies outside the regions, in pixels of the whole picture."""
    if regions.is_whole:
        return result
    window = regions.window(picture_px)
    strange = result.anomaly
    if strange is not None and window is not None:
        strange = strange.moved(window[0], window[1])
    found = regions.counted(result.detections, picture_px)
    return replace(result, detections=found, anomaly=strange)


def _tell(told: set[str], camera: str, problem: Exception) -> None:
    """Log a fault the first time that it is seen on a camera."""
    kind = f"{camera}:{type(problem).__name__}"
    if kind in told:
        return
    told.add(kind)
    _LOG.warning(
        "a picture could not be analysed: %s",
        problem,
        exc_info=not isinstance(problem, VedetteError),
        extra={"event": "pipeline.frame_failed", "camera": camera},
    )


def _cause(problem: Exception) -> Drop:
    if isinstance(problem, BadModelOutput) and not isinstance(problem, RunFailed):
        return Drop.BAD_OUTPUT
    if isinstance(problem, DecodeFailed):
        return Drop.UNDECODABLE
    return Drop.BACKEND
