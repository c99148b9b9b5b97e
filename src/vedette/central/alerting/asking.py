"""Asking devices for the clips of incidents, where a ladder's step says so.

    a step is taken ──▶ alert_asks (in the turn's transaction) ──▶ the device is asked ──▶ its
    answer, or that there will be none, on the incident's timeline

What lives here: rows that are due, asked and settled. What does not: the question itself (`clips`),
what the device lets go. The rules: nothing waits for a clip; a row is moved by a conditional update
and asking twice is asking once, so a restart strands and doubles nothing; where the site's policy
lets nothing leave, nobody is asked, and that is said.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.alerting import picturing
from vedette.central.alerting.facts import Ask, History
from vedette.central.clips import fetching, looking
from vedette.central.clips.fetching import Wanted
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, NotAllowed, StoreError

_log = logging.getLogger(__name__)

NOW: Final = "alerts:asks"
"""The topic that wakes the loop."""

SETTLE_MS: Final = 15_000
"""A clip ends seconds after its event; before it is packed a device has none."""

AGAIN_MS: Final = 60_000
GIVE_UP_MS: Final = 15 * 60_000
TICK_S: Final = 2.0
AT_ONCE: Final = 20
_ACTOR: Final = "central"


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    evidence: str
    incident: str
    event: str
    site: str
    camera: str
    made_ms: int


class _Settled(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    evidence: str
    incident: str
    event: str
    state: str
    said: str


async def put(tx: Tx, asks: Sequence[Ask], now_ms: int) -> None:
    """Have each clip asked for once it can be there; one that was asked for already is not."""
    for ask in asks:
        subject = ask.seen.subject
        await tx.run(
            "clip_ask_put",
            device=subject.device,
            evidence=ask.seen.evidence,
            incident=ask.incident,
            event=ask.seen.event,
            site=subject.site,
            camera=subject.camera,
            now_ms=now_ms,
            due_ms=max(now_ms, min(ask.seen.at_ms, now_ms) + SETTLE_MS),
        )


async def turn(services: Services, now_ms: int) -> int:
    """Ask for what is due and write down what came; return how many rows moved."""
    async with services.db.transaction() as tx:
        due = await tx.all(
            "clip_asks_take", _Row, now_ms=now_ms, again_ms=now_ms + AGAIN_MS, limit=AT_ONCE
        )
        settled = await tx.all("clip_asks_settled", _Settled, now_ms=now_ms, limit=AT_ONCE)
        for one in settled:
            text = "the clip came" if one.state == "here" else "no clip came"
            said = f"{text}: {one.said}" if one.said else text
            await _tell(tx, one.incident, one.event, said, now_ms)
    for row in due:
        await _ask(services, row, now_ms)
    for one in settled:
        services.bulletin.publish(f"incident:{one.incident}")
    return len(due) + len(settled)


async def _ask(services: Services, row: _Row, now_ms: int) -> None:
    said, is_over = "", True
    async with services.db.transaction() as tx:
        leaves = await looking.may_leave(tx, row.site)
    if leaves:
        wanted = Wanted(
            device=row.device,
            evidence=row.evidence,
            event=row.event,
            site=row.site,
            camera=row.camera,
        )
        try:
            await fetching.ask(services.db, services.bulletin, wanted, actor=_ACTOR, now_ms=now_ms)
            said, is_over = "the device is asked for the clip", False
        except NotAllowed as error:
            if now_ms < row.made_ms + GIVE_UP_MS:
                return  # it is asked for many at the moment: again in a minute
            said = f"the device was not asked for the clip: {error}"
        except ConfigError as error:
            said = f"the device was not asked for the clip: {error}"
    else:
        said = picturing.STAYS
    async with services.db.transaction() as tx:
        query = "clip_ask_drop" if is_over else "clip_ask_asked"
        if await tx.run(query, device=row.device, evidence=row.evidence, now_ms=now_ms):
            await _tell(tx, row.incident, row.event, said, now_ms)
    services.bulletin.publish(f"incident:{row.incident}")


async def _tell(tx: Tx, incident: str, event: str, text: str, now_ms: int) -> None:
    line = History(
        incident=incident, at_ms=now_ms, kind="picture", actor=_ACTOR, text=text, event=event
    )
    await tx.run(
        "delivery_history",
        incident=incident,
        at_ms=now_ms,
        kind=line.kind,
        actor=line.actor,
        text=line.text,
        body=msgspec.json.encode(line),
    )


async def run(services: Services) -> None:
    """Ask for what is due and look at what came, until cancelled."""
    async with services.bulletin.subscribe(NOW) as news:
        while True:
            try:
                await turn(services, services.now_ms())
            except StoreError as error:
                _log.error(
                    "clips of alerts wait for the database",
                    extra={"event": "alerts.asks_failed", "why": str(error)},
                )
                await asyncio.sleep(TICK_S)
            await news.wait(TICK_S)
