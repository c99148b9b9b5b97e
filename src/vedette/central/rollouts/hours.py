"""How many hours of a device are known to have been covered: before a rollout, in its stage, since.

What lives here: adding up, device by device, what the coverage ledger knows in full. What does not:
the ledger (`central.coverage`, `query.keeping`), what went wrong in those hours (`evidence`).

The rule: an hour counts when the ledger can say all of it, and not before: a device that is silent,
or whose records wait in its spool, soaks for nothing. Whole hours only; the one in which something
began belongs to neither side. Each device is added up to where it was known, and goes on from
there, so that a turn costs what is new.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from vedette.central.query import packing, runs
from vedette.central.rollouts.store import Row
from vedette.central.rollups import DAY_MS, HOUR_MS, floor_ms
from vedette.central.store import arrays
from vedette.central.store.db import Tx

BEFORE_MS: Final = 14 * DAY_MS
AT_ONCE: Final = 1_000
"""Devices that one turn adds up; the next goes on with the others."""

_HOURS_PER_MS: Final = 1 / HOUR_MS

Hourly = dict[int, tuple[float, float]]
"""By start of the hour: covered camera-hours, and the part of all cameras' time, 0 to 1."""


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """What is added up of one device, and up to where; see the columns of `rollout_devices`."""

    device: str
    through_ms: int
    gathered_ms: int | None
    since_from_ms: int | None
    since_h: float
    before_h: float | None
    covered_h: float
    covered_ms: int | None
    confirmed_ms: int | None
    active_ms: int | None
    is_taken: bool


def ceil_hour(at_ms: int) -> int:
    """Return the first full hour from a moment on."""
    return floor_ms(at_ms + HOUR_MS - 1, HOUR_MS)


def stage_from_ms(row: Row) -> int:
    """Return the first full hour of the stage that a rollout is in."""
    return ceil_hour(row.where.stage_since_ms)


async def add_up(tx: Tx, row: Row, limit: int = AT_ONCE) -> int:
    """Add up what is known of devices since they were added up last; return of how many."""
    stage_ms = stage_from_ms(row)
    found = await tx.tuples(
        "hours_due", rollout=row.rollout, digest=row.digest, stage_ms=stage_ms, limit=limit
    )
    due = [Sums(**dict(zip(Sums.__struct_fields__, one, strict=True))) for one in found]
    if not due:
        return 0
    began_ms = ceil_hour(row.started_ms or row.made_ms)
    from_ms = min(_needed_from(one, began_ms, stage_ms) for one in due)
    known = await hourly(
        tx, [one.device for one in due], from_ms, max(one.through_ms for one in due)
    )
    fresh = [added(one, known.get(one.device, {}), began_ms, stage_ms) for one in due]
    names = ("device", "gathered_ms", "since_from_ms", "since_h", "before_h", "covered_h",
             "covered_ms", "confirmed_ms")  # fmt: skip
    rows = [[getattr(one, name) for name in names] for one in fresh]
    await tx.run("hours_put", **arrays.columns(rows, *names), rollout=row.rollout)
    return len(fresh)


def _since_from(one: Sums, stage_ms: int) -> int:
    if one.is_taken and one.active_ms is not None:
        return max(stage_ms, ceil_hour(one.active_ms))
    return stage_ms


def _needed_from(one: Sums, began_ms: int, stage_ms: int) -> int:
    """Return from which hour on something of this device is still to be added."""
    if one.before_h is None:
        return began_ms - BEFORE_MS
    since_ms = _since_from(one, stage_ms)
    first = [one.gathered_ms or since_ms if one.since_from_ms == since_ms else since_ms]
    if one.confirmed_ms is not None:
        first.append(one.covered_ms or ceil_hour(one.confirmed_ms))
    return min(first)


def added(one: Sums, known: Hourly, began_ms: int, stage_ms: int) -> Sums:
    """Return the sums of a device with what is known now. Pure."""
    since_ms = _since_from(one, stage_ms)
    goes_on = one.since_from_ms == since_ms
    gathered_ms = (one.gathered_ms if goes_on else None) or since_ms
    before_h = one.before_h
    if before_h is None:
        before_h = _sum(known, began_ms - BEFORE_MS, min(began_ms, one.through_ms))[0]
    covered_h, covered_ms = one.covered_h, one.covered_ms
    if one.confirmed_ms is not None:
        from_ms = covered_ms or ceil_hour(one.confirmed_ms)
        covered_h += _sum(known, from_ms, one.through_ms)[1]
        covered_ms = max(from_ms, one.through_ms)
    return msgspec.structs.replace(
        one,
        since_from_ms=since_ms,
        since_h=(one.since_h if goes_on else 0.0) + _sum(known, gathered_ms, one.through_ms)[0],
        gathered_ms=max(gathered_ms, one.through_ms),
        before_h=before_h,
        covered_h=covered_h,
        covered_ms=covered_ms,
    )


def _sum(known: Hourly, from_ms: int, to_ms: int) -> tuple[float, float]:
    """Return camera-hours, and hours of the device, within a window of full hours."""
    within = [value for hour_ms, value in known.items() if from_ms <= hour_ms < to_ms]
    return sum(cameras for cameras, _ in within), sum(part for _, part in within)


async def hourly(tx: Tx, devices: Sequence[str], from_ms: int, to_ms: int) -> dict[str, Hourly]:
    """Return what the ledger keeps of some devices' hours, by device and hour."""
    if from_ms >= to_ms:
        return {}
    rows = await tx.packed(
        "ask_metric_days",
        metrics=[runs.OBSERVED],
        devices=list(devices),
        from_ms=floor_ms(from_ms, DAY_MS),
        to_ms=to_ms,
        lump=False,
    )
    found: dict[str, Hourly] = defaultdict(dict)
    for device, _, keys, days, body in rows:
        _lay(found[device], keys, days, body)
    return found


def _lay(into: Hourly, keys: str, days: bytes, body: bytes) -> None:
    series, matrix = packing.decode(keys, body)
    observed_ms = matrix.astype(np.float64).sum(axis=1)
    for day_ms, by_hour in zip(np.frombuffer(days, ">i8"), observed_ms, strict=True):
        for hour in np.flatnonzero(by_hour):
            cameras = float(by_hour[hour]) * _HOURS_PER_MS
            into[int(day_ms) + int(hour) * HOUR_MS] = (cameras, cameras / len(series))


def spells(hours: Mapping[int, int]) -> list[int]:
    """Return the first hours of unbroken runs: an outage of three hours is one event."""
    return [hour_ms for hour_ms in sorted(hours) if hour_ms - HOUR_MS not in hours]
