"""How many disagreements it takes, and what judgements come to: known numbers, and chance."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.review import evidence, gate, queue
from vedette.central.review.evidence import Judgement
from vedette.central.review.gate import LEAST, LEAST_FRAMES, MARGIN, MOST, Judged
from vedette.central.rollouts.facts import Verdict
from vedette.stats.beta import incomplete, quantile
from vedette.stats.intervals import clopper_pearson

FRAMES = 2_000
FIRST = gate.needed(0.2)


def judged(a: int, b: int, *, weight: float = 1.0, undecided: int = 0, seed: int = 1) -> list:
    """Return so many verdicts in an order by chance."""
    verdicts = ["a"] * a + ["b"] * b + ["neither"] * undecided
    random.Random(seed).shuffle(verdicts)
    return [Judged(verdict, weight) for verdict in verdicts]


@given(st.integers(1, 60), st.integers(0, 60))
def test_the_interval_of_whole_numbers_is_the_exact_one(trials: int, hits: int) -> None:
    """Where every judgement weighs the same, it is Clopper and Pearson's."""
    hits = min(hits, trials)
    low, high = gate.bounds(judged(hits, trials - hits, weight=3.0), 0.05)
    exact = clopper_pearson(hits, trials, 0.9)
    assert exact is not None
    assert (low, high) == (pytest.approx(exact[0], abs=1e-9), pytest.approx(exact[1], abs=1e-9))


@given(st.floats(0.2, 300), st.floats(0.2, 300), st.floats(0.001, 0.999))
def test_a_quantile_is_where_the_share_lies_below(a: float, b: float, share: float) -> None:
    """Both directions of the beta distribution undo each other, and both sides mirror."""
    point = quantile(share, a, b)
    if 1e-12 < point < 1 - 1e-12:
        assert incomplete(a, b, point) == pytest.approx(share, abs=1e-7)
        assert incomplete(b, a, 1 - point) == pytest.approx(1 - share, abs=1e-7)


def test_unequal_weights_are_less_evidence() -> None:
    """One that stands for a thousand does not make a thousand: the interval grows."""
    even = gate.bounds([Judged("b", 1.0)] * 40, 0.05)
    uneven = gate.bounds([Judged("b", 1.0)] * 39 + [Judged("b", 100.0)], 0.05)
    assert uneven[1] > 2 * even[1]


@pytest.mark.parametrize(
    ("share", "count"), [(0.05, LEAST), (0.1, 30), (0.2, 128), (0.3, 289), (0.9, MOST)]
)
def test_what_differs_more_takes_more_judgements(share: float, count: int) -> None:
    """By the formula of a one-sided test of a proportion, at least twenty, never without end."""
    assert gate.needed(share) == count


def test_too_little_is_never_a_pass() -> None:
    """Few pictures, or fewer judgements than needed, however clear they are."""
    few = gate.decide(LEAST_FRAMES - 1, 40, judged(0, 400))
    assert few.verdict is Verdict.INCONCLUSIVE
    almost = gate.decide(FRAMES, 400, judged(0, FIRST - 1))
    assert (almost.verdict, almost.needed) == (Verdict.INCONCLUSIVE, FIRST)
    assert gate.decide(FRAMES, 400, []).verdict is Verdict.INCONCLUSIVE
    assert gate.decide(0, 0, []).verdict is Verdict.INCONCLUSIVE
    assert gate.decide(FRAMES, FRAMES, []).verdict is Verdict.INCONCLUSIVE


def test_a_better_one_passes_and_a_worse_one_fails() -> None:
    """At the number that is needed; both say what it was judged by."""
    good = gate.decide(FRAMES, 400, judged(50, FIRST - 50))
    assert good.verdict is Verdict.PASS
    assert (good.reviewed, good.needed, good.a_better, good.b_better) == (
        FIRST,
        FIRST,
        50,
        FIRST - 50,
    )
    bad = gate.decide(FRAMES, 400, judged(108, FIRST - 108))
    assert bad.verdict is Verdict.FAIL
    assert f"of {FIRST} decided" in bad.reasons[0]


def test_hardly_any_difference_needs_nobody() -> None:
    """Where they differ in fewer pictures than the margin, by its upper bound, nothing is lost."""
    assert gate.decide(FRAMES, 0, []).verdict is Verdict.PASS
    assert gate.decide(FRAMES, 70, []).verdict is Verdict.PASS
    assert gate.decide(FRAMES, 95, []).verdict is Verdict.INCONCLUSIVE


