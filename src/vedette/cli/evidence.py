"""`vedette evidence`: what clips this device keeps, whether they are whole, and copies of them.

Thin: parses, calls `vedette.edge.evidence`, prints. `--json` prints one JSON document and nothing
else on standard output. Works beside a running pipeline: only `export` writes, and not in it.
"""

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import click
import msgspec
from rich.console import Console
from rich.table import Table

from vedette.cli.printable import clean, escape
from vedette.clock import SystemClock, from_wall_ms, wall_ms
from vedette.edge import settings
from vedette.edge.desired import DesiredStore
from vedette.edge.enrolment import load_identity
from vedette.edge.evidence import catalog, facts
from vedette.edge.evidence.catalog import PackageInfo
from vedette.edge.evidence.examine import Examination, examine
from vedette.edge.evidence.export import LOG, export
from vedette.edge.evidence.facts import Facts, read_facts
from vedette.edge.settings import EdgeConfig
from vedette.errors import EvidenceError

NOT_WHOLE: Final = 1
"""Exit status of `verify` where a package is not what was written."""

_PRIORITIES: Final = {0: "alert", 1: "event", 2: "nice to have"}
_AGO: Final = re.compile(r"(\d{1,6})\s*([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}

_config = click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration. Environment: VEDETTE_EDGE_CONFIG.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """List, verify and copy the clips that this device keeps."""


@command.command("list")
@_config
@click.option("--camera", help="Only this camera's.")
@click.option("--since", metavar="WHEN", help="Not before: 30m, 12h, 7d, or 2026-03-02T14:00.")
@click.option("--kind", help="Only this kind of event, such as line_crossed.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000))
@_as_json
def list_(
    path: Path,
    camera: str | None,
    since: str | None,
    kind: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List packages, the newest first."""
    config = settings.load(path)
    zone = ZoneInfo(config.time_zone)
    from_ms = _since_ms(since, zone) if since else None
    rows: list[tuple[PackageInfo, Facts | None, str]] = []
    for package in reversed(catalog.packages(_root(config))):
        if len(rows) == limit:
            break
        said, problem = _read(package)
        if said is not None and _is_wanted(said, camera, from_ms, kind):
            rows.append((package, said, ""))
        elif said is None and not (camera or from_ms or kind):
            rows.append((package, None, problem))
    if as_json:
        _print_json([_as_builtins(*row) for row in rows])
        return
    _print_table(rows, zone)


@command.command("show")
@click.argument("evidence")
@_config
@_as_json
def show(evidence: str, path: Path, *, as_json: bool) -> None:
    """Say everything about one package. EVIDENCE is its id or the beginning of it."""
    config = settings.load(path)
    package = catalog.find(_root(config), evidence)
    said = read_facts(package.path)
    if as_json:
        _print_json(_as_builtins(package, said, "") | {"facts": msgspec.to_builtins(said)})
        return
    _print_one(package, said, ZoneInfo(config.time_zone))


@command.command("verify")
@click.argument("evidence", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every package; also where no id is given.")
@_config
@_as_json
def verify(evidence: tuple[str, ...], path: Path, *, every: bool, as_json: bool) -> None:
    """Check packages: hashes, facts, video and times against one another.

    \b
    Exit status 1 where one of them is not what was written.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    root = _root(settings.load(path))
    if evidence and not every:
        chosen = [catalog.find(root, one) for one in evidence]
    else:
        chosen = catalog.packages(root)
    verdicts = [examine(package.path) for package in chosen]
    bad = [verdict for verdict in verdicts if not verdict.is_whole]
    if as_json:
        _print_json([_verdict(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            click.echo(f"{verdict.evidence}  {'whole' if verdict.is_whole else 'NOT WHOLE'}")
            for problem in verdict.problems:
                click.echo(f"  {clean(problem)}")
        click.echo(f"{len(verdicts) - len(bad)} of {len(verdicts)} packages are whole")
    if bad:
        sys.exit(NOT_WHOLE)


@command.command("export")
@click.argument("evidence", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="DIR or FILE.zip.")
@click.option("--on-site", is_flag=True, help="The copy stays on this site: originals too.")
@_config
@_as_json
def export_(
    evidence: tuple[str, ...], out: Path, path: Path, *, on_site: bool, as_json: bool
) -> None:
    """Copy packages, with their facts and checksums, into a folder or a .zip.

    \b
    Follows the site's signed pixel policy: without --on-site only what may
    leave the site is copied. Every copy is noted in exports.jsonl.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    root = _root(config)
    desired = DesiredStore(config.state_dir, config, load_identity(config.state_dir))
    line = export(
        [catalog.find(root, one) for one in evidence],
        out,
        pixels=desired.effective.pixels,
        on_site=on_site,
        log=root / LOG,
        now_at=SystemClock().now_at(),
    )
    if as_json:
        _print_json(msgspec.to_builtins(line))
        return
    what = "blurred copies" if line.blurred_only else "originals"
    click.echo(f"{len(line.evidence)} copied to {out} ({what}); noted in {root / LOG}")


# ------------------------------------------------------------------------------------- internals


def _root(config: EdgeConfig) -> Path:
    return config.state_dir / "evidence"


def _read(package: PackageInfo) -> tuple[Facts | None, str]:
    try:
        return read_facts(package.path), ""
    except EvidenceError as problem:
        return None, str(problem)


def _is_wanted(said: Facts, camera: str | None, from_ms: int | None, kind: str | None) -> bool:
    return (
        (camera is None or said.event.camera == camera)
        and (from_ms is None or said.event.at_ms >= from_ms)
        and (kind is None or said.event.kind == kind)
    )


def _since_ms(text: str, zone: ZoneInfo) -> int:
    """Return Unix milliseconds of `12h` ago, or of a date and time (the site's, if it says none).

    Raises:
        click.BadParameter: Neither.
    """
    if ago := _AGO.fullmatch(text.strip()):
        span = timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return wall_ms(SystemClock().now_at() - span)
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: write 30m, 12h, 7d or 2026-03-02T14:00") from error
    return wall_ms((at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC))


def _print_table(rows: list[tuple[PackageInfo, Facts | None, str]], zone: ZoneInfo) -> None:
    columns = ("time", "id", "camera", "event", "window", "size", "priority", "blurred", "lacks")
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in {"time", "id", "size"})
    for package, said, problem in rows:
        if said is None:
            table.add_row("?", package.evidence, *[""] * 6, f"[red]{escape(problem)}[/]")
            continue
        window = said.record.actual_ms
        table.add_row(
            _local(said.event.at_ms, zone),
            package.evidence,
            escape(said.event.camera),
            escape(f"{said.event.kind} {said.event.where}".strip()),
            f"{(window[1] - window[0]) / 1000:.1f} s" if window else "",
            _size(package.bytes),
            _PRIORITIES.get(package.priority, str(package.priority)),
            _blur_state(package),
            escape(said.record.shortfall),
        )
    console = Console()
    console.print(table if rows else "no evidence is kept here")


def _print_one(package: PackageInfo, said: Facts, zone: ZoneInfo) -> None:
    record, event = said.record, said.event
    grid = Table.grid(padding=(0, 2))
    grid.add_row("evidence", escape(record.evidence))
    grid.add_row("event", escape(f"{event.kind} {event.where} {event.direction} ({event.event})"))
    grid.add_row("camera", escape(event.camera))
    grid.add_row("at", _local(event.at_ms, zone))
    for name, window in (("wanted", record.wanted_ms), ("there is", record.actual_ms)):
        if window:
            sides = [(event.at_ms - window[0]) / 1000, (window[1] - event.at_ms) / 1000]
            grid.add_row(name, f"{sides[0]:.3f} s before to {sides[1]:.3f} s after the event")
    grid.add_row("lacks", escape(record.shortfall) or "nothing")
    for entry in said.clips:
        size = f"{entry.picture_px[0]}x{entry.picture_px[1]}"
        turn = f", turned by {entry.rotation_deg} degrees" if entry.rotation_deg else ""
        grid.add_row(
            escape(entry.file), f"{escape(entry.codec)}, {size}{turn}, {_size(entry.bytes)}"
        )
        grid.add_row("", f"sha256 {escape(entry.sha256)}")
    grid.add_row("poster", escape(record.poster) or "none")
    grid.add_row("boxes", f"in {len(said.frames)} frames")
    grid.add_row("priority", _PRIORITIES.get(package.priority, str(package.priority)))
    grid.add_row("blurred copy", _blur_state(package))
    grid.add_row("may leave", "no" if record.stays_on_site else "as the site's policy says")
    grid.add_row("folder", escape(str(package.path)))
    Console().print(grid)


def _blur_state(package: PackageInfo) -> str:
    if package.has_blurred:
        return "yes"
    if package.wants_blur:
        return "being made"
    return "failed" if (package.path / facts.BLUR_FAILED).exists() else "no"


def _local(at_ms: int, zone: ZoneInfo) -> str:
    try:
        return from_wall_ms(at_ms).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "no date"


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _as_builtins(package: PackageInfo, said: Facts | None, problem: str) -> dict[str, Any]:
    return {
        "evidence": package.evidence,
        "path": str(package.path),
        "bytes": package.bytes,
        "priority": package.priority,
        "blurred": package.has_blurred,
        "problem": problem,
        "record": msgspec.to_builtins(said.record) if said else None,
        "event": msgspec.to_builtins(said.event) if said else None,
    }


def _verdict(verdict: Examination) -> dict[str, Any]:
    return {
        "evidence": verdict.evidence,
        "whole": verdict.is_whole,
        "problems": list(verdict.problems),
    }


def _print_json(document: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
