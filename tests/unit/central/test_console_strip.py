"""Coverage strips: proportional to time, nothing left out, no gap too short to be seen."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vedette.central.console import strip
from vedette.central.console.words import UNKNOWN
from vedette.central.views import Segment

DAY = 86_400_000


@st.composite
def ledgers(draw: st.DrawFn) -> list[Segment]:
    """Segments in order that neither overlap nor cover everything."""
    edges = sorted(draw(st.sets(st.integers(-DAY, 2 * DAY), min_size=2, max_size=12)))
    causes = st.sampled_from([None, "CAMERA_DOWN", "DEVICE_DARK", "AWAITING"])
    return [
        Segment(start_ms=a, end_ms=b, cause=draw(causes))
        for a, b in zip(edges[::2], edges[1::2], strict=False)
    ]


@given(ledgers())
def test_a_strip_covers_its_whole_window_once(segments: list[Segment]) -> None:
    """Whatever the ledger holds, the filled strip joins without hole or overlap."""
    out = strip.filled(segments, 0, DAY)
    assert out[0].start_ms == 0
    assert out[-1].end_ms == DAY
    assert all(a.end_ms == b.start_ms for a, b in pairwise(out))
    assert all(s.end_ms > s.start_ms for s in out)


@given(ledgers())
def test_what_was_not_spoken_of_is_no_data_and_not_observed(segments: list[Segment]) -> None:
    """Seconds that no segment covers appear as UNKNOWN, never as observed."""
    out = strip.filled(segments, 0, DAY)
    spoken = sum(max(0, min(s.end_ms, DAY) - max(s.start_ms, 0)) for s in segments)
    unknown = sum(s.end_ms - s.start_ms for s in out if s.cause == UNKNOWN)
    assert unknown == DAY - spoken


def test_an_empty_ledger_is_hatched_from_edge_to_edge() -> None:
    """No data at all is drawn, not left blank."""
    (piece,) = strip.pieces([], 0, DAY)
    assert piece.fill == "url(#p-unknown)"
    assert piece.x == 0
    assert piece.width >= 100


def test_a_gap_of_a_second_in_a_day_is_still_wide_enough_to_see() -> None:
    """A short gap is widened and painted after the observed time around it."""
    segments = [
        Segment(start_ms=0, end_ms=40_000_000),
        Segment(start_ms=40_000_000, end_ms=40_001_000, cause="CAMERA_DOWN"),
        Segment(start_ms=40_001_000, end_ms=DAY),
    ]
    pieces = strip.pieces(segments, 0, DAY)
    assert pieces[-1].css == "seg-CAMERA_DOWN"
    assert pieces[-1].width >= strip.MIN_GAP / 10


def test_widths_are_proportional_to_time() -> None:
    """A quarter of the time is a quarter of the strip."""
    pieces = strip.pieces([Segment(start_ms=0, end_ms=DAY // 4)], 0, DAY)
    assert abs(pieces[0].width - 25) < 0.1


def test_the_summary_names_every_cause_with_its_duration() -> None:
    """Those who do not see the strip get the same in words."""
    said = strip.summary([Segment(start_ms=0, end_ms=3_600_000, cause="TAMPERED")], 0, 7_200_000)
    assert "tampered 1 h" in said
    assert "no data 1 h" in said


def test_neighbours_that_say_the_same_are_one_rectangle() -> None:
    """Many reports of one spell do not make the page heavy."""
    parts = [Segment(start_ms=n * 1000, end_ms=(n + 1) * 1000) for n in range(500)]
    assert len(strip.pieces(parts, 0, 500_000)) == 1


@given(st.integers(0, 10**13), st.integers(60_000, 90 * DAY))
def test_ticks_lie_inside_the_axis_and_end_at_its_edge(start: int, span: int) -> None:
    """Any window has a readable axis."""
    found = strip.ticks(start, start + span)
    assert found[-1].x == 100
    assert all(0 <= tick.x <= 100 for tick in found)
