"""The planner of rollouts: who is taken in, what stops it, what it never takes for granted."""

import msgspec
import pytest

from tests.unit.central.rollout_world import (
    HOUR_MS,
    NEW,
    OLD,
    OTHER,
    S,
    U,
    artefact,
    changed,
    device,
    evidence,
    fleet,
    plan,
    step,
)
from vedette.central.rollouts import following, planner, taking
from vedette.central.rollouts.facts import (
    Asked,
    Counted,
    Evidence,
    Gates,
    Order,
    Progress,
    Shadowed,
    Stage,
    Tally,
    Trouble,
    TroubleKind,
    Verdict,
)
from vedette.wire.slots import ArtefactKind

START = Progress(orders=[Asked(order=Order.START, at_ms=0)])
CANARY = Progress(state=S.CANARY, stage=0, started=True)


def run(the_plan, progress, devices, hours, *, first_h=0, every_h=1, hidden=(), **changes):
    """Return progress and devices after so many hours in which all carry out what they should."""
    for hour in range(first_h, first_h + hours, every_h):
        now_ms = hour * HOUR_MS
        given = evidence(progress, devices, **dict.fromkeys(hidden), **changes)
        made = planner.decide(the_plan, progress, devices, given, now_ms)
        devices = following.applied(devices, made, now_ms)
        progress = made.progress
        devices = [step(d, now_ms + every_h * HOUR_MS, every_h) for d in devices]
    return progress, devices


def order(progress, kind, **changes):
    """Return the progress with an order that waits."""
    asked = Asked(order=kind, at_ms=0, by="ann", why="seen", **changes)
    return msgspec.structs.replace(progress, orders=[asked])


def test_a_good_candidate_reaches_every_device():
    """Canary, wave, all; each device confirmed."""
    progress, devices = run(plan(), START, fleet(12), 60)
    assert progress.state is S.DONE
    assert all(d.running == NEW.digest and d.confirmed_ms is not None for d in devices)
    assert [d.attempt for d in devices] == [1] * 12


def test_a_stage_takes_devices_in_at_once_and_not_after_the_next_wait():
    """What enters a stage is decided about again now; what fills it may wait for reports."""
    devices = fleet(12)
    made = planner.decide(plan(), START, devices, evidence(START, devices), 7_000)
    assert (made.progress.state, made.assigns, made.next_ms) == (S.CANARY, [], 7_000)
    given = evidence(made.progress, devices)
    filled = planner.decide(plan(), made.progress, devices, given, 7_000)
    assert len(filled.assigns) == 2
    assert filled.next_ms == 7_000 + planner.TICK_MS


def test_a_stage_says_what_it_waits_for():
    """Why it is still there, and not why it was entered."""
    progress, devices = run(plan(), START, fleet(12), 3)
    assert progress.state is S.CANARY
    made = planner.decide(plan(), progress, devices, evidence(progress, devices), 3 * HOUR_MS)
    assert made.progress.state is S.CANARY
    assert made.reasons[0].startswith("waits: 0 of 2 have 4 covered hours, 2 must"), made.reasons


@pytest.mark.parametrize(
    ("changes", "state", "said"),
    [
        ({"gated": None}, S.DRAFT, "cannot be read"),
        ({"gated": Verdict.INCONCLUSIVE}, S.DRAFT, "inconclusive"),
        ({"approved": None}, S.GATED, "could not be read"),
        ({"approved": {"site-0": "expired"}}, S.GATED, "expired"),
    ],
)
def test_nothing_begins_without_gates_and_approval(changes, state, said):
    """A missing one blocks like a bad one."""
    made = planner.decide(plan(), START, fleet(6), evidence(START, fleet(6), **changes), 0)
    assert made.progress.state is state
    assert made.assigns == []
    assert said in " ".join(made.reasons)


@pytest.mark.parametrize(
    ("is_ordered", "wait_ms"), [(True, planner.TICK_MS), (False, planner.SLOW_TICK_MS)]
)
def test_what_was_ordered_waits_shortly_for_gates_and_approval(is_ordered, wait_ms):
    """A draft that nobody started may wait long; one that somebody did is looked at soon."""
    begun = START if is_ordered else Progress()
    given = evidence(begun, fleet(6), gated=Verdict.FAIL)
    made = planner.decide(plan(), begun, fleet(6), given, 5_000)
    assert (made.progress.state, made.next_ms) == (S.DRAFT, 5_000 + wait_ms)


