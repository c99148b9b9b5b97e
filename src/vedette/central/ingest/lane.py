"""What was received of one lane: a set of sequence numbers as few ranges. Pure."""

from bisect import bisect_left
from typing import Final

import msgspec

MAX_RANGES: Final = 65_536
"""Most separate ranges of one lane: a month without a network in which every second message was
evicted. What would make more is not taken yet; the device keeps it and fills holes first."""


class LaneState(msgspec.Struct):
    """Everything up to `acked_through`, and the closed ranges `have` above it, ascending."""

    acked_through: int = 0
    have: list[tuple[int, int]] = []

    def __contains__(self, seq: int) -> bool:
        """True where `seq` was received or settled."""
        if seq <= self.acked_through:
            return True
        at = bisect_left(self.have, (seq + 1,)) - 1
        return at >= 0 and self.have[at][1] >= seq

    def add(self, low: int, high: int) -> None:
        """Have everything from `low` to `high` as well."""
        if high <= self.acked_through:
            return
        low = max(low, self.acked_through + 1)
        first = bisect_left(self.have, (low,))
        if first and self.have[first - 1][1] >= low - 1:
            first -= 1
        last = first
        while last < len(self.have) and self.have[last][0] <= high + 1:
            low = min(low, self.have[last][0])
            high = max(high, self.have[last][1])
            last += 1
        self.have[first:last] = [(low, high)]
        if self.have[0][0] == self.acked_through + 1:
            self.acked_through = self.have.pop(0)[1]

    @property
    def is_full(self) -> bool:
        """True where one more hole is too many."""
        return len(self.have) >= MAX_RANGES

    def to_flat(self) -> list[int]:
        """Return `have` as the database keeps it: lo, hi, lo, hi."""
        return [edge for pair in self.have for edge in pair]

    @classmethod
    def from_flat(cls, acked_through: int, flat: list[int]) -> "LaneState":
        """Return the state that the database kept."""
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        return cls(acked_through=acked_through, have=pairs)
