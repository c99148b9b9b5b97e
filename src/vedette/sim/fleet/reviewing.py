"""People who review what a simulated fleet's shadows differ about: blind, and at a human pace.

Each takes the next picture from the real queue, sees two answers and not whose they are, and says
which is nearer to who truly stood there, which `beside.Truths` knows. Now and then they cannot
tell, or are wrong. The rule: they are told nothing else, above all not which model is which.
"""

import random
from typing import Final

from vedette.central.review import queue
from vedette.central.review.queue import ReviewItem
from vedette.central.store.db import Database
from vedette.sim.fleet.beside import Truths
from vedette.wire.messages import Box

PER_MINUTE: Final = 4.0
_UNCLEAR: Final = 0.03
_WRONG: Final = 0.02


class Reviewer:
    """One person. Thread: one event loop."""

    def __init__(self, name: str, truths: Truths, seed: int) -> None:
        """Have them know what stood where."""
        self.name: Final = name
        self.judged = 0
        self._truths: Final = truths
        self._random: Final = random.Random(f"{seed}{name}")  # noqa: S311 - repeatable, no secret

    async def work(self, db: Database, rollout: str, now_ms: int, minutes: float) -> int:
        """Judge what waits for so many minutes; return how many that were."""
        most = round(minutes * PER_MINUTE)
        for done in range(most):
            async with db.transaction() as tx:
                item = await queue.next_item(tx, self.name, None, rollout)
                if item is None:
                    return done
                at_ms = now_ms + done  # in the order in which they were judged
                await queue.judge(tx, self.name, item, self.side(item), now_ms=at_ms)
            self.judged += 1
        return most

    def side(self, item: ReviewItem) -> str:
        """Return which answer is nearer to the truth, as a person sees it."""
        people = self._truths.get(item.disagreement)
        if people is None or self._random.random() < _UNCLEAR:
            return "unclear"
        first, second = (_right(boxes, people) for boxes in (item.first, item.second))
        if self._random.random() < _WRONG:
            first, second = second, first
        if first == second:
            return "neither"
        return "first" if first > second else "second"


def _right(boxes: list[Box], people: frozenset[tuple[float, float, float, float]]) -> int:
    """Return how many were found, less those that are nobody."""
    return sum(1 if box.xyxy in people else -1 for box in boxes)
