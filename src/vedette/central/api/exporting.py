"""Exports through the operator API: which events and evidence go to which channel.

The rule: an export speaks of every site that it names, whoever made it, so only somebody who sees
the whole fleet may look at one, and only an administrator changes one. Trying one sends one thing,
now, and says what came of it.
"""

from typing import Annotated, Final

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody

from vedette.central.accounts import Session
from vedette.central.alerting.channels.facts import CHANGED, NOW
from vedette.central.alerting.channels.looking import DeliveryView
from vedette.central.alerting.facts import Where
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.alert_channels import Count, send_at_once
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.exporting import store, trying
from vedette.central.exporting.facts import MAX_LINK_HOURS, Export, Told
from vedette.central.exporting.store import ExportView, Row
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.wire.messages import EventKind

EXPORT: Final = "/exports/{export:str}"


class ExportToBe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An export without its name; what is left out is as in `exporting.facts.Export`."""

    channel: str
    tell: list[Told] = []
    kinds: list[EventKind] = []
    labels: list[str] = []
    where: Where = msgspec.field(default_factory=Where)
    late: bool = True
    fetch: bool = False
    link_h: Annotated[float, msgspec.Meta(ge=0, le=MAX_LINK_HOURS)] = 72.0
    enabled: bool = True

    def named(self, export: str) -> Export:
        """Return it under a name."""
        said = msgspec.structs.asdict(self)
        del said["enabled"]
        return Export(export=export, **said)


class ExportsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of exports by name; `next_cursor` asks for the next, null on the last."""

    exports: list[ExportView]
    next_cursor: str | None


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What came of trying an export.

    Attributes:
        recent: How many events of the last seven days it asks for, of the newest 500.
        event: Of which one was told.
        delivery: How that went.
    """

    recent: int
    event: str
    delivery: DeliveryView


@get("/exports", summary="Exports: which events go to which channel (operator, whole fleet)")
async def read_exports(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[ExportsPage]:
    """Return them by name."""
    _require_looker(session)
    async with services.db.transaction() as tx:
        found = await store.views(tx, services.config.url)
    cursors = Cursors(services, "exports")
    page, further = cut(found, lambda one: (one.settings.export,), cursors, cursor, limit)
    return paged(request, ExportsPage(exports=page, next_cursor=further), further)


@get(EXPORT, summary="One export (operator, whole fleet)")
async def read_export(
    services: TheServices, session: TheSession, export: FromPath[str]
) -> ExportView:
    """Return it."""
    _require_looker(session)
    async with services.db.transaction() as tx:
        return await _view(tx, services, export)


@put(EXPORT, summary="Have an export, or change it (admin, whole fleet)")
async def put_export(
    services: TheServices,
    session: TheSession,
    export: FromPath[str],
    data: JSONBody[ExportToBe],
) -> ExportView:
    """Have it so from now on; what happened before is not told."""
    _require_changer(session)
    async with services.db.transaction() as tx:
        await store.put(
            tx,
            data.named(export),
            enabled=data.enabled,
            by=session.username,
            now_ms=services.now_ms(),
        )
        return await _view(tx, services, export)


@delete(EXPORT, status_code=204, summary="Have an export no more (admin, whole fleet)")
async def remove_export(services: TheServices, session: TheSession, export: FromPath[str]) -> None:
    """Remove it; links that it gave out end with it."""
    _require_changer(session)
    async with services.db.transaction() as tx:
        await _view(tx, services, export)
        await store.drop(tx, export, by=session.username, now_ms=services.now_ms())


@post(f"{EXPORT}/try", status_code=200, summary="Tell an export of the newest event (admin)")
async def try_export(services: TheServices, session: TheSession, export: FromPath[str]) -> Tried:
    """Send the newest event that it asks for once more, now, and return what came of it."""
    _require_changer(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await _view(tx, services, export)
        made = await trying.put_newest(tx, services, export, by=session.username, now_ms=now_ms)
    delivery = await send_at_once(services, session, made.delivery, now_ms)
    return Tried(recent=made.recent, event=made.event, delivery=delivery)


@post(f"{EXPORT}/enable", status_code=200, summary="Switch an export on (admin, whole fleet)")
async def enable_export(
    services: TheServices, session: TheSession, export: FromPath[str]
) -> ExportView:
    """Have it told of what happens from now on."""
    return await _switch(services, session, export, on=True)


@post(f"{EXPORT}/disable", status_code=200, summary="Switch an export off (admin, whole fleet)")
async def disable_export(
    services: TheServices, session: TheSession, export: FromPath[str]
) -> ExportView:
    """Have it told of nothing; links that it gave out end, what waits is still sent."""
    return await _switch(services, session, export, on=False)


@post(f"{EXPORT}/replay", status_code=200, summary="Send all that is dead of an export (operator)")
async def replay_export(services: TheServices, session: TheSession, export: FromPath[str]) -> Count:
    """Have every dead delivery of the export sent after all, under its old id."""
    _require_looker(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await _view(tx, services, export)
        count = await store.replay(tx, export, by=session.username, now_ms=now_ms)
    services.bulletin.publish(NOW, CHANGED)
    return Count(count=count)


async def _switch(services: Services, session: Session, export: str, *, on: bool) -> ExportView:
    _require_changer(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await _view(tx, services, export)
        await store.switch(tx, export, on=on, by=session.username, now_ms=now_ms)
        return await _view(tx, services, export)


async def _view(tx: Tx, services: Services, export: str) -> ExportView:
    try:
        row: Row = await store.get(tx, export)
    except ConfigError as error:
        raise NotThere(detail=str(error)) from error
    return await store.view(tx, row, services.config.url)


def _require_looker(session: Session) -> None:
    access.require(session, "operator")
    access.require_whole(session)


def _require_changer(session: Session) -> None:
    access.require(session, "admin")
    access.require_whole(session)


ROUTES: Final = [
    read_exports,
    read_export,
    put_export,
    remove_export,
    try_export,
    enable_export,
    disable_export,
    replay_export,
]
