"""What is drawn of a rollout, as numbers that templates put into SVG. Pure geometry.

The rule: an interval is drawn with its threshold in the same scale, and what could not be measured
is not drawn.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from vedette.central.console.rollouts import words
from vedette.central.rollouts.views import GateView

_MARGIN: Final = 0.08
_COURSE_W: Final = 100.0
_COURSE_H: Final = 40.0
MAX_POINTS: Final = 200


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a bar, in percent of its width."""

    key: str
    count: int
    x: float
    width: float


def shares(counts: Mapping[str, int]) -> list[Share]:
    """Return the parts of a bar of devices, in the order of `words.BAR`."""
    total = sum(counts.values())
    if not total:
        return []
    found: list[Share] = []
    x = 0.0
    known = [str(key) for key in words.BAR if counts.get(key)]
    others = [key for key in counts if key not in words.DEVICES and counts[key]]
    for key in [*known, *others]:
        width = 100 * counts[key] / total
        found.append(Share(key=key, count=counts[key], x=round(x, 3), width=round(width, 3)))
        x += width
    return found


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A gate's value on its scale, in percent; None: not to be drawn. Open ends reach the edge."""

    value: float | None
    low: float | None
    high: float | None
    threshold: float | None
    zero: float | None
    left: float
    right: float
    opens_left: bool = False
    opens_right: bool = False


def interval(gate: GateView) -> Interval | None:
    """Return where a gate's numbers lie, or None where there is nothing to place."""
    told = [x for x in (gate.value, gate.low, gate.high, gate.threshold) if x is not None]
    if gate.low is None and gate.high is None and (not gate.value or gate.threshold is None):
        return None
    left, right = min(*told, 0.0), max(*told, 0.0)
    spread = (right - left) or 1.0
    has_interval = gate.low is not None or gate.high is not None
    left -= spread * _MARGIN if left < 0 or gate.low is None else 0.0
    right += spread * _MARGIN

    def at(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - left) / (right - left), 2)

    return Interval(
        value=at(gate.value),
        low=at(gate.low) if gate.low is not None else (0.0 if has_interval else None),
        high=at(gate.high) if gate.high is not None else (100.0 if has_interval else None),
        threshold=at(gate.threshold),
        zero=at(0.0) if left < 0 else None,
        left=left,
        right=right,
        opens_left=has_interval and gate.low is None,
        opens_right=has_interval and gate.high is None,
    )


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """A gate's value over time, in a box of 100 by 40: SVG points, and where the threshold lies."""

    points: str
    threshold_y: float | None
    last_y: float
    from_ms: int
    to_ms: int
    top: float


def course(gate: GateView) -> Course | None:
    """Return the course of a gate, or None where fewer than two moments are known."""
    told = _thinned(gate.course)
    if len(told) < 2 or told[0][0] >= told[-1][0]:
        return None
    from_ms, to_ms = told[0][0], told[-1][0]
    values = [value for _, value in told]
    highest = max(*values, gate.threshold or 0.0, 0.0) * 1.1 or 1.0
    lowest = min(*values, gate.threshold or 0.0, 0.0)
    spread = highest - lowest

    def y(value: float) -> float:
        return round(_COURSE_H * (1 - (value - lowest) / spread), 2)

    points = " ".join(
        f"{_COURSE_W * (at - from_ms) / (to_ms - from_ms):.2f},{y(value)}" for at, value in told
    )
    return Course(
        points=points,
        threshold_y=None if gate.threshold is None else y(gate.threshold),
        last_y=y(values[-1]),
        from_ms=from_ms,
        to_ms=to_ms,
        top=highest,
    )


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most `MAX_POINTS` of them, the last one included."""
    step = -(-len(points) // MAX_POINTS) or 1
    kept = list(points[::step])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept


def soak_percent(covered_h: float | None, soak_h: float) -> float | None:
    """Return how much of a stage's soak is done, 0 to 100; None where nothing is known."""
    if covered_h is None:
        return None
    return 100.0 if soak_h <= 0 else round(min(100.0, 100 * covered_h / soak_h), 1)
