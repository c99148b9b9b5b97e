"""When this device speaks to central, and what happens with each answer.

Every request is heartbeat, telemetry and command check in one. One goes out each report period; a
fresh alert goes at once, whichever process made it; what waited is sent in consecutive small
batches under the cap of `edge.bandwidth`, each with everything fresh in front, so that a backlog of
two days never delays an alert. While central does not answer, pauses double up to a minute, with
jitter.

The rule: a message leaves the spool only by `Spool.settle` with central's own answer. A batch that
is refused as a whole is halved until the one message is found that central will not take; that one
leaves with a tombstone.
"""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from vedette.clock import NS_PER_MS, NS_PER_S, Clock, wall_ms
from vedette.edge import leaving
from vedette.edge.alerts.deciding import Line
from vedette.edge.bandwidth import Bandwidth
from vedette.edge.central_client import CentralBusy
from vedette.edge.settings import UplinkSettings
from vedette.edge.spool import Spool
from vedette.errors import (
    CentralUnreachable,
    NotAllowed,
    ReportRejected,
    VedetteError,
)
from vedette.wire.envelope import Batch, Envelope, LaneAck, UpAnswer
from vedette.wire.signed import PixelPolicy
from vedette.wire.streams import BACKFILL_AFTER_S

log = logging.getLogger(__name__)

POLL_S: Final = 0.25
"""How soon an alert of the other process is seen where nobody rings for it (`edge.spool.bell`)."""

BATCH_BYTES: Final = 256 * 1024
BATCH_N: Final = 500
MIN_DRAIN_PAUSE_S: Final = 0.1
BACKOFF_S: Final = (1.0, 60.0)
ALERT_PAUSE_S: Final = 5.0
"""While central does not answer, a new alert tries again this soon, not after the whole pause."""

AUDIT_S: Final = 600.0
"""So often central is asked what it has of each lane; at the first contact and after a loss too."""

REFUSED_PAUSE_S: Final = 300.0
"""Central does not know this device any more: a person has to act, so asking often helps nobody."""


class Central(Protocol):
    """What carries a batch."""

    def up(self, batch: Batch) -> UpAnswer:
        """Return central's answer; raises as `CentralClient.up`."""
        ...


class Prepared:
    """Central, with something to do before every batch: the clock is judged, and asked for.

    Nothing is given to it that may not leave now (`leaving`).
    """

    def __init__(
        self, central: Central, before: Callable[[], None], pixels: Callable[[], PixelPolicy]
    ) -> None:
        """`pixels` is the policy of the moment."""
        self._central = central
        self._before = before
        self._pixels = pixels

    def up(self, batch: Batch) -> UpAnswer:
        """Send a batch, as far as it may leave."""
        self._before()
        return self._central.up(leaving.allowed_of(batch, self._pixels()))


