"""What lasts: held classes and anomalies that stay."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.vision.aggregates import HOLD_S
from vedette.vision.tasks.classification import Classes
from vedette.vision.tasks.holding import AnomalyHold, Change, ClassHold

LABELS = ("closed", "open", "blocked")
SURE = 0.9


def one(label: str, probability: float = SURE) -> Classes:
    """Return the answer of a classifier whose classes exclude each other."""
    p = np.full(len(LABELS), (1 - probability) / (len(LABELS) - 1), np.float32)
    p[LABELS.index(label)] = probability
    return Classes(p, exclusive=True)


def each(*labels: str) -> Classes:
    """Return the answer of a classifier whose classes hold each by itself."""
    return Classes(np.array([SURE if x in labels else 0.1 for x in LABELS], np.float32), False)


def hold(**changes: object) -> ClassHold:
    """Return a watch with a threshold of 0.5 that holds after two seconds."""
    return ClassHold(LABELS, **{"threshold": 0.5, "hold_s": 2.0, **changes})  # pyright: ignore[reportArgumentType]


def look(watch: ClassHold, *answers: Classes | None, start_s: float = 0.0) -> list[Change]:
    """Let a watch see one answer a second; return what changed."""
    return [c for n, answer in enumerate(answers) for c in watch.look(answer, start_s + n)]


def test_a_class_that_lasts_is_held_and_dated_when_it_began():
    """After the hold time, with what was before; the first class ever is no change."""
    watch = hold()
    assert look(watch, *[one("closed")] * 4) == []
    assert watch.held == ["closed"]
    (change,) = look(watch, *[one("open")] * 4, start_s=4)
    assert (change.label, change.was, change.t_s) == ("open", "closed", 4)
    assert change.probability == pytest.approx(SURE)


def test_a_class_is_held_when_the_time_is_up_and_not_before():
    """A moment less than the hold time is not the hold time."""
    watch = hold()
    watch.look(one("closed"), 0.0)
    watch.look(one("closed"), 1.999)
    assert watch.held == []
    watch.look(one("closed"), 2.0)
    assert watch.held == ["closed"]


def test_a_flicker_changes_nothing():
    """An answer shorter than the hold time is not held, however often it comes back."""
    watch = hold()
    answers = [one("closed")] * 4 + [one("open"), one("open"), one("closed")] * 20
    assert look(watch, *answers) == []
    assert watch.held == ["closed"]


def test_being_unsure_ends_the_seconds_and_is_no_change_of_class():
    """Between two times of the same class nothing was held, and no event tells of it."""
    watch = hold()
    answers = [one("closed")] * 6 + [one("closed", 0.35)] * 10 + [one("closed")] * 6
    assert look(watch, *answers) == []
    assert watch.cut() == {"closed": pytest.approx(3 + 3 + 3)}


def test_a_held_class_stays_with_a_little_less():
    """Four fifths of the threshold keep it; that is not enough to become held."""
    watch = hold()
    look(watch, *[one("closed", 0.45)] * 5)
    assert watch.held == []
    look(watch, *[one("closed", 0.55)] * 5, *[one("closed", 0.45)] * 5, start_s=5)
    assert watch.held == ["closed"]


def test_a_look_at_which_nothing_moved_says_what_the_last_one_said():
    """Seconds and the hold time go on through it."""
    watch = hold()
    assert look(watch, None, None) == []
    look(watch, one("closed"), *[None] * 9, start_s=2)
    assert watch.held == ["closed"]
    assert watch.cut() == {"closed": pytest.approx(7)}


def test_nothing_is_held_over_a_gap_but_what_was_before_is_told():
    """No seconds for the gap; a door that was opened meanwhile has been opened."""
    watch = hold()
    look(watch, *[one("closed")] * 5)
    watch.interrupt()
    assert watch.held == []
    (change,) = look(watch, *[one("open")] * 5, start_s=10)
    assert (change.label, change.was, change.t_s) == ("open", "closed", 10)
    assert watch.cut() == {"closed": pytest.approx(2), "open": pytest.approx(2)}


def test_a_silence_that_is_too_long_is_counted_for_nobody():
    """As presence is: one look does not speak for minutes."""
    watch = hold()
    look(watch, *[one("closed")] * 3)
    watch.look(one("closed"), 2 + HOLD_S + 1)
    assert watch.cut() == {}


def test_only_wanted_classes_are_answers_and_a_label_has_its_own_threshold():
    """Another class on top is no class at all; a stricter label needs more."""
    watch = hold(wanted=["open"], thresholds={"open": 0.95})
    look(watch, *[one("closed")] * 5, *[one("open")] * 5)
    assert watch.held == []
    look(watch, *[one("open", 0.97)] * 5, start_s=10)
    assert watch.held == ["open"]


def test_classes_that_do_not_exclude_each_other_come_and_go_by_themselves():
    """What is there at first is no event; each coming and going is one, with its own time."""
    watch = hold()
    answers = [each("closed")] * 4 + [each("closed", "open")] * 4 + [each("open")] * 4
    came, went = look(watch, *answers)
    assert (came.label, came.was, came.t_s) == ("open", "", 4)
    assert (went.label, went.was, went.t_s) == ("", "closed", 8)
    assert watch.held == ["open"]
    assert watch.cut() == {"closed": pytest.approx(8), "open": pytest.approx(5)}


ANSWERS = st.lists(
    st.tuples(
        st.sampled_from([*LABELS, "gap", "still"]),
        st.floats(0.34, 1),
        st.floats(0.05, 20),
    ),
    max_size=60,
)


@given(ANSWERS, st.floats(0, 5))
def test_whatever_is_seen_changes_chain_up_and_seconds_are_lived_through(answers, hold_s):
    """Each change begins where the last ended; no more seconds than passed; cuts lose nothing."""
    whole, parts = hold(hold_s=hold_s), hold(hold_s=hold_s)
    t_s, lived_s, summed = 0.0, 0.0, 0.0
    seen_s: float | None = None
    last: str | None = None
    for kind, probability, step_s in answers:
        t_s += step_s
        if kind == "gap":
            whole.interrupt()
            parts.interrupt()
            seen_s = None
            continue
        answer = None if kind == "still" else one(kind, probability)
        changes = whole.look(answer, t_s)
        assert parts.look(answer, t_s) == changes
        summed += sum(parts.cut().values())
        lived_s += t_s - seen_s if seen_s is not None and t_s - seen_s <= HOLD_S else 0
        seen_s = t_s
        for change in changes:
            assert change.label != change.was
            assert change.label
            assert last is None or change.was == last
            assert change.t_s <= t_s - hold_s + 1e-9
            last = change.label
        assert len(whole.held) <= 1
    total = sum(whole.cut().values())
    assert total <= lived_s + 1e-6
    assert summed == pytest.approx(total)


# ------------------------------------------------------------------------------------ anomalies


def test_an_anomaly_that_stays_is_told_once_until_it_is_well_over():
    """After three looks on end, dated at the first, with the highest score; then not again."""
    watch = AnomalyHold(threshold=0.5, looks=3)
    scores = [0.1, 0.6, 0.9, 0.7, 0.8, 0.45, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.6, 0.6, 0.6]
    rises = [(n, rise) for n, score in enumerate(scores) if (rise := watch.look(score, float(n)))]
    assert [(n, rise.t_s, rise.score) for n, rise in rises] == [(3, 1.0, 0.9), (14, 12.0, 0.6)]


def test_a_flash_is_no_anomaly():
    """Fewer looks than wanted, however high and however often."""
    watch = AnomalyHold(threshold=0.5, looks=3)
    assert not any(watch.look(score, n) for n, score in enumerate([1.0, 1.0, 0.2] * 20))


def test_what_does_not_move_stays_strange():
    """A look at which nothing moved counts with the last score; before any there is none."""
    watch = AnomalyHold(threshold=0.5, looks=3)
    assert watch.look(None, 0.0) is None
    assert watch.look(0.8, 1.0) is None
    assert watch.look(None, 2.0) is None
    assert watch.look(None, 3.0) is not None


def test_a_gap_begins_the_count_anew_and_tells_no_anomaly_twice():
    """Looks before and after a gap do not add up; one that was told and is still there is known."""
    watch = AnomalyHold(threshold=0.5, looks=2)
    assert watch.look(0.9, 0.0) is None
    watch.interrupt()
    assert watch.look(0.9, 10.0) is None
    assert watch.look(0.9, 11.0) is not None
    watch.interrupt()
    assert not any(watch.look(0.9, 20.0 + n) for n in range(5))


@given(st.lists(st.floats(0, 1), max_size=80), st.integers(1, 6))
def test_an_anomaly_is_told_only_after_looks_on_end_and_once_for_each_spell(scores, looks):
    """Between two that are told lie looks well below the threshold, as many on end."""
    watch = AnomalyHold(threshold=0.5, looks=looks)
    told = [n for n, score in enumerate(scores) if watch.look(score, float(n))]
    for n in told:
        assert min(scores[n - looks + 1 : n + 1]) >= 0.5
    for a, b in itertools.pairwise(told):
        low = "".join("." if score < 0.4 else "#" for score in scores[a:b])
        assert "." * looks in low
