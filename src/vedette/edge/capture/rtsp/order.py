"""Decoding times for pictures of which only the time of showing is known. Pure.

RTP sends pictures in decoding order and dates them for showing. The n-th decoding time is the n-th
smallest showing time so far, delayed by as many pictures as the stream reorders: where nothing is
reordered the two are the same. The rule: decoding times never go back, except where the camera's
clock did, which the timeline then sees as the jump that it is.
"""

import heapq
from collections import deque
from typing import Final

_MAX_DEPTH: Final = 16
_LIKELY_DEPTH: Final = 4


class DecodingOrder:
    """The decoding times of one stream. Thread: one."""

    def __init__(self, clock_hz: int = 90_000) -> None:
        self._depth = 0
        self._far = 2 * clock_hz
        self._heap: list[int] = []
        self._recent: deque[int] = deque(maxlen=_MAX_DEPTH + 1)
        self._last: int | None = None

    def reorders(self, depth: int | None) -> None:
        """Take what the stream says of itself; None leaves it to what is seen."""
        if depth is not None:
            self._depth = depth

    @property
    def depth(self) -> int:
        """How many pictures are reordered at most, as said or as seen."""
        return self._depth

    def dts(self, pts: int) -> int:
        """Return the decoding time of the next picture, in the same ticks."""
        overtaken = sum(other > pts for other in self._recent)
        newest = max(self._recent, default=pts)
        if overtaken > max(self._depth, _LIKELY_DEPTH) or abs(newest - pts) > self._far:
            self._heap.clear()  # no reordering: the clock was set
            self._recent.clear()
            self._last, overtaken = None, 0
        self._depth = min(max(self._depth, overtaken), _MAX_DEPTH)
        self._recent.append(pts)
        heapq.heappush(self._heap, pts)
        if len(self._heap) > self._depth:
            found = heapq.heappop(self._heap)
            while len(self._heap) > self._depth:
                found = heapq.heappop(self._heap)
        else:
            found = self._heap[0] - (self._depth + 1 - len(self._heap))
        self._last = found if self._last is None else max(found, self._last)
        return self._last
