"""A site's time zone and its line's limits reach enrolled devices, over the real protocol."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.integration.conftest import Fleet
from tests.integration.test_key_rotation import Box, Fault
from vedette.central import accounts, desired, tree
from vedette.central.app import Central
from vedette.central.web import build_web
from vedette.central.zones import Zones
from vedette.clock import ManualClock, wall_ms
from vedette.edge.assembly import off_hours
from vedette.edge.bandwidth import Bandwidth
from vedette.edge.desired import DesiredStore
from vedette.edge.settings import Camera, EdgeConfig
from vedette.wire.messages import HealthReport
from vedette.wire.signed import CameraSettings, LineLimits, LineWindow

pytestmark = pytest.mark.anyio

LINE = "/v1/sites/shop/devices/box/uplink"


class Told:
    """An enrolled device that follows central, and says what it was told."""

    def __init__(self, fleet: Fleet, box: Box, folder: Path, *, says: bool = True) -> None:
        self.fleet, self.box, self.says = fleet, box, says
        off = [("22:00", "06:00")]
        self.config = EdgeConfig(
            state_dir=folder,
            models_dir=folder,
            cameras=[Camera(id="door", source="a.mp4", off_hours=off)],
        )
        self.store = DesiredStore(folder, self.config, box.identity)
        self.zones = Zones()
        self.version = 0

    async def report(self) -> None:
        """Send the health report of this device."""
        device = self.fleet.stranger()
        device.device, device.key = self.box.identity.device, self.box.key
        self.fleet.clock.advance(1)
        device.next_seq = dict.fromkeys(device.next_seq, self.fleet.now_ms)  # never twice
        await device.sign_in()
        report = HealthReport(
            at_ms=self.fleet.now_ms,
            period_s=30.0,
            version="t",
            config_version=str(self.store.effective.settings_version or ""),
            time_zone=self.store.told_zone if self.says else "",
        )
        await device.up(device.envelope("health.v1", report))

    async def tell(self) -> int:
        """Have central's job run once; return how many settings were signed since the last time.

        A running central has the same job, and may have come first.
        """
        services = self.fleet.services
        await self.zones.tell(
            services.db, services.bulletin, services.online_key, self.fleet.now_ms
        )
        before, self.version = self.version, await self._signed()
        return self.version - before

    async def _signed(self) -> int:
        (said,) = await self.fleet.rows("SELECT coalesce(max(settings_version), 0) FROM devices")
        return said[0]

    async def follow(self) -> bool:
        """Ask central what is desired; return whether the pipeline has to change."""
        client = self.box.client(Fault())
        said = await asyncio.to_thread(client.desired, "")
        assert said is not None
        return self.store.apply(said)

    async def move(self, zone: str) -> None:
        """Change the site's time zone, as an operator does."""
        async with self.fleet.db.transaction() as tx:
            await tree.change_site(
                tx, "shop", time_zone=zone, actor="alice", now_ms=self.fleet.now_ms
            )

    def is_off(self, hour: int) -> bool:
        """Whether the camera is off at this hour UTC, by what the pipeline would read."""
        config = self.store.effective.config
        at_ms = wall_ms(datetime(2026, 3, 2, hour, tzinfo=UTC))
        return off_hours(config.cameras[0].off_hours, config.time_zone)(at_ms)

    def cap(self, hour: int) -> float:
        """Bytes per second of the backlog at this hour UTC."""
        clock = ManualClock(datetime(2026, 3, 2, hour, tzinfo=UTC))
        config = self.store.effective.config
        return Bandwidth(lambda: config.uplink, lambda: config.time_zone, clock).rate_bytes_s


@pytest.fixture
async def told(fleet: Fleet, tmp_path: Path) -> Told:
    """A device enrolled at a site in UTC that has reported once."""
    box = Box(fleet, await fleet.device(name="box"), tmp_path)
    one = Told(fleet, box, tmp_path)
    await one.report()
    return one


async def test_a_changed_time_zone_reaches_the_device_and_its_schedules_follow(told: Told) -> None:
    """Signed by central, kept on disk, and off-hours and windows are those of the new zone."""
    assert (await told.tell(), await told.follow()) == (0, False)
    assert told.is_off(23)
    assert not told.is_off(13)
    await told.move("Asia/Tokyo")
    assert (await told.tell(), await told.tell()) == (1, 0)
    assert await told.follow()  # the pipeline takes it over
    assert told.is_off(13)  # 22:00 there
    assert not told.is_off(23)
    assert "Asia/Tokyo" in (told.config.state_dir / "effective.yaml").read_text()
    again = DesiredStore(told.config.state_dir, told.config, told.box.identity)
    assert (again.effective.config.time_zone, again.time_zone_signer) == ("Asia/Tokyo", "central")
    await told.move("UTC")  # it may not have said yet that it followed
    assert (await told.tell(), await told.follow()) == (1, True)
    assert told.is_off(23)


async def test_a_restarted_central_tells_nobody_twice_and_finds_who_was_missed(told: Told) -> None:
    """Its memory is gone: what devices say and what is signed decides."""
    await told.move("Asia/Tokyo")
    told.zones = Zones()
    assert await told.tell() == 1
    told.zones = Zones()
    assert await told.tell() == 0  # signed, and not taken up yet
    await told.follow()
    await told.report()
    told.zones = Zones()
    assert await told.tell() == 0


