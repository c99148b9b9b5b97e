"""How a fleet is organised: sites in folders, labels on everything, groups that name a selection.

Here: changing it, with the entry in the audit log, and reading it as subjects of the selection
language (`central.selection`, which is pure). Not here: who may do so (the API) and scopes
(`central.scopes`).

The rule: a folder is nothing but the path that sites lie in; it is there while a site lies in it
or below. Whatever is read takes `scope`, the sites that the asker may see (None: all), and a scoped
asker gets no word of anything else: a group that selects nothing of theirs is not there for them.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from vedette.central import audit, hours, selection
from vedette.central.events import Scope
from vedette.central.hours import Hours
from vedette.central.selection import Subject
from vedette.central.selection_index import Index
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.ids import is_slug

Level = Literal["site", "device", "camera"]

MAX_LABELS: Final = 32
MAX_GROUPS: Final = 500
_VALUE: Final = re.compile(r"[A-Za-z0-9 ._:/+@-]{0,64}")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a label hangs on, or a selection found: a site, a device, or a camera."""

    site: str
    device: str = ""
    camera: str = ""

    @property
    def text(self) -> str:
        """Return it as one path."""
        return "/".join(part for part in (self.site, self.device, self.camera) if part)


class SitePlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a site is, and when it is open."""

    site: str
    name: str
    time_zone: str
    folder: str
    hours: bytes | None
    labels: dict[str, str] = {}

    def opening(self) -> Hours | None:
        """Return its opening hours; None where none were set."""
        return msgspec.json.decode(self.hours, type=Hours) if self.hours else None


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder and how many sites lie in it, and in it and below."""

    folder: str
    sites: int
    below: int


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What a moved folder took along."""

    sites: list[str]
    users: list[str]
    groups: list[str]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A named selection."""

    name: str
    expression: str
    note: str
    changed_ms: int
    changed_by: str


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    site: str
    folder: str


class _Scoped(msgspec.Struct, frozen=True, kw_only=True):
    username: str
    folders: list[str]


# -------------------------------------------------------------------------------------- sites


async def sites(tx: Tx, scope: Scope) -> list[SitePlace]:
    """Return the sites in scope with folder, hours and their own labels."""
    return await tx.all("tree_sites", SitePlace, scope=_listed(scope))


async def hold_site(tx: Tx, site: str) -> SitePlace | None:
    """Return a site as it stays until this transaction ends, without its labels."""
    return await tx.one("site_hold", SitePlace, site=site)


async def change_site(
    tx: Tx,
    site: str,
    *,
    name: str | None = None,
    time_zone: str | None = None,
    folder: str | None = None,
    opening: Hours | msgspec.UnsetType | None = msgspec.UNSET,
    actor: str,
    now_ms: int,
) -> SitePlace:
    """Return the site as it is after what was given changed; `opening` None: no hours are set.

    Raises:
        ConfigError: No such site, or a folder, zone or hours that cannot be.
    """
    held = await hold_site(tx, site)
    if held is None:
        raise ConfigError(f"no site is named {site!r}", operator_hint="vedette central site list")
    new_hours = held.hours
    if opening is None:
        new_hours = None
    elif opening is not msgspec.UNSET:
        new_hours = msgspec.json.encode(hours.check(opening))
    changed = SitePlace(
        site=site,
        name=held.name if name is None else _plain(name),
        time_zone=held.time_zone if time_zone is None else str(hours.zone_of(time_zone)),
        folder=held.folder if folder is None else selection.check_folder(folder),
        hours=new_hours,
    )
    if changed == held:
        return held
    await tx.run(
        "site_change",
        site=site,
        name=changed.name,
        time_zone=changed.time_zone,
        folder=changed.folder,
        hours=changed.hours,
    )
    was, now = msgspec.to_builtins(held), msgspec.to_builtins(changed)
    detail = {key: now[key] for key in now if now[key] != was[key]}
    if detail.get("hours"):
        detail["hours"] = msgspec.json.decode(changed.hours or b"null")
    await audit.write(
        tx, at_ms=now_ms, actor=actor, action="site.change", target=site, detail=detail
    )
    return changed


