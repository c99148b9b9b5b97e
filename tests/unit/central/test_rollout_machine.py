"""What holds for every rollout, whatever devices, operators and evidence do."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.unit.central.rollout_world import (
    HOUR_MS,
    NEW,
    OLD,
    S,
    U,
    changed,
    evidence,
    fleet,
    plan,
    step,
)
from vedette.central.rollouts import following, planner, taking
from vedette.central.rollouts.facts import Asked, Order, Progress, Verdict

ENDS = {Order.STOP: S.STOPPED, Order.ROLL_BACK: S.ROLLING_BACK, Order.SUPERSEDE: S.SUPERSEDED}


class Rollout(RuleBasedStateMachine):
    """One rollout with whatever may happen to it."""

    @initialize(count=st.integers(1, 14), data=st.data())
    def begin(self, count, data):
        """Draw a fleet and a plan."""
        names = [f"box-{n:03}" for n in range(count)]
        excluded = data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
        sites = data.draw(st.sampled_from([["*"], ["site-0", "site-1"]]))
        self.plan = plan(excluded=excluded, sites=sites)
        self.devices = fleet(count)
        self.progress = Progress(orders=[Asked(order=Order.START, at_ms=0)])
        self.now_ms = 0
        self.unread: set[str] = set()
        self.gone: set[str] = set()
        self.pass_time(3, 1)

    @rule(which=st.sets(st.sampled_from(["counts", "troubles", "latency_p95_ms", "stage"])))
    def hide(self, which):
        """From now on some of the evidence cannot be read."""
        self.unread = which

    @rule(number=st.integers(0, 13))
    def leave_or_return(self, number):
        """A device is away, or back."""
        self.gone ^= {f"box-{number:03}"}

    @rule(number=st.integers(0, 13))
    def revert(self, number):
        """A device that took it up goes back by itself."""
        self.devices = [
            changed(d, state=U.REVERTED, running=OLD.digest)
            if d.device == f"box-{number:03}" and d.running == NEW.digest and not d.is_shadow
            and d.assigned == NEW.digest else d
            for d in self.devices
        ]  # fmt: skip

    @rule(number=st.integers(0, 13), known=st.booleans())
    def remember_more(self, number, known):
        """A device has an assignment that central does not remember, or central learns of it."""
        self.devices = [
            changed(d, reported_version=d.version + (0 if known else 3))
            if d.device == f"box-{number:03}"
            else d
            for d in self.devices
        ]

    @rule(number=st.integers(0, 13))
    def exclude(self, number):
        """An operator excludes a device in the middle of it."""
        names = {*self.plan.excluded, f"box-{number:03}"}
        self.plan = msgspec.structs.replace(self.plan, excluded=sorted(names))

    @rule(
        kind=st.sampled_from([Order.PAUSE, Order.RESUME, Order.EXTEND, Order.ACCEPT]),
        hours=st.sampled_from([0.0, 24.0]),
    )
    def give_order(self, kind, hours):
        """An operator asks for something."""
        self.ask(kind, hours)

    @precondition(lambda self: self.now_ms > 6 * HOUR_MS)
    @rule(kind=st.sampled_from(list(ENDS)))
    def end(self, kind):
        """An operator ends it."""
        self.ask(kind, 0.0)

    def ask(self, kind, hours):
        """Give an order; what ends a rollout ends it at once."""
        asked = Asked(order=kind, at_ms=self.now_ms, by="ann", why="seen", hours=hours)
        was = self.progress.state
        self.progress = msgspec.structs.replace(self.progress, orders=[asked])
        made = self.tick()
        possible = was in planner.FROM[kind] and not (kind is Order.EXTEND and not hours)
        assert [r[0] for r in made.refused] == ([] if possible else [asked])
        if possible and kind in ENDS:
            assert made.progress.state in {ENDS[kind], S.ROLLED_BACK}

    @rule(every_h=st.sampled_from([1, 1, 30]))
    def go_on(self, every_h):
        """Time goes by, and devices do what they should."""
        self.pass_time(4, every_h)

    @rule()
    def finish_a_stage(self):
        """Enough of it for one stage; what was hidden can be read again."""
        self.unread = set()
        self.pass_time(9, 1)

    def pass_time(self, times, every_h):
        """Decide so often, with reports in between."""
        for _ in range(times):
            self.tick()
            self.now_ms += HOUR_MS * every_h
            self.devices = [
                d if d.device in self.gone else step(d, self.now_ms) for d in self.devices
            ]

    def tick(self):
        """Decide, hold what must hold of the decision, and carry it out."""
        hidden = dict.fromkeys(self.unread)
        given = evidence(self.progress, self.devices, **hidden)
        args = (self.plan, self.progress, self.devices, given, self.now_ms)
        made = planner.decide(*args)
        assert planner.decide(*args) == made
        by_name = {d.device: d for d in self.devices}
        for assign in made.assigns:
            one = by_name[assign.device]
            if assign.item is None:
                continue
            assert one.device not in self.plan.excluded
            assert "*" in self.plan.sites or one.site in self.plan.sites
            assert assign.item.attempt > max(one.attempt, one.reported_attempt)
            assert one.reported_version <= one.version
            assert assign.back == (assign.item.artefact == OLD)
        went_on = (made.progress.stage or 0) > (self.progress.stage or 0)
        is_done = made.progress.state is S.DONE and self.progress.state is not S.DONE
        if went_on or is_done:
            verdicts = {g.verdict for g in made.gates}
            assert made.gates
            assert not self.unread
            allowed = {Verdict.PASS, Verdict.INCONCLUSIVE}
            assert verdicts <= (allowed if "accepted" in made.progress.reason else {Verdict.PASS})
        self.devices = following.applied(self.devices, made, self.now_ms)
        self.progress = made.progress
        return made

    @invariant()
    def no_stage_is_exceeded(self):
        """Never more devices than the stages so far allowed when they were taken in."""
        if not hasattr(self, "plan"):
            return
        everybody = [d for d in self.devices if "*" in self.plan.sites or d.site in self.plan.sites]
        on = [d for d in self.devices if d.assigned == NEW.digest and not d.is_shadow]
        if self.progress.stage is None:
            assert on == []
        else:
            last = len(self.plan.stages) - 1
            index = last if self.progress.state is S.DONE else self.progress.stage
            assert len(on) <= taking.allowed(self.plan, index, len(everybody))

    @invariant()
    def nothing_is_decided_twice(self):
        """Asked again at once, the planner has little left to say, and then nothing."""
        if not hasattr(self, "plan"):
            return
        kept = self.devices, self.progress
        made = self.tick()
        for _ in range(5):
            made = self.tick()
            if not made.assigns and not made.marks:
                break
        assert made.assigns == []
        assert made.marks == []
        self.devices, self.progress = kept


Rollout.TestCase.settings = settings(max_examples=25, stateful_step_count=10, deadline=None)
TestRollout = Rollout.TestCase
