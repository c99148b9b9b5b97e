"""`vedette evidence hold`, `release`, `holds`: what must stay on this device. Thin."""

from pathlib import Path

import click
import msgspec

from vedette.cli.printable import clean
from vedette.clock import SystemClock, from_wall_ms
from vedette.edge import settings
from vedette.edge.evidence import catalog, holds
from vedette.edge.evidence.export import user
from vedette.edge.evidence.holds import HERE, Holds
from vedette.edge.settings import EdgeConfig

_config = click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration. Environment: VEDETTE_EDGE_CONFIG.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("hold", short_help="Have packages stay until released.")
@click.argument("evidence", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why: a case, a name; stays on the device.")
@_config
def hold(evidence: tuple[str, ...], reason: str, path: Path) -> None:
    """Have packages stay, whatever age and budget say, until they are released.

    \b
    Held clips have a bound of their own: evidence.hold_mb. Every hold and
    release is noted in holds.jsonl.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    kept = _holds(config)
    for package in [catalog.find(_root(config), one) for one in evidence]:
        kept.hold(package.evidence, HERE, by=user(), reason=reason)
        click.echo(f"{package.evidence} stays until it is released")


@click.command("release", short_help="Have packages stay no longer.")
@click.argument("evidence", nargs=-1, required=True)
@click.option("--reason", default="", help="Why; stays on the device.")
@_config
def release(evidence: tuple[str, ...], reason: str, path: Path) -> None:
    """Take back holds that were made at this device; those of central stay."""
    config = settings.load(path)
    kept = _holds(config)
    root = _root(config)
    present = holds.held_ids(root)  # also those whose clip never came
    names = [one if one in present else catalog.find(root, one).evidence for one in evidence]
    for name in names:
        was = kept.release(name, HERE, by=user(), reason=reason)
        if kept.is_held(name):
            click.echo(f"{name} is still held by central")
        else:
            click.echo(f"{name} {'may go' if was else 'was not held'}")


@click.command("holds", short_help="List what is held, by whom and why.")
@_config
@_as_json
def list_holds(path: Path, *, as_json: bool) -> None:
    """List what is held, by whom and why, and how much room it takes."""
    config = settings.load(path)
    kept, found = _holds(config), holds.held(_root(config))
    if as_json:
        document = {
            "held": msgspec.to_builtins(found),
            "held_bytes": kept.used_bytes(),
            "limit_bytes": kept.limit_bytes,
        }
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
        return
    for one in found:
        for holder, each in one.holders.items():
            at = from_wall_ms(each.at_ms).strftime("%Y-%m-%d %H:%M") if each.at_ms else "?"
            by = clean(f"{holder} ({each.by})" if each.by else holder)
            click.echo(f"{one.evidence}  since {at} UTC by {by}: {clean(each.reason)}")
    used, most = kept.used_bytes() / 1e6, kept.limit_bytes / 1e6
    click.echo(f"{len(found)} packages are held, {used:.1f} of {most:.0f} MB")


def _root(config: EdgeConfig) -> Path:
    return config.state_dir / "evidence"


def _holds(config: EdgeConfig) -> Holds:
    return Holds(_root(config), config.evidence, SystemClock())
