"""Health reports added up, in the Prometheus text format.

A report counts what happened since the one before; a scraper wants counters that only grow. So each
report is added here, in the agent's memory: after a restart of the agent counters begin at zero
again, which every scraper knows how to read. What was not measured has no sample: no data is not
zero. Names follow Prometheus' conventions: base units, `_total` for counters.

Source: Prometheus documentation, "Metric and label naming" and "Exposition formats".
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from vedette.stats.sketch import ExpHistogram
from vedette.wire.messages import CameraHealth, HealthReport, Histogram, ModelHealth, State

_MS_PER_S: Final = 1000.0
_BOUNDS_MS: Final = (1, 2, 5, 10, 20, 33, 50, 100, 200, 500, 1_000, 2_000, 5_000)
_MAX_SERIES: Final = 10_000
"""Counters kept at most: labels come from the device's own configuration, but not without end."""

_Key = tuple[str, ...]  # metric, label values

# fmt: off
_COUNTERS: Final[tuple[tuple[str, str, str, list[str]], ...]] = (
    ("frames", "vedette_camera_frames", "Pictures by what became of them.", ["camera", "outcome"]),
    ("dropped", "vedette_camera_dropped_frames", "Pictures dropped.", ["camera", "cause"]),
    ("reconnects", "vedette_camera_reconnects", "Streams opened again.", ["camera"]),
    ("inferences", "vedette_model_inferences", "Pictures that it answered.", ["model"]),
    ("inference_failures", "vedette_model_failures", "Pictures that it failed on.", ["model"]),
    ("requests", "vedette_uplink_requests", "Requests to central.", []),
    ("failures", "vedette_uplink_failures", "Requests to central that failed.", []),
    ("sent", "vedette_uplink_sent_bytes", "Bytes sent to central.", []),
    ("received", "vedette_uplink_received_bytes", "Bytes received from central.", []),
)
# fmt: on


class Exposition(Collector):
    """Everything that was reported, added up. Thread: any; one lock."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._report: HealthReport | None = None
        self._counted: defaultdict[_Key, float] = defaultdict(float)
        self._sketches: dict[_Key, ExpHistogram] = {}
        self._registry: Final = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def take(self, report: HealthReport) -> None:
        """Add one report; each must come once."""
        with self._lock:
            self._report = report
            for camera in report.pipeline.cameras if report.pipeline else []:
                self._take_camera(camera)
            for model in report.models:
                self._add("inferences", model.inferences, model.model)
                self._add("inference_failures", model.failures, model.model)
            network = report.network
            self._add("requests", network.requests)
            self._add("failures", network.failures)
            self._add("sent", network.sent_bytes)
            self._add("received", network.received_bytes)
            self._merge("round_trip", network.round_trip_ms)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return `(body, content type)` in the format that `accept` asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names are known when they are collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give every metric that has a value."""
        with self._lock:
            report = self._report
            families = [] if report is None else [*_gauges(report), *self._counters()]
        yield from (family for family in families if family.samples)

    # ------------------------------------------------------------------------------ internals

    def _add(self, metric: str, by: float, *labels: str) -> None:
        key = (metric, *labels)
        if key in self._counted or len(self._counted) < _MAX_SERIES:
            self._counted[key] += by

    def _merge(self, metric: str, histogram: Histogram | None, *labels: str) -> None:
        key = (metric, *labels)
        if histogram is None or (key not in self._sketches and len(self._sketches) >= _MAX_SERIES):
            return
        self._sketches.setdefault(key, ExpHistogram()).merge(ExpHistogram.from_wire(histogram))

    def _take_camera(self, camera: CameraHealth) -> None:
        frames = camera.frames
        for outcome in ("captured", "analysed", "gated"):
            self._add("frames", getattr(frames, outcome), camera.camera, outcome)
        for cause, count in frames.dropped.items():
            self._add("dropped", count, camera.camera, cause.value)
        self._add("reconnects", camera.reconnects, camera.camera)
        for stage, histogram in camera.stage_ms.items():
            self._merge("stage", histogram, camera.camera, stage)

    def _counters(self) -> list[Metric]:
        families: list[Metric] = []
        for metric, name, words, labels in _COUNTERS:
            family = Counter(name, words, labels=labels)
            for key, value in sorted(self._counted.items()):
                if key[0] == metric:
                    family.add_metric(key[1:], value)
            families.append(family)
        for metric, name, words, labels in (
            ("stage", "vedette_stage_seconds", "Time in one stage.", ["camera", "stage"]),
            ("round_trip", "vedette_uplink_round_trip_seconds", "Request to answer.", []),
        ):
            histogram = HistogramMetricFamily(name, words, labels=labels)
            for key, sketch in sorted(self._sketches.items()):
                if key[0] == metric:
                    buckets = _buckets(sketch)
                    histogram.add_metric(key[1:], buckets, sketch.sum / _MS_PER_S)
            families.append(histogram)
        return families


def _buckets(sketch: ExpHistogram) -> list[tuple[str, float]]:
    """Return `(upper bound in seconds, observations at or below it)`, ending with +Inf.

    A bound of ours may lie inside a bucket of the sketch, which then counts as above: an
    observation within 2.2 % of a bound may stand one bucket too high.
    """
    message = sketch.to_wire()
    growth = 2.0 ** (1 / 2**message.scale)
    below = [0, *accumulate(message.counts)]
    found: list[tuple[str, float]] = []
    for bound in _BOUNDS_MS:
        whole = 0
        top = bound * (1 + 1e-9)
        while whole < len(message.counts) and growth ** (message.offset + whole + 1) <= top:
            whole += 1
        found.append((str(bound / _MS_PER_S), float(message.zero + below[whole])))
    return [*found, ("+Inf", float(sketch.count))]


