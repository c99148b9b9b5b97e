"""How many pictures of one model go through an accelerator together, and when they must start.

Here: the decision and the running estimate that it rests on. Not here: which frames (`intake`). The
rule: a batch starts when it is full, or when waiting any longer would make its most urgent picture
late; it never waits for every camera. Sizes are fixed, because an accelerator prepares for each
size once; on a CPU one picture at a time is best, and there are no buckets.
"""

import threading
from collections.abc import Sequence
from typing import Final

from vedette.clock import NS_PER_MS

SAFETY: Final = 1.25
"""Factor on the predicted time: a run may be slower than those before it."""

SLACK_MS: Final = 10.0
"""Kept free before a deadline for what follows inference."""

_WEIGHT: Final = 0.2
"""Of the newest run in the running mean."""


class Buckets:
    """The sizes of one model's batches and how long each takes. Thread: any."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """Begin without knowing how long anything takes.

        Raises:
            ValueError: No size, or one below 1.
        """
        self.sizes: tuple[int, ...] = tuple(sorted(set(sizes)))
        if not self.sizes or self.sizes[0] < 1:
            raise ValueError("a batch holds at least one picture")
        self._took_ms: dict[int, float] = {}
        self._lock = threading.Lock()

    def change(self, sizes: Sequence[int]) -> None:
        """Have the sizes of another model, and know nothing yet of how long it takes."""
        with self._lock:
            self.sizes = tuple(sorted(set(sizes)))
            self._took_ms.clear()

    def fit(self, count: int) -> int:
        """Return the smallest size that holds `count` pictures; the largest where none does."""
        return next((size for size in self.sizes if size >= count), self.sizes[-1])

    def decide(self, waiting: int, deadline_ns: int, now_ns: int) -> tuple[int, int]:
        """Return how many pictures start now, or 0 and when the first of them must start.

        Args:
            waiting: Pictures that could go, at least one.
            deadline_ns: The earliest deadline among them.
            now_ns: On the same clock.
        """
        if waiting >= self.sizes[-1]:
            return self.sizes[-1], now_ns
        took_ms = self.predicted_ms(self.fit(waiting))
        if took_ms is None:
            return waiting, now_ns  # nothing is known: learn by doing
        start_ns = deadline_ns - round((took_ms * SAFETY + SLACK_MS) * NS_PER_MS)
        return (waiting, now_ns) if now_ns >= start_ns else (0, start_ns)

    def ran(self, size: int, ms: float) -> None:
        """Note how long a batch of that size took."""
        with self._lock:
            before = self._took_ms.get(size)
            self._took_ms[size] = ms if before is None else before + (ms - before) * _WEIGHT

    def predicted_ms(self, size: int) -> float | None:
        """Return how long a batch of that size will take; None where none ever ran."""
        with self._lock:
            return self._took_ms.get(size)
