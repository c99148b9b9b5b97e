"""What a repository's host takes, and what it signs itself: pure, bytes in, bytes out.

A host (central) holds the keys of snapshot and timestamp, and nobody else's. It takes root, targets
and delegated metadata only as the specification lets a client take them, so that no device is ever
offered what it would refuse; and it says with its two keys which versions belong together, and that
this is still so today. It can neither name a target nor give a role to a key.

Versions of what the host signs count up by seconds: a host that was restored from last week's
backup goes on with versions that devices have not seen.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, cast

from vedette.errors import (
    Expired,
    MalformedReport,
    NotAllowed,
    RollbackAttempt,
    TooLarge,
    TrustError,
)
from vedette.trust.keys import SigningKey
from vedette.trust.tuf.fetching import Limits
from vedette.trust.tuf.keyfiles import online_signer
from vedette.trust.tuf.library import (
    AnyMetadata,
    DelegatedRole,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    Targets,
    Timestamp,
)
from vedette.trust.tuf.refusals import translated

SNAPSHOT_LIFE: Final = timedelta(days=14)
TIMESTAMP_LIFE: Final = timedelta(days=3)
MAX_TARGET_BYTES: Final = 4 * 1024**3
MAX_TARGETS: Final = 10_000
_LIMITS: Final = Limits()
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Hosted:
    """All current metadata of a repository.

    Attributes:
        roots: Every root by version: a device may have been enrolled at any of them.
        roles: targets and the roles that it delegates to: newest bytes.
        versions: Of `roles`.
    """

    roots: Mapping[int, bytes] = field(default_factory=dict[int, bytes])
    roles: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    versions: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def root(self) -> Root:
        """The newest root.

        Raises:
            NotAllowed: There is none yet.
        """
        if not self.roots:
            raise NotAllowed(
                "nothing was published yet",
                operator_hint="make a repository and `vedette keys publish` it",
            )
        return cast("Root", _parse(self.roots[max(self.roots)], "root").signed)

    def targets_of(self, role: str) -> Targets:
        """Return what a role has signed.

        Raises:
            NotAllowed: It has signed nothing.
        """
        if role not in self.roles:
            raise NotAllowed(f"nothing of {role} was published yet")
        return cast("Targets", _parse(self.roles[role], role).signed)

    def files(self) -> dict[str, tuple[str, int]]:
        """Return path → SHA-256 and bytes of every target that is named now."""
        return {
            path: (target.hashes["sha256"], target.length)
            for role in self.roles
            for path, target in self.targets_of(role).targets.items()
        }


def admit(
    have: Hosted, offered: Mapping[str, bytes], online: Mapping[str, str], now_at: datetime
) -> Hosted:
    """Return what is hosted once `offered` is taken: all of it, or nothing.

    Args:
        have: What is hosted now.
        offered: Metadata by file name, `2.root.json`; what is there already may be among it.
        online: Key ids of the host: role (snapshot, timestamp) → id.
        now_at: Nothing that is over by then is taken.

    Raises:
        BadSignature: Too few of a role's keys have signed.
        RollbackAttempt: An older version, or another content under a known version.
        Expired: Its time is over.
        NotAllowed: A role speaks of what is not its own, or root does not name this host's keys.
        TrustError: Anything else that such metadata may not be.
        TooLarge: Over a limit.
    """
    roots = dict(have.roots)
    roles, versions = dict(have.roles), dict(have.versions)
    named = sorted((_name(name), data) for name, data in offered.items())
    for (role, version), data in named:
        if role == Root.type:
            _take_root(roots, version, data)
    host = Hosted(roots, roles, versions)
    _require_current("root", host.root, now_at)
    _require_online(host.root, online)
    for (role, version), data in sorted(named, key=lambda one: one[0][0] != Targets.type):
        if role != Root.type:
            _take_role(roles, versions, role, version, data)
    _check_all(Hosted(roots, roles, versions), now_at)
    return Hosted(roots, roles, versions)


def sign_snapshot(hosted: Hosted, key: SigningKey, before: int, now_at: datetime) -> bytes:
    """Return snapshot metadata of what is hosted, newer than version `before`."""
    meta = {
        f"{role}.json": MetaFile(hosted.versions[role], len(data), {"sha256": _sha256(data)})
        for role, data in hosted.roles.items()
    }
    snapshot = Snapshot(
        version=_next(before, now_at), expires=_until(now_at, SNAPSHOT_LIFE), meta=meta
    )
    return _signed(Metadata(snapshot), key)


def sign_timestamp(snapshot: bytes, key: SigningKey, before: int, now_at: datetime) -> bytes:
    """Return timestamp metadata that names `snapshot`, newer than version `before`."""
    version = version_of(snapshot)
    timestamp = Timestamp(
        version=_next(before, now_at),
        expires=_until(now_at, TIMESTAMP_LIFE),
        snapshot_meta=MetaFile(version, len(snapshot), {"sha256": _sha256(snapshot)}),
    )
    return _signed(Metadata(timestamp), key)


def keys_of(hosted: Hosted, role: str) -> tuple[int, list[str]]:
    """Return a role's threshold and the ids of its keys, by what is hosted."""
    root = hosted.root
    if role in root.roles:
        return root.roles[role].threshold, list(root.roles[role].keyids)
    top = hosted.targets_of(Targets.type)
    found = ((top.delegations.roles if top.delegations else None) or {}).get(role)
    return (found.threshold, list(found.keyids)) if found else (0, [])


