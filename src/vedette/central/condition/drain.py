"""When a backlog will be gone, said honestly. Pure.

The number of waiting messages over time is all that central knows. A straight line through the
newest readings is drawn twice, through all of them and through the later half: two answers that
differ say how much the estimate is worth. The rule: a backlog that does not fall has no estimate.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.views import Point

FEW: Final = 4
SMALL: Final = 20
LONGEST_S: Final = 30 * 86_400.0


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """How a backlog goes.

    Attributes:
        state: `empty`, `falling`, `steady` (neither), `rising` or `unknown` (too few readings).
        waiting: Messages now.
        soonest_s, latest_s: Between these it will be gone, if it goes on like this.
    """

    state: str
    waiting: int | None = None
    soonest_s: float | None = None
    latest_s: float | None = None


def drain(points: Sequence[Point]) -> Drain:
    """Return how a backlog goes, from its readings in order of time; breaks begin anew."""
    run: list[tuple[float, float]] = []
    for point in points:
        run = [*run, (point.t_ms / 1000, point.value)] if point.value is not None else []
    if not run:
        return Drain(state="unknown")
    waiting = round(run[-1][1])
    if waiting <= SMALL:
        return Drain(state="empty", waiting=waiting)
    if len(run) < FEW:
        return Drain(state="unknown", waiting=waiting)
    slopes = [_slope(run), _slope(run[len(run) // 2 :])]
    # Less than a hundredth of it an hour is no direction.
    least = waiting / 100 / 3600
    if all(slope > least for slope in slopes):
        return Drain(state="rising", waiting=waiting)
    if not all(slope < -least for slope in slopes):
        return Drain(state="steady", waiting=waiting)
    ends = sorted(min(waiting / -slope, LONGEST_S) for slope in slopes)
    return Drain(state="falling", waiting=waiting, soonest_s=ends[0], latest_s=ends[-1])


def _slope(run: Sequence[tuple[float, float]]) -> float:
    """Return messages per second of the straight line with the least squared error."""
    middle_t = sum(t for t, _ in run) / len(run)
    middle_n = sum(n for _, n in run) / len(run)
    spread = sum((t - middle_t) ** 2 for t, _ in run)
    return sum((t - middle_t) * (n - middle_n) for t, n in run) / spread if spread else 0.0
