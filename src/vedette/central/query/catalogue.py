"""Every metric that can be asked for: one table, in code. Pure.

What lives here: names, units, how each merges, which questions fit it. Not here: how a question is
answered (`engine`). The rule: a metric that is not in this table cannot be asked for, and
`docs/reference/metrics.md` is written from it.
"""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from vedette.errors import ConfigError


class Kind(enum.StrEnum):
    """What sort of number a metric is: it decides how hours and cameras become one."""

    COUNTER = "counter"  # adds up
    DURATION = "duration"  # seconds that add up
    MAXIMUM = "maximum"  # the largest
    RATIO = "ratio"  # one sum over another
    GAUGE = "gauge"  # a reading: mean, min, max, last by hour
    DISTRIBUTION = "distribution"  # a sketch: quantiles and bins


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric.

    Attributes:
        name_is, label_is: What the two parts of a series mean; empty where there is none.
        parts: What it is made of: stored sums (a ratio: above the line, then below it; the word
            `observed_s` stands for the observed time), or the field of an aggregate.
        of_device: It speaks of a device, not of a camera.
    """

    name: str
    unit: str
    kind: Kind
    about: str
    name_is: str = ""
    label_is: str = ""
    parts: tuple[tuple[str, ...], ...] = ()
    of_device: bool = False

    @property
    def merges(self) -> str:
        """How two times or two cameras become one, in words."""
        return _MERGES[self.kind]

    @property
    def levels(self) -> tuple[str, ...]:
        """For what it can be asked."""
        places = ("fleet", "folder", "site", "device")
        return places if self.of_device else (*places, "camera", "model")


_MERGES: Final[Mapping[Kind, str]] = {
    Kind.COUNTER: "adds up exactly",
    Kind.DURATION: "seconds add up exactly",
    Kind.MAXIMUM: "the largest",
    Kind.RATIO: "sums first, then divided",
    Kind.GAUGE: "mean of the means, least of the minima, largest of the maxima, newest of the last",
    Kind.DISTRIBUTION: "sketches merge exactly; quantiles are read from the merged one",
}

STATS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.GAUGE: ("mean", "min", "max", "last"),
    Kind.DISTRIBUTION: ("p50", "p95", "p99", "mean", "count"),
}
"""Which number of it is wanted, where there is a choice; the first is what one gets unasked."""


def _counter(name: str, about: str, name_is: str = "", label_is: str = "class") -> Metric:
    return Metric(
        name=name,
        unit="1",
        kind=Kind.COUNTER,
        about=about,
        name_is=name_is,
        label_is=label_is,
        parts=((name,),),
    )


def _seconds(name: str, about: str, name_is: str = "", label_is: str = "class") -> Metric:
    return Metric(
        name=name,
        unit="s",
        kind=Kind.DURATION,
        about=about,
        name_is=name_is,
        label_is=label_is,
        parts=((name,),),
    )


def _ratio(
    name: str,
    unit: str,
    about: str,
    *parts: tuple[str, ...],
    series: tuple[str, str] = ("", ""),
) -> Metric:
    return Metric(
        name=name,
        unit=unit,
        kind=Kind.RATIO,
        about=about,
        name_is=series[0],
        label_is=series[1],
        parts=parts,
    )


def _gauge(name: str, unit: str, about: str, name_is: str = "") -> Metric:
    return Metric(
        name=name,
        unit=unit,
        kind=Kind.GAUGE,
        about=about,
        name_is=name_is,
        label_is="",
        parts=((name,),),
        of_device=True,
    )


def _sketch(name: str, unit: str, about: str, field: str, series: tuple[str, str]) -> Metric:
    return Metric(
        name=name,
        unit=unit,
        kind=Kind.DISTRIBUTION,
        about=about,
        name_is=series[0],
        label_is=series[1],
        parts=((field,),),
    )


METRICS: Final = (
    _counter("zone.entered", "Tracks that came into a zone", "zone"),
    _counter("zone.left", "Tracks that left a zone", "zone"),
    _counter("zone.visits", "Stays in a zone that began", "zone"),
    _counter("zone.loitered", "Visits that added up to too long", "zone"),
    _counter("zone.headed", "Movements through a zone in the watched direction", "zone"),
    _counter("zone.picked", "Things taken from a shelf", "zone"),
    _counter("zone.placed", "Things put onto a shelf", "zone"),
    _counter("zone.shelf_changed", "Lasting changes of a shelf, taken or put unknown", "zone"),
    _seconds("zone.occupancy_s", "Time of tracks inside a zone, summed over tracks", "zone"),
    Metric(
        name="zone.occupancy_max",
        unit="1",
        kind=Kind.MAXIMUM,
        about="Most tracks inside a zone at once",
        name_is="zone",
        label_is="class",
        parts=(("zone.occupancy_max",),),
    ),
    _ratio(
        "occupancy",
        "1",
        "Mean number of tracks inside the zones of a camera while it was observed",
        ("zone.occupancy_s",),
        ("observed_s",),
        series=("zone", "class"),
    ),
    _counter("line.forward", "Crossings of a line from its left to its right", "line"),
    _counter("line.backward", "Crossings of a line from its right to its left", "line"),
    _counter("events", "Events by kind", "kind"),
    _seconds("presence_s", "Time with at least one track of the class"),
    _ratio(
        "presence",
        "1",
        "Share of the observed time with at least one track of the class",
        ("presence_s",),
        ("observed_s",),
        series=("", "class"),
    ),
    _seconds("class_s", "Time for which a classifier held the class"),
    _counter("detections", "Detections by class"),
    _counter("frames.captured", "Frames that came from the camera", "", ""),
    _counter("frames.analysed", "Frames that the model saw", "", ""),
    _counter("frames.gated", "Frames in which nothing moved", "", ""),
    _counter("frames.dropped", "Frames that were lost, by cause", "cause", ""),
    _ratio(
        "frames.rate",
        "1/s",
        "Frames looked at per observed second, gated ones included",
        ("frames.analysed", "frames.gated"),
        ("observed_s",),
    ),
    _ratio(
        "frames.dropped_fraction",
        "1",
        "Dropped over captured frames",
        ("frames.dropped",),
        ("frames.captured",),
    ),
    _seconds("slow_path_shed_s", "Time in which only the fast path ran", "", ""),
    _sketch("latency", "ms", "Latency; `total` is the whole way", "stage_ms", ("stage", "")),
    _sketch("dwell", "s", "Length of finished visits to a zone", "zones", ("zone", "class")),
    _sketch("confidence", "1", "Confidence of detections", "confidence", ("", "class")),
    _sketch("entropy", "1", "How undecided the model was, 0 to 1", "entropy", ("", "class")),
    _sketch("quality", "1", "Picture quality by measure", "quality", ("measure", "")),
    _sketch("scores", "1", "Scores of whole pictures, as anomaly", "scores", ("score", "")),
    _gauge("device.cpu", "1", "Share of all cores in use"),
    _gauge("device.memory", "1", "Share of memory in use"),
    _gauge("device.gpu", "1", "Share of the GPU in use"),
    _gauge("device.temperature_c", "°C", "Temperature by sensor", "sensor"),
    _gauge("device.disk", "1", "Share of the disk in use"),
    _gauge("device.disk_free_mb", "MB", "Free disk"),
    _gauge("device.power_w", "W", "Power drawn"),
    _gauge("device.agent_rss_mb", "MB", "Memory of the agent"),
    _gauge("device.pipeline_rss_mb", "MB", "Memory of the pipeline"),
    _gauge("device.clock_offset_ms", "ms", "Clock against central's"),
    _gauge("device.spool_depth", "1", "Messages that wait to be sent"),
    _gauge("device.link_mbps", "Mbit/s", "Speed of the link that the way to central begins with"),
    _gauge("device.signal_dbm", "dBm", "Radio signal"),
    _gauge("device.loss", "1", "Retransmitted over sent segments"),
    msgspec.structs.replace(
        _counter("device.sent_bytes", "Bytes sent to central", "", ""), of_device=True, unit="B"
    ),
    msgspec.structs.replace(
        _counter("device.received_bytes", "Bytes received from central", "", ""),
        of_device=True,
        unit="B",
    ),
    msgspec.structs.replace(
        _counter("device.request_failures", "Requests to central that failed", "", ""),
        of_device=True,
    ),
    msgspec.structs.replace(
        _counter("device.written_bytes", "Bytes that our processes had the disk write", "", ""),
        of_device=True,
        unit="B",
    ),
    msgspec.structs.replace(
        _seconds("device.throttled_s", "Time of reports that say it is held back", "", ""),
        of_device=True,
    ),
    _ratio("coverage", "1", "Observed over accountable time", ("observed_s",), ("accountable_s",)),
)

BY_NAME: Final[Mapping[str, Metric]] = {metric.name: metric for metric in METRICS}


def find(name: str) -> Metric:
    """Return a metric.

    Raises:
        ConfigError: There is none of that name; the nearest ones are said.
    """
    if name in BY_NAME:
        return BY_NAME[name]
    near = [known for known in BY_NAME if name and (name in known or known in name)]
    near = near or sorted(BY_NAME, key=lambda known: -len(set(known) & set(name)))[:3]
    raise ConfigError(
        f"there is no metric {name[:80]!r}",
        operator_hint=f"perhaps {', '.join(near[:5])}; all of them are at /v1/metrics",
    )
