"""`vedette evidence`: what clips this device keeps, whether they are whole, and copies of them.

Thin: parses, calls `vedette.edge.evidence`, prints. `--json` prints one JSON document and nothing
else on standard output. Works beside a running pipeline: only `export` writes, and not in it.
"""

import heapq
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vedette.amounts import counted
from vedette.cli import evidence_holds, evidence_verify
from vedette.cli.printable import clean
from vedette.clock import NS_PER_MS, SystemClock, from_wall_ms, wall_ms
from vedette.edge import settings
from vedette.edge.desired import DesiredStore
from vedette.edge.enrolment import load_identity
from vedette.edge.evidence import catalog, facts
from vedette.edge.evidence.catalog import PackageInfo
from vedette.edge.evidence.export import LOG, export
from vedette.edge.evidence.facts import Facts, read_facts
from vedette.edge.evidence.holds import is_held
from vedette.edge.settings import EdgeConfig
from vedette.edge.supervisor import AgentLock
from vedette.errors import EvidenceError
from vedette.wire.package_schema import DOCUMENTS, package_schema

WIDE: Final = 120
"""Columns of a terminal from which all of the table fits."""

SHORTEST_ID: Final = 12
NOT_MADE: Final = "not made"

Row = tuple[PackageInfo, Facts | None, str]

_COLUMNS: Final = (
    "time",
    "id",
    "camera",
    "event",
    "window",
    "size",
    "priority",
    "blurred",
    "lacks",
)
_NARROW: Final = ("time", "id", "camera", "event", "window", "blurred")
_MAY_SHRINK: Final = {"camera", "event", "lacks"}
_NAME_CHARS: Final = 12
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
    """List, verify, hold and copy the clips that this device keeps."""


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
    """List packages, the newest event first."""
    config = settings.load(path)
    zone = ZoneInfo(config.time_zone)
    from_ms = _since_ms(since, zone) if since else None
    packages = catalog.packages(_root(config))
    found = _rows(packages, lambda said: _is_wanted(said, camera, from_ms, kind))
    if camera or from_ms or kind:
        found = (row for row in found if row[1] is not None)
    # By the event and not by the file: making a blurred copy touches the folder again.
    rows = heapq.nlargest(limit, found, key=_happened_ms)
    if as_json:
        _print_json([_as_builtins(*row) for row in rows])
        return
    short = _short_ids([package.evidence for package in packages])
    _print_table(rows, zone, short, is_running=AgentLock.is_held(config.state_dir))


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
    is_running = AgentLock.is_held(config.state_dir)
    _print_one(package, said, ZoneInfo(config.time_zone), is_running=is_running)


command.add_command(evidence_verify.verify)
command.add_command(evidence_holds.hold)
command.add_command(evidence_holds.release)
command.add_command(evidence_holds.list_holds)


