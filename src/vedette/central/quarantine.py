"""What a person does about a device of which two copies are alive.

What lives here: the list of them, releasing, dropping what was set aside. What does not: how a
quarantine begins (`ingest.clones`, `ingest.watch`). The rule: what was set aside is counted by the
very transaction that ingest uses for any other batch, some at a time, so that a crash between two
of them counts nothing twice and forgets nothing.
"""

import msgspec

from vedette.central import audit, desired, rollups
from vedette.central.ingest.clones import Evidence, Lives
from vedette.central.ingest.commit import commit
from vedette.central.ingest.dating import Dating
from vedette.central.ingest.incoming import Incoming
from vedette.central.ingest.unpack import Item
from vedette.central.store.db import Database, DataRefused, Tx
from vedette.errors import ConfigError, WireError
from vedette.wire import codec
from vedette.wire.envelope import ClockState, Envelope
from vedette.wire.streams import Lane, stream

_AT_ONCE = 500
KEEP_DAYS = 90
_UNWRITABLE = (DataRefused, WireError, ValueError, ArithmeticError, LookupError, TypeError)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A device's row, as far as its quarantine goes."""

    device: str
    site: str
    quarantined_ms: int | None
    quarantine: bytes | None
    lives: bytes | None
    set_aside_bytes: int
    revoked_ms: int | None


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """What was set aside of one copy."""

    copy: str
    messages: int
    bytes: int
    from_ms: int
    to_ms: int


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A device in quarantine, or with messages that wait for a judgement."""

    device: str
    site: str
    quarantined_ms: int | None
    evidence: Evidence | None
    set_aside: list[Aside]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the messages that were set aside."""

    counted: int
    dropped: int


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    copy: str
    received_ms: int
    made_ms: int | None
    shift_ms: int
    latest_ms: int
    epoch: int
    lane: str
    seq: int
    schema: str
    boot_id: str
    t_wall_ms: int
    t_mono_ms: int
    clock_state: str
    body: bytes


async def suspects(
    db: Database, scope: list[str] | None = None, *, after: str = "", limit: int | None = None
) -> list[Suspect]:
    """Return devices in quarantine, and those of which something is still set aside, by name."""
    found: list[Suspect] = []
    async with db.transaction() as tx:
        for row in await tx.all("quarantined_all", Facts, scope=scope, after=after, limit=limit):
            aside = await tx.tuples("set_aside_summary", device=row.device)
            found.append(
                Suspect(
                    device=row.device,
                    site=row.site,
                    quarantined_ms=row.quarantined_ms,
                    evidence=evidence_of(row.quarantine),
                    set_aside=[
                        Aside(copy=copy, messages=n, bytes=int(size), from_ms=first, to_ms=last)
                        for copy, n, size, first, last in aside
                    ],
                )
            )
    return found


def evidence_of(stored: bytes | None) -> Evidence | None:
    """Return why a device is in quarantine; None where it is not."""
    return msgspec.json.decode(stored, type=Evidence) if stored else None


async def release(db: Database, device: str, *, copy: str = "", actor: str, now_ms: int) -> Judged:
    """Take a device's messages again, and count those that were set aside.

    With `copy` (a boot id, or the beginning of one) only those of that copy; the others are
    dropped. Where two copies are still alive they are found again within minutes.

    Raises:
        ConfigError: No such device, or nothing to be released.
    """
    await _end(db, device, "device.release", {"copy": copy}, actor=actor, now_ms=now_ms)
    counted = dropped = 0
    limit = _AT_ONCE
    while True:
        try:
            done, refused = await _count_some(db, device, copy, limit)
        except _UNWRITABLE:
            # One message that cannot be written must not keep the others: each for itself now.
            if limit > 1:
                limit = 1
                continue
            done, refused = await _drop_one(db, device)
        counted, dropped = counted + done, dropped + refused
        if not done and not refused:
            break
    async with db.transaction() as tx:
        await tx.run("set_aside_forget", device=device)
    return Judged(counted=counted, dropped=dropped)


