"""Slow work in the background: hours and days from minutes, partitions, retention.

Nothing urgent is here (that is `liveness`). Each step is one small transaction that may be
repeated, so a crash between two steps costs nothing.

An hour that is over is merged again from its minutes whenever one of them changed (until then,
and while it waits, its minutes are read instead). Past their retention its minutes are dropped and
the hour is closed: only then are late ones added to what stands, and dropped at once. Each minute
is therefore in exactly one of the two, whatever the order of arrival.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec

from vedette.central import audit, inventory, quarantine, rollups, rotation, upkeep
from vedette.central.alerting import conditions
from vedette.central.query import keeping, metric_days, sketch_days, weeks
from vedette.central.settings import Retention
from vedette.central.store.db import Database, Tx
from vedette.clock import Clock, SystemClock, wall_ms
from vedette.errors import StoreError, WireError
from vedette.wire.streams import STREAMS

_log = logging.getLogger(__name__)

TICK_S: Final = 30.0
SETTLE_MS: Final = 45_000
"""An hour that changed just now is left for a moment, so that it is merged once and not often."""

JOIN_AFTER_MS: Final = 49 * rollups.HOUR_MS
_JOIN_MORE_THAN: Final = 200
_AT_ONCE: Final = 50
_DAYS_AHEAD: Final = 2
_RAW_KEEP_DAYS: Final = tuple(sorted({row.retention_days for row in STREAMS}))


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """An hour of a camera whose minutes changed."""

    device: str
    camera: str
    hour_ms: int


async def merge_hours(db: Database, now_ms: int) -> int:
    """Merge hours whose minutes changed, and their days; return how many hours."""
    done = 0
    while True:
        async with db.transaction() as tx:
            hours = await tx.all(
                "dirty_hours_take",
                Hour,
                before_ms=now_ms - SETTLE_MS,
                over_ms=now_ms - rollups.HOUR_MS - SETTLE_MS,
                limit=_AT_ONCE,
            )
            # In one order, so that two workers never wait for each other's days.
            hours.sort(key=lambda h: (h.device, h.hour_ms, h.camera))
            for hour in hours:
                await _merge_hour(tx, hour)
            days = {
                (h.device, h.camera, rollups.floor_ms(h.hour_ms, rollups.DAY_MS)) for h in hours
            }
            for device, camera, day_ms in sorted(days):
                await _merge_day(tx, device, camera, day_ms)
            for device, day_ms in sorted({(device, day_ms) for device, _, day_ms in days}):
                await metric_days.lay_day(tx, device, day_ms)
        done += len(hours)
        if len(hours) < _AT_ONCE:
            return done


async def _merge_hour(tx: Tx, hour: Hour) -> None:
    of = {"device": hour.device, "camera": hour.camera}
    window = {"from_ms": hour.hour_ms, "to_ms": hour.hour_ms + rollups.HOUR_MS}
    standing = await tx.value("hour_closed", **of, start_ms=hour.hour_ms)
    is_closed = isinstance(standing, bytes)
    query = "minutes_take_of_hour" if is_closed else "minutes_of_hour"
    bodies = [body for (body,) in await tx.tuples(query, **of, **window)]
    merged = _merged([*bodies, standing] if is_closed else bodies, **of, start_ms=hour.hour_ms)
    if merged:
        await tx.run("hour_put", **of, start_ms=hour.hour_ms, body=merged)


async def _merge_day(tx: Tx, device: str, camera: str, day_ms: int) -> None:
    of = {"device": device, "camera": camera}
    hours = await tx.tuples("hours_of_day", **of, from_ms=day_ms, to_ms=day_ms + rollups.DAY_MS)
    merged = _merged([body for (body,) in hours], **of, start_ms=day_ms)
    if merged:
        await tx.run("day_put", **of, start_ms=day_ms, body=merged)


def _merged(bodies: list[bytes], *, device: str, camera: str, start_ms: int) -> bytes:
    """Return all of them as one; empty where there are none, or where their sum cannot be.

    One device that counts the impossible must not end the merging for all others.
    """
    try:
        return rollups.add_up(map(rollups.decode, bodies)) if bodies else b""
    except (WireError, ArithmeticError) as error:
        _log.error(
            "counts cannot be merged",
            extra={
                "event": "jobs.unmergeable",
                "device": device,
                "camera": camera,
                "start_ms": start_ms,
                "why": str(error),
            },
        )
        return b""


async def close_hours(db: Database, before_ms: int) -> None:
    """Drop the minutes of merged hours that were over at `before_ms`, and close those hours."""
    async with db.transaction() as tx:
        devices = [name for (name,) in await tx.tuples("hours_to_close", before_ms=before_ms)]
    for device in devices:
        async with db.transaction() as tx:
            # Against ingest, which adds to a minute that it has read: the one waits for the other.
            await tx.value("device_hold", device=device)
            await tx.run("hours_close", device=device, before_ms=before_ms)


async def make_partitions(db: Database, now_ms: int) -> None:
    """Have a partition of raw messages for today and the days ahead; drop those past their time."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    async with db.transaction() as tx:
        present = {str(name) for (name,) in await tx.tuples("partitions_list")}
    for keep_days in _RAW_KEEP_DAYS:
        for ahead in range(_DAYS_AHEAD + 1):
            day = today + timedelta(days=ahead)
            if f"reports_{keep_days}_{day:%Y%m%d}" not in present:
                await _make_partition(db, keep_days, day)
        oldest = f"reports_{keep_days}_{today - timedelta(days=keep_days):%Y%m%d}"
        for name in present:
            is_day = name.startswith(f"reports_{keep_days}_") and not name.endswith("other")
            if is_day and name < oldest:
                async with db.transaction() as tx:
                    await tx.connection.execute(f"DROP TABLE IF EXISTS {name}".encode())


