"""Central hosts the repository: people publish, devices fetch, central's own word adds nothing."""

import base64
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import anyio.from_thread
import anyio.to_thread
import httpx
import msgspec
import pytest

from tests.integration.conftest import FakeDevice, Fleet
from tests.integration.rollout_rig import NEW
from tests.unit.edge.updating_kit import FreeLine
from vedette.central import accounts, audit
from vedette.central.app import Central, build_services
from vedette.central.console.rollouts import keys
from vedette.central.releases import keeping
from vedette.central.releases.keeping import OnlineKeys, Renewal, release_blobs
from vedette.central.releases.serving import range_of
from vedette.central.rollouts import ordering, planner
from vedette.central.rollouts.facts import Plan
from vedette.central.settings import CentralConfig
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.edge.updating.differences import Bringing, Brought
from vedette.edge.updating.download import Wanted
from vedette.errors import RollbackAttempt
from vedette.sim.repository import Host, RepositoryRig
from vedette.trust.keys import SigningKey
from vedette.trust.tuf import deltas, hosting
from vedette.trust.tuf.approvals import approval_path
from vedette.trust.tuf.client import Repository
from vedette.trust.tuf.refusals import NotThere

pytestmark = pytest.mark.anyio

MODEL = "models/yolox/1.0.0.vbundle"
BYTES = bytes(range(256)) * 1500
PART = 256 * 1024
FILES = "/v1/releases/files"


