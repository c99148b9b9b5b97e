"""The gates of a rollout: what each verdict rests on, and what it says in words."""

import pytest

from tests.unit.central.rollout_world import NEW, S, changed, evidence, fleet, plan
from vedette.central.rollouts import evidence as evidence_of
from vedette.central.rollouts import gates
from vedette.central.rollouts.facts import (
    Counted,
    GateResult,
    Measured,
    Progress,
    Stage,
    Tally,
    Verdict,
)
from vedette.wire.slots import ArtefactKind, UpdateState

PAST = Tally(events=14, hours=1344.0, days=14, squares=28)
CANARY = Progress(state=S.CANARY, stage=0, started=True)


def on_it(count, taken, covered_h=5.0):
    """Return a fleet of which the first have run the candidate for so long."""
    return [
        changed(
            d, stage=0, assigned=NEW.digest, attempt=1, state=UpdateState.CONFIRMED,
            confirmed_ms=1, running=NEW.digest, running_ms=2, covered_h=covered_h,
        )
        if number < taken else d
        for number, d in enumerate(fleet(count))
    ]  # fmt: skip


def judged(gate, the_plan=None, devices=None, **changes):
    """Return what one gate says of two canaries among twelve."""
    devices = devices or on_it(12, 2)
    given = evidence(CANARY, devices, **changes)
    results = gates.judge(the_plan or plan(), CANARY, devices, given)
    return next(r for r in results if r.gate == gate)


def rows(taken_events, hours=96.0):
    """Return counts in which two canaries have so many events each and the others one."""

    def since(n):
        return Tally(events=n, hours=hours, days=1, squares=n * n)

    return [
        Counted(
            device=f"box-{n:03}",
            taken=n < 2,
            before=PAST,
            since=since(taken_events if n < 2 else 1),
        )
        for n in range(12)
    ]


def measured(worse_ms, count=12):
    """Return latencies in which two canaries are slower by so much."""
    return [
        Measured(device=f"box-{n:03}", taken=n < 2, before=100.0 + n, after=100.0 + n + n % 2 + w)
        for n in range(count)
        for w in [worse_ms if n < 2 else 0.0]
    ]


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({"restarts": rows(1)}, Verdict.PASS),
        ({"restarts": rows(60)}, Verdict.FAIL),
        ({"restarts": rows(0, hours=0.1)}, Verdict.INCONCLUSIVE),
        ({"restarts": rows(1), "rejections": rows(0, hours=0.1)}, Verdict.INCONCLUSIVE),
        ({"restarts": rows(60), "rejections": rows(1)}, Verdict.FAIL),
        ({}, Verdict.WAIT),
    ],
)
def test_bad_events_pass_only_where_a_rise_is_excluded(counts, verdict):
    """Each kind by itself; one that says too little keeps the others waiting."""
    found = judged("counts", counts=counts)
    assert found.verdict is verdict
    assert (found.e_value is None) == (verdict is Verdict.WAIT)


def test_what_the_counts_say_can_be_read():
    """Kind, seen and usual number, interval and exposure."""
    found = judged("counts", counts={"restarts": rows(60)})
    assert found.reasons[0].startswith("restarts: 120 where ")
    assert "times as frequent" in found.reasons[0]
    assert found.amount == "120 restarts in 192.0 covered camera-hours"
    assert found.e_limit == pytest.approx(20)
    assert found.low is not None
    assert found.low > 1
    nothing = judged("counts", counts={"heat": rows(0, hours=0.0)})
    assert nothing.reasons == ["bad events: no hour of a device with it is known in full yet"]
    assert nothing.amount == "0 spells of heat in 0.0 covered camera-hours"


def test_more_kinds_need_more_evidence():
    """The mean of e-values is one: beside a quiet kind the same counts say half."""
    alone = judged("counts", counts={"a": rows(12)})
    beside = judged("counts", counts={"a": rows(12), "b": rows(1)})
    assert alone.e_stage is not None
    assert beside.e_stage is not None
    assert alone.e_stage / 2 < beside.e_stage < alone.e_stage / 2 + 1


def test_quiet_kinds_do_not_make_it_harder_to_pass():
    """Each has to exclude a rise by itself: its interval does not depend on how many there are."""
    alone = judged("counts", counts={"a": rows(3)})
    beside = judged("counts", counts={"a": rows(3)} | {kind: rows(1) for kind in "bcdef"})
    assert beside.amount == alone.amount
    assert (beside.low, beside.high) == (alone.low, alone.high)


def test_stages_share_the_error_of_the_whole_rollout():
    """Half of it is the first one's; a stage to come has seen nothing; shadow counts none."""
    stages = [Stage(state=S.SHADOW, devices=2), *plan().stages]
    assert gates.all_stages(plan(stages=stages), []) == pytest.approx(1)
    assert gates.all_stages(plan(stages=stages), [40.0]) == pytest.approx(20.5)
    assert gates.all_stages(plan(stages=stages), [1.0, 1.0, 79.0]) == pytest.approx(20.5)
    assert gates.all_stages(plan(stages=stages[:2]), [21.0]) == pytest.approx(21)


