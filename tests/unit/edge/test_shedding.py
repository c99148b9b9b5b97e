"""When the slow path is shed: lasting lateness begins it, lasting ease ends it."""

from hypothesis import given
from hypothesis import strategies as st

from vedette.edge.shedding import EASY_S, LATE_LOOKS, Shedding

BUDGET_MS = 500.0


def looks(over: Shedding, *ages_ms: float, start_s: float = 0.0) -> list[bool]:
    """Return the decision for pictures of these ages, five a second."""
    return [over.look(age_ms, start_s + n * 0.2) for n, age_ms in enumerate(ages_ms)]


def test_late_pictures_in_a_row_shed_and_single_ones_do_not() -> None:
    """The third of three; never two and then one in time."""
    assert looks(Shedding(BUDGET_MS), 450, 450, 450, 450) == [False, False, True, True]
    assert not any(looks(Shedding(BUDGET_MS), *[450, 450, 100] * 20))


def test_it_ends_after_two_seconds_in_time() -> None:
    """Not at the first fast picture, and any slow one starts the wait anew."""
    over = Shedding(BUDGET_MS)
    looks(over, 450, 450, 450)
    assert looks(over, *[100.0] * 9, 300.0, start_s=1.0) == [True] * 10
    assert looks(over, *[100.0] * 12, start_s=5.0) == [True] * 10 + [False] * 2


def test_between_late_and_easy_nothing_changes() -> None:
    """Sixty to seventy per cent of the budget neither begins nor ends it."""
    over = Shedding(BUDGET_MS)
    assert not any(looks(over, *[320.0] * 50))
    looks(over, 450, 450, 450, start_s=20.0)
    assert all(looks(over, *[320.0] * 50, start_s=21.0))


def test_pictures_that_were_overtaken_are_late_whatever_the_age_of_the_newer_one() -> None:
    """The newest always wins the slot, so under load it is young and others are dropped."""
    over = Shedding(BUDGET_MS)
    assert [over.look(90, n * 0.4, overtaken=True) for n in range(4)] == [False, False, True, True]


def test_a_file_is_never_late() -> None:
    """Without a budget nothing is shed, however old the pictures are."""
    assert not any(looks(Shedding(None), *[1e6] * 20))


def test_a_gap_begins_anew() -> None:
    """What was late before it says nothing about now."""
    over = Shedding(BUDGET_MS)
    looks(over, 450, 450, 450)
    over.interrupt()
    assert looks(over, 100, start_s=9.0) == [False]


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=100))
def test_every_change_has_its_reason(ages_ms: list[float]) -> None:
    """On only after late looks in a row, off only after pictures that were all in time."""
    said = [False, *looks(Shedding(BUDGET_MS), *ages_ms)]
    for n, age_ms in enumerate(ages_ms):
        if said[n + 1] and not said[n]:
            assert all(a > 0.8 * BUDGET_MS for a in ages_ms[n + 1 - LATE_LOOKS : n + 1])
        if said[n] and not said[n + 1]:
            before = round(EASY_S / 0.2)
            assert age_ms < 0.5 * BUDGET_MS
            assert all(a < 0.5 * BUDGET_MS for a in ages_ms[n + 1 - before : n + 1])
