"""Central's own numbers for Prometheus: what it is asked, how fast it answers, how the fleet is.

Counted in memory as it happens, and asked of the database when somebody scrapes. Names follow
Prometheus' conventions. The rule: nothing here names a site, a device or a camera, so that the
series stay few and a scraper learns nothing that a dashboard must not show.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from vedette.central.store.db import Tx

_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_DELIVERY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0)
_STATES: Final = ("ok", "dark", "never")
_SEVERITIES: Final = ("info", "warning", "critical")
_CAMERA_STATES: Final = ("ok", "degraded", "tampered", "down", "off", "starting", "unknown")


class Ingest(msgspec.Struct, frozen=True, kw_only=True):
    """What the committer has done since it began, and what waits in it now."""

    groups: int
    taken: int
    waiting: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says when somebody scrapes."""

    devices: dict[str, int]
    cameras: dict[str, int]
    sites: int
    database_bytes: int
    dirty_hours: int
    incidents: dict[str, int] = {}
    inbox: int = 0
    deliveries_waiting: int = 0
    deliveries_dead: int = 0
    deliveries_oldest_ms: int | None = None
    now_ms: int = 0


class Meters:
    """Everything that is counted here. Thread: any."""

    def __init__(self) -> None:
        self._registry: Final = CollectorRegistry(auto_describe=False)
        self._answers: Final = Counter(
            "vedette_central_requests",
            "Requests answered, by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds: Final = Histogram(
            "vedette_central_request_seconds",
            "From the request to its answer, by route.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._tries: Final = Counter(
            "vedette_central_deliveries_tried",
            "Tries to send, by kind of channel and what they came to.",
            ["kind", "outcome"],
            registry=self._registry,
        )
        self._late: Final = Histogram(
            "vedette_central_delivery_seconds",
            "From when somebody was to be told to when a channel took it.",
            ["kind"],
            buckets=_DELIVERY_SECONDS,
            registry=self._registry,
        )
        self._signals: Final = Counter(
            "vedette_central_alert_signals", "Signals that rules made.", registry=self._registry
        )
        self._notices: Final = Counter(
            "vedette_central_alert_notices", "Notices decided.", registry=self._registry
        )
        self._turns: Final = Histogram(
            "vedette_central_alert_turn_seconds",
            "One turn of the alerts' engine, its transaction included.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._lag: Final = Histogram(
            "vedette_central_alert_lag_seconds",
            "From when somebody was to be told until that was decided.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.ingest: Callable[[], Ingest] = lambda: Ingest(groups=0, taken=0, waiting=0)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._answers.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def delivered(self, kind: str, outcome: str, seconds: float | None) -> None:
        """Count one try; `seconds` since it was due, where it was sent."""
        self._tries.labels(kind, outcome).inc()
        if seconds is not None:
            self._late.labels(kind).observe(seconds)

    def turned(self, *, signals: int, seconds: float, lags_s: Iterable[float] = ()) -> None:
        """Count one turn of the alerts' engine; `lags_s`: of each notice, how late it was."""
        self._signals.inc(signals)
        self._turns.observe(seconds)
        for lag_s in lags_s:
            self._notices.inc()
            self._lag.observe(max(lag_s, 0.0))

    def text(self, snapshot: Snapshot, accept: str = "") -> tuple[bytes, str]:
        """Return `(body, content type)` in the format that `accept` asks for."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Now(self._registry, self.ingest(), snapshot))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type


class _Now(Collector):
    """What was counted, with what is so now."""

    def __init__(self, counted: CollectorRegistry, ingest: Ingest, snapshot: Snapshot) -> None:
        self._counted, self._ingest, self._snapshot = counted, ingest, snapshot

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names are known when they are collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give every metric."""
        yield from self._counted.collect()
        yield CounterMetricFamily(
            "vedette_central_ingest_groups", "Transactions of ingest.", self._ingest.groups
        )
        yield CounterMetricFamily(
            "vedette_central_ingest_messages", "Messages taken, once each.", self._ingest.taken
        )
        yield GaugeMetricFamily(
            "vedette_central_ingest_waiting", "Messages that wait now.", self._ingest.waiting
        )
        snapshot = self._snapshot
        yield _by("vedette_devices", "Devices by state.", _STATES, snapshot.devices)
        yield _by("vedette_cameras", "Cameras by state.", _CAMERA_STATES, snapshot.cameras)
        yield _by(
            "vedette_incidents", "Open incidents.", _SEVERITIES, snapshot.incidents, "severity"
        )
        yield GaugeMetricFamily(
            "vedette_central_alert_inbox", "Events that no rule was asked of yet.", snapshot.inbox
        )
        yield GaugeMetricFamily("vedette_sites", "Sites.", snapshot.sites)
        yield GaugeMetricFamily(
            "vedette_central_database_bytes", "Size of the database.", snapshot.database_bytes
        )
        yield GaugeMetricFamily(
            "vedette_central_deliveries_waiting", "To be sent.", snapshot.deliveries_waiting
        )
        yield GaugeMetricFamily(
            "vedette_central_deliveries_dead", "Given up.", snapshot.deliveries_dead
        )
        oldest_ms = snapshot.deliveries_oldest_ms
        waits_ms = 0 if oldest_ms is None else max(0, snapshot.now_ms - oldest_ms)
        yield GaugeMetricFamily(
            "vedette_central_delivery_oldest_seconds",
            "How long the oldest has waited.",
            waits_ms / 1000,
        )
        yield GaugeMetricFamily(
            "vedette_central_hours_to_merge", "Hours to merge again.", snapshot.dirty_hours
        )


def _by(
    name: str, words: str, states: Iterable[str], found: dict[str, int], label: str = "state"
) -> GaugeMetricFamily:
    """Return counts by state; a state that nobody is in is a true zero."""
    family = GaugeMetricFamily(name, words, labels=[label])
    for state in dict.fromkeys([*states, *found]):
        family.add_metric([state], found.get(state, 0))
    return family


async def snapshot(tx: Tx, now_ms: int) -> Snapshot:
    """Return how the fleet is now."""
    ((waiting, dead, oldest_ms),) = await tx.tuples("meter_deliveries")
    devices = {str(state): int(count) for state, count in await tx.tuples("meter_devices")}
    cameras = {str(state): int(count) for state, count in await tx.tuples("meter_cameras")}
    incidents = {str(name): int(count) for name, count in await tx.tuples("meter_incidents")}
    ((sites, size, dirty),) = await tx.tuples("meter_rest")
    return Snapshot(
        devices=devices,
        cameras=cameras,
        sites=sites,
        database_bytes=size,
        dirty_hours=dirty,
        incidents=incidents,
        inbox=int(str(await tx.value("meter_inbox"))),
        deliveries_waiting=waiting,
        deliveries_dead=dead,
        deliveries_oldest_ms=oldest_ms,
        now_ms=now_ms,
    )
