"""The pages of rollouts and keys: what they say of evidence, who is offered what."""

import itertools
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.console.page import Page
from vedette.central.console.render import Looker
from vedette.central.console.rollouts import drawing, keys, present, specimens, words
from vedette.central.console.rollouts.present import DeviceQuery, ListQuery
from vedette.central.rollouts.facts import RolloutState, Verdict
from vedette.central.rollouts.views import GateView
from vedette.wire.slots import UpdateState

NOW_MS = specimens.NOW_MS


def _page(role: str = "operator", username: str = "ada") -> Page:
    looker = Looker(username=username, role=role, csrf="c")
    return Page(looker=looker, now_ms=NOW_MS, self_url="/rollouts", part=False)


def _one(view: object, page: Page | None = None, **query: str) -> str:
    return present.rollout_html(view, DeviceQuery(**query), page or _page())  # type: ignore[arg-type]


def test_every_state_has_a_word():
    """No state of a rollout, a device or a gate is shown as unknown."""
    assert set(RolloutState) <= set(words.ROLLOUTS)
    assert set(UpdateState) <= set(words.DEVICES)
    assert set(Verdict) <= set(words.VERDICTS)
    assert set(words.BAR) == set(words.DEVICES)


def test_only_what_is_proved_is_green():
    """Green is for a pass, a confirmed device and a rollout that is done; nothing else."""
    tables = (words.ROLLOUTS, words.DEVICES, words.VERDICTS)
    green = {key for table in tables for key, word in table.items() if word.css == "ok"}
    assert green == {"done", "confirmed", "pass"}


def test_an_inconclusive_gate_is_hatched_and_says_why():
    """Its row has the hatched word, a hatched interval, and its reason."""
    html = _one(specimens.INCONCLUSIVE)
    gates = html[html.index("h-gates") : html.index("h-devices")]
    rows = [row for row in gates.split('<li class="gate">') if "inconclusive</b>" in row]
    assert len(rows) == 4
    assert all("is-hatched" in row and "span-pass" not in row for row in rows)
    assert "146 more disagreements have to be looked at" in rows[-1]
    assert 'fill="url(#p-unknown)"' in "".join(rows)


def test_who_goes_first_is_told_whatever_the_table_of_devices_shows():
    """The table shows some of 200 confirmed devices; why canaries were chosen stays in sight."""
    gone = specimens._many((UpdateState.CONFIRMED, 200, ""))
    view = specimens._view(specimens._row(RolloutState.WAVE, gone, 2), gone)
    html = _one(present.with_devices(view, gone[50:]))
    assert html.count('<tr id="device-') == present.MAX_UNASKED
    assert f"The first {present.MAX_UNASKED} of 200 devices, worst first" in html
    first = html[html.index("h-choice") : html.index("h-facts")]
    assert "the only street scene on a Jetson Orin Nano" in first
    assert first.count("<li>") == 2


def test_what_went_back_shows_where_it_ended_and_promises_nothing_after():
    """The stage it ended in says so; later ones were never reached, and no date is foretold."""
    html = _one(specimens.ROLLING_BACK)
    track = html[html.index("h-track") : html.index("h-gates")]
    assert track.count("it ended here, with") == 1
    assert track.count("never reached") == len(specimens.ROLLING_BACK.row.stages) - 1
    assert "at the earliest" not in track
    assert "not begun" not in track


def test_stop_and_roll_back_stand_at_the_top_for_operators_only():
    """Before everything else on the page; a viewer is offered no order at all."""
    html = _one(specimens.PILOT)
    assert html.index('id="quick-stop"') < html.index("h-track")
    assert html.index('id="quick-roll_back"') < html.index("h-track")
    assert "/do/" not in _one(specimens.PILOT, _page("viewer"))


def test_who_drafted_it_is_not_offered_to_agree():
    """The second person is another one."""
    assert _one(specimens.ASKED, _page("admin")).count("/do/approve") == 1
    assert "/do/approve" not in _one(specimens.ASKED), "an operator would be turned away"
    alone = _one(specimens.ASKED, _page("admin", "grace"))
    assert "/do/approve" not in alone
    assert "Somebody else than you." in alone


