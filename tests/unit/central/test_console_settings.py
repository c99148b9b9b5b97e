"""The settings without a database: words, hours as a form, tabs by role, central's complaints."""

from zoneinfo import ZoneInfo

import msgspec
import pytest

from vedette.central import upkeep
from vedette.central.alerting.facts import Contact, Severity
from vedette.central.console import specimens as shared
from vedette.central.console.page import Page
from vedette.central.console.render import Looker
from vedette.central.console.settings import present, present_log, quiet, specimens, week
from vedette.central.console.settings.agents import agent_words
from vedette.central.console.settings.frame import Frame
from vedette.central.console.settings.present import Form
from vedette.central.hours import DAYS
from vedette.central.settings import Retention
from vedette.central.upkeep import complaints
from vedette.errors import ConfigError, ConflictError

CHROME = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36"


def frame(role: str, *, whole: bool = True) -> Frame:
    """Return what is around a page for somebody."""
    looker = Looker(username="ada", role=role, csrf="token")
    return Frame(page=Page(looker=looker, now_ms=shared.NOW_MS, self_url="/"), whole=whole)


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (CHROME, "Chrome 130 on Windows"),
        (f"{CHROME} Edg/130.0.2", "Edge 130 on Windows"),
        ("Mozilla/5.0 (Intel Mac OS X 10_15) Version/17.5 Safari/605.1", "Safari 17 on macOS"),
        ("Mozilla/5.0 (Android 14; Mobile) Firefox/131.0", "Firefox 131 on Android"),
        ("python-httpx/0.28.1", "python-httpx 0.28.1"),
        ("", "unknown"),
        ("<script>", "unknown"),
    ],
)  # fmt: skip
def test_a_browser_is_known_again_by_its_words(agent: str, words: str) -> None:
    """Name, version and system; what says nothing is unknown."""
    assert agent_words(agent) == words


def test_tabs_follow_role_and_scope() -> None:
    """What somebody may not open is not offered."""

    def names(role: str, *, whole: bool) -> list[str]:
        found = frame(role, whole=whole).tabs().values()
        return [tab.name for tabs in found for tab in tabs]

    assert names("viewer", whole=True) == ["account", "sessions", "tokens"]
    assert names("operator", whole=False)[3:] == ["sites", "folders", "groups"]
    assert names("admin", whole=False)[3:] == ["sites", "folders", "groups", "claims"]
    assert {"users", "health", "retention", "audit"} < set(names("admin", whole=True))


def test_nobody_can_put_words_into_our_page_with_a_link() -> None:
    """What was done is a word of our own table; anything else says nothing."""
    told = msgspec.structs.replace(frame("admin"), done="<b>call this number</b>")
    html = present.users_html(told, specimens.PEOPLE, Form(username='"><script>x'))
    assert "call this number" not in html
    assert "<script>x" not in html


def test_hours_are_the_same_after_the_form() -> None:
    """What the form shows is what it reads back, dashes and blanks of people included."""
    form = week.form_of(specimens.OPENING)
    assert week.read(form) == specimens.OPENING
    assert week.read(week.form_of(None)) is None
    odd = week.posted({"when": "hours", "mo": " 09:00 – 12:00,13:00-20:00 ", "exceptions": "\r\n"})
    assert week.read(odd) == week.read(
        week.posted({"when": "hours", "mo": "09:00-12:00, 13:00-20:00"})
    )
    with pytest.raises(ConfigError, match="commas"):
        week.read(week.posted({"when": "hours", "mo": "09:00-12:00; tu 09:00-10:00"}))


def test_the_days_to_come_count_real_hours_where_the_clocks_change() -> None:
    """A night in Lisbon in which an hour is missing is an hour shorter, and says why."""
    night = week.read(week.posted({"when": "hours", **dict.fromkeys(DAYS, "00:00-24:00")}))
    saturday_ms = 1_774_656_000_000  # 28 March 2026, 00:00 UTC
    days = week.ahead(night, ZoneInfo("Europe/Lisbon"), saturday_ms, days=3)
    assert [day.long_s / 3600 for day in days] == [24.0, 23.0, 24.0]
    assert [bool(day.note) for day in days] == [False, True, False]
    assert "23 hours" in days[1].note


def test_a_stretch_over_midnight_is_drawn_on_both_days() -> None:
    """Friday from 18 to 24, Saturday from 0 to 2."""
    rows = week.rows(week.form_of(specimens.OPENING), specimens.OPENING)
    friday, saturday = rows[4].bars, rows[5].bars
    assert [(bar.x, bar.width) for bar in friday] == [(75.0, 25.0)]
    assert saturday[0].x == 0
    assert saturday[0].width == pytest.approx(8.33)


def test_the_log_goes_on_below_a_number_and_keeps_its_filters() -> None:
    """Nonsense in the address asks for nothing."""
    query = present_log.LogQuery(who="ada", below="12", from_text="2026-03-02T10:00")
    assert query.below_number() == 12
    assert query.filters().from_ms == shared.NOW_MS
    assert query.address(below="7") == "who=ada&from=2026-03-02T10%3A00&below=7"
    broken = present_log.LogQuery(below="-1", from_text="soon", to_text="9" * 25)
    assert (broken.below_number(), broken.filters().from_ms) == (None, None)


