"""`vedette watch SOURCE`: the first five minutes."""

import logging
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vedette import logs
from vedette.cli.printable import add_row, clean
from vedette.clock import SystemClock, from_wall_ms
from vedette.edge import assembly, settings
from vedette.edge.address import Kind, kind_of
from vedette.edge.models import Models
from vedette.edge.settings import Camera, EdgeConfig, Gate
from vedette.edge.watch import CAMERA, Seen, Totals, Watch
from vedette.errors import ConfigError, StreamLost
from vedette.inference.library import ENVIRONMENT, Library
from vedette.wire.limits import LOITER_WINDOW_S
from vedette.wire.messages import EventKind, EventReport, State
from vedette.wire.signed import Line, Zone

_ADVICE: Final = {
    Kind.RTSP: "check address and password, and that it sends H.264 or H.265",
    Kind.HTTP: "check address and password, and that it sends motion JPEG (multipart)",
    Kind.DEVICE: "check with `v4l2-ctl --list-devices` that this is the camera, that no other "
    "program uses it and that you may read it (group video)",
    Kind.GSTREAMER: "try the same pipeline with `gst-launch-1.0 … ! fakesink`: it must end in "
    "decoded video, and its elements must be installed",
    Kind.WATCHED: "check that the folder is there and that JPEG, PNG or other pictures are put "
    "into it while this runs",
    Kind.PATH: "name a video file that a player can play, or a folder that holds pictures",
}
"""What to look at where a source gave nothing."""


def _points(text: str) -> list[tuple[float, float]]:
    try:
        points = [tuple(float(x) for x in pair.split(",")) for pair in text.split()]
    except ValueError:
        points = []
    if not points or any(len(point) != 2 for point in points):
        raise ConfigError(
            f"{text!r} are no points",
            operator_hint="write fractions of the picture: 'door:0.1,0.2 0.9,0.2 0.9,0.8'",
        )
    return points  # pyright: ignore[reportReturnType]


def _named(text: str) -> tuple[str, list[tuple[float, float]]]:
    name, _, rest = text.partition(":")
    return name, _points(rest)


def _line(text: str) -> Line:
    name, points = _named(text)
    if len(points) != 2:
        raise ConfigError(f"{text!r} is no line", operator_hint="a line has two points: A and B")
    return Line(name=name, a=points[0], b=points[1])


def _zones(texts: Sequence[str], *, loiter_s: float | None, shelf: bool) -> list[Zone]:
    if not texts and (loiter_s is not None or shelf):
        raise ConfigError(
            "--loiter and --shelf say what a zone is watched for",
            operator_hint="draw one too: --zone 'all:0,0 1,0 1,1 0,1'",
        )
    return [
        Zone(name=name, polygon=points, loiter_s=loiter_s, shelf=shelf)
        for name, points in map(_named, texts)
    ]


@click.command(short_help="Look at SOURCE and print what is seen.")
@click.argument("source")
@click.option("--model", default="centernet", show_default=True, help="A bundle of --models-dir.")
@click.option(
    "--models-dir",
    envvar=ENVIRONMENT,
    default="models",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where bundles are; the default model is pulled there where it is missing.",
)
@click.option("--label", "labels", multiple=True, help="Only this class; may stand several times.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Lowest confidence that counts.")
@click.option("--max-fps", default=10.0, show_default=True, type=click.FloatRange(0.1, 120))
@click.option("--zone", "zones", multiple=True, help="NAME:x,y x,y x,y … in fractions (0 to 1).")
@click.option(
    "--loiter",
    "loiter_s",
    type=click.FloatRange(0, LOITER_WINDOW_S, min_open=True),
    help="Tell who stays in a zone for so many seconds, in one stay or several.",
)
@click.option("--shelf", is_flag=True, help="Tell what is taken from and put into the zones.")
@click.option("--line", "lines", multiple=True, help="NAME:x,y x,y from A to B.")
@click.option(
    "--gate/--no-gate", default=False, help="Analyse only pictures in which something moved."
)
@click.option(
    "--annotate",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a copy with boxes (MP4, VP9).",
)
@click.option(
    "--duration",
    "duration_s",
    type=click.FloatRange(0, min_open=True),
    help="Stop after so many seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines and a summary.")
