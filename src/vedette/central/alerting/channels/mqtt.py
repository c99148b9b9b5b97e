"""MQTT: notices as messages, incidents and the state of places as retained ones.

What lives here: the connection to a broker, and keeping what it retains as it should be. What does
not: which topics (`discovery`). The rule: a notice is sent when the broker acknowledged it (QoS 1);
what is retained follows from the database, and whoever finds something else there puts it right.

One connection a channel; where it is lost the next message makes another, under the egress rules.
The broker says `offline` where we are gone; another central that is there says `online` again.

Source: MQTT 5.0, OASIS Standard. Thread: the event loop's; paho's own thread calls back.
"""

import asyncio
import contextlib
import ssl
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from vedette.central.alerting.channels import discovery, egress, words
from vedette.central.alerting.channels.egress import Rules
from vedette.central.alerting.channels.facts import Channel, Delivery, End, Mqtt, Outcome, told
from vedette.central.alerting.facts import Notice
from vedette.errors import ConfigError, UplinkError

PORTS: Final = (8883, 1883)
CONNECT_S: Final = 10.0
ACK_S: Final = 15.0
KEEPALIVE_S: Final = 30
_THREADS: Final = 16
_MOST_STRAYS: Final = 20_000


class BrokerFailed(UplinkError):
    """The broker does not answer, or refuses."""


class _Named(ssl.SSLContext):
    """TLS that asks for the broker's name, whatever address the connection goes to."""

    server: str = ""

    def wrap_socket(self, *args: Any, **more: Any) -> ssl.SSLSocket:
        """Return the socket in TLS under the broker's name; closed where that fails.

        The handshake is made here: paho would leave the socket open where it does not succeed.
        """
        args[0].settimeout(CONNECT_S)
        ours = {"server_hostname": self.server, "do_handshake_on_connect": True}
        return super().wrap_socket(*args, **(more | ours))