async def test_an_older_device_is_told_nothing_that_it_would_refuse(told: Told) -> None:
    """It does not say which zone it was told; its settings stay free of fields unknown to it."""
    told.says = False
    told.fleet.clock.advance(60)
    await told.report()
    await told.move("Asia/Tokyo")
    assert await told.tell() == 0
    services = told.fleet.services
    settings = await desired.change_camera(
        services.db, services.bulletin, services.online_key, "box",
        CameraSettings(camera="door", threshold=0.5), actor="alice", now_ms=told.fleet.now_ms,
    )  # fmt: skip
    assert {"time_zone", "uplink"}.isdisjoint(msgspec.to_builtins(settings))


async def test_other_settings_keep_zone_and_line(told: Told) -> None:
    """Whoever draws a zone in a picture changes nothing else."""
    await told.move("Asia/Tokyo")
    await told.tell()
    services = told.fleet.services
    by = {"actor": "alice", "now_ms": told.fleet.now_ms}
    link = (services.db, services.bulletin, services.online_key, "box")
    limits = LineLimits(backfill_kbit_s=100.0)
    await desired.change_line(*link, limits, **by)
    settings = await desired.change_camera(*link, CameraSettings(camera="door"), **by)
    assert (settings.time_zone, settings.uplink) == ("Asia/Tokyo", limits)
    cleared = await desired.change_line(*link, None, **by)
    assert (cleared.time_zone, cleared.uplink) == ("Asia/Tokyo", msgspec.UNSET)


async def test_windows_of_the_line_are_set_through_the_api(told: Told) -> None:
    """By local time at the device, without a restart; taken back, its own file holds again."""
    fleet = told.fleet
    async with fleet.db.transaction() as tx:
        await accounts.put_user(tx, "bob", "operator", ["shop"], fleet.now_ms)
        token, _ = await accounts.open_session(tx, "bob", fleet.now_ms, life_s=600, kind="api")
        await accounts.put_user(tx, "eve", "viewer", None, fleet.now_ms)
        weak, _ = await accounts.open_session(tx, "eve", fleet.now_ms, life_s=600, kind="api")
    transport = httpx.ASGITransport(app=Central(fleet.services, build_web(fleet.services)))
    async with httpx.AsyncClient(transport=transport, base_url="http://c") as http:
        http.headers["Authorization"] = f"Bearer {token}"
        assert (await http.get(LINE)).json() == {"version": 0, "uplink": None}
        window = {"start": "09:00", "end": "20:00", "backfill_kbit_s": 0, "days": ["mon"]}
        wanted = {"uplink": {"backfill_kbit_s": 512, "windows": [window]}}
        tag = {"If-Match": (await http.get(LINE)).headers["etag"]}
        put = await http.put(LINE, json=wanted, headers=tag)
        assert (put.status_code, put.json()) == (200, {"version": 1})
        other = {"uplink": {"backfill_kbit_s": 1}}
        assert (await http.put(LINE, json=other, headers=tag)).status_code == 412
        assert (await http.get(LINE)).json()["uplink"]["windows"] == [window]
        assert not await told.follow()  # the pipeline goes on
        assert (told.cap(10), told.cap(21)) == (0, 64_000)
        await told.move("Asia/Tokyo")
        await told.tell()
        await told.follow()
        assert (told.cap(2), told.cap(12)) == (0, 64_000)  # 11:00 and 21:00 there
        assert (await http.put(LINE, json={"uplink": None})).status_code == 200
        await told.follow()
        assert (
            told.cap(2)
            == EdgeConfig(state_dir=Path(), models_dir=Path()).uplink.backfill_kbit_s * 125
        )
        for bad in BAD:
            answer = await http.put(LINE, json={"uplink": bad})
            assert answer.status_code in {400, 422}, bad
            assert answer.json()["detail"]
        http.headers["Authorization"] = f"Bearer {weak}"
        assert (await http.put(LINE, json=wanted)).status_code == 403
    actions = [row[0] for row in await fleet.rows("SELECT action FROM audit_log")]
    assert actions.count("settings.change") == 3


WINDOW = {"start": "09:00", "end": "20:00", "backfill_kbit_s": 0}
BAD = [
    {"backfill_kbit_s": 0},
    {"backfill_kbit_s": -1},
    {"windows": [WINDOW | {"start": "9"}]},
    {"windows": [WINDOW | {"days": ["someday"]}]},
    {"windows": [WINDOW | {"backfill_kbit_s": -1}]},
    {"windows": [WINDOW] * 33},
    {"windows": "all"},
    {"pixels": {}},
]


async def test_limits_that_make_no_sense_are_refused_whole_by_the_device(told: Told) -> None:
    """A central in other hands: a time zone that is none, a window that is none, too many."""
    services = told.fleet.services
    link = (services.db, services.bulletin, services.online_key, "box")
    window = LineWindow(start="25:99", end="06:00", backfill_kbit_s=0)
    good = LineWindow(start="01:00", end="06:00", backfill_kbit_s=0)
    for limits in (LineLimits(windows=[window]), LineLimits(windows=[good] * 33),
                   LineLimits(backfill_kbit_s=-5.0)):  # fmt: skip
        await desired.change_line(*link, limits, actor="mallory", now_ms=told.fleet.now_ms)
        assert not await told.follow()
        assert "settings refused" in told.store.problems[0]
    async with told.fleet.db.transaction() as tx:
        await tx.connection.execute(b"UPDATE sites SET time_zone = 'Atlantis/Deep'")
    await desired.change_line(*link, None, actor="mallory", now_ms=told.fleet.now_ms)
    await told.tell()
    assert not await told.follow()
    assert "no time zone 'Atlantis/Deep'" in told.store.problems[0]
    assert told.store.effective.config.time_zone == "UTC"
