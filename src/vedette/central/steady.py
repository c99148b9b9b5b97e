"""The time that central goes by: the wall clock, as long as it runs like one.

What lives here: noticing that the machine's wall clock was moved, and deciding whether to follow.
What does not: what a followed step means for devices (`central.liveness`). The rule: time is taken
from the wall clock while it agrees with the clock that counts since the machine's start; a jump is
not followed at once. Until it is followed or taken back, time goes on by that other clock, so that
no deadline passes, no receive time is wrong and no device is told a wrong time, because somebody
mistyped a date.

    devices with trusted clocks say so    followed within moments, or held as long as they say no
    nobody says anything                  followed after `HOLD_S`: by then a slip was mended
    a time before this program was built  was never right: whatever is later is followed at once

A suspended machine is none of this: the clock that counts goes on while it sleeps. At its start
central has only the wall clock, and believes it; where devices with trusted clocks contradict
it, `ingest.route` takes nothing from them that would be lost by a wrong date.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from vedette.clock import NS_PER_S, Clock, wall_ms

_log = logging.getLogger(__name__)

FOLLOW_MS: Final = 2_000
"""Smaller differences between two readings are what disciplined clocks do."""

HOLD_S: Final = 600.0
WITNESS_S: Final = 60.0
"""So long even one device's word must stand unopposed; three need no time."""

WITNESSES: Final = 3
BUILD_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MAX_WITNESSES: Final = 10_000


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to the wall clock.

    Attributes:
        at_ms: By the time that central went on with.
        by_ms: How far the wall clock is away from it; forwards above zero.
        outcome: `held`, `followed`, or `ended`: it came back by itself.
    """

    at_ms: int
    by_ms: int
    outcome: str


class _Held(msgspec.Struct):
    since_ns: int
    by_ms: int
    kept: set[str]
    moved: set[str]


def decide(*, kept: int, moved: int, held_s: float) -> bool:
    """Return whether a jump of the wall clock is followed.

    Args:
        kept: Devices whose trusted clocks agree with time as it went on.
        moved: Devices whose trusted clocks agree with where the wall clock went.
        held_s: For how long it was not followed.
    """
    if moved > 2 * kept and (moved >= WITNESSES or held_s >= WITNESS_S):
        return True
    return kept == 0 and held_s >= HOLD_S


class SteadyClock:
    """A clock that does not follow every jump. Thread: any."""

    def __init__(self, clock: Clock, elapsed_ns: Callable[[], int] | None = None) -> None:
        """Begin with the wall clock as it is.

        Args:
            clock: The machine's.
            elapsed_ns: What counts since its start, sleep included; the monotonic clock where that
                is all there is.
        """
        self._clock: Final = clock
        self._elapsed_ns: Final = elapsed_ns or clock.mono_ns
        self._lock: Final = threading.Lock()
        self._wall_at = clock.now_at()
        self._at_ns = self._elapsed_ns()
        self._held: _Held | None = None
        self._steps: list[Step] = []

    def now_at(self) -> datetime:
        """Return the time to go by, aware UTC."""
        with self._lock:
            return self._now()

    def mono_ns(self) -> int:
        """Return the machine's monotonic nanoseconds."""
        return self._clock.mono_ns()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait as the machine's clock does."""
        return self._clock.wait(event, timeout_s)

    @property
    def held_by_ms(self) -> int | None:
        """How far the wall clock is away from the time to go by; None where it is not."""
        with self._lock:
            self._now()
            return self._held.by_ms if self._held else None

    def witness(self, device: str, said_ms: int) -> None:
        """Take the word of a device whose clock is trusted; it counts while a jump is held."""
        held = self._held
        if held is None:
            return
        with self._lock:
            now_ms = wall_ms(self._now())
            if len(held.kept) + len(held.moved) >= _MAX_WITNESSES:
                return
            nearer = abs(said_ms - now_ms) <= abs(said_ms - now_ms - held.by_ms)
            (held.kept if nearer else held.moved).add(device)
            (held.moved if nearer else held.kept).discard(device)

    def take_steps(self) -> list[Step]:
        """Return what happened since the last call."""
        with self._lock:
            self._now()
            steps, self._steps = self._steps, []
            return steps

    def _now(self) -> datetime:
        wall_at, at_ns = self._clock.now_at(), self._elapsed_ns()
        expected_at = self._wall_at + timedelta(microseconds=(at_ns - self._at_ns) / 1000)
        by_ms = round((wall_at - expected_at).total_seconds() * 1000)
        if abs(by_ms) <= FOLLOW_MS:
            if self._held is not None:
                self._note("ended", expected_at, self._held.by_ms)
            return self._follow(wall_at, at_ns)
        if self._held is None or abs(by_ms - self._held.by_ms) > FOLLOW_MS:
            self._held = _Held(since_ns=at_ns, by_ms=by_ms, kept=set(), moved=set())
            self._note("held", expected_at, by_ms)
        held = self._held
        held_s = (at_ns - held.since_ns) / NS_PER_S
        was_wrong = expected_at < BUILD_AT <= wall_at
        if was_wrong or decide(kept=len(held.kept), moved=len(held.moved), held_s=held_s):
            self._note("followed", wall_at, by_ms)
            return self._follow(wall_at, at_ns)
        return expected_at

    def _follow(self, wall_at: datetime, at_ns: int) -> datetime:
        self._wall_at, self._at_ns, self._held = wall_at, at_ns, None
        return wall_at

    def _note(self, outcome: str, at: datetime, by_ms: int) -> None:
        self._steps = [*self._steps[-99:], Step(at_ms=wall_ms(at), by_ms=by_ms, outcome=outcome)]
        _log.error(
            "the server's wall clock was moved",
            extra={"event": f"clock.{outcome}", "by_s": by_ms / 1000},
        )
