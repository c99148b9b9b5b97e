"""`vedette central channels …`, `… deliveries …`: where notices go, and what became of them.

Thin: reads arguments, calls `central.alerting.channels`, prints. The rule: what is secret is asked
for or read from a file, never taken from the command line, where others on the machine could read
it; a webhook's new secret alone goes to standard output.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import msgspec

from vedette.central import serve
from vedette.central.alerting.channels import bucket, looking, managing
from vedette.central.alerting.channels.checking import NewChannel, check_reach
from vedette.central.alerting.channels.egress import rules
from vedette.central.alerting.channels.facts import (
    S3,
    Apprise,
    Mail,
    Mqtt,
    Settings,
    State,
    Webhook,
)
from vedette.central.alerting.channels.looking import After, ChannelView, DeliveryRow, DeliveryView
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.channels.sending import Sending
from vedette.central.bulletin import Bulletin
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

NOT_SENT: Final = 1
"""Exit status where a message to test did not arrive."""

_MOST: Final = 500
_STATES: Final = [state.value for state in State]
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_name = click.argument("channel")
_secret_file = click.option(
    "--secret-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="File with the secret, password or address; - is standard input.",
)
_rates = (
    click.option("--per-minute", type=int, help="Messages a minute at most."),
    click.option("--at-once", type=int, help="Messages at once at most."),
)
_pictures = click.option(
    "--pictures/--no-pictures", default=True, show_default=True,
    help="Attach an event's picture where its site lets it leave.",
)  # fmt: skip
_change = click.option("--change", is_flag=True, help="Change one that is there.")


@click.group("channels", short_help="Where notices and exports go.")
def channels_group() -> None:
    """Channels: where notices and exports go, and how each is."""


@channels_group.command("list")
@_as_json
@click.pass_obj
def list_command(config: CentralConfig, *, as_json: bool) -> None:
    """List channels, with what waits and what is dead on each."""
    found = in_transaction(config, lambda tx: looking.channels(tx, now_ms()))
    if as_json:
        show_json(found)
        return
    rows = [
        [
            one.channel,
            one.kind,
            _where(one.settings),
            str(one.state),
            str(one.waiting),
            str(one.dead),
            _at(one.sent_ms),
            (one.disabled_why or one.said)[:80],
        ]
        for one in found
    ]
    head = ["channel", "kind", "where", "state", "waiting", "dead", "last sent", "said"]
    show_table(head, rows, "no channels: vedette central channels add --help")


@channels_group.command("show")
@_name
@_as_json
@click.pass_obj
def show_command(config: CentralConfig, channel: str, *, as_json: bool) -> None:
    """Show one channel, without its secrets."""
    found = in_transaction(config, lambda tx: looking.channel(tx, channel, now_ms()))
    if as_json:
        show_json(found)
    else:
        _print_channel(found)


@channels_group.group("add", short_help="Have a channel, or change one.")
def add_group() -> None:
    """Have a channel, or change one with --change. Secrets are asked for."""


def _rated(command: Callable[..., None]) -> Callable[..., None]:
    for option in (*_rates, _change, _as_json, _secret_file):
        command = option(command)
    return command


@add_group.command("webhook", short_help="POST signed JSON to URL.")
@_name
@click.argument("url")
@click.option("--ed25519", is_flag=True, help="Sign by v1a: the receiver gets a public key.")
@_rated
@click.pass_obj
def add_webhook(
    config: CentralConfig,
    channel: str,
    url: str,
    *,
    ed25519: bool,
    secret_file: Path | None,
    change: bool,
    as_json: bool,
    **rates: int | None,
) -> None:
    """POST JSON to URL, signed by the Standard Webhooks specification.

    The secret is made here and printed once, unless --secret-file brings one.
    """
    settings = _with(Webhook(url=url, signs="v1a" if ed25519 else "v1"), rates)
    secret = _read(secret_file) if secret_file else ""
    wanted = NewChannel(settings=settings, secret=secret)
    _put(config, channel, wanted, change=change, as_json=as_json)


@add_group.command("mail", short_help="Send mail through an SMTP server.")
@_name
@click.argument("host")
@click.option("--sender", required=True, help="The address that it comes from.")
@click.option("--to", "to", multiple=True, help="Recipient; repeatable. People bring their own.")
@click.option("--port", default=587, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--tls", default="starttls", show_default=True, type=click.Choice(["starttls", "tls", "none"])
)
@click.option("--username", default="", help="Sign in; the password is asked for.")
@_pictures
@_rated
@click.pass_obj
def add_mail(  # noqa: PLR0917 - click passes them by name
    config: CentralConfig,
    channel: str,
    host: str,
    sender: str,
    to: tuple[str, ...],
    port: int,
    tls: str,
    username: str,
    *,
    pictures: bool,
    secret_file: Path | None,
    change: bool,
    as_json: bool,
    **rates: int | None,
) -> None:
    """Send mail through HOST. Without --to only to people's own addresses."""
    fields = {
        "type": "mail", "host": host, "sender": sender, "to": list(to), "port": port, "tls": tls,
        "username": username, "pictures": pictures,
    }  # fmt: skip
    settings = _with(msgspec.convert(fields, Mail), rates)
    password = _ask("password", secret_file) if username and _needs(secret_file, change) else ""
    _put(
        config,
        channel,
        NewChannel(settings=settings, password=password),
        change=change,
        as_json=as_json,
    )


