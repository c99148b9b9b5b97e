"""Folders, labels, groups, hours and scopes over the real database, and attacks on scopes."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from litestar.testing import AsyncTestClient

from vedette.central import accounts, audit, enrolment, scopes, tree
from vedette.central.app import build_services
from vedette.central.services import Services
from vedette.central.settings import CentralConfig
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.errors import ConfigError, ConflictError
from vedette.trust.keys import SigningKey
from vedette.wire.messages import EventKind, EventReport

pytestmark = pytest.mark.anyio

SITES = {"lisbon": "europe/portugal/lisbon", "porto": "europe/portugal", "madrid": "europe/spain"}


class Fleet:
    """A central with three sites of one device and one camera each, and a client."""

    def __init__(self, services: Services, client: AsyncTestClient) -> None:
        self.services = services
        self.client = client

    async def token(self, name: str, role: str, **scope: list[str]) -> dict[str, str]:
        """Return the headers of a program; without a scope it sees everything."""
        sites = scope.get("sites", [] if scope else None)
        async with self.services.db.transaction() as tx:
            now_ms = self.services.now_ms()
            await accounts.put_user(tx, name, role, sites, now_ms, scope.get("folders", []))
            token, _ = await accounts.open_session(tx, name, now_ms, life_s=3600, kind="api")
        return {"Authorization": f"Bearer {token}"}

    async def seen(self, headers: dict[str, str]) -> list[str]:
        """Return the sites that somebody sees."""
        answer = await self.client.get("/v1/sites", headers=headers)
        return [site["site"] for site in answer.json()]


@pytest.fixture
async def fleet(conninfo: str) -> AsyncIterator[Fleet]:
    """A central in this process, over a fresh database."""
    clock = ManualClock(datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
    services = build_services(CentralConfig(), conninfo, SigningKey.generate(), clock)
    await services.db.open()
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        for site, folder in SITES.items():
            await enrolment.add_site(
                tx, site, folder=folder, time_zone="Europe/Madrid", actor="test", now_ms=now_ms
            )
            device = f"{site}-1"
            await tx.run(
                "device_add", device=device, site=site, public_key=f"key of {site}",
                hardware="Orin Nano", version="0.4.1", now_ms=now_ms,
            )  # fmt: skip
            known = {"devices": [device], "cameras": [f"{site}-door"], "from_ms": [now_ms]}
            await tx.run("cameras_know", **known)
            report = EventReport(
                event=f"ev-{site}", camera=f"{site}-door", kind=EventKind.PRESENCE, at_ms=now_ms
            )
            await tx.run(
                "event_add", device=device, event=report.event, site=site, camera=report.camera,
                kind="presence", at_ms=now_ms, received_ms=now_ms, late=False, dated=True,
                label="", where_name="", evidence="", body=msgspec.msgpack.encode(report),
            )  # fmt: skip
        await tree.put_group(tx, "spain", "folder:europe/spain/**", actor="test", now_ms=now_ms)
        await tree.put_group(tx, "all-doors", "camera:*-door", actor="test", now_ms=now_ms)
    async with AsyncTestClient(build_web(services), base_url="http://127.0.0.1:8080") as client:
        yield Fleet(services, client)
    await services.db.close()


async def test_a_folder_in_a_scope_is_its_sites_now_and_later(fleet: Fleet) -> None:
    """A site that comes into the folder is seen at once, one that leaves is gone at once."""
    boss = await fleet.token("boss", "admin")
    fay = await fleet.token("fay", "viewer", folders=["europe/portugal"])
    assert await fleet.seen(fay) == ["lisbon", "porto"]
    await fleet.client.patch(
        "/v1/sites/madrid", json={"folder": "europe/portugal/faro"}, headers=boss
    )
    assert await fleet.seen(fay) == ["lisbon", "madrid", "porto"]
    await fleet.client.patch("/v1/sites/lisbon", json={"folder": "europe/portugale"}, headers=boss)
    assert await fleet.seen(fay) == ["madrid", "porto"]
    none = await fleet.token("nil", "viewer", sites=[])
    assert await fleet.seen(none) == [], "an empty scope is nothing, not everything"


async def test_a_folder_that_moves_takes_scopes_and_groups_along(fleet: Fleet) -> None:
    """Nobody sees more or less after a rename; nobody gets the top by one."""
    boss = await fleet.token("boss", "admin")
    fay = await fleet.token("fay", "viewer", folders=["europe/portugal"])
    body = {"folder": "europe", "to": "emea/europe"}
    moved = (await fleet.client.post("/v1/folders/move", json=body, headers=boss)).json()
    assert moved == {
        "sites": ["lisbon", "madrid", "porto"], "users": ["fay"], "groups": ["spain"],
    }  # fmt: skip
    assert await fleet.seen(fay) == ["lisbon", "porto"]
    async with fleet.services.db.transaction() as tx:
        groups = await tree.groups(tx, None)
    assert groups["spain"].expression == "folder:emea/europe/spain/**"
    top = {"folder": "emea/europe/portugal", "to": ""}
    refused = await fleet.client.post("/v1/folders/move", json=top, headers=boss)
    assert refused.status_code == 400
    assert await fleet.seen(fay) == ["lisbon", "porto"]
    listed = (await fleet.client.get("/v1/folders", headers=fay)).json()
    assert [(row["folder"], row["sites"], row["below"]) for row in listed] == [
        ("", 0, 2), ("emea", 0, 2), ("emea/europe", 0, 2), ("emea/europe/portugal", 1, 2),
        ("emea/europe/portugal/lisbon", 1, 1),
    ]  # fmt: skip


async def test_labels_are_inherited_and_selected(fleet: Fleet) -> None:
    """The nearest label wins; a selection finds sites, devices and cameras by them."""
    olga = await fleet.token("olga", "operator")
    ask = fleet.client

    async def found(q: str, level: str = "camera") -> list[str]:
        answer = await ask.get("/v1/select", params={"q": q, "level": level}, headers=olga)
        assert answer.status_code == 200, answer.text
        return [place["site"] for place in answer.json()["found"]]

    await ask.patch("/v1/sites/lisbon/labels", json={"labels": {"tier": "gold"}}, headers=olga)
    place = "/v1/sites/lisbon/devices/lisbon-1/cameras/lisbon-door/labels"
    assert await found("label:tier=gold") == ["lisbon"]
    changed = await ask.patch(place, json={"labels": {"tier": "tin"}}, headers=olga)
    assert changed.json() == {"labels": {"tier": "tin"}}
    assert await found("label:tier=gold") == []
    assert await found("label:tier=gold", "device") == ["lisbon"]
    await ask.patch(place, json={"labels": {"tier": None}}, headers=olga)
    assert await found("label:tier=gold hardware:*orin* version:>=0.4") == ["lisbon"]
    assert await found("group:all-doors -group:spain", "site") == ["lisbon", "porto"]
    bad = await ask.get("/v1/select", params={"q": "folder"}, headers=olga)
    assert bad.status_code == 400
    assert "character 1" in bad.json()["detail"]
    pages = await ask.get("/v1/select", params={"q": "*", "limit": 2}, headers=olga)
    rest = {"q": "*", "cursor": pages.json()["next_cursor"]}
    last = (await ask.get("/v1/select", params=rest, headers=olga)).json()
    assert [p["site"] for p in (*pages.json()["found"], *last["found"])] == sorted(SITES)
    assert last["next_cursor"] is None
    async with fleet.services.db.transaction() as tx:
        entries = await tx.all("audit_page", audit.Entry, below=2**62, limit=3)
    assert {entry.action for entry in entries} == {"labels.change"}


async def test_a_group_cannot_name_itself_and_a_named_one_cannot_go(fleet: Fleet) -> None:
    """Circles are refused when they are made; dropping what others name is refused."""
    boss = await fleet.token("boss", "admin")
    put = fleet.client.put
    made = await put("/v1/groups/south", json={"expression": "group:spain"}, headers=boss)
    assert made.status_code == 200
    circle = await put("/v1/groups/spain", json={"expression": "group:south"}, headers=boss)
    assert circle.status_code == 400
    assert "circle" in circle.json()["detail"]
    refused = await fleet.client.delete("/v1/groups/spain", headers=boss)
    assert "south names spain" in refused.json()["detail"]
    assert (await fleet.client.delete("/v1/groups/south", headers=boss)).status_code == 204
    assert (await fleet.client.delete("/v1/groups/spain", headers=boss)).status_code == 204


async def test_opening_hours_stand_with_the_site(fleet: Fleet) -> None:
    """Set by API, shown with what they say now; nonsense is refused in words."""
    boss = await fleet.token("boss", "admin")
    change = fleet.client.patch
    week = {"weekly": {"mo": [["09:00", "20:00"]]}, "exceptions": {"2026-03-09": []}}
    answer = await change("/v1/sites/lisbon", json={"hours": week}, headers=boss)
    assert answer.json()["open_now"] is True  # Monday, 9 o'clock in Madrid
    listed = (await fleet.client.get("/v1/sites", headers=boss)).json()
    lisbon = next(site for site in listed if site["site"] == "lisbon")
    (newest,) = await audit.page(fleet.services.db, limit=1)
    assert "09:00" in str(newest.detail)  # in words, for whoever reads the log
    assert lisbon["next_change_ms"] == round(
        datetime(2026, 3, 2, 19, 0, tzinfo=UTC).timestamp() * 1000
    )
    bad = {"hours": {"weekly": {"mo": [["9", "20:00"]]}}}
    refused = await change("/v1/sites/lisbon", json=bad, headers=boss)
    assert refused.status_code == 400
    assert "no time" in refused.json()["detail"]
    zone = await change("/v1/sites/lisbon", json={"time_zone": "../../etc/passwd"}, headers=boss)
    assert "no such time zone" in zone.json()["detail"]
    cleared = await change("/v1/sites/lisbon", json={"hours": None}, headers=boss)
    assert cleared.json()["hours"] is None


async def test_a_scope_is_set_by_whoever_sees_everything_and_the_last_of_them_stays(
    fleet: Fleet,
) -> None:
    """A scoped administrator makes nobody greater; the last one of the whole fleet cannot go."""
    boss = await fleet.token("boss", "admin")
    fay = await fleet.token("fay", "admin", folders=["europe/portugal"])
    raised = await fleet.client.put("/v1/users/fay/scope", json={"everything": True}, headers=fay)
    assert raised.status_code == 403
    last = await fleet.client.put("/v1/users/boss/scope", json={"role": "viewer"}, headers=boss)
    assert "last administrator" in last.json()["detail"]
    body = {"role": "viewer", "folders": ["europe/spain"], "sites": ["porto"]}
    set_ = await fleet.client.put("/v1/users/fay/scope", json=body, headers=boss)
    assert set_.json()["folders"] == ["europe/spain"]
    assert await fleet.seen(fay) == ["madrid", "porto"]
    for wrong in ({"folders": [""]}, {"folders": ["a//b"]}, {"role": "king"}, {"sites": ["/"]}):
        answer = await fleet.client.put("/v1/users/fay/scope", json=wrong, headers=boss)
        assert answer.status_code == 400, wrong
    async with fleet.services.db.transaction() as tx:
        with pytest.raises(ConfigError, match="no user"):
            await scopes.set_scope(tx, "nobody", actor="t", now_ms=1)


async def test_a_scoped_administrator_moves_sites_only_between_their_folders(fleet: Fleet) -> None:
    """Neither out of the scope nor, by moving a folder, into somebody else's."""
    fay = await fleet.token("fay", "admin", folders=["europe/portugal"])
    patch, post = fleet.client.patch, fleet.client.post
    out = await patch("/v1/sites/porto", json={"folder": "europe/spain"}, headers=fay)
    assert out.status_code == 404
    inside = {"folder": "europe/portugal/north"}
    assert (await patch("/v1/sites/porto", json=inside, headers=fay)).status_code == 200
    for body in (
        {"folder": "europe/spain", "to": "europe/portugal/x"},
        {"folder": "europe", "to": "europe/portugal/x"},
        {"folder": "europe/portugal/north", "to": "europe/spain/north"},
        {"folder": "europe/portugal", "to": ""},
        {"folder": "", "to": "europe/portugal"},
    ):
        answer = await post("/v1/folders/move", json=body, headers=fay)
        assert answer.status_code in {400, 404}, body
    assert await fleet.seen(fay) == ["lisbon", "porto"]
    listed = await fleet.token("lia", "admin", sites=["madrid"])
    placed = await patch("/v1/sites/madrid", json=inside, headers=listed)
    assert placed.status_code == 404, "a list of sites gives no folder to put them into"


