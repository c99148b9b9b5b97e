"""What one transaction collected, into its tables: one statement for what every group brings.

`effects` says what there is to write; the order of the statements does not matter, because `commit`
holds every device that they speak of. `group_write` is that one statement: messages, claims,
minutes, contact and lanes; what is rare (states, events, evidence, cameras) has its own and costs
nothing where there is none. Rows that stand already are touched only where they change: an
unchanged camera or a minute that nobody spoke of before costs no reading.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from vedette.central import rollups
from vedette.central.ingest.effects import Effects, Health
from vedette.central.ingest.lane import LaneState
from vedette.central.rollouts import noticing
from vedette.central.store import arrays
from vedette.central.store.arrays import columns
from vedette.central.store.db import Tx
from vedette.errors import MalformedReport
from vedette.wire.messages import Aggregate
from vedette.wire.streams import DARK_AFTER_S

MAX_MINUTE_BYTES: Final = 1024 * 1024
"""One camera's minute, however many messages speak of it: eight of the largest that differ in every
name. Without this a device could make a row grow for ever, by other labels each time."""

_RAW: Final = (
    "keep_days", "device", "epoch", "lane", "seq", "received_ms", "made_ms", "schema", "outcome",
    "boot_id", "t_wall_ms", "t_mono_ms", "clock_state",
)  # fmt: skip
_CLAIM: Final = (
    "device", "camera", "start_ms", "end_ms", "cause", "weak", "rate_fps", "detail",
)  # fmt: skip
_HEARD: Final = ("device", "received_ms", "boot_id", "sent_mono_ms")
_HEALTH: Final = (
    "epoch", "seq", "at_ms", "version", "clock_state", "drained_to_ms",
)  # fmt: skip
_MINUTE: Final = ("device", "camera", "start_ms")
_LANE: Final = ("device", "epoch", "lane")
_NO_HEALTH: Final = Health(
    epoch=0, seq=0, at_ms=0, body=b"", version="", clock_state="", drained_to_ms=None
)

LaneKey = tuple[str, int, str]  # device, epoch, lane
Minute = tuple[str, str, int]  # device, camera, start


class Heard(NamedTuple):
    """When a device was heard, in which boot, and when that was by its monotonic clock."""

    received_ms: int
    boot_id: str
    sent_mono_ms: int | None


async def write(
    tx: Tx,
    effects: Effects,
    *,
    heard: Mapping[str, Heard],
    lanes: Mapping[LaneKey, LaneState],
    now_ms: int,
) -> None:
    """Write everything in `effects`, that the devices in `heard` were, and what `lanes` have.

    Raises:
        MalformedReport: A minute would grow beyond `MAX_MINUTE_BYTES`.
    """
    if effects.cameras:
        keys = sorted(effects.cameras)
        await tx.run(
            "cameras_know",
            **columns(keys, "devices", "cameras"),
            from_ms=arrays.column(effects.cameras[key] for key in keys),
        )
    states = [msgspec.structs.asdict(row) for row in effects.states]
    await tx.many("camera_state_add", states)
    await tx.many("camera_state_latest", states)
    await tx.many("event_add", effects.events)
    await tx.many("evidence_add", effects.evidence)
    await tx.many("commission_add", effects.commissions)
    await tx.many("shadow_add", effects.shadows)
    await tx.many("disagreement_add", effects.disagreements)
    bodies = {key: _body(effects.minutes[key]) for key in sorted(effects.minutes)}
    _check_size(bodies.values())
    fresh = await tx.tuples(
        "group_write",
        **_messages(effects.raw),
        **_named("claim", _CLAIM, effects.claims),
        **_devices(effects.health, heard),
        **_lanes(lanes),
        **_named("minute", _MINUTE, bodies),
        **_blob("minute", bodies.values()),
        dark_after_ms=int(DARK_AFTER_S * 1000),
        now_ms=now_ms,
    )
    if len(fresh) < len(bodies):
        await _add_to_minutes(tx, effects.minutes, sorted(set(bodies).difference(fresh)))
    await noticing.write(tx, effects.noticed)
    if effects.reconnects:
        days = sorted(effects.reconnects)
        await tx.run(
            "reconnects_add",
            **columns(days, "devices", "cameras", "days"),
            counts=[effects.reconnects[day] for day in days],
        )


def _named(
    table: str, names: Iterable[str], rows: Iterable[tuple[object, ...]]
) -> dict[str, object]:
    """Return rows as one array per column, named as the statement has them."""
    return columns(rows, *(f"{table}_{name}" for name in names))


def _blob(table: str, bodies: Iterable[bytes]) -> dict[str, object]:
    """Return bodies as one value, with where each begins and how long it is."""
    joined, starts, sizes = arrays.blob(bodies)
    return {f"{table}_bodies": joined, f"{table}_at": starts, f"{table}_size": sizes}


def _messages(raw: list[tuple[object, ...]]) -> dict[str, object]:
    bodies = [body for *_, body in raw if isinstance(body, bytes)]
    return _named("raw", _RAW, [row[:-1] for row in raw]) | _blob("raw", bodies)


def _devices(health: Mapping[str, Health], heard: Mapping[str, Heard]) -> dict[str, object]:
    """Return contact and newest health of each device, which change its row once."""
    latest = [health.get(device, _NO_HEALTH) for device in heard]
    return (
        _named("heard", _HEARD, [(device, *contact) for device, contact in heard.items()])
        | {
            f"health_{name}": arrays.column(getattr(one, name) for one in latest)
            for name in _HEALTH
        }
        | _blob("health", [one.body for one in latest])
    )


def _lanes(lanes: Mapping[LaneKey, LaneState]) -> dict[str, object]:
    return _named("lane", _LANE, lanes) | {
        "lane_acked": arrays.column(state.acked_through for state in lanes.values()),
        "lane_have": arrays.column(arrays.column(state.to_flat()) for state in lanes.values()),
    }


async def _add_to_minutes(
    tx: Tx, minutes: Mapping[Minute, list[Aggregate]], standing: list[Minute]
) -> None:
    """Add to minutes that somebody spoke of before."""
    where = columns(standing, "devices", "cameras", "starts")
    merged: dict[Minute, bytes] = {}
    for device, camera, start_ms, body in await tx.packed("minutes_read", **where):
        key = (device, camera, start_ms)
        merged[key] = rollups.add_up(chain([rollups.decode(body)], minutes[key]))
    _check_size(merged.values())
    bodies = list(merged.values())
    await tx.run("minutes_write", **columns(merged, "devices", "cameras", "starts"), bodies=bodies)


def _body(parts: list[Aggregate]) -> bytes:
    return rollups.encode(parts[0]) if len(parts) == 1 else rollups.add_up(parts)


def _check_size(bodies: Iterable[bytes]) -> None:
    if max(map(len, bodies), default=0) > MAX_MINUTE_BYTES:  # then each message is tried alone
        raise MalformedReport(f"a minute's counts would have more than {MAX_MINUTE_BYTES} bytes")