@pytest.mark.parametrize("missing", ["troubles", "counts", "latency_p95_ms", "stage"])
def test_evidence_that_cannot_be_read_blocks_a_stage(missing):
    """However long it soaks: never a pass without it; at the end it is inconclusive."""
    progress, devices = run(plan(), START, fleet(12), 200, every_h=5, hidden=[missing])
    assert progress.state is S.INCONCLUSIVE
    assert sum(following.is_taken(d) for d in devices) == 2


def test_too_few_bad_events_to_tell_are_no_pass():
    """Two canaries with a few minutes of exposure exclude nothing."""
    short = Tally(events=0, hours=0.1, days=1, squares=0)
    past = Tally(events=14, hours=14.0, days=14, squares=28)

    def rows(devices):
        return {
            "bad events": [
                Counted(device=d.device, taken=d.running == NEW.digest, before=past, since=short)
                for d in devices
            ]
        }

    progress, devices = START, fleet(12)
    for hour in range(12):
        progress, devices = run(plan(), progress, devices, 1, first_h=hour, counts=rows(devices))
    assert progress.state is S.CANARY
    progress, _ = run(plan(), progress, devices, 170, first_h=12, every_h=10, counts=rows(devices))
    assert progress.state is S.INCONCLUSIVE


def test_two_devices_are_inconclusive_until_somebody_answers_for_them():
    """One canary has no scatter; an operator may accept that by name, and only that."""
    progress, devices = run(plan(), START, fleet(2), 30)
    assert progress.state is S.INCONCLUSIVE
    nameless = msgspec.structs.replace(progress, orders=[Asked(order=Order.ACCEPT, at_ms=0)])
    made = planner.decide(plan(), nameless, devices, evidence(progress, devices), 30 * HOUR_MS)
    assert made.refused[0][1] == "whoever accepts says who they are, and why"
    progress, _ = run(plan(), order(progress, Order.ACCEPT), devices, 20, first_h=30)
    assert progress.stage == 1


def test_nobodys_word_replaces_hours_in_which_nothing_was_seen():
    """Who accepts a stage without covered hours is told why it stays."""
    progress, devices = run(plan(), START, fleet(12), 180, every_h=10, counts=None)
    unsoaked = [changed(d, covered_h=0.0) for d in devices]
    accepted = order(progress, Order.ACCEPT)
    made = planner.decide(plan(), accepted, unsoaked, evidence(progress, unsoaked), 180 * HOUR_MS)
    assert made.progress.state is S.INCONCLUSIVE
    assert made.progress.reason.startswith("accepted, but nobody's word replaces covered hours")


def test_an_inconclusive_stage_can_be_given_more_time():
    """It goes on where it was, and asks again after so many hours."""
    progress, devices = run(plan(), START, fleet(12), 180, every_h=10, counts=None)
    assert progress.state is S.INCONCLUSIVE
    extended = order(progress, Order.EXTEND, hours=10.0)
    progress, devices = run(plan(), extended, devices, 5, first_h=180, counts=None)
    assert progress.state is S.CANARY
    progress, _ = run(plan(), progress, devices, 12, first_h=185, counts=None)
    assert progress.state is S.INCONCLUSIVE


def test_more_bad_events_send_everything_back():
    """The e-process stops the canary; the way back is the next attempt, without a window."""
    many = Tally(events=60, hours=96.0, days=1, squares=3600)
    past = Tally(events=14, hours=1344.0, days=14, squares=28)
    usual = Tally(events=1, hours=96.0, days=1, squares=1)
    the_plan = plan(windows=[("22:00", "05:00")])
    progress, devices = run(the_plan, START, fleet(12), 6)
    rows = [
        Counted(
            device=d.device,
            taken=d.running == NEW.digest,
            before=past,
            since=many if d.running == NEW.digest else usual,
        )
        for d in devices
    ]
    made = planner.decide(
        the_plan, progress, devices, evidence(progress, devices, counts={"restarts": rows}),
        6 * HOUR_MS,
    )  # fmt: skip
    assert made.progress.state is S.ROLLING_BACK
    assert "restarts: 120" in made.progress.reason
    ways = [(a.back, a.item) for a in made.assigns if a.item]
    assert [(back, i.attempt, i.artefact, i.windows) for back, i in ways] == [
        (True, 2, OLD, [])
    ] * 2
    devices = following.applied(devices, made, 6 * HOUR_MS)
    progress, devices = run(the_plan, made.progress, devices, 5, first_h=7)
    assert progress.state is S.ROLLED_BACK
    assert "restarts: 120" in progress.reason
    assert {d.running for d in devices} == {OLD.digest}


