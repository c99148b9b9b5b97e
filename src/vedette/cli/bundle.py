"""`vedette bundle`: is a bundle whole and safe, what does it do here, how does it differ, how good.

Thin: parses, calls `vedette.inference` and `vedette.lab`, prints. `--json` prints one JSON document
and nothing else on standard output. Getting and making bundles is `vedette model`.
"""

import platform
from pathlib import Path
from typing import Any, Final, get_args

import click
import msgspec
from rich.console import Console
from rich.table import Table

from vedette.amounts import counted
from vedette.cli import bundle_sign
from vedette.cli.keys_words import passphrase_option
from vedette.cli.printable import add_row
from vedette.clock import SystemClock, wall_ms
from vedette.errors import ConfigError
from vedette.inference import guard, onnx_file, trial
from vedette.inference.backends import Runtime
from vedette.inference.bundle import SUFFIX, Bundle
from vedette.inference.library import ENVIRONMENT, Library
from vedette.inference.model import Model
from vedette.stats.gates import BUDGET_MS, Policy, share_words
from vedette.trust import dsse
from vedette.trust.keys import SigningKey, write_private
from vedette.wire.evaluation import (
    WAIVER_TYPE,
    EvaluationRecord,
    HardwareTimes,
    Waiver,
    is_digest,
    totals,
)

DAY_MS: Final = 86_400_000

_models_dir = click.option(
    "--models-dir",
    envvar=ENVIRONMENT,
    default="models",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Where bundles are. Environment: {ENVIRONMENT}.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_runtime = click.option(
    "--runtime",
    type=click.Choice(get_args(Runtime)),
    default="onnxruntime",
    show_default=True,
    help="What runs it.",
)
_record = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write a record here."
)


@click.group()
def command() -> None:
    """Verify, sign, try out, compare and evaluate model bundles."""


def _open(name: str, models_dir: Path) -> Bundle:
    is_path = "/" in name or name.endswith(SUFFIX)
    return Bundle.open(Path(name)) if is_path else Library(models_dir).find(name)


@command.command(short_help="Is it whole, and safe to open?")
@click.argument("name")
@_models_dir
@_runtime
@bundle_sign.signer_option
@bundle_sign.threshold_option
@bundle_sign.signature_option
@_as_json
def verify(  # noqa: PLR0917  click passes them by name
    name: str,
    models_dir: Path,
    runtime: Runtime,
    signers: tuple[Path, ...],
    threshold: int,
    signature: Path | None,
    *,
    as_json: bool,
) -> None:
    """Check every file's hash, then open and run the network in a guarded process.

    NAME is a bundle in the models folder, or the path of one. The proof is made anew, whatever
    was proven before. With --signer, those must have signed it, or nothing is opened. Exit status
    2 where anything is wrong.
    """
    bundle = _open(name, models_dir)
    signed_by = bundle_sign.signed_by(bundle, signature, signers, threshold)
    data = bundle.read(bundle.manifest.model)
    look = onnx_file.look(data)
    proof = guard.prove(data, runtime=runtime, shape=bundle.manifest.preprocess.shape)
    said = bundle.manifest
    facts = {
        "name": said.name,
        "version": said.version,
        "digest": bundle.digest,
        "files": len(said.files),
        "bytes": sum(entry.bytes for entry in said.files.values()),
        "operations": sum(look.operations.values()),
        "backend": proof.backend,
        "peak_mb": proof.peak_mb,
        "signed_by": signed_by,
    }
    if as_json:
        _print_json(facts)
        return
    click.echo(f"{said.name} {said.version}  {bundle.digest}")
    files = counted(facts["files"], "file")
    click.echo(f"{files}, {facts['bytes']} bytes: every hash is the promised one")
    click.echo(
        f"the network opened and ran in a guarded process ({proof.backend}, "
        f"{proof.peak_mb:.0f} MB at most)"
    )
    for keyid in signed_by:
        click.echo(f"signed by the key {keyid}")
    if not signers and bundle_sign.place(bundle).exists():
        click.echo("a signature is beside it; --signer FILE.pub checks whose it is")


@command.command(short_help="Say with one's key that one stands behind it.")
@click.argument("name")
@_models_dir
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A key file, as `vedette keys new` makes it.",
)
@passphrase_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
    help=f"Write it here. Default: beside the bundle, NAME{bundle_sign.SUFFIX}.",
)  # fmt: skip
def sign(
    name: str, models_dir: Path, keys: tuple[Path, ...], passphrase_file: Path | None,
    output: Path | None,
) -> None:  # fmt: skip
    """Sign a bundle that travels by hand: its name, its version and the digest over every byte.

    Whoever signed before stays. `vedette bundle verify NAME --signer FILE.pub` checks it where it
    arrives. What comes by a rollout is signed by `vedette keys` and needs none of this.
    """
    bundle = _open(name, models_dir)
    file = output or bundle_sign.place(bundle)
    done = bundle_sign.write(bundle, keys, passphrase_file, file)
    said = bundle.manifest
    click.echo(f"{said.name} {said.version}  {bundle.digest}")
    for keyid in done:
        click.echo(f"signed by the key {keyid}")
    click.echo(f"written: {file}", err=True)


