"""`vedette sim rollout`: a fleet takes a good or a bad model, in accelerated time, as you watch.

Thin: reads what was asked, calls `vedette.sim.fleet.rollout`, prints. Imported only when asked for,
because it needs what central needs.
"""

import json
import logging

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vedette.amounts import counted
from vedette.central.rollouts.facts import RolloutState
from vedette.central.rollouts.views import RolloutView
from vedette.sim.fleet import rollout
from vedette.sim.fleet.performance import Candidate
from vedette.sim.fleet.wish import Outcome, Told, Watch, Wish, check


def shown(told: Told) -> Group:
    """Return what a person watches."""
    head = Text(f"{told.hours:.1f} simulated hours · console {told.link}")
    running = Table(title="what devices run", show_header=False)
    for name, count in sorted(told.running.items()):
        running.add_row(name, str(count))
    if told.view is None:
        return Group(head, running, Text("the fleet lives a while before: that is the baseline"))
    return Group(head, running, *_rollout(told.view))


def _rollout(view: RolloutView) -> list[Table | Text]:
    row = view.row
    stages = Table(title=f"{row.plan.rollout}: {row.state}")
    for title in ("stage", "devices", "settled", "covered h", "of"):
        stages.add_column(title)
    for one in row.stages:
        mark = "▸ " if one.number == row.stage else "  "
        covered = "–" if one.covered_h is None else f"{one.covered_h:.1f}"
        stages.add_row(
            f"{mark}{one.state}", str(one.devices), str(one.settled), covered, f"{one.soak_h:g}"
        )
    gates = Table(title="gates")
    for title in ("gate", "verdict", "value", "evidence", "why"):
        gates.add_column(title)
    for gate in view.gates:
        value = "–" if gate.value is None else f"{gate.value:.3g} {gate.unit}"
        gates.add_row(gate.gate, gate.verdict, value, gate.evidence, gate.reason[:100])
    by_state = ", ".join(f"{count} {state or 'not yet'}" for state, count in row.counts.items())
    return [stages, gates, Text(f"devices: {by_state}"), Text(f"why: {row.reason}")]


class _Lines:
    """Prints a line each time, and before the first one where the console is."""

    def __init__(self) -> None:
        self._has_begun = False

    def __call__(self, told: Told) -> None:
        if not self._has_begun:
            click.echo(f"console: {told.link}", err=True)
        self._has_begun = True
        click.echo(_line(told), err=True)


def _line(told: Told) -> str:
    """Return one line, where nobody watches a live table."""
    row = told.view.row if told.view else None
    state = f"{row.state} (stage {row.stage + 1}): {row.reason}" if row else "before"
    running = ", ".join(f"{count} × {name}" for name, count in sorted(told.running.items()))
    return f"{told.hours:5.2f} h  {running}  {state}"


def say(wish: Wish, ended: Outcome) -> None:
    """Print how it ended."""
    running = ", ".join(f"{count} × {name}" for name, count in sorted(ended.running.items()))
    click.echo(f"{ended.state} after {ended.hours:.1f} simulated hours: {ended.reason}")
    click.echo(f"devices run {running}; at most {ended.touched} of {wish.devices} ran the new one")
    for text in ended.odd:
        click.echo(f"odd: {text}")
    if ended.reviewed:
        click.echo(
            f"people judged {counted(ended.reviewed, 'picture')} on which both models differ"
        )
    click.echo("course: " + ", ".join(f"{at} from {hour:.1f} h" for at, hour in ended.course))
    click.echo(f"verdict: {_verdict(wish, ended)}")


def _verdict(wish: Wish, ended: Outcome) -> str:
    if wish.ends_at is RolloutState.DONE:
        return "the good model reached the fleet" if ended.is_as_wished else "it did not arrive"
    if not ended.is_as_wished:
        return f"the {wish.model} model was not held up where it should be"
    if wish.ends_at is RolloutState.SHADOW:
        return f"the {wish.model} model was stopped in shadow: no device ever ran it"
    return f"the {wish.model} model was stopped at the canary and taken back"


@click.command("rollout", short_help="Roll a good or a bad model out to a simulated fleet.")
@click.option("--devices", default=200, show_default=True, help="How many, 20 to 2000.")
@click.option(
    "--model",
    type=click.Choice([str(one) for one in Candidate]),
    default="good",
    show_default=True,
    help="bad: finds a fifth less, and is slow. slow: only that.",
)
@click.option(
    "--shadow/--no-shadow",
    default=True,
    show_default=True,
    help="Whether it runs beside the old one first, reviewed by people.",
)
@click.option(
    "--faults", default=1, show_default=True, help="Devices of each fault: slow, away, clock …"
)
@click.option("--hours", default=24.0, show_default=True, help="Simulated, at most.")
@click.option("--seed", default=1, show_default=True)
@click.option("--plain", is_flag=True, help="A line each ten simulated minutes, no live table.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    devices: int,
    model: str,
    faults: int,
    hours: float,
    seed: int,
    *,
    shadow: bool,
    plain: bool,
    as_json: bool,
) -> None:
    """Start a central and a fleet, roll a model out in accelerated time, and judge how it ended.

    Exit code 1 where a good model did not reach every device that behaves, or a worse one was not
    stopped in shadow or at the canary, where what is wrong with it shows, and taken back.
    """
    logging.getLogger("vedette").setLevel(logging.CRITICAL)  # its devices do fall silent
    wish = Wish(
        devices=devices,
        model=Candidate(model),
        shadow=shadow,
        faults=faults,
        max_h=hours,
        seed=seed,
    )
    check(wish)
    ended = _watched(wish, plain=plain, quiet=as_json)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(ended), indent=1))
    else:
        say(wish, ended)
    if not ended.is_as_wished:
        raise SystemExit(1)


def _watched(wish: Wish, *, plain: bool, quiet: bool) -> Outcome:
    if quiet:
        return rollout.run(wish)
    if plain or not Console(stderr=True).is_terminal:
        return rollout.run(wish, _Lines())
    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        watch: Watch = lambda told: live.update(shown(told), refresh=True)  # noqa: E731
        return rollout.run(wish, watch)
