"""One transaction for the batches of many devices: the rule that makes ingest exactly-once.

1. Lock the devices, in one order; whoever holds a device holds its lanes and its minutes.
2. Sequence numbers that a lane has are passed over; the others are collected (`effects`).
3. Raw messages, coverage, rollups, events and evidence are written (`writing`), and the lanes move:
   together.
4. Only after the commit is anything acknowledged.
"""

import logging
from typing import Final

import msgspec

from vedette.central.ingest import writing
from vedette.central.ingest.effects import Effects, Sender
from vedette.central.ingest.incoming import Incoming, SenderRow
from vedette.central.ingest.lane import MAX_RANGES, LaneState
from vedette.central.ingest.unpack import Item
from vedette.central.ingest.watch import FULL_RETRY_S, Watch
from vedette.central.ingest.writing import Heard
from vedette.central.store import arrays
from vedette.central.store.arrays import columns
from vedette.central.store.db import Tx
from vedette.wire.envelope import LaneAck, Rejection, UpAnswer
from vedette.wire.streams import Lane

_log = logging.getLogger(__name__)

LaneKey = tuple[str, int, str]  # device, epoch, lane

MAX_LANES: Final = 3 * 1000
"""Lanes of one device: a thousand lost spools."""

_NEVER_GIVEN: Final = 2**53
_NUMBER_COLUMNS: Final = ("devices", "epochs", "lanes", "seqs")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the transaction did: one answer per incoming batch (None: no such device), and news."""

    answers: list[UpAnswer | None]
    topics: set[str]
    taken: int


async def commit(tx: Tx, group: list[Incoming]) -> Outcome:
    """Write everything new in `group`; the caller commits, then answers."""
    devices = sorted({incoming.device for incoming in group})
    rows = {row.device: row for row in await tx.all("senders_lock", SenderRow, devices=devices)}
    present = [incoming for incoming in group if _is_known(incoming, rows)]
    lanes = await _find_lanes(tx, present)
    cameras: dict[str, dict[str, int]] = {device: {} for device in rows}
    for device, camera, from_ms in await tx.tuples("cameras_of_devices", devices=list(rows)):
        cameras[device][camera] = from_ms

    effects, watch = Effects(), Watch(rows)
    refused: dict[int, list[Rejection]] = {}
    reused = await _find_reused(tx, present, lanes, rows)
    for incoming in present:
        watch.look(incoming, forked=id(incoming) in reused)
    for incoming in present:
        row = rows[incoming.device]
        sender = Sender(
            device=row.device,
            site=row.site,
            received_ms=incoming.received_ms,
            contact_before_ms=row.contact_before_ms,
            cameras=cameras[row.device],
        )
        stale = reused.get(id(incoming), set())
        items = [item for item in incoming.items if _key(incoming, item) not in stale]
        refused[id(incoming)] = _take_all(
            effects, watch, incoming, [] if watch.is_full(incoming) else items, sender, lanes
        )
    await _settle_evicted(tx, effects, lanes)
    heard = {
        incoming.device: Heard(incoming.received_ms, incoming.boot_id, incoming.sent_mono_ms)
        for incoming in present
        if not incoming.replay
    }
    now_ms = max((incoming.received_ms for incoming in present), default=0)
    await writing.write(tx, effects, heard, now_ms)
    await watch.write(tx)
    await _move_lanes(tx, lanes)
    lanes |= await _read_lanes(tx, sorted(_believed(present) - set(lanes)))
    topics = _topics(effects, [rows[incoming.device] for incoming in present])
    answers = [
        _disown(
            _answer(
                incoming,
                rows[incoming.device],
                lanes,
                refused[id(incoming)],
                retry_after_s=FULL_RETRY_S if watch.is_full(incoming) else 0.0,
            ),
            reused.get(id(incoming), set()),
        )
        if id(incoming) in refused
        else None
        for incoming in group
    ]
    return Outcome(answers=answers, topics=topics, taken=len(effects.raw))


def _is_known(incoming: Incoming, rows: dict[str, SenderRow]) -> bool:
    """True where the device is enrolled and this batch came under the key that it has now."""
    row = rows.get(incoming.device)
    return row is not None and incoming.generation in {None, row.generation}


def _key(incoming: Incoming, item: Item) -> LaneKey:
    return incoming.device, item.envelope.epoch, str(item.envelope.lane)


def _believed(group: list[Incoming]) -> set[LaneKey]:
    """Return the lanes that devices ask for; they are only read, so that asking makes no rows."""
    return {
        (incoming.device, epoch, str(lane))
        for incoming in group
        for epoch, lane in incoming.believed
    }


async def _find_reused(
    tx: Tx,
    group: list[Incoming],
    lanes: dict[LaneKey, LaneState],
    rows: dict[str, SenderRow],
) -> dict[int, set[LaneKey]]:
    """Return, per batch, the lanes in which it gives a number again that another message had.

    So does a device whose whole disk was put back from a copy, or was cloned: it cannot know, and
    what is new would pass for what central has. New numbers are above old ones, so the highest
    number of a lane that was seen before tells, as long as its raw message is kept. Where another
    machine took the name over, a number of before that nothing is kept of was another's.
    """
    highest: dict[tuple[int, LaneKey], Item] = {}
    for incoming in group:
        if incoming.replay:
            continue
        for item in incoming.items:
            at = id(incoming), _key(incoming, item)
            whole = at[1] in lanes and not item.refusal
            seen = whole and item.envelope.seq in lanes[at[1]]
            if seen and (at not in highest or item.envelope.seq > highest[at].envelope.seq):
                highest[at] = item
    if not highest:
        return {}
    asked = {(*key, item.envelope.seq) for (_, key), item in highest.items()}
    found = await tx.tuples("reports_of_numbers", **columns(asked, *_NUMBER_COLUMNS))
    had: dict[tuple[object, ...], bytes] = {tuple(row[:4]): row[4] for row in found}
    reused: dict[int, set[LaneKey]] = {}
    for (of, key), item in highest.items():
        unknown = b"" if key[1] < rows[key[0]].min_epoch else item.stored
        if had.get((*key, item.envelope.seq), unknown) != item.stored:
            reused.setdefault(of, set()).add(key)
            _log.error(
                "a device gives numbers again; it is asked for a new epoch",
                extra={"event": "ingest.reused", "device": key[0], "epoch": key[1]},
            )
    return reused


def _disown(answer: UpAnswer, reused: set[LaneKey]) -> UpAnswer:
    """Return `answer` claiming more of these lanes than was ever given: the spool renumbers."""
    lanes = {(epoch, lane) for _, epoch, lane in reused}
    acks = [
        LaneAck(epoch=ack.epoch, lane=ack.lane, acked_through=_NEVER_GIVEN)
        if (ack.epoch, str(ack.lane)) in lanes
        else ack
        for ack in answer.acks
    ]
    return msgspec.structs.replace(answer, acks=acks)


def _take_all(  # noqa: PLR0917 - what one batch and one transaction are made of
    effects: Effects,
    watch: Watch,
    incoming: Incoming,
    items: list[Item],
    sender: Sender,
    lanes: dict[LaneKey, LaneState],
) -> list[Rejection]:
    """Collect every message of one batch that was never seen; return the refused ones."""
    rejections: list[Rejection] = []
    aside = watch.is_aside(incoming)
    for item in items:
        envelope = item.envelope
        lane = lanes.get(_key(incoming, item))
        if lane is None:
            refusal = "more epochs than a device can have"
        elif incoming.replay:
            refusal = effects.take(item, sender)
        elif envelope.seq in lane or (lane.is_full and envelope.seq != lane.acked_through + 1):
            continue  # seen before; or one hole too many: neither taken nor refused, it comes again
        elif aside and item.body is not None:
            watch.set_aside(incoming, item)
            lane.add(envelope.seq, envelope.seq)
            continue
        else:
            refusal = effects.take(item, sender)
            lane.add(envelope.seq, envelope.seq)
        if refusal:
            rejections.append(
                Rejection(
                    epoch=envelope.epoch, lane=envelope.lane, seq=envelope.seq, reason=refusal
                )
            )
    return rejections


async def _find_lanes(tx: Tx, group: list[Incoming]) -> dict[LaneKey, LaneState]:
    wanted = sorted(
        {
            (incoming.device, item.envelope.epoch, str(item.envelope.lane))
            for incoming in group
            for item in incoming.items
        }
    )
    return await _hold_lanes(tx, wanted)


async def _hold_lanes(tx: Tx, wanted: list[LaneKey]) -> dict[LaneKey, LaneState]:
    """Return these lanes, made where they were never heard of and may be."""
    found = await _read_lanes(tx, wanted)
    missing = [key for key in wanted if key not in found]
    if missing:
        used = dict(await tx.tuples("lanes_of_device", devices=[key[0] for key in missing]))
        allowed = [key for key in missing if used.get(key[0], 0) < MAX_LANES]
        await tx.run("lanes_make", **columns(allowed, "devices", "epochs", "lanes"))
        found |= await _read_lanes(tx, allowed)
    return found


async def _read_lanes(tx: Tx, keys: list[LaneKey]) -> dict[LaneKey, LaneState]:
    if not keys:
        return {}
    rows = await tx.tuples("lanes_read", **columns(keys, "devices", "epochs", "lanes"))
    return {
        (device, epoch, lane): LaneState.from_flat(acked_through, have)
        for device, epoch, lane, acked_through, have in rows
    }


async def _settle_evicted(tx: Tx, effects: Effects, lanes: dict[LaneKey, LaneState]) -> None:
    """Count what tombstones name as settled: it will never come and must block nothing.

    A tombstone travels before what it speaks of, so its lane may not have been heard of yet.
    """
    keys = {
        (device, epoch, lane)
        for device, epoch, lane, ranges in effects.settled
        if lane in set(Lane) and epoch >= 1 and ranges
    }
    lanes |= await _hold_lanes(tx, sorted(keys - set(lanes)))
    for device, epoch, lane, ranges in effects.settled:
        state = lanes.get((device, epoch, lane))
        if state is not None:
            for low, high in ranges:
                if len(state.have) < 2 * MAX_RANGES:  # a hole left here would stay for ever
                    state.add(low, high)


async def _move_lanes(tx: Tx, lanes: dict[LaneKey, LaneState]) -> None:
    if not lanes:
        return
    keys = list(lanes)
    await tx.run(
        "lanes_move",
        **columns(keys, "devices", "epochs", "lanes"),
        acked=arrays.integers(lanes[key].acked_through for key in keys),
        haves=arrays.texts([arrays.integers(lanes[key].to_flat()) for key in keys]),
    )


def _answer(
    incoming: Incoming,
    row: SenderRow,
    lanes: dict[LaneKey, LaneState],
    rejected: list[Rejection],
    *,
    retry_after_s: float = 0.0,
) -> UpAnswer:
    asked = set(incoming.believed)
    keys = {(item.envelope.epoch, item.envelope.lane) for item in incoming.items} | asked
    acks = [
        LaneAck(epoch=epoch, lane=lane, acked_through=state.acked_through, have=list(state.have))
        for epoch, lane in sorted(keys)
        if (state := _lane_to_tell(incoming, lanes, (epoch, lane))) is not None
    ]
    return UpAnswer(
        acks=acks,
        rejected=rejected,
        server_time_ms=incoming.received_ms,
        desired_etag=row.desired_etag,
        retry_after_s=retry_after_s,
        attend=row.attended_until_ms > incoming.received_ms,
    )


def _lane_to_tell(
    incoming: Incoming, lanes: dict[LaneKey, LaneState], key: tuple[int, Lane]
) -> LaneState | None:
    """Return what is had of a lane: nothing at all of one that was asked for and never came."""
    never_came = LaneState() if key in incoming.believed else None
    return lanes.get((incoming.device, key[0], str(key[1])), never_came)


def _topics(effects: Effects, rows: list[SenderRow]) -> set[str]:
    """Return what open pages should look at again."""
    topics = {f"device:{row.device}" for row in rows} | {f"site:{row.site}" for row in rows}
    if effects.events or effects.evidence:
        topics.add("events")
    if topics:
        topics.add("fleet")
    return topics
