"""A fleet taking a model: shadow, canary, pilot, waves, in accelerated time, at the real central.

Central runs inside this process with its pages, its ingest and its rollout engine, over a database
of its own, and everybody's clock is the one that is moved here. The devices are those of
`simulate`, with `taking` in them: each fetches what it should run, verifies central's signature and
the approval of the offline key, goes through the steps and reports the numbers of what it runs. In
the shadow stage it reports what the candidate made of the same pictures, and two people review what
both differ about (`beside`, `reviewing`).

Two nights are lived through: one with the old model, which is what was before, as much of it as the
rollout may take; the day is left out (everybody is off, central too); in the second night the
rollout begins. The rule: central learns
nothing but what devices report and people judge, and decides by itself; nobody tells it which model
is the bad one.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg

from vedette.central import people
from vedette.central.rollouts import jobs, looking, ordering
from vedette.central.rollouts.facts import Asked, Order, RolloutState
from vedette.central.rollouts.views import RolloutView
from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.clock import ManualClock
from vedette.errors import StoreError
from vedette.sim.fleet import registering, roll
from vedette.sim.fleet.http import Pool
from vedette.sim.fleet.inside import Inside, central_inside
from vedette.sim.fleet.roll import Member
from vedette.sim.fleet.rolling import ZONES, Fleet
from vedette.sim.fleet.wish import (
    BEGINS_H,
    NEW,
    OLD,
    OVER,
    ROLLOUT,
    Outcome,
    Told,
    Watch,
    Wish,
    check,
    is_as_wished,
    plan,
)
from vedette.wire.updates import Approval

CONNECTIONS: Final = 32
HARDWARE: Final = ("Jetson Orin Nano", "Raspberry Pi 5", "Intel N100")
_START: Final = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
_NIGHT_H: Final = 11.0
_EVENING_H: Final = 0.5
_HOUR_MS: Final = 3_600_000


async def live(database_url: str, wish: Wish, folder: Path, watch: Watch | None = None) -> Outcome:
    """Return how a rollout ended, on an empty, migrated database; files lie in `folder`.

    Raises:
        ConfigError: A wish that cannot be.
        StoreError, CentralUnreachable: The database or central inside failed.
    """
    check(wish)
    clock = ManualClock(_START)
    state = folder / "central"
    await asyncio.to_thread(state.mkdir, mode=0o700, parents=True, exist_ok=True)
    async with (
        central_inside(database_url, clock, pages_state=state) as inside,
        Pool(inside.url, CONNECTIONS) as pool,
    ):
        audience = inside.services.online_key.public.keyid
        members = await asyncio.to_thread(
            roll.enrol_in_bulk, database_url, wish.devices, audience, clock, per_site=wish.per_site
        )
        await asyncio.to_thread(_furnish, database_url, members)
        link = await _first_administrator(inside)
        fleet = Fleet(inside, pool, members, wish, clock, folder)
        teller = _Teller(fleet, inside, link, watch)
        night_h = min(_NIGHT_H, wish.max_h)
        await teller.live_for(night_h)
        await fleet.sleep(BEGINS_H - night_h - _EVENING_H)
        await teller.live_for(_EVENING_H)
        await _begin(fleet, inside, wish)
        state = RolloutState.APPROVED
        until_h = teller.hours + wish.max_h
        while state not in OVER and teller.hours < until_h:
            state = await teller.live_for(1 / 6)
        await teller.live_for(0.25)
        return await teller.outcome(wish)


def run(wish: Wish, watch: Watch | None = None) -> Outcome:
    """Return how a rollout ended, with a database of our own.

    Raises:
        ConfigError, StoreError, CentralUnreachable: As `live`.
    """
    check(wish)
    with tempfile.TemporaryDirectory(prefix="vedette-rollout-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # the database may have to run as another user
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.conninfo))
            return asyncio.run(live(server.conninfo, wish, folder, watch))


class _Teller:
    """Says where it stands, each ten simulated minutes."""

    def __init__(self, fleet: Fleet, inside: Inside, link: str, watch: Watch | None) -> None:
        self._fleet = fleet
        self._inside = inside
        self._link = link
        self._watch = watch
        self._course: list[tuple[str, float]] = []

    @property
    def hours(self) -> float:
        return (self._fleet.now_ms - self._fleet.start_ms) / _HOUR_MS

    async def live_for(self, hours: float) -> RolloutState:
        """Live on, telling now and then; return where the rollout is."""
        left_h = hours
        view = None
        while left_h > 1e-9:
            part_h = min(left_h, 1 / 6)
            await self._fleet.live(part_h)
            left_h -= part_h
            view = await self._seen()
            if view is not None:
                self._note(view)
            if self._watch:
                self._watch(
                    Told(
                        hours=self.hours,
                        url=self._inside.url,
                        link=self._link,
                        view=view,
                        running=dict(self._fleet.running()),
                    )
                )
        return view.row.state if view else RolloutState.DRAFT

    def _note(self, view: RolloutView) -> None:
        at = str(view.row.state)
        if view.row.state is RolloutState.WAVE:
            at += f" {view.row.stage + 1}"
        if not self._course or self._course[-1][0] != at:
            self._course.append((at, round(self.hours, 2)))

    async def _seen(self) -> RolloutView | None:
        async with self._inside.services.db.transaction() as tx:
            now_ms = self._inside.services.now_ms()
            return await looking.one(tx, ROLLOUT, None, now_ms=now_ms)

    async def outcome(self, wish: Wish) -> Outcome:
        """Return how it ended, and whether that is how it should."""
        view = await self._seen()
        if view is None:
            raise StoreError("the rollout is not there any more")
        row, fleet = view.row, self._fleet
        running = fleet.running()
        wished = is_as_wished(
            wish,
            row,
            held_up=fleet.held_up,
            touched=fleet.touched,
            have_it=running[fleet.models[fleet.new.digest].name],
        )
        return Outcome(
            state=row.state,
            reason=row.reason,
            hours=self.hours,
            stage=str(row.plan.stages[row.stage].state),
            course=self._course,
            running=dict(running),
            touched=fleet.touched,
            reviewed=fleet.reviewed,
            requests=fleet.requests,
            odd=fleet.odd[:10],
            is_as_wished=wished,
        )


def _furnish(database_url: str, members: Sequence[Member]) -> None:
    """Give sites their time zones, and devices their hardware."""
    sites = sorted({member.site for member in members})
    try:
        with psycopg.connect(database_url, connect_timeout=10) as db, db.cursor() as cursor:
            cursor.executemany(
                "UPDATE sites SET time_zone = %s WHERE site = %s",
                [(ZONES[number % len(ZONES)], site) for number, site in enumerate(sites)],
            )
            cursor.executemany(
                "UPDATE devices SET hardware = %s WHERE device = %s",
                [(HARDWARE[n % len(HARDWARE)], member.name) for n, member in enumerate(members)],
            )
    except psycopg.Error as error:
        raise StoreError(f"cannot furnish the fleet: {error}") from error


async def _first_administrator(inside: Inside) -> str:
    """Return a link with which whoever watches makes themselves an administrator."""
    async with inside.services.db.transaction() as tx:
        wanted = people.Wanted(role="admin", everything=True)
        token = await people.add(
            tx, "watcher", wanted, actor="sim", now_ms=inside.services.now_ms()
        )
    return f"{inside.url}/setup/{token}"


async def _begin(fleet: Fleet, inside: Inside, wish: Wish) -> None:
    """Have one person draft it, another agree, the offline key approve, and the first start it."""
    services = inside.services
    wanted = plan(wish, fleet.new, fleet.old)
    now_ms = fleet.now_ms
    fleet.approval = Approval(
        rollout=ROLLOUT,
        issued_ms=now_ms,
        expires_ms=now_ms + 30 * 24 * _HOUR_MS,
        artefacts=[fleet.new, fleet.old],
        sites=["*"],
        note="simulated",
    )
    await fleet.signers.publish(fleet.approval)
    async with services.db.transaction() as tx:
        for version in (OLD, NEW):
            await registering.register(tx, version, now_ms)
        await ordering.make(tx, wanted, actor="mia", note="simulated", now_ms=now_ms)
        await ordering.approve(tx, ROLLOUT, actor="otto", two_people=True, now_ms=now_ms)
        asked = Asked(order=Order.START, at_ms=now_ms, by="mia")
        await ordering.order(tx, ROLLOUT, asked, now_ms=now_ms)
    await jobs.turn(services, now_ms)
