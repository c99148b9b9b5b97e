"""Clips that an operator asked for, on their way to central: one at a time, a part after the other.

Here: which request is next, what has been sent, and when to stop. What may leave is decided by
`edge.evidence.leaving` from the site's policy, again before each part. The rules: parts keep to the
cap that holds for the backlog, and each is at most a second's worth of it, so that no alert waits
behind one; nothing is kept here across a restart, because central says how far it is; every request
ends in the whole clip or in a reason.

Thread: `run` on its own; `take` and `wake` any.
"""

import logging
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from vedette.clock import Clock, wall_ms
from vedette.edge.bandwidth import Bandwidth
from vedette.edge.desired import DesiredStore
from vedette.edge.evidence import facts
from vedette.edge.evidence.leaving import GONE, STAYS, Leaving, Stays, form_of, leaving
from vedette.errors import EvidenceError, NotAllowed, ReportRejected, VedetteError
from vedette.ids import is_slug
from vedette.wire.diagnostics import Refusal
from vedette.wire.enrol import Request
from vedette.wire.evidence import (
    BLURRED_POSTER,
    MAX_PART_BYTES,
    BlobFile,
    Offer,
    Standing,
    Taken,
    signature_of,
)

log = logging.getLogger(__name__)

FOLDER: Final = "evidence"
MAX_WAITING: Final = 16
MAX_DONE: Final = 256
IDLE_S: Final = 60.0
RETRY_S: Final = 5.0
LATER_S: Final = 15.0
"""Until a clip that is being packed or blurred is looked at again."""

MAX_SETBACKS: Final = 5
"""So often central may have another length than we think, without a byte of progress."""


class Central(Protocol):
    """The part of `CentralClient` that is used here."""

    def offer(self, request: str, offer: Offer) -> Standing:
        """Say which files come; return how much of each central has."""
        ...

    def withhold(self, request: str, why: Refusal) -> None:
        """Say why none come."""
        ...

    def put_part(self, sha256: str, start: int, part: bytes, total: int) -> Taken:
        """Send a part of a file that was offered."""
        ...


@dataclass(slots=True)
class _Sending:
    """One request being answered; `have` is None until central said how far it is."""

    request: Request
    what: Leaving
    have: dict[str, int] | None = None
    setbacks: int = 0


@dataclass(slots=True)
class _Queue:
    waiting: dict[str, Request] = field(default_factory=dict)
    not_before_ns: dict[str, int] = field(default_factory=dict)
    done: dict[str, None] = field(default_factory=dict)


