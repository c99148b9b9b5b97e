"""What a rollout does next: the pure heart of it.

    DRAFT → GATED → APPROVED → SHADOW → CANARY → PILOT → WAVE n → DONE
    any stage ⇄ PAUSED, INCONCLUSIVE;  any stage → ROLLING_BACK → ROLLED_BACK | SUPERSEDED | STOPPED

`decide` takes what is known and says what follows; `engine` carries it out and asks again. Which
devices: `taking`; what their reports amount to: `following`; whether a stage may be left: `gates`.

The rules: the same input gives the same decision. What is missing or cannot be read blocks. Too
little evidence is inconclusive and never a pass. What stops a rollout needs no operator; what lets
it go on after an inconclusive stage does.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from vedette.amounts import counted
from vedette.central.rollouts import following, gates, taking, windows
from vedette.central.rollouts.facts import (
    Asked,
    Assign,
    Decision,
    Device,
    Evidence,
    GateResult,
    Mark,
    Order,
    Plan,
    Progress,
    RolloutState,
    Stage,
    Verdict,
)
from vedette.errors import ConfigError
from vedette.wire.slots import ArtefactKind, UpdateState

HOUR_MS: Final = following.HOUR_MS
TICK_MS: Final = 30_000
SLOW_TICK_MS: Final = 600_000
MAX_DEVICES: Final = 100_000

S = RolloutState
STAGES: Final = frozenset({S.SHADOW, S.CANARY, S.PILOT, S.WAVE})
HELD: Final = frozenset({S.PAUSED, S.INCONCLUSIVE})
BEFORE: Final = frozenset({S.DRAFT, S.GATED, S.APPROVED})
OVER: Final = frozenset({S.ROLLED_BACK, S.SUPERSEDED, S.STOPPED})

FROM: Final[dict[Order, frozenset[RolloutState]]] = {
    Order.START: BEFORE,
    Order.PAUSE: STAGES,
    Order.RESUME: frozenset({S.PAUSED}),
    Order.STOP: BEFORE | STAGES | HELD | {S.DONE},
    Order.ROLL_BACK: STAGES | HELD | {S.DONE, S.STOPPED},
    Order.SUPERSEDE: BEFORE | STAGES | HELD | {S.DONE},
    Order.EXTEND: frozenset({S.INCONCLUSIVE}),
    Order.ACCEPT: frozenset({S.INCONCLUSIVE}),
}
"""In which states an order can be carried out."""


def default_stages(*, with_shadow: bool = True) -> list[Stage]:
    """Return the stages of a plan whose operator named none."""
    stages = [
        Stage(state=S.CANARY, devices=2, soak_h=24.0, worst_ratio=10.0),
        Stage(state=S.PILOT, share=0.1, soak_h=48.0, worst_ratio=6.0),
        Stage(state=S.WAVE, share=0.3, soak_h=24.0, worst_ratio=5.0),
        Stage(state=S.WAVE, share=1.0, soak_h=24.0, worst_ratio=5.0),
    ]
    return [Stage(state=S.SHADOW, devices=4), *stages] if with_shadow else stages


def check(plan: Plan) -> list[str]:
    """Return what is wrong with the plan, in words; empty: it can be carried out."""
    problems: list[str] = []
    if not any(stage.state is not S.SHADOW for stage in plan.stages):
        problems.append("the plan has no stage that takes the artefact up")
    for number, stage in enumerate(plan.stages, 1):
        if stage.state not in STAGES:
            problems.append(f"stage {number}: {stage.state} is no stage")
        if (stage.devices is None) == (stage.share is None):
            problems.append(f"stage {number}: say devices or share")
        if stage.share is not None and not 0 < stage.share <= 1:
            problems.append(f"stage {number}: a share is above 0 and at most 1")
        if stage.devices is not None and stage.devices < 1:
            problems.append(f"stage {number}: at least one device")
    kinds = [list(S).index(stage.state) for stage in plan.stages]
    if kinds != sorted(kinds):
        problems.append("the stages stand in the order shadow, canary, pilot, waves")
    if asks_for_shadow(plan) and not any(stage.state is S.SHADOW for stage in plan.stages):
        problems.append("shadow evidence is asked for, and the plan has no shadow stage")
    try:
        windows.check(plan.windows)
    except ConfigError as error:
        problems.append(str(error))
    return problems


def asks_for_shadow(plan: Plan) -> bool:
    """True where the canary needs shadow evidence; only models can run in shadow."""
    return plan.gates.needs_shadow and plan.kind is ArtefactKind.MODEL


def decide(
    plan: Plan, state: Progress, devices: Sequence[Device], evidence: Evidence, now_ms: int
) -> Decision:
    """Return what follows from all that is known at `now_ms`.

    Orders are carried out first, so a stop is never late by a tick.

    Args:
        plan: As it is now; pins and exclusions may have changed since it began.
        state: What the decision before returned, with the orders given since.
        devices: Of the fleet; those that the plan does not mean are left alone.
        evidence: For the stage that `state` is in.
        now_ms: By central's clock.
    """
    progress, refused = _obey(state, now_ms)
    desk = _Desk(plan, progress, devices, evidence, now_ms)
    problems = check(plan)
    is_lost = progress.stage is not None and progress.stage >= len(plan.stages)
    if is_lost and progress.state in STAGES | HELD:
        desk.reasons = [f"the plan has no stage {(progress.stage or 0) + 1} any more", *problems]
    elif problems and progress.state in BEFORE | STAGES:
        desk.reasons = problems
        if progress.state in STAGES:
            _stops(desk)
    else:
        _HANDLERS[progress.state](desk)
    return desk.decision(refused)


class _Desk:
    """One decision while it is made. Not kept."""

    def __init__(
        self,
        plan: Plan,
        progress: Progress,
        devices: Sequence[Device],
        evidence: Evidence,
        now_ms: int,
    ) -> None:
        self.plan, self.evidence, self.now_ms = plan, evidence, now_ms
        self.progress = progress
        self.assigns: list[Assign] = []
        self.gates: list[GateResult] = []
        self.reasons: list[str] = []
        self.is_entered = False
        sure = [d for d in devices if not taking.is_doubtful(plan, d)]
        self.marks: list[Mark] = following.marks(plan, sure, now_ms)
        self.devices = following.applied(
            devices, Decision(progress=progress, marks=self.marks), now_ms
        )

    def go(self, state: RolloutState, reason: str) -> None:
        """Enter a state, once."""
        self.reasons.append(reason)
        if state is not self.progress.state:
            self.progress = _entered(self.progress, state, reason, self.now_ms)

    def mark(self, marks: Sequence[Mark]) -> None:
        taken = {m.device for m in self.marks}
        self.marks += [m for m in marks if m.device not in taken]

    def decision(self, refused: list[tuple[Asked, str]]) -> Decision:
        state = self.progress.state
        # Before it begins it waits for people: soon where they have ordered it, seldom where not.
        is_ordered = state in BEFORE and self.progress.started
        is_busy = state in STAGES | HELD or state is S.ROLLING_BACK or is_ordered
        wait_ms = TICK_MS if is_busy else SLOW_TICK_MS
        if self.is_entered:
            wait_ms = 0  # nobody was taken in yet
        return Decision(
            progress=self.progress,
            assigns=self.assigns,
            marks=self.marks,
            gates=self.gates,
            reasons=self.reasons,
            refused=refused,
            next_ms=None if state in OVER else self.now_ms + wait_ms,
        )


def _entered(progress: Progress, state: RolloutState, reason: str, now_ms: int) -> Progress:
    """Return the progress in another state."""
    return msgspec.structs.replace(
        progress, state=state, since_ms=now_ms, reason=reason, changes=progress.changes + 1
    )


# --------------------------------------------------------------------------------------- orders


def _obey(progress: Progress, now_ms: int) -> tuple[Progress, list[tuple[Asked, str]]]:
    """Return the progress after all orders, and those that cannot be carried out."""
    refused: list[tuple[Asked, str]] = []
    for asked in progress.orders:
        if progress.state not in FROM[asked.order]:
            refused.append((asked, f"not while the rollout is {progress.state}"))
        elif asked.order is Order.EXTEND and asked.hours <= 0:
            refused.append((asked, "by how many hours?"))
        elif asked.order is Order.ACCEPT and not (asked.by and asked.why):
            refused.append((asked, "whoever accepts says who they are, and why"))
        else:
            progress = _carried_out(progress, asked, now_ms)
    return msgspec.structs.replace(progress, orders=[]), refused


def _carried_out(progress: Progress, asked: Asked, now_ms: int) -> Progress:
    """Return the progress after one order that is possible."""
    by = f"{asked.by or 'an operator'}: {asked.why or asked.order}"
    if asked.order is Order.START:
        return msgspec.structs.replace(progress, started=True)
    if asked.order is Order.PAUSE:
        held = msgspec.structs.replace(progress, before=progress.state)
        return _entered(held, S.PAUSED, by, now_ms)
    if asked.order in {Order.RESUME, Order.EXTEND}:
        extended = msgspec.structs.replace(progress, extra_h=progress.extra_h + asked.hours)
        if asked.order is Order.RESUME:
            extended = progress
        return _resumed(extended, by, now_ms)
    if asked.order is Order.ACCEPT:
        return msgspec.structs.replace(_resumed(progress, by, now_ms), accepted=True)
    target = {
        Order.STOP: S.STOPPED,
        Order.ROLL_BACK: S.ROLLING_BACK,
        Order.SUPERSEDE: S.SUPERSEDED,
    }[asked.order]
    return _entered(progress, target, by, now_ms)


def _resumed(progress: Progress, reason: str, now_ms: int) -> Progress:
    """Return the progress in the stage again; the time in between does not count."""
    held_ms = max(0, now_ms - progress.since_ms)
    resumed = msgspec.structs.replace(progress, before=None, paused_ms=progress.paused_ms + held_ms)
    return _entered(resumed, progress.before or S.STOPPED, reason, now_ms)


# --------------------------------------------------------------------------------------- states


def _begin(desk: _Desk) -> None:
    """Go from draft to the first stage, as far as is allowed."""
    if desk.progress.state is S.DRAFT:
        gated = desk.evidence.gated
        if gated is not Verdict.PASS:
            why = desk.evidence.gated_reasons or [
                f"the gates of the artefact say {gated}" if gated else "its gates cannot be read"
            ]
            desk.reasons += why
            return
        desk.go(S.GATED, "the artefact passed its gates")
    if desk.progress.state is S.GATED:
        approved = desk.evidence.approved
        if approved is None:
            desk.reasons.append("the approval could not be read")
            return
        if not any(why == "" for why in approved.values()):
            desk.reasons += sorted(set(approved.values())) or ["no approval covers any site"]
            return
        desk.go(S.APPROVED, "an approval covers it")
    if not desk.progress.started:
        desk.reasons.append("waits for somebody to start it")
        return
    _enter(desk, 0, "started")


def _enter(desk: _Desk, index: int, reason: str) -> None:
    """Enter a stage; the next decision takes devices in, with evidence of its own."""
    desk.is_entered = True
    desk.progress = msgspec.structs.replace(
        desk.progress,
        stage=index,
        stage_since_ms=desk.now_ms,
        paused_ms=0,
        extra_h=0.0,
        accepted=False,
    )
    state = desk.plan.stages[index].state
    desk.reasons.append(reason)
    desk.progress = _entered(desk.progress, state, reason, desk.now_ms)


def _run(desk: _Desk) -> None:
    """Stop where something says so; else leave the stage, or fill it."""
    if _stops(desk):
        return
    index = desk.progress.stage or 0
    _let_go(desk)
    assigns, skipped, reasons = taking.take(
        desk.plan, index, desk.devices, desk.evidence, desk.now_ms
    )
    desk.assigns += assigns
    desk.mark(skipped)
    desk.reasons += reasons
    verdict = gates.together(desk.gates)
    if assigns:
        return
    if verdict is Verdict.PASS or (desk.progress.accepted and gates.is_acceptable(desk.gates)):
        _leave(desk, index)
    elif _is_hopeless(desk) or _is_overdue(desk, index):
        desk.progress = msgspec.structs.replace(desk.progress, before=desk.progress.state)
        desk.go(S.INCONCLUSIVE, _why_not(desk))
    else:
        desk.reasons.append(f"waits: {_why_not(desk)}")


def _why_not(desk: _Desk) -> str:
    open_gates = [g for g in desk.gates if g.verdict is not Verdict.PASS]
    why = "; ".join(reason for g in open_gates for reason in g.reasons[:1]) or "not finished"
    if desk.progress.accepted:
        why = f"accepted, but nobody's word replaces covered hours: give it more time; {why}"
    return why


def _is_hopeless(desk: _Desk) -> bool:
    """True where only a person can help, and none has given the stage more time."""
    return gates.is_hopeless(desk.gates) and desk.progress.extra_h == 0


def _is_overdue(desk: _Desk, index: int) -> bool:
    progress = desk.progress
    spent_ms = desk.now_ms - progress.stage_since_ms - progress.paused_ms
    limit_h = desk.plan.stages[index].at_most_h + progress.extra_h
    return spent_ms >= limit_h * HOUR_MS


def _stops(desk: _Desk) -> bool:
    """Judge the gates; True where one has failed and the way back has begun."""
    desk.gates = gates.judge(desk.plan, desk.progress, desk.devices, desk.evidence)
    failed = [g for g in desk.gates if g.verdict is Verdict.FAIL]
    if not failed:
        return False
    desk.go(S.ROLLING_BACK, "; ".join(reason for g in failed for reason in g.reasons[:2]))
    _back(desk)
    return True


def _let_go(desk: _Desk) -> None:
    """Free the places of devices that never got the assignment, and of those that were excluded."""
    for device in desk.devices:
        if following.never_reached(desk.plan, device, desk.now_ms):
            reason = "away since before it was assigned; it is caught up with when it returns"
            desk.mark([Mark(device=device.device, state=UpdateState.SKIPPED, reason=reason)])
            desk.assigns.append(Assign(device=device.device, item=None, reason=reason))
    excluded = [d for d in desk.devices if d.device in desk.plan.excluded]
    desk.assigns += taking.withdraw(desk.plan, excluded, "an operator excluded it")
    desk.devices = following.applied(
        desk.devices,
        Decision(progress=desk.progress, assigns=desk.assigns, marks=desk.marks),
        desk.now_ms,
    )


def _leave(desk: _Desk, index: int) -> None:
    """Go on to the next stage, or be done."""
    desk.progress = msgspec.structs.replace(
        desk.progress, e_values=gates.carried(desk.plan, desk.progress, desk.gates)
    )
    how = "accepted by an operator" if desk.progress.accepted else "all gates passed"
    if desk.plan.stages[index].state is S.SHADOW:
        last = index + 1 == len(desk.plan.stages) or (
            desk.plan.stages[index + 1].state is not S.SHADOW
        )
        if last:
            desk.assigns += taking.withdraw(
                desk.plan, [d for d in desk.devices if d.is_shadow], "the shadow stage is over"
            )
    if index + 1 < len(desk.plan.stages):
        _enter(desk, index + 1, how)
    else:
        desk.go(S.DONE, how)


def _hold(desk: _Desk) -> None:
    """Take nothing more in; what must stop a rollout stops it in a pause too."""
    if not _stops(desk):
        desk.reasons.append(desk.progress.reason)


def _back(desk: _Desk) -> None:
    """Send every device back; say which cannot go."""
    desk.assigns += taking.give_back(desk.plan, desk.devices)
    after = following.applied(
        desk.devices, Decision(progress=desk.progress, assigns=desk.assigns), desk.now_ms
    )
    waiting, owed, kept = 0, 0, 0
    stuck: list[str] = []
    doubtful: list[str] = []
    for device in after:
        if taking.is_back(desk.plan, device):
            continue
        if device.device in desk.plan.excluded:
            kept += following.is_taken(device)
        elif device.assigned == desk.plan.artefact.digest and not taking.back_to(desk.plan, device):
            stuck.append(device.device)
        elif taking.is_doubtful(desk.plan, device):
            doubtful.append(device.device)
        elif following.is_silent(device, desk.plan.gates.lost_h, desk.now_ms):
            owed += 1
        else:
            waiting += 1
    for names, what in (
        (stuck, "keep it, for nothing is known to go back to: exclude them, then roll that out"),
        (doubtful, "know more than central remembers: look, then trust or exclude them"),
    ):
        if names:
            desk.reasons.append(f"{len(names)} {what}: {', '.join(sorted(names)[:5])}")
    if owed:
        silent = counted(owed, "is silent and goes", "are silent and go")
        desk.reasons.append(f"{silent} back on return")
    if waiting:
        desk.reasons.append(f"{counted(waiting, 'is on its', 'are on their')} way back")
    if not waiting and not stuck and not doubtful:
        but = [counted(owed, "silent one")] * bool(owed)
        but += [counted(kept, "excluded one")] * bool(kept)
        whom = f"all are back but {' and '.join(but)}" if but else "all are back"
        desk.go(S.ROLLED_BACK, f"{desk.progress.reason}; {whom}")


def _end(desk: _Desk) -> None:
    """Take back what nobody has begun; leave what was taken up."""
    desk.assigns += taking.withdraw(desk.plan, desk.devices, desk.progress.reason)


def _catch_up(desk: _Desk) -> None:
    """Take in the devices that were away, when they return."""
    _let_go(desk)
    last = len(desk.plan.stages) - 1
    assigns, skipped, _ = taking.take(desk.plan, last, desk.devices, desk.evidence, desk.now_ms)
    desk.assigns += assigns
    desk.mark(skipped)


_HANDLERS: Final[dict[RolloutState, Callable[[_Desk], None]]] = {
    S.DRAFT: _begin,
    S.GATED: _begin,
    S.APPROVED: _begin,
    S.SHADOW: _run,
    S.CANARY: _run,
    S.PILOT: _run,
    S.WAVE: _run,
    S.DONE: _catch_up,
    S.PAUSED: _hold,
    S.INCONCLUSIVE: _hold,
    S.ROLLING_BACK: _back,
    S.ROLLED_BACK: _end,
    S.SUPERSEDED: _end,
    S.STOPPED: _end,
}
