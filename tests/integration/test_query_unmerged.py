"""Hours that came and are not added up yet: pending in every answer, never observed and empty."""

import pytest

from tests.integration.test_query import Told, minute
from vedette.central import liveness
from vedette.central.rollups import HOUR_MS, MINUTE_MS, floor_ms
from vedette.wire.messages import Cause

pytestmark = pytest.mark.anyio

HOURS = 20


@pytest.fixture
async def back(fleet):
    """A device that tells 20 whole hours at once, five of them merged already."""
    told = Told(fleet)
    start = floor_ms(fleet.now_ms, HOUR_MS) + HOUR_MS
    fleet.clock.advance((start + (HOURS + 6) * HOUR_MS - fleet.now_ms) / 1000)
    await liveness.tick(fleet.db, fleet.services.bulletin, fleet.now_ms)
    device = await fleet.device("shop")
    for first, last in ((0, 5), (5, HOURS)):
        for hour in range(first, last):
            at = start + hour * HOUR_MS
            await told.send(device, [minute(at + n * MINUTE_MS) for n in range(60)])
        if not first:
            await told.settle()
    told.start_ms = start
    return told


@pytest.mark.parametrize("by", [[], ["site"], ["site", "device", "camera"], ["name"]])
async def test_what_is_not_added_up_yet_is_pending_and_not_zero(back: Told, by: list[str]) -> None:
    """Five hours counted, fifteen pending: the sum says so; an hour of those has no number."""
    window = (back.start_ms, back.start_ms + HOURS * HOUR_MS)
    answer = await back.ask("zone.visits", *window, by=by)
    (line,) = answer.lines
    told = line.points[0]
    assert answer.unmerged_hours == HOURS - 5
    assert told.value == 5 * 300
    assert told.coverage.observed_s == 5 * 3600
    assert told.coverage.causes[Cause.PENDING_BACKFILL] == (HOURS - 5) * 3600
    hourly = (await back.ask("zone.visits", *window, by=by, step="hour")).lines[0].points
    assert [point.value for point in hourly] == [300.0] * 5 + [None] * (HOURS - 5)


async def test_coverage_itself_is_exact_meanwhile_and_the_rest_is_once_it_is_merged(
    back: Told,
) -> None:
    """The ledger knows what was observed; after the jobs the count does too."""
    window = (back.start_ms, back.start_ms + HOURS * HOUR_MS)
    exact = (await back.ask("coverage", *window)).lines[0].points[0]
    assert exact.coverage.observed_s == HOURS * 3600
    await back.settle()
    told = (await back.ask("zone.visits", *window)).lines[0].points[0]
    assert (told.value, told.coverage.fraction) == (HOURS * 300.0, 1.0)
