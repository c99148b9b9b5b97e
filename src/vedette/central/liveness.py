"""Who is silent, and since when: deadlines by receive time, and central's own absences.

A device has one indexed deadline. A batch moves only the time of contact, which no index has; the
loop looks at deadlines that passed, moves those of devices that were heard since, turns what is
overdue with a conditional update (any number of centrals may do so), and dates the transition when
the device was last heard, not when the loop noticed.

Central writes a heartbeat; where the last one is older than `AWAY_S`, central itself was away
(stopped, suspended, or without its database): that is a CENTRAL_DOWN spell, and every device gets
its full time again before it is called dark.
"""

import asyncio
import logging
from typing import Final

import msgspec

from vedette.central.bulletin import Bulletin
from vedette.central.store.db import Database
from vedette.clock import Clock, wall_ms
from vedette.errors import StoreError
from vedette.wire.streams import DARK_AFTER_S

_log = logging.getLogger(__name__)

BEAT_S: Final = 5.0
AWAY_S: Final = 20.0
TICK_S: Final = 2.0
_AT_ONCE: Final = 500
_DARK_AFTER_MS: Final = int(DARK_AFTER_S * 1000)


class Dark(msgspec.Struct, frozen=True, kw_only=True):
    """A device that has fallen silent, and when."""

    device: str
    site: str
    at_ms: int


async def turn_overdue(db: Database, now_ms: int) -> list[Dark]:
    """Return the devices that this call turned dark."""
    turned: list[Dark] = []
    at = {"now_ms": now_ms, "dark_after_ms": _DARK_AFTER_MS}
    async with db.transaction() as tx:
        await tx.run("deadlines_move", **at)
    while True:
        async with db.transaction() as tx:
            some = await tx.all("devices_overdue", Dark, **at, limit=_AT_ONCE)
        turned += some
        if len(some) < _AT_ONCE:
            return turned


async def beat(db: Database, now_ms: int) -> tuple[int, int] | None:
    """Say that central is here; return the spell in which it was not, if there was one."""
    async with db.transaction() as tx:
        last = await tx.value("heartbeat_read")
        await tx.run("heartbeat_write", now_ms=now_ms)
        if not isinstance(last, int) or now_ms - last <= AWAY_S * 1000:
            return None
        await tx.run("central_down_add", start_ms=last, end_ms=now_ms)
        await tx.run("deadlines_grace", deadline_ms=now_ms + _DARK_AFTER_MS)
    _log.warning(
        "central was away", extra={"event": "central.was_away", "seconds": (now_ms - last) / 1000}
    )
    return last, now_ms


async def tick(db: Database, bulletin: Bulletin, now_ms: int) -> list[Dark]:
    """Beat, then turn what is overdue: in this order, so that an absence gives grace first."""
    if await beat(db, now_ms):
        bulletin.publish("fleet")
    turned = await turn_overdue(db, now_ms)
    for dark in turned:
        _log.warning(
            "device is dark",
            extra={"event": "device.dark", "device": dark.device, "since_ms": dark.at_ms},
        )
        bulletin.publish(f"device:{dark.device}", f"site:{dark.site}", "fleet")
    return turned


async def run(db: Database, bulletin: Bulletin, clock: Clock) -> None:
    """Tick until cancelled; a database that is away stops nothing."""
    while True:
        try:
            await tick(db, bulletin, wall_ms(clock.now_at()))
        except StoreError as error:
            _log.error("liveness failed", extra={"event": "liveness.failed", "why": str(error)})
        await asyncio.sleep(TICK_S)
