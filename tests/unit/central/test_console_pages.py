"""Pages from views: what is shown, in which order, and what can never be shown."""

import re
from html.parser import HTMLParser

import msgspec
import pytest

from vedette.central import cameras
from vedette.central.alerting.facts import Seen, Subject
from vedette.central.alerting.picturing import Found
from vedette.central.alerting.views import IncidentRow
from vedette.central.clips.fetching import StoredFile
from vedette.central.console import drawing, navigation, patterns, specimens, words
from vedette.central.console.alerts import specimens as incidents
from vedette.central.console.alerts.incidents import ListQuery, incident_html, list_html
from vedette.central.console.alerts.ladders import day_ticks
from vedette.central.console.camera import present as camera
from vedette.central.console.events import present as events
from vedette.central.console.events.present import EventQuery
from vedette.central.console.page import Page
from vedette.central.console.ranges import fitting_range
from vedette.central.console.render import Looker
from vedette.central.views import CountRow, Coverage, Segment, Stage
from vedette.stats.fitting import STEPS
from vedette.wire.messages import Aggregate, EventKind

LOOKER = Looker(username="ada", role="admin", csrf="token-of-ada")
ALERTS = (
    "incidents", "silences", "rules", "ladders", "oncall", "channels", "exports", "deliveries",
)  # fmt: skip
PAGE = Page(looker=LOOKER, now_ms=specimens.NOW_MS, self_url="/")


