"""How a repository's bytes come: over any connection, never more than asked for, never for ever.

A `Fetch` is given by whoever has the connection (the agent's is authenticated); `LimitedFetcher`
holds every answer to its limits, whatever the `Fetch` does. Resuming large downloads is not here:
who downloads an artefact does that, and has it verified by `client`.
"""

import contextlib
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import IO, Final, Protocol

from tuf.api import exceptions
from tuf.ngclient import FetcherInterface

from vedette.clock import NS_PER_S, Clock
from vedette.trust.tuf.refusals import NotThere

METADATA: Final = "metadata/"
TARGETS: Final = "targets/"
"""How paths begin that a `Fetch` is asked for."""


class Fetch(Protocol):
    """What brings files of the repository."""

    def __call__(self, path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        """Return the bytes of `path` from `offset`, in pieces, `max_bytes` of them at most.

        Pieces must be short in bytes or time: limits are looked at between them.

        Args:
            path: `metadata/3.root.json` or `targets/models/….vbundle`, not percent-encoded.
            offset: In bytes; the repository itself always asks from 0.
            max_bytes: More need not be brought, and will be refused.

        Raises:
            NotThere: The other side has no such file.
            CentralUnreachable: It did not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much and how long anything of a repository may be.

    Attributes:
        root, timestamp, snapshot, targets: Bytes of one metadata file.
        roots: New roots in one refresh.
        delegations: Roles looked through for one target.
        file_s: For one metadata file, however slowly it comes.
        refresh_s: For all that one refresh brings.
    """

    root: int = 256 * 1024
    timestamp: int = 16 * 1024
    snapshot: int = 256 * 1024
    targets: int = 4 * 1024 * 1024
    roots: int = 64
    delegations: int = 16
    file_s: float = 60.0
    refresh_s: float = 300.0


class LimitedFetcher(FetcherInterface):
    """Brings files through a `Fetch`, within limits. Thread: one at a time."""

    def __init__(self, fetch: Fetch, clock: Clock, limits: Limits) -> None:
        self._fetch_path: Final = fetch
        self._clock: Final = clock
        self._limits: Final = limits
        self._began_ns = clock.mono_ns()

    def begin(self) -> None:
        """Count the time of a refresh from now on."""
        self._began_ns = self._clock.mono_ns()

    @contextlib.contextmanager
    def download_file(self, url: str, max_length: int) -> Generator[IO[bytes]]:
        """Yield a nameless file with all bytes of `url`; nothing of it is trusted yet.

        Raises:
            DownloadHTTPError: 404, where it is not there.
            DownloadLengthMismatchError: More than `max_length` bytes (endless data).
            SlowRetrievalError: It took longer than the limits say.
        """
        with tempfile.TemporaryFile() as file:
            for piece in self._pieces(url, max_length):
                file.write(piece)
            file.seek(0)
            yield file

    def _pieces(self, url: str, max_length: int) -> Iterator[bytes]:
        began_ns, count = self._clock.mono_ns(), 0
        try:
            for piece in self._fetch_path(url, 0, max_length + 1):
                count += len(piece)
                if count > max_length:
                    raise exceptions.DownloadLengthMismatchError(
                        f"{url} has more than the {max_length} bytes that it may have"
                    )
                self._in_time(url, began_ns)
                yield piece
        except NotThere as error:
            raise exceptions.DownloadHTTPError(str(error), 404) from error
        self._in_time(url, began_ns)

    def _in_time(self, url: str, began_ns: int) -> None:
        now_ns, limits = self._clock.mono_ns(), self._limits
        if now_ns - began_ns > limits.file_s * NS_PER_S:
            raise exceptions.SlowRetrievalError(f"{url} took longer than {limits.file_s:.0f} s")
        if now_ns - self._began_ns > limits.refresh_s * NS_PER_S:
            raise exceptions.SlowRetrievalError(f"longer than {limits.refresh_s:.0f} s in all")

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._pieces(url, self._limits.targets)
