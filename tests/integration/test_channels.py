"""Deliveries through the real database to real receivers on loopback."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from standardwebhooks import Webhook as Verifier

from tests.integration.alerting_receivers import Got, Receiver, answer, receiving
from vedette.central.alerting.channels import looking, managing, outbox, signing, store
from vedette.central.alerting.channels.dispatch import Dispatcher
from vedette.central.alerting.channels.facts import (
    Channel,
    Delivery,
    End,
    Kind,
    Outcome,
    Secret,
    SharedSecret,
    Webhook,
)
from vedette.central.alerting.channels.outbox import Parcel
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.channels.sending import LEASE_MS
from vedette.central.alerting.facts import (
    Incident,
    IncidentState,
    Notice,
    NoticeKind,
    Severity,
    Subject,
)
from vedette.central.app import build_services
from vedette.central.services import Services
from vedette.central.settings import Alerts, CentralConfig
from vedette.clock import ManualClock, SystemClock
from vedette.errors import ConfigError
from vedette.trust.keys import SigningKey

pytestmark = pytest.mark.anyio
SECRET = signing.fresh("v1")


def notice(key: str, channel: str = "hook", **changes: object) -> Notice:
    """What somebody is to be told."""
    incident = Incident(
        incident=str(changes.pop("incident", "inc-1")),
        key="dark/shop",
        rule="dark",
        severity=Severity.CRITICAL,
        state=IncidentState.OPEN,
        title="Site shop is dark",
        subject=Subject(site="shop"),
        opened_ms=1_000_000,
        changed_ms=1_000_000,
        known_ms=1_000_000,
    )
    made = Notice(
        key=key, kind=NoticeKind.OPENED, channel=channel, due_ms=1_000_000, incident=incident
    )
    return msgspec.structs.replace(made, **changes)


class World:
    """A central's services with a dispatcher and a receiver."""

    def __init__(self, services: Services, clock: ManualClock, receiver: Receiver) -> None:
        self.services = services
        self.clock = clock
        self.receiver = receiver
        self.dispatcher = Dispatcher(services)
        self.seal = Seal(services.config.state)

    async def hook(self, name: str = "hook", **changes: object) -> None:
        """Have a webhook to the receiver."""
        settings = Webhook(url=f"http://127.0.0.1:{self.receiver.port}/{name}")
        settings = msgspec.structs.replace(settings, **changes)
        secret = Secret(shared=[SharedSecret(secret=SECRET, made_ms=0)])
        async with self.services.db.transaction() as tx:
            await store.put(tx, self.seal, name, settings, secret, actor="test", now_ms=0)

    async def incident(self, state: str = "open") -> None:
        """Have the incident that notices are about in the database."""
        async with self.services.db.transaction() as tx:
            await tx.connection.execute(
                b"INSERT INTO incidents (incident, key, rule, severity, state, title, opened_ms,"
                b" changed_ms, known_ms, version, body) VALUES ('inc-1', 'k', 'r', 'info', %s, '',"
                b" 0, 0, 0, 1, '{}') ON CONFLICT (incident) DO UPDATE SET state = excluded.state",
                (state,),
            )

    async def put(self, *notices: Notice) -> int:
        """Decide notices."""
        async with self.services.db.transaction() as tx:
            return await outbox.put(tx, notices, self.services.now_ms())

    async def turn(self) -> int:
        """Have one turn of the dispatcher, to its end."""
        begun = await self.dispatcher.turn(self.services.now_ms())
        await self.dispatcher.settled()
        return begun

    async def rows(self, sql: str) -> list[tuple]:
        """Look into the database."""
        async with self.services.db.transaction() as tx:
            return await (await tx.connection.execute(sql.encode())).fetchall()

    async def states(self) -> dict[str, str]:
        """Every delivery's state by its key."""
        return dict(await self.rows("SELECT key, state FROM deliveries"))


