"""`vedette central backup|restore`: everything that central knows in one file, and back.

Thin: reads what was asked, calls `central.store.backup`, prints. What devices do about a central
that was restored is in docs/back-up-central.md.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from vedette.amounts import counted
from vedette.central import audit, serve
from vedette.central.alerting.channels.sealing import KEYS
from vedette.central.app import ONLINE_KEY
from vedette.central.releases import saving
from vedette.central.settings import CentralConfig
from vedette.central.store import backup
from vedette.central.store.db import Database
from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.cli.at_central import ACTOR, now_ms
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError
from vedette.trust.keys import write_private


@click.command("backup", short_help="Write everything that central knows to FILE.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--files/--no-files",
    default=True,
    show_default=True,
    help="With the files of the repository of updates.",
)
@click.pass_obj
def backup_command(config: CentralConfig, file: Path, *, files: bool) -> None:
    """Write everything that central knows to FILE, beside a running central or alone.

    FILE holds central's own key and the two with which it signs what is current in the repository
    of updates: keep it as secret as those. Keys of people, which say what may be installed, are
    never at central, and so not in it; nor is keys/alerts.key, without which the secrets of alert
    channels in FILE cannot be read: keep it apart, or set them again. Without its files, publish
    them again after a restore.
    """
    key = config.state / ONLINE_KEY
    if not key.is_file():
        raise ConfigError(
            f"no central at {config.state}", operator_hint="name its folder with --state"
        )
    missing = 0
    with serve.database(config, attach=True) as conninfo:

        def kept() -> dict[str, Path]:
            nonlocal missing
            found, missing = saving.files(conninfo, config.state)
            return found

        backup.make(
            conninfo,
            key.read_bytes(),
            file.resolve(),
            made_ms=now_ms(),
            release_keys=saving.keys(config.state),
            files=kept if files else dict,
        )
        asyncio.run(_remember(conninfo, file.stat().st_size))
    click.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    if (config.state / KEYS).is_file():
        click.echo(f"{KEYS} is not in it: channels' secrets need a copy kept apart", err=True)
    if missing:
        named = "that the repository names"
        who = counted(missing, f"file {named} is", f"files {named} are")
        click.echo(f"warning: {who} not here", err=True)


async def _remember(conninfo: str, size: int) -> None:
    """Have the database know that a backup was made: its age is a thing to watch."""
    await _note(conninfo, "backup.made", {})
    db = Database(conninfo, max_size=1)
    await db.open()
    try:
        async with db.transaction() as tx:
            await tx.run("backup_put", made_ms=now_ms(), bytes=size)
    finally:
        await db.close()


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace what this central knows now, for ever.")
@click.pass_obj
def restore_command(config: CentralConfig, file: Path, *, force: bool) -> None:
    """Have central know what FILE holds, and nothing else. Stop central first."""
    with backup.opened(file) as (manifest, folder):
        key = (folder / backup.KEY).read_bytes()
        path = config.state / ONLINE_KEY
        release_keys = {
            name: (folder / name).read_bytes()
            for name in backup.RELEASE_KEYS
            if (folder / name).is_file()
        }
        _check_key(path, key, force=force)
        for name, data in release_keys.items():
            _check_key(path.parent / name, data, force=force)
        config.state.mkdir(parents=True, exist_ok=True)
        with _stopped(config) as conninfo:
            known = backup.in_use(conninfo)
            if known and not force:
                raise ConfigError(
                    f"this central knows something already: {', '.join(known)}",
                    operator_hint="back it up, then add --force: all of it is replaced",
                )
            saving.put_back(config.state, backup.release_files(manifest, folder))
            backup.restore(conninfo, folder)
            asyncio.run(migrate(conninfo))
            made = from_wall_ms(manifest.made_ms)
            detail: dict[str, object] = {"made": made.isoformat(timespec="seconds")}
            asyncio.run(_note(conninfo, "backup.restored", detail))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, key)
        saving.put_keys_back(config.state, release_keys)
    click.echo(
        f"restored what central knew at {made:%Y-%m-%d %H:%M:%S} UTC;"
        " start it again, and devices send the rest"
    )


def _check_key(path: Path, key: bytes, *, force: bool) -> None:
    if path.is_file() and path.read_bytes() != key and not force:
        raise ConfigError(
            "the backup has the key of another central",
            operator_hint="devices of this one will not believe it; --force takes it all the same",
        )


@contextlib.contextmanager
def _stopped(config: CentralConfig) -> Iterator[str]:
    """Give the database of a central that does not run, whatever is in it.

    Raises:
        ConfigError: It runs.
    """
    if config.own_database:
        yield config.own_database
        return
    with EmbeddedPostgres(config.state / "pg") as server:
        yield server.conninfo


async def _note(conninfo: str, action: str, detail: dict[str, object]) -> None:
    """Write it into the audit log."""
    db = Database(conninfo, max_size=1)
    await db.open()
    try:
        async with db.transaction() as tx:
            await audit.write(tx, at_ms=now_ms(), actor=ACTOR, action=action, detail=detail)
    finally:
        await db.close()
