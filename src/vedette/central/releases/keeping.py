"""What is published: taken whole or refused, signed together, and kept fresh.

Metadata lies in the database (and so in its backup), the files beside it, named by their content.
Files come first, metadata second: no device ever sees a name whose bytes are not here. The rule:
`trust.tuf.hosting.admit` decides; nothing is written before it has.
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from vedette.amounts import counted
from vedette.central import audit
from vedette.central.clips.blobs import Blobs
from vedette.central.store.db import Database, Tx
from vedette.clock import from_wall_ms, wall_ms
from vedette.errors import ConflictError, HashMismatch, MalformedReport, TooLarge, VedetteError
from vedette.trust.keys import SigningKey
from vedette.trust.tuf import hosting
from vedette.trust.tuf.approvals import MAX_APPROVAL_BYTES, approval_path, read_approval
from vedette.trust.tuf.delta_paths import read_delta_path
from vedette.trust.tuf.hosting import Hosted
from vedette.trust.tuf.keyfiles import online_signer, public_text
from vedette.wire.updates import APPROVALS, Approval

_log = logging.getLogger(__name__)

MAX_BUNDLE_BYTES: Final = 24 * 1024 * 1024
MAX_BUNDLE_FILES: Final = 128
UPLOAD: Final = "upload"
"""Stands for the sender in the names of files that come in parts."""

_FOLDER: Final = "releases"
_KEEPONLINE_MS: Final = 30 * 86_400_000
_SWEEP_S: Final = 7 * 86_400.0
ONLINE: Final = ("snapshot", "timestamp")


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """One file of metadata."""

    role: str
    version: int
    body: bytes
    expires_ms: int
    received_ms: int
    received_by: str


class ReleaseFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that metadata names."""

    path: str
    sha256: str
    bytes: int


class RoleView(msgspec.Struct, frozen=True, kw_only=True):
    """A role as operators see it.

    Attributes:
        threshold: How many of `keys` must sign.
        keys: Key ids.
        problem: In words; empty: none.
    """

    role: str
    version: int
    expires_at: datetime
    published_at: datetime
    published_by: str
    threshold: int
    keys: list[str]
    problem: str = ""


class ReleasesView(msgspec.Struct, frozen=True, kw_only=True):
    """The repository as operators see it; no roles: nothing was published yet.

    Attributes:
        files: How many files its metadata names.
        bytes: Of all of them.
        deltas: How many of them are differences between two versions.
        deltas_bytes: Of these.
    """

    roles: list[RoleView]
    files: int
    bytes: int
    deltas: int = 0
    deltas_bytes: int = 0


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What came of publishing: versions by role."""

    versions: dict[str, int]


class OnlineKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that say which versions belong together; neither is the key of settings."""

    snapshot: SigningKey
    timestamp: SigningKey

    @classmethod
    def load_or_make(cls, state: Path) -> "OnlineKeys":
        """Return the keys in central's state folder, made there at first.

        Raises:
            TrustError: A file is there and no good key in it, or the disk refuses.
        """
        made = {role: SigningKey.load_or_make(key_file(state, role)) for role in ONLINE}
        return cls(**made)

    @property
    def ids(self) -> dict[str, str]:
        """Key ids by role."""
        return {role: online_signer(getattr(self, role)).public_key.keyid for role in ONLINE}

    @property
    def public_files(self) -> dict[str, bytes]:
        """Public halves, as `vedette keys init` reads them, by file name."""
        return {
            f"central-{role}.pub": public_text(online_signer(getattr(self, role)).public_key)
            for role in ONLINE
        }


def key_file(state: Path, role: str) -> Path:
    """Return where the key of an online role lies."""
    return state / "keys" / f"releases-{role}.key"


def release_blobs(state: Path) -> Blobs:
    """Return where the files lie."""
    return Blobs(state / _FOLDER)


