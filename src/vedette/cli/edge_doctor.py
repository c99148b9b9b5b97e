"""`vedette edge doctor`: try everything that this device is to do, and say how it went."""

import logging
import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from vedette.cli.printable import escape
from vedette.clock import Clock, SystemClock
from vedette.edge import enrolment, settings
from vedette.edge.desired import EFFECTIVE, FOLDER
from vedette.edge.doctor import (
    Finding,
    Verdict,
    judge_orientation,
    look_at,
    machine_findings,
    model_findings,
    orientation,
    worst,
)
from vedette.edge.doctor.camera import LOOK_S
from vedette.edge.frame import Frame
from vedette.edge.health.system import boot_id
from vedette.edge.models import Models
from vedette.edge.settings import Camera, EdgeConfig
from vedette.errors import ConfigError

FAILED = 1
"""Exit status where something does not work."""

_MARKS = {
    Verdict.OK: "[green]✔ ok[/]",
    Verdict.WARNING: "[yellow]! warning[/]",
    Verdict.FAILED: "[bold red]✘ failed[/]",
    Verdict.UNKNOWN: "[dim]? unknown[/]",
}


@click.command("doctor", short_help="Try everything this device is configured to do.")
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
@click.option(
    "--seconds",
    default=LOOK_S,
    show_default=True,
    type=click.FloatRange(1, 300),
    help="How long to look at each camera.",
)
@click.option("--no-models", is_flag=True, help="Do not load and time the models.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(
    path: Path, wanted: tuple[str, ...], seconds: float, *, no_models: bool, as_json: bool
) -> None:
    """Try everything this device is configured to do: cameras, models, disk, clock, central.

    \b
    Cameras are opened for real, one after the other, beside a running agent;
    models are run; a small file is written and synced. Nothing is changed.
    Exit status 1 where something failed; what could not be tried is "unknown".
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    # What cameras do stands in the findings; a log between the lines would only be in the way.
    logging.getLogger("vedette").setLevel(logging.ERROR)
    config, note = in_effect(settings.load(path))
    cameras = chosen(config, wanted)
    console = Console(stderr=True, quiet=as_json)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        found = _examine(config, cameras, seconds, progress, no_models=no_models)
    if as_json:
        document = {"verdict": worst(found), "findings": found}
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        _print(found, note)
    if worst(found) is Verdict.FAILED:
        sys.exit(FAILED)


def in_effect(config: EdgeConfig) -> tuple[EdgeConfig, str]:
    """Return what the device runs by, the signed documents laid over, and where it came from."""
    accepted = [
        words
        for name, words in (("settings", "settings"), ("site_policy", "site policy"))
        if (config.state_dir / FOLDER / f"{name}.json").is_file()
    ]
    note = "as written; no signed document was accepted yet"
    if accepted:
        note = f"with the accepted {' and '.join(accepted)} laid over it"
    # A device that works alone has this file too, as it was when its agent started; what stands in
    # the configuration now is what counts there. An enrolled one has at least its site's time zone.
    enrolled = (config.state_dir / enrolment.FOLDER / "identity.json").is_file()
    effective = config.state_dir / EFFECTIVE
    if effective.is_file() and (accepted or enrolled):
        return settings.load(effective), note
    return config, note


def chosen(config: EdgeConfig, wanted: tuple[str, ...]) -> list[Camera]:
    """Return the cameras that were asked for, or all.

    Raises:
        ConfigError: There is no such camera.
    """
    known = {camera.id: camera for camera in config.cameras}
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"there is no camera {name!r}",
                operator_hint=f"there are: {', '.join(known) or 'none'}",
            )
    return [known[name] for name in wanted] or list(known.values())


def _examine(
    config: EdgeConfig,
    cameras: list[Camera],
    seconds: float,
    progress: Progress,
    *,
    no_models: bool,
) -> list[Finding]:
    clock: Clock = SystemClock()
    task = progress.add_task("machine and central")
    found = machine_findings(config, clock, boot_id())
    seen: dict[str, list[Frame]] = {}
    for camera in cameras:
        progress.update(task, description=f"camera {camera.id}")
        if not camera.source:
            detail = "no source yet: it comes with the signed site policy"
            found.append(
                Finding(about=camera.id, check="picture", verdict=Verdict.UNKNOWN, detail=detail)
            )
            continue
        frames = seen.setdefault(camera.id, [])
        found += look_at(camera, config.evidence, clock, look_s=seconds, keep=frames.append)
    if not no_models and cameras:
        progress.update(task, description="models")
        only = msgspec.structs.replace(config, cameras=cameras)
        models = Models.of(only, clock)
        found += model_findings(only, models, clock)
        progress.update(task, description="which way up")
        found += _orientations(cameras, models, seen)
    return found


def _orientations(
    cameras: list[Camera], models: Models, seen: dict[str, list[Frame]]
) -> list[Finding]:
    """Return for each camera with pictures and a model that detects whether it hangs upright."""
    found: list[Finding] = []
    for camera in cameras:
        loaded, frames = models.loaded.get(camera.model), seen.get(camera.id)
        if loaded is None or not frames:
            continue
        said = orientation(loaded.model, [frame.picture for frame in frames])
        if said is not None:
            found.append(judge_orientation(camera, said, frames[-1].rotation_deg))
    return found


def _print(found: list[Finding], note: str) -> None:
    console = Console()
    table = Table("what", "check", "how", "detail", box=None, pad_edge=False)
    about = ""
    for finding in found:
        table.add_row(
            "" if finding.about == about else f"[bold]{escape(finding.about)}[/]",
            escape(finding.check),
            _MARKS[finding.verdict],
            escape(finding.detail),
        )
        if finding.advice:
            table.add_row("", "", "", f"[cyan]→ {escape(finding.advice)}[/]")
        about = finding.about
    console.print(table)
    counts = {v: sum(f.verdict is v for f in found) for v in Verdict}
    words = {
        Verdict.OK: "ok",
        Verdict.WARNING: "to improve",
        Verdict.FAILED: "failed",
        Verdict.UNKNOWN: "unknown",
    }
    console.print(", ".join(f"{count} {words[v]}" for v, count in counts.items() if count))
    console.print(f"[dim]configuration {note}[/]")
