"""What happened: read from reports, merged from many lists, and never twice or left out."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.central.timeline import merging, spells, told, words
from vedette.central.timeline.merging import Entry
from vedette.central.timeline.told import Happening, Last
from vedette.central.timeline.words import Row
from vedette.wire.messages import (
    HealthReport,
    ModelHealth,
    NetworkHealth,
    PipelineHealth,
    SystemHealth,
)

STEP_MS = 30_000


def seen(
    number: int, clock_state: str = "trusted", **said: object
) -> tuple[int, str, told.Glimpse]:
    """Return the report of a minute as it is read back from its bytes."""
    fields = {"version": "1", "system": SystemHealth(boot_id="a", throttle_flags=[]), **said}
    report = HealthReport(at_ms=number * STEP_MS, period_s=30, **fields)
    return number * STEP_MS, clock_state, told.glimpse(msgspec.msgpack.encode(report))


def kinds(*reports: tuple[int, str, told.Glimpse]) -> list[tuple[int, str, dict[str, object]]]:
    """Return what happened over reports, as (number of the report, kind, detail)."""
    found, _ = told.changes(reports, None)
    return [(one.at_ms // STEP_MS, one.kind, one.detail) for one in found]


def system(**said: object) -> dict[str, SystemHealth]:
    """Return a report's machine."""
    return {"system": SystemHealth(**{"boot_id": "a", "throttle_flags": [], **said})}


def test_a_device_that_stays_as_it_is_has_no_happenings() -> None:
    """The first report is compared with nothing, and the same again is nothing."""
    assert kinds(seen(0), seen(1), seen(2)) == []


def test_a_new_boot_is_a_start_with_its_cause() -> None:
    """One start, dated with the first report after it; a machine without boot ids has none."""
    after = system(boot_id="b", reboot_cause="watchdog", reboot_detail="bootstatus")
    ((number, kind, detail),) = kinds(seen(0), seen(5, **after))
    assert (number, kind) == (5, "reboot")
    assert detail == {"cause": "watchdog", "said": "bootstatus", "last_ms": 0}
    assert kinds(seen(0, **system(boot_id="")), seen(1, **after)) == []


def test_heat_begins_and_ends_and_a_silence_ends_it_too() -> None:
    """A spell across a hole in the reports is two spells: nobody saw what was between."""
    hot = system(throttle_flags=["throttled", "under-voltage-occurred"])
    found = kinds(seen(0), seen(1, **hot), seen(2, **hot), seen(3), seen(4))
    assert [(n, d["is"]) for n, _, d in found] == [(1, "began"), (3, "ended")]
    assert found[0][2]["flags"] == ["throttled"]
    assert found[1][2]["since_ms"] == STEP_MS
    found = kinds(seen(0), seen(1, **hot), seen(400, **hot))
    assert [(n, d["is"]) for n, _, d in found] == [(1, "began"), (1, "unseen"), (400, "began")]


def test_a_moment_of_heat_between_two_reports_is_told_by_the_flag_that_it_leaves() -> None:
    """The flag stays until the next start: it is told when it appears and not again."""
    left = system(throttle_flags=["under-voltage-occurred"])
    ((number, _, detail),) = kinds(seen(0), seen(1), seen(2, **left), seen(3, **left))
    assert (number, detail["is"], detail["flags"]) == (2, "occurred", ["under-voltage"])
    (spell,) = spells.spells([(2 * STEP_MS, detail)], 0, 10 * STEP_MS)
    assert (spell.start_ms, spell.end_ms, spell.is_open) == (STEP_MS, 2 * STEP_MS, False)
    assert kinds(seen(0, **left), seen(1, **left)) == []


@pytest.mark.parametrize(
    ("before", "after", "kind", "part"),
    [
        ({}, {"version": "2"}, "software", {"what": "program", "before": "1", "after": "2"}),
        (
            {"config_version": "7"},
            {"config_version": "8"},
            "software",
            {"what": "settings", "before": "7", "after": "8"},
        ),
        (
            {"models": [ModelHealth(model="a@1")]},
            {"models": [ModelHealth(model="a@2")]},
            "software",
            {"what": "model", "before": "a@1", "after": "a@2"},
        ),
        (
            {"pipeline": PipelineHealth(running=True)},
            {"pipeline": PipelineHealth(running=False, last_exit="killed")},
            "pipeline",
            {"is": "stopped", "said": "killed"},
        ),
        (
            {"pipeline": PipelineHealth(running=True, crashes=1)},
            {"pipeline": PipelineHealth(running=True, crashes=3, last_exit="signal 9")},
            "pipeline",
            {"is": "crashed", "count": 2, "said": "signal 9"},
        ),
        (
            system(agent_crashes=0),
            system(agent_crashes=1, agent_exit="killed"),
            "agent",
            {"said": "killed"},
        ),
        (
            {"network": NetworkHealth(clock_offset_ms=10)},
            {"network": NetworkHealth(clock_offset_ms=-61_000)},
            "clock",
            {"step_ms": -61_010},
        ),
        (
            {"problems": ["disk 94 % full"]},
            {"problems": ["disk 95 % full", "no reference"]},
            "problem",
            {"said": "no reference"},
        ),
    ],
)
def test_each_change_is_told_once(
    before: dict[str, object], after: dict[str, object], kind: str, part: dict[str, object]
) -> None:
    """From the second report to the third, and not again in the fourth."""
    found = kinds(seen(0, **before), seen(1, **before), seen(2, **after), seen(3, **after))
    assert found == [(2, kind, part)]


