"""Folding weeks that are over: seven days of every metric of a device become one row each.

A question about a large fleet over months reads a seventh of the rows. The rule: a day is laid out
in exactly one place, as a day or in its week; late news about a folded week unfolds it (in
`packing`, in the transaction that writes), and it is folded again when all is settled. Any number
of workers may do this at once: the device is held, and the marks on its days keep others from
laying one out meanwhile.
"""

from typing import Final

import msgspec

from vedette.central.query import packing
from vedette.central.rollups import DAY_MS
from vedette.central.store.db import Database, Tx

SETTLED_MS: Final = 2 * DAY_MS
WEEKS_PER_TICK: Final = 1000


async def fold(db: Database, now_ms: int, limit: int = WEEKS_PER_TICK) -> int:
    """Fold weeks that are over and settled; return how many."""
    async with db.transaction() as tx:
        due = await tx.tuples("weeks_to_fold", before_ms=now_ms - SETTLED_MS, limit=limit)
    for device, week_ms in due:
        async with db.transaction() as tx:
            await _fold(tx, device, week_ms)
    return len(due)


async def _fold(tx: Tx, device: str, week_ms: int) -> None:
    of = {"device": device, "week_ms": week_ms}
    await tx.value("device_hold", device=device)
    if await tx.run("metric_dirty_hold", **of) < 7:
        return  # a day of it has to be laid out again: the marks that were put now do no harm
    rows = await tx.tuples("metric_days_fold", **of)
    # Where it was folded before, and a day was written since, that day unfolded it.
    if rows:
        made = packing.fold(rows, week_ms)
        await tx.many("metric_week_put", [of | msgspec.structs.asdict(week) for week in made])
        await tx.run("metric_folded_put", **of)
    await tx.run("metric_dirty_release", **of)
