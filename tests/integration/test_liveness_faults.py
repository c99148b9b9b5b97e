"""Whole sites, central's absences, and a server whose clock jumps: over a real database."""

from datetime import timedelta

import pytest

from tests.integration.conftest import FakeDevice, Fleet
from vedette.central import fleet as looking
from vedette.central import liveness
from vedette.wire import codec
from vedette.wire.messages import HealthReport

pytestmark = pytest.mark.anyio

DAY_S = 86_400


async def tick(fleet: Fleet, **how: bool) -> list[str]:
    """One turn of the loop; return who fell silent."""
    await liveness.note_steps(fleet.db, fleet.services.clock.take_steps())
    turned = await liveness.tick(fleet.db, fleet.services.bulletin, fleet.now_ms, **how)
    return [dark.device for dark in turned]


async def speak(device: FakeDevice) -> None:
    """Say something; get another token where the one before has ended, as a device does."""
    answer = await device.post(codec.encode_batch(device.batch()))
    if answer.status_code == 401:
        assert (await device.sign_in()).status_code == 200
        await device.up()


async def run_s(fleet: Fleet, seconds: int, *speaking: FakeDevice) -> list[str]:
    """Let time pass in steps of ten seconds; return who fell silent."""
    turned: list[str] = []
    for step in range(seconds // 10):
        fleet.clock.advance(10)
        if step % 3 == 0:
            for device in speaking:
                await speak(device)
        turned += await tick(fleet)
    return turned


async def site_of(fleet: Fleet, site: str) -> looking.SiteRow:
    """How a site is seen."""
    view = await looking.fleet_view(fleet.db, fleet.now_ms, None)
    return next(row for row in view.sites if row.site == site)


def jump(fleet: Fleet, by_s: float) -> None:
    """Move the server's wall clock alone."""
    fleet.clock.step_wall(fleet.clock.now_at() + timedelta(seconds=by_s))


async def transitions(fleet: Fleet) -> list[tuple]:
    """Everything that became of whole sites."""
    return await fleet.rows(
        "SELECT site, state, devices FROM site_transitions ORDER BY at_ms, state"
    )


async def test_a_whole_site_that_is_dark_is_one_fact(fleet: Fleet) -> None:
    """Dated at its last sign of life, with its devices; back with the first of them."""
    box = [await fleet.device("harbour", f"h-{n}") for n in range(3)]
    other = await fleet.device("mall", "m-0")
    for device in (*box, other):
        await device.up()
    fleet.clock.advance(20)
    await box[1].up()
    last_ms = fleet.now_ms
    assert sorted(await run_s(fleet, 180, other)) == ["h-0", "h-1", "h-2"]
    assert await transitions(fleet) == [("harbour", "dark", ["h-0", "h-1", "h-2"])]
    seen = await site_of(fleet, "harbour")
    assert (seen.dark_since_ms, seen.dark_together) == (last_ms, ["h-0", "h-1", "h-2"])
    assert (await site_of(fleet, "mall")).dark_since_ms is None
    await box[2].up()
    await tick(fleet)
    assert (await transitions(fleet))[1:] == [("harbour", "ok", ["h-2"])]
    assert (await site_of(fleet, "harbour")).dark_since_ms is None


async def test_devices_that_fail_one_by_one_are_no_dark_site(fleet: Fleet) -> None:
    """The second died an hour after the first: that is no power cut."""
    first, second = await fleet.device("harbour", "h-0"), await fleet.device("harbour", "h-1")
    await first.up()
    await run_s(fleet, 3_600, second)
    await run_s(fleet, 180)
    assert await transitions(fleet) == []


async def test_a_crash_between_a_device_and_its_site_hides_no_site(fleet: Fleet) -> None:
    """The first turn after a start looks at every site."""
    await (await fleet.device("harbour", "h-0")).up()
    fleet.clock.advance(100)
    await liveness.beat(fleet.db, fleet.now_ms)
    fleet.clock.advance(110)
    await liveness.turn_overdue(fleet.db, fleet.now_ms)
    assert await transitions(fleet) == []
    await tick(fleet, every_site=True)
    assert await transitions(fleet) == [("harbour", "dark", ["h-0"])]


@pytest.mark.parametrize("by_s", [600, -600, 400 * DAY_S, -30 * DAY_S])
async def test_a_server_clock_that_jumps_and_is_mended_darkens_nobody(
    fleet: Fleet, by_s: float
) -> None:
    """Nobody is dark, no absence is claimed, nothing is stored with a wrong time; it is written."""
    device, silent = await fleet.device(name="a"), await fleet.device(name="b")
    await device.up()
    await silent.up()
    await tick(fleet)
    before_ms = fleet.now_ms
    jump(fleet, by_s)
    assert await run_s(fleet, 60, device, silent) == []
    assert (await device.up()).server_time_ms == before_ms + 60_000
    assert await run_s(fleet, 180, device) == ["b"]  # and who is silent is noticed in time
    jump(fleet, -by_s)
    assert await run_s(fleet, 60, device) == []
    assert await fleet.rows("SELECT count(*) FROM central_downs") == [(0,)]
    contact = await fleet.rows("SELECT last_contact_ms FROM devices WHERE device = 'a'")
    assert 0 <= fleet.now_ms - contact[0][0] <= 40_000
    steps = await fleet.rows("SELECT outcome, by_ms FROM clock_steps ORDER BY number")
    assert [outcome for outcome, _ in steps] == ["held", "ended"]
    assert abs(steps[0][1] - by_s * 1000) <= 1


async def test_a_clock_that_was_wrong_for_long_is_followed_and_stated(fleet: Fleet) -> None:
    """Forwards it is an absence of central; back, what was to come is now. Nobody is dark."""
    device = await fleet.device(name="a")
    await device.up()
    await tick(fleet)
    jump(fleet, 7_200)
    assert await run_s(fleet, 700, device) == []
    assert fleet.now_ms == round(fleet.clock.now_at().timestamp() * 1000)
    downs = await fleet.rows("SELECT end_ms - start_ms FROM central_downs")
    assert len(downs) == 1
    assert 7_190_000 <= downs[0][0] <= 7_230_000
    async with fleet.db.transaction() as tx:  # resolved for good by that clock
        await tx.run("coverage_through_put", device="a", through_ms=fleet.now_ms)
    jump(fleet, -7_200)
    assert await run_s(fleet, 700, device) == []
    assert await run_s(fleet, 180) == ["a"]  # noticed in time, two hours ago by its old deadline
    outcomes = await fleet.rows("SELECT outcome FROM clock_steps ORDER BY number")
    assert [row[0] for row in outcomes] == ["held", "followed", "held", "followed", "set_back"]
    (ahead,) = await fleet.rows(
        "SELECT (SELECT count(*) FROM central_downs WHERE end_ms > %s),"
        " (SELECT count(*) FROM coverage_through WHERE through_ms > %s)",
        fleet.now_ms, fleet.now_ms,
    )  # fmt: skip
    assert ahead == (0, 0)
    seen = await site_of(fleet, "shop")
    assert seen.devices[0].state == "dark"
    assert 0 < fleet.now_ms - (seen.devices[0].since_ms or 0) < 250_000


async def test_a_central_that_starts_a_year_ahead_loses_nothing(fleet: Fleet) -> None:
    """Devices that know the time are heard, but nothing that they say is refused as too old."""
    device = await fleet.device(name="a")
    at_ms = device.now_ms
    report = HealthReport(at_ms=at_ms, period_s=30, version="t")
    made = device.envelope("health.v1", report, t_wall_ms=at_ms - 365 * DAY_S * 1000)
    answer = await device.up(made, sent_wall_ms=at_ms - 365 * DAY_S * 1000)
    assert (answer.acks, answer.rejected) == ([], [])
    assert answer.retry_after_s > 0
    assert await fleet.rows("SELECT state FROM devices") == [("ok",)]
    answer = await device.up(made, sent_wall_ms=at_ms)  # the clock was set right
    assert answer.acks or answer.rejected


async def test_a_restored_central_was_away_since_its_backup(fleet: Fleet) -> None:
    """The time between the backup and the restart is CENTRAL_DOWN, and darkens nobody."""
    device = await fleet.device(name="a")
    await device.up()
    await tick(fleet)
    backup_ms = fleet.now_ms
    kept = await fleet.rows("SELECT beat_ms FROM central_heartbeat")
    await run_s(fleet, 600, device)
    async with fleet.db.transaction() as tx:  # the database as it was
        await tx.run("heartbeat_write", now_ms=kept[0][0])
        await tx.connection.execute(
            b"UPDATE devices SET last_contact_ms = %s, dark_deadline_ms = %s",
            (backup_ms, backup_ms + 105_000),
        )
    assert await tick(fleet, every_site=True) == []
    downs = await fleet.rows("SELECT start_ms, end_ms FROM central_downs")
    assert downs == [(backup_ms, fleet.now_ms)]
    assert await run_s(fleet, 90, device) == []
