"""One's own account: password, sessions, API tokens; an administrator's view of everybody's.

The rule: whoever holds an open page must still prove the present password to change it, and a token
is shown once, in the answer to the form that made it.
"""

from typing import Any, Final

from litestar import Response, get, post
from litestar.datastructures import State
from litestar.params import FromQuery

from vedette.central import accounts, audit, people
from vedette.central.accounts import Session
from vedette.central.alerting import documents, doubts
from vedette.central.alerting import people as alerting_people
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.boundary import TooManyRequests
from vedette.central.console.doors import OFTEN, Form, spend_try
from vedette.central.console.page import page, see_other
from vedette.central.console.settings import asking, present, quiet
from vedette.central.console.settings.asking import Done
from vedette.central.console.settings.frame import done_url
from vedette.central.console.settings.present import Reached, Scope, Secret
from vedette.central.console.settings.quiet import Asked
from vedette.central.services import Services
from vedette.errors import ConfigError, NotAllowed, VedetteError

SESSIONS: Final = "/settings/sessions"
TOKENS: Final = "/settings/tokens"


@get(["/settings", "/account"], include_in_schema=False)
async def settings_page(session: TheSession) -> Response[str]:  # noqa: ARG001 - the door
    """Lead to one's own account; `/account` is its old address."""
    return see_other("/settings/account")


# ------------------------------------------------------------------------------------- password


async def shown_account(
    request: AnyRequest,
    services: Services,
    session: Session,
    wrong: VedetteError | None = None,
    status: int = 200,
    *,
    done: str = "",
    asked: Asked | None = None,
) -> Response[str]:
    """Return the page of one's own account; where `asked` is of a contact, `wrong` is about it."""
    async with services.db.transaction() as tx:
        me = await people.person(tx, session.username, services.now_ms())
        book = await documents.current(tx)
        choices = await alerting_people.choices(tx, whole=session.sites is None)
    scope = Scope(sites=me.sites, folders=me.folders)
    contacts = book.contacts.get(session.username, [])
    forms = quiet.forms_of(contacts, asked, wrong)
    is_at_form = any(one.problem for one in forms)
    frame = asking.frame_of(
        request, services, session, wrong=None if is_at_form else wrong, done=done
    )
    reached = Reached(
        contacts=contacts,
        quiet=forms,
        channels=choices,
        zones=asking.zones() if contacts else [],
        problems=doubts.of_person(session.username, book),
    )
    html = present.account_html(
        frame, scope, session.expires_ms, has_password=me.has_password, reached=reached
    )
    return page(html, status)


@get("/settings/account", include_in_schema=False)
async def account_page(
    request: AnyRequest, services: TheServices, session: TheSession, done: Done = ""
) -> Response[str]:
    """Show one's own account."""
    return await shown_account(request, services, session, done=done)


@post("/settings/account/password", include_in_schema=False, status_code=200)
async def change_password(
    request: AnyRequest, state: State, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Change one's own password; every browser session of that user ends, this one too."""
    access.require_browser(session)
    try:
        spend_try(request, state, services, session.username)
    except TooManyRequests:
        return await shown_account(request, services, session, ConfigError(OFTEN), 429)
    user = await accounts.check_password(services.db, session.username, data.get("present", ""))
    if user is None:
        wrong = ConfigError("the present password is wrong")
        return await shown_account(request, services, session, wrong, 401)
    try:
        async with services.db.transaction() as tx:
            await accounts.set_password(tx, user.username, data.get("password", ""))
            await audit.write(
                tx,
                at_ms=services.now_ms(),
                actor=user.username,
                action="password.set",
                target=user.username,
                detail={"address": access.address_of(request, services)},
            )
    except NotAllowed as error:
        return await shown_account(request, services, session, error, 422)
    return see_other("/sign-in", [access.session_cookie(services, "", 0)])


# ------------------------------------------------------------------------------------- sessions


@get(SESSIONS, include_in_schema=False)
async def sessions_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    done: Done = "",
    of: FromQuery[str] = "",
) -> Response[str]:
    """Show one's own sessions; to an administrator of the whole fleet everybody's (`of=all`)."""
    everybody = of == "all" and asking.sees_everybody(session)
    async with services.db.transaction() as tx:
        rows = await people.held(
            tx, "browser", None if everybody else session.username, services.now_ms()
        )
    frame = asking.frame_of(request, services, session, done=done)
    mine = people.name_of(access.shown_token(request, services) or "")
    return page(present.sessions_html(frame, rows, mine, everybody=everybody))


