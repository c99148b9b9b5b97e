"""What becomes an incident, what explains it, what keeps it quiet, and when it is over."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.central.alert_world import (
    MINUTE,
    RULES,
    START,
    Memory,
    S,
    camera,
    device,
    health,
    site,
)
from vedette.central.alerting import wording
from vedette.central.alerting.facts import (
    Group,
    Health,
    IncidentState,
    Rule,
    Silence,
    Subject,
    Where,
)
from vedette.central.alerting.joining import MAX_MEMBERS, common, key_of
from vedette.central.alerting.looking import seen


def silence(**changes: object) -> Silence:
    """Return an hour's silence over everything."""
    made = Silence(silence="si-1", from_ms=START, to_ms=START + 60 * MINUTE)
    return msgspec.structs.replace(made, **changes)


def test_a_dark_site_is_one_page_and_not_nine():
    """Devices that are missed one after the other wait until the site is known to be dark."""
    at = Memory()
    for number in range(9):
        at.turn(at.raised("device-dark", device(1, number)), after_s=3)
    at.turn(at.raised("site-dark", site(1)), after_s=3)
    at.run(600)
    assert at.told() == [("site-dark", "opened")]
    assert {one.inhibited != "" for one in at.open if one.rule == "device-dark"} == {True}


def test_a_device_that_is_dark_alone_is_told_after_its_site_had_its_time():
    """Nothing above it came: its own page is sent, once."""
    at = Memory()
    at.turn(at.raised("device-dark", device(1)))
    assert at.told() == []
    at.run(41)
    assert at.told() == [("device-dark", "opened")]


def test_what_is_well_again_before_anybody_was_told_tells_nobody():
    """A site that came back within its half minute; one that falls silent again is told then."""
    at = Memory()
    at.turn(at.raised("site-dark", site(1)))
    at.mending = {("site-dark", site(1))}
    at.run(70)
    assert at.told() == []
    at.mending = set()
    at.run(76)
    assert at.told() == [("site-dark", "opened")]
    at.mending = {("site-dark", site(1))}
    at.run(900)  # the ladder's further steps wait as well
    assert at.told() == [("site-dark", "opened")]
    at.turn(at.cleared("site-dark", site(1)))
    assert at.told() == [("site-dark", "opened"), ("site-dark", "resolved")]
    assert {notice.channel for notice in at.notices} == {"phone"}


def test_a_dark_device_explains_its_cameras():
    """Four cameras of a dark device page nobody; one that stays down afterwards does."""
    at = Memory()
    at.turn(at.raised("device-dark", device(1)))
    at.turn(*(at.raised("camera-down", camera(1, 0, n)) for n in range(4)), after_s=1)
    at.run(120)
    assert at.told() == [("device-dark", "opened")]
    at.turn(at.cleared("device-dark", device(1)))
    at.turn(*(at.cleared("camera-down", camera(1, 0, n)) for n in range(3)), after_s=20)
    at.run(120)
    assert at.told() == [
        ("device-dark", "opened"), ("device-dark", "resolved"), ("camera-down", "opened")
    ]  # fmt: skip


def test_a_provider_that_is_down_is_one_incident():
    """Fifty sites within two minutes are one page, and a few that it grew."""
    at = Memory()
    for number in range(50):
        at.turn(at.raised("site-dark", site(number)), after_s=2)
        at.run(0.1)
    at.run(60)
    [incident] = at.open
    assert len(incident.members) == 50
    assert incident.title == "Site dark: 50 sites"
    kinds = [kind for _, kind in at.told()]
    assert kinds[0] == "opened"
    assert set(kinds[1:]) == {"grew"}
    assert len(kinds) <= 4
    at.turn(*(at.cleared("site-dark", site(number)) for number in range(50)))
    assert [one.state for one in at.incidents.values()] == [IncidentState.RESOLVED]


def test_sites_that_fall_hours_apart_are_incidents_of_their_own():
    """A shop that is closed for weeks must not swallow the next one that fails."""
    at = Memory()
    at.turn(at.raised("site-dark", site(1)))
    at.run(3600)
    at.turn(at.raised("site-dark", site(2)))
    at.run(60)
    assert len(at.open) == 2


