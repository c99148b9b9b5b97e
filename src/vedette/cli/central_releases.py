"""`vedette central releases status, keys, publish`: the repository, at central's terminal. Thin."""

import asyncio
from pathlib import Path

import click

from vedette.amounts import counted
from vedette.central.releases import keeping
from vedette.central.releases.keeping import UPLOAD, OnlineKeys, ReleasesView, Taken
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Database, Tx
from vedette.cli.at_central import (
    ACTOR,
    in_transaction,
    must_be_there,
    now_ms,
    show_json,
    show_table,
    with_database,
)
from vedette.errors import ConfigError
from vedette.trust.tuf.offline import OfflineRepository

_PART_BYTES = 1024 * 1024


@click.group("releases")
def releases_group() -> None:
    """Show and publish what devices may install."""


@releases_group.command("keys", short_help="Write the public halves of central's two keys.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder for central-snapshot.pub and central-timestamp.pub.",
)
@click.pass_obj
def keys(config: CentralConfig, out: Path) -> None:
    """Write what `vedette keys init` needs of central; the private halves stay here."""
    must_be_there(config)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in OnlineKeys.load_or_make(config.state).public_files.items():
            (out / name).write_bytes(data)
            click.echo(out / name)
    except OSError as error:
        raise ConfigError(f"cannot write in {out}: {error.strerror}") from error


@releases_group.command("status", short_help="Roles, versions, keys and expiry.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(config: CentralConfig, *, as_json: bool) -> None:
    """Show what is published, and what will expire."""

    async def read(tx: Tx) -> tuple[ReleasesView, tuple[int, int]]:
        return await keeping.view(tx, now_ms()), await keeping.saved(tx)

    found, (count, saved_bytes) = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    show_table(
        ("role", "version", "expires", "keys", "published by", ""),
        [
            (
                role.role,
                str(role.version),
                f"{role.expires_at:%Y-%m-%d %H:%M}",
                f"{role.threshold} of {len(role.keys)}",
                role.published_by,
                role.problem,
            )
            for role in found.roles
        ],
        "nothing is published: vedette keys init, vedette keys publish",
    )
    if found.roles:
        deltas = f"; {found.deltas} of them deltas, {found.deltas_bytes} bytes"
        click.echo(
            f"{counted(found.files, 'file')}, {found.bytes} bytes{deltas if found.deltas else ''}"
        )
        if count:
            click.echo(
                f"deltas were enough {counted(count, 'time')}: {saved_bytes / 1e6:.1f} MB saved"
            )


@releases_group.command("publish", short_help="Take the repository in FOLDER, as devices get it.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.pass_obj
def publish(config: CentralConfig, folder: Path) -> None:
    """Take the signed repository in FOLDER; `vedette keys publish` does so from elsewhere."""
    repository = OfflineRepository(folder)
    blobs = keeping.release_blobs(config.state)
    for sha256, size, file in repository.target_files().values():
        if not blobs.has(sha256):
            blobs.forget(sha256, UPLOAD)
            with file.open("rb") as opened:
                start = 0
                while part := opened.read(_PART_BYTES):
                    start = blobs.append(sha256, UPLOAD, start, part, size)
            blobs.finish(sha256, UPLOAD)

    async def work(db: Database) -> Taken:
        files = await asyncio.to_thread(repository.files)
        return await keeping.publish(db, config.state, files, actor=ACTOR, now_ms=now_ms())

    taken = with_database(config, work)
    click.echo(", ".join(f"{role} {version}" for role, version in taken.versions.items()))
