"""The pure parts of ingest: lanes, dating, checks, merging."""

import math
import re
from functools import reduce
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.central import rollups
from vedette.central.ingest import checks
from vedette.central.ingest.dating import date
from vedette.central.ingest.lane import LaneState
from vedette.central.ledger import dark_spells
from vedette.central.store import arrays
from vedette.errors import MalformedReport
from vedette.stats.sketch import ExpHistogram
from vedette.stats.summing import MAX_LEFT_OUT
from vedette.wire import codec, limits
from vedette.wire.envelope import Batch, ClockState, Envelope
from vedette.wire.messages import (
    Aggregate,
    Bins,
    Drop,
    Frames,
    HealthReport,
    Heatmap,
    Histogram,
    LineCounts,
    LocallyDriven,
    Span,
    ZoneCounts,
)
from vedette.wire.streams import Lane

NOW = 1_772_438_400_000

# ------------------------------------------------------------------------------------ lanes


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8)), max_size=40))
def test_a_lane_is_the_set_of_what_was_added(ranges: list[tuple[int, int]]) -> None:
    """Ranges in any order and overlap mean exactly their union, in the fewest ranges."""
    lane, expected = LaneState(), set[int]()
    for low, more in ranges:
        lane.add(low, low + more)
        expected |= set(range(low, low + more + 1))
    assert {n for n in range(1, 80) if n in lane} == expected
    edges = [lane.acked_through, *lane.to_flat()]
    assert edges == sorted(edges)
    for (_, high), (low, _) in zip([(0, lane.acked_through), *lane.have], lane.have, strict=False):
        assert low > high + 1
    assert LaneState.from_flat(lane.acked_through, lane.to_flat()) == lane


# ----------------------------------------------------------------------------------- dating


def _date(state: ClockState, wall: int, mono: int, boot: str = "now") -> object:
    envelope = Envelope(
        epoch=1, boot_id=boot, lane=Lane.LIVE, seq=1, t_wall_ms=wall, t_mono_ms=mono,
        clock_state=state, schema="health.v1", body=msgspec.Raw(b"\x80"),
    )  # fmt: skip
    batch = Batch(device="d", boot_id="now", sent_mono_ms=100_000, sent_wall_ms=wall)
    return date(envelope, batch, NOW)


@given(st.integers(0, 2**53), st.integers(0, 200_000), st.sampled_from(list(ClockState)))
def test_nothing_is_dated_in_the_future(wall: int, mono: int, state: ClockState) -> None:
    """Whatever a clock says, a date is at most the tolerance ahead of us."""
    dating = _date(state, wall, mono)
    if dating.made_ms is not None:
        assert dating.made_ms <= NOW + limits.MAX_FUTURE_S * 1000
        assert dating.made_ms == wall + dating.shift_ms


def test_a_floor_clock_of_this_boot_is_dated_by_difference() -> None:
    """A clock that is only "not before the floor" is not believed."""
    dating = _date(ClockState.FLOOR, NOW - 10_000_000, 40_000)
    assert (dating.made_ms, dating.refusal) == (NOW - 60_000, "")


def test_another_boot_without_a_clock_has_no_date() -> None:
    """It was made before this boot; more cannot be said."""
    dating = _date(ClockState.UNTRUSTED, 5, 40_000, boot="before")
    assert (dating.made_ms, dating.latest_ms) == (None, NOW - 100_000)


def test_a_trusted_clock_dates_other_boots_too() -> None:
    """Backlog of an earlier boot keeps its times."""
    dating = _date(ClockState.TRUSTED, NOW - 86_400_000, 40_000, boot="before")
    assert (dating.made_ms, dating.shift_ms) == (NOW - 86_400_000, 0)


# ----------------------------------------------------------------------------------- checks


