"""Climbing: who is told when, what stops it, and what holds whatever happens."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from vedette.central.alerting import ladder, simulate
from vedette.central.alerting.facts import (
    Book,
    Contact,
    Incident,
    IncidentState,
    Ladder,
    LadderStep,
    Override,
    Reach,
    Rule,
    Schedule,
    Severity,
    Shift,
    Subject,
)

T0 = 1_790_000_000_000
MINUTE_MS = 60_000

NIGHTS = Schedule(
    schedule="nights",
    time_zone="UTC",
    shifts=[Shift(people=["anna"], start="2026-01-01T00:00", weekly={"mo": [("00:00", "12:00")]})],
)
"""Nobody is on call at T0, which is a Monday afternoon."""


def step(after_s: float, *tell: str) -> LadderStep:
    """Return a rung."""
    return LadderStep(after_s=after_s, tell=list(tell))


def book(*steps: LadderStep, reach: Reach | None = None, **more: object) -> Book:
    """Return a book of one rule and its ladder of these steps."""
    rungs = Ladder(ladder="plant", steps=list(steps), **more)
    return Book(
        rules={"door": Rule(rule="door", ladder="plant")},
        ladders={"plant": rungs},
        ladder_versions={"plant": 3},
        schedules={"nights": NIGHTS},
        contacts={
            "anna": [
                Contact(channel="mail", address="anna@example.org"),
                Contact(channel="push", address="anna-phone", least=Severity.CRITICAL),
            ],
            "bo": [Contact(channel="mail", address="bo@example.org")],
            "root": [Contact(channel="mail", address="root@example.org")],
        },
        reach=reach or Reach(admins=["root"]),
    )


def incident(severity: Severity = Severity.WARNING, at_ms: int = T0) -> Incident:
    """Return one that was just opened."""
    return simulate.incident_of("door", severity, Subject(site="plant"), at_ms)


def course(of: Book, *, ack_min: int | None = None, **more: object) -> list[tuple[int, str, str]]:
    """Return (minute, kind, whom) of everybody who would be told."""
    ack_ms = None if ack_min is None else T0 + ack_min * MINUTE_MS
    found = simulate.follow(incident(), of, [], T0, ack_ms, **more)
    return [
        ((moment.at_ms - T0) // MINUTE_MS, str(notice.kind), notice.person or notice.channel)
        for moment in found.moments
        for notice in moment.notices
    ]


def said(climbed: ladder.Climbed) -> str:
    """Return what the timeline says, in one text."""
    return "; ".join(line.text for line in climbed.history)


# ---------------------------------------------------------------------------------- a course

LADDER = (step(0, "person:anna"), step(600, "person:bo", "channel:desk"))


def test_a_ladder_is_climbed_step_by_step_and_round_by_round():
    """At once, after ten minutes, again after half an hour, and after two rounds no more."""
    assert course(book(*LADDER, repeat_s=1800, rounds=2)) == [
        (0, "opened", "anna"),
        (10, "opened", "bo"),
        (10, "opened", "desk"),
        (30, "repeated", "anna"),
        (40, "repeated", "bo"),
        (40, "repeated", "desk"),
    ]


def test_an_acknowledgement_stops_the_climb_and_who_was_told_hears_of_it():
    """Nobody is told any further; whoever took it on is not told that they did."""
    assert course(book(*LADDER, repeat_s=1800), ack_min=12, by="bo") == [
        (0, "opened", "anna"),
        (10, "opened", "bo"),
        (10, "opened", "desk"),
        (12, "acknowledged", "anna"),
        (12, "acknowledged", "desk"),
    ]


def test_an_acknowledgement_that_runs_out_begins_a_new_climb():
    """An hour after it, from the first step, with all its rounds."""
    found = course(book(step(0, "person:anna"), repeat_s=600, rounds=2, ack_s=3600), ack_min=5)
    assert [each for each in found if each[1] != "acknowledged"] == [
        (0, "opened", "anna"),
        (65, "ack_expired", "anna"),
        (75, "repeated", "anna"),
    ]


def test_what_is_over_is_told_to_those_who_were_told_and_to_nobody_else():
    """Who stands on a step that was never reached hears nothing."""
    of = book(*LADDER)
    assert course(of, resolve_at_ms=T0 + 5 * MINUTE_MS) == [
        (0, "opened", "anna"),
        (5, "resolved", "anna"),
    ]
    quiet = book(*LADDER, tell_resolved=False)
    assert course(quiet, resolve_at_ms=T0 + 5 * MINUTE_MS) == [(0, "opened", "anna")]


def test_less_than_the_least_climbs_no_rung_until_it_is_graver():
    """A ladder for what is critical leaves a warning in the console."""
    of = book(*LADDER, least=Severity.CRITICAL)
    quiet = ladder.climb(incident(), of, [], T0)
    assert quiet.notices == []
    assert quiet.incident.climb.due_ms is None
    graver = replace(quiet.incident, severity=Severity.CRITICAL)
    told = ladder.climb(graver, of, [], T0 + MINUTE_MS).notices
    assert {(each.kind, each.channel) for each in told} == {("opened", "mail"), ("opened", "push")}


def test_an_incident_that_gets_graver_is_climbed_again_also_when_acknowledged():
    """Somebody took on a warning; that it is critical now is news for everybody."""
    of = book(*LADDER)
    first = ladder.climb(incident(), of, [], T0).incident
    taken = ladder.acknowledged(first, None, "anna", T0 + MINUTE_MS).incident
    graver = replace(taken, severity=Severity.CRITICAL)
    again = ladder.climb(graver, of, [], T0 + 2 * MINUTE_MS)
    assert {(each.kind, each.channel) for each in again.notices} == {
        ("escalated", "mail"),
        ("escalated", "push"),
    }
    assert again.incident.state is IncidentState.OPEN
    assert "now critical, it was warning" in said(again)


def test_what_is_given_back_is_climbed_again_at_once():
    """Whoever cannot go says so, and the next one hears of it without waiting."""
    of = book(*LADDER)
    taken = ladder.acknowledged(
        ladder.climb(incident(), of, [], T0).incident, None, "anna", T0 + MINUTE_MS
    ).incident
    given = ladder.unacknowledged(taken, "anna", T0 + 2 * MINUTE_MS).incident
    assert given.climb.due_ms == T0 + 2 * MINUTE_MS
    again = ladder.climb(given, of, [], T0 + 2 * MINUTE_MS)
    assert [(each.kind, each.person) for each in again.notices] == [("repeated", "anna")]
    assert again.incident.climb.due_ms == T0 + 12 * MINUTE_MS


def test_who_is_told_next_is_whom_the_next_step_would_reach():
    """Not the next step's words: one that reaches nobody leads to the one after it."""
    of = book(step(0, "person:anna"), step(600, "oncall:days"), step(900, "person:bo"))
    first = ladder.climb(incident(), of, [], T0).incident
    told = (T0 + 10 * MINUTE_MS, ["bo by mail"])
    assert simulate.next_told(first, of, [], T0 + MINUTE_MS) == told
    taken = ladder.acknowledged(first, None, "anna", T0 + MINUTE_MS).incident
    assert simulate.next_told(taken, of, [], T0 + 2 * MINUTE_MS) is None


