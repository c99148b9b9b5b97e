"""Coming in and going out: sign-in, first-run setup, sign-out.

The rule: a failure says the same and takes the same time whether or not the name exists; a form
that is posted without a session carries a token that this browser's cookie must repeat.
"""

import secrets
from typing import Annotated, Final
from urllib.parse import urlencode, urlsplit

import msgspec
from litestar import Response, get, post
from litestar.datastructures import Cookie, State
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, QueryParameter

from vedette.central import accounts, audit
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, Forbidden, TheServices, TheSession
from vedette.central.boundary import TooManyRequests
from vedette.central.console.page import page, see_other
from vedette.central.console.render import render
from vedette.central.rate import RateLimit
from vedette.central.services import Services
from vedette.errors import NotAllowed, VedetteError

Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]

_DOOR: Final = "vedette-door"
_DOOR_CHARS: Final = 32
_WRONG: Final = "The name or the password is wrong."
OFTEN: Final = "Too many tries. Wait a minute."


def own_path(there: str) -> str:
    """Return `there` where it is a path on this host, else the fleet: nobody is sent away."""
    parts = urlsplit(there)
    plain = there.startswith("/") and not there.startswith(("//", "/\\"))
    good = plain and not parts.netloc and not parts.scheme and there.isprintable()
    return there if good and "\\" not in there else "/"


def client_address(request: AnyRequest, services: Services) -> str:
    """Return whom the rate limit counts: behind a proxy, the address that the proxy saw."""
    if services.config.behind_proxy:
        seen = request.headers.get("x-forwarded-for", "").split(",")[-1].strip()
        if seen:
            return seen[:64]
    return request.client.host if request.client else "unknown"


class _Tries(msgspec.Struct, frozen=True):
    """How often one may try: per address and name, and per address."""

    names: RateLimit
    addresses: RateLimit


def spend_try(request: AnyRequest, state: State, services: Services, name: str) -> None:
    """Count one try, before the slow check, so that many at once cannot slip through together.

    Raises:
        TooManyRequests: Too many.
    """
    if "tries" not in state:
        state.tries = _Tries(
            RateLimit(services.clock, per_minute=1, burst=10),
            RateLimit(services.clock, per_minute=10, burst=40),
        )
    address = client_address(request, services)
    tries: _Tries = state.tries
    tries.addresses.spend(address)
    tries.names.spend(f"{address} {name.lower()}")


def _door(request: AnyRequest, services: Services) -> tuple[str, Cookie]:
    """Return this browser's door token and the cookie that repeats it; two tabs share one."""
    known = request.cookies.get(_DOOR, "")
    token = known if len(known) == _DOOR_CHARS else secrets.token_urlsafe(24)
    cookie = Cookie(
        key=_DOOR,
        value=token,
        path="/",
        httponly=True,
        samesite="strict",
        secure=access.is_https(services),
    )
    return token, cookie


def _check_door(request: AnyRequest, form: dict[str, str]) -> None:
    """Return where the form came from a page that we gave to this browser.

    Raises:
        Forbidden: It did not.
    """
    if not access.same_text(form.get("csrf", ""), request.cookies.get(_DOOR, "")):
        raise Forbidden(detail="this form is out of date: go back, load the page again and repeat")


class _SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """What the sign-in page shows again after a failure."""

    username: str = ""
    next_url: str = "/"
    problem: str = ""
    hint: str = ""


def _sign_in_page(
    request: AnyRequest, services: Services, shown: _SignIn, status: int = 200
) -> Response[str]:
    token, cookie = _door(request, services)
    html = render(
        "signin.html",
        looker=None,
        now_ms=services.now_ms(),
        heading="Sign in",
        door_csrf=token,
        username=shown.username,
        next_url=shown.next_url,
        problem=shown.problem,
        hint=shown.hint,
        provider_title=services.config.oidc.title if services.config.oidc.issuer else "",
        provider_url=f"/sign-in/oidc?{urlencode({'next': shown.next_url})}",
    )
    return page(html, status, [cookie])


def sign_in_problem(
    request: AnyRequest, services: Services, problem: str, next_url: str, status: int
) -> Response[str]:
    """Return the sign-in form with what went wrong."""
    return _sign_in_page(request, services, _SignIn(next_url=next_url, problem=problem), status)


@get("/sign-in", include_in_schema=False)
async def sign_in_page(
    request: AnyRequest,
    services: TheServices,
    next_url: Annotated[str, QueryParameter(name="next")] = "/",
) -> Response[str]:
    """Show the sign-in form, or the setup form where nobody can sign in yet."""
    if not await accounts.has_users(services.db):
        return see_other("/setup")
    return _sign_in_page(request, services, _SignIn(next_url=own_path(next_url)))


