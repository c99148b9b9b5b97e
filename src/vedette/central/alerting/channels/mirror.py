"""Keeping what brokers retain as the database says: again and again, only what changed.

The rule: nothing is remembered but what this connection published; a lost connection is made good
by saying everything once more. Several centrals say the same.
"""

import logging
from typing import Final

import msgspec

from vedette.central.alerting.channels import discovery, store
from vedette.central.alerting.channels.discovery import Place
from vedette.central.alerting.channels.facts import Mqtt, told
from vedette.central.alerting.channels.mqtt import MqttSender
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.facts import Incident
from vedette.central.services import Services
from vedette.errors import StoreError, VedetteError

_log = logging.getLogger(__name__)

EVERY_S: Final = 5.0
AGAIN_MS: Final = 30_000


class Mirror:
    """What every broker should retain. Thread: one event loop."""

    def __init__(self, services: Services, sender: MqttSender) -> None:
        """Prepare; nothing is published yet."""
        self._services = services
        self._sender = sender
        self._seal: Final = Seal(services.config.state)
        self._not_before: dict[str, int] = {}

    async def turn(self, now_ms: int) -> int:
        """Have each broker hold what it should; return how many messages that took."""
        services = self._services
        async with services.db.transaction() as tx:
            rows = await tx.all("mirror_channels", store.Row)
            if not rows:
                places, bodies = [], []
            else:
                places = await tx.all("mirror_places", Place)
                bodies = await tx.packed("mirror_incidents")
        known = {row.channel for row in rows}
        for name in self._sender.linked:
            if name not in known:
                await self._sender.drop(name)
        incidents = [msgspec.json.decode(body, type=Incident) for (body,) in bodies]
        moved = 0
        for row in rows:
            if self._not_before.get(row.channel, 0) <= now_ms:
                moved += await self._one(row, places, incidents, now_ms)
        return moved

    async def _one(
        self, row: store.Row, places: list[Place], incidents: list[Incident], now_ms: int
    ) -> int:
        try:
            channel = row.opened(self._seal)
            assert isinstance(channel.settings, Mqtt)
            desired = discovery.desired(
                channel.settings, places, incidents, self._services.config.url
            )
            return await self._sender.keep(channel, desired)
        except StoreError:
            raise
        except VedetteError as error:
            self._not_before[row.channel] = now_ms + AGAIN_MS
            _log.warning(
                "a broker does not hold what it should",
                extra={"event": "mqtt.failed", "channel": row.channel, "why": told(str(error))},
            )
            return 0


async def run(services: Services, sender: MqttSender) -> None:
    """Look every few seconds, and as soon as incidents change, until cancelled."""
    mirror = Mirror(services, sender)
    async with services.bulletin.subscribe("incidents") as news:
        while True:
            try:
                await mirror.turn(services.now_ms())
            except StoreError as error:
                _log.error(
                    "what brokers hold waits for the database",
                    extra={"event": "mqtt.store_failed", "why": str(error)},
                )
            await news.wait(EVERY_S)