@command.command(short_help="What does it do on this machine?")
@click.argument("name")
@_models_dir
@_runtime
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 256))
@click.option("--provider", multiple=True, help="cpu, cuda, tensorrt, openvino or coreml.")
@click.option(
    "--runs", default=trial.DEFAULT_RUNS, show_default=True, type=click.IntRange(1, 10_000),
    help="Below 59 the 95th percentile has no upper bound.",
)  # fmt: skip
@click.option("--hardware", default="", help="What this machine is called; else what it is.")
@_record
@_as_json
def test(  # noqa: PLR0917  click passes them by name
    name: str,
    models_dir: Path,
    runtime: Runtime,
    threads: int,
    provider: tuple[str, ...],
    runs: int,
    hardware: str,
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    """Run the golden frames and time each step against the budget.

    Exit status 1 where a golden frame is not what it was where the bundle was made. With -o the
    times go into a record for `vedette central models evaluate`.
    """
    bundle = _open(name, models_dir)
    Library(models_dir).prove(bundle, runtime)
    clock = SystemClock()
    done = trial.try_out(
        bundle,
        clock,
        hardware=hardware or _machine(),
        runtime=runtime,
        threads=threads,
        providers=list(provider) or None,
        runs=runs,
    )
    record = EvaluationRecord(
        digest=bundle.digest,
        at_ms=wall_ms(clock.now_at()),
        by="vedette bundle test",
        method=f"{runs} runs on a golden frame after {trial.WARM_UPS} to warm up",
        hardware=[done.times],
    )
    if output:
        _write(output, record)
    if as_json:
        _print_json(record)
    else:
        _print_times(bundle, done.times)
        for failure in done.golden.failures:
            click.echo(f"FAILED: {failure}")
    if not done.golden.ok:
        raise SystemExit(1)


def _machine() -> str:
    """Return what this machine is, for people: its processor's architecture and kind."""
    try:
        text = Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return text.strip("\0 \n")[:100] or f"{platform.machine()} {platform.system()}".strip()


def _print_times(bundle: Bundle, times: HardwareTimes) -> None:
    said = bundle.manifest
    click.echo(f"{said.name} {said.version} on {times.hardware}, {times.runtime}")
    table = Table("step", "p50 ms", "p95 ms", "95 % sure below", "p99 ms", "budget ms")
    for name, step in times.steps.items():
        budget = BUDGET_MS.get(name)
        high = step.p95_high_ms
        add_row(
            table,
            name,
            f"{step.p50_ms:.2f}",
            f"{step.p95_ms:.2f}",
            "no bound" if high is None else f"{high:.2f}",
            f"{step.p99_ms:.2f}",
            "" if budget is None else f"{budget:g}",
        )
    Console().print(table)
    click.echo(f"loaded and checked in {times.load_s:.2f} s; {Policy().load_s:g} s are allowed")
    click.echo(f"golden frames: {'as they were' if times.golden_ok else 'FAILED'}")


@command.command(short_help="What differs between two?")
@click.argument("old")
@click.argument("new")
@_models_dir
@_as_json
def diff(old: str, new: str, models_dir: Path, *, as_json: bool) -> None:
    """Show what is another in NEW than in OLD. Exit status 1 where anything is."""
    rows = differences(_open(old, models_dir), _open(new, models_dir))
    if as_json:
        _print_json([{"what": what, "old": a, "new": b} for what, a, b in rows])
    elif not rows:
        click.echo("the same bundle")
    else:
        table = Table("what", "old", "new")
        for what, a, b in rows:
            add_row(table, what, a, b)
        Console().print(table)
    if rows:
        raise SystemExit(1)


def differences(old: Bundle, new: Bundle) -> list[tuple[str, str, str]]:
    """Return what is another, in words: digest, labels, head, input, thresholds, files, figures."""
    a, b = _flat(old), _flat(new)
    return [
        (what, a.get(what, "–"), b.get(what, "–"))
        for what in dict.fromkeys([*a, *b])
        if a.get(what) != b.get(what)
    ]


def _flat(bundle: Bundle) -> dict[str, str]:
    said = bundle.manifest
    flat = {
        "digest": bundle.digest,
        "name": said.name,
        "version": said.version,
        "labels": f"{len(said.labels)}: {', '.join(said.labels)[:200]}",
        "threshold": str(said.threshold),
        "calibration": said.calibration_sha256 or "none",
        "licence": said.card.license or "not stated",
    }
    flat |= {f"threshold of {label}": str(value) for label, value in said.thresholds.items()}
    for group, value in (("input", said.preprocess), ("head", said.head)):
        fields = msgspec.to_builtins(value) if value else {}
        flat |= {f"{group} {key}": str(item) for key, item in fields.items()}
    flat |= {
        f"file {path}": f"{entry.bytes} bytes, {entry.sha256[:12]}"
        for path, entry in said.files.items()
    }
    for made in said.evaluation:
        flat |= {f"{name} ({made.data[:40]})": f"{v:g}" for name, v in made.figures.items()}
    return flat


@command.command(short_help="How good is it on labelled pictures?")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@_models_dir
@_runtime
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 256))
@click.option("--each-alone", is_flag=True, help="No two pictures are of the same camera and day.")
@click.option("--data", default="", help="What the data set is called; else the folder's name.")
@_record
@_as_json
def evaluate(  # noqa: PLR0917  click passes them by name
    name: str,
    folder: Path,
    models_dir: Path,
    runtime: Runtime,
    threads: int,
    data: str,
    output: Path | None,
    *,
    each_alone: bool,
    as_json: bool,
) -> None:
    """Count what is right, wrong and missed in FOLDER, by class and camera-day.

    FOLDER has COCO's annotations.json, or pictures with YOLO's .txt beside them and classes.txt.
    Camera and day come from the folders above a picture (SITE/CAMERA/2026-05-17/) or from the
    JSON. With -o the counts go into a record for `vedette central models evaluate`.
    """
    from vedette.cli.model import _lab  # the one place that names the extra to install

    bundle = _open(name, models_dir)
    Library(models_dir).prove(bundle, runtime)
    model = Model.load(bundle, runtime=runtime, threads=threads)
    labelled = _lab("labelled").read(folder, each_alone=each_alone)
    console = Console(stderr=True)
    with console.status("evaluating") as status:
        record = _lab("evaluating").evaluate(
            model,
            labelled,
            at_ms=wall_ms(SystemClock().now_at()),
            by="vedette bundle evaluate",
            name=data,
            progress=lambda done, of: status.update(f"evaluating: {done} of {of}"),
        )
    if output:
        _write(output, record)
    if as_json:
        _print_json(record)
    else:
        _print_counts(record)


