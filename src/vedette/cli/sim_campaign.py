"""`vedette sim campaign`: every fault, one after the other, and what the checker found.

Thin: reads what was asked, calls `vedette.sim.campaign`, prints. Imported only when it is asked
for, because it needs what central needs.
"""

import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from vedette.clock import SystemClock
from vedette.sim import campaign
from vedette.sim.campaign import Finding


def result(finding: Finding) -> str:
    """Return what came of a fault in a word or a few."""
    if finding.skipped:
        return f"skipped: {finding.skipped}"
    if finding.differences:
        return "BROKEN: " + "; ".join(f"{one.kind}: {one.detail}" for one in finding.differences)
    counts = finding.counts
    return (
        f"holds: {counts.get('committed', 0)} of {counts.get('produced', 0)} messages committed, "
        f"{counts.get('tombstoned', 0)} stated lost, {counts.get('events', 0)} events, "
        f"{counts.get('cameras', 0)} cameras"
    )


def table(findings: list[Finding]) -> Table:
    """Return the report."""
    shown = Table("fault", "what happened", "the checker", "s", title="Fault campaign")
    for one in findings:
        style = "red" if one.differences else "yellow" if one.skipped else None
        shown.add_row(
            one.fault, one.happened or one.what, result(one), f"{one.seconds:.0f}", style=style
        )
    return shown


@click.command("campaign", short_help="Play faults with real processes, and check the books.")
@click.argument("names", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="Say what there is, and play nothing.")
@click.option("--keep", is_flag=True, help="Keep logs and spools even where everything held.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(names: tuple[str, ...], *, only_list: bool, keep: bool, as_json: bool) -> None:
    """Play the faults NAMES, or all of them, with real processes; 1 where a book differs."""
    wanted = campaign.chosen(names)
    if only_list:
        for fault in wanted:
            click.echo(f"{fault.name:18} {fault.what}")
        return
    logging.getLogger("vedette").setLevel(logging.CRITICAL)  # devices do fall silent here
    folder = Path(tempfile.mkdtemp(prefix="vedette-campaign-"))
    folder.chmod(0o755)  # the database may have to run as another user
    findings = campaign.run(
        wanted,
        folder,
        SystemClock(),
        lambda one: click.echo(f"{one.fault}: {result(one)} ({one.seconds:.0f} s)", err=True),
    )
    is_broken = any(one.differences for one in findings)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(findings), indent=1))
    else:
        Console(width=None if sys.stdout.isatty() else 160).print(table(findings))
    if keep or is_broken:
        click.echo(f"kept: {folder}", err=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(int(is_broken))
