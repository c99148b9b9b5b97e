"""One source, looked at by hand: the first five minutes with Vedette.

The same pipeline as on a device, without spool, agent or central: what is seen here is what a
device would report. A file is read as fast as the machine allows and no frame is dropped; a camera
is live.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import msgspec
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from vedette.clock import Clock, wall_ms
from vedette.edge.address import is_live
from vedette.edge.assembly import Assembly
from vedette.edge.capture import Pace
from vedette.edge.frame import Frame
from vedette.edge.models import Models, worker_count
from vedette.edge.pipeline import Pipeline
from vedette.edge.settings import Camera, EdgeConfig
from vedette.errors import EvidenceError
from vedette.stats.sketch import ExpHistogram
from vedette.vision.tracking import Tracks
from vedette.wire.messages import CameraState, EventKind, EventReport, Frames, State

CAMERA: Final = "watch"
CODEC: Final = "libvpx-vp9"
"""For annotated copies: BSD-licensed, plays in browsers. PyAV's wheels carry x264, which is GPL."""

_COLOURS: Final = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66))
_TICK_S: Final = 0.25


@dataclass(slots=True)
class Totals:
    """What happened at one line or zone so far.

    Attributes:
        told: How many events of each kind; of a line by the direction, forward or backward.
        stay_s: Seconds inside of those who were seen leaving a zone.
    """

    told: Counter[str] = field(default_factory=Counter)
    stay_s: ExpHistogram = field(default_factory=ExpHistogram)


@dataclass(slots=True)
class Seen:
    """What was seen so far. Thread: guarded by `Watch`'s lock."""

    frames: Frames = field(default_factory=Frames)
    now: Counter[str] = field(default_factory=Counter)
    tracks: dict[str, set[int]] = field(default_factory=dict)
    events: deque[EventReport] = field(default_factory=lambda: deque(maxlen=200))
    event_count: int = 0
    states: list[CameraState] = field(default_factory=list)
    stage_ms: dict[str, ExpHistogram] = field(default_factory=dict)
    elapsed_s: float = 0.0
    picture_px: tuple[int, int] | None = None
    lines: dict[str, Totals] = field(default_factory=dict)
    zones: dict[str, Totals] = field(default_factory=dict)


