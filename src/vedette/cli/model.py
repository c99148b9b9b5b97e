"""`vedette model`: get, make and look at model bundles.

Thin: parses, calls `vedette.lab` and `vedette.inference`, prints. `--json` prints one JSON document
and nothing else on standard output.
"""

from pathlib import Path
from statistics import median
from typing import Any, get_args

import click
import msgspec
from rich.console import Console
from rich.table import Table

from vedette.amounts import counted
from vedette.cli.printable import add_row
from vedette.errors import ConfigError, HashMismatch, ModelLoadFailed
from vedette.ids import is_slug
from vedette.inference import golden, onnx_file
from vedette.inference.backends import Runtime
from vedette.inference.bundle import SUFFIX, Bundle, pack
from vedette.inference.library import ENVIRONMENT, Library
from vedette.inference.model import Model
from vedette.vision.picture import Picture

DEFAULT_MODEL = "centernet"
TIMED_RUNS = 20

_models_dir = click.option(
    "--models-dir",
    envvar=ENVIRONMENT,
    default="models",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Where bundles are. Environment: {ENVIRONMENT}.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """Pull, import and inspect model bundles."""


@command.command()
@click.argument("name", default=DEFAULT_MODEL)
@_models_dir
@_as_json
def pull(name: str, models_dir: Path, *, as_json: bool) -> None:
    """Fetch the default model and make its bundle on this machine."""
    centernet = _lab("centernet")
    if name != centernet.NAME:
        raise ConfigError(
            f"there is no model {name!r} to pull",
            operator_hint=f"There is: {centernet.NAME}. For your own, `vedette model import`.",
        )
    console = Console(stderr=True)
    with console.status(f"pulling {name}"):
        bundle = centernet.pull(models_dir / name, progress=console.print)
    _report_made(bundle, as_json=as_json)


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="The bundle's name; by default the file's, in lower case.")
@click.option("--version", default="1", show_default=True, help="The bundle's version.")
@click.option("--labels", help="coco80, coco90, coco91, or a file with one label a line.")
@click.option("--head", help="The family, such as yolov8 or rf-detr, or a JSON file with a head.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Confidence to report from.")
@click.option("--license", "license", default="", help="The licence of the weights.")
@click.option("--source", default="", help="Where the weights come from.")
@click.option("--size", help="Width and height, such as 640x640, where the file leaves them free.")
@click.option(
    "--priors",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Prior boxes of a raw SSD: .npy or text, centre x, y, width, height in fractions.",
)
@click.option(
    "--activation",
    type=click.Choice(["none", "sigmoid", "softmax"]),
    help="What scores need, in place of what a run shows.",
)
@click.option(
    "--task",
    help="classification, embedding or anomaly, or a JSON file with a task, where it is no "
    "detector.",
)
@click.option("--output", default="", help="Of a task: the output that counts, where several are.")
@click.option(
    "--reference",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Of a task: raw float32 vectors, one per label or of normal pictures.",
)
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    help="Of an anomaly: the distance whose score is one half.",
)
@click.option("--color", type=click.Choice(["RGB", "BGR"]), help="Order of the colours.")
@click.option(
    "--resize", type=click.Choice(["letterbox", "stretch"]), help="Keep the shape or not."
)
@click.option("--anchor", type=click.Choice(["top_left", "center"]), help="Place in the letterbox.")
@click.option("--scale", type=float, help="Factor on the pixel, 0-255; 0.00392157 is 1/255.")
@click.option("--mean", help="Subtracted then, per colour, such as 0.485,0.456,0.406.")
@click.option("--std", help="Divided by, last, such as 0.229,0.224,0.225.")
@click.option("--replace", is_flag=True, help="Put it in the place of a model of the same name.")
@_models_dir
@_as_json
def import_(file: Path, models_dir: Path, *, replace: bool, as_json: bool, **said: Any) -> None:
    """Make a bundle of an ONNX FILE, or take in a finished .vbundle.

    The family is recognised by shapes, names and a run; docs/models.md has the table. The colours,
    the size and the scale of the input are the family's habit unless they are said.
    """
    if file.suffix == SUFFIX or file.is_dir():
        library = Library(models_dir)
        found = Bundle.open(file)
        old = _may_replace(models_dir / found.manifest.name, found.digest, replace=replace)
        library.prove(found)
        made = library.add(found)
        _report_replaced(made, old)
        _report_made(made, as_json=as_json)
        return
    chosen = said.pop("name") or file.stem.lower().replace(" ", "-")
    if not is_slug(chosen):
        raise ConfigError(
            f"{chosen!r} cannot be a model's name",
            operator_hint="Give --name with 1 to 64 of a-z 0-9 . _ -",
        )
    old = _may_replace(models_dir / chosen, None, replace=replace)
    importing = _lab("importing")
    preprocess = {
        "color": said.pop("color"),
        "resize": said.pop("resize"),
        "anchor": said.pop("anchor"),
        "scale": said.pop("scale"),
        "mean": _numbers("--mean", said.pop("mean")),
        "std": _numbers("--std", said.pop("std")),
    }
    task = {key: said.pop(key) for key in ("output", "reference", "limit")}
    kind = said.pop("task")
    request = importing.Request(
        name=chosen,
        preprocess={key: value for key, value in preprocess.items() if value is not None},
        size=_pixels(said.pop("size")),
        **said,
    )
    if kind is None:
        made = importing.import_onnx(file, models_dir / chosen, request)
    else:
        tasks = _lab("importing_tasks")
        _check_task(kind, tasks.KINDS)
        asked = tasks.Asked(kind, **task)
        made = tasks.import_task(file, models_dir / chosen, request, asked)
    _report_replaced(made, old)
    _report_made(made, as_json=as_json)


