"""MQTT through a real mosquitto: notices, retained state, Home Assistant, last wills."""

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.conftest import skip_or_fail
from tests.unit.central.test_channel_parts import incident, notice
from vedette.central import enrolment
from vedette.central.alerting.channels import discovery, dispatch, egress, mqtt, outbox, store
from vedette.central.alerting.channels.discovery import Place
from vedette.central.alerting.channels.facts import NOW, Channel, Delivery, End, Mqtt, Secret
from vedette.central.alerting.channels.mqtt import BrokerFailed, MqttSender
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.app import build_services
from vedette.central.settings import Alerts, CentralConfig
from vedette.trust.keys import SigningKey

pytestmark = pytest.mark.anyio
PLACES = [
    Place(site="shop", name="The shop"),
    Place(site="shop", device="box"),
    Place(site="shop", device="box", camera="door"),
]


class Broker:
    """A mosquitto, and what somebody hears who listens to everything there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heard: list[tuple[str, bytes, bool]] = []
        self._came = threading.Condition()
        self._up = threading.Event()
        self.media: dict[str, str] = {}
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.username_pw_set("vedette", "hush-hush")
        client.on_message = self._hear
        client.on_subscribe = lambda *_: self._up.set()
        client.connect("127.0.0.1", port)
        client.loop_start()
        client.subscribe("#", 1)
        assert self._up.wait(10)
        self.client = client

    def _hear(self, _client: object, _userdata: object, message: Any) -> None:
        with self._came:
            self.media[message.topic] = getattr(message.properties, "ContentType", "")
            self.heard.append((message.topic, message.payload, message.retain))
            self._came.notify_all()

    def last(self, topic: str) -> bytes | None:
        """What was last said on a topic."""
        return next((body for one, body, _ in reversed(self.heard) if one == topic), None)

    async def until(self, topic: str, body: bytes | None = None) -> bytes:
        """Wait until this, or anything, was last said on a topic."""

        def said() -> bool:
            last = self.last(topic)
            return last is not None and body in {None, last}

        def wait() -> None:
            with self._came:
                assert self._came.wait_for(said, 15), self.heard[-5:]

        await asyncio.to_thread(wait)
        return self.last(topic) or b""

    async def until_said(self, topic: str, body: bytes) -> None:
        """Wait until this was said on a topic at any time."""

        def wait() -> None:
            with self._came:
                assert self._came.wait_for(lambda: (topic, body, False) in self.heard, 15)

        await asyncio.to_thread(wait)

    def retained(self) -> dict[str, bytes]:
        """What a newcomer finds."""
        found: dict[str, bytes] = {}
        ready = threading.Event()

        def hear(client: Client, _userdata: object, message: Any) -> None:
            if message.retain:
                found[message.topic] = message.payload
            elif message.topic == "test/over":
                ready.set()

        client = Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set("vedette", "hush-hush")
        client.on_message = hear
        # What is retained comes with the subscription, before what is published after it.
        client.on_subscribe = lambda *_: client.publish("test/over", b"x", qos=1)
        client.connect("127.0.0.1", self.port)
        client.subscribe("#", 1)
        client.loop_start()
        assert ready.wait(15)
        client.disconnect()
        client.loop_stop()
        return found


def _start(folder: Path, certificate: Path | None = None) -> tuple[subprocess.Popen[bytes], int]:
    command = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    if not Path(command).exists():
        skip_or_fail("MQTT needs mosquitto: tools/system_parts.py installs it")
    passwords = folder / "passwords"
    maker = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
    subprocess.run(
        [maker, "-b", "-c", str(passwords), "vedette", "hush-hush"], check=True, timeout=20
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous false", f"password_file {passwords}"]
    lines += [f"acl_file {folder / 'acl'}", "user root", "persistence false"]
    (folder / "acl").write_text(
        "user vedette\ntopic readwrite #\ntopic deny vedette/notices/resolved\n"
    )
    if certificate is not None:
        lines += [f"certfile {certificate}", f"keyfile {certificate}"]
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    for path in (passwords, folder / "acl"):
        path.chmod(0o600)
    process = subprocess.Popen(
        [command, "-c", str(folder / "mosquitto.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, "mosquitto ended"
            time.sleep(0.05)
        else:
            return process, port
    raise AssertionError("mosquitto does not listen")


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A broker with a password; its port."""
    process, port = _start(tmp_path_factory.mktemp("mosquitto"))
    yield port
    process.terminate()
    process.wait(10)