class Reader(HTMLParser):
    """Collects what a browser with our policy would refuse, and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []
        self.ids: list[str] = []
        self.posts_without_csrf = 0
        self._post = False
        self._csrf = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.refused += [f"{tag} {k}" for k in named if k == "style" or k.startswith("on")]
        if tag in {"style", "script"} and "src" not in named:
            self.refused.append(f"inline {tag}")
        for key in ("src", "href", "action"):
            value = named.get(key) or ""
            if re.match(r"[a-z]+:|//", value):
                self.refused.append(f"{key}={value}")
        if named.get("id"):
            self.ids.append(named["id"] or "")
        if tag == "form":
            self._post, self._csrf = named.get("method") == "post", False
        if tag == "input" and named.get("name") == "csrf":
            self._csrf = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._post and not self._csrf:
            self.posts_without_csrf += 1


@pytest.mark.parametrize("name", ["", *patterns.NAMES])
def test_no_page_holds_what_the_policy_forbids(name: str) -> None:
    """No inline script or style, no other host, no form without a CSRF token, no id twice."""
    html = patterns.pattern_html(name, LOOKER)
    assert html is not None
    reader = Reader()
    reader.feed(html)
    assert reader.refused == []
    assert reader.posts_without_csrf == 0
    if name:
        assert len(reader.ids) == len(set(reader.ids))


def test_names_from_devices_cannot_become_markup() -> None:
    """A camera that calls itself a script is shown as text, in every attribute and place."""
    evil = "\"><script>alert(1)</script><b x='"
    view = specimens.camera("down")
    row = msgspec.structs.replace(view.row, name=evil, detail=evil, signs=[evil], source=evil)
    zones: list[dict[str, object]] = [{"name": evil, "polygon": [(0, 0), (1, 0), (1, 1)]}]
    broken = msgspec.structs.replace(view, row=row, zones=zones)
    html = camera.camera_html(broken, "24h", PAGE, may_request=True)
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html


def test_what_was_not_observed_is_hatched_and_never_zero() -> None:
    """A camera without any data shows no number where a count would be."""
    html = camera.camera_html(specimens.camera("unknown"), "24h", PAGE, may_request=True)
    counts = html[html.index('id="h-counts"') : html.index('id="h-device"')]
    assert "no-data" in counts
    assert not re.search(r"<td[^>]*>(<b>)?0(</b>)?</td>", counts)
    assert "0 %" not in html


def test_every_count_stands_beside_its_coverage() -> None:
    """A number of visits without its share of observed time is not printed."""
    html = camera.camera_html(specimens.camera("down"), "24h", PAGE, may_request=True)
    counts = html[html.index('id="h-counts"') : html.index('id="h-device"')]
    assert counts.count("75.0 %") == len(specimens.camera("down").counts) + 1


def test_gaps_are_listed_with_cause_and_duration() -> None:
    """The page says which gap, since when, how long and why."""
    html = camera.camera_html(specimens.camera("down"), "24h", PAGE, may_request=True)
    assert "camera down" in html
    assert "4 h 48 min" in html
    assert "connection refused" in html
    assert "still open" in html


def test_older_pages_of_events_do_not_refresh_themselves() -> None:
    """Somebody who reads an old page is not thrown back."""
    rows = specimens.events()
    first = events.events_html(rows, EventQuery(), "c2", PAGE)
    older = events.events_html(rows, EventQuery(cursor="c2"), None, PAGE)
    assert "data-live" in first
    assert "data-live" not in older
    assert "cursor=c2" in first


def test_a_row_shows_the_still_that_came_whatever_its_form() -> None:
    """The clear one or the blurred one by its own name; without one, what was drawn."""
    for name in ("poster.jpg", "blurred.jpg"):
        row = msgspec.structs.replace(specimens.event("here"), has_poster=True, poster=name)
        html = events.events_html([row], EventQuery(), None, PAGE)
        assert f'<img src="/events/{row.event}/clip/{name}"' in html
    assert "<img" not in events.events_html([specimens.event("here")], EventQuery(), None, PAGE)


def test_an_incident_shows_the_picture_that_may_go_by_its_name() -> None:
    """The one that the policy lets go, and none where only a sentence does."""
    seen = Seen(event="ev-1", evidence="e", kind="x", at_ms=0, subject=Subject(site="s"))
    row = incidents.view(msgspec.structs.replace(incidents.COVERED, seen=seen))
    for name in ("poster.jpg", "blurred.jpg"):
        found = Found(file=StoredFile(name=name, sha256="ab" * 32, bytes=9, whole=True))
        html = incident_html(row, PAGE, picture=found)
        assert f'src="/events/ev-1/clip/{name}"' in html
    assert "<img" not in incident_html(row, PAGE, picture=Found(said="No picture"))


def test_evidence_that_stays_on_site_is_shown_as_such_with_its_windows() -> None:
    """Hash, wanted and actual window and the shortfall stand there; no picture does."""
    html = events.event_html(specimens.event(), PAGE)
    for said in ("kept on site", "9f86d081", "the ring held only", "asked for", "in the clip"):
        assert said in html
    assert "<img" not in html
    assert "<video" not in html


def test_an_evidence_record_with_fields_missing_is_still_a_page() -> None:
    """An older device sends less; the page does not break."""
    bare = msgspec.structs.replace(specimens.event(), evidence_json={"evidence": "evd-1"})
    assert "no clip" in events.event_html(bare, PAGE)


def test_frames_that_nothing_accounts_for_are_named() -> None:
    """The invariant is shown broken where it is."""
    account = drawing.frame_account({"captured": 100, "analysed": 40, "gated": 30})
    assert account is not None
    assert account.missing == 30


def test_a_stage_over_its_budget_is_marked() -> None:
    """p95 decides; one without figures is not over and has no bar."""
    slow = Stage(stage="a", budget_ms=10, p50_ms=1, p95_ms=11, p99_ms=12, count=5)
    none = Stage(stage="b", budget_ms=10, p50_ms=None, p95_ms=None, p99_ms=None, count=0)
    first, second = drawing.stage_bars([slow, none])
    assert first.over
    assert not second.over
    assert second.p99 is None


def test_zones_that_make_no_sense_are_not_drawn_and_break_nothing() -> None:
    """Whatever stands in stored settings, the page renders."""
    broken: list[dict[str, object]] = [
        {},
        {"name": "a", "polygon": "x"},
        {"name": "b", "polygon": [(0, 0)]},
        {"name": "c", "polygon": [(0, 0), (1, "y"), (1, 1)]},
    ]
    assert drawing.zone_shapes(broken, 500) == []
    assert drawing.line_shapes([{"name": "l", "a": None}], 500) == []


def test_a_series_keeps_its_holes() -> None:
    """Null stays null all the way to the chart."""
    text = drawing.series_json({"x": specimens.camera("down").rate}, "/s", None, 0, 1)
    assert "null" in text


def test_a_young_fleet_is_shown_over_a_range_that_it_fills():
    """A demo of ten minutes is no sliver at the edge of a day; an old fleet is shown over a day."""
    now_ms = 100 * 86_400_000
    young = [Segment(start_ms=now_ms - 600_000, end_ms=now_ms)]
    older = [Segment(start_ms=now_ms - 4 * 3_600_000, end_ms=now_ms)]
    whole = [Segment(start_ms=now_ms - 86_400_000, end_ms=now_ms)]
    recent = [Segment(start_ms=now_ms - 2_000_000, end_ms=now_ms)]
    assert fitting_range([young, []], now_ms) == "15m"
    assert fitting_range([young, recent], now_ms) == "1h"
    assert fitting_range([young, older], now_ms) == "6h"
    assert fitting_range([whole, young], now_ms) == "24h"
    assert fitting_range([[]], now_ms) == "24h"


def test_every_kind_of_event_has_a_word() -> None:
    """What a device can tell is shown in words, and can be asked for."""
    assert set(words.EVENT_KINDS) == {str(kind) for kind in EventKind}


def test_a_class_that_changed_is_shown_with_what_was_before() -> None:
    """In lists and on its page; one that ended is told as none, an anomaly with its score."""
    html = events.events_html(specimens.scene_events(), EventQuery(), None, PAGE)
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "class changed closed → open" in text
    assert "smoke → none" in text
    assert "anomaly" in text
    assert "0.71" in text
    pages = [events.event_html(event, PAGE) for event in specimens.scene_events()]
    assert "<dt>before</dt><dd>closed</dd>" in pages[0]
    assert "<dt>score</dt><dd>0.71" in pages[2]
    assert "not stated" not in pages[2]


def test_a_camera_of_whole_pictures_shows_seconds_and_scores() -> None:
    """Seconds per class with their coverage and the distribution of scores; no heat map's zero."""
    html = camera.camera_html(specimens.scene_camera(), "24h", PAGE, may_request=True)
    reader = Reader()
    reader.feed(html)
    assert reader.refused == []
    counts = html[html.index('id="h-counts"') : html.index('id="h-device"')]
    assert "<td>picture</td><td>held</td><td>open</td>" in counts
    assert "6 h 30 min" in counts
    assert "anomaly score" in html
    assert 'aria-label="anomaly score, 0 to 1"' in html


