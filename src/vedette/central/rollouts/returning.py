"""Whether whoever takes part could be sent back: to what, and whether the offline keys allow that.

What lives here: the ways back of a plan, and what a person has to do about them. What does not: the
way back itself (`taking.give_back`). The rule: nobody is taken in whose way back is known and not
approved, because a rollout that cannot be taken back must not begin; and that is said when it is
planned, not when it is needed.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from vedette.amounts import counted
from vedette.central.releases import keeping
from vedette.central.rollouts import approving, choice, lighting, taking
from vedette.central.rollouts.facts import Device, Plan
from vedette.central.store.db import Tx
from vedette.wire.updates import Approval, Artefact

NAMED: Final = 5
_artefact = msgspec.json.Decoder(Artefact).decode


def unapproved(
    plan: Plan, devices: Iterable[Device], approval: Approval | str, now_ms: int
) -> dict[str, str]:
    """Return, of devices whose way back is known, why the approval does not cover it. Pure."""
    if isinstance(approval, str):
        return {}  # nothing is approved, which is said of the candidate
    known: dict[tuple[str, str], str] = {}
    found: dict[str, str] = {}
    for device in devices:
        target = taking.back_to(plan, device)
        if target is None:
            continue
        place = (target.digest, device.site)
        if place not in known:
            known[place] = approving.lacks(approval, target, device.site, now_ms)
        if known[place]:
            found[device.device] = f"what it would go back to is not approved: {known[place]}"
    return found


def advice(
    plan: Plan, devices: Iterable[Device], approval: Approval | str, now_ms: int
) -> list[str]:
    """Return what a person should do about ways back before a rollout begins, in words. Pure."""
    taking_part = [
        d for d in choice.participants(plan, devices) if d.running != plan.artefact.digest
    ]
    targets = {d.device: taking.back_to(plan, d) for d in taking_part}
    lost = sorted(name for name, target in targets.items() if target is None)
    said: list[str] = []
    if lost:
        who = counted(len(lost), "device has", "devices have")
        said.append(
            f"{who} nothing to go back to that central knows"
            f" ({_some(lost)}): name it as `back` in the plan, or each only goes back by itself"
        )
    counts = Counter(target.target for target in targets.values() if target is not None)
    needed = " ".join(f"--target {name}" for name in sorted(counts))
    if isinstance(approval, str):
        if needed:
            said.append(
                f"when you approve it with the offline keys, name the ways back too: {needed}"
            )
        return said
    missing = unapproved(plan, taking_part, approval, now_ms)
    if missing:
        why = min(missing.values())
        who = counted(len(missing), "device is", "devices are")
        said.append(
            f"{who} not taken in ({_some(sorted(missing))}): {why}."
            f" Approve again: vedette keys approve {plan.rollout}"
            f" --target {plan.artefact.target} {needed} …, sign and publish"
        )
    return said


async def warnings(tx: Tx, plan: Plan, now_ms: int) -> list[str]:
    """Return the advice about a plan over the fleet as it is."""
    approvals = await approving.approvals_of(tx, [plan.rollout])
    approval = approvals.get(plan.rollout, approving.NO_APPROVAL)
    said = advice(plan, await candidates(tx, plan, now_ms), approval, now_ms)
    return [*await _not_as_published(tx, plan), *said]


async def _not_as_published(tx: Tx, plan: Plan) -> list[str]:
    """Return, of the files that a plan names, which are published with other bytes, in words."""
    said: list[str] = []
    for named in filter(None, (plan.artefact, plan.back)):
        file = await tx.one("release_path", keeping.ReleaseFile, path=named.target)
        if file is not None and (file.sha256, file.bytes) != (named.sha256, named.bytes):
            said.append(
                f"{named.target} is published with {file.bytes} bytes and sha256 {file.sha256},"
                " the plan says others: nothing of it can be approved. `vedette keys draft`"
                " writes a plan with the right ones"
            )
    return said


async def candidates(tx: Tx, plan: Plan, now_ms: int) -> list[Device]:
    """Return every device that a plan means, as far as a dry run needs to know it."""
    rows = await tx.tuples(
        "rollout_candidates", slot=plan.slot, kind=str(plan.kind), sites=sorted(set(plan.sites))
    )
    names = [str(row[0]) for row in rows[: lighting.AT_ONCE]]
    light = await lighting.of(tx, names, now_ms)
    return [
        Device(
            device=device,
            site=site,
            time_zone=zone,
            strata=(hardware, models, light.get(device, "")),
            running=running,
            last_seen_ms=last_seen_ms,
            before=_artefact(before) if before else None,
        )
        for device, site, zone, hardware, models, running, last_seen_ms, before in rows
    ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
