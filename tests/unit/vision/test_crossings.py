"""Crossings: what is left of the steps through a line, once it stood for long enough."""

from hypothesis import given
from hypothesis import strategies as st

from vedette.vision.crossings import Crosser, Crossing

BOX = (0.0, 0.0, 1.0, 1.0)


def look(over: Crosser, t_s: float, *, is_clear: bool = True) -> Crossing | None:
    """Return what a look at `t_s` tells."""
    return over.look(t_s, BOX, 0.9, is_clear=is_clear)


def test_without_a_confirmation_it_is_told_when_clear() -> None:
    """On the line nothing, clear of it at once, and only once."""
    over = Crosser(0.0)
    over.step(1)
    assert look(over, 0.0, is_clear=False) is None
    assert look(over, 0.2) == Crossing(1, 0.2, BOX, 0.9)
    assert look(over, 0.4) is None
    assert over.is_idle


def test_a_crossing_counts_once_the_far_side_was_kept_and_is_dated_when_it_was_made() -> None:
    """Told two seconds later, with the time of the crossing."""
    over = Crosser(2.0)
    over.step(-1)
    assert [look(over, t_s) for t_s in (1.0, 2.0, 2.9)] == [None] * 3
    assert look(over, 3.0) == Crossing(-1, 1.0, BOX, 0.9)


def test_coming_back_in_time_cancels() -> None:
    """Over the line and back within the confirmation: nobody crossed, however long it takes."""
    over = Crosser(2.0)
    over.step(1)
    assert look(over, 0.0) is None
    over.step(-1)
    assert over.is_idle
    assert look(over, 60.0) is None


def test_stepping_into_the_margin_again_does_not_start_the_wait_anew() -> None:
    """Still on the far side: only a step through the line ends keeping it."""
    over = Crosser(1.0)
    over.step(1)
    look(over, 0.0)
    assert look(over, 1.0, is_clear=False) is not None


@given(st.lists(st.sampled_from([-1, 0, 0, 1]), max_size=60), st.sampled_from([0.0, 0.5, 1.0]))
def test_what_is_told_and_what_waits_is_the_sum_of_all_steps(
    steps: list[int], confirm_s: float
) -> None:
    """Nothing is lost or doubled, whatever the order of steps and looks."""
    over, told = Crosser(confirm_s), 0
    for n, step in enumerate(steps):
        over.step(step)
        crossed = look(over, n * 0.2)
        told += crossed.net if crossed else 0
    last = look(over, 1000.0)
    late = look(over, 2000.0)
    told += sum(one.net for one in (last, late) if one)
    assert told == sum(steps)
