"""The state of one camera across all its connections and threads.

Here: up or down and since when, the heartbeat, the counters, and the guard that keeps a thread that
was given up from speaking for the camera. Not here: threads and connections. The rule: every call
of a capture thread brings its generation, and what is not the current one changes nothing.

Thread: any; one lock, never held while the sink is called.
"""

import enum
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from vedette.clock import NS_PER_S, Clock
from vedette.edge.capture.packets import RAW_CODECS, EncodedPacket, StreamInfo
from vedette.edge.capture.seam import CameraDown, CameraUp, Loss, Sink, SourceEnded, SourceLost
from vedette.edge.frame import Frame
from vedette.ids import CameraId
from vedette.wire.streams import CAMERA_DOWN_AFTER_S

DOWN_AFTER_S: Final = CAMERA_DOWN_AFTER_S - 1.0
"""Without a picture for this long a camera is said to be down: a second earlier than the promise,
because `CaptureSupervisor.check` is called once a second."""


class Phase(enum.Enum):
    """What a capture thread is doing; only the first three can hang in native code."""

    OPENING = "opening"
    READING = "reading"
    DECODING = "decoding"
    DELIVERING = "delivering"
    WAITING = "waiting"
    FINISHED = "finished"


SILENT_AFTER_S: Final[dict[Phase, float]] = {
    Phase.OPENING: 2 * CAMERA_DOWN_AFTER_S,  # FFmpeg's own limit holds twice: connect and probe
    Phase.READING: CAMERA_DOWN_AFTER_S,
    Phase.DECODING: CAMERA_DOWN_AFTER_S,
}


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """One camera for the health report.

    Attributes:
        state: `starting`, `up`, `down` or `ended`.
        since_at: Since when.
        frames: Frames handed over since the start.
        opened: Connections that were made; reconnects are one less.
        abandoned: Threads given up because they hung.
    """

    camera: CameraId
    source: str
    state: str
    since_at: datetime
    reason: str
    packets: int
    packet_bytes: int
    frames: int
    undecodable: int
    opened: int
    abandoned: int
    last_frame_at: datetime | None
    codec: str
    picture_px: tuple[int, int] | None


class _State(enum.Enum):
    STARTING = "starting"
    UP = "up"
    DOWN = "down"
    ENDED = "ended"


@dataclass(slots=True)
class _Counts:
    packets: int = 0
    packet_bytes: int = 0
    frames: int = 0
    undecodable: int = 0
    opened: int = 0
    abandoned: int = 0


@dataclass(slots=True)
class _Beat:
    phase: Phase
    mono_ns: int


@dataclass(slots=True)
class _Last:
    """The last good frame; before the first one, the start."""

    at: datetime
    t_s: float
    mono_ns: int
    is_frame: bool = False
    codec: str = ""
    picture_px: tuple[int, int] | None = None
    reason: Loss | None = field(default=None)


