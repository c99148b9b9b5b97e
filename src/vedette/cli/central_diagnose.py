"""`vedette central diagnose`: ask a device from afar how it is, and wait for what it says. Thin."""

import asyncio
import sys

import click
import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from vedette.central import diagnosing
from vedette.central.bulletin import Bulletin
from vedette.central.diagnosing import Diagnostic, Question
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Database
from vedette.cli.at_central import ACTOR, now_ms, show_json, show_table, with_database
from vedette.cli.printable import clean
from vedette.errors import ConfigError
from vedette.wire.diagnostics import CONFIG, DEFAULT_LINES, DOCTOR, LOG, MAX_LINES, NETWORK
from vedette.wire.diagnostics import DoctorAnswer as Doctor

NO_ANSWER = 1
"""Exit status where the device refused or did not answer in time."""

_POLL_S = 1.0


@click.command("diagnose", short_help="Ask DEVICE for its log, configuration or network.")
@click.argument("device")
@click.option("--log", "kind", flag_value=LOG, help="The last lines of agent and pipeline.")
@click.option("--config", "kind", flag_value=CONFIG, help="What it runs by, and who decided it.")
@click.option("--network", "kind", flag_value=NETWORK, help="Trace and speed of the way here.")
@click.option("--doctor", "kind", flag_value=DOCTOR, help="What its doctor finds.")
@click.option(
    "--lines", default=DEFAULT_LINES, show_default=True, type=click.IntRange(1, MAX_LINES)
)
@click.option("--cameras", is_flag=True, help="Let the doctor open the cameras too.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the answer.")
@click.option("--timeout", "timeout_s", default=300, show_default=True, type=click.IntRange(1, 900))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def diagnose_command(
    config: CentralConfig,
    device: str,
    kind: str | None,
    lines: int,
    timeout_s: int,
    *,
    cameras: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Ask DEVICE how it is; it answers at its next contact, where its site's policy lets it.

    \b
    Passwords, keys and tokens are taken out on the device. Who asked, and each
    look at an answer, stands in the audit log. Without one of --log, --config,
    --network and --doctor: what was asked before. Exit status 1: no answer.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    if kind is None:
        _list(config, device, as_json=as_json)
        return
    question = Question(kind=kind, lines=lines, with_cameras=cameras)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True, quiet=as_json)

    async def work(db: Database) -> tuple[Diagnostic, bytes]:
        name = await diagnosing.ask(db, Bulletin(), device, question, actor=ACTOR, now_ms=now_ms())
        if wait and not console.is_terminal:
            console.print(f"{device} is asked; its answer may take {timeout_s} s", highlight=False)
        with Progress(*columns, console=console, transient=True) as progress:
            progress.add_task(f"{device} is asked for its {kind} ({name})")
            return await _awaited(db, device, name, timeout_s if wait else 0)

    found, body = with_database(config, work)
    if as_json:
        show_json({"question": found, "answer": _plain(found, body)})
    elif found.state == "answered":
        _print(found, body)
    else:
        click.echo(f"{found.request}: {_why(found)}", err=True)
    if wait and found.state != "answered":
        sys.exit(NO_ANSWER)


async def _awaited(
    db: Database, device: str, name: str, timeout_s: float
) -> tuple[Diagnostic, bytes]:
    """Return the question and its answer, once there is one or the time is over."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + timeout_s
    while True:
        async with db.transaction() as tx:
            found = await diagnosing.one(tx, device, name, now_ms())
            if found is None:
                raise ConfigError("the question is gone")
            if found.state == "answered":
                return found, await diagnosing.look(tx, found, actor=ACTOR, now_ms=now_ms())
            if found.state == "waiting" and loop.time() < end_s:
                await tx.run(
                    "device_attend", device=device, until_ms=now_ms() + diagnosing.ASK_S * 1000
                )
        if found.state != "waiting" or loop.time() >= end_s:
            return found, b""
        await asyncio.sleep(_POLL_S)


def _why(found: Diagnostic) -> str:
    if found.refused:
        return f"the device refused: {clean(found.refused)}"
    if found.state == "expired":
        return "the device did not answer in time; ask again when it speaks"
    return "asked; `vedette central diagnose DEVICE` shows how far it is"


def _plain(found: Diagnostic, body: bytes) -> object:
    if found.state != "answered":
        return None
    if found.content_type.startswith("text/"):
        return body.decode("utf-8", "replace")
    return msgspec.Raw(body)


def _print(found: Diagnostic, body: bytes) -> None:
    if found.kind == DOCTOR:
        said = msgspec.json.decode(body, type=Doctor)
        rows = [[f.about, f.check, f.verdict, f.detail, f.advice] for f in said.findings]
        show_table(["what", "check", "how", "detail", "what to do"], rows, "nothing was checked")
        return
    for line in body.decode("utf-8", "replace").splitlines():
        click.echo(clean(line))


def _list(config: CentralConfig, device: str, *, as_json: bool) -> None:
    async def read(db: Database) -> list[Diagnostic]:
        async with db.transaction() as tx:
            return await diagnosing.page(tx, device, None, 100, now_ms())

    found = with_database(config, read)
    if as_json:
        show_json(found)
        return
    rows = [[row.request, row.kind, row.state, row.asked_by, row.refused] for row in found]
    show_table(["request", "kind", "state", "asked by", "why not"], rows, "nothing was asked")