async def test_a_claim_for_a_name_that_is_taken_is_refused_when_it_is_made(fleet: Fleet) -> None:
    """Not a day later on the ladder; the name of a revoked device stays taken."""
    async with fleet.services.db.transaction() as tx:
        await enrolment.revoke(tx, "madrid-1", actor="t", now_ms=1)
        for taken in ("lisbon-1", "madrid-1"):
            with pytest.raises(ConflictError, match="is taken"):
                await enrolment.make_claim(tx, "lisbon", device=taken, actor="t", now_ms=1)
        assert await enrolment.make_claim(tx, "lisbon", device="lisbon-2", actor="t", now_ms=1)


# -------------------------------------------------------- attacks, made from the description


THEIRS = {
    "site": "madrid", "device": "madrid-1", "camera": "madrid-door", "event": "ev-madrid",
    "group": "spain", "username": "boss", "folder": "europe/spain", "to": "europe/spain/x",
    "q": "site:madrid", "expression": "site:madrid",
}  # fmt: skip
"""What is there, and outside of the scope: by the names of parameters and fields."""

NOBODYS = {
    "site": "nohere", "device": "nohere-1", "camera": "nohere-door", "event": "ev-nohere",
    "group": "noher", "username": "nobo", "folder": "europe/noher", "to": "europe/noher/x",
    "q": "site:nohere", "expression": "site:nohere",
}  # fmt: skip
"""The same, of what is not there at all."""


