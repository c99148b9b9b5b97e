"""From a camera or file to encoded packets and decoded frames; lost streams are found and retried.

    supervisor = CaptureSupervisor(sink, clock)
    supervisor.add(CaptureSettings(camera=CameraId("door"), source="rtsp://…", max_fps=5))
    supervisor.start()
    ...                               # once a second, from any thread:
    supervisor.check()                # finds silent threads, says CameraDown within 10 s
    supervisor.needs_process_restart  # True once too many native calls hang for good
    supervisor.stop()

`supervisor.status()` gives one `CaptureStatus` per camera for the health report, and
`supervisor.set_decode(camera, Decode.KEYFRAMES)` saves work while nothing moves.

Where things are: `seam` what is said to the pipeline · `packets` what the ring keeps · `source`
where packets come from · `rtsp` the own RTSP client · `timeline` their times · `decode` pictures ·
`thread` the loop of one connection after another · `feed` the state of one camera · `second` a
stream for clips only · `supervisor` all of them.

The rule: one thread per camera, and it may die or hang at any call into native code without any
other camera noticing. Nothing here knows what is looked for in a picture.
"""

from vedette.edge.capture.feed import CaptureStatus
from vedette.edge.capture.packets import EncodedPacket, StreamInfo
from vedette.edge.capture.seam import (
    CameraDown,
    CameraSays,
    CameraUp,
    EvidenceStream,
    Loss,
    Sink,
    SourceEnded,
    SourceLost,
)
from vedette.edge.capture.settings import CaptureSettings, Decode, Pace, RtspClient
from vedette.edge.capture.supervisor import CaptureSupervisor

__all__ = [
    "CameraDown",
    "CameraSays",
    "CameraUp",
    "CaptureSettings",
    "CaptureStatus",
    "CaptureSupervisor",
    "Decode",
    "EncodedPacket",
    "EvidenceStream",
    "Loss",
    "Pace",
    "RtspClient",
    "Sink",
    "SourceEnded",
    "SourceLost",
    "StreamInfo",
]
