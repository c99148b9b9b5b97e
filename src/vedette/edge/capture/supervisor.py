"""All cameras of a device: their threads are started, watched, replaced and stopped here.

Here: which thread speaks for which camera. Not here: what a thread does. The rule: a thread that
hangs in native code cannot be killed; it is given up, its camera gets a new one at once, and after
too many the process as a whole has to be restarted from outside.
"""

import logging
import random
import threading
from collections.abc import Callable
from typing import Final

from vedette.clock import Clock
from vedette.edge.capture.feed import CameraFeed, CaptureStatus
from vedette.edge.capture.seam import Sink
from vedette.edge.capture.second import PacketsOnly, PicturesOnly, second_stream
from vedette.edge.capture.settings import CaptureSettings, Decode
from vedette.edge.capture.source import Source, make_source
from vedette.edge.capture.thread import CaptureThread
from vedette.errors import ConfigError
from vedette.ids import CameraId

_LOG = logging.getLogger(__name__)

MAX_ABANDONED: Final = 4
"""So many threads may hang at one time before the process has to be restarted."""

_JOIN_S: Final = 2.0

SourceMaker = Callable[[CaptureSettings, Clock], Source]


class _Camera:
    def __init__(self, settings: CaptureSettings, source: Source, feed: CameraFeed) -> None:
        self.settings = settings
        self.source = source
        self.feed = feed
        self.decode = settings.decode
        self.thread: CaptureThread | None = None
        self.second: _Camera | None = None

    @property
    def streams(self) -> "list[_Camera]":
        """The camera itself, and the stream for clips where there is one."""
        return [self, self.second] if self.second else [self]


class CaptureSupervisor:
    """Every camera's capture. Thread: any; `check` from one thread, about once a second."""

    def __init__(
        self,
        sink: Sink,
        clock: Clock,
        *,
        make: SourceMaker = make_source,
        rng: random.Random | None = None,
        max_abandoned: int = MAX_ABANDONED,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._make = make
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._max_abandoned = max_abandoned
        self._cameras: dict[CameraId, _Camera] = {}
        self._abandoned: list[CaptureThread] = []
        self._lock = threading.Lock()
        self._running = False

    def add(self, settings: CaptureSettings) -> None:
        """Take one more camera; it begins with `start`, or at once where that was called already.

        Raises:
            ConfigError: A camera of this name is there already.
        """
        source = self._make(settings, self._clock)
        with self._lock:
            if settings.camera in self._cameras:
                raise ConfigError(f"camera {settings.camera!r} stands twice")
            sink = PicturesOnly(self._sink) if settings.evidence_source else self._sink
            camera = self._cameras[settings.camera] = self._camera(settings, source, sink)
            if settings.evidence_source:
                second = second_stream(settings)
                source = self._make(second, self._clock)
                camera.second = self._camera(second, source, PacketsOnly(self._sink))
            if self._running:
                for stream in camera.streams:
                    self._launch(stream)

    def start(self) -> None:
        """Begin capturing; returns at once, whether any camera answers or not."""
        with self._lock:
            self._running = True
            for stream in self._streams():
                if stream.thread is None:
                    self._launch(stream)

    def check(self) -> None:
        """Say which cameras are down, and replace the threads that hang."""
        with self._lock:
            streams = self._streams() if self._running else []
        for camera in streams:
            camera.feed.say_down_if_silent()
            if camera.feed.hangs():
                self._replace(camera)
            elif camera.thread and not camera.thread.is_alive and not camera.feed.is_finished:
                self._revive(camera)

    @property
    def needs_process_restart(self) -> bool:
        """True where so many threads hang that only a new process helps."""
        with self._lock:
            self._abandoned = [thread for thread in self._abandoned if thread.is_alive]
            return len(self._abandoned) >= self._max_abandoned

    def set_decode(self, camera: CameraId, mode: Decode) -> None:
        """Decode this camera by `mode` from its next packet on."""
        self._cameras[camera].decode = mode

    def status(self) -> list[CaptureStatus]:
        """Return the state of every camera."""
        with self._lock:
            cameras = list(self._cameras.values())
        return [camera.feed.status() for camera in cameras]

    @property
    def has_ended(self) -> bool:
        """True where every source is a file that was read to its end."""
        states = self.status()
        return bool(states) and all(status.state == "ended" for status in states)

    def remove(self, camera: CameraId) -> None:
        """Stop one camera and forget it."""
        with self._lock:
            gone = self._cameras.pop(camera)
        for stream in gone.streams:
            self._stop_one(stream)

    def stop(self) -> None:
        """Stop every thread that still obeys; returns after `_JOIN_S` at most per hanging one."""
        with self._lock:
            self._running = False
            streams = self._streams()
        for stream in streams:
            if stream.thread:
                stream.thread.ask_stop()
        for stream in streams:
            self._stop_one(stream)

    def _camera(self, settings: CaptureSettings, source: Source, sink: Sink) -> _Camera:
        feed = CameraFeed(
            settings.camera, source.name, sink, self._clock, silent_s=settings.silent_s
        )
        return _Camera(settings, source, feed)

    def _streams(self) -> list[_Camera]:
        return [stream for camera in self._cameras.values() for stream in camera.streams]

    def _launch(self, camera: _Camera) -> None:
        camera.thread = CaptureThread(
            camera.settings,
            camera.source,
            camera.feed,
            self._clock,
            rng=self._rng,
            decode=lambda: camera.decode,
        )
        camera.thread.start()

    def _replace(self, camera: _Camera) -> None:
        with self._lock:
            if not self._running or camera.thread is None:
                return
            camera.thread.ask_stop()
            self._abandoned.append(camera.thread)
            camera.feed.note_abandoned()
            self._launch(camera)
        _LOG.error(
            "camera %s: its thread hangs and was given up",
            camera.settings.camera,
            extra={"event": "capture.thread_abandoned", "camera": camera.settings.camera},
        )

    def _revive(self, camera: _Camera) -> None:
        """Start a new thread for one that died of an error nobody expected."""
        with self._lock:
            if not self._running:
                return
            self._launch(camera)
        _LOG.error(
            "camera %s: its thread died and was started again",
            camera.settings.camera,
            extra={"event": "capture.thread_died", "camera": camera.settings.camera},
        )

    def _stop_one(self, camera: _Camera) -> None:
        thread = camera.thread
        if thread is None:
            return
        thread.ask_stop()
        if not thread.join(_JOIN_S):
            camera.feed.new_generation()  # it hangs: whatever it says later is for nobody
