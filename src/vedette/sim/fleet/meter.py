"""What a load saw: answers by kind, and how long each acknowledgement took. Pure."""

from array import array
from collections import Counter
from collections.abc import Sequence

import msgspec


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds by rank; zero where nothing was measured."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


def latency(values_ms: Sequence[float]) -> Latency:
    """Return the ranks of `values_ms`."""
    if not values_ms:
        return Latency()
    ordered = sorted(values_ms)

    def rank(q: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 2)

    return Latency(p50=rank(0.5), p95=rank(0.95), p99=rank(0.99), max=round(ordered[-1], 2))


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a load.

    Attributes:
        reports: Acknowledged periods of devices (health, and aggregates where a minute ended).
        messages: Acknowledged envelopes.
        ack_ms: From the moment a live report was due to its acknowledgement, waiting for a
            connection included.
        request_ms: From sending a live request to its answer.
        backlog_ms: The same for batches of what had waited.
        errors: How often what went wrong, by kind.
        cpu_s: CPU seconds of this process.
    """

    seconds: float
    devices: int
    cameras: int
    requests: int
    reports: int
    messages: int
    sent_mb: float
    ack_ms: Latency
    request_ms: Latency
    backlog_ms: Latency
    backlog_reports: int
    backlog_left: int
    overdue: int
    errors: dict[str, int]
    connections: int
    cpu_s: float

    @property
    def reports_per_s(self) -> float:
        """Acknowledged reports a second."""
        return self.reports / self.seconds if self.seconds else 0.0

    @property
    def messages_per_s(self) -> float:
        """Acknowledged messages a second."""
        return self.messages / self.seconds if self.seconds else 0.0


class Meter:
    """Counts while a load runs. Thread: one."""

    def __init__(self) -> None:
        self.ack_ms = array("d")
        self.request_ms = array("d")
        self.backlog_ms = array("d")
        self.errors: Counter[str] = Counter()
        self.requests = self.reports = self.messages = self.sent_bytes = 0
        self.backlog_reports = self.overdue = 0

    def recent(self, count: int = 5_000) -> Latency:
        """Return the ranks of the latest acknowledgements, for a person who watches."""
        return latency(self.ack_ms[-count:])