@pytest.mark.parametrize(
    "value",
    [
        Frames(captured=-1),
        Frames(dropped={Drop.STALE: -2}),
        Frames(captured=2**60),
        Bins(counts=[1, -1]),
        Bins(counts=[]),
        Histogram(counts=[1], sum=math.nan),
        Histogram(counts=[1], sum=-1.0),
        Histogram(counts=[-1], sum=0.0),
        Histogram(zero=-1),
        Histogram(counts=[1], offset=10**6),
        Histogram(scale=40),
        Heatmap(rows=2, columns=2, deciseconds=[1]),
        Heatmap(rows=1, columns=1, deciseconds=[-1]),
        ZoneCounts(occupancy_s=math.inf),
        Span(start_ms=-5, end_ms=1),
        Span(start_ms=0, end_ms=1, detail="\0"),
        Span(start_ms=0, end_ms=1, detail="x" * 10_000),
        Aggregate(camera="c", start_ms=0, end_ms=1, presence_s={"a\nb": 1.0}),
        Aggregate(camera="c", start_ms=0, end_ms=1, presence_s={"x" * 200: 1.0}),
        Aggregate(camera="c", start_ms=0, end_ms=1, stage_ms={"a": Histogram(counts=[-1])}),
    ],
    ids=repr,
)
def test_impossible_values_are_found(value: msgspec.Struct) -> None:
    """They are refused while they are decoded, or by the checks that follow."""
    try:
        found = checks.problem(codec.decode(codec.encode(value), type(value)))
    except MalformedReport as error:
        found = str(error)
    assert found


def test_numbers_of_every_message_are_bounded_by_their_types() -> None:
    """A field that is a bare int or float would be checked by nobody: it is found at import."""

    class Unbounded(msgspec.Struct):
        share: float

    with pytest.raises(TypeError, match="Count or Finite"):
        checks.problem(Unbounded(share=math.nan))


def test_a_real_aggregate_has_no_problem() -> None:
    """What our own device makes passes, with text in any language."""
    sketch = ExpHistogram()
    sketch.add_many([0.0, 1e-7, 3.5, 900.0, 1e13])
    found = Aggregate(
        camera="tür-1",
        start_ms=0,
        end_ms=60_000,
        spans=[Span(start_ms=0, end_ms=60_000, rate_fps=4.9, detail="Eingang, 入口\nzwei")],
        frames=Frames(captured=3, analysed=2, dropped={Drop.STALE: 1}),
        stage_ms={"total": sketch.to_wire()},
        confidence={"person": Bins(counts=[0] * 50)},
        heatmap=Heatmap(rows=1, columns=2, deciseconds=[0, 4]),
    )
    assert checks.problem(found) is None


@given(st.lists(st.floats(0, 2.0**45), max_size=30), st.integers(0, 8))
def test_every_sketch_that_we_make_passes(values: list[float], scale: int) -> None:
    """The quick check refuses nothing that `stats.sketch` can make."""
    sketch = ExpHistogram(scale)
    sketch.add_many(values)
    assert checks.problem(sketch.to_wire()) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"class_s": {"open": -1.0}},
        {"presence_s": {"person": 1e306}},
        {"slow_path_shed_s": 1e306},
        {"zones": {"hall": {"person": ZoneCounts(occupancy_s=-2.0)}}},
        {"left_out": [f"thing {n}" for n in range(100)]},
    ],
    ids=str,
)
def test_an_aggregate_of_impossible_seconds_or_endless_lists_is_refused(
    fields: dict[str, Any],
) -> None:
    """Such numbers are finite, but make sums overflow or go below zero; texts would pile up."""
    made = Aggregate(camera="door", start_ms=60_000, end_ms=120_000, **fields)
    assert checks.meaning(made, 120_000) is not None


def test_a_device_has_not_endlessly_many_local_channels() -> None:
    """What it says of them stands on a page; a few are fine."""
    told = LocallyDriven(rule="r", channel="c", at_ms=1)
    few = HealthReport(at_ms=1, period_s=30.0, version="1", locally_driven=[told] * 50)
    assert checks.meaning(few, 1) is None
    assert checks.meaning(msgspec.structs.replace(few, locally_driven=[told] * 999), 1) is not None


def test_what_is_left_out_stays_few_however_it_is_merged() -> None:
    """Other names in every minute: their sum is bounded, in any grouping the same."""
    parts = [
        Aggregate(camera="c", start_ms=n, end_ms=n + 1, left_out=[f"{n}-{k}" for k in range(9)])
        for n in range(20)
    ]
    whole = rollups.merge_all(parts)
    assert whole is not None
    assert len(whole.left_out) == MAX_LEFT_OUT
    assert whole == rollups.merge_all(reversed(parts))