# --------------------------------------------------------------------------- never silent


def test_a_step_that_reaches_nobody_has_the_next_one_taken_at_once():
    """An empty schedule, a person without contacts, one who left, a channel that is off."""
    reach = Reach(admins=["root"], away={"bo": "disabled"}, channels={"mail": "", "desk": "off"})
    of = book(
        step(0, "oncall:nights", "oncall:days"),
        step(300, "person:nobody", "person:bo"),
        step(600, "channel:desk", "channel:gone"),
        step(900, "person:anna"),
        reach=reach,
    )
    climbed = ladder.climb(incident(), of, [], T0)
    assert [(each.person, each.due_ms) for each in climbed.notices] == [("anna", T0)]
    for why in (
        "nobody is on call in nights until",
        "there is no schedule days",
        "nobody has no contact",
        "bo: disabled",
        "channel desk: off",
        "channel gone: there is no such channel",
        "reached nobody: the next one is taken at once",
    ):
        assert why in said(climbed)


def test_a_ladder_that_reaches_nobody_tells_the_administrators():
    """And where they have no contact either, the timeline says that nobody was told."""
    climbed = ladder.climb(incident(), book(step(0, "oncall:nights")), [], T0)
    assert [each.person for each in climbed.notices] == ["root"]
    alone = book(step(0, "oncall:nights"), reach=Reach())
    assert ladder.climb(incident(), alone, [], T0).notices == []
    assert "nobody was told" in said(ladder.climb(incident(), alone, [], T0))


def test_a_ladder_that_is_not_there_tells_the_administrators():
    """A rule whose ladder was removed before the incident began is no reason for silence."""
    of = msgspec.structs.replace(book(*LADDER), ladders={})
    climbed = ladder.climb(incident(), of, [], T0)
    assert [each.person for each in climbed.notices] == ["root"]
    assert "there is no ladder plant" in said(climbed)


