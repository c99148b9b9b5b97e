"""A repository in a folder, made and changed by people who hold its keys, away from central.

    metadata/  3.root.json, 5.targets.json, 2.models.json, …   complete: enough have signed
    staged/    root.json, models.json, …                       still to be signed
    targets/   models/yolox/<sha256>.1.2.0.vbundle, …          the files themselves

A change never touches what is complete: it stages a new version of a role, which people sign one
after another (the folder may travel), and which becomes complete by itself when enough of the right
keys have signed. Snapshot and timestamp are central's (`hosting`); root names its keys.

The rule: nothing here reads a private key; signers come opened (`keyfiles`).
Source: The Update Framework Specification 1.0.34, sections 4 (formats) and 6 (key migration).
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast

import msgspec

from vedette.amounts import counted
from vedette.errors import ConfigError, NotAllowed, TrustError
from vedette.trust.keys import write_private
from vedette.trust.tuf.approvals import (
    MAX_APPROVAL_BYTES,
    approval_path,
    read_approval,
)
from vedette.trust.tuf.library import (
    AnyMetadata,
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    Role,
    Root,
    Signer,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from vedette.trust.tuf.refusals import translated
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import APPROVALS, Approval

AnyRole = Metadata[Root] | Metadata[Targets]

DELEGATED: Final = (*(kind.value for kind in ArtefactKind), APPROVALS)
"""Each signs what is in the folder of its name, and nothing else."""

ROLES: Final = (Root.type, Targets.type, *DELEGATED)
"""In the order in which they are believed."""

DAYS: Final = {Root.type: 365, Targets.type: 365, APPROVALS: 90}
_DAYS: Final = 180
_DEPTH: Final = 4
_SPEC: Final = "1.0.34"
_MAX_PATH_CHARS: Final = 200


class RolePlan(msgspec.Struct, frozen=True):
    """Whose keys a role has, and how many of them must sign."""

    keys: list[Key]
    threshold: int = 1


class RoleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a role stands.

    Attributes:
        version: Of what is complete; 0: nothing is.
        staged: Version that waits for signatures; 0: none does.
        signed, missing: Key ids, of what is staged, else of what is complete.
        wants: How many more must sign what is staged.
        problem: In words; empty: none.
    """

    role: str
    version: int
    staged: int
    threshold: int
    keys: list[str]
    signed: list[str]
    missing: list[str]
    wants: int
    expires_at: datetime | None
    targets: int
    problem: str = ""