async def publish(
    db: Database,
    state: Path,
    offered: Mapping[str, bytes],
    *,
    actor: str,
    now_ms: int,
) -> Taken:
    """Have all of this metadata published, signed together; or nothing, and why.

    Raises:
        TrustError: The rules of the repository forbid it.
        TooLarge: More of it than one repository has.
        ConflictError: A file that it names is not here yet: send that first.
        MalformedReport: An approval says something impossible.
    """
    if len(offered) > MAX_BUNDLE_FILES or sum(map(len, offered.values())) > MAX_BUNDLE_BYTES:
        raise TooLarge(
            f"at most {MAX_BUNDLE_FILES} files of metadata with {MAX_BUNDLE_BYTES} bytes in all"
        )
    keys, now_at = OnlineKeys.load_or_make(state), from_wall_ms(now_ms)
    async with db.transaction() as tx:
        await tx.run("releases_lock")
        have = await _hosted(tx)
        hosted = hosting.admit(have, offered, keys.ids, now_at)
        files = hosted.files()
        _require_files(release_blobs(state), files)
        _require_approvals(release_blobs(state), files)
        for version, data in hosted.roots.items():
            await _put(tx, "root", version, data, actor=actor, now_ms=now_ms)
        for role, data in hosted.roles.items():
            await _put(tx, role, hosted.versions[role], data, actor=actor, now_ms=now_ms)
        await tx.run("release_files_clear")
        await tx.many(
            "release_file_put",
            [{"path": p, "sha256": sha, "bytes": size} for p, (sha, size) in files.items()],
        )
        online = await _sign_together(tx, hosted, keys, now_ms)
        await tx.tuples("rollouts_look_again")  # approvals may be among it
        versions = {"root": max(hosted.roots), **hosted.versions}
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action="releases.publish",
            target="releases",
            detail={"versions": versions},
        )
    return Taken(versions=versions | online)


async def newest_root(tx: Tx) -> str:
    """Return the newest root metadata, for a device to pin; empty where nothing is published."""
    found = await tx.one("release_newest", Published, role="root")
    return found.body.decode() if found else ""


async def view(tx: Tx, now_ms: int) -> ReleasesView:
    """Return the repository as operators see it."""
    rows = await tx.all("releases_current", Published)
    files = await tx.all("release_files_all", ReleaseFile)
    hosted = _hosted_of(rows)
    newest = {row.role: row for row in rows}
    deltas = [file.bytes for file in files if read_delta_path(file.path) is not None]
    return ReleasesView(
        roles=[_role_view(row, hosted, now_ms) for row in newest.values()],
        files=len(files),
        bytes=sum(file.bytes for file in files),
        deltas=len(deltas),
        deltas_bytes=sum(deltas),
    )


async def saved(tx: Tx) -> tuple[int, int]:
    """Return how often a delta was enough, and the bytes that did not have to be downloaded."""
    [(count, saved_bytes)] = await tx.tuples("release_saved")
    return count, saved_bytes


async def files(tx: Tx) -> list[ReleaseFile]:
    """Return what metadata names now, by path."""
    return await tx.all("release_files_all", ReleaseFile)


async def approvals(tx: Tx, state: Path) -> list[Approval]:
    """Return what is approved, by the metadata that is published now.

    Thread: reads small files; call it from a job or a rare request.

    Raises:
        HashMismatch: A file was changed on central's disk.
    """
    found: list[Approval] = []
    for file in await tx.all("release_files_all", ReleaseFile):
        if file.path.startswith(f"{APPROVALS}/"):
            with release_blobs(state).open(file.sha256) as opened:
                data = opened.read(MAX_APPROVAL_BYTES + 1)
            if hashlib.sha256(data).hexdigest() != file.sha256:
                raise HashMismatch(f"{file.path} is not what was signed: somebody changed it")
            found.append(read_approval(data))
    return found


class Renewal:
    """Signs snapshot and timestamp anew before they expire; once at each start in any case.

    At a start, because the database may be a backup's: then devices have seen newer versions.
    """

    def __init__(self, db: Database, state: Path) -> None:
        self._db: Final = db
        self._state: Final = state
        self._is_first = True

    async def __call__(self, now_ms: int) -> bool:
        """Sign where it is time; return whether it was."""
        async with self._db.transaction() as tx:
            standing = await tx.one("release_newest", Published, role="timestamp")
        if standing is None:
            return False
        half_ms = hosting.TIMESTAMP_LIFE.total_seconds() * 500
        if not self._is_first and standing.expires_ms - now_ms > half_ms:
            return False
        try:
            await self._sign(now_ms)
        except VedetteError as error:
            _log.error(
                "release metadata cannot be signed anew",
                extra={"event": "releases.renewal_failed", "why": str(error)},
            )
            return False
        self._is_first = False
        return True

    async def _sign(self, now_ms: int) -> None:
        keys = OnlineKeys.load_or_make(self._state)
        async with self._db.transaction() as tx:
            await tx.run("releases_lock")
            await _sign_together(tx, await _hosted(tx), keys, now_ms)
            await tx.run("release_online_forget", before_ms=now_ms - _KEEPONLINE_MS)
            files = await tx.all("release_files_all", ReleaseFile)
        named = [file.sha256 for file in files]
        blobs = release_blobs(self._state)
        await asyncio.to_thread(blobs.sweep, named, _SWEEP_S, now_s=now_ms / 1000)


