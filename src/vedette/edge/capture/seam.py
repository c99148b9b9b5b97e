"""What capture says to whoever listens: the one contract between cameras and the pipeline.

Here: the `Sink` that a pipeline implements, the states of a camera and the reasons for which a
stream is lost. Not here: how any of it is found out. The rule: capture never decides what a state
means for coverage; it only says what was seen and when.
"""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vedette.edge.capture.packets import EncodedPacket
from vedette.edge.frame import Frame
from vedette.errors import StreamLost
from vedette.ids import CameraId


class Loss(enum.StrEnum):
    """Why a source gives nothing, in words for people."""

    REFUSED = "connection refused"
    UNREACHABLE = "cannot be reached"
    UNAUTHORISED = "user or password refused (401)"
    FORBIDDEN = "access forbidden (403)"
    NOT_FOUND = "no such stream (404)"
    TIMEOUT = "no answer in time"
    SILENT = "no picture any more"
    CLOSED = "closed by the camera"
    GARBAGE = "what it sends is no video"
    NO_VIDEO = "has no video stream"
    UNDECODABLE = "no picture can be decoded"
    NO_FILE = "no such file"
    UNTRUSTED = "its certificate is not trusted"
    MOVED = "redirects to where it may not lead"
    DENIED = "this user may not open it"
    BUSY = "in use by another program"
    FAILED = "failed"


class SourceLost(StreamLost):
    """A source refused, stopped or never answered; `reason` says why."""

    def __init__(self, reason: Loss, detail: str = "", *, operator_hint: str | None = None) -> None:
        super().__init__(
            f"{reason}: {detail}" if detail else str(reason), operator_hint=operator_hint
        )
        self.reason = reason


@dataclass(frozen=True, slots=True)
class CameraUp:
    """Pictures come again (or for the first time), since `at`."""

    camera: CameraId
    at: datetime
    t_s: float
    codec: str
    picture_px: tuple[int, int]
    source: str  # without credentials
    announced_fps: float | None = None
    server: str = ""  # how its server names itself


@dataclass(frozen=True, slots=True)
class CameraDown:
    """No pictures since `at`, the time of the last good frame (or of the start, if there was none).

    Said again with the same `at` when the reason changes. `detail` never holds credentials.
    """

    camera: CameraId
    at: datetime
    t_s: float
    noticed_at: datetime
    reason: Loss
    detail: str


@dataclass(frozen=True, slots=True)
class SourceEnded:
    """A file that does not loop was read to its end: not a failure, nothing follows.

    Attributes:
        complete: False where the file broke off or could not be read further; see `detail`.
    """

    camera: CameraId
    at: datetime
    t_s: float
    frames: int
    complete: bool = True
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceStream:
    """The camera's second stream, kept for clips only, came or went; the camera itself did not.

    Attributes:
        at: When: of its last packet, where it went.
        up: True where packets come again.
        detail: Why not, in words without credentials.
    """

    camera: CameraId
    at: datetime
    t_s: float
    up: bool
    detail: str = ""


CameraSays = CameraUp | CameraDown | SourceEnded | EvidenceStream


class Sink(Protocol):
    """What the pipeline does with a camera's output.

    Thread: called from the camera's capture thread, and `on_state` also from the one that runs
    `CaptureSupervisor.check`. For a live camera nothing here may block. For a file `on_frame`
    blocks until there is room: that is the back-pressure that makes files never drop.
    """

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """Take one encoded packet, in decoding order, the first of a connection a keyframe."""
        ...

    def on_frame(self, frame: Frame) -> None:
        """Take one decoded frame that is due by `max_fps`."""
        ...

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Count packets of which no picture could be made (`Drop.UNDECODABLE`)."""
        ...

    def on_state(self, state: CameraSays) -> None:
        """Take a change of the camera's state."""
        ...
