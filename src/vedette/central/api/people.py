"""Users as administrators of the whole fleet manage them, through the operator API.

Listing them, role and scope, and disabling are `trusting` and `organising`. The rule: what lets
somebody in is in one answer, once.
"""

from typing import Final

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, JSONBody

from vedette.central import accounts, audit, people
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import NotThere, TheServices, TheSession
from vedette.central.api.trusting import Link
from vedette.central.people import Wanted
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.errors import ConfigError

USER: Final = "/users/{username:str}"


class NewUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who shall sign in; they see everything, or these folders and sites."""

    username: str
    role: str
    everything: bool = False
    folders: list[str] = []
    sites: list[str] = []


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How many were ended."""

    ended: int


class ChainView(msgspec.Struct, frozen=True, kw_only=True):
    """How far the audit log's chain was followed; `broken`: the first entry that does not follow.

    Attributes:
        whole_ms: When it was last followed from the first entry.
        checked_ms: When it was last followed from where it was before.
    """

    number: int
    whole_ms: int
    checked_ms: int
    broken: int | None


def _require(session: Session) -> None:
    access.require(session, "admin")
    access.require_whole(session)


async def _there(tx: Tx, services: Services, username: str) -> str:
    """Return the name of a user who is there.

    Raises:
        NotThere: There is none of that name.
    """
    try:
        return (await people.person(tx, username, services.now_ms())).username
    except ConfigError as error:
        raise NotThere(detail="there is no such user") from error


def _link(services: Services, token: str) -> Link:
    return Link(
        url=f"{services.config.url}/setup/{token}",
        expires_ms=services.now_ms() + accounts.SETUP_LINK_S * 1000,
    )


@post("/users", status_code=201, summary="Have a user; the answer is their one-time link (admin)")
async def add_user(services: TheServices, session: TheSession, data: JSONBody[NewUser]) -> Link:
    """Have a new user, who sets a password by the link (admin of all sites)."""
    _require(session)
    wanted = Wanted(
        role=data.role, everything=data.everything, folders=data.folders, sites=data.sites
    )
    async with services.db.transaction() as tx:
        token = await people.add(
            tx, data.username, wanted, actor=session.username, now_ms=services.now_ms()
        )
    services.bulletin.publish("settings")
    return _link(services, token)


@post(f"{USER}/reset", status_code=201, summary="End a password and its sessions; a link (admin)")
async def reset_password(
    services: TheServices, session: TheSession, username: FromPath[str]
) -> Link:
    """Have the present password worth nothing, end every session, return a link to a new one."""
    _require(session)
    async with services.db.transaction() as tx:
        name = await _there(tx, services, username)
        token = await people.reset_password(
            tx, name, actor=session.username, now_ms=services.now_ms()
        )
    services.bulletin.publish("settings")
    return _link(services, token)


@post(f"{USER}/enable", status_code=200, summary="Let a disabled user sign in again (admin)")
async def enable_user(services: TheServices, session: TheSession, username: FromPath[str]) -> None:
    """Have password, role and scope as they were; sessions and tokens are gone."""
    _require(session)
    async with services.db.transaction() as tx:
        name = await _there(tx, services, username)
        await people.enable(tx, name, actor=session.username, now_ms=services.now_ms())
    services.bulletin.publish("settings")


@delete(USER, summary="Have no such user (admin); the audit log keeps what they did")
async def delete_user(services: TheServices, session: TheSession, username: FromPath[str]) -> None:
    """Delete a user with every session, token and link (admin of all sites)."""
    _require(session)
    async with services.db.transaction() as tx:
        name = await _there(tx, services, username)
        await people.delete(tx, name, actor=session.username, now_ms=services.now_ms())
    services.bulletin.publish("settings")


@delete(f"{USER}/sessions", status_code=200, summary="End every browser session of a user (admin)")
async def end_sessions(
    services: TheServices, session: TheSession, username: FromPath[str]
) -> Ended:
    """Sign somebody out everywhere, at once (admin of all sites)."""
    _require(session)
    async with services.db.transaction() as tx:
        name = await _there(tx, services, username)
        ended = await people.end_all(
            tx, name, "browser", actor=session.username, now_ms=services.now_ms()
        )
    services.bulletin.publish("settings")
    return Ended(ended=ended)


@get("/audit/chain", summary="How far the audit log's chain was followed, and whether it is whole")
async def read_chain(services: TheServices, session: TheSession) -> ChainView:
    """Return the last check; a job makes it every hour, once a day from the first entry."""
    _require(session)
    async with services.db.transaction() as tx:
        found = await audit.last_check(tx)
    if found is None:
        raise NotThere(detail="the chain was never followed yet")
    return ChainView(
        number=found.number,
        whole_ms=found.whole_ms,
        checked_ms=found.checked_ms,
        broken=found.broken,
    )


ROUTES: Final = [
    add_user,
    reset_password,
    enable_user,
    delete_user,
    end_sessions,
    read_chain,
]
