"""The worker: takes a frame, or several of one model, runs the model, gives results to the lanes.

The one place on the device with a broad catch: whatever a native library throws, the frame is
counted, the camera goes on, and the fault is logged once per kind.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from vedette.edge.accounting import Outcome, Ticket
from vedette.edge.buckets import Buckets
from vedette.edge.capture import CaptureSettings
from vedette.edge.frame import Frame
from vedette.edge.intake import Intake
from vedette.edge.lane import CameraLane
from vedette.edge.ring import PacketRing
from vedette.errors import BadModelOutput, DecodeFailed, RunFailed, VedetteError
from vedette.ids import CameraId
from vedette.inference.model import Model, Result
from vedette.vision.regions import Regions
from vedette.wire.messages import Drop

_LOG = logging.getLogger(__name__)


class CameraPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One camera as the pipeline runs it.

    Attributes:
        live: False for a file that must not drop a frame.
        threshold: Lowest confidence that the model is asked for.
        regions: Where is looked at all.
        budget_ms: Oldest that a picture may get; None: what the pipeline says.
        batch_every_s: The period in the tier batch; None in realtime.
        idle_keyframes: Whether keyframes are enough while nothing moves.
        batch_sizes: Pictures of this model that may go through one call.
    """

    capture: CaptureSettings
    lane: CameraLane
    model: Model
    ring: PacketRing
    live: bool
    threshold: float
    regions: Regions = msgspec.field(default_factory=Regions)
    budget_ms: float | None = None
    batch_every_s: float | None = None
    batch_sizes: tuple[int, ...] = (1,)
    idle_keyframes: bool = False


@dataclass(slots=True)
class Work:
    """A frame on its way through a worker."""

    ticket: Ticket
    frame: Frame


def work(
    intake: Intake[Work],
    plans: Mapping[CameraId, CameraPlan],
    buckets: Mapping[str, Buckets] | None = None,
) -> None:
    """Analyse frames until the intake is closed. Thread: a worker's own.

    Args:
        intake: Where frames come from.
        plans: Every camera.
        buckets: By model, where several pictures go together.
    """
    told: set[str] = set()
    while (taken := intake.take()) is not None:
        batch = [(plans[CameraId(camera)], item) for camera, item in taken]
        results = _together(batch, buckets or {}) if len(batch) > 1 else [None]
        for (camera, item), (plan, _), result in zip(taken, batch, results, strict=True):
            outcome: Outcome = "analysed"
            found = result
            try:
                found = _counted(plan, item.frame, found) if found else _look(plan, item.frame)
            except Exception as problem:  # the stage supervisor: a frame may fail, a worker may not
                outcome = _cause(problem)
                _tell(told, camera, problem)
            try:
                plan.lane.finish(item.ticket, item.frame, outcome, found)
            except Exception as problem:  # as above: the frame is settled, what it showed is lost
                _tell(told, camera, problem)
            finally:
                intake.done(camera)


def _together(
    batch: list[tuple[CameraPlan, Work]], buckets: Mapping[str, Buckets]
) -> Sequence[Result | None]:
    """Return what the model sees in pictures of several cameras, from one call of a fixed size.

    None for each where the call failed: then each is tried alone, so that one bad picture costs
    its neighbours nothing but time.
    """
    first = batch[0][0]
    sizes = buckets[first.lane.model]
    wanted = sizes.fit(len(batch))
    try:
        pictures = [plan.regions.cut(item.frame.picture) for plan, item in batch]
        lowest = min(plan.threshold for plan, _ in batch)
        filled = pictures + pictures[-1:] * (wanted - len(pictures))
        results = first.model.detect_batch(filled, lowest)[: len(batch)]
    except Exception:  # as in `work`; what is wrong shows with the one picture that it is in
        return [None] * len(batch)
    sizes.ran(wanted, sum(r.preprocess_ms + r.inference_ms for r in results))
    return [
        replace(r, detections=r.detections.where(r.detections.confidence >= plan.threshold))
        for r, (plan, _) in zip(results, batch, strict=True)
    ]


def _look(plan: CameraPlan, frame: Frame) -> Result:
    """Return what the model sees in the camera's regions, in pixels of the whole picture."""
    result = plan.model.detect(plan.regions.cut(frame.picture), plan.threshold)
    return _counted(plan, frame, result)


def _counted(plan: CameraPlan, frame: Frame, result: Result) -> Result:
    """Return the result without what lies outside the camera's regions."""
    if plan.regions.is_whole:
        return result
    size = (frame.width, frame.height)
    window = plan.regions.window(size)
    strange = result.anomaly
    if strange is not None and window is not None:
        strange = strange.moved(window[0], window[1])
    counted = plan.regions.counted(result.detections, size)
    return replace(result, detections=counted, anomaly=strange)


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
