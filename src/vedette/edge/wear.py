"""Bytes that this device's two processes have the disk write: what wears an SD card.

The kernel's own books, so the spool, evidence, status and records are all in it. Not in it: what a
file system writes for itself (its journal; on ext4 some blocks per synced commit), other programs,
and a pipeline's last moments before it ended. Where the kernel keeps no such books nothing is said.

Source: proc_pid_io(5), `write_bytes` and `cancelled_write_bytes`; Linux.
"""

import threading
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")


def written_by(process: int | str, proc: Path = PROC) -> int | None:
    """Return the bytes a process (its id, or `self`) had written since it began; None: unknown.

    What was deleted before it reached the disk does not count.
    """
    try:
        text = (proc / str(process) / "io").read_text(encoding="ascii")
        books = dict(line.split(":", 1) for line in text.splitlines())
        return int(books["write_bytes"]) - int(books["cancelled_write_bytes"])
    except (OSError, ValueError, KeyError):
        return None


class WearMeter:
    """Counts between two looks. Thread: any."""

    def __init__(self, proc: Path = PROC) -> None:
        """Begin with everything that this process wrote so far still to be told."""
        self._proc: Final = proc
        self._lock: Final = threading.Lock()
        self._own = 0
        self._pipeline: tuple[int, int] = (0, 0)

    def take(self, pipeline: int | None) -> int | None:
        """Return the bytes since the last look; None where the kernel does not say.

        Args:
            pipeline: Id of the pipeline's process now; all that a new one wrote counts.
        """
        with self._lock:
            own = written_by("self", self._proc)
            if own is None:
                return None
            new = max(own - self._own, 0)
            self._own = own
            theirs = written_by(pipeline, self._proc) if pipeline is not None else None
            if pipeline is not None and theirs is not None:
                of, before = self._pipeline
                new += max(theirs - (before if of == pipeline else 0), 0)
                self._pipeline = (pipeline, theirs)
            return new
