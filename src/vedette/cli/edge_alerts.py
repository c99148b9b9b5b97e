"""`vedette edge alerts`: what this device tells people at the site by itself, and a try of it."""

import sys
import threading
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from vedette.cli.printable import clean, escape
from vedette.clock import SystemClock, from_wall_ms, wall_ms
from vedette.edge import settings
from vedette.edge.alerts.desk import way_of
from vedette.edge.alerts.outcome import Result
from vedette.edge.desired import DesiredStore, Effective
from vedette.edge.enrolment import Identity, load_identity
from vedette.edge.status import read_status
from vedette.errors import ConfigError
from vedette.ids import new_id
from vedette.wire.alerts import LocalAlert, LocalChannel, LocalRule, Severity, Turn
from vedette.wire.messages import LocalChannelHealth

NOT_DELIVERED = 1
"""Exit status where a message to test did not arrive."""

_config = click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration. Environment: VEDETTE_EDGE_CONFIG.",
)


@click.group("alerts", short_help="Local channels: how they are; try one.")
def alerts() -> None:
    """Local channels: what this device tells people at the site by itself.

    Channels and rules stand in the site's signed policy: `vedette site sign`.
    """


@alerts.command("show")
@_config
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(path: Path, *, as_json: bool) -> None:
    """Say which channels and rules hold here, and how the channels are."""
    config = settings.load(path)
    _, effective, problems = _held(config)
    report = read_status(config.state_dir)
    health = {one.channel: one for one in report.local_channels} if report else {}
    if as_json:
        told = {
            "channels": [
                _public(one, health.get(one.channel)) for one in effective.alerts.channels
            ],
            "rules": msgspec.to_builtins(effective.alerts.rules),
            "problems": problems,
        }
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
        return
    console = Console()
    _print_channels(console, effective.alerts.channels, health)
    _print_rules(console, effective.alerts.rules)
    for problem in problems:
        console.print(f"[yellow]▲[/] {escape(problem)}", highlight=False)


@alerts.command("test", short_help="Send a message to test through channel NAME, now.")
@click.argument("name")
@_config
def test(name: str, path: Path) -> None:
    """Send a message to test through channel NAME, now.

    \b
    One attempt, from this process, whatever the agent does meanwhile. Exit
    status 1 where it did not arrive.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    identity, effective, problems = _held(config)
    channels = {one.channel: one for one in effective.alerts.channels}
    if name not in channels:
        there = ", ".join(sorted(channels)) or "none"
        raise ConfigError(
            f"no local channel {name[:64]!r} on this device; there are: {there}"
            + (f" ({'; '.join(problems)})" if problems else ""),
            operator_hint="write it into the site's policy, sign it, and hand it to central",
        )
    clock = SystemClock()
    way = way_of(channels[name], identity.device, clock)
    said = LocalAlert(
        alert=new_id("la"),
        rule="test",
        severity=Severity.INFO,
        turn=Turn.TEST,
        site=identity.site,
        device=identity.device,
        at_ms=wall_ms(clock.now_at()),
        text=f"{identity.device}: a message to test channel {name}",
    )
    try:
        outcome = way.send(said, threading.Event())
    finally:
        way.close()
    if outcome.result is Result.SENT:
        click.echo(f"{name}: delivered")
        return
    here = f": {clean(outcome.here)}" if outcome.here else ""
    click.echo(f"{name}: not delivered: {outcome.detail}{here}")
    sys.exit(NOT_DELIVERED)


def _held(config: settings.EdgeConfig) -> tuple[Identity, Effective, list[str]]:
    """Return who this device is and what it follows, with what of it it cannot."""
    identity = load_identity(config.state_dir)
    if identity is None:
        raise ConfigError("this device is not enrolled", operator_hint="first: vedette edge enrol")
    store = DesiredStore(config.state_dir, config, identity)
    return identity, store.effective, [*store.problems, *store.effective.alert_problems]


def _public(channel: LocalChannel, health: LocalChannelHealth | None) -> dict[str, object]:
    """Return a channel without address and secret, and how it is."""
    return {
        "channel": channel.channel,
        "kind": channel.kind,
        "when": channel.when,
        "after_s": channel.after_s,
        "health": msgspec.to_builtins(health),
    }


def _print_channels(
    console: Console, channels: list[LocalChannel], health: dict[str, LocalChannelHealth]
) -> None:
    if not channels:
        console.print("no local channels: the site's policy says none for this device")
        return
    table = Table("channel", "kind", "when", "sent", "dropped", "last", box=None, pad_edge=False)
    for channel in channels:
        seen = health.get(channel.channel)
        row = ["not reported yet", "–", "–"]
        if seen is not None:
            dropped = ", ".join(f"{count} {why}" for why, count in seen.dropped.items())
            at = f"{from_wall_ms(seen.last_ms):%Y-%m-%d %H:%M:%S} UTC" if seen.last_ms else "–"
            row = [str(seen.sent), dropped or "–", at]
        table.add_row(channel.channel, channel.kind, channel.when, *row)
    console.print(table)
    for one in health.values():
        if one.problem:
            console.print(f"[yellow]{one.channel}[/]: {escape(one.problem)}", highlight=False)


def _print_rules(console: Console, rules: list[LocalRule]) -> None:
    for rule in rules:
        what = "health: " + rule.health.is_ if rule.health else ""
        if rule.event is not None:
            what = "events: " + ", ".join(rule.event.kinds)
        console.print(
            f"{rule.rule}: {what} → {', '.join(rule.channels)}", highlight=False, markup=False
        )
