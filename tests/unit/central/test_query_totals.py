"""Adding up at once equals adding up one after another, whatever is in it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.central import rollups
from vedette.central.query import totals
from vedette.stats.sketch import ExpHistogram
from vedette.wire.messages import Aggregate, Bins, Drop, Frames, Heatmap, LineCounts, ZoneCounts

_names = st.sampled_from(["a", "b", "person"])
_seconds = st.floats(0, 4000, allow_nan=False).map(lambda s: round(s, 3))


@st.composite
def _histograms(draw: st.DrawFn):
    sketch = ExpHistogram(draw(st.sampled_from([5, 5, 5, 3])))
    sketch.add_many(draw(st.lists(st.floats(0, 1e6), max_size=5)))
    return sketch.to_wire()


_bins = st.integers(2, 3).flatmap(
    lambda n: st.lists(st.integers(0, 9), min_size=n, max_size=n).map(lambda c: Bins(counts=c))
)
_zones = st.builds(
    ZoneCounts,
    entered=st.integers(0, 9),
    visits=st.integers(0, 9),
    occupancy_s=_seconds,
    occupancy_max=st.integers(0, 9),
    dwell_s=st.none() | _histograms(),
    picked=st.integers(0, 3),
)
_aggregates = st.builds(
    Aggregate,
    camera=st.just("door"),
    start_ms=st.integers(0, 1000),
    end_ms=st.integers(1001, 2000),
    frames=st.builds(
        Frames,
        captured=st.integers(0, 99),
        analysed=st.integers(0, 99),
        dropped=st.dictionaries(st.sampled_from(list(Drop)), st.integers(0, 9), max_size=2),
    ),
    model=st.sampled_from(["", "m@1", "m@2", "m@1,m@2"]),
    zones=st.dictionaries(_names, st.dictionaries(_names, _zones, max_size=2), max_size=2),
    lines=st.dictionaries(
        _names,
        st.dictionaries(_names, st.builds(LineCounts, forward=st.integers(0, 9)), max_size=2),
        max_size=2,
    ),
    presence_s=st.dictionaries(_names, _seconds, max_size=2),
    heatmap=st.none()
    | st.builds(
        Heatmap,
        rows=st.just(1),
        columns=st.just(2),
        deciseconds=st.lists(st.integers(0, 9), min_size=2, max_size=2),
    ),
    stage_ms=st.dictionaries(_names, _histograms(), max_size=2),
    confidence=st.dictionaries(_names, _bins, max_size=2),
    scores=st.dictionaries(_names, _bins, max_size=1),
    detections=st.dictionaries(_names, st.integers(0, 9), max_size=2),
    slow_path_shed_s=_seconds,
    class_s=st.dictionaries(_names, _seconds, max_size=2),
    left_out=st.lists(_names, max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_aggregates, max_size=7))
def test_adding_at_once_is_adding_one_by_one(found: list[Aggregate]) -> None:
    """Sketches, grids, seconds and names, of even and uneven shapes: the very same aggregate."""
    assert totals.total(found) == rollups.merge_all(found)
