"""What is known for a decision: counts and hours before and after, troubles, gates of the registry.

What lives here: reading it in bulk. What does not: judging it (`planner`, `stats`). The rule: what
could not be read is None, which blocks, and never empty, which passes. Counts are taken up to the
hour to which the ledger knows a device's time, so that events and hours are of the same stretch;
what must stop a rollout at once (`troubles`) is not made to wait for that.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from vedette.central.registry.gates import verdict_in
from vedette.central.registry.store import NoSuchModel
from vedette.central.review.evidence import shadow_evidence
from vedette.central.rollouts import hours, measuring
from vedette.central.rollouts.facts import (
    Counted,
    Evidence,
    Plan,
    RolloutState,
    Tally,
    Trouble,
    TroubleKind,
    Verdict,
)
from vedette.central.rollouts.store import Known, Row
from vedette.central.rollups import DAY_MS, HOUR_MS
from vedette.central.store.db import Tx
from vedette.stats.beta import incomplete
from vedette.wire.slots import ArtefactKind

CRASH_LOOP: Final = 3
"""Crashes within an hour that are a loop and no mishap."""

HOT_REPORTS: Final = 10
"""Health reports of a machine held back by heat, in an hour, that are no passing sunbeam."""

LATE_MINUTES: Final = 30
"""Camera-minutes beyond the latency budget, in an hour, that are the model and no mishap."""

KINDS: Final = ("crash", "restart", "golden", "silent_minute", "budget", "heat")
"""Bad events that are counted: ends of the pipeline nobody asked for, restarts, golden frames that
failed, and spells of hours in which pictures came without results, results came too late, or heat
held the machine back. What reviewers reject is judged in shadow: afterwards nothing is sent to
them."""

_SPELLS: Final = frozenset({"silent_minute", "golden", "budget", "heat"})
_BEGINNING: Final = frozenset({RolloutState.DRAFT, RolloutState.GATED, RolloutState.APPROVED})

_INVARIANTS: Final = (
    ("crash", TroubleKind.CRASH_LOOP, CRASH_LOOP),
    ("golden", TroubleKind.GOLDEN, 1),
    ("heat", TroubleKind.THERMAL, HOT_REPORTS),
    ("budget", TroubleKind.BUDGET, LATE_MINUTES),
)
"""Kind, what it is called, and how many in an hour break it."""

_SHARED: Final = frozenset({TroubleKind.THERMAL, TroubleKind.BUDGET})
"""What a hot day, or a busy network, does to everybody. Where it befalls the devices without the
artefact as well, comparing is left to the gates that compare."""

BY_CHANCE: Final = 0.05

TOLD_GATES: Final = 6
"""Gates that are named where a model did not pass; a detector of 80 classes has 250."""

_VERDICTS: Final = {"pass": Verdict.PASS, "fail": Verdict.FAIL}
"""All else that the registry says, as too little data, is inconclusive here."""

_Bad = dict[str, dict[str, dict[int, int]]]  # kind → device → hour → count


async def gather(tx: Tx, row: Row, plan: Plan, known: Sequence[Known], now_ms: int) -> Evidence:
    """Return what is known of a rollout now, its approval left aside."""
    verdict, reasons = await gated(tx, plan, now_ms)
    if row.at in _BEGINNING or row.stage is None:
        return Evidence(gated=verdict, gated_reasons=reasons)
    await hours.add_up(tx, row)
    bad = await _bad(tx, row)
    latency, confidence = await measuring.measure(tx, row)
    return Evidence(
        stage=row.stage,
        gated=verdict,
        gated_reasons=reasons,
        troubles=troubles(bad, known, plan.gates.tolerated),
        counts=await _counts(tx, row, bad),
        latency_p95_ms=latency,
        confidence=confidence,
        shadow=await shadow_evidence(tx, row.rollout),
    )


async def gated(tx: Tx, plan: Plan, now_ms: int) -> tuple[Verdict | None, list[str]]:
    """Return what the registry says of the artefact, and why; None: it does not know it."""
    if plan.kind is not ArtefactKind.MODEL:
        return Verdict.PASS, ["only models have gates of accuracy"]
    try:
        found = await verdict_in(tx, plan.artefact.digest, now_ms)
    except NoSuchModel as error:
        return None, [str(error)]
    verdict = _VERDICTS.get(str(found.verdict), Verdict.INCONCLUSIVE)
    return verdict, in_short(found.reasons, found.digest)


def in_short(reasons: Sequence[str], digest: str) -> list[str]:
    """Return the first reasons, the gravest, and where the others are to be read. Pure."""
    told = list(reasons[:TOLD_GATES])
    if len(reasons) > TOLD_GATES:
        told.append(
            f"and {len(reasons) - TOLD_GATES} gates more: vedette central models gates"
            f" {digest[: len('sha256:') + 12]}"
        )
    return told


async def _bad(tx: Tx, row: Row) -> _Bad:
    found: _Bad = {kind: defaultdict(dict) for kind in KINDS}
    from_ms = (row.started_ms or row.made_ms) - hours.BEFORE_MS
    for device, hour_ms, kind, count in await tx.tuples(
        "bad_hours_of_rollout", rollout=row.rollout, from_ms=from_ms
    ):
        if kind in found:
            found[kind][device][hour_ms] = count
    return found


def troubles(
    bad: _Bad, known: Sequence[Known], tolerated: Collection[TroubleKind] = ()
) -> list[Trouble]:
    """Return the hard invariants that are broken on devices which took the artefact up. Pure.

    The hour of the activation counts as after it: a new version that crashes does so at once. What
    befell the others in the same hours as much (`_SHARED` alone: heat, lateness) is told as such.
    """
    found: list[Trouble] = []
    taken = {one.device.device: one.active_ms for one in known if one.active_ms is not None}
    if not taken:
        return found
    since_ms = min(taken.values())
    controls = [one.device.device for one in known if one.active_ms is None]
    for kind, what, least in _INVARIANTS:
        if what in tolerated:
            continue
        broken: list[Trouble] = []
        for device, active_ms in taken.items():
            after, had_before = _broken(bad[kind].get(device, {}), least, active_ms)
            if after:
                detail = f"{kind} {after[0]}× in an hour"
                broken.append(
                    Trouble(device=device, kind=what, detail=detail, had_before=had_before)
                )
        fresh = sum(not trouble.had_before for trouble in broken)
        if fresh and what in _SHARED:
            without = [_broken(bad[kind].get(name, {}), least, since_ms) for name in controls]
            others = sum(bool(after) and not had_before for after, had_before in without)
            if _is_chance(fresh, len(taken), others, len(controls)):
                broken = [msgspec.structs.replace(one, is_shared=True) for one in broken]
        found += broken
    return found


def _broken(of: dict[int, int], least: int, from_ms: int) -> tuple[list[int], bool]:
    """Return the counts of hours from a moment on in which it was broken; and whether before."""
    hours = sorted(at for at, count in of.items() if count >= least)
    after = [of[at] for at in hours if at + HOUR_MS > from_ms]
    return after, any(at + HOUR_MS <= from_ms for at in hours)


def _is_chance(broken: int, devices: int, others: int, controls: int) -> bool:
    """True where so many of the devices would be met easily at the share of the controls.

    P(X ≥ broken) of a binomial count; with no controls, or none that it befell, it never is.
    """
    if not others:
        return False
    return incomplete(broken, devices - broken + 1, others / controls) > BY_CHANCE


async def _counts(tx: Tx, row: Row, bad: _Bad) -> dict[str, list[Counted]]:
    began_ms = hours.ceil_hour(row.started_ms or row.made_ms)
    counts: dict[str, list[Counted]] = {kind: [] for kind in KINDS}
    for device, taken, before_h, since_h, from_ms, to_ms in await tx.tuples(
        "hours_of_rollout", rollout=row.rollout, digest=row.digest
    ):
        for kind in KINDS:
            of = bad[kind].get(device, {})
            before = tally(kind, of, began_ms - hours.BEFORE_MS, began_ms, before_h)
            since = tally(kind, of, from_ms, to_ms, since_h)
            counts[kind].append(Counted(device=device, taken=taken, before=before, since=since))
    return counts


_NONE: Final = Tally()


def tally(kind: str, of: dict[int, int], from_ms: int, to_ms: int, covered_h: float) -> Tally:
    """Return the events of a window of full hours, with how they cluster by day. Pure."""
    if not covered_h:
        return _NONE
    seen_days = min(max(1, math.ceil((to_ms - from_ms) / DAY_MS)), math.ceil(covered_h))
    if not of:
        return Tally(hours=covered_h, days=seen_days)
    within = {at: count for at, count in of.items() if from_ms <= at < to_ms}
    if kind in _SPELLS:
        within = dict.fromkeys(hours.spells(within), 1)
    days: dict[int, int] = defaultdict(int)
    for at, count in within.items():
        days[at // DAY_MS] += count
    return Tally(
        events=sum(days.values()),
        hours=covered_h,
        days=max(seen_days, len(days)),
        squares=sum(count * count for count in days.values()),
    )
