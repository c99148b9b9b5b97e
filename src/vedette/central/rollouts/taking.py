"""Which devices a stage takes in, which it may not, and the way back. Pure.

The rules: never more devices than the stage allows; none outside the plan's sites and exclusions,
none without an approval of its site, none that another rollout holds; and none from which something
was heard that central does not remember, because central may come from last week's backup.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.amounts import counted
from vedette.central.rollouts import choice
from vedette.central.rollouts.facts import (
    Assign,
    Device,
    Evidence,
    Mark,
    Plan,
    RolloutState,
)
from vedette.central.rollouts.following import FAILED, is_silent, is_taken, may_have_it
from vedette.wire.slots import UpdateState
from vedette.wire.updates import Artefact, Assigned, ShadowPlan

CANARIES_LEAVE: Final = 0.5
"""A canary or shadow stage takes at most this part of the fleet, so that there are controls."""


def allowed(plan: Plan, index: int, count: int) -> int:
    """Return how many of `count` participants may be in stages up to `index`."""
    if count == 0:
        return 0
    most = 0
    for stage in plan.stages[: index + 1]:
        if (stage.state is RolloutState.SHADOW) != (
            plan.stages[index].state is RolloutState.SHADOW
        ):
            continue
        wanted = stage.devices
        if wanted is None:
            wanted = math.ceil(round((stage.share or 0.0) * count, 9))
        if stage.state in {RolloutState.CANARY, RolloutState.SHADOW} and count > 1:
            wanted = min(wanted, int(count * CANARIES_LEAVE))
        most = max(most, wanted)
    return min(count, most)


def obstacle(plan: Plan, device: Device, evidence: Evidence, now_ms: int) -> str:
    """Return in words why this participant cannot be taken in now; empty: it can."""
    if evidence.approved is None:
        return "the approval could not be read"
    why = evidence.approved.get(device.site, f"no approval names the site {device.site}")
    why = why or evidence.no_way_back.get(device.device, "")
    if why:
        return why
    if device.elsewhere:
        return f"the rollout {device.elsewhere} has this slot"
    if device.state in FAILED and device.stage is not None:
        return f"it failed in this rollout: {device.detail or device.state}"
    if is_doubtful(plan, device):
        return ahead(plan, device)
    if is_silent(device, plan.gates.offline_h, now_ms):
        return f"nothing was heard for over {plan.gates.offline_h:g} h"
    return ""


def is_doubtful(plan: Plan, device: Device) -> bool:
    """True where central may remember less than the device, and no operator has looked at it."""
    return device.device not in plan.trusted and bool(ahead(plan, device))


def ahead(plan: Plan, device: Device) -> str:
    """Return what the device reports that central does not remember; empty: nothing."""
    if device.reported_version > device.version:
        return (
            f"it has assignment {device.reported_version} and central knows only"
            f" {device.version}: central was restored from a backup, or its keys are elsewhere too"
        )
    if device.reported_attempt > device.attempt:
        return f"it reports attempt {device.reported_attempt}, and central knows {device.attempt}"
    if device.before is None or device.running in {"", plan.artefact.digest, device.assigned}:
        return ""
    if device.running not in {device.before.digest, plan.back.digest if plan.back else ""}:
        return f"it runs {device.running}, which central did not put there"
    return ""


def take(
    plan: Plan, index: int, devices: Sequence[Device], evidence: Evidence, now_ms: int
) -> tuple[list[Assign], list[Mark], list[str]]:
    """Return whom the stage takes in now, who is skipped, and why it is not full."""
    ordered = choice.in_order(plan, devices)
    is_shadow = plan.stages[index].state is RolloutState.SHADOW
    held = sum(is_taken(d) or (is_shadow and d.is_shadow) for d in devices)
    room = allowed(plan, index, len(ordered)) - held
    assigns: list[Assign] = []
    skipped: list[Mark] = []
    obstacles: dict[str, int] = {}
    alike = _strata(ordered)
    for device in ordered:
        if room <= 0:
            break
        if is_taken(device) or (is_shadow and device.is_shadow):
            continue
        if why := obstacle(plan, device, evidence, now_ms):
            obstacles[why] = obstacles.get(why, 0) + 1
            if not device.assigned and (device.state, device.detail) != (UpdateState.SKIPPED, why):
                skipped.append(Mark(device=device.device, state=UpdateState.SKIPPED, reason=why))
            continue
        room -= 1
        pinned = device.device in plan.pinned
        chosen = choice.PINNED if pinned else choice.reason_of(device, alike[device.strata])
        item = candidate(plan, device, is_shadow=is_shadow)
        assigns.append(Assign(device=device.device, item=item, stage=index, reason=chosen))
    reasons = [
        f"{counted(room, 'place is', 'places are')} left: {count} × {why}"
        for why, count in obstacles.items()
    ]
    return assigns, skipped, reasons if room > 0 else []


def _strata(devices: Sequence[Device]) -> dict[tuple[str, ...], int]:
    counts: dict[tuple[str, ...], int] = {}
    for device in devices:
        counts[device.strata] = counts.get(device.strata, 0) + 1
    return counts


def candidate(plan: Plan, device: Device, *, is_shadow: bool) -> Assigned:
    """Return the item that gives the device the candidate, under the next attempt."""
    shadow = ShadowPlan(every_s=plan.shadow_every_s, samples_per_day=plan.shadow_samples_per_day)
    return _item(plan, plan.artefact, device, shadow if is_shadow else None)


def _item(plan: Plan, artefact: Artefact, device: Device, shadow: ShadowPlan | None) -> Assigned:
    return Assigned(
        rollout=plan.rollout,
        slot=plan.slot,
        artefact=artefact,
        attempt=max(device.attempt, device.reported_attempt) + 1,
        windows=plan.windows,
        probation_s=plan.probation_s,
        shadow=shadow,
        max_kbit_s=plan.max_kbit_s,
    )


def withdraw(plan: Plan, devices: Sequence[Device], reason: str) -> list[Assign]:
    """Return the orders that take back what no device has begun to act on, shadows included."""
    waiting = {
        UpdateState.ASSIGNED,
        UpdateState.DOWNLOADED,
        UpdateState.VERIFIED,
        UpdateState.WAITING_WINDOW,
    }
    return [
        Assign(device=d.device, item=None, reason=reason)
        for d in devices
        if d.assigned == plan.artefact.digest and (d.is_shadow or d.state in waiting)
    ]


# -------------------------------------------------------------------------------- the way back


def back_to(plan: Plan, device: Device) -> Artefact | None:
    """Return what the device goes back to; None: nothing is known that was there before."""
    if device.before is not None and device.before.digest != plan.artefact.digest:
        return device.before
    return plan.back


def is_back(plan: Plan, device: Device) -> bool:
    """True where the candidate does not run on the device and will not come up by itself."""
    if device.assigned == plan.artefact.digest:
        return False
    if not device.assigned:
        return device.stage is None or device.running != plan.artefact.digest
    heard_ms = device.running_ms or 0
    return heard_ms > (device.assigned_ms or 0) and device.running not in {
        "",
        plan.artefact.digest,
    }


def give_back(plan: Plan, devices: Sequence[Device]) -> list[Assign]:
    """Return for each device that has the candidate, or may have it, its way back.

    A rollback is a new assignment: the next attempt, and no window, because what is wrong is wrong
    by day too.
    """
    assigns: list[Assign] = []
    for device in devices:
        if device.device in plan.excluded or is_doubtful(plan, device):
            continue
        is_candidate = device.assigned == plan.artefact.digest and not device.is_shadow
        target = back_to(plan, device)
        if device.is_shadow or (is_candidate and not may_have_it(device)):
            assigns.append(Assign(device=device.device, item=None, reason="it was not begun"))
        elif is_candidate and target is not None:
            item = msgspec.structs.replace(_item(plan, target, device, None), windows=[])
            reason = f"back to {target.name or target.digest}"
            if target.version:
                reason += f" {target.version}"
            assigns.append(
                Assign(
                    device=device.device, item=item, stage=device.stage, back=True, reason=reason
                )
            )
        elif is_candidate and device.running not in {"", plan.artefact.digest}:
            assigns.append(Assign(device=device.device, item=None, reason="it went back itself"))
    return assigns
