"""Which differing pictures are sent for a person to judge, and how many each stands for. Pure.

Here: priority sampling over one window of time. Not here: pictures. The rules:

- At most so many in a window, whatever comes; each kept one carries the number that it stands for,
  and over all draws those numbers add up, on average, to how many there were.
- What is rare in the window is likelier to be kept than the hundredth of its kind: the importance
  of one is 1 over the number of its kind so far. That choice costs no bias, because the weight
  takes it back.

Source: N. Duffield, C. Lund, M. Thorup, "Priority sampling for estimation of arbitrary subset
sums", Journal of the ACM 54(6), 2007: with importances w and u uniform in (0, 1], keep the k
largest priorities w/u; where t is the (k+1)th, each kept one stands for 1 / min(1, w/t).
"""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")

WINDOWS_PER_DAY: Final = 24


@dataclass(order=True, slots=True)
class _Kept(Generic[T]):
    priority: float
    number: int
    importance: float = field(compare=False)
    value: T = field(compare=False)


class Sample(Generic[T]):
    """At most `most` of all that are offered until `take`. Thread: one at a time.

    Args:
        most: How many are kept.
        uniform: Gives numbers in (0, 1], independent of what is offered.
    """

    def __init__(self, most: int, uniform: Callable[[], float]) -> None:
        self._most = most
        self._uniform = uniform
        self._begin()

    def _begin(self) -> None:
        self._heap: list[_Kept[T]] = []
        self._threshold = 0.0
        self._seen: Counter[str] = Counter()
        self._offered = 0

    def offer(self, kind: str, make: Callable[[], T]) -> None:
        """Take one of a kind into account; `make` is called only where it is kept for now."""
        self._offered += 1
        self._seen[kind] += 1
        importance = 1.0 / self._seen[kind]
        priority = importance / self._uniform()
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, _Kept(priority, self._offered, importance, make()))
        elif self._heap and priority > self._heap[0].priority:
            kept = _Kept(priority, self._offered, importance, make())
            self._threshold = max(self._threshold, heapq.heapreplace(self._heap, kept).priority)
        else:
            self._threshold = max(self._threshold, priority)

    def take(self) -> list[tuple[T, float]]:
        """Return what was kept and the number that each stands for; begin anew."""
        kept = sorted(self._heap, key=lambda one: one.number)
        threshold = self._threshold
        self._begin()
        return [
            (one.value, 1.0 if threshold <= one.importance else threshold / one.importance)
            for one in kept
        ]


def quota(per_day: int, window: int) -> int:
    """Return how many the `window`th of a day's windows may keep; over a day they add up."""
    upto = (window + 1) * per_day // WINDOWS_PER_DAY
    return upto - window * per_day // WINDOWS_PER_DAY
