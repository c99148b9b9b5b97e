"""A file in parts: resumed where it stopped, at the pace that the line allows, and never for ever.

Its length and hash are known before the first byte. Each part is a request of its own, at most a
second's worth of the line's cap, counted against the same bucket as the backlog, so that no alert
waits behind it. The rules: never more bytes than were promised; other bytes are discarded whole; a
side that gives next to nothing for a minute is given up until later.

    updates/parts/{sha256}    what came so far
    updates/files/{sha256}    whole, verified, on the disk
"""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from vedette.clock import NS_PER_S, Clock
from vedette.edge.bandwidth import CHUNK_BYTES
from vedette.edge.central_client import CentralBusy
from vedette.errors import CentralUnreachable, HashMismatch, VedetteError

PARTS: Final = "parts"
FILES: Final = "files"
MAX_PART_BYTES: Final = 16 * 1024 * 1024
"""Of one request, on the fastest line: central counts requests too."""

MAX_BUSY: Final = 10
MAX_PAUSE_S: Final = 60.0
PART_S: Final = 60.0
"""A request that takes longer is ended; what came is kept."""

LEAST_BYTES: Final = 4096
"""A request that brought less than this in all its time is no progress."""

_SYNC_BYTES: Final = 8 * 1024 * 1024
_PIECE_BYTES: Final = 1024 * 1024
_PAUSE_S: Final = 30.0


class Fetch(Protocol):
    """As `trust.tuf.fetching.Fetch`."""

    def __call__(self, path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        """Return bytes of `path` from `offset` on, at most so many."""
        ...


class Line(Protocol):
    """The part of `edge.bandwidth.Bandwidth` that is asked here."""

    def take(self, most: int) -> int:
        """Return how many bytes may go now; 0: none."""
        ...

    def spend(self, size: int) -> None:
        """Count bytes that went."""
        ...

    def pause_s(self) -> float | None:
        """Return the seconds until more may go; None while nothing may."""
        ...


class Stopped(VedetteError):
    """The device stops, or the item is not wanted any more; what came is kept."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be brought: from where, its hash (hex) and length, and how fast at most.

    Attributes:
        name: What it lies under here; empty: its hash.
    """

    where: str
    sha256: str
    bytes: int
    max_kbit_s: float | None = None
    name: str = ""


class Download:
    """One file on its way. Thread: `run` on one; `done_bytes` any."""

    def __init__(
        self,
        wanted: Wanted,
        folder: Path,
        fetch: Fetch,
        line: Line,
        *,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        """Prepare; `folder` is the one that has, or will have, the folders of above."""
        self._wanted: Final = wanted
        name = wanted.name or wanted.sha256
        self._part: Final = folder / PARTS / name
        self._file: Final = folder / FILES / name
        self._fetch: Final = fetch
        self._line: Final = line
        self._clock: Final = clock
        self._stop: Final = stop
        self.done_bytes = 0

    def run(self) -> Path:
        """Return the file: whole, verified, and on the disk.

        Raises:
            HashMismatch: Other bytes came; they are discarded.
            CentralUnreachable: They do not come, or next to none do; what came is kept.
            Stopped: `stop` was set.
            TrustError: The repository has no such file.
            OSError: The disk refuses.
        """
        if is_whole(self._file, self._wanted):
            self.done_bytes = self._wanted.bytes
            return self._file
        for path in (self._part, self._file):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+b") as part:
            digest = self._resume(part)
            self._bring(part, digest)
            part.flush()
            os.fsync(part.fileno())
        if digest.hexdigest() != self._wanted.sha256:
            self._part.unlink(missing_ok=True)
            raise HashMismatch(
                f"{self._wanted.where}: other bytes came than were signed; they are discarded",
                operator_hint="look who stands between this device and central",
            )
        self._part.replace(self._file)
        sync_folder(self._file.parent)
        return self._file

    def _resume(self, part: BinaryIO) -> "hashlib._Hash":
        """Return the hash of what is there; a part that is longer than the file is begun anew."""
        digest = hashlib.sha256()
        if os.fstat(part.fileno()).st_size > self._wanted.bytes:
            part.truncate(0)
        while piece := part.read(_PIECE_BYTES):
            digest.update(piece)
            self.done_bytes += len(piece)
        return digest

    def _bring(self, part: BinaryIO, digest: "hashlib._Hash") -> None:
        synced = self.done_bytes
        while self.done_bytes < self._wanted.bytes:
            began_ns = self._clock.mono_ns()
            size = self._wait_for_line()
            came = self._request_in_turn(part, digest, size)
            self._line.spend(came)
            self._keep_pace(came, began_ns)
            if self.done_bytes - synced >= _SYNC_BYTES:
                part.flush()
                os.fdatasync(part.fileno())
                synced = self.done_bytes

    def _request_in_turn(self, part: BinaryIO, digest: "hashlib._Hash", size: int) -> int:
        """Have one part, after waiting where central asks to come back later."""
        for _ in range(MAX_BUSY):
            try:
                return self._request(part, digest, size)
            except CentralBusy as busy:
                pause_s = min(max(busy.retry_after_s, 1.0), MAX_PAUSE_S)
                self._clock.wait(self._stop, pause_s)
                self._refuse_stop()
        return self._request(part, digest, size)

    def _request(self, part: BinaryIO, digest: "hashlib._Hash", size: int) -> int:
        """Have one part; return how many bytes came."""
        began_ns, came = self._clock.mono_ns(), 0
        for piece in self._fetch(self._wanted.where, self.done_bytes, size):
            taken = piece[: size - came]  # never more than was asked for, whatever comes
            part.write(taken)
            digest.update(taken)
            came += len(taken)
            self.done_bytes += len(taken)
            took_s = (self._clock.mono_ns() - began_ns) / NS_PER_S
            if came >= size or took_s > PART_S or self._stop.is_set():
                break
        self._refuse_stop()
        if came < min(size, LEAST_BYTES):
            raise CentralUnreachable(
                f"{self._wanted.where}: {came} of {size} bytes came, and no more",
                operator_hint="the line is very slow, or somebody holds the file back",
            )
        return came

    def _wait_for_line(self) -> int:
        """Return how many bytes may be asked for now."""
        left = self._wanted.bytes - self.done_bytes
        while True:
            self._refuse_stop()
            size = self._line.take(min(MAX_PART_BYTES, left))
            if size > 0:
                break
            self._clock.wait(self._stop, min(self._line.pause_s() or _PAUSE_S, _PAUSE_S))
        most = self._wanted.max_kbit_s
        return size if most is None else min(size, max(CHUNK_BYTES, round(most * 125)), left)

    def _keep_pace(self, came: int, began_ns: int) -> None:
        """Wait until the item's own rate allows the next part."""
        if self._wanted.max_kbit_s is not None:
            due_s = came / (self._wanted.max_kbit_s * 125)
            left_s = due_s - (self._clock.mono_ns() - began_ns) / NS_PER_S
            if left_s > 0:
                self._clock.wait(self._stop, left_s)

    def _refuse_stop(self) -> None:
        if self._stop.is_set():
            raise Stopped("the download stops here; it goes on from what came")


def is_whole(file: Path, wanted: Wanted) -> bool:
    """Return whether `file` is there with exactly these bytes; one that is not is removed."""
    try:
        if file.stat().st_size == wanted.bytes:
            with file.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() == wanted.sha256:
                    return True
        file.unlink()
    except FileNotFoundError:
        return False
    return False


def sync_folder(folder: Path) -> None:
    """Have the folder's names on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