class ClipSender:
    """Sends what was asked for and may leave."""

    def __init__(
        self,
        state_dir: Path,
        store: DesiredStore,
        central: Central,
        clock: Clock,
        bandwidth: Bandwidth,
    ) -> None:
        self._root: Final = state_dir / FOLDER
        self._store: Final = store
        self._central: Final = central
        self._clock: Final = clock
        self._bandwidth: Final = bandwidth
        self._lock: Final = threading.Lock()
        self._wanted: Final = threading.Event()
        self._queue: Final = _Queue()
        self._now: _Sending | None = None

    def take(self, request: Request) -> None:
        """Have a request answered when it can be; one that is known, or makes no sense, is not."""
        if not is_slug(request.request) or not is_slug(request.evidence):
            return
        with self._lock:
            queue = self._queue
            known = request.request in queue.waiting or request.request in queue.done
            if known or len(queue.waiting) >= MAX_WAITING:
                return
            queue.waiting[request.request] = request
        self._wanted.set()

    @property
    def is_busy(self) -> bool:
        """True while a request is waited for or being answered."""
        with self._lock:
            return bool(self._queue.waiting)

    def wake(self) -> None:
        """End a wait, to stop."""
        self._wanted.set()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`."""
        while not stop.is_set():
            pause_s = self.step()
            self._clock.wait(self._wanted, pause_s)
            self._wanted.clear()

    def step(self) -> float:
        """Send one part, or begin or end a clip; return the seconds until the next may go."""
        self._drop_expired()
        if self._now is None and not self._begin():
            return IDLE_S if not self._queue.waiting else LATER_S
        one = self._now
        if one is None:
            return 0.0
        try:
            return self._go_on(one)
        except Stays as why:
            return self._withhold(one.request, str(why))
        except EvidenceError:
            return self._withhold(one.request, GONE)
        except ReportRejected as error:
            return self._set_back(one, error)
        except NotAllowed as error:  # nobody waits for it any more
            log.info(
                "central does not take a clip",
                extra={"event": "clips.not_taken", "reason": str(error)},
            )
            self._finish(one.request.request)
        except VedetteError as error:
            log.info("a clip waits", extra={"event": "clips.waits", "reason": str(error)})
            one.have = None  # central may have kept less, or more, than it could say
            return RETRY_S
        return 0.0

    # ------------------------------------------------------------------------------- internals

    def _begin(self) -> bool:
        """Take up the first request that is due; False where there is none."""
        now_ns = self._clock.mono_ns()
        with self._lock:
            due = [
                request
                for name, request in self._queue.waiting.items()
                if self._queue.not_before_ns.get(name, 0) <= now_ns
            ]
        for request in due:
            try:
                pixels = self._store.effective.pixels
                self._now = _Sending(request, leaving(self._root, request.evidence, pixels))
            except Stays as why:
                if why.may_come:
                    self._put_off(request, LATER_S)
                    continue
                self._withhold(request, str(why))
            return True
        return False

    def _put_off(self, request: Request, seconds: float) -> None:
        later_ns = self._clock.mono_ns() + round(seconds * 1e9)
        with self._lock:
            self._queue.not_before_ns[request.request] = later_ns

    def _go_on(self, one: _Sending) -> float:
        """Send the next part.

        Raises:
            Stays: The policy was changed meanwhile.
            EvidenceError: The file went away or was changed.
            UplinkError: Central did not answer.
            ReportRejected: It has another length than we think, or will never take this.
            NotAllowed: It waits for nothing from us.
        """
        if form_of(self._store.effective.pixels) != one.what.form:
            raise Stays(STAYS)
        if one.have is None:
            return self._offer(one)
        left = [(file, path) for file, path in one.what.files if one.have[file.sha256] < file.bytes]
        if not left:  # central says that it has everything, and not that it is done
            raise ReportRejected("central has every byte and no clip")
        file, path = left[0]
        size = self._bandwidth.take(MAX_PART_BYTES)
        if not size:
            return min(self._bandwidth.pause_s() or IDLE_S, IDLE_S)
        start = one.have[file.sha256]
        part = _read(path, file, start, size)
        self._bandwidth.spend(len(part))
        taken = self._central.put_part(file.sha256, start, part, file.bytes)
        if taken.have > start:
            one.setbacks = 0
        one.have[file.sha256] = taken.have
        if taken.done:
            self._finish(one.request.request)
            log.info(
                "a clip left the site: an operator asked for it, and the site's policy lets it",
                extra={
                    "event": "clips.sent",
                    "evidence": one.request.evidence,
                    "form": one.what.form,
                    "bytes": sum(file.bytes for file, _ in one.what.files),
                },
            )
            return 0.0
        return min(self._bandwidth.pause_s() or 0.0, IDLE_S)

    def _offer(self, one: _Sending) -> float:
        files = [file for file, _ in one.what.files]
        offer = Offer(evidence=one.request.evidence, form=one.what.form, files=files)
        try:
            standing = self._central.offer(one.request.request, offer)
        except ReportRejected:
            # A central of before there were signatures, or stills of blurred copies, takes none:
            # then the clip goes without. A signature over a still that is not there proves nothing.
            later = {signature_of(one.what.form), BLURRED_POSTER}
            plain = tuple(f for f in one.what.files if f[0].name not in later)
            if len(plain) == len(files):
                raise
            one.what = Leaving(one.what.form, plain)
            return 0.0
        if standing.done:
            self._finish(one.request.request)
            return 0.0
        # What central says is a place in our files, and no more than that.
        one.have = {f.sha256: min(standing.have.get(f.sha256, 0), f.bytes) for f in files}
        return 0.0

    def _set_back(self, one: _Sending, error: ReportRejected) -> float:
        """Ask central anew how far it is, some times; then give up."""
        one.setbacks += 1
        one.have = None
        if one.setbacks <= MAX_SETBACKS:
            return RETRY_S
        return self._withhold(one.request, f"central did not take it: {error}"[:500])

    def _withhold(self, request: Request, why: str) -> float:
        """Tell central why the clip does not come."""
        self._now = None
        refusal = Refusal(title="This clip does not come", detail=why)
        try:
            self._central.withhold(request.request, refusal)
        except (NotAllowed, ReportRejected):
            pass  # nobody waits for it any more
        except VedetteError as error:
            log.info("a refusal waits", extra={"event": "clips.waits", "reason": str(error)})
            self._put_off(request, RETRY_S)
            return RETRY_S
        log.info("a clip stays", extra={"event": "clips.withheld", "reason": why})
        self._finish(request.request)
        return 0.0

    def _drop_expired(self) -> None:
        now_ms = wall_ms(self._clock.now_at())
        with self._lock:
            over = [n for n, r in self._queue.waiting.items() if 0 < r.expires_ms < now_ms]
        for name in over:
            self._finish(name)

    def _finish(self, name: str) -> None:
        if self._now is not None and self._now.request.request == name:
            self._now = None
        with self._lock:
            queue = self._queue
            queue.waiting.pop(name, None)
            queue.not_before_ns.pop(name, None)
            queue.done[name] = None
            while len(queue.done) > MAX_DONE:
                queue.done.pop(next(iter(queue.done)))


def _read(path: Path, file: BlobFile, start: int, size: int) -> bytes:
    """Return a part of a plain file.

    Raises:
        EvidenceError: It is not there any more, or has another length.
    """
    with facts.translated("the clip cannot be read"), facts.plain(path, path.name) as handle:
        if os.fstat(handle).st_size != file.bytes:
            raise EvidenceError(f"{path.name} was changed")
        return os.pread(handle, size, start)
