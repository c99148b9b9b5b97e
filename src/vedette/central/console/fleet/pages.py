"""What answers for the fleet page."""

import asyncio
from typing import Final

import msgspec
from litestar import Response, get

from vedette.central import fleet, saved, tree
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.console.fleet import filters as asking
from vedette.central.console.fleet import present, saving
from vedette.central.console.fleet.filters import Facts, FleetFilters
from vedette.central.console.fleet.present import FleetPage
from vedette.central.console.headers import PAGE_HEADERS
from vedette.central.console.page import page, page_of, see_other
from vedette.central.console.ranges import RANGES
from vedette.central.fleet import Skeleton
from vedette.central.services import Services
from vedette.central.views import SiteRow
from vedette.errors import ConfigError

HAVE: Final = "X-Have"
"""Versions of the sections that a browser has, with commas between."""

AS_OF: Final = "X-As-Of"


@get("/", include_in_schema=False)
async def fleet_page(
    request: AnyRequest, services: TheServices, session: TheSession
) -> Response[str]:
    """Show the fleet, worst first; 204 where a refresh would show what is there already."""
    if not request.url.query:
        start = await _start_view(services, session)
        if start:
            return see_other(f"/?{start}")
    filters = asking.read(dict(request.query_params))
    view = await read_view(services, session, filters)
    asked = page_of(request, services, session)
    have = frozenset(request.headers.get(HAVE, "")[:16_000].split(",")) - {""}
    done = request.query_params.get("done", "")
    # Much text takes long enough that devices should not wait for it.
    made = await asyncio.to_thread(present.fleet_html, view, asked, have, done=done)
    if asked.part and made.version in have:
        return Response("", status_code=204, headers=PAGE_HEADERS | {AS_OF: str(view.at_ms)})
    return page(made.html)


async def _start_view(services: Services, session: Session) -> str:
    """Return the query of the view that somebody begins with; empty where there is none."""
    async with services.db.transaction() as tx:
        found = await saved.views(tx, session.username, session.sites)
    return next((view.query for view in found if view.is_start), "")


async def read_view(services: Services, session: Session, filters: FleetFilters) -> FleetPage:
    """Return everything on the page: what the filters leave, and strips of what is shown."""
    now_ms = services.now_ms()
    found = await services.overview.skeleton(services.db, services.clock, session.sites)
    facts, problem = await _facts(services, session, filters, now_ms)
    sites = asking.chosen(found.sites, filters, facts) if facts else []
    facts = facts or Facts(now_ms=now_ms)
    is_grid = filters.view == "grid"
    shown = [] if is_grid else sites[: filters.show]
    range_name = present.range_of(filters, _known_from(found, shown), now_ms)
    step = present.step_ms(range_name)
    to_ms = now_ms // step * step
    from_ms = to_ms - RANGES[range_name][1]
    async with services.db.transaction() as tx:
        strips = await fleet.filled(tx, found, shown, from_ms=from_ms, to_ms=to_ms, now_ms=now_ms)
        groups = list(await tree.groups(tx, session.sites))
        views = await saved.views(tx, session.username, session.sites)
    names = [site.site for site in sites[: present.MOST_CELLS]] if is_grid else []
    return FleetPage(
        at_ms=now_ms,
        from_ms=from_ms,
        to_ms=to_ms,
        range_name=range_name,
        filters=filters,
        counts=fleet.counts_of(found.sites),
        total_sites=len(found.sites),
        sites=sites,
        shown=strips,
        shares=await services.overview.shares(services.db, services.clock, now_ms, names),
        throttled_s=facts.throttled_s,
        folders=present.folders_below(found.sites, filters.folder),
        groups=groups,
        views=views,
        problem=problem,
        may_share=access.may(session, "operator"),
    )


def _known_from(found: Skeleton, shown: list[SiteRow]) -> list[int]:
    return [
        found.known[camera.device, camera.camera][0]
        for site in shown
        for device in site.devices
        for camera in device.cameras
    ]


async def _facts(
    services: Services, session: Session, filters: FleetFilters, now_ms: int
) -> tuple[Facts | None, tuple[str, str]]:
    """Return what the filters need to know; None, and why, where a selection cannot be read."""
    facts = Facts(now_ms=now_ms)
    if filters.cause == asking.THROTTLED_WEEK:
        held = await services.overview.throttled_s(services.db, services.clock, now_ms)
        facts = msgspec.structs.replace(facts, throttled_s=held)
    group = f"group:{filters.group}" if filters.group else ""
    wanted = [part for part in (f"({filters.sel})" if filters.sel else "", group) if part]
    if not wanted:
        return facts, ("", "")
    try:
        async with services.db.transaction() as tx:
            cameras = await tree.select(tx, " ".join(wanted), "camera", session.sites)
            devices = await tree.select(tx, " ".join(wanted), "device", session.sites)
    except ConfigError as error:
        return None, (str(error), error.operator_hint or "")
    return msgspec.structs.replace(facts, selected=frozenset((*cameras, *devices))), ("", "")


OWN: Final = [fleet_page, *saving.OWN]