def _may_replace(place: Path, new: str | None, *, replace: bool) -> str | None:
    """Return the digest of what is at `place`, `broken` if it is no bundle; None where nothing is.

    Raises:
        ConfigError: There is something else than `new`, and nobody said that it may go.
    """
    if not place.exists():
        return None
    try:
        old = Bundle.open(place).digest
    except (ModelLoadFailed, HashMismatch):
        old = "broken"
    if old != new and not replace:
        raise ConfigError(
            f"there is a model {place.name!r} already: {place} ({old})",
            operator_hint="Give --replace to put the new one in its place; an ONNX file can also "
            "come in under another --name.",
        )
    return old


def _report_replaced(made: Bundle, old: str | None) -> None:
    """Say on standard error whose place was taken."""
    if old not in {None, made.digest}:
        click.echo(f"replaces {made.manifest.name} (old digest {old})", err=True)


def _check_task(kind: str, kinds: tuple[str, ...]) -> None:
    """Raise `ConfigError` where there is no such task."""
    if kind not in kinds and not kind.endswith(".json"):
        raise ConfigError(
            f"there is no task {kind!r}",
            operator_hint=f"There are: {', '.join(kinds)}; or give a .json file with the task.",
        )


def _pixels(text: str | None) -> tuple[int, int] | None:
    """Return width and height of such as `640x480`."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and len(text) <= 11):
        raise ConfigError(f"{text!r} is no size", operator_hint="Such as --size 640x480.")
    return int(width), int(height)


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Return three numbers of such as `0.5,0.5,0.5`."""
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise ConfigError(
            f"{option} wants three numbers, not {text!r}",
            operator_hint=f"Such as {option} 0.5,0.5,0.5",
        )
    return numbers