@add_group.command("mqtt", short_help="Publish to an MQTT broker.")
@_name
@click.argument("host")
@click.option("--port", type=click.IntRange(1, 65535), help="8883; without TLS 1883.")
@click.option("--tls/--no-tls", default=True, show_default=True)
@click.option("--username", default="", help="Sign in; the password is asked for.")
@click.option("--prefix", default="vedette", show_default=True, help="Of every topic.")
@click.option("--discovery", default="", help="Home Assistant's prefix: homeassistant.")
@_rated
@click.pass_obj
def add_mqtt(  # noqa: PLR0917 - click passes them by name
    config: CentralConfig,
    channel: str,
    host: str,
    port: int | None,
    username: str,
    prefix: str,
    discovery: str,
    *,
    tls: bool,
    secret_file: Path | None,
    change: bool,
    as_json: bool,
    **rates: int | None,
) -> None:
    """Publish notices, and what is wrong where as retained state, to the broker HOST."""
    settings = Mqtt(
        host=host,
        port=port or (8883 if tls else 1883),
        tls=tls,
        username=username,
        prefix=prefix,
        discovery=discovery,
    )
    password = _ask("password", secret_file) if username and _needs(secret_file, change) else ""
    wanted = NewChannel(settings=_with(settings, rates), password=password)
    _put(config, channel, wanted, change=change, as_json=as_json)


@add_group.command("apprise", short_help="Send by a service that Apprise knows.")
@_name
@_pictures
@_rated
@click.pass_obj
def add_apprise(
    config: CentralConfig,
    channel: str,
    *,
    pictures: bool,
    secret_file: Path | None,
    change: bool,
    as_json: bool,
    **rates: int | None,
) -> None:
    """Send by Apprise; its address (tgram://…) is asked for and kept as a secret."""
    url = _ask("Apprise address", secret_file)
    wanted = NewChannel(settings=_with(Apprise(pictures=pictures), rates), url=url)
    _put(config, channel, wanted, change=change, as_json=as_json)


@add_group.command("s3", short_help="Put exports into a bucket.")
@_name
@click.argument("endpoint")
@click.argument("bucket_name", metavar="BUCKET")
@click.option("--region", default="us-east-1", show_default=True)
@click.option("--prefix", default="", help="Of every key.")
@click.option("--virtual-host", is_flag=True, help="The bucket in the host's name.")
@_rated
@click.pass_obj
def add_s3(  # noqa: PLR0917 - click passes them by name
    config: CentralConfig,
    channel: str,
    endpoint: str,
    bucket_name: str,
    region: str,
    prefix: str,
    *,
    virtual_host: bool,
    secret_file: Path | None,
    change: bool,
    as_json: bool,
    **rates: int | None,
) -> None:
    """Put exports into BUCKET of the S3 server at ENDPOINT (https://…, without the bucket).

    The access key is asked for; a --secret-file holds its id and its secret, one a line.
    """
    settings = S3(
        endpoint=endpoint,
        bucket=bucket_name,
        region=region,
        prefix=prefix,
        path_style=not virtual_host,
    )
    key_id = secret = ""
    if secret_file:
        key_id, _, secret = _read(secret_file).partition("\n")
    elif not change:
        key_id, secret = _ask("access key id", None), _ask("secret access key", None)
    wanted = NewChannel(
        settings=_with(settings, rates), key_id=key_id.strip(), secret=secret.strip()
    )
    _put(config, channel, wanted, change=change, as_json=as_json)


