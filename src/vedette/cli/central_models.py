"""`vedette central models`: the registry at central's terminal.

Thin: reads files, calls `vedette.central.registry`, prints. Bundles are measured where they run,
with `vedette bundle`; here only their manifests and records arrive.
"""

import tarfile
from pathlib import Path
from typing import Final

import click
import msgspec

from vedette.amounts import counted
from vedette.central.registry import looking, store, waivers
from vedette.central.registry.gates import Judgement, verdict_of
from vedette.central.registry.judging import judge_anew
from vedette.central.registry.looking import VersionView
from vedette.central.registry.manifest import Lineage
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.cli.at_central import ACTOR, in_transaction, now_ms, show_json, show_table
from vedette.errors import ConfigError
from vedette.stats.gates import Gate, Policy, Verdict
from vedette.wire.evaluation import MAX_MANIFEST_BYTES, MAX_RECORD_BYTES, read_record
from vedette.wire.signed import Signed

NOT_PASSED: Final = 1
FOLDED_GATES: Final = 12
"""More gates than these, of classes that nothing is known of, are counted and not listed."""
MANIFEST: Final = "bundle.json"
_file = click.Path(path_type=Path, exists=True)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("models")
def models_group() -> None:
    """Register model versions, and see what their gates say."""


@models_group.command("list")
@_as_json
@click.pass_obj
def list_models(config: CentralConfig, *, as_json: bool) -> None:
    """List models, each with its newest version."""
    rows = in_transaction(config, lambda tx: looking.models(tx, now_ms(), limit=store.MAX_MODELS))
    if as_json:
        show_json(rows)
        return
    show_table(
        ("model", "versions", "newest", "verdict", "digest"),
        [
            (
                row.model,
                str(row.versions),
                row.version or "",
                f"{row.verdict or 'none'}{' (waived)' if row.waived else ''}",
                row.digest or "",
            )
            for row in rows
        ],
        "no model is registered; vedette central models register BUNDLE",
    )


async def _find(tx: Tx, named: str) -> str:
    """Return the digest that is meant by a digest, its beginning, or `model` or `model/version`."""
    if named.startswith("sha256:") and len(named) == 71:
        return named
    model, _, version = named.partition("/")
    if named.startswith("sha256:"):
        rows = [
            row.digest
            for one in await looking.models(tx, now_ms(), limit=store.MAX_MODELS)
            for row in await looking.versions(tx, one.model, now_ms(), limit=store.MAX_VERSIONS)
            if row.digest.startswith(named) and len(named) >= 15
        ]
    else:
        found = await looking.versions(tx, model, now_ms(), limit=store.MAX_VERSIONS)
        rows = [row.digest for row in found if not version or row.version == version][:1]
    if len(rows) != 1:
        raise store.NoSuchModel(
            f"{named[:80]!r} means {len(rows)} versions",
            operator_hint="give a model, model/version, or a digest; vedette central models list",
        )
    return rows[0]


@models_group.command("show")
@click.argument("version")
@_as_json
@click.pass_obj
def show(config: CentralConfig, version: str, *, as_json: bool) -> None:
    """Show a VERSION of a model.

    A model's name (its newest), model/version, or a digest.
    """

    async def look(tx: Tx) -> VersionView:
        return await looking.version(tx, await _find(tx, version), now_ms(), None)

    view = in_transaction(config, look)
    if as_json:
        show_json(view)
        return
    click.echo(f"{view.model} {view.version}  {view.digest}  {view.state}")
    size = f"{view.input_px[0]}×{view.input_px[1]}" if view.input_px else "unknown size"
    total = sum(view.files.values()) / 1e6
    click.echo(f"{view.head}, {counted(len(view.labels), 'label')}, {size}, {total:.1f} MB")
    for name, value in (
        ("data", view.lineage.data_version),
        ("training run", view.lineage.training_run),
        ("parent", view.lineage.parent),
        ("calibration set", view.calibration_sha256),
        ("preprocessing", view.preprocess_version),
    ):
        click.echo(f"  {name}: {value or 'not told'}")
    _print_gates(view.verdict, view.gates)
    for waiver in view.waivers:
        state = "stands" if waiver.stands else waiver.why_not
        click.echo(
            f"waiver by {waiver.by} for {', '.join(waiver.gates)}: {waiver.reason} ({state})"
        )


