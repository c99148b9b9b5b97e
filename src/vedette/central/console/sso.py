"""The door of the OpenID provider: away to it, and back from it.

The rule: whoever comes back is told that it did not work and nothing about why; the log and the
audit log say why. No code, token or secret is ever in either, nor in an address of ours.
"""

import logging
from typing import Annotated, Any, Final

from litestar import Response, get
from litestar.datastructures import Cookie, State
from litestar.params import FromQuery, QueryParameter

from vedette.central import audit
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices
from vedette.central.boundary import TooManyRequests
from vedette.central.console import doors
from vedette.central.console.page import see_other
from vedette.central.oidc import flow
from vedette.central.oidc.provider import Provider, ProviderFailed
from vedette.central.rate import RateLimit
from vedette.central.services import Services
from vedette.errors import BadSignature, ConfigError, NotAllowed, VedetteError

_log = logging.getLogger(__name__)

_TARGET: Final = "oidc"
_REFUSED: Final = "Your provider did not let you in here."
_FAILED: Final = "Your provider cannot be reached now."


def provider_of(state: State, services: Services) -> Provider:
    """Return the provider, made once.

    Raises:
        NotThere: Signing in by a provider is off.
    """
    if not services.config.oidc.issuer:
        raise NotThere(detail="signing in by a provider is off here")
    if "oidc" not in state:
        state.oidc = Provider(services.config.oidc, services.clock)
    provider: Provider = state.oidc
    return provider


def _spend(request: AnyRequest, state: State, services: Services) -> None:
    """Count one step; more than for passwords, for a whole office may come from one address.

    Raises:
        TooManyRequests: Too many from there.
    """
    if "oidc_steps" not in state:
        state.oidc_steps = RateLimit(services.clock, per_minute=60, burst=200)
    steps: RateLimit = state.oidc_steps
    steps.spend(access.address_of(request, services))


def _cookie(services: Services, value: str, life_s: int) -> Cookie:
    """Return the cookie that ties a sign-in to this browser.

    `lax` and not `strict`: the provider's page leads back here.
    """
    return Cookie(
        key=_cookie_name(services),
        value=value,
        max_age=life_s,
        path="/",
        httponly=True,
        samesite="lax",
        secure=access.is_https(services),
    )


def _cookie_name(services: Services) -> str:
    return "__Host-vedette-oidc" if access.is_https(services) else "vedette-oidc"


@get("/sign-in/oidc", include_in_schema=False)
async def leave(
    request: AnyRequest,
    state: State,
    services: TheServices,
    next_url: Annotated[str, QueryParameter(name="next")] = "/",
) -> Response[str]:
    """Send the browser to the provider."""
    provider = provider_of(state, services)
    there = doors.own_path(next_url)
    try:
        _spend(request, state, services)
        begun = await flow.begin(
            services.db,
            provider,
            next_url=there,
            base_url=services.config.url,
            now_ms=services.now_ms(),
        )
    except TooManyRequests:
        return doors.sign_in_problem(request, services, doors.OFTEN, there, 429)
    except (ProviderFailed, ConfigError) as error:
        _tell(error)
        return doors.sign_in_problem(request, services, _FAILED, there, 502)
    return see_other(begun.url, [_cookie(services, begun.cookie, flow.LIFE_S)])


@get(flow.CALLBACK, include_in_schema=False)
async def come_back(
    *,
    request: AnyRequest,
    state: State,
    services: TheServices,
    code: FromQuery[str] = "",
    given_state: Annotated[str, QueryParameter(name="state")] = "",
    error: FromQuery[str] = "",
    iss: FromQuery[str | None] = None,
) -> Response[str]:
    """Let in whom the provider speaks of, and go where they wanted to go."""
    provider = provider_of(state, services)
    back = flow.Back(
        state=given_state,
        code=code,
        error=error,
        issuer=iss,
        cookie=request.cookies.get(_cookie_name(services), ""),
    )
    try:
        _spend(request, state, services)
        username, there = await flow.finish(
            services.db,
            provider,
            back,
            base_url=services.config.url,
            now_ms=services.now_ms(),
        )
    except TooManyRequests:
        return doors.sign_in_problem(request, services, doors.OFTEN, "/", 429)
    except (ProviderFailed, ConfigError) as failure:
        _tell(failure)
        return doors.sign_in_problem(request, services, _FAILED, "/", 502)
    except (BadSignature, NotAllowed) as refusal:
        return await _refused(request, services, refusal)
    entered = await doors.enter(request, services, username, doors.own_path(there), by="oidc")
    entered.cookies.append(_cookie(services, "", 0))
    return entered


async def _refused(request: AnyRequest, services: Services, why: VedetteError) -> Response[str]:
    _tell(why)
    async with services.db.transaction() as tx:
        await audit.write(
            tx,
            at_ms=services.now_ms(),
            actor="nobody",
            action="session.refuse",
            target=_TARGET,
            detail={"address": access.address_of(request, services), "why": str(why)[:300]},
        )
    return doors.sign_in_problem(request, services, _REFUSED, "/", 403)


def _tell(error: VedetteError) -> None:
    hint = error.operator_hint or ""
    _log.warning(
        "no sign-in by the provider",
        extra={"event": "oidc.refused", "why": str(error)[:300], "hint": hint},
    )


OPEN: Final[list[Any]] = [leave, come_back]
"""Reached without a session."""
