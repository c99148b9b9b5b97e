"""Windows cut into steps, from minutes to months, by UTC or by each site's clock. Pure.

A step of a site's day begins at its midnight, whatever the clocks did that night. What is counted
by the hour belongs to the step in which its UTC hour begins: in zones that are not whole hours from
UTC a day therefore begins up to 45 minutes early.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from vedette.central import hours
from vedette.central.rollups import DAY_MS, HOUR_MS, MINUTE_MS, floor_ms
from vedette.clock import from_wall_ms, wall_ms
from vedette.errors import ConfigError

STEPS: Final = ("total", "minute", "hour", "day", "week", "month")
MAX_POINTS: Final = 3000
MAX_WINDOW_MS: Final = 3700 * DAY_MS


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of a window.

    Attributes:
        from_ms, to_ms: The window in whole units; `unit_ms` is an hour or a minute.
        starts: Start of every step in the first zone, ms.
        ends: Their ends.
        step_of: By time zone, the step that each unit of the window belongs to; int64, (units,).
    """

    from_ms: int
    to_ms: int
    unit_ms: int
    starts: list[int]
    ends: list[int]
    step_of: dict[str, npt.NDArray[np.int64]]

    @property
    def units(self) -> int:
        """How many hours or minutes the window has."""
        return (self.to_ms - self.from_ms) // self.unit_ms


def make(from_ms: int, to_ms: int, step: str, zones: Iterable[str]) -> Grid:
    """Return the steps of a window; the first is begun and the last cut where the window is.

    Raises:
        ConfigError: A window or a number of steps that is too large, or no such step.
    """
    if step not in STEPS:
        raise ConfigError(
            f"no step is called {step[:20]!r}", operator_hint=f"use {', '.join(STEPS)}"
        )
    if not 0 <= from_ms < to_ms:
        raise ConfigError("the window is empty", operator_hint="from_ms must be before to_ms")
    if to_ms - from_ms > MAX_WINDOW_MS:
        raise ConfigError("the window is too long", operator_hint="ask for ten years at most")
    unit_ms = MINUTE_MS if step == "minute" else HOUR_MS
    first_ms, last_ms = floor_ms(from_ms, unit_ms), -floor_ms(-to_ms, unit_ms)
    least_ms = {"minute": MINUTE_MS, "hour": HOUR_MS}.get(step, DAY_MS)
    if step != "total" and (last_ms - first_ms) // least_ms > MAX_POINTS:
        raise ConfigError(
            f"more than {MAX_POINTS} points", operator_hint="take a longer step or a shorter window"
        )
    listed = sorted(set(zones)) or ["UTC"]
    units = np.arange(first_ms, last_ms, unit_ms, dtype=np.int64)
    edges = {name: _edges(first_ms, last_ms, step, hours.zone_of(name)) for name in listed}
    labels = sorted({label for found in edges.values() for label, _ in found})
    at = {label: number for number, label in enumerate(labels)}
    step_of: dict[str, npt.NDArray[np.int64]] = {}
    starts = [0] * len(labels)
    for name, found in reversed(edges.items()):
        numbers = np.array([at[label] for label, _ in found], dtype=np.int64)
        edge_ms = np.array([start for _, start in found], dtype=np.int64)
        step_of[name] = numbers[np.maximum(np.searchsorted(edge_ms, units, "right") - 1, 0)]
        for label, start in found:
            starts[at[label]] = start
    ends = [*starts[1:], last_ms]
    return Grid(
        from_ms=first_ms,
        to_ms=last_ms,
        unit_ms=unit_ms,
        starts=[max(start, first_ms) for start in starts],
        ends=ends,
        step_of=step_of,
    )


def _edges(from_ms: int, to_ms: int, step: str, tz: tzinfo) -> list[tuple[str, int]]:
    """Return the local name and the start (ms) of every step that the window touches."""
    if step == "total":
        return [("", from_ms)]
    if step in {"minute", "hour"}:
        unit_ms = MINUTE_MS if step == "minute" else HOUR_MS
        return [(f"{at:020d}", at) for at in range(from_ms, to_ms, unit_ms)]
    local = from_wall_ms(from_ms).astimezone(tz)
    day = datetime(local.year, local.month, local.day)  # noqa: DTZ001 - a date on the wall
    if step == "week":
        day -= timedelta(days=day.weekday())
    elif step == "month":
        day = day.replace(day=1)
    found: list[tuple[str, int]] = []
    while (start := wall_ms(day.replace(tzinfo=tz).astimezone(UTC))) < to_ms:
        found.append((day.isoformat(), start))
        if step == "month":
            day = (day + timedelta(days=32)).replace(day=1)
        else:
            day += timedelta(days=7 if step == "week" else 1)
    return found