async def drop(db: Database, device: str, *, actor: str, now_ms: int) -> Judged:
    """Forget what was set aside; a quarantine goes on, and so does setting aside.

    Raises:
        ConfigError: No such device.
    """
    async with db.transaction() as tx:
        await _hold(tx, device)
        dropped = await tx.run("set_aside_drop", device=device)
        await tx.run("set_aside_forget", device=device)
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action="device.drop_set_aside",
            target=device,
            detail={"messages": dropped},
        )
    return Judged(counted=0, dropped=dropped)


async def expire(tx: Tx, now_ms: int) -> None:
    """Drop what nobody judged in `KEEP_DAYS` days."""
    await tx.run("set_aside_expire", before_ms=now_ms - KEEP_DAYS * rollups.DAY_MS)


async def _end(
    db: Database,
    device: str,
    action: str,
    detail: dict[str, object],
    *,
    actor: str,
    now_ms: int,
) -> None:
    async with db.transaction() as tx:
        facts = await _hold(tx, device)
        if facts.quarantined_ms is None and not facts.set_aside_bytes:
            raise ConfigError(f"nothing of device {device!r} is set aside")
        kept = msgspec.msgpack.decode(facts.lives, type=Lives) if facts.lives else Lives()
        fresh = Lives(
            epoch=kept.epoch, epoch_boot=kept.epoch_boot, epoch_mono_ms=kept.epoch_mono_ms
        )
        await tx.run("quarantine_end", device=device, lives=msgspec.msgpack.encode(fresh))
        await desired.refresh(tx, device, now_ms)  # what was held, as a change of keys, goes on
        await audit.write(
            tx, at_ms=now_ms, actor=actor, action=action, target=device, detail=detail
        )


async def _hold(tx: Tx, device: str) -> Facts:
    facts = await tx.one("quarantine_lock", Facts, device=device)
    if facts is None:
        raise ConfigError(f"there is no device {device!r}")
    return facts


async def _count_some(db: Database, device: str, copy: str, limit: int) -> tuple[int, int]:
    """Count some of what was set aside; return how many were counted, and how many dropped."""
    async with db.transaction() as tx:
        facts = await _hold(tx, device)
        rows = await tx.all("set_aside_take", _Kept, device=device, limit=limit)
        wanted = sorted(
            (row for row in rows if row.copy.startswith(copy)), key=lambda row: row.number
        )
        # One batch for each moment of receipt: what is late and what is not depends on it.
        group: list[Incoming] = []
        for row in wanted:
            if not group or group[-1].received_ms != row.received_ms:
                group.append(
                    Incoming(
                        device=device,
                        boot_id=row.boot_id,
                        received_ms=row.received_ms,
                        items=[],
                        replay=True,
                    )
                )
            group[-1].items.append(_item(row))
        if group and facts.revoked_ms is None:
            await commit(tx, group)
            return len(wanted), len(rows) - len(wanted)
        return 0, len(rows)


async def _drop_one(db: Database, device: str) -> tuple[int, int]:
    async with db.transaction() as tx:
        await _hold(tx, device)
        return 0, len(await tx.all("set_aside_take", _Kept, device=device, limit=1))


def _item(row: _Kept) -> Item:
    kind = stream(row.schema)
    return Item(
        envelope=Envelope(
            epoch=row.epoch,
            boot_id=row.boot_id,
            lane=Lane(row.lane),
            seq=row.seq,
            t_wall_ms=row.t_wall_ms,
            t_mono_ms=row.t_mono_ms,
            clock_state=ClockState(row.clock_state),
            schema=row.schema,
            body=msgspec.Raw(row.body),
        ),
        dating=Dating(row.made_ms, row.shift_ms, row.latest_ms),
        row=kind,
        body=codec.decode_body(row.body, kind),
        stored=row.body,
    )