@pytest.mark.parametrize("kind", [k for k in TroubleKind if k is not TroubleKind.LOST])
def test_what_no_rollout_may_cause_stops_at_once(kind):
    """One crash loop, one hot device, one blown budget among the first fifty."""
    progress, devices = run(plan(), START, fleet(12), 4)
    canary = next(d.device for d in devices if following.is_taken(d))
    for had_before, state in ((True, S.CANARY), (False, S.ROLLING_BACK)):
        trouble = [Trouble(device=canary, kind=kind, had_before=had_before)]
        given = evidence(progress, devices, troubles=trouble)
        made = planner.decide(plan(), progress, devices, given, 4 * HOUR_MS)
        assert made.progress.state is state


def test_a_device_that_falls_silent_while_it_changes_over_is_lost_and_counts():
    """Silence after the activation is a failure, not patience."""
    progress, devices = run(plan(), START, fleet(12), 2)
    changing = [d for d in devices if d.state is U.PROBATION]
    assert len(changing) == 2
    later_ms = (changing[0].last_seen_ms or 0) + 3 * HOUR_MS
    devices = [
        changed(d, last_seen_ms=later_ms, running_ms=later_ms) if d not in changing[:1] else d
        for d in devices
    ]
    made = planner.decide(plan(), progress, devices, evidence(progress, devices), later_ms)
    assert (changing[0].device, U.LOST) in [(m.device, m.state) for m in made.marks]
    assert made.progress.state is S.ROLLING_BACK


def test_a_device_is_confirmed_only_by_a_later_heartbeat_with_the_digest():
    """Its own word is not enough, and another digest is the opposite."""
    said = device(
        0, stage=0, assigned=NEW.digest, assigned_ms=0, attempt=1, state=U.CONFIRMED,
        since_ms=1_000, last_seen_ms=1_000, running_ms=1_000, running=NEW.digest,
    )  # fmt: skip
    assert following.marks(plan(), [said], 1_000) == []
    later = changed(said, running_ms=31_000)
    assert [m.state for m in following.marks(plan(), [later], 31_000)] == [U.CONFIRMED]
    other = changed(later, running=OLD.digest)
    assert [m.state for m in following.marks(plan(), [other], 31_000)] == [U.REVERTED]
    gone = changed(other, confirmed_ms=20_000)
    assert [m.state for m in following.marks(plan(), [gone], 31_000)] == [U.REVERTED]


def test_central_from_an_old_backup_sends_no_device_backwards():
    """Devices that know more than central are left alone, and named, until somebody looked."""
    strange = (
        fleet(6, reported_version=9, version=4),
        fleet(6, reported_attempt=3, attempt=1),
        fleet(6, running=OTHER.digest),
    )
    for devices in strange:
        progress, after = run(plan(), START, devices, 3)
        assert progress.state is S.CANARY
        assert {d.assigned for d in after} == {""}
        assert {d.state for d in after} == {U.SKIPPED}
        trusted = plan(trusted=[d.device for d in devices])
        _, after = run(trusted, progress, after, 1, first_h=3)
        assert sum(d.assigned == NEW.digest for d in after) == 2
    assert taking.candidate(plan(), fleet(1)[0], is_shadow=False).attempt == 1
    assert taking.candidate(plan(), fleet(1, reported_attempt=3)[0], is_shadow=False).attempt == 4


def test_a_taken_device_that_knows_more_blocks_and_is_not_sent_back():
    """A rollback ordered by a central without memory names it instead."""
    progress, devices = run(plan(), START, fleet(12), 5)
    taken = next(d for d in devices if following.is_taken(d))
    devices = [changed(d, reported_version=99) if d is taken else d for d in devices]
    made = planner.decide(plan(), progress, devices, evidence(progress, devices), 5 * HOUR_MS)
    assert made.gates[0].verdict is Verdict.WAIT
    back = order(progress, Order.ROLL_BACK)
    made = planner.decide(plan(), back, devices, evidence(progress, devices), 5 * HOUR_MS)
    assert taken.device not in [a.device for a in made.assigns]
    assert made.progress.state is S.ROLLING_BACK
    assert taken.device in " ".join(made.reasons)


