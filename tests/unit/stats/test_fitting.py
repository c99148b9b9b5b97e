"""Aggregates that are too large: what goes first, what never goes, and that it is said."""

import random

import pytest

from vedette.stats.fitting import EVERY_CLASS, STEPS, fit
from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.stats.summing import merge
from vedette.wire import codec
from vedette.wire.messages import Aggregate, Heatmap, LineCounts, ZoneCounts
from vedette.wire.streams import stream

LIMIT = stream("aggregate.v1").max_bytes


def spread(seed: int) -> ExpHistogram:
    """Return a sketch of waits from a fifth of a second to ten minutes."""
    sketch, dice = ExpHistogram(), random.Random(seed)
    for _ in range(40):
        sketch.add(dice.uniform(0.2, 1.0) * 2 ** dice.uniform(0, 9))
    return sketch


def crowded(zones: int = 32, classes: int = 10) -> Aggregate:
    """Return a minute in which everything happened everywhere."""
    labels = [f"class-{n}" for n in range(classes)]
    bins = LinearBins(50)
    bins.add(0.5)
    return Aggregate(
        camera="door",
        start_ms=0,
        end_ms=60_000,
        zones={
            f"zone-with-a-name-{z}": {
                label: ZoneCounts(
                    entered=3,
                    visits=4,
                    occupancy_s=12.5,
                    occupancy_max=2,
                    dwell_s=spread(z * 100 + n).to_wire(),
                )
                for n, label in enumerate(labels)
            }
            for z in range(zones)
        },
        lines={"gate": {label: LineCounts(forward=1, backward=2) for label in labels}},
        heatmap=Heatmap(rows=18, columns=32, deciseconds=[3] * 576),
        stage_ms={"total": spread(1).to_wire()},
        confidence={label: bins.to_wire() for label in labels},
        entropy={label: bins.to_wire() for label in labels},
        detections=dict.fromkeys(labels, 7),
    )


def test_thirty_two_zones_of_ten_classes_would_be_refused_and_fit_when_coarser() -> None:
    """The worst camera that can be drawn keeps its dwell times, in coarser steps."""
    whole = crowded()
    assert len(codec.encode(whole)) > LIMIT
    got = fit(whole)
    assert len(codec.encode(got)) <= LIMIT
    assert got.left_out == ["fine steps of dwell and latency"]
    dwells = [one.zones["zone-with-a-name-0"]["class-0"].dwell_s for one in (whole, got)]
    before, after = (ExpHistogram.from_wire(dwell) for dwell in dwells if dwell is not None)
    assert (after.count, after.sum) == (before.count, before.sum)


def test_what_fits_is_left_alone() -> None:
    """Not a byte of a usual minute goes."""
    small = crowded(zones=2, classes=2)
    assert fit(small) is small


@pytest.mark.parametrize("limit", [100_000, 60_000, 40_000, 20_000, 8_000])
def test_counts_stay_whatever_goes(limit: int) -> None:
    """Sums over classes are the same at every limit; what went is named in the stated order."""
    whole, got = crowded(), fit(crowded(), limit)
    assert len(codec.encode(got)) <= limit
    for zone, one in whole.zones.items():
        for name in ("entered", "visits", "occupancy_s"):
            total = sum(getattr(counts, name) for counts in one.values())
            assert sum(getattr(counts, name) for counts in got.zones[zone].values()) == total
    assert sum(c.backward for c in got.lines["gate"].values()) == 20
    assert got.detections == whole.detections
    gone = [name for name, _ in STEPS if name in got.left_out]
    assert sorted(gone) == got.left_out
    assert "fine steps of dwell and latency" in gone


def test_classes_are_added_up_last_and_under_a_name_that_is_no_class() -> None:
    """The star is no label that a model can have by accident; the largest number is a bound."""
    got = fit(crowded(), 8_000)
    assert "classes of zones and lines" in got.left_out
    assert set(got.zones["zone-with-a-name-0"]) == {EVERY_CLASS}
    assert got.zones["zone-with-a-name-0"][EVERY_CLASS].occupancy_max == 20


def test_what_was_left_out_is_still_said_after_merging() -> None:
    """Both in one lack what either lacks."""
    a, b = fit(crowded(), 60_000), fit(crowded(zones=1))
    assert merge(a, b).left_out == merge(b, a).left_out == a.left_out


def test_ten_thousand_classes_never_cost_the_minute_its_coverage() -> None:
    """A model may know so many: the longest stay, and the message says that others are missing."""
    labels = [f"a class of things {n:05d}" for n in range(10_000)]
    seconds = {label: float(n % 60) for n, label in enumerate(labels)}
    whole = Aggregate(
        camera="door",
        start_ms=0,
        end_ms=60_000,
        class_s=seconds,
        presence_s=seconds,
        detections=dict.fromkeys(labels, 7),
    )
    got = fit(whole)
    assert len(codec.encode(got)) <= LIMIT
    assert set(got.class_s.values()) == {59.0}
    assert {"detections", "all but the classes that were held longest"} <= set(got.left_out)
