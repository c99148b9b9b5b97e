"""One try of one delivery: leased, sent, settled, and said where people look.

What lives here: everything between a row and its outcome. What does not: which rows, when
(`dispatch`), how a channel sends. The rule: an outcome is written only by whoever holds the lease,
with its line on the incident's timeline, in one transaction.
"""

import asyncio
import logging
import random
import uuid
from typing import Final

import msgspec
from msgspec.structs import replace

from vedette.central import audit
from vedette.central.alerting.channels import backoff, store
from vedette.central.alerting.channels.apprise import AppriseSender
from vedette.central.alerting.channels.completing import Completing
from vedette.central.alerting.channels.egress import rules
from vedette.central.alerting.channels.facts import (
    CHANGED,
    PACKAGE,
    PAGES,
    Channel,
    Delivery,
    End,
    Kind,
    Outcome,
    Sender,
    State,
    require_carries,
    told,
)
from vedette.central.alerting.channels.mail import MailSender
from vedette.central.alerting.channels.mqtt import MqttSender
from vedette.central.alerting.channels.s3 import S3Sender
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.channels.webhook import WebhookSender
from vedette.central.alerting.facts import History, NoticeKind
from vedette.central.exporting.facts import Package
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.clock import NS_PER_S
from vedette.errors import StoreError, TrustError, VedetteError

_log = logging.getLogger(__name__)

LEASE_MS: Final = 120_000
"""Longer than any try may take."""

TRY_S: Final = 60.0
PUSH_S: Final = 600.0
"""A clip over a slow line takes longer than a message."""

