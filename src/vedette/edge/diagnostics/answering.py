"""Which request is answered, when, and that its answer is sent once.

A request waits here until its kind may be answered again, one at a time, and is dropped when it
expires. What the site's policy forbids is refused, in words; a kind that this program does not know
is left alone. The policy is asked again before the answer leaves. The rule: whatever goes wrong in
making an answer becomes a refusal that says so; it never ends the thread or the agent.
"""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from vedette.clock import NS_PER_S, Clock, wall_ms
from vedette.edge.bandwidth import cap_kbit_s
from vedette.edge.desired import EFFECTIVE, DesiredStore
from vedette.edge.diagnostics.effective import effective_configuration
from vedette.edge.diagnostics.network import Examination, Line
from vedette.edge.diagnostics.redaction import Redactor
from vedette.edge.diagnostics.tail import log_tail
from vedette.edge.settings import EdgeConfig
from vedette.errors import ConfigError, NotAllowed, ReportRejected, TooLarge, VedetteError
from vedette.ids import is_slug
from vedette.wire import diagnostics as wire
from vedette.wire.enrol import Request

log = logging.getLogger(__name__)

MAX_WAITING: Final = 8
MAX_DONE: Final = 256
IDLE_S: Final = 60.0
RETRY_S: Final = 5.0
EVERY_S: Final = {wire.LOG: 5.0, wire.CONFIG: 5.0, wire.DOCTOR: 60.0, wire.NETWORK: 120.0}
"""The next answer of a kind is begun so long after the one before, whoever asks how often."""

EXAMINE_S: Final = 90.0
EXAMINE_CAMERAS_S: Final = 300.0
_FAILURES: Final = (
    VedetteError, OSError, ValueError, msgspec.DecodeError, subprocess.SubprocessError
)  # fmt: skip


class Central(Line, Protocol):
    """The part of `CentralClient` that is used here."""

    def answer(self, request: str, content_type: str, body: bytes) -> None:
        """Send an answer."""
        ...


