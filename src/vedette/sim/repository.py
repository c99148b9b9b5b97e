"""A repository of updates with all its keys, in one place: for tests, simulated fleets and demos.

The real offline side (`trust.tuf.offline`) in a folder and the real host (`trust.tuf.hosting`) in
memory; `fetch` is what a device's client asks. Keys of all people lie in this process, so what is
here must never sign for a real fleet.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.clock import Clock, wall_ms
from vedette.trust.keys import SigningKey
from vedette.trust.tuf.fetching import METADATA, TARGETS
from vedette.trust.tuf.hosting import (
    Hosted,
    admit,
    sign_snapshot,
    sign_timestamp,
    version_of,
)
from vedette.trust.tuf.keyfiles import online_signer
from vedette.trust.tuf.library import CryptoSigner
from vedette.trust.tuf.offline import ROLES, OfflineRepository, RolePlan
from vedette.trust.tuf.refusals import NotThere
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Approval, Artefact

PIECE_BYTES: Final = 16 * 1024
_DAY_MS: Final = 86_400_000


def person() -> CryptoSigner:
    """Return the opened key of somebody."""
    return CryptoSigner(Ed25519PrivateKey.generate())


class Host:
    """Central's part: the two online keys, and what is published. Thread: one at a time."""

    def __init__(
        self,
        clock: Clock,
        snapshot_key: SigningKey | None = None,
        timestamp_key: SigningKey | None = None,
    ) -> None:
        self.clock: Final = clock
        self.snapshot_key = snapshot_key or SigningKey.generate()
        self.timestamp_key = timestamp_key or SigningKey.generate()
        self.hosted = Hosted()
        self.files: dict[str, bytes] = {}

    @property
    def online(self) -> dict[str, str]:
        """Key ids, by role."""
        return {
            "snapshot": online_signer(self.snapshot_key).public_key.keyid,
            "timestamp": online_signer(self.timestamp_key).public_key.keyid,
        }

    def take(self, offered: dict[str, bytes]) -> None:
        """Host what is offered, or refuse it as `hosting.admit` does."""
        self.hosted = admit(self.hosted, offered, self.online, self.clock.now_at())
        for version, data in self.hosted.roots.items():
            self.files[f"{METADATA}{version}.root.json"] = data
        for role, data in self.hosted.roles.items():
            self.files[f"{METADATA}{self.hosted.versions[role]}.{role}.json"] = data
        self.renew()

    def renew(self) -> None:
        """Sign snapshot and timestamp anew."""
        now_at, standing = self.clock.now_at(), self.files.get(f"{METADATA}timestamp.json")
        before = version_of(standing) if standing else 0
        snapshot = sign_snapshot(self.hosted, self.snapshot_key, before, now_at)
        self.files[f"{METADATA}{version_of(snapshot)}.snapshot.json"] = snapshot
        self.files[f"{METADATA}timestamp.json"] = sign_timestamp(
            snapshot, self.timestamp_key, before, now_at
        )

    def fetch(self, path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        """Bring a file, as `trust.tuf.fetching.Fetch` says."""
        data = self.files.get(path)
        if data is None:
            raise NotThere(f"there is no {path}")
        data = data[offset : offset + max_bytes]
        for start in range(0, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]


class RepositoryRig:
    """Offline side, host and all keys. Root, targets and approvals take two of three people."""

    def __init__(self, folder: Path, clock: Clock, host: Host | None = None) -> None:
        """Have a published repository with nothing in it.

        Args:
            folder: For the offline side.
            clock: What time it is.
            host: Whose two online keys root names; a fresh one by default.
        """
        self.clock: Final = clock
        self.host: Final = host or Host(clock)
        self.offline: Final = OfflineRepository(folder)
        shared = [person() for _ in range(3)]
        self.people: Final[dict[str, list[CryptoSigner]]] = {
            role: shared if role in {"root", "targets", "approvals"} else [person()]
            for role in ROLES
        }
        plan = {
            role: RolePlan([one.public_key for one in people], 2 if len(people) > 1 else 1)
            for role, people in self.people.items()
        }
        plan["snapshot"] = RolePlan([online_signer(self.host.snapshot_key).public_key])
        plan["timestamp"] = RolePlan([online_signer(self.host.timestamp_key).public_key])
        self.offline.create(plan, self.now_at())
        self.sign()
        self.publish()

    def now_at(self) -> datetime:
        """Return the time."""
        return self.clock.now_at()

    @property
    def root(self) -> bytes:
        """The first root, as a device pins it."""
        return self.host.hosted.roots[1]

    def sign(self) -> None:
        """Have everything that is staged signed by all whose it is to sign."""
        for role in ROLES:
            for signer in self.people[role]:
                if role in self.offline.signable(signer.public_key.keyid):
                    self.offline.sign(signer, [role])

    def publish(self) -> None:
        """Have everything that is complete hosted, files first."""
        for path, (sha256, _, file) in self.offline.target_files().items():
            folder, _, name = path.rpartition("/")
            self.host.files[f"{TARGETS}{folder}/{sha256}.{name}"] = file.read_bytes()
        self.host.take(self.offline.files())

    def add(self, path: str, data: bytes, *, digest: str = "") -> Artefact:
        """Have a target signed and published; return it as an approval names it."""
        scratch = self.offline.folder / ".adding"
        scratch.write_bytes(data)
        target = self.offline.add_target(path, scratch, self.now_at())
        scratch.unlink()
        self.sign()
        self.publish()
        sha256 = target.hashes["sha256"]
        return Artefact(
            kind=ArtefactKind(path.partition("/")[0]),
            target=path,
            sha256=sha256,
            bytes=target.length,
            digest=digest or f"sha256:{sha256}",
            name=path.split("/")[1],
        )

    def approve(
        self, rollout: str, artefacts: list[Artefact], sites: list[str], *, days: float = 30
    ) -> Approval:
        """Have an approval signed and published."""
        now_ms = wall_ms(self.now_at())
        approval = Approval(
            rollout=rollout,
            issued_ms=now_ms,
            expires_ms=now_ms + round(days * _DAY_MS),
            artefacts=artefacts,
            sites=sites,
        )
        self.offline.approve(approval, self.now_at())
        self.sign()
        self.publish()
        return approval