def test_hostile_text_stays_text():
    """Names, problems and reasons that are markup are shown and not obeyed."""
    for name, make in specimens.PATTERNS.items():
        html = make(_page("admin"))
        assert "<script>alert" not in html, name
        assert "style=" not in html, name


def test_the_worst_devices_come_first_and_those_that_wait_are_left_out():
    """Went back, then on its way, then confirmed; 'not yet' only when asked for."""
    html = _one(specimens.PILOT)
    rows = re.findall(r'<tr id="device-(\S+?)"', html)
    assert rows[0] == "store-017-a"
    assert len(rows) == 20
    assert "180 whose stage has not come" in html
    assert len(re.findall('<tr id="device-', _one(specimens.PILOT, state="none"))) == 100


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (ListQuery(), 7),
        (ListQuery(state="open"), 4),
        (ListQuery(state="inconclusive"), 1),
        (ListQuery(kind="system"), 0),
        (ListQuery(q="YOLOX"), 6),
    ],
)
def test_filters_of_the_list(query: ListQuery, count: int):
    """State, what is under way, kind, and words."""
    html = present.list_html(specimens._ROWS, query, _page())
    assert len(re.findall('<tr id="rollout-', html)) == count


@given(st.dictionaries(st.sampled_from([str(s) for s in words.DEVICES]), st.integers(0, 9999)))
def test_the_bar_adds_up(counts: dict[str, int]):
    """Parts follow each other without holes and fill the bar, however the counts are."""
    found = drawing.shares(counts)
    if not sum(counts.values()):
        assert found == []
        return
    assert sum(part.count for part in found) == sum(counts.values())
    assert found[0].x == 0
    for before, after in itertools.pairwise(found):
        assert after.x == pytest.approx(before.x + before.width, abs=0.01)
    assert found[-1].x + found[-1].width == pytest.approx(100, abs=0.01)


_NUMBERS = st.none() | st.floats(-1e9, 1e9)


@given(_NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS)
def test_an_interval_is_drawn_within_its_box(
    value: float | None, low: float | None, high: float | None, threshold: float | None
):
    """Whatever numbers a gate has, everything lies between 0 and 100 %."""
    gate = GateView(
        gate="x", group="counts", verdict=Verdict.WAIT,
        value=value, low=low, high=high, threshold=threshold,
    )  # fmt: skip
    drawn = drawing.interval(gate)
    if drawn is None:
        return
    places = (drawn.value, drawn.low, drawn.high, drawn.threshold, drawn.zero)
    assert all(-0.01 <= x <= 100.01 for x in places if x is not None)


def test_a_course_needs_two_moments_and_is_thinned():
    """One moment is no course; thousands are drawn with few points, the last among them."""
    gate = specimens.GATES[2]
    assert drawing.course(msgspec.structs.replace(gate, course=[(1, 1.0)])) is None
    many = [(n, float(n)) for n in range(5000)]
    drawn = drawing.course(msgspec.structs.replace(gate, course=many))
    assert drawn is not None
    assert drawn.to_ms == 4999
    assert len(drawn.points.split()) <= drawing.MAX_POINTS + 1


def test_expiries_are_said_before_they_hurt():
    """Offline roles a month before, with what to do; expired first; what is far off is quiet."""
    told = keys.warnings_of(specimens.KEYS, NOW_MS)
    assert len(told) == 2
    assert "timestamp has expired" in told[0]
    assert "models ends soon" in told[1]
    html = keys.keys_html(specimens.KEYS, _page("viewer"))
    assert "no spare key" in html
    assert "bytes missing" in html


def test_without_a_repository_the_page_says_how_to_begin():
    """No empty tables: a sentence that names the command."""
    html = keys.keys_html(keys.KeysView(), _page("viewer"))
    assert "vedette keys" in html
    assert "<table" not in html
