"""Folders, groups and claims, by forms. Scopes are held as in the operator API."""

from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromQuery

from vedette.central import enrolment, tree
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.console.doors import Form
from vedette.central.console.page import page, see_other
from vedette.central.console.settings import asking, present_places
from vedette.central.console.settings.asking import Done
from vedette.central.console.settings.frame import done_url
from vedette.central.console.settings.present import Secret
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, ConflictError, VedetteError

FOLDERS: Final = "/settings/folders"
GROUPS: Final = "/settings/groups"
CLAIMS: Final = "/settings/claims"
_CLAIMS_SHOWN: Final = 500


def _ours(error: VedetteError) -> VedetteError:
    if isinstance(error, ConfigError | ConflictError):
        return error
    raise error


# -------------------------------------------------------------------------------------- folders


async def _folders_page(
    request: AnyRequest,
    services: Services,
    session: Session,
    *,
    done: str = "",
    wrong: VedetteError | None = None,
    old: str = "",
    new: str = "",
) -> Response[str]:
    async with services.db.transaction() as tx:
        found = await tree.folders(tx, session.sites)
    frame = asking.frame_of(request, services, session, done=done, wrong=wrong)
    html = present_places.folders_html(frame, found, old=old, new=new)
    return page(html, 422 if wrong else 200)


@get(FOLDERS, include_in_schema=False)
async def folders_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    done: Done = "",
    folder: FromQuery[str] = "",
) -> Response[str]:
    """Show the folders of the sites in scope; `folder` fills the form that moves one."""
    access.require(session, "operator")
    return await _folders_page(
        request, services, session, done=done, old=folder[:256], new=folder[:256]
    )


@post(f"{FOLDERS}/move", include_in_schema=False, status_code=200)
async def move_folder(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Rename or move a folder with all in it; scopes and groups that name it follow."""
    access.require(session, "admin")
    old, new = (data.get(name, "").strip().strip("/")[:256] for name in ("folder", "to"))
    access.require_folder(session, old)
    access.require_folder(session, new)
    try:
        async with services.db.transaction() as tx:
            moved = await tree.move_folder(
                tx, old, new, actor=session.username, now_ms=services.now_ms()
            )
    except VedetteError as error:
        return await _folders_page(request, services, session, wrong=_ours(error), old=old, new=new)
    services.bulletin.publish("fleet", "settings", *(f"site:{site}" for site in moved.sites))
    return see_other(done_url(FOLDERS, "moved"))


@post(f"{FOLDERS}/fill", include_in_schema=False, status_code=200)
async def fill_folder(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Put sites into a folder, which is there from then on."""
    access.require(session, "admin")
    folder = data.get("folder", "").strip().strip("/")[:256]
    names = asking.words_of(data.get("sites", ""))
    access.require_folder(session, folder)
    try:
        if not names:
            raise ConfigError("which sites?", operator_hint="name at least one, one on each line")
        async with services.db.transaction() as tx:
            places = {place.site: place for place in await tree.sites(tx, session.sites)}
            for name in dict.fromkeys(names):
                if name not in places:
                    raise ConfigError(f"no site is named {name[:64]!r}")
                access.require_folder(session, places[name].folder)
                await tree.change_site(
                    tx, name, folder=folder, actor=session.username, now_ms=services.now_ms()
                )
    except VedetteError as error:
        return await _folders_page(request, services, session, wrong=_ours(error))
    services.bulletin.publish("fleet", "settings", *(f"site:{name}" for name in names))
    return see_other(done_url(FOLDERS, "filled"))


# --------------------------------------------------------------------------------------- groups


async def _groups_page(
    request: AnyRequest,
    services: Services,
    session: Session,
    *,
    done: str = "",
    wrong: VedetteError | None = None,
    form: tuple[str, str, str] = ("", "", ""),
) -> Response[str]:
    async with services.db.transaction() as tx:
        found = await tree.groups(tx, session.sites)
        counts = {name: await _count(tx, session, name) for name in list(found)[:200]}
    if session.sites is not None:  # their words may speak of other places
        found = {
            name: msgspec.structs.replace(group, expression="", note="", changed_by="")
            for name, group in found.items()
        }
    frame = asking.frame_of(request, services, session, done=done, wrong=wrong)
    html = present_places.groups_html(frame, list(found.values()), counts, form)
    return page(html, 422 if wrong else 200)


async def _count(tx: Tx, session: Session, name: str) -> int:
    """Return how many cameras of the asker's a group means."""
    return len(await tree.select(tx, f"group:{name}", "camera", session.sites))


@get(GROUPS, include_in_schema=False)
async def groups_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    done: Done = "",
    group: FromQuery[str] = "",
) -> Response[str]:
    """Show the groups; `group` fills the form with one of them."""
    access.require(session, "operator")
    form = ("", "", "")
    if group and session.sites is None:
        async with services.db.transaction() as tx:
            known = (await tree.groups(tx, None)).get(group)
        form = (known.name, known.expression, known.note) if known else form
    return await _groups_page(request, services, session, done=done, form=form)


