"""`vedette central archive`: the clips of a time that are here, in one file. Thin.

The rule: the file has its name once it is whole; one that was stopped leaves nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from vedette.central import audit
from vedette.central.clips.blobs import Blobs
from vedette.central.exporting import archive
from vedette.central.exporting.archive import Plan, Wish
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.cli.at_central import ACTOR, in_transaction, now_ms, show_json
from vedette.cli.central_query import moment
from vedette.cli.printable import clean
from vedette.errors import ConfigError

NOTHING: Final = 1
"""Exit status where no such clip is here."""


@click.command("archive", short_help="Put the clips of a time into one zip.")
@click.option("--from", "start", default="24h", show_default=True, help="7d, 24h, or a time.")
@click.option("--to", "end", default="now", show_default=True, help="A time, or now.")
@click.option("--site", default="", help="Only of this site.")
@click.option("--device", default="", help="Only of this device.")
@click.option("--camera", default="", help="Only of this camera.")
@click.option("--kind", default="", help="Only events of this kind.")
@click.option("--held", is_flag=True, help="Only what is held.")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="The zip.")
@click.option("--by", default="", help="Who you are; it stands in the audit log.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def archive_command(  # noqa: PLR0917 - each is an option
    config: CentralConfig,
    start: str,
    end: str,
    site: str,
    device: str,
    camera: str,
    kind: str,
    out: Path | None,
    by: str,
    *,
    held: bool,
    as_json: bool,
) -> None:
    """Put the clips of events in a time into one zip, with manifest and hashes.

    \b
    Only clips that are here already; `vedette central clip` fetches one. Without
    -o: only what it would hold. Each copy stands in the audit log.
      vedette central archive --site lisbon-1 --from 7d -o week.zip
      unzip week.zip -d week && cd week && sha256sum -c SHA256SUMS
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    if out is not None and out.exists():
        raise ConfigError(f"{out} is there already", operator_hint="choose another place")
    now = now_ms()
    wish = Wish(
        from_ms=moment(start, now),
        to_ms=moment(end, now),
        site=site,
        device=device,
        camera=camera,
        kind=kind,
        held=held,
    )

    async def choose(tx: Tx) -> Plan:
        chosen = await archive.plan(tx, wish, None, now)
        if out is not None and chosen.packages:
            await archive.look(tx, chosen, actor=by or ACTOR, now_ms=now)
            detail: dict[str, object] = {"packages": len(chosen.packages), "site": site}
            await audit.write(
                tx, at_ms=now, actor=by or ACTOR, action="archive.download", detail=detail
            )
        return chosen

    chosen = in_transaction(config, choose)
    if out is not None and chosen.packages:
        pieces = archive.zipped(Blobs(config.blobs), chosen, actor=by or ACTOR, now_ms=now)
        _write(out, pieces, chosen, quiet=as_json)
    _tell(chosen, out, as_json=as_json)
    if not chosen.packages:
        raise SystemExit(NOTHING)


def _write(out: Path, pieces: Iterator[bytes], chosen: Plan, *, quiet: bool) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True, quiet=quiet)
    with (
        _named_when_whole(out) as file,
        Progress(*columns, TransferSpeedColumn(), console=console, transient=True) as progress,
    ):
        task = progress.add_task(f"{len(chosen.packages)} packages", total=chosen.size_bytes)
        for piece in pieces:
            file.write(piece)
            progress.advance(task, len(piece))


@contextmanager
def _named_when_whole(out: Path) -> Iterator[BinaryIO]:
    """Give a file that takes its name at the end; stopped or failed, nothing of it stays.

    Raises:
        ConfigError: It cannot be written there.
    """
    part = out.with_name(f".{out.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.rename(out)
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error.strerror}",
            operator_hint="choose a place with room for it",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _tell(chosen: Plan, out: Path | None, *, as_json: bool) -> None:
    reasons = chosen.reasons()
    if as_json:
        show_json(
            {
                "file": str(out) if out and chosen.packages else None,
                "packages": len(chosen.packages),
                "bytes": chosen.size_bytes,
                "left_out": reasons,
            }
        )
        return
    count, size_mb = len(chosen.packages), chosen.size_bytes / 1e6
    there = f" in {out}" if out and count else ""
    click.echo(f"{count} packages, {size_mb:.1f} MB{there}")
    for why, many in sorted(reasons.items()):
        click.echo(f"left out: {many}, {clean(why)}")
