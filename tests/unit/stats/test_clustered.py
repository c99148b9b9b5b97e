"""Bounds over camera-days: against SciPy, over properties, and simulated where naive ones fail."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from scipy import stats as scipy_stats

from vedette.stats import beta
from vedette.stats.clustered import days_needed, difference, one_sided, share_of

days = st.lists(
    st.integers(1, 80).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    min_size=1,
    max_size=40,
)


@settings(max_examples=50)
@given(st.floats(0.05, 1e5), st.floats(0.05, 1e5), st.floats(0.001, 0.999))
def test_the_beta_functions_are_scipys(a: float, b: float, share: float) -> None:
    """The incomplete beta function and its inverse agree with another implementation."""
    x = float(scipy_stats.beta.ppf(share, a, b))
    if 1e-9 < x < 1 - 1e-9:
        assert beta.incomplete(a, b, x) == pytest.approx(special.betainc(a, b, x), abs=1e-8)
        assert beta.quantile(share, a, b) == pytest.approx(x, abs=1e-7)


@pytest.mark.parametrize("degrees", [1, 2, 4, 29, 1000])
def test_student_t_is_scipys(degrees: int) -> None:
    """At the confidence of one side that the gates use, and at a stricter one."""
    for confidence in (0.95, 0.999):
        wanted = scipy_stats.t.ppf(confidence, degrees)
        assert beta.student_t(confidence, degrees) == pytest.approx(wanted, rel=1e-6)


@settings(max_examples=30)
@given(st.integers(1, 300), st.data())
def test_whole_trials_give_the_plain_clopper_pearson_bounds(trials: int, data) -> None:
    """Each picture a camera-day of one object: the effective number is the real one."""
    successes = data.draw(st.integers(0, trials))
    found = share_of([(1, 1)] * successes + [(0, 1)] * (trials - successes))
    low, high = one_sided(successes, trials)
    exact = scipy_stats.beta.ppf(0.05, successes, trials - successes + 1) if successes else 0.0
    assert low == pytest.approx(exact, abs=1e-7)
    assert found is not None
    assert found.low <= low + 1e-9
    assert found.high >= high - 1e-9


@settings(max_examples=30)
@given(days)
def test_bounds_hold_the_value_and_clusters_only_widen_them(counts: list[tuple[int, int]]) -> None:
    """Between none and all of the trials, never narrower than trials that are independent."""
    found = share_of(counts)
    assert found is not None
    assert 0 <= found.low <= found.value + 1e-9
    assert found.value <= found.high + 1e-9 <= 1 + 1e-9
    assert 1 <= found.effective <= found.trials + 1e-9
    low, high = one_sided(found.successes, found.trials)
    assert found.low <= low + 1e-7
    assert found.high >= high - 1e-7


@settings(max_examples=30)
@given(days, st.integers(2, 5))
def test_as_many_days_again_only_narrow_them(counts: list[tuple[int, int]], times: int) -> None:
    """The same days several times over raise the lower bound."""
    once, more = share_of(counts), share_of(counts * times)
    assert once is not None
    assert more is not None
    assert more.low >= once.low - 1e-9


def test_nobody_wrong_on_few_days_is_not_sure() -> None:
    """1,500 objects without a mistake on 30 camera-days say no more than 30 days can."""
    found = share_of([(50, 50)] * 30)
    assert found is not None
    assert found.low == pytest.approx(0.05 ** (1 / 30), abs=1e-6)


@settings(max_examples=30)
@given(days, st.floats(0.5, 0.99))
def test_the_days_that_are_needed_are_enough(counts: list[tuple[int, int]], least: float) -> None:
    """With so many more camera-days like these the bound is there, where it can be at all."""
    needed = days_needed(counts, least)
    found = share_of(counts)
    assert found is not None
    if found.low >= least:
        assert needed == 0
    elif needed is None:
        assert found.value <= least or found.value < least + 1e-3
    elif needed <= 400 and needed % len(counts) == 0:
        more = share_of(counts * (1 + needed // len(counts)))
        assert more is not None
        assert more.low >= least - 1e-6


def _correlated(rng: random.Random, share: float, correlation: float, count: int):
    """Camera-days whose share of right finds is beta distributed: one camera has a bad day."""
    a = share * (1 - correlation) / correlation
    b = (1 - share) * (1 - correlation) / correlation
    for _ in range(count):
        trials, of_day = rng.randint(10, 60), rng.betavariate(a, b)
        yield sum(rng.random() < of_day for _ in range(trials)), trials


@pytest.mark.parametrize(("share", "correlation"), [(0.9, 0.1), (0.95, 0.3), (0.98, 0.5)])
def test_the_bound_holds_95_percent_where_the_naive_one_does_not(share, correlation) -> None:
    """Of 200 evaluations of 30 camera-days; the naive one is wrong in 15 % or more."""
    rng = random.Random(5)
    wrong = naive = 0
    for _ in range(200):
        counts = list(_correlated(rng, share, correlation, 30))
        found = share_of(counts)
        assert found is not None
        wrong += found.low > share
        naive += one_sided(found.successes, found.trials)[0] > share
    assert wrong <= 0.05 * 200
    assert naive >= 0.15 * 200


def test_a_difference_cancels_what_a_day_does_to_both() -> None:
    """Days vary from 20 to 100 %, the second model is 10 % worse on each: that is what is found."""
    right = [10 * (n % 5) + 20 for n in range(20)]
    pairs = [((r, 100), (r - 10, 100)) for r in right]
    found = difference(pairs)
    assert found is not None
    assert found.value == pytest.approx(-0.10)
    assert found.high < -0.099
    turned = difference([(b, a) for a, b in pairs])
    assert turned is not None
    assert turned.low == pytest.approx(-found.high)


def test_a_difference_needs_two_days_with_something_in_them() -> None:
    """One day, or days without objects, say nothing."""
    assert difference([((1, 2), (1, 2))]) is None
    assert difference([((0, 0), (0, 0))] * 9) is None


@pytest.mark.parametrize("counts", [[(2, 1)], [(-1, 4)]])
def test_counts_that_cannot_be_are_refused(counts: list[tuple[int, int]]) -> None:
    """More right finds than finds, or less than none."""
    with pytest.raises(ValueError, match="successes"):
        share_of(counts)


def test_nothing_seen_is_nothing() -> None:
    """No trial: no share, and no number of days would help."""
    assert share_of([]) is None
    assert share_of([(0, 0)] * 9) is None
    assert days_needed([], 0.9) is None