@command.command("schema", short_help="Print the JSON Schema of a package.")
@click.argument("document", type=click.Choice([*DOCUMENTS]), default="evidence.json")
def schema(document: str) -> None:
    """Print the JSON Schema of a document in packages (draft 2020-12).

    \b
    evidence.json    what happened, by which model, how well it was seen
    blurred.json     what was covered in the blurred copy
    signature.json   the envelope of a signature
    statement        what a signature says: its payload, decoded
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    _print_json(package_schema(document))


@command.command("export", short_help="Copy packages into a folder or a .zip.")
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


def _rows(packages: list[PackageInfo], is_wanted: Callable[[Facts], bool]) -> Iterator[Row]:
    """Yield what is wanted, and what cannot be read with the reason."""
    for package in packages:
        said, problem = _read(package)
        if said is None or is_wanted(said):
            yield package, said, problem


def _happened_ms(row: Row) -> tuple[int, str]:
    """Return what to sort by: the event's time, or of a damaged package its folder's."""
    package, said, _problem = row
    at_ms = said.event.at_ms if said else package.mtime_ns // NS_PER_MS
    return at_ms, package.evidence


def _short_ids(ids: list[str]) -> int:
    """Return how many characters of an id are enough to tell all of `ids` apart."""
    order = sorted(ids)
    lengths = [SHORTEST_ID]
    for one, other in pairwise(order):
        pairs = enumerate(zip(one, other, strict=False), start=1)
        lengths.append(next((n for n, (a, b) in pairs if a != b), len(one) + 1))
    return max(lengths)


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


def _print_table(rows: list[Row], zone: ZoneInfo, id_chars: int, *, is_running: bool) -> None:
    """Print one line per package, with fewer columns where the terminal is narrow."""
    console = Console()
    if not rows:
        console.print("no evidence is kept here")
        return
    is_narrow = console.width < WIDE
    columns = _NARROW if is_narrow else _COLUMNS
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column not in _MAY_SHRINK)
    for package, said, problem in rows:
        cells = _cells(package, said, problem, zone, is_running=is_running)
        if is_narrow:
            cells["id"] = package.evidence[:id_chars]
        style = "" if said else "red"
        table.add_row(
            *(Text(clean(cells[c]), style, no_wrap=True, overflow="ellipsis") for c in columns)
        )
    console.print(table)


def _cells(
    package: PackageInfo, said: Facts | None, problem: str, zone: ZoneInfo, *, is_running: bool
) -> dict[str, str]:
    """Return one line of the table by column."""
    if said is None:
        return dict.fromkeys(_COLUMNS, "") | {
            "time": "?",
            "id": package.evidence,
            "event": problem,
        }
    window = said.record.actual_ms
    return {
        "time": _local(said.event.at_ms, zone),
        "id": package.evidence,
        "camera": said.event.camera,
        "event": f"{said.event.kind} {said.event.where}".strip(),
        "window": f"{(window[1] - window[0]) / 1000:.1f} s" if window else "",
        "size": _size(package.bytes),
        "priority": _PRIORITIES.get(package.priority, str(package.priority)),
        "blurred": _blur_state(package, is_running=is_running),
        "lacks": said.record.shortfall,
    }


def _print_one(package: PackageInfo, said: Facts, zone: ZoneInfo, *, is_running: bool) -> None:
    record, event = said.record, said.event
    rows = [
        ("evidence", record.evidence),
        ("event", f"{event.kind} {event.where} {event.direction} ({event.event})"),
        ("camera", event.camera),
        ("at", _local(event.at_ms, zone)),
    ]
    for name, window in (("wanted", record.wanted_ms), ("there is", record.actual_ms)):
        if window:
            sides = [(event.at_ms - window[0]) / 1000, (window[1] - event.at_ms) / 1000]
            rows.append((name, f"{sides[0]:.3f} s before to {sides[1]:.3f} s after the event"))
    rows.append(("lacks", record.shortfall or "nothing"))
    for entry in said.clips:
        size = f"{entry.picture_px[0]}x{entry.picture_px[1]}"
        turn = f", turned by {entry.rotation_deg} degrees" if entry.rotation_deg else ""
        rows.append((entry.file, f"{entry.codec}, {size}{turn}, {_size(entry.bytes)}"))
        rows.append(("", f"sha256 {entry.sha256}"))
    blurred = _blur_state(package, is_running=is_running)
    if blurred == NOT_MADE:
        blurred = "not made yet (is the device running?)"
    elif package.has_blurred_poster:
        blurred += f", with {facts.BLURRED_POSTER}"
    rows += [
        ("poster", record.poster or "none"),
        ("boxes", f"in {counted(len(said.frames), 'frame')}"),
        ("priority", _PRIORITIES.get(package.priority, str(package.priority))),
        ("blurred copy", blurred),
        ("held", "yes" if is_held(package.path.parents[1], package.evidence) else "no"),
        ("may leave", "no" if record.stays_on_site else "as the site's policy says"),
        ("folder", str(package.path)),
    ]
    # Not a table: a path and a hash are there to be copied, and a table breaks them.
    for name, value in rows:
        click.echo(f"{clean(name):<{_NAME_CHARS}}  {clean(value)}")


def _blur_state(package: PackageInfo, *, is_running: bool) -> str:
    if package.has_blurred:
        return "yes"
    if package.wants_blur:
        return "being made" if is_running else NOT_MADE
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
        "blurred_poster": package.has_blurred_poster,
        "signed": package.is_signed,
        "held": is_held(package.path.parents[1], package.evidence),
        "problem": problem,
        "record": msgspec.to_builtins(said.record) if said else None,
        "event": msgspec.to_builtins(said.event) if said else None,
    }


def _print_json(document: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