@command.command("list")
@_models_dir
@_as_json
def list_(models_dir: Path, *, as_json: bool) -> None:
    """List the bundles there are, broken ones too."""
    entries = Library(models_dir).list()
    if as_json:
        _print_json(
            [
                {
                    "name": entry.name,
                    "problem": entry.problem,
                    **(_summary(entry.bundle) if entry.bundle else {}),
                }
                for entry in entries
            ]
        )
        return
    if not entries:
        click.echo(f"No models in {models_dir}. `vedette model pull` gets the default one.")
        return
    table = Table("name", "version", "head", "labels", "digest", "state")
    for entry in entries:
        if entry.bundle is None:
            add_row(table, entry.name, "", "", "", "", f"broken: {entry.problem}")
            continue
        said = entry.bundle.manifest
        short = entry.bundle.digest[: len("sha256:") + 12]
        add_row(
            table, entry.name, said.version, said.head_kind, str(len(said.labels)), short, "whole"
        )
    Console().print(table)


@command.command()
@click.argument("name", default=DEFAULT_MODEL)
@click.option("--time", "timed", is_flag=True, help="Run the model a few times and time it.")
@click.option("--threads", default=1, show_default=True, help="Threads of one run.")
@click.option("--provider", multiple=True, help="cpu, cuda, tensorrt, openvino or coreml.")
@click.option(
    "--runtime",
    type=click.Choice(get_args(Runtime)),
    default="onnxruntime",
    show_default=True,
    help="What runs it.",
)
@_models_dir
@_as_json
def inspect(
    name: str,
    models_dir: Path,
    threads: int,
    runtime: Runtime,
    provider: tuple[str, ...],
    *,
    timed: bool,
    as_json: bool,
) -> None:
    """Show what a bundle is, and whether it works on this machine.

    NAME is a bundle in the models folder, or the path of one.
    """
    is_path = "/" in name or name.endswith(SUFFIX)
    library = Library(models_dir)
    bundle = Bundle.open(Path(name)) if is_path else library.find(name)
    library.prove(bundle, runtime)
    model = Model.load(bundle, runtime=runtime, threads=threads, providers=list(provider) or None)
    facts = _summary(bundle) | _machine(model, bundle, timed=timed)
    if as_json:
        _print_json(facts)
    else:
        _print_facts(facts)
    if not facts["golden"]["ok"]:
        raise SystemExit(1)


@command.command(short_help="Make a bundle of lower precision, and compare it.")
@click.argument("name")
@click.option(
    "--calibrate",
    "footage",
    required=True,
    type=click.Path(path_type=Path),
    help="A video or a folder of pictures from the cameras that it is for.",
)
@click.option("--int8", "precision", flag_value="int8", default="int8", help="8-bit integers.")
@click.option("--fp16", "precision", flag_value="fp16", help="Half precision.")
@click.option("--half-io", is_flag=True, help="With --fp16: inputs and outputs too.")
@click.option("--frames", default=64, show_default=True, type=click.IntRange(4, 200))
@click.option("--out", help="The new bundle's name; NAME-int8 or NAME-fp16 by default.")
@_models_dir
@_as_json
def quantize(  # noqa: PLR0917  click passes them by name
    name: str,
    footage: Path,
    precision: str,
    half_io: bool,
    frames: int,
    out: str | None,
    models_dir: Path,
    *,
    as_json: bool,
) -> None:
    """Make a bundle of lower precision, and say how it compares with its original.

    Half of the frames calibrate, the other half compares. Whether it is faster depends on the
    network and the processor: the table says it for this machine. At the end the new bundle's
    golden frames are run on every runtime that is installed; exit status 1 where they fail on one.
    """
    chosen = out or f"{name}-{precision}"
    if not is_slug(chosen) or chosen == name:
        raise ConfigError(
            f"{chosen!r} cannot be the new model's name",
            operator_hint="Give --out with 1 to 64 of a-z 0-9 . _ - other than the original's.",
        )
    library = Library(models_dir)
    bundle = library.find(name)
    library.prove(bundle)
    done = _lab("quantize").quantize(
        bundle,
        footage,
        models_dir / chosen,
        precision=precision,
        keep_io=not half_io,
        frames=frames,
    )
    if as_json:
        verdicts = {runtime: _verdict(result) for runtime, result in done.golden.items()}
        _print_json(_summary(done.bundle) | {"held_out": done.held_out, "golden": verdicts})
    else:
        _print_outcome(done)
    if not all(result.ok for result in done.golden.values()):
        raise SystemExit(1)