def _body(schema: dict[str, Any], parts: dict[str, Any], ids: dict[str, str]) -> Any:
    """Return a body that fits a schema, speaking of `ids` wherever it can."""
    if "$ref" in schema:
        return _body(parts[schema["$ref"].rsplit("/", 1)[1]], parts, ids)
    for choice in schema.get("oneOf", []) + schema.get("anyOf", []):
        if choice.get("type") != "null":
            return _body(choice, parts, ids)
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        fields = schema.get("properties", {})
        wanted = [name for name in fields if name in schema.get("required", []) or name in ids]
        return {n: ids[n] if n in ids else _body(fields[n], parts, ids) for n in wanted}
    return {"array": [], "integer": 1, "number": 0.5, "boolean": False}.get(str(kind), "x")


def _attacks(
    described: dict[str, Any], ids: dict[str, str]
) -> Iterator[tuple[str, str, str, dict[str, str], Any]]:
    """Yield every operation aimed at `ids`: `(operation, method, path, query, body)`."""
    parts = described.get("components", {}).get("schemas", {})
    for path, operations in described["paths"].items():
        if path in {"/v1/views/{view}", "/v1/start-view"}:
            continue  # always the asker's own, whatever it is called
        for method, operation in operations.items():
            asked = operation.get("parameters", [])
            query = {
                p["name"]: ids[p["name"]] for p in asked if p["in"] == "query" and p["name"] in ids
            }
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            body = _body(schema, parts, ids) if schema else None
            mine = ids | {"site": "lisbon"}
            for place in (ids, mine, mine | {"device": "lisbon-1"}):
                names = re.findall(r"\{(\w+)\}", path)
                if names and all(name in place and place[name] != ids.get(name) for name in names):
                    continue  # aimed at what is the asker's own: no attack, and it changes things
                there = re.sub(r"\{(\w+)\}", lambda m, p=place: p.get(m[1], "x"), path)
                yield f"{method} {path}", method.upper(), there, query, body


