"""`vedette edge updates`: what is installed here, what is coming, what went back."""

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from vedette.cli.printable import escape
from vedette.clock import from_wall_ms
from vedette.edge import settings
from vedette.edge.install import launch
from vedette.edge.status import read_status
from vedette.edge.updating import app, root
from vedette.wire.messages import HealthReport
from vedette.wire.slots import UpdateHealth

_config = click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration. Environment: VEDETTE_EDGE_CONFIG.",
)


@click.command(short_help="Say what is installed, what comes, and what went back.")
@_config
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def updates(path: Path, *, as_json: bool) -> None:
    """Say what is installed here, what is coming, and what went back.

    \b
    Reads the state directory only: slots as the agent reported them last, and
    the links and the trial that the launcher goes by.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    report = read_status(config.state_dir)
    program = _program(config.state_dir / app.FOLDER)
    if as_json:
        slots = msgspec.to_builtins(report.updates if report else [])
        trusts = root.pinned(config.state_dir) is not None
        told = {"program": program, "slots": slots, "trusts_a_repository": trusts}
        document = msgspec.json.encode(told)
        click.echo(msgspec.json.format(document, indent=2).decode())
        return
    console = Console()
    if config.central is not None and root.pinned(config.state_dir) is None:
        console.print("this device trusts no repository: see `vedette edge trust-root`")
    _print_slots(console, report)
    facts = Table.grid(padding=(0, 2))
    for name, words in program.items():
        facts.add_row(name, escape(words))
    console.print(facts, highlight=False)


def _program(folder: Path) -> dict[str, str]:
    """Return what the launcher would start, and how the last trial went; in words."""
    found = {"program": _named(folder, launch.CURRENT), "before it": ""}
    if launch.named(folder, launch.PREVIOUS):
        found["before it"] = _named(folder, launch.PREVIOUS)
    trial = launch.read(folder / launch.TRIAL)
    if trial is not None:
        most = trial.get("most_starts", launch.MOST_STARTS)
        found["on trial"] = f"started {trial.get('starts', '?')} of {most} times, not confirmed yet"
    verdict = launch.read(folder / launch.VERDICT)
    if verdict:
        found["last trial"] = f"{verdict.get('outcome', '')} {verdict.get('reason', '')}".strip()
    return {name: words for name, words in found.items() if words}


def _named(folder: Path, link: str) -> str:
    environment = launch.named(folder, link)
    if not environment:
        return "as it was installed"
    marker = launch.read(Path(environment) / launch.INSTALLED) or {}
    return f"{marker.get('version', 'not whole')}  {environment}"


def _print_slots(console: Console, report: HealthReport | None) -> None:
    if report is None or not report.updates:
        console.print("no update was ever assigned to this device")
        return
    table = Table(
        "slot", "kind", "state", "since", "running", "assigned", "problem", box=None, pad_edge=False
    )
    for one in report.updates:
        since = f"{from_wall_ms(one.since_ms):%Y-%m-%d %H:%M}" if one.since_ms else ""
        table.add_row(
            escape(one.slot),
            one.kind.value,
            _state(one),
            since,
            escape(one.running.removeprefix("sha256:")[:12]),
            escape(one.digest.removeprefix("sha256:")[:12]),
            escape(one.problem[:120]),
        )
    console.print(table)


def _state(one: UpdateHealth) -> str:
    if one.state is None:
        return ""
    saved = f", {one.saved_bytes / 1e6:.1f} MB saved" if one.saved_bytes else ""
    coming = one.bytes > 0 and one.bytes_done < one.bytes
    if coming:
        return f"{one.state.value} {100 * one.bytes_done // one.bytes} %"
    return f"{one.state.value}{saved}"
