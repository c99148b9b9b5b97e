"""The kind `config`: an overlay of a few fields, tried on this device before and after it is used.

Before: it has to make sense with the local file and every accepted document laid over it. After:
the pipeline is started anew by it and has to run, with pictures where there were some, and central
has to answer where it did. The rule: going back is one file that is put in another's place.
"""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from vedette.clock import NS_PER_S, Clock
from vedette.edge import overlay
from vedette.edge.overlay import Kept, Overlay
from vedette.edge.updating import proof
from vedette.edge.updating.kinds import Installed, Standing
from vedette.edge.updating.tool import NotNow
from vedette.errors import ConfigError
from vedette.wire.messages import HealthReport
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact

SLOT: Final = "config"
FILE: Final = "config.json"
ACTIVATION_S: Final = 120.0
CAME_WITH: Final = "edge.yaml"


class ConfigInstaller:
    """Installs configurations. Thread: the updater's; `standing` any."""

    kind: ArtefactKind = ArtefactKind.CONFIG
    activation_s: float = ACTIVATION_S
    keeps_file: bool = False

    def __init__(
        self,
        state_dir: Path,
        clock: Clock,
        *,
        check: Callable[[Overlay], object],
        changed: Callable[[], object],
        in_force: Callable[[], str],
        report: Callable[[], HealthReport | None],
    ) -> None:
        """Take over what is in use.

        Args:
            state_dir: The agent's.
            clock: Measures how long the pipeline and central have been silent.
            check: Raises `ConfigError` where an overlay makes no sense on this device.
            changed: Has the agent read the overlay again.
            in_force: Digest of the overlay that the agent read last; empty: none.
            report: The last health report that this process made; None: it made none yet.
        """
        self._state_dir: Final = state_dir
        self._clock: Final = clock
        self._check: Final = check
        self._changed: Final = changed
        self._in_force: Final = in_force
        self._report: Final = report
        self._lock: Final = threading.Lock()
        self._since_ns = clock.mono_ns()
        self._stale: HealthReport | None = None
        self._before: dict[str, Any] = {}

    def slots(self) -> list[str]:
        """Return the one slot."""
        return [SLOT]

    def space_bytes(self, artefact: Artefact) -> int:
        """Return what a copy takes."""
        return artefact.bytes

    def in_use(self) -> list[str]:
        """Return nothing: what is in use is a copy."""
        return []

    def prepare(self, slot: str, artefact: Artefact, file: Path, folder: Path) -> None:  # noqa: ARG002
        """Have it in `folder`, found to make sense here.

        Raises:
            ConfigError: It says what it may not say, or what makes no sense on this device.
            NotNow: The disk refused.
        """
        if artefact.bytes > overlay.MAX_BYTES:
            raise ConfigError(f"a configuration of {artefact.bytes} bytes")
        try:
            self._check(overlay.parse(file.read_bytes()).overlay)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(file, folder / FILE)
        except OSError as error:
            raise NotNow(f"{folder} cannot be filled: {error.strerror}") from error

    def activate(self, wanted: Installed, before: Installed | None) -> None:  # noqa: ARG002
        """Have it in use.

        Raises:
            ConfigError: It does not make sense any more.
            NotNow: The disk refused.
        """
        if self._in_force() == wanted.digest:
            return
        with self._lock:
            self._stale = self._report()
            self._before, self._since_ns = proof.before(self._stale), self._clock.mono_ns()
        self._put(wanted)

    def standing(self, slot: str) -> Standing:  # noqa: ARG002
        """Return whether the device works by what is in use."""
        running = self._in_force()
        if not running:
            return Standing(running=CAME_WITH, proven=True)
        with self._lock:
            report = self._report()
            silent_s = (self._clock.mono_ns() - self._since_ns) / NS_PER_S
            fresh = None if report is not None and report is self._stale else report
            found = proof.look(fresh, self._before, silent_s)
        return Standing(
            running=running, proven=found.proven, failed=found.failed, problem=found.problem
        )

    def settle(self, wanted: Installed, before: Installed | None) -> None:  # noqa: ARG002
        """Have it in use, should the file have been lost.

        Raises:
            NotNow: The disk refused.
        """
        if self._in_force() != wanted.digest:
            self._put(wanted)

    def revert(self, slot: str, tried: Installed, before: Installed | None) -> None:  # noqa: ARG002
        """Have `before` in use, or the local file alone.

        Raises:
            NotNow: The disk refused.
        """
        self._put(before)

    def _put(self, installed: Installed | None) -> None:
        try:
            kept = None
            if installed is not None and installed.folder:
                data = (Path(installed.folder) / FILE).read_bytes()
                kept = Kept(digest=installed.digest, overlay=overlay.parse(data).overlay)
                self._check(kept.overlay)
            overlay.write(self._state_dir, kept)
        except OSError as error:
            raise NotNow(f"the configuration was not changed: {error.strerror}") from error
        self._changed()


def build(out: Path, name: str, version: str, said: Overlay) -> None:
    """Write a configuration artefact.

    Raises:
        OSError: It cannot be written.
    """
    document = overlay.ConfigArtefact(
        format=overlay.FORMAT, name=name, version=version, overlay=said
    )
    out.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