def _plain(name: str) -> str:
    if len(name) > 120 or not name.isprintable():
        raise ConfigError("a name has at most 120 printable characters")
    return name


# ------------------------------------------------------------------------------------- folders


async def folders(tx: Tx, scope: Scope) -> list[Folder]:
    """Return every folder that holds a site in scope, and those above, in order."""
    direct: dict[str, int] = defaultdict(int)
    below: dict[str, int] = defaultdict(int)
    for site in await sites(tx, scope):
        direct[site.folder] += 1
        steps = site.folder.split("/") if site.folder else []
        for end in range(len(steps) + 1):
            below["/".join(steps[:end])] += 1
    return [
        Folder(folder=folder, sites=direct[folder], below=count)
        for folder, count in sorted(below.items())
    ]


async def move_folder(tx: Tx, old: str, new: str, *, actor: str, now_ms: int) -> Moved:
    """Have everything in `old` and below in `new`; scopes and groups that name it follow.

    Raises:
        ConfigError: No site lies there, or a path that cannot be.
    """
    selection.check_folder(new)
    if not selection.check_folder(old):
        raise ConfigError("the top is no folder that could move", operator_hint="name a folder")
    held = await tx.all("sites_hold_below", _Held, folder=old)
    if not held:
        raise ConfigError(
            f"no site lies in {old!r} or below", operator_hint="vedette central folder list"
        )
    placed = [(site.site, selection.moved(site.folder, old, new)) for site in held]
    for site, folder in placed:
        selection.check_folder(folder)
        await tx.run("site_set_folder", site=site, folder=folder)
    moved = Moved(
        sites=[site for site, _ in placed],
        users=await _move_scopes(tx, old, new),
        groups=await _move_groups(tx, old, new, actor, now_ms),
    )
    detail: dict[str, object] = {"to": new, **msgspec.to_builtins(moved)}
    await audit.write(
        tx, at_ms=now_ms, actor=actor, action="folder.move", target=old, detail=detail
    )
    return moved


async def _move_scopes(tx: Tx, old: str, new: str) -> list[str]:
    """Have every scope that named the folder name the new one; the top would be everything."""
    changed: list[str] = []
    for user in await tx.all("users_of_folders", _Scoped):
        after = [selection.moved(folder, old, new) for folder in user.folders]
        if after == user.folders:
            continue
        if not all(after):
            raise ConfigError(
                f"{user.username} sees the folder {old!r}: at the top that would be every site",
                operator_hint="give that user another scope first",
            )
        await tx.run("user_set_folders", username=user.username, folders=after)
        changed.append(user.username)
    return changed


async def _move_groups(tx: Tx, old: str, new: str, actor: str, now_ms: int) -> list[str]:
    changed: list[str] = []
    for group in (await hold_groups(tx)).values():
        before = selection.parse(group.expression)
        after = selection.rename_folder(before, old, new)
        if after != before:
            await tx.run(
                "selection_put",
                name=group.name,
                expression=selection.text_of(after),
                note=group.note,
                now_ms=now_ms,
                actor=actor,
            )
            changed.append(group.name)
    return changed


# -------------------------------------------------------------------------------------- labels


async def change_labels(
    tx: Tx, place: Place, changes: Mapping[str, str | None], *, actor: str, now_ms: int
) -> dict[str, str]:
    """Return a place's own labels after `changes` (None takes one away).

    Raises:
        ConfigError: No such place, a key or value that cannot be, or too many labels.
    """
    for key, value in changes.items():
        if not is_slug(key):
            raise ConfigError(
                f"{key[:40]!r} cannot name a label", operator_hint="use a-z 0-9 . _ -"
            )
        if value is not None and not _VALUE.fullmatch(value):
            raise ConfigError(
                f"the value of label {key} cannot be kept",
                operator_hint="up to 64 letters, digits, blanks and . _ : / + @ -",
            )
    of = {"site": place.site, "device": place.device, "camera": place.camera}
    if await tx.value("tree_target", **of) is None:
        raise ConfigError(f"there is no {place.text}", operator_hint="vedette central select '*'")
    for key, value in changes.items():
        if value is None:
            await tx.run("label_drop", **of, key=key)
        else:
            await tx.run("label_put", **of, key=key, value=value)
    have = await labels(tx, place)
    if len(have) > MAX_LABELS:
        raise ConfigError(f"at most {MAX_LABELS} labels at one place")
    detail: dict[str, object] = dict(changes)
    await audit.write(
        tx, at_ms=now_ms, actor=actor, action="labels.change", target=place.text, detail=detail
    )
    return have


