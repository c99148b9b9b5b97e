"""Where artefacts may run, as the holders of the offline key said. Pure; device and central use it.

An `Approval` is a target of the role `approvals`; its bytes are verified by `client` before they
come here. What is not here: who assigns (`wire.updates.Assignment`), and whether the artefact's own
bytes are right.
"""

from typing import Final

from vedette.errors import MalformedReport, TooLarge
from vedette.wire import codec
from vedette.wire.limits import MAX_NAME_CHARS, MAX_TEXT_CHARS
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import APPROVALS, Approval, Artefact

MAX_APPROVAL_BYTES: Final = 1024 * 1024
MAX_ARTEFACTS: Final = 256
MAX_SITES: Final = 20_000
EVERYWHERE: Final = "*"
_DIGEST_CHARS: Final = 64
_HEX: Final = frozenset("0123456789abcdef")


def approval_path(rollout: str) -> str:
    """Return the target of a rollout's approval."""
    return f"{APPROVALS}/{rollout}.json"


def read_approval(data: bytes) -> Approval:
    """Return the approval that `data` holds; who signed it was checked before.

    Raises:
        TooLarge: More bytes, artefacts or sites than one rollout has.
        MalformedReport: Not an approval, or one that says something impossible.
    """
    if len(data) > MAX_APPROVAL_BYTES:
        raise TooLarge(f"an approval of {len(data)} bytes; at most {MAX_APPROVAL_BYTES}")
    said = codec.decode(data, Approval, json=True)
    if len(said.artefacts) > MAX_ARTEFACTS or len(said.sites) > MAX_SITES:
        raise TooLarge(f"an approval of {len(said.artefacts)} artefacts, {len(said.sites)} sites")
    _check(said)
    return said


def covers(approval: Approval, artefact: Artefact, site: str, now_ms: int) -> str:
    """Return "" where `artefact` may be installed at `site` now, else in words why not."""
    if now_ms >= approval.expires_ms:
        return f"the approval of {approval.rollout} is over"
    if now_ms < approval.issued_ms - _AHEAD_MS:
        return f"the approval of {approval.rollout} is not in force yet: the clock may be wrong"
    if EVERYWHERE not in approval.sites and site not in approval.sites:
        return f"the approval of {approval.rollout} does not name the site {site}"
    # What identifies bytes counts; name and version are for people.
    if not any(_identity(one) == _identity(artefact) for one in approval.artefacts):
        return f"the approval of {approval.rollout} does not name {artefact.target} as it is"
    return ""


_AHEAD_MS: Final = 24 * 3_600_000
"""Signers' clocks and a device's may differ by this much."""


def _identity(artefact: Artefact) -> tuple[str, ...]:
    return (
        artefact.kind,
        artefact.target,
        artefact.sha256,
        str(artefact.bytes),
        artefact.digest,
    )


def _check(said: Approval) -> None:
    """Raise `MalformedReport` where the approval says what none can mean."""
    names = (said.rollout, *said.sites)
    if any(not name or len(name) > MAX_NAME_CHARS for name in names) or "/" in said.rollout:
        raise MalformedReport("an approval names a rollout and sites, in 128 characters each")
    if len(said.note) > MAX_TEXT_CHARS or said.expires_ms <= said.issued_ms:
        raise MalformedReport("an approval ends after it begins, and has a short note")
    for artefact in said.artefacts:
        if not artefact.target.startswith(f"{ArtefactKind(artefact.kind).value}/"):
            raise MalformedReport(f"{artefact.target} is not in the folder {artefact.kind.value}/")
        if len(artefact.sha256) != _DIGEST_CHARS or not _HEX.issuperset(artefact.sha256):
            raise MalformedReport(f"{artefact.target} has no SHA-256 in lower-case hex")
