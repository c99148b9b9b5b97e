"""The engine: one turn in one transaction, and the loop that begins turns.

    inbox, conditions, what outlasted planned work ─▶ signals ─▶ `planner.plan` ─▶ incidents,
    timelines, deliveries; committed together, then told to open pages and to the dispatcher

What lives here: the order of a turn, and what wakes the loop: news (`NOW`, published when events
were committed), the next due time, and at least each `TICK_S`. What does not: deciding.

The rule: a turn takes its inputs out of the database and leaves its results in it, in one
transaction under one lock. So a process that dies in it has done nothing, two workers never decide
at once, and whoever comes next finds what there is to do. Turns hold the lock for milliseconds;
people's actions wait for it.
"""

import asyncio
import logging
from time import perf_counter
from typing import Final

import msgspec

from vedette.central.alerting import (
    asking,
    conditions,
    documents,
    handover,
    lasting,
    matching,
    places,
    planner,
    store,
)
from vedette.central.alerting.channels import facts as deliver
from vedette.central.alerting.channels import outbox
from vedette.central.alerting.facts import Book, Decision, Incident, Notice, Signal
from vedette.central.alerting.joining import World
from vedette.central.alerting.places import Places
from vedette.central.bulletin import Bulletin
from vedette.central.services import Services
from vedette.central.store.db import Database, Tx
from vedette.clock import wall_ms
from vedette.errors import StoreError

_log = logging.getLogger(__name__)

NOW: Final = "alerts:now"
"""The topic that wakes the loop."""

CHANGED: Final = "incidents"
"""The topic of pages: an incident is new or another."""

TICK_S: Final = 1.0
LOOK_MS: Final = 1_000
"""Conditions are looked at so often; events do not wait for that."""

AT_ONCE: Final = 500
PLACES_MS: Final = 10_000
SWEEP_MS: Final = 30_000
SET_BACK_MS: Final = 60_000
_FAULTS: Final = (ValueError, LookupError, ArithmeticError, TypeError, AttributeError)
"""What deciding raises about something that should not have been there."""

