"""Which of a camera's pictures are decoded: all, fewer while nothing happens, fewer under overload.

Here: the decision, as pure state. Not here: decoding, and the packets, all of which go to the ring
whatever is decoded. The rules:

- *Idle*: after `IDLE_AFTER_S` without motion and with nobody in view but who is known to stand
  still, keyframes alone are decoded, where they come at least every `KEYFRAMES_WITHIN_S`. Motion on
  a keyframe, or packets in between that are suddenly large, bring every picture back. Until then
  time is resolved more coarsely, and coverage states that rate.
- *Overload*: inference is shed first, by the slots. Only where decoding itself falls behind the
  camera are pictures left out that no other needs, then all but keyframes; back in the same steps,
  each later than the last where it did not hold.
- A stream whose keyframes come out of the decoder late (reordering) is not decoded by keyframes.

Thread: a camera's capture thread; `mode` may be read from any.
"""

import itertools
import math
from dataclasses import dataclass, field
from typing import Final

from vedette.edge.capture import Decode

IDLE_AFTER_S: Final = 10.0
KEYFRAMES_WITHIN_S: Final = 2.1

BEHIND_S: Final = 0.6
"""A decoder that hands pictures over so late is falling behind."""

BEHIND_FOR_S: Final = 3.0
CAUGHT_UP_S: Final = 0.25
HOLD_FIRST_S: Final = 10.0
HOLD_CAP_S: Final = 320.0

SURGE: Final = 3.0
"""So much larger than usual, and by `SURGE_BYTES`, is a packet in which something moves."""

SURGE_BYTES: Final = 600
_KEYFRAME_LATE_S: Final = 0.4
_WEIGHT: Final = 0.05
_LEVELS: Final = (Decode.ALL, Decode.NONREF, Decode.KEYFRAMES)


@dataclass(slots=True)
class DecodePolicy:
    """One camera.

    Attributes:
        may_idle: False where every picture is always to be decoded but for overload.
        is_sampled: True in the tier batch: between two looks keyframes are enough at any time.
    """

    may_idle: bool
    is_sampled: bool = False
    mode: Decode = field(init=False, default=Decode.ALL)
    _calm_since_s: float = field(init=False, default=math.inf)
    _keyframes_s: list[float] = field(init=False, default_factory=list)
    _usual_bytes: float | None = field(init=False, default=None)
    _late_keyframes: int = field(init=False, default=0)
    _level: int = field(init=False, default=0)
    _behind_since_s: float = field(init=False, default=math.inf)
    _fine_since_s: float = field(init=False, default=math.inf)
    _hold_s: float = field(init=False, default=HOLD_FIRST_S)

    def restart(self) -> None:
        """Begin anew with another connection: what was known of the stream may not hold."""
        self.mode, self._level, self._late_keyframes = Decode.ALL, 0, 0
        self._calm_since_s = self._behind_since_s = self._fine_since_s = math.inf
        self._keyframes_s, self._usual_bytes = [], None

    def packet(self, *, t_s: float, keyframe: bool, size_bytes: int) -> None:
        """Note a packet of the stream that is analysed, decoded or not."""
        if keyframe:
            self._keyframes_s = [*self._keyframes_s[-3:], t_s]
            return
        usual = self._usual_bytes
        if usual is None:
            self._usual_bytes = float(size_bytes)
            return
        if size_bytes > SURGE * usual + SURGE_BYTES:
            self._calm_since_s = math.inf
        self._usual_bytes = usual + (size_bytes - usual) * _WEIGHT

    def frame(self, *, now_s: float, t_s: float, age_s: float, moves: bool) -> Decode:
        """Return what is to be decoded from the next packet on.

        Args:
            now_s: The monotonic clock.
            t_s: When the picture was taken, on the same clock.
            age_s: How long ago its packet was here.
            moves: Whether anything in it is a reason to look at the next one too.
        """
        if moves or not self._calm_since_s <= t_s:
            self._calm_since_s = math.inf if moves else t_s
        if self.mode is Decode.KEYFRAMES:
            self._late_keyframes += age_s > _KEYFRAME_LATE_S
        self._weigh_load(now_s, max(now_s - t_s, age_s))
        idle = self.may_idle and t_s - self._calm_since_s >= IDLE_AFTER_S
        wanted = _LEVELS[self._level]
        if (idle or self.is_sampled or wanted is Decode.KEYFRAMES) and self._can_do_with_keyframes:
            wanted = Decode.KEYFRAMES
        elif wanted is Decode.KEYFRAMES:
            wanted = Decode.NONREF
        self.mode = wanted
        return wanted

    @property
    def _can_do_with_keyframes(self) -> bool:
        times = self._keyframes_s
        apart = [after - before for before, after in itertools.pairwise(times)]
        often = len(apart) >= 2 and all(0 < gap_s <= KEYFRAMES_WITHIN_S for gap_s in apart)
        return often and self._late_keyframes < 2

    def _weigh_load(self, now_s: float, lag_s: float) -> None:
        """Go up a level where decoding stays behind, down where it has kept up for long."""
        late = self.mode is Decode.KEYFRAMES and self._late_keyframes > 0
        if lag_s > BEHIND_S and not late:
            self._fine_since_s = math.inf
            self._behind_since_s = min(self._behind_since_s, now_s)
            if now_s - self._behind_since_s >= BEHIND_FOR_S and self._level < len(_LEVELS) - 1:
                self._level += 1
                self._behind_since_s = now_s
        elif lag_s <= CAUGHT_UP_S:
            self._behind_since_s = math.inf
            self._fine_since_s = min(self._fine_since_s, now_s)
            if self._level and now_s - self._fine_since_s >= self._hold_s:
                self._level -= 1
                self._fine_since_s = now_s
                self._hold_s = min(HOLD_CAP_S, self._hold_s * 2)