@pytest.fixture
def broker(mosquitto: int) -> Iterator[Broker]:
    """The broker with somebody who listens, and nothing retained."""
    made = Broker(mosquitto)
    yield made
    for topic in made.retained():
        made.client.publish(topic, b"", qos=1, retain=True).wait_for_publish(5)
    made.client.disconnect()
    made.client.loop_stop()


def channel(port: int, password: str = "hush-hush", **changes: object) -> Channel:
    """The broker as a channel."""
    settings = Mqtt(
        host="127.0.0.1", port=port, tls=False, username="vedette", discovery="homeassistant"
    )
    settings = msgspec.structs.replace(settings, **changes)
    return Channel(channel="plant", settings=settings, secret=Secret(password=password))


def delivery(**changes: object) -> Delivery:
    """A notice to be published."""
    made = Delivery(
        delivery="dl-1", key="k", channel="plant", address="", person="", incident="inc-1",
        kind="opened", media="", subject="", body=msgspec.json.encode(notice()), tries=1,
        made_ms=0, asked_ms=0, until_ms=0, leased_ms=0, lease="",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
async def sender(mosquitto: int) -> AsyncIterator[MqttSender]:
    """A sender that may connect to the broker."""
    made = MqttSender(egress.rules(["127.0.0.0/8"], [mosquitto]))
    yield made
    await made.close()


def desired(port: int, *incidents: Any) -> dict[str, bytes]:
    """What the broker should retain."""
    settings = channel(port).settings
    assert isinstance(settings, Mqtt)
    return discovery.desired(settings, PLACES, incidents, "https://vedette.example")


async def test_a_notice_is_acknowledged_and_a_refused_one_is_said(
    broker: Broker, sender: MqttSender
) -> None:
    """QoS 1, with the documented body; what the broker's rights refuse is no success."""
    outcome = await sender.send(channel(broker.port), delivery(), 0)
    assert (outcome.end, outcome.said) == (End.SENT, "acknowledged by the broker")
    body = await broker.until("vedette/notices/opened")
    assert json.loads(body)["data"]["incident"]["id"] == "inc-1"
    of = notice(msgspec.convert("resolved", type(notice().kind)))
    refused = await sender.send(
        channel(broker.port), delivery(body=msgspec.json.encode(of), kind="resolved"), 0
    )
    assert refused.end is End.AGAIN
    assert "refuses" in refused.said


async def test_other_things_go_to_their_own_topics(broker: Broker, sender: MqttSender) -> None:
    """A CloudEvent names its topic below the prefix and its type; a wildcard is no topic."""
    wanted = delivery(media="application/cloudevents+json", address="events/door", body=b"{}")
    assert (await sender.send(channel(broker.port), wanted, 0)).end is End.SENT
    await broker.until("vedette/events/door", b"{}")
    assert broker.media["vedette/events/door"] == "application/cloudevents+json"
    wild = msgspec.structs.replace(wanted, address="events/#")
    assert (await sender.send(channel(broker.port), wild, 0)).end is End.REFUSED


async def test_home_assistant_finds_every_place_and_its_state(
    broker: Broker, sender: MqttSender
) -> None:
    """Retained: configuration, availability, state; only what changed is said again."""
    quiet = desired(broker.port)
    assert await sender.keep(channel(broker.port), quiet) == len(quiet) == 6
    assert await sender.keep(channel(broker.port), quiet) == 0
    found = await asyncio.to_thread(broker.retained)
    assert found == quiet | {"vedette/status": b"online"}
    configs = [json.loads(body) for topic, body in found.items() if topic.endswith("/config")]
    for config in configs:
        assert json.loads(found[config["state_topic"]])["problem"] == "OFF"
        assert found[config["availability_topic"]] == b"online"
    loud = desired(broker.port, incident())
    moved = await sender.keep(channel(broker.port), loud)
    assert moved == 2, "the incident and its site"
    await broker.until("vedette/sites/shop", loud["vedette/sites/shop"])
    assert json.loads(loud["vedette/sites/shop"])["problem"] == "ON"
    assert await sender.keep(channel(broker.port), quiet) == 2
    await broker.until("vedette/incidents/inc-1", b"")  # what is over is not kept


async def test_what_another_time_left_is_cleared(broker: Broker, sender: MqttSender) -> None:
    """An incident that ended while nobody was connected does not stand there for ever."""
    for topic in ("vedette/incidents/old", "vedette/sites/gone"):
        broker.client.publish(topic, b"{}", qos=1, retain=True).wait_for_publish(5)
    broker.client.publish("other/thing", b"{}", qos=1, retain=True).wait_for_publish(5)
    wanted = desired(broker.port)
    await sender.keep(channel(broker.port), wanted)
    for _ in range(750):  # what is retained there comes after the subscription
        if not broker.last("vedette/incidents/old") and not broker.last("vedette/sites/gone"):
            break
        await sender.keep(channel(broker.port), wanted)
        await asyncio.sleep(0.02)
    found = await asyncio.to_thread(broker.retained)
    assert found == wanted | {"vedette/status": b"online", "other/thing": b"{}"}


async def test_the_broker_says_who_is_gone(broker: Broker, sender: MqttSender) -> None:
    """One that is cut off is said to be offline; where a second one lives, online again."""
    link = await sender.link(channel(broker.port))
    await broker.until("vedette/status", b"online")
    second = MqttSender(egress.rules(["127.0.0.0/8"], [broker.port]))
    await second.link(channel(broker.port))
    sock = link._client.socket()
    assert sock is not None
    sock.shutdown(socket.SHUT_RDWR)
    await broker.until_said("vedette/status", b"offline")
    await broker.until("vedette/status", b"online")
    await second.close()
    await broker.until("vedette/status", b"offline")
    assert (await sender.send(channel(broker.port), delivery(), 0)).end is End.SENT
    await broker.until("vedette/status", b"online")


async def test_a_broker_that_refuses_or_is_not_there_is_said(
    broker: Broker, sender: MqttSender
) -> None:
    """A wrong password, another kind of server, nobody: tried again later, without the password."""
    wrong = await sender.send(channel(broker.port, "wrong-hush"), delivery(), 0)
    assert wrong.end is End.AGAIN
    assert "refuses" in wrong.said
    assert "hush" not in wrong.said
    outside = await MqttSender(egress.rules([], [broker.port])).send(
        channel(broker.port), delivery(), 0
    )
    assert outside.end is End.REFUSED
    assert "inside the network" in outside.said


async def test_tls_is_verified_by_the_brokers_name(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate of nobody known is refused; of a known one for this name, taken."""
    process, port = _start(tmp_path, certificate)
    made = MqttSender(egress.rules(["127.0.0.0/8"], [port]))
    wanted = channel(port, tls=True)
    try:
        with pytest.raises(BrokerFailed, match="certificate does not hold"):
            await made.link(wanted)

        def trusting(host: str) -> ssl.SSLContext:
            tls = real(host)
            tls.load_verify_locations(certificate)
            return tls

        real = mqtt.tls_for
        monkeypatch.setattr(mqtt, "tls_for", trusting)
        assert (await made.send(wanted, delivery(), 0)).end is End.SENT
    finally:
        await made.close()
        process.terminate()
        process.wait(10)


async def test_a_running_central_keeps_its_broker_as_the_database_says(
    broker: Broker, conninfo: str, tmp_path: Path
) -> None:
    """An incident that begins and ends is seen at the broker; at the end central says goodbye."""
    alerts = Alerts(allow_private=["127.0.0.0/8"], ports=[broker.port])
    config = CentralConfig(state_dir=str(tmp_path), alerts=alerts)
    services = build_services(config, conninfo, SigningKey.generate())
    await services.db.open()
    wanted = channel(broker.port)
    async with services.db.transaction() as tx:
        await enrolment.add_site(tx, "shop", actor="test", now_ms=0)
        await store.put(
            tx, Seal(tmp_path), "plant", wanted.settings, wanted.secret, actor="test", now_ms=0
        )
        await tx.connection.execute(
            b"INSERT INTO incidents (incident, key, rule, severity, state, title, opened_ms,"
            b" changed_ms, known_ms, version, body)"
            b" VALUES ('inc-1', 'k', 'r', 'critical', 'open', '', 0, 0, 0, 1, %s)",
            (msgspec.json.encode(incident()),),
        )
    running = asyncio.create_task(dispatch.run(services))
    body = json.loads(await broker.until("vedette/sites/shop"))
    assert (body["problem"], body["worst"]) == ("ON", "critical")
    await broker.until("vedette/status", b"online")
    async with services.db.transaction() as tx:
        await tx.connection.execute(b"UPDATE incidents SET state = 'resolved'")
        await outbox.put(tx, [msgspec.structs.replace(notice(), channel="plant")], 0)
    services.bulletin.publish("incidents", NOW)
    await broker.until("vedette/incidents/inc-1", b"")
    quiet = discovery.desired(cast("Mqtt", wanted.settings), [Place(site="shop")], [], "")
    await broker.until("vedette/sites/shop", quiet["vedette/sites/shop"])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await broker.until("vedette/status", b"offline")
    await services.db.close()
