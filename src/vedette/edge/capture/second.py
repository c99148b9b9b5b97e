"""A camera's second stream: its packets are kept for clips while the first one is analysed.

Here: which of the two streams says what to the pipeline. Not here: the thread that reads it, which
is the same as for any other stream, told to decode nothing. The rule: the second stream never takes
the camera down; that it is gone is said, and clips of that time say so too.

Both streams are placed on the same timeline, the monotonic clock's, each by the arrival of its own
freshest packet. What differs between them is what the camera needs longer for one of them, and
where FFmpeg's RTSP client reads one the picture that its parser holds back (`docs/capture.md`).

Thread: any; nothing is kept here.
"""

from dataclasses import replace
from typing import Final

from vedette.edge.capture.packets import EncodedPacket
from vedette.edge.capture.seam import (
    CameraDown,
    CameraSays,
    CameraUp,
    EvidenceStream,
    Sink,
    SourceEnded,
)
from vedette.edge.capture.settings import CaptureSettings, Decode
from vedette.edge.frame import Frame
from vedette.ids import CameraId
from vedette.wire.streams import CAMERA_DOWN_AFTER_S


def second_stream(settings: CaptureSettings) -> CaptureSettings:
    """Return how the second stream of a camera is read."""
    return replace(
        settings,
        source=settings.evidence_source,
        evidence_source="",
        decode=Decode.NOTHING,
        max_fps=None,
        silent_s=CAMERA_DOWN_AFTER_S,  # however rarely the first one is looked at
    )


class PicturesOnly:
    """The first stream's way to the pipeline, where a second one brings the packets."""

    def __init__(self, sink: Sink) -> None:
        self._sink: Final = sink

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """Leave it: the other stream is the one that is kept."""

    def on_frame(self, frame: Frame) -> None:
        """Pass it on."""
        self._sink.on_frame(frame)

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Pass it on."""
        self._sink.on_undecodable(camera, count)

    def on_state(self, state: CameraSays) -> None:
        """Pass it on."""
        self._sink.on_state(state)


class PacketsOnly:
    """The second stream's way to the pipeline."""

    def __init__(self, sink: Sink) -> None:
        self._sink: Final = sink

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """Pass it on."""
        self._sink.on_packet(camera, packet)

    def on_frame(self, frame: Frame) -> None:
        """Nothing is decoded here."""

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Nothing is decoded here."""

    def on_state(self, state: CameraSays) -> None:
        """Say that it came or went, as what it is: not the camera."""
        if isinstance(state, CameraUp):
            said = EvidenceStream(state.camera, state.at, state.t_s, up=True)
        elif isinstance(state, CameraDown):
            said = EvidenceStream(state.camera, state.at, state.t_s, up=False, detail=state.detail)
        elif isinstance(state, SourceEnded):
            detail = "its file was read to the end"
            said = EvidenceStream(state.camera, state.at, state.t_s, up=False, detail=detail)
        else:
            said = state
        self._sink.on_state(said)