# ---------------------------------------------------------------------------------- merging

_histograms = st.lists(st.floats(0.001, 1e6), max_size=8).map(
    lambda values: _sketch(values).to_wire()
)


def _sketch(values: list[float]) -> ExpHistogram:
    sketch = ExpHistogram()
    sketch.add_many(values)
    return sketch


_counts = st.integers(0, 1000)
_names = st.sampled_from(["a", "b"])
_aggregates = st.builds(
    lambda at, frames, zone, line, histogram, bins, heat: Aggregate(
        camera="door",
        start_ms=at * 60_000,
        end_ms=at * 60_000 + 60_000,
        frames=Frames(captured=frames, analysed=frames, dropped={Drop.STALE: frames}),
        zones=zone,
        lines=line,
        stage_ms=histogram,
        confidence={"person": Bins(counts=bins)},
        heatmap=Heatmap(rows=1, columns=2, deciseconds=heat) if heat else None,
    ),
    st.integers(0, 100),
    _counts,
    st.dictionaries(
        _names,
        st.dictionaries(
            _names, st.builds(ZoneCounts, entered=_counts, left=_counts, dwell_s=_histograms)
        ),
        max_size=2,
    ),
    st.dictionaries(_names, st.dictionaries(_names, st.builds(LineCounts, forward=_counts))),
    st.dictionaries(_names, _histograms),
    st.lists(_counts, min_size=3, max_size=3),
    st.one_of(st.none(), st.lists(_counts, min_size=2, max_size=2)),
)


@given(st.lists(_aggregates, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_merging_does_not_depend_on_order_or_grouping(parts: list[Aggregate], order) -> None:
    """Minutes to an hour in any order, or pairwise first, give the same hour."""
    forward = reduce(rollups.merge, parts)
    shuffled = list(parts)
    order.shuffle(shuffled)
    backward = reduce(lambda total, part: rollups.merge(part, total), shuffled)
    assert forward == backward
    assert forward.frames.captured == sum(part.frames.captured for part in parts)
    assert rollups.decode(rollups.encode(forward)) == forward


def test_what_is_merged_is_decoded_and_moved_without_spans() -> None:
    """Coverage lives in claims, never in a rollup."""
    part = Aggregate(camera="c", start_ms=5, end_ms=9, spans=[Span(start_ms=5, end_ms=9)])
    assert rollups.strip(part, 100) == Aggregate(camera="c", start_ms=105, end_ms=109)


# -------------------------------------------------------------------------------- liveness


def test_spells_of_silence_are_paired() -> None:
    """A window that begins inside a spell, one that ends inside, and repeated words."""
    assert dark_spells([(1, "ok"), (5, "dark"), (9, "ok")]) == [(5, 9)]
    assert dark_spells([(5, "dark"), (6, "dark"), (9, "ok"), (20, "dark")]) == [(5, 9), (20, None)]
    assert dark_spells([(5, "dark"), (5, "ok")]) == []


# ------------------------------------------------------------------------------------ arrays


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_texts_as_an_array_are_quoted(values: list[str]) -> None:
    """Quotes, backslashes, commas, braces, NULL and nothing at all stay what they are."""
    literal = arrays.column(values)
    assert (literal[0], literal[-1]) == ("{", "}")
    unquoted = re.findall(r'"((?:[^"\\]|\\.)*)"', literal, re.DOTALL)
    assert [re.sub(r"\\(.)", r"\1", one, flags=re.DOTALL) for one in unquoted] == values


def test_columns_are_arrays_of_their_kind() -> None:
    """Texts and whole numbers each get the array that their cast expects; no row is no element."""
    assert arrays.columns([("a", 1), ("b", 2)], "names", "numbers") == {
        "names": '{"a","b"}',
        "numbers": "{1,2}",
    }
    assert arrays.columns([], "names") == {"names": "{}"}
    assert arrays.column([1, None]) == "{1,NULL}"


def test_sums_that_cannot_be_read_again_are_refused() -> None:
    """Each of them may be said; together they are more than a count can be."""
    part = Aggregate(camera="c", start_ms=0, end_ms=1, frames=Frames(captured=2**53))
    assert rollups.decode(rollups.add_up([part])) == part
    with pytest.raises(MalformedReport):
        rollups.add_up([part, part])
