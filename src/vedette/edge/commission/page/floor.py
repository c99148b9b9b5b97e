"""Whose turn it is: one camera is commissioned at a time, in a thread of its own.

The rule: what was refused or broken off stores nothing; what was done is stored before it is said.
"""

import logging
import threading
from typing import Final, Protocol

import msgspec

from vedette.clock import Clock
from vedette.edge.commission.page.desk import WebDesk
from vedette.edge.commission.record import CommissionRecord, load, settings_digest
from vedette.edge.settings import Camera, EdgeConfig
from vedette.errors import VedetteError

_LOG = logging.getLogger(__name__)

MAX_BY_CHARS: Final = 60


class Take(Protocol):
    """Takes all steps at a desk and stores what came of them."""

    def __call__(self, camera: Camera, desk: WebDesk, by: str) -> CommissionRecord:
        """Return the record.

        Raises:
            VedetteError: The camera or its model gave nothing, or the desk was left.
        """
        ...


_BROKE: Final = "commissioning broke off by a fault of its own; nothing was stored"


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last commissioning ended early."""

    camera: str
    why: str
    hint: str


class CameraLine(msgspec.Struct, frozen=True, kw_only=True):
    """A camera in the list; `state` is `never`, `complete`, `incomplete` or `changed`."""

    camera: str
    name: str
    state: str
    record: CommissionRecord | None


class Floor:
    """The cameras of the device and the one that is being commissioned. Thread: any."""

    def __init__(self, config: EdgeConfig, clock: Clock, take: Take, *, clear: bool) -> None:
        """Prepare.

        Args:
            config: As it is in effect.
            clock: For the desks.
            take: What takes the steps.
            clear: Whether clear pictures may be shown on the site.
        """
        self._config: Final = config
        self._clock: Final = clock
        self._take: Final = take
        self.clear: Final = clear
        self._lock: Final = threading.Lock()
        self._desk: WebDesk | None = None
        self._thread: threading.Thread | None = None
        self.failed: Failed | None = None
        self.done: CommissionRecord | None = None

    @property
    def desk(self) -> WebDesk | None:
        """The desk of the camera that is being commissioned; None where none is."""
        with self._lock:
            return self._desk

    def cameras(self) -> list[CameraLine]:
        """Return every camera and what came of its last commissioning."""
        made: list[CameraLine] = []
        for camera in self._config.cameras:
            record = load(self._config.state_dir, camera.id)
            state = "never"
            if record is not None:
                state = "complete" if record.is_complete else "incomplete"
                if record.settings_sha256 != settings_digest(camera):
                    state = "changed"
            made.append(CameraLine(camera=camera.id, name=camera.name, state=state, record=record))
        return made

    def start(self, camera_id: str, by: str) -> bool:
        """Begin with a camera; False where there is no such one, or another is under way."""
        camera = next((one for one in self._config.cameras if one.id == camera_id), None)
        with self._lock:
            if camera is None or self._desk is not None:
                return False
            self.failed = self.done = None
            desk = self._desk = WebDesk(self._clock, camera, clear=self.clear)
            self._thread = threading.Thread(
                target=self._run,
                args=(camera, desk, by[:MAX_BY_CHARS]),
                name="commissioning",
                daemon=True,
            )
            self._thread.start()
        return True

    def stop(self) -> None:
        """Break off what is under way and wait until it has ended."""
        with self._lock:
            desk, thread = self._desk, self._thread
        if desk is not None:
            desk.close()
        if thread is not None:
            thread.join(timeout=20)

    def _run(self, camera: Camera, desk: WebDesk, by: str) -> None:
        done: CommissionRecord | None = None
        # What nobody foresaw is told too; the log has the rest.
        failed: Failed | None = Failed(
            camera=camera.id, why=_BROKE, hint="look at the device's terminal"
        )
        try:
            done, failed = self._take(camera, desk, by), None
        except VedetteError as error:
            failed = Failed(camera=camera.id, why=str(error), hint=error.operator_hint or "")
            _LOG.warning(
                "commissioning ended early: %s",
                error,
                extra={"event": "commission.failed", "camera": camera.id},
            )
        finally:
            desk.close()
            with self._lock:
                self.done, self.failed, self._desk = done, failed, None