def test_many_cameras_at_once_are_a_storm_and_not_a_page_each():
    """The fifth and all after it join one incident; a rule with its own group stays with that."""
    at = Memory()
    at.turn(*(at.raised("camera-down", camera(n)) for n in range(40)))
    assert len(at.open) == 5
    grouped = Memory(health("camera-down", Health.CAMERA_DOWN, group=Group.SITE))
    grouped.turn(*(grouped.raised("camera-down", camera(n)) for n in range(40)))
    assert len(grouped.open) == 40


def test_an_incident_that_is_full_is_followed_by_another():
    """Everything that is wrong is in one that is open, so its end can be seen."""
    at = Memory(health("camera-down", Health.CAMERA_DOWN, group=Group.RULE))
    at.turn(*(at.raised("camera-down", camera(1, 0, n)) for n in range(MAX_MEMBERS + 5)))
    assert sorted(len(one.members) for one in at.open) == [5, MAX_MEMBERS]
    at.turn(*(at.cleared("camera-down", camera(1, 0, n)) for n in range(MAX_MEMBERS + 5)))
    assert at.open == []


def test_the_same_said_again_is_told_once():
    """A condition that is raised again while it holds changes nothing."""
    at = Memory()
    at.turn(at.raised("camera-down", camera(1)))
    before = at.open
    assert at.turn(at.raised("camera-down", camera(1)), after_s=5).notices == []
    assert [one.count for one in at.open] == [one.count for one in before] == [1]


def test_what_comes_and_goes_is_held_open_and_paged_no_more():
    """After the third return one incident stays until it was quiet for a quarter of an hour."""
    at = Memory()
    for _ in range(12):
        at.turn(at.raised("camera-down", camera(1)), after_s=30)
        at.turn(at.cleared("camera-down", camera(1)), after_s=30)
    opened = [one for one in at.told() if one[1] == "opened"]
    assert len(opened) == 4
    [incident] = at.open
    assert incident.flapping_ms is not None
    at.run(14 * 60)
    assert len(at.open) == 1
    at.run(120)
    assert at.open == []
    assert len([line for line in at.history if line.kind == "flapping"]) == 1


def test_events_of_one_camera_are_one_incident_until_none_comes():
    """It is over by itself, and whoever was told that it began is told that it is over."""
    at = Memory()
    for number in range(5):
        at.turn(at.event(camera(1), number), after_s=60)
    [incident] = at.open
    assert (incident.count, incident.title) == (5, "Somebody at c0 of Shop 1")
    at.run(601)
    assert at.open == []
    assert at.told() == [("intrusion", "opened"), ("intrusion", "resolved")]


def test_late_news_is_written_down_and_wakes_nobody():
    """It joins what was open then, or is an incident that is over; several are one."""
    at = Memory()
    old = {"late": True, "at_ms": START - 3_600 * S}
    at.turn(at.event(camera(1), 1, **old), at.event(camera(1), 2, **old))
    at.turn(at.event(camera(1), 3, **old), after_s=5)
    [incident] = at.incidents.values()
    assert incident.late_only
    assert incident.state is IncidentState.RESOLVED
    assert incident.count == 3
    assert at.notices == []
    at.turn(at.event(camera(1), 4))
    at.turn(at.event(camera(1), 5, **old), after_s=1)
    [opened] = at.open
    assert opened.members[0].late == 1
    assert at.told() == [("intrusion", "opened")]


def test_a_silence_holds_pages_back_and_its_end_lets_them_go():
    """The incident is kept and says so; if it is still open then, its ladder is climbed."""
    at = Memory(silences=[silence(where=Where(sites=["s1"]))])
    at.turn(at.raised("camera-down", camera(1)), at.raised("camera-down", camera(2)))
    at.run(50 * 60)
    assert {one.silenced for one in at.open} == {"si-1", ""}
    assert {notice.incident.members[0].subject.site for notice in at.notices} == {"s2"}
    at.run(11 * 60)
    assert {notice.incident.members[0].subject.site for notice in at.notices} == {"s1", "s2"}


