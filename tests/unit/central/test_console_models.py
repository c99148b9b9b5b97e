"""The registry's pages: verdicts and waivers, intervals in scale, nothing unknown in green."""

import re

import msgspec
import pytest

from vedette.central.console.models import present, specimens
from vedette.central.console.page import Page
from vedette.central.console.render import Looker
from vedette.stats.gates import Gate, Verdict


def page(role: str = "admin") -> Page:
    """A page for somebody."""
    looker = Looker(username="ada", role=role, csrf="token")
    return Page(looker=looker, now_ms=specimens.NOW_MS, self_url="/models")


def test_a_failed_version_says_which_gates_and_draws_them() -> None:
    """The verdict in words, an interval for what was measured, the failures first."""
    html = present.version_html(specimens.bad(), page())
    assert ">fail</b>" in html
    assert "at least 0.7" not in html.split("Recall")[0]
    assert html.count('class="interval"') > 10
    first = present.groups(specimens.bad().gates)[1].gates[0].gate
    assert (first.kind, first.verdict) == ("recall", Verdict.FAIL)


def test_a_waiver_stands_beside_the_verdict_and_the_gate() -> None:
    """With who, why and until when; one that is over says so."""
    html = present.version_html(specimens.waived(), page())
    assert "with waivers until" in html
    assert "Ann, vision" in html
    assert "it is over" in html
    assert html.count("with waivers") > 3


def test_nothing_known_is_hatched_and_never_green() -> None:
    """No record: every gate says that data are missing."""
    html = present.version_html(specimens.unknown(), page())
    main = html.split("<main", 1)[1]
    assert "insufficient data" in main
    assert 'class="state is-ok' not in main
    assert "not measured on any machine" in main


def test_names_from_elsewhere_stay_text() -> None:
    """A lineage that is script is shown, not run."""
    html = present.version_html(specimens.unknown(), page(), problem=specimens.HOSTILE)
    assert "<script>alert" not in html


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_only_an_administrator_is_offered_what_only_they_may(role: str) -> None:
    """Withdrawing and taking a waiver back."""
    html = present.version_html(specimens.waived(), page(role))
    assert ("Withdraw this version" in html) is (role == "admin")
    assert ("Take back" in html) is (role == "admin")


def test_every_other_page_is_made_of_every_specimen() -> None:
    """Whole and as a part, without a name that no template knows."""
    for name, make in specimens.PATTERNS.items():
        assert re.search("<h1", make(page())), name
    part = present.list_html(specimens.MODELS, msgspec.structs.replace(page(), part=True))
    assert "<html" not in part


def test_an_interval_keeps_its_order_on_the_scale() -> None:
    """Low, value and high from left to right, the limit where it belongs; nothing: not drawn."""
    gate = Gate(gate="recall/x", kind="recall", verdict=Verdict.FAIL, value=0.7, low=0.6, high=0.8,
                limit=0.9)  # fmt: skip
    at = present.drawn(gate)
    assert at is not None
    assert at.low is not None
    assert at.high is not None
    assert at.value is not None
    assert at.limit is not None
    assert 0 <= at.low < at.value < at.high < at.limit <= 100
    assert present.drawn(Gate(gate="recall/x", kind="recall", verdict=Verdict.FAIL)) is None


def test_a_worse_model_lies_left_of_its_limit() -> None:
    """A difference below zero has a scale of its own."""
    gate = Gate(gate="no_worse/recall", kind="no_worse", verdict=Verdict.FAIL, value=-0.2,
                low=-0.3, high=-0.1, limit=-0.02)  # fmt: skip
    at = present.drawn(gate)
    assert at is not None
    assert at.high is not None
    assert at.limit is not None
    assert at.high < at.limit
