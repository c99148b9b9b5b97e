"""Exports as people look at them: how each is, what waits, what arrived, what was given up.

The rule: what is said of an export comes from its own deliveries; that nothing was sent lately is
said as such and is never "well".
"""

import enum
from typing import Final

import msgspec

from vedette.central.alerting.channels import looking
from vedette.central.alerting.channels.facts import CLOUD_EVENT, Kind, carries
from vedette.central.alerting.channels.looking import ChannelState, ChannelView
from vedette.central.exporting import store
from vedette.central.exporting.facts import why_never
from vedette.central.exporting.store import ExportView
from vedette.central.store.db import Tx

LATELY_DAYS: Final = 7
"""So far back it is looked for what was sent."""

_DAY_MS: Final = 86_400_000


class ExportState(enum.StrEnum):
    """How an export is; the worst last."""

    WELL = "well"
    OFF = "off"
    QUIET = "quiet"  # on, and nothing was sent lately
    WARNED = "warned"  # its links lead nowhere from another machine
    FAILING = "failing"  # what was tried last did not arrive
    STUCK = "stuck"  # its channel is gone or off, or it asks for what cannot be


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """An export and what became of what it told.

    Attributes:
        channel: Where it goes; None: there is no such channel, or one that carries notices only.
        waiting, dead, sent_day: Deliveries; `oldest_ms`: since when the oldest waits.
        sent_ms: When the last arrived; None: none did in the last `LATELY_DAYS`.
        dead_said: Why the last that is dead was given up.
    """

    view: ExportView
    state: ExportState
    channel: ChannelView | None
    waiting: int = 0
    oldest_ms: int | None = None
    dead: int = 0
    dead_said: str = ""
    sent_day: int = 0
    sent_ms: int | None = None


class _Counts(msgspec.Struct, frozen=True, kw_only=True):
    export: str
    waiting: int
    oldest_ms: int | None
    dead: int
    dead_ms: int | None
    dead_said: str
    sent_day: int
    sent_ms: int | None


class _Sent(msgspec.Struct, frozen=True, kw_only=True):
    export: str
    sent_ms: int | None


async def standings(tx: Tx, url: str, now_ms: int) -> list[Standing]:
    """Return how every export is, by name; links begin with `url`."""
    found = await tx.all("exports_counts", _Counts, day_ms=now_ms - _DAY_MS)
    counts = {one.export: one for one in found}
    views = await store.views(tx, url)
    among = {one.channel: one for one in await looking.channels(tx, now_ms)}
    sent = await _sent(tx, [view.settings.export for view in views], counts, now_ms)
    return [
        _standing(
            view,
            among.get(view.settings.channel),
            counts.get(view.settings.export),
            sent.get(view.settings.export),
        )
        for view in views
    ]


async def _sent(
    tx: Tx, names: list[str], counts: dict[str, _Counts], now_ms: int
) -> dict[str, int | None]:
    """Return when the last thing of each export arrived; further back than a day for few only."""
    sent = {name: counts[name].sent_ms for name in names if name in counts}
    left = [name for name in names if sent.get(name) is None]
    if left:
        from_ms = now_ms - LATELY_DAYS * _DAY_MS
        found = await tx.all("exports_sent", _Sent, exports=left, from_ms=from_ms)
        sent |= {one.export: one.sent_ms for one in found}
    return sent


async def fetches(tx: Tx) -> int:
    """Return how many clips wait until their devices can be asked for them."""
    count = await tx.value("export_fetches_count")
    return count if isinstance(count, int) else 0


def _standing(
    view: ExportView, channel: ChannelView | None, counts: _Counts | None, sent_ms: int | None
) -> Standing:
    if channel is not None and not carries(Kind(channel.kind), CLOUD_EVENT):
        channel = None
    dead_ms = counts.dead_ms if counts else None
    return Standing(
        view=view,
        state=_state(view, channel, dead_ms, sent_ms),
        channel=channel,
        waiting=counts.waiting if counts else 0,
        oldest_ms=counts.oldest_ms if counts else None,
        dead=counts.dead if counts else 0,
        dead_said=counts.dead_said if counts else "",
        sent_day=counts.sent_day if counts else 0,
        sent_ms=sent_ms,
    )


def _state(
    view: ExportView, channel: ChannelView | None, dead_ms: int | None, sent_ms: int | None
) -> ExportState:
    if not view.enabled:
        return ExportState.OFF
    if channel is None or channel.state is ChannelState.DISABLED or why_never(view.settings):
        return ExportState.STUCK
    given_up = dead_ms is not None and (sent_ms is None or sent_ms < dead_ms)
    if given_up or channel.state in {ChannelState.FAILING, ChannelState.RESTING}:
        return ExportState.FAILING
    if view.trouble:
        return ExportState.WARNED
    return ExportState.QUIET if sent_ms is None else ExportState.WELL
