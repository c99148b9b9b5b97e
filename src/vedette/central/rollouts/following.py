"""What the reports of devices amount to: confirmed, lost, reverted, skipped. Pure.

The rules: a device is confirmed only by a later heartbeat that reports the running digest, not by
its own word; one that fell silent while it changed over is lost; one that never got its assignment
may be skipped, and one that may have got it keeps its place, because it can act on it alone.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.rollouts.facts import Assign, Decision, Device, Mark, Plan
from vedette.wire.slots import UpdateState

HOUR_MS: Final = 3_600_000
CHANGING: Final = frozenset({UpdateState.ACTIVATING, UpdateState.PROBATION})
FAILED: Final = frozenset({UpdateState.LOST, UpdateState.REVERTED})
TOOK_UP: Final = CHANGING | FAILED | {UpdateState.CONFIRMED}


def is_taken(device: Device) -> bool:
    """True where the device has a place in a stage: it got the candidate, or may have."""
    is_skipped = device.state is UpdateState.SKIPPED
    return device.stage is not None and not device.is_shadow and not is_skipped


def is_silent(device: Device, hours: float, now_ms: int) -> bool:
    """True where nothing was heard for so long."""
    return device.last_seen_ms is None or now_ms - device.last_seen_ms > hours * HOUR_MS


def may_have_it(device: Device) -> bool:
    """True unless the device was certainly not there since it was assigned."""
    if device.state is not UpdateState.ASSIGNED or device.assigned_ms is None:
        return True
    return device.last_seen_ms is not None and device.last_seen_ms >= device.assigned_ms


def marks(plan: Plan, devices: Sequence[Device], now_ms: int) -> list[Mark]:
    """Return central's word on each device whose state changes by it."""
    return [
        Mark(device=device.device, state=found[0], reason=found[1])
        for device in devices
        if is_taken(device) and (found := _word(plan, device, now_ms))
    ]


def _word(plan: Plan, device: Device, now_ms: int) -> tuple[UpdateState, str] | None:
    """Return the new state and why; None where it stays as it is."""
    if device.state in FAILED or not device.assigned:
        return None
    heard_ms = device.running_ms or 0
    if device.confirmed_ms is not None:
        if device.running not in {"", device.assigned} and heard_ms > device.confirmed_ms:
            return UpdateState.REVERTED, f"ran it and runs {device.running} now"
        return None
    if device.state is UpdateState.CONFIRMED and heard_ms > (device.since_ms or 0):
        if device.running == device.assigned:
            return UpdateState.CONFIRMED, "a later heartbeat reports that it runs"
        if device.running:
            return UpdateState.REVERTED, f"said that it is confirmed, and runs {device.running}"
    is_changing = device.state in CHANGING or device.state is UpdateState.CONFIRMED
    if is_changing and is_silent(device, plan.gates.lost_h, now_ms):
        return UpdateState.LOST, f"silent for over {plan.gates.lost_h:g} h after its activation"
    return None


def never_reached(plan: Plan, device: Device, now_ms: int) -> bool:
    """True where the device is away since before it was assigned, and for long."""
    if not is_taken(device) or may_have_it(device):
        return False
    waited_ms = now_ms - (device.assigned_ms or now_ms)
    is_away = is_silent(device, plan.gates.offline_h, now_ms)
    return is_away and waited_ms > plan.gates.offline_h * HOUR_MS


def applied(devices: Sequence[Device], decision: Decision, now_ms: int) -> list[Device]:
    """Return the devices as they are once `decision` was carried out, before any new report."""
    assigns = {a.device: a for a in decision.assigns}
    words = {m.device: m for m in decision.marks}
    if not assigns and not words:
        return list(devices)
    return [
        _assigned(_marked(d, words.get(d.device), now_ms), assigns.get(d.device), now_ms)
        for d in devices
    ]


def _marked(device: Device, mark: Mark | None, now_ms: int) -> Device:
    if mark is None:
        return device
    confirmed = mark.state is UpdateState.CONFIRMED
    return replace(
        device,
        state=mark.state,
        since_ms=now_ms,
        detail=mark.reason,
        confirmed_ms=now_ms if confirmed else None,
        covered_h=0.0,
    )


def _assigned(device: Device, assign: Assign | None, now_ms: int) -> Device:
    if assign is None:
        return device
    item = assign.item
    if item is None:
        is_skipped = device.state is UpdateState.SKIPPED
        return replace(
            device,
            assigned="",
            is_shadow=False,
            assigned_ms=None,
            stage=assign.stage,
            state=UpdateState.SKIPPED if is_skipped else None,
            confirmed_ms=None,
            version=device.version + 1,
        )
    return replace(
        device,
        assigned=item.artefact.digest,
        is_shadow=item.shadow is not None,
        assigned_ms=now_ms,
        attempt=item.attempt,
        stage=assign.stage,
        state=UpdateState.ASSIGNED,
        since_ms=now_ms,
        confirmed_ms=None,
        covered_h=0.0,
        version=device.version + 1,
    )


def replace(device: Device, **changes: object) -> Device:
    """Return the device with those fields changed."""
    return msgspec.structs.replace(device, **changes)