def test_planned_work_hides_what_is_over_by_its_end():
    """What ends within opens nothing; what outlasts it opens then; events within are none."""
    at = Memory(silences=[silence(is_maintenance=True)])
    at.turn(at.raised("camera-down", camera(1)), at.raised("camera-down", camera(2)))
    at.turn(at.event(camera(3)), at.cleared("camera-down", camera(1)), after_s=60)
    at.run(58 * 60)
    assert at.incidents == {}
    at.run(3 * 60)
    [incident] = at.open
    assert incident.subject == camera(2)
    assert incident.opened_ms == START
    assert at.told() == [("camera-down", "opened")]


def test_weekly_planned_work_goes_by_the_sites_clock():
    """It lets go at its own end, not at the silence's."""
    days = {"tu": [("22:00", "23:00")]}
    weekly = silence(is_maintenance=True, weekly=days, to_ms=START + 30 * 24 * 60 * MINUTE)
    at = Memory(silences=[weekly])  # START is Tuesday 22:13:20 UTC
    at.turn(at.raised("camera-down", camera(1)))
    assert at.open == []
    at.run(47 * 60)
    assert len(at.open) == 1


def test_a_rule_that_is_removed_ends_its_incidents():
    """Nobody would ever clear them."""
    at = Memory()
    at.turn(at.raised("camera-down", camera(1)))
    at.book = msgspec.structs.replace(at.book, rules={})
    at.turn()
    assert at.open == []


def test_who_sees_one_site_of_a_storm_learns_no_other_ones_name():
    """Members, title and subject are cut to what is theirs, and how many others there are."""
    at = Memory()
    at.turn(*(at.raised("site-dark", site(n)) for n in range(3)))
    [incident] = at.open
    shown = msgspec.json.encode(seen(incident, ["s1"])).decode()
    assert "s0" not in shown
    assert "s2" not in shown
    assert seen(incident, ["s1"]).more == 2


@pytest.mark.parametrize(
    ("title", "called"),
    [
        ("{camera}: {nothing} {0} {camera.__class__} {{count}}",
         "door: {nothing} {0} {camera.__class__} {1}"),
        ("a\u202eb\x00c\nd\u2028e", "abc d e"),
        ("x" * 500, "x" * 159 + "…"),
    ],
    ids=["placeholders", "controls", "length"],
)  # fmt: skip
def test_titles_are_filled_safely(title: str, called: str):
    """Only known placeholders are filled; what is no text goes; a line is the most."""
    at = Memory(Rule(rule="intrusion", title=title, event=RULES[3].event))
    at.turn(at.event(Subject(site="s1", device="d", camera="door")))
    assert at.open[0].title == called


def test_the_same_decision_made_twice_is_the_same():
    """So what a crash repeats has the same names and keys."""
    at, again = Memory(), Memory()
    for one in (at, again):
        one.turn(one.raised("camera-down", camera(1)), one.event(camera(2)))
    assert at.incidents == again.incidents
    assert [one.key for one in at.notices] == [one.key for one in again.notices]


@given(st.lists(st.text("ab|\\", max_size=3), min_size=5, max_size=5),
       st.lists(st.text("ab|\\", max_size=3), min_size=5, max_size=5))  # fmt: skip
def test_different_subjects_never_have_the_same_key(one: list[str], other: list[str]):
    """Whatever is in the names."""
    names = ("site", "device", "camera", "place", "what")
    a, b = (Subject(**dict(zip(names, parts, strict=True))) for parts in (one, other))
    assert (key_of(RULES[2], a) == key_of(RULES[2], b)) == (a == b)


def test_what_subjects_have_in_common_is_a_whole_place():
    """A camera that is called the same on two devices is not one camera."""
    assert common([camera(1), camera(1, 1)]) == Subject(site="s1")
    assert common([camera(1)]) == camera(1)
    assert common([camera(1), camera(2)]) == Subject()


@given(st.text(max_size=300))
def test_text_of_others_is_one_line_of_text(text: str):
    """Nothing in it breaks a line, hides or turns what stands beside it."""
    found = wording.plain(text, 50)
    assert len(found) <= 50
    assert found == " ".join(found.split())
    assert not set(found) & set("\n\r\t\0\u202e\u2028\u200b")
