"""The timeline over the real database: every source, paging, scopes, and what outlives reports."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.integration.conftest import FakeDevice, Fleet
from vedette.central import accounts, enrolment
from vedette.central.app import Central, build_services
from vedette.central.query import keeping
from vedette.central.settings import CentralConfig
from vedette.central.timeline import keeping as happenings
from vedette.central.timeline import reading as timeline
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.trust.keys import SigningKey
from vedette.wire.messages import (
    CameraHealth,
    CameraState,
    Cause,
    CoverageReport,
    HealthReport,
    PipelineHealth,
    Span,
    State,
    SystemHealth,
)

pytestmark = pytest.mark.anyio

PATH = "/v1/sites/shop/devices/box/timeline"
HOUR_S = 3600


class House(Fleet):
    """A running central with its web part, and programs that ask."""

    async def program(self, role: str, sites: list[str] | None = None) -> dict[str, str]:
        """Return the headers of a program with this role and scope."""
        name = f"{role}-{len(sites) if sites is not None else 'all'}"
        async with self.db.transaction() as tx:
            await accounts.put_user(tx, name, role, sites, self.now_ms)
            token, _ = await accounts.open_session(tx, name, self.now_ms, life_s=99999, kind="api")
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def house(conninfo: str, anyio_backend: str) -> AsyncIterator[House]:
    """A running central with everything that answers HTTP."""
    clock = ManualClock()
    services = build_services(CentralConfig(), conninfo, SigningKey.generate(), clock)
    central = Central(services, build_web(services))
    transport = httpx.ASGITransport(app=central)
    async with (
        central.running(),
        httpx.AsyncClient(transport=transport, base_url="http://central") as http,
    ):
        yield House(central, http, clock)


def health(device: FakeDevice, boot: str, *flags: str, version: str = "1") -> HealthReport:
    """Return a report of now."""
    camera = CameraHealth(camera="door", state=State.OK, since_ms=device.now_ms)
    return HealthReport(
        at_ms=device.now_ms,
        period_s=30,
        version=version,
        system=SystemHealth(boot_id=boot, throttle_flags=list(flags), reboot_cause="watchdog"),
        pipeline=PipelineHealth(running=True, cameras=[camera]),
    )


async def tell(house: House, device: FakeDevice, *reports: tuple[str, list[str], str]) -> None:
    """Have the device report each half minute: (boot, flags, version)."""
    for boot, flags, version in reports:
        body = health(device, boot, *flags, version=version)
        await device.up(device.envelope("health.v1", body))
        house.clock.advance(30)


async def a_day(house: House) -> FakeDevice:
    """Return a device to which one thing of many kinds happened."""
    device = await house.device(name="box")
    calm, hot = ("a", [], "1"), ("a", ["throttled"], "1")
    await tell(house, device, calm, hot, hot, calm, ("b", [], "2"))
    start_ms = device.now_ms - 600_000
    spans = [
        Span(start_ms=start_ms, end_ms=start_ms + 60_000, cause=Cause.PIPELINE_STOPPED),
        Span(start_ms=start_ms + 60_000, end_ms=start_ms + 90_000, cause=Cause.PIPELINE_STOPPED),
    ]
    await device.up(
        device.envelope("coverage.v1", CoverageReport(camera="door", spans=spans)),
        device.envelope(
            "camera_state.v1",
            CameraState(
                camera="door",
                at_ms=device.now_ms,
                noticed_ms=device.now_ms,
                state=State.DOWN,
                cause=Cause.CAMERA_DOWN,
                detail="connection refused",
            ),
        ),
    )
    return device


async def test_one_list_has_what_happened_from_every_source(house: House) -> None:
    """Reports, contact, cameras, gaps, people: each once, newest first, whatever the page."""
    await a_day(house)
    operator = await house.program("operator", ["shop"])
    asked = {"kind": "log", "lines": 20}
    path = "/v1/sites/shop/devices/box/diagnostics"
    assert (await house.http.post(path, json=asked, headers=operator)).status_code == 202
    answer = await house.http.get(PATH, headers=operator)
    assert answer.status_code == 200, answer.text
    whole = answer.json()["entries"]
    assert {entry["kind"] for entry in whole} == {
        "contact", "camera", "gap", "reboot", "heat", "software", "trust", "operator",
    }  # fmt: skip
    moments = [entry["at_ms"] for entry in whole]
    assert moments == sorted(moments, reverse=True)
    (gap,) = [entry for entry in whole if entry["kind"] == "gap"]
    assert gap["end_ms"] - gap["at_ms"] == 90_000
    assert [e["title"] for e in whole if e["kind"] == "heat"] == [
        "Not held back any more", "Held back, by heat or power",
    ]  # fmt: skip
    paged, cursor = [], ""
    while True:
        query = {"limit": 2, "cursor": cursor}
        page = (await house.http.get(PATH, params=query, headers=operator)).json()
        paged += page["entries"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == whole
    site = (await house.http.get("/v1/sites/shop/timeline", headers=operator)).json()["entries"]
    assert site == whole


async def test_a_filter_asks_only_for_its_kinds(house: House) -> None:
    """Kinds by name, several with commas; one that is not there is said so."""
    await a_day(house)
    viewer = await house.program("viewer")
    found = (await house.http.get(f"{PATH}?kind=heat,reboot", headers=viewer)).json()["entries"]
    assert [entry["kind"] for entry in found] == ["reboot", "heat", "heat"]
    wrong = await house.http.get(f"{PATH}?kind=weather", headers=viewer)
    assert (wrong.status_code, "weather" in wrong.text) == (400, True)
    cursor = (await house.http.get(f"{PATH}?kind=heat&limit=1", headers=viewer)).json()
    elsewhere = await house.http.get(
        f"{PATH}?kind=reboot&cursor={cursor['next_cursor']}", headers=viewer
    )
    assert elsewhere.status_code == 400


async def test_a_viewer_is_not_told_what_people_did(house: House) -> None:
    """Nor who did what everybody may know; another site's people are told nothing at all."""
    await a_day(house)
    async with house.db.transaction() as tx:
        await enrolment.add_site(tx, "other", actor="test", now_ms=house.now_ms)
        await enrolment.revoke(tx, "box", reason="stolen", actor="ada", now_ms=house.now_ms)
    operator, viewer = await house.program("operator"), await house.program("viewer")
    stranger = await house.program("admin", ["other"])
    mine = (await house.http.get(PATH, headers=operator)).json()["entries"]
    theirs = (await house.http.get(PATH, headers=viewer)).json()["entries"]
    revoked = [next(e for e in found if e["title"] == "Revoked") for found in (mine, theirs)]
    assert [entry["actor"] for entry in revoked] == ["ada", ""]
    assert revoked[1]["detail"] == "stolen"
    assert "operator" not in {entry["kind"] for entry in theirs}
    for path in (PATH, "/v1/sites/shop/timeline", "/v1/sites/shop/devices/box/condition"):
        assert (await house.http.get(path, headers=stranger)).status_code == 404
    wrong = "/v1/sites/other/devices/box/timeline"
    assert (await house.http.get(wrong, headers=operator)).status_code == 404


