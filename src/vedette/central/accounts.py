"""Operators: users, passwords (argon2id), sessions, API tokens and one-time links.

Tokens are random and only their SHA-256 is stored. Who may do what by role is the API's business.
"""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Sequence
from typing import Final

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from vedette.central import audit
from vedette.central.store.db import Database, Tx
from vedette.errors import ConfigError, NotAllowed

ROLES: Final = ("viewer", "reviewer", "operator", "admin")
MIN_PASSWORD_CHARS: Final = 10
MAX_PASSWORD_CHARS: Final = 200
SETUP_LINK_S: Final = 24 * 3600
MAX_AGENT_CHARS: Final = 300

_hasher = PasswordHasher()


def _of_nobody(cost: PasswordHasher) -> str:
    """Return what is stored of a password that nobody knows, as costly to verify as all others.

    Salt and hash are random: to make them from a password would cost every start of a command that.
    """
    salt, made = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")
        for size in (cost.salt_len, cost.hash_len)
    )
    parameters = f"m={cost.memory_cost},t={cost.time_cost},p={cost.parallelism}"
    return f"$argon2id$v=19${parameters}${salt}${made}"


# Verified against where no such user exists, so that time does not tell who has an account.
_nobody = _of_nobody(_hasher)


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An operator; `sites` None means all, else those sites and all in `folders`."""

    username: str
    password_hash: str
    role: str
    sites: list[str] | None
    folders: list[str] = []
    disabled_ms: int | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking. `csrf` must come with every change that a browser asks for.

    Attributes:
        sites: What they may know of at this moment, those in `folders` included; None: all.
        folders: Folders whose sites they see, now and later.
    """

    username: str
    role: str
    sites: list[str] | None
    kind: str
    csrf: str
    expires_ms: int
    folders: list[str] = []


def token_hash(token: str) -> bytes:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).digest()


async def check_password(db: Database, username: str, password: str) -> User | None:
    """Return the user whose password this is, None otherwise; both take the same time."""
    async with db.transaction() as tx:
        user = await tx.one("user_by_name", User, username=username[:128].replace("\0", ""))
    stored = user.password_hash if user and user.password_hash else _nobody
    good = await asyncio.to_thread(_verify, stored, password[:MAX_PASSWORD_CHARS])
    return user if good and user and user.password_hash else None


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False


async def put_user(  # noqa: PLR0917 - a user is a name, a role and a scope
    tx: Tx,
    username: str,
    role: str,
    sites: list[str] | None,
    now_ms: int,
    folders: Sequence[str] = (),
) -> None:
    """Have a user of this role and scope; a new one has no password until a link is used."""
    if role not in ROLES:
        raise NotAllowed(f"no such role: {role}", operator_hint=f"one of {', '.join(ROLES)}")
    await tx.run(
        "user_put",
        username=username,
        password_hash="",
        role=role,
        sites=sites,
        folders=list(folders),
        now_ms=now_ms,
    )


async def set_password(tx: Tx, username: str, password: str) -> None:
    """Have this password and no browser session that was opened before.

    Raises:
        NotAllowed: Too short or too long.
    """
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise NotAllowed(
            f"a password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters",
            operator_hint="a few random words make a good one",
        )
    password_hash = await asyncio.to_thread(_hasher.hash, password)
    await tx.run("user_set_password", username=username, password_hash=password_hash)
    await tx.run("sessions_end_of_user", username=username)


async def make_setup_token(tx: Tx, username: str, now_ms: int) -> str:
    """Return a one-time token with which this user sets a password.

    Raises:
        ConfigError: An identity provider brought them: a password would be a second way in.
    """
    if await tx.value("user_is_brought", username=username) is not None:
        raise ConfigError(
            f"{username} comes in by the identity provider",
            operator_hint="whoever must come in without it gets a user of another name",
        )
    token = secrets.token_urlsafe(24)
    await tx.run(
        "setup_put",
        token_hash=token_hash(token),
        username=username,
        expires_ms=now_ms + SETUP_LINK_S * 1000,
    )
    return token


