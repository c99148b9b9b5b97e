"""Steps of a window: local midnights, nights that change the clocks, limits."""

from datetime import UTC, datetime

import pytest

from vedette.central.query import grid
from vedette.central.rollups import DAY_MS, HOUR_MS
from vedette.clock import wall_ms
from vedette.errors import ConfigError


def _ms(text: str) -> int:
    return wall_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def test_days_begin_at_each_sites_midnight_also_when_clocks_change() -> None:
    """In Berlin the day of the change has 23 hours; each hour is in the day of its own zone."""
    made = grid.make(
        _ms("2026-03-28T00:00"), _ms("2026-03-31T00:00"), "day", ["UTC", "Europe/Berlin"]
    )
    berlin, utc = made.step_of["Europe/Berlin"], made.step_of["UTC"]
    assert [int((berlin == n).sum()) for n in range(4)] == [23, 23, 24, 2]
    assert [int((utc == n).sum()) for n in range(4)] == [24, 24, 24, 0]
    assert made.starts[1] == _ms("2026-03-28T23:00")


def test_months_and_weeks_begin_where_people_begin_them() -> None:
    """The first of the month, and Monday; the first step is cut at the window."""
    months = grid.make(_ms("2026-01-15T00:00"), _ms("2026-03-10T00:00"), "month", ["UTC"])
    assert months.starts == [
        _ms("2026-01-15T00:00"),
        _ms("2026-02-01T00:00"),
        _ms("2026-03-01T00:00"),
    ]
    weeks = grid.make(_ms("2026-03-01T00:00"), _ms("2026-03-10T00:00"), "week", ["UTC"])
    assert weeks.starts[1:] == [_ms("2026-03-02T00:00"), _ms("2026-03-09T00:00")]


def test_every_unit_is_in_exactly_one_step() -> None:
    """Whatever step and zone: no hour is lost, none is twice."""
    start = _ms("2026-10-20T05:00")
    for step in grid.STEPS:
        made = grid.make(start, start + 2 * DAY_MS - 17, step, ["Asia/Kolkata", "UTC"])
        assert made.units == 2 * DAY_MS // made.unit_ms
        for steps in made.step_of.values():
            assert len(steps) == made.units
            assert steps.min() >= 0
            assert steps.max() < len(made.starts)


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "step"),
    [
        (5, 5, "day"),
        (-1, 5, "day"),
        (0, 10**15, "day"),
        (0, grid.MAX_POINTS * 2 * HOUR_MS, "hour"),
        (0, HOUR_MS, "fortnight"),
    ],
)
def test_what_cannot_be_cut_is_refused(from_ms: int, to_ms: int, step: str) -> None:
    """Empty, before 1970, too long, too fine, unknown."""
    with pytest.raises(ConfigError):
        grid.make(from_ms, to_ms, step, ["UTC"])
