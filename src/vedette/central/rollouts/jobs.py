"""Carrying rollouts on: facts, a decision, and what follows of it, again and again.

What lives here: one turn over everything that is due, and the loop that begins turns. What does
not: the decision (`planner`), reading and writing (`store`), signing (`assigning`). A turn looks at
what is, not at what happened since the last one, so one that is lost with its process is made up
for by the next.

The rule: each rollout is one transaction that holds its row. Another worker passes it over; a
restart repeats nothing, because every step names the attempt or state that it begins from. Nothing
here is needed for what was assigned to go on.
"""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from vedette.central.bulletin import Bulletin
from vedette.central.rollouts import (
    approving,
    assigning,
    evidence,
    lighting,
    planner,
    returning,
    store,
)
from vedette.central.rollouts.facts import (
    Asked,
    Decision,
    Evidence,
    Order,
    RolloutState,
)
from vedette.central.services import Services
from vedette.central.store import listening
from vedette.central.store.db import Database, Tx
from vedette.clock import wall_ms
from vedette.errors import StoreError
from vedette.wire.updates import Approval

_log = logging.getLogger(__name__)

TICK_S: Final = 10.0
SOON_S: Final = 0.2
CHANNEL: Final = "vedette_rollouts"
"""PostgreSQL's, by which an order wakes the loops of every central on the database."""

NOW: Final = "rollouts:now"
"""The topic that wakes the loop."""

ORDERED: Final = "rollouts"
"""The topic of pages: something moved, or somebody ordered something."""


async def tick(
    db: Database,
    bulletin: Bulletin,
    *,
    state: Path,
    now_ms: int,
    two_people: bool = True,
) -> list[str]:
    """Decide about every rollout that is due; return those in which anything moved.

    What was decided is signed by `assigning.sign_due`, in transactions of their own: a turn over
    many devices must not hold them against their own reports.
    """
    async with db.transaction() as tx:
        due = [str(name) for (name,) in await tx.tuples("rollouts_due", now_ms=now_ms)]
    how = Custom(state=state, two_people=two_people)
    moved = [name for name in due if await _one(db, name, how, now_ms)]
    if moved:
        bulletin.publish(ORDERED, *(f"rollout:{name}" for name in moved))
    return moved


class Custom(msgspec.Struct, frozen=True, kw_only=True):
    """Where central keeps what the offline keys approved, and its own custom of approving."""

    state: Path
    two_people: bool


async def _one(db: Database, rollout: str, how: Custom, now_ms: int) -> bool:
    async with db.transaction() as tx:
        row = await tx.one("rollout_try", store.Row, rollout=rollout)
        if row is None:
            return False  # another worker has it
        plan, progress = row.asked, row.where
        settled = await store.settle(tx, plan, now_ms)
        known = await lighting.look(tx, rollout, await store.devices(tx, plan), now_ms)
        found = await evidence.gather(tx, row, plan, known, now_ms)
        sites = {one.device.site for one in known}
        devices = [one.device for one in known]
        approval = await approving.refresh(tx, row.rollout, how.state)
        found = msgspec.structs.replace(
            found,
            approved=_approved(row, approval, sites, how, now_ms),
            no_way_back=returning.unapproved(plan, devices, approval, now_ms),
        )
        decision = planner.decide(plan, progress, devices, found, now_ms)
        moved = await store.carry_out(tx, row, plan, decision, now_ms)
        await _supersede(tx, row, decision, now_ms)
    _told(rollout, decision, found)
    return moved or settled > 0


def _approved(
    row: store.Row, approval: Approval | str, sites: Iterable[str], how: Custom, now_ms: int
) -> dict[str, str]:
    """Return, by site, why the artefact may not be assigned there now; empty texts: it may."""
    person = approving.second_person(row.made_by, row.approved_by, is_needed=how.two_people)
    artefact = row.asked.artefact
    return {
        site: person or approving.lacks(approval, artefact, site, now_ms) for site in sorted(sites)
    }


async def _supersede(tx: Tx, row: store.Row, decision: Decision, now_ms: int) -> None:
    """End rollouts of the same slot that were finished before this one is."""
    was, state = row.where.state, decision.progress.state
    if state is not RolloutState.DONE or was is RolloutState.DONE:
        return
    found = await tx.tuples(
        "rollouts_before",
        rollout=row.rollout,
        kind=row.kind,
        slot=row.slot,
        made_ms=row.made_ms,
        sites=row.sites,
    )
    for (name,) in found:
        other = await store.get(tx, str(name), hold=True)
        if other is None or other.at is not RolloutState.DONE:
            continue
        order = Asked(order=Order.SUPERSEDE, at_ms=now_ms, why=f"{row.rollout} is done")
        progress = other.where
        orders = [*progress.orders, order]
        await store.change(tx, other.asked, msgspec.structs.replace(progress, orders=orders))
        await tx.run("rollout_superseded", rollout=other.rollout, by=row.rollout)


def _told(rollout: str, decision: Decision, found: Evidence) -> None:
    """Write one line about a decision in which anything follows."""
    if not (decision.assigns or decision.marks or decision.refused):
        return
    _log.info(
        "a rollout goes on",
        extra={
            "event": "rollout.decided",
            "rollout": rollout,
            "state": str(decision.progress.state),
            "assigned": len(decision.assigns),
            "marked": len(decision.marks),
            "gates": {gate.gate: str(gate.verdict) for gate in decision.gates},
            "gated": str(found.gated or ""),
            "reasons": decision.reasons[:5],
        },
    )


async def turn(services: Services, now_ms: int) -> bool:
    """Decide about what is due, and sign what follows; True where anything moved."""
    moved = await tick(
        services.db,
        services.bulletin,
        state=services.config.state,
        now_ms=now_ms,
        two_people=services.config.rollouts.two_people,
    )
    await assigning.sign_due(services.db, services.bulletin, services.online_key, now_ms)
    return bool(moved)


async def hear(services: Services) -> None:
    """Wake the loop and the pages where anybody on this database orders something, until cancelled.

    Whoever types at the command line is another process; without this they would wait `TICK_S`.
    """

    def heard(rollout: str) -> None:
        services.bulletin.publish(NOW, ORDERED, f"rollout:{rollout}")

    await listening.listen(services.db.conninfo, CHANNEL, heard)


async def run(services: Services) -> None:
    """Turn every `TICK_S`, and as soon as somebody orders something, until cancelled.

    What moved is looked at once more soon: a stage that was just entered takes its devices in then.
    """
    async with services.bulletin.subscribe(NOW) as ordered:
        while True:
            moved = False
            try:
                moved = await turn(services, wall_ms(services.clock.now_at()))
            except StoreError as error:
                _log.error(
                    "rollouts wait for the database",
                    extra={"event": "rollout.failed", "why": str(error)},
                )
                await asyncio.sleep(TICK_S)
            await ordered.wait(SOON_S if moved else TICK_S)
