"""Rollouts in the database: reading what a decision needs, and writing what it said.

What lives here: rows and structs, one way and the other. What does not: deciding (`planner`), when
(`jobs`), what people may ask (`ordering`). The rule: whoever writes holds the rollout's row, and
every change of a device is conditional on what it was, so that doing it twice changes nothing.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.rollouts.facts import (
    Assign,
    Decision,
    Device,
    GateResult,
    Mark,
    Plan,
    Progress,
    RolloutState,
)
from vedette.central.store import arrays
from vedette.central.store.db import Tx
from vedette.wire.slots import UpdateState
from vedette.wire.updates import Artefact

OVER: Final = [
    str(state)
    for state in (
        RolloutState.DONE,
        RolloutState.ROLLED_BACK,
        RolloutState.SUPERSEDED,
        RolloutState.STOPPED,
    )
]
"""States in which a rollout has no slot of a device for itself any more."""

MAX_COURSE: Final = 240
"""Points of a gate's course that are kept for its plot."""

_plan = msgspec.json.Decoder(Plan).decode
_progress = msgspec.json.Decoder(Progress).decode
_artefact = msgspec.json.Decoder(Artefact).decode
_gate = msgspec.json.Decoder(GateResult).decode
_course = msgspec.json.Decoder(list[tuple[int, float]]).decode


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout as it is stored."""

    rollout: str
    kind: str
    slot: str
    digest: str
    plan: bytes
    sites: list[str]
    note: str
    state: str
    stage: int | None
    since_ms: int
    progress: bytes
    version: int
    reason: str
    made_by: str
    made_ms: int
    approved_by: list[str]
    approved_ms: int | None
    started_ms: int | None
    due_ms: int | None
    superseded_by: str
    approval: bytes | None

    @property
    def at(self) -> RolloutState:
        """Where it is, in a word."""
        return RolloutState(self.state)

    @property
    def asked(self) -> Plan:
        """What an operator asked for, with what was changed since."""
        return _plan(self.plan)

    @property
    def where(self) -> Progress:
        """Where it is, with the orders that wait."""
        return _progress(self.progress)


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A device of a rollout: what the planner sees, and since when it runs what it was assigned."""

    device: Device
    active_ms: int | None


class GateRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate said last."""

    rollout: str
    stage: int
    gate: str
    verdict: str
    at_ms: int
    looked_ms: int
    result: bytes
    course: bytes

    @property
    def said(self) -> GateResult:
        """The result with its numbers."""
        return _gate(self.result)

    @property
    def points(self) -> list[tuple[int, float]]:
        """(wall ms, value), oldest first."""
        return _course(self.course)


async def add(tx: Tx, plan: Plan, *, actor: str, note: str, now_ms: int) -> bool:
    """Store a rollout that nobody has begun; False where there is one of this name."""
    progress = Progress(since_ms=now_ms)
    added = await tx.run(
        "rollout_add",
        rollout=plan.rollout,
        kind=str(plan.kind),
        slot=plan.slot,
        digest=plan.artefact.digest,
        plan=msgspec.json.encode(plan),
        sites=sorted(set(plan.sites)),
        note=note,
        state=str(progress.state),
        progress=msgspec.json.encode(progress),
        actor=actor,
        now_ms=now_ms,
    )
    return bool(added)


async def get(tx: Tx, rollout: str, *, hold: bool = False) -> Row | None:
    """Return a rollout, held until the transaction ends where that is wanted; None: no such one."""
    return await tx.one("rollout_hold" if hold else "rollout_get", Row, rollout=rollout)


async def change(tx: Tx, plan: Plan, progress: Progress) -> None:
    """Store another plan, or other orders, of a rollout that is held."""
    await tx.run(
        "rollout_change",
        rollout=plan.rollout,
        plan=msgspec.json.encode(plan),
        sites=sorted(set(plan.sites)),
        progress=msgspec.json.encode(progress),
    )


async def devices(tx: Tx, plan: Plan) -> list[Known]:
    """Return every device that could take part, those that are new among them."""
    of: dict[str, object] = {
        "rollout": plan.rollout,
        "slot": plan.slot,
        "sites": sorted(set(plan.sites)),
    }
    await tx.run("rollout_devices_join", **of, kind=str(plan.kind))
    return [_known(row) for row in await tx.tuples("rollout_facts", **of, over=OVER)]


async def settle(tx: Tx, plan: Plan, now_ms: int) -> int:
    """Move devices by what their newest heartbeats say; return how many moved."""
    return await tx.run(
        "rollout_devices_settle", rollout=plan.rollout, slot=plan.slot, now_ms=now_ms
    )


def _known(row: Sequence[object]) -> Known:
    (
        device, site, time_zone, hardware, models, before, digest, is_shadow, assigned_ms, attempt,
        state, since_ms, stage, running, running_ms, confirmed_ms, covered_h, last_seen_ms,
        reported_attempt, version, reported_version, elsewhere, detail, active_ms, light,
    ) = row  # fmt: skip
    return Known(
        device=Device(
            device=device,  # type: ignore[arg-type] - columns of `rollout_facts`, in its order
            site=site,  # type: ignore[arg-type]
            time_zone=time_zone,  # type: ignore[arg-type]
            strata=(str(hardware), str(models), str(light)),
            before=_artefact(before) if before else None,  # type: ignore[arg-type]
            assigned=digest,  # type: ignore[arg-type]
            is_shadow=is_shadow,  # type: ignore[arg-type]
            assigned_ms=assigned_ms,  # type: ignore[arg-type]
            attempt=attempt,  # type: ignore[arg-type]
            state=UpdateState(state) if state else None,
            since_ms=since_ms,  # type: ignore[arg-type]
            stage=stage,  # type: ignore[arg-type]
            running=running,  # type: ignore[arg-type]
            running_ms=running_ms,  # type: ignore[arg-type]
            confirmed_ms=confirmed_ms,  # type: ignore[arg-type]
            covered_h=covered_h,  # type: ignore[arg-type]
            last_seen_ms=last_seen_ms,  # type: ignore[arg-type]
            reported_attempt=reported_attempt,  # type: ignore[arg-type]
            version=version,  # type: ignore[arg-type]
            reported_version=reported_version,  # type: ignore[arg-type]
            elsewhere=elsewhere,  # type: ignore[arg-type]
            detail=detail,  # type: ignore[arg-type]
        ),
        active_ms=active_ms,  # type: ignore[arg-type]
    )


async def carry_out(tx: Tx, row: Row, plan: Plan, decision: Decision, now_ms: int) -> bool:
    """Write what was decided about a rollout that is held; True where anything is another now."""
    moved = await _move(tx, row, decision, now_ms)
    moved += await _mark(tx, plan, decision.marks, now_ms)
    moved += await _assign(tx, plan, decision.assigns, now_ms)
    if row.state != decision.progress.state and decision.progress.state in OVER:
        await tx.run("rollout_known", rollout=plan.rollout, slot=plan.slot)
    stage = decision.progress.stage if decision.progress.stage is not None else row.stage
    await _keep_gates(tx, plan.rollout, stage or 0, decision.gates, now_ms)
    return moved > 0


async def _move(tx: Tx, row: Row, decision: Decision, now_ms: int) -> int:
    progress, before = decision.progress, row.where
    reason = "; ".join(decision.reasons)[:1000] or progress.reason
    await tx.run(
        "rollout_move",
        rollout=row.rollout,
        version=row.version,
        progress=msgspec.json.encode(progress),
        state=str(progress.state),
        stage=progress.stage,
        since_ms=progress.since_ms,
        reason=reason,
        started=progress.started,
        due_ms=decision.next_ms,
        now_ms=now_ms,
    )
    changed = (progress.state, progress.stage) != (before.state, before.stage)
    if changed:
        asked = [order.by for order in before.orders if order.by]
        await note(
            tx,
            row.rollout,
            actor=asked[-1] if asked else "central",
            was=str(before.state),
            state=str(progress.state),
            stage=progress.stage,
            reason=progress.reason or reason,
            now_ms=now_ms,
        )
    refused = [order for order, _ in decision.refused]
    for order in before.orders:
        if not changed and order not in refused:  # what was ordered stays, also where it waits
            await note(
                tx, row.rollout, actor=order.by or "central", was=str(progress.state),
                state=str(progress.state), stage=progress.stage,
                reason="; ".join(filter(None, [f"{order.order} was ordered", order.why, reason])),
                now_ms=now_ms,
            )  # fmt: skip
    for order, why in decision.refused:
        text = f"{order.order} was refused: {why}"
        await note(
            tx, row.rollout, actor=order.by or "central", was=str(progress.state),
            state=str(progress.state), stage=progress.stage, reason=text, now_ms=now_ms,
        )  # fmt: skip
    return changed + len(decision.refused)


async def note(
    tx: Tx,
    rollout: str,
    *,
    actor: str,
    was: str,
    state: str,
    stage: int | None,
    reason: str,
    now_ms: int,
) -> None:
    """Add a line to the history of a rollout itself."""
    await tx.run(
        "rollout_note",
        rollout=rollout,
        now_ms=now_ms,
        actor=actor,
        was=was,
        state=state,
        stage=stage,
        reason=reason[:1000],
    )


async def _assign(tx: Tx, plan: Plan, assigns: Sequence[Assign], now_ms: int) -> int:
    given = [
        (
            one.device,
            msgspec.json.encode(one.item).decode(),
            one.item.attempt,
            one.item.artefact.digest,
            one.stage,
            one.item.shadow is not None,
            one.reason[:300],
        )
        for one in assigns
        if one.item is not None
    ]
    taken = [(one.device, one.stage, one.reason[:300]) for one in assigns if one.item is None]
    of: dict[str, object] = {"rollout": plan.rollout, "slot": plan.slot, "now_ms": now_ms}
    moved = 0
    if given:
        names = ("device", "item", "attempt", "digest", "stage", "is_shadow", "reason")
        moved += await tx.run("rollout_assign", **arrays.columns(given, *names), **of)
    if taken:
        columns = arrays.columns(taken, "device", "stage", "reason")
        moved += await tx.run("rollout_unassign", **columns, **of)
    return moved


async def _mark(tx: Tx, plan: Plan, marks: Sequence[Mark], now_ms: int) -> int:
    if not marks:
        return 0
    rows = [(one.device, str(one.state), one.reason[:300]) for one in marks]
    return await tx.run(
        "rollout_mark",
        **arrays.columns(rows, "device", "state", "reason"),
        rollout=plan.rollout,
        slot=plan.slot,
        now_ms=now_ms,
    )


async def _keep_gates(
    tx: Tx, rollout: str, stage: int, gates: Sequence[GateResult], now_ms: int
) -> None:
    if not gates:
        return
    present = {(row.stage, row.gate): row for row in await gate_rows(tx, rollout)}
    rows: list[dict[str, object]] = []
    for gate in gates:
        before = present.get((stage, gate.gate))
        course = before.points if before else []
        value = gate.e_value if gate.e_value is not None else gate.value
        if value is not None and (not course or course[-1][1] != value):
            course = thinned([*course, (now_ms, value)])
        rows.append(
            {
                "rollout": rollout,
                "stage": stage,
                "gate": gate.gate,
                "verdict": str(gate.verdict),
                "result": msgspec.json.encode(gate),
                "course": msgspec.json.encode(course),
                "now_ms": now_ms,
            }
        )
    await tx.many("rollout_gate_put", rows)


def thinned(course: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return a course of at most `MAX_COURSE` points; the last one stays."""
    while len(course) > MAX_COURSE:
        course = [*course[:-1:2], course[-1]]
    return course


async def gate_rows(tx: Tx, rollout: str) -> list[GateRow]:
    """Return what every gate of a rollout said last, by stage."""
    return await tx.all("rollout_gates_all", GateRow, rollout=rollout)