async def _make_partition(db: Database, keep_days: int, day: date) -> None:
    """Make one partition; rows that already lie in the catch-all for that day stay there."""
    following = day + timedelta(days=1)
    statement = (
        f"CREATE TABLE IF NOT EXISTS reports_{keep_days}_{day:%Y%m%d} "
        f"PARTITION OF reports_{keep_days} FOR VALUES FROM ('{day}') TO ('{following}')"
    )
    try:
        async with db.transaction() as tx:
            await tx.connection.execute(statement.encode())
    except StoreError as error:
        _log.warning(
            "no partition",
            extra={"event": "store.no_partition", "day": str(day), "why": str(error)},
        )


async def expire(db: Database, retention: Retention, now_ms: int) -> None:
    """Drop what is past its time, and join old coverage claims."""
    day_ms = rollups.DAY_MS
    events_days = next(row.retention_days for row in STREAMS if row.schema == "event.v1")
    await close_hours(db, now_ms - retention.minutes_days * day_ms)
    steps = (
        ("minutes_expire", retention.hours_days),
        ("hours_expire", retention.hours_days),
        ("days_expire", retention.days_days),
        ("claims_expire", retention.days_days),
        ("coverage_days_expire", retention.days_days),
        ("metric_days_expire", retention.days_days),
        ("metric_weeks_expire", retention.days_days),
        ("sketch_expire", retention.days_days),
        ("metric_folded_expire", retention.days_days),
        ("thumbnails_expire", retention.thumbnails_days),
        ("diagnostics_expire", retention.diagnostics_days),
        ("clips_expire", retention.clips_days),
        ("clip_looks_expire", 1),
        ("review_pictures_expire", retention.review_days),
        ("disagreement_looks_expire", 1),
        ("disagreements_expire", retention.days_days),
        ("shadow_expire", retention.days_days),
        ("events_expire", events_days),
        ("evidence_expire", events_days),
        ("reconnects_expire", retention.days_days),
        ("happenings_expire", retention.days_days),
        ("bad_hours_expire", retention.days_days),
        ("kpi_expire", retention.days_days),
        ("overrides_expire", retention.days_days),
        ("alert_counts_expire", 90),
        ("incidents_expire", retention.incidents_days),
        ("silences_expire", retention.incidents_days),
        ("alert_inbox_expire", 7),
        ("export_inbox_expire", 7),
        ("deliveries_expire", retention.deliveries_days),
    )
    for query, days in steps:
        async with db.transaction() as tx:
            await tx.run(query, before_ms=now_ms - days * day_ms)
    async with db.transaction() as tx:
        await tx.run("secrets_expire", now_ms=now_ms)
    before_ms = now_ms - JOIN_AFTER_MS
    async with db.transaction() as tx:
        cameras = await tx.tuples(
            "claims_old_cameras", before_ms=before_ms, more_than=_JOIN_MORE_THAN
        )
    for device, camera in cameras:
        async with db.transaction() as tx:
            await tx.value("claims_same")
            await tx.run("claims_join", device=device, camera=camera, before_ms=before_ms)


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn of the jobs is to do, and what time it is by central's clock."""

    now_ms: int
    retention: Retention
    device_key_days: int = 0
    expire: bool = False


