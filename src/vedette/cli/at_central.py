"""What every command at central's terminal needs: its database, the time, and a table or JSON.

The rule: it works beside a running central and alone; who typed it stands as `terminal` in the
audit log.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from vedette.central import serve
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Database, Tx
from vedette.cli.printable import add_row
from vedette.clock import SystemClock, wall_ms
from vedette.errors import ConfigError

T = TypeVar("T")

ACTOR: Final = "terminal"


def must_be_there(config: CentralConfig) -> None:
    """Raise where there is no central yet, so that nobody who forgot `--config` makes a second one.

    Raises:
        ConfigError: There is none in the state folder.
    """
    if config.own_database or (config.state / "pg").is_dir():
        return
    raise ConfigError(
        f"there is no central in {config.state.absolute()}",
        operator_hint="say which one with `vedette central --config central.yaml …` or"
        " VEDETTE_CENTRAL_CONFIG; a new one begins with `vedette central init`",
    )


def with_database(
    config: CentralConfig, work: Callable[[Database], Awaitable[T]], *, make: bool = False
) -> T:
    """Return what `work` returns: beside a running central where there is one, else alone.

    Raises:
        ConfigError: There is no central where the configuration says, and `make` is not given:
            whoever forgot `--config` must not be answered by a new and empty one.
    """
    if not make:
        must_be_there(config)

    async def connected(conninfo: str) -> T:
        db = Database(conninfo, max_size=2)
        await db.open()
        try:
            return await work(db)
        finally:
            await db.close()

    with serve.database(config, attach=True) as conninfo:
        return asyncio.run(connected(conninfo))


def in_transaction(config: CentralConfig, work: Callable[[Tx], Awaitable[T]]) -> T:
    """Return what `work` returns, committed."""

    async def done(db: Database) -> T:
        async with db.transaction() as tx:
            return await work(tx)

    return with_database(config, done)


def now_ms() -> int:
    """Return the time of this machine in milliseconds."""
    return wall_ms(SystemClock().now_at())


def show_json(found: object) -> None:
    """Print JSON, indented."""
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    """Print a table, or in words that there is nothing to print."""
    if not rows:
        click.echo(nothing)
        return
    table = Table(*head, box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"  # a narrow terminal breaks a name, and never hides its end
    for row in rows:
        add_row(table, *row)
    # Wide enough for a file or pipe: names must not be broken there.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)
