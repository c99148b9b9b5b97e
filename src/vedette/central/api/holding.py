"""Holds through the operator API: events that nobody may let go, with their evidence.

The rule: holding takes the role operator and a reason, letting go an administrator; whoever may see
the event may see that it is held, by whom and why.
"""

from typing import Annotated, Final

import msgspec
from litestar import Response, delete, get, put
from litestar.params import FromPath, JSONBody, QueryParameter

from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.clips import event_of
from vedette.central.api.paging import Cursor, Cursors, Limit, paged
from vedette.central.exporting import holding
from vedette.central.exporting.holding import MAX_REASON_CHARS, Hold
from vedette.central.services import Services

HOLD: Final = "/events/{event:str}/hold"


class Reason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, for whoever looks later."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON_CHARS)]


class HoldsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of holds, newest first; `next_cursor` asks for the next, null on the last."""

    holds: list[Hold]
    next_cursor: str | None


async def hold(services: Services, session: Session, event: str, reason: str) -> Hold:
    """Have an event held.

    Raises:
        Forbidden: The asker is no operator.
        NotThere: No such event.
        ConfigError: No reason.
    """
    access.require(session, "operator")
    row = await event_of(services, session, event)
    async with services.db.transaction() as tx:
        held = await holding.hold(
            tx,
            row.device,
            row.event,
            reason=reason,
            by=session.username,
            now_ms=services.now_ms(),
        )
    holding.tell(services.bulletin, row.device)
    return held


async def release(services: Services, session: Session, event: str, reason: str = "") -> None:
    """Have an event held no more.

    Raises:
        Forbidden: The asker is no administrator.
        NotThere: No such event, or it is not held.
    """
    access.require(session, "admin")
    row = await event_of(services, session, event)
    async with services.db.transaction() as tx:
        was = await holding.release(
            tx,
            row.device,
            row.event,
            reason=reason,
            by=session.username,
            now_ms=services.now_ms(),
        )
    if not was:
        raise NotThere(detail="this event is not held")
    holding.tell(services.bulletin, row.device)


async def standing(services: Services, session: Session, event: str) -> Hold | None:
    """Return why an event is held; None where it is not.

    Raises:
        NotThere: No such event.
    """
    row = await event_of(services, session, event)
    async with services.db.transaction() as tx:
        return await holding.one(tx, row.device, row.event)


@get("/holds", summary="Events that are held, newest first")
async def read_holds(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: Annotated[str, QueryParameter(description="Only at this site")] = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[HoldsPage]:
    """Return what is held, by whom, why, and what the device said to it."""
    cursors = Cursors(services, "holds", site)
    after = cursors.read(cursor, tuple[int, str, str])
    async with services.db.transaction() as tx:
        rows = await holding.page(
            tx, session.sites, site=site[:128].replace("\0", ""), after=after, limit=limit + 1
        )
    page, further = cursors.ends(rows, lambda one: (one.held_ms, one.device, one.event), limit)
    return paged(request, HoldsPage(holds=page, next_cursor=further), further)


@get(HOLD, summary="Whether an event is held, by whom and why")
async def read_hold(services: TheServices, session: TheSession, event: FromPath[str]) -> Hold:
    """Return the hold; 404 where there is none."""
    found = await standing(services, session, event)
    if found is None:
        raise NotThere(detail="this event is not held")
    return found


@put(HOLD, summary="Hold an event with its evidence, here and on the device (operator)")
async def put_hold(
    services: TheServices, session: TheSession, event: FromPath[str], data: JSONBody[Reason]
) -> Hold:
    """Have it outlive every retention and budget; one that is held already stays as it is."""
    return await hold(services, session, event, data.reason)


@delete(HOLD, status_code=204, summary="Let a held event go its way again (admin)")
async def drop_hold(
    services: TheServices,
    session: TheSession,
    event: FromPath[str],
    reason: Annotated[str, QueryParameter(description="Why", max_length=MAX_REASON_CHARS)] = "",
) -> None:
    """Release it here and on the device: retention and budgets hold again."""
    await release(services, session, event, reason)


ROUTES: Final = [read_holds, read_hold, put_hold, drop_hold]
