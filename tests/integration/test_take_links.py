"""Links in notices: who was told takes the incident on, and what everybody else tries with them."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.alerting_receivers import Receiver, receiving
from tests.integration.conftest import Fleet
from vedette.central import accounts, people
from vedette.central.alerting import acting, documents
from vedette.central.alerting.channels import looking, signing, store
from vedette.central.alerting.channels.facts import CHANGED, Secret, SharedSecret, Webhook
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.facts import Contact, EventMatch, Ladder, LadderStep, Rule
from vedette.central.alerting.links import Links
from vedette.central.app import Central, build_services
from vedette.central.settings import Alerts, CentralConfig
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.errors import BadSignature, ConfigError
from vedette.trust.keys import SigningKey
from vedette.wire.messages import EventKind, EventReport

pytestmark = pytest.mark.anyio

URL = "https://central.example"
RULE = Rule(
    rule="intrusion",
    title="Somebody at {camera} of {site}",
    todo="Look, then call.",
    event=EventMatch(kinds=[EventKind.ZONE_ENTERED]),
    ladder="guards",
    resolve_s=7 * 86_400,
)
LADDER = Ladder(
    ladder="guards",
    steps=[LadderStep(tell=["person:anna"]), LadderStep(after_s=300, tell=["person:ben"])],
)


class World(Fleet):
    """A whole central with its pages, whose notices come to a receiver."""

    receiver: Receiver
    forms: dict[str, str]

    async def write_book(self) -> None:
        """Have anna told first, ben after five minutes, each by a webhook of their own."""
        seal = Seal(self.services.config.state)
        secret = Secret(shared=[SharedSecret(secret=signing.fresh("v1"), made_ms=0)])
        hook = Webhook(url=f"http://127.0.0.1:{self.receiver.port}/phone")
        async with self.db.transaction() as tx:
            for name in ("anna", "ben"):
                await accounts.put_user(tx, name, "viewer", [], self.now_ms)
                await store.put(tx, seal, f"phone-{name}", hook, secret, actor="t", now_ms=0)
                contact = [Contact(channel=f"phone-{name}")]
                await documents.put(tx, "contacts", name, contact, "t", self.now_ms)
            await documents.put(tx, "rule", "intrusion", RULE, "t", self.now_ms)
            await documents.put(tx, "ladder", "guards", LADDER, "t", self.now_ms)

    async def told(self, count: int) -> dict:
        """Wait for so many notices; return what the newest says."""
        await self.until(f"SELECT 1 FROM deliveries WHERE state = 'sent' OFFSET {count - 1}")
        return msgspec.json.decode(self.receiver.got[count - 1].body)["data"]

    async def until(self, sql: str) -> None:
        """Wait until there is such a row: time moves on only once what is under way is settled."""
        async with asyncio.timeout(45), self.services.bulletin.subscribe(CHANGED) as news:
            while not await self.rows(sql):
                await news.wait(0.5)

    async def open(self, link: str) -> httpx.Response:
        """Look at a link's page, and remember its form where it has one."""
        looked = await self.http.get(link)
        found = re.search(r'name="csrf" value="([^"]+)"', looked.text)
        if found:
            self.forms[link] = found[1]
        return looked

    async def press(self, link: str) -> httpx.Response:
        """Post the form that the link's page has, or had."""
        form = {"csrf": self.forms[link]}
        return await self.http.post(link, data=form, follow_redirects=True)

    async def seen(self) -> list[tuple]:
        """Return everything that a link could change."""
        return [
            *await self.rows("SELECT version, state, body FROM incidents"),
            *await self.rows("SELECT count(*) FROM audit_log"),
            *await self.rows("SELECT count(*) FROM incident_history WHERE kind <> 'sent'"),
        ]


@pytest.fixture
def ports() -> list[int]:
    """Further ports that channels may use."""
    return []