class OfflineRepository:
    """The folder. Thread and process: one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self._metadata: Final = folder / "metadata"
        self._staged: Final = folder / "staged"
        self._targets: Final = folder / "targets"

    # ---------------------------------------------------------------- what is there

    def versions(self, role: str) -> list[int]:
        """Return the complete versions of a role, oldest first."""
        found = self._metadata.glob(f"*.{role}.json")
        return sorted(int(f.name.split(".")[0]) for f in found if f.name.split(".")[0].isdigit())

    def complete(self, role: str) -> AnyRole | None:
        """Return the newest complete metadata of a role."""
        versions = self.versions(role)
        return _read(self._metadata / f"{versions[-1]}.{role}.json") if versions else None

    def staged(self, role: str) -> AnyRole | None:
        """Return what waits for signatures."""
        file = self._staged / f"{role}.json"
        return _read(file) if file.exists() else None

    def newest(self, role: str) -> AnyRole | None:
        """Return what is staged, else what is complete."""
        return self.staged(role) or self.complete(role)

    def files(self) -> dict[str, bytes]:
        """Return all complete metadata to be published, by file name: all roots, newest others.

        Raises:
            ConfigError: Something still waits for signatures, or nothing is complete.
        """
        waiting = [role for role in ROLES if self.staged(role)]
        if waiting:
            raise ConfigError(
                f"{', '.join(waiting)}: not enough have signed",
                operator_hint="`vedette keys status` says who is missing; then `vedette keys sign`",
            )
        names = [f"{version}.root.json" for version in self.versions(Root.type)]
        for role in ROLES[1:]:
            versions = self.versions(role)
            names += [f"{versions[-1]}.{role}.json"] if versions else []
        if not names:
            raise ConfigError(
                f"{self.folder} has no metadata", operator_hint="begin with `vedette keys init`"
            )
        return {name: (self._metadata / name).read_bytes() for name in names}

    def target_files(self) -> dict[str, tuple[str, int, Path]]:
        """Return path → SHA-256, bytes, file of all targets that complete metadata names."""
        found: dict[str, tuple[str, int, Path]] = {}
        for role in DELEGATED:
            found |= self._files_of(self.complete(role))
        return found

    def named(self, role: str) -> dict[str, tuple[str, int, Path]]:
        """Return the same of one role, staged included."""
        return self._files_of(self.newest(role))

    def _files_of(self, metadata: AnyRole | None) -> dict[str, tuple[str, int, Path]]:
        return {
            path: (sha256, target.length, self._place(path, sha256))
            for path, target in _targets(metadata).items()
            for sha256 in (target.hashes["sha256"],)
        }

    # ---------------------------------------------------------------- changes

    def create(self, plan: dict[str, RolePlan], now_at: datetime) -> None:
        """Stage the first version of every role.

        Args:
            plan: By role: root, targets, snapshot, timestamp, and each of `DELEGATED`.
            now_at: From when they last.

        Raises:
            ConfigError: There is a repository already, or too few keys for a threshold.
        """
        if any(self.newest(role) for role in ROLES):
            raise ConfigError(f"{self.folder} holds a repository already")
        root = Root(version=1, spec_version=_SPEC, expires=_until(Root.type, now_at))
        for role in (Root.type, Targets.type, Snapshot.type, Timestamp.type):
            _give_keys(root, role, plan[role])
        targets = Targets(version=1, spec_version=_SPEC, expires=_until(Targets.type, now_at))
        targets.delegations = Delegations({}, {})
        for role in DELEGATED:
            patterns = ["/".join([role, *["*"] * depth]) for depth in range(1, _DEPTH + 1)]
            assert targets.delegations.roles is not None
            targets.delegations.roles[role] = DelegatedRole(
                role, [], 1, terminating=True, paths=patterns
            )
            _give_keys(targets, role, plan[role])
        self._stage(Root.type, Metadata(root))
        self._stage(Targets.type, Metadata(targets))
        for role in DELEGATED:
            self._stage(role, Metadata(Targets(1, _SPEC, _until(role, now_at))))

    def rekey(
        self,
        role: str,
        now_at: datetime,
        *,
        add: Sequence[Key] = (),
        remove: Sequence[str] = (),
        threshold: int | None = None,
    ) -> list[str]:
        """Stage other keys or another threshold for a role; return the roles to be signed now.

        Raises:
            ConfigError: No such role or key, or too few keys for the threshold.
        """
        delegator = Targets.type if role in DELEGATED else Root.type
        changed = self._next(delegator, now_at)
        signed = changed.signed
        known = _role_of(signed, role)
        gone = {keyid for keyid in known.keyids if any(_is(keyid, text) for text in remove)}
        if len(gone) < len(remove):
            raise ConfigError(f"{role} has no such key", operator_hint="see `vedette keys status`")
        left = [signed.get_key(keyid) for keyid in known.keyids if keyid not in gone]
        wanted = RolePlan([*left, *add], threshold or known.threshold)
        for keyid in gone:
            signed.revoke_key(keyid, role)
        _give_keys(signed, role, wanted)
        self._stage(delegator, changed)
        # What the role has signed must be signed by its keys of now.
        if role in {Targets.type, *DELEGATED} and self.newest(role):
            self._stage(role, self._next(role, now_at))
        return [name for name in ROLES if self.staged(name)]

    def prolong(self, role: str, now_at: datetime) -> None:
        """Stage the next version of a role, which lasts anew and says the same."""
        self._stage(role, self._next(role, now_at))

    def add_target(self, path: str, file: Path, now_at: datetime) -> TargetFile:
        """Copy a file into the repository and stage its role with it.

        Raises:
            ConfigError: No such file, or a path in no role's folder.
        """
        role = _folder_of(path)
        try:
            with file.open("rb") as opened:
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            place = self._place(path, sha256)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        except OSError as error:
            raise ConfigError(f"cannot take {file}: {error.strerror}") from error
        target = TargetFile(place.stat().st_size, {"sha256": sha256}, path)
        self._with_targets(role, now_at, lambda targets: targets.update({path: target}))
        return target

    def remove_target(self, path: str, now_at: datetime) -> None:
        """Stage the role of `path` without it.

        Raises:
            ConfigError: It is not there.
        """
        role = _folder_of(path)
        metadata = self.newest(role)
        if not isinstance(getattr(metadata, "signed", None), Targets) or path not in _targets(
            metadata
        ):
            raise ConfigError(f"{path} is not in the repository")
        self._with_targets(role, now_at, lambda targets: targets.pop(path))

    def approve(self, approval: Approval, now_at: datetime) -> TargetFile:
        """Stage an approval as a target.

        Raises:
            ConfigError: It names an artefact that the repository does not have.
            WireError: It says something impossible.
        """
        data = msgspec.json.format(msgspec.json.encode(approval), indent=1)
        read_approval(data)
        for artefact in approval.artefacts:
            known = _targets(self.newest(artefact.kind.value)).get(artefact.target)
            same = known and (known.hashes.get("sha256"), known.length)
            if same != (artefact.sha256, artefact.bytes):
                raise ConfigError(
                    f"the repository has no {artefact.target} of these bytes",
                    operator_hint="add it first: `vedette keys add-target`",
                )
        scratch = self.folder / ".approval"
        write_private(scratch, data)
        try:
            return self.add_target(approval_path(approval.rollout), scratch, now_at)
        finally:
            scratch.unlink(missing_ok=True)

    def approvals(self) -> list[Approval]:
        """Return what is approved, staged included."""
        found: list[Approval] = []
        for path, target in _targets(self.newest(APPROVALS)).items():
            with self._place(path, target.hashes["sha256"]).open("rb") as file:
                found.append(read_approval(file.read(MAX_APPROVAL_BYTES + 1)))
        return found

    # ---------------------------------------------------------------- signatures

    def signable(self, keyid: str) -> list[str]:
        """Return the staged roles that this key may sign."""
        return [role for role in ROLES if self.staged(role) and keyid in self._signers(role)]

    def sign(self, signer: Signer, roles: Sequence[str] = ()) -> list[str]:
        """Add a signature to what is staged; return the roles that were signed.

        Args:
            signer: The opened key.
            roles: Which; empty: all that this key may sign.

        Raises:
            NotAllowed: The key belongs to none of them.
        """
        keyid = signer.public_key.keyid
        mine = self.signable(keyid)
        wanted = [role for role in mine if not roles or role in roles]
        if not wanted or any(role not in mine for role in roles):
            raise NotAllowed(
                f"the key {keyid[:16]} may sign nothing of this",
                operator_hint="`vedette keys status` names each role's keys",
            )
        for role in wanted:
            metadata = self.staged(role)
            assert metadata is not None
            with translated(role):
                metadata.sign(signer, append=True)
            self._stage(role, metadata, keep_signatures=True)
        self.settle()
        return wanted

    def settle(self) -> list[str]:
        """Move to the complete ones what enough have signed; return which."""
        moved: list[str] = []
        for role in ROLES:
            metadata = self.staged(role)
            if metadata is None or self._missing(role, metadata):
                continue
            self._metadata.mkdir(parents=True, exist_ok=True)
            write_private(
                self._metadata / f"{metadata.signed.version}.{role}.json", metadata.to_bytes()
            )
            (self._staged / f"{role}.json").unlink()
            moved.append(role)
        return moved

    def status(self, now_at: datetime) -> list[RoleStatus]:
        """Return how each role stands."""
        return [self._status(role, now_at) for role in ROLES if self.newest(role)]

    def _status(self, role: str, now_at: datetime) -> RoleStatus:
        staged, complete = self.staged(role), self.complete(role)
        newest = staged or complete
        assert newest is not None
        threshold, signed, missing, wants = self._standing(role, newest)
        lasts = complete.signed.expires if complete else None
        problem = ""
        if lasts is not None and lasts <= now_at:
            problem = "has expired: nothing new is installed until it is signed anew"
        elif lasts is not None and lasts - now_at < timedelta(days=30):
            left = counted((lasts - now_at).days, "day")
            problem = f"expires in {left}: `vedette keys prolong {role}`"
        elif complete is None:
            problem = "was never complete"
        return RoleStatus(
            role=role,
            version=complete.signed.version if complete else 0,
            staged=staged.signed.version if staged else 0,
            threshold=threshold,
            keys=sorted({*signed, *missing}),
            signed=sorted(signed),
            missing=sorted(missing),
            wants=wants if staged else 0,
            expires_at=lasts,
            targets=len(_targets(newest)),
            problem=problem,
        )

    def _missing(self, role: str, metadata: AnyRole) -> int:
        return self._standing(role, metadata)[3]

    def _standing(self, role: str, metadata: AnyRole) -> tuple[int, set[str], set[str], int]:
        """Return threshold, who signed, who did not, how many are missing."""
        signed: set[str] = set()
        unsigned: set[str] = set()
        wants, threshold = 0, 0
        for delegator in self._delegators(role, metadata):
            if role not in _roles_of(delegator):
                return 0, set(), set(), 1
            found = delegator.get_verification_result(
                role, metadata.signed_bytes, metadata.signatures
            )
            signed |= set(found.signed)
            unsigned |= set(found.unsigned)
            threshold = found.threshold
            wants = max(wants, found.threshold - len(found.signed))
        return threshold, signed, unsigned - signed, max(0, wants)

    def _delegators(self, role: str, metadata: AnyRole) -> list[Root | Targets]:
        """Return who says whose keys count: of root, the version before and this one."""
        if role == Root.type:
            assert isinstance(metadata.signed, Root)
            before = metadata.signed.version - 1
            file = self._metadata / f"{before}.root.json"
            old = [_read(file).signed] if before else []
            return [*old, metadata.signed]
        parent = Root.type if role == Targets.type else Targets.type
        found = self.newest(parent)
        if found is None:
            raise ConfigError(f"{self.folder} has no {parent}")
        return [found.signed]

    def _signers(self, role: str) -> set[str]:
        metadata = self.staged(role)
        if metadata is None:
            return set()
        return {
            keyid
            for delegator in self._delegators(role, metadata)
            if role in _roles_of(delegator)
            for keyid in _role_of(delegator, role).keyids
        }

    # ---------------------------------------------------------------- inside

    def _next(self, role: str, now_at: datetime) -> AnyRole:
        """Return the version after the complete one, with what is staged of it so far."""
        staged, complete = self.staged(role), self.complete(role)
        metadata = staged or complete
        if metadata is None:
            raise ConfigError(
                f"{self.folder} has no {role}", operator_hint="begin with `vedette keys init`"
            )
        metadata.signed.version = (complete.signed.version if complete else 0) + 1
        metadata.signed.expires = _until(role, now_at)
        return metadata

    def _stage(self, role: str, metadata: AnyRole, *, keep_signatures: bool = False) -> None:
        if not keep_signatures:
            metadata.signatures.clear()
        try:
            self._staged.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._staged / f"{role}.json", metadata.to_bytes())
        except OSError as error:
            raise TrustError(f"cannot write in {self._staged}: {error.strerror}") from error

    def _with_targets(
        self, role: str, now_at: datetime, change: Callable[[dict[str, TargetFile]], object]
    ) -> None:
        metadata = self._next(role, now_at)
        change(_targets(metadata))
        self._stage(role, metadata)

    def _place(self, path: str, sha256: str) -> Path:
        folder, _, name = path.rpartition("/")
        return self._targets / folder / f"{sha256}.{name}"


def _read(file: Path) -> AnyRole:
    with translated(str(file)):
        metadata = cast("AnyMetadata", Metadata.from_bytes(file.read_bytes()))
    if isinstance(metadata.signed, Snapshot | Timestamp):
        raise TrustError(f"{file} is neither root nor targets metadata")
    return cast("AnyRole", metadata)


def _targets(metadata: AnyRole | None) -> dict[str, TargetFile]:
    return metadata.signed.targets if metadata and isinstance(metadata.signed, Targets) else {}


def _until(role: str, now_at: datetime) -> datetime:
    return now_at.astimezone(UTC).replace(microsecond=0) + timedelta(days=DAYS.get(role, _DAYS))


def _folder_of(path: str) -> str:
    """Return the role in whose folder a path lies.

    Raises:
        ConfigError: In none; or not a plain path.
    """
    parts = path.split("/")
    plain = all(part not in {"", ".", ".."} and part.isprintable() for part in parts)
    if not plain or "\\" in path or len(path) > _MAX_PATH_CHARS or len(parts) > _DEPTH + 1:
        raise ConfigError(f"{path!r} is no target path", operator_hint="as models/name/1.0.vbundle")
    if parts[0] not in DELEGATED or len(parts) < 2:
        raise ConfigError(f"{path} is in no role's folder: {', '.join(DELEGATED)}")
    return parts[0]


def _roles_of(signed: Root | Targets) -> dict[str, Role]:
    if isinstance(signed, Root):
        return signed.roles
    return dict((signed.delegations.roles if signed.delegations else None) or {})


def _role_of(signed: Root | Targets, role: str) -> Role:
    found = _roles_of(signed).get(role)
    if found is None:
        raise ConfigError(f"there is no role {role}", operator_hint=f"one of {', '.join(ROLES)}")
    return found


def _is(keyid: str, text: str) -> bool:
    return len(text) >= 8 and keyid.startswith(text)


def _give_keys(signed: Root | Targets, role: str, plan: RolePlan) -> None:
    distinct = {key.keyid for key in plan.keys}
    if not 1 <= plan.threshold <= len(distinct):
        raise ConfigError(
            f"{role}: {plan.threshold} of {len(distinct)} keys cannot sign",
            operator_hint="give at least as many different keys as the threshold says",
        )
    for key in plan.keys:
        signed.add_key(key, role)
    _role_of(signed, role).threshold = plan.threshold
