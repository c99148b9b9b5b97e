"""`vedette edge install` and `uninstall`: a device for good, under systemd.

Thin: reads, calls `edge.install`, prints each step.
"""

import shutil
import sys
from pathlib import Path

import click
import msgspec

from vedette.cli.printable import clean
from vedette.edge import settings
from vedette.edge.install import carry, launch, plan
from vedette.edge.install.inside import inside
from vedette.errors import ConfigError

_root = click.option(
    "--root",
    default="/",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True, resolve_path=True),
    help="Install into the root of an image instead of this machine.",
)
_MAX_ROOT = 256 * 1024
_dry = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_user = click.option(
    "--user", default="vedette", show_default=True, help="The account that runs it."
)


@click.command(short_help="Run this device for good, as a service.")
@click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration; it becomes /etc/vedette/edge.yaml.",
)
@_user
@click.option(
    "--program",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The vedette command that the service runs. Default: this one.",
)
@click.option(
    "--hardware-watchdog",
    is_flag=True,
    help="Also have the machine's own watchdog reset it when the kernel hangs.",
)
@click.option("--no-start", is_flag=True, help="Install, but do not start it.")
@_root
@_dry
@_yes
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def install(
    *,
    path: Path,
    user: str,
    program: Path | None,
    hardware_watchdog: bool,
    no_start: bool,
    root: Path,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Run this device for good: account, folders, configuration, systemd unit.

    \b
    Changes only what is not as it should be; a second run changes nothing.
      sudo vedette edge install --config edge.yaml --dry-run
      sudo vedette edge install --config edge.yaml
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    program = (program or _this_program()).absolute()
    wish = plan.Wish(
        config=config,
        config_text=path.read_text(encoding="utf-8"),
        config_at=path.resolve(),
        program=program,
        user=user,
        hardware_watchdog=hardware_watchdog,
        start=not no_start,
        python=_python_beside(program, root),
        has_pip=_has_pip(program, root),
        launcher_text=Path(launch.__file__).read_text(encoding="utf-8"),
        tuf_root=_pinned_root(config, root),
    )
    steps = plan.decide(wish, carry.look(config, user, root))
    for text in plan.shortcomings(wish):
        click.echo(clean(f"warning: {text}"), err=True)
    if as_json:
        listed = [{"do": step.words()} for step in steps]
        click.echo(msgspec.json.format(msgspec.json.encode({"steps": listed})).decode())
    elif not steps:
        click.echo("everything is as it should be")
    if not steps:
        return
    _carry(steps, root, dry_run=dry_run, ask=not yes and not as_json, quiet=as_json)
    if not dry_run and not as_json:
        click.echo(_installed(root, has_door=config.system.adapter != "none"))


@click.command(short_help="Stop the service and remove its unit; records stay.")
@_user
@_root
@_dry
@_yes
def uninstall(*, user: str, root: Path, dry_run: bool, yes: bool) -> None:
    """Stop the service and remove its unit; configuration, keys and records stay."""
    nothing = settings.EdgeConfig(
        state_dir=Path("/var/lib/vedette"), models_dir=Path("/nonexistent")
    )
    facts = carry.look(nothing, user, root)
    steps = plan.decide_removal(facts)
    if not steps:
        click.echo("no service is installed here")
        return
    _carry(steps, root, dry_run=dry_run, ask=not yes, quiet=False)
    if not dry_run:
        click.echo(f"removed. {plan.CONFIG.parent} and the state directory are untouched")


def _installed(root: Path, *, has_door: bool) -> str:
    """Return what whoever installed it does next."""
    if root == Path("/"):
        return f"installed. See it live: journalctl -u {plan.SERVICE} -f"
    return (
        f"installed below {root}, where nothing can be started. Have it start with the image:\n"
        f"  systemctl --root {root} enable {plan.SERVICE}"
        + (f" {plan.DOOR_PATH.name}" if has_door else "")
    )


def _carry(
    steps: "list[plan.Step] | list[plan.Step | Path]",
    root: Path,
    *,
    dry_run: bool,
    ask: bool,
    quiet: bool,
) -> None:
    """Say the steps, ask once, then do them one after the other."""
    for step in steps:
        if not quiet:
            words = f"remove {step}" if isinstance(step, Path) else step.words()
            click.echo(f"{'would ' if dry_run else ''}{clean(words)}")
    if dry_run:
        return
    if ask and sys.stdin.isatty():
        click.confirm("Do this?", default=True, abort=True)
    for step in steps:
        if isinstance(step, Path):
            carry.remove(step, root)
        else:
            carry.carry_out(step, root)


def _python_beside(program: Path, root: Path) -> Path | None:
    """Return the interpreter of the program's environment; None where it has none of its own."""
    python = program.with_name("python")
    marker = inside(root, program.parent.parent / "pyvenv.cfg")
    return python if marker.exists() else None


def _has_pip(program: Path, root: Path) -> bool:
    """True where the program's environment can install another one, offline."""
    libraries = inside(root, program.parent.parent) / "lib"
    return any(libraries.glob("python3*/site-packages/pip/__main__.py"))


def _pinned_root(config: settings.EdgeConfig, root: Path) -> str:
    """Return the repository's root metadata that this device pinned; empty where it has none."""
    for name in ("root-by-hand.json", "root.json"):
        path = inside(root, config.state_dir / "updates" / name)
        if path.is_file() and not path.is_symlink():
            with path.open(encoding="utf-8") as file:
                return file.read(_MAX_ROOT)
    return ""


def _this_program() -> Path:
    """Return the `vedette` command that runs now.

    Raises:
        ConfigError: It was started in another way.
    """
    beside = Path(sys.executable).with_name("vedette")
    found = beside if beside.exists() else shutil.which("vedette")
    if not found:
        raise ConfigError(
            "which vedette should the service run?", operator_hint="give --program /opt/…/vedette"
        )
    return Path(found)
