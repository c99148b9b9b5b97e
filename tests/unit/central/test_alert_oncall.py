"""On call: whose turn it is, by the clock on the wall, also where it is put forward or back."""

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.alerting import oncall, people, rules
from vedette.central.alerting.facts import Contact, Override, Schedule, Shift
from vedette.errors import ConfigError

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC", "Asia/Kolkata"]
FIRST = datetime.fromisoformat("2025-09-01T00:00")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def ms(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> int:
    """Return a local moment in ms since 1970."""
    local = datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)
    return round(local.timestamp() * 1000)


def schedule(*shifts: Shift, zone: str = "Europe/Berlin") -> Schedule:
    """Return a schedule of these layers."""
    return Schedule(schedule="plant", time_zone=zone, shifts=list(shifts))


def override(name: str, start: str, end: str, made_ms: int = 0, of: str = "plant") -> Override:
    """Return somebody who takes over."""
    return Override(
        override=f"o-{made_ms}",
        schedule=of,
        person=name,
        from_ms=ms(start),
        to_ms=ms(end),
        made_ms=made_ms,
    )


WEEKS = Shift(people=["anna", "bo"], start="2026-03-02T09:00")


def test_a_turn_changes_at_its_hour_by_the_wall_clock():
    """A week over the change of clocks is an hour shorter, and hands over at nine all the same."""
    plan = schedule(WEEKS)
    assert oncall.who(plan, [], ms("2026-03-23T08:59")) == "anna"
    turns = oncall.spans(plan, [], ms("2026-03-16T09:00"), ms("2026-04-06T09:00"))
    assert [(duty.person, duty.from_ms) for duty in turns] == [
        ("anna", ms("2026-03-16T09:00")),
        ("bo", ms("2026-03-23T09:00")),
        ("anna", ms("2026-03-30T09:00")),
    ]
    assert turns[1].to_ms - turns[1].from_ms == 7 * DAY_MS - HOUR_MS


def test_a_hand_over_in_the_hour_that_is_jumped_over_is_at_the_jump():
    """02:30 does not come on that day: the turn begins when the clocks show three."""
    daily = schedule(Shift(people=["anna", "bo"], start="2026-03-27T02:30", turn_days=1))
    jump_ms = ms("2026-03-29T03:00")
    assert oncall.who(daily, [], jump_ms - 1) == "bo"
    assert oncall.who(daily, [], jump_ms) == "anna"


def test_a_hand_over_in_the_hour_that_comes_twice_is_the_first_time():
    """And it does not go back when the hour comes again."""
    daily = schedule(Shift(people=["anna", "bo"], start="2026-10-23T02:30", turn_days=1))
    first_ms, again_ms = (ms("2026-10-25T02:30", fold=fold) for fold in (0, 1))
    assert oncall.who(daily, [], first_ms - 1) == "bo"
    assert {oncall.who(daily, [], at) for at in (first_ms, again_ms - 1, again_ms)} == {"anna"}


def test_before_the_first_hand_over_nobody_is_on_call():
    """A layer that begins on Monday has nobody on Sunday."""
    assert oncall.who(schedule(WEEKS), [], ms("2026-03-02T08:59")) is None


def test_the_first_layer_that_has_somebody_decides():
    """By day the day's people, else those of the layer below; a hole is nobody."""
    days = ("mo", "tu", "we", "th", "fr")
    day = Shift(
        people=["dee"],
        start="2026-01-05T00:00",
        weekly={name: [("08:00", "18:00")] for name in days},
    )
    night = Shift(
        people=["nils"],
        start="2026-01-05T00:00",
        weekly={name: [("18:00", "08:00")] for name in days},
    )
    plan = schedule(day, night)
    assert oncall.who(plan, [], ms("2026-06-03T12:00")) == "dee"
    assert oncall.who(plan, [], ms("2026-06-03T23:00")) == "nils"
    assert oncall.gaps(plan, [], ms("2026-06-01T08:00"), ms("2026-06-08T09:00")) == [
        (ms("2026-06-06T08:00"), ms("2026-06-08T08:00"))
    ]


def test_whoever_took_over_last_is_on_call_and_only_for_that_schedule():
    """A later override stands before an earlier one; another schedule's does nothing."""
    plan = schedule(WEEKS)
    taken = [
        override("cem", "2026-03-03T10:00", "2026-03-05T10:00", made_ms=1),
        override("dee", "2026-03-04T10:00", "2026-03-04T12:00", made_ms=2),
        override("eve", "2026-03-03T10:00", "2026-03-05T10:00", made_ms=3, of="shop"),
    ]
    found = oncall.spans(plan, taken, ms("2026-03-02T09:00"), ms("2026-03-09T09:00"))
    assert [duty.person for duty in found] == ["anna", "cem", "dee", "cem", "anna"]
    assert found[1].override == "o-1"
    assert oncall.who(plan, taken, ms("2026-03-05T10:00")) == "anna"


