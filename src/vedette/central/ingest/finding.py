"""The lanes of a group's devices: found, made, bounded; what tombstones settle.

What lives here: which lanes a transaction works on. What does not: what one lane is (`lane`), and
what messages do to it (`commit`). The rule: however many lanes and holes a device made, what it can
have central load at once stays within a few tens of megabytes.
"""

from collections.abc import Collection, Iterable
from typing import Final

from vedette.central.ingest.lane import MAX_RANGES, LaneState
from vedette.central.ingest.writing import LaneKey
from vedette.central.store.arrays import columns
from vedette.central.store.db import Tx
from vedette.wire.streams import Lane

MAX_LANES: Final = 3 * 1000
"""Lanes of one device: a thousand lost spools."""

MAX_RANGES_OF_DEVICE: Final = 4 * MAX_RANGES
"""Separate ranges of all lanes of one device: more than its spool can hold messages between them.
What would make more is not taken until holes are filled."""

MAX_RANGES_TOLD: Final = 2 * MAX_RANGES
"""Most ranges in the lanes that one request asks for: always room for the newest lane. The others
are left out of the answer, and asked for again next time."""

_FEW_RANGES: Final = 64
"""Nobody adds up a device's ranges while each lane that it speaks of has no more than this."""

Settled = tuple[str, int, str, list[tuple[int, int]]]  # device, epoch, lane, ranges


async def hold(tx: Tx, wanted: Collection[LaneKey]) -> dict[LaneKey, LaneState]:
    """Return these lanes, made where they were never heard of and may be."""
    found = await _read(tx, sorted(wanted))
    missing = sorted(key for key in wanted if key not in found)
    if missing:
        used = dict(await tx.tuples("lanes_of_device", devices=[key[0] for key in missing]))
        allowed = [key for key in missing if used.get(key[0], 0) < MAX_LANES]
        await tx.run("lanes_make", **columns(allowed, "devices", "epochs", "lanes"))
        found |= await _read(tx, allowed)
    return found


async def believed(tx: Tx, wanted: Collection[LaneKey]) -> dict[LaneKey, LaneState]:
    """Return lanes that devices ask for, empty ones for what never came; asking makes no rows.

    Where they are too many ranges together, the oldest epochs are not among them.
    """
    if not wanted:
        return {}
    rows = await tx.packed(
        "lanes_believed",
        **columns(wanted, "devices", "epochs", "lanes"),
        most=2 * MAX_RANGES_TOLD,
    )
    found = {key: LaneState() for key in wanted}
    for device, epoch, lane, acked_through, have in rows:
        if have is None:
            del found[device, epoch, lane]
        else:
            found[device, epoch, lane] = LaneState.from_flat(acked_through, have)
    return found


async def crowded(tx: Tx, lanes: dict[LaneKey, LaneState]) -> set[str]:
    """Return the devices that may make no more holes anywhere."""
    many = {key[0] for key, state in lanes.items() if len(state.have) > _FEW_RANGES}
    return {device for device, left in (await _room(tx, many)).items() if left <= 0}


async def settle_evicted(tx: Tx, settled: list[Settled], lanes: dict[LaneKey, LaneState]) -> None:
    """Count what tombstones name as settled: it will never come and must block nothing.

    A tombstone travels before what it speaks of, so its lane may not have been heard of yet.
    """
    keys = {
        (device, epoch, lane)
        for device, epoch, lane, ranges in settled
        if lane in set(Lane) and epoch >= 1 and ranges
    }
    if not keys:
        return
    lanes |= await hold(tx, keys - set(lanes))
    room = await _room(tx, {device for device, _, _ in keys})
    for device, epoch, lane, ranges in settled:
        state = lanes.get((device, epoch, lane))
        if state is None:
            continue
        for low, high in ranges:
            before = len(state.have)
            if before < 2 * MAX_RANGES and room[device] > 0:  # else a hole stays for ever
                state.add(low, high)
                room[device] -= len(state.have) - before


async def _room(tx: Tx, devices: Iterable[str]) -> dict[str, int]:
    """Return how many more ranges each of these devices may have."""
    room = dict.fromkeys(devices, MAX_RANGES_OF_DEVICE)
    if room:
        for device, ranges in await tx.tuples("ranges_of_device", devices=sorted(room)):
            room[device] -= ranges
    return room


async def _read(tx: Tx, keys: list[LaneKey]) -> dict[LaneKey, LaneState]:
    if not keys:
        return {}
    rows = await tx.packed("lanes_read", **columns(keys, "devices", "epochs", "lanes"))
    return {
        (device, epoch, lane): LaneState.from_flat(acked_through, have)
        for device, epoch, lane, acked_through, have in rows
    }