async def setup_user(tx: Tx, token: str, now_ms: int) -> str | None:
    """Return whom a one-time token is for, without using it up."""
    found = await tx.value("setup_peek", token_hash=token_hash(token), now_ms=now_ms)
    return None if found is None else str(found)


async def use_setup_token(tx: Tx, token: str, password: str, now_ms: int) -> str | None:
    """Set the password of the user that the token is for; None where the token does not hold."""
    found = await tx.value("setup_take", token_hash=token_hash(token), now_ms=now_ms)
    if found is None:
        return None
    await set_password(tx, str(found), password)
    return str(found)


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """From where somebody came in: an address, and what their program calls itself."""

    address: str = ""
    agent: str = ""


async def open_session(
    tx: Tx,
    username: str,
    now_ms: int,
    *,
    life_s: int,
    kind: str = "browser",
    label: str = "",
    origin: Origin = Origin(),  # noqa: B008 - frozen
) -> tuple[str, str]:
    """Return `(token, csrf)` of a new session (`kind` browser) or API token (`kind` api)."""
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    await tx.run(
        "session_put",
        token_hash=token_hash(token),
        username=username,
        kind=kind,
        label=label,
        csrf=csrf,
        now_ms=now_ms,
        expires_ms=now_ms + life_s * 1000,
        address=_kept(origin.address, 64),
        agent=_kept(origin.agent, MAX_AGENT_CHARS),
    )
    await tx.run("user_seen", username=username, now_ms=now_ms)
    return token, csrf


def _kept(text: str, most: int) -> str:
    """Return what is kept of a text that a visitor wrote."""
    return "".join(sign for sign in text[:most] if sign.isprintable())


async def find_session(db: Database, token: str, now_ms: int) -> Session | None:
    """Return whose token this is, while it holds."""
    hashed = token_hash(token)
    async with db.transaction() as tx:
        found = await tx.one("session_find", Session, token_hash=hashed, now_ms=now_ms)
        if found is not None:
            await tx.run("session_seen", token_hash=hashed, now_ms=now_ms)
        return found


async def end_session(tx: Tx, token: str) -> None:
    """Have no such session any more."""
    await tx.run("session_end", token_hash=token_hash(token))


async def has_users(db: Database) -> bool:
    """True where somebody can sign in."""
    async with db.transaction() as tx:
        return bool(await tx.value("users_count"))


async def require_user(tx: Tx, username: str) -> None:
    """Return where this user is there and may sign in.

    Raises:
        ConfigError: They are not, or were disabled.
    """
    if await tx.value("user_is_there", username=username[:128].replace("\0", "")) is None:
        raise ConfigError(
            f"there is no user {username[:64]!r} who may sign in",
            operator_hint="`vedette central user list` names them, `user add` makes one",
        )


class _Admin(msgspec.Struct, frozen=True):
    username: str
    has_password: bool


async def keep_an_admin(tx: Tx, username: str) -> None:
    """Return where the fleet keeps an administrator who can sign in without this user.

    All of them are held until the transaction ends: two who remove each other cannot both.

    Raises:
        ConfigError: This user is the last one.
    """
    admins = await tx.all("admins_of_all", _Admin)
    others = [one for one in admins if one.has_password and one.username != username]
    if not others and any(one.username == username for one in admins):
        raise ConfigError(
            f"{username} is the last administrator of the whole fleet who can sign in",
            operator_hint="make another one first, and let them set a password",
        )


async def disable_user(tx: Tx, username: str, *, actor: str, now_ms: int) -> None:
    """Let nobody sign in by this name any more; sessions, API tokens and one-time links end.

    Raises:
        ConfigError: No such user, or the last administrator of the whole fleet.
    """
    await require_user(tx, username)
    await keep_an_admin(tx, username)
    await tx.run("user_disable", username=username, now_ms=now_ms)
    await tx.run("sessions_end_all_of_user", username=username)
    await tx.run("setup_drop", username=username)
    await audit.write(tx, at_ms=now_ms, actor=actor, action="user.disable", target=username)