class Watch:
    """Runs one source until it ends, `stop` is set or `duration_s` has passed."""

    def __init__(
        self,
        config: EdgeConfig,
        models: Models,
        clock: Clock,
        *,
        annotate: Path | None = None,
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.seen = Seen()
        camera = config.cameras[0]
        self.seen.lines = {line.name: Totals() for line in camera.lines}
        self.seen.zones = {zone.name: Totals() for zone in camera.zones}
        self._live = live = is_live(camera.source)
        assembly = Assembly(config, models, clock, emit=self._take, evidence=None)
        pace = Pace.REAL_TIME if live else Pace.AS_FAST_AS_POSSIBLE
        self._painter = Painter(annotate, camera) if annotate else None
        plans = assembly.plans(pace=pace, observer=self._observe)
        self._lane = plans[0].lane
        self._labels = plans[0].serving.now.model.labels
        self._pipeline = Pipeline(
            plans,
            workers=worker_count(config),
            deadline_ms=config.pipeline.deadline_ms,
            clock=clock,
        )

    def run(
        self,
        stop: threading.Event,
        *,
        duration_s: float | None,
        show: Callable[[Seen], None] = lambda _seen: None,
    ) -> Seen:
        """Return what was seen; `show` is called a few times a second.

        Raises:
            EvidenceError: The annotated copy cannot be written.
        """
        started_ns = self._clock.mono_ns()
        ended = False
        self._pipeline.start()
        try:
            while not ended and not self._clock.wait(stop, _TICK_S):
                self._pipeline.capture.check()
                elapsed_s = (self._clock.mono_ns() - started_ns) / 1e9
                over = duration_s is not None and elapsed_s >= duration_s
                ended = over or self._is_read() or self._is_hopeless()
                self._count(elapsed_s)
                show(self.seen)
        finally:
            self._pipeline.stop()
            self._count((self._clock.mono_ns() - started_ns) / 1e9)
            if self._painter:
                self._painter.close()
        return self.seen

    def events_since(self, count: int) -> tuple[list[EventReport], int]:
        """Return the kept events after the first `count`, and how many there are by now.

        Thread: any; nothing is told twice or passed over while events come in.
        """
        with self._lock:
            new = self.seen.event_count - count
            return list(self.seen.events)[-new:] if new else [], self.seen.event_count

    def _is_read(self) -> bool:
        """True where a file was read to its end and every frame of it was looked at."""
        return self._pipeline.capture.has_ended and self._pipeline.depth(CAMERA) == 0

    def _is_hopeless(self) -> bool:
        """True where a source gives nothing: a file never will; a camera that did may come back."""
        with self._lock:
            waits = self._live and self.seen.frames.captured > 0
            return not waits and any(s.state is State.DOWN for s in self.seen.states)

    def _count(self, elapsed_s: float) -> None:
        health = self._lane.health(wall_ms(self._clock.now_at()), 0)
        with self._lock:
            self.seen.frames = _plus(self.seen.frames, health.frames)
            self.seen.elapsed_s = elapsed_s
            for stage, sketch in health.stage_ms.items():
                mine = self.seen.stage_ms.setdefault(stage, ExpHistogram())
                mine.merge(ExpHistogram.from_wire(sketch))

    def _take(self, message: msgspec.Struct) -> None:
        with self._lock:
            if isinstance(message, EventReport):
                self.seen.events.append(message)
                self.seen.event_count += 1
                self._add_up(message)
            elif isinstance(message, CameraState):
                self.seen.states.append(message)

    def _add_up(self, event: EventReport) -> None:
        """Count what happened at a line or in a zone; the lock is held."""
        if event.kind is EventKind.LINE_CROSSED:
            if line := self.seen.lines.get(event.where):
                line.told[event.direction] += 1
        elif zone := self.seen.zones.get(event.where):
            zone.told[event.kind] += 1
            if event.kind is EventKind.ZONE_LEFT and event.dwell_s is not None:
                zone.stay_s.add(event.dwell_s)

    def _observe(self, frame: Frame, tracks: Tracks, events: Sequence[EventReport]) -> None:
        sure = tracks.where(tracks.confirmed)
        names = [self._labels[int(class_id)] for class_id in sure.class_id]
        with self._lock:
            self.seen.now = Counter(names)
            self.seen.picture_px = (frame.width, frame.height)
            for name, track in zip(names, sure.track_id.tolist(), strict=True):
                self.seen.tracks.setdefault(name, set()).add(track)
        if self._painter:
            self._painter.paint(frame, sure, names, events)


class Painter:
    """Writes an annotated copy. Thread: called in order, under the lane's lock."""

    def __init__(self, path: Path, camera: Camera) -> None:
        self._path = path
        self._camera = camera
        self._flash: deque[tuple[float, str]] = deque(maxlen=4)
        self._out: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._zero_s = 0.0
        self._last_pts = -1

    def paint(
        self, frame: Frame, tracks: Tracks, names: list[str], events: Sequence[EventReport]
    ) -> None:
        """Draw one frame and encode it.

        Raises:
            EvidenceError: The file cannot be written.
        """
        picture = frame.picture.to_bgr()
        self._shapes(picture)
        for box, name, track in zip(
            tracks.boxes_xyxy.astype(int), names, tracks.track_id.tolist(), strict=True
        ):
            colour = _COLOURS[track % len(_COLOURS)][::-1]
            cv2.rectangle(picture, box[:2].tolist(), box[2:].tolist(), colour, 2, cv2.LINE_AA)
            _text(picture, f"{name} {track}", (int(box[0]), int(box[1]) - 4), colour)
        for event in events:
            what = f"{event.kind} {event.where} {event.direction}".strip()
            self._flash.append((frame.t_s, what))
        shown = [text for at_s, text in self._flash if frame.t_s - at_s < 2.0]
        for row, text in enumerate(shown):
            _text(picture, text, (8, 20 + 18 * row), (255, 255, 255))
        self._encode(picture, frame.t_s)

    def close(self) -> None:
        """Finish the file."""
        if self._out is None or self._stream is None:
            return
        try:
            self._out.mux(self._stream.encode(None))
            self._out.close()
        except (FFmpegError, OSError) as error:
            raise _unwritable(self._path, error) from error

    def _shapes(self, picture: npt.NDArray[np.uint8]) -> None:
        height, width = picture.shape[:2]

        def to_px(p: tuple[float, float]) -> tuple[int, int]:
            return round(p[0] * width), round(p[1] * height)

        for zone in self._camera.zones:
            corners = np.array([to_px(p) for p in zone.polygon], np.int32)
            cv2.polylines(picture, [corners], isClosed=True, color=(180, 180, 180), thickness=1)
            _text(picture, zone.name, to_px(zone.polygon[0]), (180, 180, 180))
        for line in self._camera.lines:
            cv2.arrowedLine(picture, to_px(line.a), to_px(line.b), (200, 200, 200), 1)
            _text(picture, line.name, to_px(line.a), (200, 200, 200))

    def _encode(self, picture: npt.NDArray[np.uint8], t_s: float) -> None:
        height, width = picture.shape[0] & ~1, picture.shape[1] & ~1
        try:
            out, stream = self._open(width, height, t_s)
            video = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture[:height, :width]), format="bgr24"
            )
            if (width, height) != (stream.width, stream.height):
                video = video.reformat(stream.width, stream.height)
            self._last_pts = max(self._last_pts + 1, round((t_s - self._zero_s) * 1000))
            video.pts, video.time_base = self._last_pts, Fraction(1, 1000)
            out.mux(stream.encode(video))
        except (FFmpegError, OSError) as error:
            raise _unwritable(self._path, error) from error

    def _open(self, width: int, height: int, t_s: float) -> tuple[OutputContainer, VideoStream]:
        """Return the file and its stream, opened with the first frame's size."""
        if self._out is None or self._stream is None:
            self._zero_s = t_s
            self._out = av.open(str(self._path), "w", format="mp4")
            options = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1"}
            self._stream = self._out.add_stream(CODEC, rate=30, options=options)
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
            self._stream.bit_rate = 2_000_000
            self._stream.codec_context.time_base = Fraction(1, 1000)
        return self._out, self._stream


def _unwritable(path: Path, error: Exception) -> EvidenceError:
    return EvidenceError(
        f"cannot write {path}: {error}", operator_hint="choose a folder with room, ending in .mp4"
    )


def _text(
    picture: npt.NDArray[np.uint8],
    text: str,
    at_px: tuple[int, int],
    colour: tuple[int, ...],
) -> None:
    """Write text on a dark plate, readable on anything."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (width, height), below = cv2.getTextSize(text, font, scale, 1)
    x, y = at_px
    cv2.rectangle(picture, (x, y - height - 2), (x + width, y + below), (20, 20, 20), cv2.FILLED)
    cv2.putText(picture, text, at_px, font, scale, colour, 1, cv2.LINE_AA)


def _plus(a: Frames, b: Frames) -> Frames:
    """Return the sum of two readings."""
    dropped = dict(a.dropped)
    for cause, n in b.dropped.items():
        dropped[cause] = dropped.get(cause, 0) + n
    return Frames(
        captured=a.captured + b.captured,
        analysed=a.analysed + b.analysed,
        gated=a.gated + b.gated,
        dropped=dropped,
    )