@channels_group.command("test", short_help="Send a message to test CHANNEL.")
@_name
@click.option("--to", "address", default="", help="To this address on the channel.")
@_as_json
@click.pass_obj
def test_command(config: CentralConfig, channel: str, address: str, *, as_json: bool) -> None:
    """Send a message now and say what came of it. Exit status 1: it did not arrive."""

    async def work(db: Database) -> DeliveryView:
        async with db.transaction() as tx:
            name = await managing.put_test(
                tx, channel, url=config.url, address=address, actor=ACTOR, now_ms=now_ms()
            )
        sending = Sending(_services(config, db))
        try:
            leased = await sending.lease_one(name, now_ms())
            if leased is not None:
                await sending.send(leased)
        finally:
            await sending.close()
        async with db.transaction() as tx:
            return await looking.delivery(tx, name, None)

    found = with_database(config, work)
    if as_json:
        show_json(found)
    else:
        click.echo(f"{found.row.state}: {clean(found.row.said)}")
    if found.row.state not in {State.SENT, State.SENDING}:
        raise SystemExit(NOT_SENT)


@channels_group.command("rotate-secret", short_help="Give a webhook a new secret.")
@_name
@click.option(
    "--hours",
    default=float(managing.OVERLAP_H),
    show_default=True,
    type=click.FloatRange(0, 720),
    help="How long the one before signs too.",
)
@click.pass_obj
def rotate_command(config: CentralConfig, channel: str, hours: float) -> None:
    """Print a new secret, once; for a while both sign, so that no message is refused."""
    seal = Seal(config.state)

    async def work(tx: Tx) -> str:
        return await managing.rotate(
            tx, seal, channel, overlap_h=hours, actor=ACTOR, now_ms=now_ms()
        )

    click.echo(in_transaction(config, work))


@channels_group.command("rotate-key", short_help="Seal all secrets under a new key.")
@click.pass_obj
def rotate_key_command(config: CentralConfig) -> None:
    """Seal every channel's secret under a new key, and forget the one before."""
    seal = Seal(config.state)
    seal.renew()

    async def work(tx: Tx) -> int:
        return await managing.reseal(tx, seal, actor=ACTOR, now_ms=now_ms())

    count = in_transaction(config, work)
    seal.drop_old()
    click.echo(f"{count} secrets sealed anew; keep a copy of {seal.path}")


@channels_group.command("enable")
@_name
@click.pass_obj
def enable_command(config: CentralConfig, channel: str) -> None:
    """Have a channel tried again, as if it had never failed."""
    in_transaction(config, lambda tx: managing.enable(tx, channel, actor=ACTOR, now_ms=now_ms()))
    click.echo("enabled")


@channels_group.command("disable")
@_name
@click.option("--why", default="", help="The reason; it stands with the channel.")
@click.pass_obj
def disable_command(config: CentralConfig, channel: str, why: str) -> None:
    """Have nothing sent on a channel; what is due for it waits."""
    in_transaction(
        config, lambda tx: managing.disable(tx, channel, why, actor=ACTOR, now_ms=now_ms())
    )
    click.echo("disabled")


@channels_group.command("remove")
@_name
@click.pass_obj
def remove_command(config: CentralConfig, channel: str) -> None:
    """Have a channel no more; what waited for it is cancelled."""
    in_transaction(config, lambda tx: managing.remove(tx, channel, actor=ACTOR, now_ms=now_ms()))
    click.echo("removed")


@click.group("deliveries", short_help="What is sent to people and programs, and its fate.")
def deliveries_group() -> None:
    """Deliveries: what is to be sent, and what became of each."""


@deliveries_group.command("list")
@click.option("--state", default="", type=click.Choice(["", *_STATES]), help="As dead.")
@click.option("--channel", default="", help="Only on this channel.")
@click.option("--incident", default="", help="Only about this incident.")
@_as_json
@click.pass_obj
def deliveries_list(
    config: CentralConfig, state: str, channel: str, incident: str, *, as_json: bool
) -> None:
    """List deliveries, newest first."""
    which = After(state=state, channel=channel, incident=incident)
    found = in_transaction(config, lambda tx: looking.deliveries(tx, None, which, _MOST))
    if as_json:
        show_json(found)
        return
    rows = [_delivery_cells(row) for row in found]
    head = ["delivery", "channel", "to", "kind", "state", "tries", "made", "subject", "said"]
    show_table(head, rows, "no deliveries")


@deliveries_group.command("show")
@click.argument("delivery")
@_as_json
@click.pass_obj
def deliveries_show(config: CentralConfig, delivery: str, *, as_json: bool) -> None:
    """Show one delivery with each of its tries."""
    found = in_transaction(config, lambda tx: looking.delivery(tx, delivery, None))
    if as_json:
        show_json(found)
        return
    row = found.row
    to = clean(row.person or row.address)
    click.echo(f"{row.delivery}: {row.state}, {row.kind} by {row.channel} {to}")
    click.echo("\n".join(f"  {clean(line)}" for line in found.text.splitlines()))
    tries = [
        [str(one.number), _at(one.at_ms), f"{one.took_ms} ms", one.outcome, one.said]
        for one in found.tries
    ]
    show_table(["try", "when", "took", "came to", "said"], tries, "not tried yet")


