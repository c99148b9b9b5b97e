"""Who is asking, what they may do, and that the question really came from them.

A browser shows a session cookie, and with every change the CSRF token of that session; a program
shows an API token as `Authorization: Bearer`. Both are rows of `sessions`. The rule: no route reads
a cookie or a header of its own accord; it takes `session` and asks `require` and `in_scope`.
"""

import hmac
from typing import Any, Final

from litestar import Request
from litestar.datastructures import Cookie, State
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException

from vedette.central import accounts, csrf
from vedette.central.accounts import Session
from vedette.central.api.shares import SCOPE_KEY, Shares
from vedette.central.scopes import folder_in_scope
from vedette.central.services import Services

AnyRequest = Request[Any, Any, State]
TheServices = NamedDependency[Services]
TheSession = NamedDependency[Session]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_RANK: Final = {role: rank for rank, role in enumerate(accounts.ROLES)}


class SignInNeeded(HTTPException):
    """Nobody is signed in, or the session or token is over."""

    status_code = 401


class Forbidden(HTTPException):
    """Signed in, but this is not theirs to do; `detail` says what it would take."""

    status_code = 403


class NotThere(HTTPException):
    """There is no such thing, or it is out of the asker's scope: both look the same."""

    status_code = 404


def services_of(state: State) -> Services:
    """Return what routes share; `app` put it there."""
    services: Services = state.services
    return services


def is_https(services: Services) -> bool:
    """True where browsers reach central by https, so that cookies may be `Secure`."""
    return services.config.url.startswith("https://")


def cookie_name(services: Services) -> str:
    """Return the session cookie's name; the `__Host-` prefix pins it to this host where it can."""
    return "__Host-vedette" if is_https(services) else "vedette"


def session_cookie(services: Services, token: str, life_s: int) -> Cookie:
    """Return the cookie that carries a session; `life_s` 0 takes it away."""
    return Cookie(
        key=cookie_name(services),
        value=token,
        max_age=life_s,
        path="/",
        httponly=True,
        samesite="lax",
        secure=is_https(services),
    )


def bearer_token(request: AnyRequest) -> str | None:
    """Return the token of an `Authorization: Bearer` header, where there is one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def shown_token(request: AnyRequest, services: Services) -> str | None:
    """Return the session token that a request shows; a bearer header comes before a cookie."""
    return bearer_token(request) or request.cookies.get(cookie_name(services))


async def find(request: AnyRequest, services: Services) -> Session | None:
    """Return whose request this is, or None; a cookie carries no API token, nor the reverse."""
    bearer = bearer_token(request)
    token = bearer or request.cookies.get(cookie_name(services))
    if not token or len(token) > 200:
        return None
    session = await accounts.find_session(services.db, token, services.now_ms())
    wanted = "api" if bearer else "browser"
    return session if session and session.kind == wanted else None


async def session_of(request: AnyRequest, services: TheServices) -> Session:
    """Return whose request this is; changes by a browser must carry the session's CSRF token.

    Raises:
        SignInNeeded: Nobody's.
        Forbidden: A change without the right CSRF token.
    """
    known = seen_session(request)
    if known is not None:
        return known
    session = await find(request, services)
    is_counted = request.url.path.startswith("/v1/")
    shares: Shares = request.app.state.shares
    if session is None:
        if is_counted:
            shares.spend_refused(address_of(request, services))
        raise SignInNeeded(detail="sign in, or show an API token that still holds")
    if is_counted:
        token = shown_token(request, services) or ""
        request.scope[SCOPE_KEY] = shares.spend(  # type: ignore[literal-required]
            session, accounts.token_hash(token).hex()
        )
    request.scope["vedette_session"] = session  # type: ignore[typeddict-unknown-key]
    if request.method not in _SAFE and session.kind == "browser":
        shown = request.headers.get("x-csrf-token") or await _form_csrf(request)
        if not csrf.is_right(shown, session.csrf):
            raise Forbidden(detail="the page is out of date: load it again and repeat the change")
    return session


def address_of(request: AnyRequest, services: Services) -> str:
    """Return where a request comes from: the last address that our own proxy wrote, or the peer."""
    if services.config.behind_proxy:
        forwarded = request.headers.get("x-forwarded-for", "").rsplit(",", 1)[-1].strip()
        if forwarded:
            return forwarded[:64]
    return request.client.host if request.client else "unknown"


def seen_session(request: AnyRequest) -> Session | None:
    """Return the session that `session_of` found for this request, for pages about failures."""
    return request.scope.get("vedette_session")


async def _form_csrf(request: AnyRequest) -> str:
    """Return the CSRF token of a form body; empty where the body is not a form."""
    kind, _ = request.content_type
    if kind not in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        return ""
    form = await request.form()
    return str(form.get("csrf", ""))


def same_text(shown: str, expected: str) -> bool:
    """True where both are the same and not empty; takes the same time either way."""
    return bool(expected) and hmac.compare_digest(shown.encode(), expected.encode())


def may(session: Session, role: str) -> bool:
    """True where the asker has this role or a stronger one."""
    return _RANK.get(session.role, -1) >= _RANK[role]


def require(session: Session, role: str) -> None:
    """Return where the asker has this role or a stronger one.

    Raises:
        Forbidden: They have not.
    """
    if not may(session, role):
        raise Forbidden(detail=f"this takes the role {role}; yours is {session.role}")


def may_audit(session: Session) -> bool:
    """True where the asker may read the audit log: it speaks of every site."""
    return may(session, "admin") and session.sites is None


def require_browser(session: Session) -> None:
    """Return where a person in a browser asks: a token must not prolong itself.

    Raises:
        Forbidden: A program does, by an API token.
    """
    if session.kind != "browser":
        raise Forbidden(detail="an API token cannot change an account: sign in with a browser")


def in_scope(session: Session, site: str) -> bool:
    """True where the asker may know of this site."""
    return session.sites is None or site in session.sites


def require_site(session: Session, site: str) -> None:
    """Return where the asker may know of this site.

    Raises:
        NotThere: They may not; that it exists is not said either.
    """
    if not in_scope(session, site):
        raise NotThere(detail="there is no such site")


def require_folder(session: Session, folder: str) -> None:
    """Return where the asker may place sites in this folder: a site list alone gives none.

    Raises:
        NotThere: They may not; what else lies there is not said.
    """
    if not folder_in_scope(session.sites, session.folders, folder):
        raise NotThere(detail="there is no such folder in your scope")


def require_whole(session: Session) -> None:
    """Return where the asker sees the whole fleet: some things cannot be cut to a scope.

    Raises:
        Forbidden: They see a part of it.
    """
    if session.sites is not None:
        raise Forbidden(detail="this speaks of the whole fleet; you see a part of it")
