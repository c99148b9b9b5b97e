"""Whose fleet is which: a user's role, and the folders and sites that they may know of.

The rule: a scope is either everything, or a list of folders and sites; what is in a folder is
looked up with every request (`session_find`), so a site that moves is seen or not seen at once, and
no route can get it wrong. An empty list is nothing, never everything.
"""

from typing import Final

import msgspec

from vedette.central import accounts, audit, selection
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.ids import is_slug

MAX_PARTS: Final = 200


class UserScope(msgspec.Struct, frozen=True, kw_only=True):
    """A user's role and scope; `sites` None: everything."""

    username: str
    role: str
    sites: list[str] | None
    folders: list[str] = []
    disabled_ms: int | None = None


async def hold(tx: Tx, username: str) -> UserScope:
    """Return a user's role and scope as they stay until this transaction ends.

    Raises:
        ConfigError: No such user.
    """
    held = await tx.one("user_hold", UserScope, username=username[:128].replace("\0", ""))
    if held is None:
        raise ConfigError(
            f"there is no user {username[:40]!r}",
            operator_hint="vedette central user list; a new one: vedette central user add",
        )
    return held


async def set_scope(
    tx: Tx,
    username: str,
    *,
    role: str | None = None,
    everything: bool = False,
    folders: list[str] | None = None,
    sites: list[str] | None = None,
    actor: str,
    now_ms: int,
) -> UserScope:
    """Return the user with their new role and scope; nothing given leaves the scope as it is.

    Raises:
        ConfigError: No such user, role, folder or site name, or nobody would be left who may
            administer the whole fleet.
    """
    held = await hold(tx, username)
    if role is not None and role not in accounts.ROLES:
        raise ConfigError(
            f"no such role: {role[:40]}", operator_hint=f"one of {', '.join(accounts.ROLES)}"
        )
    named = folders is not None or sites is not None
    if everything and named:
        raise ConfigError("either everything, or folders and sites")
    changed = UserScope(
        username=held.username,
        role=role or held.role,
        sites=None if everything else _sites(sites or []) if named else held.sites,
        folders=[] if everything else _folders(folders or []) if named else held.folders,
        disabled_ms=held.disabled_ms,
    )
    if changed.role != "admin" or changed.sites is not None:
        await accounts.keep_an_admin(tx, held.username)
    await tx.run(
        "user_set_scope",
        username=changed.username,
        role=changed.role,
        sites=changed.sites,
        folders=changed.folders,
    )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="user.scope",
        target=changed.username,
        detail={"role": changed.role, "sites": changed.sites, "folders": changed.folders},
    )
    return changed


def _folders(folders: list[str]) -> list[str]:
    if len(folders) > MAX_PARTS:
        raise ConfigError(f"at most {MAX_PARTS} folders in a scope")
    for folder in folders:
        if not selection.check_folder(folder):
            raise ConfigError(
                "the top is no folder of a scope", operator_hint="ask for everything instead"
            )
    return sorted(set(folders))


def _sites(sites: list[str]) -> list[str]:
    if len(sites) > MAX_PARTS:
        raise ConfigError(f"at most {MAX_PARTS} sites in a scope; use folders")
    for site in sites:
        if not is_slug(site):
            raise ConfigError(f"{site[:40]!r} cannot name a site")
    return sorted(set(sites))


def folder_in_scope(sites: list[str] | None, folders: list[str], folder: str) -> bool:
    """True where somebody with this scope may place sites in a folder."""
    return sites is None or any(selection.is_in(folder, above) for above in folders if above)
