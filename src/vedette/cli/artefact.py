"""`vedette artefact`: make what is rolled out beside models: programs, packages, configurations.

Thin: parses, calls `edge.updating`, prints. What it writes is signed with `vedette keys`.
"""

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from vedette.cli.printable import clean
from vedette.edge import overlay
from vedette.edge.updating import app_file, archive, packages
from vedette.edge.updating import config as configuration
from vedette.edge.updating import rehearsal as rehearsing
from vedette.errors import ConfigError

_out = click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.",
)
_files = click.Path(path_type=Path, dir_okay=False)


def _there(*paths: Path) -> None:
    """Raise `ConfigError` for the first file that is not there."""
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"there is no file {path}", operator_hint="check its name")


@click.group()
def command() -> None:
    """Make artefacts for devices: programs, packages, configurations."""


@command.command("app", short_help="Pack wheels as a program that devices install offline.")
@click.argument("wheels", nargs=-1, required=True, type=_files)
@click.option("--entry", default="vedette", show_default=True, help="Whose command is run.")
@click.option("--extra", "extras", multiple=True, help="Extras of it. Default: edge, local.")
@click.option(
    "--rehearsal/--no-rehearsal",
    default=True,
    show_default=True,
    help="Ask pip whether all that is needed is there.",
)
@_out
def app(
    wheels: Sequence[Path], entry: str, extras: Sequence[str], out: Path, *, rehearsal: bool
) -> None:
    """Pack wheels as a program that devices install offline, every hash checked.

    \b
      vedette artefact app wheels/*.whl --out vedette-1.3.0.vapp

    WHEELS are the program's own and those of everything that it needs. pip is
    asked, as on a device but without installing, whether one is missing.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    _there(*wheels)
    made = app_file.build(out, wheels, entry=entry, extras=extras or ("edge", "local"))
    if rehearsal:
        _rehearse(out, made)
    for_what = " ".join(
        word for word in (made.python and f"Python {made.python}", made.machine) if word
    )
    click.echo(f"{out}: {made.name} {made.version} for {for_what or 'any device'}")


def _rehearse(out: Path, made: app_file.AppManifest) -> None:
    """Say why pip was not asked; have no artefact where it says that something is missing."""
    try:
        untried = rehearsing.rehearse(out, made)
    except ConfigError:
        out.unlink(missing_ok=True)
        raise
    if untried:
        click.echo(f"warning: not tried here whether it can be installed: {untried}", err=True)


@command.command("packages", short_help="Pack Debian packages that are installed together.")
@click.argument("debs", nargs=-1, required=True, type=_files)
@click.option("--before", multiple=True, type=_files, help="A package to go back to.")
@click.option("--name", required=True, help="What people call it.")
@click.option("--version", required=True, help="Its version.")
@click.option("--boot", is_flag=True, help="The device has to boot for it to run.")
@_out
def packages_(
    debs: Sequence[Path], before: Sequence[Path], name: str, version: str, out: Path, *, boot: bool
) -> None:
    """Pack Debian packages that are installed, and put back, together."""
    _there(*debs, *before)
    made = packages.build(out, debs, before, name=name, version=version, boot=boot)
    click.echo(f"{out}: {len(made.packages)} packages, {len(made.before)} to go back to")


@command.command("config", short_help="Check an overlay and write it as an artefact.")
@click.argument("file", type=_files)
@click.option("--name", required=True, help="What people call it.")
@click.option("--version", required=True, help="Its version.")
@_out
def config(file: Path, name: str, version: str, out: Path) -> None:
    """Check an overlay (YAML: pipeline, telemetry, evidence, cameras) and write it."""
    _there(file)
    try:
        said = msgspec.yaml.decode(file.read_bytes(), type=overlay.Overlay)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{file}: {error}", operator_hint="only these fields can be rolled out"
        ) from error
    configuration.build(out, name, version, said)
    click.echo(f"{out}: {name} {version}")


@command.command("show", short_help="Say what an artefact is.")
@click.argument("file", type=_files)
def show(file: Path) -> None:
    """Print what an artefact says about itself, as JSON."""
    _there(file)
    readers = (
        lambda: app_file.read(file),
        lambda: packages.read(file),
        lambda: overlay.parse(file.read_bytes()[: overlay.MAX_BYTES + 1]),
    )
    for reader in readers:
        try:
            found = reader()
        except ConfigError:
            continue
        text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
        click.echo("\n".join(clean(line) for line in text.splitlines()))
        return
    raise ConfigError(f"{file} is none of these artefacts", operator_hint=archive.HINT)
