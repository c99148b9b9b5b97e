"""Canaries that differ as the fleet does, windows by each site's clock, and the dry run."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.central.rollout_world import S, device, evidence, fleet, plan
from vedette.central.rollouts import choice, schedule, taking, windows
from vedette.central.rollouts.facts import Progress, Stage
from vedette.errors import ConfigError

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]


def ms(text: str, zone: str = "UTC") -> int:
    """Return a local time as milliseconds."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def test_the_first_devices_are_of_different_strata():
    """One of each before a second of any, the largest stratum first."""
    devices = [
        *[device(n, strata=("pi", "a", "day")) for n in range(50)],
        *[device(n, strata=("orin", "a", "day")) for n in range(50, 60)],
        *[device(n, strata=("x86", "b", "night")) for n in range(60, 62)],
    ]
    ordered = choice.in_order(plan(), devices)
    assert [d.strata[0] for d in ordered[:3]] == ["pi", "orin", "x86"]
    half = Counter(d.strata[0] for d in ordered[:31])
    assert (half["pi"], half["orin"], half["x86"]) == (24, 5, 2) or half["pi"] in {24, 25, 26}


def test_the_choice_is_by_lot_and_the_same_whoever_asks():
    """Another rollout chooses others; the order in which devices are listed does not matter."""
    devices = fleet(60)
    first = [d.device for d in choice.in_order(plan(), devices)]
    assert first == [d.device for d in choice.in_order(plan(), devices[::-1])]
    assert first != [d.device for d in choice.in_order(plan(rollout="r-2"), devices)]
    chosen = Counter(choice.in_order(plan(rollout=f"r-{n}"), devices)[0].device for n in range(300))
    assert len(chosen) >= 9  # of the ten in the largest stratum that the name decides on
    assert max(chosen.values()) < 100


@given(st.integers(0, 400), st.integers(0, 2))
def test_stages_grow_and_leave_controls_to_the_canary(count, index):
    """Each holds at least those before it, never more than there are; a canary at most half."""
    found = taking.allowed(plan(), index, count)
    assert 0 <= found <= count
    assert found >= taking.allowed(plan(), max(0, index - 1), count)
    if index == 0 and count > 1:
        assert found <= count / 2
    if index == 2:
        assert found == count


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(ms("2025-01-01 00:00") // 60_000, ms("2027-12-01 00:00") // 60_000),
    st.tuples(st.integers(0, 95), st.integers(0, 95)).filter(lambda q: q[0] != q[1]),
)
def test_a_window_is_what_the_clock_on_the_wall_says(zone, minute, quarters):
    """Through midnight and where clocks change: inside exactly when the wall shows it."""
    start, end = (f"{q // 4:02}:{q % 4 * 15:02}" for q in quarters)
    now_ms = minute * 60_000
    wall = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(zone)).strftime("%H:%M")
    shown = start <= wall < end if start < end else wall >= start or wall < end
    inside = windows.is_inside([(start, end)], zone, now_ms)
    changes = {
        (datetime.fromtimestamp(now_ms / 1000, UTC) + timedelta(hours=h)).astimezone(
            ZoneInfo(zone)
        ).utcoffset()
        for h in (-26, 26)
    }  # fmt: skip
    if len(changes) == 1:
        assert inside == shown
    opens, closes = windows.next_window([(start, end)], zone, now_ms)
    assert now_ms <= opens < closes
    assert (opens == now_ms) == inside
    assert opens - now_ms <= 25 * 3_600_000
    assert windows.is_inside([(start, end)], zone, opens)
    assert not windows.is_inside([(start, end)], zone, closes)


@pytest.mark.parametrize(
    ("window", "night", "hours"),
    [
        (("22:00", "05:00"), "2026-03-28", 6),  # the hour from 2 to 3 is left out
        (("22:00", "05:00"), "2026-10-24", 8),  # it comes twice
        (("02:00", "03:00"), "2026-03-28", 0),  # there is none that night
        (("02:30", "03:30"), "2026-10-24", 2),
    ],
)
def test_nights_in_which_the_clocks_change(window, night, hours):
    """Berlin, spring and autumn."""
    from_ms = ms(f"{night} 12:00", "Europe/Berlin")
    found = windows.spells([window], "Europe/Berlin", from_ms, from_ms + 24 * 3_600_000)
    assert sum(b - a for a, b in found) == hours * 3_600_000


def test_windows_that_cannot_be_are_told():
    """A wrong time and a wrong zone, each by name."""
    with pytest.raises(ConfigError, match="is no time"):
        windows.check([("22:00", "5 o'clock")])
    with pytest.raises(ConfigError, match="no such time zone"):
        windows.next_window([("22:00", "05:00")], "Europe/Nowhere", 0)


def test_the_dry_run_tells_who_and_when_by_each_clock():
    """Stages follow one another; a device in another zone has its own night."""
    start_ms = ms("2026-06-01 12:00")
    devices = [
        *[device(n, time_zone="Europe/Berlin", last_seen_ms=start_ms) for n in range(6)],
        device(6, time_zone="Asia/Kathmandu", last_seen_ms=start_ms),
        device(7, last_seen_ms=0),
    ]
    stages = [Stage(state=S.CANARY, devices=2, soak_h=24), Stage(state=S.WAVE, share=1.0)]
    the_plan = plan(windows=[("22:00", "05:00")], stages=stages, pinned=["box-006"])
    given_ = evidence(Progress(), devices)
    found = schedule.dates(the_plan, devices, given_, start_ms)
    assert [len(s.devices) for s in found] == [2, 6]
    assert found[0].devices[0].device == "box-006"
    assert found[0].devices[0].local.startswith("2026-06-01 22:00")
    assert found[0].end_ms == ms("2026-06-01 22:00", "Europe/Berlin") + 86_400_000 + 600_000
    assert found[1].from_ms == found[0].end_ms
    assert [p.device for p in found[1].devices if p.obstacle] == ["box-007"]
    told = "\n".join(schedule.in_words(found, "Europe/Berlin"))
    nobody = [msgspec.structs.replace(found[0], devices=[], end_ms=None)]
    assert "canary: no device of its own" in schedule.in_words(nobody)[0]
    held = [msgspec.structs.replace(found[1], end_ms=None)]
    assert "no device of it can change over" in schedule.in_words(held)[0]
    assert "an operator pinned it" in told
    assert "by lot among" in told
    assert "skipped: nothing was heard" in told
    assert "2026-06-01 22:00 CEST to 2026-06-02 05:00 CEST" in told
