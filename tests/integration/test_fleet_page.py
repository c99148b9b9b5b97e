"""The fleet page over a real database: saved views, scopes, refreshes, the palette, files."""

import gzip
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from litestar.testing import AsyncTestClient

from vedette.central import accounts, audit, enrolment, tree
from vedette.central.app import build_services
from vedette.central.console import assets
from vedette.central.overview import Overview
from vedette.central.services import Services
from vedette.central.settings import CentralConfig
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.trust.keys import SigningKey

pytestmark = pytest.mark.anyio


class House:
    """A central with three sites in folders, and whoever is wanted."""

    def __init__(self, services: Services, client: AsyncTestClient) -> None:
        self.services = services
        self.client = client

    async def user(self, name: str, role: str, sites: list[str] | None = None) -> dict[str, str]:
        """Return the headers of a program of a new user."""
        now_ms = self.services.now_ms()
        async with self.services.db.transaction() as tx:
            await accounts.put_user(tx, name, role, sites, now_ms)
            token, _ = await accounts.open_session(tx, name, now_ms, life_s=3600, kind="api")
        return {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, headers: dict[str, str], **more: str) -> httpx.Response:
        """Ask for a page without following where it leads."""
        return await self.client.get(path, headers=headers | more, follow_redirects=False)


@pytest.fixture
async def house(conninfo: str) -> AsyncIterator[House]:
    """A central in this process: north and south in Europe, a third at the top."""
    clock = ManualClock(datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
    services = build_services(CentralConfig(), conninfo, SigningKey.generate(), clock)
    await services.db.open()
    async with services.db.transaction() as tx:
        now_ms = services.now_ms()
        for site, folder in (("north", "europe/no"), ("south", "europe/pt"), ("depot", "")):
            await enrolment.add_site(tx, site, actor="test", now_ms=now_ms)
            if folder:
                await tree.change_site(tx, site, folder=folder, actor="test", now_ms=now_ms)
            await tx.run(
                "device_add", device=f"{site}-1", site=site, public_key=f"key of {site}",
                hardware="", version="", now_ms=now_ms,
            )  # fmt: skip
            await tx.run(
                "cameras_know", devices=[f"{site}-1"], cameras=["door"], from_ms=[now_ms - 60_000]
            )
    async with AsyncTestClient(build_web(services), base_url="http://127.0.0.1:8080") as client:
        yield House(services, client)
    await services.db.close()


def sites_in(answer: httpx.Response) -> list[str]:
    """Return the sites that a fleet page shows, in order."""
    assert answer.status_code == 200, answer.text
    return re.findall(r'<section id="site-([a-z]+)"', answer.text)


async def test_a_view_is_saved_shared_started_with_and_deleted(house: House) -> None:
    """Each of it audited; only what means something is kept of the query."""
    olga = await house.user("olga", "operator")
    vic = await house.user("vic", "viewer")
    put = await house.client.put(
        "/v1/views/Wrong ones",
        json={"query": "state=trouble&show=200&nonsense=1&open=north", "shared": True},
        headers=olga,
    )
    assert put.status_code == 200
    assert put.json()["query"] == "state=trouble"
    theirs = (await house.get("/v1/views", vic)).json()
    assert [(v["owner"], v["name"], v["is_start"]) for v in theirs] == [
        ("olga", "Wrong ones", False)
    ]
    started = await house.client.put(
        "/v1/start-view", json={"owner": "olga", "name": "Wrong ones"}, headers=vic
    )
    assert started.status_code == 204
    first = await house.get("/", vic)
    assert (first.status_code, first.headers["location"]) == (303, "/?state=trouble")
    assert (await house.get("/?view=list", vic)).status_code == 200
    assert (await house.get("/", olga)).status_code == 200
    assert (await house.client.delete("/v1/views/Wrong ones", headers=vic)).status_code == 404
    assert (await house.client.delete("/v1/views/Wrong ones", headers=olga)).status_code == 204
    assert (await house.get("/", vic)).status_code == 200
    actions = [entry.action for entry in await audit.page(house.services.db)]
    assert actions[:3] == ["view.drop", "view.start", "view.put"]


async def test_only_an_operator_shares_and_nobody_takes_what_is_not_theirs(house: House) -> None:
    """A viewer saves for themselves; a name that cannot be is refused; tags keep work safe."""
    vic = await house.user("vic", "viewer")
    body = {"query": "cause=Covered", "shared": True}
    there = "/v1/views/Covered"
    assert (await house.client.put(there, json=body, headers=vic)).status_code == 403
    own = await house.client.put(there, json=body | {"shared": False}, headers=vic)
    assert own.status_code == 200
    listed = (await house.get("/v1/views", vic)).json()
    assert listed[0]["etag"] == own.headers["etag"]
    stale = await house.client.put(
        there, json={"query": ""}, headers=vic | {"If-Match": '"another"'}
    )
    assert stale.status_code == 412
    long = await house.client.put(f"/v1/views/{'x' * 61}", json=body, headers=vic)
    assert long.status_code in {400, 403, 422}
    other = await house.user("eve", "viewer")
    assert (await house.get("/v1/views", other)).json() == []
    refused = await house.client.put(
        "/v1/start-view", json={"owner": "vic", "name": "Covered"}, headers=other
    )
    assert refused.status_code >= 400


async def test_a_shared_view_that_names_places_is_not_told_to_whoever_sees_a_part(
    house: House,
) -> None:
    """The question itself would tell that there is such a place."""
    olga = await house.user("olga", "operator")
    for name, query in (("Secret", "folder=europe/pt"), ("Plain", "cause=Covered")):
        body = {"query": query, "shared": True}
        await house.client.put(f"/v1/views/{name}", json=body, headers=olga)
    part = await house.user("nora", "viewer", ["north"])
    assert [v["name"] for v in (await house.get("/v1/views", part)).json()] == ["Plain"]
    page = await house.get("/?view=list", part)
    assert "Secret" not in page.text
    whole = await house.user("vic", "viewer")
    assert {v["name"] for v in (await house.get("/v1/views", whole)).json()} == {"Secret", "Plain"}


async def test_folders_selections_and_scopes_cut_the_page(house: House) -> None:
    """A folder, a selection and a scope; what cannot be read is said and shows nothing."""
    vic = await house.user("vic", "viewer")
    assert sites_in(await house.get("/?folder=europe", vic)) == ["north", "south"]
    assert sites_in(await house.get("/?sel=site:depot+or+site:north", vic)) == ["depot", "north"]
    assert sites_in(await house.get("/?folder=europe&sel=-site:south", vic)) == ["north"]
    broken = await house.get("/?sel=colour:red", vic)
    assert sites_in(broken) == []
    assert "there is no field" in broken.text
    part = await house.user("nora", "viewer", ["north"])
    assert sites_in(await house.get("/?sel=*", part)) == ["north"]
    grid = await house.get("/?view=grid", part)
    assert re.findall(r'href="/sites/([a-z]+)"', grid.text) == ["north"]


async def test_a_refresh_with_nothing_new_is_empty(house: House) -> None:
    """204 and when that was; after a change the page again, without what stayed the same."""
    vic = await house.user("vic", "viewer")
    first = await house.get("/?view=list", vic)
    have = ",".join(re.findall(r'data-v="([0-9a-f]+)"', first.text))
    again = await house.get("/?view=list", vic, **{"HX-Request": "true", "X-Have": have})
    assert again.status_code == 204
    assert again.headers["x-as-of"] == str(house.services.now_ms())
    async with house.services.db.transaction() as tx:
        await tree.change_site(tx, "south", name="The South", actor="t", now_ms=1)
    later = await house.get("/?view=list", vic, **{"HX-Request": "true", "X-Have": have})
    assert later.status_code == 200
    assert "The South" in later.text
    assert later.text.count("data-kept") == 2


async def test_the_palette_finds_what_is_in_scope_only(house: House) -> None:
    """Sites, devices and cameras by any of their names, for whoever may know of them."""
    vic = await house.user("vic", "viewer")
    found = (await house.get("/places?q=south", vic)).json()
    assert [place["kind"].partition(" ")[0] for place in found] == ["site", "device", "camera"]
    assert found[2]["href"] == "/sites/south/cameras/south-1/door"
    part = await house.user("nora", "viewer", ["north"])
    assert (await house.get("/places?q=south", part)).json() == []
    assert len((await house.get("/places?q=door", part)).json()) == 1
    assert (await house.get(f"/places?q={'x' * 101}", vic)).status_code == 400


async def test_files_go_out_compressed_and_whole_where_that_is_not_understood(
    house: House,
) -> None:
    """The same bytes either way, and a cache between may tell the two apart."""
    there = f"/static/{assets.asset_version()}/vedette.css"
    small = await house.client.get(there, headers={"Accept-Encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) == len(gzip.compress(small.content, mtime=0))
    plain = await house.client.get(there, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == small.content
    assert "accept-encoding" in small.headers["vary"].lower()


async def test_a_large_fleet_is_read_at_most_as_often_as_pays(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All who look share one reading, five seconds at most; a small one is read anew each time."""
    services, clock = house.services, house.services.clock
    overview = Overview()
    one = await overview.skeleton(services.db, clock, None)
    assert await overview.skeleton(services.db, clock, None) is not one
    monkeypatch.setattr("vedette.central.overview.SMALL", 0)
    overview._rest_ns = 60_000_000_000  # as if it had taken six seconds
    kept = await overview.skeleton(services.db, clock, None)
    assert await overview.skeleton(services.db, clock, None) is kept
    assert [row.site for row in (await overview.skeleton(services.db, clock, ["north"])).sites] == [
        "north"
    ]
    house.services.clock._clock.advance(6)
    assert await overview.skeleton(services.db, clock, None) is not kept