class CameraFeed:
    """One camera's state and its one way to the sink."""

    def __init__(
        self,
        camera: CameraId,
        source: str,
        sink: Sink,
        clock: Clock,
        *,
        silent_s: float = CAMERA_DOWN_AFTER_S,
    ) -> None:
        self.camera = camera
        self._slow_s = silent_s - CAMERA_DOWN_AFTER_S
        self.source = source
        self._sink = sink
        self._clock = clock
        self._lock = threading.Lock()
        self._generation = 0
        self._state = _State.STARTING
        self._counts = _Counts()
        self._announced: tuple[float | None, str] = (None, "")
        now_ns = clock.mono_ns()
        self._last = _Last(clock.now_at(), now_ns / NS_PER_S, now_ns)
        self._since_at = self._last.at
        self._beat = _Beat(Phase.WAITING, now_ns)
        self._alive_mono_ns = now_ns

    # ------------------------------------------------------------------ said by the capture thread

    def new_generation(self) -> int:
        """Return the number of the thread that speaks for this camera from now on."""
        with self._lock:
            self._generation += 1
            self._beat = _Beat(Phase.WAITING, self._clock.mono_ns())
            return self._generation

    def beat(self, generation: int, phase: Phase) -> bool:
        """Note that the thread lives and what it begins; False where it was given up."""
        with self._lock:
            if generation != self._generation:
                return False
            now_ns = self._clock.mono_ns()
            if self._beat.phase is Phase.WAITING:  # that was no silence
                self._alive_mono_ns = now_ns
            self._beat = _Beat(phase, now_ns)
            return True

    def opened(self, generation: int, info: StreamInfo | None = None) -> None:
        """Count a connection, and keep what the stream says of itself."""
        with self._lock:
            if generation == self._generation:
                self._counts.opened += 1
                self._announced = (info.announced_fps, info.server) if info else (None, "")

    def packet(self, generation: int, packet: EncodedPacket, *, is_skipped: bool = False) -> None:
        """Pass a packet on; one that is not decoded by choice shows that the camera lives."""
        with self._lock:
            if generation != self._generation:
                return
            self._counts.packets += 1
            self._counts.packet_bytes += len(packet.data)
            if is_skipped:
                self._alive_mono_ns = packet.received_mono_ns
        if packet.info.codec not in RAW_CODECS:
            self._sink.on_packet(self.camera, packet)

    def undecodable(self, generation: int, count: int) -> None:
        """Pass a count of packets on of which no picture could be made."""
        with self._lock:
            if generation != self._generation or count <= 0:
                return
            self._counts.undecodable += count
        self._sink.on_undecodable(self.camera, count)

    def picture(self, generation: int, frame: Frame, codec: str) -> None:
        """Note a good picture, handed over or not; say `CameraUp` where the camera was not up."""
        up: CameraUp | None = None
        with self._lock:
            if generation != self._generation:
                return
            size = (frame.width, frame.height)
            self._last = _Last(
                frame.captured_at, frame.t_s, frame.captured_mono_ns, True, codec, size
            )
            if self._state is not _State.UP:
                self._state, self._since_at = _State.UP, frame.captured_at
                up = CameraUp(
                    self.camera,
                    frame.captured_at,
                    frame.t_s,
                    codec,
                    size,
                    self.source,
                    *self._announced,
                )
        if up:
            self._sink.on_state(up)

    def kept(self, generation: int, packet: EncodedPacket, at: datetime) -> None:
        """Note a packet of a stream that is not decoded: it alone shows that the camera is up."""
        up: CameraUp | None = None
        with self._lock:
            if generation != self._generation:
                return
            info = packet.info
            size = (info.width, info.height)
            self._last = _Last(at, packet.t_s, packet.received_mono_ns, True, info.codec, size)
            if self._state is not _State.UP:
                self._state, self._since_at = _State.UP, at
                up = CameraUp(
                    self.camera, at, packet.t_s, info.codec, size, self.source, *self._announced
                )
        if up:
            self._sink.on_state(up)

    def number_next(self, generation: int) -> int | None:
        """Return the next frame's number and count it; None where the thread was given up."""
        with self._lock:
            if generation != self._generation:
                return None
            self._counts.frames += 1
            return self._counts.frames - 1

    def frame(self, generation: int, frame: Frame) -> None:
        """Hand a frame over; blocks as long as the sink does."""
        with self._lock:
            if generation != self._generation:
                return
        self._sink.on_frame(frame)

    def lost(self, generation: int, problem: SourceLost) -> None:
        """Note that the connection is gone."""
        with self._lock:
            if generation != self._generation:
                return
            down = self._go_down(problem.reason, str(problem))
        if down:
            self._sink.on_state(down)

    def ended(self, generation: int, *, complete: bool, detail: str = "") -> None:
        """Note that a file was read to its end."""
        with self._lock:
            if generation != self._generation or self._state is _State.ENDED:
                return
            self._state, self._since_at = _State.ENDED, self._last.at
            said = SourceEnded(
                self.camera, self._last.at, self._last.t_s, self._counts.frames, complete, detail
            )
        self._sink.on_state(said)

    # ---------------------------------------------------------------------- said by the supervisor

    def say_down_if_silent(self) -> bool:
        """Say `CameraDown` where no picture came for `DOWN_AFTER_S`; True where it was said now.

        A file that waits for room in the pipeline, or for its own pace, is not silent. A slow
        camera is given as long as it is meant to take.
        """
        now_ns = self._clock.mono_ns()
        with self._lock:
            phase = self._beat.phase
            held = phase in (Phase.DELIVERING, Phase.FINISHED) or (
                phase is Phase.WAITING and self._state is _State.UP  # for its pace: else it is down
            )
            silent_s = (now_ns - max(self._last.mono_ns, self._alive_mono_ns)) / NS_PER_S
            if (
                self._state not in (_State.UP, _State.STARTING)
                or held
                or (silent_s < DOWN_AFTER_S + self._slow_s)
            ):
                return False
            down = self._go_down(Loss.SILENT, f"{Loss.SILENT}: {self._beat.phase.value}")
        if down:
            self._sink.on_state(down)
        return down is not None

    def hangs(self) -> bool:
        """True where the thread began something native too long ago."""
        now_ns = self._clock.mono_ns()
        with self._lock:
            limit_s = SILENT_AFTER_S.get(self._beat.phase)
            return limit_s is not None and (
                now_ns - self._beat.mono_ns > (limit_s + self._slow_s) * NS_PER_S
            )

    @property
    def is_finished(self) -> bool:
        """True where the thread ended because there is nothing left to do."""
        with self._lock:
            return self._beat.phase is Phase.FINISHED

    def note_abandoned(self) -> None:
        """Count a thread that was given up."""
        with self._lock:
            self._counts.abandoned += 1

    def status(self) -> CaptureStatus:
        """Return what the health report says."""
        with self._lock:
            counts, last = self._counts, self._last
            return CaptureStatus(
                camera=self.camera,
                source=self.source,
                state=self._state.value,
                since_at=self._since_at,
                reason=str(last.reason or ""),
                packets=counts.packets,
                packet_bytes=counts.packet_bytes,
                frames=counts.frames,
                undecodable=counts.undecodable,
                opened=counts.opened,
                abandoned=counts.abandoned,
                last_frame_at=last.at if last.is_frame else None,
                codec=last.codec,
                picture_px=last.picture_px,
            )

    def _go_down(self, reason: Loss, detail: str) -> CameraDown | None:
        if self._state is _State.ENDED:
            return None
        if self._state is _State.DOWN and (reason is self._last.reason or reason is Loss.SILENT):
            return None
        if self._state is not _State.DOWN:
            self._state, self._since_at = _State.DOWN, self._last.at
        self._last.reason = reason
        return CameraDown(
            self.camera, self._last.at, self._last.t_s, self._clock.now_at(), reason, detail
        )
