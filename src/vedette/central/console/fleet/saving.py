"""The forms that save, drop and start with a view of the fleet page."""

from typing import Final

from litestar import Response, post

from vedette.central import saved
from vedette.central.api import access
from vedette.central.api.access import TheServices, TheSession
from vedette.central.console.doors import Form
from vedette.central.console.fleet.filters import plain_query
from vedette.central.console.page import see_other
from vedette.errors import ConfigError

DONE: Final[dict[str, str]] = {
    "saved": "The view is saved: it stands in the menu Views.",
    "dropped": "The view is deleted.",
    "start": "The fleet now opens with this view.",
    "plain": "The fleet now opens plainly again.",
    "no-name": "The view was not saved: it needs a name of up to 60 characters, without /, and "
    "there are at most 100 views.",
    "gone": "There is no such view any more.",
}
"""What a page says after a form, by the word in its URL."""

REFUSED: Final = frozenset({"no-name", "gone"})


def _back(query: str, done: str) -> Response[str]:
    there = plain_query(query[: saved.MAX_QUERY_CHARS]) or "view=list"
    return see_other(f"/?{there}&done={done}")


@post("/views", include_in_schema=False)
async def save_view(services: TheServices, session: TheSession, data: Form) -> Response[str]:
    """Save the filters of the page under a name; to share them takes an operator."""
    access.require_browser(session)
    shared = bool(data.get("shared"))
    if shared:
        access.require(session, "operator")
    query = plain_query(data.get("query", "")[: saved.MAX_QUERY_CHARS])
    now_ms = services.now_ms()
    try:
        async with services.db.transaction() as tx:
            view = await saved.put(
                tx, session.username, data.get("name", ""), query, shared=shared, now_ms=now_ms
            )
            if data.get("start"):
                of = (view.owner, view.name)
                await saved.start_with(tx, session.username, session.sites, of, now_ms=now_ms)
    except ConfigError:
        return _back(query, "no-name")
    return _back(query, "saved")


@post("/views/drop", include_in_schema=False)
async def drop_view(services: TheServices, session: TheSession, data: Form) -> Response[str]:
    """Delete a view of one's own."""
    access.require_browser(session)
    async with services.db.transaction() as tx:
        was = await saved.drop(tx, session.username, data.get("name", ""), now_ms=services.now_ms())
    return _back(data.get("query", ""), "dropped" if was else "gone")


@post("/views/start", include_in_schema=False)
async def start_view(services: TheServices, session: TheSession, data: Form) -> Response[str]:
    """Open the fleet with a view from now on; without a name, plainly."""
    access.require_browser(session)
    name = data.get("name", "")
    of = (data.get("owner", ""), name) if name else None
    try:
        async with services.db.transaction() as tx:
            await saved.start_with(
                tx, session.username, session.sites, of, now_ms=services.now_ms()
            )
    except ConfigError:
        return _back(data.get("query", ""), "gone")
    return _back(data.get("query", ""), "start" if of else "plain")


OWN: Final = [save_view, drop_view, start_view]
