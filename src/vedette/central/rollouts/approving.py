"""Who said that a rollout may be: the offline keys, and a second person at central.

What lives here: reading the approval that the offline keys signed, and the rule of two. What does
not: holding an artefact against an approval (`trust.tuf.approvals.covers`, which the device uses
too).

The rule: both are needed, and neither stands for the other. The offline approval is what a device
checks, so a stolen central gains nothing by leaving it out; the second person is central's own
custom, which its configuration can turn off.
"""

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from vedette.central.releases import keeping
from vedette.central.store.db import Tx
from vedette.errors import VedetteError
from vedette.trust.tuf.approvals import (
    MAX_APPROVAL_BYTES,
    approval_path,
    covers,
    read_approval,
)
from vedette.wire.updates import Approval, Artefact

NO_APPROVAL: Final = "there is no approval by the offline keys yet"

_approval = msgspec.json.Decoder(Approval).decode


async def refresh(tx: Tx, rollout: str, state: Path) -> Approval | str:
    """Return a rollout's approval as the repository has it now, or in words why there is none.

    It is kept beside the rollout for whoever signs; one that was withdrawn is gone there too.
    """
    approval = await _published(tx, rollout, state)
    kept = msgspec.json.encode(approval) if isinstance(approval, Approval) else None
    await tx.run("rollout_approval_set", rollout=rollout, approval=kept)
    return approval


async def _published(tx: Tx, rollout: str, state: Path) -> Approval | str:
    file = await tx.one("release_path", keeping.ReleaseFile, path=approval_path(rollout))
    if file is None:
        return NO_APPROVAL
    try:
        with keeping.release_blobs(state).open(file.sha256) as opened:
            data = opened.read(MAX_APPROVAL_BYTES + 1)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            return "the approval on central's disk is not what was signed: somebody changed it"
        approval = read_approval(data)
    except (VedetteError, OSError) as error:
        return f"the approval cannot be read: {error}"
    if approval.rollout != rollout:
        return f"that approval is of {approval.rollout}"
    return approval


async def approvals_of(tx: Tx, rollouts: Collection[str]) -> dict[str, Approval | str]:
    """Return the approval of each rollout as it was last read, or in words why there is none."""
    found = await tx.tuples("approvals_of", rollouts=sorted(rollouts))
    return {name: _approval(body) if body else NO_APPROVAL for name, body, _, _ in found}


def lacks(
    approval: Approval | str, artefact: Artefact, site: str, now_ms: int, *, shadow: bool = False
) -> str:
    """Return "" where an approval covers an artefact at a site now, else in words why not."""
    if isinstance(approval, str):
        return approval
    if shadow and not approval.shadow:
        return "the approval does not allow it to run in shadow"
    return covers(approval, artefact, site, now_ms)


def second_person(made_by: str, approved_by: Collection[str], *, is_needed: bool) -> str:
    """Return "" where enough people at central approved, else who is missing."""
    if not approved_by:
        return "nobody at central has approved it yet"
    if is_needed and not set(approved_by) - {made_by}:
        return f"{made_by} made it: somebody else has to approve it too"
    return ""
