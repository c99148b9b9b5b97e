"""One's own account: password, API tokens, end of the session; for administrators the audit log.

The rule: whoever holds an open page must still prove the present password to change it, and a token
is shown once, in the answer to the form that made it.
"""

from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.datastructures import State

from vedette.central import accounts, audit
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.boundary import TooManyRequests
from vedette.central.console.doors import (
    OFTEN,
    Form,
    client_address,
    looker_of,
    page,
    see_other,
    sentence,
    spend_try,
)
from vedette.central.console.render import render
from vedette.central.services import Services
from vedette.errors import NotAllowed


class _Account(msgspec.Struct, frozen=True, kw_only=True):
    """What the account page says about what was just done."""

    done: str = ""
    problem: str = ""
    fresh_token: str = ""


async def _account_page(
    services: Services, session: Session, shown: _Account, status: int = 200
) -> Response[str]:
    entries = await audit.page(services.db) if access.may_audit(session) else None
    html = render(
        "account.html",
        looker=looker_of(session),
        now_ms=services.now_ms(),
        sites=session.sites,
        done=shown.done,
        problem=shown.problem,
        hint="",
        fresh_token=shown.fresh_token,
        min_chars=accounts.MIN_PASSWORD_CHARS,
        session_ends_ms=session.expires_ms,
        audit=entries,
    )
    return page(html, status)


@get("/account", include_in_schema=False)
async def account_page(services: TheServices, session: TheSession) -> Response[str]:
    """Show one's own account; to administrators also the audit log."""
    return await _account_page(services, session, _Account())


@post("/account/password", include_in_schema=False, status_code=200)
async def change_password(
    request: AnyRequest, state: State, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Change one's own password; every browser session of that user ends, this one too."""
    access.require_browser(session)
    address = client_address(request, services)
    try:
        spend_try(request, state, services, session.username)
    except TooManyRequests:
        return await _account_page(services, session, _Account(problem=OFTEN), 429)
    user = await accounts.check_password(services.db, session.username, data.get("present", ""))
    if user is None:
        shown = _Account(problem="The present password is wrong.")
        return await _account_page(services, session, shown, 401)
    try:
        async with services.db.transaction() as tx:
            await accounts.set_password(tx, user.username, data.get("password", ""))
            await audit.write(
                tx,
                at_ms=services.now_ms(),
                actor=user.username,
                action="password.set",
                target=user.username,
                detail={"address": address},
            )
    except NotAllowed as error:
        return await _account_page(services, session, _Account(problem=sentence(error)), 422)
    return see_other("/sign-in", [access.session_cookie(services, "", 0)])


@post("/account/tokens", include_in_schema=False, status_code=200)
async def make_token(services: TheServices, session: TheSession, data: Form) -> Response[str]:
    """Make an API token with one's own rights and show it once."""
    access.require_browser(session)
    label, days = data.get("label", "").strip()[:60], data.get("days", "")
    if not label or not days.isdecimal() or not 1 <= int(days) <= 366:
        shown = _Account(problem="A token needs a purpose and 1 to 366 days.")
        return await _account_page(services, session, shown, 422)
    async with services.db.transaction() as tx:
        token, _ = await accounts.open_session(
            tx,
            session.username,
            services.now_ms(),
            life_s=int(days) * 86_400,
            kind="api",
            label=label,
        )
        await audit.write(
            tx,
            at_ms=services.now_ms(),
            actor=session.username,
            action="token.make",
            target=label,
            detail={"days": int(days)},
        )
    return await _account_page(services, session, _Account(fresh_token=token))


OWN: Final = [account_page, change_password, make_token]
