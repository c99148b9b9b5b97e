"""What pages and API show of rollouts, read from the database.

What lives here: from rows to `views`. What does not: the shapes (`views`), who is asking (they
give a scope: a rollout is seen by whoever sees every site that it means). The rule: what is not
known is None, and a list is read in pages.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.rollouts import evidence, ordering, planner, returning, store
from vedette.central.rollouts.facts import Asked, GateResult, Plan, RolloutState, Verdict
from vedette.central.rollouts.store import GateRow, Row
from vedette.central.rollouts.views import (
    DeviceView,
    GateView,
    HistoryView,
    RolloutRow,
    RolloutView,
    StageView,
)
from vedette.central.store.db import Tx
from vedette.wire.slots import UpdateState
from vedette.wire.updates import Approval

HISTORY: Final = 100
CHOSEN: Final = 20
DEVICES: Final = 500
_LAST: Final = 2**62
_GROUPS: Final = {"hard": "invariant", "soak": "invariant", "counts": "counts", "shadow": "shadow"}

_approval = msgspec.json.Decoder(Approval).decode


class _Device(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    site: str
    site_name: str
    hardware: str
    state: str | None
    stage: int | None
    attempt: int
    running: str
    previous: str
    since_ms: int | None
    last_contact_ms: int | None
    time_zone: str
    covered_h: float
    confirmed_ms: int | None
    detail: str
    problem: str
    bytes_done: int
    bytes: int
    saved_bytes: int
    digest: str
    failed: str
    light: str
    chosen: str


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One transition of a rollout (`device` empty) or of one of its devices."""

    number: int
    device: str
    at_ms: int
    actor: str
    was: str
    state: str
    stage: int | None
    attempt: int
    reason: str


async def page(
    tx: Tx,
    scope: list[str] | None,
    *,
    state: str = "",
    after: tuple[int, str] | None = None,
    limit: int,
) -> list[RolloutRow]:
    """Return rollouts in scope, newest first; `after` is (made, name) of the last one seen."""
    cursor_ms, cursor = after or (_LAST, "")
    rows = await tx.all(
        "rollouts_page",
        Row,
        scope=scope,
        state=state,
        cursor_ms=cursor_ms,
        cursor_rollout=cursor,
        limit=limit,
    )
    return await _rows(tx, rows)


async def one(tx: Tx, rollout: str, scope: list[str] | None, *, now_ms: int) -> RolloutView | None:
    """Return all about one rollout; None where there is none in scope."""
    row = await in_scope(tx, rollout, scope)
    if row is None:
        return None
    [shown] = await _rows(tx, [row])
    verdict, reasons = await evidence.gated(tx, row.asked, now_ms)
    approval = _approval(row.approval) if row.approval else None
    is_before = row.at in planner.BEFORE
    first = {RolloutState.SHADOW, RolloutState.CANARY}
    stages = [at for at, stage in enumerate(row.asked.stages) if stage.state in first]
    [(by_difference, saved_bytes)] = await tx.tuples("rollout_saved", rollout=rollout)
    return RolloutView(
        row=shown,
        devices=await devices(tx, row, limit=DEVICES),
        chosen=await devices(tx, row, stages=stages, limit=CHOSEN),
        gates=await gates(tx, row, stage=row.stage),
        history=[_history(one) for one in await history(tx, rollout, limit=HISTORY)],
        orders=ordering.possible(row.at),
        approved_by=row.approved_by,
        approval_expires_ms=approval.expires_ms if approval else None,
        gated="; ".join(reasons),
        gated_verdict=verdict,
        warnings=await returning.warnings(tx, row.asked, now_ms) if is_before else [],
        by_difference=by_difference,
        saved_bytes=saved_bytes,
    )


async def in_scope(
    tx: Tx, rollout: str, scope: list[str] | None, *, hold: bool = False
) -> Row | None:
    """Return a rollout where all its sites are in scope; None: there is none that may be seen."""
    row = await store.get(tx, rollout, hold=hold)
    if row is None or (scope is not None and not set(row.sites) <= set(scope)):
        return None
    return row


async def _rows(tx: Tx, rows: Sequence[Row]) -> list[RolloutRow]:
    names = [row.rollout for row in rows]
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for rollout, state, count in await tx.tuples("rollout_counts", rollouts=names):
        counts[rollout][state] = count
    stages = await _stages(tx, rows)
    return [_row(row, counts[row.rollout], stages[row.rollout]) for row in rows]


def _row(row: Row, counts: dict[str, int], stages: list[StageView]) -> RolloutRow:
    progress = row.where
    waiting: Asked | None = progress.orders[0] if progress.orders else None
    return RolloutRow(
        plan=row.asked,
        state=row.at,
        stage=row.stage or 0,
        stages=stages,
        was=progress.before,
        counts=counts,
        made_by=row.made_by,
        made_ms=row.made_ms,
        since_ms=row.since_ms,
        reason=row.reason,
        asked=str(waiting.order) if waiting else "",
        asked_by=waiting.by if waiting else "",
        asked_ms=waiting.at_ms if waiting else None,
    )


async def _stages(tx: Tx, rows: Sequence[Row]) -> dict[str, list[StageView]]:
    names = [row.rollout for row in rows]
    found: dict[tuple[str, int], tuple[int, int, float | None, float | None, list[float]]] = {}
    for rollout, stage, *rest in await tx.tuples("rollout_stage_counts", rollouts=names):
        found[rollout, stage] = (rest[0], rest[1], rest[2], rest[3], rest[4] or [])
    began = {
        (rollout, stage): at_ms
        for rollout, stage, at_ms in await tx.tuples("rollout_stage_times", rollouts=names)
    }
    return {row.rollout: _stages_of(row, found, began) for row in rows}


