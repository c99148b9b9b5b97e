"""Whether a stage may be left, must be stopped, or is not known well enough. Pure.

The rule: each gate says what it found with its interval, what it holds it against, and how much it
has seen; a gate without evidence blocks, and none passes for want of any.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Final

import numpy as np

from vedette.amounts import counted
from vedette.central.rollouts import choice, taking
from vedette.central.rollouts.facts import (
    Counted,
    Device,
    Evidence,
    GateResult,
    Measured,
    Plan,
    Progress,
    RolloutState,
    Stage,
    Verdict,
)
from vedette.central.rollouts.following import FAILED, TOOK_UP, is_taken
from vedette.stats import sequential
from vedette.stats.differences import Difference, difference
from vedette.wire.slots import ArtefactKind

FIRST_WEIGHT: Final = 0.5
DAY_H: Final = 24.0
LATENCY: Final = "latency_p95_ms"

_WORDS: Final = {
    LATENCY: "latency",
    "crash": "crashes",
    "restart": "restarts",
    "golden": "failed golden frames",
    "silent_minute": "spells without results",
    "budget": "spells beyond the latency budget",
    "heat": "spells of heat",
}
"""Names of gates and kinds of bad events where they are another in a sentence."""

NEVER_ACCEPTED: Final = frozenset({"hard", "soak"})
"""An operator can accept what is inconclusive, but not that nothing was seen at all."""


def judge(
    plan: Plan, progress: Progress, devices: Sequence[Device], evidence: Evidence
) -> list[GateResult]:
    """Return what each gate of the stage says."""
    stage = plan.stages[progress.stage or 0]
    if stage.state is RolloutState.SHADOW:
        return [_hard(plan, devices, evidence), _shadow(evidence)]
    results = [_hard(plan, devices, evidence)]
    if evidence.stage != progress.stage:
        words = "what was measured in this stage could not be read yet"
        return [*results, GateResult(gate="soak", verdict=Verdict.WAIT, reasons=[words])]
    soak = _soak(plan, progress, devices)
    is_over = soak.verdict is Verdict.PASS
    may_come = _may_be_measured(devices)
    results += [soak, _counts(plan, progress, evidence)]
    results += [
        _differs(gate, rows, limit, unit, sign, is_over=is_over, may_come=may_come)
        for gate, rows, limit, unit, sign in (
            (LATENCY, evidence.latency_p95_ms, plan.gates.max_latency_ms, "ms", 1.0),
            ("confidence", evidence.confidence, plan.gates.max_confidence_drop, "", -1.0),
        )
        if not (gate == "confidence" and plan.kind is not ArtefactKind.MODEL)
    ]
    return results


def together(results: Sequence[GateResult]) -> Verdict:
    """Return the worst verdict; none at all is inconclusive."""
    for verdict in (Verdict.FAIL, Verdict.WAIT, Verdict.INCONCLUSIVE):
        if any(r.verdict is verdict for r in results):
            return verdict
    return Verdict.PASS if results else Verdict.INCONCLUSIVE


def is_hopeless(results: Sequence[GateResult]) -> bool:
    """True where nothing is waited for and no more time can bring a verdict."""
    open_ones = [r for r in results if r.verdict is not Verdict.PASS]
    return bool(open_ones) and not any(r.helps_to_wait for r in open_ones)


def is_acceptable(results: Sequence[GateResult]) -> bool:
    """True where an operator's word can take the place of what is inconclusive."""
    return all(
        r.verdict is Verdict.PASS
        or (r.verdict is Verdict.INCONCLUSIVE and r.gate not in NEVER_ACCEPTED)
        for r in results
    )


def carried(plan: Plan, progress: Progress, results: Sequence[GateResult]) -> list[float]:
    """Return the e-values of the stages that are over, with this one's."""
    if plan.stages[progress.stage or 0].state is RolloutState.SHADOW:
        return progress.e_values
    found = next((r.e_stage for r in results if r.gate == "counts"), None)
    return [*progress.e_values, found if found is not None else 1.0]


def _hard(plan: Plan, devices: Sequence[Device], evidence: Evidence) -> GateResult:
    """Judge what no rollout may cause: the share of devices that failed."""
    on_it = [d for d in devices if is_taken(d) or d.is_shadow]
    tried = {d.device for d in on_it if d.state in TOOK_UP or d.is_shadow}
    if evidence.troubles is None:
        return GateResult(
            gate="hard",
            verdict=Verdict.WAIT,
            reasons=["crash loops, heat and budgets could not be read"],
        )
    failed = {d.device: f"{d.state}: {d.detail}" for d in on_it if d.state in FAILED}
    for trouble in evidence.troubles:
        if trouble.device in tried and not (trouble.had_before or trouble.is_shared):
            failed.setdefault(trouble.device, f"{trouble.kind}: {trouble.detail}")
    most = math.floor(plan.gates.max_failed_share * len(tried))
    doubtful = sorted(d.device for d in on_it if taking.is_doubtful(plan, d))
    if doubtful and len(failed) <= most:
        names = ", ".join(doubtful[:5])
        words = f"{len(doubtful)} know more than central remembers, trust or exclude them: {names}"
        return GateResult(gate="hard", verdict=Verdict.WAIT, reasons=[words])
    told = [f"{name}: {why}" for name, why in sorted(failed.items())[:3]]
    return GateResult(
        gate="hard",
        verdict=Verdict.FAIL if len(failed) > most else Verdict.PASS,
        value=float(len(failed)),
        threshold=float(most),
        unit="devices",
        amount=f"{counted(len(tried), 'device')} took it up",
        reasons=[f"{len(failed)} of {len(tried)} failed, {most} may", *told],
    )


