"""Attends to what central wants of this device: new desired state, and requests of an operator.

Asks only when an answer to a report said that something changed; long polls only while an operator
looks. A picture is asked of the pipeline only where the site's signed policy lets one leave, and at
the size it says; then it is sent once.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from vedette.clock import Clock
from vedette.edge import requests
from vedette.edge.clips import ClipSender
from vedette.edge.desired import DesiredStore
from vedette.edge.diagnostics.answering import Answerer
from vedette.edge.holding import HoldKeeper
from vedette.errors import ReportRejected, TrustError, VedetteError
from vedette.ids import is_slug
from vedette.wire import holds
from vedette.wire.enrol import Desired, Request
from vedette.wire.envelope import UpAnswer
from vedette.wire.evidence import EVIDENCE
from vedette.wire.signed import Signed

log = logging.getLogger(__name__)

LONG_POLL_S: Final = 50.0
PICTURE_POLL_S: Final = 0.5
IDLE_S: Final = 60.0
PAUSE_S: Final = 2.0
MAX_DONE: Final = 256


class Central(Protocol):
    """The part of `CentralClient` that is used here."""

    def desired(self, etag: str, wait_s: float = 0.0) -> Desired | None:
        """Return the desired state; None where it still is `etag`."""
        ...

    def thumbnail(self, request: str, jpeg: bytes) -> None:
        """Send a picture."""
        ...

    def rotate_key(self) -> str:
        """Have another key speak for this device."""
        ...


class Attendant:
    """Thread: `run` on its own; `look` and `take_change` any."""

    def __init__(
        self,
        state_dir: Path,
        store: DesiredStore,
        central: Central,
        clock: Clock,
        answerer: Answerer | None = None,
        *,
        clips: ClipSender | None = None,
        assigned: Callable[[Signed], None] = lambda _signed: None,
        keeper: HoldKeeper | None = None,
    ) -> None:
        self._state_dir: Final = state_dir
        self._store: Final = store
        self._central: Final = central
        self._clock: Final = clock
        self._answerer: Final = answerer
        self._clips: Final = clips
        self._assigned: Final = assigned
        self._holds: Final = keeper
        self._lock: Final = threading.Lock()
        self._wanted: Final = threading.Event()
        self._attend = False
        self._asks = False
        self._rotates = False
        self._change = ""
        self._open: dict[str, Request] = {}
        self._done: dict[str, None] = {}
        self._is_listening = False
        self._is_ending = False

    def look(self, answer: UpAnswer) -> None:
        """Take note of central's answer to a report."""
        self._attend = answer.attend
        if answer.attend or (answer.desired_etag and answer.desired_etag != self._store.etag):
            self._asks = True
            self._wanted.set()

    def take_change(self) -> str:
        """Return, once, why the pipeline must take over a new configuration; empty where not."""
        with self._lock:
            change, self._change = self._change, ""
            return change

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`; `wake` ends a wait, and nobody needs to wait for a long poll."""
        while not stop.is_set():
            self._clock.wait(self._wanted, PICTURE_POLL_S if self._open else IDLE_S)
            self._wanted.clear()
            if stop.is_set():
                return
            answered = self.step()
            self._clock.wait(stop, PICTURE_POLL_S if answered else PAUSE_S)

    def wake(self) -> None:
        """End a wait, to stop; what a long poll still brings is not taken."""
        self._is_ending = True
        self._wanted.set()

    @property
    def is_listening(self) -> bool:
        """True while a long poll is all that this does: it may be left alone, nothing is lost."""
        return self._is_listening

    def step(self) -> bool:
        """Do what is wanted now; False where central did not answer."""
        try:
            self._send_pictures()
            if self._asks:
                self._ask()
            if self._holds is not None:
                self._holds.step()
            if self._rotates:
                self._rotate()
        except VedetteError as error:
            log.info(
                "desired state or picture waits",
                extra={"event": "attendant.waits", "reason": str(error)},
            )
            self._wanted.set()
            return False
        return True

    # ------------------------------------------------------------------------------- internals

    def _ask(self) -> None:
        """Read the desired state; hold the line while an operator looks and nothing is owed."""
        wait_s = LONG_POLL_S if self._attend and not self._open else 0.0
        self._is_listening = wait_s > 0
        try:
            desired = self._central.desired(self._store.etag, wait_s)
            if self._is_ending:
                return
        finally:
            self._is_listening = False
        self._asks = self._attend
        if desired is not None:
            self._take(desired)
        if self._attend and not self._open:
            self._wanted.set()

    def _rotate(self) -> None:
        """Change the key, as central asked; a refusal waits until it asks again.

        Raises:
            UplinkError: Central did not answer; it is tried again.
        """
        try:
            keyid = self._central.rotate_key()
        except (TrustError, ReportRejected) as error:
            log.warning(
                "the key was not changed",
                extra={"event": "attendant.not_rotated", "reason": str(error)},
            )
        else:
            log.info("the key was changed", extra={"event": "attendant.rotated", "keyid": keyid})
        self._rotates = False

    def _take(self, desired: Desired) -> None:
        self._rotates = desired.rotate_key
        try:
            if self._store.apply(desired):
                with self._lock:
                    self._change = "the configuration changed"
        except OSError as error:
            log.warning(
                "desired state not kept",
                extra={"event": "attendant.not_kept", "reason": str(error)},
            )
        if desired.assignment is not None:
            self._assigned(desired.assignment)
        for request in desired.requests[: requests.MAX_OPEN]:
            name = request.request
            is_new = name not in self._open and name not in self._done
            # The name becomes a file's: central may not choose where.
            if request.kind in requests.KINDS and is_new and is_slug(name):
                self._hand_over(request)
            elif request.kind == EVIDENCE and self._clips is not None:
                self._clips.take(request)
            elif request.kind in holds.FORMS and self._holds is not None:
                self._holds.take(request)
            elif self._answerer is not None:
                self._answerer.take(request)

    def _hand_over(self, request: Request) -> None:
        """Ask the pipeline for a picture where the site's policy allows one."""
        pixels = self._store.effective.pixels
        if not pixels.thumbnails:
            self._finish(request.request)
            log.info(
                "thumbnail refused: the site's policy lets none leave",
                extra={"event": "attendant.thumbnail_refused", "camera": request.camera},
            )
            return
        wanted = requests.ThumbnailRequest(
            request=request.request,
            camera=request.camera,
            width_px=pixels.thumbnail_px,
            expires_ms=request.expires_ms,
            kind=request.kind,
        )
        try:
            requests.ask(self._state_dir, wanted)
        except (OSError, ValueError) as error:
            log.warning(
                "request not taken", extra={"event": "attendant.request", "reason": str(error)}
            )
            return
        self._open[request.request] = request

    def _send_pictures(self) -> None:
        """Send what the pipeline made; forget what has no picture or waited too long.

        Raises:
            UplinkError: Central did not answer; the picture is kept until it expires.
        """
        now_ms = round(self._clock.now_at().timestamp() * 1000)
        for name, request in list(self._open.items()):
            answer = requests.answered(self._state_dir, name)
            if answer is None and not 0 < request.expires_ms < now_ms:
                continue
            if answer is None or answer[0] is None:
                why = "expired" if answer is None else answer[1]
                log.info(
                    "no thumbnail", extra={"event": "attendant.no_thumbnail", "reason": why[:200]}
                )
            elif self._store.effective.pixels.thumbnails:  # the policy may have changed meanwhile
                self._central.thumbnail(name, answer[0])
            self._finish(name)

    def _finish(self, name: str) -> None:
        requests.forget(self._state_dir, name)
        self._open.pop(name, None)
        self._done[name] = None
        while len(self._done) > MAX_DONE:
            self._done.pop(next(iter(self._done)))
