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

from vedette.central.ingest import finding, writing
from vedette.central.ingest.effects import Effects, Sender
from vedette.central.ingest.incoming import Incoming, SenderRow
from vedette.central.ingest.lane import LaneState
from vedette.central.ingest.unpack import Item
from vedette.central.ingest.watch import FULL_RETRY_S, Watch
from vedette.central.ingest.writing import Heard, LaneKey
from vedette.central.store.arrays import columns
from vedette.central.store.db import Tx
from vedette.wire.envelope import LaneAck, Rejection, UpAnswer

_log = logging.getLogger(__name__)

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
    lanes = await finding.hold(tx, {_key(of, item) for of in present for item in of.items})
    crowded = await finding.crowded(tx, lanes)
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
            effects,
            watch,
            incoming,
            [] if watch.is_full(incoming) else items,
            sender,
            lanes,
            is_crowded=row.device in crowded,
        )
    await finding.settle_evicted(tx, effects.settled, lanes)
    heard = {
        incoming.device: Heard(incoming.received_ms, incoming.boot_id, incoming.sent_mono_ms)
        for incoming in present
        if not incoming.replay
    }
    now_ms = max((incoming.received_ms for incoming in present), default=0)
    await writing.write(tx, effects, heard=heard, lanes=lanes, now_ms=now_ms)
    await watch.write(tx)
    lanes |= await finding.believed(tx, _believed(present) - set(lanes))
    topics = _topics(effects, [rows[incoming.device] for incoming in present])
    answers = [
        _disown(
            _answer(
                incoming,
                rows[incoming.device],
                lanes,
                refused[id(incoming)],
                retry_after_s=FULL_RETRY_S if watch.is_full(incoming) else 0.0,
                quarantined=watch.is_aside(incoming),
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
    *,
    is_crowded: bool,
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
        elif envelope.seq in lane or (
            (is_crowded or lane.is_full) and envelope.seq != lane.acked_through + 1
        ):
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


def _answer(
    incoming: Incoming,
    row: SenderRow,
    lanes: dict[LaneKey, LaneState],
    rejected: list[Rejection],
    *,
    retry_after_s: float = 0.0,
    quarantined: bool = False,
) -> UpAnswer:
    asked = set(incoming.believed)
    keys = {(item.envelope.epoch, item.envelope.lane) for item in incoming.items} | asked
    acks = [
        LaneAck(epoch=epoch, lane=lane, acked_through=state.acked_through, have=list(state.have))
        for epoch, lane in sorted(keys)
        if (state := lanes.get((incoming.device, epoch, str(lane)))) is not None
    ]
    return UpAnswer(
        acks=acks,
        rejected=rejected,
        server_time_ms=incoming.received_ms,
        desired_etag=row.desired_etag,
        retry_after_s=retry_after_s,
        attend=row.attended_until_ms > incoming.received_ms,
        quarantined=quarantined,
    )


def _topics(effects: Effects, rows: list[SenderRow]) -> set[str]:
    """Return what open pages should look at again."""
    topics = {f"device:{row.device}" for row in rows} | {f"site:{row.site}" for row in rows}
    if effects.events or effects.evidence:
        topics |= {"events", "alerts:now"}
    topics |= {f"rollout:{rollout}" for rollout in effects.noticed.rollouts}
    if topics:
        topics.add("fleet")
    return topics
