"""What counts as a bad event of a device, and what stops a rollout at once."""

from collections import defaultdict

import pytest

from vedette.central.rollouts import evidence, lighting, noticing
from vedette.central.rollouts.facts import Device, TroubleKind
from vedette.central.rollouts.noticing import Noticed
from vedette.central.rollouts.store import Known
from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.wire.messages import Aggregate, Frames, HealthReport, SystemHealth
from vedette.wire.slots import ArtefactKind, UpdateHealth

HOUR_MS = 3_600_000


def took(*values_ms: float) -> Aggregate:
    """A minute whose pictures took so long."""
    sketch = ExpHistogram()
    sketch.add_many(values_ms)
    return Aggregate(
        camera="door",
        start_ms=HOUR_MS,
        end_ms=HOUR_MS + 60_000,
        stage_ms={"total": sketch.to_wire()},
    )


def test_a_detector_of_many_classes_fills_no_page_with_reasons():
    """The gravest are told; of the others how many, and where to read them."""
    reasons = [f"recall/class-{number} inconclusive" for number in range(250)]
    told = evidence.in_short(reasons, f"sha256:{'ab' * 32}")
    assert told[0] == reasons[0]
    assert len(told) == evidence.TOLD_GATES + 1
    assert told[-1] == "and 244 gates more: vedette central models gates sha256:abababababab"
    assert evidence.in_short(reasons[:3], "") == reasons[:3]


@pytest.mark.parametrize(
    ("values_ms", "share"),
    [((), 0.0), ((0.0,), 0.0), ((100.0,) * 9 + (400.0,), 0.1), ((500.0,) * 4, 1.0),
     ((212.0, 213.5), 0.0)],
)  # fmt: skip
def test_pictures_beyond_the_budget_are_counted_and_doubt_is_not(values_ms, share):
    """The bucket in which the budget lies counts as in time."""
    body = took(*values_ms)
    assert noticing.misses(body.stage_ms["total"]) == pytest.approx(share)


def test_minutes_without_results_and_beyond_the_budget_are_noticed_by_the_hour():
    """One late picture in twenty is within the budget, one in ten is not."""
    noticed = Noticed()
    noticed.minute("box", took(*[50.0] * 19, 900.0))
    assert noticed.bad == {}
    noticed.minute("box", took(*[50.0] * 9, 900.0))
    silent = Aggregate(
        camera="door", start_ms=HOUR_MS, end_ms=HOUR_MS + 60_000, frames=Frames(captured=60)
    )
    noticed.minute("box", silent)
    noticed.minute("box", silent)
    assert noticed.bad == {("box", HOUR_MS, "budget"): 1, ("box", HOUR_MS, "silent_minute"): 2}


@pytest.mark.parametrize(
    ("flags", "is_hot"),
    [(None, False), ([], False), (["under-voltage"], False), (["throttled-occurred"], False),
     (["soft-temperature-limit"], True), (["under-voltage", "throttled"], True)],
)  # fmt: skip
def test_only_heat_that_holds_it_back_now_is_heat(flags, is_hot):
    """A weak supply is no model's fault, and what once was is over."""
    report = HealthReport(
        at_ms=0, period_s=30.0, version="1", system=SystemHealth(throttle_flags=flags),
        updates=[UpdateHealth(slot="app", kind=ArtefactKind.APP)],
    )  # fmt: skip
    noticed = Noticed()
    noticed.heard("box", report, (1, 1, HOUR_MS + 5, HOUR_MS + 9))
    assert noticed.bad == ({("box", HOUR_MS, "heat"): 1} if is_hot else {})


@pytest.mark.parametrize(
    ("kind", "least", "what"),
    [("heat", evidence.HOT_REPORTS, TroubleKind.THERMAL),
     ("budget", evidence.LATE_MINUTES, TroubleKind.BUDGET)],
)  # fmt: skip
def test_heat_and_lateness_stop_at_once_unless_they_were_there_before(kind, least, what):
    """For a while of an hour; before the activation: told and not counted; tolerated: neither."""
    known = [Known(device=Device(device="box", site="shop"), active_ms=10 * HOUR_MS)]

    def found(hours, tolerated=()):
        bad = {one: defaultdict(dict) for one in evidence.KINDS}
        bad[kind]["box"] = hours
        return [(t.kind, t.had_before) for t in evidence.troubles(bad, known, tolerated)]

    assert found({10 * HOUR_MS: least - 1}) == []
    assert found({10 * HOUR_MS: least}) == [(what, False)]
    assert found({3 * HOUR_MS: least, 12 * HOUR_MS: least}) == [(what, True)]
    assert found({3 * HOUR_MS: least}) == []
    assert found({10 * HOUR_MS: least}, [what]) == []


def test_a_hot_day_that_befalls_everybody_stops_nothing_and_a_hot_model_does():
    """As many of the others in the same hours: told and not counted; crashes are never excused."""
    hot = {20 * HOUR_MS: evidence.HOT_REPORTS}

    def found(others, kind="heat", canaries=2):
        known = [
            Known(device=Device(device=f"box-{n}", site="shop"), active_ms=10 * HOUR_MS)
            for n in range(2)
        ] + [
            Known(device=Device(device=f"old-{n}", site="shop"), active_ms=None) for n in range(20)
        ]
        bad = {one: defaultdict(dict) for one in evidence.KINDS}
        for name in [f"box-{n}" for n in range(canaries)] + [f"old-{n}" for n in range(others)]:
            bad[kind][name] = hot
        return [trouble.is_shared for trouble in evidence.troubles(bad, known)]

    assert found(others=0) == [False, False]
    assert found(others=2) == [False, False], "a tenth of the others explains one, and not both"
    assert found(others=2, canaries=1) == [True]
    assert found(others=12) == [True, True]
    assert found(others=20, kind="crash") == [False, False]


@pytest.mark.parametrize(
    ("hourly", "word"),
    [([], ""), ([0.5, 0.55, 0.45], "bright"), ([0.1, 0.2], "dim"), ([0.1, 0.5], "day and night")],
)
def test_the_light_of_a_day_is_a_word(hourly, word):
    """Nothing measured is not known; what swings with the sun is its own stratum."""
    assert lighting.in_a_word(hourly) == word


def test_a_histogram_of_brightness_has_the_mean_of_what_went_in():
    """Within a bin."""
    bins = LinearBins(20)
    bins.add_many([0.2, 0.4, 0.9])
    assert lighting.mean(bins.to_wire()) == pytest.approx(0.5, abs=0.03)
