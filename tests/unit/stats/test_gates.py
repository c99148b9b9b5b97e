"""Verdicts on model versions: a pass is proven, a failure too, everything else is inconclusive."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.stats.gates import (
    RUNS_FOR_P95,
    Evidence,
    Gate,
    Policy,
    Verdict,
    f1_of,
    judge,
    overall,
    step_time,
)
from vedette.wire.evaluation import CameraDay, HardwareTimes, StepTime, Tally

FAST = StepTime(runs=100, p50_ms=1, p95_ms=2, p99_ms=3, p95_low_ms=1.5, p95_high_ms=3)


def days(tally: tuple[int, int, int], count: int = 60, site: str = "shop") -> list[CameraDay]:
    """So many camera-days, all alike."""
    return [
        CameraDay(site=site, camera=str(n), day="2026-05-17", pictures=1,
                  tallies={"person": Tally(*tally)})
        for n in range(count)
    ]  # fmt: skip


def machine(**steps: StepTime) -> HardwareTimes:
    """A machine on which every step is quick but those given."""
    every = dict.fromkeys(("preprocess", "inference", "postprocess", "model"), FAST) | steps
    return HardwareTimes(hardware="box", steps=every, load_s=1.0, golden_ok=True)


def gates(**more: Any) -> dict[str, Gate]:
    """Return the gates by name."""
    said: dict[str, Any] = {"labels": ["person"]}
    evidence = Evidence(**(said | more))
    return {gate.gate: gate for gate in judge(Policy(), evidence)}


def test_nothing_measured_is_never_a_pass() -> None:
    """No evaluation, no times: every gate says that data are missing."""
    found = gates()
    assert {gate.verdict for gate in found.values()} == {Verdict.INCONCLUSIVE}
    assert all("insufficient data" in gate.reason for gate in found.values())
    assert overall(found.values()) is Verdict.INCONCLUSIVE
    assert overall([]) is Verdict.INCONCLUSIVE


def test_enough_good_days_pass_and_few_of_the_same_do_not() -> None:
    """100 camera-days of 49 right, none wrong; four say nothing, and how many more is told."""
    assert overall(gates(days=days((50, 0, 0), 100), hardware=[machine()]).values()) is Verdict.PASS
    few = gates(days=days((50, 0, 0), 4), hardware=[machine()])["recall/person"]
    assert (few.verdict, few.value) == (Verdict.INCONCLUSIVE, 1.0)
    assert few.needed is not None
    enough = gates(days=days((50, 0, 0), 4 + few.needed))["recall/person"]
    assert enough.verdict is Verdict.PASS


def test_one_class_below_fails_the_version() -> None:
    """Recall of 70 % over 60 camera-days is proven to be below 90 %, whatever the precision."""
    found = gates(days=days((70, 0, 30)), hardware=[machine()])
    assert found["recall/person"].verdict is Verdict.FAIL
    assert found["precision/person"].verdict is Verdict.PASS
    assert overall(found.values()) is Verdict.FAIL


def test_a_class_that_nobody_saw_is_inconclusive() -> None:
    """The version knows cows; the pictures have none."""
    found = gates(labels=["person", "cow"], days=days((50, 0, 0), 100), hardware=[machine()])
    assert found["recall/cow"].verdict is Verdict.INCONCLUSIVE
    assert overall(found.values()) is Verdict.INCONCLUSIVE


def test_a_bad_site_is_found_behind_a_good_mean() -> None:
    """Nine good sites and one where half is missed: the worst site fails and is named."""
    fleet = [day for n in range(9) for day in days((50, 0, 0), 20, f"good-{n}")]
    found = gates(days=[*fleet, *days((25, 0, 25), 20, "dark")], hardware=[machine()])
    assert found["site_recall"].verdict is Verdict.FAIL
    assert found["site_recall"].where == "dark"


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_f1_is_that_of_precision_and_recall(right: int, wrong: int, missed: int) -> None:
    """From the share of right finds among objects and false finds."""
    if right:
        precision, recall = right / (right + wrong), right / (right + missed)
        wanted = 2 * precision * recall / (precision + recall)
        assert f1_of(right / (right + wrong + missed)) == pytest.approx(wanted)


def test_worse_than_the_incumbent_fails_where_every_threshold_holds() -> None:
    """4 % fewer found on every day; the incumbent found all of them."""
    found = gates(
        days=days((96, 0, 4)), incumbent=days((100, 0, 0)), has_incumbent=True,
        hardware=[machine()],
    )  # fmt: skip
    assert found["recall/person"].verdict is Verdict.PASS
    assert found["no_worse/recall"].verdict is Verdict.FAIL
    assert found["no_worse/precision"].verdict is Verdict.PASS


def test_an_incumbent_on_other_pictures_proves_nothing() -> None:
    """Not evaluated on the same pictures, or none of its camera-days is among these."""
    for theirs in (None, days((100, 0, 0), site="elsewhere")):
        found = gates(days=days((96, 0, 4)), incumbent=theirs, has_incumbent=True)
        assert found["no_worse/recall"].verdict is Verdict.INCONCLUSIVE


def test_a_waiver_turns_away_its_own_gate_only() -> None:
    """A waived failure passes; another failure beside it still fails; waived alone it passes."""
    fail = Gate(gate="a", kind="a", verdict=Verdict.FAIL, waived=5)
    other = Gate(gate="b", kind="b", verdict=Verdict.FAIL)
    good = Gate(gate="c", kind="c", verdict=Verdict.PASS)
    assert overall([fail, good]) is Verdict.PASS
    assert overall([fail]) is Verdict.PASS
    assert overall([fail, other, good]) is Verdict.FAIL


@pytest.mark.parametrize(
    ("ms", "verdict"),
    [(90.0, Verdict.PASS), (140.0, Verdict.FAIL)],
)
def test_latency_is_judged_by_its_bound(ms: float, verdict: Verdict) -> None:
    """Against 100 ms of inference; total against what capture and dispatch leave of 213 ms."""
    slow = StepTime(runs=100, p50_ms=ms, p95_ms=ms, p99_ms=ms, p95_low_ms=ms, p95_high_ms=ms)
    found = gates(hardware=[machine(inference=slow, model=slow)])
    assert found["latency/box/inference"].verdict is verdict
    assert found["latency/box/total"].limit == 130.0


def test_few_runs_have_no_upper_bound_of_the_slowest_twentieth() -> None:
    """58 runs cannot tell, 59 can: the slowest of them."""
    few, enough = step_time([1.0] * (RUNS_FOR_P95 - 1)), step_time([*range(RUNS_FOR_P95)])
    assert few.p95_high_ms is None
    assert enough.p95_high_ms == RUNS_FOR_P95 - 1
    assert gates(hardware=[machine(inference=few)])[
        "latency/box/inference"
    ].verdict is Verdict.INCONCLUSIVE  # fmt: skip


def test_hardware_that_was_asked_for_and_not_measured_is_missing() -> None:
    """One machine measured, two asked for; slow loading and a failed golden frame fail."""
    broken = HardwareTimes(hardware="old box", load_s=31.0, golden_ok=False)
    policy = Policy(hardware=["box", "jetson"])
    evidence = Evidence(labels=["person"], hardware=[machine(), broken])
    found = {gate.gate: gate.verdict for gate in judge(policy, evidence)}
    assert found["latency/jetson"] is Verdict.INCONCLUSIVE
    assert found["load/box"] is found["golden/box"] is Verdict.PASS
    assert found["load/old box"] is found["golden/old box"] is Verdict.FAIL
