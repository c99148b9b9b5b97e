"""How people are reached, through the operator API: their channels and addresses, and a test.

The rule: addresses are personal. They are shown to their owner and to administrators of the whole
fleet, whose look at somebody else's is in the audit log; no list and no log holds them. A person
changes their own; only administrators change another's.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody

from vedette.central import audit
from vedette.central.accounts import Session
from vedette.central.alerting import documents, doubts, jobs, people
from vedette.central.alerting.channels import facts as deliver
from vedette.central.alerting.channels import outbox
from vedette.central.alerting.facts import Book, Contact
from vedette.central.alerting.people import Tested
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.changing import Refused
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.api.tagging import tagged
from vedette.central.services import Services
from vedette.central.store.db import Tx

CONTACTS: Final = "/contacts/{username:str}"


class Reachable(msgspec.Struct, frozen=True, kw_only=True):
    """By which channels somebody is reached, without addresses, and why they are not."""

    username: str
    channels: list[str]
    problems: list[str] = []


class Contacts(msgspec.Struct, frozen=True, kw_only=True):
    """How somebody is reached; `problems`: why they are not, even for what is critical."""

    username: str
    contacts: list[Contact]
    problems: list[str] = []


class NewContacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All the ways in which somebody shall be reached; none: not at all."""

    contacts: list[Contact]


def _may(session: Session, username: str) -> None:
    """Return where these are the asker's own contacts, or the asker may know of all people."""
    if session.username != username:
        access.require(session, "admin")
        access.require_whole(session)


async def _user(tx: Tx, username: str) -> str:
    name = username[:128].replace("\0", "")
    if await tx.value("user_is_there", username=name) is None:
        raise NotThere(detail="there is no such user who is enabled")
    return name


def _view(book: Book, username: str) -> Contacts:
    return Contacts(
        username=username,
        contacts=book.contacts.get(username, []),
        problems=doubts.of_person(username, book),
    )


@get("/contacts", summary="Who is reached by which channels (admin of the whole fleet)")
async def read_reachable(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[list[Reachable]]:
    """Return everybody who has a contact, without addresses."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
    found = [
        Reachable(
            username=name,
            channels=[contact.channel for contact in contacts],
            problems=doubts.of_person(name, book),
        )
        for name, contacts in book.contacts.items()
    ]
    cursors = Cursors(services, "contacts")
    return paged(request, *cut(found, lambda one: (one.username,), cursors, cursor, limit))


@get(CONTACTS, summary="How somebody is reached: themselves, or admin of the whole fleet")
async def read_contacts(
    request: AnyRequest, services: TheServices, session: TheSession, username: FromPath[str]
) -> Response[Contacts]:
    """Return channels and addresses; somebody else's look is in the audit log."""
    _may(session, username)
    async with services.db.transaction() as tx:
        name = await _user(tx, username)
        book = await documents.current(tx)
        if name != session.username:
            await audit.write(
                tx,
                at_ms=services.now_ms(),
                actor=session.username,
                action="alerts.contacts.look",
                target=name,
            )
    return tagged(request, _view(book, name))


@put(CONTACTS, summary="Have somebody reached so: themselves, or admin of the whole fleet")
async def put_contacts(
    services: TheServices,
    session: TheSession,
    username: FromPath[str],
    data: JSONBody[NewContacts],
) -> Contacts:
    """Write all contacts of somebody anew; ladders follow them from the next notice on."""
    return await rewrite(services, session, username, lambda _: data.contacts)


async def rewrite(
    services: Services,
    session: Session,
    username: str,
    changed: Callable[[list[Contact]], list[Contact]],
) -> Contacts:
    """Have somebody's contacts be what `changed` makes of them; nobody writes in between.

    Raises:
        Refused: A channel is not there, or tells nobody.
    """
    _may(session, username)
    async with services.db.transaction() as tx:
        name = await _user(tx, username)
        await documents.hold(tx)
        book = await documents.current(tx)
        contacts = changed(book.contacts.get(name, []))
        _require_channels(book, contacts)
        await documents.put(tx, "contacts", name, contacts, session.username, services.now_ms())
        book = await documents.current(tx)
    services.bulletin.publish(jobs.NOW, "ladders")
    return _view(book, name)


@delete(CONTACTS, status_code=204, summary="Keep no address of somebody, nor those of before")
async def drop_contacts(
    services: TheServices, session: TheSession, username: FromPath[str]
) -> None:
    """Forget every version of somebody's contacts."""
    _may(session, username)
    async with services.db.transaction() as tx:
        await people.forget_contacts(
            tx, username[:128].replace("\0", ""), actor=session.username, now_ms=services.now_ms()
        )
    services.bulletin.publish(jobs.NOW, "ladders")


@post(f"{CONTACTS}/test", status_code=202, summary="Send somebody a test by each contact")
async def test_contacts(
    services: TheServices, session: TheSession, username: FromPath[str]
) -> list[Tested]:
    """Have a test notice on its way by each contact that carries; once a minute, 20 an hour."""
    _may(session, username)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        name = await _user(tx, username)
        book = await documents.current(tx)
        if not book.contacts.get(name):
            raise Refused(detail=f"{name} has no contact: add one first")
        await _require_few(tx, services, name)
        notices, tested = people.tests_of(
            book, name, by=session.username, url=services.config.url, now_ms=now_ms
        )
        await outbox.put(tx, notices, now_ms)
        await audit.write(
            tx, at_ms=now_ms, actor=session.username, action="alerts.contacts.test", target=name
        )
    services.bulletin.publish(deliver.NOW)
    return tested


async def _require_few(tx: Tx, services: Services, username: str) -> None:
    since_ms = services.now_ms() - people.TESTS_WITHIN_MS
    count = await tx.value("alert_tests_count", person=username, since_ms=since_ms)
    if isinstance(count, int) and count >= people.MAX_TESTS:
        raise Refused(detail=f"{count} tests went to {username} within the hour: wait a while")


def _require_channels(book: Book, contacts: list[Contact]) -> None:
    known = book.reach.channels or {}
    for contact in contacts:
        if contact.channel not in known:
            raise Refused(
                detail=f"there is no channel {contact.channel[:64]!r}",
                extra=[{"detail": f"channels: {', '.join(sorted(known)) or 'none yet'}"}],
            )
        if known[contact.channel] == deliver.NO_NOTICES:
            raise Refused(detail=f"channel {contact.channel} tells nobody: {deliver.NO_NOTICES}")


ROUTES: Final = [read_reachable, read_contacts, put_contacts, drop_contacts, test_contacts]
