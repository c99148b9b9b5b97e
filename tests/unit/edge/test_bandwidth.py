"""The cap on the backlog: by local time of day, in real seconds, and never over it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.clock import ManualClock
from vedette.edge.bandwidth import CHUNK_BYTES, Bandwidth, cap_kbit_s
from vedette.edge.settings import BandwidthWindow, EdgeConfig, UplinkSettings, check
from vedette.errors import ConfigError

SHOP = UplinkSettings(
    backfill_kbit_s=800.0,
    windows=[
        BandwidthWindow(start="09:00", end="18:00", backfill_kbit_s=0, days=["mon", "sat"]),
        BandwidthWindow(start="22:00", end="06:00", backfill_kbit_s=8000, days=["fri"]),
    ],
)


@pytest.mark.parametrize(
    ("local", "cap"),
    [
        ("2026-03-02 08:59", 800),  # a Monday
        ("2026-03-02 09:00", 0),
        ("2026-03-02 17:59", 0),
        ("2026-03-02 18:00", 800),
        ("2026-03-03 12:00", 800),
        ("2026-03-06 22:00", 8000),
        ("2026-03-07 05:59", 8000),  # Saturday morning belongs to Friday's window
        ("2026-03-07 06:00", 800),
        ("2026-03-06 05:59", 800),
    ],
)
def test_the_first_window_that_holds_counts(local: str, cap: float) -> None:
    """Days are those on which a window begins, also past midnight."""
    assert cap_kbit_s(SHOP, datetime.fromisoformat(local)) == cap


def test_a_window_follows_the_clock_on_the_wall_through_daylight_saving() -> None:
    """09:00 in Berlin is 08:00 UTC in winter and 07:00 UTC in summer."""
    every_day = UplinkSettings(
        windows=[BandwidthWindow(start="09:00", end="10:00", backfill_kbit_s=0)]
    )
    for day, open_utc, shut_utc in ((28, 7, 8), (29, 8, 7)):  # 29 March 2026: summer begins
        for hour, rate in ((open_utc, True), (shut_utc, False)):
            clock = ManualClock(datetime(2026, 3, day, hour, 30, tzinfo=UTC))
            bucket = Bandwidth(lambda: every_day, lambda: "Europe/Berlin", clock)
            assert bool(bucket.rate_bytes_s) is rate


@settings(max_examples=60, deadline=None)
@given(
    kbit_s=st.floats(1, 100_000),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 400_000)), max_size=40),
)
def test_over_any_time_no_more_than_the_cap_and_one_batch(
    kbit_s: float, steps: list[tuple[float, int]]
) -> None:
    """Whatever is asked for and whenever: sent bytes stay under rate times time plus a chunk."""
    clock = ManualClock()
    bucket = Bandwidth(lambda: UplinkSettings(backfill_kbit_s=kbit_s), lambda: "UTC", clock)
    rate, sent, began_ns = kbit_s * 125, 0, clock.mono_ns()
    for wait_s, most in steps:
        clock.advance(wait_s)
        got = bucket.take(most)
        bucket.spend(got)
        sent += got
        passed_s = (clock.mono_ns() - began_ns) / 1e9
        assert sent <= rate * passed_s + max(CHUNK_BYTES, rate) + 1
    pause_s = bucket.pause_s()
    assert pause_s is not None
    clock.advance(pause_s + 0.001)
    assert bucket.take(1) == 1


def test_a_step_of_the_wall_clock_gives_no_bytes_away() -> None:
    """The pace is monotonic; only windows follow the wall."""
    clock = ManualClock()
    bucket = Bandwidth(lambda: UplinkSettings(backfill_kbit_s=8.0), lambda: "UTC", clock)
    bucket.spend(bucket.take(1 << 20))
    clock.step_wall(datetime(2027, 1, 1, tzinfo=UTC))
    assert bucket.take(1) == 0


@pytest.mark.parametrize(
    "window",
    [
        BandwidthWindow(start="9 am", end="10:00", backfill_kbit_s=0),
        BandwidthWindow(start="09:00", end="25:00", backfill_kbit_s=0),
        BandwidthWindow(start="09:00", end="10:00", backfill_kbit_s=0, days=["monday"]),
    ],
)
def test_a_window_that_is_none_is_refused_with_advice(
    window: BandwidthWindow, tmp_path: Path
) -> None:
    """Times and days are checked where the configuration is."""
    config = EdgeConfig(
        state_dir=tmp_path, models_dir=tmp_path, uplink=UplinkSettings(windows=[window])
    )
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert caught.value.operator_hint