async def test_a_scoped_user_learns_nothing_by_any_route(fleet: Fleet) -> None:
    """Every operation of the API, aimed outside of the scope, answers as if nothing were there.

    The answer to what is there and the answer to what never was must be the same but for the names:
    otherwise a scoped user could ask which sites, devices or groups others have.
    """
    await fleet.token("boss", "admin")
    fay = await fleet.token("fay", "admin", folders=["europe/portugal"])
    described = (await fleet.client.get("/schema/openapi.json")).json()
    theirs, nobodys = _attacks(described, THEIRS), _attacks(described, NOBODYS)
    tried = set()
    for (name, method, path, query, body), other in zip(theirs, nobodys, strict=True):
        there = await fleet.client.request(method, path, params=query, json=body, headers=fay)
        none = await fleet.client.request(
            method, other[2], params=other[3], json=other[4], headers=fay
        )
        tried.add(name)
        said, expected = there.text, none.text
        for key, value in THEIRS.items():
            said = said.replace(value, key)
            expected = expected.replace(NOBODYS[key], key)
        assert there.status_code == none.status_code, (method, path, there.text, none.text)
        same = json.loads(said) == json.loads(expected) if said and expected else said == expected
        assert same, (method, path, there.text, none.text)
        if there.status_code < 300:
            assert "madrid" not in there.text, (method, path)
            assert "spain" not in there.text, (method, path)
    assert len(tried) > 25
    async with fleet.services.db.transaction() as tx:
        everything = await tx.all("tree_sites", tree.SitePlace, scope=None)
    assert {site.site: site.folder for site in everything} == SITES


async def test_a_scoped_user_sees_no_other_page(fleet: Fleet) -> None:
    """Pages and the palette speak of the scope only."""
    fay = await fleet.token("fay", "admin", folders=["europe/portugal"])
    for path in (
        "/",
        "/?q=madrid",
        "/places",
        "/events",
        "/events?site=madrid",
        "/settings/account",
    ):
        answer = await fleet.client.get(path, headers=fay)
        assert answer.status_code == 200
        text = answer.text.replace("?q=madrid", "").replace('value="madrid"', "")
        assert "madrid-" not in text, path
        assert "spain" not in text, path
    for path in ("/sites/madrid/cameras/madrid-1/madrid-door", "/events/ev-madrid"):
        assert (await fleet.client.get(path, headers=fay)).status_code == 404
