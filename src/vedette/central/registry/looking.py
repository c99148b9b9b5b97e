"""What people see of the registry: lists, one version with its gates, slices by site.

One struct per thing, given by the API as it is and drawn by the console. The rule: the registry
speaks of the whole fleet, but a site is named only to who may know of it.
"""

from typing import Any, Final

import msgspec

from vedette.central.registry.judging import Judgement, judge_version, times_of
from vedette.central.registry.manifest import CardFact, Facts, Lineage, MadeFigures
from vedette.central.registry.store import (
    EvaluationRow,
    ModelRow,
    VersionRow,
    evaluations,
    get_model,
    get_version,
)
from vedette.central.registry.waivers import WaiverView
from vedette.central.store.db import Tx
from vedette.stats.clustered import Share, share_of
from vedette.stats.gates import Gate, Policy, Verdict, pooled
from vedette.wire.evaluation import CameraDay, Confused, DataSet, HardwareTimes, Tally, totals

HIDDEN: Final = "(another site)"
MAX_CONFUSED: Final = 400


class ModelListed(msgspec.Struct, frozen=True, kw_only=True):
    """A model in the list, with its newest version; `verdict` null: it has none."""

    model: str
    created_ms: int
    versions: int
    incumbent: str | None
    digest: str | None
    version: str | None
    registered_ms: int | None
    verdict: str | None
    waived: bool


class VersionListed(msgspec.Struct, frozen=True, kw_only=True):
    """A version in the list of its model; `waived`: its verdict rests on a waiver."""

    digest: str
    version: str
    state: str
    registered_ms: int
    registered_by: str
    verdict: str
    waived: bool
    head: str
    labels: int
    input_px: tuple[int, int] | None
    bytes: int


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """A model: what is asked of its versions, and which of them the others are compared with."""

    model: str
    created_ms: int
    policy: Policy
    incumbent: str | None
    etag: str = ""


