"""The demo from start to end: build the stage, play the script, look, tell.

With `check` it ends by itself: 0 where everything became visible in time and the checker finds the
device's and central's books equal, 1 otherwise. Without, it goes on at a slower pace until Ctrl-C.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vedette.clock import Clock
from vedette.errors import ConfigError
from vedette.sim.demo import site
from vedette.sim.demo.script import Script, acts
from vedette.sim.demo.stage import Stage, tell_others
from vedette.sim.demo.watch import Sight, Watcher

CHECK_S: Final = 360.0
SPELL_S: Final = 40.0
CHECKED_SPELL_S: Final = 25.0
OFFLINE_S: Final = 150.0
"""Longer than the 105 s after which a silent device is called dark, and than the 120 s after which
a message counts as backfill and waits behind what is fresh."""

_LOOK_EVERY_S: Final = 1.0


def play_demo(
    folder: Path,
    mark: IO[bytes],
    clock: Clock,
    console: Console,
    *,
    port: int,
    check: bool,
    download: bool = True,
) -> int:
    """Run the demo; return the exit status.

    Args:
        folder: Empty, and this process's: `fresh_folder` had it made.
        mark: What that returned, open.
        clock: For the whole play.
        console: Where it is told.
        port: Of central; 0: any free one.
        check: End as soon as everything was visible, or too late.
        download: Fetch footage; else a street is drawn.

    Raises:
        ConfigError: It could not be started.
    """
    start_ns = clock.mono_ns()

    def say(text: str) -> None:
        seconds = (clock.mono_ns() - start_ns) / 1e9
        console.print(f"[dim]{seconds:6.1f} s[/dim]  {text}", highlight=False, soft_wrap=True)

    with Stage(folder, clock, say, port=port) as stage:
        tell_others(mark, stage.url)
        stage.build(download=download)
        say(
            f"here a report comes every {site.REPORT_S:.0f} s and counts every "
            f"{site.AGGREGATE_S:.0f} s (outside a demo: 30 and 60 s)"
        )
        console.print(f"\n  console   [bold]{stage.url}[/bold]", highlight=False)
        console.print(f"  sign in   admin / {stage.operator.password}", highlight=False)
        console.print(
            f"  terminal  vedette central --config {stage.config} --help\n",
            highlight=False,
            soft_wrap=True,
        )
        west, east = stage.mounts[site.CUT], stage.mounts[site.COVERED]
        spell_s = CHECKED_SPELL_S if check else SPELL_S
        play = acts(west, east, stage.network, spell_s=spell_s, offline_s=OFFLINE_S)
        script = Script(play, clock, say)
        watcher = Watcher(stage.operator, script, clock, stage.telephone.notices)
        try:
            return _watch(stage, script, watcher, clock, console, check=check)
        finally:
            script.stop()


def _watch(
    stage: Stage,
    script: Script,
    watcher: Watcher,
    clock: Clock,
    console: Console,
    *,
    check: bool,
) -> int:
    pause = threading.Event()
    start_ns = clock.mono_ns()
    is_playing = False
    told = False
    while True:
        for sight in watcher.look():
            seen = f"          [green]seen[/green]  {sight.what}: {escape(sight.detail)}"
            console.print(seen, highlight=False, soft_wrap=True)
            if check and sight.ends:
                script.end_act(sight.ends)
        if not is_playing and watcher.sights[0].after_s is not None:
            script.start()
            is_playing = True
        for child in stage.children:
            if not child.is_running:
                raise ConfigError(
                    f"{child.name} ended with status {child.exit_status}:\n{child.tail()}",
                    operator_hint=f"its whole output is in {child.log_path}",
                )
        elapsed_s = (clock.mono_ns() - start_ns) / 1e9
        if (watcher.saw_everything or (check and elapsed_s > CHECK_S)) and not told:
            told = True
            console.print(summary(watcher.sights))
            if check:
                return _close(stage, script, console) if watcher.saw_everything else 1
            console.print("It goes on, more slowly, until Ctrl-C.")
        clock.wait(pause, _LOOK_EVERY_S)


def _close(stage: Stage, script: Script, console: Console) -> int:
    """Return 0 where the device's and central's books are equal once everything was sent."""
    script.stop()
    verdict = stage.close_books()
    console.print(f"the checker: {verdict}", highlight=False, soft_wrap=True)
    return 0 if verdict.holds else 1


def summary(sights: Sequence[Sight]) -> Table:
    """Return the table of what was seen, and when."""
    table = Table("through central's API", "after", "what", title="What the demo saw")
    for sight in sights:
        when = "[red]not seen[/red]" if sight.after_s is None else f"{sight.after_s:.0f} s"
        table.add_row(sight.what, when, escape(sight.detail))
    return table