async def test_what_happened_outlives_the_reports_and_is_the_same(house: House) -> None:
    """Kept by the hour, with the same keys; twice is once; and heat adds up either way."""
    device = await a_day(house)
    of = timeline.Of(site="shop", device="box", kinds=frozenset({"heat", "reboot", "software"}))

    async def read() -> tuple[object, object]:
        async with house.db.transaction() as tx:
            entries = await timeline.page(tx, of, None, 100, house.now_ms)
            known_ms = house.now_ms
            return entries, await timeline.heat(tx, "box", 0, house.now_ms, known_ms)

    fresh, spells = await read()
    assert len(fresh) == 4
    assert [one.end_ms - one.start_ms for one in spells] == [60_000]
    house.clock.advance(2 * HOUR_S)
    await device.sign_in()
    await tell(house, device, ("b", [], "2"))
    settled = "UPDATE devices SET drained_to_ms = %s RETURNING 1"
    await house.rows(settled, house.now_ms)
    await house.rows("UPDATE central_heartbeat SET beat_ms = %s RETURNING 1", house.now_ms)
    for _ in range(3):
        await keeping.advance(house.db, house.now_ms)
    assert (await house.rows("SELECT count(*) FROM happenings"))[0][0] == 4
    await house.rows("DELETE FROM reports RETURNING 1")
    assert await read() == (fresh, spells)
    async with house.db.transaction() as tx:
        await happenings.keep(tx, "box", 0, house.now_ms)
    assert (await house.rows("SELECT count(*) FROM happenings"))[0][0] == 4


async def test_the_condition_of_a_device_says_when_it_was_held_back(house: House) -> None:
    """Which devices throttled this week has an answer for one, and by metric for the fleet."""
    await a_day(house)
    viewer = await house.program("viewer")
    answer = await house.http.get("/v1/sites/shop/devices/box/condition", headers=viewer)
    said = answer.json()
    assert said["held_back_s"] == 60
    assert {tier["name"] for tier in said["tiers"]} >= {"heat", "power", "spool"}
    assert [one["camera"] for one in said["findings"]] == ["door"]
    assert "restart the camera" in said["findings"][0]["todo"]


async def test_pages_answer_with_what_the_api_says(house: House) -> None:
    """Site and device as pages, by session cookie; out of scope they are not there."""
    await a_day(house)
    async with house.db.transaction() as tx:
        for name, sites in (("ada", None), ("bob", ["other"])):
            await accounts.put_user(tx, name, "admin", sites, house.now_ms)
    pages = ("/sites/shop", "/sites/shop/devices/box", "/sites/shop/devices/box/do/revoke")
    for name, status in (("ada", 200), ("bob", 404)):
        async with house.db.transaction() as tx:
            token, _ = await accounts.open_session(
                tx, name, house.now_ms, life_s=3600, kind="browser"
            )
        for path in pages:
            answer = await house.http.get(path, headers={"Cookie": f"vedette={token}"})
            assert answer.status_code == status, (path, answer.text)
    wrong = "/sites/shop/devices/box?kind=weather"
    assert (await house.http.get(wrong)).status_code in {303, 401}
