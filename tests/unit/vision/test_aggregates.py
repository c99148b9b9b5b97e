"""Aggregates: what is counted in a minute, and that minutes add up exactly."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.vision.aggregates import HOLD_S, Aggregator, merge, minute_slices
from vedette.vision.detections import Detections
from vedette.vision.happenings import Happening
from vedette.vision.tracking import Tracks
from vedette.wire import codec
from vedette.wire.messages import (
    Aggregate,
    Bins,
    Cause,
    Drop,
    EventKind,
    Frames,
    Heatmap,
    Histogram,
    LineCounts,
    Span,
    ZoneCounts,
)
from vedette.wire.streams import stream

LABELS = ("person", "dog")
SIZE = (320, 180)


def counting() -> Aggregator:
    """Return an aggregator of a small camera."""
    return Aggregator("door", LABELS)


def standing(*feet: tuple[float, float], class_id: int = 0, confirmed: bool = True) -> Tracks:
    """Return tracks with these foot points."""
    n = len(feet)
    boxes = [(x - 5, y - 20, x + 5, y) for x, y in feet]
    return Tracks(
        track_id=np.arange(1, n + 1, dtype=np.int64),
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        class_id=np.full(n, class_id, np.int32),
        confidence=np.full(n, 0.9, np.float32),
        confirmed=np.full(n, confirmed),
        born_t_s=np.zeros(n),
        seen_t_s=np.zeros(n),
        observed=np.ones(n, np.bool_),
    )


def happening(kind: EventKind, direction: str = "", dwell_s: float | None = None) -> Happening:
    """Return one happening of a person at `gate`."""
    return Happening(
        kind=kind,
        where="gate",
        direction=direction,
        class_id=0,
        label="person",
        track=1,
        t_s=0.0,
        dwell_s=dwell_s,
        box=(0.0, 0.0, 1.0, 1.0),
    )


def test_presence_and_heat_are_track_seconds() -> None:
    """Two people for three seconds: three seconds of presence, six in the heatmap."""
    counts = counting()
    for n in range(31):
        counts.add_tracks(standing((5, 5), (315, 175)), n * 0.1, SIZE)
    got = counts.cut(0, 60_000)
    assert got.presence_s == {"person": pytest.approx(3.0, abs=1e-3)}
    assert got.heatmap is not None
    assert (got.heatmap.deciseconds[0], got.heatmap.deciseconds[-1]) == (30, 30)
    assert sum(got.heatmap.deciseconds) == 60


def test_visits_are_those_seen_entering_and_those_born_inside() -> None:
    """Two entered, three began inside: five visits, two entries."""
    counts = counting()
    entered, born = EventKind.ZONE_ENTERED, ("born",) * 3
    counts.add_happenings([happening(entered)] * 2 + [happening(entered, way) for way in born])
    got = counts.cut(0, 1000).zones["gate"]["person"]
    assert (got.visits, got.entered, got.left) == (5, 2, 0)


def test_events_of_zones_are_counted_by_their_kind() -> None:
    """Each in its own field, and nowhere else."""
    counts = counting()
    for n, kind in enumerate(("loiter", "heading", "picked", "placed", "shelf_changed"), start=1):
        counts.add_happenings([happening(EventKind(kind))] * n)
    assert counts.cut(0, 1000).zones == {
        "gate": {"person": ZoneCounts(loitered=1, headed=2, picked=3, placed=4, shelf_changed=5)}
    }


def test_unconfirmed_tracks_are_nobody() -> None:
    """A flicker is neither presence nor heat."""
    counts = counting()
    for n in range(5):
        counts.add_tracks(standing((5, 5), confirmed=False), n * 0.1, SIZE)
    got = counts.cut(0, 1000)
    assert got.presence_s == {}
    assert got.heatmap is not None
    assert sum(got.heatmap.deciseconds) == 0


def test_foot_points_outside_the_picture_fall_into_its_edge() -> None:
    """A box that reaches below the picture counts in the lowest row."""
    counts = counting()
    counts.add_tracks(standing((-50, 900)), 0.0, SIZE)
    counts.add_tracks(standing(), 1.0, SIZE)
    heatmap = counts.cut(0, 1000).heatmap
    assert heatmap is not None
    assert heatmap.deciseconds[17 * 32] == 10


def test_no_time_is_lost_or_doubled_at_a_cut() -> None:
    """With the slice's end on the tracker's clock, each part gets its own seconds."""
    counts = counting()
    counts.add_tracks(standing((5, 5)), 0.0, SIZE)
    counts.add_occupancy({("room", "person"): 2}, 0.0)
    first = counts.cut(0, 400, t_s=0.4)
    counts.add_tracks(standing(), 1.0, SIZE)
    second = counts.cut(400, 1000, t_s=1.0)
    assert first.presence_s["person"] == pytest.approx(0.4, abs=1e-3)
    assert second.presence_s["person"] == pytest.approx(0.6, abs=1e-3)
    assert first.zones["room"]["person"].occupancy_s == pytest.approx(0.8, abs=1e-3)
    assert second.zones["room"]["person"].occupancy_s == pytest.approx(1.2, abs=1e-3)
    assert second.zones["room"]["person"].occupancy_max == 2
    assert counts.cut(1000, 2000, t_s=2.0).zones == {}


def test_time_is_either_counted_or_shed_never_both() -> None:
    """Held until the first look that is shed, stated until the first that is not, then held."""
    counts = counting()
    for n in range(10):
        t_s = float(n)
        if 3 <= n < 7:
            counts.shed(t_s)
        else:
            counts.add_tracks(standing((5, 5)), t_s, SIZE)
            counts.add_occupancy({("room", "person"): 1}, t_s)
    got = counts.cut(0, 60_000, t_s=10.0)
    assert got.slow_path_shed_s == 4.0
    assert got.presence_s == {"person": 6.0}
    assert got.zones["room"]["person"].occupancy_s == 6.0


def test_a_gap_while_shedding_is_a_gap() -> None:
    """Neither an interruption nor a long silence is stated as shed."""
    counts = counting()
    counts.shed(0.0)
    counts.interrupt()
    counts.shed(5.0)
    counts.shed(5.0 + 2 * HOLD_S)
    counts.shed(6.0 + 2 * HOLD_S)
    assert counts.cut(0, 60_000).slow_path_shed_s == 1.0


def test_nothing_is_held_over_a_gap_or_a_long_silence() -> None:
    """Who was there before a gap was not there during it, as far as anybody knows."""
    counts = counting()
    counts.add_tracks(standing((5, 5)), 0.0, SIZE)
    counts.interrupt()
    counts.add_tracks(standing((5, 5)), 5.0, SIZE)
    counts.add_tracks(standing((5, 5)), 5.0 + HOLD_S + 0.1, SIZE)
    assert counts.cut(0, 60_000).presence_s == {}


def test_remainders_of_the_heatmap_are_carried_over() -> None:
    """Ten slices of 0.05 s are half a second, not nothing."""
    counts = counting()
    total = 0
    for n in range(11):
        counts.add_tracks(standing((5, 5)), n * 0.05, SIZE)
        heatmap = counts.cut(n * 50, n * 50 + 50).heatmap
        assert heatmap is not None
        total += sum(heatmap.deciseconds)
    assert total == 5


def test_happenings_become_counts() -> None:
    """Crossings, entries, exits and dwell; a lost visit has dwell but nobody left."""
    counts = counting()
    counts.add_happenings(
        [
            happening(EventKind.LINE_CROSSED, "forward"),
            happening(EventKind.LINE_CROSSED, "forward"),
            happening(EventKind.LINE_CROSSED, "backward"),
            happening(EventKind.ZONE_ENTERED),
            happening(EventKind.ZONE_LEFT, dwell_s=4.0),
            happening(EventKind.ZONE_LEFT, "lost", dwell_s=8.0),
            happening(EventKind.DWELL, dwell_s=5.0),
            happening(EventKind.PRESENCE),
        ]
    )
    got = counts.cut(0, 60_000)
    assert got.lines == {"gate": {"person": LineCounts(forward=2, backward=1)}}
    zone = got.zones["gate"]["person"]
    assert (zone.entered, zone.left) == (1, 1)
    assert zone.dwell_s is not None
    dwell = ExpHistogram.from_wire(zone.dwell_s)
    assert (dwell.count, dwell.sum) == (2, 12.0)


def test_detections_are_binned_per_class() -> None:
    """50 bins of confidence, 32 of entropy; a NaN is left out, not binned."""
    counts = counting()
    counts.add_detections(
        Detections(
            np.zeros((3, 4), np.float32),
            np.array([0.99, 0.5, 1.0], np.float32),
            np.array([0, 0, 1], np.int32),
            np.array([0.0, np.nan, 1.0], np.float32),
        )
    )
    got = counts.cut(0, 60_000)
    assert got.detections == {"person": 2, "dog": 1}
    assert (len(got.confidence["person"].counts), sum(got.confidence["person"].counts)) == (50, 2)
    assert (len(got.entropy["person"].counts), sum(got.entropy["person"].counts)) == (32, 1)
    assert got.confidence["dog"].counts[-1] == 1


def test_frames_that_do_not_add_up_are_refused() -> None:
    """The invariant is held here too."""
    counts = counting()
    counts.add_frame_accounting(Frames(captured=3, analysed=1, gated=1, dropped={Drop.STALE: 1}))
    with pytest.raises(ValueError, match="add up"):
        counts.add_frame_accounting(Frames(captured=2, analysed=1))
    assert counts.cut(0, 1000).frames.captured == 3


def test_stages_quality_shed_and_spans_are_passed_on() -> None:
    """And are gone after the cut."""
    counts = counting()
    counts.add_stage_ms("inference", 70.0)
    bins = LinearBins(20)
    bins.add(0.5)
    counts.add_quality("sharpness", bins)
    counts.shed(100.0)
    counts.shed(101.5)
    counts.add_spans([Span(start_ms=0, end_ms=500)])
    counts.add_frame_accounting(Frames(captured=2, analysed=2))
    got = counts.cut(
        0,
        1000,
        spans=[Span(start_ms=500, end_ms=1000)],
        frames=Frames(captured=1, gated=1),
        model="m@1",
    )
    assert (got.frames.captured, got.model) == (3, "m@1")
    assert ExpHistogram.from_wire(got.stage_ms["inference"]).count == 1
    assert sum(got.quality["sharpness"].counts) == 1
    assert got.slow_path_shed_s == 1.5
    assert got.spans == [Span(start_ms=0, end_ms=1000)]
    again = counts.cut(1000, 2000)
    assert (again.stage_ms, again.quality, again.spans, again.slow_path_shed_s) == ({}, {}, [], 0.0)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 4), (59_999, 60_001), (0, 60_001)])
def test_a_slice_never_crosses_a_minutes_edge(start: int, end: int) -> None:
    """Nor is it empty."""
    with pytest.raises(ValueError, match="within one minute"):
        counting().cut(start, end)


@given(st.integers(0, 10**13), st.integers(0, 600_000))
def test_minute_slices_tile_the_time(start: int, length: int) -> None:
    """No hole, no overlap, none across an edge."""
    slices = list(minute_slices(start, start + length))
    assert sum(b - a for a, b in slices) == length
    assert all(a // 60_000 == (b - 1) // 60_000 for a, b in slices)
    assert all(x[1] == y[0] for x, y in itertools.pairwise(slices))


few = st.integers(0, 50)
names = st.sampled_from(["a", "b"])
seconds = st.floats(0.0, 1e5)


def of(values: st.SearchStrategy) -> st.SearchStrategy:
    """Return a strategy for small maps by name."""
    return st.dictionaries(names, values, max_size=2)


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    """Return a sketch as it comes over the wire."""
    sketch = ExpHistogram()
    sketch.add_many(draw(st.lists(st.floats(0.0, 1e4), max_size=5)))
    return sketch.to_wire()


def bins(n: int) -> st.SearchStrategy[Bins]:
    """Return bins of one size."""
    return st.builds(Bins, counts=st.lists(few, min_size=n, max_size=n))


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    """Return spans that may touch, overlap or repeat."""
    span = st.builds(
        lambda start, length, cause: Span(start_ms=start, end_ms=start + length, cause=cause),
        st.integers(0, 20),
        st.integers(1, 10),
        st.sampled_from([None, Cause.CAMERA_DOWN]),
    )
    return draw(st.lists(span, max_size=3))


@st.composite
def frames(draw: st.DrawFn) -> Frames:
    """Return frames that add up."""
    analysed, gated = draw(few), draw(few)
    dropped = draw(st.dictionaries(st.sampled_from(list(Drop)), few, max_size=2))
    captured = analysed + gated + sum(dropped.values())
    return Frames(captured=captured, analysed=analysed, gated=gated, dropped=dropped)


zone_counts = st.builds(
    ZoneCounts,
    entered=few,
    left=few,
    occupancy_s=seconds,
    occupancy_max=few,
    dwell_s=st.none() | histograms(),
)
heatmaps = st.builds(
    Heatmap,
    rows=st.just(2),
    columns=st.just(2),
    deciseconds=st.lists(few, min_size=4, max_size=4),
)
aggregates = st.builds(
    Aggregate,
    camera=st.just("door"),
    start_ms=few,
    end_ms=few,
    spans=spans(),
    frames=frames(),
    model=st.sampled_from(["", "m@1", "m@2"]),
    zones=of(of(zone_counts)),
    lines=of(of(st.builds(LineCounts, forward=few, backward=few))),
    presence_s=of(seconds),
    heatmap=st.none() | heatmaps,
    stage_ms=of(histograms()),
    confidence=of(bins(5)),
    entropy=of(bins(3)),
    detections=of(few),
    quality=of(bins(2)),
    slow_path_shed_s=seconds,
    class_s=of(seconds),
    scores=of(bins(4)),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(aggregates, aggregates, aggregates)
def test_merge_is_associative_and_commutative(a: Aggregate, b: Aggregate, c: Aggregate) -> None:
    """Every field of the message, exactly; frames still add up."""
    whole = merge(merge(a, b), c)
    assert whole == merge(a, merge(b, c))
    assert whole == merge(merge(c, b), a)
    got = whole.frames
    assert got.captured == got.analysed + got.gated + sum(got.dropped.values())


def test_other_cameras_do_not_merge() -> None:
    """Adding what cannot be added is refused, not guessed."""
    one = counting().cut(0, 1000)
    other = Aggregator("yard", LABELS).cut(0, 1000)
    with pytest.raises(ValueError, match="cameras"):
        merge(one, other)


def test_grids_and_bins_of_another_version_keep_the_fuller_one_in_any_order() -> None:
    """They do not add up, and nothing may depend on which came first."""
    old = Aggregate(
        camera="door",
        start_ms=0,
        end_ms=1,
        heatmap=Heatmap(rows=1, columns=2, deciseconds=[3, 0]),
        confidence={"person": Bins(counts=[1, 1])},
    )
    new = Aggregate(
        camera="door",
        start_ms=1,
        end_ms=2,
        heatmap=Heatmap(rows=2, columns=1, deciseconds=[4, 1]),
        confidence={"person": Bins(counts=[0, 0, 1])},
    )
    both = merge(old, new)
    assert both == merge(new, old)
    assert both.heatmap == new.heatmap
    assert both.confidence == old.confidence


def test_the_fullest_minute_fits_the_stream_table() -> None:
    """80 classes, 16 zones and 16 lines with four classes each, a crowd: under the limit."""
    labels = tuple(f"a-long-class-name-{n}" for n in range(80))
    counts = Aggregator("door", labels)
    dice = np.random.default_rng(8)
    for _ in range(60):
        n = 400
        counts.add_detections(
            Detections(
                np.zeros((n, 4), np.float32),
                dice.random(n, np.float32),
                dice.integers(0, 80, n, np.int32),
                dice.random(n, np.float32),
            )
        )
    zones = [f"a-zone-with-a-long-name-{n}" for n in range(16)]
    occupied = {(zone, label): 20 for zone in zones for label in labels[:4]}
    for n in range(600):
        feet = dice.random((200, 2)) * (1920, 1080)
        counts.add_tracks(standing(*map(tuple, feet)), n * 0.1, (1920, 1080))
        counts.add_occupancy(occupied, n * 0.1)
        for stage in ("capture", "preprocess", "inference", "postprocess", "dispatch", "total"):
            counts.add_stage_ms(stage, float(dice.lognormal(3.0, 2.0)))
    for zone, label in occupied:
        for direction in ("forward", "lost"):
            for kind in (EventKind.ZONE_ENTERED, EventKind.ZONE_LEFT, EventKind.LINE_CROSSED):
                seen = happening(kind, direction, float(dice.lognormal(3.0, 2.0)))
                counts.add_happenings(
                    [
                        Happening(
                            kind=seen.kind,
                            where=zone,
                            direction=direction,
                            class_id=0,
                            label=label,
                            track=1,
                            t_s=0.0,
                            dwell_s=seen.dwell_s,
                            box=seen.box,
                        )
                    ]
                )
    counts.add_spans(
        Span(start_ms=n * 1000, end_ms=n * 1000 + 1000, rate_fps=float(n), detail="x" * 40)
        for n in range(60)
    )
    size = len(codec.encode(counts.cut(0, 60_000, model="m@" + "0" * 64, t_s=60.0)))
    assert 10_000 < size < stream("aggregate.v1").max_bytes