def version_of(data: bytes) -> int:
    """Return the version that metadata states.

    Raises:
        TrustError: Not metadata.
    """
    return _parse(data, "metadata").signed.version


def expires_of(data: bytes) -> datetime:
    """Return when metadata is over.

    Raises:
        TrustError: Not metadata.
    """
    return _parse(data, "metadata").signed.expires


def _take_root(roots: dict[int, bytes], version: int, data: bytes) -> None:
    if version in roots:
        _require_same(Root.type, version, roots[version], data)
        return
    root = _parse(data, Root.type)
    _require_stated("root", root, version, Root)
    if roots and version != max(roots) + 1:
        raise RollbackAttempt(
            f"root {version} does not follow on root {max(roots)}",
            operator_hint="publish every root in between too",
        )
    with translated(f"root {version}"):
        if roots:
            before = cast("Root", _parse(roots[max(roots)], Root.type).signed)
            before.verify_delegate(Root.type, root.signed_bytes, root.signatures)
        signed = cast("Root", root.signed)
        signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    if not signed.consistent_snapshot:
        raise NotAllowed("root does not ask for consistent snapshots; devices count on them")
    roots[version] = data


def _take_role(
    roles: dict[str, bytes], versions: dict[str, int], role: str, version: int, data: bytes
) -> None:
    have = versions.get(role, 0)
    if version == have:
        _require_same(role, version, roles[role], data)
        return
    if version < have:
        raise RollbackAttempt(f"{role} {version} is older than {have}, which is published")
    _require_stated(role, _parse(data, role), version, Targets)
    roles[role], versions[role] = data, version


def _check_all(host: Hosted, now_at: datetime) -> None:
    """Return where every role holds by what its delegator says now."""
    if Targets.type not in host.roles:
        raise NotAllowed("there is no targets metadata", operator_hint="publish the whole folder")
    root, top = host.root, host.targets_of(Targets.type)
    delegated = dict((top.delegations.roles if top.delegations else None) or {})
    _check(host, Targets.type, root, now_at)
    if top.targets:
        raise NotAllowed("targets names files itself; only the roles it delegates to may")
    for role in host.roles:
        if role == Targets.type:
            continue
        if role not in delegated:
            raise NotAllowed(f"targets delegates nothing to {role}")
        _check(host, role, top, now_at)
        _check_paths(role, delegated[role], host.targets_of(role))
    missing = sorted(set(delegated) - set(host.roles))
    if missing:
        raise NotAllowed(f"{', '.join(missing)}: delegated to, and not published")


