"""What answers for a site's page, and for what is changed there.

The rule: labels are an operator's, name, zone, folder and hours an administrator's, as in the API;
each change stands in the audit log.
"""

from typing import Annotated, Final

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from vedette.central import hours, inventory, tree
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.telling import of_timeline, timeline_page
from vedette.central.condition import covered, figures, reading
from vedette.central.console.device.present import timeline_of
from vedette.central.console.doors import Form, sentence
from vedette.central.console.page import page, page_of, see_other
from vedette.central.console.ranges import FLEET_RANGES, RANGES
from vedette.central.console.site import present
from vedette.central.console.site.labels import label_changes
from vedette.central.console.site.present import Shown, SiteView
from vedette.central.console.urls import site_url
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.central.tree import Place, SitePlace
from vedette.errors import ConfigError
from vedette.ids import is_slug

ENTRIES: Final = 30
SITE: Final = "/sites/{site:str}"


async def site_view(services: Services, session: Session, site: str, range_name: str) -> SiteView:
    """Return a site within the asker's scope.

    Raises:
        NotThere: No such site, or out of scope.
    """
    access.require_site(session, site)
    now_ms, span_ms = services.now_ms(), RANGES[range_name][1]
    row = await reading.site_row(services.db, site, now_ms, span_ms) if is_slug(site) else None
    if row is None:
        raise NotThere(detail="there is no such site")
    async with services.db.transaction() as tx:
        place = (await tree.sites(tx, [site]))[0]
        seen = await covered.read(tx, place, now_ms)
        items = await inventory.present(tx, [site])
        today_ms = next(one.from_ms for one in seen if one.name == "today")
        day = await figures.today(tx, site, min(today_ms, now_ms - 60_000), now_ms)
    return SiteView(
        row=row,
        place=place,
        at_ms=now_ms,
        from_ms=now_ms - span_ms,
        to_ms=now_ms,
        covered=seen,
        cameras=items,
        figures=day,
    )


async def site_answer(
    request: AnyRequest,
    services: Services,
    session: Session,
    site: str,
    *,
    range_name: str = "",
    kind: str = "",
    before: str = "",
    done: str = "",
    problem: str = "",
) -> Response[str]:
    """Return a site's page.

    Raises:
        NotThere: No such site, or out of scope.
    """
    name = range_name if range_name in FLEET_RANGES else present.DEFAULT
    view = await site_view(services, session, site, name)
    of = of_timeline(session, site, "", kind[:200])
    entries = await timeline_page(services, of, before[:1000], ENTRIES)
    shown = Shown(
        range_name=name,
        timeline=timeline_of(entries, site_url(site), range_name, kind, before),
        done=done,
        problem=problem,
        may_operate=access.may(session, "operator"),
        may_administer=access.may(session, "admin"),
    )
    html = present.site_html(view, shown, page_of(request, services, session))
    return page(html, 422 if problem else 200)


@get(SITE, include_in_schema=False)
async def site_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    range_name: Annotated[str, QueryParameter(name="range")] = "",
    kind: FromQuery[str] = "",
    before: FromQuery[str] = "",
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show one site, worst first."""
    return await site_answer(
        request,
        services,
        session,
        site,
        range_name=range_name,
        kind=kind,
        before=before,
        done=done,
    )


async def _place(tx: Tx, session: Session, site: str) -> SitePlace:
    access.require_site(session, site)
    found = await tree.sites(tx, [site]) if is_slug(site) else []
    if not found:
        raise NotThere(detail="there is no such site")
    return found[0]


@post(SITE, include_in_schema=False, status_code=200)
async def change_site(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    data: Form,
) -> Response[str]:
    """Change name, time zone, folder and hours; empty hours: always open."""
    access.require(session, "admin")
    weekly = data.get("weekly", "").strip()[:2000]
    exceptions = [line for line in data.get("exceptions", "")[:20_000].splitlines() if line.strip()]
    folder = data.get("folder", "").strip().strip("/")[:256]
    try:
        opening = hours.read(weekly, exceptions) if weekly or exceptions else None
        async with services.db.transaction() as tx:
            found = await _place(tx, session, site)
            if folder != found.folder:
                access.require_folder(session, found.folder)
                access.require_folder(session, folder)
            await tree.change_site(
                tx,
                site,
                name=data.get("name", "").strip()[:200],
                time_zone=data.get("time_zone", "").strip()[:64],
                folder=folder,
                opening=opening,
                actor=session.username,
                now_ms=services.now_ms(),
            )
    except ConfigError as error:
        return await site_answer(request, services, session, site, problem=sentence(error))
    services.bulletin.publish("fleet", f"site:{site}")
    return see_other(f"{site_url(site)}?done=changed")


@post(f"{SITE}/labels", include_in_schema=False, status_code=200)
async def change_labels(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    data: Form,
) -> Response[str]:
    """Have these labels on a site and no others."""
    access.require(session, "operator")
    place = Place(site=site)
    try:
        async with services.db.transaction() as tx:
            found = await _place(tx, session, site)
            changes = label_changes(found.labels, data.get("labels", ""))
            if changes:
                await tree.change_labels(
                    tx, place, changes, actor=session.username, now_ms=services.now_ms()
                )
    except ConfigError as error:
        return await site_answer(request, services, session, site, problem=sentence(error))
    services.bulletin.publish("fleet", f"site:{site}")
    return see_other(f"{site_url(site)}?done=labels")


OWN: Final = [site_page, change_site, change_labels]