def _stages_of(
    row: Row,
    found: dict[tuple[str, int], tuple[int, int, float | None, float | None, list[float]]],
    began: dict[tuple[str, int], int],
) -> list[StageView]:
    made: list[StageView] = []
    plan = row.asked
    for number, stage in enumerate(plan.stages):
        count, settled, least, median, hours = found.get(
            (row.rollout, number), (0, 0, None, None, [])
        )
        is_past = row.stage is not None and number < row.stage
        is_done = row.at is RolloutState.DONE
        began_ms = began.get((row.rollout, number))
        planned_ms = None
        if began_ms is not None and not is_past and not is_done:
            planned_ms = began_ms + round(stage.soak_h * evidence.HOUR_MS)
        made.append(
            StageView(
                number=number,
                state=stage.state,
                devices=count,
                settled=settled,
                began_ms=began_ms,
                ended_ms=began.get((row.rollout, number + 1))
                or (row.since_ms if is_done and number == len(plan.stages) - 1 else None),
                planned_ms=planned_ms,
                soak_h=stage.soak_h,
                at_most_h=stage.at_most_h,
                covered_h=least,
                median_covered_h=median,
                devices_soaked=sum(covered >= stage.soak_h for covered in hours),
                verdict=Verdict.PASS if is_past or is_done else None,
            )
        )
    return made


async def devices(
    tx: Tx,
    row: Row,
    *,
    after: str = "",
    state: str = "",
    stages: list[int] | None = None,
    limit: int,
) -> list[DeviceView]:
    """Return devices of a rollout by name; `state` `none`: those with nothing assigned.

    Where `stages` are named: those that these took in, and that were not let go since.
    """
    plan = row.asked
    rows = await tx.all(
        "rollout_devices_page",
        _Device,
        rollout=row.rollout,
        slot=row.slot,
        sites=row.sites,
        after=after,
        state=state,
        stages=stages,
        limit=limit,
    )
    return [_device(one, plan) for one in rows]


def _device(one: _Device, plan: Plan) -> DeviceView:
    state = UpdateState(one.state) if one.state else None
    return DeviceView(
        device=one.device,
        site=one.site,
        site_name=one.site_name,
        hardware=one.hardware,
        strata=tuple(part for part in (one.hardware, one.light) if part),
        state=state,
        stage=one.stage,
        attempt=one.attempt,
        running=one.running,
        previous=one.previous,
        since_ms=one.since_ms,
        last_seen_ms=one.last_contact_ms,
        time_zone=one.time_zone,
        window=", ".join(f"{begin} to {end}" for begin, end in plan.windows),
        covered_h=one.covered_h if one.confirmed_ms is not None else None,
        why=_why(one, plan),
        problem=_went_back(one, plan) if state is UpdateState.REVERTED else one.problem,
        is_control=state is None and one.stage is None and one.device not in plan.excluded,
        bytes_done=one.bytes_done,
        bytes=one.bytes,
        saved_bytes=one.saved_bytes,
    )


def _why(one: _Device, plan: Plan) -> str:
    """Return why it is in its stage; of one that is in none, why it was left out."""
    if one.device in plan.pinned:
        return "pinned"
    if one.device in plan.excluded:
        return "excluded"
    return one.chosen or one.detail


def _went_back(one: _Device, plan: Plan) -> str:
    """Return what happened to a device that is back, or goes back by itself."""
    is_back = one.digest not in {"", plan.artefact.digest}
    why = one.failed or one.problem
    if not is_back:
        return why
    return f"went back by itself: {why}" if one.failed else "taken back with the rollout"


async def gates(tx: Tx, row: Row, *, stage: int | None = None) -> list[GateView]:
    """Return what the gates of a stage said last; of all stages where none is named."""
    rows = await store.gate_rows(tx, row.rollout)
    return [gate_view(one) for one in rows if stage is None or one.stage == stage]


def gate_view(row: GateRow) -> GateView:
    """Return a gate as pages show it."""
    said: GateResult = row.said
    is_e = said.e_value is not None
    return GateView(
        gate=said.gate,
        group=_GROUPS.get(said.gate, "difference"),
        verdict=said.verdict,
        value=said.e_value if is_e else said.value,
        low=None if is_e else said.low,
        high=None if is_e else said.high,
        threshold=said.e_limit if is_e else said.threshold,
        is_floor=said.gate in {"soak", "shadow"},
        unit="e-value" if is_e else said.unit,
        evidence=said.amount,
        reason="; ".join(said.reasons),
        course=row.points,
    )


async def history(
    tx: Tx, rollout: str, *, device: str | None = "", below: int = _LAST, limit: int
) -> list[HistoryRow]:
    """Return what happened, newest first: to the rollout, to one device, or (None) to all."""
    return await tx.all(
        "rollout_history_page", HistoryRow, rollout=rollout, device=device, below=below, limit=limit
    )


def _history(row: HistoryRow) -> HistoryView:
    what = row.state if row.was == row.state else f"{row.was or 'made'} → {row.state}"
    return HistoryView(at_ms=row.at_ms, actor=row.actor, what=what, detail=row.reason)
