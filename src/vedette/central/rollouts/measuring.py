"""Latency and confidence of devices before a rollout and in its stage, from merged hours.

What lives here: reading and reducing them to one number for each device and side. What does not:
comparing (`stats.differences`). The rule: before and after are the same hours of the day, so that
day is not compared with night; a sample of each side is read, by lot, a few devices in each turn.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from vedette.central.rollouts import hours
from vedette.central.rollouts.facts import Measured
from vedette.central.rollouts.store import Row
from vedette.central.rollups import DAY_MS, HOUR_MS
from vedette.central.store.db import Tx
from vedette.stats.sketch import ExpHistogram
from vedette.wire.messages import Bins, Histogram

SAMPLED: Final = 200
"""Devices of each side: twice as many would narrow an interval by less than a third."""

AT_ONCE: Final = 20
HOURS: Final = 12
"""The newest of a stage that are read, with those a day or two before it as what was before."""

_LATENCY: Final = "total"
_QUANTILE: Final = 0.95


class _Body(msgspec.Struct, frozen=True):
    """A merged hour as far as it matters here: the rest is skipped, not decoded."""

    stage_ms: dict[str, Histogram] = {}
    confidence: dict[str, Bins] = {}


_body = msgspec.msgpack.Decoder(_Body).decode


async def measure(tx: Tx, row: Row) -> tuple[list[Measured], list[Measured]]:
    """Return p95 of latency in ms, and mean confidence, of the devices that have both sides."""
    of: dict[str, object] = {"rollout": row.rollout, "stage": row.stage}
    due = await tx.tuples("measure_due", **of, digest=row.digest, most=SAMPLED, limit=AT_ONCE)
    began_ms = hours.ceil_hour(row.started_ms or row.made_ms)
    rows = [of | await _measured(tx, began_ms, *one) for one in due]
    await tx.many("measured_put", rows)
    latency: list[Measured] = []
    confidence: list[Measured] = []
    for device, taken, *sides in await tx.tuples("measured_all", **of):
        for into, before, after in ((latency, *sides[:2]), (confidence, *sides[2:])):
            if before is not None and after is not None:
                into.append(Measured(device=device, taken=taken, before=before, after=after))
    return latency, confidence


async def _measured(  # noqa: PLR0917 - a row of `measure_due`
    tx: Tx, began_ms: int, device: str, taken: bool, from_ms: int, to_ms: int
) -> dict[str, object]:
    after = list(range(max(from_ms, to_ms - HOURS * HOUR_MS), to_ms, HOUR_MS))
    before = [same_hour_before(hour_ms, began_ms) for hour_ms in after]
    latency_before, confidence_before = reduced(await _bodies(tx, device, before))
    latency_after, confidence_after = reduced(await _bodies(tx, device, after))
    return {
        "device": device,
        "taken": taken,
        "to_ms": to_ms,
        "latency_before_ms": latency_before,
        "latency_after_ms": latency_after,
        "confidence_before": confidence_before,
        "confidence_after": confidence_after,
    }


def same_hour_before(hour_ms: int, began_ms: int) -> int:
    """Return the same hour of the day, on the last day on which it was over before `began_ms`."""
    days = (hour_ms + HOUR_MS - began_ms + DAY_MS - 1) // DAY_MS
    return hour_ms - max(1, days) * DAY_MS


async def _bodies(tx: Tx, device: str, at_ms: list[int]) -> list[_Body]:
    rows = await tx.packed("measure_bodies", device=device, hours=at_ms)
    return [_body(body) for _, body in rows]


def reduced(bodies: Iterable[_Body]) -> tuple[float | None, float | None]:
    """Return p95 of latency in ms and mean confidence, 0 to 1; None where there is nothing."""
    latency: ExpHistogram | None = None
    weight, total = 0.0, 0
    for body in bodies:
        found = body.stage_ms.get(_LATENCY)
        if found is not None:
            sketch = ExpHistogram.from_wire(found)
            if latency is None:
                latency = sketch
            else:
                latency.merge(sketch)
        for bins in body.confidence.values():
            width = 1 / max(1, len(bins.counts))
            weight += sum((at + 0.5) * width * count for at, count in enumerate(bins.counts))
            total += sum(bins.counts)
    p95 = latency.quantile(_QUANTILE) if latency is not None else None
    return p95, weight / total if total else None