def test_devices_that_are_away_are_skipped_and_caught_up_with():
    """They hold nobody up, and get it when they return, even after the end."""
    devices = fleet(12)
    the_plan = plan()
    away = {"box-003", "box-004"}
    progress = START
    for hour in range(60):
        now_ms = hour * HOUR_MS
        given = evidence(progress, devices)
        made = planner.decide(the_plan, progress, devices, given, now_ms)
        devices = following.applied(devices, made, now_ms)
        progress = made.progress
        devices = [d if d.device in away and hour < 50 else step(d, now_ms + HOUR_MS)
                   for d in devices]  # fmt: skip
        if hour == 45:
            assert progress.state is S.DONE
            assert {d.state for d in devices if d.device in away} == {U.SKIPPED}
            assert all("nothing was heard" in d.detail for d in devices if d.device in away)
    assert {d.running for d in devices} == {NEW.digest}


def test_an_assignment_that_was_never_fetched_frees_its_place():
    """Only where the device was certainly away since; else it keeps it and may act alone."""
    one, two = fleet(2, stage=0, assigned=NEW.digest, attempt=1, state=U.ASSIGNED, assigned_ms=5)
    seen = changed(two, last_seen_ms=6)
    assert following.never_reached(plan(), one, 2 * HOUR_MS)
    assert not following.never_reached(plan(), seen, 2 * HOUR_MS)


def test_orders_are_carried_out_or_refused_with_a_reason():
    """Pause takes nothing in and its time does not count; stop leaves what was taken up."""
    progress, devices = run(plan(), START, fleet(12), 6)
    progress, devices = run(
        plan(), order(progress, Order.PAUSE), devices, 300, first_h=6, every_h=20
    )
    assert progress.state is S.PAUSED
    progress, devices = run(plan(), order(progress, Order.RESUME), devices, 2, first_h=306)
    assert progress.state in {S.CANARY, S.WAVE}
    made = planner.decide(plan(), order(progress, Order.RESUME), devices, Evidence(), 308 * HOUR_MS)
    assert made.refused[0][1] == f"not while the rollout is {progress.state}"
    for kind, state in ((Order.STOP, S.STOPPED), (Order.SUPERSEDE, S.SUPERSEDED)):
        ended, after = run(plan(), order(progress, kind), devices, 3, first_h=308)
        assert ended.state is state
        assert sum(d.running == NEW.digest for d in after) == sum(
            d.running == NEW.digest for d in devices
        )
    back, after = run(plan(), order(progress, Order.ROLL_BACK), devices, 5, first_h=308)
    assert back.state is S.ROLLED_BACK
    assert {d.running for d in after} == {OLD.digest}


def test_a_pause_does_not_stop_the_alarm():
    """What fails in a pause is sent back."""
    progress, devices = run(plan(), START, fleet(12), 4)
    canary = next(d.device for d in devices if following.is_taken(d))
    given = evidence(progress, devices, troubles=[Trouble(device=canary, kind=TroubleKind.THERMAL)])
    paused = order(progress, Order.PAUSE)
    made = planner.decide(plan(), paused, devices, given, 4 * HOUR_MS)
    assert made.progress.state is S.ROLLING_BACK


def test_pins_come_first_and_exclusions_never():
    """Both may change while it runs."""
    the_plan = plan(pinned=["box-007"], excluded=["box-001"], sites=["site-0", "site-1"])
    progress, devices = run(the_plan, START, fleet(12), 2)
    assert "box-007" in {d.device for d in devices if d.assigned}
    excluded = msgspec.structs.replace(the_plan, excluded=["box-001", "box-007"])
    progress, devices = run(excluded, progress, fleet(12), 60)
    assert progress.state is S.DONE
    assert {d.device for d in devices if d.running == OLD.digest} == {
        "box-001", "box-002", "box-005", "box-007", "box-008", "box-011",
    }  # fmt: skip


def test_a_device_with_nothing_to_go_back_to_is_named():
    """The rollback does not pretend; with a version in the plan it works."""
    progress, devices = run(plan(), START, fleet(12, before=None), 5)
    progress, devices = run(plan(), order(progress, Order.ROLL_BACK), devices, 3, first_h=5)
    assert progress.state is S.ROLLING_BACK
    given_up = plan(excluded=[d.device for d in devices])
    kept, _ = run(given_up, progress, devices, 1, first_h=8)
    assert kept.state is S.ROLLED_BACK
    assert kept.reason.endswith("all are back but 2 excluded ones"), "they run it still"
    progress, devices = run(plan(back=OLD), progress, devices, 5, first_h=8)
    assert progress.state is S.ROLLED_BACK
    assert {d.running for d in devices} == {OLD.digest}