def _check(host: Hosted, role: str, delegator: Root | Targets, now_at: datetime) -> None:
    metadata = _parse(host.roles[role], role)
    with translated(role):
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    _require_current(role, metadata.signed, now_at)


def _check_paths(role: str, delegation: DelegatedRole, said: Targets) -> None:
    if len(said.targets) > MAX_TARGETS:
        raise TooLarge(f"{role} names {len(said.targets)} files; at most {MAX_TARGETS}")
    for path, target in said.targets.items():
        sha256 = target.hashes.get("sha256", "")
        if not delegation.is_delegated_path(path):
            raise NotAllowed(f"{role} may not sign {path[:200]}")
        if len(sha256) != 64 or not _HEX.issuperset(sha256) or len(target.hashes) != 1:
            raise NotAllowed(f"{path[:200]} is named by its SHA-256, and by nothing else")
        if not 0 <= target.length <= MAX_TARGET_BYTES:
            raise TooLarge(f"{path[:200]} has {target.length} bytes; at most {MAX_TARGET_BYTES}")
    if said.delegations is not None:
        raise NotAllowed(f"{role} delegates further; nothing here follows that")


def _require_online(root: Root, online: Mapping[str, str]) -> None:
    for role, keyid in online.items():
        known = root.roles[role]
        if keyid not in known.keyids or known.threshold != 1:
            raise NotAllowed(
                f"root gives {role} to other keys than this central's ({keyid[:16]})",
                operator_hint="`vedette central releases keys` writes them; name them in"
                " `vedette keys init`, or `vedette keys rotate` to them",
            )


def _require_current(role: str, signed: Signed, now_at: datetime) -> None:
    if signed.is_expired(now_at):
        raise Expired(
            f"{role} {signed.version} expired at {signed.expires:%Y-%m-%d}",
            operator_hint=f"`vedette keys prolong {role}`, sign, publish",
        )


def _require_same(role: str, version: int, have: bytes, offered: bytes) -> None:
    if have != offered:
        raise RollbackAttempt(
            f"another {role} {version} is published already",
            operator_hint="two people changed the repository apart: take the published one, and"
            " make the change again on top of it",
        )


def _require_stated(
    role: str, metadata: AnyMetadata, version: int, kind: type[Root] | type[Targets]
) -> None:
    if not isinstance(metadata.signed, kind) or metadata.signed.version != version:
        raise TrustError(f"the file of {role} {version} holds something else")


def _name(name: str) -> tuple[str, int]:
    number, _, role = name.removesuffix(".json").partition(".")
    is_version = number.isascii() and number.isdigit() and len(number) <= 9 and int(number) > 0
    if not (name.endswith(".json") and is_version and role.isascii() and role.isidentifier()):
        raise MalformedReport(f"{name[:80]!r} is no name of metadata: as 3.targets.json")
    if role in {Snapshot.type, Timestamp.type}:
        raise NotAllowed(f"{role} is signed by central itself")
    return role, int(number)


def _parse(data: bytes, role: str) -> AnyMetadata:
    limit = _LIMITS.root if role == Root.type else _LIMITS.targets
    if len(data) > limit:
        raise TooLarge(f"{role} of {len(data)} bytes; at most {limit}")
    with translated(role):
        return cast("AnyMetadata", Metadata.from_bytes(data))


def _next(before: int, now_at: datetime) -> int:
    return max(before + 1, int(now_at.timestamp()))


def _until(now_at: datetime, life: timedelta) -> datetime:
    return now_at.replace(microsecond=0) + life


def _signed(metadata: Metadata[Snapshot] | Metadata[Timestamp], key: SigningKey) -> bytes:
    metadata.sign(online_signer(key))
    return metadata.to_bytes()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