@pytest.fixture
async def world(conninfo: str, tmp_path: Path) -> AsyncIterator[World]:
    """Services over a fresh database, which may connect to the receiver on loopback."""
    clock = ManualClock(SystemClock().now_at())  # its receivers' libraries look at the time
    async with receiving() as receiver:
        alerts = Alerts(allow_private=["127.0.0.0/8"], ports=[receiver.port])
        config = CentralConfig(state_dir=str(tmp_path), alerts=alerts)
        services = build_services(config, conninfo, SigningKey.generate(), clock)
        await services.db.open()
        made = World(services, clock, receiver)
        yield made
        await made.dispatcher.close()
        await services.db.close()


async def test_a_notice_is_sent_once_and_signed(world: World) -> None:
    """One POST that the standard's own library verifies; the same key again sends nothing."""
    await world.hook()
    await world.incident()
    assert await world.put(notice("a"), notice("a")) == 1
    await world.turn()
    assert await world.put(notice("a")) == 0
    assert await world.turn() == 0
    (got,) = world.receiver.got
    body = Verifier(SECRET).verify(got.body, got.headers)
    assert body["data"]["subject"] == "[critical] Site shop is dark"
    assert body["data"]["url"] == f"{world.services.config.url}/incidents/inc-1"
    assert await world.states() == {"a": "sent"}
    ((kind, text),) = await world.rows("SELECT kind, text FROM incident_history")
    assert (kind, text) == ("sent", "told by hook: opened")


async def test_a_failing_receiver_is_tried_again_with_the_same_id(world: World) -> None:
    """After a 503 the delivery waits, then arrives; its id is the same at both tries."""
    world.receiver.answers = [answer(503), answer(429, "Retry-After: 60\r\n"), answer(200)]
    await world.hook()
    await world.put(notice("a"))
    await world.turn()
    assert await world.states() == {"a": "waiting"}
    assert await world.turn() == 0, "not before its pause is over"
    world.clock.advance(7)
    await world.turn()
    world.clock.advance(59)
    assert await world.turn() == 0, "not before the receiver wants it"
    world.clock.advance(2)
    await world.turn()
    assert await world.states() == {"a": "sent"}
    first, _, third = world.receiver.got
    assert first.headers["webhook-id"] == third.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != third.headers["webhook-timestamp"]
    tries = await world.rows("SELECT number, outcome FROM delivery_tries ORDER BY number")
    assert tries == [(1, "again"), (2, "again"), (3, "sent")]


class Repeating:
    """A sender whose other side knows nobody and says so, as mail servers do."""

    async def send(self, _channel: Channel, delivery: Delivery, _now_ms: int) -> Outcome:
        """Refuse it."""
        return Outcome(end=End.REFUSED, said=f"550 unknown: {delivery.address}")

    async def close(self) -> None:
        """Have nothing to let go of."""


async def test_a_persons_address_is_in_no_list_and_on_no_timeline(world: World) -> None:
    """Their name stands for it, also where the other side repeats it."""
    there = "anna@example.org"
    await world.hook()
    world.dispatcher.sending.senders[Kind.WEBHOOK] = Repeating()
    await world.incident()
    await world.put(notice("a", person="anna", address=there))
    await world.turn()
    async with world.services.db.transaction() as tx:
        (row,) = await looking.deliveries(tx, None, looking.After(), 9)
        view = await looking.delivery(tx, row.delivery, None)
    assert (row.person, row.state) == ("anna", "dead")
    assert "unknown: anna" in row.said
    told = str([row, view, await world.rows("SELECT text, body FROM incident_history")])
    assert "anna" in told
    assert there not in told


