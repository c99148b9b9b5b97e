"""The worker: takes a frame, runs the model, gives the result to the camera's lane.

The one place on the device with a broad catch: whatever a native library throws, the frame is
counted, the camera goes on, and the fault is logged once per kind.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from vedette.edge.accounting import Outcome, Ticket
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
    """

    capture: CaptureSettings
    lane: CameraLane
    model: Model
    ring: PacketRing
    live: bool
    threshold: float
    regions: Regions = msgspec.field(default_factory=Regions)


@dataclass(slots=True)
class Work:
    """A frame on its way through a worker."""

    ticket: Ticket
    frame: Frame


def work(intake: Intake[Work], plans: Mapping[CameraId, CameraPlan]) -> None:
    """Analyse frames until the intake is closed. Thread: a worker's own."""
    told: set[str] = set()
    while (taken := intake.take()) is not None:
        camera, item = taken
        plan = plans[CameraId(camera)]
        outcome: Outcome = "analysed"
        result = None
        try:
            result = _look(plan, item.frame)
        except Exception as problem:  # the stage supervisor: a frame may fail, a worker may not
            outcome = _cause(problem)
            _tell(told, camera, problem)
        try:
            plan.lane.finish(item.ticket, item.frame, outcome, result)
        except Exception as problem:  # as above: the frame is settled, what it showed is lost
            _tell(told, camera, problem)
        finally:
            intake.done(camera)


def _look(plan: CameraPlan, frame: Frame) -> Result:
    """Return what the model sees in the camera's regions, in pixels of the whole picture."""
    picture = frame.picture
    result = plan.model.detect(plan.regions.cut(picture), plan.threshold)
    if plan.regions.is_whole:
        return result
    return replace(result, detections=plan.regions.counted(result.detections, picture.size))


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
