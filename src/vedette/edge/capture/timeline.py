"""The times of packets, and which frames are due: pure, no clock.

Here: how a source's own timestamps and the time of arrival become one timeline per camera. The
rule: a source's timestamps give the distance between pictures, our clock gives everything else; a
timestamp that cannot be true is replaced by the time of arrival, and an announced frame rate is
never looked at.
"""

from dataclasses import dataclass
from typing import Final

MIN_STEP_S: Final = 0.0005
_FUTURE_S: Final = 1.0
_BEHIND_S: Final = 30.0
_SETTLE_S: Final = 2.0
_JITTER_S: Final = 0.02
_FOLLOW_EARLIER: Final = 0.05
_FOLLOW_LATER: Final = 0.002
_HOLE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a packet stands; `jumped` where the source's timestamps did not continue."""

    t_s: float
    jumped: bool


class LiveTimeline:
    """Places what a camera sends: its own spacing, but never far from when it arrived.

    A camera's clock is set against ours by its freshest packet, the one with the least delay. Many
    cameras begin with a second or more of the past, sent at once: until that is caught up with,
    packets are dated as they arrive, and each says that it jumped. After that a burst keeps its
    spacing. A step back, a step into the future or timestamps that lag ever more are a jump too.
    Slow drift of the camera's clock is followed.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._last_source_s: float | None = None
        self._last_t_s: float | None = None
        self._first_arrival_s: float | None = None

    def restart(self) -> None:
        """Forget the source's timestamps (a new connection), never the timeline's own end."""
        self._offset_s = None
        self._last_source_s = None
        self._first_arrival_s = None

    def place(self, source_s: float | None, arrival_s: float) -> Placed:
        """Return the time of a packet with decoding timestamp `source_s`, here at `arrival_s`."""
        jumped = self._first_arrival_s is None
        if self._first_arrival_s is None:
            self._first_arrival_s = arrival_s
        t_s = arrival_s
        if source_s is not None:
            settles = arrival_s - self._first_arrival_s < _SETTLE_S
            t_s, broke = self._by_source(source_s, arrival_s, settles=settles)
            jumped = jumped or broke
            self._last_source_s = source_s
        if self._last_t_s is not None:
            t_s = max(t_s, self._last_t_s + MIN_STEP_S)
        self._last_t_s = t_s
        return Placed(t_s, jumped)

    def _by_source(self, source_s: float, arrival_s: float, *, settles: bool) -> tuple[float, bool]:
        """Return the packet's time by the source's own clock, and whether that clock broke."""
        last_s, offset_s = self._last_source_s, self._offset_s
        direct_s = arrival_s - source_s
        if last_s is None or offset_s is None or source_s == last_s:
            self._offset_s = direct_s  # the first, or a source without a clock
            return arrival_s, False
        late_s = direct_s - offset_s
        if source_s < last_s or not -_FUTURE_S <= late_s <= _BEHIND_S:
            self._offset_s = direct_s
            return arrival_s, True
        if settles and late_s < 0:
            self._offset_s = direct_s
            return arrival_s, late_s < -_JITTER_S
        self._offset_s = offset_s + late_s * (_FOLLOW_LATER if late_s > 0 else _FOLLOW_EARLIER)
        return source_s + offset_s, False


class FileTimeline:
    """Places what a file holds: its timestamps alone, one run after another.

    Timestamps that go back within a run are held at the last one; a hole longer than a minute is a
    broken timestamp and closed. `start_run` continues behind the run before it by one step.
    """

    def __init__(self, start_s: float) -> None:
        self._base_s = start_s
        self._first_s: float | None = None
        self._last_t_s: float | None = None
        self._step_s = 1 / 25

    def start_run(self) -> None:
        """Begin the file again: what follows is later than everything before."""
        if self._last_t_s is not None:
            self._base_s = self._last_t_s + self._step_s
        self._first_s = None

    def place(self, source_s: float | None, arrival_s: float) -> Placed:
        """Return the time of a packet with decoding timestamp `source_s`; no arrival needed."""
        del arrival_s
        jumped = self._first_s is None
        if source_s is None:
            t_s = self._base_s if self._last_t_s is None else self._last_t_s + self._step_s
            if self._first_s is None:
                self._first_s = 0.0
        else:
            if self._first_s is None:
                self._first_s = source_s
            t_s = self._base_s + source_s - self._first_s
        if self._last_t_s is not None and t_s > self._last_t_s + _HOLE_S:
            self._base_s -= t_s - (self._last_t_s + self._step_s)
            jumped, t_s = True, self._last_t_s + self._step_s
        if self._last_t_s is not None:
            t_s = max(t_s, self._last_t_s + MIN_STEP_S)
            if not jumped:
                self._step_s = min(max(t_s - self._last_t_s, 1 / 240), 1.0)
        self._last_t_s = t_s
        return Placed(t_s, jumped)


class RateLimit:
    """Says which frames are due so that on average no more than `max_fps` are."""

    def __init__(self, max_fps: float | None) -> None:
        self._period_s = 1 / max_fps if max_fps else 0.0
        self._next_s: float | None = None

    def is_due(self, t_s: float) -> bool:
        """True where a frame at `t_s` is to be handed over; counts it where so."""
        if self._period_s == 0:
            return True
        # A twentieth of a period of patience: a source at exactly the wanted rate loses no frame
        # to the jitter of its timestamps.
        if self._next_s is not None and t_s < self._next_s - self._period_s / 20:
            return False
        if self._next_s is None or t_s - self._next_s > self._period_s:
            self._next_s = t_s
        self._next_s += self._period_s
        return True
