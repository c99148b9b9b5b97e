"""People as administrators manage them: who there is, coming, going, and their way back in.

Passwords and tokens themselves are `central.accounts`, role and scope are `central.scopes`. The
rule: each change is in the audit log in the same transaction, ends what it must end at once, and
never takes the last administrator of the whole fleet who can sign in.
"""

import re
from typing import Final

import msgspec

from vedette.central import accounts, audit, scopes
from vedette.central.alerting import people as alerted
from vedette.central.store.db import Tx
from vedette.errors import ConfigError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
MAX_SHOWN: Final = 1000

disable: Final = accounts.disable_user


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A user, and what they hold open.

    Attributes:
        issuer: The identity provider that brought them; empty: they have a password here.
        seen_ms: When they were last here; None: never.
        link_until_ms: Until when a one-time link of theirs still works; None: there is none.
    """

    username: str
    role: str
    sites: list[str] | None
    folders: list[str]
    created_ms: int
    disabled_ms: int | None
    has_password: bool
    issuer: str
    seen_ms: int | None
    sessions: int
    tokens: int
    link_until_ms: int | None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A session or an API token without what it takes to use it; `token` only names it."""

    token: str
    username: str
    kind: str
    label: str
    address: str
    agent: str
    created_ms: int
    seen_ms: int
    expires_ms: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A role and a scope that somebody shall have."""

    role: str
    everything: bool = False
    folders: list[str] = []
    sites: list[str] = []


def check_username(username: str) -> str:
    """Return a name that a user can have.

    Raises:
        ConfigError: It is none.
    """
    if not _NAME.fullmatch(username):
        raise ConfigError(
            f"{username[:40]!r} cannot name a user",
            operator_hint="up to 64 letters, digits and . _ @ -, a letter or digit first",
        )
    return username


async def people(tx: Tx, now_ms: int) -> list[Person]:
    """Return every user by name."""
    return await tx.all("people_all", Person, username=None, now_ms=now_ms)


async def person(tx: Tx, username: str, now_ms: int) -> Person:
    """Return one user.

    Raises:
        ConfigError: There is none of this name.
    """
    name = username[:128].replace("\0", "")
    found = await tx.one("people_all", Person, username=name, now_ms=now_ms)
    if found is None:
        raise ConfigError(f"there is no user {name[:40]!r}")
    return found


async def add(tx: Tx, username: str, wanted: Wanted, *, actor: str, now_ms: int) -> str:
    """Have a new user; return the one-time token with which they set a password.

    Raises:
        ConfigError: A name, role or scope that cannot be, a name that is taken, or no scope.
    """
    check_username(username)
    if not (wanted.everything or wanted.folders or wanted.sites):
        raise ConfigError(
            f"what may {username} see?", operator_hint="everything, some folders or some sites"
        )
    if not await tx.run("user_new", username=username, now_ms=now_ms):
        raise ConfigError(
            f"there is a user {username} already", operator_hint="change that one's role and scope"
        )
    await audit.write(tx, at_ms=now_ms, actor=actor, action="user.add", target=username)
    await change(tx, username, wanted, actor=actor, now_ms=now_ms)
    return await make_link(tx, username, actor=actor, now_ms=now_ms)


async def change(tx: Tx, username: str, wanted: Wanted, *, actor: str, now_ms: int) -> None:
    """Have another role and scope; it holds from the user's next request on.

    Raises:
        ConfigError: As `scopes.set_scope`.
    """
    some = not wanted.everything
    await scopes.set_scope(
        tx,
        username,
        role=wanted.role,
        everything=wanted.everything,
        folders=wanted.folders if some else None,
        sites=wanted.sites if some else None,
        actor=actor,
        now_ms=now_ms,
    )


async def make_link(tx: Tx, username: str, *, actor: str, now_ms: int) -> str:
    """Return a one-time token with which a user sets a password; the one until then stays good.

    Raises:
        ConfigError: No such user, or they were disabled.
    """
    await accounts.require_user(tx, username)
    await audit.write(tx, at_ms=now_ms, actor=actor, action="user.password_link", target=username)
    return await accounts.make_setup_token(tx, username, now_ms)


async def reset_password(tx: Tx, username: str, *, actor: str, now_ms: int) -> str:
    """Return a one-time token for a new password; the one until then and all sessions end now.

    Older links end too. API tokens stay: they are listed, and ended by themselves.

    Raises:
        ConfigError: No such user, or the last administrator of the whole fleet who can sign in.
    """
    await accounts.require_user(tx, username)
    await accounts.keep_an_admin(tx, username)
    await tx.run("user_forget_password", username=username)
    await tx.run("setup_drop", username=username)
    await tx.run("sessions_end_of_user", username=username)
    await audit.write(tx, at_ms=now_ms, actor=actor, action="user.password_reset", target=username)
    return await accounts.make_setup_token(tx, username, now_ms)


async def enable(tx: Tx, username: str, *, actor: str, now_ms: int) -> None:
    """Let a disabled user sign in again, with the password, role and scope that they had.

    Raises:
        ConfigError: There is no such user who is disabled.
    """
    if not await tx.run("user_enable", username=username):
        raise ConfigError(f"there is no user {username[:40]!r} who is disabled")
    await audit.write(tx, at_ms=now_ms, actor=actor, action="user.enable", target=username)


async def delete(tx: Tx, username: str, *, actor: str, now_ms: int) -> None:
    """Have no such user; what they did stays in the audit log, their addresses do not.

    Raises:
        ConfigError: No such user, or the last administrator of the whole fleet who can sign in.
    """
    await person(tx, username, now_ms)
    await accounts.keep_an_admin(tx, username)
    await alerted.forget(tx, username)
    await tx.run("user_delete", username=username)
    await audit.write(tx, at_ms=now_ms, actor=actor, action="user.delete", target=username)


# --------------------------------------------------------------------------- sessions and tokens


async def held(tx: Tx, kind: str, username: str | None, now_ms: int) -> list[Held]:
    """Return browser sessions (`kind` browser) or API tokens (`api`) of one user, or of all."""
    return await tx.all(
        "sessions_shown", Held, kind=kind, username=username, now_ms=now_ms, limit=MAX_SHOWN
    )


def name_of(token: str) -> str:
    """Return what names a token in lists: nothing can be done with it but end it."""
    return accounts.token_hash(token)[:8].hex()


async def end(tx: Tx, named: str, username: str | None, *, actor: str, now_ms: int) -> str:
    """End one session or API token, of this user or (None) of anybody; return whose it was.

    Raises:
        ConfigError: There is none.
    """
    owner = await tx.value(
        "session_end_named", token=named[:64].replace("\0", ""), username=username
    )
    if owner is None:
        raise ConfigError("there is no such session or token any more")
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="token.end",
        target=str(owner),
        detail={"token": named[:64]},
    )
    return str(owner)


async def end_all(
    tx: Tx, username: str, kind: str, *, actor: str, now_ms: int, but: str = ""
) -> int:
    """End every session (`kind` browser) or API token (`api`) of a user, but for one; how many."""
    ended = await tx.run(
        "sessions_end_others", username=username, kind=kind, but_hash=accounts.token_hash(but)
    )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="token.end_all",
        target=username,
        detail={"kind": kind, "ended": ended},
    )
    return ended


async def make_token(
    tx: Tx, username: str, *, label: str, days: int, origin: accounts.Origin, now_ms: int
) -> str:
    """Return a new API token with the rights of its user; it is never shown again.

    Raises:
        ConfigError: No label, or a life that cannot be.
    """
    label = label.strip()
    if not label or len(label) > 60 or not label.isprintable():
        raise ConfigError("a token needs a purpose of at most 60 characters")
    if not 1 <= days <= 366:
        raise ConfigError("a token lives for 1 to 366 days")
    token, _ = await accounts.open_session(
        tx, username, now_ms, life_s=days * 86_400, kind="api", label=label, origin=origin
    )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=username,
        action="token.make",
        target=label,
        detail={"days": days, "token": name_of(token)},
    )
    return token
