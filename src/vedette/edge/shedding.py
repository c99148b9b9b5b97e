"""Whether the slow path is shed: pictures come too late to do more with them than the fast path.

Pure. Here: the decision with its hysteresis. Not here: what the slow path is (`edge.analysis`) and
how its absence is counted (`vision.aggregates`). The rule: tracks, zones, lines and events are
never shed; heatmap, presence, occupancy and detection statistics are, and their time is stated.
"""

from dataclasses import dataclass
from typing import Final

LATE: Final = 0.8
"""Part of its budget from which on a picture's age counts as late."""

EASY: Final = 0.5
"""Part of its budget below which it counts as in time; between the two nothing changes."""

LATE_LOOKS: Final = 3
"""So many late pictures in a row begin the shedding: one of them is an accident."""

EASY_S: Final = 2.0
"""It ends after pictures were in time for so long without one that was not."""


@dataclass(slots=True)
class Shedding:
    """One camera's slow path under load.

    Args:
        budget_ms: Oldest that a picture may get; None where pictures cannot be late (a file).
    """

    budget_ms: float | None
    is_on: bool = False
    _late: int = 0
    _easy_since_s: float | None = None

    def look(self, age_ms: float, t_s: float, *, overtaken: bool = False) -> bool:
        """Return whether the slow path is to be shed for this picture.

        Args:
            age_ms: From its capture until it came out of inference.
            t_s: Seconds on a clock that never goes back.
            overtaken: True where a picture since the last look was dropped for a newer one: nobody
                was free to take it, so the one that came through is late, whatever its age.
        """
        if self.budget_ms is None:
            return False
        is_late = overtaken or age_ms > LATE * self.budget_ms
        self._late = self._late + 1 if is_late else 0
        if is_late or age_ms >= EASY * self.budget_ms:
            self._easy_since_s = None
        elif self._easy_since_s is None:
            self._easy_since_s = t_s
        if self._late >= LATE_LOOKS:
            self.is_on = True
        elif self._easy_since_s is not None and t_s - self._easy_since_s >= EASY_S:
            self.is_on = False
        return self.is_on

    def interrupt(self) -> None:
        """Begin anew after a gap."""
        self.is_on, self._late, self._easy_since_s = False, 0, None
