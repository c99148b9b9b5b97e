"""Objectives and figures: nothing passes on too little evidence, nothing counts twice."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.business import kpi, places, slo
from vedette.central.business.kpi import Kpi, Value
from vedette.central.business.slo import Measured
from vedette.central.views import Segment
from vedette.errors import ConfigError

DAY_S = 86_400.0
HOUR_MS = 3_600_000


def measured(observed: float, lost: float = 0.0, pending: float = 0.0) -> Measured:
    """Return a month in camera-days."""
    return Measured(
        observed_s=observed * DAY_S,
        pending_s=pending * DAY_S,
        lost_s={"DEVICE_DARK": lost * DAY_S} if lost else {},
    )


@pytest.mark.parametrize(
    ("month", "percent", "verdict"),
    [
        (measured(90.0), 99.7, "met"),
        (measured(89.8, 0.2), 99.7, "met"),
        (measured(89.8, 0.2), 99.9, "missed"),
        (measured(89.0, 1.0), 99.7, "missed"),
        (measured(89.7, 0.1, 0.2), 99.7, "undecided"),  # what waits would be too much to miss
        (measured(89.8, 0.1, 0.1), 99.7, "met"),  # even if none of it were seen
        (measured(89.0, 0.5, 0.5), 99.7, "missed"),  # nothing that waits can help any more
        (measured(0.9), 99.7, "too_little"),
        (measured(0.0, 0.5), 99.7, "too_little"),
        (Measured(), 99.7, "too_little"),
        (Measured(exempt_s=90 * DAY_S), 99.7, "too_little"),
    ],
)
def test_a_month_is_judged_only_where_what_waits_cannot_change_it(
    month: Measured, percent: float, verdict: str
) -> None:
    """Too little is never a pass, nor is a month of which the deciding part waits on a device."""
    assert slo.judge(month, percent)[3] == verdict


def test_an_empty_month_has_no_fraction() -> None:
    """No data is not zero, nor is it all."""
    assert slo.judge(Measured(), 99.7)[:2] == (None, None)


def test_only_what_was_switched_off_on_purpose_is_not_accountable() -> None:
    """A dark device, a stopped pipeline and central's own absence all count as not seen."""
    causes = [None, "DEVICE_DARK", "CENTRAL_DOWN", "SCHEDULED_OFF", "PENDING_BACKFILL", "AWAITING"]
    segments = [
        Segment(start_ms=at * HOUR_MS, end_ms=(at + 1) * HOUR_MS, cause=cause)
        for at, cause in enumerate(causes)
    ]
    found = slo.measure(segments, None)
    assert (found.observed_s, found.pending_s, found.exempt_s) == (3600, 7200, 3600)
    assert found.lost_s == {"DEVICE_DARK": 3600, "CENTRAL_DOWN": 3600}


def test_outside_of_opening_hours_nothing_is_accountable() -> None:
    """A night without light costs a shop nothing, where that was asked so."""
    night = [
        Segment(start_ms=0, end_ms=8 * HOUR_MS, cause="TAMPERED"),
        Segment(start_ms=8 * HOUR_MS, end_ms=10 * HOUR_MS),
        Segment(start_ms=10 * HOUR_MS, end_ms=12 * HOUR_MS, cause="CAMERA_DOWN"),
    ]
    found = slo.measure(night, [(7 * HOUR_MS, 11 * HOUR_MS)])
    assert found.observed_s == 2 * 3600
    assert found.lost_s == {"TAMPERED": 3600, "CAMERA_DOWN": 3600}
    assert found.exempt_s == 8 * 3600


def test_a_month_is_the_sites_own_with_its_change_of_clocks() -> None:
    """October in Lisbon has one hour more than October in UTC; February of 2028 has 29 days."""
    start, end = slo.month_ms("2026-10", ZoneInfo("Europe/Lisbon"))
    assert (end - start) // HOUR_MS == 31 * 24 + 1
    start, end = slo.month_ms("2028-02", ZoneInfo("UTC"))
    assert (end - start) // HOUR_MS == 29 * 24
    start, end = slo.month_ms("2026-12", ZoneInfo("UTC"))
    assert (end - start) // HOUR_MS == 31 * 24


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-1", "9999-01", "2026-10-01", "x" * 99]
)
def test_what_is_no_month_is_refused(text: str) -> None:
    """With the form that it should have."""
    with pytest.raises(ConfigError, match="no month"):
        slo.month_ms(text, ZoneInfo("UTC"))


