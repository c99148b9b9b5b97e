"""One turn: what came in, for every export that asks for it, into the outbox.

The rule: a turn is one transaction that takes its inbox and leaves its deliveries, so a restart or
a second worker loses nothing and puts nothing twice. Clips that an export wants to have fetched
wait in the same inbox until their device can be asked for one more.
"""

import asyncio
import logging
from typing import Final

import msgspec

from vedette.central.alerting import places
from vedette.central.alerting.channels import outbox
from vedette.central.alerting.channels import store as channels
from vedette.central.alerting.channels.facts import NOW as SEND_NOW
from vedette.central.alerting.facts import Subject
from vedette.central.clips import fetching
from vedette.central.clips.fetching import Wanted
from vedette.central.exporting import packing, store
from vedette.central.exporting.facts import Export, Thing, is_about, is_told
from vedette.central.exporting.packing import Row
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, NotAllowed, VedetteError

_log = logging.getLogger(__name__)

NOW: Final = "alerts:now"
"""Published when events were committed; exports look then too."""

LOOK_S: Final = 2.0
AT_ONCE: Final = 200
FETCHES: Final = 20
MOST_OPEN: Final = fetching.MAX_OPEN - 2
"""Clips that a device is asked for at once by exports: people can still ask for some."""

RECENT: Final = 500
RECENT_MS: Final = 7 * 86_400_000
_ACTOR: Final = "export"


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn came to."""

    taken: int = 0
    put: int = 0
    asked: int = 0


class _Fetch(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    device: str
    event: str
    evidence: str
    site: str
    camera: str


async def turn(services: Services, now_ms: int) -> Turned:
    """Have everything that came in waiting to be sent where an export asks for it."""
    async with services.db.transaction() as tx:
        if await tx.value("export_lock") is not True:
            return Turned()
        rows = await tx.all("export_take", Row, limit=AT_ONCE)
        turned = await _feed(tx, services, rows, now_ms) if rows else Turned()
        fetches = await tx.all(
            "export_fetches", _Fetch, now_ms=now_ms, most=MOST_OPEN, limit=FETCHES
        )
    if turned.put:
        services.bulletin.publish(SEND_NOW)
    asked = [await _ask(services, fetch, now_ms) for fetch in fetches]
    return msgspec.structs.replace(turned, asked=sum(asked))


async def _feed(tx: Tx, services: Services, rows: list[Row], now_ms: int) -> Turned:
    exports = [row.read() for row in await store.all_of(tx) if row.enabled]
    if not exports:
        return Turned(taken=len(rows))
    kinds = {row.channel: row.kind for row in await tx.all("channels_all", channels.Row)}
    groups = {group for export in exports for group in export.where.groups}
    fleet = await places.read(tx, {row.site for row in rows}, groups)
    put = 0
    for row in rows:
        try:
            thing = await packing.thing_of(tx, row, now_ms)
        except msgspec.MsgspecError as error:
            _unreadable(row, error)
            continue
        for export in exports:
            if not is_about(export, thing) or not places.holds(export.where, at(row), fleet):
                continue
            if export.fetch and row.kind == "evidence" and row.status == "complete":
                await tx.run(
                    "export_fetch_put",
                    device=row.device,
                    event=row.event,
                    evidence=row.evidence,
                    now_ms=now_ms,
                )
            if is_told(export, thing):
                shown = packing.linked(services, export, thing, now_ms)
                parcel = packing.parcel_of(export, kinds.get(export.channel, ""), shown)
                put += parcel is not None and await outbox.put_parcel(tx, parcel, now_ms)
    return Turned(taken=len(rows), put=put)


def at(row: Row) -> Subject:
    """Return where something happened, as places are asked for."""
    return Subject(site=row.site, device=row.device, camera=row.camera)


async def newest(tx: Tx, export: Export, now_ms: int) -> tuple[Thing | None, int]:
    """Return the newest thing that an export asks for, and how many there are of late."""
    rows = await tx.all("export_recent", Row, from_ms=now_ms - RECENT_MS, limit=RECENT)
    fleet = await places.read(tx, {row.site for row in rows}, set(export.where.groups))
    first, count = None, 0
    for row in rows:
        try:
            thing = packing.read(row)
        except msgspec.MsgspecError as error:
            _unreadable(row, error)
            continue
        if is_about(export, thing) and places.holds(export.where, at(row), fleet):
            first, count = first or row, count + 1
    return (await packing.thing_of(tx, first, now_ms) if first else None), count


def _unreadable(row: Row, error: Exception) -> None:
    _log.error(
        "what was kept of an event cannot be read: it is not exported",
        extra={
            "event": "export.unreadable",
            "device": row.device,
            "of": row.event,
            "why": str(error),
        },
    )


async def _ask(services: Services, fetch: _Fetch, now_ms: int) -> bool:
    """Ask a device for a clip; where it cannot be asked for more just now it is asked later."""
    wanted = Wanted(
        device=fetch.device,
        evidence=fetch.evidence,
        event=fetch.event,
        site=fetch.site,
        camera=fetch.camera,
    )
    try:
        await fetching.ask(services.db, services.bulletin, wanted, actor=_ACTOR, now_ms=now_ms)
    except NotAllowed:
        return False
    except ConfigError as error:
        _log.info(
            "a clip is not asked for",
            extra={"event": "export.not_asked", "device": fetch.device, "why": str(error)},
        )
    async with services.db.transaction() as tx:
        await tx.run("export_fetched", number=fetch.number)
    return True


async def run(services: Services) -> None:
    """Take turns until cancelled."""
    async with services.bulletin.subscribe(NOW) as news:
        while True:
            try:
                turned = await turn(services, services.now_ms())
            except (VedetteError, msgspec.MsgspecError) as error:  # nothing was taken
                _log.warning("exports wait", extra={"event": "export.failed", "why": str(error)})
                turned = Turned()
                await asyncio.sleep(LOOK_S)
            if turned.taken < AT_ONCE:
                await news.wait(LOOK_S)