async def labels(tx: Tx, place: Place) -> dict[str, str]:
    """Return the own labels of one place."""
    found = await tx.tuples("labels_of", site=place.site, device=place.device, camera=place.camera)
    return {str(key): str(value) for key, value in found}


# -------------------------------------------------------------------------------------- groups


async def groups(tx: Tx, scope: Scope) -> dict[str, Group]:
    """Return the groups that are there for the asker: to a scoped one, those with a part of theirs.

    Why: the name and the words of a group may speak of places that the asker must not know.
    """
    found = {group.name: group for group in await tx.all("selections_all", Group)}
    if scope is None or not found:
        return found
    rows = await _read_rows(tx, scope, past=False)
    index = Index(
        [*_subjects(rows, "camera"), *_subjects(rows, "device"), *_subjects(rows, "site")]
    )
    words = {name: group.expression for name, group in found.items()}
    mine: dict[str, Group] = {}
    for name, group in found.items():
        node = selection.resolve_groups(selection.parse(group.expression), words)
        if index.has(node):
            mine[name] = group
    return mine


async def hold_groups(tx: Tx) -> dict[str, Group]:
    """Return every group as they stay until this transaction ends: they name each other."""
    await tx.value("selections_hold")
    return await groups(tx, None)


async def put_group(
    tx: Tx, name: str, expression: str, *, note: str = "", actor: str, now_ms: int
) -> Group:
    """Have a group of this name that means this selection.

    Raises:
        ConfigError: A name or expression that cannot be, or groups that turn in a circle.
    """
    if not is_slug(name):
        raise ConfigError(f"{name[:40]!r} cannot name a group", operator_hint="use a-z 0-9 . _ -")
    there = await hold_groups(tx)
    words = {group.name: group.expression for group in there.values()} | {name: expression}
    selection.resolve_groups(selection.parse(expression), words)
    if len(words) > MAX_GROUPS:
        raise ConfigError(f"at most {MAX_GROUPS} groups")
    note = _plain(note)
    await tx.run(
        "selection_put", name=name, expression=expression, note=note, now_ms=now_ms, actor=actor
    )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="group.put",
        target=name,
        detail={"expression": expression},
    )
    return Group(name=name, expression=expression, note=note, changed_ms=now_ms, changed_by=actor)


async def drop_group(tx: Tx, name: str, *, actor: str, now_ms: int) -> None:
    """Have no such group any more.

    Raises:
        ConfigError: There is none, or another group names it.
    """
    there = await hold_groups(tx)
    if name not in there:
        raise ConfigError(f"there is no group {name[:40]!r}")
    words = {n: g.expression for n, g in there.items() if n != name}
    for other, expression in words.items():
        try:
            selection.resolve_groups(selection.parse(expression), words)
        except ConfigError as error:
            raise ConfigError(
                f"the group {other} names {name}", operator_hint=f"change {other} first"
            ) from error
    await tx.run("selection_drop", name=name)
    await audit.write(tx, at_ms=now_ms, actor=actor, action="group.drop", target=name)


# ----------------------------------------------------------------------------------- selecting


async def select(
    tx: Tx, expression: str, level: Level, scope: Scope, *, past: bool = False
) -> list[Place]:
    """Return the sites, devices or cameras in scope that a selection means, in order.

    With `past` those of revoked devices too, in the state `revoked`: a question of what was.

    Raises:
        ConfigError: The expression cannot be read, or names a group that is not there.
    """
    node = selection.parse(expression)
    if "group:" in expression:
        words = {name: group.expression for name, group in (await groups(tx, scope)).items()}
        if scope is not None:  # a group of theirs may name others
            everything = {n: g.expression for n, g in (await groups(tx, None)).items()}
            words = {name: _whole(text, everything) for name, text in words.items()}
        node = selection.resolve_groups(node, words)
    return [
        Place(site=found.site, device=found.device, camera=found.camera)
        for found in await subjects(tx, level, scope, past=past)
        if selection.matches(node, found)
    ]


