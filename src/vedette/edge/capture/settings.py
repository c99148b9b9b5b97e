"""How one camera is captured: values only."""

import enum
from dataclasses import dataclass

from vedette.ids import CameraId
from vedette.wire.streams import CAMERA_DOWN_AFTER_S


class Decode(enum.Enum):
    """Which packets are decoded."""

    ALL = "all"
    NONREF = "nonref"  # pictures that no other refers to are skipped: cheaper, still smooth
    NOTHING = "nothing"  # a second stream, only kept for clips
    KEYFRAMES = (
        "keyframes"  # for idle cameras; back to `ALL`: at once after a keyframe, else at the next
    )


class RtspClient(enum.StrEnum):
    """Who speaks RTSP with the camera."""

    AUTO = "auto"  # the own client; FFmpeg's where that one cannot
    VEDETTE = "vedette"
    FFMPEG = "ffmpeg"


class Pace(enum.Enum):
    """How fast a file is read. Cameras have their own pace."""

    REAL_TIME = "real time"
    AS_FAST_AS_POSSIBLE = "as fast as possible"


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """One camera.

    Attributes:
        source: What `edge.capture.address` can read.
        evidence_source: A second stream of the same camera: its packets are kept for clips in place
            of those of `source`, and never decoded; empty for none.
        rotate_deg: Turn pictures clockwise by 0, 90, 180 or 270; None: as the stream itself says.
        max_fps: Frames per second that are handed over; None for all.
        loop: A file starts again at its end, on the same timeline.
        pace: How fast a file is read.
        open_timeout_s: For connecting, and again for finding the stream's parameters.
        read_timeout_s: Between two packets; below half of `CAMERA_DOWN_AFTER_S`. At the first
            timeout FFmpeg gives out the picture that its parser held back and waits once more, so
            it gives up after twice this time, before its thread has to be abandoned. Other clients
            wait as long in all.
        rtsp_client: Who speaks RTSP with the camera.
        onvif_port: Where the camera's ONVIF service is; None: the usual ports; 0: nobody asks.
        silent_s: Without a picture for so long a camera is down; longer where it is a slow one.
    """

    camera: CameraId
    source: str
    evidence_source: str = ""
    rotate_deg: int | None = None
    max_fps: float | None = None
    loop: bool = False
    pace: Pace = Pace.REAL_TIME
    decode: Decode = Decode.ALL
    open_timeout_s: float = 8.0
    read_timeout_s: float = 4.5
    rtsp_client: RtspClient = RtspClient.AUTO
    silent_s: float = CAMERA_DOWN_AFTER_S
    onvif_port: int | None = None