class Answerer:
    """Thread: `run` on its own; `take` and `wake` any."""

    def __init__(
        self,
        config: EdgeConfig,
        store: DesiredStore,
        central: Central,
        clock: Clock,
        *,
        examine: Callable[[Path, bool], Sequence[str]] | None = None,
    ) -> None:
        """Begin with nothing to answer; `examine` is the doctor's command, another one in tests."""
        self._config: Final = config
        self._store: Final = store
        self._central: Final = central
        self._clock: Final = clock
        self._examine: Final = examine or _doctor
        self._lock: Final = threading.Lock()
        self._wanted: Final = threading.Event()
        self._waiting: dict[str, Request] = {}
        self._done: dict[str, None] = {}
        self._made: dict[str, tuple[str, bytes]] = {}
        self._began_ns: dict[str, int] = {}

    def take(self, request: Request) -> None:
        """Have a request answered when it can be; one that is known, unknown or too many is not."""
        if request.kind not in wire.FORMS or not is_slug(request.request):
            return
        with self._lock:
            known = request.request in self._waiting or request.request in self._done
            if known or len(self._waiting) >= MAX_WAITING:
                return
            self._waiting[request.request] = request
        self._wanted.set()

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
        """Answer one request that is due; return the seconds until another may be."""
        self._drop_expired()
        due = self._next()
        if due is None:
            return IDLE_S
        request, pause_s = due
        if pause_s > 0:
            return min(pause_s, IDLE_S)
        try:
            self._answer(request)
        except (NotAllowed, ReportRejected) as error:
            log.info(
                "central does not take an answer",
                extra={"event": "diagnostics.not_taken", "reason": str(error)},
            )
        except VedetteError as error:
            log.info("an answer waits", extra={"event": "diagnostics.waits", "reason": str(error)})
            return RETRY_S
        self._finish(request.request)
        return 0.0

    # ------------------------------------------------------------------------------ internals

    def _next(self) -> tuple[Request, float] | None:
        """Return the request that may be answered first, and in how many seconds."""
        with self._lock:
            waiting = list(self._waiting.values())
        pauses = [(self._pause_s(request), n) for n, request in enumerate(waiting)]
        if not pauses:
            return None
        pause_s, n = min(pauses)
        return waiting[n], pause_s

    def _pause_s(self, request: Request) -> float:
        began_ns = self._began_ns.get(request.kind)
        if request.request in self._made or began_ns is None:
            return 0.0
        past_s = (self._clock.mono_ns() - began_ns) / NS_PER_S
        return max(EVERY_S[request.kind] - past_s, 0.0)

    def _answer(self, request: Request) -> None:
        """Make the answer, or take the one that could not be sent before, and send it.

        Raises:
            UplinkError: Central did not answer; what was made is kept until it expires.
        """
        content_type, body = self._made.get(request.request) or self._make(request)
        if request.kind not in self._store.effective.diagnostics:
            content_type, body = _refusal("the site's policy does not let central ask for this")
        self._made[request.request] = (content_type, body)
        self._central.answer(request.request, content_type, body)
        log.info(
            "a question about this device was answered",
            extra={
                "event": "diagnostics.answered",
                "kind": request.kind,
                "request": request.request,
                "bytes": len(body),
            },
        )

    def _make(self, request: Request) -> tuple[str, bytes]:
        if request.kind not in self._store.effective.diagnostics:
            return _refusal("the site's policy does not let central ask for this")
        self._began_ns[request.kind] = self._clock.mono_ns()
        form = wire.FORMS[request.kind]
        try:
            body = self._body(request)
        except _FAILURES as error:
            words = Redactor.of(self._store.effective.config).text(str(error))
            return _refusal(f"it could not be made: {words}")
        if len(body) > form.max_bytes:
            return _refusal(f"the answer would have {len(body)} bytes, over the limit")
        return form.content_type, body

    def _body(self, request: Request) -> bytes:
        effective = self._store.effective.config
        redactor = Redactor.of(effective)
        if request.kind == wire.LOG:
            lines = min(max(request.lines or wire.DEFAULT_LINES, 1), wire.MAX_LINES)
            most = wire.FORMS[wire.LOG].max_bytes
            return log_tail(self._config.state_dir, lines, most, redactor)
        if request.kind == wire.CONFIG:
            return effective_configuration(self._config.state_dir, self._store, redactor)
        if request.kind == wire.NETWORK:
            return self._network(effective)
        return self._examined(redactor, with_cameras=request.with_cameras)

    def _network(self, effective: EdgeConfig) -> bytes:
        if effective.central is None:
            raise ConfigError("no central is configured")
        try:
            zone = ZoneInfo(effective.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            zone = ZoneInfo("UTC")
        cap = cap_kbit_s(effective.uplink, self._clock.now_at().astimezone(zone))
        return Examination(effective.central.url, self._central, cap, self._clock).run()

    def _examined(self, redactor: Redactor, *, with_cameras: bool) -> bytes:
        """Return the doctor's findings, each text redacted.

        Raises:
            TooLarge: It says more than it may.
            SubprocessError: It hung.
            ValueError: It said something else.
        """
        command = self._examine(self._config.state_dir / EFFECTIVE, with_cameras)
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=EXAMINE_CAMERAS_S if with_cameras else EXAMINE_S,
            check=False,
        )
        if len(done.stdout) > wire.FORMS[wire.DOCTOR].max_bytes:
            raise TooLarge("the doctor says more than may be sent")
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace")[-300:]
            raise ConfigError(f"the doctor ended with {done.returncode}: {said}")
        answer = msgspec.json.decode(done.stdout, type=wire.DoctorAnswer)
        plain = redactor.tree(msgspec.to_builtins(answer))
        return msgspec.json.format(msgspec.json.encode(plain), indent=2)

    def _drop_expired(self) -> None:
        now_ms = wall_ms(self._clock.now_at())
        with self._lock:
            over = [n for n, r in self._waiting.items() if 0 < r.expires_ms < now_ms]
        for name in over:
            self._finish(name)

    def _finish(self, name: str) -> None:
        with self._lock:
            self._waiting.pop(name, None)
            self._made.pop(name, None)
            self._done[name] = None
            while len(self._done) > MAX_DONE:
                self._done.pop(next(iter(self._done)))


def _refusal(why: str) -> tuple[str, bytes]:
    refusal = wire.Refusal(title="This device gives no answer", detail=why[:1000])
    return wire.PROBLEM, msgspec.json.encode(refusal)


def _doctor(effective: Path, with_cameras: bool) -> list[str]:
    command = [sys.executable, "-m", "vedette.edge.diagnostics.examine", "--config", str(effective)]
    return [*command, "--cameras"] if with_cameras else command
