"""`vedette sim fleet`: many simulated devices against a central, with live figures.

Thin: reads what was asked, calls `vedette.sim.fleet`, prints. Imported only when it is asked for,
because it needs what central needs.
"""

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from vedette.clock import Clock, SystemClock
from vedette.errors import ConfigError
from vedette.sim.fleet import campaign, own, run
from vedette.sim.fleet import scenario as scenarios
from vedette.sim.fleet.load import Load
from vedette.sim.fleet.meter import Result
from vedette.sim.fleet.run import Plan, Way
from vedette.sim.fleet.simulate import Simulation


@contextlib.contextmanager
def the_central(
    url: str, way: Way, clock: Clock, *, own_one: bool
) -> Iterator[tuple[Way, own.OwnCentral | None]]:
    """Give the way to a central: the one that was named, or one of our own.

    Raises:
        ConfigError: Neither was asked for, or both.
    """
    if own_one == bool(url):
        raise ConfigError(
            "which central?", operator_hint="give either --central URL or --own-central"
        )
    if not own_one:
        yield way, None
        return
    with own.own_central(clock) as mine:
        yield Way(url=mine.url, database_url=mine.database_url, audience=mine.audience), mine


def report(result: Result, usage: own.Usage | None) -> dict[str, object]:
    """Return the result with its rates, as one document."""
    document = msgspec.to_builtins(result)
    document["reports_per_s"] = round(result.reports_per_s, 1)
    document["messages_per_s"] = round(result.messages_per_s, 1)
    document["cpu_s"] = {"client": result.cpu_s}
    if usage:
        document["cpu_s"] |= {"central": usage.central, "postgres": usage.postgres}
    return document


def table(load: Load, seconds: float) -> Table:
    """Return what a person watches."""
    meter = load.meter
    recent = meter.recent()
    shown = Table(title=f"fleet, {seconds:.0f} s", show_header=False)
    shown.add_row("reports acknowledged", f"{meter.reports} ({meter.reports / seconds:.0f}/s)")
    shown.add_row("messages acknowledged", f"{meter.messages}")
    shown.add_row("of them backlog reports", f"{meter.backlog_reports}")
    shown.add_row("ack p50 / p95 / p99", f"{recent.p50} / {recent.p95} / {recent.p99} ms")
    shown.add_row("connections, waiting", f"{load.pool.connections}, {load.pool.waiting}")
    shown.add_row("sent later than due", f"{meter.overdue}")
    shown.add_row("errors", ", ".join(f"{n} × {what}" for what, n in meter.errors.items()) or "–")
    return shown


def load_fleet(way: Way, plan: Plan, clock: Clock, *, quiet: bool) -> Result:
    """Return what came of the plan, with live figures meanwhile unless `quiet`; Ctrl-C ends it."""

    async def main(live: Live | None) -> Result:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(signal.SIGINT, stop.set)
        began_s = loop.time()

        def watch(load: Load) -> None:
            if live:
                live.update(table(load, max(loop.time() - began_s, 0.1)))

        return await run.drive(way, plan, clock, watch=watch, stop=stop)

    if quiet:
        return asyncio.run(main(None))
    with Live(console=Console(stderr=True), refresh_per_second=4) as live:
        return asyncio.run(main(live))


def say(document: dict[str, object], result: Result) -> None:
    """Print the result for a person."""
    ack, old = result.ack_ms, result.backlog_ms
    click.echo(
        f"{result.reports} reports ({result.messages} messages) of {result.devices} devices"
        f" × {result.cameras} cameras in {result.seconds:.1f} s:"
        f" {result.reports_per_s:.0f} reports/s, {result.messages_per_s:.0f} messages/s"
    )
    click.echo(f"acknowledged after  p50 {ack.p50}  p95 {ack.p95}  p99 {ack.p99} ms, from when due")
    if result.backlog_reports or result.backlog_left:
        click.echo(
            f"backlog  {result.backlog_reports} reports sent, {result.backlog_left} left;"
            f" a batch p50 {old.p50}  p99 {old.p99} ms"
        )
    click.echo(f"CPU seconds  {json.dumps(document['cpu_s'])}")
    for what, count in sorted(result.errors.items()):
        click.echo(f"error  {count} × {what}")