SHOWN_MEMBERS: Final = 20
"""Members that a notice carries."""


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn did.

    Attributes:
        lags_ms: Of each notice: how late it was decided.
        more: There was more than one turn takes: the next begins at once.
        next_ms: When the next look is due without news.
    """

    signals: int = 0
    incidents: int = 0
    notices: int = 0
    took_ms: float = 0.0
    lags_ms: list[int] = []
    more: bool = False
    next_ms: int | None = None


class Engine:
    """What turns have in common: what is read seldom. Thread: one event loop."""

    def __init__(self, db: Database, bulletin: Bulletin) -> None:
        self._db, self._bulletin = db, bulletin
        self._places, self._places_ms, self._asked = Places(), 0, frozenset[str]()
        self._looked_ms = 0
        self._swept_ms = 0

    async def turn(
        self, now_ms: int, *, look: bool | None = None, at_once: int = AT_ONCE
    ) -> Turned:
        """Take what there is, decide, write it down; `look`: at conditions too (None: each second).

        Args:
            now_ms: Central's steady time.
            look: At conditions too; None: once a second.
            at_once: Events that are taken at most.

        Raises:
            StoreError: The database failed; nothing of this turn is there.
        """
        began_s = perf_counter()
        looks = abs(now_ms - self._looked_ms) >= LOOK_MS if look is None else look
        async with self._db.transaction() as tx:
            await store.hold(tx)
            book = await documents.current(tx)
            await self._mind_clock_and_book(tx, book, now_ms)
            signals = await self._signals(tx, book, now_ms, looks, at_once)
            decision = await self._decide(tx, book, signals, now_ms)
            await store.carry_out(tx, decision, book.rules, now_ms)
            notices = [_shown(notice) for notice in decision.notices]
            notices += await _handed_over(tx, book, now_ms)
            await outbox.put(tx, notices, now_ms)
            await asking.put(tx, decision.asks, now_ms)
            next_ms, waits = await store.next_due(tx)
        if looks:
            self._looked_ms = now_ms
        self._tell(decision, bool(notices))
        return Turned(
            signals=len(signals),
            incidents=len(decision.incidents),
            notices=len(notices),
            took_ms=(perf_counter() - began_s) * 1000,
            lags_ms=[now_ms - notice.due_ms for notice in notices],
            more=(waits and at_once > 0) or (next_ms is not None and next_ms <= now_ms),
            next_ms=next_ms,
        )

    async def _mind_clock_and_book(self, tx: Tx, book: Book, now_ms: int) -> None:
        """Have every incident looked at where time went back; those without a rule where it went.

        So nothing waits for a moment that will not come soon.
        """
        rows = await tx.tuples("alert_turn_read")
        turned_ms, version = rows[0] if rows else (0, -1)
        if now_ms < turned_ms - SET_BACK_MS:
            await tx.run("incidents_wake_all", now_ms=now_ms)
            await tx.run("duties_wake", schedule=None)
        if version != book.version:
            enabled = [name for name, rule in book.rules.items() if rule.enabled]
            await tx.run("incidents_wake_ruleless", rules=enabled, now_ms=now_ms)
            await handover.sync(tx, book, now_ms)
        if version != book.version or abs(now_ms - turned_ms) >= LOOK_MS:
            await tx.run("alert_turn_write", now_ms=now_ms, book=book.version)

    async def turn_around_faults(self, now_ms: int) -> Turned:
        """Take one turn; what cannot be decided about is passed over, so others are.

        Conditions that cannot be judged wait for the next look. An event that cannot be decided
        about alone is left out of alerting for good, and the log says which: it stays in the list
        of events.

        Raises:
            StoreError: The database failed.
        """
        try:
            return await self.turn(now_ms)
        except _FAULTS:
            _log.exception("a turn failed", extra={"event": "alerts.turn_failed"})
        self._looked_ms = now_ms
        await self.turn(now_ms, look=False, at_once=0)  # where this fails, it is no event's fault
        async with self._db.transaction() as tx:
            first = await tx.value("alert_inbox_first")
        try:
            return await self.turn(now_ms, look=False, at_once=1)
        except _FAULTS:
            # By its number: another worker may have taken it, and what is first now is innocent.
            async with self._db.transaction() as tx:
                left_out = await tx.tuples("alert_inbox_drop", number=first)
            for device, event in left_out:
                _log.exception(
                    "an event was left out of alerting",
                    extra={"event": "alerts.left_out", "device": device, "left_out": event},
                )
        return Turned(more=True)

    async def _signals(
        self,
        tx: Tx,
        book: Book,
        now_ms: int,
        looks: bool,
        at_once: int,
    ) -> list[Signal]:
        signals = await store.outlasted(tx, now_ms, AT_ONCE)
        signals += await matching.take_inbox(tx, book, now_ms, at_once)
        if looks:
            signals += await conditions.look(tx, book, now_ms)
        return signals

    async def _decide(self, tx: Tx, book: Book, signals: list[Signal], now_ms: int) -> Decision:
        gone = await self._gone(tx, now_ms)
        incidents = await store.incidents_for(tx, signals, book.rules, now_ms, due=AT_ONCE)
        if not signals and not any(_is_due(one, now_ms) for one in incidents):
            return Decision()
        silences = await store.silences(tx, now_ms)
        groups = frozenset(name for one in silences for name in one.where.groups)
        world = World(
            places=await self._where_things_are(tx, groups, now_ms),
            overrides=await store.overrides(tx, now_ms),
            before=await store.before(tx, store.keys_of(signals, book.rules)),
            gone=gone,
            mending=await lasting.mending(tx),
        )
        return planner.plan(signals, incidents, book, silences, world, now_ms)

    async def _where_things_are(self, tx: Tx, groups: frozenset[str], now_ms: int) -> Places:
        """Return the fleet, read again after a while: names, folders and zones seldom change."""
        old = abs(now_ms - self._places_ms) >= PLACES_MS
        if old or not groups <= self._asked:
            self._places = await places.read(tx, None, groups)
            self._places_ms, self._asked = now_ms, groups
        return self._places

    async def _gone(self, tx: Tx, now_ms: int) -> frozenset[str]:
        """Return devices that are in incidents and were removed, now and then."""
        if abs(now_ms - self._swept_ms) < SWEEP_MS:
            return frozenset()
        self._swept_ms = now_ms
        rows = await tx.tuples("alert_gone_devices", limit=AT_ONCE)
        if rows:
            found = [incident for _, incident in rows]
            await tx.run("incidents_wake_these", incidents=found, now_ms=now_ms)
        return frozenset(str(device) for device, _ in rows)

    def _tell(self, decision: Decision, has_notices: bool) -> None:
        if decision.incidents:
            changed = [f"incident:{one.incident}" for one in decision.incidents]
            self._bulletin.publish(CHANGED, *changed)
        if has_notices:
            self._bulletin.publish(deliver.NOW)


async def _handed_over(tx: Tx, book: Book, now_ms: int) -> list[Notice]:
    """Return word to whoever came on call, after what this turn decided is written."""
    due = await handover.due(tx, now_ms)
    if not due:
        return []
    return await handover.turn(tx, due, book, await store.overrides(tx, now_ms), now_ms)


def _is_due(incident: Incident, now_ms: int) -> bool:
    return incident.due_ms is not None and incident.due_ms <= now_ms


def _shown(notice: Notice) -> Notice:
    """Return a notice with as much of a storm as fits."""
    incident = notice.incident
    if len(incident.members) <= SHOWN_MEMBERS:
        return notice
    fewer = msgspec.structs.replace(
        incident,
        members=incident.members[:SHOWN_MEMBERS],
        more=incident.more + len(incident.members) - SHOWN_MEMBERS,
    )
    return msgspec.structs.replace(notice, incident=fewer)


async def turn(db: Database, bulletin: Bulletin, now_ms: int) -> Turned:
    """Take one turn with everything read anew."""
    return await Engine(db, bulletin).turn(now_ms, look=True)


async def run(services: Services) -> None:
    """Turn on news, when something is due, and each `TICK_S`, until cancelled."""
    engine = Engine(services.db, services.bulletin)
    async with services.bulletin.subscribe(NOW) as news:
        while True:
            wait_s = TICK_S
            try:
                turned = await engine.turn_around_faults(wall_ms(services.clock.now_at()))
                wait_s = _wait_s(turned, wall_ms(services.clock.now_at()))
                services.meters.turned(
                    signals=turned.signals,
                    seconds=turned.took_ms / 1000,
                    lags_s=[lag_ms / 1000 for lag_ms in turned.lags_ms],
                )
            except StoreError as error:
                _log.error(
                    "alerts wait for the database",
                    extra={"event": "alerts.failed", "why": str(error)},
                )
                await asyncio.sleep(TICK_S)
            await news.wait(wait_s)


def _wait_s(turned: Turned, now_ms: int) -> float:
    if turned.more:
        return 0.0
    if turned.next_ms is None:
        return TICK_S
    return min(max((turned.next_ms - now_ms) / 1000, 0.0), TICK_S)