def test_a_clock_that_loses_trust_is_told_from_the_envelope() -> None:
    """Its state stands beside the report, not in it."""
    found = kinds(seen(0), seen(1, "untrusted"), seen(2, "trusted"))
    assert [(kind, d["after"]) for _, kind, d in found] == [
        ("clock", "untrusted"),
        ("clock", "trusted"),
    ]


def test_what_a_report_leaves_out_is_no_change() -> None:
    """A report without version, models and policy says nothing about them."""
    full = {"version": "2", "models": [ModelHealth(model="a@1")], "site_policy_version": 3}
    assert kinds(seen(0, **full), seen(1, version=""), seen(2, **full)) == []


reports = st.lists(
    st.tuples(
        st.integers(1, 300),
        st.sampled_from([[], ["throttled"]]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=25,
)


@given(reports, st.integers(0, 25))
def test_reading_in_two_parts_tells_the_same(
    said: list[tuple[int, list[str], str]], cut: int
) -> None:
    """Wherever the hours are cut, what is kept of one goes on in the next; again adds nothing."""
    number, made = 0, []
    for gap, flags, boot in said:
        number += gap
        made.append(seen(number, **system(throttle_flags=flags, boot_id=boot)))
    whole, end = told.changes(made, None)
    first, last = told.changes(made[:cut], None)
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(last), type=Last | None)
    second, end_of_both = told.changes(made[cut:], kept)
    assert [*first, *second] == whole
    assert end_of_both == end
    assert told.changes(made, end)[0] == []
    edges = [(one.at_ms, one.detail) for one in whole if one.kind == "heat"]
    for one in spells.spells(edges, 0, (number + 1) * STEP_MS):
        assert 0 <= one.start_ms <= one.end_ms <= (number + 1) * STEP_MS


def test_spells_are_cut_to_the_window_and_the_last_may_be_open() -> None:
    """One that began before counts from the window's start; one without an end is open."""
    edges = [
        (100, {"is": "began", "flags": ["hot"]}),
        (300, {"is": "ended", "since_ms": 100, "flags": ["hot"]}),
        (500, {"is": "began", "flags": ["hot"]}),
    ]
    found = spells.spells(edges, 200, 900)
    assert [(s.start_ms, s.end_ms, s.is_open) for s in found] == [
        (200, 300, False),
        (500, 900, True),
    ]
    assert spells.spells([(300, {"is": "ended", "since_ms": 100})], 400, 900) == []
    (only,) = spells.spells([(300, {"is": "ended", "since_ms": 100, "flags": ["hot"]})], 0, 900)
    assert (only.start_ms, only.flags) == (100, ["hot"])


entries = st.builds(
    Entry,
    key=st.sampled_from(["a", "b", "camera/é", "told/1"]),
    at_ms=st.integers(0, 6),
    kind=st.just("contact"),
    title=st.just(""),
)


@given(st.lists(st.lists(entries, max_size=12), max_size=5), st.integers(1, 5))
def test_pages_hold_everything_once_and_in_order(lists: list[list[Entry]], limit: int) -> None:
    """Paged through to the end: each entry once, newest first, whatever the page's size."""
    found: list[Entry] = []
    after = None
    while True:
        page = merging.merged(lists, after, limit)
        found += page
        if len(page) < limit:
            break
        after = merging.place(page[-1])
    places = [merging.place(entry) for entry in found]
    assert places == sorted({merging.place(e) for one in lists for e in one}, reverse=True)


def test_what_devices_wrote_is_cut_and_cannot_break_a_line() -> None:
    """Control characters become blanks, and a text has an end."""
    one = Happening(at_ms=1, kind="problem", detail={"said": "a\nb\x1b[31m" + "x" * 5000})
    made = words.told("box", "k", one)
    assert made.detail.startswith("a b [31mxxx")
    assert len(made.detail) == 300
    assert words.of_told(Row(at_ms=1, key="k", kind="heat", detail=b"no json")).title
    assert words.of_told(Row(at_ms=1, key="k", kind="of a later release")).title


def test_the_audit_log_is_told_in_words_and_in_part() -> None:
    """Whose device and camera it was about; of labels the names and not the values."""
    made = words.of_audit(
        Row(at_ms=1, key="k", actor="ada", action="thumbnail.ask", target="box/door")
    )
    assert (made.device, made.camera, made.actor, made.kind) == ("box", "door", "ada", "operator")
    made = words.of_audit(
        Row(
            at_ms=1,
            key="k",
            actor="ada",
            action="labels.change",
            target="shop/box/door",
            detail=b'{"tier": "gold"}',
        )
    )
    assert (made.device, made.camera, made.detail) == ("box", "door", "tier")
    assert words.without_actors([made])[0].actor == ""
    for kind, _, _ in {**words.OF_DEVICES, **words.OF_SITES}.values():
        assert kind in words.KINDS
    assert {words.OF_TOLD.get(kind, kind) for kind in told.KINDS} <= set(words.KINDS)