def check_books(path: Path | None, *, as_json: bool) -> int:
    """Run a scenario and print the verdict; 1 where a promise was broken."""
    logging.getLogger("vedette.central").setLevel(logging.CRITICAL)  # its devices do fall silent
    story = scenarios.load(path) if path else scenarios.DEFAULT

    def watch(simulation: Simulation) -> None:
        hours = (simulation.now_ms - simulation.start_ms) / 3_600_000
        click.echo(f"{hours:6.2f} h of {story.hours} h, {simulation.requests} requests", err=True)

    verdict = campaign.run(story, None if as_json else watch)
    if as_json:
        found = [msgspec.to_builtins(one) for one in verdict.differences]
        document = {"holds": verdict.holds, "counts": verdict.counts, "differences": found}
        click.echo(json.dumps(document, indent=1))
    else:
        click.echo(str(verdict))
    return 0 if verdict.holds else 1


@click.command("fleet", short_help="Be many devices over the real protocol.")
@click.option("--central", "url", default="", help="Address of the central to load.")
@click.option("--own-central", is_flag=True, help="Start a central of our own, and throw it away.")
@click.option("--token", default="", envvar="VEDETTE_TOKEN", help="Operator's API token: enrols.")
@click.option("--database", default="", help="Central's database: enrols in bulk, for benchmarks.")
@click.option("--devices", default=100, show_default=True)
@click.option("--cameras", default=4, show_default=True, help="Of each device.")
@click.option("--period", default=30.0, show_default=True, help="Seconds between reports.")
@click.option("--minutes", default=1.0, show_default=True, help="How long.")
@click.option("--connections", default=64, show_default=True, help="Shared by all devices.")
@click.option("--closed-loop", is_flag=True, help="As fast as it is acknowledged: the ceiling.")
@click.option("--away-hours", default=0.0, show_default=True, help="A backlog on every device.")
@click.option("--seed", default=1, show_default=True)
@click.option("--check", is_flag=True, help="Simulated hours with faults; 1 where books differ.")
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What happens, for --check; docs/simulate.md says how to write one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(  # noqa: PLR0917 - click passes them by name
    url: str,
    token: str,
    database: str,
    devices: int,
    cameras: int,
    period: float,
    minutes: float,
    connections: int,
    away_hours: float,
    seed: int,
    scenario: Path | None,
    *,
    own_central: bool,
    closed_loop: bool,
    check: bool,
    as_json: bool,
) -> None:
    """Be many devices over the real protocol, and say how central takes it."""
    clock = SystemClock()
    if check or scenario:
        if url or database or token:
            raise ConfigError(
                "--check moves central's clock, so it needs a central of its own",
                operator_hint="leave out --central, --database and --token",
            )
        raise SystemExit(check_books(scenario, as_json=as_json))
    plan = Plan(
        devices=devices,
        cameras=cameras,
        period_s=period,
        duration_s=minutes * 60,
        connections=connections,
        closed=closed_loop,
        backlog_s=away_hours * 3600,
        seed=seed,
    )
    run.check(plan)
    given = Way(url=url, operator_token=token, database_url=database)
    with the_central(url, given, clock, own_one=own_central) as (way, mine):
        before = mine.usage() if mine else None
        result = load_fleet(way, plan, clock, quiet=as_json)
        usage = mine.usage().since(before) if mine and before else None
    document = report(result, usage)
    if as_json:
        click.echo(json.dumps(document, indent=1))
    else:
        say(document, result)
    if result.errors:
        raise SystemExit(1)
