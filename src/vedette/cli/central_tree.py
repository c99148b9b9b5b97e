"""`vedette central folder, label, group, select, user`: how the fleet is organised, by hand.

Thin: reads arguments, calls `central.tree`, `central.scopes`, `central.hours`, prints.
"""

import click

from vedette.amounts import counted
from vedette.central import hours, scopes, tree
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.central.tree import Folder, Group, Level, Moved, Place, SitePlace
from vedette.cli.at_central import ACTOR, in_transaction, now_ms, show_json, show_table
from vedette.cli.central_places import must_name_sites
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("folder")
def folder_group() -> None:
    """Folders: paths such as europe/portugal that sites lie in."""


@folder_group.command("list", short_help="List the folders and how many sites lie in them.")
@as_json
@click.pass_obj
def folder_list(config: CentralConfig, *, as_json: bool) -> None:
    """List the folders with how many sites lie in them, and in them and below."""

    async def read(tx: Tx) -> list[Folder]:
        return await tree.folders(tx, None)

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    rows = [[row.folder or "(top)", str(row.sites), str(row.below)] for row in found]
    show_table(["folder", "sites", "with those below"], rows, "no site yet")


@folder_group.command("move", short_help="Rename or move FOLDER with all below it.")
@click.argument("folder")
@click.argument("to")
@click.pass_obj
def folder_move(config: CentralConfig, folder: str, to: str) -> None:
    """Rename or move FOLDER with all below it; users' scopes and groups follow."""

    async def move(tx: Tx) -> Moved:
        return await tree.move_folder(tx, folder, to, actor=ACTOR, now_ms=now_ms())

    moved = in_transaction(config, move)
    click.echo(f"{counted(len(moved.sites), 'site')} moved to {to}")
    if moved.users:
        click.echo(f"scopes that followed: {', '.join(moved.users)}")
    if moved.groups:
        click.echo(f"groups that followed: {', '.join(moved.groups)}")


@click.command("label", short_help="Show or change labels of a site, device or camera.")
@click.argument("place")
@click.argument("changes", nargs=-1)
@as_json
@click.pass_obj
def label_command(
    config: CentralConfig, place: str, changes: tuple[str, ...], *, as_json: bool
) -> None:
    """Show or change labels of PLACE: a SITE, SITE/DEVICE or SITE/DEVICE/CAMERA.

    CHANGES are `key=value` to set one and `key-` to take one away.
    """
    where = _place(place)
    wanted = dict(map(_change, changes))

    async def do(tx: Tx) -> dict[str, str]:
        if wanted:
            return await tree.change_labels(tx, where, wanted, actor=ACTOR, now_ms=now_ms())
        return await tree.labels(tx, where)

    have = in_transaction(config, do)
    if as_json:
        show_json(have)
    else:
        click.echo("  ".join(f"{key}={value}" for key, value in have.items()) or "no labels")


def _place(text: str) -> Place:
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise ConfigError(f"{text!r} is no SITE, SITE/DEVICE or SITE/DEVICE/CAMERA")
    return Place(**dict(zip(("site", "device", "camera"), parts, strict=False)))