async def test_two_dispatchers_send_everything_once(world: World) -> None:
    """Each delivery is leased by one of them, whoever is faster."""
    await world.hook(at_once=16, per_minute=6000)
    await world.put(*[notice(f"n-{n}", incident=f"inc-{n}") for n in range(40)])
    others = [world.dispatcher, Dispatcher(world.services), Dispatcher(world.services)]
    while set((await world.states()).values()) != {"sent"}:
        now_ms = world.services.now_ms()
        await asyncio.gather(*(one.turn(now_ms) for one in others))
        await asyncio.gather(*(one.settled() for one in others))
        world.clock.advance(1)
    ids = [got.headers["webhook-id"] for got in world.receiver.got]
    assert len(ids) == len(set(ids)) == 40
    for one in others[1:]:
        await one.close()


async def test_no_delivery_is_leased_twice(world: World) -> None:
    """Workers that ask at the same moment get different ones, and together all of them."""
    await world.hook()
    sending, now_ms = world.dispatcher.sending, world.services.now_ms()
    for turn in range(6):
        names = {f"r{turn}-{n}" for n in range(50)}
        await world.put(*[notice(name, incident=name) for name in names])
        given = await asyncio.gather(*(sending.lease("hook", 50, now_ms) for _ in range(6)))
        keys = [one.key for leased in given for one in leased]
        assert len(keys) == len(set(keys))
        assert set(keys) == names


KILLED = """
import asyncio, sys, msgspec
from vedette.central.alerting.channels import dispatch
from vedette.central.app import build_services
from vedette.central.settings import Alerts, CentralConfig
from vedette.trust.keys import SigningKey
async def main():
    config = CentralConfig(state_dir=sys.argv[2], alerts=Alerts(
        allow_private=["127.0.0.0/8"], ports=[int(sys.argv[3])]))
    services = build_services(config, sys.argv[1], SigningKey.generate())
    await services.db.open()
    await dispatch.run(services)
asyncio.run(main())
"""


