"""`vedette central user add, link, disable, list`: who may sign in, by hand.

Thin: reads arguments, calls `central.accounts` and `central.scopes`, prints. A link is printed once
and is all that a new user needs; nobody at the terminal ever knows a password.
"""

import re
from typing import Final

import click

from vedette.central import accounts, audit, scopes
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.cli.at_central import ACTOR, in_transaction, now_ms, show_json, show_table
from vedette.cli.central_tree import user_group
from vedette.errors import ConfigError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


async def _link(tx: Tx, config: CentralConfig, username: str) -> str:
    """Return a one-time link of a user who is there; the audit log says that it was made."""
    token = await accounts.make_setup_token(tx, username, now_ms())
    await audit.write(tx, at_ms=now_ms(), actor=ACTOR, action="user.password_link", target=username)
    return f"{config.url}/setup/{token}"


def scope_words(sites: list[str] | None, folders: list[str]) -> str:
    """Return in words what somebody sees."""
    parts = [f"{folder}/**" for folder in folders] + (sites or [])
    return "everything" if sites is None else ", ".join(parts) or "nothing"


@user_group.command("add", short_help="Have a new user; print the link for the password.")
@click.argument("username")
@click.option("--role", required=True, type=click.Choice(accounts.ROLES))
@click.option("--everything", is_flag=True, help="The whole fleet.")
@click.option("--folder", "folders", multiple=True, help="All in it, now and later; repeatable.")
@click.option("--site", "sites", multiple=True, help="One site; repeatable.")
@click.pass_obj
def user_add(
    config: CentralConfig,
    username: str,
    role: str,
    folders: tuple[str, ...],
    sites: tuple[str, ...],
    *,
    everything: bool,
) -> None:
    """Have a new user, and print the one-time link with which they set a password."""
    if not _NAME.fullmatch(username):
        raise ConfigError(
            f"{username[:40]!r} cannot name a user", operator_hint="use letters, 0-9 . _ @ -"
        )
    if not (everything or folders or sites):
        raise ConfigError(
            f"what may {username} see?", operator_hint="--folder, --site or --everything"
        )

    async def add(tx: Tx) -> str:
        if any(user.username == username for user in await tx.all("users_all", accounts.User)):
            raise ConfigError(
                f"there is a user {username} already",
                operator_hint=f"vedette central user scope {username}, or user link {username}",
            )
        await accounts.put_user(tx, username, role, [], now_ms())
        await scopes.set_scope(
            tx,
            username,
            role=role,
            everything=everything,
            folders=list(folders) if folders or sites else None,
            sites=list(sites) if folders or sites else None,
            actor=ACTOR,
            now_ms=now_ms(),
        )
        return await _link(tx, config, username)

    click.echo(in_transaction(config, add))


@user_group.command("link", short_help="Print a one-time link for another password.")
@click.argument("username")
@click.pass_obj
def user_link(config: CentralConfig, username: str) -> None:
    """Print a one-time link with which USERNAME sets a password; role and scope stay."""

    async def link(tx: Tx) -> str:
        await accounts.require_user(tx, username)
        return await _link(tx, config, username)

    click.echo(in_transaction(config, link))


@user_group.command("disable")
@click.argument("username")
@click.pass_obj
def user_disable(config: CentralConfig, username: str) -> None:
    """Let nobody sign in as USERNAME; sessions and tokens end."""

    async def disable(tx: Tx) -> None:
        await accounts.disable_user(tx, username, actor=ACTOR, now_ms=now_ms())

    in_transaction(config, disable)
    click.echo(f"{username} is disabled, and every session and token ended")


@user_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def user_list(config: CentralConfig, *, as_json: bool) -> None:
    """List who may sign in, as what, and what they see."""

    async def read(tx: Tx) -> list[accounts.User]:
        return await tx.all("users_all", accounts.User)

    users = in_transaction(config, read)
    if as_json:
        show_json(
            [
                {
                    "username": user.username,
                    "role": user.role,
                    "sites": user.sites,
                    "folders": user.folders,
                    "disabled": user.disabled_ms is not None,
                    "has_password": bool(user.password_hash),
                }
                for user in users
            ]
        )
        return
    rows = [
        [user.username, user.role, scope_words(user.sites, user.folders), _state(user)]
        for user in users
    ]
    show_table(["user", "role", "sees", ""], rows, "no user yet: vedette central init")


def _state(user: accounts.User) -> str:
    if user.disabled_ms is not None:
        return "disabled"
    return "" if user.password_hash else "no password yet"
