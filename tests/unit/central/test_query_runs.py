"""Runs of coverage: splitting, joining and summing lose nothing."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.coverage import summarise
from vedette.central.query import packing, runs
from vedette.central.rollups import DAY_MS, HOUR_MS
from vedette.central.views import Segment

DAY = 20_000 * DAY_MS


def _tiled(cuts: list[int], kinds: list[str | None]) -> list[Segment]:
    edges = sorted({0, DAY_MS, *cuts})
    made = [
        Segment(start_ms=DAY + a, end_ms=DAY + b, cause=kinds[at % len(kinds)])
        for at, (a, b) in enumerate(pairwise(edges))
    ]
    return runs.join(made)


_segments = st.builds(
    _tiled,
    st.lists(st.integers(0, DAY_MS), max_size=12),
    st.lists(st.sampled_from([None, "CAMERA_DOWN", "TAMPERED"]), min_size=1, max_size=5),
)
_windows = st.tuples(st.integers(0, DAY_MS - 1), st.integers(1, DAY_MS)).map(
    lambda w: (DAY + w[0], DAY + min(DAY_MS, w[0] + w[1]))
)


@given(_segments)
def test_runs_come_back_as_they_were(segments: list[Segment]) -> None:
    """Encoding forgets nothing but rates."""
    assert runs.decode(runs.encode(segments, DAY), DAY) == segments


@given(_segments, _segments, _windows)
def test_a_splice_is_the_new_inside_and_the_old_outside(
    old: list[Segment], new: list[Segment], window: tuple[int, int]
) -> None:
    """Inside the window the new holds, outside the old, and neighbours of a kind are one."""
    from_ms, to_ms = window
    spliced = runs.splice(old, new, from_ms, to_ms)
    assert runs.clip(spliced, from_ms, to_ms) == runs.clip(new, from_ms, to_ms)
    assert runs.clip(spliced, DAY, from_ms) == runs.clip(old, DAY, from_ms)
    assert runs.clip(spliced, to_ms, DAY + DAY_MS) == runs.clip(old, to_ms, DAY + DAY_MS)
    assert runs.join(spliced) == spliced


@given(_segments)
def test_sums_by_hour_add_up_to_the_summary(segments: list[Segment]) -> None:
    """What each hour lost and saw is what the day lost and saw, and no hour is too long."""
    sums = runs.spread(segments, DAY, HOUR_MS, 24)
    told = summarise(segments)
    observed = sums.pop(runs.OBSERVED, None)
    assert (0.0 if observed is None else observed.sum()) == round(told.observed_s * 1000)
    assert {
        name.removeprefix("coverage."): h.sum() / 1000 for name, h in sums.items()
    } == told.causes
    every = list(sums.values()) + ([] if observed is None else [observed])
    assert (sum(every) == HOUR_MS).all()


@given(
    st.dictionaries(
        st.tuples(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5)),
        st.lists(st.floats(0, 1e12) | st.integers(0, 2**40).map(float), min_size=24, max_size=24)
        | st.lists(st.integers(0, 70_000).map(float), min_size=24, max_size=24),
        min_size=1,
        max_size=5,
    )
)
def test_a_day_of_series_comes_back_as_it_was(series: dict) -> None:
    """Names of any kind, control characters too, and every hour."""
    keys, hours = packing.encode({key: np.array(value) for key, value in series.items()})
    names, matrix = packing.decode(keys, hours + hours)
    assert names == sorted(series)
    assert matrix.shape == (2, len(series), 24)
    for at, name in enumerate(names):
        assert matrix[1, at].tolist() == series[name]
