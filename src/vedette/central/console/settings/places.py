"""Sites, folders, groups, labels, hours and claims: how the fleet is organised, by forms.

The rule: what the operator API refuses is refused here in the same words; a scoped administrator
sees and changes their part and learns nothing of the rest.
"""

from typing import Any, Final
from urllib.parse import quote

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery

from vedette.central import enrolment, tree
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.console.doors import Form
from vedette.central.console.page import page, see_other
from vedette.central.console.settings import asking, present_places, week
from vedette.central.console.settings.asking import Done
from vedette.central.console.settings.frame import done_url
from vedette.central.console.settings.present import Secret
from vedette.central.console.settings.present_places import NewSite, SitePage
from vedette.central.console.settings.week import HoursForm
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.central.tree import Place
from vedette.errors import ConfigError, ConflictError, VedetteError
from vedette.ids import is_slug

SITES: Final = "/settings/sites"
MAX_SHOWN: Final = 500


class _Device(msgspec.Struct, frozen=True, kw_only=True):
    device: str


def _path(site: str) -> str:
    return f"{SITES}/{quote(site, safe='')}"


def _ours(error: VedetteError) -> VedetteError:
    """Return an error that is about what was asked; what broke inside is not said on a page."""
    if isinstance(error, ConfigError | ConflictError):
        return error
    raise error


# ---------------------------------------------------------------------------------------- sites


async def _sites_page(
    request: AnyRequest,
    services: Services,
    session: Session,
    *,
    q: str = "",
    done: str = "",
    wrong: VedetteError | None = None,
    form: NewSite | None = None,
) -> Response[str]:
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        places = await tree.sites(tx, session.sites)
        chosen = {place.site for place in places}
        if q:
            try:
                chosen = {found.site for found in await tree.select(tx, q, "site", session.sites)}
            except ConfigError as error:
                wrong = wrong or error
    left = [place for place in places if place.site in chosen]
    frame = asking.frame_of(request, services, session, done=done, wrong=wrong)
    html = present_places.sites_html(
        frame,
        [present_places.line_of(place, now_ms) for place in left[:MAX_SHOWN]],
        q,
        form or NewSite(),
        total=len(left),
        folders=_folders_of(places),
        zones=asking.zones(),
    )
    return page(html, 422 if wrong else 200)


def _folders_of(places: list[tree.SitePlace]) -> list[str]:
    return sorted({place.folder for place in places if place.folder})


@get(SITES, include_in_schema=False)
async def sites_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    q: FromQuery[str] = "",
    done: Done = "",
) -> Response[str]:
    """Show the sites in scope that a selection means."""
    access.require(session, "operator")
    return await _sites_page(request, services, session, q=q.strip()[:500], done=done)


