"""Channels and deliveries in, pages out. Pure: no request, no database, no clock.

The rule: secrets go in and never come out; what was not delivered stands first.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from vedette.central.alerting.channels import bucket
from vedette.central.alerting.channels.facts import S3, Apprise, Mail, Mqtt, Settings, Webhook
from vedette.central.alerting.channels.looking import ChannelState, ChannelView, DeliveryRow
from vedette.central.console.alerts import words
from vedette.central.console.alerts.rules import Filled
from vedette.central.console.page import Page
from vedette.central.console.render import render

DONE: Final = {
    "made": "The channel is there. Send a test before you rely on it.",
    "on": "The channel is switched on.",
    "off": "The channel is switched off: what was to go there waits.",
    "removed": "The channel is removed.",
    "tested": "A test is on its way: its outcome stands below.",
    "rotated": "A new secret is in use.",
    "replayed": "It is sent again.",
    "cancelled": "It is not sent any more.",
}


class DeliveryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What the URL of deliveries asks for."""

    state: str = ""
    channel: str = ""
    export: str = ""

    def query(self, **changes: str) -> str:
        """Return these filters as a query string, some of them changed, empty ones left out."""
        named = msgspec.structs.asdict(self) | changes
        return urlencode({key: value for key, value in named.items() if value})


def channel_url(channel: str) -> str:
    """Return the URL of a channel's page."""
    return f"/channels/{quote(channel, safe='')}"


_ORDER: Final = list(ChannelState)[::-1]
"""The worst first."""


def target_of(settings: Settings) -> str:
    """Return where a channel leads, without anything secret."""
    match settings:
        case Webhook():
            return settings.url
        case Mail():
            to = f" to {', '.join(settings.to[:3])}" if settings.to else ""
            return f"{settings.host}:{settings.port}, from {settings.sender}{to}"
        case Mqtt():
            scheme = "mqtts" if settings.tls else "mqtt"
            return f"{scheme}://{settings.host}:{settings.port}, {settings.prefix}/…"
        case Apprise():
            return f"{settings.service or 'a service'} (its address is a secret)"
        case S3():
            return f"{bucket.base(settings)}/{settings.prefix}".rstrip("/")


def settings_of(settings: Settings) -> dict[str, str]:
    """Return the other settings of a channel, for people to read."""
    shown = {"at most": f"{settings.per_minute} a minute, {settings.at_once} at once"}
    match settings:
        case Webhook():
            how = "HMAC-SHA256" if settings.signs == "v1" else "Ed25519"
            shown["signed"] = f"Standard Webhooks, {how}"
        case Mail():
            shown["encrypted"] = {"none": "no"}.get(settings.tls, settings.tls)
        case Mqtt():
            shown["Home Assistant"] = settings.discovery or "is not told"
        case S3():
            shown["region"] = settings.region
            shown["carries"] = "exports, no notices"
        case Apprise():
            pass
    return shown


def list_html(
    rows: Sequence[ChannelView],
    page: Page,
    *,
    asked: Mapping[str, str] | None = None,
    done: str = "",
    problem: str = "",
) -> str:
    """Return all channels: those in trouble first; with the form for another."""
    found = sorted(rows, key=lambda row: (_ORDER.index(row.state), not row.dead, row.channel))
    return render(
        "alerts/channels.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url="/channels",
        rows=found,
        asked=Filled(asked or {}),
        words=words,
        channel_url=channel_url,
        target_of=target_of,
        done=DONE.get(done, ""),
        problem=problem,
    )


def channel_html(
    row: ChannelView,
    deliveries: Sequence[DeliveryRow],
    page: Page,
    *,
    secret: str = "",
    done: str = "",
    problem: str = "",
) -> str:
    """Return one channel; `secret`: shown this once."""
    return render(
        "alerts/channel.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        row=row,
        deliveries=deliveries,
        secret=secret,
        words=words,
        url=channel_url(row.channel),
        target=target_of(row.settings),
        settings=settings_of(row.settings),
        done=DONE.get(done, ""),
        problem=problem,
    )


def deliveries_html(
    rows: Sequence[DeliveryRow],
    query: DeliveryQuery,
    page: Page,
    *,
    older: str = "",
    done: str = "",
    problem: str = "",
) -> str:
    """Return what was sent, what waits and what was given up, the newest first."""
    return render(
        "alerts/deliveries.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        rows=rows,
        query=query,
        older=older,
        words=words,
        done=DONE.get(done, ""),
        problem=problem,
    )
