"""Any course of signals, time, silences, crashes: what holds of incidents and notices always."""

import os
from collections import Counter

import hypothesis.strategies as st
import msgspec
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.central.alert_world import Memory, camera, device, site
from vedette.central.alerting import ladder
from vedette.central.alerting.channels.facts import PAGES
from vedette.central.alerting.facts import (
    Incident,
    IncidentState,
    Silence,
    Subject,
    Turn,
    Where,
)

PLACES = [
    *(("site-dark", site(n)) for n in range(3)),
    *(("device-dark", device(n, of)) for n in range(2) for of in range(2)),
    *(("camera-down", camera(n, of)) for n in range(2) for of in range(2)),
]
EXAMPLES = int(os.environ.get("VEDETTE_EXAMPLES", "40"))
WAITS = st.sampled_from([0, 0.01, 1, 20, 45, 70, 400, 1000, 4000])


class Alerts(RuleBasedStateMachine):
    """A world in which things fail and mend, and the engine looks on."""

    @initialize()
    def begin(self) -> None:
        """Have nothing wrong."""
        self.at = Memory()
        self.wrong: set[tuple[str, Subject]] = set()
        self.by_hand: set[tuple[str, Subject]] = set()
        self.events = 0
        self.number = 0

    def _turn(self, *signals, after_s: float = 0.0) -> None:
        told, before = len(self.at.notices), dict(self.at.incidents)
        self.at.turn(*signals, after_s=after_s)
        for notice in self.at.notices[told:]:
            now = self.at.incidents[notice.incident.incident]
            if notice.kind in PAGES:
                assert not ladder.is_quiet(now), "nothing pages while it is quiet"
                assert now.state is not IncidentState.RESOLVED
            assert not now.late_only, "late news wakes nobody"
        for name, was in before.items():
            if was.state is IncidentState.RESOLVED and was != self.at.incidents[name]:
                assert self.at.incidents[name].state is IncidentState.RESOLVED, "it stays over"

    @rule(what=st.sampled_from(PLACES), wait=WAITS)
    def fails(self, what: tuple[str, Subject], wait: float) -> None:
        """Something is wrong, or is said again."""
        self.at.run(wait)
        self._turn(self.at.raised(*what))
        if what not in self.wrong:
            self.by_hand.discard(what)
        self.wrong.add(what)

    @rule(what=st.sampled_from(PLACES), wait=WAITS)
    def mends(self, what: tuple[str, Subject], wait: float) -> None:
        """Something is well."""
        self.at.run(wait)
        self._turn(self.at.cleared(*what))
        self.wrong.discard(what)
        self.by_hand.discard(what)

    @rule(where=st.sampled_from([camera(0), camera(1)]), late=st.booleans())
    def happens(self, where: Subject, late: bool) -> None:
        """An event comes, at once or late."""
        self.events += 1
        ago_ms = 3_600_000 if late else 0
        self._turn(self.at.event(where, self.events, late=late, at_ms=self.at.now_ms - ago_ms))

    @rule(signals=st.lists(st.tuples(st.sampled_from(PLACES), st.booleans()), max_size=8))
    def storms(self, signals: list[tuple[tuple[str, Subject], bool]]) -> None:
        """Much changes in one turn."""
        made = [
            self.at.signal(*what, Turn.RAISED if fails else Turn.CLEARED) for what, fails in signals
        ]
        self._turn(*made)
        for what, fails in signals:
            if not fails or what not in self.wrong:
                self.by_hand.discard(what)
            (self.wrong.add if fails else self.wrong.discard)(what)

    @rule(wait=WAITS)
    def passes(self, wait: float) -> None:
        """Time passes, with every turn that falls due."""
        self.at.run(wait)

    @rule(back_s=st.sampled_from([5, 400, 100_000]))
    def is_set_back(self, back_s: float) -> None:
        """The clock goes back: everything is looked at, as `jobs` does then."""
        self.at.now_ms -= back_s * 1000
        for one in self.at.open:
            self.at.incidents[one.incident] = msgspec.structs.replace(one, due_ms=self.at.now_ms)
        self._turn()

    @rule(where=st.sampled_from([Where(), Where(sites=["s1"])]), planned=st.booleans())
    def is_silenced(self, where: Where, planned: bool) -> None:
        """Somebody makes a silence for ten minutes."""
        self.number += 1
        made = Silence(
            silence=f"si-{self.number}", from_ms=self.at.now_ms, where=where,
            to_ms=self.at.now_ms + 600_000, is_maintenance=planned,
        )  # fmt: skip
        self.at.silences = [*self.at.silences[-3:], made]
        self._turn()

    @precondition(lambda self: self.at.open)
    @rule(data=st.data())
    def is_taken_on(self, data: st.DataObject) -> None:
        """Somebody acknowledges."""
        one = data.draw(st.sampled_from(self.at.open))
        climbed = ladder.acknowledged(one, self.at.book.ladders["guards"], "ann", self.at.now_ms)
        self.at.incidents[one.incident] = climbed.incident
        self._turn()

    @rule()
    def is_repeated_after_a_crash(self) -> None:
        """What was decided and not committed is decided again, with the same keys."""
        copies = [dict(self.at.incidents), dict(self.at.held), dict(self.at.until)]
        notices, history = list(self.at.notices), list(self.at.history)
        first = self.at.turn()
        self.at.incidents, self.at.held, self.at.until = copies
        self.at.notices, self.at.history = notices, history
        assert self.at.turn() == first

    # ----------------------------------------------------------------------- what always holds

    @invariant()
    def one_open_incident_of_a_key(self) -> None:
        """Never two."""
        keys = Counter(one.key for one in self.at.open)
        assert not [key for key, count in keys.items() if count > 1]

    @invariant()
    def what_is_wrong_is_in_one_place(self) -> None:
        """In one open incident, or held by planned work; nothing else is called wrong."""
        found = Counter(
            (one.rule, member.subject)
            for one in self.at.open
            for member in one.members
            if member.ended_ms is None and one.rule != "intrusion"
        )
        found.update(self.at.held.keys())
        assert set(found) == self.wrong
        assert set(found.values()) <= {1}

    @invariant()
    def nothing_is_told_twice(self) -> None:
        """Each key is decided once."""
        keys = Counter(notice.key for notice in self.at.notices)
        assert not [key for key, count in keys.items() if count > 1]

    @invariant()
    def an_incident_is_open_while_something_is_wrong_in_it(self) -> None:
        """And over when nothing is, unless it flaps or waits for further events."""
        for one in self.at.incidents.values():
            wrong = [member for member in one.members if member.ended_ms is None]
            if one.state is IncidentState.RESOLVED:
                assert one.late_only or not wrong
            elif one.rule != "intrusion":
                assert wrong or one.flapping_ms is not None

    @invariant()
    def whatever_waits_has_its_time(self) -> None:
        """What is open and told of has a next look, or nothing is left to tell."""
        for one in self.at.open:
            assert one.due_ms is None or isinstance(one.due_ms, int)
            if one.inhibited:
                assert self._stands(one), "whatever keeps it quiet is open itself"

    def _stands(self, one: Incident) -> bool:
        by = self.at.incidents[one.inhibited]
        woken = one.due_ms is not None and one.due_ms <= self.at.now_ms
        return by.state is not IncidentState.RESOLVED or woken


Alerts.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=20)
TestAlerts = Alerts.TestCase
TestAlerts.__doc__ = "Any course of events keeps what is promised."
