"""How a fleet is organised, through the operator API: folders, labels, groups, hours, scopes.

The rule: whoever has a scope changes and learns nothing outside of it. What cannot be cut to a
scope (groups, other users) takes an administrator of the whole fleet.
"""

from typing import Final, Literal

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from vedette.central import scopes, tree
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.api.reading import CAMERA, opening_at, require_camera, site_tag
from vedette.central.api.tagging import (
    IfMatch,
    IfNoneMatch,
    require_match,
    require_none,
    tag_of,
    tagged,
)
from vedette.central.api.trusting import user_tag
from vedette.central.hours import Hours
from vedette.central.scopes import UserScope
from vedette.central.store.db import Tx
from vedette.central.tree import Folder, Group, Moved, Place, SitePlace
from vedette.ids import is_slug


class SiteChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a site; what is left out stays. `hours` null: always open."""

    name: str | None = None
    time_zone: str | None = None
    folder: str | None = None
    hours: Hours | msgspec.UnsetType | None = msgspec.UNSET


class SiteAsOrganised(msgspec.Struct, frozen=True, kw_only=True):
    """Where a site is and when it is open; `etag` for `If-Match`."""

    site: str
    name: str
    folder: str
    labels: dict[str, str]
    time_zone: str
    hours: Hours | None
    open_now: bool
    next_change_ms: int | None
    etag: str


class LabelChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Labels to set; null takes one away."""

    labels: dict[str, str | None]


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """The own labels of a place."""

    labels: dict[str, str]