class House(Fleet):
    """A running central with everything that answers HTTP, and a repository for it."""

    def __init__(
        self, central: Central, http: httpx.AsyncClient, clock: ManualClock, folder: Path
    ) -> None:
        super().__init__(central, http, clock)
        self.folder = folder
        keys = OnlineKeys.load_or_make(self.services.config.state)
        host = Host(clock, keys.snapshot, keys.timestamp)
        self.rig = RepositoryRig(folder / "offline", clock, host)
        self.headers: dict[str, str] = {}

    async def sign_in(self, role: str = "admin", sites: list[str] | None = None) -> dict[str, str]:
        """Return the headers of a person's program."""
        async with self.db.transaction() as tx:
            await accounts.put_user(tx, f"{role}-{bool(sites)}", role, sites, self.now_ms)
            token, _ = await accounts.open_session(
                tx, f"{role}-{bool(sites)}", self.now_ms, life_s=10**8, kind="api"
            )
        self.headers = {"Authorization": f"Bearer {token}"}
        return self.headers

    async def send(self, data: bytes, begin: int = 0, *, end: int | None = None) -> httpx.Response:
        """Send a part of a file."""
        return await self.part(
            hashlib.sha256(data).hexdigest(), begin, len(data), data[begin : end or len(data)]
        )

    async def part(self, sha256: str, begin: int, total: int, part: bytes) -> httpx.Response:
        """Send bytes under a name."""
        body = {"begin": begin, "total": total, "data": base64.b64encode(part).decode()}
        return await self.http.put(f"{FILES}/{sha256}", json=body, headers=self.headers)

    async def offer(self, files: dict[str, bytes]) -> httpx.Response:
        """Offer metadata."""
        body = {"files": {name: base64.b64encode(data).decode() for name, data in files.items()}}
        return await self.http.post("/v1/releases/metadata", json=body, headers=self.headers)

    async def publish(self) -> httpx.Response:
        """Send everything."""
        for sha256, _, file in self.rig.offline.target_files().values():
            data = file.read_bytes()
            assert hashlib.sha256(data).hexdigest() == sha256
            for begin in range(0, len(data), PART):
                answer = await self.send(data, begin, end=min(begin + PART, len(data)))
                assert answer.status_code == 200, answer.text
        return await self.offer(self.rig.offline.files())

    def client(self, device: FakeDevice) -> Repository:
        """Return a device's client; it asks this central with the device's token."""

        async def get(path: str, first: int, last: int) -> httpx.Response:
            headers = {"Authorization": f"Bearer {device.token}", "Range": f"bytes={first}-{last}"}
            return await self.http.get(f"/tuf/{path}", headers=headers)

        def fetch(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
            answer = anyio.from_thread.run(get, path, offset, offset + max_bytes - 1)
            if answer.status_code == 404:
                raise NotThere(path)
            assert answer.status_code in {200, 206}, answer.text
            yield answer.content

        folder = self.folder / device.device
        return Repository(folder, fetch, root=self.rig.root, clock=self.clock)


@pytest.fixture
async def house(conninfo: str, anyio_backend: str, tmp_path: Path) -> AsyncIterator[House]:
    """A running central, an administrator, and a repository that is not published yet."""
    clock = ManualClock()
    config = CentralConfig(state_dir=str(tmp_path / "state"))
    services = build_services(config, conninfo, SigningKey.generate(), clock)
    central = Central(services, build_web(services))
    transport = httpx.ASGITransport(app=central)
    async with (
        central.running(),
        httpx.AsyncClient(transport=transport, base_url="http://central") as http,
    ):
        made = House(central, http, clock, tmp_path)
        await made.sign_in()
        yield made


async def test_what_is_published_reaches_a_device_verified(house: House, tmp_path: Path) -> None:
    """From the offline folder over the API to a device: metadata, a range, the whole, an approval.

    A device that enrols afterwards pins the newest root.
    """
    model = house.rig.add(MODEL, BYTES)
    house.rig.approve("r1", [model], ["shop"])
    answer = await house.publish()
    assert answer.status_code == 200, answer.text
    assert answer.json()["versions"]["models"] == 2
    device = house.stranger()
    enrolled = await device.enrol(await house.claim("shop"))
    assert enrolled.json()["tuf_root"].encode() == house.rig.root
    await device.sign_in()
    client = house.client(device)
    versions = await anyio.to_thread.run_sync(client.refresh)
    assert versions["approvals"] == 2
    said = await anyio.to_thread.run_sync(client.target, MODEL)
    there, show = f"/tuf/{said.where}", {"Authorization": f"Bearer {device.token}"}
    whole = await house.http.get(there, headers=show)
    assert (whole.status_code, whole.content) == (200, BYTES)
    part = await house.http.get(there, headers={**show, "Range": "bytes=100-299"})
    assert (part.status_code, part.content) == (206, BYTES[100:300])
    assert part.headers["content-range"] == f"bytes 100-299/{len(BYTES)}"
    same = {**show, "If-None-Match": part.headers["etag"]}
    assert (await house.http.get(there, headers=same)).status_code == 304
    beyond = {**show, "Range": f"bytes={len(BYTES)}-"}
    assert (await house.http.get(there, headers=beyond)).status_code == 416
    other = {**show, "Range": "bytes=5-", "If-Range": '"other"'}
    assert (await house.http.get(there, headers=other)).content == BYTES
    approval = await anyio.to_thread.run_sync(client.read, approval_path("r1"))
    assert msgspec.json.decode(approval)["sites"] == ["shop"]
    actions = [(e.actor, e.action) for e in await audit.page(house.db)]
    assert ("admin-False", "releases.publish") in actions


async def test_a_difference_reaches_a_device_that_holds_the_version_before(
    house: House, tmp_path: Path
) -> None:
    """Signed with the version, hosted, fetched in its place and verified; people see what it is."""
    newer = BYTES[:1000] + b"another threshold" + BYTES[1000:]
    old, new = (
        house.rig.add(f"models/yolox/{number}.vbundle", data)
        for number, data in (("1.0.0", BYTES), ("1.1.0", newer))
    )
    [made] = deltas.add_deltas(house.rig.offline, new.target, [old.target], house.rig.now_at())
    assert made.is_kept
    house.rig.sign()
    assert (await house.publish()).status_code == 200
    device = house.stranger()
    await device.enrol(await house.claim("shop"))
    await device.sign_in()
    client = house.client(device)
    await anyio.to_thread.run_sync(client.refresh)
    files = tmp_path / "device/updates/files"
    files.mkdir(parents=True)
    (files / old.sha256).write_bytes(BYTES)
    asked: list[str] = []

    def fetch(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        asked.append(path)
        answer = anyio.from_thread.run(
            partial(
                house.http.get,
                f"/tuf/{path}",
                headers={
                    "Authorization": f"Bearer {device.token}",
                    "Range": f"bytes={offset}-{offset + max_bytes - 1}",
                },
            )
        )
        yield answer.content

    def bring() -> Brought:
        wanted = Wanted(client.target(new.target).where, new.sha256, new.bytes)
        bringing = Bringing(new, wanted, tmp_path / "device", house.clock, threading.Event())
        return bringing.run(client, [old.sha256], fetch, FreeLine())

    came = await anyio.to_thread.run_sync(bring)
    assert (files / new.sha256).read_bytes() == newer
    assert came == Brought(saved_bytes=new.bytes - made.bytes)
    assert [path.rpartition(".")[2] for path in asked] == ["vdelta"]
    said = (await house.http.get("/v1/releases", headers=house.headers)).json()
    assert (said["deltas"], said["deltas_bytes"]) == (1, made.bytes)
    async with house.db.transaction() as tx:
        shown = keys.view_of(await keeping.view(tx, house.now_ms), await keeping.files(tx), [])
    assert {one.path: one.deltas for one in shown.targets} == {
        old.target: [],
        new.target: [made.bytes],
    }


async def test_only_devices_are_served_and_only_what_is_named(house: House) -> None:
    """No token, an unknown name, a file that no metadata names, a path beside the folder."""
    house.rig.add(MODEL, BYTES)
    await house.publish()
    unnamed = b"nobody signed this"
    await house.send(unnamed)
    device = await house.device()
    show = {"Authorization": f"Bearer {device.token}"}
    sha256 = hashlib.sha256(BYTES).hexdigest()
    assert (await house.http.get("/tuf/metadata/timestamp.json")).status_code == 401
    for path in (
        "metadata/2.timestamp.json",
        "metadata/root.json",
        "metadata/9.root.json",
        "metadata/99999999999.root.json",
        f"targets/models/yolox/{hashlib.sha256(unnamed).hexdigest()}.1.0.0.vbundle",
        f"targets/models/other/{sha256}.1.0.0.vbundle",
        f"targets/{sha256}",
        "targets/" + "x" * 3000,
        "targets/..%2f..%2fkeys/online.key",
    ):
        answer = await house.http.get(f"/tuf/{path}", headers=show)
        assert answer.status_code == 404, path
    limits = [await house.http.get("/tuf/metadata/1.root.json", headers=show) for _ in range(70)]
    assert limits[0].status_code == 200
    assert limits[-1].status_code == 429


async def test_an_upload_goes_on_where_it_broke(house: House) -> None:
    """Parts come in order; what is there is asked; other bytes than named are thrown away."""
    data = BYTES[:1000]
    assert (await house.send(data, 0, end=400)).json() == {"bytes": 400, "whole": False}
    assert (await house.send(data, 600)).status_code == 409
    there = f"{FILES}/{hashlib.sha256(data).hexdigest()}"
    assert (await house.http.get(there, headers=house.headers)).json()["bytes"] == 400
    assert (await house.send(data, 400)).json() == {"bytes": 1000, "whole": True}
    assert (await house.http.get(there, headers=house.headers)).json()["whole"] is True
    for begin, total, part, status in (
        (0, 5, b"wrong", 403),
        (0, 2**40, b"wrong", 400),
        (-1, 5, b"wrong", 400),
        (6, 5, b"wrong", 400),
        (0, 2, b"wrong", 400),
    ):
        answer = await house.part("ab" * 32, begin, total, part)
        assert answer.status_code == status, (begin, total)
    assert (await house.http.get(f"{FILES}/..%2fkeys", headers=house.headers)).status_code >= 400


async def test_who_is_no_administrator_of_the_whole_fleet_publishes_nothing(house: House) -> None:
    """Neither an operator nor an administrator of some sites; looking is for everybody."""
    for role, sites in (("operator", None), ("admin", ["shop"])):
        headers = await house.sign_in(role, sites)
        assert (await house.offer(house.rig.offline.files())).status_code == 403
        assert (await house.send(b"data")).status_code == 403
        there = f"{FILES}/{'ab' * 32}"
        assert (await house.http.get(there, headers=headers)).status_code == 403
        assert (await house.http.get("/v1/releases", headers=headers)).json()["roles"] == []
    assert await house.rows("SELECT count(*) FROM release_metadata") == [(0,)]


async def test_metadata_is_taken_whole_or_not_at_all(house: House) -> None:
    """A file that is missing, a threshold not met, an older version: refused with what to do."""
    house.rig.add(MODEL, BYTES)
    answer = await house.offer(house.rig.offline.files())
    assert answer.status_code == 409
    assert "not here yet" in answer.json()["detail"]
    assert await house.rows("SELECT count(*) FROM release_metadata") == [(0,)]
    assert (await house.publish()).status_code == 200
    before = await house.rows("SELECT role, version FROM release_metadata ORDER BY 1, 2")
    old = house.rig.offline.files()
    house.rig.offline.prolong("approvals", house.clock.now_at())
    staged = house.rig.offline.staged("approvals")
    assert staged
    staged.sign(house.rig.people["approvals"][0])
    for offered, status in (
        ({"2.approvals.json": staged.to_bytes()}, 403),
        ({"2.approvals.json": b"{}"}, 403),
        ({"../x.json": b"{}"}, 400),
        ({"9.timestamp.json": b"{}"}, 403),
        ({f"{n}.root.json": b"" for n in range(1, 200)}, 400),
    ):
        assert (await house.offer(offered)).status_code == status, offered
    assert await house.rows("SELECT role, version FROM release_metadata ORDER BY 1, 2") == before
    house.clock.advance(1)
    assert (await house.offer(old)).status_code == 200  # the same again changes nothing


async def test_metadata_is_signed_anew_before_it_expires_and_at_each_start(house: House) -> None:
    """Half its life before; at once after a start, because the database may be last week's."""
    await house.publish()
    device = await house.device()
    client = house.client(device)
    refresh = partial(anyio.to_thread.run_sync, client.refresh)
    first = (await refresh())["timestamp"]
    renewal = Renewal(house.db, house.services.config.state)
    house.clock.advance(1)
    assert await renewal(house.now_ms)
    assert (await refresh())["timestamp"] > first
    assert not await renewal(house.now_ms)
    house.clock.advance(hosting.TIMESTAMP_LIFE.total_seconds() / 2 + 1)
    assert await renewal(house.now_ms)
    await device.sign_in()
    await refresh()


async def test_central_restored_from_last_weeks_backup(house: House) -> None:
    """Its new signatures are newer than what devices saw; what people signed since is missed.

    Devices refuse that, say so, and are well again once the folder is published again.
    """
    await house.publish()
    backup = await house.rows("SELECT role, version FROM release_metadata")
    house.clock.advance(60)
    house.rig.add(MODEL, BYTES)
    await house.publish()
    device = await house.device()
    client = house.client(device)
    await anyio.to_thread.run_sync(client.refresh)
    async with house.db.transaction() as tx:
        for role, version in await house.rows("SELECT role, version FROM release_metadata"):
            if (role, version) not in backup:
                await tx.connection.execute(
                    b"DELETE FROM release_metadata WHERE role = %s AND version = %s",
                    (role, version),
                )
    house.clock.advance(60)
    await Renewal(house.db, house.services.config.state)(house.now_ms)
    with pytest.raises(RollbackAttempt):
        await anyio.to_thread.run_sync(client.refresh)
    await house.publish()
    assert (await anyio.to_thread.run_sync(client.refresh))["models"] == 2


async def test_a_rollout_hears_at_once_of_what_is_published(house: House) -> None:
    """Its approval may be among it: nobody waits for the turn that was due in ten minutes."""
    async with house.db.transaction() as tx:
        plan = Plan(rollout="ro-1", kind=NEW.kind, slot="app", artefact=NEW)
        await ordering.make(tx, plan, actor="anna", note="", now_ms=house.now_ms)
        await tx.connection.execute(b"UPDATE rollouts SET due_ms = 10^15")
    await house.publish()
    [(due_ms,)] = await house.rows("SELECT due_ms FROM rollouts")
    assert due_ms <= house.now_ms + planner.SLOW_TICK_MS


async def test_files_that_nobody_names_are_swept_after_a_week(house: House) -> None:
    """What is named stays; what came and was never published goes."""
    house.rig.add(MODEL, BYTES)
    await house.publish()
    await house.send(b"never published")
    blobs = release_blobs(house.services.config.state)
    gone, kept = (hashlib.sha256(data).hexdigest() for data in (b"never published", BYTES))
    later_ms = round(blobs.path(gone).stat().st_mtime * 1000) + 8 * 86_400_000
    await Renewal(house.db, house.services.config.state)(later_ms)
    assert (blobs.has(gone), blobs.has(kept)) == (False, True)


async def test_the_view_names_what_expires(house: House) -> None:
    """Roles with versions, keys and thresholds; a month before the end, with the days left."""
    await house.publish()
    said = (await house.http.get("/v1/releases", headers=house.headers)).json()
    roles = {role["role"]: role for role in said["roles"]}
    assert (roles["root"]["threshold"], len(roles["root"]["keys"])) == (2, 3)
    assert all(not role["problem"] for role in said["roles"])
    house.clock.advance(70 * 86_400)
    said = (await house.http.get("/v1/releases", headers=house.headers)).json()
    roles = {role["role"]: role["problem"] for role in said["roles"]}
    assert "expires in" in roles["approvals"]
    assert "expired" in roles["timestamp"]


def test_ranges_are_read_as_their_rfc_says() -> None:
    """From, from to, the last so many; nonsense is the whole."""
    assert range_of("bytes=5-", 10) == (5, 10)
    assert range_of("bytes=5-6", 10) == (5, 7)
    assert range_of("bytes=5-99", 10) == (5, 10)
    assert range_of("bytes=-3", 10) == (7, 10)
    for nonsense in ("", "bytes=-", "bytes=1-2,4-5", "items=1-2", "bytes=a-b", "x" * 999):
        assert range_of(nonsense, 10) == (0, 10)
