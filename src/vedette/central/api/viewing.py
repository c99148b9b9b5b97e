"""Saved views of the fleet page, through the operator API: one's own, and what others share."""

from typing import Final

import msgspec
from litestar import Response, delete, get, put
from litestar.params import FromPath, JSONBody

from vedette.central import saved
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.api.tagging import (
    IfMatch,
    IfNoneMatch,
    require_match,
    require_none,
    tag_of,
    tagged,
)
from vedette.central.console.fleet.filters import plain_query
from vedette.central.saved import View
from vedette.central.store.db import Tx


class NewView(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The filters of the fleet page as they stand in its URL; `shared`: others may open it too."""

    query: str
    shared: bool = False


class ViewRow(View, frozen=True, kw_only=True):
    """A view in the list, with the tag to show when it is changed."""

    etag: str


class StartView(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The view that the fleet page opens with; null: none."""

    owner: str | None = None
    name: str | None = None


def view_tag(view: View) -> str:
    """Return the tag of a stored view."""
    return tag_of(view.owner, view.name, view.query, view.shared)


@get("/views", summary="Saved views of the fleet page")
async def read_views(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[ViewRow]]:
    """Return one's own views, then those that others share."""
    async with services.db.transaction() as tx:
        found = await saved.views(tx, session.username, session.sites)
    rows = [ViewRow(**msgspec.structs.asdict(view), etag=view_tag(view)) for view in found]
    cursors = Cursors(services, "views", session.username)
    page, further = cut(
        rows,
        lambda row: (int(row.owner != session.username), row.owner, row.name),
        cursors,
        cursor,
        limit,
    )
    return paged(request, page, further)


async def _present(tx: Tx, username: str, name: str) -> str | None:
    found = await saved.views(tx, username, None)
    own = (view for view in found if view.owner == username and view.name == name)
    view = next(own, None)
    return view_tag(view) if view else None


@put("/views/{view:str}", summary="Save a view of one's own (operator to share it)")
async def put_view(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    view: FromPath[str],
    data: JSONBody[NewView],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[View]:
    """Keep what means something in the query; a view of the same name is replaced."""
    if data.shared:
        access.require(session, "operator")
    async with services.db.transaction() as tx:
        await tx.value("view_owner_hold", username=session.username)
        present = await _present(tx, session.username, view)
        require_match(if_match, present)
        require_none(if_none_match, present)
        made = await saved.put(
            tx,
            session.username,
            view,
            plain_query(data.query[: saved.MAX_QUERY_CHARS]),
            shared=data.shared,
            now_ms=services.now_ms(),
        )
    return tagged(request, made, view_tag(made))


@delete("/views/{view:str}", status_code=204, summary="Delete a view of one's own")
async def drop_view(
    services: TheServices, session: TheSession, view: FromPath[str], if_match: IfMatch = None
) -> None:
    """Have no such view any more; for whom it was the start page begins with the plain fleet."""
    async with services.db.transaction() as tx:
        await tx.value("view_owner_hold", username=session.username)
        require_match(if_match, await _present(tx, session.username, view))
        if not await saved.drop(tx, session.username, view, now_ms=services.now_ms()):
            raise NotThere(detail="there is no such view of yours")


@put("/start-view", status_code=204, summary="Which view the fleet page opens with")
async def put_start(services: TheServices, session: TheSession, data: JSONBody[StartView]) -> None:
    """Set one's own start page; without a name, the plain fleet."""
    wanted = (data.owner or session.username, data.name) if data.name else None
    async with services.db.transaction() as tx:
        await saved.start_with(
            tx, session.username, session.sites, wanted, now_ms=services.now_ms()
        )


ROUTES: Final = [read_views, put_view, drop_view, put_start]
