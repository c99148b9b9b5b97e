"""Registering models and what was measured of them: every change in one place, audited.

What lives here: the rows and their changes. What does not: verdicts (`registry.judging`), waivers
(`registry.waivers`), views (`registry.looking`). The rule: a version never becomes another bundle,
and a record once taken is never changed; what changes a verdict judges anew in its transaction.
"""

import hashlib
from typing import Final

import msgspec

from vedette.central import audit
from vedette.central.registry import manifest
from vedette.central.registry.manifest import Facts, Lineage
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, ConflictError, MalformedReport
from vedette.ids import is_slug
from vedette.stats.gates import Policy
from vedette.wire.evaluation import EvaluationRecord, is_digest, problem_of, totals

MAX_MODELS: Final = 1_000
MAX_VERSIONS: Final = 1_000
MAX_EVALUATIONS: Final = 500
MAX_RECORD_LABELS: Final = 10_000


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model as it is stored; `policy` is JSON."""

    model: str
    created_ms: int
    policy: bytes
    incumbent: str | None

    @property
    def asked(self) -> Policy:
        """What is asked of its versions."""
        return msgspec.json.decode(self.policy, type=Policy)


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version as it is stored; `manifest` and `lineage` are JSON."""

    digest: str
    model: str
    version: str
    state: str
    registered_ms: int
    registered_by: str
    manifest: bytes
    lineage: bytes
    bare: str
    verdict: str
    waived_ms: int | None

    @property
    def facts(self) -> Facts:
        """What its manifest says."""
        return manifest.read(self.manifest)

    @property
    def origin(self) -> Lineage:
        """Where it comes from."""
        return msgspec.json.decode(self.lineage, type=Lineage)


