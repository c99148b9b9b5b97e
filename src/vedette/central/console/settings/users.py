"""Users: who may sign in, as what, and what they see. Administrators of the whole fleet only.

The rule: what an administrator learns here lets nobody in but the person that it is for: a link
works once, is shown once, and stands in the audit log.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal
from urllib.parse import quote

from litestar import Response, get, post
from litestar.params import FromPath

from vedette.central import people
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.console import doors
from vedette.central.console.page import page, see_other
from vedette.central.console.settings import asking, present
from vedette.central.console.settings.asking import Done
from vedette.central.console.settings.frame import done_url
from vedette.central.console.settings.present import Form, Secret
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, VedetteError

USERS: Final = "/settings/users"


async def _users_page(
    request: AnyRequest,
    services: Services,
    session: Session,
    *,
    done: str = "",
    wrong: VedetteError | None = None,
    form: Form | None = None,
    fresh: Secret | None = None,
) -> Response[str]:
    async with services.db.transaction() as tx:
        found = await people.people(tx, services.now_ms())
    frame = asking.frame_of(request, services, session, done=done, wrong=wrong)
    html = present.users_html(frame, found, form or Form(), fresh)
    return page(html, 422 if wrong else 200)


@get(USERS, include_in_schema=False)
async def users_page(
    request: AnyRequest, services: TheServices, session: TheSession, done: Done = ""
) -> Response[str]:
    """Show every user, disabled ones too."""
    asking.require_whole_admin(session)
    return await _users_page(request, services, session, done=done)


@post(USERS, include_in_schema=False, status_code=200)
async def add_user(
    request: AnyRequest, services: TheServices, session: TheSession, data: doors.Form
) -> Response[str]:
    """Have a new user, and show once the link with which they set a password."""
    asking.require_whole_admin(session)
    access.require_browser(session)
    form = asking.form_of(data)
    try:
        async with services.db.transaction() as tx:
            token = await people.add(
                tx,
                form.username,
                asking.wanted_of(form),
                actor=session.username,
                now_ms=services.now_ms(),
            )
    except VedetteError as error:
        return await _users_page(request, services, session, wrong=_ours(error), form=form)
    services.bulletin.publish("settings")
    fresh = asking.link_secret(services, form.username, token)
    return await _users_page(request, services, session, fresh=fresh)


def _ours(error: VedetteError) -> VedetteError:
    """Return an error that is about what was asked; what broke inside is not said on a page."""
    if isinstance(error, ConfigError):
        return error
    raise error


async def _user_page(
    request: AnyRequest,
    services: Services,
    session: Session,
    username: str,
    *,
    done: str = "",
    wrong: VedetteError | None = None,
    form: Form | None = None,
    fresh: Secret | None = None,
) -> Response[str]:
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        try:
            found = await people.person(tx, username, now_ms)
        except ConfigError:
            raise NotThere(detail="there is no such user") from None
        held = await people.held(tx, "browser", found.username, now_ms)
        held += await people.held(tx, "api", found.username, now_ms)
    frame = asking.frame_of(request, services, session, done=done, wrong=wrong)
    html = present.user_html(frame, found, held, form, fresh)
    return page(html, 422 if wrong else 200)


@get("/settings/users/{username:str}", include_in_schema=False)
async def user_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    username: FromPath[str],
    done: Done = "",
) -> Response[str]:
    """Show one user: role, scope, sessions, tokens."""
    asking.require_whole_admin(session)
    return await _user_page(request, services, session, username, done=done)


@post("/settings/users/{username:str}/scope", include_in_schema=False, status_code=200)
async def change_user(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    username: FromPath[str],
    data: doors.Form,
) -> Response[str]:
    """Have another role and scope."""
    asking.require_whole_admin(session)
    form = asking.form_of(data | {"username": username})
    try:
        async with services.db.transaction() as tx:
            await people.change(
                tx,
                username,
                asking.wanted_of(form),
                actor=session.username,
                now_ms=services.now_ms(),
            )
    except VedetteError as error:
        return await _user_page(request, services, session, username, wrong=_ours(error), form=form)
    services.bulletin.publish("settings")
    return see_other(done_url(_path(username), "scope"))


@post("/settings/users/{username:str}/reset", include_in_schema=False, status_code=200)
async def reset_password(
    request: AnyRequest, services: TheServices, session: TheSession, username: FromPath[str]
) -> Response[str]:
    """End a user's password and sessions, and show once the link to a new one."""
    asking.require_whole_admin(session)
    access.require_browser(session)
    try:
        async with services.db.transaction() as tx:
            token = await people.reset_password(
                tx, username, actor=session.username, now_ms=services.now_ms()
            )
    except VedetteError as error:
        return await _user_page(request, services, session, username, wrong=_ours(error))
    services.bulletin.publish("settings")
    if username == session.username:  # this very session has ended
        cookie = access.session_cookie(services, "", 0)
        return see_other(f"/setup/{quote(token, safe='')}", [cookie])
    fresh = asking.link_secret(services, username, token)
    return await _user_page(request, services, session, username, fresh=fresh)


_What = Literal["disable", "enable", "delete", "end-sessions", "end-tokens"]
_Act = Callable[..., Awaitable[object]]


async def _end_sessions(tx: Tx, username: str, *, actor: str, now_ms: int) -> None:
    await people.end_all(tx, username, "browser", actor=actor, now_ms=now_ms)


async def _end_tokens(tx: Tx, username: str, *, actor: str, now_ms: int) -> None:
    await people.end_all(tx, username, "api", actor=actor, now_ms=now_ms)


_ACTS: Final[dict[_What, tuple[_Act, str]]] = {
    "disable": (people.disable, "disabled"),
    "enable": (people.enable, "enabled"),
    "delete": (people.delete, "deleted"),
    "end-sessions": (_end_sessions, "sessions-ended"),
    "end-tokens": (_end_tokens, "tokens-ended"),
}
"""What one button does, and the word that says it was done."""


@post("/settings/users/{username:str}/{what:str}", include_in_schema=False, status_code=200)
async def act_on_user(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    username: FromPath[str],
    what: FromPath[str],
) -> Response[str]:
    """Disable, enable or delete a user, or end what they hold open; it holds at once."""
    asking.require_whole_admin(session)
    known = next((pair for name, pair in _ACTS.items() if name == what), None)
    if known is None:
        raise NotThere(detail="there is no such action")
    act, done = known
    try:
        async with services.db.transaction() as tx:
            await act(tx, username, actor=session.username, now_ms=services.now_ms())
    except VedetteError as error:
        return await _user_page(request, services, session, username, wrong=_ours(error))
    services.bulletin.publish("settings")
    return see_other(done_url(USERS if what == "delete" else _path(username), done))


def _path(username: str) -> str:
    return f"{USERS}/{quote(username, safe='')}"


OWN: Final[list[Any]] = [
    users_page,
    add_user,
    user_page,
    change_user,
    reset_password,
    act_on_user,
]
