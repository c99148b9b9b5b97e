"""Two operators at once: what one changed is not overwritten by the other unseen; 304 for both."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from litestar.testing import AsyncTestClient

from vedette.central import accounts, enrolment
from vedette.central.app import build_services
from vedette.central.services import Services
from vedette.central.settings import CentralConfig
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.trust.keys import SigningKey

pytestmark = pytest.mark.anyio

DEVICE = "/v1/sites/north/devices/north-1"
SETTINGS = f"{DEVICE}/cameras/door/settings"


class House:
    """A central with one site, and an administrator's program."""

    def __init__(self, services: Services, client: AsyncTestClient, token: str) -> None:
        self.services = services
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}"}

    async def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> httpx.Response:
        """Ask with `if_match` and the like as headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        more: dict[str, Any] = {} if body is None else {"json": body}
        return await self.client.request(method, path, headers=self.headers | named, **more)

    async def tag(self, path: str, name: str, value: str) -> str:
        """Return the `etag` of one row of a list."""
        rows = (await self.ask("GET", path)).json()
        return next(row["etag"] for row in rows if row[name] == value)


@pytest.fixture
async def house(conninfo: str) -> AsyncIterator[House]:
    """A central in this process, over a fresh database."""
    clock = ManualClock(datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
    services = build_services(CentralConfig(), conninfo, SigningKey.generate(), clock)
    await services.db.open()
    async with services.db.transaction() as tx:
        now_ms = services.now_ms()
        await enrolment.add_site(tx, "north", actor="test", now_ms=now_ms)
        await tx.run(
            "device_add", device="north-1", site="north", public_key="key", hardware="", version="",
            now_ms=now_ms,
        )  # fmt: skip
        for camera in ("door", "till"):
            await tx.run("cameras_know", devices=["north-1"], cameras=[camera], from_ms=[now_ms])
        await accounts.put_user(tx, "vic", "viewer", None, now_ms)
        await accounts.put_user(tx, "ada", "admin", None, now_ms)
        token, _ = await accounts.open_session(tx, "ada", now_ms, life_s=3600, kind="api")
    async with AsyncTestClient(build_web(services), base_url="http://127.0.0.1:8080") as client:
        yield House(services, client, token)
    await services.db.close()


async def test_what_is_held_already_is_not_sent_again(house: House) -> None:
    """304 without a body under the same tag; another tag and the whole after a change."""
    for path in ("/v1/sites", "/v1/devices?limit=1", "/v1/metrics", SETTINGS):
        first = await house.ask("GET", path)
        tag = first.headers["etag"]
        for shown in (tag, f'"other", {tag}', "*", tag.removeprefix("W/")):
            again = await house.ask("GET", path, if_none_match=shown)
            assert (again.status_code, again.content) == (304, b""), (path, shown)
            assert again.headers["etag"] == tag
            assert again.headers.get("link") == first.headers.get("link")
        for shown in ('"other"', "nonsense", "", tag[:-1]):
            whole = await house.ask("GET", path, if_none_match=shown)
            assert (whole.status_code, whole.content) == (200, first.content), (path, shown)
    tag = (await house.ask("GET", "/v1/sites")).headers["etag"]
    await house.ask("PATCH", "/v1/sites/north", {"name": "North"})
    changed = await house.ask("GET", "/v1/sites", if_none_match=tag)
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


async def test_nobody_learns_by_a_tag_what_they_may_not_read(house: House) -> None:
    """`If-None-Match: *` asks no less of a role or scope than the answer itself."""
    assert (await house.client.get(SETTINGS, headers={"If-None-Match": "*"})).status_code == 401
    elsewhere = SETTINGS.replace("north", "south")
    assert (await house.ask("GET", elsewhere, if_none_match="*")).status_code == 404


async def test_a_site_that_somebody_else_changed_is_not_overwritten(house: House) -> None:
    """The second of two who read the same is told so, and nothing of theirs is stored."""
    tag = await house.tag("/v1/sites", "site", "north")
    hours = {"weekly": {"mo": [["09:00", "18:00"]]}}
    path = "/v1/sites/north"
    first = await house.ask("PATCH", path, {"hours": hours, "name": "First"}, if_match=tag)
    assert first.status_code == 200, first.text
    second = await house.ask("PATCH", path, {"hours": None}, if_match=tag)
    assert second.status_code == 412
    assert "read it again" in second.json()["detail"]
    now = await house.tag("/v1/sites", "site", "north")
    assert now == first.headers["etag"] == first.json()["etag"]
    kept = (await house.ask("GET", "/v1/sites")).json()[0]
    assert kept["hours"] is not None
    assert (await house.ask("PATCH", path, {"name": "Both"}, if_match=f"W/{now}")).is_success
    assert (await house.ask("PATCH", path, {"name": "Unasked"})).is_success


async def test_a_group_is_made_changed_and_dropped_only_as_it_was_read(house: House) -> None:
    """A new one where there is none yet; a changed one is neither replaced nor dropped."""
    body = {"expression": "site:north"}
    path = "/v1/groups/pilot"
    assert (await house.ask("PUT", path, body, if_match='"x"')).status_code == 412
    made = await house.ask("PUT", path, body, if_none_match="*")
    assert made.status_code == 200, made.text
    assert (await house.ask("PUT", path, body, if_none_match="*")).status_code == 412
    tag = await house.tag("/v1/groups", "name", "pilot")
    assert tag == made.headers["etag"]
    assert (await house.ask("PUT", path, {"expression": "*"}, if_match=tag)).is_success
    for method, sent in (("PUT", body), ("DELETE", None)):
        assert (await house.ask(method, path, sent, if_match=tag)).status_code == 412
    now = await house.tag("/v1/groups", "name", "pilot")
    assert (await house.ask("DELETE", path, if_match=now)).status_code == 204


async def test_a_users_scope_that_somebody_else_changed_is_not_overwritten(house: House) -> None:
    """Neither widened nor narrowed by what was read before."""
    tag = await house.tag("/v1/users", "username", "vic")
    path = "/v1/users/vic/scope"
    narrowed = await house.ask("PUT", path, {"sites": ["north"]}, if_match=tag)
    assert narrowed.status_code == 200, narrowed.text
    assert (await house.ask("PUT", path, {"role": "admin"}, if_match=tag)).status_code == 412
    assert await house.tag("/v1/users", "username", "vic") == narrowed.headers["etag"]
    assert (await house.ask("PUT", "/v1/users/nobody/scope", {}, if_match=tag)).status_code == 400


async def test_of_changes_at_once_to_one_device_none_is_lost(house: House) -> None:
    """Two cameras' settings at the same moment: both stand; one camera's: only one of two."""
    tag = (await house.ask("GET", SETTINGS)).headers["etag"]
    till = SETTINGS.replace("door", "till")
    for n in range(5):
        value = {"threshold": 0.1 + n / 10}
        answers = await asyncio.gather(
            house.ask("PUT", SETTINGS, value), house.ask("PUT", till, value)
        )
        assert [answer.status_code for answer in answers] == [200, 200]
        for path in (SETTINGS, till):
            assert (await house.ask("GET", path)).json()["threshold"] == value["threshold"]
    assert (await house.ask("PUT", SETTINGS, {}, if_match=tag)).status_code == 412
    tag = (await house.ask("GET", SETTINGS)).headers["etag"]
    both = await asyncio.gather(
        *(house.ask("PUT", SETTINGS, {"threshold": t}, if_match=tag) for t in (0.71, 0.72))
    )
    assert sorted(answer.status_code for answer in both) == [200, 412]
