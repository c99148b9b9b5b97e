"""`vedette central exports …`, `hold`, `release`, `holds`: what leaves, and what must stay. Thin.

The rule: an export is stored here and fed by the running central; who typed it stands in the audit
log, with the reason of a hold.
"""

from typing import Any, Final

import click

from vedette.central import events, serve
from vedette.central.alerting.channels import looking as deliveries
from vedette.central.alerting.channels.facts import State
from vedette.central.alerting.channels.looking import DeliveryView
from vedette.central.alerting.channels.sending import Sending
from vedette.central.alerting.facts import Where
from vedette.central.bulletin import Bulletin
from vedette.central.exporting import holding, store, trying
from vedette.central.exporting.facts import MAX_LINK_HOURS, Export
from vedette.central.exporting.holding import Hold
from vedette.central.exporting.store import ExportView
from vedette.central.services import Services
from vedette.central.settings import CentralConfig
from vedette.central.steady import SteadyClock
from vedette.central.store.db import Database, Tx
from vedette.cli.at_central import (
    ACTOR,
    in_transaction,
    now_ms,
    show_json,
    show_table,
    with_database,
)
from vedette.cli.printable import clean
from vedette.clock import SystemClock, elapsed_ns, from_wall_ms
from vedette.errors import ConfigError
from vedette.wire.messages import EventKind

NOT_SENT: Final = 1
"""Exit status where what was tried did not arrive."""

_MOST: Final = 1_000
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_by = click.option("--by", default="", help="Who you are; it stands in the audit log.")
_name = click.argument("export")


@click.group("exports", short_help="Which events go to which other system.")
def exports_group() -> None:
    """Exports: which events and evidence go to which channel, as CloudEvents."""


@exports_group.command("list")
@_as_json
@click.pass_obj
def list_command(config: CentralConfig, *, as_json: bool) -> None:
    """List exports, with what keeps any from arriving."""
    found = in_transaction(config, lambda tx: store.views(tx, config.url))
    if as_json:
        show_json(found)
        return
    rows = [
        [
            one.settings.export,
            one.settings.channel,
            "on" if one.enabled else "off",
            _what(one.settings),
            _where(one.settings.where),
            one.trouble,
        ]
        for one in found
    ]
    head = ["export", "channel", "is", "of", "from", "trouble"]
    show_table(head, rows, "no exports: vedette central exports put --help")


@exports_group.command("show")
@_name
@_as_json
@click.pass_obj
def show_command(config: CentralConfig, export: str, *, as_json: bool) -> None:
    """Show one export."""
    found = in_transaction(config, lambda tx: _view(tx, config, export))
    _show(found, as_json=as_json)


@exports_group.command("put", short_help="Have an export, or change it.")
@_name
@click.argument("channel")
@click.option(
    "--tell", multiple=True, type=click.Choice(["event", "evidence", "clip"]), help="Repeatable."
)
@click.option("--kind", "kinds", multiple=True, help="Only events of this kind; repeatable.")
@click.option("--label", "labels", multiple=True, help="Only of this class; repeatable.")
@click.option("--site", "sites", multiple=True, help="Only from this site; repeatable.")
@click.option("--folder", "folders", multiple=True, help="Only from this folder; repeatable.")
@click.option("--group", "groups", multiple=True, help="Only from this group; repeatable.")
@click.option("--device", "devices", multiple=True, help="Only from this device; repeatable.")
@click.option("--camera", "cameras", multiple=True, help="Only from this camera; repeatable.")
@click.option("--late/--no-late", default=True, show_default=True, help="What had waited too.")
@click.option("--fetch", is_flag=True, help="Ask devices for the clip of each such event.")
@click.option(
    "--link-hours",
    "link_h",
    default=72.0,
    show_default=True,
    type=click.FloatRange(0, MAX_LINK_HOURS),
    help="How long links are good; 0: none.",
)
@click.option("--off", is_flag=True, help="Have it, but switched off.")
@_by
@_as_json
@click.pass_obj
def put_command(
    config: CentralConfig,
    export: str,
    channel: str,
    *,
    off: bool,
    by: str,
    as_json: bool,
    **said: Any,
) -> None:
    """Have EXPORT feed CHANNEL (a webhook, MQTT or S3) from now on.

    \b
    What is not given here is as by default, also where it was another before.
      vedette central exports put mes mes-hook --kind line_crossed --fetch
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    names = ("sites", "folders", "groups", "devices", "cameras")
    where = Where(**{name: list(said[name]) for name in names})
    wanted = Export(
        export=export,
        channel=channel,
        tell=list(said["tell"]),
        kinds=[_kind(one) for one in said["kinds"]],
        labels=list(said["labels"]),
        where=where,
        late=said["late"],
        fetch=said["fetch"],
        link_h=said["link_h"],
    )

    async def work(tx: Tx) -> ExportView:
        await store.put(tx, wanted, enabled=not off, by=by or ACTOR, now_ms=now_ms())
        return await _view(tx, config, export)

    _show(in_transaction(config, work), as_json=as_json)


@exports_group.command("remove")
@_name
@_by
@click.pass_obj
def remove_command(config: CentralConfig, export: str, by: str) -> None:
    """Have an export no more; links that it gave out end with it."""
    in_transaction(config, lambda tx: store.drop(tx, export, by=by or ACTOR, now_ms=now_ms()))
    click.echo("removed")


@exports_group.command("try", short_help="Send the newest event that it asks for.")
@_name
@_as_json
@click.pass_obj
def try_command(config: CentralConfig, export: str, *, as_json: bool) -> None:
    """Send the newest event that EXPORT asks for, now. Exit status 1: it did not arrive."""

    async def work(db: Database) -> tuple[int, DeliveryView]:
        services, now = _services(config, db), now_ms()
        async with db.transaction() as tx:
            made = await trying.put_newest(tx, services, export, by=ACTOR, now_ms=now)
        sending = Sending(services)
        try:
            leased = await sending.lease_one(made.delivery, now)
            if leased is not None:
                await sending.send(leased)
        finally:
            await sending.close()
        async with db.transaction() as tx:
            return made.recent, await deliveries.delivery(tx, made.delivery, None)

    recent, found = with_database(config, work)
    if as_json:
        show_json({"recent": recent, "delivery": found})
    else:
        click.echo(f"{recent} of the newest events of seven days are ones that it asks for")
        click.echo(f"{found.row.state}: {clean(found.row.subject)} {clean(found.row.said)}")
    if found.row.state not in {State.SENT, State.SENDING}:
        raise SystemExit(NOT_SENT)


@click.command("hold", short_help="Have nobody let go of EVENT and its evidence.")
@click.argument("event")
@click.option("--reason", required=True, help="Why; it stands in the audit log.")
@_by
@_as_json
@click.pass_obj
def hold_command(config: CentralConfig, event: str, reason: str, by: str, *, as_json: bool) -> None:
    """Hold EVENT with its evidence, here and on its device, whatever retention says.

    \b
    The device learns of it when it asks next.
      vedette central hold ev_0190… --reason "claim 2026-114"
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped

    async def work(db: Database) -> Hold:
        device, name = await _event(db, event)
        async with db.transaction() as tx:
            return await holding.hold(
                tx, device, name, reason=reason, by=by or ACTOR, now_ms=now_ms()
            )

    found = with_database(config, work)
    if as_json:
        show_json(found)
    else:
        click.echo(f"held: {clean(found.reason)} ({_on_device(found)})")


