"""From capture to workers: one slot per camera, newest wins, and no queue.

A live camera's slot holds one frame; a newer one replaces it and the old one is handed back to be
counted as dropped(stale). A file never drops: its capture thread waits until the slot is free.
Workers take the frame whose camera has the fewest in flight, then the earliest deadline, so that a
busy camera cannot starve another. What is past its deadline when taken is handed back as stale:
under overload the machine stays current instead of late.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

F = TypeVar("F")


@dataclass(slots=True)
class _Slot(Generic[F]):
    live: bool
    frame: F | None = None
    deadline_ns: int = 0
    in_flight: int = 0


class Intake(Generic[F]):
    """All cameras' slots.

    Args:
        cameras: Camera id to whether it is live (True: newest wins; False: never drops).
        deadline_ms: Age at which a live frame is not worth analysing any more.
        mono_ns: The clock that the frames' capture times were read from.
        on_stale: Called, outside the lock, with the camera and a frame that was dropped.

    Thread: any.
    """

    def __init__(
        self,
        cameras: dict[str, bool],
        *,
        deadline_ms: float,
        mono_ns: Callable[[], int],
        on_stale: Callable[[str, F], None],
    ) -> None:
        self._slots: dict[str, _Slot[F]] = {name: _Slot(live) for name, live in cameras.items()}
        self._deadline_ns = round(deadline_ms * 1e6)
        self._mono_ns = mono_ns
        self._on_stale = on_stale
        self._changed = threading.Condition()
        self._closed = False

    def offer(self, camera: str, frame: F, captured_mono_ns: int) -> bool:
        """Put a frame into its camera's slot; False where the intake is closed.

        A file's frame waits here until the slot is free: that is its back-pressure.
        """
        stale: F | None = None
        with self._changed:
            slot = self._slots[camera]
            if not slot.live:
                self._changed.wait_for(lambda: self._closed or slot.frame is None)
            if self._closed:
                return False
            stale, slot.frame = slot.frame, frame
            slot.deadline_ns = captured_mono_ns + self._deadline_ns
            self._changed.notify_all()
        if stale is not None:
            self._on_stale(camera, stale)
        return True

    def take(self) -> tuple[str, F] | None:
        """Return the most urgent frame with its camera, waiting for one; None once closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._best() is not None)
                best = self._best()
                if best is None:
                    return None
                slot = self._slots[best]
                frame, slot.frame = slot.frame, None
                assert frame is not None
                late = slot.live and self._mono_ns() > slot.deadline_ns
                if not late:
                    slot.in_flight += 1
                self._changed.notify_all()
            if not late:
                return best, frame
            self._on_stale(best, frame)

    def done(self, camera: str) -> None:
        """Say that the frame taken for `camera` left the worker."""
        with self._changed:
            self._slots[camera].in_flight -= 1
            self._changed.notify_all()

    def depth(self, camera: str) -> int:
        """Return frames waiting or being worked on for one camera."""
        with self._changed:
            slot = self._slots[camera]
            return slot.in_flight + (slot.frame is not None)

    def close(self) -> list[tuple[str, F]]:
        """Wake everybody up, accept nothing more, and return what was still waiting."""
        with self._changed:
            self._closed = True
            rest = [(name, s.frame) for name, s in self._slots.items() if s.frame is not None]
            for slot in self._slots.values():
                slot.frame = None
            self._changed.notify_all()
        return rest

    def _best(self) -> str | None:
        waiting = [
            (s.in_flight, s.deadline_ns, n) for n, s in self._slots.items() if s.frame is not None
        ]
        return min(waiting)[2] if waiting else None
