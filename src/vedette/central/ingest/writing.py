"""What one transaction collected, into its tables: one statement per table for a whole group.

`effects` says what there is to write; the order of the statements does not matter, because `commit`
holds every device that they speak of. Rows that stand already are touched only where they change:
an unchanged camera or a minute that nobody spoke of before costs no reading.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from vedette.central import rollups
from vedette.central.ingest.effects import Effects, Health
from vedette.central.store import arrays
from vedette.central.store.arrays import columns
from vedette.central.store.db import Tx
from vedette.errors import MalformedReport
from vedette.wire.messages import Aggregate
from vedette.wire.streams import DARK_AFTER_S

MAX_MINUTE_BYTES: Final = 1024 * 1024
"""One camera's minute, however many messages speak of it: eight of the largest that differ in every
name. Without this a device could make a row grow for ever, by other labels each time."""

_RAW_TYPES: Final = (
    "int2", "date", "text", "int8", "text", "int8", "int8", "int8", "text", "text",
    "text", "int8", "int8", "text", "bytea",
)  # fmt: skip
_CLAIM_TYPES: Final = ("text", "text", "int8", "int8", "text", "bool", "float8", "text")
_NO_HEALTH: Final = Health(
    epoch=0, seq=0, at_ms=0, body=b"", version="", clock_state="", drained_to_ms=None
)

Minute = tuple[str, str, int]  # device, camera, start


class Heard(NamedTuple):
    """When a device was heard, in which boot, and when that was by its monotonic clock."""

    received_ms: int
    boot_id: str
    sent_mono_ms: int | None


async def write(tx: Tx, effects: Effects, heard: Mapping[str, Heard], now_ms: int) -> None:
    """Write everything in `effects`, and that the devices in `heard` were.

    Raises:
        MalformedReport: A minute would grow beyond `MAX_MINUTE_BYTES`.
    """
    if effects.cameras:
        keys = sorted(effects.cameras)
        await tx.run(
            "cameras_know",
            **columns(keys, "devices", "cameras"),
            from_ms=arrays.integers(effects.cameras[key] for key in keys),
        )
    if effects.raw:
        await tx.copy_in("reports_copy", _RAW_TYPES, effects.raw)
    if effects.claims:
        await tx.copy_in("claims_copy", _CLAIM_TYPES, effects.claims)
    states = [msgspec.structs.asdict(row) for row in effects.states]
    await tx.many("camera_state_add", states)
    await tx.many("camera_state_latest", states)
    await tx.many("event_add", effects.events)
    await tx.many("evidence_add", effects.evidence)
    if effects.minutes:
        await _write_minutes(tx, effects.minutes)
        await _mark_hours(tx, effects.minutes, now_ms)
    if effects.reconnects:
        days = sorted(effects.reconnects)
        await tx.run(
            "reconnects_add",
            **columns(days, "devices", "cameras", "days"),
            counts=[effects.reconnects[day] for day in days],
        )
    await _write_devices(tx, effects.health, heard)


async def _write_devices(tx: Tx, health: Mapping[str, Health], heard: Mapping[str, Heard]) -> None:
    """Write contact and newest health of each device as one change of its row."""
    devices = sorted(heard)
    latest = [health.get(device, _NO_HEALTH) for device in devices]
    await tx.run(
        "devices_heard",
        devices=devices,
        received=[heard[device].received_ms for device in devices],
        boots=[heard[device].boot_id for device in devices],
        sent=[heard[device].sent_mono_ms for device in devices],
        **{name: [getattr(one, name) for one in latest] for name in Health.__struct_fields__},
        dark_after_ms=int(DARK_AFTER_S * 1000),
    )


async def _write_minutes(tx: Tx, minutes: Mapping[Minute, list[Aggregate]]) -> None:
    """Write new minutes; add to those that stand."""
    keys = sorted(minutes)
    bodies = {key: _body(minutes[key]) for key in keys}
    _check_size(bodies.values())
    fresh = await tx.tuples(
        "minutes_add", **columns(keys, "devices", "cameras", "starts"), bodies=list(bodies.values())
    )
    standing = sorted(set(keys).difference(fresh)) if len(fresh) < len(keys) else []
    if not standing:
        return
    where = columns(standing, "devices", "cameras", "starts")
    for device, camera, start_ms, body in await tx.tuples("minutes_read", **where):
        key = (device, camera, start_ms)
        bodies[key] = rollups.add_up([rollups.decode(body), *minutes[key]])
    merged = [bodies[key] for key in standing]
    _check_size(merged)
    await tx.run("minutes_write", **where, bodies=merged)


def _body(parts: list[Aggregate]) -> bytes:
    return rollups.encode(parts[0]) if len(parts) == 1 else rollups.add_up(parts)


def _check_size(bodies: Iterable[bytes]) -> None:
    if max(map(len, bodies)) > MAX_MINUTE_BYTES:  # then each message is tried alone
        raise MalformedReport(f"a minute's counts would have more than {MAX_MINUTE_BYTES} bytes")


async def _mark_hours(tx: Tx, minutes: Iterable[Minute], now_ms: int) -> None:
    hours = sorted({(d, c, rollups.floor_ms(start, rollups.HOUR_MS)) for d, c, start in minutes})
    await tx.run("hours_mark_dirty", **columns(hours, "devices", "cameras", "hours"), now_ms=now_ms)