def test_a_ladder_that_changes_counts_from_the_next_round_and_one_that_goes_is_climbed_on():
    """What was begun is ended as it was; a removal is said."""
    of = book(*LADDER, repeat_s=1800)
    first = ladder.climb(incident(), of, [], T0).incident
    other = book(step(0, "channel:siren"), repeat_s=1800)
    second = ladder.climb(first, other, [], T0 + 10 * MINUTE_MS)
    assert {each.person or each.channel for each in second.notices} == {"bo", "desk"}
    third = ladder.climb(second.incident, other, [], T0 + 30 * MINUTE_MS)
    assert [each.channel for each in third.notices] == ["siren"]
    gone = ladder.climb(
        second.incident, msgspec.structs.replace(of, ladders={}), [], T0 + 30 * MINUTE_MS
    )
    assert [each.person for each in gone.notices] == ["anna"]
    assert "ladder plant was removed" in said(gone)


def test_quiet_hours_hold_back_what_is_not_critical():
    """A phone at night rings for what is critical; the mail waits for the morning."""
    phone = Contact(channel="push", quiet={"mo": [("12:00", "20:00")]}, time_zone="UTC")
    of = msgspec.structs.replace(
        book(step(0, "person:anna")),
        contacts={"anna": [phone, Contact(channel="mail", address="a")]},
    )
    assert [each.channel for each in ladder.climb(incident(), of, [], T0).notices] == ["mail"]
    grave = ladder.climb(incident(Severity.CRITICAL), of, [], T0).notices
    assert {each.channel for each in grave} == {"push", "mail"}


# ------------------------------------------------------------------- once, late, in private


def test_one_person_reached_twice_at_the_same_moment_is_told_once():
    """As whoever is on call and by name, and by two steps that are due together."""
    of = book(step(0, "person:anna", "person:anna"), step(0, "person:anna", "person:bo"))
    assert course(of) == [(0, "opened", "anna"), (0, "opened", "bo")]


def test_what_became_due_while_central_was_down_is_taken_once():
    """Three hours late: each step once, and not once for every repeat that was missed."""
    of = book(*LADDER, repeat_s=1800, rounds=9)
    first = ladder.climb(incident(), of, [], T0).incident
    late_ms = T0 + 180 * MINUTE_MS
    late = ladder.climb(first, of, [], late_ms)
    assert [each.person or each.channel for each in late.notices] == ["bo", "desk"]
    assert late.notices[0].due_ms == T0 + 10 * MINUTE_MS
    assert late.incident.climb.due_ms == late_ms + MINUTE_MS


def test_a_silence_holds_the_climb_where_it_is():
    """Nobody is told while it lasts; what is due afterwards is told when it ends."""
    of = book(*LADDER)
    first = ladder.climb(incident(), of, [], T0).incident
    hushed = ladder.climb(replace(first, silenced="s"), of, [], T0 + 20 * MINUTE_MS)
    assert hushed.notices == []
    assert hushed.incident.climb.due_ms is None
    after = ladder.climb(replace(hushed.incident, silenced=""), of, [], T0 + 30 * MINUTE_MS)
    assert {each.person or each.channel for each in after.notices} == {"bo", "desk"}


def test_a_notice_shows_nobody_who_else_is_told_and_its_key_shows_no_address():
    """Addresses are personal: they stand where a notice is sent, and nowhere else in it."""
    climbed = ladder.climb(incident(), book(*LADDER), [], T0)
    [notice] = climbed.notices
    assert notice.incident.climb.told == []
    assert notice.incident.climb.as_was is None
    assert "example.org" not in notice.key
    assert "example.org" not in said(climbed)
    assert notice.address == "anna@example.org"


# ------------------------------------------------------------------------- whatever happens

TELL = ["person:anna", "person:bo", "person:nobody", "channel:desk", "oncall:nights", "oncall:x"]
BOOKS = st.builds(
    lambda waits, tells, repeat_s, rounds, ack_s: book(
        *(step(wait, *tell) for wait, tell in zip(sorted(waits), tells, strict=False)),
        repeat_s=repeat_s,
        rounds=rounds,
        ack_s=ack_s,
    ),
    st.lists(st.sampled_from([0, 0, 60, 300, 301, 900]), min_size=1, max_size=4),
    st.lists(
        st.lists(st.sampled_from(TELL), min_size=1, max_size=3, unique=True), min_size=4, max_size=4
    ),
    st.sampled_from([0, 60, 600, 1800]),
    st.integers(1, 4),
    st.sampled_from([0, 600]),
)


