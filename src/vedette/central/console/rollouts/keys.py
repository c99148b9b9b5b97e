"""Releases and keys: which roles there are, who holds them, when they end. Pure.

The rule: an end that comes near is said before it hurts, with what to do about it; private halves
never come here, so nothing on this page can make anything.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.console.page import Page
from vedette.central.console.render import render
from vedette.central.console.rollouts.present import rollout_url
from vedette.central.console.rollouts.words import Word
from vedette.central.releases.keeping import ReleaseFile, ReleasesView
from vedette.clock import wall_ms
from vedette.trust.tuf.delta_paths import read_delta_path
from vedette.wire.updates import APPROVALS, Approval

_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
OFFLINE_SOON_MS: Final = 30 * _DAY_MS
"""People have to meet to sign: they need to know a month before."""

ONLINE_SOON_MS: Final = 6 * _HOUR_MS
"""Central signs these by itself, again and again: so near the end, it has stopped doing so."""

MAX_TARGETS: Final = 200

ABOUT: Final[dict[str, str]] = {
    "root": "says which keys speak for the other roles",
    "targets": "says who may publish what; delegates to the roles below",
    "models": "publishes models",
    "config": "publishes configurations",
    "app": "publishes the program",
    "system": "publishes system images and packages",
    "approvals": "says which artefacts may run, where, until when",
    "snapshot": "says which versions belong together; central signs it",
    "timestamp": "says which snapshot is the newest; central signs it",
}


ONLINE: Final = frozenset({"snapshot", "timestamp"})


class RoleView(msgspec.Struct, frozen=True, kw_only=True):
    """A role of the repository.

    Attributes:
        signed_ms: When its present metadata came here, or was made; None: not known.
        version: None: it has no metadata yet.
    """

    role: str
    keys: list[str]
    threshold: int
    is_online: bool = False
    version: int | None = None
    expires_ms: int | None = None
    signed_ms: int | None = None
    problem: str = ""


class ApprovalView(msgspec.Struct, frozen=True, kw_only=True):
    """An approval and whose keys signed it."""

    approval: Approval
    signed_by: list[str] = []


class TargetView(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be assigned.

    Attributes:
        deltas: Length of each difference that is published to it, from a version before.
    """

    path: str
    bytes: int
    sha256: str
    name: str = ""
    is_here: bool = True
    deltas: list[int] = []


class KeysView(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page says. `roles` empty: there is no repository yet."""

    roles: list[RoleView] = []
    approvals: list[ApprovalView] = []
    targets: list[TargetView] = []
    problem: str = ""


_STATES: Final[dict[str, Word]] = {
    "expired": Word("expired", "cross", "down", "nothing that it signs is believed any more"),
    "soon": Word("ends soon", "triangle", "degraded", "it has to be signed anew"),
    "missing": Word("not there", "question", "hatched", "nothing of it was published yet"),
    "ok": Word("in force", "disc", "ok", "devices believe it"),
}


def state_of(expires_ms: int | None, now_ms: int, *, is_online: bool = False) -> Word:
    """Return how it stands with something that ends then."""
    if expires_ms is None:
        return _STATES["missing"]
    if expires_ms <= now_ms:
        return _STATES["expired"]
    soon = ONLINE_SOON_MS if is_online else OFFLINE_SOON_MS
    return _STATES["soon" if expires_ms - now_ms < soon else "ok"]


def warnings_of(view: KeysView, now_ms: int) -> list[str]:
    """Return what somebody has to do, the most urgent first, as sentences."""
    told: list[tuple[int, str]] = []
    for role in view.roles:
        if role.expires_ms is None:
            continue
        word = state_of(role.expires_ms, now_ms, is_online=role.is_online)
        if word is _STATES["ok"]:
            continue
        what = "has expired" if word is _STATES["expired"] else "ends soon"
        todo = (
            "central signs it by itself: look at central's log and its health page"
            if role.is_online
            else f"sign it anew with the offline keys: vedette keys prolong {role.role}"
        )
        told.append((role.expires_ms, f"The role {role.role} {what}: {todo}."))
    return [text for _, text in sorted(told)]


def view_of(
    releases: ReleasesView, files: Sequence[ReleaseFile], approvals: Sequence[Approval]
) -> KeysView:
    """Return the repository as the page shows it; the documents of approvals are told by others."""
    roles = [
        RoleView(
            role=one.role,
            keys=one.keys,
            threshold=one.threshold,
            is_online=one.role in ONLINE,
            version=one.version,
            expires_ms=wall_ms(one.expires_at),
            signed_ms=wall_ms(one.published_at),
            problem=one.problem,
        )
        for one in releases.roles
    ]
    order = list(ABOUT)
    roles.sort(key=lambda one: order.index(one.role) if one.role in order else len(order))
    return KeysView(
        roles=roles,
        approvals=[ApprovalView(approval=one) for one in approvals],
        targets=_targets(files),
    )


def _targets(files: Sequence[ReleaseFile]) -> list[TargetView]:
    """Return what can be assigned, each with the differences that lead to it."""
    deltas: dict[tuple[str, str], list[int]] = defaultdict(list)
    found: list[ReleaseFile] = []
    for one in files:
        delta = read_delta_path(one.path)
        if delta is not None:
            deltas[delta.kind.value, delta.after].append(one.bytes)
        elif not one.path.startswith(f"{APPROVALS}/"):
            found.append(one)
    return [
        TargetView(
            path=one.path,
            bytes=one.bytes,
            sha256=one.sha256,
            deltas=deltas[one.path.partition("/")[0], one.sha256],
        )
        for one in found
    ]


def too_few(role: RoleView) -> bool:
    """True where one lost key ends the role."""
    return not role.is_online and len(role.keys) <= role.threshold


def keys_html(view: KeysView, page: Page) -> str:
    """Return the page."""
    approvals: Sequence[ApprovalView] = sorted(
        view.approvals, key=lambda one: -one.approval.issued_ms
    )
    return render(
        "rollouts/keys.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        view=view,
        approvals=approvals,
        targets=view.targets[:MAX_TARGETS],
        warnings=warnings_of(view, page.now_ms),
        state_of=state_of,
        too_few=too_few,
        about=ABOUT,
        rollout_url=rollout_url,
    )
