"""Opening hours: against the wall clock, also where it is put forward or back."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vedette.central import hours
from vedette.central.hours import Hours
from vedette.errors import ConfigError

LISBON = ZoneInfo("Europe/Lisbon")
BERLIN = ZoneInfo("Europe/Berlin")
MINUTE_MS = 60_000
DAY_MS = 86_400_000

SHOP = hours.read("mo-fr 09:00-20:00; sa 10:00-14:00,15:00-18:00", ["2026-12-25 closed"])


def ms(text: str, zone: ZoneInfo = BERLIN) -> int:
    """Return a local moment in ms since 1970."""
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-02T09:00", True),
        ("2026-03-02T08:59", False),
        ("2026-03-02T20:00", False),
        ("2026-03-07T14:30", False),
        ("2026-03-07T15:00", True),
        ("2026-03-08T12:00", False),
        ("2026-12-25T12:00", False),
    ],
)
def test_a_shop_is_open_when_its_door_says_so(at, expected):
    """The start is open, the end is closed, exceptions replace the day."""
    assert hours.is_open(SHOP, BERLIN, ms(at)) is expected


def test_a_bar_is_open_past_midnight():
    """The stretch belongs to the evening on which it began."""
    bar = hours.read("fr 18:00-02:00", [])
    assert hours.is_open(bar, BERLIN, ms("2026-03-07T01:59"))
    assert not hours.is_open(bar, BERLIN, ms("2026-03-07T02:00"))
    assert not hours.is_open(bar, BERLIN, ms("2026-03-06T01:00"))


def test_the_night_on_which_the_clocks_go_forward_is_an_hour_shorter():
    """22:00 to 06:00 over a jump from 2 to 3 is seven hours; a start inside it is the jump."""
    night = hours.read("sa 22:00-06:00", [])
    spring = ms("2026-03-28T12:00"), ms("2026-03-29T12:00")
    assert hours.open_ms(night, BERLIN, *spring) == 7 * 3_600_000
    early = hours.read("su 02:30-05:00", [])
    assert hours.spells(early, BERLIN, *spring) == [
        (ms("2026-03-29T03:00"), ms("2026-03-29T05:00"))
    ]


def test_the_hour_that_comes_twice_is_open_twice_without_a_hole():
    """A bar that closes at 02:30 closes at the second 02:30."""
    bar = hours.read("sa 20:00-02:30", [])
    autumn = ms("2026-10-24T12:00"), ms("2026-10-25T12:00")
    assert len(hours.spells(bar, BERLIN, *autumn)) == 1
    assert hours.open_ms(bar, BERLIN, *autumn) == round(7.5 * 3_600_000)


def test_all_day_every_day_never_changes():
    """Neighbouring stretches join, over midnight and over changed clocks."""
    always = hours.read("mo-su 00:00-24:00", [])
    year = ms("2026-01-01T00:00"), ms("2027-01-01T00:00")
    assert hours.spells(always, BERLIN, *year) == [year]
    assert hours.next_change_ms(always, BERLIN, year[0]) is None


def test_the_next_change_is_the_next_door():
    """Open: when it closes; closed: when it opens, over weekends and exceptions."""
    assert hours.next_change_ms(SHOP, BERLIN, ms("2026-03-02T12:00")) == ms("2026-03-02T20:00")
    assert hours.next_change_ms(SHOP, BERLIN, ms("2026-12-24T20:00")) == ms("2026-12-26T10:00")
    assert hours.next_change_ms(hours.read("", []), BERLIN, 0) is None


def test_a_site_without_hours_is_always_open():
    """Nothing was said: all time counts."""
    assert hours.is_open(None, BERLIN, 0)
    assert hours.open_ms(None, BERLIN, 5, 25) == 20
    assert hours.next_change_ms(None, BERLIN, 0) is None


times = st.builds(lambda h, m: f"{h:02d}:{m:02d}", st.integers(0, 23), st.sampled_from([0, 15, 30]))
stretches = st.tuples(times, times).filter(lambda s: s[0] != s[1])
weeks = st.dictionaries(st.sampled_from(hours.DAYS), st.lists(stretches, max_size=2), max_size=7)
zones = st.sampled_from(
    [
        "UTC",
        "Europe/Lisbon",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
    ]
).map(ZoneInfo)
days = st.one_of(
    st.sampled_from([date(2026, 3, 28), date(2026, 10, 24), date(2026, 4, 4), date(2026, 11, 1)]),
    st.dates(date(2026, 1, 2), date(2026, 12, 29)),
)


def wall_says(said: Hours, zone: ZoneInfo, t_ms: int) -> bool:
    """Return whether the wall clock alone, looked at now, calls the site open."""
    wall = datetime.fromtimestamp(t_ms / 1000, zone)
    text = f"{wall:%H:%M}"
    today, yesterday = wall.date(), wall.date() - timedelta(days=1)
    over = any(s >= e and text < e for s, e in hours.stretches_of(said, yesterday))
    return over or any(
        s <= text and (text < e or e <= s) for s, e in hours.stretches_of(said, today)
    )


@settings(max_examples=25)
@given(weeks, zones, days)
def test_every_minute_agrees_with_the_wall_clock(week, zone, day):
    """On ordinary days minute by minute; where a clock changes, open time has no other source."""
    said = Hours(weekly=week)
    start = round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)
    offsets = {
        datetime.fromtimestamp((start + n * 3_600_000) / 1000, zone).utcoffset()
        for n in range(-30, 55)
    }
    minutes = range(start, start + DAY_MS, 15 * MINUTE_MS)
    told = [hours.is_open(said, zone, t) for t in minutes]
    if len(offsets) == 1:
        assert told == [wall_says(said, zone, t) for t in minutes]
    assert hours.open_ms(said, zone, start, start + DAY_MS) == sum(told) * 15 * MINUTE_MS


@given(weeks, zones, st.integers(1_767_225_600, 1_798_761_600), st.integers(1, 20 * DAY_MS))
def test_time_adds_up_and_changes_are_changes(week, zone, start_s, length_ms):
    """Two windows together are the window of both; nothing changes before the next change."""
    said, start = Hours(weekly=week), start_s * 1000
    middle = start + length_ms // 2
    whole = hours.open_ms(said, zone, start, start + length_ms)
    parts = (start, middle), (middle, start + length_ms)
    assert whole == sum(hours.open_ms(said, zone, *part) for part in parts)
    change = hours.next_change_ms(said, zone, start)
    assume(change is not None)
    before = hours.is_open(said, zone, start)
    assert hours.is_open(said, zone, change - 1) is before
    assert hours.is_open(said, zone, change) is not before
    spells = hours.spells(said, zone, start, change)
    assert spells == ([(start, change)] if before else [])


def test_what_is_written_can_be_read_again():
    """The words for the week are those that people type."""
    assert hours.text_of(SHOP) == "mo-fr 09:00-20:00; sa 10:00-14:00,15:00-18:00; su closed"
    assert hours.read(hours.text_of(SHOP), ["2026-12-25 closed"]).weekly["sa"] == SHOP.weekly["sa"]


@pytest.mark.parametrize(
    ("weekly", "exceptions", "says"),
    [
        ("xx 09:00-10:00", [], "no day"),
        ("mo 9-10", [], "no time"),
        ("mo 25:00-26:00", [], "no time"),
        ("mo 09:00-09:00", [], "no length"),
        ("mo", [], "no time"),
        ("mo 24:00-09:00", [], "no length"),
        ("", ["2026-02-30 closed"], "no date"),
        ("", ["20260230 closed"], "no date"),
        ("mo " + ",".join(["09:00-10:00"] * 9), [], "more than 8"),
        (
            "",
            [f"{date(2026, 1, 1) + timedelta(days=n)} closed" for n in range(401)],
            "more than 400",
        ),
    ],
)
def test_hours_that_cannot_be_are_refused_with_their_place(weekly, exceptions, says):
    """Nothing is guessed."""
    with pytest.raises(ConfigError, match=says):
        hours.read(weekly, exceptions)


def test_a_day_that_a_country_skipped_is_never_open():
    """Samoa went from the 29th to the 31st of December 2011: the 30th had no hours."""
    apia = ZoneInfo("Pacific/Apia")
    friday = Hours(exceptions={"2011-12-30": [("09:00", "17:00")]})
    edge = round(datetime(2011, 12, 28, tzinfo=UTC).timestamp() * 1000)
    assert hours.open_ms(friday, apia, edge, edge + 5 * DAY_MS) == 0
