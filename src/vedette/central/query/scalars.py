"""From merged aggregates and health reports to sums and readings by hour. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Final

import msgspec
import numpy as np

from vedette.central.query.packing import Hours, Series
from vedette.central.rollups import HOUR_MS
from vedette.wire.messages import Frames, HealthReport, LineCounts

Laid = dict[str, dict[Series, Hours]]  # by metric and series

REPORTED_S: Final = "device.reported_s"
THROTTLED_S: Final = "device.throttled_s"
MODEL_S: Final = "model_s"
"""Seconds of aggregates by model: which model saw an hour."""

MAX_SERIES: Final = 50_000
"""Of one device's day: what has more names is a fault, and must not fill the memory of all."""

_ZONE: Final = tuple(
    (field, f"zone.{field}")
    for field in (
        "entered", "left", "visits", "occupancy_s", "occupancy_max", "loitered", "picked",
        "placed", "headed", "shelf_changed",
    )
)  # fmt: skip


class ZoneSums(msgspec.Struct, frozen=True):
    """The counts of a zone, its sketch left out."""

    entered: int = 0
    left: int = 0
    visits: int = 0
    occupancy_s: float = 0.0
    occupancy_max: int = 0
    loitered: int = 0
    picked: int = 0
    placed: int = 0
    headed: int = 0
    shelf_changed: int = 0


class Counts(msgspec.Struct, frozen=True):
    """An aggregate as far as sums need it: sketches are skipped, not decoded."""

    start_ms: int
    end_ms: int
    frames: Frames = Frames()
    model: str = ""
    zones: dict[str, dict[str, ZoneSums]] = {}
    lines: dict[str, dict[str, LineCounts]] = {}
    presence_s: dict[str, float] = {}
    detections: dict[str, int] = {}
    slow_path_shed_s: float = 0.0
    class_s: dict[str, float] = {}


counts_of = msgspec.msgpack.Decoder(Counts).decode

_Found = tuple[str, str, str, float]  # metric, name, label, value


def of_counts(counts: Counts, wanted: Collection[str] = ()) -> Iterator[_Found]:
    """Give every sum in an aggregate as metric, name, label and value.

    Where some are `wanted`, others may be left out: a zone alone counts ten things.
    """
    frames = counts.frames
    yield "frames.captured", "", "", frames.captured
    yield "frames.analysed", "", "", frames.analysed
    yield "frames.gated", "", "", frames.gated
    for cause, dropped in frames.dropped.items():
        yield "frames.dropped", str(cause), "", dropped
    fields = [(field, name) for field, name in _ZONE if not wanted or name in wanted]
    for zone, by_label in counts.zones.items():
        for label, found in by_label.items():
            for field, name in fields:
                yield name, zone, label, getattr(found, field)
    for line, crossed_by in counts.lines.items():
        for label, crossed in crossed_by.items():
            yield "line.forward", line, label, crossed.forward
            yield "line.backward", line, label, crossed.backward
    for metric, by in (
        ("presence_s", counts.presence_s),
        ("class_s", counts.class_s),
        ("detections", counts.detections),
    ):
        for label, value in by.items():
            yield metric, "", label, value
    if counts.slow_path_shed_s:
        yield "slow_path_shed_s", "", "", counts.slow_path_shed_s
    yield MODEL_S, counts.model, "", (counts.end_ms - counts.start_ms) / 1000


def lay(found: Iterable[tuple[str, int, Counts]], day_ms: int) -> Laid:
    """Return every sum of a device's day from `(camera, start_ms, counts)` of its hours.

    A metric that was zero all day has no row: what is observed and has no row is zero. Of more
    than `MAX_SERIES` series the first are there.
    """
    laid: Laid = defaultdict(dict)
    left = MAX_SERIES
    for camera, start_ms, counts in found:
        hour = (start_ms - day_ms) // HOUR_MS
        for metric, name, label, value in of_counts(counts):
            if not value and metric != MODEL_S:
                continue
            key = (camera, name, label)
            hours = laid[metric].get(key)
            if hours is None:
                if not left:
                    continue
                left -= 1
                hours = laid[metric][key] = np.zeros(24)
            before = hours[hour]
            hours[hour] = max(before, value) if metric == "zone.occupancy_max" else before + value
    return dict(laid)


def of_health(report: HealthReport) -> Iterator[tuple[str, str, float | None]]:
    """Give every reading of a health report as metric, name and value."""
    system, network = report.system, report.network
    yield "device.cpu", "", system.cpu_fraction
    yield "device.memory", "", system.memory_used_fraction
    yield "device.gpu", "", system.gpu_fraction
    for sensor, value in system.temperatures_c.items():
        yield "device.temperature_c", sensor, value
    yield "device.disk", "", system.disk_used_fraction
    yield "device.disk_free_mb", "", system.disk_free_mb
    yield "device.power_w", "", system.power_w
    yield "device.agent_rss_mb", "", system.agent_rss_mb
    yield "device.pipeline_rss_mb", "", system.pipeline_rss_mb
    yield "device.clock_offset_ms", "", network.clock_offset_ms
    yield "device.spool_depth", "", float(sum(report.spool.depth.values()))
    yield "device.link_mbps", "", network.link_mbps
    yield "device.signal_dbm", "", network.signal_dbm
    yield "device.loss", "", network.loss_fraction


def lay_health(reports: Iterable[tuple[int, HealthReport]], hour: int) -> Laid:
    """Return the readings of one hour (0 to 23) of a device, from reports in order of time."""
    readings: dict[tuple[str, str], list[float]] = defaultdict(list)
    sums: dict[str, float] = defaultdict(float)
    flags: list[str] | None = None
    for _, report in reports:
        for metric, name, value in of_health(report):
            if value is not None and np.isfinite(value):
                readings[metric, name].append(float(value))
        sums["device.sent_bytes"] += report.network.sent_bytes
        sums["device.received_bytes"] += report.network.received_bytes
        sums["device.request_failures"] += report.network.failures
        sums["device.written_bytes"] += report.spool.written_bytes or 0
        sums[REPORTED_S] += report.period_s
        if _was_held_back(report.system.throttle_flags, flags):
            sums[THROTTLED_S] += report.period_s
        flags = report.system.throttle_flags
    laid: Laid = defaultdict(dict)

    def put(metric: str, name: str, stat: str, value: float) -> None:
        hours = np.full(24, np.nan)
        hours[hour] = value
        laid[metric]["", name, stat] = hours

    for (metric, name), values in readings.items():
        put(metric, name, "mean", sum(values) / len(values))
        put(metric, name, "min", min(values))
        put(metric, name, "max", max(values))
        put(metric, name, "last", values[-1])
    for metric, value in sums.items():
        if value:
            put(metric, "", "", value)
    return dict(laid)


def _was_held_back(flags: list[str] | None, before: list[str] | None) -> bool:
    """True where a device is held back now, or says since this report that it was since its start.

    `…-occurred` stays until the device starts again, so only its first appearance counts; of the
    first report of an hour nobody knows whether it is one.
    """
    now = flags or []
    fresh = before is not None and any(f.endswith("-occurred") and f not in before for f in now)
    return fresh or any(not flag.endswith("-occurred") for flag in now)


def overlay(kept: Laid, fresh: Laid) -> Laid:
    """Return both, where `fresh` says something it holds."""
    joined: Laid = {metric: dict(series) for metric, series in kept.items()}
    for metric, series in fresh.items():
        into = joined.setdefault(metric, {})
        for key, hours in series.items():
            before = into.get(key)
            into[key] = hours if before is None else np.where(np.isnan(hours), before, hours)
    return joined