@pytest.fixture
async def world(conninfo: str, tmp_path: Path, ports: list[int]) -> AsyncIterator[World]:
    """A running central with its pages and a receiver."""
    clock = ManualClock()
    async with receiving() as receiver:
        alerts = Alerts(allow_private=["127.0.0.0/8"], ports=[receiver.port, *ports])
        config = CentralConfig(state_dir=str(tmp_path), public_url=URL, alerts=alerts)
        services = build_services(config, conninfo, SigningKey.generate(), clock)
        central = Central(services, build_web(services))
        transport = httpx.ASGITransport(app=central)
        async with (
            central.running(),
            httpx.AsyncClient(transport=transport, base_url=URL) as http,
        ):
            made = World(central, http, clock)
            made.receiver, made.forms = receiver, {}
            await made.write_book()
            yield made


async def begin(world: World) -> dict:
    """Have somebody seen at the door; return what anna is told."""
    device = await world.device(name="edge-1")
    report = EventReport(
        event="ev-1", camera="door", kind=EventKind.ZONE_ENTERED, at_ms=world.now_ms,
        where="entrance", label="person", confidence=0.9, evidence="cl-1",
    )  # fmt: skip
    await device.up(device.envelope("event.v1", report))
    return await world.told(1)


async def test_who_was_told_takes_it_on_by_one_button_and_nobody_else_does(world: World) -> None:
    """GET changes nothing; POST is anna's own word; ben's link then takes nothing from her."""
    told = await begin(world)
    assert told["event_url"] == f"{URL}/events/ev-1"
    assert told["evidence"] == "cl-1"
    assert told["incident"]["seen"]["text"].startswith("person entered entrance: camera door")
    link = told["take_url"]
    assert link.startswith(f"{URL}/take/dl-")
    before = await world.seen()
    for method in ("HEAD", "OPTIONS", "POST", "GET"):  # as programs do that look into mail
        looked = await world.http.request(method, link)
    assert await world.seen() == before
    assert looked.status_code == 200
    assert "I take it" in looked.text
    assert "Somebody at door of shop" in looked.text
    assert looked.headers["cache-control"] == "no-store"
    world.clock.advance(301)
    bens = (await world.told(2))["take_url"]
    assert bens != link
    await world.open(bens)
    await world.open(link)
    done = await world.press(link)
    assert "You are on it" in done.text
    assert "<button" not in done.text
    for answer in (await world.http.get(bens), await world.press(bens)):
        assert "anna is on it" in answer.text
        assert "<button" not in answer.text
    await world.press(link)  # twice is once
    rows = await world.rows("SELECT actor, text FROM incident_history WHERE kind = 'acknowledged'")
    assert rows == [("anna", "anna is on it, by the link of round 1, step 1")]
    [(raw,)] = await world.rows(
        "SELECT detail FROM audit_log WHERE action = 'incident.acknowledge' AND actor = 'anna'"
    )
    detail = msgspec.json.decode(raw)
    assert (detail["by"], detail["step"], detail["address"]) == ("link", 1, "127.0.0.1")
    async with world.db.transaction() as tx:  # it spreads to a site of others
        [name] = [
            row.delivery for row in await looking.deliveries(tx, ["shop"], looking.After(), 1)
        ]
        assert "Somebody at" in (await looking.delivery(tx, name, ["shop"])).text
        await tx.connection.execute(
            b"INSERT INTO incident_sites SELECT incident, 'other' FROM incidents"
        )
        [row] = await looking.deliveries(tx, ["shop"], looking.After(), 1)
        assert row.subject == ""
        with pytest.raises(ConfigError):
            await looking.delivery(tx, name, ["shop"])
    word = await world.told(3)  # ben hears who is on it; that word has no link
    assert (word["kind"], word["person"], word["take_url"]) == ("acknowledged", "ben", "")


