"""`vedette demo`: a whole site on this machine, with things going wrong.

Thin: reads what was asked, calls `vedette.sim.demo`, returns its status.
"""

import shutil
import signal
import sys
from pathlib import Path

import click
from rich.console import Console

from vedette.clock import SystemClock
from vedette.sim.demo.run import play_demo
from vedette.sim.demo.stage import fresh_folder


@click.command("demo", short_help="Run one site with three cameras, until Ctrl-C.")
@click.option("--check", is_flag=True, help="Wait until everything was visible; exit 0 or 1.")
@click.option("--keep", is_flag=True, help="Keep databases, spool and logs afterwards.")
@click.option("--rendered", is_flag=True, help="Draw a street instead of fetching footage.")
@click.option("--port", default=0, help="Port of the console; any free one by default.")
@click.option(
    "--folder",
    default=".demo",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Everything that the demo writes.",
)
def command(*, check: bool, keep: bool, rendered: bool, port: int, folder: Path) -> None:
    """Run one site with three cameras against a central of its own, until Ctrl-C."""
    # Ended by a service manager or from a script's background, it must stop its children too.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    console = Console()
    folder = folder.resolve()
    status = 1
    with fresh_folder(folder) as mark:  # refused here, nothing of this demo is there to keep
        try:
            status = play_demo(
                folder, mark, SystemClock(), console, port=port, check=check, download=not rendered
            )
        except KeyboardInterrupt:
            status = 0 if not check else 1  # a demo that is only looked at ends this way
        finally:
            if keep or status:
                console.print(f"kept: {folder}", highlight=False)
            else:
                shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)
