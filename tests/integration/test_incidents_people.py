"""What people do about incidents: through the API by role and scope, and at the terminal."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner
from litestar.testing import AsyncTestClient

from vedette.central import accounts
from vedette.central.alerting import documents, planner, store
from vedette.central.alerting.facts import Group, Health, HealthMatch, Rule, Signal, Subject, Turn
from vedette.central.alerting.jobs import Engine
from vedette.central.alerting.joining import World
from vedette.central.app import build_services
from vedette.central.services import Services
from vedette.central.settings import CentralConfig
from vedette.central.web import build_web
from vedette.cli import central_incidents
from vedette.clock import ManualClock, SystemClock
from vedette.trust.keys import SigningKey

pytestmark = pytest.mark.anyio


class House:
    """A central with three incidents at two sites, and people."""

    def __init__(self, services: Services, client: AsyncTestClient, conninfo: str) -> None:
        self.services = services
        self.client = client
        self.config = CentralConfig(database_url=conninfo)

    async def person(self, name: str, role: str, *sites: str) -> dict[str, str]:
        """Return the headers of somebody's program; no site: the whole fleet."""
        now_ms = self.services.now_ms()
        async with self.services.db.transaction() as tx:
            await accounts.put_user(tx, name, role, list(sites) or None, now_ms, [])
            token, _ = await accounts.open_session(tx, name, now_ms, life_s=3600, kind="api")
        return {"Authorization": f"Bearer {token}"}

    async def fail(self) -> None:
        """Have a full disk at each of two sites, and one at both."""
        now_ms = self.services.now_ms()
        disk = Rule(rule="disk", health=HealthMatch(is_=Health.DISK))
        both = Rule(rule="clock", health=HealthMatch(is_=Health.CLOCK), group=Group.RULE)
        signals = [
            Signal(
                rule=rule, turn=Turn.RAISED, subject=Subject(site=site, device=f"{site}-1"),
                at_ms=now_ms, known_ms=now_ms,
            )
            for rule in ("disk", "clock")
            for site in ("north", "south")
        ]  # fmt: skip
        async with self.services.db.transaction() as tx:
            for rule in (disk, both):
                await documents.put(tx, "rule", rule.rule, rule, "test", now_ms)
            book = await documents.current(tx)
            decision = planner.plan(signals, [], book, [], World(), now_ms)
            await store.carry_out(tx, decision, book.rules, now_ms)

    async def names(self, who: dict[str, str], query: str = "") -> dict[str, str]:
        """Return incidents as somebody sees them: name by rule and site."""
        answer = await self.client.get(f"/v1/incidents{query}", headers=who)
        assert answer.status_code == 200, answer.text
        rows = [row["incident"] for row in answer.json()["incidents"]]
        return {f"{row['rule']} {row['subject'].get('site', '')}": row["incident"] for row in rows}

    async def act(
        self, who: dict[str, str], incident: str, action: str, **more: Any
    ) -> tuple[int, Any]:
        """Act on an incident; return status and answer."""
        headers = who | more.pop("headers", {})
        answer = await self.client.post(
            f"/v1/incidents/{incident}/actions", headers=headers, json={"action": action} | more
        )
        return answer.status_code, answer.json()


@pytest.fixture
async def house(conninfo: str) -> AsyncIterator[House]:
    """A central with its API over a fresh database."""
    clock = ManualClock(SystemClock().now_at())
    services = build_services(CentralConfig(), conninfo, SigningKey.generate(), clock)
    await services.db.open()
    web: Any = build_web(services)
    async with AsyncTestClient(web, base_url="http://127.0.0.1:8080") as client:
        made = House(services, client, conninfo)
        async with services.db.transaction() as tx:
            await tx.connection.execute(
                b"INSERT INTO sites (site, name, created_ms) VALUES ('north', '', 0),"
                b" ('south', '', 0);"
                b"INSERT INTO devices (device, site, public_key, enrolled_ms)"
                b" VALUES ('north-1', 'north', 'a', 0), ('south-1', 'south', 'b', 0)"
            )
        await made.fail()
        yield made
    await services.db.close()