async def test_a_link_of_what_was_over_takes_nothing_on_any_more(world: World) -> None:
    """Resolved, opened again, run out, switched off, its person gone: each said, none acts."""
    told = await begin(world)
    await world.open(told["take_url"])
    link, name = told["take_url"], told["incident"]["id"]
    world.clock.advance(60)
    async with world.db.transaction() as tx:
        await acting.resolve(tx, name, by="root", reason="a cat", now_ms=world.now_ms)
    before = await world.seen()
    for answer in (await world.http.get(link), await world.press(link)):
        assert "It is over" in answer.text
        assert "a cat" not in answer.text  # nothing that the notice did not say
    assert await world.seen() == before
    async with world.db.transaction() as tx:
        await acting.reopen(tx, name, by="root", now_ms=world.now_ms)
    answer = await world.press(link)
    assert "was in between" in answer.text
    await world.told(3)  # in any order: that it is over, and that it is open again
    bodies = [msgspec.json.decode(got.body)["data"] for got in world.receiver.got[1:]]
    [newer] = [body["take_url"] for body in bodies if body["take_url"]]
    assert newer != link
    await world.open(newer)
    off = msgspec.structs.replace(
        world.services,
        config=msgspec.structs.replace(world.services.config, alerts=Alerts(take_links=False)),
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=build_web(off)), base_url=URL
    ) as http:
        answer = await http.post(newer, data={"csrf": world.forms[newer]})
    assert answer.status_code == 403
    assert "switched off" in answer.text
    assert "I take it" in (await world.http.get(newer)).text
    async with world.db.transaction() as tx:
        await people.disable(tx, "anna", actor="t", now_ms=world.now_ms)
    gone = await world.press(newer)
    async with world.db.transaction() as tx:
        await people.enable(tx, "anna", actor="t", now_ms=world.now_ms)
    assert gone.status_code == 403
    assert "Somebody at" not in gone.text
    world.clock.advance(24 * 3600 + 1)
    late = await world.press(newer)
    assert late.status_code == 410
    assert "has run out" in late.text
    assert "Somebody at" not in late.text
    assert await world.rows("SELECT 1 FROM incident_history WHERE kind = 'acknowledged'") == []


async def test_a_wrong_link_says_nothing_of_what_there_is_and_is_not_tried_for_long(
    world: World,
) -> None:
    """A delivery that is and one that is not are answered alike; then it is too often."""
    told = await begin(world)
    token = told["take_url"].rpartition("/")[2]
    delivery, made, mac = token.split(".")
    forged = [
        f"{delivery}.{made}.{'A' * len(mac)}", f"dl-{'0' * 20}.{made}.{mac}",
        f"{delivery}.{int(made, 16) + 1:x}.{mac}", f"{delivery}.{made}", "x", f"{token}%00",
    ]  # fmt: skip
    answers = [await world.http.post(f"/take/{one}") for one in forged]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.text for answer in answers}) == 1
    statuses = [(await world.http.get(f"/take/x{n}")).status_code for n in range(60)]
    assert statuses[-1] == 429
    limited = await world.http.post(f"/take/{token}")
    assert limited.status_code == 429
    assert int(limited.headers["retry-after"]) >= 1
    world.clock.advance(60)
    assert (await world.http.get(f"/take/{token}")).status_code == 200


_CHARS = st.sampled_from("abcdefABCDEF0123456789-_.=~ é\0")


@given(data=st.data())
def test_no_altered_link_holds(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory):
    """One character more, less or another, or parts of two links: refused as any other text."""
    links = Links(tmp_path_factory.getbasetemp() / "links")
    one, other = (links.make(f"dl-{n:020x}", 1_772_438_400_000 + n)[6:] for n in (1, 2))
    assert links.read(one).delivery == f"dl-{1:020x}"
    at = data.draw(st.integers(0, len(one)))
    char = data.draw(_CHARS)
    ways = {
        "more": one[:at] + char + one[at:],
        "less": one[:at] + one[at + 1 :],
        "another": one[:at] + char + one[at + 1 :],
        "two": ".".join(data.draw(st.tuples(*(st.sampled_from(p) for p in zip(
            one.split("."), other.split("."), strict=True))))),
    }  # fmt: skip
    altered = ways[data.draw(st.sampled_from(sorted(ways)))]
    if altered not in {one, other}:
        with pytest.raises(BadSignature):
            links.read(altered)
    elsewhere = Links(tmp_path_factory.getbasetemp() / "elsewhere")
    elsewhere.make("dl-1", 1)
    with pytest.raises(BadSignature):
        elsewhere.read(one)