class Link:
    """One connection. Thread: `open`, `publish` block; they are called from threads of our own."""

    def __init__(
        self, settings: Mqtt, password: str, address: str, tls: ssl.SSLContext | None
    ) -> None:
        """Prepare; nothing is connected yet."""
        self.settings: Final = settings
        self.retained: dict[str, bytes] = {}
        self._strays: set[str] = set()
        self._address = address
        self._answered = threading.Event()
        self._refused = ""
        self._is_up = False
        self._lock = threading.Lock()
        self._failed: dict[int, str] = {}
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"vedette-{uuid.uuid4().hex[:16]}",
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        if settings.username:
            client.username_pw_set(settings.username, password)
        if tls is not None:
            client.tls_set_context(tls)
        client.will_set(discovery.status_topic(settings), b"offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.connect_timeout = CONNECT_S
        self._client = client

    @property
    def is_up(self) -> bool:
        """True while the broker is there."""
        return self._is_up

    def open(self) -> None:
        """Be connected and said to be online.

        Raises:
            BrokerFailed: The broker is not there or refuses.
        """
        try:
            self._client.connect(self._address, self.settings.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            raise BrokerFailed(_why(error)) from error
        self._client.loop_start()
        if not self._answered.wait(CONNECT_S) or not self._is_up:
            self.shut()
            raise BrokerFailed(self._refused or f"no answer within {CONNECT_S:.0f} s")
        self._client.subscribe(
            [(topic, 1) for topic in (*discovery.ours(self.settings), self._status)]
        )

    def publish(self, topic: str, body: bytes, *, retain: bool, media: str = "") -> None:
        """Return when the broker has it.

        Raises:
            BrokerFailed: It has not, or refuses.
        """
        self.wait(self.begin(topic, body, retain=retain, media=media))

    def begin(self, topic: str, body: bytes, *, retain: bool, media: str = "") -> MQTTMessageInfo:
        """Hand a message over; `wait` says whether the broker has it."""
        properties = None
        if media:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ContentType = media
        return self._client.publish(topic, body, qos=1, retain=retain, properties=properties)

    def wait(self, info: MQTTMessageInfo) -> None:
        """Return when the broker has a message.

        Raises:
            BrokerFailed: It has not, or refuses.
        """
        try:
            info.wait_for_publish(ACK_S)
        except (RuntimeError, ValueError) as error:
            raise BrokerFailed("the connection to the broker is lost") from error
        if not info.is_published():
            raise BrokerFailed(f"the broker did not acknowledge within {ACK_S:.0f} s")
        with self._lock:
            refused = self._failed.pop(info.mid, "")
        if refused:
            raise BrokerFailed(f"the broker refuses: {refused}")

    def keep(self, desired: Mapping[str, bytes]) -> int:
        """Have what should be retained retained, and nothing else of ours; return how many moved.

        Raises:
            BrokerFailed: The broker is gone or refuses.
        """
        with self._lock:
            strays, self._strays = self._strays, set()
        gone = (set(self.retained) | strays) - set(desired)
        moved = [(topic, b"") for topic in sorted(gone)]
        moved += [
            (topic, body) for topic, body in desired.items() if self.retained.get(topic) != body
        ]
        for start in range(0, len(moved), 500):
            part = moved[start : start + 500]
            for info in [self.begin(topic, body, retain=True) for topic, body in part]:
                self.wait(info)
            for topic, body in part:
                if body:
                    self.retained[topic] = body
                else:
                    self.retained.pop(topic, None)
        return len(moved)

    def shut(self) -> None:
        """Say that we go, and be gone."""
        was_up, self._is_up = self._is_up, False
        if was_up:
            info = self._client.publish(self._status, b"offline", qos=1, retain=True)
            # Where the broker is gone its will says it.
            with contextlib.suppress(RuntimeError, ValueError):
                info.wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def _status(self) -> str:
        return discovery.status_topic(self.settings)

    # paho calls these from its own thread.

    def _on_connect(self, client: Client, *rest: Any) -> None:
        reason = rest[2]
        if reason.is_failure:
            self._refused = f"the broker refuses: {told(str(reason))}"
        else:
            self._is_up = True
            client.publish(self._status, b"online", qos=1, retain=True)
        self._answered.set()

    def _on_disconnect(self, *rest: Any) -> None:
        reason = rest[3]
        self._is_up = False
        self._refused = self._refused or f"the broker hung up: {told(str(reason))}"
        self._answered.set()

    def _on_publish(self, *rest: Any) -> None:
        mid, reason = rest[2], rest[3]
        if reason.is_failure:
            with self._lock:
                self._failed[mid] = told(str(reason))

    def _on_message(self, client: Client, _userdata: object, message: MQTTMessage) -> None:
        if message.topic == self._status:
            # Another central went, and took its will with it; this one is still there.
            if message.payload == b"offline" and self._is_up:
                client.publish(self._status, b"online", qos=1, retain=True)
            return
        if message.retain and message.payload:
            with self._lock:
                if len(self._strays) < _MOST_STRAYS:
                    self._strays.add(message.topic)


class MqttSender:
    """Sends on channels of kind mqtt, and keeps what their brokers retain."""

    def __init__(self, rules: Rules) -> None:
        """Prepare; a connection is made with the first message."""
        self._rules = rules
        self._links: dict[str, tuple[int, Link]] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._threads: Final = ThreadPoolExecutor(_THREADS, thread_name_prefix="mqtt")

    async def send(self, channel: Channel, delivery: Delivery, now_ms: int) -> Outcome:
        """Return what one message came to."""
        del now_ms
        settings = channel.settings
        assert isinstance(settings, Mqtt)
        if delivery.media:
            topic, body, media = delivery.address, delivery.body, delivery.media
            if not topic or any(c in topic for c in "+#\0") or len(topic) > 300:
                return Outcome(end=End.REFUSED, said="this is no topic")
        else:
            notice = msgspec.json.decode(delivery.body, type=Notice)
            topic = f"notices/{notice.kind}"
            body, media = words.encoded(notice, delivery.delivery), "application/json"
        try:
            link = await self.link(channel)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(
                self._threads,
                lambda: link.publish(f"{settings.prefix}/{topic}", body, retain=False, media=media),
            )
        except (BrokerFailed, egress.Unresolved) as error:
            return Outcome(end=End.AGAIN, said=told(str(error)), is_channels=True)
        except ConfigError as error:
            return Outcome(end=End.REFUSED, said=told(str(error)), is_channels=True)
        return Outcome(end=End.SENT, said="acknowledged by the broker")

    async def keep(self, channel: Channel, desired: Mapping[str, bytes]) -> int:
        """Have retained what should be; return how many messages that took.

        Raises:
            BrokerFailed: The broker is not there or refuses.
            ConfigError: Central may not connect there.
        """
        link = await self.link(channel)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, link.keep, desired)

    async def link(self, channel: Channel) -> Link:
        """Return a connection that is up, under the channel's settings as they are now.

        Raises:
            BrokerFailed: The broker is not there or refuses.
            ConfigError: Central may not connect there.
        """
        async with self._opening.setdefault(channel.channel, asyncio.Lock()):
            version, link = self._links.get(channel.channel, (0, None))
            if link is not None and link.is_up and version == channel.version:
                return link
            await self.drop(channel.channel)
            made = await self._open(channel)
            self._links[channel.channel] = (channel.version, made)
            return made

    async def drop(self, name: str) -> None:
        """Have no connection for a channel."""
        _, link = self._links.pop(name, (0, None))
        if link is not None:
            await asyncio.get_running_loop().run_in_executor(self._threads, link.shut)

    @property
    def linked(self) -> list[str]:
        """Channels that have, or had, a connection."""
        return list(self._links)

    async def close(self) -> None:
        """Say goodbye to every broker."""
        for name in self.linked:
            await self.drop(name)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _open(self, channel: Channel) -> Link:
        settings = channel.settings
        assert isinstance(settings, Mqtt)
        egress.check_port(self._rules, settings.port, PORTS)
        addresses = await egress.resolve(self._rules, settings.host, settings.port)
        if not settings.tls:
            egress.check_inside(addresses)
        link = Link(
            settings,
            channel.secret.password,
            addresses[0],
            tls_for(settings.host) if settings.tls else None,
        )
        await asyncio.get_running_loop().run_in_executor(self._threads, link.open)
        return link


def tls_for(host: str) -> ssl.SSLContext:
    """Return TLS that verifies a certificate of this name by the system's authorities."""
    tls = _Named(ssl.PROTOCOL_TLS_CLIENT)
    tls.server = host
    tls.load_default_certs()
    return tls


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not hold: {error.verify_message}"
    if isinstance(error, OSError):
        return f"no connection: {error.strerror or told(str(error))}"
    return told(str(error))