Do = Callable[[Turn], Awaitable[None]]


async def do(db: Database, turn: Turn) -> None:
    """Do one turn of everything.

    Raises:
        StoreError: A job failed, the first of them; all others were done.
    """
    now_ms, retention = turn.now_ms, turn.retention
    runs = upkeep.Runs(SystemClock(), now_ms)
    try:
        async with runs.of("partitions"):
            await make_partitions(db, now_ms)
        async with runs.of("alert conditions"):  # first: somebody waits for it
            await conditions.observe(db, now_ms)
        async with runs.of("hours and days"):
            await merge_hours(db, now_ms)
        async with runs.of("kept answers"):
            await keeping.advance(db, now_ms)
            await metric_days.lay_out(db, now_ms, retention.hours_days)
        async with runs.of("inventory"):
            await inventory.look(db, now_ms)
        async with runs.of("sketches"):
            await sketch_days.lay_out(db, now_ms)
        if turn.expire:
            await _hourly(db, turn, runs)
    finally:
        await runs.keep(db)
    if runs.failed is not None:
        raise runs.failed


async def _hourly(db: Database, turn: Turn, runs: upkeep.Runs) -> None:
    now_ms, retention = turn.now_ms, turn.retention
    async with runs.of("retention"):
        await weeks.fold(db, now_ms)
        await sketch_days.fold(db, now_ms)
        await expire(db, retention, now_ms)
        async with db.transaction() as tx:
            await quarantine.expire(tx, now_ms)
            await rotation.ask_old_keys(tx, turn.device_key_days, now_ms)
    async with runs.of("sizes"):
        await upkeep.note_sizes(db, retention, now_ms)
    async with runs.of("audit chain"):
        await audit.follow(db, now_ms)


async def run(
    turn: Do,
    retention: Retention,
    clock: Clock,
    *,
    device_key_days: int = 0,
    beside: Sequence[Callable[[int], Awaitable[object]]] = (),
) -> None:
    """Have turn after turn done, by the clock that is given here, until cancelled.

    What is `beside` takes the time in ms: it is done here, where the key and the files are.
    """
    expired_ms = 0
    while True:
        now_ms = wall_ms(clock.now_at())
        due = now_ms - expired_ms > rollups.HOUR_MS
        expired_ms = now_ms if due else expired_ms
        try:
            await turn(
                Turn(
                    now_ms=now_ms,
                    retention=retention,
                    device_key_days=device_key_days,
                    expire=due,
                )
            )
            for step in beside:
                await step(now_ms)
        except StoreError as error:
            _log.error("a job failed", extra={"event": "jobs.failed", "why": str(error)})
        await asyncio.sleep(TICK_S)
