"""Trouble that lasts: raised once, cleared once, whatever is seen in which order."""

from hypothesis import given
from hypothesis import strategies as st

from vedette.central.alerting.facts import Health, HealthMatch, Rule, Signal, Subject, Turn
from vedette.central.alerting.lasting import Row, Seen, come, key_of, note, subject_of

SUBJECT = "shop|box|||"
T = 1_000_000


def rule(for_s: float = 0.0, clear_s: float = 60.0) -> Rule:
    """Return a rule with these times."""
    return Rule(rule="disk", health=HealthMatch(is_=Health.DISK, for_s=for_s, clear_s=clear_s))


def seen(state: str, at_ms: int) -> Seen:
    """Return what somebody saw."""
    return Seen(rule="disk", subject=SUBJECT, state=state, at_ms=at_ms, value=0.95, text="95 %")


class Course:
    """One row through time, as the table keeps it between processes."""

    def __init__(self, asked: Rule) -> None:
        self.rule = asked
        self.row: Row | None = None
        self.signals: list[Signal] = []

    def see(self, state: str, now_ms: int) -> None:
        """Note what is so now."""
        match = self.rule.health
        assert match is not None
        self.row = note(self.row, seen(state, now_ms), match.for_s, match.clear_s, now_ms)

    def turn(self, now_ms: int, *, is_heard: bool = True, opens_ms: int | None = None) -> None:
        """Decide, where its time has come."""
        if self.row is None or self.row.due_ms is None or self.row.due_ms > now_ms:
            return
        self.row, signal = come(
            self.row, self.rule, is_heard=is_heard, opens_ms=opens_ms, now_ms=now_ms
        )
        self.signals += [signal] if signal else []

    @property
    def turns(self) -> list[Turn]:
        """What was said, in order."""
        return [signal.turn for signal in self.signals]


def test_it_has_to_last_before_it_counts_and_to_be_well_before_it_is_over():
    """Dated when it began and when it was well, not when it was noticed."""
    course = Course(rule(for_s=60, clear_s=30))
    course.see("bad", T)
    course.turn(T + 59_999)
    assert course.turns == []
    course.turn(T + 61_000)
    course.see("well", T + 70_000)
    course.turn(T + 99_999)
    assert course.turns == [Turn.RAISED]
    course.turn(T + 101_000)
    assert course.row is None
    raised, cleared = course.signals
    assert (raised.at_ms, raised.known_ms) == (T, T + 61_000)
    assert (cleared.at_ms, cleared.known_ms) == (T + 70_000, T + 101_000)
    assert raised.subject == Subject(site="shop", device="box")


def test_what_did_not_last_is_forgotten():
    """It begins to count anew when it comes back."""
    course = Course(rule(for_s=60))
    course.see("bad", T)
    course.see("well", T + 50_000)
    course.see("bad", T + 55_000)
    course.turn(T + 70_000)
    assert course.turns == []
    course.turn(T + 115_000)
    assert course.turns == [Turn.RAISED]


def test_a_device_that_nobody_hears_neither_begins_nor_ends_anything():
    """The row waits until it is heard; then it is decided about."""
    course = Course(rule(for_s=10, clear_s=10))
    course.see("bad", T)
    course.turn(T + 20_000, is_heard=False)
    assert course.turns == []
    course.turn(T + 60_000)
    course.see("well", T + 61_000)
    course.turn(T + 90_000, is_heard=False)
    assert course.turns == [Turn.RAISED]
    course.turn(T + 130_000)
    assert course.turns == [Turn.RAISED, Turn.CLEARED]


def test_outside_of_its_hours_nothing_begins_but_what_began_ends():
    """The row is due again when the hours begin."""
    course = Course(rule(clear_s=0))
    course.see("bad", T)
    course.turn(T, opens_ms=T + 500_000)
    assert course.row is not None
    assert course.row.due_ms == T + 500_000
    course.turn(T + 500_000)
    course.see("well", T + 600_000)
    course.turn(T + 600_000, opens_ms=T + 900_000)
    assert course.turns == [Turn.RAISED, Turn.CLEARED]


def test_what_nobody_asks_for_any_more_is_over_at_once():
    """Whatever the rule says how long it has to be well; what never counted ends unsaid."""
    course = Course(rule(clear_s=3600))
    course.see("bad", T)
    course.turn(T)
    course.see("gone", T + 1)
    course.turn(T + 1)
    assert course.turns == [Turn.RAISED, Turn.CLEARED]
    silent = Course(rule(for_s=60))
    silent.see("bad", T)
    silent.see("gone", T + 1)
    assert (silent.row, silent.signals) == (None, [])


def test_without_its_rule_a_row_ends():
    """A rule that was switched off leaves nothing behind that is held to be so."""
    row = Row(rule="disk", subject=SUBJECT, since_ms=T, raised_ms=T, due_ms=T)
    after, signal = come(row, None, is_heard=True, opens_ms=None, now_ms=T + 5)
    assert after is None
    assert signal is not None
    assert signal.turn is Turn.CLEARED


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["bad", "well", "gone", "unknown", "restart", "back"]),
        st.integers(0, 200),
        st.booleans(),
    ),
    max_size=60,
)


@given(_STEPS, st.sampled_from([0, 30, 90]), st.sampled_from([0, 45]))
def test_raised_and_cleared_take_turns_whatever_happens(steps, for_s, clear_s):
    """Never raised twice without an end between, through restarts and a clock that is set back."""
    course = Course(rule(for_s, clear_s))
    now_ms = T
    for what, after_s, is_heard in steps:
        now_ms += after_s * 1000 if what != "back" else -after_s * 1000
        if what in {"bad", "well", "gone"}:
            course.see(what, now_ms)
        elif what == "restart" and course.row is not None:
            course.row = Row(**{name: getattr(course.row, name) for name in Row.__struct_fields__})
        course.turn(now_ms, is_heard=is_heard)
    assert course.turns == [Turn.RAISED, Turn.CLEARED] * (len(course.turns) // 2) + [
        Turn.RAISED
    ] * (len(course.turns) % 2)
    assert (course.row is not None and course.row.raised_ms is not None) == bool(
        len(course.turns) % 2
    )


@given(_STEPS, st.sampled_from([0, 30, 90]), st.sampled_from([0, 45]))
def test_what_is_bad_for_good_is_raised_and_what_is_well_for_good_is_over(steps, for_s, clear_s):
    """Whatever was before: nothing is stuck."""
    course = Course(rule(for_s, clear_s))
    now_ms = T
    for what, after_s, is_heard in steps:
        now_ms += after_s * 1000
        if what in {"bad", "well", "gone"}:
            course.see(what, now_ms)
        course.turn(now_ms, is_heard=is_heard)
    for state, last in (("bad", Turn.RAISED), ("well", Turn.CLEARED)):
        for _ in range(30):
            now_ms += 30_000
            course.see(state, now_ms)
            course.turn(now_ms)
        assert course.turns[-1] is last


@given(st.builds(Subject, site=st.just("shop"), device=st.just("box"), what=st.text(max_size=9)))
def test_a_subject_comes_back_from_its_text(subject):
    """Whatever stands in its last part."""
    assert subject_of(key_of(subject)) == subject
