"""What a repository has, as its signers said: the device's side.

`Repository` brings metadata through a `Fetch`, has python-tuf verify it by the rules of the
specification, keeps it on disk, and answers what a target's bytes must be. It downloads no large
file: who does (resumably, slowly, at night) asks `target` first and `verify` afterwards.

The rule: nothing is believed but what follows from the root metadata that was pinned at enrolment.
Time is a parameter. A device may wake in 1970, so the time of the last good refresh is kept, and
time is never before it; a good refresh cannot be later than its own metadata's expiry, so a clock
that was wrong by years moves that floor by days at most.

Source: The Update Framework Specification 1.0.34, section 5 (detailed client workflow).
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from tuf.api import exceptions
from tuf.ngclient import Updater, UpdaterConfig

from vedette.clock import Clock, from_wall_ms, wall_ms
from vedette.errors import HashMismatch, TooLarge, TrustError
from vedette.trust.keys import write_private
from vedette.trust.tuf.fetching import METADATA, TARGETS, Fetch, LimitedFetcher, Limits
from vedette.trust.tuf.library import Root, Snapshot, TargetFile, Targets, Timestamp
from vedette.trust.tuf.refusals import NotThere, translated

_log = logging.getLogger(__name__)

_PIECE_BYTES: Final = 1 << 20
_FLOOR: Final = "refreshed"
MAX_READ_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What a target's bytes must be.

    Attributes:
        path: Its name in the repository, beginning with the role's folder.
        sha256: Lower-case hex.
        bytes: Its exact length.
        where: What a `Fetch` is asked for: hashes are part of the name, so that a new version never
            overwrites one that somebody still downloads.
    """

    path: str
    sha256: str
    bytes: int
    where: str