@post(SITES, include_in_schema=False, status_code=200)
async def add_site(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Have a new site and go on to what it needs next."""
    access.require(session, "admin")
    form = NewSite(
        site=data.get("site", "").strip()[:64],
        name=data.get("name", "").strip()[:120],
        folder=data.get("folder", "").strip().strip("/")[:256],
        time_zone=data.get("time_zone", "").strip()[:60],
        keys=data.get("keys", "")[:4000],
        threshold=data.get("threshold", "1")[:2],
    )
    access.require_site(session, form.site)
    if form.folder:
        access.require_folder(session, form.folder)
    try:
        async with services.db.transaction() as tx:
            added = await enrolment.add_site(
                tx,
                form.site,
                name=form.name,
                folder=form.folder,
                time_zone=form.time_zone or "UTC",
                site_keys=asking.keys_of(form.keys),
                site_threshold=int(form.threshold) if form.threshold.isdecimal() else 0,
                actor=session.username,
                now_ms=services.now_ms(),
            )
        if not added:
            raise ConfigError(f"there is a site {form.site} already")
    except VedetteError as error:
        return await _sites_page(request, services, session, wrong=_ours(error), form=form)
    services.bulletin.publish("fleet", f"site:{form.site}", "settings")
    return see_other(done_url(_path(form.site), "site-added"))


async def _known(tx: Tx, services: Services, session: Session, site: str) -> SitePage:
    """Return what the page of a site shows.

    Raises:
        NotThere: There is no such site, or it is out of scope.
    """
    access.require_site(session, site)
    found = await tree.sites(tx, [site]) if is_slug(site) else []
    if not found:
        raise NotThere(detail="there is no such site")
    devices = await tx.all("site_device_names", _Device, site=site)
    claims = await enrolment.list_claims(tx, services.now_ms(), [site], limit=50)
    return SitePage(
        place=found[0],
        site=await enrolment.get_site(tx, site),
        devices=[row.device for row in devices],
        claims=claims if access.may(session, "admin") else [],
    )


async def _site_page(
    request: AnyRequest,
    services: Services,
    session: Session,
    site: str,
    *,
    done: str = "",
    wrong: VedetteError | None = None,
    hours_form: HoursForm | None = None,
    fresh: Secret | None = None,
) -> Response[str]:
    async with services.db.transaction() as tx:
        known = await _known(tx, services, session, site)
        folders = _folders_of(await tree.sites(tx, session.sites))
    frame = asking.frame_of(request, services, session, done=done, wrong=wrong)
    html = present_places.site_html(
        frame, known, folders=folders, zones=asking.zones(), hours_form=hours_form, fresh=fresh
    )
    return page(html, 422 if wrong else 200)


@get(f"{SITES}/{{site:str}}", include_in_schema=False)
async def site_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    done: Done = "",
) -> Response[str]:
    """Show what a site needs next, where it lies, its labels, hours and keys."""
    access.require(session, "operator")
    return await _site_page(request, services, session, site, done=done)


@post(f"{SITES}/{{site:str}}/place", include_in_schema=False, status_code=200)
async def change_place(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    data: Form,
) -> Response[str]:
    """Change name, folder and time zone."""
    access.require(session, "admin")
    folder = data.get("folder", "").strip().strip("/")[:256]
    try:
        async with services.db.transaction() as tx:
            known = await _known(tx, services, session, site)
            if folder != known.place.folder:
                access.require_folder(session, known.place.folder)
                access.require_folder(session, folder)
            await tree.change_site(
                tx,
                site,
                name=data.get("name", "").strip()[:121],
                time_zone=data.get("time_zone", "").strip()[:60],
                folder=folder,
                actor=session.username,
                now_ms=services.now_ms(),
            )
    except VedetteError as error:
        return await _site_page(request, services, session, site, wrong=_ours(error))
    return _changed(services, site, "place")


def _changed(services: Services, site: str, done: str) -> Response[str]:
    services.bulletin.publish("fleet", f"site:{site}", "settings")
    return see_other(done_url(_path(site), done))


@post(f"{SITES}/{{site:str}}/hours", include_in_schema=False, status_code=200)
async def change_hours(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    data: Form,
) -> Response[str]:
    """Set the opening hours, or that there are none."""
    access.require(session, "admin")
    form = week.posted(data)
    try:
        opening = week.read(form)
        async with services.db.transaction() as tx:
            await _known(tx, services, session, site)
            await tree.change_site(
                tx, site, opening=opening, actor=session.username, now_ms=services.now_ms()
            )
    except VedetteError as error:
        return await _site_page(
            request, services, session, site, wrong=_ours(error), hours_form=form
        )
    return _changed(services, site, "hours")


@post(f"{SITES}/{{site:str}}/labels", include_in_schema=False, status_code=200)
async def change_labels(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    data: Form,
) -> Response[str]:
    """Set one label of a site, or take it away (`drop`)."""
    access.require(session, "operator")
    value = None if data.get("drop") else data.get("value", "").strip()[:100]
    try:
        async with services.db.transaction() as tx:
            await _known(tx, services, session, site)
            await tree.change_labels(
                tx,
                Place(site=site),
                {data.get("key", "").strip()[:64]: value},
                actor=session.username,
                now_ms=services.now_ms(),
            )
    except VedetteError as error:
        return await _site_page(request, services, session, site, wrong=_ours(error))
    return _changed(services, site, "labels")


OWN: Final[list[Any]] = [
    sites_page,
    add_site,
    site_page,
    change_place,
    change_hours,
    change_labels,
]