@post(GROUPS, include_in_schema=False, status_code=200)
async def put_group(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Have a group of this name that means this selection."""
    asking.require_whole_admin(session)
    name, expression, note = (
        data.get(field, "").strip()[:2000] for field in ("name", "expression", "note")
    )
    try:
        async with services.db.transaction() as tx:
            await tree.put_group(
                tx,
                name,
                expression,
                note=note,
                actor=session.username,
                now_ms=services.now_ms(),
            )
    except VedetteError as error:
        return await _groups_page(
            request, services, session, wrong=_ours(error), form=(name, expression, note)
        )
    services.bulletin.publish("settings")
    return see_other(done_url(GROUPS, "group"))


@post(f"{GROUPS}/drop", include_in_schema=False, status_code=200)
async def drop_group(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Have no such group any more."""
    asking.require_whole_admin(session)
    try:
        async with services.db.transaction() as tx:
            await tree.drop_group(
                tx, data.get("name", "")[:64], actor=session.username, now_ms=services.now_ms()
            )
    except VedetteError as error:
        return await _groups_page(request, services, session, wrong=_ours(error))
    services.bulletin.publish("settings")
    return see_other(done_url(GROUPS, "group-dropped"))


# --------------------------------------------------------------------------------------- claims


async def _claims_page(
    request: AnyRequest,
    services: Services,
    session: Session,
    *,
    used: bool = False,
    done: str = "",
    wrong: VedetteError | None = None,
    fresh: Secret | None = None,
    form: tuple[str, str] = ("", ""),
) -> Response[str]:
    async with services.db.transaction() as tx:
        claims = await enrolment.list_claims(
            tx, services.now_ms(), session.sites, used=used, limit=_CLAIMS_SHOWN
        )
        sites = [place.site for place in await tree.sites(tx, session.sites)]
    frame = asking.frame_of(request, services, session, done=done, wrong=wrong)
    html = present_places.claims_html(frame, claims, sites, used=used, fresh=fresh, form=form)
    return page(html, 422 if wrong else 200)


@get(CLAIMS, include_in_schema=False)
async def claims_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    done: Done = "",
    used: FromQuery[bool] = False,
    site: FromQuery[str] = "",
) -> Response[str]:
    """Show the claims that can be used, with `used` those that were; `site` fills the form."""
    access.require(session, "admin")
    return await _claims_page(
        request, services, session, used=used, done=done, form=(site[:64], "")
    )


@post(CLAIMS, include_in_schema=False, status_code=200)
async def make_claim(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Make a claim token for one device, and show once what is typed at the branch."""
    access.require(session, "admin")
    site, device = data.get("site", "").strip()[:64], data.get("device", "").strip()[:64]
    access.require_site(session, site)
    try:
        async with services.db.transaction() as tx:
            token = await enrolment.make_claim(
                tx,
                site,
                device=device or None,
                actor=session.username,
                now_ms=services.now_ms(),
            )
    except VedetteError as error:
        return await _claims_page(
            request, services, session, wrong=_ours(error), form=(site, device)
        )
    services.bulletin.publish("settings")
    fresh = Secret(
        what=f"Type this at the branch, on the new device of {site}; shown this once",
        text=f"vedette edge enrol --config edge.yaml --token {token}",
        use="The token enrols one device and holds for a day. In edge.yaml, central.url is "
        f"{services.config.url}. Compare the key ids that it prints with the person at the branch.",
    )
    return await _claims_page(request, services, session, fresh=fresh)


@post(f"{CLAIMS}/withdraw", include_in_schema=False, status_code=200)
async def withdraw_claim(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Have a claim worth nothing."""
    access.require(session, "admin")
    try:
        async with services.db.transaction() as tx:
            await enrolment.withdraw_claim(
                tx,
                data.get("claim", "")[:64].replace("\0", ""),
                actor=session.username,
                now_ms=services.now_ms(),
                scope=session.sites,
            )
    except VedetteError as error:
        return await _claims_page(request, services, session, wrong=_ours(error))
    services.bulletin.publish("settings")
    return see_other(done_url(CLAIMS, "withdrawn"))


OWN: Final[list[Any]] = [
    folders_page,
    move_folder,
    fill_folder,
    groups_page,
    put_group,
    drop_group,
    claims_page,
    make_claim,
    withdraw_claim,
]