def test_a_model_shadows_before_it_is_used():
    """Beside the incumbent on devices that then are the canaries; without evidence it stays."""
    model = artefact("b", ArtefactKind.MODEL)
    stages = [Stage(state=S.SHADOW, devices=4), Stage(state=S.CANARY, devices=2, soak_h=4)]
    the_plan = plan(kind=ArtefactKind.MODEL, artefact=model, slot="people", stages=stages)
    progress, devices = run(the_plan, START, fleet(12), 9, shadow=None)
    shadows = {d.device for d in devices if d.is_shadow}
    assert (progress.state, len(shadows)) == (S.SHADOW, 4)
    assert {d.running for d in devices} == {OLD.digest}
    few = Shadowed(verdict=Verdict.INCONCLUSIVE, reviewed=3, needed=60)
    waiting, _ = run(the_plan, progress, devices, 200, first_h=9, every_h=10, shadow=few)
    assert waiting.state is S.INCONCLUSIVE
    progress, devices = run(the_plan, progress, devices, 3, first_h=9)
    assert progress.state is S.CANARY
    canaries = {d.device for d in devices if d.assigned}
    assert len(canaries) == 2
    assert canaries < shadows
    assert {d.attempt for d in devices if d.assigned} == {2}
    worse = Shadowed(verdict=Verdict.FAIL, reviewed=60, needed=60, a_better=50)
    progress, devices = run(the_plan, START, fleet(12), 5, shadow=worse)
    assert progress.state is S.ROLLED_BACK
    assert {d.assigned for d in devices} == {""}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": []}, "no stage"),
        ({"stages": [Stage(state=S.WAVE)]}, "devices or share"),
        ({"stages": [Stage(state=S.WAVE, share=1.5)]}, "share is above 0"),
        ({"stages": [Stage(state=S.WAVE, devices=0)]}, "at least one"),
        ({"stages": [Stage(state=S.DONE, devices=1)]}, "is no stage"),
        (
            {"stages": [Stage(state=S.WAVE, share=1.0), Stage(state=S.CANARY, devices=1)]},
            "stand in the order",
        ),
        ({"kind": ArtefactKind.MODEL}, "no shadow stage"),
        ({"windows": [("22:00", "25:00")]}, "is no time"),
    ],
)
def test_a_plan_that_cannot_be_is_told_and_does_nothing(changes, said):
    """Instead of half of it."""
    bad = plan(**changes)
    assert said in " ".join(planner.check(bad))
    made = planner.decide(bad, START, fleet(4), evidence(START, fleet(4)), 0)
    assert (made.progress.state, made.assigns) == (S.DRAFT, [])


def test_a_plan_spoilt_on_the_way_still_stops_for_an_alarm():
    """It takes nobody in any more, and what is on it is watched."""
    progress, devices = run(plan(), START, fleet(12), 4)
    bad = plan(windows=[("22:00", "25:00")])
    canary = next(d.device for d in devices if following.is_taken(d))
    for troubles, state in (
        ([], S.CANARY),
        ([Trouble(device=canary, kind=TroubleKind.THERMAL)], S.ROLLING_BACK),
    ):
        given = evidence(progress, devices, troubles=troubles)
        made = planner.decide(bad, progress, devices, given, 4 * HOUR_MS)
        assert made.progress.state is state
    shorter = plan(stages=plan().stages[:1])
    beyond = msgspec.structs.replace(progress, stage=2)
    made = planner.decide(shorter, beyond, devices, evidence(beyond, devices), 4 * HOUR_MS)
    assert "no stage 3 any more" in made.reasons[0]


def test_a_few_failures_do_not_stop_a_large_wave():
    """One lost device of two hundred is one lost device."""
    the_plan = plan(stages=[Stage(state=S.WAVE, share=1.0)], gates=Gates(max_failed_share=0.02))
    on = [
        changed(
            d, stage=0, assigned=NEW.digest, attempt=1, state=U.CONFIRMED, confirmed_ms=1,
            running=NEW.digest,
        )
        for d in fleet(200)
    ]  # fmt: skip
    progress = Progress(state=S.WAVE, stage=0, started=True)
    for failed, state in ((4, S.WAVE), (5, S.ROLLING_BACK)):
        devices = [changed(d, state=U.REVERTED) for d in on[:failed]] + on[failed:]
        made = planner.decide(the_plan, progress, devices, evidence(progress, devices), 0)
        assert made.progress.state is state
