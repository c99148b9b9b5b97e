"""The scene that was pinned at commissioning, and whether it was pinned anew since.

Here: reading it, and noticing another one while the pipeline runs. Not here: what it is compared
with (`vision.tamper`) and who pins it (`edge.commission`). The rule: what cannot be read is no
reference, and the camera is watched without one.

Thread: confined to the capture thread after construction.
"""

from pathlib import Path
from typing import Final

from vedette.edge.commission.record import load_reference, record_path
from vedette.vision.picture import Plane

LOOK_EVERY_S: Final = 30.0
"""A camera that was commissioned again is judged by its new reference so soon."""


class PinnedScene:
    """One camera's pinned reference."""

    def __init__(self, state_dir: Path, camera: str) -> None:
        self._state_dir, self._camera = state_dir, camera
        self._path = record_path(state_dir, camera)
        self._stamp = self._now()
        self._looked_s = float("-inf")

    def load(self) -> Plane | None:
        """Return the reference, uint8 (h, w) luma; None where none was pinned."""
        return load_reference(self._state_dir, self._camera)

    @property
    def pinned_ms(self) -> int | None:
        """When it was pinned, wall time of the record's file; None where none was."""
        return self._stamp[0] // 1_000_000 or None

    def is_renewed(self, t_s: float) -> bool:
        """Return whether the camera was commissioned since this was last true; looks rarely."""
        if 0 <= t_s - self._looked_s < LOOK_EVERY_S:
            return False
        self._looked_s = t_s
        before, self._stamp = self._stamp, self._now()
        return before != self._stamp

    def _now(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_ino