def _soak(plan: Plan, progress: Progress, devices: Sequence[Device]) -> GateResult:
    """Judge whether enough devices were confirmed and seen for long enough.

    Enough of those that were taken in, and of at least half of those that might be: a stage of a
    hundred of which two could be reached has shown nothing about the others.
    """
    index = progress.stage or 0
    stage = plan.stages[index]
    half = math.ceil(taking.allowed(plan, index, len(choice.participants(plan, devices))) / 2)
    taken = [d for d in devices if is_taken(d)]
    through = [d for d in taken if d.confirmed_ms is not None and d.covered_h >= stage.soak_h]
    needed = max(1, math.ceil(round(stage.enough * max(len(taken), half), 9)))
    is_through = len(through) >= needed
    return GateResult(
        gate="soak",
        verdict=Verdict.PASS if is_through else Verdict.WAIT,
        value=float(len(through)),
        threshold=float(needed),
        unit="devices",
        amount=f"{sum(d.covered_h for d in taken):.1f} covered hours",
        reasons=[
            f"{len(through)} of {len(taken)} have {stage.soak_h:g} covered hours, {needed} must"
        ],
    )


# --------------------------------------------------------------------------------- bad events


def _counts(plan: Plan, progress: Progress, evidence: Evidence) -> GateResult:
    """Judge whether bad events became more frequent, and whether that could have been seen.

    The e-values of kinds and stages are averaged with weights fixed beforehand: whatever depends on
    what, the mean of e-values is one. (V. Vovk, R. Wang, Ann. Statist. 49 (2021) 1736-1754.)
    """
    kinds = evidence.counts
    if not kinds:
        return GateResult(
            gate="counts", verdict=Verdict.WAIT, reasons=["no bad events could be read"]
        )
    alpha = plan.gates.alpha
    # Each at `alpha`, however many there are: it passes only where every one of them excludes a
    # rise, so a false pass needs the very one that rose to. (R. L. Berger, Technometrics 24, 1982.)
    judged = {kind: _judged(rows, alpha) for kind, rows in sorted(kinds.items())}
    e_stage = sum(found.e_value for found in judged.values()) / len(judged)
    e_value = all_stages(plan, [*progress.e_values, e_stage])
    kind, worst = max(judged.items(), key=lambda pair: pair[1].e_value)
    stage = plan.stages[progress.stage or 0]
    unsure = [
        name
        for name, found in judged.items()
        if found.high > stage.worst_ratio and found.rate_high > plan.gates.tolerable_per_h
    ]
    verdict = Verdict.INCONCLUSIVE if unsure else Verdict.PASS
    if e_value >= 1 / alpha:
        verdict, unsure = Verdict.FAIL, []
    if unsure:
        kind, worst = unsure[0], judged[unsure[0]]
    return GateResult(
        gate="counts",
        verdict=verdict,
        value=worst.ratio,
        low=worst.low,
        high=worst.high,
        threshold=stage.worst_ratio,
        unit="times as frequent",
        amount=f"{worst.seen:g} {_word(kind)} in {worst.hours:.1f} covered camera-hours",
        e_value=e_value,
        e_limit=1 / alpha,
        e_stage=e_stage,
        reasons=[_in_words(kind, worst, verdict, stage)],
    )


def _in_words(kind: str, found: sequential.Judged, verdict: Verdict, stage: Stage) -> str:
    """Return what the counts say, as a sentence."""
    if not found.hours:
        return "bad events: no hour of a device with it is known in full yet"
    seen = f"{_word(kind)}: {found.seen:g} where {found.expected:.1f} would be usual"
    ratio = f"{found.low:.2g} to {_short(found.high)} times as frequent"
    if verdict is Verdict.FAIL:
        return f"{seen}; {ratio}"
    if verdict is Verdict.INCONCLUSIVE:
        return f"{seen}; a rise to {stage.worst_ratio:g} times is not excluded yet ({ratio})"
    return f"{seen}; {ratio}, or rare enough: at most {found.rate_high:.3g} an hour"


def _word(name: str) -> str:
    return _WORDS.get(name, name)


def _short(value: float) -> str:
    """Return two digits, and never an exponent: 200 and not 2e+02."""
    return f"{value:.2g}" if value < 99.5 else f"{value:.0f}"