async def test_a_killed_worker_strands_nothing(world: World, conninfo: str, tmp_path: Path) -> None:
    """What it had sent, and could not write down, is sent once more under the same id."""
    never = asyncio.Event()

    async def hang(_got: Got, _writer: asyncio.StreamWriter) -> None:
        await never.wait()

    world.receiver.answers = [hang, answer(200)]
    await world.hook()
    await world.put(notice("a"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, conninfo, str(tmp_path), str(world.receiver.port)
    )
    await world.receiver.wait_for(1)
    process.kill()
    await process.wait()
    assert await world.states() == {"a": "sending"}
    assert await world.turn() == 0, "its lease still holds"
    world.clock.advance(LEASE_MS / 1000 + 120)  # the other process had the machine's own time
    await world.turn()
    assert await world.states() == {"a": "sent"}
    first, second = world.receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_a_hanging_receiver_delays_no_other(world: World) -> None:
    """Each channel has its own slots; one that never answers holds up itself alone."""
    gate = asyncio.Event()

    async def hang(got: Got, _writer: asyncio.StreamWriter) -> bytes:
        if got.path == "/slow":
            await gate.wait()
        return answer(200)

    world.receiver.answers = [hang]
    await world.hook("slow", at_once=2)
    await world.hook("quick")
    await world.put(*[notice(f"s-{n}", "slow", incident=f"i-{n}") for n in range(5)])
    await world.put(*[notice(f"q-{n}", "quick", incident=f"i-{n}") for n in range(4)])
    await world.dispatcher.turn(world.services.now_ms())
    await world.receiver.wait_for(6)
    paths = [got.path for got in world.receiver.got]
    assert (paths.count("/slow"), paths.count("/quick")) == (2, 4)
    gate.set()
    await world.dispatcher.settled()
    while await world.turn():
        pass
    assert set((await world.states()).values()) == {"sent"}


async def test_fresh_pages_go_before_old_ones_and_no_faster_than_they_may(world: World) -> None:
    """A channel that comes back is told what is new first, at its own rate."""
    world.receiver.answers = [answer(503), answer(200)]
    await world.hook(at_once=1, per_minute=60)
    await world.put(notice("old", incident="i-0"))
    await world.turn()
    world.clock.advance(8)
    await world.put(*[notice(f"new-{n}", incident=f"i-n{n}") for n in range(25)])
    for _ in range(3):
        await world.turn()
    order = [json.loads(got.body)["data"]["incident"]["id"] for got in world.receiver.got]
    assert order[0] == "i-0"
    assert "i-0" not in order[1:]
    while await world.turn():
        pass
    assert len(world.receiver.got) <= 21, "a few at once"
    world.clock.advance(3)
    before = len(world.receiver.got)
    while await world.turn():
        pass
    assert len(world.receiver.got) - before == 3, "then one a second"


async def test_the_end_replaces_pages_that_never_arrived(world: World) -> None:
    """Whoever could not be told that it began is told once, that it was and is over."""
    world.receiver.answers = [answer(503), answer(200)]
    await world.hook()
    await world.incident()
    await world.put(notice("opened"))
    await world.turn()
    await world.put(notice("again", kind=NoticeKind.REPEATED, due_ms=1_000_001))
    await world.incident("resolved")
    await world.put(notice("over", kind=NoticeKind.RESOLVED, due_ms=1_000_002))
    await world.turn()
    assert await world.states() == {"opened": "cancelled", "again": "cancelled", "over": "sent"}
    await world.put(notice("late", due_ms=1_000_003))
    await world.turn()
    assert (await world.states())["late"] == "cancelled", "no page about what is over"
    assert len(world.receiver.got) == 2


async def test_nothing_overtakes_what_is_on_its_way_about_the_same(world: World) -> None:
    """The end is not told while the beginning is still being sent to the same receiver."""
    gate = asyncio.Event()

    async def slowly(_got: Got, _writer: asyncio.StreamWriter) -> bytes:
        await gate.wait()
        return answer(200)

    world.receiver.answers = [slowly]
    await world.hook()
    await world.put(notice("opened"), notice("acked", kind=NoticeKind.ACKNOWLEDGED))
    await world.put(notice("over", kind=NoticeKind.RESOLVED, due_ms=1_000_002))
    await world.dispatcher.turn(world.services.now_ms())
    await world.receiver.wait_for(1)
    assert await world.dispatcher.turn(world.services.now_ms()) == 0
    gate.set()
    await world.dispatcher.settled()
    while await world.turn():
        pass
    kinds = [json.loads(got.body)["data"]["kind"] for got in world.receiver.got]
    assert kinds[-1] == "resolved"
    assert len(kinds) == len(world.receiver.got)


async def test_a_receiver_that_is_gone_disables_its_channel(world: World) -> None:
    """410: said with the channel, in the audit log and on the timeline; nothing more is sent."""
    world.receiver.answers = [answer(410), answer(200)]
    await world.hook()
    await world.incident()
    await world.put(notice("a"))
    await world.turn()
    await world.put(notice("b", incident="inc-2"))
    assert await world.turn() == 0
    ((enabled, why),) = await world.rows("SELECT enabled, disabled_why FROM alert_channels")
    assert not enabled
    assert "410" in why
    assert await world.rows("SELECT target FROM audit_log WHERE action = 'channel.disable'") == [
        ("hook",)
    ]
    kinds = {kind for (kind,) in await world.rows("SELECT kind FROM incident_history")}
    assert kinds == {"channel_gone", "undelivered"}
    async with world.services.db.transaction() as tx:
        await managing.enable(tx, "hook", actor="test", now_ms=world.services.now_ms())
        count = await managing.replay_all(tx, "hook", actor="test", now_ms=world.services.now_ms())
    assert count == 1
    await world.turn()
    assert await world.states() == {"a": "sent", "b": "sent"}


async def test_what_is_given_up_can_be_sent_after_all(world: World) -> None:
    """A refusal is a dead letter; replayed it has its old id. Three days of silence are one too."""
    world.receiver.answers = [answer(400), answer(200), answer(503)]
    await world.hook()
    await world.put(notice("a"))
    await world.turn()
    assert await world.states() == {"a": "dead"}
    ((name,),) = await world.rows("SELECT delivery FROM deliveries")
    now_ms = world.services.now_ms()
    async with world.services.db.transaction() as tx:
        await managing.replay(tx, name, actor="test", now_ms=now_ms)
        with pytest.raises(ConfigError, match="is not dead or cancelled"):
            await managing.replay(tx, name, actor="test", now_ms=now_ms)
    await world.turn()
    assert await world.states() == {"a": "sent"}
    assert {got.headers["webhook-id"] for got in world.receiver.got} == {name}
    await world.put(notice("b", incident="inc-2"))
    for _ in range(40):
        await world.turn()
        world.clock.advance(3 * 3600)
    assert (await world.states())["b"] == "dead"
    tries = [at_ms for (at_ms,) in await world.rows("SELECT at_ms FROM delivery_tries")]
    assert len(tries) > 12


async def test_a_channel_that_fails_again_and_again_rests(world: World) -> None:
    """After several failures it is left for a while, then tried with one at a time."""
    world.receiver.answers = [answer(500)]
    await world.hook(at_once=8)
    await world.put(*[notice(f"n-{n}", incident=f"i-{n}") for n in range(20)])
    await world.turn()
    assert len(world.receiver.got) == 8
    assert await world.turn() == 0, "it rests, though twelve were not tried yet"
    world.clock.advance(61)
    assert await world.turn() == 1, "one, to see"
    world.receiver.answers = [answer(200)]
    world.clock.advance(61)
    assert await world.turn() == 1
    assert await world.turn() == 8, "well again"


async def test_what_cannot_be_sent_is_said(world: World) -> None:
    """No such channel; a key that is not there; a body of another kind that mail does not carry."""
    await world.put(notice("nowhere", "none"))
    await world.hook("sealed")
    world.seal.path.rename(world.seal.path.with_name("moved"))
    await world.put(notice("locked", "sealed"))
    await world.turn()
    rows = dict(await world.rows("SELECT key, said FROM deliveries"))
    assert "no such channel" in rows["nowhere"]
    assert "alerts.key" in rows["locked"]
    assert await world.states() == {"nowhere": "dead", "locked": "waiting"}


async def test_other_things_than_notices_are_carried_as_they_are(world: World) -> None:
    """A CloudEvent keeps its bytes and its type, and waits behind pages."""
    await world.hook(at_once=1)
    async with world.services.db.transaction() as tx:
        parcel = Parcel(
            key="e-1", channel="hook", kind="event", body=b'{"specversion":"1.0"}',
            media="application/cloudevents+json",
        )  # fmt: skip
        assert await outbox.put_parcel(tx, parcel, world.services.now_ms())
        assert not await outbox.put_parcel(tx, parcel, world.services.now_ms())
        too_large = msgspec.structs.replace(parcel, body=b"x" * 300_000)
        with pytest.raises(ConfigError, match="at most"):
            await outbox.put_parcel(tx, too_large, world.services.now_ms())
    await world.put(notice("page"))
    while await world.turn():
        pass
    page, event = world.receiver.got
    assert page.headers["content-type"] == "application/json"
    assert event.headers["content-type"] == "application/cloudevents+json"
    Verifier(SECRET).verify(event.body, event.headers)


async def test_keys_are_replaced_under_every_secret(world: World) -> None:
    """After the replacement the old key opens nothing, and everything is still sent."""
    await world.hook()
    old = world.seal.path.read_bytes()
    world.seal.renew()
    async with world.services.db.transaction() as tx:
        assert await managing.reseal(tx, world.seal, actor="test", now_ms=0) == 1
    world.seal.drop_old()
    assert old.strip() not in world.seal.path.read_bytes()
    await world.put(notice("a"))
    await world.turn()
    assert await world.states() == {"a": "sent"}
