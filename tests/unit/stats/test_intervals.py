"""Confidence intervals of a share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from vedette.stats.intervals import clopper_pearson


@given(st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_that_of_the_beta_distribution(counts: tuple[int, int]) -> None:
    """SciPy's beta quantiles, the textbook form, give the same numbers."""
    successes, trials = counts
    found = clopper_pearson(successes, trials)
    if trials == 0:
        assert found is None
        return
    assert found is not None
    low = beta.ppf(0.025, successes, trials - successes + 1) if successes else 0.0
    high = beta.ppf(0.975, successes + 1, trials - successes) if successes < trials else 1.0
    assert found == pytest.approx((low, high), abs=1e-9)


def test_more_evidence_gives_a_narrower_interval() -> None:
    """Nine of ten and ninety of a hundred are not the same."""
    few, many = clopper_pearson(9, 10), clopper_pearson(90, 100)
    assert few is not None
    assert many is not None
    assert few[0] < many[0] < 0.9 < many[1] < few[1]


def test_a_thousand_trials_are_still_exact() -> None:
    """No term overflows or vanishes where there are many trials."""
    found = clopper_pearson(49_000, 50_000)
    assert found == pytest.approx((0.97873, 0.98121), abs=2e-5)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3), (1, 200_000)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    """No interval of what cannot be."""
    with pytest.raises(ValueError, match="no proportion"):
        clopper_pearson(successes, trials)