class EvaluationListed(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation without its counts; `counts`: whether the gates go by its camera-days."""

    evaluation: str
    at_ms: int
    received_ms: int
    received_from: str
    by: str
    method: str
    iou: float
    data: DataSet | None
    camera_days: int
    hardware: list[str]
    counts: bool


class SiteSlice(msgspec.Struct, frozen=True, kw_only=True):
    """The classes that are asked for, at one site together."""

    site: str
    camera_days: int
    pictures: int
    precision: Share | None
    recall: Share | None


class ClassTotal(msgspec.Struct, frozen=True, kw_only=True):
    """Objects of one class over all camera-days."""

    label: str
    right: int
    wrong: int
    missed: int


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page of a version."""

    model: str
    version: str
    digest: str
    state: str
    registered_ms: int
    registered_by: str
    labels: list[str]
    head: str
    input_px: tuple[int, int] | None
    preprocess_version: str
    threshold: float
    thresholds: dict[str, float]
    files: dict[str, int]
    golden: int
    calibration_sha256: str
    card: CardFact
    made: list[MadeFigures]
    lineage: Lineage
    policy: Policy
    incumbent: str
    bare: Verdict
    verdict: Verdict
    reasons: list[str]
    gates: list[Gate]
    waivers: list[WaiverView]
    waived_ms: int | None
    evaluation: EvaluationListed | None
    evaluations: list[EvaluationListed]
    totals: list[ClassTotal]
    slices: list[SiteSlice]
    confusion: list[Confused]
    hardware: list[HardwareTimes]
    etag: str = ""


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    created_ms: int
    incumbent: str | None
    versions: int
    digest: str | None
    version: str | None
    registered_ms: int | None
    verdict: str | None
    waived: bool


async def models(tx: Tx, now_ms: int, *, after: str = "", limit: int = 500) -> list[ModelListed]:
    """Return models by name, after one of them."""
    rows = await tx.all("models_listed", _Listed, now_ms=now_ms, after=after, limit=limit)
    return [ModelListed(**msgspec.structs.asdict(row)) for row in rows]


async def versions(
    tx: Tx, model: str, now_ms: int, *, after: tuple[int, str] = (2**62, ""), limit: int = 500
) -> list[VersionListed]:
    """Return versions of a model, the newest first.

    Raises:
        NoSuchModel: No such model.
    """
    await get_model(tx, model)
    rows = await tx.all(
        "model_versions_of", VersionRow, model=model, at_ms=after[0], after=after[1], limit=limit
    )
    return [listed(row, now_ms) for row in rows]


def listed(row: VersionRow, now_ms: int) -> VersionListed:
    """Return a version in a list."""
    facts = row.facts
    holds = row.waived_ms is not None and row.waived_ms > now_ms
    return VersionListed(
        digest=row.digest,
        version=row.version,
        state=row.state,
        registered_ms=row.registered_ms,
        registered_by=row.registered_by,
        verdict=row.verdict if holds else row.bare,
        waived=holds and row.verdict != row.bare,
        head=facts.head_kind,
        labels=len(facts.labels),
        input_px=facts.input_px,
        bytes=facts.total_bytes,
    )


def model_view(row: ModelRow) -> ModelView:
    """Return a model."""
    return ModelView(
        model=row.model, created_ms=row.created_ms, policy=row.asked, incumbent=row.incumbent
    )


async def version(tx: Tx, digest: str, now_ms: int, sites: list[str] | None) -> VersionView:
    """Return a version with its verdict as it is now; `sites`: those that the asker may know of.

    Raises:
        NoSuchModel: It is not registered.
    """
    row = await get_version(tx, digest)
    model = await get_model(tx, row.model)
    judged = masked(await judge_version(tx, model, row, now_ms), sites)
    rows = await evaluations(tx, digest)
    chosen = next((one for one in rows if one.evaluation == judged.evaluation), None)
    record = chosen.said if chosen else None
    days = record.days if record else []
    policy, facts = model.asked, row.facts
    return VersionView(
        **_manifest_fields(row, facts),
        lineage=row.origin,
        policy=policy,
        incumbent=judged.incumbent,
        bare=judged.bare,
        verdict=judged.verdict,
        reasons=judged.reasons,
        gates=judged.gates,
        waivers=judged.waivers,
        waived_ms=judged.waived_ms,
        evaluation=evaluation(chosen, counts=True) if chosen else None,
        evaluations=[evaluation(one, counts=one is chosen) for one in rows],
        totals=[_total(label, tally) for label, tally in sorted(totals(days).items())],
        slices=_slices(days, policy, facts, sites),
        confusion=(record.confusion if record else [])[:MAX_CONFUSED],
        hardware=await times_of(tx, digest),
    )


def _manifest_fields(row: VersionRow, facts: Facts) -> dict[str, Any]:
    return {
        "model": row.model,
        "version": row.version,
        "digest": row.digest,
        "state": row.state,
        "registered_ms": row.registered_ms,
        "registered_by": row.registered_by,
        "labels": facts.labels,
        "head": facts.head_kind,
        "input_px": facts.input_px,
        "preprocess_version": facts.preprocess_version,
        "threshold": facts.threshold,
        "thresholds": facts.thresholds,
        "files": {path: file.bytes for path, file in facts.files.items()},
        "golden": len(facts.golden),
        "calibration_sha256": facts.calibration_sha256 or row.origin.calibration_sha256,
        "card": facts.card,
        "made": facts.evaluation,
    }


def masked(judged: Judgement, sites: list[str] | None) -> Judgement:
    """Return a judgement that names no site out of `sites`; None: all may be named."""
    if sites is None:
        return judged
    hidden = {g.where for g in judged.gates if g.where and g.where not in sites}
    gates = [
        msgspec.structs.replace(gate, where=HIDDEN) if gate.where in hidden else gate
        for gate in judged.gates
    ]
    reasons = [_without(reason, hidden) for reason in judged.reasons]
    return msgspec.structs.replace(judged, gates=gates, reasons=reasons)


def _without(reason: str, hidden: set[str]) -> str:
    for site in hidden:
        reason = reason.replace(f" at {site} ", f" at {HIDDEN} ")
    return reason


def evaluation(row: EvaluationRow, *, counts: bool) -> EvaluationListed:
    """Return an evaluation without its counts."""
    said = row.said
    return EvaluationListed(
        evaluation=row.evaluation,
        at_ms=said.at_ms,
        received_ms=row.received_ms,
        received_from=row.actor,
        by=said.by,
        method=said.method,
        iou=said.iou,
        data=said.data,
        camera_days=len(said.days),
        hardware=[one.hardware for one in said.hardware],
        counts=counts,
    )


def _total(label: str, tally: Tally) -> ClassTotal:
    return ClassTotal(label=label, right=tally.right, wrong=tally.wrong, missed=tally.missed)


def _slices(
    days: list[CameraDay], policy: Policy, facts: Facts, sites: list[str] | None
) -> list[SiteSlice]:
    """Return each site that may be named, the one with the least recall first."""
    classes = policy.classes or facts.labels
    by_site: dict[str, list[CameraDay]] = {}
    for day in days:
        if sites is None or day.site in sites:
            by_site.setdefault(day.site, []).append(day)
    found = [_slice(site, of, classes, policy.confidence) for site, of in by_site.items()]
    return sorted(found, key=lambda one: (one.recall.low if one.recall else -1.0, one.site))


def _slice(site: str, days: list[CameraDay], classes: list[str], confidence: float) -> SiteSlice:
    tallies = [pooled(day, classes) for day in days]
    return SiteSlice(
        site=site,
        camera_days=len(days),
        pictures=sum(day.pictures for day in days),
        precision=share_of([(t.right, t.right + t.wrong) for t in tallies], confidence),
        recall=share_of([(t.right, t.right + t.missed) for t in tallies], confidence),
    )
