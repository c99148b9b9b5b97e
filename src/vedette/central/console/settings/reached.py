"""How one is reached oneself: contacts on the page of one's own account, and a test of them.

The rule: one's own alone; what is written goes through the function that the API calls.
"""

from typing import Any, Final

from litestar import Response, post

from vedette.central.accounts import Session
from vedette.central.alerting import documents
from vedette.central.alerting.facts import Contact, Severity
from vedette.central.api import contacting
from vedette.central.api.access import TheServices, TheSession
from vedette.central.api.changing import Refused
from vedette.central.api.contacting import NewContacts
from vedette.central.console.doors import Form
from vedette.central.console.page import see_other
from vedette.central.console.settings.frame import done_url
from vedette.central.services import Services

ACCOUNT: Final = "/settings/account"


async def _mine(services: Services, session: Session) -> list[Contact]:
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
    return book.contacts.get(session.username, [])


async def _write(services: Services, session: Session, contacts: list[Contact]) -> Response[str]:
    wanted = NewContacts(contacts=contacts)
    await contacting.put_contacts.fn(services, session, session.username, wanted)
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
    return await _write(services, session, [*await _mine(services, session), made])


@post(f"{ACCOUNT}/contacts/drop", include_in_schema=False, status_code=200)
async def drop_contact(services: TheServices, session: TheSession, data: Form) -> Response[str]:
    """Be reached in one way less."""
    gone = (data.get("channel", ""), data.get("address", ""))
    kept = [one for one in await _mine(services, session) if (one.channel, one.address) != gone]
    return await _write(services, session, kept)


@post(f"{ACCOUNT}/contacts/test", include_in_schema=False, status_code=200)
async def test_contacts(services: TheServices, session: TheSession) -> Response[str]:
    """Have a test on its way to each of one's contacts."""
    await contacting.test_contacts.fn(services, session, session.username)
    return see_other(done_url(ACCOUNT, "tested"))


OWN: Final[list[Any]] = [add_contact, drop_contact, test_contacts]