async def _end(
    services: Services, session: Session, data: dict[str, str], there: str, done: str
) -> Response[str]:
    everybody = asking.sees_everybody(session)
    async with services.db.transaction() as tx:
        await people.end(
            tx,
            data.get("token", ""),
            None if everybody else session.username,
            actor=session.username,
            now_ms=services.now_ms(),
        )
    services.bulletin.publish("settings")
    query = {"of": "all"} if data.get("of") == "all" else {}
    return see_other(done_url(there, done, **query))


@post("/settings/sessions/end", include_in_schema=False, status_code=200)
async def end_session(services: TheServices, session: TheSession, data: Form) -> Response[str]:
    """End one session: one's own; anybody's by an administrator of the whole fleet."""
    return await _end(services, session, data, SESSIONS, "session-ended")


@post("/settings/sessions/end-others", include_in_schema=False, status_code=200)
async def end_other_sessions(
    request: AnyRequest, services: TheServices, session: TheSession
) -> Response[str]:
    """End every session of one's own but this one."""
    async with services.db.transaction() as tx:
        await people.end_all(
            tx,
            session.username,
            "browser",
            actor=session.username,
            now_ms=services.now_ms(),
            but=access.shown_token(request, services) or "",
        )
    services.bulletin.publish("settings")
    return see_other(done_url(SESSIONS, "sessions-ended"))


# --------------------------------------------------------------------------------------- tokens


async def _tokens_page(
    request: AnyRequest,
    services: Services,
    session: Session,
    *,
    of: str = "",
    done: str = "",
    wrong: VedetteError | None = None,
    fresh: Secret | None = None,
) -> Response[str]:
    everybody = of == "all" and asking.sees_everybody(session)
    async with services.db.transaction() as tx:
        rows = await people.held(
            tx, "api", None if everybody else session.username, services.now_ms()
        )
    frame = asking.frame_of(request, services, session, done=done, wrong=wrong)
    html = present.tokens_html(frame, rows, everybody=everybody, fresh=fresh)
    return page(html, 422 if wrong else 200)


@get(TOKENS, include_in_schema=False)
async def tokens_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    done: Done = "",
    of: FromQuery[str] = "",
) -> Response[str]:
    """Show one's own API tokens; to an administrator of the whole fleet everybody's (`of=all`)."""
    return await _tokens_page(request, services, session, of=of, done=done)


@post(TOKENS, include_in_schema=False, status_code=200)
async def make_token(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Make an API token with one's own rights and show it once."""
    access.require_browser(session)
    days = data.get("days", "")
    try:
        async with services.db.transaction() as tx:
            token = await people.make_token(
                tx,
                session.username,
                label=data.get("label", "")[:61],
                days=int(days) if days.isdecimal() and len(days) < 5 else 0,
                origin=asking.origin_of(request, services),
                now_ms=services.now_ms(),
            )
    except ConfigError as error:
        return await _tokens_page(request, services, session, wrong=error)
    services.bulletin.publish("settings")
    fresh = Secret(
        what="The new token, shown this once", text=token, use="Use it as Authorization: Bearer …"
    )
    return await _tokens_page(request, services, session, fresh=fresh)


@post("/settings/tokens/end", include_in_schema=False, status_code=200)
async def end_token(services: TheServices, session: TheSession, data: Form) -> Response[str]:
    """End one API token: one's own; anybody's by an administrator of the whole fleet."""
    return await _end(services, session, data, TOKENS, "token-ended")


OWN: Final[list[Any]] = [
    settings_page,
    account_page,
    change_password,
    sessions_page,
    end_session,
    end_other_sessions,
    tokens_page,
    make_token,
    end_token,
]