def test_those_who_go_on_do_not_choose_the_moment() -> None:
    """Between two looks the verdict does not change, whatever is judged."""
    unclear = judged(75, FIRST - 75)
    assert gate.decide(FRAMES, 400, unclear).verdict is Verdict.INCONCLUSIVE
    more = gate.decide(FRAMES, 400, unclear + [Judged("b")] * (FIRST - 1))
    assert (more.verdict, more.needed) == (Verdict.INCONCLUSIVE, 2 * FIRST)
    assert gate.decide(FRAMES, 400, unclear + [Judged("b")] * FIRST).verdict is Verdict.PASS


def test_what_nobody_can_decide_counts_as_reviewed_and_asks_for_more() -> None:
    """Neither and unclear are no evidence for anybody."""
    said = gate.decide(FRAMES, 400, judged(40, 60, undecided=30))
    assert said.verdict is Verdict.INCONCLUSIVE
    assert (said.reviewed, said.needed, said.neither) == (130, FIRST + 30, 30)


def test_a_candidate_at_the_margin_passes_as_seldom_as_promised() -> None:
    """Just as bad as is too bad: of 200 rollouts, all looks together pass about one in twenty."""
    generator, share = random.Random(7), 0.1
    limit = gate.limit_of(share)
    assert share * (2 * limit - 1) == pytest.approx(MARGIN)
    passes, looks = 0, [gate.needed(share) * 2**look for look in range(3)]
    for _ in range(200):
        verdicts = [Judged("a" if generator.random() < limit else "b") for _ in range(looks[-1])]
        stops = (gate.decide(FRAMES, 200, verdicts[:n]).verdict for n in looks)
        passes += Verdict.PASS in stops
    assert passes <= 200 * 0.05 + 9


def test_an_equal_candidate_passes_with_the_power_promised() -> None:
    """At the first look already about four in five, and hardly one fails."""
    generator = random.Random(3)
    verdicts = [
        gate.decide(
            FRAMES,
            200,
            [Judged("a" if generator.random() < 0.5 else "b") for _ in range(gate.needed(0.1))],
        ).verdict
        for _ in range(200)
    ]
    assert verdicts.count(Verdict.PASS) >= 200 * 0.7
    assert verdicts.count(Verdict.FAIL) <= 2


def said(thing: str, reviewer: str, verdict: str, at_ms: int, weight: float = 1.0) -> Judgement:
    """One judgement."""
    return Judgement(
        device="cam-1",
        disagreement=thing,
        weight=weight,
        reviewer=reviewer,
        verdict=verdict,
        at_ms=at_ms,
    )


def test_two_who_differ_decide_nothing() -> None:
    """Each thing counts once, where its first judgement stands; a quarrel is undecided."""
    found = [
        said("d-2", "ada", "a", 1, 5.0),
        said("d-1", "ada", "b", 2),
        said("d-2", "ben", "a", 3, 5.0),
        said("d-1", "ben", "a", 4),
    ]
    assert evidence.outcomes(found) == [Judged("a", 5.0), Judged("unclear", 1.0)]


def test_agreement_is_what_is_beyond_chance() -> None:
    """One where they always agree, zero where one always says the same, nothing without pairs."""
    assert gate.agreement([]) is None
    assert gate.agreement([("a", "a")] * 5) == 1.0
    assert gate.agreement([("a", "a"), ("b", "b")] * 5) == 1.0
    assert gate.agreement([("a", "a"), ("a", "b")] * 5) == pytest.approx(0.0)
    assert gate.agreement([("a", "b"), ("b", "a")]) == pytest.approx(-1.0)


def test_sides_go_by_chance_for_each_thing_and_reviewer() -> None:
    """About half are turned, another half for another reviewer, and always the same for one."""
    places = [("cam-1", f"d-{number}") for number in range(400)]
    turned = {name: [queue.is_turned(one, name) for one in places] for name in ("ada", "ben")}
    assert turned["ada"] == [queue.is_turned(one, "ada") for one in places]
    assert 150 < sum(turned["ada"]) < 250
    same = sum(a == b for a, b in zip(turned["ada"], turned["ben"], strict=True))
    assert 150 < same < 250