def _print_outcome(done: Any) -> None:
    """Print how a converted bundle compares, and how its golden frames do on each runtime."""
    _report_made(done.bundle, as_json=False)
    table = Table("runtime", "still there", "not new", "detections", "ms before", "ms after")
    for speed in done.speeds:
        agreed = speed.agreement
        table.add_row(
            speed.runtime,
            *("no data" if x is None else f"{x:.3f}" for x in (agreed.recall, agreed.precision)),
            f"{agreed.before} → {agreed.after}",
            f"{speed.before_ms:.1f}",
            f"{speed.after_ms:.1f}",
        )
    Console().print(table)
    click.echo(f"compared on {done.held_out} frames; calibrated on {done.calibrated_on} others")
    allowed = max((f.tolerance.output for f in done.bundle.manifest.golden), default=0.0)
    for runtime, result in done.golden.items():
        if result.ok:
            click.echo(
                f"golden frames hold on {runtime}: off by at most {result.worst:.1%} of the "
                f"output's span, {allowed:.0%} is allowed"
            )
        else:
            click.echo(f"fails on {runtime}: do not use it there: {'; '.join(result.failures)}")


@command.command("pack", short_help="Write a bundle as one .vbundle file.")
@click.argument("name")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@_models_dir
def pack_(name: str, target: Path, models_dir: Path) -> None:
    """Write a bundle as one .vbundle file, to be carried to another machine."""
    bundle = Library(models_dir).find(name)
    pack(bundle, target)
    click.echo(f"{target}: {name}, {bundle.digest}")


def _lab(module: str) -> Any:
    """Return a module of the workbench.

    Raises:
        ConfigError: The extra that it needs is not installed.
    """
    import importlib

    try:
        return importlib.import_module(f"vedette.lab.{module}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this needs the Python package {error.name!r}, which is not installed.",
            operator_hint="Install it with: pip install 'vedette[edge,lab]'",
        ) from error


def _summary(bundle: Bundle) -> dict[str, Any]:
    """Return what the manifest says, for JSON."""
    said = bundle.manifest
    return {
        "name": said.name,
        "version": said.version,
        "digest": bundle.digest,
        "path": str(bundle.path),
        "labels": said.labels,
        "threshold": said.threshold,
        "thresholds": said.thresholds,
        "preprocess": msgspec.to_builtins(said.preprocess),
        "purpose": said.purpose,
        "head": msgspec.to_builtins(said.head),
        "task": None if said.task is msgspec.UNSET else msgspec.to_builtins(said.task),
        "files": {path: entry.bytes for path, entry in said.files.items()},
        "evaluation": msgspec.to_builtins(said.evaluation),
        "card": msgspec.to_builtins(said.card),
    }


def _machine(model: Model, bundle: Bundle, *, timed: bool) -> dict[str, Any]:
    """Return what the model is and does on this machine."""
    look = onnx_file.look(bundle.read(bundle.manifest.model))
    result = model.check_golden()
    facts: dict[str, Any] = {
        "backend": model.backend.name,
        "inputs": {i.name: [i.dtype, list(i.shape)] for i in model.backend.inputs},
        "outputs": {o.name: [o.dtype, list(o.shape)] for o in model.backend.outputs},
        "onnx": {
            "ir_version": look.ir_version,
            "producer": look.producer,
            "opsets": look.opsets,
            "operations": dict(look.operations.most_common()),
        },
        "golden": _verdict(result),
    }
    if timed:
        facts["time_ms"] = _timed(model, bundle)
    return facts


def _verdict(result: golden.GoldenResult) -> dict[str, Any]:
    """Return what came of the golden frames, for JSON."""
    return {
        "ok": result.ok,
        "frames": result.frames,
        "worst": result.worst,
        "failures": list(result.failures),
    }


