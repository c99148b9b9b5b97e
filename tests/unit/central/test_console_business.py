"""The page about the business: pure, from made-up counts; and the days that it speaks of."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.business.overview import FIGURES, Tally, change, together
from vedette.central.business.windows import DEFAULT_RANGE, window
from vedette.central.console.business import present, specimens
from vedette.central.console.business.pages import as_selection
from vedette.central.console.business.present import Filters
from vedette.central.console.page import Page
from vedette.central.console.render import Looker
from vedette.central.query.engine import Answer, Line, Step
from vedette.central.tree import SitePlace
from vedette.central.views import Coverage
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError

NOW_MS = 1_772_445_600_000  # Monday 2 March 2026, 10:00 UTC
PAGE = Page(
    looker=Looker(username="ada", role="viewer", csrf="c"), now_ms=NOW_MS, self_url="/business"
)


@pytest.mark.parametrize("name", specimens.PATTERNS)
def test_every_state_of_the_page_renders_whole_and_live(name: str) -> None:
    """A whole page has its head, the live part only itself; nothing undefined in either."""
    whole = specimens.PATTERNS[name](PAGE)
    assert "<title>" in whole
    assert whole.count('id="business"') == 1


def test_nothing_observed_is_hatched_and_said_never_zero() -> None:
    """A day in the dark: no number, bars hatched, and the words that say so."""
    html = specimens.PATTERNS["business-dark"](PAGE)
    total = html[html.index('id="total"') :][:200]
    assert "no data" in total
    assert not re.search(r">\s*0\s*<", total)
    assert html.count('class="none"') >= 24
    assert "it is not 0" in html


def test_how_sure_a_count_is() -> None:
    """Whole: the count. Partly: at least, and an estimate. Hardly: no estimate."""
    whole = present.sure(Tally(value=10.0, coverage=specimens.cover(1.0, 10)))
    assert whole == ["All of this time was observed: this is the count, not an estimate."]
    partly = present.sure(Tally(value=100.0, coverage=specimens.cover(0.8, 10, DEVICE_DARK=1)))
    assert partly[0] == "At least this many: 2 h of camera time was not observed."
    assert "about 125: an estimate" in partly[1]
    hardly = present.sure(Tally(value=100.0, coverage=specimens.cover(0.4, 10, DEVICE_DARK=1)))
    assert hardly[1] == "That is too little for an estimate of the rest."


def test_hostile_names_are_shown_as_text_and_harmless_in_a_spreadsheet() -> None:
    """Markup in a site's name stays text; a zone named like a formula is no formula."""
    evil = '<script>alert("1")</script>'
    html = present.business_html(specimens.shown(site_names={"north": evil}), PAGE)
    assert evil not in html
    cover = Coverage(fraction=None, observed_s=0.0, accountable_s=60.0, causes={"DEVICE_DARK": 60})
    step = Step(t_ms=NOW_MS, end_ms=NOW_MS + 60_000, value=None, coverage=cover, note="nothing")
    group = {"site": "north", "device": "d", "camera": "c", "name": "=1+1", "label": "@x"}
    answer = Answer(
        metric="zone.visits", unit="1", kind="counter", stat="", from_ms=0, to_ms=1, step="day",
        clock="site", complete_to_ms=1, unmerged_hours=0, cameras=1,
        lines=[Line(group=group, points=[step])],
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(present.csv_text(FIGURES["visits"], answer))))
    assert rows[0]["zone_or_line"] == "'=1+1"
    assert rows[0]["class"] == "'@x"
    assert rows[0]["value"] == ""
    assert rows[0]["causes_s"] == "DEVICE_DARK=60"


def test_filters_are_the_url_and_nothing_else() -> None:
    """What a link carries is read back as it was; dates end a range."""
    asked = Filters(of="site:a b", figure="left", range_name="30d")
    assert asked.url() == "/business?of=site%3Aa+b&figure=left&range=30d"
    assert asked.url(range="", **{"from": "2026-01-01"}).endswith("from=2026-01-01")
    assert Filters().url() == "/business"


def test_a_week_has_the_rows_of_its_days_alone() -> None:
    """A Tuesday is one row; ten days are seven."""
    week = [[1.0] * 24 for _ in range(7)]
    tuesday = window("", "2026-02-24", "2026-02-24", ["Europe/Oslo"], NOW_MS)
    assert [name for name, _ in present.week_rows(week, tuesday)] == ["Tue"]
    monday_on = window("", "2026-02-22", "2026-02-23", ["Europe/Oslo"], NOW_MS)
    assert [name for name, _ in present.week_rows(week, monday_on)] == ["Mon", "Sun"]
    ten = window("", "2026-02-20", "2026-03-01", ["Europe/Oslo"], NOW_MS)
    assert [name for name, _ in present.week_rows(week, ten)] == list(present.DAYS)