async def test_people_act_by_role_scope_and_version(house: House) -> None:
    """Who may not is refused, what somebody else changed meanwhile is not overwritten."""
    boss = await house.person("boss", "operator")
    viewer = await house.person("vic", "viewer")
    north = await house.person("nora", "operator", "north")
    names = await house.names(boss)
    assert sorted(names) == ["clock ", "disk north", "disk south"]
    assert sorted(await house.names(north)) == ["clock north", "disk north"]
    assert (await house.act(viewer, names["disk north"], "acknowledge"))[0] == 403
    assert (await house.act(north, names["disk south"], "acknowledge"))[0] == 404
    assert (await house.act(north, names["clock "], "acknowledge"))[0] == 403
    seen = await house.client.get(f"/v1/incidents/{names['disk north']}", headers=boss)
    tag = {"If-Match": seen.headers["etag"]}
    status, told = await house.act(
        north, names["disk north"], "acknowledge", note="mine", headers=tag
    )
    assert (status, told["state"], told["ack_by"]) == (200, "acknowledged", "nora")
    assert (await house.act(boss, names["disk north"], "resolve", headers=tag))[0] == 412
    counts = await house.client.get("/v1/incidents/counts", headers=boss)
    assert counts.json()["acknowledged"] == 1
    assert counts.json()["open"]["warning"] == 2
    both = [*names.values(), "in-none"]
    acted = await house.client.post(
        "/v1/incidents/actions", headers=boss, json={"incidents": both, "action": "resolve"}
    )
    assert len(acted.json()["done"]) == 3
    assert list(acted.json()["refused"]) == ["in-none"]
    assert await house.names(boss, "?state=unresolved") == {}


async def test_a_silence_is_shown_before_it_is_made_and_holds_at_once(house: House) -> None:
    """Its preview says what it hides; a scoped person silences their own sites alone."""
    boss = await house.person("boss", "operator")
    north = await house.person("nora", "operator", "north")
    wanted = {"to_ms": house.services.now_ms() + 3_600_000, "where": {"sites": ["north"]}}
    shown = await house.client.post("/v1/silences/preview", headers=north, json=wanted)
    assert shown.json()["hides"] == 1
    everywhere = wanted | {"where": {}}
    assert (
        await house.client.post("/v1/silences", headers=north, json=everywhere)
    ).status_code == 403
    made = await house.client.post("/v1/silences", headers=north, json=wanted)
    assert made.status_code == 201, made.text
    engine = Engine(house.services.db, house.services.bulletin)
    await engine.turn(house.services.now_ms(), look=False)
    assert list(await house.names(boss, "?quiet=silenced")) == ["disk north"]
    name = made.json()["silence"]
    ended = await house.client.delete(f"/v1/silences/{name}", headers=boss)
    assert ended.json()["ended_ms"]
    await engine.turn(house.services.now_ms(), look=False)
    assert await house.names(boss, "?quiet=silenced") == {}


async def test_the_terminal_lists_shows_and_acts(house: House) -> None:
    """In words and as JSON, beside a central that runs."""

    async def run(group: Any, *words: str) -> str:
        told = await asyncio.to_thread(
            CliRunner().invoke, group, words, obj=house.config, catch_exceptions=False
        )
        assert told.exit_code == 0, told.output
        return told.output

    incidents, silences = central_incidents.incidents_group, central_incidents.silences_group
    listed = json.loads(await run(incidents, "list", "--rule", "disk", "--json"))
    assert len(listed) == 2
    name = listed[0]["incident"]["incident"]
    assert "acknowledged by ann" in await run(incidents, "ack", name, "--by", "ann", "--note", "x")
    assert "ann is on it: x" in await run(incidents, "show", name)
    for words in (("note", name, "looked"), ("unack", name), ("resolve", name), ("reopen", name)):
        assert name in await run(incidents, *words)
    hides = await run(silences, "add", "--site", "north", "--hours", "1", "--preview")
    assert "would hide 1 open incident now" in hides
    assert "there is no" not in hides
    typo = ("add", "--site", "nroth", "--hours", "1", "--preview")
    assert "doubtful: there is no site nroth" in await run(silences, *typo)
    made = await run(silences, "add", "--rule", "dis*", "--hours", "1", "--reason", "works")
    assert "everywhere" not in made
    assert "works" in await run(silences, "list", "--state", "now")
    assert "over since" in await run(silences, "end", made.partition(":")[0])