def test_the_nearest_rule_holds() -> None:
    """The site's own, then its folder's from below, then everybody's."""
    rules = {"": 1, "folder:europe": 2, "folder:europe/portugal": 3, "site:porto": 4}
    assert places.nearest(rules, "porto", "europe/portugal") == ("site:porto", 4)
    assert places.nearest(rules, "lisbon", "europe/portugal") == ("folder:europe/portugal", 3)
    assert places.nearest(rules, "paris", "europe/france") == ("folder:europe", 2)
    assert places.nearest(rules, "oslo", "europe-north") == ("", 1)
    assert places.nearest({}, "oslo", "") is None
    for wrong in ("site:", "folder:", "site:A B", "camera:x", "porto"):
        with pytest.raises(ConfigError):
            places.check(wrong)


SUM = Kpi(kpi="receipts", title="Receipts", unit="", adds_up=True)
LEVEL = Kpi(kpi="queue", title="Queue", unit="people", adds_up=False)


def test_a_sum_is_shared_out_by_time_and_a_level_is_averaged() -> None:
    """A day's 48 receipts are two an hour; a level of 4 for half an hour stays 4, half covered."""
    day = Value(site="a", start_ms=0, end_ms=24 * HOUR_MS, value=48.0)
    hours = kpi.steps(SUM, [day], 1, from_ms=0, to_ms=3 * HOUR_MS, step_ms=HOUR_MS)
    assert [(one.value, one.covered) for one in hours] == [(2.0, 1.0)] * 3
    half = Value(site="a", start_ms=0, end_ms=HOUR_MS // 2, value=4.0)
    (one, other) = kpi.steps(LEVEL, [half], 1, from_ms=0, to_ms=2 * HOUR_MS, step_ms=HOUR_MS)
    assert (one.value, one.covered) == (4.0, 0.5)
    assert (other.value, other.covered) == (None, 0.0)


@given(
    values=st.lists(st.tuples(st.integers(1, 50), st.integers(-100, 100)), max_size=20),
    step=st.integers(1, 40),
    sites=st.integers(1, 3),
)
def test_steps_of_a_sum_add_up_to_the_figures(
    values: list[tuple[int, int]], step: int, sites: int
) -> None:
    """However the window is cut into steps, nothing is lost and nothing counts twice."""
    figures: list[Value] = []
    at = 0
    for length, value in values:
        figures.append(Value(site="a", start_ms=at, end_ms=at + length, value=value))
        at += length
    made = kpi.steps(SUM, figures, sites, from_ms=0, to_ms=max(at, 1), step_ms=step)
    total = sum(one.value or 0.0 for one in made)
    assert total == pytest.approx(sum(value for _, value in values), abs=1e-6)
    assert all(0 <= one.covered <= 1 for one in made)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [Value(site="a", start_ms=5, end_ms=5, value=1)],
        [Value(site="a", start_ms=-5, end_ms=5, value=1)],
        [Value(site="a", start_ms=0, end_ms=5, value=float("nan"))],
        [Value(site="a", start_ms=0, end_ms=5, value=float("inf"))],
        [Value(site="a", start_ms=0, end_ms=2**62, value=1)],
        [
            Value(site="a", start_ms=0, end_ms=5, value=1),
            Value(site="a", start_ms=0, end_ms=9, value=1),
        ],
    ],
)
def test_figures_that_cannot_be_are_refused_whole(wrong: list[Value]) -> None:
    """Backwards, endless, no number, the same moment twice."""
    with pytest.raises(ConfigError):
        kpi.check(wrong, now_ms=10)


def test_too_many_steps_are_refused_before_they_are_made() -> None:
    """A year by the minute is not answered, it is refused."""
    with pytest.raises(ConfigError, match="steps"):
        kpi.steps(SUM, [], 1, from_ms=0, to_ms=366 * 24 * HOUR_MS, step_ms=60_000)