async def _sign_together(tx: Tx, hosted: Hosted, keys: OnlineKeys, now_ms: int) -> dict[str, int]:
    now_at = from_wall_ms(now_ms)
    snapshot = hosting.sign_snapshot(hosted, keys.snapshot, await _standing(tx, "snapshot"), now_at)
    timestamp = hosting.sign_timestamp(
        snapshot, keys.timestamp, await _standing(tx, "timestamp"), now_at
    )
    versions: dict[str, int] = {}
    for role, data in (("snapshot", snapshot), ("timestamp", timestamp)):
        versions[role] = hosting.version_of(data)
        await _put(tx, role, versions[role], data, actor="central", now_ms=now_ms)
    return versions


async def _standing(tx: Tx, role: str) -> int:
    found = await tx.one("release_newest", Published, role=role)
    return found.version if found else 0


async def _put(tx: Tx, role: str, version: int, data: bytes, *, actor: str, now_ms: int) -> None:
    await tx.run(
        "release_put",
        role=role,
        version=version,
        body=data,
        expires_ms=wall_ms(hosting.expires_of(data)),
        actor=actor,
        now_ms=now_ms,
    )


async def _hosted(tx: Tx) -> Hosted:
    return _hosted_of(await tx.all("releases_current", Published))


def _hosted_of(rows: list[Published]) -> Hosted:
    others = {row.role: row for row in rows if row.role not in {"root", *ONLINE}}
    return Hosted(
        roots={row.version: row.body for row in rows if row.role == "root"},
        roles={role: row.body for role, row in others.items()},
        versions={role: row.version for role, row in others.items()},
    )


def _require_files(blobs: Blobs, files: Mapping[str, tuple[str, int]]) -> None:
    """Return where every file is here, with the bytes that it is signed with."""
    missing = sorted(path for path, (sha256, _) in files.items() if not blobs.has(sha256))
    if missing:
        left = counted(len(missing), "file is", "files are")
        raise ConflictError(
            f"{left} not here yet, first {missing[0][:200]}",
            operator_hint="send them first: `vedette keys publish` does",
        )
    for path, (sha256, size) in files.items():
        if blobs.path(sha256).stat().st_size != size:
            raise ConflictError(f"{path[:200]} is signed with another length than its file has")


def _require_approvals(blobs: Blobs, files: Mapping[str, tuple[str, int]]) -> None:
    """Return where every approval can be read, and lies under its rollout's name."""
    for path, (sha256, _) in files.items():
        if path.startswith(f"{APPROVALS}/"):
            with blobs.open(sha256) as file:
                approval = read_approval(file.read(MAX_APPROVAL_BYTES + 1))
            if path != approval_path(approval.rollout):
                raise MalformedReport(f"{path[:200]} holds the approval of {approval.rollout}")


def _role_view(row: Published, hosted: Hosted, now_ms: int) -> RoleView:
    threshold, keys = hosting.keys_of(hosted, row.role)
    left_days = (row.expires_ms - now_ms) / 86_400_000
    problem = ""
    if left_days <= 0:
        problem = "expired: devices install nothing new until it is signed anew"
    elif row.role not in ONLINE and left_days < 30:
        problem = f"expires in {counted(int(left_days), 'day')}"
    return RoleView(
        role=row.role,
        version=row.version,
        expires_at=from_wall_ms(row.expires_ms),
        published_at=datetime.fromtimestamp(row.received_ms / 1000, UTC),
        published_by=row.received_by,
        threshold=threshold,
        keys=keys,
        problem=problem,
    )


def etag_of(body: bytes) -> str:
    """Return what names this content."""
    return hashlib.sha256(body).hexdigest()