PUSH_LEASE_MS: Final = 720_000
RESTS_AFTER: Final = 5
REST_MS: Final = 5_000
LONGEST_REST_MS: Final = 60_000
_ACTOR: Final = "dispatcher"


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that waited longer than it may."""

    delivery: str
    incident: str
    channel: str
    address: str
    person: str
    kind: str


class Sending:
    """The senders of every kind, and what each try comes to. Thread: one event loop."""

    def __init__(self, services: Services, senders: dict[Kind, Sender] | None = None) -> None:
        """Prepare the senders that the configuration allows."""
        self._services = services
        self._seal: Final = Seal(services.config.state)
        self._completing: Final = Completing(services)
        self._worker: Final = uuid.uuid4().hex[:12]
        self._chance: Final = random.SystemRandom()
        self.senders: Final = senders or make_senders(services)
        self._leases = 0

    async def lease(
        self, channel: str, slots: int, now_ms: int, lease_ms: int = LEASE_MS
    ) -> list[Delivery]:
        """Return at most `slots` deliveries that only this worker has, for so long."""
        async with self._services.db.transaction() as tx:
            return await tx.all(
                "deliveries_lease",
                Delivery,
                channel=channel,
                slots=slots,
                now_ms=now_ms,
                until_ms=now_ms + lease_ms,
                lease=self._lease(),
            )

    async def lease_one(self, delivery: str, now_ms: int) -> Delivery | None:
        """Return this delivery for this worker alone; None where another has it."""
        async with self._services.db.transaction() as tx:
            return await tx.one(
                "delivery_lease",
                Delivery,
                delivery=delivery,
                now_ms=now_ms,
                until_ms=now_ms + PUSH_LEASE_MS,
                lease=self._lease(),
            )

    async def send(self, delivery: Delivery) -> None:
        """Try it once; its row says afterwards what that came to."""
        services = self._services
        if _is_pointless(delivery):
            await self._cancel(delivery, "over before it could be sent")
            return
        began_ms, began_ns = services.now_ms(), services.clock.mono_ns()
        kind, outcome = await self._tried(delivery, began_ms)
        took_s = (services.clock.mono_ns() - began_ns) / NS_PER_S
        await self._settle(delivery, _discreet(delivery, outcome), kind, began_ms, took_s)

    async def close(self) -> None:
        """Let go of every connection."""
        for sender in self.senders.values():
            await sender.close()

    async def give_up_old(self, tx: Tx, now_ms: int) -> None:
        """Have dead what waited longer than it may, said on the timeline."""
        for over in await tx.all("deliveries_over", Over, now_ms=now_ms):
            place = _place(over.channel, "" if over.person else over.address)
            text = f"{over.kind} could not be told by {place}: given up"
            await _history(tx, over.incident, "undelivered", text, now_ms)

    def _lease(self) -> str:
        """Return a name that no other lease has: what is settled late settles nothing."""
        self._leases += 1
        return f"{self._worker}-{self._leases}"

    async def _tried(self, delivery: Delivery, now_ms: int) -> tuple[str, Outcome]:
        """Return of which kind the channel is, and what the try came to."""
        kind = ""
        try_s = PUSH_S if delivery.media == PACKAGE else TRY_S
        try:
            channel = await self._channel(delivery.channel)
            kind = str(channel.kind)
            if delivery.media or delivery.kind != NoticeKind.TEST:
                require_carries(channel.channel, channel.kind, delivery.media)
            whole = await self._completing.whole(channel, delivery, now_ms)
            async with asyncio.timeout(try_s):
                outcome = await self.senders[channel.kind].send(channel, whole, now_ms)
            return kind, _without_picture(outcome) if whole.picture else outcome
        except TimeoutError:
            said = f"not done within {try_s:.0f} s"
            return kind, Outcome(end=End.AGAIN, said=said, is_channels=True)
        except TrustError as error:
            return kind, Outcome(end=End.AGAIN, said=told(str(error)), is_channels=True)
        except StoreError:
            raise
        except VedetteError as error:
            return kind, Outcome(end=End.REFUSED, said=told(str(error)))

    async def _channel(self, name: str) -> Channel:
        async with self._services.db.transaction() as tx:
            row = await store.get(tx, name)
        return row.opened(self._seal)

    async def _settle(
        self, delivery: Delivery, outcome: Outcome, kind: str, began_ms: int, took_s: float
    ) -> None:
        services = self._services
        now_ms = services.now_ms()
        state, due_ms = backoff.decide(
            outcome,
            tries=delivery.tries - delivery.replayed,
            now_ms=now_ms,
            until_ms=delivery.until_ms,
            chance=self._chance.random(),
        )
        async with services.db.transaction() as tx:
            ours = await tx.run(
                "delivery_settle",
                delivery=delivery.delivery,
                lease=delivery.lease,
                state=str(state),
                due_ms=due_ms,
                said=outcome.said,
                done_ms=None if state is State.WAITING else now_ms,
            )
            await tx.run(
                "delivery_tried",
                delivery=delivery.delivery,
                number=delivery.tries,
                at_ms=began_ms,
                took_ms=round(1000 * took_s),
                outcome=str(outcome.end),
                said=outcome.said,
            )
            await self._tell_channel(tx, delivery, outcome, now_ms)
            if ours:
                await _tell(tx, delivery, outcome, state, now_ms)
            if state is State.SENT and delivery.media == PACKAGE:
                await _write_down(tx, delivery, outcome.said, now_ms)
        _log.log(
            logging.INFO if state is State.SENT else logging.WARNING,
            "a delivery was tried",
            extra={
                "event": f"delivery.{outcome.end}",
                "delivery": delivery.delivery,
                "channel": delivery.channel,
                "kind": delivery.kind,
                "tries": delivery.tries,
                "said": outcome.said,
            },
        )
        late_s = max(0, now_ms - delivery.asked_ms) / 1000 if state is State.SENT else None
        services.meters.delivered(kind, str(outcome.end), late_s)
        services.bulletin.publish(CHANGED, f"incident:{delivery.incident}")

    async def _tell_channel(
        self, tx: Tx, delivery: Delivery, outcome: Outcome, now_ms: int
    ) -> None:
        """Count what the try says of the channel; one that is gone is disabled."""
        name = delivery.channel
        if outcome.end is End.SENT:
            await tx.run("channel_well", channel=name, now_ms=now_ms, said=outcome.said)
            return
        if not outcome.is_channels:
            return
        await tx.run(
            "channel_ill",
            channel=name,
            said=outcome.said,
            now_ms=now_ms,
            threshold=RESTS_AFTER,
            rest_ms=REST_MS,
            longest_ms=LONGEST_REST_MS,
        )
        if outcome.end is End.GONE and await tx.value(
            "channel_disable", channel=name, why=outcome.said, actor=_ACTOR, now_ms=now_ms
        ):
            await audit.write(
                tx,
                at_ms=now_ms,
                actor=_ACTOR,
                action="channel.disable",
                target=name,
                detail={"why": outcome.said},
            )
            await _history(
                tx, delivery.incident, "channel_gone", f"channel {name} was disabled", now_ms
            )

    async def _cancel(self, delivery: Delivery, why: str) -> None:
        now_ms = self._services.now_ms()
        async with self._services.db.transaction() as tx:
            await tx.run(
                "delivery_settle",
                delivery=delivery.delivery,
                lease=delivery.lease,
                state=str(State.CANCELLED),
                due_ms=None,
                said=why,
                done_ms=now_ms,
            )
        self._services.bulletin.publish(CHANGED, f"incident:{delivery.incident}")


def make_senders(services: Services) -> dict[Kind, Sender]:
    """Return a sender for each kind of channel, under the rules of the configuration."""
    alerts = services.config.alerts
    allowed = rules(alerts.allow_private, alerts.ports)
    return {
        Kind.WEBHOOK: WebhookSender(allowed, proxy=alerts.proxy),
        Kind.MAIL: MailSender(allowed, services.config.url),
        Kind.MQTT: MqttSender(allowed),
        Kind.APPRISE: AppriseSender(allowed, proxy=alerts.proxy),
        Kind.S3: S3Sender(allowed, services.blobs, proxy=alerts.proxy),
    }


def _without_picture(outcome: Outcome) -> Outcome:
    """Return what a try with a picture came to: refused, it is tried again without."""
    if outcome.end is not End.REFUSED:
        return outcome
    said = told(f"{outcome.said}; tried again without the picture")
    return replace(outcome, end=End.AGAIN, said=said)


def _is_pointless(delivery: Delivery) -> bool:
    """True for a page about something that is over: whoever was told before is told of the end."""
    is_page = not delivery.media and delivery.kind in PAGES
    return is_page and delivery.incident_state == "resolved"


async def _tell(tx: Tx, delivery: Delivery, outcome: Outcome, state: State, now_ms: int) -> None:
    """Have it on the incident's timeline: that it arrived, did not at first, or never will."""
    place = _place(delivery.channel, "" if delivery.person else delivery.address)
    who = f"{delivery.person} " if delivery.person else ""
    if state is State.SENT:
        kind, text = "sent", f"{who}told by {place}: {delivery.kind}"
    elif state is State.DEAD:
        kind, text = "undelivered", f"{who}not told by {place} ({delivery.kind}): {outcome.said}"
    elif delivery.tries == 1:
        kind, text = "delayed", f"{who}not told yet by {place}: {outcome.said}; tried again"
    else:
        return
    if delivery.kind != NoticeKind.TEST:
        await _history(tx, delivery.incident, kind, text, now_ms)