def test_every_table_belongs_to_a_family_and_raw_days_to_theirs() -> None:
    """What nobody named is everything else, never nothing."""
    known = upkeep.families(Retention())
    assert upkeep.family_of("reports_7_20260302", known) == "raw-7"
    assert upkeep.family_of("rollup_minute", known) == "minutes"
    assert upkeep.family_of("a_table_of_tomorrow", known) == "rest"


def test_central_complains_worst_first_and_says_what_to_do() -> None:
    """A central that is well has nothing to say; one that is not names each thing once."""
    assert complaints(specimens.condition()) == []
    wrong = complaints(specimens.condition(well=False))
    states = [one.state for one in wrong]
    assert states == sorted(states, key=lambda state: state != "down")
    assert wrong[0].state == "down"
    assert all(one.do for one in wrong)
    assert len({one.what for one in wrong}) == len(wrong) >= 9
    late = msgspec.structs.replace(
        specimens.condition(), at_ms=shared.NOW_MS + 2 * upkeep.JOB_LATE_MS
    )
    assert any("did not run" in one.what for one in complaints(late))


_BY_PHONE = Contact(channel="phone", address="1", quiet={"sa": [("00:00", "24:00")]})


def _asked(contact: Contact, zone: str = "UTC", **typed: str) -> quiet.Asked:
    return quiet.posted({
        "channel": contact.channel, "address": contact.address, "seen": quiet.seen_of(contact),
        "time_zone": zone,
    } | typed)  # fmt: skip


def test_quiet_hours_are_changed_of_one_contact_and_the_others_stay() -> None:
    """Every field comes back as it was; over midnight, several a day, dashes of any kind."""
    mail = Contact(channel="mail", address="a@example.org", least=Severity.WARNING)
    made = quiet.changed(
        [mail, _BY_PHONE],
        _asked(_BY_PHONE, "Europe/Oslo", mo="22:00–06:00, 12:00-13:00", su=" "),
    )
    assert made[0] == mail
    assert made[1].quiet == {"mo": [("22:00", "06:00"), ("12:00", "13:00")]}
    assert quiet.words_of(made[1]) == "mo 22:00-06:00,12:00-13:00, Europe/Oslo"
    form = quiet.forms_of(made)[1]
    typed = {day.day: day.text for day in form.week}
    assert quiet.changed(made, _asked(made[1], form.time_zone, **typed)) == made
    none = quiet.changed(made, _asked(made[1], tu="closed"))[1]
    assert (none.quiet, quiet.words_of(none)) == ({}, "")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"mo": "22-6"}, "mo: '22' is no time"), ({"tu": "09:00-09:00"}, "tu: 09:00-09:00 has no"),
        ({"we": "09:00-10:00; th 1"}, "by commas"), ({"mo": "x"}, "mo: 'x' is no time"),
        ({"time_zone": "Mars/Base"}, "No such time zone: Mars/Base"),
        ({"time_zone": "../../etc/passwd"}, "No such time zone"),
    ],
    ids=["hours", "no-length", "semicolon", "words", "zone", "path"],
)  # fmt: skip
def test_quiet_hours_that_cannot_be_stand_at_their_form_as_they_were_typed(
    typed: dict[str, str], said: str
) -> None:
    """Only there, and the other forms are as they were."""
    contacts = [Contact(channel="mail"), _BY_PHONE]
    asked = _asked(_BY_PHONE, **typed)
    with pytest.raises(ConfigError) as refused:
        quiet.changed(contacts, asked)
    mail, phone = quiet.forms_of(contacts, asked, refused.value)
    assert (said in phone.problem, mail.problem) == (True, "")
    assert {day.day: day.text for day in phone.week} == asked.week
    assert mail == quiet.forms_of(contacts)[0]


def test_quiet_hours_are_changed_over_what_was_seen_and_nothing_else() -> None:
    """What was changed in between is said first; the second press has it all the same."""
    asked = _asked(_BY_PHONE, mo="10:00-11:00")
    other = msgspec.structs.replace(_BY_PHONE, quiet={"su": [("10:00", "12:00")]})
    with pytest.raises(ConflictError, match="su 10:00-12:00, UTC") as refused:
        quiet.changed([other], asked)
    (form,) = quiet.forms_of([other], asked, refused.value)
    again = msgspec.structs.replace(asked, seen=form.seen)
    assert quiet.changed([other], again)[0].quiet == {"mo": [("10:00", "11:00")]}
    with pytest.raises(ConflictError, match="not there any more"):
        quiet.changed([Contact(channel="mail")], asked)
    twin = msgspec.structs.replace(_BY_PHONE, least=Severity.CRITICAL)
    first, second = quiet.changed([twin, _BY_PHONE], asked)
    assert (first, second.quiet) == (twin, {"mo": [("10:00", "11:00")]})