class Climbing(RuleBasedStateMachine):
    """One incident with whatever may happen to it; each look is made again from what is stored."""

    @initialize(of=BOOKS)
    def begin(self, of):
        """Open it."""
        self.book = of
        self.now_ms = T0
        self.incident = incident()
        self.keys: list[str] = []
        self.look()

    def look(self) -> None:
        """Look at the ladder, and once more from what a restart would find."""
        overrides: list[Override] = []
        before = msgspec.json.encode(self.incident)
        climbed = ladder.climb(self.incident, self.book, overrides, self.now_ms)
        stored = msgspec.json.decode(before, type=Incident)
        assert ladder.climb(stored, self.book, overrides, self.now_ms) == climbed
        once_more = ladder.climb(climbed.incident, self.book, overrides, self.now_ms)
        assert (once_more.notices, once_more.history) == ([], [])
        assert once_more.incident == climbed.incident
        due_ms = climbed.incident.climb.due_ms
        assert due_ms is None or due_ms > self.now_ms
        self.take(climbed)

    def take(self, climbed: ladder.Climbed) -> None:
        """Have what a transaction would have written."""
        for notice in climbed.notices:
            assert notice.due_ms <= self.now_ms
        self.keys += [notice.key for notice in climbed.notices]
        self.incident = climbed.incident

    @precondition(lambda self: self.incident.climb.due_ms is not None)
    @rule()
    def wait_until_due(self):
        """The planner looks when something is due."""
        self.now_ms = max(self.now_ms, self.incident.climb.due_ms)
        self.look()

    @precondition(lambda self: self.incident.climb.due_ms is not None)
    @rule(part=st.floats(0, 0.99))
    def look_too_early(self, part):
        """News has the planner look before anything is due: nobody is told for it."""
        wait_ms = max(self.incident.climb.due_ms - self.now_ms, 0)
        self.now_ms += int(wait_ms * part) if wait_ms > 1 else 0
        count = len(self.keys)
        if self.now_ms < self.incident.climb.due_ms:
            self.look()
            assert len(self.keys) == count

    @rule(hours=st.integers(1, 1000))
    def jump_ahead(self, hours):
        """The clock, or central's absence, jumps: at most one round's steps are told."""
        self.now_ms += hours * 3_600_000
        round_before = self.incident.climb.round
        self.look()
        assert self.incident.climb.round <= round_before + 1

    @rule(hours=st.integers(1, 1000))
    def jump_back(self, hours):
        """The clock goes back: nothing is told twice, and nothing waits longer than its ladder."""
        self.now_ms -= hours * 3_600_000
        self.look()
        rungs = self.incident.climb.as_was
        longest_s = max(rungs.repeat_s, rungs.steps[-1].after_s + 60, rungs.ack_s)
        if self.incident.climb.due_ms is not None:
            assert self.incident.climb.due_ms - self.now_ms <= longest_s * 1000

    @precondition(lambda self: self.incident.state is IncidentState.OPEN)
    @rule()
    def acknowledge(self):
        """Somebody is on it."""
        self.take(ladder.acknowledged(self.incident, None, "anna", self.now_ms))
        assert self.incident.climb.due_ms == self.incident.ack_until_ms

    @precondition(lambda self: self.incident.state is IncidentState.ACKNOWLEDGED)
    @rule()
    def give_back(self):
        """And then not."""
        self.take(ladder.unacknowledged(self.incident, "anna", self.now_ms))
        self.look()

    @rule()
    def get_graver(self):
        """It is critical now."""
        self.incident = replace(self.incident, severity=Severity.CRITICAL)
        self.look()

    @rule(of=BOOKS, removed=st.booleans())
    def rewrite(self, of, removed):
        """Somebody writes the ladder anew, or removes it."""
        gone = msgspec.structs.replace(of, ladders={})
        if not removed:
            self.book = of
        else:
            self.incident = ladder.climb(self.incident, gone, [], self.now_ms).incident

    @invariant()
    def nobody_is_told_twice(self):
        """No key comes twice."""
        assert len(self.keys) == len(set(self.keys))

    def teardown(self):
        """It ends: left alone, the climb comes to its end in as many looks as it has steps."""
        for _ in range(4 * 5 + 2 + 20):
            due_ms = self.incident.climb.due_ms
            if due_ms is None:
                return
            self.now_ms = max(self.now_ms + 1, due_ms)
            self.look()
        assert self.incident.climb.due_ms is None


TestClimbing = Climbing.TestCase
TestClimbing.settings = settings(max_examples=40, stateful_step_count=20)
