"""One attempt by MQTT: published, and with `qos` 1 acknowledged by the broker.

The library's own thread keeps the connection, so that an alert need not wait for one. It is only
loaded where a channel needs it (extra `edge`). What was not acknowledged in time is taken back by
throwing the client away: else the library would send it later, beside our own next attempt.
"""

import importlib
import ssl
import threading
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from vedette.clock import Clock
from vedette.edge.alerts.outcome import Outcome, Result
from vedette.wire.alerts import LocalAlert, LocalChannel

KEEPALIVE_S: Final = 60
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_FIELD_CHARS: Final = str.maketrans(dict.fromkeys("/#+\0", "_"))


class Mqtt:
    """Thread: one; the library's own calls only `_on_connect` and `_on_disconnect`."""

    def __init__(self, channel: LocalChannel, device: str, clock: Clock) -> None:
        self._channel: Final = channel
        self._name: Final = f"vedette-{device}-{channel.channel}"
        self._clock: Final = clock
        self._client: Any = None
        self._connected: Final = threading.Event()
        self._why = ""

    def send(self, alert: LocalAlert, _stop: threading.Event) -> Outcome:
        """Publish the alert."""
        try:
            client = self._client or self._begin()
        except ModuleNotFoundError:
            return Outcome(Result.LATER, "needs paho-mqtt: pip install 'vedette[edge]'")
        except (OSError, ValueError) as error:
            self.close()
            return Outcome(Result.LATER, "cannot connect", str(error)[:200])
        if not self._clock.wait(self._connected, self._channel.timeout_s):
            self.close()
            return Outcome(Result.LATER, self._why or "the broker does not answer")
        message = client.publish(
            topic_of(self._channel.topic, alert), msgspec.json.encode(alert), self._channel.qos
        )
        try:
            message.wait_for_publish(self._channel.timeout_s)
        except (RuntimeError, ValueError) as error:
            self.close()
            return Outcome(Result.LATER, str(error)[:200])
        if not message.is_published():
            self.close()
            return Outcome(Result.LATER, "the broker does not acknowledge")
        return Outcome(Result.SENT)

    def close(self) -> None:
        """Leave the broker, with whatever was not acknowledged."""
        client, self._client = self._client, None
        self._connected.clear()
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _begin(self) -> Any:
        paho = importlib.import_module("paho.mqtt.client")
        parts = urlsplit(self._channel.url)
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=self._name[:64], clean_session=True
        )
        if parts.username:
            client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            client.tls_set_context(ssl.create_default_context())
        client.connect_timeout = self._channel.timeout_s
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.connect_async(parts.hostname or "", parts.port or PORTS[parts.scheme], KEEPALIVE_S)
        client.loop_start()
        self._client = client
        return client

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        self._why = f"the broker refuses: {reason}" if reason.is_failure else ""
        if not reason.is_failure:
            self._connected.set()

    def _on_disconnect(self, *_said: Any) -> None:
        self._connected.clear()


def topic_of(topic: str, alert: LocalAlert) -> str:
    """Return the topic with its fields filled in; signs that MQTT takes for its own become `_`."""
    names = {"site": alert.site, "device": alert.device, "camera": alert.camera, "rule": alert.rule}
    return topic.format(**{key: text.translate(_FIELD_CHARS) or "-" for key, text in names.items()})