@models_group.command("register")
@click.argument("bundle", type=_file)
@click.option("--data-version", default="", help="Of the data that it was trained on.")
@click.option("--training-run", default="", help="How the run is called where it was made.")
@click.option("--parent", default="", help="Digest of the version that it was made from.")
@click.option("--note", default="", help="Whatever else should be known.")
@click.pass_obj
def register(  # noqa: PLR0917 - click passes them by name
    config: CentralConfig, bundle: Path, data_version: str, training_run: str, parent: str,
    note: str,
) -> None:  # fmt: skip
    """Register BUNDLE.

    Its folder, its .vbundle file, or its bundle.json.
    """
    data = read_manifest(bundle)
    lineage = Lineage(
        data_version=data_version, training_run=training_run, parent=parent, note=note
    )

    async def put(tx: Tx) -> tuple[store.VersionRow, bool]:
        row, is_new = await store.register(tx, data, lineage, actor=ACTOR, now_ms=now_ms())
        if is_new:
            await judge_anew(tx, row.model, now_ms(), row.digest)
        return row, is_new

    row, is_new = in_transaction(config, put)
    click.echo(f"{row.model} {row.version} {row.digest}")
    if not is_new:
        click.echo("was registered already; nothing changed")


def read_manifest(path: Path) -> bytes:
    """Return the manifest of a bundle, without looking at anything else of it.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        if path.is_dir():
            path /= MANIFEST
        if tarfile.is_tarfile(path):
            with tarfile.open(path, "r:") as archive:
                member = archive.next()
                if member is None or member.name != MANIFEST or member.size > MAX_MANIFEST_BYTES:
                    raise ConfigError(f"{path} does not begin with a {MANIFEST}")
                opened = archive.extractfile(member)
                return opened.read(MAX_MANIFEST_BYTES + 1) if opened else b""
        return _bounded(path, MAX_MANIFEST_BYTES)
    except (OSError, tarfile.TarError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def _bounded(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


@models_group.command("evaluate")
@click.argument("records", nargs=-1, required=True, type=_file)
@click.pass_obj
def evaluate(config: CentralConfig, records: tuple[Path, ...]) -> None:
    """Add RECORDS of what a version can do.

    As `vedette bundle evaluate` and `vedette bundle test` wrote them.
    """
    read = [read_record(_bounded(path, MAX_RECORD_BYTES)) for path in records]

    async def put(tx: Tx) -> list[Judgement]:
        for record in read:
            await store.add_evaluation(tx, record.digest, record, actor=ACTOR, now_ms=now_ms())
            version = await store.get_version(tx, record.digest)
            await judge_anew(tx, version.model, now_ms())
        digests = dict.fromkeys(record.digest for record in read)
        return [await verdict_of(tx, digest, now_ms()) for digest in digests]

    for judged in in_transaction(config, put):
        click.echo(f"{judged.digest}: {judged.verdict.value}")


@models_group.command("gates")
@click.argument("version")
@click.option("--against", help="Compare with this version instead of the model's incumbent.")
@_as_json
@click.pass_obj
def gates(config: CentralConfig, version: str, against: str | None, *, as_json: bool) -> None:
    """Say what the gates of a VERSION say.

    Exit status 1 where that is no pass.
    """

    async def look(tx: Tx) -> Judgement:
        other = await _find(tx, against) if against else None
        return await verdict_of(tx, await _find(tx, version), now_ms(), incumbent=other)

    judged = in_transaction(config, look)
    if as_json:
        show_json(judged)
    else:
        _print_gates(judged.verdict, judged.gates)
    if judged.verdict is not Verdict.PASS:
        raise SystemExit(NOT_PASSED)


def _print_gates(verdict: Verdict, found: list[Gate]) -> None:
    unseen = [gate for gate in found if _is_of_unseen_class(gate)]
    folded = unseen if len(unseen) > FOLDED_GATES else []
    show_table(
        ("gate", "verdict", "measured", "bounds", "limit", "why"),
        [_gate(gate) for gate in found if gate not in folded],
        "no gates",
    )
    if folded:
        click.echo(
            f"and {len(folded)} gates of classes of which nothing was in the pictures: inconclusive"
        )
        click.echo(
            "  Every label is asked for until you name those that you rely on:"
            " vedette central models ask MODEL --class person"
        )
    waived = any(gate.waived is not None for gate in found)
    click.echo(f"{verdict.value.upper()}{' with waivers' if waived else ''}")


def _is_of_unseen_class(gate: Gate) -> bool:
    is_of_class = gate.gate.split("/")[0] in {"precision", "recall", "f1"}
    is_open = gate.verdict is Verdict.INCONCLUSIVE and gate.waived is None
    return is_of_class and is_open and gate.value is None


def _gate(gate: Gate) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        if value is None:
            return ""
        return f"{value:.3f}" if gate.unit == "share" else f"{value:.1f} {gate.unit}"

    bounds = f"{number(gate.low)} – {number(gate.high)}" if gate.low is not None else ""
    waived = " (waived)" if gate.waived is not None else ""
    limit = f"{'≥' if gate.at_least else '≤'} {number(gate.limit)}" if gate.limit else ""
    where = f"{gate.where}: " if gate.where else ""
    return (
        gate.gate, f"{gate.verdict.value}{waived}", number(gate.value), bounds, limit,
        where + gate.reason,
    )  # fmt: skip


@models_group.command("ask", short_help="Set thresholds, classes and the incumbent.")
@click.argument("model")
@click.option("--class", "classes", multiple=True, help="A class that is relied on; repeatable.")
@click.option("--hardware", multiple=True, help="A machine that must be measured; repeatable.")
@click.option("--incumbent", help="Version that new ones are compared with; - for none.")
@click.option("--policy", type=_file, help="The whole policy as JSON, in place of what is there.")
@click.pass_obj
def ask(  # noqa: PLR0917 - click passes them by name
    config: CentralConfig, model: str, classes: tuple[str, ...], hardware: tuple[str, ...],
    incumbent: str | None, policy: Path | None,
) -> None:  # fmt: skip
    """Say what is asked of every version of MODEL; what is left out stays."""

    async def put(tx: Tx) -> store.ModelRow:
        held = await store.get_model(tx, model, hold=True)
        asked = _policy(policy) if policy else held.asked
        if classes:
            asked = msgspec.structs.replace(asked, classes=list(classes))
        if hardware:
            asked = msgspec.structs.replace(asked, hardware=list(hardware))
        other = held.incumbent if incumbent is None else None
        if incumbent not in {None, "-"}:
            other = await _find(tx, incumbent or "")
        row = await store.set_model(tx, model, asked, other, actor=ACTOR, now_ms=now_ms())
        await judge_anew(tx, model, now_ms())
        return row

    show_json(looking.model_view(in_transaction(config, put)))


def _policy(path: Path) -> Policy:
    try:
        return msgspec.json.decode(_bounded(path, 1024 * 1024), type=Policy)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not a policy: {error}") from error


@models_group.command("waive")
@click.argument("file", type=_file)
@click.option("--version", "named", required=True, help="The version that it is of.")
@click.pass_obj
def waive(config: CentralConfig, file: Path, named: str) -> None:
    """Have the signed waiver in FILE stand.

    `vedette bundle waive` makes one.
    """
    try:
        signed = msgspec.json.decode(_bounded(file, 64 * 1024), type=Signed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not a signed document: {error}") from error

    async def put(tx: Tx) -> Judgement:
        digest = await _find(tx, named)
        version = await store.get_version(tx, digest)
        await waivers.add(tx, digest, signed, actor=ACTOR, now_ms=now_ms())
        await judge_anew(tx, version.model, now_ms(), digest)
        return await verdict_of(tx, digest, now_ms())

    judged = in_transaction(config, put)
    _print_gates(judged.verdict, judged.gates)


@models_group.group("signer")
def signer_group() -> None:
    """Who may sign waivers."""


@signer_group.command("add")
@click.argument("name")
@click.argument("key")
@click.pass_obj
def signer_add(config: CentralConfig, name: str, key: str) -> None:
    """Have waivers by the public KEY count; it is shown as NAME."""
    row = in_transaction(
        config, lambda tx: waivers.add_signer(tx, key, name, actor=ACTOR, now_ms=now_ms())
    )
    click.echo(f"{row.name}: key id {row.keyid}")


@signer_group.command("list")
@_as_json
@click.pass_obj
def signer_list(config: CentralConfig, *, as_json: bool) -> None:
    """List who may sign waivers."""
    rows = in_transaction(config, waivers.signers)
    if as_json:
        show_json(rows)
        return
    show_table(
        ("name", "key id", "key"), [(row.name, row.keyid, row.key) for row in rows], "nobody yet"
    )


@signer_group.command("remove")
@click.argument("keyid")
@click.pass_obj
def signer_remove(config: CentralConfig, keyid: str) -> None:
    """Take a signer away; what only they signed stands no more."""

    async def drop(tx: Tx) -> bool:
        gone = await waivers.drop_signer(tx, keyid, actor=ACTOR, now_ms=now_ms())
        for one in await looking.models(tx, now_ms(), limit=store.MAX_MODELS):
            await judge_anew(tx, one.model, now_ms())
        return gone

    if not in_transaction(config, drop):
        raise ConfigError(f"there is no signer {keyid[:64]!r}")
    click.echo("removed")