async def _write_down(tx: Tx, delivery: Delivery, said: str, now_ms: int) -> None:
    """Have in the audit log which files left for a bucket."""
    package = msgspec.json.decode(delivery.body, type=Package)
    if not package.files:
        return
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=_ACTOR,
        action="export.push",
        target=f"{package.device}/{package.evidence}",
        detail={"channel": delivery.channel, "delivery": delivery.delivery, "said": said},
    )


def _discreet(delivery: Delivery, outcome: Outcome) -> Outcome:
    """Return what a try came to without a person's address: receivers like to repeat it."""
    if not delivery.person or not delivery.address:
        return outcome
    said = outcome.said.replace(delivery.address, delivery.person)
    return msgspec.structs.replace(outcome, said=said)


def _place(channel: str, address: str) -> str:
    return f"{channel} ({address})" if address else channel


async def _history(tx: Tx, incident: str, kind: str, text: str, now_ms: int) -> None:
    if not incident:
        return
    line = History(incident=incident, at_ms=now_ms, kind=kind, actor=_ACTOR, text=told(text))
    await tx.run(
        "delivery_history",
        incident=incident,
        at_ms=now_ms,
        kind=kind,
        actor=_ACTOR,
        text=line.text,
        body=msgspec.json.encode(line),
    )
