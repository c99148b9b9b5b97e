"""Who is silent, and since when: deadlines by receive time, and central's own absences.

A device has one indexed deadline. A batch moves only the time of contact, which no index has; the
loop looks at deadlines that passed, moves those of devices that were heard since, turns what is
overdue with a conditional update (any number of centrals may do so), and dates the transition when
the device was last heard, not when the loop noticed.

Central writes a heartbeat; where the last one is older than `AWAY_S`, central itself was away
(stopped, suspended, or without its database, or put back from a backup): that is a CENTRAL_DOWN
spell, and every device gets its full time again before it is called dark. A beat from a time to
come says that the clock was set back: what was to happen then is moved to now, and written down.

A site whose devices fell silent together is dark as one fact, with those devices; it is back with
the first of them.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from vedette.central.bulletin import Bulletin
from vedette.central.steady import SteadyClock, Step
from vedette.central.store.db import Database, Tx
from vedette.clock import wall_ms
from vedette.errors import StoreError
from vedette.wire.streams import DARK_AFTER_S

_log = logging.getLogger(__name__)

BEAT_S: Final = 5.0
AWAY_S: Final = 20.0
TICK_S: Final = 2.0
_AT_ONCE: Final = 500
_DARK_AFTER_MS: Final = int(DARK_AFTER_S * 1000)


TOGETHER_MS: Final = 600_000
"""Devices of one site that fall silent within this fell silent together."""

SET_BACK_MS: Final = 5_000
"""Clocks of two centrals may differ by this."""


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


class SiteTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A whole site went dark, or came back."""

    site: str
    at_ms: int
    state: str
    devices: list[str]


async def turn_sites(
    db: Database, now_ms: int, sites: Collection[str] | None = None
) -> list[SiteTurn]:
    """Return which sites this call found wholly dark (among `sites`; None: all), or back."""
    async with db.transaction() as tx:
        back = await tx.all("sites_back", SiteTurn, now_ms=now_ms)
        if sites is not None and not sites:
            return back
        fell = await tx.all(
            "sites_fell",
            SiteTurn,
            sites=None if sites is None else sorted(sites),
            now_ms=now_ms,
            together_ms=TOGETHER_MS,
        )
    return [*back, *fell]


async def note_steps(db: Database, steps: Sequence[Step]) -> None:
    """Write down what happened to the wall clock."""
    if steps:
        async with db.transaction() as tx:
            await tx.many("clock_step_add", [msgspec.structs.asdict(step) for step in steps])


async def beat(db: Database, now_ms: int) -> tuple[int, int] | None:
    """Say that central is here; return the spell in which it was not, if there was one."""
    async with db.transaction() as tx:
        last = await tx.value("heartbeat_read")
        await tx.run("heartbeat_write", now_ms=now_ms)
        if isinstance(last, int) and last > now_ms + SET_BACK_MS:
            await _set_back(tx, last, now_ms)
            return None
        if not isinstance(last, int) or now_ms - last <= AWAY_S * 1000:
            return None
        await tx.run("central_down_add", start_ms=last, end_ms=now_ms)
        await tx.run("deadlines_grace", deadline_ms=now_ms + _DARK_AFTER_MS)
    _log.warning(
        "central was away", extra={"event": "central.was_away", "seconds": (now_ms - last) / 1000}
    )
    return last, now_ms


async def _set_back(tx: Tx, last_ms: int, now_ms: int) -> None:
    """Have nothing wait for a time that will not come soon, and write down between which two."""
    _log.error(
        "time was set back",
        extra={"event": "clock.set_back", "by_s": (last_ms - now_ms) / 1000},
    )
    at = {"now_ms": now_ms, "deadline_ms": now_ms + _DARK_AFTER_MS}
    for of in ("devices", "transitions", "sites", "downs", "coverage", "conditions"):
        await tx.run(f"set_back_{of}", **at)
    await tx.run("clock_step_add", at_ms=now_ms, by_ms=now_ms - last_ms, outcome="set_back")


async def tick(
    db: Database, bulletin: Bulletin, now_ms: int, *, every_site: bool = False
) -> list[Dark]:
    """Beat, then turn what is overdue: in this order, so that an absence gives grace first.

    Sites are looked at where a device fell silent just now; with `every_site` all of them, as after
    a start: a crash between the two must not hide a site.
    """
    if await beat(db, now_ms):
        bulletin.publish("fleet")
    turned = await turn_overdue(db, now_ms)
    for dark in turned:
        _log.warning(
            "device is dark",
            extra={"event": "device.dark", "device": dark.device, "since_ms": dark.at_ms},
        )
        bulletin.publish(f"device:{dark.device}", f"site:{dark.site}", "fleet")
    sites = None if every_site else {dark.site for dark in turned}
    for change in await turn_sites(db, now_ms, sites):
        _log.warning(
            "site is dark" if change.state == "dark" else "site is back",
            extra={
                "event": f"site.{change.state}",
                "site": change.site,
                "since_ms": change.at_ms,
                "devices": len(change.devices),
            },
        )
        bulletin.publish(f"site:{change.site}", "fleet")
    return turned


async def run(db: Database, bulletin: Bulletin, clock: SteadyClock) -> None:
    """Tick until cancelled; a database that is away stops nothing."""
    every_site = True
    steps: list[Step] = []
    while True:
        steps = [*steps, *clock.take_steps()][-100:]
        try:
            await tick(db, bulletin, wall_ms(clock.now_at()), every_site=every_site)
            await note_steps(db, steps)
            every_site, steps = False, []
        except StoreError as error:
            _log.error("liveness failed", extra={"event": "liveness.failed", "why": str(error)})
        await asyncio.sleep(TICK_S)