def _print_counts(record: EvaluationRecord) -> None:
    table = Table("class", "right", "wrong", "missed", "precision", "recall")
    for label, tally in totals(record.days).items():
        days = [day.tallies[label] for day in record.days if label in day.tallies]
        add_row(
            table,
            label,
            str(tally.right),
            str(tally.wrong),
            str(tally.missed),
            share_words([(t.right, t.right + t.wrong) for t in days]),
            share_words([(t.right, t.right + t.missed) for t in days]),
        )
    Console().print(table)
    pictures = record.data.pictures if record.data else 0
    click.echo(f"{pictures} pictures of {len(record.days)} camera-days; bounds are one-sided, 95 %")


@command.command(short_help="Sign that gates shall not hold back a version.")
@click.argument("digest")
@click.option("--gate", "gates", multiple=True, required=True, help="Such as recall/person or *.")
@click.option("--reason", required=True, help="Why; it is shown beside the verdict.")
@click.option("--by", required=True, help="Who answers for it.")
@click.option("--days", default=14, show_default=True, type=click.IntRange(1, 90))
@click.option("--key", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False))
def waive(  # noqa: PLR0917  click passes them by name
    digest: str,
    gates: tuple[str, ...],
    reason: str,
    by: str,
    days: int,
    key: Path,
    output: Path,
) -> None:
    """Write a signed waiver for the version with this DIGEST, for `vedette central models waive`.

    KEY is a key file (`vedette site key FILE` makes one) whose public half an administrator named
    at central: vedette central models signer add.
    """
    if not is_digest(digest):
        raise ConfigError(
            f"{digest[:80]!r} is not the digest of a bundle",
            operator_hint="sha256: and 64 hex digits, as `vedette bundle verify` prints it",
        )
    if not 10 <= len(reason) <= 2000:
        raise ConfigError("a reason has 10 to 2000 characters: others will read it")
    now_ms = wall_ms(SystemClock().now_at())
    waiver = Waiver(
        digest=digest,
        gates=list(gates),
        reason=reason,
        by=by,
        issued_ms=now_ms,
        expires_ms=now_ms + days * DAY_MS,
    )
    signed = dsse.sign_struct(waiver, WAIVER_TYPE, [SigningKey.load(key)])
    _write(output, signed)


def _write(path: Path, message: msgspec.Struct) -> None:
    try:
        write_private(path, msgspec.json.format(msgspec.json.encode(message), indent=1) + b"\n")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"written: {path}", err=True)


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