def _whole(expression: str, groups: Mapping[str, str]) -> str:
    return selection.text_of(selection.resolve_groups(selection.parse(expression), groups))


class _Device(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    site: str
    state: str
    hardware: str
    version: str


class _Camera(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    camera: str
    state: str
    make: str
    model: str
    firmware: str


class _Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What is in scope, as far as a selection can ask for it; `own`: labels by place."""

    sites: dict[str, SitePlace]
    devices: dict[str, list[_Device]]
    cameras: dict[str, list[_Camera]]
    own: dict[tuple[str, str, str], dict[str, str]]


async def _read_rows(tx: Tx, scope: Scope, *, past: bool) -> _Rows:
    """Return what is in scope, each kind by one query: devices by site, cameras by device."""
    listed = _listed(scope)
    here = {site.site: site for site in await sites(tx, scope)}
    devices: dict[str, list[_Device]] = defaultdict(list)
    for device in await tx.all("tree_devices", _Device, scope=listed, past=past):
        devices[device.site].append(device)
    cameras: dict[str, list[_Camera]] = defaultdict(list)
    for camera in await tx.all("tree_cameras", _Camera, scope=listed, past=past):
        cameras[camera.device].append(camera)
    own: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for site, device, camera, key, value in await tx.tuples("tree_labels", scope=listed):
        own[site, device, camera][key] = value
    return _Rows(sites=here, devices=devices, cameras=cameras, own=own)


async def subjects(tx: Tx, level: Level, scope: Scope, *, past: bool = False) -> list[Subject]:
    """Return what a selection is asked about at one level, in order of their names."""
    return _subjects(await _read_rows(tx, scope, past=past), level)


def _subjects(rows: _Rows, level: Level) -> list[Subject]:
    by_site, by_device, own = rows.devices, rows.cameras, rows.own
    if level == "site":
        return [
            _subject(
                place, "", "", place.labels, by_site.get(name, []),
                _all(by_site.get(name, []), by_device),
            )
            for name, place in rows.sites.items()
        ]  # fmt: skip
    found: list[Subject] = []
    for device in (one for name in rows.sites for one in by_site.get(name, ())):
        place = rows.sites[device.site]
        labels_ = place.labels | own.get((device.site, device.device, ""), {})
        of = by_device.get(device.device, [])
        if level == "device":
            found.append(_subject(place, device.device, "", labels_, [device], of))
            continue
        for camera in of:
            nearest = labels_ | own.get((device.site, device.device, camera.camera), {})
            found.append(_subject(place, device.device, camera.camera, nearest, [device], [camera]))
    return found


def _all(devices: Iterable[_Device], by_device: Mapping[str, list[_Camera]]) -> list[_Camera]:
    return [camera for device in devices for camera in by_device.get(device.device, [])]


def _subject(  # noqa: PLR0917 - a place, and what is in it
    place: SitePlace,
    device: str,
    camera: str,
    labels_: dict[str, str],
    devices: list[_Device],
    cameras: list[_Camera],
) -> Subject:
    """Return a subject with its own values and those of all that is in it."""
    states = {one.state for one in cameras}
    if not camera:
        states |= {one.state for one in devices}
    return Subject(
        site=place.site,
        device=device,
        camera=camera,
        folder=place.folder,
        labels=labels_,
        values={
            "device": frozenset(one.device for one in devices),
            "camera": frozenset(one.camera for one in cameras),
            "state": frozenset(states),
            "hardware": frozenset(one.hardware for one in devices),
            "version": frozenset(one.version for one in devices),
            "make": frozenset(one.make for one in cameras if one.make),
            "model": frozenset(one.model for one in cameras if one.model),
            "firmware": frozenset(one.firmware for one in cameras if one.firmware),
        },
    )


def _listed(scope: Scope) -> list[str] | None:
    return None if scope is None else list(scope)