SHIFTS = st.builds(
    Shift,
    people=st.lists(st.sampled_from(["anna", "bo", "cem"]), min_size=1, max_size=3),
    start=st.integers(0, 212 * 24 * 60).map(
        lambda minutes: (FIRST + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M")
    ),
    turn_days=st.integers(1, 9),
    weekly=st.sampled_from(
        [{}, {"sa": [("22:00", "02:30")], "su": [("02:15", "12:00")]}, {"mo": [("00:00", "24:00")]}]
    ),
)


@given(
    st.lists(SHIFTS, min_size=1, max_size=2),
    st.sampled_from(ZONES),
    st.integers(0, 40 * 24),
    st.data(),
)
def test_spans_have_no_hole_and_say_what_each_moment_says(shifts, zone, start_h, data):
    """A calendar and the question of a moment never differ, over any change of clocks."""
    plan = schedule(*shifts, zone=zone)
    from_ms = ms("2026-03-01T00:00") + start_h * HOUR_MS
    to_ms = from_ms + 5 * DAY_MS
    taken = [override("dee", "2026-03-28T20:00", "2026-03-29T03:30", made_ms=1)]
    found = oncall.spans(plan, taken, from_ms, to_ms)
    assert found[0].from_ms == from_ms
    assert found[-1].to_ms == to_ms
    assert all(a.to_ms == b.from_ms for a, b in pairwise(found))
    for duty in found:
        at_ms = data.draw(st.integers(duty.from_ms, duty.to_ms - 1))
        assert (oncall.who(plan, taken, at_ms) or "") == duty.person


@given(SHIFTS, st.sampled_from(ZONES), st.integers(0, 300))
def test_turns_go_round_and_each_begins_at_the_same_time_by_the_wall(shift, zone, days):
    """Every `turn_days` days the next one, at the start's time unless the clocks jump over it."""
    always = Shift(people=["a", "b", "c"], start=shift.start, turn_days=shift.turn_days)
    plan = schedule(always, zone=zone)
    turn = days // shift.turn_days
    start = datetime.fromisoformat(shift.start)
    wall = (start + timedelta(days=turn * shift.turn_days)).replace(tzinfo=ZoneInfo(zone))
    at_ms = round(wall.timestamp() * 1000)
    noon_ms = at_ms + 3 * HOUR_MS  # past any jump of the clocks at the hand-over
    assert oncall.who(plan, [], noon_ms) == "abc"[turn % 3]
    before_ms = at_ms - 3 * HOUR_MS
    assert (oncall.who(plan, [], before_ms) or "-") == ("-" if turn == 0 else "abc"[(turn - 1) % 3])


@pytest.mark.parametrize(
    "start",
    [
        "2026-03-02T09:00",
        "2026-03-02T09:00:30",
        "2026-03-02T09:00+01:00",
        "2026-03-02 09:00",
        "20260302T0900",
        "2026-W10-1T09:00",
        "0001-01-01T00:00",
        "9999-12-31T00:00",
        "1990-01-01T00:00",
        "2200-12-31T23:59",
        "",
    ],
)
def test_what_rules_take_never_stops_who_is_asked_for(start):
    """A start that is written in an odd way is refused when it is written, or means something."""
    plan = schedule(Shift(people=["anna", "bo"], start=start, turn_days=366))
    try:
        rules.check("schedule", plan, plan.schedule)
    except ConfigError:
        return
    for at_ms in (0, ms("2026-03-09T09:00"), people.LAST_MS):
        oncall.who(plan, [], at_ms)
        oncall.spans(plan, [], at_ms, at_ms + DAY_MS)


@pytest.mark.parametrize(
    "wrong",
    [{"quiet": {"mo": [("25:00", "26:00")]}}, {"quiet": {"xx": []}}, {"time_zone": "Mars/Base"}],
)
def test_quiet_hours_that_cannot_be_are_refused_when_they_are_written(wrong):
    """They would otherwise stop whoever climbs a ladder at night."""
    with pytest.raises(ConfigError):
        rules.check("contacts", [Contact(channel="mail", **wrong)], "anna")