@deliveries_group.command("replay", short_help="Send after all what is dead or cancelled.")
@click.argument("delivery", required=False)
@click.option("--channel", default="", help="All that is dead on this channel.")
@click.pass_obj
def deliveries_replay(config: CentralConfig, delivery: str | None, channel: str) -> None:
    """Send a dead or cancelled one after all, or all that is dead on a channel."""
    if bool(delivery) == bool(channel):
        raise ConfigError("say either a delivery or --channel")

    async def work(tx: Tx) -> int:
        if channel:
            return await managing.replay_all(tx, channel, actor=ACTOR, now_ms=now_ms())
        await managing.replay(tx, delivery or "", actor=ACTOR, now_ms=now_ms())
        return 1

    click.echo(f"{in_transaction(config, work)} to be sent by the running central")


@deliveries_group.command("cancel")
@click.argument("delivery")
@click.pass_obj
def deliveries_cancel(config: CentralConfig, delivery: str) -> None:
    """Have one that waits not sent."""
    in_transaction(config, lambda tx: managing.cancel(tx, delivery, actor=ACTOR, now_ms=now_ms()))
    click.echo("cancelled")


def _put(
    config: CentralConfig, channel: str, wanted: NewChannel, *, change: bool, as_json: bool
) -> None:
    """Have the channel, and print what was made."""
    allowed = rules(config.alerts.allow_private, config.alerts.ports)
    seal = Seal(config.state)

    async def work(db: Database) -> tuple[str, ChannelView]:
        await check_reach(allowed, wanted.settings)
        async with db.transaction() as tx:
            secret = await managing.put(
                tx, seal, channel, wanted, new=not change, actor=ACTOR, now_ms=now_ms()
            )
            return secret, await looking.channel(tx, channel, now_ms())

    secret, found = with_database(config, work)
    if secret == wanted.secret:
        secret = ""  # whoever brought it has it
    if as_json:
        show_json({"channel": found, "secret": secret})
        return
    click.echo(f"{channel}: {_where(found.settings)}", err=True)
    if secret:
        click.echo("what the receiver needs to verify, shown this once:", err=True)
        click.echo(secret)
    click.echo(f"try it: vedette central channels test {channel}", err=True)


def _with(settings: Settings, rates: dict[str, int | None]) -> Settings:
    given = {name: value for name, value in rates.items() if value is not None}
    return msgspec.structs.replace(settings, **given)


def _needs(file: Path | None, change: bool) -> bool:
    """True where a password is to be had: one that is there stays unless another is given."""
    return file is not None or not change


def _ask(what: str, file: Path | None) -> str:
    return _read(file) if file else click.prompt(what, hide_input=True, err=True)


def _read(file: Path) -> str:
    with click.open_file(str(file), encoding="utf-8") as opened:
        return opened.read(4096).strip()


def _services(config: CentralConfig, db: Database) -> Services:
    return Services(
        config=config,
        clock=SteadyClock(SystemClock(), elapsed_ns),
        db=db,
        bulletin=Bulletin(),
        online_key=serve.online_key(config.state),
    )


def _print_channel(found: ChannelView) -> None:
    click.echo(f"{found.channel}: {found.kind}, {found.state}")
    for name, value in msgspec.to_builtins(found.settings).items():
        click.echo(f"  {name}: {clean(str(value))}")
    click.echo(f"  secret: {'kept, sealed' if found.has_secret else 'none'}")
    click.echo(f"  waiting {found.waiting}, dead {found.dead}, sent in a day {found.sent_day}")
    if found.disabled_why or found.said:
        click.echo(f"  {clean(found.disabled_why or found.said)}")


def _where(settings: Settings) -> str:
    match settings:
        case Webhook(url=url):
            return url
        case Mail(host=host, port=port) | Mqtt(host=host, port=port):
            return f"{host}:{port}"
        case Apprise(service=service):
            return service
        case S3():
            return f"{bucket.base(settings)}/{settings.prefix}".rstrip("/")


def _delivery_cells(row: DeliveryRow) -> list[str]:
    to = f"{row.person} {row.address}".strip()
    cells = [row.delivery, row.channel, to, row.kind, row.state, str(row.tries)]
    return [*cells, _at(row.made_ms), row.subject[:60], row.said[:60]]


def _at(ms: int | None) -> str:
    return f"{from_wall_ms(ms):%Y-%m-%d %H:%M}" if ms else "-"