class EvaluationRow(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation as it is stored; `record` is JSON."""

    evaluation: str
    digest: str
    received_ms: int
    actor: str
    data_sha256: str
    has_times: bool
    record: bytes

    @property
    def said(self) -> EvaluationRecord:
        """The record."""
        return msgspec.json.decode(self.record, type=EvaluationRecord)


class NoSuchModel(ConfigError):
    """There is no model or version of that name here."""


async def get_model(tx: Tx, model: str, *, hold: bool = False) -> ModelRow:
    """Return a model, held until the transaction ends where that is asked.

    Raises:
        NoSuchModel: There is none of that name.
    """
    query = "model_hold" if hold else "model_get"
    found = await tx.one(query, ModelRow, model=model) if is_slug(model) else None
    if found is None:
        raise NoSuchModel(
            f"there is no model {model[:64]!r}",
            operator_hint="vedette central models list; register one with its bundle",
        )
    return found


async def get_version(tx: Tx, digest: str) -> VersionRow:
    """Return a version by its digest.

    Raises:
        NoSuchModel: It is not registered.
    """
    found = None
    if is_digest(digest):
        found = await tx.one("model_version_get", VersionRow, digest=digest)
    if found is None:
        raise NoSuchModel(
            f"no version has the digest {digest[:80]!r}",
            operator_hint="register it first: vedette central models register BUNDLE",
        )
    return found


async def register(
    tx: Tx, data: bytes, lineage: Lineage, *, actor: str, now_ms: int
) -> tuple[VersionRow, bool]:
    """Return the version of this manifest and whether it is new; a known one stays as it is.

    Raises:
        MalformedReport, TooLarge: Not a manifest, or a lineage that cannot be.
        ConflictError: The same model and version is another bundle already.
        ConfigError: There are too many.
    """
    facts, whole, digest = manifest.parse(data)
    manifest.check_lineage(lineage, digest)
    if await tx.one("model_get", ModelRow, model=facts.name) is None:
        if int(str(await tx.value("models_count"))) >= MAX_MODELS:
            raise ConfigError(f"at most {MAX_MODELS} models")
        policy = msgspec.json.encode(Policy())
        await tx.run("model_put", model=facts.name, now_ms=now_ms, policy=policy)
    await get_model(tx, facts.name, hold=True)
    known = await tx.one("model_version_get", VersionRow, digest=digest)
    if known is not None:
        return known, False
    taken = await tx.value("model_version_named", model=facts.name, version=facts.version)
    if taken is not None:
        raise ConflictError(
            f"{facts.name} {facts.version} is another bundle already: {taken}",
            operator_hint="give the new bundle a version of its own and make it again",
        )
    if int(str(await tx.value("model_versions_count", model=facts.name))) >= MAX_VERSIONS:
        raise ConfigError(f"at most {MAX_VERSIONS} versions of a model")
    await tx.run(
        "model_version_put",
        digest=digest,
        model=facts.name,
        version=facts.version,
        now_ms=now_ms,
        actor=actor,
        manifest=whole,
        lineage=msgspec.json.encode(lineage),
    )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="model.register",
        target=f"{facts.name}/{facts.version}",
        detail={"digest": digest},
    )
    return await get_version(tx, digest), True


async def add_evaluation(
    tx: Tx, digest: str, record: EvaluationRecord, *, actor: str, now_ms: int
) -> EvaluationRow:
    """Store what was measured of a version; the very same record once more changes nothing.

    Raises:
        NoSuchModel: The version is not registered.
        MalformedReport: Of another version, of labels that it does not have, or it cannot be.
        ConfigError: There are too many.
    """
    version = await get_version(tx, digest)
    await get_model(tx, version.model, hold=True)
    problem = problem_of(record) or _foreign(version, record)
    if problem:
        raise MalformedReport(f"the evaluation record cannot be taken: {problem}")
    if record.at_ms > now_ms + 86_400_000:
        raise MalformedReport("the evaluation record is dated in the future")
    encoded = msgspec.json.encode(record)
    name = hashlib.sha256(encoded).hexdigest()
    if int(str(await tx.value("model_evaluations_count", digest=digest))) >= MAX_EVALUATIONS:
        raise ConfigError(f"at most {MAX_EVALUATIONS} evaluations of a version")
    stored = await tx.run(
        "model_evaluation_put",
        evaluation=name,
        digest=digest,
        now_ms=now_ms,
        actor=actor,
        data_sha256=record.data.sha256 if record.data and record.days else "",
        has_times=bool(record.hardware),
        record=encoded,
    )
    if stored:
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action="model.evaluate",
            target=f"{version.model}/{version.version}",
            detail={"digest": digest, "evaluation": name},
        )
    rows = await evaluations(tx, digest)
    return next(row for row in rows if row.evaluation == name)


def _foreign(version: VersionRow, record: EvaluationRecord) -> str:
    """Return what in a record cannot be of this version."""
    if record.digest != version.digest:
        return f"it is of {record.digest[:80]}, not of {version.digest}"
    labels = set(version.facts.labels)
    unknown = sorted(set(totals(record.days)) - labels)
    if unknown:
        return f"{unknown[0][:40]!r} is not among the version's labels"
    return ""


async def evaluations(tx: Tx, digest: str) -> list[EvaluationRow]:
    """Return every evaluation of a version, the newest first."""
    return await tx.all("model_evaluations_of", EvaluationRow, digest=digest)


async def set_model(
    tx: Tx, model: str, policy: Policy, incumbent: str | None, *, actor: str, now_ms: int
) -> ModelRow:
    """Have other thresholds, or another version to be compared with; the caller judges anew.

    Raises:
        NoSuchModel: No such model, or the incumbent is not a version of it.
        ConfigError: Thresholds that cannot be.
    """
    await get_model(tx, model, hold=True)
    if incumbent is not None and (await get_version(tx, incumbent)).model != model:
        raise NoSuchModel(
            f"{incumbent} is a version of another model",
            operator_hint="versions of one model bear one name in their bundles: import the new one"
            " under it, with another --version",
        )
    long = [label for label in (*policy.classes, *policy.by_class) if len(label) > 100]
    if long or len(policy.by_class) > 1000 or len(policy.budget_ms) > 32:
        raise ConfigError("classes, or steps of the budget, that are too many or too long")
    await tx.run("model_set", model=model, policy=msgspec.json.encode(policy), incumbent=incumbent)
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="model.policy",
        target=model,
        detail={"policy": msgspec.to_builtins(policy), "incumbent": incumbent},
    )
    return await get_model(tx, model)


async def set_version(
    tx: Tx, digest: str, state: str, lineage: Lineage, *, actor: str, now_ms: int
) -> VersionRow:
    """Have a version withdrawn or back, and what is told of where it comes from.

    Raises:
        NoSuchModel: It is not registered.
        ConfigError: No such state.
        MalformedReport: A lineage that cannot be.
    """
    version = await get_version(tx, digest)
    await get_model(tx, version.model, hold=True)
    if state not in {"registered", "withdrawn"}:
        raise ConfigError(f"no such state: {state[:40]!r}; registered or withdrawn")
    manifest.check_lineage(lineage, digest)
    await tx.run(
        "model_version_set", digest=digest, state=state, lineage=msgspec.json.encode(lineage)
    )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="model.version",
        target=f"{version.model}/{version.version}",
        detail={"digest": digest, "state": state, "lineage": msgspec.to_builtins(lineage)},
    )
    return await get_version(tx, digest)
