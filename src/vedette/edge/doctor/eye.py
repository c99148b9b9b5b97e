"""One camera, opened to look at by a person or by the doctor: the capture that the pipeline uses.

Here: the newest picture and plain facts about the stream. Not here: what is thought of them. The
rule: only the newest picture is held, whatever the camera sends.

Thread: the capture thread writes; one caller reads.
"""

import itertools
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from vedette.clock import NS_PER_S, Clock
from vedette.edge.capture import (
    CameraDown,
    CameraSays,
    CameraUp,
    CaptureSettings,
    CaptureSupervisor,
    EncodedPacket,
    Loss,
    RtspClient,
    SourceEnded,
)
from vedette.edge.frame import Frame
from vedette.edge.settings import Camera
from vedette.errors import ConfigError
from vedette.ids import CameraId

_CHECK_S: Final = 0.5
_MAX_MARKS: Final = 4096
_FINAL: Final = frozenset(
    {
        Loss.REFUSED,
        Loss.UNAUTHORISED,
        Loss.FORBIDDEN,
        Loss.NOT_FOUND,
        Loss.NO_VIDEO,
        Loss.NO_FILE,
        Loss.GARBAGE,
    }
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is known of a stream after having looked at it for a while.

    Attributes:
        codec: FFmpeg's name; empty before the first picture.
        picture_px: Width and height; None before the first picture.
        pictures: Decoded pictures that were handed over.
        rate_fps: Encoded pictures per second, by the stream's own times; None from too few.
        keyframe_s: Longest time between two keyframes; None where two were not seen.
        kbit_s: Bit rate of the stream; None from too little.
        first_picture_s: Seconds from opening to the first picture; None without one.
        undecodable: Packets of which no picture could be made.
        problem: Why there is no picture, in words without credentials; empty where there is one.
        ended: True where a file was read to its end.
    """

    codec: str = ""
    picture_px: tuple[int, int] | None = None
    pictures: int = 0
    rate_fps: float | None = None
    keyframe_s: float | None = None
    kbit_s: float | None = None
    first_picture_s: float | None = None
    undecodable: int = 0
    problem: str = ""
    ended: bool = False


@dataclass(slots=True)
class _Marks:
    packets_s: list[float] = field(default_factory=list)
    keyframes_s: list[float] = field(default_factory=list)
    bytes: int = 0


class Eye:
    """Opens a camera as a context; implements `capture.Sink`.

    Raises:
        ConfigError: The camera has no source.
    """

    def __init__(self, camera: Camera, clock: Clock, *, max_fps: float | None = None) -> None:
        if not camera.source:
            raise ConfigError(
                f"camera {camera.id!r} has no source yet",
                operator_hint="write `source` in edge.yaml, or wait for the signed site policy",
            )
        self._clock = clock
        self._capture = CaptureSupervisor(self, clock)
        self._capture.add(
            CaptureSettings(
                camera=CameraId(camera.id),
                source=camera.source,
                max_fps=max_fps or camera.max_fps,
                loop=camera.loop,
                rotate_deg=None if camera.rotate == "auto" else int(camera.rotate),
                rtsp_client=RtspClient(camera.rtsp_client),
            )
        )
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._taken = -1
        self._marks = _Marks()
        self._up: CameraUp | None = None
        self._down: CameraDown | None = None
        self._ended = False
        self._pictures = self._undecodable = 0
        self._opened_ns = clock.mono_ns()
        self._first_ns: int | None = None

    def __enter__(self) -> "Eye":
        self._opened_ns = self._clock.mono_ns()
        self._capture.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._capture.stop()

    def next(self, timeout_s: float) -> Frame | None:
        """Return a picture newer than the last returned one; None where none came in time.

        Returns at once where a file has ended or the camera said no.
        """
        until_ns = self._clock.mono_ns() + round(timeout_s * NS_PER_S)
        while True:
            with self._changed:
                self._changed.wait_for(self._is_news, min(timeout_s, _CHECK_S))
                frame = self._newest
                if frame is not None and frame.number > self._taken:
                    self._taken = frame.number
                    return frame
                if self._ended or self._is_refused():
                    return None
            self._capture.check()
            if self._clock.mono_ns() >= until_ns:
                return None

    def sighting(self) -> Sighting:
        """Return what is known of the stream so far."""
        with self._changed:
            marks = self._marks
            times = sorted(marks.packets_s)
            span_s = times[-1] - times[0] if len(times) > 1 else 0.0
            keys = sorted(marks.keyframes_s)
            gaps_s = [b - a for a, b in itertools.pairwise(keys)]
            first_s = None
            if self._first_ns is not None:
                first_s = (self._first_ns - self._opened_ns) / NS_PER_S
            return Sighting(
                codec=self._up.codec if self._up else "",
                picture_px=self._up.picture_px if self._up else None,
                pictures=self._pictures,
                rate_fps=(len(times) - 1) / span_s if span_s > 0.5 else None,
                keyframe_s=max(gaps_s) if gaps_s else None,
                kbit_s=marks.bytes * 8 / 1000 / span_s if span_s > 0.5 else None,
                first_picture_s=first_s,
                undecodable=self._undecodable,
                problem=self._problem(),
                ended=self._ended,
            )

    def _problem(self) -> str:
        if self._pictures or self._down is None:
            return "" if self._pictures else "no picture in the time given"
        detail, reason = self._down.detail, str(self._down.reason)
        return detail if detail.startswith(reason) else f"{reason}: {detail}".rstrip(": ")

    def _is_refused(self) -> bool:
        """True where waiting longer would change nothing."""
        down = self._down
        return not self._pictures and down is not None and down.reason in _FINAL

    def _is_news(self) -> bool:
        fresh = self._newest is not None and self._newest.number > self._taken
        return fresh or self._ended or self._is_refused()

    # -- capture.Sink

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """Note size and time of an encoded picture."""
        del camera
        with self._changed:
            marks = self._marks
            if len(marks.packets_s) >= _MAX_MARKS:
                return
            marks.packets_s.append(packet.t_s)
            marks.bytes += len(packet.data)
            if packet.keyframe:
                marks.keyframes_s.append(packet.t_s)

    def on_frame(self, frame: Frame) -> None:
        """Hold the newest picture."""
        with self._changed:
            self._newest = frame
            self._pictures += 1
            if self._first_ns is None:
                self._first_ns = self._clock.mono_ns()
            self._changed.notify_all()

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Count them."""
        del camera
        with self._changed:
            self._undecodable += count

    def on_state(self, state: CameraSays) -> None:
        """Note whether the camera gives pictures."""
        with self._changed:
            if isinstance(state, CameraUp):
                self._up = state
            elif isinstance(state, CameraDown):
                self._down = state
            elif isinstance(state, SourceEnded):
                self._ended = True
            self._changed.notify_all()
