"""How much evidence may be written, and what goes first when room is needed.

Here: the daily budget and the order of deletion. Pure but for one small file. The rules: *daily*
means any 24 hours, not a date: no midnight at which a second budget opens, and no day of 23 or 25
hours; what was written counts although it was deleted since, and although the process ended; a
clock that jumps can lengthen a wait, never open the budget twice at once.
"""

import contextlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

PRIORITY_SHARE: Final = {0: 1.0, 1: 0.85, 2: 0.6}
"""Part of the daily budget that clips of a priority may fill: what matters most (0, an alert) is
never crowded out by what came before it."""

KEEP_WEIGHT: Final = {0: 4.0, 1: 2.0, 2: 1.0}
"""An alert's clip is kept four times as long as one that is nice to have. By age and not by class
alone: old alerts must not keep every new clip out."""

STEP_S: Final = 600
"""Bytes are counted in steps of ten minutes."""

_STEPS: Final = 86_400 // STEP_S


class DayBudget:
    """Bytes written in the last 24 hours, kept in a file. Thread: the caller's."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        """Read what was written before; `was_read` is False where the file says nothing."""
        self._path = path
        self._limit_bytes = limit_bytes
        self.was_read = False
        self._steps: dict[int, int] = {}
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            if path.stat().st_size < 1_000_000:
                said = msgspec.json.decode(path.read_bytes(), type=dict[str, int])
                self._steps = {
                    int(step): size
                    for step, size in said.items()
                    if step.isascii() and step.isdigit() and len(step) < 12 and size > 0
                }
                self.was_read = True

    def expect(self, written: Iterable[tuple[float, int]]) -> None:
        """Count at least what lies on the disk, where the file is lost: (Unix time, bytes) each."""
        found: dict[int, int] = {}
        for at_s, size in written:
            step = int(at_s // STEP_S)
            found[step] = found.get(step, 0) + size
        for step, size in found.items():
            self._steps[step] = max(self._steps.get(step, 0), size)

    def used_bytes(self, now_at: datetime) -> int:
        """Return the bytes of the last 24 hours, rounded up to a whole step.

        What is dated later than now is counted as of now: the clock was wrong then or is now.
        """
        now = int(now_at.timestamp() // STEP_S)
        future = [step for step in self._steps if step > now]
        for step in future:
            self._steps[now] = self._steps.get(now, 0) + self._steps.pop(step)
        for step in [step for step in self._steps if step < now - _STEPS]:
            del self._steps[step]
        return sum(self._steps.values())

    def room_bytes(self, now_at: datetime, priority: int) -> int:
        """Return how much a clip of this priority may still take; negative where none is left."""
        share = PRIORITY_SHARE.get(priority, min(PRIORITY_SHARE.values()))
        return int(self._limit_bytes * share) - self.used_bytes(now_at)

    def add(self, now_at: datetime, size: int) -> None:
        """Count what was written; on the disk too, where it takes it."""
        step = int(now_at.timestamp() // STEP_S)
        self._steps[step] = self._steps.get(step, 0) + size
        scratch = self._path.with_name(f"{self._path.name}.new")
        # Not synced: after a power cut the packages themselves are counted (`expect`).
        with contextlib.suppress(OSError):
            scratch.write_bytes(msgspec.json.encode({str(k): v for k, v in self._steps.items()}))
            scratch.replace(self._path)


def first_to_go(packages: Iterable[tuple[str, float, int]], now_s: float) -> str | None:
    """Return which package makes room: the oldest for its priority; None where there is none.

    Args:
        packages: (id, Unix time, priority) of each.
        now_s: Unix time.
    """

    def age(package: tuple[str, float, int]) -> tuple[float, float]:
        _, at_s, priority = package
        weight = KEEP_WEIGHT.get(priority, min(KEEP_WEIGHT.values()))
        return max(now_s - at_s, 0.0) / weight, -at_s

    return max(packages, key=age, default=("", 0.0, 0))[0] or None
