"""Stays that add up to loitering, and movement in a watched direction."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.vision.visits import Heading, Loitering, between_deg, direction_deg
from vedette.wire.limits import LOITER_WINDOW_S


def test_one_long_stay_is_loitering_once() -> None:
    """Told when the limit is reached, and not again while it goes on."""
    stays = Loitering(30.0)
    told = [t_s for t_s in range(700) if stays.look(0.0, float(t_s)) is not None]
    assert told == [30]


def test_short_stays_add_up() -> None:
    """Three stays of twelve seconds, with minutes between them."""
    stays = Loitering(30.0)
    for start_s in (0.0, 100.0):
        assert stays.look(start_s, start_s + 12.0) is None
        stays.leave(start_s, start_s + 12.0)
    assert stays.look(200.0, 205.9) is None
    assert stays.look(200.0, 206.0) == pytest.approx(30.0)


def test_stays_older_than_the_window_are_forgotten() -> None:
    """Ten minutes later a stay counts nothing, half out of the window half."""
    stays = Loitering(30.0)
    stays.leave(0.0, 20.0)
    assert stays.total_s(None, LOITER_WINDOW_S + 10.0) == pytest.approx(10.0)
    assert stays.total_s(None, LOITER_WINDOW_S + 21.0) == 0.0


def test_it_is_told_again_only_after_a_real_absence() -> None:
    """An oldest stay that slips out of the window is no new loitering; ten minutes away are."""
    stays = Loitering(30.0)
    assert stays.look(0.0, 30.0) == 30.0
    stays.leave(0.0, 30.0)
    assert stays.look(609.0, 620.0) is None  # 10 s of the old stay and 11 s: below the limit
    stays.leave(609.0, 620.0)
    assert stays.look(640.0, 661.0) is None  # the limit again, but never below half of it
    stays.leave(640.0, 661.0)
    assert stays.look(2000.0, 2001.0) is None
    assert stays.look(2000.0, 2030.0) == 30.0


@given(
    st.lists(st.tuples(st.floats(0.1, 50.0), st.floats(0.1, 100.0)), max_size=40),
    st.floats(0.0, 900.0),
)
def test_the_sum_is_the_overlap_with_the_window(
    parts: list[tuple[float, float]], later_s: float
) -> None:
    """Against counting every stay by itself."""
    stays, all_stays, t_s = Loitering(60.0), [], 0.0
    for away_s, inside_s in parts:
        t_s += away_s
        all_stays.append((t_s, t_s + inside_s))
        stays.leave(t_s, t_s + inside_s)
        t_s += inside_s
    now_s = t_s + later_s
    begin_s = now_s - LOITER_WINDOW_S
    expected = sum(max(0.0, end_s - max(start_s, begin_s)) for start_s, end_s in all_stays)
    assert stays.total_s(None, now_s) == pytest.approx(expected)


def walk(over: Heading, degrees: float, steps: int = 10, step_px: float = 10.0) -> list[float]:
    """Return the directions told to somebody of 100 px who walks straight on."""
    way = math.radians(degrees)
    told = [
        over.look((500 + n * step_px * math.cos(way), 500 + n * step_px * math.sin(way)), 100.0)
        for n in range(steps)
    ]
    return [one for one in told if one is not None]


@pytest.mark.parametrize(("degrees", "fits"), [(90, True), (50, True), (130, True), (40, False)])
def test_the_watched_way_is_told_once_within_its_tolerance(degrees: float, fits: bool) -> None:
    """Down ± 45 degrees; the direction told is the one walked."""
    told = walk(Heading(90.0, 45.0), degrees)
    assert told == ([pytest.approx(degrees)] if fits else [])


def test_directions_wrap_around() -> None:
    """350 degrees are within 45 of 10; -80 is 280."""
    assert len(walk(Heading(10.0, 45.0), 350.0)) == 1
    assert len(walk(Heading(-80.0, 20.0), 280.0)) == 1


def test_jitter_goes_nowhere() -> None:
    """A thousand wobbles of a tenth of the height are no movement."""
    over = Heading(0.0, 180.0)
    wobbles = [(500.0 + 10 * (-1) ** n, 500.0 + 5 * (-1) ** (n // 2)) for n in range(1000)]
    assert [one for place in wobbles if (one := over.look(place, 100.0)) is not None] == []


def test_who_looks_around_first_and_then_goes_is_seen_going() -> None:
    """The way counts from any place of the visit, not only from its first."""
    over = Heading(90.0, 20.0)
    assert walk(over, 180.0) == []
    assert len(walk(over, 90.0)) == 1


@given(st.floats(-1000, 1000), st.floats(-1000, 1000))
def test_the_angle_between_directions_is_symmetric_and_at_most_a_half_turn(
    a: float, b: float
) -> None:
    """Whichever comes first, and however often it went round."""
    assert 0.0 <= between_deg(a, b) <= 180.0
    assert between_deg(a, b) == pytest.approx(between_deg(b, a), abs=1e-6)


def test_directions_are_those_of_the_picture() -> None:
    """0 is right, 90 down."""
    assert direction_deg((0, 0), (5, 0)) == 0.0
    assert direction_deg((0, 0), (0, 5)) == 90.0
    assert direction_deg((0, 0), (0, -5)) == 270.0