@click.command("release", short_help="Let a held EVENT go its way again.")
@click.argument("event")
@click.option("--reason", default="", help="Why; it stands in the audit log.")
@_by
@click.pass_obj
def release_command(config: CentralConfig, event: str, reason: str, by: str) -> None:
    """Let EVENT and its evidence go their way again: retention and budgets hold."""

    async def work(db: Database) -> bool:
        device, name = await _event(db, event)
        async with db.transaction() as tx:
            return await holding.release(
                tx, device, name, reason=reason, by=by or ACTOR, now_ms=now_ms()
            )

    if not with_database(config, work):
        raise ConfigError("this event is not held", operator_hint="vedette central holds")
    click.echo("released")


@click.command("holds", short_help="List what is held, by whom and why.")
@click.option("--site", default="", help="Only at this site.")
@_as_json
@click.pass_obj
def holds_command(config: CentralConfig, site: str, *, as_json: bool) -> None:
    """List events that are held, newest first, and what their devices said to it."""
    found = in_transaction(
        config, lambda tx: holding.page(tx, None, site=site, after=None, limit=_MOST)
    )
    if as_json:
        show_json(found)
        return
    rows = [
        [
            one.event,
            clean(f"{one.site}/{one.device}/{one.camera}"),
            f"{from_wall_ms(one.held_ms):%Y-%m-%d %H:%M}",
            clean(one.held_by),
            clean(one.reason)[:60],
            _on_device(one),
        ]
        for one in found
    ]
    head = ["event", "at", "held since", "by", "why", "on the device"]
    show_table(head, rows, "nothing is held")


async def _event(db: Database, event: str) -> tuple[str, str]:
    row = await events.event(db, event, None)
    if row is None:
        raise ConfigError(f"there is no event {event[:64]!r}")
    return row.device, row.event


async def _view(tx: Tx, config: CentralConfig, export: str) -> ExportView:
    return await store.view(tx, await store.get(tx, export), config.url)


def _show(found: ExportView, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    state = "on" if found.enabled else "off"
    click.echo(f"{found.settings.export}: {state}, to channel {found.settings.channel}")
    click.echo(f"  of {_what(found.settings)}, from {_where(found.settings.where)}")
    links = f"good for {found.settings.link_h:g} h" if found.settings.link_h else "none"
    fetch = "asked for" if found.settings.fetch else "not asked for"
    click.echo(f"  clips {fetch}, links {links}")
    click.echo(f"  version {found.version} by {clean(found.changed_by)}")
    if found.trouble:
        click.echo(f"  {clean(found.trouble)}")


def _what(export: Export) -> str:
    told = "/".join(export.tell) or "event/evidence/clip"
    narrowed = [*map(str, export.kinds), *export.labels]
    return clean(told + (f" of {', '.join(narrowed)}" if narrowed else ""))


def _where(where: Where) -> str:
    names = (*where.sites, *where.folders, *where.groups, *where.devices, *where.cameras)
    return clean(", ".join(names)) or "everywhere"


def _kind(text: str) -> EventKind:
    try:
        return EventKind(text)
    except ValueError as error:
        raise ConfigError(
            f"there is no kind {text[:40]!r}", operator_hint=f"one of {', '.join(EventKind)}"
        ) from error


def _on_device(found: Hold) -> str:
    words = {
        "none": "no evidence",
        "asked": "the device has not answered yet",
        "held": "held by the device too",
        "refused": f"the device does not: {clean(found.refused)}",
    }
    return words[found.on_device]


def _services(config: CentralConfig, db: Database) -> Services:
    return Services(
        config=config,
        clock=SteadyClock(SystemClock(), elapsed_ns),
        db=db,
        bulletin=Bulletin(),
        online_key=serve.online_key(config.state),
    )
