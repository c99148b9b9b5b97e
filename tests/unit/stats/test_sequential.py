"""The e-process: no false alarm beyond alpha however often one looks, and a real rise is seen."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.stats import sequential
from vedette.stats.sequential import Counts

PAST_DAYS, CAMERA_HOURS = 14, 96.0


def counts(days, since, taken, hours):
    """Return the columns of devices whose past days are rows of `days`."""
    n = len(days)
    return Counts(
        taken=np.arange(n) < taken,
        events_before=days.sum(axis=1).astype(float),
        hours_before=np.full(n, days.shape[1] * CAMERA_HOURS),
        days_before=np.full(n, float(days.shape[1])),
        squares_before=(days**2).sum(axis=1).astype(float),
        events=np.asarray(since, dtype=float),
        hours=np.full(n, hours * 4.0),
        days=np.full(n, hours / 24),
    )


def made(rng, devices, taken, ratio, hours):
    """Return events of devices that differ and have good and bad days, by hour."""
    own = 0.2 * rng.gamma(2, 0.5, (devices, 1))
    days = rng.poisson(own * 24 * rng.gamma(1, 1, (devices, PAST_DAYS)))
    luck = np.repeat(rng.gamma(1, 1, (devices, math.ceil(hours / 24))), 24, axis=1)[:, :hours]
    rates = own * luck
    rates[:taken] *= ratio
    return days, rng.poisson(rates).cumsum(axis=1)


@pytest.mark.parametrize(("devices", "taken"), [(2, 1), (20, 2), (40, 20)])
def test_looking_every_other_hour_stops_few_good_rollouts(devices, taken):
    """Bad events that cluster by device and day are not taken for a rise."""
    rng = np.random.default_rng(devices)
    stopped = 0
    for _ in range(80):
        days, events = made(rng, devices, taken, 1.0, 48)
        of = sequential.spread(counts(days, events[:, 0], taken, 1))
        stopped += any(
            sequential.judge(counts(days, events[:, h - 1], taken, h), of).e_value >= 20
            for h in range(2, 49, 4)
        )
    assert stopped <= 8  # 4 expected of 80 at most; 8 or fewer with probability 0.98


def test_a_tenfold_rise_on_two_canaries_is_seen():
    """In two days, for most of the fleets."""
    rng = np.random.default_rng(3)
    seen = 0
    for _ in range(40):
        days, events = made(rng, 20, 2, 10.0, 48)
        found = counts(days, events[:, -1], 2, 48)
        seen += sequential.judge(found, sequential.spread(found)).e_value >= 20
    assert seen >= 30


def test_a_rise_that_the_controls_have_too_is_none():
    """What happens to everybody is nobody's fault."""
    days = np.full((40, PAST_DAYS), 4)
    alone, shared = np.full(40, 4.0), np.full(40, 12.0)
    alone[:5] = 12.0
    of = sequential.spread(counts(days, shared, 5, 24))
    by_itself = sequential.judge(counts(days, alone, 5, 24), of).e_value
    assert by_itself > 20 > sequential.judge(counts(days, shared, 5, 24), of).e_value


def test_without_controls_a_rise_must_be_larger():
    """Nobody says how much of it is common to all."""
    days = np.full((20, PAST_DAYS), 4)
    since = np.full(20, 8.0)
    since[10:] = 4.0
    of = sequential.spread(counts(days, since, 10, 24))
    beside = sequential.judge(counts(days, since, 10, 24), of)
    alone = sequential.judge(counts(days[:10], since[:10], 10, 24), of)
    assert alone.e_value < beside.e_value
    assert alone.high / alone.low > beside.high / beside.low


def test_nothing_seen_is_no_verdict():
    """Without an hour of exposure the e-value is one and nothing is excluded."""
    days = np.full((4, PAST_DAYS), 4)
    found = sequential.judge(counts(days, np.zeros(4), 2, 0), sequential.Spread(0.1, 1.0, 1.0))
    assert (found.e_value, found.hours, found.rate_high) == (1.0, 0.0, math.inf)
    assert found.low < 0.1
    assert found.high > 100


def test_a_fleet_without_any_past_can_be_judged():
    """New devices have no days before; the prior stands in and says little."""
    found = Counts(
        taken=np.array([True, False]), events_before=np.zeros(2), hours_before=np.zeros(2),
        days_before=np.zeros(2), squares_before=np.zeros(2), events=np.zeros(2),
        hours=np.full(2, 24.0), days=np.ones(2),
    )  # fmt: skip
    judged = sequential.judge(found, sequential.spread(found))
    assert 0 < judged.e_value <= 1
    assert math.isfinite(judged.rate_high)


def test_nothing_bad_ever_is_a_low_rate_after_a_day():
    """A kind that nobody has had, on two devices for a day: the rule of three, not a riddle."""
    days, none = np.zeros((50, PAST_DAYS)), np.zeros(50)
    found = counts(days, none, 2, 24)
    judged = sequential.judge(found, sequential.spread(found))
    assert 2.9 / 192 < judged.rate_high < 4.0 / 192
    often = counts(days + 5, none, 2, 24)
    assert sequential.judge(often, sequential.spread(often)).rate_high > judged.rate_high


def test_the_scatter_of_a_fleet_is_found():
    """Relative variances between devices and days come out of counts."""
    rng = np.random.default_rng(5)
    own = 0.2 * rng.gamma(1 / 0.5, 0.5, (3_000, 1))
    days = rng.poisson(own * 24 * rng.gamma(1 / 0.8, 0.8, (3_000, PAST_DAYS)))
    of = sequential.spread(counts(days, np.zeros(3_000), 1, 1))
    assert of.rate == pytest.approx(0.05, rel=0.05)
    assert of.device == pytest.approx(0.5, rel=0.15)
    assert of.day == pytest.approx(0.8, rel=0.15)


def test_events_that_cluster_count_for_less():
    """The same number on the same devices says less where days differ more."""
    days = np.full((20, PAST_DAYS), 4)
    since = np.full(20, 4.0)
    since[:4] = 16.0
    of = [sequential.Spread(1 / 24, 0.2, day) for day in (0.05, 0.5, 2.0)]
    e = [sequential.judge(counts(days, since, 4, 24), one).e_value for one in of]
    assert e[0] > e[1] > e[2]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(0, 12),
    st.lists(st.integers(0, 400), min_size=24, max_size=24),
    st.floats(0.5, 300),
)
def test_the_numbers_can_always_be_used(taken, others, events, hours):
    """Any counts give finite numbers, an interval with its ends in order, and more is worse."""
    n = taken + others
    days = np.array(events * 30)[: n * 7].reshape(n, 7)
    found = counts(days, events[:n], taken, hours)
    of = sequential.spread(found)
    judged = sequential.judge(found, of)
    assert math.isfinite(judged.e_value)
    assert judged.e_value >= 0
    assert judged.low <= judged.high
    more = np.array(events[:n], dtype=float)
    more[0] += 25
    assert sequential.judge(counts(days, more, taken, hours), of).e_value >= judged.e_value * 0.999
