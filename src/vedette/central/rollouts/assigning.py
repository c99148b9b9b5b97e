"""Signing what is assigned: one document for each device, by central's online key.

What lives here: from rows of `assigned` to a signed `Assignment` with the device, its version, and
the news that wakes a device that waits. What does not: deciding who gets what (`planner`).

The rule: central signs nothing that a device would refuse. Each item is held against the approval
of the offline keys when it is signed, by the same `covers` that the device uses. The version passes
the one that the device reports, so that a central restored from a backup is heard again. Nothing is
taken away by what is not in an assignment any more: it only is not asked for.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from vedette.central import desired
from vedette.central.bulletin import Bulletin
from vedette.central.rollouts import approving
from vedette.central.store import arrays
from vedette.central.store.db import Database, Tx
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.wire.updates import ASSIGNMENT_TYPE, Approval, Assigned, Assignment

AT_ONCE: Final = 200
"""Devices held by one transaction while it signs: their reports wait for it."""

MAX_REPORTED: Final = 10**9
"""A device may say anything: no version may be pushed where no later one fits."""

_item = msgspec.json.Decoder(Assigned).decode


class _Held(msgspec.Struct, frozen=True):
    device: str
    site: str
    version: int
    reported: int
    was_signed: bool


async def sign_due(db: Database, bulletin: Bulletin, key: SigningKey, now_ms: int) -> int:
    """Sign every assignment that changed; return how many."""
    signed = 0
    while True:
        async with db.transaction() as tx:
            devices = [str(name) for (name,) in await tx.tuples("assigned_take", limit=AT_ONCE)]
            told = await _sign(tx, key, sorted(devices), now_ms) if devices else []
        bulletin.publish(*(f"desired:{device}" for device in told))
        bulletin.publish(*(f"device:{device}" for device in told))
        signed += len(told)
        if len(devices) < AT_ONCE:
            return signed


async def _sign(tx: Tx, key: SigningKey, devices: Sequence[str], now_ms: int) -> list[str]:
    held = [_Held(*row) for row in await tx.tuples("assigned_hold", devices=list(devices))]
    items: dict[str, list[Assigned]] = defaultdict(list)
    for device, _, _, body in await tx.tuples("assigned_items", devices=list(devices)):
        items[device].append(_item(body))
    approvals = await approving.approvals_of(
        tx, {item.rollout for found in items.values() for item in found}
    )
    refused: list[tuple[str, str, str]] = []
    rows: list[tuple[str, str, int]] = []
    for one in held:
        allowed = _allowed(one, items[one.device], approvals, now_ms, refused)
        if not allowed and not one.was_signed:
            continue
        reported = one.reported if one.reported <= MAX_REPORTED else 0
        assignment = Assignment(
            device=one.device,
            version=max(one.version, reported) + 1,
            issued_ms=now_ms,
            items=allowed,
        )
        signed = sign_struct(assignment, ASSIGNMENT_TYPE, [key])
        rows.append((one.device, msgspec.json.encode(signed).decode(), assignment.version))
    if refused:
        columns = arrays.columns(refused, "device", "rollout", "reason")
        await tx.run("assigned_refused", **columns, now_ms=now_ms)
    if rows:
        await tx.run("assignment_set", **arrays.columns(rows, "device", "assignment", "version"))
        await desired.refresh_many(tx, [device for device, _, _ in rows], now_ms)
    return [device for device, _, _ in rows]


def _allowed(
    one: _Held,
    items: Sequence[Assigned],
    approvals: Mapping[str, Approval | str],
    now_ms: int,
    refused: list[tuple[str, str, str]],
) -> list[Assigned]:
    """Return the items that an approval covers; why the others are not goes into `refused`."""
    allowed: list[Assigned] = []
    for item in items:
        approval = approvals.get(item.rollout, "there is no such rollout any more")
        in_shadow = item.shadow is not None
        why = approving.lacks(approval, item.artefact, one.site, now_ms, shadow=in_shadow)
        if why:
            refused.append((one.device, item.rollout, why))
        else:
            allowed.append(item)
    return allowed
