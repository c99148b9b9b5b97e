"""`vedette edge trust-site-key`: a person at the device says whose keys are the site's.

For when all of a site's keys are lost, and nobody is left who could sign others. Thin: asks, calls
`vedette.edge.site_keys`, prints.
"""

import os
from pathlib import Path

import click

from vedette.clock import SystemClock, wall_ms
from vedette.edge import enrolment, settings
from vedette.edge.enrolment import load_identity
from vedette.edge.site_keys import pinned, trust_by_hand
from vedette.edge.supervisor import AgentLock
from vedette.errors import ConfigError, TrustError
from vedette.trust.site_keys import KeySet


@click.command("trust-site-key", short_help="Believe other site keys: the ones before are lost.")
@click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration. Environment: VEDETTE_EDGE_CONFIG.",
)
@click.option(
    "--key",
    "keys",
    required=True,
    multiple=True,
    help="A public half, as `vedette site key` printed it; repeatable.",
)
@click.option("--threshold", default=1, show_default=True, help="How many of them must sign.")
@click.option(
    "--version",
    type=click.IntRange(min=2),
    help="As central prints it; one more than before where it is left out.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def trust_site_key(
    path: Path, keys: tuple[str, ...], threshold: int, version: int | None, *, yes: bool
) -> None:
    """Believe other site keys from now on, because the ones before are lost.

    \b
    Only for when too few of the site's keys are left to sign their replacement
    (`vedette site replace-keys`, which needs nobody here). Whoever holds the
    keys named here decides from now on which pixels leave this site: compare
    the key ids with the owner, by another way than the one they came by.
    The policy in force stays until the new keys sign a newer one. The health
    reports say for a day that this was done.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    identity = load_identity(config.state_dir)
    if identity is None:
        raise ConfigError("this device is not enrolled", operator_hint="run: vedette edge enrol")
    held = pinned(identity)
    wanted = KeySet.of(keys, threshold, held.version + 1 if version is None else version)
    click.echo(f"{identity.device} at {identity.site}")
    _print("believed until now", held)
    _print("believed from now on", wanted)
    if not yes:
        click.confirm("Replace them?", abort=True)
    _become_owner_of(config.state_dir)
    try:
        trust_by_hand(
            config.state_dir,
            keys,
            threshold,
            wanted.version,
            now_ms=wall_ms(SystemClock().now_at()),
        )
    except OSError as error:
        raise TrustError(
            f"the keys cannot be kept: {error}",
            operator_hint="run it as the service's user or as root, with some disk space free",
        ) from error
    click.echo("done; the policy in force stays until the new keys sign a newer one")
    if AgentLock.is_held(config.state_dir):
        click.echo("restart the agent: it still believes the keys before")


def _become_owner_of(folder: Path) -> None:
    """Go on as the service's user where root does this: what is written must be readable to it."""
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)


def _print(when: str, keys: KeySet) -> None:
    click.echo(f"{when}: version {keys.version}, {keys.threshold} of {len(keys.keys)}")
    for key in keys.keys:
        click.echo(f"  key id {key.keyid}")


@click.command("sealing-key")
@click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration. Environment: VEDETTE_EDGE_CONFIG.",
)
def sealing_key(path: Path) -> None:
    """Print what seals camera addresses for this device.

    \b
    Camera addresses that are sealed for it can be read here and nowhere else.
    Take the line to the owner of the site's key yourself, not by way of
    central: whoever changes it on the way can read what is sealed.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    identity = load_identity(config.state_dir)
    if identity is None:
        raise ConfigError("this device is not enrolled", operator_hint="first: vedette edge enrol")
    key = enrolment.sealing_key(config.state_dir)
    click.echo(f"key id {key.keyid}, as problems and `vedette site show` name it", err=True)
    click.echo(f"{identity.device}: {key.text}")
