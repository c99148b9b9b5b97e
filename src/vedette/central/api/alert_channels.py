"""Channels and deliveries through the operator API: where notices go, and what became of each.

The rule: a channel speaks for the whole fleet, so only somebody who sees it whole may look at one,
and only an administrator changes one. What is secret goes in and never comes out, but for a
webhook's new secret, in the answer to the request that made it. Deliveries are shown to operators,
of the incidents that they may see.
"""

from typing import Annotated, Final

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from vedette.central.accounts import Session
from vedette.central.alerting.channels import looking, managing
from vedette.central.alerting.channels.checking import NewChannel, check_reach
from vedette.central.alerting.channels.egress import rules
from vedette.central.alerting.channels.facts import CHANGED, NOW, State
from vedette.central.alerting.channels.looking import (
    After,
    ChannelView,
    DeliveryRow,
    DeliveryView,
)
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.channels.sending import Sending
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, HTTPException, TheServices, TheSession
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.services import Services
from vedette.errors import ConfigError

CHANNEL: Final = "/channels/{channel:str}"
DELIVERY: Final = "/deliveries/{delivery:str}"
_NOTE: Final = 200
_LOOKS: Final = 30
_LOOK_S: Final = 1.0


class ChannelToBe(NewChannel, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel to be had; of the secrets only what its kind needs."""

    channel: str


class ChannelsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of channels by name; `next_cursor` asks for the next, null on the last."""

    channels: list[ChannelView]
    next_cursor: str | None


class DeliveriesPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of deliveries, newest first; `next_cursor` asks for the next, null on the last."""

    deliveries: list[DeliveryRow]
    next_cursor: str | None


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A channel as it stands; `secret` is what its receiver needs to verify us, shown once."""

    channel: ChannelView
    secret: str = ""


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the secret of before signs beside the new one."""

    overlap_h: Annotated[float, msgspec.Meta(ge=0, le=24 * 30)] = managing.OVERLAP_H


class Why(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reason, for whoever looks later."""

    why: Annotated[str, msgspec.Meta(max_length=_NOTE)] = ""


class TestTo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the message goes; empty: the channel's own address."""

    __test__ = False
    address: Annotated[str, msgspec.Meta(max_length=_NOTE)] = ""


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many."""

    count: int


class NoSuchThing(HTTPException):
    """There is no such channel or delivery."""

    status_code = 404


@get("/channels", summary="Channels: where notices go, and how each is (operator)")
async def read_channels(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[ChannelsPage]:
    """Return them by name, without their secrets."""
    _require_looker(session)
    async with services.db.transaction() as tx:
        found = await looking.channels(tx, services.now_ms())
    cursors = Cursors(services, "channels")
    page, further = cut(found, lambda one: (one.channel,), cursors, cursor, limit)
    return paged(request, ChannelsPage(channels=page, next_cursor=further), further)


@post("/channels", status_code=201, summary="Have a channel (admin)")
async def add_channel(
    services: TheServices, session: TheSession, data: JSONBody[ChannelToBe]
) -> Made:
    """Have it; where its webhook's secret was made here, the answer shows it this once."""
    return await _put(services, session, data.channel, data, new=True)


@get(CHANNEL, summary="One channel (operator)")
async def read_channel(
    services: TheServices, session: TheSession, channel: FromPath[str]
) -> ChannelView:
    """Return it without its secrets."""
    _require_looker(session)
    return await _view(services, channel)


@put(CHANNEL, summary="Change a channel; secrets that are left out stay (admin)")
async def change_channel(
    services: TheServices,
    session: TheSession,
    channel: FromPath[str],
    data: JSONBody[NewChannel],
) -> Made:
    """Replace its settings; its kind stays."""
    _require_changer(session)
    await _view(services, channel)
    return await _put(services, session, channel, data, new=False)


@delete(CHANNEL, status_code=204, summary="Have a channel no more (admin)")
async def remove_channel(
    services: TheServices, session: TheSession, channel: FromPath[str]
) -> None:
    """Remove it; what waited for it is cancelled."""
    _require_changer(session)
    await _view(services, channel)
    async with services.db.transaction() as tx:
        await managing.remove(tx, channel, actor=session.username, now_ms=services.now_ms())
    services.bulletin.publish(CHANGED)


@post(f"{CHANNEL}/rotate-secret", status_code=200, summary="Give a webhook a new secret (admin)")
async def rotate_secret(
    services: TheServices,
    session: TheSession,
    channel: FromPath[str],
    data: JSONBody[Rotation],
) -> Made:
    """Show the new secret this once; for a while both sign."""
    _require_changer(session)
    await _view(services, channel)
    async with services.db.transaction() as tx:
        secret = await managing.rotate(
            tx,
            Seal(services.config.state),
            channel,
            overlap_h=data.overlap_h,
            actor=session.username,
            now_ms=services.now_ms(),
        )
    return Made(channel=await _view(services, channel), secret=secret)


@post(f"{CHANNEL}/enable", status_code=200, summary="Have a channel tried again (admin)")
async def enable_channel(
    services: TheServices, session: TheSession, channel: FromPath[str]
) -> ChannelView:
    """Enable it, as if it had never failed."""
    _require_changer(session)
    await _view(services, channel)
    async with services.db.transaction() as tx:
        await managing.enable(tx, channel, actor=session.username, now_ms=services.now_ms())
    services.bulletin.publish(NOW, CHANGED)
    return await _view(services, channel)


@post(f"{CHANNEL}/disable", status_code=200, summary="Have nothing sent on a channel (admin)")
async def disable_channel(
    services: TheServices, session: TheSession, channel: FromPath[str], data: JSONBody[Why]
) -> ChannelView:
    """Disable it; what is due for it waits, three days at most."""
    _require_changer(session)
    await _view(services, channel)
    async with services.db.transaction() as tx:
        await managing.disable(
            tx, channel, data.why, actor=session.username, now_ms=services.now_ms()
        )
    services.bulletin.publish(CHANGED)
    return await _view(services, channel)


@post(f"{CHANNEL}/test", status_code=200, summary="Send a message to test a channel (operator)")
async def test_channel(
    services: TheServices, session: TheSession, channel: FromPath[str], data: JSONBody[TestTo]
) -> DeliveryView:
    """Send it now and return what came of it; where it failed it is tried again as any other."""
    _require_looker(session)
    await _view(services, channel)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        name = await managing.put_test(
            tx,
            channel,
            url=services.config.url,
            address=data.address,
            actor=session.username,
            now_ms=now_ms,
        )
    return await send_at_once(services, session, name, now_ms)


@post(f"{CHANNEL}/replay", status_code=200, summary="Send all that is dead on a channel (operator)")
async def replay_channel(
    services: TheServices, session: TheSession, channel: FromPath[str]
) -> Count:
    """Have every dead delivery of the channel sent after all, under its old id."""
    _require_looker(session)
    await _view(services, channel)
    async with services.db.transaction() as tx:
        count = await managing.replay_all(
            tx, channel, actor=session.username, now_ms=services.now_ms()
        )
    services.bulletin.publish(NOW, CHANGED)
    return Count(count=count)


@get("/deliveries", summary="What is to be sent and what became of it, newest first (operator)")
async def read_deliveries(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    in_state: Annotated[
        str, QueryParameter(name="state", description="waiting, sending, sent, dead or cancelled")
    ] = "",
    channel: Annotated[str, QueryParameter(description="Only on this channel")] = "",
    incident: Annotated[str, QueryParameter(description="Only about this incident")] = "",
    export: Annotated[str, QueryParameter(description="Only of this export")] = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[DeliveriesPage]:
    """Return deliveries; for somebody with a scope, those about incidents of their sites."""
    access.require(session, "operator")
    if in_state and in_state not in set(State):
        raise HTTPException(detail=f"state is one of {', '.join(State)}", status_code=400)
    cursors = Cursors(services, "deliveries", in_state, channel, incident, export)
    after = cursors.read(cursor, tuple[int, str])
    which = After(
        state=in_state,
        channel=channel,
        incident=incident,
        export=export,
        made_ms=after[0] if after else None,
        delivery=after[1] if after else "",
    )
    async with services.db.transaction() as tx:
        rows = await looking.deliveries(tx, session.sites, which, limit + 1)
    page, further = cursors.ends(rows, lambda row: (row.made_ms, row.delivery), limit)
    return paged(request, DeliveriesPage(deliveries=page, next_cursor=further), further)


@get(DELIVERY, summary="One delivery with each of its tries (operator)")
async def read_delivery(
    services: TheServices, session: TheSession, delivery: FromPath[str]
) -> DeliveryView:
    """Return it with the text that people get of it."""
    access.require(session, "operator")
    return await _delivery(services, session, delivery)


@post(f"{DELIVERY}/replay", status_code=200, summary="Send one after all (operator)")
async def replay_delivery(
    services: TheServices, session: TheSession, delivery: FromPath[str]
) -> DeliveryView:
    """Have it sent where it is dead or was cancelled; receivers know it by its id."""
    access.require(session, "operator")
    await _delivery(services, session, delivery)
    async with services.db.transaction() as tx:
        await managing.replay(tx, delivery, actor=session.username, now_ms=services.now_ms())
    services.bulletin.publish(NOW, CHANGED)
    return await _delivery(services, session, delivery)


@post(f"{DELIVERY}/cancel", status_code=200, summary="Have one that waits not sent (operator)")
async def cancel_delivery(
    services: TheServices, session: TheSession, delivery: FromPath[str]
) -> DeliveryView:
    """Cancel it; one that is on its way arrives."""
    access.require(session, "operator")
    await _delivery(services, session, delivery)
    async with services.db.transaction() as tx:
        await managing.cancel(tx, delivery, actor=session.username, now_ms=services.now_ms())
    services.bulletin.publish(CHANGED)
    return await _delivery(services, session, delivery)


async def send_at_once(
    services: Services, session: Session, name: str, now_ms: int
) -> DeliveryView:
    """Return what came of a delivery that somebody waits for."""
    async with services.bulletin.subscribe(CHANGED) as news:
        sending = Sending(services)
        try:
            leased = await sending.lease_one(name, now_ms)
            if leased is not None:
                await sending.send(leased)
        finally:
            await sending.close()
        # The dispatcher may have been faster: then its outcome is waited for.
        for _ in range(_LOOKS):
            if (await _delivery(services, session, name)).tries:
                break
            await news.wait(_LOOK_S)
    return await _delivery(services, session, name)


async def _put(
    services: Services, session: Session, channel: str, wanted: NewChannel, *, new: bool
) -> Made:
    _require_changer(session)
    alerts = services.config.alerts
    await check_reach(rules(alerts.allow_private, alerts.ports), wanted.settings)
    async with services.db.transaction() as tx:
        secret = await managing.put(
            tx,
            Seal(services.config.state),
            channel,
            wanted,
            new=new,
            actor=session.username,
            now_ms=services.now_ms(),
        )
    services.bulletin.publish(NOW, CHANGED)
    return Made(channel=await _view(services, channel), secret=secret)


async def _view(services: Services, channel: str) -> ChannelView:
    try:
        async with services.db.transaction() as tx:
            return await looking.channel(tx, channel, services.now_ms())
    except ConfigError as error:
        raise NoSuchThing(detail=str(error)) from error


async def _delivery(services: Services, session: Session, delivery: str) -> DeliveryView:
    try:
        async with services.db.transaction() as tx:
            return await looking.delivery(tx, delivery, session.sites)
    except ConfigError as error:
        raise NoSuchThing(detail=str(error)) from error


def _require_looker(session: Session) -> None:
    access.require(session, "operator")
    access.require_whole(session)


def _require_changer(session: Session) -> None:
    access.require(session, "admin")
    access.require_whole(session)


ROUTES: Final = [
    read_channels,
    add_channel,
    read_channel,
    change_channel,
    remove_channel,
    rotate_secret,
    enable_channel,
    disable_channel,
    test_channel,
    replay_channel,
    read_deliveries,
    read_delivery,
    replay_delivery,
    cancel_delivery,
]