def _change(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    if equals:
        return key, value
    if not text.endswith("-"):
        raise ConfigError(f"{text!r} changes nothing", operator_hint="key=value, or key-")
    return text[:-1], None


@click.group("group")
def group_group() -> None:
    """Groups: named selections of sites, devices and cameras."""


@group_group.command("list")
@as_json
@click.pass_obj
def group_list(config: CentralConfig, *, as_json: bool) -> None:
    """List the groups and what they mean."""

    async def read(tx: Tx) -> list[Group]:
        return list((await tree.groups(tx, None)).values())

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    rows = [[row.name, row.expression, row.note] for row in found]
    show_table(["group", "means", "note"], rows, "no group yet")


@group_group.command("set", short_help="Have a group NAME that means EXPRESSION.")
@click.argument("name")
@click.argument("expression")
@click.option("--note", default="", help="What it is for.")
@click.pass_obj
def group_set(config: CentralConfig, name: str, expression: str, note: str) -> None:
    """Have a group NAME that means EXPRESSION; a list is `site:a or device:b,c`."""

    async def put(tx: Tx) -> int:
        await tree.put_group(tx, name, expression, note=note, actor=ACTOR, now_ms=now_ms())
        return len(await tree.select(tx, f"group:{name}", "camera", None))

    click.echo(f"{name}: {counted(in_transaction(config, put), 'camera')} at present")


@group_group.command("drop")
@click.argument("name")
@click.pass_obj
def group_drop(config: CentralConfig, name: str) -> None:
    """Have no group NAME any more."""

    async def drop(tx: Tx) -> None:
        await tree.drop_group(tx, name, actor=ACTOR, now_ms=now_ms())

    in_transaction(config, drop)
    click.echo("dropped")


@click.command("select", short_help="Print what EXPRESSION selects.")
@click.argument("expression")
@click.option("--level", type=click.Choice(["site", "device", "camera"]), default="camera")
@as_json
@click.pass_obj
def select_command(config: CentralConfig, expression: str, level: Level, *, as_json: bool) -> None:
    """Print what EXPRESSION selects, such as `folder:europe/** label:tier=gold -device:x`."""

    async def read(tx: Tx) -> list[Place]:
        found = await tree.select(tx, expression, level, None)
        if not found:
            await must_name_sites(tx, expression)
        return found

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    for place in found:
        click.echo(place.text)
    click.echo(counted(len(found), level), err=True)


@click.group("user", short_help="Users: what they may do, and what they see.")
def user_group() -> None:
    """Users: what they may do, and which part of the fleet they see."""


@user_group.command("scope", short_help="Set the role and scope of USERNAME.")
@click.argument("username")
@click.option("--role", help="viewer, reviewer, operator or admin.")
@click.option("--everything", is_flag=True, help="The whole fleet.")
@click.option("--folder", "folders", multiple=True, help="All in it, now and later; repeatable.")
@click.option("--site", "sites", multiple=True, help="One site; repeatable.")
@click.pass_obj
def user_scope(
    config: CentralConfig,
    username: str,
    role: str | None,
    folders: tuple[str, ...],
    sites: tuple[str, ...],
    *,
    everything: bool,
) -> None:
    """Set the role and scope of USERNAME; without a scope it stays as it is."""
    named = bool(folders or sites)

    async def change(tx: Tx) -> scopes.UserScope:
        return await scopes.set_scope(
            tx,
            username,
            role=role,
            everything=everything,
            folders=list(folders) if named else None,
            sites=list(sites) if named else None,
            actor=ACTOR,
            now_ms=now_ms(),
        )

    user = in_transaction(config, change)
    parts = [f"{folder}/**" for folder in user.folders] + (user.sites or [])
    scope = "everything" if user.sites is None else ", ".join(parts) or "nothing"
    click.echo(f"{user.username}: {user.role} of {scope}")


# -------------------------------------------------------------------- further commands of `site`


@click.command("list")
@as_json
@click.pass_obj
def site_list(config: CentralConfig, *, as_json: bool) -> None:
    """List the sites: folder, labels, time zone, opening hours."""

    async def read(tx: Tx) -> list[SitePlace]:
        return await tree.sites(tx, None)

    found = in_transaction(config, read)
    if as_json:
        show_json([{**_plain(site), "hours": site.opening()} for site in found])
        return
    show_table(
        ["site", "folder", "labels", "time zone", "hours", "now"],
        [_site_cells(site) for site in found],
        "no site yet",
    )


def _plain(site: SitePlace) -> dict[str, object]:
    return {
        "site": site.site,
        "name": site.name,
        "folder": site.folder,
        "labels": site.labels,
        "time_zone": site.time_zone,
    }


def _site_cells(site: SitePlace) -> list[str]:
    opening, zone = site.opening(), hours.zone_of(site.time_zone)
    state = "open" if hours.is_open(opening, zone, now_ms()) else "closed"
    change = hours.next_change_ms(opening, zone, now_ms())
    if change is not None:
        state += f" until {from_wall_ms(change).astimezone(zone):%a %H:%M}"
    return [
        site.site,
        site.folder or "(top)",
        " ".join(f"{key}={value}" for key, value in site.labels.items()),
        site.time_zone,
        hours.text_of(opening) if opening else "not set: always open",
        state,
    ]


@click.command("set", short_help="Change where SITE lies and when it is open.")
@click.argument("site")
@click.option("--name")
@click.option("--folder", help="As europe/portugal/lisbon; empty: the top.")
@click.option("--time-zone", help="As Europe/Lisbon.")
@click.option("--hours", "weekly", help="As 'mo-fr 09:00-20:00; sa 10:00-14:00,15:00-18:00'.")
@click.option(
    "--except",
    "exceptions",
    multiple=True,
    help="As '2026-12-25 closed'; repeatable, with --hours.",
)
@click.option(
    "--no-hours", is_flag=True, help="Forget them: always open, and no rule by hours fires."
)
@click.pass_obj
def site_set(  # noqa: PLR0917 - click passes them by name
    config: CentralConfig,
    site: str,
    name: str | None,
    folder: str | None,
    time_zone: str | None,
    weekly: str | None,
    exceptions: tuple[str, ...],
    *,
    no_hours: bool,
) -> None:
    """Change where SITE lies and when it is open; what is not given stays."""
    if exceptions and weekly is None:
        raise ConfigError("exceptions come with the week", operator_hint="add --hours")
    given = {} if weekly is None else {"opening": hours.read(weekly, list(exceptions))}
    if no_hours:
        given = {"opening": None}

    async def change(tx: Tx) -> SitePlace:
        return await tree.change_site(
            tx,
            site,
            name=name,
            folder=folder,
            time_zone=time_zone,
            actor=ACTOR,
            now_ms=now_ms(),
            **given,
        )

    cells = _site_cells(in_transaction(config, change))
    click.echo("  ".join(cell for cell in cells if cell))