@pytest.mark.parametrize(
    ("worse_ms", "covered_h", "verdict"),
    [
        (0.0, 5.0, Verdict.PASS),
        (30.0, 5.0, Verdict.PASS),
        (49.0, 5.0, Verdict.INCONCLUSIVE),
        (90.0, 5.0, Verdict.FAIL),
        (90.0, 1.0, Verdict.INCONCLUSIVE),  # judged at the stage's end only
    ],
)
def test_latency_is_held_against_its_limit_with_its_interval(worse_ms, covered_h, verdict):
    """50 ms may be: passed when certainly below, failed when certainly above."""
    devices = on_it(12, 2, covered_h)
    assert judged("latency_p95_ms", devices=devices, latency_p95_ms=measured(worse_ms)).verdict is (
        verdict
    )


def test_one_device_with_a_before_and_an_after_is_no_evidence():
    """And waiting helps only while a second one may still get them: for a day of its hours."""
    for taken, covered_h, helps in ((2, 5.0, True), (2, 24.0, False), (1, 5.0, False)):
        devices = on_it(12, taken, covered_h)
        found = judged("latency_p95_ms", devices=devices, latency_p95_ms=measured(0.0)[1:])
        assert (found.verdict, found.helps_to_wait) == (Verdict.INCONCLUSIVE, helps)
        assert gates.is_hopeless([found]) is not helps


def test_canaries_of_unequal_speed_that_both_slow_down_agree():
    """Twice the time is 60 ms on one and 140 on the other: no contradiction, and worse."""
    rows = [
        Measured(device="fast", taken=True, before=60.0, after=120.5),
        Measured(device="slow", taken=True, before=140.0, after=279.0),
        *(Measured(device=f"c{n}", taken=False, before=80.0 + 9 * n, after=80.5 + 9 * n) for n in
          range(8)),
    ]  # fmt: skip
    found = judged("latency_p95_ms", latency_p95_ms=rows)
    assert found.verdict is Verdict.FAIL
    assert found.low is not None
    assert 80 < found.low < 100 == pytest.approx(found.value, abs=2)


def test_without_controls_it_says_so():
    """The last wave has only its own past."""
    found = judged("latency_p95_ms", latency_p95_ms=measured(0.0)[:3])
    assert "too few controls" in found.reasons[0]


def test_confidence_is_asked_of_models_only_and_a_drop_is_worse():
    """A rise of the mean confidence is none."""
    model = plan(kind=ArtefactKind.MODEL, gates=plan().gates)
    for after, verdict in ((0.9, Verdict.PASS), (0.6, Verdict.FAIL)):
        confidence = [
            Measured(device=str(n), taken=n < 2, before=0.8, after=after if n < 2 else 0.8)
            for n in range(12)
        ]
        assert judged("confidence", model, confidence=confidence).verdict is verdict
    results = gates.judge(plan(), CANARY, on_it(12, 2), evidence(CANARY, on_it(12, 2)))
    assert "confidence" not in {r.gate for r in results}


def test_a_stage_of_which_few_could_be_reached_has_not_soaked():
    """One canary of two is not enough of them."""
    assert judged("soak", devices=on_it(12, 2)).verdict is Verdict.PASS
    wave = Progress(state=S.WAVE, stage=1, started=True)
    devices = on_it(12, 2)
    results = gates.judge(plan(), wave, devices, evidence(wave, devices))
    assert results[1].reasons == ["2 of 2 have 4 covered hours, 3 must"]
    assert results[1].verdict is Verdict.WAIT


def test_verdicts_add_up_to_the_worst():
    """Nothing at all is inconclusive; what is not seen cannot be accepted."""

    def result(gate, verdict):
        return GateResult(gate=gate, verdict=verdict)

    assert gates.together([]) is Verdict.INCONCLUSIVE
    some = [result("hard", Verdict.PASS), result("counts", Verdict.INCONCLUSIVE)]
    assert gates.together(some) is Verdict.INCONCLUSIVE
    assert gates.is_acceptable(some)
    assert not gates.is_acceptable([*some, result("soak", Verdict.WAIT)])
    assert gates.together([*some, result("soak", Verdict.WAIT)]) is Verdict.WAIT
    assert gates.together([*some, result("x", Verdict.FAIL)]) is Verdict.FAIL


def test_days_without_an_event_are_days_that_were_seen():
    """Else rare events would look as if they came every day, and clustering could not be told."""
    day_ms = 86_400_000
    two_weeks = evidence_of.tally("crash", {3 * 3_600_000: 2}, 0, 14 * day_ms, 336.0)
    assert (two_weeks.events, two_weeks.days, two_weeks.squares) == (2, 14, 4)
    assert evidence_of.tally("crash", {}, 0, 14 * day_ms, 336.0).days == 14
    assert evidence_of.tally("crash", {}, 0, 14 * day_ms, 2.5).days == 3
    assert evidence_of.tally("crash", {0: 5}, 0, day_ms, 0.0) == Tally()
