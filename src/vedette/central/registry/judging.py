"""What the gates say of a version, from the records that are here.

What lives here: which record counts, and the verdict with its waivers. What does not: the gates
(`stats.gates`), waivers (`registry.waivers`). The rule: of several evaluations the newest with
camera-days counts, of times the newest of each machine; how many others there are is told beside
it, because whoever measures often enough measures well once.
"""

import asyncio

import msgspec

from vedette.central.registry import waivers
from vedette.central.registry.store import (
    EvaluationRow,
    ModelRow,
    VersionRow,
    get_model,
    get_version,
)
from vedette.central.registry.waivers import WaiverView
from vedette.central.store.db import Tx
from vedette.stats.gates import Evidence, Gate, Verdict, judge, overall
from vedette.wire.evaluation import CameraDay, HardwareTimes


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a version, and all that it rests on.

    Attributes:
        bare: Without any waiver.
        verdict: With those that stand.
        reasons: In words, why it is not a pass; of a pass with waivers: which gates were waived.
        waived_ms: Until when `verdict` holds at most, where a waiver is in it.
        evaluation: Name of the evaluation that counts; empty: none has camera-days.
        incumbent: Digest of the version that it was compared with; empty: none.
    """

    digest: str
    bare: Verdict
    verdict: Verdict
    reasons: list[str]
    gates: list[Gate]
    waivers: list[WaiverView]
    waived_ms: int | None = None
    evaluation: str = ""
    incumbent: str = ""


async def verdict_of(
    tx: Tx, digest: str, now_ms: int, *, incumbent: str | None = None
) -> Judgement:
    """Return what the gates say of a version now.

    Args:
        tx: A transaction.
        digest: Of the bundle.
        now_ms: For the waivers.
        incumbent: What it is compared with instead of the model's own; "": with nothing.

    Raises:
        NoSuchModel: It is not registered.
    """
    version = await get_version(tx, digest)
    return await judge_version(
        tx, await get_model(tx, version.model), version, now_ms, incumbent=incumbent
    )


async def judge_version(
    tx: Tx, model: ModelRow, version: VersionRow, now_ms: int, *, incumbent: str | None = None
) -> Judgement:
    """Return what the gates say of a version whose rows are at hand."""
    other = (model.incumbent or "") if incumbent is None else incumbent
    other = "" if other == version.digest else other
    newest = await _newest(tx, version.digest)
    evidence = Evidence(
        labels=version.facts.labels,
        days=newest.said.days if newest else (),
        incumbent=await _same_pictures(tx, other, newest),
        has_incumbent=bool(other),
        hardware=await times_of(tx, version.digest),
    )
    standing = await waivers.of(tx, version.digest, now_ms)
    # Many classes take a good part of a second: nobody else is to wait for it.
    bare = await asyncio.to_thread(judge, model.asked, evidence)
    gates = [_with_waiver(gate, standing) for gate in bare]
    used = [gate for gate in gates if gate.waived is not None]
    judged = Judgement(
        digest=version.digest,
        bare=overall(bare),
        verdict=overall(gates),
        reasons=_reasons(gates),
        gates=gates,
        waivers=standing,
        waived_ms=min((gate.waived for gate in used if gate.waived is not None), default=None),
        evaluation=newest.evaluation if newest else "",
        incumbent=other,
    )
    if version.state == "withdrawn":
        judged = msgspec.structs.replace(
            judged,
            bare=Verdict.FAIL,
            verdict=Verdict.FAIL,
            waived_ms=None,
            reasons=["it was withdrawn", *judged.reasons],
        )
    return judged


async def judge_anew(tx: Tx, model: str, now_ms: int, digest: str = "") -> None:
    """Store what the gates say now: of one version, or of every version of a model.

    Called in the transaction of whatever changed it, with the model held.
    """
    row = await get_model(tx, model)
    if digest:
        versions = [await get_version(tx, digest)]
    else:
        versions = await tx.all(
            "model_versions_of", VersionRow, model=model, at_ms=2**62, after="", limit=10_000
        )
    for version in versions:
        judged = await judge_version(tx, row, version, now_ms)
        await tx.run(
            "model_version_judge",
            digest=version.digest,
            bare=judged.bare.value,
            verdict=judged.verdict.value,
            waived_ms=judged.waived_ms,
        )
    await tx.tuples("rollouts_look_again")  # one may wait for these gates


async def times_of(tx: Tx, digest: str) -> list[HardwareTimes]:
    """Return the newest times of each kind of machine, by name."""
    found: dict[tuple[str, str], HardwareTimes] = {}
    for row in await tx.all("model_evaluations_timed", EvaluationRow, digest=digest):
        for one in row.said.hardware:
            found.setdefault((one.hardware, one.runtime), one)
    return [found[key] for key in sorted(found)]


async def _newest(tx: Tx, digest: str, data_sha256: str = "") -> EvaluationRow | None:
    return await tx.one(
        "model_evaluation_newest", EvaluationRow, digest=digest, data_sha256=data_sha256
    )


async def _same_pictures(
    tx: Tx, incumbent: str, newest: EvaluationRow | None
) -> list[CameraDay] | None:
    if not incumbent or newest is None:
        return None
    theirs = await _newest(tx, incumbent, newest.data_sha256)
    return theirs.said.days if theirs else None


def _with_waiver(gate: Gate, standing: list[WaiverView]) -> Gate:
    """Return the gate; where it did not pass, with until when a waiver stands for it."""
    if gate.verdict is Verdict.PASS:
        return gate
    ends = [waiver.expires_ms for waiver in standing if waivers.covers(waiver, gate.gate)]
    return msgspec.structs.replace(gate, waived=max(ends)) if ends else gate


def _reasons(gates: list[Gate]) -> list[str]:
    """Return why it is no pass, failures first, then what is not known, then what was waived."""
    order = {Verdict.FAIL: 0, Verdict.INCONCLUSIVE: 1}
    against = [gate for gate in gates if gate.verdict is not Verdict.PASS]
    ranked = sorted(against, key=lambda gate: (gate.waived is not None, order[gate.verdict]))
    return [_told(gate) for gate in ranked]


def _told(gate: Gate) -> str:
    where = f" at {gate.where}" if gate.where else ""
    waived = " waived:" if gate.waived is not None else ""
    return f"{gate.gate}{where}{waived} {gate.verdict.value}: {gate.reason}"
