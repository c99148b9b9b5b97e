"""`vedette edge commission`: the installer's steps, in a terminal beside the camera."""

import logging
import shutil
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
import cv2
import msgspec
import numpy as np
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from vedette.cli.edge_commission_page import Wishes, on_a_page
from vedette.cli.edge_doctor import chosen, in_effect
from vedette.cli.printable import escape
from vedette.clock import SystemClock, from_wall_ms
from vedette.edge import commission as commissioning
from vedette.edge import settings
from vedette.edge.commission import CommissionRecord
from vedette.edge.commission.record import Baseline, settings_digest
from vedette.edge.commission.session import STEPS, Session
from vedette.edge.frame import Frame
from vedette.edge.models import Models
from vedette.edge.settings import Camera, EdgeConfig
from vedette.errors import VedetteError
from vedette.vision.detections import Detections
from vedette.vision.picture import Plane

NOT_READY = 1
"""Exit status where a camera was refused or a step was skipped."""

_MAX_COLUMNS: Final = 96
_SKIP: Final = "s"
_BOX: Final = (60, 60, 255)
_SHAPE: Final = (80, 220, 255)


@click.command("commission", short_help="Go through a camera's installation, step by step.")
@click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration. Environment: VEDETTE_EDGE_CONFIG.",
)
@click.option("--camera", "wanted", multiple=True, help="Only this camera; may be repeated.")
@click.option("--step", "steps", multiple=True, type=click.Choice(STEPS), help="Only this step.")
@click.option("--by", default="", help="Who does it; asked for where it is not given.")
@click.option(
    "--samples", default=10, show_default=True, type=click.IntRange(0, 200), help="To label."
)
@click.option(
    "--seconds",
    default=60.0,
    show_default=True,
    type=click.FloatRange(2, 3600),
    help="How long the pipeline is watched.",
)
@click.option(
    "--reference-seconds",
    default=15.0,
    show_default=True,
    type=click.FloatRange(3, 600),
    help="How long the scene is averaged over.",
)
@click.option("--no-questions", is_flag=True, help="Ask nothing; what needs a person is skipped.")
@click.option("--list", "only_list", is_flag=True, help="Show what was commissioned; do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
@click.option("--page", is_flag=True, help="Serve the steps as a page for a phone on site.")
@click.option(
    "--listen",
    default="0.0.0.0:8090",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the page listens.",
)
@click.option(
    "--clear-view",
    is_flag=True,
    help="The page may show clear pictures, to people on the site's network.",
)
def commission(
    *,
    path: Path,
    wanted: tuple[str, ...],
    steps: tuple[str, ...],
    by: str,
    samples: int,
    seconds: float,
    reference_seconds: float,
    no_questions: bool,
    only_list: bool,
    as_json: bool,
    page: bool,
    listen: str,
    clear_view: bool,
) -> None:
    """Go through a camera's installation: view, focus, light, zones, reference, sample, baseline.

    \b
    Do it once, standing there. What you confirm, the reference picture of the
    scene and the accuracy of a sample that you label are kept on this device:
    every later comparison stands on them. Answer y, n or s (skip). A camera
    that fails does not stop the others. Exit status 1 where one failed, or a
    step was skipped or answered no. With --page the steps are taken on a
    phone: open the address that is printed and enter the PIN beside it.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    logging.getLogger("vedette").setLevel(logging.ERROR)
    config, _note = in_effect(settings.load(path))
    cameras = chosen(config, wanted)
    if only_list:
        _list(config, cameras, as_json=as_json)
        return
    if page:
        wishes = Wishes(
            steps=steps or STEPS,
            samples=samples,
            baseline_s=seconds,
            reference_s=reference_seconds,
            clear=clear_view,
        )
        chosen_only = msgspec.structs.replace(config, cameras=cameras)
        on_a_page(chosen_only, wishes, listen, Console())
        return
    desk = Terminal(Console(stderr=as_json), ask=not no_questions)
    if not by and not no_questions:
        by = click.prompt("Who does it", default="", show_default=False, err=as_json)
    records: list[CommissionRecord] = []
    failed: list[tuple[str, VedetteError]] = []
    for camera in cameras:
        desk.camera = camera
        clock = SystemClock()
        models = Models.of(config, clock)
        session = Session(
            config,
            camera,
            models,
            clock,
            desk,
            samples=samples,
            baseline_s=seconds,
            reference_s=reference_seconds,
        )
        try:
            record = session.run(by, steps or STEPS)
            kept = commissioning.save(config.state_dir, record, session.reference)
        except VedetteError as error:
            failed.append((camera.id, error))
            continue
        records.append(commissioning.load(config.state_dir, camera.id) or record)
        if not as_json:
            _print(desk.console, records[-1], kept, asked=not no_questions)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(records), indent=2).decode())
    _print_failed(desk.console, failed, len(cameras))
    if failed or not all(record.is_complete for record in records):
        sys.exit(NOT_READY)


class Terminal:
    """A `Desk` of characters: pictures in half blocks, questions by line."""

    def __init__(self, console: Console, *, ask: bool) -> None:
        self.console = console
        self.camera = Camera(id="camera")
        self._ask = ask
        self._stderr = console.stderr

    def begin(self, step: str, words: str) -> None:
        """Say which step begins."""
        number = STEPS.index(step) + 1
        self.console.print(
            f"\n[bold]{self.camera.id} · {number}/{len(STEPS)} {step}[/]  {escape(words)}",
            highlight=False,
        )

    def show(self, frame: Frame, found: Detections | None, words: str) -> None:
        """Print a picture where a person looks; elsewhere its words alone."""
        if self._ask and self.console.is_terminal:
            self.console.print(self._panel(frame, found, words))
        else:
            self.console.print(escape(words), highlight=False)

    def follow(self, pictures: Iterable[tuple[Frame, str]]) -> None:
        """Print pictures in place until Enter is pressed."""
        if not self._ask:
            return
        done = threading.Event()
        # A daemon: where pictures end first, it goes on waiting for a line that nobody needs.
        threading.Thread(target=_wait_for_line, args=(done,), daemon=True).start()
        if not self.console.is_terminal:
            for _picture in pictures:
                if done.is_set():
                    break
            return
        with Live(console=self.console, refresh_per_second=8, transient=True) as live:
            for frame, words in pictures:
                live.update(self._panel(frame, None, f"{words} · Enter when done"))
                if done.is_set():
                    break

    def confirm(self, question: str) -> bool | None:
        """Ask for y, n or s; Enter alone is no answer, and asked again."""
        if not self._ask:
            return None
        kinds = click.Choice(["y", "n", _SKIP])
        answer = click.prompt(question, type=kinds, err=self._stderr)
        return None if answer == _SKIP else answer == "y"

    def count(self, question: str, at_most: int | None) -> int | None:
        """Ask for a number, or s; Enter alone is no answer, and asked again."""
        while self._ask:
            answer = click.prompt(f"{question} (a number, or s)", err=self._stderr)
            if answer.strip().lower() == _SKIP:
                return None
            if answer.isascii() and answer.isdecimal() and len(answer) <= 4:
                number = int(answer)
                if at_most is None or number <= at_most:
                    return number
            self.console.print(f"a number from 0 to {at_most if at_most is not None else 9999}")
        return None

    def progress(self, words: str, part: float) -> None:
        """Say how far something is."""
        if self.console.is_terminal:
            self.console.print(f"{words} {part:.0%}", end="\r")

    def _panel(self, frame: Frame, found: Detections | None, words: str) -> Panel:
        columns = min(_MAX_COLUMNS, shutil.get_terminal_size().columns - 4)
        rows = max(2, 2 * round(columns * frame.height / frame.width / 2))
        small = frame.picture.to_bgr((8 * columns, 8 * rows)).copy()
        _draw(small, self.camera, found, (frame.width, frame.height))
        cells = np.asarray(
            cv2.resize(small, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8
        )
        return Panel(half_blocks(cells), title=escape(words), expand=False)


def half_blocks(bgr: Plane) -> Text:
    """Return a uint8 BGR picture (even rows) as characters, two pixels one above the other each."""
    text = Text(no_wrap=True)
    for above, below in zip(bgr[0::2].tolist(), bgr[1::2].tolist(), strict=True):
        for (b1, g1, r1), (b2, g2, r2) in zip(above, below, strict=True):
            text.append("▀", style=f"rgb({r1},{g1},{b1}) on rgb({r2},{g2},{b2})")
        text.append("\n")
    text.right_crop(1)
    return text


def _draw(
    bgr: Plane, camera: Camera, found: Detections | None, picture_px: tuple[int, int]
) -> None:
    """Draw zones, lines and boxes, thick enough to survive the reduction."""
    height, width = bgr.shape[:2]

    def to_px(p: tuple[float, float]) -> tuple[int, int]:
        return round(p[0] * width), round(p[1] * height)

    for zone in camera.zones:
        corners = np.array([to_px(p) for p in zone.polygon], np.int32)
        cv2.polylines(bgr, [corners], isClosed=True, color=_SHAPE, thickness=6)
    for line in camera.lines:
        cv2.arrowedLine(bgr, to_px(line.a), to_px(line.b), _SHAPE, 6)
    for box, _confidence, _label, _entropy in found or Detections.empty():
        left, top = to_px((box[0] / picture_px[0], box[1] / picture_px[1]))
        right, bottom = to_px((box[2] / picture_px[0], box[3] / picture_px[1]))
        cv2.rectangle(bgr, (left, top), (right, bottom), _BOX, 6)


def _wait_for_line(done: threading.Event) -> None:
    """Set `done` at the next line, or at the end of the input."""
    sys.stdin.readline()
    done.set()


def _print(console: Console, record: CommissionRecord, kept: Path, *, asked: bool) -> None:
    facts = Table.grid(padding=(0, 2))
    size = f"{record.picture_px[0]}x{record.picture_px[1]}" if record.picture_px else ""
    source = escape(record.source)
    facts.add_row("camera", f"{record.camera}  {escape(record.codec)} {size}  {source}")
    for words, steps, colour in (
        ("confirmed" if asked else "done", record.confirmed, "green"),
        ("answered no", record.refused, "red"),
        ("skipped", record.skipped, "yellow"),
    ):
        if steps:
            facts.add_row(words, f"[{colour}]{', '.join(steps)}[/]")
    sample = record.sample
    if sample is not None:
        facts.add_row("precision", _interval(sample.precision, sample.right, sample.wrong))
        facts.add_row("recall", _interval(sample.recall, sample.right, sample.missed))
    if record.baseline is not None:
        facts.add_row("baseline", _baseline_words(record.baseline))
    facts.add_row("kept in", escape(str(kept)))
    console.print(facts, highlight=False)


def _print_failed(console: Console, failed: list[tuple[str, VedetteError]], cameras_n: int) -> None:
    """Say which cameras were not commissioned, why, and what to do."""
    if not failed:
        return
    console.print(f"\n[bold red]{len(failed)} of {cameras_n} cameras were not commissioned[/]")
    for camera, error in failed:
        console.print(f"[bold]{escape(camera)}[/]  {escape(str(error))}", highlight=False)
        if error.operator_hint:
            console.print(f"  [cyan]→ {escape(error.operator_hint)}[/]", highlight=False)


def _baseline_words(base: Baseline) -> str:
    """Return what came of every picture that was captured."""
    words = [
        f"{base.observed_fraction:.0%} of {base.seconds:.0f} s observed",
        f"{base.analysed} of {base.captured} pictures analysed",
    ]
    if base.gated:
        words.append(f"{base.gated} without motion")
    words.append(f"{sum(base.dropped.values())} dropped")
    return ", ".join(words)


def _interval(interval: tuple[float, float] | None, right: int, not_right: int) -> str:
    if interval is None:
        return "unknown: there was nothing to judge"
    low, high = interval
    return f"{right} of {right + not_right}: between {low:.0%} and {high:.0%} (95 %)"


def _list(config: EdgeConfig, cameras: list[Camera], *, as_json: bool) -> None:
    found = {camera.id: commissioning.load(config.state_dir, camera.id) for camera in cameras}
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    table = Table("camera", "when", "by", "state", box=None, pad_edge=False)
    for camera in cameras:
        record = found[camera.id]
        if record is None:
            table.add_row(camera.id, "–", "", "[yellow]never commissioned[/]")
            continue
        state = "[green]complete[/]" if record.is_complete else "[yellow]incomplete[/]"
        if record.settings_sha256 != settings_digest(camera):
            state += "; [yellow]zones or lines were changed since[/]"
        when = f"{from_wall_ms(record.at_ms):%Y-%m-%d %H:%M} UTC"
        table.add_row(camera.id, when, escape(record.by), state)
    Console().print(table)
