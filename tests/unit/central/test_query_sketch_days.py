"""Sketches of whole devices in rows: adding rows up is adding what they were made of."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.central.query import sketch_days, totals
from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.wire.messages import Histogram

_values = st.lists(st.floats(0, 2.0**41, allow_nan=False), max_size=8)


def _histogram(values: list[float], scale: int) -> Histogram:
    sketch = ExpHistogram(scale)
    sketch.add_many(values)
    return sketch.to_wire()


def _rows(days: list[list[tuple[list[float], int]]]) -> list[sketch_days.Laid]:
    rows: list[sketch_days.Laid] = []
    for day in days:
        added: sketch_days.Added = {}
        for values, scale in day:
            sketch_days.put(added, "person", "m@1", _histogram(values, scale))
        rows.append(sketch_days.pack("zones", "till", added))
    return rows


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(_values, st.sampled_from([0, 5, 6, 8])), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_rows_laid_end_to_end_are_the_sum_of_what_was_put_into_them(
    days: list[list[tuple[list[float], int]]],
) -> None:
    """Counts, sum and quantiles: as merging every histogram, whatever the grids."""
    rows = _rows(days)
    by_keys: dict[str, list[sketch_days.Laid]] = {}
    for row in rows:
        by_keys.setdefault(row.keys, []).append(row)
    found: list[Histogram] = []
    for keys, listed in by_keys.items():
        joined = (
            b"".join(getattr(row, part) for row in listed) for part in ("bins", "counts", "sums")
        )
        for (label, model, _), sketch in sketch_days.unpack(keys, *joined):
            assert (label, model) == ("person", "m@1")
            assert isinstance(sketch, Histogram)
            found.append(sketch)
    told = totals.sketch_of(found)
    wanted = totals.sketch_of([_histogram(values, scale) for day in days for values, scale in day])
    assert told.count == wanted.count
    coarse = ExpHistogram(min(told.scale, wanted.scale))
    coarse.merge(wanted)
    assert told.to_wire().counts == coarse.to_wire().counts
    assert told.sum == pytest.approx(wanted.sum, rel=1e-12)


def test_bins_of_unlike_number_stay_apart_and_models_too() -> None:
    """A change of version or of grid is no sum of both."""
    bins = LinearBins(50)
    bins.add_many([0.1, 0.9])
    few = LinearBins(10)
    few.add_many([0.5])
    added: sketch_days.Added = {}
    for model, some in (("a", bins), ("b", bins), ("a", few), ("a", bins)):
        sketch_days.put(added, "person", model, some.to_wire())
    row = sketch_days.pack("confidence", "", added)
    found = dict(sketch_days.unpack(row.keys, row.bins, row.counts, row.sums))
    assert {key: sum(sketch.counts) for key, sketch in found.items()} == {
        ("person", "a", "b10"): 1,
        ("person", "a", "b50"): 4,
        ("person", "b", "b50"): 2,
    }
