"""`vedette central …`: run the service, and the few things that are done at its terminal."""

from datetime import timedelta
from pathlib import Path

import click
import msgspec

from vedette.central import desired, enrolment, serve, settings
from vedette.central.bulletin import Bulletin
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Database
from vedette.cli import (
    central_archive,
    central_backup,
    central_business,
    central_cameras,
    central_channels,
    central_clips,
    central_contacts,
    central_devices,
    central_diagnose,
    central_exports,
    central_incidents,
    central_models,
    central_oncall,
    central_query,
    central_releases,
    central_rollouts,
    central_rules,
    central_site_keys,
    central_tokens,
    central_tree,
    central_users,
)
from vedette.cli.at_central import ACTOR as _ACTOR
from vedette.cli.at_central import now_ms as _now_ms
from vedette.cli.at_central import show_json
from vedette.cli.at_central import with_database as _with_database
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError
from vedette.wire.signed import Signed


@click.group("central")
@click.option(
    "--config",
    "path",
    envvar="VEDETTE_CENTRAL_CONFIG",
    type=click.Path(path_type=Path),
    help="A central.yaml. Environment: VEDETTE_CENTRAL_CONFIG.",
)
@click.option("--state", type=click.Path(path_type=Path), help="State directory.")
@click.pass_context
def command(context: click.Context, path: Path | None, state: Path | None) -> None:
    """Run the service that knows the fleet."""
    config = settings.load(path) if path else CentralConfig()
    if state:
        config = msgspec.structs.replace(config, state_dir=str(state))
    context.obj = config


@command.command("run")
@click.option("--state", type=click.Path(path_type=Path), help="State directory.")
@click.option("--listen", help="Address and port; 127.0.0.1:8080 by default.")
@click.pass_obj
def run(config: CentralConfig, state: Path | None, listen: str | None) -> None:
    """Serve until stopped."""
    if state:
        config = msgspec.structs.replace(config, state_dir=str(state))
    if listen:
        config = msgspec.structs.replace(config, listen=listen)
    serve.run(config, click.echo)


@command.command("init", short_help="Make keys and database; print the first link.")
@click.pass_obj
def init(config: CentralConfig) -> None:
    """Make keys and database, and print the administrator's one-time link."""
    config.state.mkdir(parents=True, exist_ok=True)
    key = serve.online_key(config.state)
    link = _with_database(config, lambda db: serve.first_link(db, config), make=True)
    click.echo(f"central's key  {key.public.keyid}")
    click.echo(f"set the administrator's password here, once:\n  {link}" if link else "ready")


@command.command("reset-admin", short_help="Print a link that resets an administrator.")
@click.option("--user", default=serve.ADMIN, show_default=True)
@click.pass_obj
def reset_admin(config: CentralConfig, user: str) -> None:
    """Print a one-time link with which an administrator of everything sets a new password.

    A user of another role or scope is refused: `vedette central user link` keeps both.
    """
    click.echo(_with_database(config, lambda db: serve.setup_link(db, config, user)))


@command.command("claim")
@click.option("--site", required=True)
@click.option("--device", help="The name that the device will get.")
@click.option("--replace", is_flag=True, help="Let it take over the name and history of --device.")
@click.option("--hours", default=24, show_default=True, type=click.IntRange(1, 24 * 30))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def claim(
    config: CentralConfig,
    site: str,
    device: str | None,
    hours: int,
    *,
    replace: bool,
    as_json: bool,
) -> None:
    """Print a claim token with which one device joins a site.

    The token alone goes to standard output; until when it holds, and what to type at the branch,
    to standard error.
    """
    life_s = int(timedelta(hours=hours).total_seconds())
    expires_ms = _now_ms() + life_s * 1000

    async def make(db: Database) -> str:
        async with db.transaction() as tx:
            return await enrolment.make_claim(
                tx,
                site,
                device=device,
                replace=replace,
                actor=_ACTOR,
                now_ms=expires_ms - life_s * 1000,
                life_s=life_s,
            )

    token = _with_database(config, make)
    follow = f"vedette edge enrol --central {config.url} --token {token}"
    follow += " --replace" if replace else ""
    if as_json:
        show_json(
            {
                "token": token,
                "site": site,
                "device": device,
                "expires_ms": expires_ms,
                "command": follow,
            }
        )
        return
    click.echo(token)
    until = f"{from_wall_ms(expires_ms):%Y-%m-%d %H:%M} UTC"
    click.echo(f"for one device of {site}, once, until {until}; there:\n  {follow}", err=True)


