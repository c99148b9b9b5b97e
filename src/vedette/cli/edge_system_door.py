"""`vedette edge system-door`: root's half of system updates."""

import sys
from pathlib import Path

import click

from vedette.clock import SystemClock
from vedette.edge import settings
from vedette.edge.install import plan
from vedette.edge.updating.adapters import adapter_of
from vedette.edge.updating.door import Doorkeeper
from vedette.edge.updating.signers import verifier
from vedette.errors import ConfigError


@click.command("system-door", short_help="Root's half of system updates; systemd runs it.")
@click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration. Environment: VEDETTE_EDGE_CONFIG.",
)
def system_door(path: Path) -> None:
    """Carry out the one request that the agent left, as root.

    \b
    vedette-system.path starts it. It installs nothing that the repository's
    signers did not sign for systems (or that RAUC's or Mender's own keys did not).
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    adapter = adapter_of(config.system)
    if adapter is None:
        raise ConfigError(
            f"{path} names no tool for systems", operator_hint="set system.adapter in it"
        )
    keeper = Doorkeeper(
        config.state_dir,
        adapter,
        reboot=config.system.reboot,
        verify=verifier(
            config.state_dir,
            SystemClock(),
            tuf_root=plan.TUF_ROOT,
            verifies_itself=config.system.adapter in {"rauc", "mender"},
        ),
    )
    answer = keeper.serve()
    if answer is not None and not answer.ok:
        click.echo(answer.said, err=True)
        sys.exit(1)