class FolderMove(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder, and where it and all below it shall lie."""

    folder: str
    to: str


class NewGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a group means."""

    expression: str
    note: str = ""


class GroupView(msgspec.Struct, frozen=True, kw_only=True):
    """A group; `expression`, `note` and `etag` are empty for who does not see the whole fleet."""

    name: str
    note: str
    expression: str
    etag: str = ""


class Selected(msgspec.Struct, frozen=True, kw_only=True):
    """A page of what a selection means; `next_cursor` asks for the next, null on the last."""

    total: int
    found: list[Place]
    next_cursor: str | None


class ScopeChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's role and scope; without `everything`, `folders` and `sites` the scope stays."""

    role: str | None = None
    everything: bool = False
    folders: list[str] | None = None
    sites: list[str] | None = None


def organised(site: SitePlace, now_ms: int) -> SiteAsOrganised:
    """Return a site with its hours as they are at this moment."""
    return SiteAsOrganised(
        site=site.site,
        name=site.name,
        folder=site.folder,
        labels=site.labels,
        time_zone=site.time_zone,
        etag=site_tag(site),
        **opening_at(site, now_ms),
    )


@patch("/sites/{site:str}", summary="Folder, name, time zone, opening hours (admin)")
async def change_site(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    data: JSONBody[SiteChange],
    if_match: IfMatch = None,
) -> Response[SiteAsOrganised]:
    """Change what is given; a scoped administrator moves sites only between their folders."""
    access.require(session, "admin")
    access.require_site(session, site)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        found = await tree.hold_site(tx, site)
        if found is None:
            raise NotThere(detail="there is no such site")
        require_match(if_match, site_tag(found))
        if data.folder is not None and data.folder != found.folder:
            access.require_folder(session, found.folder)
            access.require_folder(session, data.folder)
        await tree.change_site(
            tx,
            site,
            name=data.name,
            time_zone=data.time_zone,
            folder=data.folder,
            opening=data.hours,
            actor=session.username,
            now_ms=now_ms,
        )
        changed = (await tree.sites(tx, [site]))[0]
    services.bulletin.publish("fleet", f"site:{site}")
    return tagged(request, organised(changed, now_ms), site_tag(changed))


@get("/folders", summary="Folders, with how many sites lie in them")
async def read_folders(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[Folder]]:
    """Return the folders of the sites in scope, and those above them."""
    async with services.db.transaction() as tx:
        found = await tree.folders(tx, session.sites)
    cursors = Cursors(services, "folders")
    return paged(request, *cut(found, lambda folder: (folder.folder,), cursors, cursor, limit))


@post("/folders/move", status_code=200, summary="Rename or move a folder (admin)")
async def move_folder(
    services: TheServices, session: TheSession, data: JSONBody[FolderMove]
) -> Moved:
    """Move every site in the folder and below; scopes and groups that name it follow."""
    access.require(session, "admin")
    access.require_folder(session, data.folder)
    access.require_folder(session, data.to)
    async with services.db.transaction() as tx:
        moved = await tree.move_folder(
            tx, data.folder, data.to, actor=session.username, now_ms=services.now_ms()
        )
    services.bulletin.publish("fleet", *(f"site:{site}" for site in moved.sites))
    if session.sites is not None:  # other users and groups are not theirs to know
        return msgspec.structs.replace(moved, users=[], groups=[])
    return moved


async def _label(
    services: TheServices, session: TheSession, place: Place, changes: LabelChanges
) -> Labels:
    access.require(session, "operator")
    access.require_site(session, place.site)
    async with services.db.transaction() as tx:
        of = {"site": place.site, "device": place.device, "camera": place.camera}
        if not _is_place(place) or await tx.value("tree_target", **of) is None:
            raise NotThere(detail="there is no such place")
        have = await tree.change_labels(
            tx, place, changes.labels, actor=session.username, now_ms=services.now_ms()
        )
    return Labels(labels=have)


def _is_place(place: Place) -> bool:
    return all(is_slug(name) for name in (place.site, place.device, place.camera) if name)


@patch("/sites/{site:str}/labels", summary="Labels of a site (operator)")
async def label_site(
    services: TheServices, session: TheSession, site: FromPath[str], data: JSONBody[LabelChanges]
) -> Labels:
    """Set and take away labels; what is not named stays."""
    return await _label(services, session, Place(site=site), data)


@patch("/sites/{site:str}/devices/{device:str}/labels", summary="Labels of a device (operator)")
async def label_device(
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    data: JSONBody[LabelChanges],
) -> Labels:
    """Set and take away labels; what is not named stays."""
    return await _label(services, session, Place(site=site, device=device), data)


@patch(f"{CAMERA}/labels", summary="Labels of a camera (operator)")
async def label_camera(
    *,
    services: TheServices,
    session: TheSession,
    site: FromPath[str],
    device: FromPath[str],
    camera: FromPath[str],
    data: JSONBody[LabelChanges],
) -> Labels:
    """Set and take away labels; what is not named stays."""
    access.require(session, "operator")
    await require_camera(services, session, (site, device, camera))
    return await _label(services, session, Place(site=site, device=device, camera=camera), data)


@get("/groups", summary="Groups: named selections")
async def read_groups(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[GroupView]]:
    """Return the groups; to a scoped user those in which something of theirs is."""
    async with services.db.transaction() as tx:
        found = await tree.groups(tx, session.sites)
    cursors = Cursors(services, "groups")
    page, further = cut(found.values(), lambda group: (group.name,), cursors, cursor, limit)
    whole = session.sites is None
    rows = [
        GroupView(
            name=group.name,
            note=group.note if whole else "",
            expression=group.expression if whole else "",
            etag=group_tag(group) if whole else "",
        )
        for group in page
    ]
    return paged(request, rows, further)


def group_tag(group: Group) -> str:
    """Return the tag of what a group means."""
    return tag_of(group.expression, group.note)


async def _present_tag(tx: Tx, name: str) -> str | None:
    """Return the tag of a group that stays so for this transaction; None where there is none."""
    group = (await tree.hold_groups(tx)).get(name)
    return group_tag(group) if group else None


@put("/groups/{group:str}", summary="Have a group (admin of the whole fleet)")
async def put_group(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    group: FromPath[str],
    data: JSONBody[NewGroup],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[Group]:
    """Save a selection under a name; an explicit list is `site:a or device:b,c`."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        present = await _present_tag(tx, group)
        require_match(if_match, present)
        require_none(if_none_match, present)
        made = await tree.put_group(
            tx,
            group,
            data.expression,
            note=data.note,
            actor=session.username,
            now_ms=services.now_ms(),
        )
    return tagged(request, made, group_tag(made))


@delete("/groups/{group:str}", status_code=204, summary="Drop a group (admin of the whole fleet)")
async def drop_group(
    services: TheServices, session: TheSession, group: FromPath[str], if_match: IfMatch = None
) -> None:
    """Have no such group any more."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        require_match(if_match, await _present_tag(tx, group))
        await tree.drop_group(tx, group, actor=session.username, now_ms=services.now_ms())


@get("/select", summary="What a selection means, within the asker's scope")
async def read_selection(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    q: FromQuery[str] = "*",
    level: FromQuery[Literal["site", "device", "camera"]] = "camera",
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[Selected]:
    """Return sites, devices or cameras in order of their names."""
    async with services.db.transaction() as tx:
        found = await tree.select(tx, q, level, session.sites)
    cursors = Cursors(services, "select", q, level)
    page, further = cut(found, _place_key, cursors, cursor, limit)
    body = Selected(total=len(found), found=page, next_cursor=further)
    return paged(request, body, further)


def _place_key(place: Place) -> tuple[str, str, str]:
    return place.site, place.device, place.camera


@put("/users/{username:str}/scope", summary="A user's role and scope (admin of the whole fleet)")
async def put_scope(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    username: FromPath[str],
    data: JSONBody[ScopeChange],
    if_match: IfMatch = None,
) -> Response[UserScope]:
    """Set who may do what, and where; it holds from the user's next request on."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        if if_match is not None:
            require_match(if_match, user_tag(await scopes.hold(tx, username)))
        changed = await scopes.set_scope(
            tx,
            username,
            role=data.role,
            everything=data.everything,
            folders=data.folders,
            sites=data.sites,
            actor=session.username,
            now_ms=services.now_ms(),
        )
    return tagged(request, changed, user_tag(changed))


ROUTES: Final = [
    change_site,
    read_folders,
    move_folder,
    label_site,
    label_device,
    label_camera,
    read_groups,
    put_group,
    drop_group,
    read_selection,
    put_scope,
]
