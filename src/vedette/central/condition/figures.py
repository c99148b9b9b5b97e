"""A site's day in short: what was counted, how sure that is, and the figures beside it.

The numbers are those of `query` and `business.kpi`; here they are only asked for. The rule: a count
stands beside its coverage, and is null where nothing was observed.
"""

from typing import Final

import msgspec

from vedette.central.business import kpi
from vedette.central.query import answers
from vedette.central.query.engine import Question
from vedette.central.rollups import DAY_MS
from vedette.central.store.db import Tx
from vedette.central.views import Coverage

COUNTS: Final = (
    ("zone.visits", "visits"),
    ("line.forward", "crossed forward"),
    ("line.backward", "crossed backward"),
)
MAX_KPIS: Final = 6
LEAST_S: Final = 3600.0


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number of a day; `coverage` of what was counted, None of a figure that was pushed."""

    name: str
    value: float | None
    unit: str = ""
    coverage: Coverage | None = None
    note: str = ""


async def today(tx: Tx, site: str, from_ms: int, now_ms: int) -> list[Figure]:
    """Return the counts of a site since `from_ms` that are not nothing, and its pushed figures."""
    found: list[Figure] = []
    for metric, name in COUNTS:
        asked = Question(
            metric=metric, from_ms=from_ms, to_ms=now_ms, of=f"site:{site}", clock="utc"
        )
        told = await answers.ask(tx, asked, [site], now_ms)
        for line in told.lines:
            point = line.points[0]
            if point.value is None and metric != COUNTS[0][0]:
                continue
            if point.value or metric == COUNTS[0][0]:
                found.append(
                    Figure(name=name, value=point.value, coverage=point.coverage, note=point.note)
                )
    for kind in (await kpi.kinds(tx))[:MAX_KPIS]:
        pushed = await kpi.values(tx, kind.kpi, [site], from_ms=from_ms, to_ms=now_ms)
        if pushed:
            step = kpi.over(kind, pushed, 1, from_ms, now_ms)
            found.append(Figure(name=kind.title, value=step.value, unit=kind.unit))
    return found


async def written_bytes_a_day(tx: Tx, device: str, site: str, now_ms: int) -> float | None:
    """Return what a device's processes had its disk write a day, over the last 7; None unknown.

    A day of the time of which reports speak: a device that was silent for a while wrote, too.
    """
    asked = Question(
        metric="device.written_bytes",
        from_ms=now_ms - 7 * DAY_MS,
        to_ms=now_ms,
        of=f"device:{device}",
        clock="utc",
    )
    told = await answers.ask(tx, asked, [site], now_ms)
    points = [line.points[0] for line in told.lines]
    seconds = sum(point.coverage.observed_s for point in points)
    total = sum(point.value or 0.0 for point in points)
    return total / seconds * DAY_MS / 1000 if total and seconds >= LEAST_S else None
