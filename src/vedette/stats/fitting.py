"""An aggregate that is too large for its stream gives up detail, in a stated order.

Pure. Here: what is given up first. Not here: counting. The rules: what a person or an invoice may
ask for (entries, exits, crossings, picks, seconds) stays, summed over classes at worst; statistics
of the model go first; and the message names what it lacks, so that nothing missing reads as zero.
"""

from collections.abc import Callable, Iterable
from typing import Final

from msgspec.structs import replace

from vedette.stats.sketch import ExpHistogram
from vedette.stats.summing import add_lines, add_zones
from vedette.wire import codec
from vedette.wire.messages import Aggregate, Histogram, LineCounts, ZoneCounts
from vedette.wire.streams import stream

EVERY_CLASS: Final = "*"
"""Label under which the counts of all classes stand where they had to be added up."""

MOST_CLASSES: Final = 100
"""Labels whose seconds are kept where those of all do not fit."""

Counts = dict[str, dict[str, ZoneCounts]]


def fit(aggregate: Aggregate, max_bytes: int | None = None) -> Aggregate:
    """Return the aggregate within its stream's limit, with `left_out` naming what had to go.

    The order is that of `STEPS`. What no step can mend is returned as small as it gets.

    Args:
        aggregate: Whole.
        max_bytes: Limit of its encoded form; None: that of its row in the table of streams.
    """
    limit = stream("aggregate.v1").max_bytes if max_bytes is None else max_bytes
    for name, step in STEPS:
        if len(codec.encode(aggregate)) <= limit:
            break
        lighter = step(aggregate)
        if lighter != aggregate:
            aggregate = replace(lighter, left_out=sorted({*aggregate.left_out, name}))
    return aggregate


def _coarse(histogram: Histogram | None, scale: int) -> Histogram | None:
    if histogram is None or histogram.scale <= scale:
        return histogram
    sketch = ExpHistogram(scale)
    sketch.merge(ExpHistogram.from_wire(histogram))
    return sketch.to_wire()


def _with_dwell(zones: Counts, of: Callable[[Histogram | None], Histogram | None]) -> Counts:
    return {
        zone: {label: replace(counts, dwell_s=of(counts.dwell_s)) for label, counts in one.items()}
        for zone, one in zones.items()
    }


def _coarser(scale: int) -> Callable[[Aggregate], Aggregate]:
    def step(aggregate: Aggregate) -> Aggregate:
        stages = {name: _coarse(h, scale) or h for name, h in aggregate.stage_ms.items()}
        zones = _with_dwell(aggregate.zones, lambda h: _coarse(h, scale))
        return replace(aggregate, stage_ms=stages, zones=zones)

    return step


def _together(aggregate: Aggregate) -> Aggregate:
    """Return it with the counts of each zone and line added up over classes."""
    zones = {zone: {EVERY_CLASS: _sum_zones(one.values())} for zone, one in aggregate.zones.items()}
    lines = {line: {EVERY_CLASS: _sum_lines(one.values())} for line, one in aggregate.lines.items()}
    return replace(aggregate, zones=zones, lines=lines)


def _sum_zones(counts: Iterable[ZoneCounts]) -> ZoneCounts:
    total = ZoneCounts()
    most = 0
    for one in counts:
        total = add_zones(total, one)
        most += one.occupancy_max  # of classes at different moments: an upper bound, never less
    return replace(total, occupancy_max=most)


def _sum_lines(counts: Iterable[LineCounts]) -> LineCounts:
    total = LineCounts()
    for one in counts:
        total = add_lines(total, one)
    return total


def _longest(seconds: dict[str, float]) -> dict[str, float]:
    """Return the labels with the most seconds; of equal ones the first by the alphabet."""
    order = sorted(seconds, key=lambda label: (-seconds[label], label))
    return {label: seconds[label] for label in sorted(order[:MOST_CLASSES])}


STEPS: Final[tuple[tuple[str, Callable[[Aggregate], Aggregate]], ...]] = (
    ("fine steps of dwell and latency", _coarser(3)),
    ("entropy", lambda a: replace(a, entropy={})),
    ("confidence", lambda a: replace(a, confidence={})),
    ("scores", lambda a: replace(a, scores={})),
    ("quality", lambda a: replace(a, quality={})),
    ("all but coarse steps of dwell and latency", _coarser(1)),
    ("latency", lambda a: replace(a, stage_ms={})),
    ("heatmap", lambda a: replace(a, heatmap=None)),
    ("dwell", lambda a: replace(a, zones=_with_dwell(a.zones, lambda _: None))),
    ("classes of zones and lines", _together),
    ("detections", lambda a: replace(a, detections={})),
    (
        "all but the classes that were held longest",
        lambda a: replace(a, class_s=_longest(a.class_s)),
    ),
    (
        "all but the classes that were present longest",
        lambda a: replace(a, presence_s=_longest(a.presence_s)),
    ),
)
"""What is given up, in this order, and the name under which the message says so."""
