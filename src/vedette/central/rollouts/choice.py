"""Who takes part in a rollout, and in which order devices are taken in. Pure.

The order is fixed by the rollout's id: whoever plans it, however often, gets the same one. It goes
through the strata (hardware × camera model × light) in turn, the largest first, so that the first
devices of a stage differ as much as the fleet does, and each stage mirrors it.

The rule: chance, not convenience, picks a device within its stratum, or what is measured on the
first ones says nothing about the others.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from vedette.central.rollouts.facts import Device, Plan

PINNED: Final = "an operator pinned it to the first stage"


def is_part(plan: Plan, device: Device) -> bool:
    """True where the plan's sites hold the device, and no exclusion does."""
    if device.device in plan.excluded:
        return False
    return "*" in plan.sites or device.site in plan.sites


def participants(plan: Plan, devices: Iterable[Device]) -> list[Device]:
    """Return all that take part, reachable or not, by name."""
    return sorted((d for d in devices if is_part(plan, d)), key=lambda d: d.device)


def in_order(plan: Plan, devices: Sequence[Device]) -> list[Device]:
    """Return the participants in the order in which they are taken in.

    Those that were taken in come first, by stage; then pinned ones; then one of each stratum in
    turn, large strata first.
    """
    taking_part = participants(plan, devices)
    turns = _turns(plan, [d for d in taking_part if d.device not in plan.pinned])

    def place(device: Device) -> tuple[int, int, int, str]:
        is_pinned = device.device in plan.pinned
        turn, stratum = turns.get(device.device, (0, 0))
        stage = device.stage if device.stage is not None else len(plan.stages)
        return (stage, 0 if is_pinned else turn + 1, stratum, device.device)

    return sorted(taking_part, key=place)


def reason(plan: Plan, device: Device, devices: Sequence[Device]) -> str:
    """Return in words why the choice has taken this one."""
    if device.device in plan.pinned:
        return PINNED
    alike = sum(d.strata == device.strata for d in participants(plan, devices))
    return reason_of(device, alike)


def reason_of(device: Device, alike: int) -> str:
    """Return the same where it is known already how many of its stratum take part."""
    if not any(device.strata):
        return f"by lot among {alike} of unknown hardware, camera and light"
    return f"by lot among {alike} of {' × '.join(s or 'unknown' for s in device.strata)}"


def _turns(plan: Plan, devices: Sequence[Device]) -> dict[str, tuple[int, int]]:
    """Return turn and place of the stratum for each device.

    A stratum of half the size has its second turn when the larger one has its third: the turn is
    where in the stratum the device is, but the first of each stratum come before all others.
    """
    strata: dict[tuple[str, ...], list[Device]] = defaultdict(list)
    for device in devices:
        strata[device.strata].append(device)
    largest_first = sorted(strata, key=lambda s: (-len(strata[s]), _lot(plan, "/".join(s))))
    most = max((len(members) for members in strata.values()), default=0)
    found: dict[str, tuple[int, int]] = {}
    for number, stratum in enumerate(largest_first):
        members = sorted(strata[stratum], key=lambda d: _lot(plan, d.device))
        for index, device in enumerate(members):
            found[device.device] = (index * most // len(members), number)
    return found


def _lot(plan: Plan, name: str) -> bytes:
    """Return what chance has given to `name` in this rollout."""
    return hashlib.blake2b(f"{plan.rollout}\0{name}".encode(), digest_size=8).digest()