def all_stages(plan: Plan, e_values: Sequence[float]) -> float:
    """Return the e-value of the whole rollout from those of its stages so far.

    Half the weight is the first stage's, where a bad candidate should end; a stage that has not
    begun has seen nothing, which is an e-value of one.
    """
    count = sum(stage.state is not RolloutState.SHADOW for stage in plan.stages)
    if count <= 1:
        return e_values[0] if e_values else 1.0
    weights = [FIRST_WEIGHT, *[(1 - FIRST_WEIGHT) / (count - 1)] * (count - 1)]
    known = [*e_values, *[1.0] * (count - len(e_values))]
    return sum(w * e for w, e in zip(weights, known, strict=False))


def _judged(rows: Sequence[Counted], alpha: float) -> sequential.Judged:
    """Return what the counts of one kind say."""
    columns = np.array(
        [
            (
                r.before.events,
                r.before.hours,
                r.before.days,
                r.before.squares,
                r.since.events,
                r.since.hours,
                r.since.days,
            )
            for r in rows
        ],
        dtype=np.float64,
    ).reshape(-1, 7)
    counts = sequential.Counts(
        taken=np.array([r.taken for r in rows], dtype=np.bool_),
        events_before=columns[:, 0],
        hours_before=columns[:, 1],
        days_before=columns[:, 2],
        squares_before=columns[:, 3],
        events=columns[:, 4],
        hours=columns[:, 5],
        days=columns[:, 6],
    )
    return sequential.judge(counts, sequential.spread(counts), alpha)


# ------------------------------------------------------------------------- before and after


def _change(row: Measured, sign: float, *, as_share: bool) -> float:
    return math.log(row.after / row.before) if as_share else sign * (row.after - row.before)


def _in_ms(found: Difference, before_ms: float) -> Difference:
    """Return a difference of logarithms as what it means for the devices with it, on average."""
    ends = [before_ms * math.expm1(end) for end in (found.value, found.low, found.high)]
    return replace(found, value=ends[0], low=ends[1], high=ends[2])


def _may_be_measured(devices: Sequence[Device]) -> bool:
    """True while two devices with it may still get a before and an after.

    Both are of the same hours of a day, so whoever was seen for a whole day has them or never will.
    """
    taken = [d for d in devices if is_taken(d)]
    return len(taken) > 1 and any(d.covered_h < DAY_H for d in taken)


def _differs(
    gate: str,
    rows: Sequence[Measured] | None,
    limit: float,
    unit: str,
    sign: float,
    *,
    is_over: bool,
    may_come: bool,
) -> GateResult:
    """Judge a metric at the stage's end, by device; `sign` turns it so that more is worse.

    Times are compared as shares of what they were: what costs 50 ms on a fast machine costs 90 on a
    slow one, and as differences in ms two canaries of unequal speed would contradict each other.
    """
    if rows is None:
        words = f"{_word(gate)} could not be read"
        return GateResult(gate=gate, verdict=Verdict.WAIT, threshold=limit, reasons=[words])
    as_share = gate == LATENCY
    if as_share:
        rows = [r for r in rows if r.before > 0 and r.after > 0]
    taken = [_change(r, sign, as_share=as_share) for r in rows if r.taken]
    controls = [_change(r, sign, as_share=as_share) for r in rows if not r.taken]
    found = difference(taken, controls if len(controls) > 1 else [])
    if found is not None and as_share:
        found = _in_ms(found, fmean(r.before for r in rows if r.taken))
    amount = f"{counted(len(taken), 'device')} with it, {len(controls)} without"
    if found is None:
        words = f"{_word(gate)}: fewer than two devices with it have a before and an after"
        return GateResult(
            gate=gate,
            verdict=Verdict.INCONCLUSIVE,
            threshold=limit,
            unit=unit,
            amount=amount,
            helps_to_wait=may_come,
            reasons=[words],
        )
    verdict = Verdict.PASS if found.high <= limit else Verdict.INCONCLUSIVE
    if found.low > limit and is_over:
        verdict = Verdict.FAIL
    worse = (
        f"{_word(gate)}: worse by {found.value:.3g} {unit} ({found.low:.3g} to {found.high:.3g})"
    )
    against = "controls" if found.controls else "their own past only, too few controls are left"
    return GateResult(
        gate=gate,
        verdict=verdict,
        value=found.value,
        low=found.low,
        high=found.high,
        threshold=limit,
        unit=unit,
        amount=amount,
        reasons=[f"{worse} against {against}, {limit:g} may be"],
    )


def _shadow(evidence: Evidence) -> GateResult:
    """Judge what people made of the disagreements in shadow."""
    found = evidence.shadow
    if found is None:
        return GateResult(
            gate="shadow", verdict=Verdict.WAIT, reasons=["no shadow evidence could be read"]
        )
    words = f"{found.a_better} for the one in use, {found.b_better} for the candidate"
    words += f", {found.neither} for neither"
    return GateResult(
        gate="shadow",
        verdict=found.verdict,
        value=float(found.reviewed),
        threshold=float(found.needed),
        unit="reviewed disagreements",
        amount=f"{found.reviewed} of {found.needed} reviewed",
        reasons=found.reasons or [words],
    )