# ------------------------------------------------------------------------------------- days


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("", "*"),
        ("site-017", "site:site-017"),
        ("Site 17", "site:site-017"),
        ("17", "site:site-017"),
        ("augusta", "site:lisbon-3"),
        ("lisbon", "lisbon"),  # two: neither is guessed
        ("site 7", "site 7"),
        ("site:lisbon-*", "site:lisbon-*"),
        ("lisbon -augusta", "lisbon -augusta"),
    ],
)
def test_a_site_is_found_as_people_call_it(text: str, selection: str) -> None:
    """By id, by name or by words of them that mean one site alone; else it is a selection."""
    sites = [
        SitePlace(site=site, name=name, time_zone="UTC", folder="", hours=None)
        for site, name in (
            ("site-017", ""), ("lisbon-3", "Lisbon, Rua Augusta"), ("lisbon-4", "Lisbon, Baixa"),
        )
    ]  # fmt: skip
    assert as_selection(text, sites) == selection


def test_a_day_is_the_sites_own_also_when_clocks_change() -> None:
    """The day on which summer time begins has 23 hours; the next ends at its own midnight."""
    spring = window("", "2026-03-29", "2026-03-29", ["Europe/Oslo"], 1_790_000_000_000)
    assert spring.to_ms - spring.from_ms == 23 * 3_600_000
    autumn = window("", "2025-10-26", "", ["Europe/Oslo"], NOW_MS)
    assert autumn.to_ms - autumn.from_ms == 25 * 3_600_000
    assert autumn.step == "hour"


def test_sites_in_several_zones_have_days_of_utc() -> None:
    """No site's midnight is everybody's."""
    both = window("yesterday", "", "", ["Asia/Tokyo", "Europe/Oslo"], NOW_MS)
    assert (both.zone, both.first, both.last) == ("UTC", "2026-03-01", "2026-03-01")


def test_one_day_is_compared_with_the_same_weekday() -> None:
    """A Tuesday with the Tuesday before, by the clock on the wall, across a change of clocks."""
    day = window("", "2026-03-31", "2026-03-31", ["Europe/Oslo"], 1_790_000_000_000)
    from_ms, to_ms = day.before()
    assert day.from_ms - from_ms == 7 * 86_400_000 - 3_600_000
    assert to_ms - from_ms == 86_400_000


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("soon", "", "no dates"),
        ("2026-02-03", "2026-02-01", "after the last"),
        ("2027-01-01", "", "not come yet"),
        ("2020-01-01", "2026-01-01", "more than 400"),
        ("2026-02-30", "", "no dates"),
    ],
)
def test_dates_that_cannot_be_are_refused_with_what_to_do(first: str, last: str, said: str) -> None:
    """In words, with a hint."""
    with pytest.raises(ConfigError, match=said) as found:
        window("", first, last, ["UTC"], NOW_MS)
    assert found.value.operator_hint


@given(
    name=st.sampled_from(["", "today", "yesterday", "7d", "30d", "90d", "nonsense"]),
    zone=st.sampled_from(["UTC", "Pacific/Auckland", "America/St_Johns", "Asia/Kathmandu"]),
    now_ms=st.integers(1_500_000_000_000, 2_000_000_000_000),
)
def test_a_window_is_never_empty_and_never_in_the_future(name: str, zone: str, now_ms: int) -> None:
    """Whatever the hour: it begins at a midnight there, and ends within an hour of now."""
    made = window(name, "", "", [zone], now_ms)
    assert made.from_ms < made.to_ms <= max(now_ms, made.from_ms + 3_600_000)
    assert made.range_name == (name if name in present.RANGES else DEFAULT_RANGE)
    assert from_wall_ms(made.from_ms).second == 0


# ------------------------------------------------------------------------------------- together

_TALLY = st.builds(
    lambda value, seen, lost: Tally(
        value=None if seen == 0 else float(value),
        coverage=Coverage(
            fraction=seen / (seen + lost) if seen + lost else None,
            observed_s=float(seen),
            accountable_s=float(seen + lost),
            causes={"DEVICE_DARK": float(lost)} if lost else {},
        ),
    ),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.integers(0, 1000),
)


@given(st.lists(_TALLY, max_size=6))
def test_putting_counts_together_adds_and_invents_nothing(parts: list[Tally]) -> None:
    """The sum of what has a value; none where none has; times add, and causes explain the rest."""
    whole = together(parts)
    values = [part.value for part in parts if part.value is not None]
    assert whole.value == (sum(values) if values else None)
    lost = whole.coverage.accountable_s - whole.coverage.observed_s
    assert sum(whole.coverage.causes.values()) == pytest.approx(lost)
    assert whole.coverage.observed_s == sum(part.coverage.observed_s for part in parts)


def test_nothing_is_compared_that_was_hardly_observed() -> None:
    """Half the coverage at least on both sides, and by observed hour: holes do not count."""
    full = Tally(value=100.0, coverage=specimens.cover(1.0, 10))
    half = Tally(value=50.0, coverage=specimens.cover(0.5, 10))
    hardly = Tally(value=50.0, coverage=specimens.cover(0.49, 10))
    assert change(full, half) == pytest.approx(0.0)
    assert change(full, hardly) is None
    assert change(hardly, full) is None
