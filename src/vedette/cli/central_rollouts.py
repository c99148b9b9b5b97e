"""`vedette central rollouts …`: what is rolled out, how far it is, and the orders to it.

Thin: reads arguments, calls `central.rollouts`, prints. The rule: an order is stored here and
carried out by the running central within seconds; where none runs, by the next one that does. Who
types says who they are with `--by`: it stands in the history, and two people are two names.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from vedette import config as files
from vedette.amounts import counted
from vedette.central.rollouts import forecast, looking, ordering, returning
from vedette.central.rollouts.facts import Asked, Order, RolloutState
from vedette.central.rollouts.store import Row
from vedette.central.rollouts.views import RolloutRow, RolloutView
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Database, Tx
from vedette.cli.at_central import (
    ACTOR,
    in_transaction,
    now_ms,
    show_json,
    show_table,
    with_database,
)
from vedette.cli.printable import add_row, clean
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError

WATCH_S: Final = 2.0
_AT_REST: Final = frozenset(
    {
        RolloutState.DONE,
        RolloutState.ROLLED_BACK,
        RolloutState.SUPERSEDED,
        RolloutState.STOPPED,
    }
)
_DEVICES: Final = 1_000

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_by = click.option("--by", default="", help="Who you are; it stands in the history.")
_why = click.option("--why", default="", help="The reason; it stands in the history.")
_file = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))


@click.group("rollouts", short_help="What is rolled out to devices, how far, and orders to it.")
def rollouts_group() -> None:
    """Rollouts: models, configuration, programs and systems, in stages, with proof at each."""


@rollouts_group.command("list")
@click.option("--state", default="", help="Only those in this state, as canary.")
@_as_json
@click.pass_obj
def list_command(config: CentralConfig, state: str, *, as_json: bool) -> None:
    """List rollouts, newest first."""

    async def read(tx: Tx) -> list[RolloutRow]:
        return await looking.page(tx, None, state=state, limit=_DEVICES)

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    rows = [
        [
            one.plan.rollout,
            str(one.plan.kind),
            one.plan.slot,
            _what(one),
            _where(one),
            _counts(one.counts),
            _at(one.since_ms),
            one.reason[:80],
        ]
        for one in found
    ]
    head = ["rollout", "kind", "slot", "artefact", "state", "devices", "since", "why"]
    show_table(head, rows, "no rollouts: vedette central rollouts create FILE")


@rollouts_group.command("show")
@click.argument("rollout")
@_as_json
@click.pass_obj
def show_command(config: CentralConfig, rollout: str, *, as_json: bool) -> None:
    """Show one rollout: its stages, gates, devices and what happened."""
    found = in_transaction(config, lambda tx: _view(tx, rollout))
    if as_json:
        show_json(found)
        return
    row = found.row
    click.echo(
        f"{rollout}: {_what(row)} into {row.plan.slot}, {_where(row)} since {_at(row.since_ms)}"
    )
    click.echo(f"  {clean(row.reason)}")
    _warn(found.warnings)
    show_table(["stage", "devices", "settled", "soaked", "began"], _stages(row), "no stages")
    show_table(["gate", "verdict", "evidence", "why"], _gates(found), "no gates looked at yet")
    devices = [
        [one.device, one.site, str(one.state or "-"), _number(one.stage), one.problem or one.why]
        for one in found.devices[:50]
    ]
    show_table(["device", "site", "state", "stage", "why"], devices, "no devices")
    if found.by_difference:
        saved_mb = found.saved_bytes / 1e6
        click.echo(f"{found.by_difference} took only the difference: {saved_mb:.1f} MB saved")
    told = [[_at(h.at_ms), h.actor, h.what, h.detail[:80]] for h in found.history[:15]]
    show_table(["when", "who", "what", "why"], told, "nothing happened")
    if row.asked:
        click.echo(f"ordered, not carried out yet: {row.asked}")
    commands = [order.replace("_", "") for order in found.orders]
    click.echo(f"possible now: {', '.join(commands) or 'nothing'}")


@rollouts_group.command("plan")
@_file
@_as_json
@click.pass_obj
def plan_command(config: CentralConfig, file: Path, *, as_json: bool) -> None:
    """Print what the rollout in FILE would do, and when. Nothing is stored."""
    plan = ordering.plan_of(files.load(file, ordering.NewRollout))
    wrong = ordering.complaints(plan)
    if wrong:
        raise ConfigError("; ".join(wrong[:5]), operator_hint=f"mend {file}")
    found = in_transaction(config, lambda tx: forecast.forecast(tx, plan, now_ms()))
    if as_json:
        show_json(found)
        return
    who = counted(found.taking_part, "device takes", "devices take")
    click.echo(f"{who} part. Gates of the artefact: {found.gated}")
    for line in found.words:
        click.echo(clean(line))
    _warn(found.warnings)


@rollouts_group.command("create")
@_file
@_by
@_as_json
@click.pass_obj
def create_command(config: CentralConfig, file: Path, by: str, *, as_json: bool) -> None:
    """Make the rollout in FILE (YAML or JSON). It begins when approved and started."""
    wanted = files.load(file, ordering.NewRollout)
    plan = ordering.plan_of(wanted)

    async def make(tx: Tx) -> Row:
        return await ordering.make(tx, plan, actor=_actor(by), note=wanted.note, now_ms=now_ms())

    _say(_stored(config, make), "made", as_json=as_json)


@rollouts_group.command("approve")
@click.argument("rollout")
@_by
@_as_json
@click.pass_obj
def approve_command(config: CentralConfig, rollout: str, by: str, *, as_json: bool) -> None:
    """Approve at central; whoever made it cannot. The offline keys approve apart from this."""

    async def approve(tx: Tx) -> Row:
        return await ordering.approve(
            tx,
            rollout,
            actor=_actor(by),
            two_people=config.rollouts.two_people,
            now_ms=now_ms(),
        )

    row = _stored(config, approve)
    _say(row, "approved", as_json=as_json)
    if not as_json:
        _warn(in_transaction(config, lambda tx: returning.warnings(tx, row.asked, now_ms())))


def _order(name: str, order: Order, help_text: str) -> None:
    """Add a command that gives an order without anything but a reason."""

    @rollouts_group.command(name, help=help_text)
    @click.argument("rollout")
    @_by
    @_why
    @_as_json
    @click.pass_obj
    def command(config: CentralConfig, rollout: str, by: str, why: str, *, as_json: bool) -> None:
        _give(config, rollout, Asked(order=order, at_ms=now_ms(), by=_actor(by), why=why), as_json)

    _ = command


_order("start", Order.START, "Let it begin, as soon as gates and approvals allow it.")
_order("pause", Order.PAUSE, "Take no more devices in; what was assigned goes on.")
_order("resume", Order.RESUME, "Go on after a pause.")
_order("stop", Order.STOP, "End it; what was taken up stays.")
_order("rollback", Order.ROLL_BACK, "Send every device back to what it ran before.")
_order("supersede", Order.SUPERSEDE, "End it because another takes its place.")
_order("accept", Order.ACCEPT, "Go on although the evidence is inconclusive. Say --by and --why.")


@rollouts_group.command("extend")
@click.argument("rollout")
@click.option("--hours", required=True, type=click.FloatRange(min=0.0, min_open=True))
@_by
@_why
@_as_json
@click.pass_obj
def extend_command(
    config: CentralConfig, rollout: str, hours: float, by: str, why: str, *, as_json: bool
) -> None:
    """Give an inconclusive stage more time."""
    asked = Asked(order=Order.EXTEND, at_ms=now_ms(), by=_actor(by), why=why, hours=hours)
    _give(config, rollout, asked, as_json)


@rollouts_group.command("devices")
@click.argument("rollout")
@click.argument("how", type=click.Choice(["pin", "exclude", "include", "trust"]))
@click.argument("devices", nargs=-1, required=True)
@_by
@_why
@_as_json
@click.pass_obj
def devices_command(  # noqa: PLR0917 - which devices of which rollout, how, by whom
    config: CentralConfig,
    rollout: str,
    how: str,
    devices: Sequence[str],
    by: str,
    why: str,
    *,
    as_json: bool,
) -> None:
    """Say which DEVICES take part, and how.

    Pin them to the first stage, exclude them, include them again, or trust what they run.
    """

    async def choose(tx: Tx) -> Row:
        return await ordering.choose(
            tx, rollout, devices, how, actor=_actor(by), why=why, now_ms=now_ms()
        )

    _say(_stored(config, choose), how, as_json=as_json)


@rollouts_group.command("watch")
@click.argument("rollout")
@click.pass_obj
def watch_command(config: CentralConfig, rollout: str) -> None:
    """Show how far a rollout is until it comes to rest.

    End with Ctrl-C before.
    """

    async def watch(db: Database) -> RolloutView:
        console = Console()
        with Live(console=console, auto_refresh=False) as live:
            while True:
                async with db.transaction() as tx:
                    found = await _view(tx, rollout)
                live.update(progress(found), refresh=True)
                if found.row.state in _AT_REST and not found.row.asked:
                    return found
                await asyncio.sleep(WATCH_S)

    found = with_database(config, watch)
    click.echo(f"{rollout} is {found.row.state}: {clean(found.row.reason)}")


def progress(found: RolloutView) -> Table:
    """Return where a rollout is as a table: stages, and devices by state."""
    row = found.row
    table = Table("stage", "devices", "settled", "soaked", "began", box=None, pad_edge=False)
    table.title = f"{clean(row.plan.rollout)}  {_where(row)}  {_counts(row.counts)}"
    table.caption = clean(row.reason[:200])
    for cells in _stages(row):
        add_row(table, *cells)
    return table


async def _view(tx: Tx, rollout: str) -> RolloutView:
    found = await looking.one(tx, rollout, None, now_ms=now_ms())
    if found is None:
        raise ConfigError(
            f"there is no rollout {rollout[:64]!r}", operator_hint="vedette central rollouts list"
        )
    return found


def _give(config: CentralConfig, rollout: str, asked: Asked, as_json: bool) -> None:
    async def order(tx: Tx) -> Row:
        return await ordering.order(tx, rollout, asked, now_ms=now_ms())

    row = _stored(config, order)
    _say(row, str(asked.order), as_json=as_json)
    if as_json:
        return
    click.echo("central carries it out within seconds, as far as gates and approvals allow it")
    click.echo(f"see: vedette central rollouts show {row.rollout}")


def _stored(config: CentralConfig, work: Callable[[Tx], Awaitable[Row]]) -> Row:
    """Return what was stored, and wake whatever central runs on this database."""

    async def done(tx: Tx) -> Row:
        row = await work(tx)
        await ordering.wake(tx, row.rollout)
        return row

    return in_transaction(config, done)


def _say(row: Row, what: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"rollout": row.rollout, "state": row.state, "version": row.version})
        return
    said = f"{what} is ordered; so far it is" if what in set(Order) else f"{what}; it is"
    click.echo(f"{row.rollout}: {said} {row.state}")


def _warn(warnings: Sequence[str]) -> None:
    for text in warnings:
        click.echo(f"warning: {clean(text)}", err=True)


def _actor(by: str) -> str:
    if by and (len(by) > 64 or not by.isprintable()):
        raise ConfigError("--by has 1 to 64 printable characters")
    return f"{ACTOR}:{by}" if by else ACTOR


def _what(row: RolloutRow) -> str:
    artefact = row.plan.artefact
    return " ".join(filter(None, [artefact.name, artefact.version])) or artefact.target


def _where(row: RolloutRow) -> str:
    stages = len(row.plan.stages)
    began = any(stage.began_ms is not None for stage in row.stages)
    return f"{row.state} ({row.stage + 1} of {stages})" if began else str(row.state)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state or 'waiting'}" for state, count in sorted(counts.items()))


def _stages(row: RolloutRow) -> list[list[str]]:
    return [
        [
            f"{stage.number + 1}. {stage.state}",
            str(stage.devices),
            str(stage.settled),
            f"{stage.devices_soaked} ({stage.soak_h:g} h)",
            _at(stage.began_ms) if stage.began_ms else "-",
        ]
        for stage in row.stages
    ]


def _gates(found: RolloutView) -> list[list[str]]:
    return [[g.gate, str(g.verdict), g.evidence, g.reason[:120]] for g in found.gates]


def _number(stage: int | None) -> str:
    return "-" if stage is None else str(stage + 1)


def _at(ms: int) -> str:
    return f"{from_wall_ms(ms):%Y-%m-%d %H:%M}"
