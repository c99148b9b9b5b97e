"""The people with the offline keys of a simulated fleet: they sign, and publish to its central.

A real repository by `trust.tuf.offline`, in a folder of its own, published by the rules of
`central.releases`; only the ceremony is short: one key for every role, and no passphrase.
"""

import random
from pathlib import Path
from typing import Final

from vedette.central.releases import keeping
from vedette.central.releases.keeping import OnlineKeys
from vedette.central.services import Services
from vedette.clock import from_wall_ms
from vedette.sim.fleet.registering import MODEL
from vedette.trust.keys import SigningKey
from vedette.trust.tuf.keyfiles import online_signer
from vedette.trust.tuf.offline import DELEGATED, OfflineRepository, RolePlan
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Approval, Artefact

_BYTES: Final = 3_800_000
_BY: Final = "sim"


class Signers:
    """The repository in `folder`, and the key. Thread: one."""

    def __init__(self, folder: Path, services: Services) -> None:
        """Begin a repository whose online roles are central's."""
        self._services: Final = services
        self._state: Final = services.config.state
        self._folder: Final = folder
        self._signer: Final = online_signer(SigningKey.generate())
        self._repository: Final = OfflineRepository(folder / "repository")
        online = OnlineKeys.load_or_make(self._state)
        mine = RolePlan([self._signer.public_key])
        self._repository.create(
            {
                **dict.fromkeys(("root", "targets", *DELEGATED), mine),
                "snapshot": RolePlan([online_signer(online.snapshot).public_key]),
                "timestamp": RolePlan([online_signer(online.timestamp).public_key]),
            },
            from_wall_ms(services.now_ms()),
        )

    def add(self, version: str, digest: str, *, seed: int) -> Artefact:
        """Put a model into the repository; its bytes are drawn by `seed`."""
        target = f"models/{MODEL}/{version}.vbundle"
        file = self._folder / version
        file.write_bytes(random.Random(f"{seed}{version}").randbytes(_BYTES))  # noqa: S311
        now_at = from_wall_ms(self._services.now_ms())
        added = self._repository.add_target(target, file, now_at)
        return Artefact(
            kind=ArtefactKind.MODEL,
            target=target,
            sha256=added.hashes["sha256"],
            bytes=added.length,
            digest=digest,
            name=MODEL,
            version=version,
        )

    async def publish(self, approval: Approval) -> None:
        """Approve, sign what is staged, and have central publish all of it.

        Raises:
            TrustError, ConflictError: Central does not take it.
        """
        now_ms = self._services.now_ms()
        self._repository.approve(approval, from_wall_ms(now_ms))
        self._repository.sign(self._signer)
        blobs = keeping.release_blobs(self._state)
        for sha256, count, path in self._repository.target_files().values():
            blobs.append(sha256, _BY, 0, path.read_bytes(), count)
            blobs.finish(sha256, _BY)
        await keeping.publish(
            self._services.db, self._state, self._repository.files(), actor=_BY, now_ms=now_ms
        )
