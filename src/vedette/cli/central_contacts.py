"""`vedette central contacts …`: how people are reached, and a test of it.

Thin: reads arguments, calls `central.alerting`, prints. The rule: addresses are personal; they are
shown only where one person is asked for, and the look stands in the audit log.
"""

import click

from vedette.central import audit, hours
from vedette.central.alerting import documents, doubts, people
from vedette.central.alerting.channels import outbox
from vedette.central.alerting.facts import Contact
from vedette.central.alerting.people import Tested
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.cli.at_central import ACTOR, in_transaction, now_ms, show_json, show_table
from vedette.cli.printable import clean

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_by = click.option("--by", default="", help="Who you are; it stands in the audit log.")


@click.group("contacts", short_help="How people are reached; a test of it.")
def contacts_group() -> None:
    """How people are reached: channels and addresses, as the rules file or they themselves say."""


@contacts_group.command("list", short_help="List who is reached by which channels.")
@_as_json
@click.pass_obj
def list_contacts(config: CentralConfig, *, as_json: bool) -> None:
    """List who is reached by which channels, without addresses."""
    book = in_transaction(config, documents.current)
    found = {
        name: {
            "channels": [contact.channel for contact in contacts],
            "problems": doubts.of_person(name, book),
        }
        for name, contacts in sorted(book.contacts.items())
    }
    if as_json:
        show_json(found)
        return
    rows = [
        [name, ", ".join(one["channels"]), "; ".join(one["problems"])]
        for name, one in found.items()
    ]
    show_table(["person", "channels", ""], rows, "nobody has a contact yet")


@contacts_group.command("show", short_help="Show addresses of one person.")
@click.argument("person")
@_by
@_as_json
@click.pass_obj
def show_contacts(config: CentralConfig, person: str, by: str, *, as_json: bool) -> None:
    """Show how PERSON is reached, with addresses; the look stands in the audit log."""

    async def read(tx: Tx) -> list[Contact]:
        found = (await documents.current(tx)).contacts.get(person, [])
        await audit.write(
            tx, at_ms=now_ms(), actor=by or ACTOR, action="alerts.contacts.look", target=person[:64]
        )
        return found

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    rows = [
        [one.channel, one.address or "the channel's own", f"from {one.least}", _quiet(one)]
        for one in found
    ]
    show_table(["channel", "address", "severity", "quiet"], rows, f"{person} has no contact")


@contacts_group.command("test", short_help="Send a person a test by each contact.")
@click.argument("person")
@_by
@_as_json
@click.pass_obj
def test_command(config: CentralConfig, person: str, by: str, *, as_json: bool) -> None:
    """Have a test sent to PERSON by each contact; the running central sends it."""

    async def send(tx: Tx) -> list[Tested]:
        at_ms = now_ms()
        notices, tested = people.tests_of(
            await documents.current(tx), person, by=by or ACTOR, url=config.url, now_ms=at_ms
        )
        await outbox.put(tx, notices, at_ms)
        await audit.write(
            tx, at_ms=at_ms, actor=by or ACTOR, action="alerts.contacts.test", target=person[:64]
        )
        return tested

    found = in_transaction(config, send)
    if as_json:
        show_json(found)
        return
    rows = [[one.channel, one.why or "on its way"] for one in found]
    show_table(["channel", ""], rows, f"{person} has no contact")


@contacts_group.command("forget", short_help="Keep no address of a person.")
@click.argument("person")
@_by
@click.pass_obj
def forget_command(config: CentralConfig, person: str, by: str) -> None:
    """Keep no address of PERSON, nor any of before."""
    in_transaction(
        config,
        lambda tx: people.forget_contacts(tx, person, actor=by or ACTOR, now_ms=now_ms()),
    )
    click.echo(f"no address of {clean(person)} is kept")


def _quiet(contact: Contact) -> str:
    week = hours.text_of(hours.Hours(weekly=contact.quiet)) if contact.quiet else ""
    return f"{week} ({contact.time_zone})" if week else ""
