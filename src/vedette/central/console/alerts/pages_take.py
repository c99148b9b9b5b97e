"""The page behind a link in a notice: what the incident is, and one button, "I take it".

Reached without a session: the link is what proves who asks. The rules: GET changes nothing, since
programs that look for malware in mail follow every link; nothing is shown that the notice did not
say, but how the incident stands; links that do not hold are all answered alike, and nothing is
looked up for them. The form carries a word that only its page has: a program that posts to every
link without reading what is there changes nothing either.
"""

from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath

from vedette.central.alerting import jobs, taking
from vedette.central.alerting.links import MAX_CHARS, PATH, Links, Named
from vedette.central.alerting.taking import VOID, Holds, Standing
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, TheServices
from vedette.central.boundary import TooManyRequests
from vedette.central.console import doors
from vedette.central.console.alerts import take
from vedette.central.console.alerts.take import Form
from vedette.central.console.doors import client_address
from vedette.central.console.page import page, see_other
from vedette.central.rate import RateLimit
from vedette.central.services import Services
from vedette.errors import BadSignature

_STATUS: Final = {
    Holds.OPEN: 200,
    Holds.YOURS: 200,
    Holds.TAKEN: 200,
    Holds.OVER: 200,
    Holds.EXPIRED: 410,
    Holds.VOID: 403,
}


class _Shares(msgspec.Struct, frozen=True):
    """How often links may be asked: by one address, and each."""

    addresses: RateLimit
    links: RateLimit


def _spend(request: AnyRequest, state: State, services: Services, token: str) -> None:
    """Count one request.

    Raises:
        TooManyRequests: Too many.
    """
    if "take_shares" not in state:
        state.take_shares = _Shares(
            RateLimit(services.clock, per_minute=60, burst=60),
            RateLimit(services.clock, per_minute=20, burst=20),
        )
    shares: _Shares = state.take_shares
    shares.addresses.spend(client_address(request, services))
    shares.links.spend(token[:MAX_CHARS])


def _named(services: Services, token: str) -> Named | None:
    """Return what a link names; None where it is none of ours, or none may be used."""
    if not services.config.alerts.take_links:
        return None
    try:
        return Links(services.config.state).read(token)
    except BadSignature:
        return None


def _life_ms(services: Services) -> int:
    return services.config.alerts.take_link_h * 3_600_000


def _answer(
    services: Services, token: str, found: Standing, status: int | None = None
) -> Response[str]:
    form = None
    if found.holds is Holds.OPEN:
        form = Form(url=f"{PATH}{token}", csrf=Links(services.config.state).form(token))
    is_on = services.config.alerts.take_links
    html = take.html(found, form, services.now_ms(), is_on=is_on)
    return page(html, status or _STATUS[found.holds])


def _often(services: Services, error: TooManyRequests) -> Response[str]:
    answer = page(take.often_html(services.now_ms()), 429)
    answer.headers["Retry-After"] = str(error.retry_after_s)
    return answer


@get(f"{PATH}{{token:str}}", include_in_schema=False)
async def take_page(
    request: AnyRequest, state: State, services: TheServices, token: FromPath[str]
) -> Response[str]:
    """Show what the incident is and how it stands; nothing else happens."""
    try:
        _spend(request, state, services, token)
    except TooManyRequests as error:
        return _often(services, error)
    named, found = _named(services, token), VOID
    if named is not None:
        async with services.db.transaction() as tx:
            found = await taking.standing(tx, named, _life_ms(services), services.now_ms())
    return _answer(services, token, found)


@post(f"{PATH}{{token:str}}", include_in_schema=False, status_code=200)
async def take_it(
    request: AnyRequest,
    state: State,
    services: TheServices,
    token: FromPath[str],
    data: doors.Form,
) -> Response[str]:
    """Have the link's person on the incident, and show how it stands then."""
    try:
        _spend(request, state, services, token)
    except TooManyRequests as error:
        return _often(services, error)
    named = _named(services, token)
    if named is None:
        return _answer(services, token, VOID)
    if not access.same_text(data.get("csrf", ""), Links(services.config.state).form(token)):
        async with services.db.transaction() as tx:
            found = await taking.standing(tx, named, _life_ms(services), services.now_ms())
        return _answer(services, token, found, 403)
    async with services.db.transaction() as tx:
        found = await taking.take(
            tx,
            named,
            _life_ms(services),
            services.now_ms(),
            address=client_address(request, services),
        )
    if found.holds is not Holds.YOURS:
        return _answer(services, token, found)
    topics = (jobs.CHANGED, f"incident:{found.incident}")
    services.bulletin.publish(jobs.NOW, *topics)
    return see_other(f"{PATH}{token}")


OPEN: Final = [take_page, take_it]
"""Reached without a session."""
