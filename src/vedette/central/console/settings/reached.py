"""How one is reached oneself: contacts on the page of one's own account, quiet hours, and a test.

The rule: one's own alone; what is written goes through the function that the API calls.
"""

from collections.abc import Callable
from typing import Any, Final

from litestar import Response, post

from vedette.central.accounts import Session
from vedette.central.alerting.facts import Contact, Severity
from vedette.central.api import contacting
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.api.changing import Refused
from vedette.central.console.doors import Form
from vedette.central.console.page import see_other
from vedette.central.console.settings import quiet
from vedette.central.console.settings.frame import done_url
from vedette.central.console.settings.own import shown_account
from vedette.central.services import Services
from vedette.errors import ConfigError, ConflictError

ACCOUNT: Final = "/settings/account"

Changed = Callable[[list[Contact]], list[Contact]]


async def _write(services: Services, session: Session, changed: Changed) -> Response[str]:
    await contacting.rewrite(services, session, session.username, changed)
    return see_other(done_url(ACCOUNT, "contacts"))


@post(f"{ACCOUNT}/contacts", include_in_schema=False, status_code=200)
async def add_contact(services: TheServices, session: TheSession, data: Form) -> Response[str]:
    """Be reached in one more way."""
    least = data.get("least", "info")
    if least not in set(Severity):
        raise Refused(detail=f"a severity is one of {', '.join(Severity)}")
    made = Contact(
        channel=data.get("channel", ""),
        address=data.get("address", "").strip(),
        least=Severity(least),
    )
    return await _write(services, session, lambda known: [*known, made])


@post(f"{ACCOUNT}/contacts/drop", include_in_schema=False, status_code=200)
async def drop_contact(services: TheServices, session: TheSession, data: Form) -> Response[str]:
    """Be reached in one way less."""
    gone = (data.get("channel", ""), data.get("address", ""))

    def without(known: list[Contact]) -> list[Contact]:
        return [one for one in known if (one.channel, one.address) != gone]

    return await _write(services, session, without)


@post(f"{ACCOUNT}/contacts/quiet", include_in_schema=False, status_code=200)
async def set_quiet(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Have other quiet hours for one contact; what cannot be is said at its form."""
    asked = quiet.posted(data)
    try:
        return await _write(services, session, lambda known: quiet.changed(known, asked))
    except ConflictError as error:
        return await shown_account(request, services, session, error, 409, asked=asked)
    except ConfigError as error:
        return await shown_account(request, services, session, error, 422, asked=asked)
    except Refused as error:
        wrong = ConfigError(error.detail)
        return await shown_account(request, services, session, wrong, 422, asked=asked)


@post(f"{ACCOUNT}/contacts/test", include_in_schema=False, status_code=200)
async def test_contacts(services: TheServices, session: TheSession) -> Response[str]:
    """Have a test on its way to each of one's contacts."""
    await contacting.test_contacts.fn(services, session, session.username)
    return see_other(done_url(ACCOUNT, "tested"))


OWN: Final[list[Any]] = [add_contact, drop_contact, set_quiet, test_contacts]
