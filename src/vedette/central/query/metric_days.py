"""Laying metrics out by device and day: again whenever an hour of it was merged or an event came.

A device's day is laid out from its merged hours as a whole, so doing it twice changes nothing. The
device is held, so that no mark is taken whose news is not committed yet. Health reports are read
from the raw messages when their hour is complete; those that come later are not added.
"""

import logging
from collections import defaultdict
from typing import Final

import msgspec
import numpy as np

from vedette.central.query import packing, scalars
from vedette.central.rollups import DAY_MS, HOUR_MS, floor_ms
from vedette.central.store.db import Database, Tx
from vedette.wire.messages import HealthReport

_log = logging.getLogger(__name__)

DEVICES_PER_TICK: Final = 500
_DAYS_AT_ONCE: Final = 7
_LATE_MS: Final = 3 * DAY_MS

_health = msgspec.msgpack.Decoder(HealthReport).decode


async def lay_out(db: Database, now_ms: int, hours_days: int, limit: int = DEVICES_PER_TICK) -> int:
    """Lay out days that changed; return of how many devices."""
    async with db.transaction() as tx:
        devices = [name for (name,) in await tx.tuples("metric_dirty_some", limit=limit)]
    for device in devices:
        async with db.transaction() as tx:
            await tx.value("device_hold", device=device)
            days = await tx.tuples("metric_dirty_take", device=device, limit=_DAYS_AT_ONCE)
            for (day_ms,) in days:
                # Hours of older days are gone in part: what was laid out of them stands.
                if day_ms > now_ms - hours_days * DAY_MS + DAY_MS:
                    await lay_day(tx, device, day_ms)
    return len(devices)


async def lay_day(tx: Tx, device: str, day_ms: int) -> None:
    """Lay out one day of a device from its merged hours and its events.

    Two workers that merge hours of one day wait for each other at the day's mark.
    """
    hours = await tx.tuples("hours_of_device_day", device=device, day_ms=day_ms)
    laid = scalars.lay(
        ((camera, start_ms, scalars.counts_of(body)) for camera, start_ms, body in hours), day_ms
    )
    if sum(map(len, laid.values())) >= scalars.MAX_SERIES:
        _log.error(
            "a device counts under too many names: not all of them are laid out",
            extra={"event": "metrics.too_many", "device": device, "day_ms": day_ms},
        )
    cameras = [name for (name,) in await tx.tuples("cameras_of_device", device=device)]
    events: dict[packing.Series, packing.Hours] = defaultdict(lambda: np.zeros(24))
    for camera, kind, label, hour, count in await tx.tuples(
        "event_hours_of_device_day", device=device, cameras=cameras, day_ms=day_ms
    ):
        events[camera, kind, label][hour] = count
    if events:
        laid["events"] = dict(events)
    await packing.write(tx, device, day_ms, packing.COUNTED, laid)


async def lay_health(tx: Tx, device: str, from_ms: int, to_ms: int) -> None:
    """Lay out the readings of a device's complete hours within a window."""
    by_day: dict[int, scalars.Laid] = {}
    for hour_ms in range(floor_ms(from_ms, HOUR_MS), to_ms, HOUR_MS):
        found = await tx.tuples(
            "health_of_hour",
            device=device,
            from_ms=hour_ms,
            to_ms=hour_ms + HOUR_MS,
            received_ms=hour_ms + HOUR_MS + _LATE_MS,
        )
        if not found:
            continue
        day_ms = floor_ms(hour_ms, DAY_MS)
        if day_ms not in by_day:
            by_day[day_ms] = await packing.read(tx, device, day_ms, packing.DEVICE)
        reports = ((made_ms, _health(body)) for made_ms, body in found)
        fresh = scalars.lay_health(reports, (hour_ms - day_ms) // HOUR_MS)
        by_day[day_ms] = scalars.overlay(by_day[day_ms], fresh)
    for day_ms, laid in by_day.items():
        await packing.write(tx, device, day_ms, packing.DEVICE, laid)
