"""Cutting a window to opening hours: each unit in exactly one of open and closed, always."""

from datetime import UTC, datetime

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.central import hours
from vedette.central.query import grid, openings
from vedette.central.rollups import DAY_MS, HOUR_MS, MINUTE_MS
from vedette.clock import wall_ms

_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
_times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))
_stretches = st.lists(st.tuples(_times, _times).filter(lambda pair: pair[0] != pair[1]), max_size=2)
_weeks = st.builds(
    lambda week: hours.Hours(weekly=week),
    st.dictionaries(st.sampled_from(hours.DAYS), _stretches),
)


def _ms(text: str) -> int:
    return wall_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def _open(weekly: str, zone: str, from_ms: int, unit_ms: int, count: int) -> list[int]:
    body = msgspec.json.encode(hours.read(weekly, []))
    return np.flatnonzero(openings.open_units(body, zone, from_ms, unit_ms, count)).tolist()


def test_the_night_that_clocks_go_forward_and_back_keep_local_hours() -> None:
    """9 to 11 in Berlin is 8 and 9 UTC in winter, 7 and 8 in summer, from the very Sunday on."""
    day = "mo-su 09:00-11:00"
    for start, saturday, sunday in (
        ("2026-03-28T00:00", [8, 9], [31, 32]),
        ("2026-10-24T00:00", [7, 8], [32, 33]),
    ):
        found = _open(day, "Europe/Berlin", _ms(start), HOUR_MS, 48)
        assert found == saturday + sunday


def test_an_hour_that_comes_twice_is_open_both_times_and_one_that_never_comes_is_not() -> None:
    """2 to 3 at night: two hours in October, none in March."""
    night = "mo-su 02:00-03:00"
    assert _open(night, "Europe/Berlin", _ms("2026-10-25T00:00"), HOUR_MS, 6) == [0, 1]
    assert _open(night, "Europe/Berlin", _ms("2026-03-29T00:00"), HOUR_MS, 6) == []


def test_an_hour_belongs_to_what_most_of_it_is() -> None:
    """Open from 9:20: the hour counts as open; from 9:40: it does not. Minutes are cut exactly."""
    start = _ms("2026-03-02T00:00")
    assert _open("mo-su 09:20-11:00", "UTC", start, HOUR_MS, 24) == [9, 10]
    assert _open("mo-su 09:40-11:00", "UTC", start, HOUR_MS, 24) == [10]
    minutes = _open("mo-su 09:40-11:00", "UTC", start, MINUTE_MS, 1440)
    assert minutes == list(range(9 * 60 + 40, 11 * 60))


def test_a_site_without_hours_is_always_open() -> None:
    """Its closed hours are none."""
    made = grid.make(0, DAY_MS, "hour", ["UTC"])
    assert openings.masks([("a", None, "UTC")], made, "all") is None
    for wanted, share in (("open", 1.0), ("closed", 0.0)):
        found = openings.masks([("a", None, "UTC")], made, wanted)
        assert found is not None
        assert found["a"].mean() == share


@settings(max_examples=60, deadline=None)
@given(
    _weeks,
    st.sampled_from(_ZONES),
    st.sampled_from([_ms("2026-03-06T00:00"), _ms("2026-10-20T00:00"), _ms("2026-04-02T00:00")]),
    st.integers(0, 900),
    st.integers(1, 400),
)
def test_every_unit_is_open_when_half_of_it_is_wherever_the_window_begins(
    week: hours.Hours, zone: str, base_ms: int, skip: int, count: int
) -> None:
    """Over nights that change the clocks: as `hours.open_ms` of that hour; never both."""
    from_ms = base_ms + skip * HOUR_MS
    body = msgspec.json.encode(week)
    found = openings.open_units(body, zone, from_ms, HOUR_MS, count)
    of = hours.zone_of(zone)
    for at in {0, count // 3, count // 2, count - 1}:
        start = from_ms + at * HOUR_MS
        assert found[at] == (hours.open_ms(week, of, start, start + HOUR_MS) * 2 >= HOUR_MS)
    made = grid.make(from_ms, from_ms + count * HOUR_MS, "total", ["UTC"])
    opened = openings.masks([("a", body, zone)], made, "open")
    closed = openings.masks([("a", body, zone)], made, "closed")
    assert opened is not None
    assert closed is not None
    assert (opened["a"] ^ closed["a"]).all()