class Uplink:
    """The schedule. Thread: one, its own; `wake`, `hear` and the properties any.

    Attributes:
        problem: Why central does not take our reports, in words; empty where it does.
        agreed: Central said in this contact what it has of every lane, and it was compared. Until
            then what is only kept may have to be sent again.
    """

    def __init__(
        self,
        spool: Spool,
        central: Central,
        clock: Clock,
        *,
        device: str,
        boot_id: str,
        report: Callable[[], None],
        answered: Callable[[UpAnswer], None],
        etag: Callable[[], str] = str,
        period_s: Callable[[], float],
        bandwidth: Bandwidth | None = None,
        backfilled: Callable[[int], None] | None = None,
        settling: Callable[[], None] | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        """Prepare.

        Args:
            spool: What is sent.
            central: What carries it.
            clock: Monotonic time alone decides when.
            device: Name that the access token was given to.
            boot_id: Of this boot.
            report: Puts the health report into the spool; once each period, reachable or not.
            answered: Takes each answer after it was settled.
            etag: The desired state that this device has.
            period_s: Seconds between reports; may change while running.
            bandwidth: How much of the backlog may go; the default's without one.
            backfilled: Takes the bytes of the backlog that each batch held.
            settling: Called before an answer lets messages leave the spool.
            jitter: Spreads requests of many devices; a seeded one in tests.
        """
        self._spool: Final = spool
        self._central: Final = central
        self._clock: Final = clock
        self._device: Final = device
        self._boot_id: Final = boot_id
        self._report: Final = report
        self._answered: Final = answered
        self._etag: Final = etag
        self._period_s: Final = period_s
        self._bandwidth: Final = bandwidth or Bandwidth(UplinkSettings, lambda: "UTC", clock)
        self._backfilled: Final = backfilled or (lambda _: None)
        self._settling: Final = settling or (lambda: None)
        self._random: Final = jitter or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._wake: Final = threading.Event()
        self._news: Final = threading.Event()
        self._report_ns = 0
        self._due = False
        self._drain_ns: int | None = None
        self._not_before_ns = 0
        self._backlog_not_before_ns = 0
        self._alert_not_before_ns = 0
        self._failures = 0
        self._alert_seen = 0
        self._version: tuple[int, int] | None = None
        self._limit_n = BATCH_N
        self._audit_ns = 0
        self._asked_ns = 0
        self._line = Line()
        self.beat_mono_ns = clock.mono_ns()
        self.problem = ""
        self.agreed = False

    def wake(self) -> None:
        """Have the next report made and sent now."""
        self._wake.set()
        self._news.set()

    def hear(self) -> None:
        """Have the spool looked at now: somebody committed an alert."""
        self._news.set()

    @property
    def line(self) -> Line:
        """Since when central is silent, or when it answered last."""
        return self._line

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`. Thread: the uplink's."""
        while not stop.is_set():
            pause_s = self.step()
            self._clock.wait(self._news, pause_s)
            self._news.clear()

    def step(self) -> float:
        """Do what is due now; return seconds until something may be due again."""
        now_ns = self.beat_mono_ns = self._clock.mono_ns()
        try:
            if now_ns >= self._report_ns or self._wake.is_set():
                self._wake.clear()
                self._report_ns = now_ns + round(self._jittered(self._period_s()) * NS_PER_S)
                self._due = True
                held = self._failures > 0 or self._bandwidth.rate_bytes_s == 0
                self._spool.tend(pack_waiting=held)
                self._report()
            alert = self._has_new_alert()
            draining = self._drain_ns is not None and now_ns >= self._drain_ns
            if self._may_send(now_ns, alert=alert) and (self._due or alert or draining):
                self._send()
        except VedetteError as error:
            self._fail(error, "uplink.failed")
        return POLL_S

    # ------------------------------------------------------------------------------ internals

    def _jittered(self, period_s: float) -> float:
        return period_s * self._random.uniform(0.9, 1.0)

    def _has_new_alert(self) -> bool:
        """True where an alert was committed since the last attempt; cheap while nothing changes."""
        version = self._spool.version()
        if version == self._version:
            return False
        newest = self._spool.newest_alert()
        if newest <= self._alert_seen:
            self._version = version
            return False
        return True

    def _may_send(self, now_ns: int, *, alert: bool) -> bool:
        if now_ns >= self._not_before_ns:
            return True
        return alert and now_ns >= self._alert_not_before_ns

    def _send(self) -> None:
        self._alert_seen = max(self._alert_seen, self._spool.newest_alert())
        put_off = self._clock.mono_ns() < self._backlog_not_before_ns
        envelopes = self._spool.next_batch(
            max_bytes=BATCH_BYTES,
            max_n=self._limit_n,
            backfill_bytes=0 if put_off else self._bandwidth.take(BATCH_BYTES),
        )
        late = self._late_bytes(envelopes)
        self._bandwidth.spend(late)
        self._backfilled(late)
        due = self._clock.mono_ns() >= self._audit_ns
        audit = due or self._spool.wants_audit or self._failures > 0
        batch = self._batch(envelopes, believed=self._spool.believed() if audit else [])
        self._asked_ns = self._clock.mono_ns()
        try:
            answer = self._central.up(batch)
        except CentralUnreachable as error:
            self._fail(error, "uplink.unreachable")
            return
        except ReportRejected as error:
            self._isolate(envelopes, error)
            return
        except NotAllowed as error:
            self._fail(error, "uplink.refused", pause_s=REFUSED_PAUSE_S)
            return
        if audit:
            self._audit_ns = self._clock.mono_ns() + _ns(self._jittered(AUDIT_S))
        self._succeed(envelopes, answer, audit=audit)

    def _batch(self, envelopes: list[Envelope], believed: Sequence[LaneAck] = ()) -> Batch:
        return Batch(
            device=self._device,
            boot_id=self._boot_id,
            sent_mono_ms=self._clock.mono_ns() // NS_PER_MS,
            sent_wall_ms=wall_ms(self._clock.now_at()),
            envelopes=envelopes,
            desired_etag=self._etag(),
            believed=list(believed),
        )

    def _succeed(self, envelopes: list[Envelope], answer: UpAnswer, *, audit: bool) -> None:
        if self._failures:
            log.info(
                "central answers again",
                extra={"event": "uplink.restored", "failures": self._failures},
            )
        self._failures = 0
        self._due = False
        self.problem = ""
        self._line = Line(answered_ns=self._clock.mono_ns())
        self._settling()
        # In the ordinary course nothing depends on when it is written, and a commit wears the disk.
        later = not (audit or answer.rejected or self._late_bytes(envelopes))
        settled = self._spool.settle(answer, audit=audit, sent=envelopes, later=later)
        self.agreed = audit or (self.agreed and not self._spool.wants_audit)
        for refused in answer.rejected[:10]:
            log.warning(
                "central refused a message",
                extra={
                    "event": "uplink.rejected",
                    "lane": refused.lane.value,
                    "seq": refused.seq,
                    "reason": refused.reason,
                },
            )
        now_ns = self._clock.mono_ns()
        self._not_before_ns = self._alert_not_before_ns = now_ns
        # Whoever was answered was heard; only what had waited is put off by it.
        self._backlog_not_before_ns = now_ns + _ns(max(answer.retry_after_s, 0.0))
        self._plan_drain(now_ns, envelopes, settled)
        self._limit_n = min(BATCH_N, self._limit_n * 2)
        self._answered(answer)

    def _late_bytes(self, envelopes: list[Envelope]) -> int:
        """Return the bytes of those that had waited."""
        edge_ms = self._clock.mono_ns() // NS_PER_MS - round(BACKFILL_AFTER_S * 1000)
        return sum(
            len(memoryview(envelope.body))
            for envelope in envelopes
            if envelope.boot_id != self._boot_id or envelope.t_mono_ms < edge_ms
        )

    def _plan_drain(self, now_ns: int, envelopes: list[Envelope], settled: int) -> None:
        """Go on while something waits and something moves, as fast as the cap allows."""
        self._drain_ns = None
        if not settled:
            return
        pause_s = self._bandwidth.pause_s() if self._spool.has_backfill() else None
        if pause_s is not None:
            pause_s = max(pause_s, (self._backlog_not_before_ns - now_ns) / NS_PER_S)
        if self._is_cut(envelopes):  # what is fresh waits for no cap
            pause_s = MIN_DRAIN_PAUSE_S
        if pause_s is not None:
            self._drain_ns = now_ns + _ns(max(pause_s, MIN_DRAIN_PAUSE_S))

    def _is_cut(self, envelopes: list[Envelope]) -> bool:
        """True where a limit of the batch may have left fresh messages behind."""
        if envelopes and self._late_bytes(envelopes[-1:]):
            return False  # the backlog comes last: everything fresh went before it
        size = sum(len(memoryview(envelope.body)) for envelope in envelopes)
        return len(envelopes) >= self._limit_n or size > BATCH_BYTES // 2

    def _isolate(self, envelopes: list[Envelope], error: ReportRejected) -> None:
        """Send less until the refused message stands alone, and give that one up.

        Before that, an empty batch must be taken: where it is refused too, nothing is wrong with
        the message; something else answers at central's address, and nothing may be deleted.
        """
        if len(envelopes) > 1:
            self._limit_n = max(1, len(envelopes) // 2)
            self._drain_ns = self._clock.mono_ns()
            return
        try:
            self._central.up(self._batch([]))
        except VedetteError as refused:
            self._fail(refused, "uplink.refuses_all", pause_s=REFUSED_PAUSE_S)
            return
        self._spool.give_up(envelopes, f"refused: {error}"[:200])
        self._drain_ns = self._clock.mono_ns()
        log.warning(
            "a message was given up",
            extra={
                "event": "uplink.given_up",
                "schema": envelopes[0].schema if envelopes else "",
                "reason": str(error),
            },
        )

    def _fail(self, error: VedetteError, event: str, pause_s: float | None = None) -> None:
        self._failures += 1
        self.agreed = False
        now_ns = self._clock.mono_ns()
        if self._line.silent_ns is None:
            self._line = Line(self._asked_ns or now_ns, self._line.answered_ns)
        if pause_s is None:
            first, most = BACKOFF_S
            pause_s = min(most, first * 2 ** min(self._failures - 1, 10))
        if isinstance(error, CentralBusy):
            pause_s = max(pause_s, error.retry_after_s)
        self._not_before_ns = now_ns + _ns(pause_s * self._random.uniform(0.5, 1.0))
        self._alert_not_before_ns = min(self._not_before_ns, now_ns + _ns(ALERT_PAUSE_S))
        self._due = True
        if not self.problem or self._failures % 20 == 0:
            log.warning(
                "central does not take our reports",
                extra={"event": event, "reason": str(error), "failures": self._failures},
            )
        self.problem = str(error)


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)