def _gauge(name: str, words: str, value: float | None) -> Gauge:
    """Return a gauge without labels; one that was not measured has no sample."""
    family = Gauge(name, words)
    if value is not None:
        family.add_metric([], value)
    return family


def _labelled(
    name: str, words: str, label: str, values: Iterable[tuple[str, float | None]]
) -> Gauge:
    """Return a gauge with one label."""
    family = Gauge(name, words, labels=[label])
    for key, value in values:
        if value is not None:
            family.add_metric([key], value)
    return family


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / _MS_PER_S


def _bytes(mb: float | None) -> float | None:
    return None if mb is None else mb * 2**20


def _gauges(report: HealthReport) -> list[Metric]:
    return [
        _info(report),
        _gauge("vedette_report_timestamp_seconds", "When this was read.", report.at_ms / _MS_PER_S),
        _gauge("vedette_problems", "Problems that a person should look at.", len(report.problems)),
        *_machine(report),
        *_pipeline(report),
        *_models(report.models),
        *_spool(report),
    ]


def _info(report: HealthReport) -> Gauge:
    family = Gauge("vedette_build_info", "Always 1.", labels=["version", "hardware", "probe"])
    family.add_metric([report.version, report.system.hardware, report.system.probe], 1)
    return family


def _machine(report: HealthReport) -> list[Metric]:
    system = report.system
    flags = system.throttle_flags
    return [
        _gauge("vedette_uptime_seconds", "Since the machine started.", system.uptime_s),
        _gauge("vedette_cpu_ratio", "Busy share of all cores.", system.cpu_fraction),
        _gauge("vedette_gpu_ratio", "Busy share of the GPU.", system.gpu_fraction),
        _gauge("vedette_memory_used_ratio", "Memory in use.", system.memory_used_fraction),
        _gauge("vedette_disk_used_ratio", "Disk in use.", system.disk_used_fraction),
        _gauge("vedette_disk_free_bytes", "Disk still free.", _bytes(system.disk_free_mb)),
        _gauge("vedette_power_watts", "Power drawn.", system.power_w),
        _gauge(
            "vedette_throttled",
            "1 where heat or power holds the machine back.",
            None if flags is None else float(bool(flags)),
        ),
        _labelled(
            "vedette_temperature_celsius", "By sensor.", "sensor", system.temperatures_c.items()
        ),
        _labelled(
            "vedette_clock_hertz",
            "By frequency domain.",
            "domain",
            ((name, mhz * 1e6) for name, mhz in system.clocks_mhz.items()),
        ),
        _labelled(
            "vedette_process_resident_bytes",
            "Memory of our processes.",
            "process",
            (
                ("agent", _bytes(system.agent_rss_mb)),
                ("pipeline", _bytes(system.pipeline_rss_mb)),
            ),
        ),
    ]


def _pipeline(report: HealthReport) -> list[Metric]:
    pipeline = report.pipeline
    if pipeline is None:
        return []
    states = Gauge("vedette_camera_state", "1 for the state it is in.", labels=["camera", "state"])
    for camera in pipeline.cameras:
        for state in State:
            states.add_metric([camera.camera, state.value], float(camera.state is state))
    return [
        _gauge("vedette_pipeline_running", "1 while it runs.", float(pipeline.running)),
        _gauge("vedette_pipeline_restarts", "Since the agent began.", pipeline.restarts),
        states,
        _labelled(
            "vedette_camera_rate_fps",
            "Pictures per second that were looked at.",
            "camera",
            ((camera.camera, camera.rate_fps) for camera in pipeline.cameras),
        ),
        _labelled(
            "vedette_camera_last_frame_timestamp_seconds",
            "When the last picture came.",
            "camera",
            ((camera.camera, _seconds(camera.last_frame_ms)) for camera in pipeline.cameras),
        ),
    ]


def _models(models: list[ModelHealth]) -> list[Metric]:
    return [
        _labelled(
            "vedette_model_golden_ok",
            "1 where the golden frames gave what they should.",
            "model",
            (
                (model.model, None if model.golden_ok is None else float(model.golden_ok))
                for model in models
            ),
        ),
    ]


def _spool(report: HealthReport) -> list[Metric]:
    spool, network = report.spool, report.network
    return [
        _labelled("vedette_spool_messages", "Waiting for central.", "lane", spool.depth.items()),
        _gauge("vedette_spool_bytes", "Size of the spool.", spool.bytes),
        _gauge("vedette_spool_quota_bytes", "What it may grow to.", spool.quota_bytes or None),
        _gauge("vedette_spool_evicted", "Messages given up for room, ever.", spool.evicted),
        _gauge(
            "vedette_spool_oldest_timestamp_seconds",
            "When the oldest waiting message was made.",
            _seconds(spool.oldest_ms),
        ),
        _gauge(
            "vedette_uplink_last_contact_timestamp_seconds",
            "When central last answered.",
            _seconds(network.last_contact_ms),
        ),
        _gauge(
            "vedette_clock_offset_seconds",
            "Our clock minus central's.",
            _seconds(network.clock_offset_ms),
        ),
    ]
