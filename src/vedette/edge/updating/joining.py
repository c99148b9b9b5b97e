"""How the updater of an agent is put together: its installers, its time, its way to central.

The rule: it works without central. What was activated is confirmed or taken back by what this
device sees itself.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from vedette.clock import Clock, from_wall_ms
from vedette.edge.bandwidth import Bandwidth
from vedette.edge.central_client import CentralClient
from vedette.edge.enrolment import Identity
from vedette.edge.settings import EdgeConfig
from vedette.edge.timekeeper import Timekeeper
from vedette.edge.updating.doing import Connection, Told
from vedette.edge.updating.kinds import Installer
from vedette.edge.updating.model import ModelInstaller, Pipeline
from vedette.edge.updating.root import metadata_folder, pinned
from vedette.edge.updating.updater import Updater
from vedette.errors import VedetteError
from vedette.trust.tuf.client import Repository
from vedette.wire.updates import UpdateReport

log = logging.getLogger(__name__)

TUF: Final = "/tuf/"


class TrustedClock:
    """The machine's clock, with the time that the timekeeper believes. Thread: any."""

    def __init__(self, clock: Clock, keeper: Timekeeper) -> None:
        self._clock: Final = clock
        self._keeper: Final = keeper
        self.mono_ns: Final = clock.mono_ns
        self.wait: Final = clock.wait

    def now_at(self) -> datetime:
        """Return the best estimate; never before the floor."""
        return from_wall_ms(self._keeper.now_ms)


def installers(
    state_dir: Path, config: Callable[[], EdgeConfig], pipeline: Pipeline
) -> list[Installer]:
    """Return what installs models; the other kinds are in `edge.updating.fitting`."""
    return [ModelInstaller(state_dir, config, pipeline)]


def updater(
    state_dir: Path,
    clock: Clock,
    keeper: Timekeeper,
    config: Callable[[], EdgeConfig],
    *,
    pipeline: Pipeline,
    report: Callable[[UpdateReport], object],
    others: Sequence[Installer] = (),
) -> Updater:
    """Return the updater of an agent; nothing is done yet."""
    return Updater(
        state_dir,
        clock,
        [*installers(state_dir, config, pipeline), *others],
        time=lambda: Told(keeper.now_ms, keeper.is_anchored),
        time_zone=lambda: config().time_zone,
        report=report,
    )


class Way:
    """This device's way to a repository, once there is a root that it trusts. Thread: one."""

    def __init__(
        self,
        state_dir: Path,
        identity: Identity,
        client: CentralClient,
        line: Bandwidth,
        clock: Clock,
    ) -> None:
        self._state_dir: Final = state_dir
        self._identity: Final = identity
        self._client: Final = client
        self._line: Final = line
        self._clock: Final = clock
        self._root: bytes | None = None
        self.problem = ""

    def look(self) -> Connection | None:
        """Return the way where the root that counts is another one than at the last look."""
        root = pinned(self._state_dir)
        if root is None or root == self._root:
            return None
        try:
            folder = metadata_folder(self._state_dir, root)
            source = Repository(folder, self._fetch, root=root, clock=self._clock)
        except VedetteError as error:
            self.problem = f"the pinned root of the repository is no good: {error}"[:500]
            self._root = root
            return None
        self._root, self.problem = root, ""
        return Connection(self._identity, source, self._fetch, self._line)

    def _fetch(self, path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        return self._client.part(TUF + path, offset, max_bytes)
