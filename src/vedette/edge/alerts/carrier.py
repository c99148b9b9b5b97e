"""One channel's queue and the thread that works it off: in order, again with backoff.

The rule: whoever offers never waits. A full queue loses its oldest, what comes too often is not
taken, what cannot be delivered for long enough is given up; each is counted by why.
"""

import logging
import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vedette.clock import NS_PER_S, Clock, wall_ms
from vedette.edge.alerts.outcome import Outcome, Result, Way
from vedette.wire.alerts import LocalAlert, LocalChannel
from vedette.wire.messages import LocalChannelHealth

log = logging.getLogger(__name__)

QUEUE_N: Final = 100
BACKOFF_S: Final = (1.0, 60.0)
_LONG_S: Final = 3600.0

FULL: Final = "full"
RATE: Final = "rate"
EXPIRED: Final = "expired"
REFUSED: Final = "refused"
STOPPED: Final = "stopped"


@dataclass(frozen=True, slots=True)
class Carried:
    """What a channel has to deliver; `over` is told once it was delivered or given up."""

    alert: LocalAlert
    over: Callable[[LocalAlert, bool], None]


@dataclass(slots=True)
class _Waiting:
    carried: Carried
    until_ns: int


class Carrier:
    """One channel at work. Thread: `run` on its own; everything else any, and never waits."""

    def __init__(
        self,
        channel: LocalChannel,
        way: Way,
        clock: Clock,
        *,
        allowed: Callable[[LocalChannel], bool] = lambda _channel: True,
        jitter: random.Random | None = None,
    ) -> None:
        """Prepare.

        Args:
            channel: As the site's policy says it.
            way: Makes attempts.
            clock: Decides about backoff and age.
            allowed: Asked before each attempt whether the policy still says this channel.
            jitter: Spreads attempts; a seeded one in tests.
        """
        self.channel: Final = channel
        self._way: Final = way
        self._clock: Final = clock
        self._allowed: Final = allowed
        self._random: Final = jitter or random.Random()  # noqa: S311 - spreads load only
        self._lock: Final = threading.Lock()
        self._news: Final = threading.Event()
        self._end: Final = threading.Event()
        self._queue: deque[_Waiting] = deque()
        self._tokens = float(channel.per_minute)
        self._filled_ns = clock.mono_ns()
        self._failures = 0
        self._not_before_ns = 0
        self._sent = self._failed = 0
        self._dropped: Counter[str] = Counter()
        self._last_ms: int | None = None
        self._problem = ""

    def start(self) -> None:
        """Work from now on in a thread of its own, until `stop`."""
        name = f"alerts-{self.channel.channel}"
        threading.Thread(target=self.run, name=name, daemon=True).start()

    def offer(self, carried: Carried) -> None:
        """Take an alert to deliver, or drop it or an older one, counted."""
        until_ns = self._clock.mono_ns() + round(self.channel.keep_s * NS_PER_S)
        with self._lock:
            if self._end.is_set():
                lost, why = carried, STOPPED
            elif not self._has_token():
                lost, why = carried, RATE
            else:
                self._queue.append(_Waiting(carried, until_ns))
                lost, why = (
                    (self._queue.popleft().carried, FULL)
                    if len(self._queue) > QUEUE_N
                    else (None, "")
                )
            self._dropped[why] += lost is not None
        if lost is not None:
            lost.over(lost.alert, False)
        self._news.set()

    def miss(self) -> None:
        """Count an alert that was dropped before it came here."""
        with self._lock:
            self._dropped[FULL] += 1

    def stop(self) -> None:
        """End `run` soon and deliver nothing more; what waits is given up."""
        self._end.set()
        self._news.set()

    def run(self) -> None:
        """Deliver until `stop`. Thread: the channel's."""
        try:
            while not self._end.is_set():
                self._clock.wait(self._news, self.step())
                self._news.clear()
        finally:
            with self._lock:
                rest, self._queue = list(self._queue), deque()
            for one in rest:
                one.carried.over(one.carried.alert, False)
            self._way.close()

    def step(self) -> float:
        """Make one attempt where one is due; return seconds until the next may be."""
        now_ns = self._clock.mono_ns()
        self._expire(now_ns)
        with self._lock:
            first = self._queue[0] if self._queue else None
        if first is None:
            return _LONG_S
        if now_ns < self._not_before_ns:
            return (self._not_before_ns - now_ns) / NS_PER_S
        if self._end.is_set() or not self._allowed(self.channel):
            self._end.set()
            return 0.0
        self._take(first, self._way.send(first.carried.alert, self._end))
        return 0.0

    def health(self) -> LocalChannelHealth:
        """Return how the channel is."""
        with self._lock:
            return LocalChannelHealth(
                channel=self.channel.channel,
                kind=self.channel.kind,
                when=self.channel.when,
                sent=self._sent,
                failed=self._failed,
                dropped={why: count for why, count in self._dropped.items() if count},
                waiting=len(self._queue),
                last_ms=self._last_ms,
                problem=self._problem,
            )

    # ------------------------------------------------------------------------------- internals

    def _has_token(self) -> bool:
        """Take one of the channel's alerts a minute; False where they are spent."""
        now_ns, most = self._clock.mono_ns(), float(self.channel.per_minute)
        self._tokens = min(most, self._tokens + (now_ns - self._filled_ns) / NS_PER_S * most / 60)
        self._filled_ns = now_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _expire(self, now_ns: int) -> None:
        with self._lock:
            old = [one for one in self._queue if now_ns >= one.until_ns and self._failures]
            for one in old:
                self._queue.remove(one)
            self._dropped[EXPIRED] += len(old)
        for one in old:
            one.carried.over(one.carried.alert, False)

    def _take(self, item: _Waiting, outcome: Outcome) -> None:
        """Book an attempt."""
        now_ns = self._clock.mono_ns()
        again = outcome.result is Result.LATER
        with self._lock:
            if not again and self._queue and self._queue[0] is item:
                self._queue.popleft()
            if outcome.result is Result.SENT:
                self._sent += 1
                self._last_ms = wall_ms(self._clock.now_at())
            else:
                self._failed += 1
                self._dropped[REFUSED] += not again
            told = self._problem
            self._problem = outcome.detail[:300]
            self._failures = self._failures + 1 if again else 0
            first, most = BACKOFF_S
            pause_s = min(most, first * 2 ** min(self._failures - 1, 10)) if again else 0.0
            pause_s *= self._random.uniform(0.5, 1.0)
            self._not_before_ns = now_ns + round(pause_s * NS_PER_S)
        if outcome.detail and outcome.detail != told:
            log.warning(
                "a local alert was not delivered",
                extra={
                    "event": "alerts.not_delivered",
                    "channel": self.channel.channel,
                    "reason": outcome.detail[:300],
                },
            )
        if not again:
            item.carried.over(item.carried.alert, outcome.result is Result.SENT)
