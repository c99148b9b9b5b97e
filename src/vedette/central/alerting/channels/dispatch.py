"""Who sends what, when: deliveries that are due, leased, sent beside one another, settled.

What lives here: the loop and one turn of it. What does not: one try (`sending`), the pauses
(`backoff`). The rules: a channel has so many sendings at once and so many a minute, so that none
waits for another; a lease ends by itself, so a worker that is killed strands nothing; what one sent
while it was killed before it could say so is sent once more, under the same id.

Thread: one event loop. Any number of workers and processes may run it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.alerting.channels import mirror
from vedette.central.alerting.channels.facts import CHANGED, NOW, Kind, Settings
from vedette.central.alerting.channels.mqtt import MqttSender
from vedette.central.alerting.channels.sending import LEASE_MS, PUSH_LEASE_MS, Sending
from vedette.central.services import Services
from vedette.clock import NS_PER_S
from vedette.errors import StoreError

_log = logging.getLogger(__name__)

POLL_S: Final = 1.0
AFTER_FAILURE_S: Final = 5.0
MOST_AT_ONCE: Final = 128
STOP_S: Final = 3.0
BURST: Final = 20


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A channel on which something is due."""

    channel: str
    kind: str
    body: bytes
    secret: bytes | None
    version: int
    failures: int


class Share:
    """How many more a channel may be sent now: so many a minute, a few at once."""

    def __init__(self, per_minute: int, mono_ns: int) -> None:
        """Begin with all that may come at once."""
        self._per_s: Final = max(1, per_minute) / 60
        self._most: Final = float(min(BURST, max(1, per_minute)))
        self._left = self._most
        self._at_ns = mono_ns

    def left(self, mono_ns: int) -> int:
        """Return how many may be sent now."""
        passed = (mono_ns - self._at_ns) / NS_PER_S
        self._left = min(self._most, self._left + passed * self._per_s)
        self._at_ns = mono_ns
        return int(self._left)

    def spend(self, count: int) -> None:
        """So many are sent."""
        self._left -= count


class Dispatcher:
    """Sends what is due until it is told to end."""

    def __init__(self, services: Services, sending: Sending | None = None) -> None:
        """Prepare; nothing is sent yet."""
        self._services = services
        self.sending: Final = sending or Sending(services)
        self._at_work: dict[str, set[asyncio.Task[None]]] = {}
        self._shares: dict[tuple[str, int], Share] = {}

    async def turn(self, now_ms: int) -> int:
        """Begin to send what is due; return how many that are."""
        services = self._services
        async with services.db.transaction() as tx:
            await self.sending.give_up_old(tx, now_ms)
            ready = await tx.all("channels_ready", Ready, now_ms=now_ms)
        begun = 0
        for channel in ready:
            begun += await self._begin(channel, now_ms)
        return begun

    async def settled(self) -> None:
        """Wait until everything that was begun has come to something."""
        while tasks := [task for tasks in self._at_work.values() for task in tasks]:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Let what is on its way arrive for a moment, then end it; its lease ends by itself."""
        tasks = [task for tasks in self._at_work.values() for task in tasks]
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=STOP_S)
        finally:
            for task in tasks:
                task.cancel()
            try:  # a process that one began is ended by it, and that takes its turn
                if tasks:
                    await asyncio.wait(tasks, timeout=STOP_S)
            finally:
                await self.sending.close()

    async def _begin(self, ready: Ready, now_ms: int) -> int:
        settings = msgspec.json.decode(ready.body, type=Settings)
        at_work = self._at_work.setdefault(ready.channel, set())
        everything = sum(len(tasks) for tasks in self._at_work.values())
        # A channel that fails is tried with one at a time.
        at_once = settings.at_once if ready.failures == 0 else 1
        mono_ns = self._services.clock.mono_ns()
        share = self._shares.setdefault(
            (ready.channel, settings.per_minute), Share(settings.per_minute, mono_ns)
        )
        slots = min(at_once - len(at_work), MOST_AT_ONCE - everything, share.left(mono_ns))
        if slots <= 0:
            return 0
        lease_ms = PUSH_LEASE_MS if ready.kind == Kind.S3 else LEASE_MS
        leased = await self.sending.lease(ready.channel, slots, now_ms, lease_ms)
        share.spend(len(leased))
        for delivery in leased:
            task = asyncio.create_task(self.sending.send(delivery), name=delivery.delivery)
            at_work.add(task)
            task.add_done_callback(self._ended(at_work))
        return len(leased)

    def _ended(self, at_work: set["asyncio.Task[None]"]) -> Callable[["asyncio.Task[None]"], None]:
        def ended(task: "asyncio.Task[None]") -> None:
            at_work.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error(
                    "a delivery was not settled; it is tried again when its lease is over",
                    exc_info=error,
                    extra={"event": "delivery.unsettled", "delivery": task.get_name()},
                )
            self._services.bulletin.publish(NOW, CHANGED)

        return ended


async def run(services: Services) -> None:
    """Send what is due, as soon as somebody says so and each second, until cancelled.

    Beside it brokers are kept as they should be (`mirror`).
    """
    dispatcher = Dispatcher(services)
    broker = dispatcher.sending.senders[Kind.MQTT]
    assert isinstance(broker, MqttSender)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(mirror.run(services, broker), name="mirror")
            both.create_task(_turns(services, dispatcher), name="turns")
    finally:
        await dispatcher.close()


async def _turns(services: Services, dispatcher: Dispatcher) -> None:
    async with services.bulletin.subscribe(NOW) as news:
        while True:
            try:
                await dispatcher.turn(services.now_ms())
            except StoreError as error:
                _log.error(
                    "deliveries wait for the database",
                    extra={"event": "delivery.failed", "why": str(error)},
                )
                await asyncio.sleep(AFTER_FAILURE_S)
            await news.wait(POLL_S)
