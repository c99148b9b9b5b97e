"""Which assignment may be followed, and which of its items: what three signers agree on.

    central's pinned key   this device shall have this artefact in this slot
    the repository         this target has these bytes, and is current
    the offline approvers  this artefact, at this site, until then

Central holds only the first of them, so a stolen central can choose among what was approved for
this site and nothing else. Even of that it cannot bring back what a newer approval left behind: a
slot has a floor. An authorised way back is a new assignment of something that the newest approval
names. The rule: what is refused is said, and what runs stays.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from vedette.edge.enrolment import Identity
from vedette.edge.updating import windows
from vedette.errors import NotAllowed, RollbackAttempt, WireError
from vedette.ids import is_slug
from vedette.trust import dsse
from vedette.trust.tuf.approvals import MAX_APPROVAL_BYTES, approval_path, covers, read_approval
from vedette.trust.tuf.client import TargetInfo
from vedette.trust.tuf.refusals import NotThere
from vedette.wire.signed import Signed
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import ASSIGNMENT_TYPE, Approval, Artefact, Assigned, Assignment

MAX_ITEMS: Final = 64
MAX_WINDOWS: Final = 16
MAX_PROBATION_S: Final = 7 * 86_400.0
MAX_ATTEMPT: Final = 1_000
MAX_BYTES: Final = 16 * 1024**3
_HEX: Final = frozenset("0123456789abcdef")


class Refused(NotAllowed):
    """Those who must agree do not: an item is not installed under this attempt."""


class Targets(Protocol):
    """The part of `trust.tuf.client.Repository` that is asked here."""

    def target(self, path: str) -> TargetInfo:
        """Return what a target's bytes must be."""
        ...

    def read(self, path: str, max_bytes: int = ...) -> bytes:
        """Return the bytes of a small target, verified."""
        ...


@dataclass(frozen=True, slots=True)
class Permit:
    """An item may be installed: by an approval issued and ending then; its bytes are at `where`."""

    issued_ms: int
    expires_ms: int
    where: str


def accept(signed: Signed, identity: Identity, held: Assignment | None) -> Assignment:
    """Return the assignment in `signed` where this device may follow it.

    Raises:
        BadSignature: Not signed by central's pinned key.
        NotAllowed: For another device, or saying what none can mean.
        RollbackAttempt: Older than what is held (a replay), or another text of the same version.
        MalformedReport: Signed, but no assignment.
    """
    said = dsse.open_struct(signed, Assignment, [identity.central], payload_type=ASSIGNMENT_TYPE)
    if said.device != identity.device:
        raise NotAllowed(f"assigned to {said.device[:64]!r}, this is {identity.device!r}")
    if held is not None and said != held and said.version <= held.version:
        raise RollbackAttempt(
            f"assignment version {said.version}; version {held.version} was accepted before",
            operator_hint="after a restored backup central counts on from what devices report",
        )
    _check(said)
    return said


def permit(item: Assigned, targets: Targets, *, site: str, now_ms: int, floor_ms: int) -> Permit:
    """Return that `item` may be installed here now.

    Args:
        item: Of an accepted assignment.
        targets: Refreshed.
        site: Of this device.
        now_ms: As well as this device knows.
        floor_ms: When the newest approval was issued by which something in the slot was confirmed.

    Raises:
        Refused: No role names the target or the approval; the repository has other bytes by this
            name; no approval covers the item, or one that is older than the floor.
        TrustError: Metadata is not good any more: a matter of the repository, which may pass.
        UplinkError: Central did not answer.
    """
    try:
        found = targets.target(item.artefact.target)
        data = targets.read(approval_path(item.rollout), MAX_APPROVAL_BYTES)
        approval = read_approval(data)
    except (NotThere, WireError) as error:
        raise Refused(str(error), operator_hint=error.operator_hint) from error
    if (found.sha256, found.bytes) != (item.artefact.sha256, item.artefact.bytes):
        raise Refused(f"{item.artefact.target} is not what the repository has by this name")
    why_not = _why_not(item, approval, site, now_ms, floor_ms)
    if why_not:
        raise Refused(why_not, operator_hint="have the offline key holders approve it")
    return Permit(approval.issued_ms, approval.expires_ms, found.where)


def _why_not(item: Assigned, approval: Approval, site: str, now_ms: int, floor_ms: int) -> str:
    if approval.rollout != item.rollout:
        return f"the approval of {approval.rollout[:64]!r} is not one of {item.rollout}"
    if item.shadow is not None and not approval.shadow:
        return f"the approval of {item.rollout} lets nothing run in shadow"
    if approval.issued_ms < floor_ms:
        return (
            f"the approval of {item.rollout} is older than the one by which this slot was filled:"
            " to go back, have what to go back to approved anew"
        )
    return covers(approval, item.artefact, site, now_ms)


def _check(said: Assignment) -> None:
    """Raise where an assignment says what none can mean."""
    if len(said.items) > MAX_ITEMS or said.version < 1:
        raise NotAllowed(f"an assignment of {len(said.items)} items, version {said.version}")
    seen: set[tuple[str, bool]] = set()
    for item in said.items:
        place = (item.slot, item.shadow is not None)
        if place in seen:
            raise NotAllowed(f"two items for the slot {item.slot[:64]!r}")
        seen.add(place)
        _check_item(item)
        _check_artefact(item.artefact)


def _check_item(item: Assigned) -> None:
    kind = item.artefact.kind
    named = kind.value if kind is not ArtefactKind.MODEL else item.slot
    if not is_slug(item.slot) or item.slot != named or not is_slug(item.rollout):
        raise NotAllowed(f"the slot {item.slot[:64]!r} holds nothing of the kind {kind.value}")
    if kind is ArtefactKind.MODEL and item.slot in _NO_MODELS:
        raise NotAllowed(f"the slot {item.slot!r} holds no models")
    if len(item.windows) > MAX_WINDOWS or not 1 <= item.attempt <= MAX_ATTEMPT:
        raise NotAllowed(f"{len(item.windows)} windows, attempt {item.attempt}")
    if not 0 <= item.probation_s <= MAX_PROBATION_S:
        raise NotAllowed(f"a probation of {item.probation_s:.0f} s")
    if item.max_kbit_s is not None and item.max_kbit_s <= 0:
        raise NotAllowed(f"a download at {item.max_kbit_s:g} kbit/s never ends")
    windows.check(item.windows)


_NO_MODELS: Final = frozenset({"app", "system", "config"})


def _check_artefact(artefact: Artefact) -> None:
    plain = artefact.digest.removeprefix("sha256:")
    for text in (artefact.sha256, plain):
        if len(text) != 64 or not _HEX.issuperset(text):
            raise NotAllowed(f"{artefact.target[:64]!r} has no SHA-256 in lower-case hex")
    if not artefact.digest.startswith("sha256:") or not 0 < artefact.bytes <= MAX_BYTES:
        raise NotAllowed(f"{artefact.target[:64]!r} has no digest, or {artefact.bytes} bytes")
    if not artefact.target.startswith(f"{artefact.kind.value}/") or len(artefact.target) > 256:
        raise NotAllowed(f"{artefact.target[:64]!r} is not in the folder {artefact.kind.value}/")
