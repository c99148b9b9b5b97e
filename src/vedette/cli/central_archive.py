"""`vedette central archive`: the clips of a time that are here, in one file or folder. Thin.

The rule: the zip has its name once it is whole, and one that was stopped leaves nothing; a folder
that was stopped is gone on with by the same command.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from vedette.central import audit
from vedette.central.clips.blobs import Blobs
from vedette.central.exporting import archive, folder
from vedette.central.exporting.archive import Plan, Wish
from vedette.central.exporting.folder import Filling, Note
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.cli.at_central import ACTOR, in_transaction, now_ms, show_json
from vedette.cli.central_query import moment
from vedette.cli.printable import clean
from vedette.clock import from_wall_ms
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
@click.option(
    "--folder",
    "into",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder instead: one that was stopped is gone on with.",
)
@click.option("--by", default="", help="Who you are; it stands in the audit log.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def archive_command(
    config: CentralConfig,
    *,
    out: Path | None,
    into: Path | None,
    by: str,
    as_json: bool,
    **said: Any,
) -> None:
    """Put the clips of events in a time into one zip or folder, with manifest and hashes.

    \b
    Only clips that are here already; `vedette central clip` fetches one. Without
    -o or --folder: only what it would hold. Each copy stands in the audit log.
      vedette central archive --site lisbon-1 --from 7d -o week.zip
      unzip week.zip -d week && cd week && sha256sum -c SHA256SUMS
    \b
    A folder that was stopped (Ctrl-C, a line that was cut, a full disk) goes on
    where it was by the same command; what is there and whole is not copied again.
      vedette central archive --site lisbon-1 --from 7d --folder week
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    if out is not None and into is not None:
        raise ConfigError("a zip or a folder", operator_hint="leave out -o or --folder")
    if out is not None and out.exists():
        raise ConfigError(f"{out} is there already", operator_hint="choose another place")
    now = now_ms()
    asked = {name: str(given) for name, given in said.items() if given}
    note = _begun(into, asked) if into else None
    wish = Wish(from_ms=moment(said.pop("start"), now), to_ms=moment(said.pop("end"), now), **said)

    async def choose(tx: Tx) -> tuple[Plan, set[str]]:
        chosen = note.plan if note else await archive.plan(tx, wish, None, now)
        here = await archive.still_here(tx, chosen.packages)
        copied = [one for one in chosen.packages if one.folder in here]
        if (out or into) and copied:
            looked_at = msgspec.structs.replace(chosen, packages=copied)
            await archive.look(tx, looked_at, actor=by or ACTOR, now_ms=now)
            detail: dict[str, object] = {"packages": len(copied), "site": wish.site}
            await audit.write(
                tx, at_ms=now, actor=by or ACTOR, action="archive.download", detail=detail
            )
        return chosen, here

    chosen, here = in_transaction(config, choose)
    filling = None
    if into is not None and chosen.packages:
        filling = Filling(into, Blobs(config.blobs), chosen, here)
        note = note or Note(asked=asked, plan=chosen)
        _fill(into, note, filling, actor=by or ACTOR, quiet=as_json)
    elif out is not None and chosen.packages:
        pieces = archive.zipped(Blobs(config.blobs), chosen, actor=by or ACTOR, now_ms=now)
        _write(out, pieces, chosen, quiet=as_json)
    _tell(chosen, out or into, filling, as_json=as_json)
    if not chosen.packages:
        raise SystemExit(NOTHING)


def _begun(into: Path, asked: dict[str, str]) -> Note | None:
    note = folder.begun(into)
    if note is not None and note.asked != asked:
        names = {"start": "from", "end": "to"}
        typed = [f"--{names.get(name, name)} {clean(said)}" for name, said in note.asked.items()]
        raise ConfigError(
            f"{into} was begun with {' '.join(typed)}",
            operator_hint="type the same to go on with it, or choose another folder",
        )
    if note is not None:
        wish = note.plan.wish
        first, last = (f"{from_wall_ms(at):%Y-%m-%d %H:%M}" for at in (wish.from_ms, wish.to_ms))
        click.echo(f"goes on with {into}: events from {first} to {last} UTC", err=True)
    return note


def _fill(into: Path, note: Note, filling: Filling, *, actor: str, quiet: bool) -> None:
    many = len(note.plan.packages)
    with folder.kept(into):
        folder.begin(into, note)
        try:
            with _progress(quiet=quiet) as progress:
                task = progress.add_task(f"{many} packages", total=note.plan.size_bytes)
                for count in filling.run(actor=actor, now_ms=now_ms()):
                    progress.advance(task, count)
        except KeyboardInterrupt:
            click.echo(
                f"{filling.whole} of {many} packages are whole in {into};"
                " the same command goes on with it",
                err=True,
            )
            raise


def _progress(*, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True, quiet=quiet)
    return Progress(*columns, TransferSpeedColumn(), console=console, transient=True)


def _write(out: Path, pieces: Iterator[bytes], chosen: Plan, *, quiet: bool) -> None:
    with _named_when_whole(out) as file, _progress(quiet=quiet) as progress:
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


def _tell(chosen: Plan, place: Path | None, filling: Filling | None, *, as_json: bool) -> None:
    reasons = chosen.reasons() if filling is None else archive.reasons_of(filling.left_out)
    count = len(chosen.packages) if filling is None else filling.whole
    there = str(place) if place and chosen.packages else None
    if as_json:
        show_json(
            {
                "file": there if filling is None else None,
                "folder": there if filling is not None else None,
                "packages": count,
                "bytes": chosen.size_bytes,
                "there_before_bytes": filling.kept_bytes if filling else 0,
                "left_out": reasons,
            }
        )
        return
    before = ""
    if filling is not None and filling.kept_bytes:
        before = f", {filling.kept_bytes / 1e6:.1f} MB of it were there before"
    inside = f" in {there}" if there else ""
    click.echo(f"{count} packages, {chosen.size_bytes / 1e6:.1f} MB{inside}{before}")
    for why, many in sorted(reasons.items()):
        click.echo(f"left out: {many}, {clean(why)}")
