"""A notice made whole when it is sent: ways to its incident, a link to take it on, a picture.

What lives here: what whoever decided a notice could not know, addresses and what is in central by
now. What does not: sending. The rule: a notice waits for none of it; what cannot be had at this
moment is left out, and where it is the picture, the notice says so.
"""

import logging
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from vedette.central import audit
from vedette.central.alerting import picturing
from vedette.central.alerting.channels.facts import (
    PAGES,
    Apprise,
    Channel,
    Delivery,
    Mail,
    Webhook,
)
from vedette.central.alerting.facts import Notice, Seen
from vedette.central.alerting.links import Links
from vedette.central.services import Services
from vedette.errors import TrustError, VedetteError

_log = logging.getLogger(__name__)

_ACTOR: Final = "dispatcher"


class Completing:
    """What deliveries are completed with. Thread: one event loop."""

    def __init__(self, services: Services) -> None:
        """Prepare; nothing is read yet."""
        self._services = services
        self._links: Final = Links(services.config.state)

    async def whole(self, channel: Channel, delivery: Delivery, now_ms: int) -> Delivery:
        """Return a notice with the ways to its incident, and the picture that may go with it.

        Whoever decided it knows no addresses.
        """
        if delivery.media:
            return delivery
        notice = msgspec.json.decode(delivery.body, type=Notice)
        if notice.url:
            return delivery
        url = self._services.config.url
        name = notice.incident.incident
        there = replace(
            notice,
            url=f"{url}/incidents/{name}" if name else f"{url}/incidents",
            event_url=f"{url}/events/{quote(notice.event, safe='')}" if notice.event else "",
            take_url=self._take_url(channel, delivery),
        )
        there, picture = await self._pictured(channel, delivery, there, now_ms)
        return replace(delivery, body=msgspec.json.encode(there), picture=picture)

    async def _pictured(
        self, channel: Channel, delivery: Delivery, notice: Notice, now_ms: int
    ) -> tuple[Notice, bytes]:
        """Return the notice with a word about its picture, and the picture where it goes along.

        Only with the first try: what a server refuses for its size, or takes in two parts, must
        not keep a notice from arriving or have it arrive many times.
        """
        seen = notice.incident.seen
        if seen is None or delivery.kind not in PAGES:
            return notice, b""
        try:
            async with self._services.db.transaction() as tx:
                found = await picturing.find(tx, seen, now_ms)
        except VedetteError as error:
            _log.warning(
                "a notice goes without its picture",
                extra={"event": "delivery.no_picture", "why": str(error)},
            )
            return replace(notice, picture=picturing.UNREADABLE), b""
        if found.file is None:
            return replace(notice, picture=found.said), b""
        event = quote(notice.event, safe="")
        url = f"{self._services.config.url}/v1/events/{event}/clip/{found.file.name}"
        notice = replace(notice, picture_url=url)
        settings = channel.settings
        carries = isinstance(settings, Mail | Apprise) and settings.pictures
        if not carries or delivery.tries > 1:
            return replace(notice, picture="Its picture is on the event's page."), b""
        picture = await picturing.read(self._services.blobs, found.file)
        if picture:
            await self._write_down(delivery, seen, found.file.name, now_ms)
        said = "Its picture is attached." if picture else picturing.UNREADABLE
        return replace(notice, picture=said), picture

    def _take_url(self, channel: Channel, delivery: Delivery) -> str:
        """Return the link by which the notice's person takes it on; empty: it carries none.

        A notice never waits for it: without the key it goes without a link.
        """
        config = self._services.config
        if not config.alerts.take_links or not delivery.person or delivery.kind not in PAGES:
            return ""
        if not is_private(channel, delivery.address):
            return ""
        try:
            return config.url + self._links.make(delivery.delivery, delivery.made_ms)
        except TrustError as error:
            _log.error(
                "notices go without their link",
                extra={"event": "delivery.no_link", "why": str(error)},
            )
            return ""

    async def _write_down(self, delivery: Delivery, seen: Seen, file: str, now_ms: int) -> None:
        """Have it in the audit log that a picture is about to be sent to somebody."""
        async with self._services.db.transaction() as tx:
            await audit.write(
                tx,
                at_ms=now_ms,
                actor=_ACTOR,
                action="clip.send",
                target=f"{seen.subject.device}/{seen.evidence}",
                detail={
                    "file": file,
                    "channel": delivery.channel,
                    "delivery": delivery.delivery,
                    "person": delivery.person,
                },
            )


def is_private(channel: Channel, address: str) -> bool:
    """True where what is sent there is for one person: no topic of a broker, no list of people."""
    match channel.settings:
        case Mail(to=to):
            return bool(address) or len(to) == 1
        case Webhook() | Apprise():
            return True
        case _:
            return False