def test_seconds_of_a_class_are_nothing_where_nothing_was_observed() -> None:
    """No data is null, also here; a class never held is zero only where something was seen."""
    total = Aggregate(camera="c", start_ms=0, end_ms=60_000, class_s={"open": 12.5, "shut": 0.0})
    for observed_s, expected in ((60.0, [12.5, 0.0]), (0.0, [None, None])):
        covered = Coverage(
            observed_s=observed_s, accountable_s=60.0, fraction=observed_s / 60, causes={}
        )
        found = cameras._counts(total, covered)
        assert [(row.what, row.kind, row.value) for row in found] == [
            ("picture", "class_s", value) for value in expected
        ]


def test_advice_on_the_picture_is_shown_to_whoever_looks_at_the_camera() -> None:
    """What to do stands on the camera's page, and nothing does where there is nothing to do."""
    assert "focus the lens" in patterns.pattern_html("camera-degraded", LOOKER)
    assert "focus the lens" not in patterns.pattern_html("camera-tampered", LOOKER)


def test_what_messages_lacked_stands_in_words_where_it_is_missing() -> None:
    """Under the latencies and the scores, not only as a row of counts; else nothing is said."""
    view = specimens.camera("ok")
    whole = camera.camera_html(view, "24h", PAGE, may_request=True)
    assert "the device sent" not in whole
    names = ["all but coarse steps of dwell and latency", "scores", "entropy"]
    lacks = [CountRow(what="left out", kind="left_out", label=name, value=None) for name in names]
    short = msgspec.structs.replace(view, counts=[*view.counts, *lacks])
    html = camera.camera_html(short, "24h", PAGE, may_request=True)
    notes = re.findall(r'<p class="note-line less">(.*?)</p>', html)
    assert [note.partition(":")[0] for note in notes] == [
        "for a part of this time the device sent latency in coarse steps only",
        "for a part of this time the device sent no scores",
    ]
    latency = html.index('id="h-latency"')
    assert latency < html.index("latency in coarse steps only") < html.index('id="h-heat"')
    assert html.index('id="h-confidence"') < html.index("no scores") < html.index('id="h-events"')


def test_every_step_that_a_message_gives_up_has_words() -> None:
    """What fitting names is known to the page; what is shown nowhere is nowhere missing."""
    shown = {name for name, _ in STEPS} - {"entropy", "quality", "detections"}
    assert shown == set(words.LEFT_OUT)


def test_nobody_is_asked_to_choose_where_nothing_can_be_chosen() -> None:
    """Only an open incident has a box; without one there is no button for those that are chosen."""
    button = "Acknowledge what is chosen"
    for found, is_there in (([incidents.COVERED, incidents.DARK], True), ([incidents.DARK], False)):
        rows = [IncidentRow(incident=one) for one in found]
        html = list_html(rows, incidents.TALLY, ListQuery(), PAGE)
        assert ('type="checkbox"' in html) is is_there
        assert (button in html) is is_there


def test_no_page_of_alerts_is_offered_to_who_may_not_open_it() -> None:
    """A viewer has incidents and silences; who sees a part has neither ladders nor channels."""
    offered = {}
    for who, role, whole in (("vic", "viewer", True), ("olga", "operator", False)):
        looker = msgspec.structs.replace(LOOKER, username=who, role=role, whole=whole)
        html = incidents.PATTERNS["incident"](msgspec.structs.replace(PAGE, looker=looker))
        html += incidents.PATTERNS["incidents"](msgspec.structs.replace(PAGE, looker=looker))
        offered[who] = {name for name in ALERTS if f'href="/{name}' in html}
    assert offered["vic"] == {"incidents", "silences"}
    assert offered["olga"] == {"incidents", "silences", "rules", "deliveries"}
    titles = " ".join(href for _, _, href in navigation.offered("operator", whole=False))
    assert "/rules" in titles
    assert "/ladders" not in titles


@pytest.mark.parametrize("days", [1, 2, 7, 28, 365])
def test_days_of_a_calendar_are_few_and_named_at_their_midnight(days: int) -> None:
    """At most seven names, each at its own place, none cut off at an edge."""
    day_ms = 86_400_000
    from_ms = specimens.NOW_MS
    found = day_ticks(from_ms, from_ms + days * day_ms)
    assert 1 <= len(found) <= 7
    assert len({tick.text for tick in found}) == len(found)
    for tick in found:
        past = (from_ms + tick.x / 100 * days * day_ms) % day_ms
        assert min(past, day_ms - past) <= 0.0001 * days * day_ms
        assert 6 <= tick.x <= 94
