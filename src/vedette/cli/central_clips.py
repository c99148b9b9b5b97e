"""`vedette central clip`: fetch the clip of an event from its device, and copy it. Thin."""

import asyncio
import re
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from vedette.amounts import counted
from vedette.central import events
from vedette.central.bulletin import Bulletin
from vedette.central.clips import fetching, looking
from vedette.central.clips.blobs import Blobs
from vedette.central.clips.fetching import Wanted
from vedette.central.clips.looking import ZIP, ClipView
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Database
from vedette.central.views import EventRow
from vedette.cli.at_central import ACTOR, now_ms, show_json, with_database
from vedette.cli.printable import clean
from vedette.errors import ConfigError

NO_CLIP = 1
"""Exit status where the clip did not come."""

_POLL_S = 1.0


@click.command("clip", short_help="Fetch the clip of EVENT from its device.")
@click.argument("event")
@click.option("--out", type=click.Path(path_type=Path), help="Copy it into this file (zip).")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is here.")
@click.option("--timeout", "timeout_s", default=300, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def clip_command(
    config: CentralConfig,
    event: str,
    out: Path | None,
    timeout_s: int,
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Ask the device for the clip of EVENT; its site's policy decides what comes.

    \b
    Who asked, and each copy, stands in the audit log. Exit status 1: it is not
    here; what is printed says why.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    if out is not None and out.exists():
        raise ConfigError(f"{out} is there already", operator_hint="choose another place")
    blobs = Blobs(config.blobs)
    console = Console(stderr=True, quiet=as_json)

    async def work(db: Database) -> ClipView:
        row = await events.event(db, event, None)
        if row is None or not row.evidence:
            raise ConfigError(f"there is no event {event[:64]!r} with a clip")
        wanted = Wanted(
            device=row.device,
            evidence=row.evidence,
            event=row.event,
            site=row.site,
            camera=row.camera,
        )
        await fetching.ask(db, Bulletin(), wanted, actor=ACTOR, now_ms=now_ms())
        found = await _awaited(db, blobs, row, timeout_s if wait else 0, console)
        if out is not None and found.state == "here":
            await _copy(db, blobs, row, found, out)
        return found

    found = with_database(config, work)
    if as_json:
        show_json(found)
    else:
        click.echo(_words(found))
    if wait and found.state != "here":
        sys.exit(NO_CLIP)


async def _awaited(
    db: Database, blobs: Blobs, row: EventRow, timeout_s: float, console: Console
) -> ClipView:
    """Return how far it is, once it is at its end or the time is over."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + timeout_s
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{row.device} is asked", total=None)
        while True:
            async with db.transaction() as tx:
                place = (row.site, row.device, row.evidence)
                found = await looking.view(tx, blobs, place, now_ms())
                until_ms = now_ms() + 60_000
                await tx.run("device_attend", device=row.device, until_ms=until_ms)
            progress.update(task, total=found.bytes or None, completed=found.come_bytes)
            if found.state not in {"asked", "sending"} or loop.time() >= end_s:
                return found
            await asyncio.sleep(_POLL_S)


async def _copy(db: Database, blobs: Blobs, row: EventRow, found: ClipView, out: Path) -> None:
    async with db.transaction() as tx:
        place = (row.device, row.evidence)
        await looking.look(tx, place, ZIP, how="download", actor=ACTOR, now_ms=now_ms())
    folder = re.sub(r"[^A-Za-z0-9_-]", "_", f"{row.device}-{row.event}")[:100]
    with out.open("xb") as file:
        for chunk in looking.zipped(blobs, found.files, folder):
            file.write(chunk)


def _words(found: ClipView) -> str:
    if found.state == "here":
        form = "a blurred copy" if found.form == "blurred" else "the clip"
        return f"here: {form}, {found.bytes} bytes in {counted(len(found.files), 'file')}"
    if found.said:
        return f"{found.state}: {clean(found.said)}"
    offline = " (the device is offline)" if found.silent_ms is not None else ""
    return f"{found.state}: it comes when the device answers{offline}; ask again to see how far"
