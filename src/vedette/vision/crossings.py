"""One track and one line: which of its steps through the line are a crossing.

Here: the sum of steps that are not told yet, until the walk is clear of the line and, where asked
for, has kept the far side. Not here: geometry and what a crossing means (`zones`). Pure state.

The rule: a crossing is what is left of all steps, so jitter on the line comes to nothing or to
one, and whoever comes back in time never crossed.
"""

from dataclasses import dataclass

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Crossing:
    """Steps through a line that count: when the walk was first clear of it, and how it looked.

    Attributes:
        net: Forward minus backward; never 0.
    """

    net: int
    t_s: float
    box: Box
    confidence: float


class Crosser:
    """What one track did at one line and is not told yet.

    ::

          · · ·  margin          Steps through the line add up as +1 and -1. Once the foot point
        A ───────────▶ B         is clear of it, a sum that is not 0 is a crossing; with
          · · ·  margin          `confirm_s`, once it stood unchanged for that time.
    """

    __slots__ = ("_confirm_s", "_held", "_net")

    def __init__(self, confirm_s: float) -> None:
        self._confirm_s = confirm_s
        self._net = 0
        self._held: Crossing | None = None

    def step(self, net: int) -> None:
        """Add steps; any of them starts the wait for the confirmation anew."""
        if net:
            self._net += net
            self._held = None

    @property
    def is_idle(self) -> bool:
        """True where nothing waits to be told."""
        return self._net == 0

    def look(self, t_s: float, box: Box, confidence: float, *, is_clear: bool) -> Crossing | None:
        """Return the crossing that counts from now on, dated when the walk was clear of the line.

        Args:
            t_s: Now; the track was seen at this moment.
            box: Where, xyxy in pixels.
            confidence: Of this detection.
            is_clear: True where the foot point is beyond the margin, on whichever side.
        """
        if self._net == 0:
            return None
        if self._held is None and is_clear:
            self._held = Crossing(self._net, t_s, box, confidence)
        held = self._held
        if held is None or t_s - held.t_s < self._confirm_s:
            return None
        self._net, self._held = 0, None
        return held