def _timed(model: Model, bundle: Bundle) -> dict[str, float]:
    """Return the median of each step over a few runs on a golden frame."""
    frames = bundle.manifest.golden
    if not frames:
        raise ConfigError("the bundle has no golden frame to time with")
    data = bundle.read(frames[0].picture)
    picture: Picture = golden.decode_picture(data, frames[0].picture)
    runs = [model.detect(picture) for _ in range(TIMED_RUNS)]
    return {
        "preprocess": round(median(run.preprocess_ms for run in runs), 2),
        "inference": round(median(run.inference_ms for run in runs), 2),
        "postprocess": round(median(run.postprocess_ms for run in runs), 2),
    }


def _report_made(bundle: Bundle, *, as_json: bool) -> None:
    """Print what was written where."""
    if as_json:
        _print_json(_summary(bundle))
        return
    said = bundle.manifest
    click.echo(
        f"{said.name} {said.version} ({said.head_kind}, {counted(len(said.labels), 'label')})"
    )
    click.echo(f"{bundle.digest}\n{bundle.path}")


def _print_facts(facts: dict[str, Any]) -> None:
    """Print a table for people."""
    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    size, head, labels = facts["preprocess"], facts["head"], facts["labels"]
    more = f" … {len(labels)} in all" if len(labels) > 12 else ""
    add_row(table, "model", f"{facts['name']} {facts['version']}")
    add_row(table, "digest", facts["digest"])
    add_row(table, "licence", facts["card"]["license"] or "not stated")
    add_row(table, "source", facts["card"]["source"])
    add_row(table, "labels", ", ".join(labels[:12]) + more if labels else "none")
    add_row(table, "threshold", str(facts["threshold"]))
    add_row(
        table,
        "input",
        f"{size['size'][0]}×{size['size'][1]} {size['color']} {size['layout']}, "
        f"{size['resize']}{_where(size)}, {size['dtype']}",
    )
    add_row(table, "values", _values(size))
    for name, (dtype, shape) in facts["outputs"].items():
        add_row(table, "output", f"{name} {dtype} {shape}")
    if head:
        add_row(
            table,
            "head",
            f"{head['kind']}, {head['classes']} classes, activation {head['activation']}",
        )
    else:
        said = [f"{key} {value}" for key, value in facts["task"].items() if key != "kind"]
        add_row(table, "task", ", ".join([facts["purpose"], *said]))
    operations = ", ".join(f"{n}× {op}" for op, n in facts["onnx"]["operations"].items())
    add_row(table, "network", f"{operations} (opset {facts['onnx']['opsets'].get('ai.onnx')})")
    add_row(table, "backend", facts["backend"])
    result = facts["golden"]
    verdict = f"{result['frames']} frame(s), off by at most {result['worst']:.2%} of the span"
    add_row(
        table, "golden", verdict if result["ok"] else "FAILED: " + "; ".join(result["failures"])
    )
    for step, value in facts.get("time_ms", {}).items():
        add_row(table, step, f"{value} ms (median of {TIMED_RUNS})")
    Console().print(table)


def _where(size: dict[str, Any]) -> str:
    """Return where a letterboxed picture sits and what it is padded with."""
    if size["resize"] != "letterbox":
        return ""
    return f" {size['anchor'].replace('_', ' ')}, padded with {size['pad_value']}"


def _values(size: dict[str, Any]) -> str:
    """Return how a pixel becomes a number."""
    if size["scale"] == 1 and not any(size["mean"]) and set(size["std"]) == {1}:
        return "pixels as they are, 0–255"
    scale = "1/255" if abs(size["scale"] * 255 - 1) < 1e-9 else f"{size['scale']:g}"
    parts = [f"pixel × {scale}"]
    parts += [f"- {list(size['mean'])}"] if any(size["mean"]) else []
    parts += [f"/ {list(size['std'])}"] if set(size["std"]) != {1} else []
    return " ".join(parts)


def _print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
