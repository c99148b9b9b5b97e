"""Channels and deliveries as people see them: everything but what is secret.

The rule: what is shown of a channel is built from its settings alone; nothing here opens a seal.
"""

import enum
from typing import Final

import msgspec

from vedette.central.alerting.channels import store, words
from vedette.central.alerting.channels.facts import Settings
from vedette.central.alerting.facts import Notice
from vedette.central.store.db import Tx
from vedette.errors import ConfigError

_DAY_MS: Final = 86_400_000


class ChannelState(enum.StrEnum):
    """How a channel is."""

    WELL = "well"
    UNTRIED = "untried"
    FAILING = "failing"
    RESTING = "resting"  # it failed several times: tried again in a while
    DISABLED = "disabled"


class ChannelView(msgspec.Struct, frozen=True, kw_only=True):
    """A channel, without its secrets.

    Attributes:
        has_secret: Something secret is kept with it.
        said: What the last try came to.
        waiting, dead, sent_day: Deliveries; `oldest_ms`: since when the oldest waits.
    """

    channel: str
    kind: str
    settings: Settings
    state: ChannelState
    version: int
    enabled: bool
    disabled_why: str
    has_secret: bool
    failures: int
    rests_ms: int
    sent_ms: int | None
    said: str
    changed_by: str
    changed_ms: int
    waiting: int = 0
    oldest_ms: int | None = None
    dead: int = 0
    sent_day: int = 0


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent, or was; `media` empty: a notice.

    Attributes:
        address: Empty where it goes to a person: theirs is personal data.
    """

    delivery: str
    channel: str
    address: str
    person: str
    incident: str
    kind: str
    state: str
    subject: str
    media: str
    made_ms: int
    asked_ms: int
    due_ms: int | None
    tries: int
    done_ms: int | None
    said: str


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a delivery."""

    number: int
    at_ms: int
    took_ms: int
    outcome: str
    said: str


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery, each try, and the text that people get of it."""

    row: DeliveryRow
    tries: list[Try]
    text: str = ""


class _Counts(msgspec.Struct, frozen=True, kw_only=True):
    channel: str
    waiting: int
    oldest_ms: int | None
    dead: int
    sent_day: int


class _Whole(DeliveryRow, frozen=True, kw_only=True):
    body: bytes


class After(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries, and after which one the page begins."""

    state: str = ""
    channel: str = ""
    incident: str = ""
    export: str = ""
    made_ms: int | None = None
    delivery: str = ""


async def channels(tx: Tx, now_ms: int) -> list[ChannelView]:
    """Return every channel by name."""
    found = await tx.all("channels_counts", _Counts, day_ms=now_ms - _DAY_MS)
    counts = {one.channel: one for one in found}
    return [
        _view(row, counts.get(row.channel), now_ms)
        for row in await tx.all("channels_all", store.Row)
    ]


async def channel(tx: Tx, name: str, now_ms: int) -> ChannelView:
    """Return one channel.

    Raises:
        ConfigError: There is none of this name.
    """
    row = await store.get(tx, name)
    found = await tx.all("channels_counts", _Counts, day_ms=now_ms - _DAY_MS)
    return _view(row, next((one for one in found if one.channel == name), None), now_ms)


async def deliveries(
    tx: Tx, sites: list[str] | None, which: After, limit: int
) -> list[DeliveryRow]:
    """Return deliveries, newest first; for somebody with a scope, of their sites' incidents."""
    return await tx.all(
        "deliveries_page",
        DeliveryRow,
        state=which.state,
        channel=which.channel,
        incident=which.incident,
        export=which.export,
        after_ms=which.made_ms,
        after=which.delivery,
        sites=sites,
        limit=limit,
    )


async def delivery(tx: Tx, name: str, sites: list[str] | None) -> DeliveryView:
    """Return one delivery with its tries.

    Raises:
        ConfigError: There is none of this name, or it is not theirs to see.
    """
    whole = await tx.one("delivery_one", _Whole, delivery=name[:128], sites=sites)
    if whole is None:
        raise ConfigError(
            f"there is no delivery {name[:64]!r}", operator_hint="vedette central deliveries list"
        )
    fields = msgspec.structs.asdict(whole)
    body = fields.pop("body")
    text = "" if whole.media else words.long(msgspec.json.decode(body, type=Notice))
    return DeliveryView(
        row=DeliveryRow(**fields),
        tries=await tx.all("delivery_tries_of", Try, delivery=whole.delivery),
        text=text,
    )


def _view(row: store.Row, counts: _Counts | None, now_ms: int) -> ChannelView:
    if not row.enabled:
        state = ChannelState.DISABLED
    elif row.rests_ms > now_ms:
        state = ChannelState.RESTING
    elif row.failures:
        state = ChannelState.FAILING
    else:
        state = ChannelState.UNTRIED if row.sent_ms is None else ChannelState.WELL
    return ChannelView(
        channel=row.channel,
        kind=row.kind,
        settings=row.settings,
        state=state,
        version=row.version,
        enabled=row.enabled,
        disabled_why=row.disabled_why,
        has_secret=row.secret is not None,
        failures=row.failures,
        rests_ms=row.rests_ms,
        sent_ms=row.sent_ms,
        said=row.said,
        changed_by=row.changed_by,
        changed_ms=row.changed_ms,
        waiting=counts.waiting if counts else 0,
        oldest_ms=counts.oldest_ms if counts else None,
        dead=counts.dead if counts else 0,
        sent_day=counts.sent_day if counts else 0,
    )
