"""Answers of devices, labels as people type them, actions that make sense: the pure parts."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.central import hours
from vedette.central.console import specimens
from vedette.central.console.device import answers, confirming
from vedette.central.console.device import present as device_present
from vedette.central.console.device import specimens as device
from vedette.central.console.page import Page
from vedette.central.console.render import Looker
from vedette.central.console.site import labels, present
from vedette.central.console.site import specimens as site
from vedette.errors import ConfigError
from vedette.wire.diagnostics import NetworkAnswer, Speed
from vedette.wire.messages import LocalChannelHealth


def test_a_log_is_cut_into_entries_with_levels_and_traces() -> None:
    """A trace belongs to its entry; a line in no known form is kept as it is."""
    lines = answers.log_lines(device.LOG)
    assert [(line.process, line.level) for line in lines] == [
        ("agent", "info"), ("pipeline", "warning"), ("pipeline", "error"), ("", ""),
    ]  # fmt: skip
    assert lines[2].trace[-1].strip() == "ConfigError: there is no model a@2"
    assert lines[1].text.endswith("camera=dock")
    assert answers.read("log", device.LOG.encode()).levels == {
        "info": 1, "warning": 1, "error": 1,
    }  # fmt: skip


@given(st.text(max_size=400))
def test_no_log_loses_a_line(text: str) -> None:
    """Whatever it is: every line is an entry or a part of a trace."""
    lines = answers.log_lines(text)
    assert sum(1 + len(line.trace) for line in lines) == len(text.splitlines())


@given(st.binary(max_size=200), st.sampled_from(["log", "network", "config", "doctor", "other"]))
def test_an_answer_that_is_not_what_it_says_is_shown_as_text(body: bytes, kind: str) -> None:
    """Hostile bytes break no page: they are laid out or they are text."""
    found = answers.read(kind, body)
    assert found.text or not body or found.log is not None or kind == "log"


def test_a_network_test_is_a_way_with_the_step_that_fails() -> None:
    """Name, addresses, requests, speeds in order; a trouble makes its step down."""
    steps = answers.network_steps(device.NETWORK)
    assert [(step, state) for step, state, _ in steps] == [
        ("name", "ok"), ("192.0.2.7", "ok"), ("2001:db8::7", "down"), ("requests", "ok"),
        ("speed up", "ok"), ("speed down", "down"), ("allowed now", ""),
    ]  # fmt: skip
    assert "41 / 44" not in steps[3][2]
    assert steps[3][2].startswith("38 / 44 / 310 ms")
    broken = NetworkAnswer(host="x", port=1, dns_trouble="no such name", up=Speed())
    assert answers.network_steps(broken)[0] == ("name", "down", "no such name")


def test_a_setting_says_who_decided_it() -> None:
    """The nearest part above it that somebody decided; else its own file."""
    rows = {path: origin for path, _, origin in answers.settings_of(device.CONFIG)}
    assert rows == {
        "uplink.url": "its own file",
        "uplink.backfill_kbit_s": "its own file",
        "cameras[door].name": "site",
        "cameras[door].source": "site",
    }


def test_labels_as_they_are_typed_become_the_changes_to_what_is_there() -> None:
    """What is gone is taken away, what is the same stays untouched; typed again nothing changes."""
    have = {"tier": "gold", "rack": "b"}
    assert labels.label_changes(have, labels.label_text(have)) == {}
    assert labels.label_changes(have, " tier = silver \n\nnew=x=y") == {
        "tier": "silver", "new": "x=y", "rack": None,
    }  # fmt: skip
    for wrong in ("tier", "=gold"):
        with pytest.raises(ConfigError, match="no label"):
            labels.label_changes(have, wrong)


def test_only_actions_that_make_sense_are_offered() -> None:
    """A revoked device can only be replaced; a release needs something to release."""
    names = lambda machine: [name for name, _ in confirming.actions_of(machine)]  # noqa: E731
    assert names(device.machine()) == ["rotate-key", "replace", "revoke"]
    assert names(device.machine(revoked_ms=1)) == ["replace"]
    assert names(device.machine(quarantined_ms=1))[:2] == ["release", "drop"]
    assert names(device.machine(set_aside_bytes=9))[:2] == ["release", "drop"]


def test_a_sites_clock_is_its_own_and_its_hours_are_typed_back() -> None:
    """Eleven in Oslo at ten UTC; what the form shows reads back as the same hours."""
    place = site.view(site._site("north"), opening=site._HOURS).place
    clock = present.clock(place, specimens.NOW_MS)
    assert (clock.local, clock.is_open, clock.next_change) == ("Mon 02 Mar 11:00", True, "20:00")
    read = hours.read(clock.week, clock.exceptions)
    assert {day: spans for day, spans in read.weekly.items() if spans} == site._HOURS.weekly
    assert read.exceptions == site._HOURS.exceptions
    always = present.clock(msgspec.structs.replace(place, hours=None), specimens.NOW_MS)
    assert (always.has_hours, always.is_open, always.week) == (False, True, "")


def test_who_may_only_look_is_offered_nothing_to_do() -> None:
    """A viewer's pages hold no form and no action; an operator's no administrator's action."""
    looker = Looker(username="vic", role="viewer", csrf="t")
    page = Page(looker=looker, now_ms=specimens.NOW_MS, self_url="/")
    seen = site.view(site._site("north"))
    of = device.view(device.device("ok", "down"), device.health(), device.machine())
    pages = [
        present.site_html(seen, present.Shown(), page),
        device_present.device_html(of, device_present.Shown(), page),
    ]
    assert not any("<form" in html or "/do/" in html for html in pages)
    may = device_present.May(operate=True)
    html = device_present.device_html(of, device_present.Shown(may=may), page)
    assert "/questions" in html
    assert "/do/" not in html


def test_a_device_that_tells_its_site_by_itself_is_seen_to() -> None:
    """Which channel, when it is driven, how often, what was dropped and why it fails."""
    told = LocalChannelHealth(
        channel="siren",
        kind="webhook",
        when="central_unreachable",
        sent=12,
        dropped={"rate": 2, "full": 1},
        last_ms=specimens.NOW_MS - 60_000,
        problem="<the receiver> answers 503",
    )
    report = msgspec.structs.replace(device.health(), local_channels=[told])
    machine = device.machine(report=report)
    of = device.view(device.device("ok"), report, machine)
    page = Page(
        looker=Looker(username="o", role="operator", csrf="t"),
        now_ms=specimens.NOW_MS,
        self_url="/",
    )
    html = device_present.device_html(of, device_present.Shown(), page)
    assert "siren <span" in html
    assert "while central is away · 12 delivered" in html
    assert "3 dropped" in html
    assert "&lt;the receiver&gt; answers 503" in html