@post("/sign-in", include_in_schema=False, status_code=200)
async def sign_in(
    request: AnyRequest, state: State, services: TheServices, data: Form
) -> Response[str]:
    """Open a session and go where the person wanted to go; count and record failures."""
    _check_door(request, data)
    username, next_url = data.get("username", "")[:128], own_path(data.get("next", "/"))
    address = client_address(request, services)
    try:
        spend_try(request, state, services, username)
    except TooManyRequests:
        shown = _SignIn(username=username, next_url=next_url, problem=OFTEN)
        return _sign_in_page(request, services, shown, 429)
    user = await accounts.check_password(services.db, username, data.get("password", ""))
    if user is None:
        async with services.db.transaction() as tx:
            await audit.write(
                tx,
                at_ms=services.now_ms(),
                actor="nobody",
                action="session.refuse",
                target=username,
                detail={"address": address},
            )
        shown = _SignIn(username=username, next_url=next_url, problem=_WRONG)
        return _sign_in_page(request, services, shown, 401)
    return await enter(request, services, user.username, next_url)


async def enter(
    request: AnyRequest, services: Services, username: str, next_url: str, *, by: str = "password"
) -> Response[str]:
    """Open a session for a user who has proven who they are."""
    address = client_address(request, services)
    origin = accounts.Origin(address=address, agent=request.headers.get("user-agent", ""))
    life_s = services.config.session_h * 3600
    async with services.db.transaction() as tx:
        token, _ = await accounts.open_session(
            tx, username, services.now_ms(), life_s=life_s, origin=origin
        )
        await audit.write(
            tx,
            at_ms=services.now_ms(),
            actor=username,
            action="session.open",
            detail={"address": address, "by": by},
        )
    return see_other(next_url, [access.session_cookie(services, token, life_s)])


class _Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What the setup page shows."""

    token: str = ""
    username: str = ""
    problem: str = ""
    hint: str = ""


def _setup_page(
    request: AnyRequest, services: Services, shown: _Setup, status: int = 200
) -> Response[str]:
    token, cookie = _door(request, services)
    html = render(
        "setup.html",
        looker=None,
        now_ms=services.now_ms(),
        heading="Set your password" if shown.username else "Set up Vedette",
        door_csrf=token,
        token=shown.token,
        username=shown.username,
        problem=shown.problem,
        hint=shown.hint,
        min_chars=accounts.MIN_PASSWORD_CHARS,
    )
    return page(html, status, [cookie])


async def _setup_for(request: AnyRequest, services: Services, token: str) -> Response[str]:
    """Show the form that fits a token: whose password it sets, or that it does not hold."""
    if not token:
        return _setup_page(request, services, _Setup())
    async with services.db.transaction() as tx:
        username = await accounts.setup_user(tx, token[:200], services.now_ms())
    if username is None:
        shown = _Setup(
            problem="This token does not hold.",
            hint="It was used already, is older than a day, or was not copied whole.",
        )
        return _setup_page(request, services, shown, 403)
    return _setup_page(request, services, _Setup(token=token, username=username))


@get(["/setup", "/setup/{token:str}"], include_in_schema=False)
async def setup_page(
    request: AnyRequest, services: TheServices, token: FromPath[str] = ""
) -> Response[str]:
    """Show the form that sets a password with a one-time token."""
    return await _setup_for(request, services, token)


@post("/setup", include_in_schema=False, status_code=200)
async def setup(
    request: AnyRequest, state: State, services: TheServices, data: Form
) -> Response[str]:
    """Set the password and sign in; without a password yet, ask for it."""
    _check_door(request, data)
    token, password = data.get("token", "").strip()[:200], data.get("password")
    address = client_address(request, services)
    try:
        spend_try(request, state, services, "setup token")
    except TooManyRequests:
        return _setup_page(request, services, _Setup(problem=OFTEN), 429)
    if password is None:
        return await _setup_for(request, services, token)
    async with services.db.transaction() as tx:
        username = await accounts.setup_user(tx, token, services.now_ms())
    if username and password != data.get("again"):
        shown = _Setup(token=token, username=username, problem="The two are not the same.")
        return _setup_page(request, services, shown, 422)
    try:
        async with services.db.transaction() as tx:
            done = await accounts.use_setup_token(tx, token, password, services.now_ms())
            if done:
                await audit.write(
                    tx,
                    at_ms=services.now_ms(),
                    actor=done,
                    action="password.set",
                    target=done,
                    detail={"address": address, "by": "setup token"},
                )
    except NotAllowed as error:
        shown = _Setup(token=token, username=username or "", problem=sentence(error))
        return _setup_page(request, services, shown, 422)
    if done is None:
        return await _setup_for(request, services, token or "?")
    return await enter(request, services, done, "/", by="setup token")


def sentence(error: VedetteError) -> str:
    """Return an error of ours as a sentence on a page."""
    text = f"{error}. {error.operator_hint or ''}".strip()
    return text[:1].upper() + text[1:]


@post("/sign-out", include_in_schema=False, status_code=200)
async def sign_out(
    request: AnyRequest, services: TheServices, session: TheSession
) -> Response[str]:
    """End this session and its cookie."""
    token = access.shown_token(request, services)
    async with services.db.transaction() as tx:
        if token:
            await accounts.end_session(tx, token)
        await audit.write(
            tx, at_ms=services.now_ms(), actor=session.username, action="session.close"
        )
    return see_other("/sign-in", [access.session_cookie(services, "", 0)])


OPEN: Final = [sign_in_page, sign_in, setup_page, setup]
"""Reached without a session."""

OWN: Final = [sign_out]
