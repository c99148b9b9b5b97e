"""A revoked device: its past is asked for, reported and looked at; alive it counts no more."""

from datetime import UTC

import httpx
import pytest

from tests.integration.conftest import Fleet
from tests.integration.test_query import Told, minute
from vedette.central import accounts, enrolment, inventory, matrix, tree
from vedette.central import fleet as looking
from vedette.central.app import Central
from vedette.central.business import cost, slo
from vedette.central.rollups import HOUR_MS, MINUTE_MS, floor_ms
from vedette.central.web import build_web
from vedette.clock import from_wall_ms
from vedette.wire.messages import EventKind, EventReport

pytestmark = pytest.mark.anyio


async def story(fleet: Fleet, *, settle: bool) -> tuple[Told, int, int]:
    """Two devices for an hour, of one half was seen; one is revoked ten minutes later."""
    told = Told(fleet)
    stolen, other = await fleet.device(name="stolen"), await fleet.device(name="other")
    start_ms = floor_ms(told.now_ms, HOUR_MS) + HOUR_MS
    fleet.clock.advance((start_ms + 70 * MINUTE_MS - told.now_ms) / 1000)
    for device in (stolen, other):
        await device.sign_in()
        await told.send(device, [minute(start_ms + n * MINUTE_MS) for n in range(30)])
    event = EventReport(event="ev-1", camera="door", kind=EventKind.PRESENCE, at_ms=start_ms)
    await stolen.up(stolen.envelope("event.v1", event))
    if settle:
        await told.settle()
    async with fleet.db.transaction() as tx:
        await enrolment.revoke(tx, "stolen", reason="stolen", actor="alice", now_ms=told.now_ms)
    revoked_ms = told.now_ms
    fleet.clock.advance(3 * 3600)
    return told, start_ms, revoked_ms


@pytest.mark.parametrize("settle", [False, True])
async def test_counts_and_coverage_of_its_past_are_answered(fleet: Fleet, *, settle: bool) -> None:
    """What was counted stands; the time after counts as nothing, neither seen nor missed."""
    told, start_ms, revoked_ms = await story(fleet, settle=settle)
    if settle:
        await told.settle()
    answer = await told.ask("zone.visits", start_ms, told.now_ms, by=["device"])
    of = {line.group["device"]: line.points[0] for line in answer.lines}
    assert of["stolen"].value == of["other"].value == 150
    assert of["stolen"].coverage.observed_s == 1800
    assert of["stolen"].coverage.accountable_s == (revoked_ms - start_ms) / 1000
    assert "PENDING_BACKFILL" not in of["stolen"].coverage.causes
    chosen = await told.ask("zone.visits", start_ms, told.now_ms, of="state:revoked", by=["device"])
    assert [line.group["device"] for line in chosen.lines] == ["stolen"]
    after = await told.ask("zone.visits", revoked_ms + 1, told.now_ms, by=["device"])
    assert "stolen" not in [line.group["device"] for line in after.lines]


async def test_reports_of_the_month_hold_what_it_saw_and_cost(fleet: Fleet) -> None:
    """Objectives, costs and the camera matrix do not become better by revoking."""
    told, start_ms, revoked_ms = await story(fleet, settle=False)
    month = f"{from_wall_ms(start_ms).astimezone(UTC):%Y-%m}"
    async with fleet.db.transaction() as tx:
        places = await tree.sites(tx, None)
        (site,) = (await slo.report(tx, places, month=month, now_ms=told.now_ms)).sites
        kinds = await matrix.read(tx, None, from_ms=start_ms, to_ms=told.now_ms, now_ms=told.now_ms)
        assert len(await inventory.present(tx, None)) <= 1
    assert (site.cameras, site.observed_s) == (2, 3600)
    assert sum(kind.cameras for kind in kinds) == 2
    device = cost._Device(site="shop", device="x", enrolled_ms=start_ms, revoked_ms=revoked_ms)
    rates = cost.Rates(currency="EUR", device_hour=1.0)
    (place,) = places
    found = cost.site_cost(place, ("", rates), [device], cost._Facts(), (start_ms, told.now_ms))
    assert found.device_hours == pytest.approx((revoked_ms - start_ms) / HOUR_MS)


async def test_it_is_looked_at_by_name_and_not_counted_in_the_fleet(fleet: Fleet) -> None:
    """Its camera's page says revoked and since when; the live fleet does not know it."""
    told, start_ms, revoked_ms = await story(fleet, settle=False)
    view = await looking.fleet_view(fleet.db, told.now_ms, None)
    assert [row.device for site in view.sites for row in site.devices] == ["other"]
    camera = await looking.camera_view(
        fleet.db, "stolen", "door", start_ms, told.now_ms, told.now_ms, None
    )
    assert camera is not None
    row = camera.row
    assert (row.state, row.since_ms, row.detail) == ("revoked", revoked_ms, "stolen")
    assert (camera.device.state, camera.device.since_ms) == ("revoked", revoked_ms)
    assert row.strip[-1].end_ms == revoked_ms
    assert row.coverage.observed_s == 1800
    assert [event.event for event in camera.events] == ["ev-1"]
    hidden = await looking.camera_view(
        fleet.db, "stolen", "door", start_ms, told.now_ms, told.now_ms, ["elsewhere"]
    )
    assert hidden is None


async def test_the_api_shows_its_past_and_asks_it_nothing(fleet: Fleet) -> None:
    """200 for what was; 400 or 404 for what only a living device could answer."""
    _, start_ms, revoked_ms = await story(fleet, settle=False)
    async with fleet.db.transaction() as tx:
        await accounts.put_user(tx, "bob", "operator", None, fleet.now_ms)
        token, _ = await accounts.open_session(tx, "bob", fleet.now_ms, life_s=60, kind="api")
    central = Central(fleet.services, build_web(fleet.services))
    transport = httpx.ASGITransport(app=central)
    headers = {"Authorization": f"Bearer {token}"}
    there = "/v1/sites/shop/devices/stolen"
    async with httpx.AsyncClient(transport=transport, base_url="http://c", headers=headers) as http:
        asked = {"from_ms": start_ms, "to_ms": revoked_ms}
        camera = await http.get(f"{there}/cameras/door", params=asked)
        assert (camera.status_code, camera.json()["row"]["state"]) == (200, "revoked")
        coverage = await http.get(f"{there}/cameras/door/coverage", params=asked)
        assert coverage.status_code == 200
        events = await http.get("/v1/events", params={"device": "stolen"})
        assert [one["event"] for one in events.json()["events"]] == ["ev-1"]
        picture = await http.post(f"{there}/cameras/door/thumbnail")
        assert (picture.status_code, "no camera" in picture.json()["detail"]) == (400, True)
        question = await http.post(f"{there}/diagnostics", json={"kind": "log"})
        assert question.status_code == 404