class Repository:
    """Verified metadata in `folder`. Thread: one at a time; one process per folder."""

    def __init__(
        self,
        folder: Path,
        fetch: Fetch,
        *,
        root: bytes,
        clock: Clock,
        limits: Limits | None = None,
    ) -> None:
        """Begin with what is kept in `folder`; nothing is fetched yet.

        Args:
            folder: For metadata only; made where it is missing.
            fetch: Brings files.
            root: Root metadata that is trusted, as it was pinned; later roots follow from it.
            clock: What time it is, as well as the device knows.
            limits: On sizes and times.

        Raises:
            TrustError: `root` is not root metadata signed by itself.
            NotKept: The disk refused.
        """
        self._folder: Final = folder
        self._root: Final = root
        self._clock: Final = clock
        self._limits: Final = limits or Limits()
        self._fetcher: Final = LimitedFetcher(fetch, clock, self._limits)
        self._updater: _Updater | None = None
        with translated("the pinned root"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._begin(self._fetcher)  # refuses a bad root at once

    def refresh(self, *, delegated: bool = True) -> dict[str, int]:
        """Have the newest metadata of all roles, verified and kept; return their versions.

        A delegated role that cannot be believed (expired, signed wrongly) is left out of the answer
        and refuses its own targets only.

        Args:
            delegated: False: those come when one of their targets is asked for.

        Raises:
            TrustError: Root, timestamp, snapshot or targets cannot be believed.
            CentralUnreachable: They did not come.
        """
        self._updater = None
        self._fetcher.begin()
        updater = self._begin(self._fetcher)
        with translated("refresh"):
            updater.refresh()
            versions = self._delegated(updater) if delegated else {}
        self._updater = updater
        self._keep_time()
        return updater.versions() | versions

    def target(self, path: str) -> TargetInfo:
        """Return what `path` must be, by the last refresh or, after a start, by what is kept.

        Raises:
            NotThere: No role that may speak for this path names it.
            TrustError: The role's metadata, or what it follows from, cannot be believed any more.
            CentralUnreachable: A role's metadata is not here, and did not come.
        """
        found = self._find(path)
        sha256 = found.hashes.get("sha256", "")
        if not sha256:
            raise TrustError(
                f"{path} is signed without a SHA-256",
                operator_hint="add it again with `vedette keys add-target`",
            )
        return TargetInfo(path, sha256, found.length, self._where(found))

    def read(self, path: str, max_bytes: int = MAX_READ_BYTES) -> bytes:
        """Return the bytes of a small target, fetched and verified.

        Raises:
            TrustError: As `target`; or the bytes are not those that were signed.
            TooLarge: It is signed with more than `max_bytes`.
            CentralUnreachable: They did not come.
        """
        found = self._find(path)
        if found.length > max_bytes:
            raise TooLarge(f"{path} has {found.length} bytes; at most {max_bytes} are read")
        self._fetcher.begin()
        with translated(path):
            data = self._fetcher.download_bytes(self._where(found), found.length)
            found.verify_length_and_hashes(data)
        return data

    def verify(self, path: str, file: Path) -> TargetInfo:
        """Return where `file` holds exactly the bytes of target `path`.

        Raises:
            HashMismatch: It does not: other bytes, or more or fewer.
            TrustError: As `target`.
            NotKept: The file cannot be read.
        """
        said = self.target(path)
        with translated(path):
            size = file.stat().st_size
            if size != said.bytes:
                raise HashMismatch(f"{path} has {said.bytes} bytes, the file has {size}")
            digest = hashlib.sha256()
            for piece in _pieces(file, said.bytes):
                digest.update(piece)
        if digest.hexdigest() != said.sha256:
            raise HashMismatch(f"{path}: the file's bytes are not those that were signed")
        return said

    def now_at(self) -> datetime:
        """Return the time by which expiry is judged: the clock's, never before the floor."""
        return max(self._clock.now_at(), from_wall_ms(self._floor_ms()))

    def _find(self, path: str) -> TargetFile:
        updater = self._updater or self._resume()
        self._fetcher.begin()
        with translated(path):
            found = updater.get_targetinfo(path)
        if found is None:
            raise NotThere(
                f"the repository has no target {path}",
                operator_hint="add it with `vedette keys add-target`, sign and publish",
            )
        return found

    def _where(self, found: TargetFile) -> str:
        prefixed = self._updater is not None and self._updater.is_consistent
        folder, slash, name = found.path.rpartition("/")
        prefix = f"{next(iter(found.hashes.values()))}." if prefixed else ""
        return f"{TARGETS}{folder}{slash}{prefix}{name}"

    def _resume(self) -> "_Updater":
        """Return what is kept, verified again and unexpired, without a network."""
        updater = self._begin(LimitedFetcher(self._kept, self._clock, self._limits))
        with translated("the kept metadata"):
            updater.refresh()
        self._updater = updater
        return updater

    def _begin(self, fetcher: LimitedFetcher) -> "_Updater":
        with translated("the pinned root"):
            return _Updater(self._folder, fetcher, self._root, self._limits, self.now_at())

    def _delegated(self, updater: "_Updater") -> dict[str, int]:
        """Return versions of all roles that the targets role names, as far as they hold."""
        versions: dict[str, int] = {}
        for role in updater.delegated():
            try:
                versions[role] = updater.load(role)
            except _ROLE_REFUSED as error:
                _log.warning(
                    "a role's metadata cannot be believed",
                    extra={"event": "tuf.role_refused", "role": role, "why": str(error)[:300]},
                )
        return versions

    def _kept(self, path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        """Give what is kept, as if it came from the repository; no new root is among it."""
        name = path.removeprefix(METADATA)
        if name.endswith(f".{Root.type}.json") or path == name:
            raise NotThere(f"{path} is not kept here")
        version, _, plain = name.partition(".")
        try:
            with (self._folder / (plain if version.isdigit() else name)).open("rb") as file:
                file.seek(offset)
                yield file.read(max_bytes)
        except OSError as error:
            raise NotThere(f"{path} is not kept here") from error

    def _keep_time(self) -> None:
        """Never take the time to be before this again."""
        now_ms = wall_ms(self.now_at())
        if now_ms - self._floor_ms() < _FLOOR_STEP_MS:
            return
        with translated("the time of this refresh"):
            write_private(self._folder / _FLOOR, msgspec.json.encode(_Floor(at_ms=now_ms)))

    def _floor_ms(self) -> int:
        try:
            kept = msgspec.json.decode((self._folder / _FLOOR).read_bytes(), type=_Floor)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return 0
        return kept.at_ms


_ROLE_REFUSED: Final = (
    exceptions.RepositoryError,
    exceptions.DownloadLengthMismatchError,
    exceptions.DownloadHTTPError,
)
"""What is wrong with one role, and not with the connection."""

_FLOOR_STEP_MS: Final = 3_600_000


class _Floor(msgspec.Struct, frozen=True):
    at_ms: int


class _Updater(Updater):
    """python-tuf's client with a time that is given, and files that outlast a power cut.

    A test holds that the two private names it leans on mean what they did.
    """

    def __init__(
        self, folder: Path, fetcher: LimitedFetcher, root: bytes, limits: Limits, now_at: datetime
    ) -> None:
        config = UpdaterConfig(
            max_root_rotations=limits.roots,
            max_delegations=limits.delegations,
            root_max_length=limits.root,
            timestamp_max_length=limits.timestamp,
            snapshot_max_length=limits.snapshot,
            targets_max_length=limits.targets,
        )
        super().__init__(
            str(folder),
            METADATA,
            target_base_url=TARGETS,
            fetcher=fetcher,
            config=config,
            bootstrap=root,
        )
        self._trusted_set.reference_time = now_at

    def _persist_file(self, filename: str, data: bytes) -> None:
        write_private(Path(filename), data)

    def versions(self) -> dict[str, int]:
        """Return the versions of the four top roles."""
        roles = (Root.type, Timestamp.type, Snapshot.type, Targets.type)
        return {role: self._trusted_set[role].version for role in roles}

    @property
    def is_consistent(self) -> bool:
        """True where file names tell versions and hashes, so that none is ever overwritten."""
        return self._trusted_set.root.consistent_snapshot is True

    def delegated(self) -> list[str]:
        """Return the names of the roles that the targets role delegates to."""
        delegations = self._trusted_set.targets.delegations
        return list(delegations.roles or {}) if delegations else []

    def load(self, role: str) -> int:
        """Have a delegated role's metadata; return its version."""
        return self._load_targets(role, Targets.type).version


def _pieces(file: Path, size: int) -> Iterator[bytes]:
    with file.open("rb") as opened:
        left = size + 1  # a file that grew meanwhile is another one
        while left > 0 and (piece := opened.read(min(_PIECE_BYTES, left))):
            left -= len(piece)
            yield piece