def command(source: str, models_dir: Path, **options: Any) -> None:
    """Look at SOURCE (an rtsp:// address or a video file) and print what is seen.

    \b
    vedette watch clip.mp4 --label person --annotate out.mp4
    vedette watch rtsp://user:password@192.0.2.7/stream --line "door:0.5,0 0.5,1"
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    console = Console(stderr=options["as_json"])
    _have_model(options["model"], models_dir, console)
    camera = Camera(
        id=CAMERA,
        source=source,
        model=options["model"],
        max_fps=options["max_fps"],
        threshold=options["threshold"],
        labels=list(options["labels"]),
        zones=_zones(options["zones"], loiter_s=options["loiter_s"], shelf=options["shelf"]),
        lines=[_line(text) for text in options["lines"]],
        gate=Gate(enabled=options["gate"]),
    )
    logs.setup(level="ERROR")
    with tempfile.TemporaryDirectory() as scratch:
        config = EdgeConfig(state_dir=Path(scratch), models_dir=models_dir, cameras=[camera])
        settings.check(config, "watch")
        clock = SystemClock()
        with _refusal_unlogged():
            watch = Watch(
                config,
                Models.of(config, clock),
                clock,
                annotate=options["annotate"],
            )
        _run(watch, options, console, logs.redact_url(source), kind_of(source))


@contextmanager
def _refusal_unlogged() -> Iterator[None]:
    """Keep out of the log why the one camera cannot run: that ends this program, which says it."""
    log = logging.getLogger(assembly.__name__)

    def is_other(record: logging.LogRecord) -> bool:
        return getattr(record, "event", "") != assembly.CAMERA_REFUSED

    log.addFilter(is_other)
    try:
        yield
    finally:
        log.removeFilter(is_other)


def _run(watch: Watch, options: dict[str, Any], console: Console, source: str, kind: Kind) -> None:
    stop = threading.Event()
    printed = 0

    def as_lines(_seen: Seen) -> None:
        nonlocal printed
        events, printed = watch.events_since(printed)
        for event in events:
            sys.stdout.write(msgspec.json.encode(event).decode() + "\n")

    try:
        if options["as_json"]:
            seen = watch.run(stop, duration_s=options["duration_s"], show=as_lines)
            as_lines(seen)
            sys.stdout.write(msgspec.json.encode(summary(seen)).decode() + "\n")
        else:
            with Live(console=console, refresh_per_second=4, transient=True) as live:
                seen = watch.run(
                    stop,
                    duration_s=options["duration_s"],
                    show=lambda now: live.update(picture(now, source)),
                )
            if seen.frames.captured:
                console.print(picture(seen, source))
    finally:
        stop.set()
    if options["annotate"] and seen.frames.analysed:
        console.print(f"annotated copy: {options['annotate']}")
    if seen.frames.captured == 0:
        why = seen.states[-1].detail if seen.states else "it gave no picture"
        raise StreamLost(
            f"nothing was seen of {source}: {why}",
            operator_hint=_ADVICE[kind],
        )


def _have_model(name: str, models_dir: Path, console: Console) -> None:
    """Pull the default model where it is missing; for others the library says what to do."""
    if name != "centernet" or name in Library(models_dir).names():
        return
    from vedette.lab import centernet

    with console.status(f"pulling {name}, once"):
        centernet.pull(models_dir / name, progress=console.print)


def summary(seen: Seen) -> dict[str, Any]:
    """Return everything that was seen, for scripts; what was not measured is null."""
    return {
        "elapsed_s": round(seen.elapsed_s, 3),
        "frames": msgspec.to_builtins(seen.frames),
        "fps": round(seen.frames.analysed / seen.elapsed_s, 2) if seen.elapsed_s else None,
        "tracks": {label: len(tracks) for label, tracks in seen.tracks.items()},
        "events": seen.event_count,
        "lines": {
            name: {way: line.told[way] for way in ("forward", "backward")}
            for name, line in seen.lines.items()
        },
        "zones": {name: _zone_totals(zone) for name, zone in seen.zones.items()},
        "stage_ms": {
            stage: {
                name: sketch.quantile(q) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            }
            for stage, sketch in seen.stage_ms.items()
        },
    }


def _zone_totals(zone: Totals) -> dict[str, Any]:
    """Return entered and left always, other kinds of event where there were any."""
    other = set(zone.told) - {EventKind.ZONE_ENTERED, EventKind.ZONE_LEFT}
    stay_s = zone.stay_s.quantile(0.5)
    return {
        "entered": zone.told[EventKind.ZONE_ENTERED],
        "left": zone.told[EventKind.ZONE_LEFT],
        "median_stay_s": None if stay_s is None else round(stay_s, 2),
        **{str(kind): zone.told[kind] for kind in sorted(other)},
    }


def picture(seen: Seen, source: str) -> Group:
    """Return the screen: what is there now, how fast, and what happened."""
    frames = seen.frames
    dropped = sum(frames.dropped.values())
    size = f"{seen.picture_px[0]}×{seen.picture_px[1]}" if seen.picture_px else "no picture yet"
    head = Text.assemble((source, "bold"), f"  {size}  {seen.elapsed_s:.0f} s")
    state = seen.states[-1] if seen.states else None
    if state and state.detail.startswith("the file ended"):
        head.append(f"  {clean(state.detail)}", "dim")
    elif state and state.state not in {State.OK, State.STARTING}:
        head.append(f"  {state.state.upper()} {clean(state.detail)}", "bold red")
    numbers = Table(box=None, show_header=True, header_style="dim", pad_edge=False)
    for column in ("class", "now", "so far"):
        numbers.add_column(column, justify="left" if column == "class" else "right")
    for label, tracks in sorted(seen.tracks.items(), key=lambda item: -len(item[1]))[:8]:
        add_row(numbers, label, str(seen.now.get(label, 0)), str(len(tracks)))
    rate = f"{frames.analysed / seen.elapsed_s:.1f}" if seen.elapsed_s else "–"
    line = f"frames {frames.captured}: analysed {frames.analysed} ({rate}/s)"
    line += f", gated {frames.gated}, dropped {dropped}"
    rows: list[RenderableType] = [head, Text(line)]
    if seen.stage_ms:
        rows.append(_latency(seen))
    if seen.tracks:
        rows.append(numbers)
    if seen.lines or seen.zones:
        rows.append(_totals(seen))
    if seen.events:
        rows.append(_events(list(seen.events)[-8:]))
    return Group(*rows)


def _totals(seen: Seen) -> Table:
    """Return what was counted at each line and in each zone so far."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("line or zone", "so far"):
        table.add_column(column)
    for name, line in seen.lines.items():
        add_row(table, name, f"forward {line.told['forward']}, backward {line.told['backward']}")
    for name, zone in seen.zones.items():
        counts = _zone_totals(zone)
        stay_s = counts.pop("median_stay_s")
        told = ", ".join(f"{what} {n}" for what, n in counts.items())
        add_row(table, name, told + (f"; median stay {stay_s:.1f} s" if stay_s else ""))
    return table


def _latency(seen: Seen) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("ms")
    order = ("preprocess", "inference", "postprocess", "tracking", "total")
    stages = [stage for stage in order if stage in seen.stage_ms]
    for stage in stages:
        named = "total, waiting included" if stage == "total" else stage
        table.add_column(named, justify="right")
    for name, q in (("p50", 0.5), ("p95", 0.95)):
        values = [seen.stage_ms[stage].quantile(q) for stage in stages]
        table.add_row(name, *("–" if v is None else f"{v:.1f}" for v in values))
    return table


def _events(events: list[EventReport]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("time", "event", "where", "class", "track"):
        table.add_column(column)
    for event in events:
        at = from_wall_ms(event.at_ms).astimezone().strftime("%H:%M:%S.%f")[:-4]
        what = f"{event.kind} {event.direction}".strip()
        label = f"{event.was} → {event.label or 'none'}" if event.was else event.label
        if event.score is not None:
            label = f"{label} {event.score:.2f}".strip()
        add_row(table, at, what, event.where, label, str(event.track or ""))
    return table
