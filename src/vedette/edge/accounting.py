"""Where every frame went: frames in = analysed + gated + dropped(cause), asserted always.

A frame that was captured gets a `Ticket`; the ticket is settled exactly once, with one outcome.
What was captured and is not settled is in flight, and is counted a second way (the open tickets),
so that the invariant can fail: a frame forgotten or counted twice is a bug that shows at once.
"""

import threading
from dataclasses import dataclass, field
from typing import Literal

from vedette.wire.messages import Drop, Frames

Outcome = Literal["analysed", "gated"] | Drop


@dataclass(slots=True)
class Ticket:
    """One frame's place in its camera's order. `number` starts at 1 and has no holes."""

    number: int
    settled: bool = False


@dataclass(slots=True)
class _Counts:
    analysed: int = 0
    gated: int = 0
    dropped: dict[Drop, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.analysed + self.gated + sum(self.dropped.values())


class Account:
    """The account of one camera. Thread: any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._issued = 0
        self._open: set[int] = set()
        self._counts = _Counts()

    def admit(self) -> Ticket:
        """Count one captured frame and return its ticket."""
        with self._lock:
            self._issued += 1
            self._open.add(self._issued)
            self._check()
            return Ticket(self._issued)

    def settle(self, ticket: Ticket, outcome: Outcome) -> None:
        """Count what became of a frame; a second time for the same ticket is a bug.

        Raises:
            AssertionError: Settled twice, or the invariant does not hold.
        """
        with self._lock:
            assert not ticket.settled, f"frame {ticket.number} settled twice"
            ticket.settled = True
            self._open.remove(ticket.number)
            self._count(outcome)
            self._check()

    def _count(self, outcome: Outcome) -> None:
        counts = self._counts
        if isinstance(outcome, Drop):
            counts.dropped[outcome] = counts.dropped.get(outcome, 0) + 1
        elif outcome == "analysed":
            counts.analysed += 1
        else:
            counts.gated += 1

    def _check(self) -> None:
        in_flight = self._issued - self._counts.total
        assert in_flight == len(self._open), (
            f"frames in {self._issued} != analysed {self._counts.analysed} + gated "
            f"{self._counts.gated} + dropped {self._counts.dropped} + in flight {len(self._open)}"
        )

    @property
    def in_flight(self) -> int:
        """Frames captured and not yet settled."""
        with self._lock:
            return len(self._open)

    def frames(self) -> Frames:
        """Return the counts since start; a frame counts as captured once it is settled."""
        with self._lock:
            counts = self._counts
            return Frames(
                captured=counts.total,
                analysed=counts.analysed,
                gated=counts.gated,
                dropped=dict(counts.dropped),
            )


def since(now: Frames, before: Frames) -> Frames:
    """Return what came between two readings of one account."""
    dropped = {
        cause: count - before.dropped.get(cause, 0)
        for cause, count in now.dropped.items()
        if count > before.dropped.get(cause, 0)
    }
    return Frames(
        captured=now.captured - before.captured,
        analysed=now.analysed - before.analysed,
        gated=now.gated - before.gated,
        dropped=dropped,
    )
