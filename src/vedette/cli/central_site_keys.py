"""`vedette central site keys`: look at a site's keys, pass on their replacement, or recover.

Thin: central checks signatures and never makes one.
"""

from pathlib import Path

import click
import msgspec

from vedette.amounts import counted
from vedette.central import desired, serve, site_keys
from vedette.central.bulletin import Bulletin
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Database
from vedette.cli.at_central import ACTOR, in_transaction, now_ms, with_database
from vedette.errors import ConfigError
from vedette.trust.keys import PublicKey, write_private
from vedette.trust.site_keys import MAX_CHAIN_FILE_BYTES, read_chain
from vedette.wire.signed import SiteKeyChain


@click.command("keys")
@click.argument("site")
@click.argument("chain", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--output", type=click.Path(path_type=Path), help="Write the chain so far to a file.")
@click.option("--recover", is_flag=True, help="All keys are lost: believe --key from now on.")
@click.option("--key", "keys", multiple=True, help="With --recover: a new public key; repeatable.")
@click.option("--threshold", default=1, show_default=True, help="With --recover.")
@click.pass_obj
def site_keys_command(  # noqa: PLR0917 - click passes them by name
    config: CentralConfig,
    site: str,
    chain: Path | None,
    output: Path | None,
    keys: tuple[str, ...],
    threshold: int,
    *,
    recover: bool,
) -> None:
    """Show the keys of SITE, or replace them by what CHAIN says.

    \b
    The owner signs CHAIN with the site's keys so far and with the new ones:
      vedette site replace-keys --help
    Central checks it and passes it on; every device checks it again. Central
    cannot make one. Afterwards the site's policy is to be signed again, by the
    new keys and with a higher version: a device enrolled from then on lets no
    pixel leave before it has one.

    \b
    Where all keys are lost or stolen, nobody can sign. Then
      vedette central site keys SITE --recover --key NEW_PUBLIC_HALF
    has central believe the new ones, for devices that are enrolled from now on.
    Every device that is there already needs a person at it; the command to type
    there is printed.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    if recover and (chain or output):
        raise ConfigError("--recover takes --key and no chain: it is for when nobody can sign one")
    if keys and not recover:
        raise ConfigError(
            "--key goes with --recover only",
            operator_hint="where a key is left, its owner signs: vedette site replace-keys --help",
        )
    if recover:
        _recover(config, site, list(keys), threshold)
    elif chain:
        found = _put(config, site, chain)
        click.echo(f"stored; devices of {site} follow at their next contact")
        _print(found)
        if found.policy_version:
            click.echo(
                f"now sign the policy again, version {found.policy_version + 1} or higher:"
                " vedette site sign; devices keep the one they have until then"
            )
    else:
        found = in_transaction(config, lambda tx: site_keys.keys_of(tx, site))
        _print(found)
        if output and not found.documents:
            raise ConfigError(
                "no document leads to these keys, so there is no chain to write",
                operator_hint="the next one begins it: vedette site replace-keys --site"
                f" {site} --version {found.version + 1}",
            )
        if output:
            _write(output, SiteKeyChain(documents=found.documents))


def _put(config: CentralConfig, site: str, file: Path) -> site_keys.Keys:
    try:
        with file.open("rb") as opened:
            sent = read_chain(opened.read(MAX_CHAIN_FILE_BYTES + 1))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    central = serve.online_key(config.state).public

    async def put(db: Database) -> site_keys.Keys:
        return await desired.put_site_keys(
            db, Bulletin(), site, sent, central=central, actor=ACTOR, now_ms=now_ms()
        )

    return with_database(config, put)


def _recover(config: CentralConfig, site: str, keys: list[str], threshold: int) -> None:
    central = serve.online_key(config.state).public
    found = in_transaction(
        config,
        lambda tx: site_keys.recover(
            tx, site, keys, threshold, central=central, actor=ACTOR, now_ms=now_ms()
        ),
    )
    _print(found)
    given = " ".join(f"--key {key}" for key in found.keys)
    click.echo("every device of this site needs a person now, who types at it:")
    click.echo(
        f"  vedette edge trust-site-key {given} --threshold {found.threshold}"
        f" --version {found.version}"
    )
    click.echo(
        f"and the policy is to be signed again, version {found.policy_version + 1} or higher"
    )
    click.echo(
        "the next replacement begins a new chain: vedette site replace-keys --site"
        f" {found.site} --version {found.version + 1}"
    )


def _print(found: site_keys.Keys) -> None:
    click.echo(f"{found.site}: version {found.version}, {found.threshold} of {len(found.keys)}")
    for key in found.keys:
        click.echo(f"  {key}  key id {PublicKey.from_text(key).keyid}")
    if not found.keys:
        click.echo("  no keys: devices take no policy")
    behind = {name: at for name, at in found.devices.items() if at != found.version}
    for name, at in behind.items():
        click.echo(f"  {name} has pinned {f'version {at}' if at else 'what it has not told yet'}")
    if found.devices and not behind:
        who = counted(len(found.devices), "device has", "devices have")
        click.echo(f"  {who} pinned this version, none another")


def _write(output: Path, chain: SiteKeyChain) -> None:
    try:
        write_private(output, msgspec.json.format(msgspec.json.encode(chain), indent=2) + b"\n")
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}") from error
    click.echo(f"{len(chain.documents)} documents: {output}")