@command.group("site")
def site_group() -> None:
    """Sites: where devices stand, and whose keys they obey."""


site_group.add_command(central_tree.site_list)
site_group.add_command(central_tree.site_set)


@site_group.command("add")
@click.argument("site")
@click.option("--name", default="")
@click.option("--folder", default="", help="As europe/portugal/lisbon.")
@click.option("--time-zone", default="UTC", show_default=True)
@click.option("--key", "keys", multiple=True, help="A site's public key, base64url; repeatable.")
@click.option("--threshold", default=1, show_default=True, help="How many keys must sign.")
@click.pass_obj
def site_add(  # noqa: PLR0917 - click passes them by name
    config: CentralConfig,
    site: str,
    name: str,
    folder: str,
    time_zone: str,
    keys: tuple[str, ...],
    threshold: int,
) -> None:
    """Add a site."""

    async def add(db: Database) -> list[str] | None:
        async with db.transaction() as tx:
            if await enrolment.add_site(
                tx,
                site,
                name=name,
                folder=folder,
                time_zone=time_zone,
                site_keys=list(keys),
                site_threshold=threshold,
                actor=_ACTOR,
                now_ms=_now_ms(),
            ):
                return None
            return await enrolment.differences(
                tx, site, name=name, folder=folder, time_zone=time_zone, site_keys=list(keys),
                site_threshold=threshold,
            )  # fmt: skip

    differs = _with_database(config, add)
    if differs:
        raise ConfigError(
            f"site {site} was there already and nothing was changed, but it differs: "
            + "; ".join(differs),
            operator_hint="vedette central site set changes name, folder and time zone; other keys"
            " the owner signs with the ones before (vedette site replace-keys --help), and they go"
            f" in with: vedette central site keys {site} chain.json",
        )
    click.echo("added" if differs is None else "was there already; nothing changed")


@site_group.command("policy", short_help="Store a policy that the site signed.")
@click.argument("site")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def site_policy(config: CentralConfig, site: str, file: Path) -> None:
    """Store a policy that the site signed; central only checks the signature."""
    try:
        signed = msgspec.json.decode(file.read_bytes(), type=Signed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not a signed document: {error}") from error
    policy = _with_database(
        config,
        lambda db: desired.put_policy(db, Bulletin(), site, signed, actor=_ACTOR, now_ms=_now_ms()),
    )
    click.echo(f"version {policy.version} stored")


site_group.add_command(central_site_keys.site_keys_command)


@command.command("device", short_help="List devices, or revoke one; more: `devices`.")
@click.argument("device", required=False)
@click.option("--revoke", is_flag=True, help="Take nothing from this device any more.")
@click.option("--reason", default="", help="Why it is revoked; stands in the audit log.")
@click.pass_obj
def device_command(config: CentralConfig, device: str | None, reason: str, *, revoke: bool) -> None:
    """List devices, or revoke one; more: `vedette central devices --help`."""
    if device and revoke:
        central_devices.revoke(config, device, reason)
    central_devices.print_devices(config, device)


for _further in (
    central_backup.backup_command,
    central_backup.restore_command,
    central_devices.command,
    central_devices.claims,
    central_query.query_command,
    central_query.worst_command,
    central_query.metrics_command,
    central_tree.folder_group,
    central_tree.label_command,
    central_tree.group_group,
    central_tree.select_command,
    central_users.user_group,
    central_tokens.token_group,
    central_cameras.cameras_command,
    central_models.models_group,
    central_business.slo_group,
    central_business.kpi_group,
    central_business.overrides_command,
    central_business.cost_group,
    central_diagnose.diagnose_command,
    central_clips.clip_command,
    central_releases.releases_group,
    central_rollouts.rollouts_group,
    central_rules.rules_group,
    central_channels.channels_group,
    central_channels.deliveries_group,
    central_incidents.incidents_group,
    central_incidents.silences_group,
    central_oncall.oncall_group,
    central_oncall.ladders_group,
    central_contacts.contacts_group,
    central_exports.exports_group,
    central_exports.hold_command,
    central_exports.release_command,
    central_exports.holds_command,
    central_archive.archive_command,
):
    command.add_command(_further)
