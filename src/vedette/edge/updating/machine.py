"""What is to be done next with an assigned item. Pure: no clock, no disk, no network.

    ASSIGNED → DOWNLOADED → VERIFIED → WAITING_WINDOW → ACTIVATING → PROBATION → CONFIRMED
        └──────────┴───────────┴─────────────┴─────────────┴────────────┴──────→ REVERTED
                             VERIFIED → SHADOWING, for what only runs beside

The rule: nothing is confirmed without proof from the process that runs it, and whatever is not
confirmed goes back.
"""

import enum
from dataclasses import dataclass
from typing import Final

from vedette.amounts import counted
from vedette.edge.updating.journal import ACTIVE, ENDED, Job
from vedette.edge.updating.kinds import Standing
from vedette.wire.slots import UpdateState

MAX_STARTS: Final = 3
"""Starts of the agent in which something active is given another chance: a machine that falls over
again and again falls over for what was installed last."""

MAX_SPOILED: Final = 5
"""Downloads of other bytes than were promised, until the item is given up."""

SILENT_WAIT_S: Final = 600.0
"""How long an activation waits where nothing says what runs now: what is down already would be
charged to what is new. Then it is activated all the same; it may be the remedy."""

CLOCK_WAIT_S: Final = 24 * 3600.0
"""How long a window waits for a clock that can be believed; then the best time there is counts."""


class Action(enum.Enum):
    """What to do now."""

    DOWNLOAD = "download"
    PREPARE = "prepare"
    TURN = "turn"  # into the state that is named; nothing else is to be done
    ACTIVATE = "activate"
    CONFIRM = "confirm"
    GO_BACK = "go_back"
    DROP = "drop"
    SHADOW = "shadow"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a job, and why.

    Attributes:
        why: For people: what is waited for, or what was wrong.
        to: The state, of `TURN`.
    """

    action: Action
    why: str = ""
    to: UpdateState | None = None


_NOTHING_SAID: Final = Standing()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a decision depends on beside the job.

    Attributes:
        now_ms: The time as well as this device knows it.
        is_timed: Whether that is known well enough to keep a window.
        waited_s: In this state, by this process, on the monotonic clock.
        opens_ms: When the window opens; now, or in the past, where it is open.
        is_asked: The newest assignment has this item.
        replaced: The newest assignment has something else for the slot.
        standing: Of the slot.
        silent_s: For so long nothing said what runs in the slot.
        steady_s: For so long what is assigned has run without a fault.
        activation_s: How long becoming active may take.
    """

    now_ms: int
    is_timed: bool = True
    waited_s: float = 0.0
    opens_ms: int = 0
    is_asked: bool = True
    replaced: bool = False
    standing: Standing = _NOTHING_SAID
    silent_s: float = 0.0
    steady_s: float = 0.0
    activation_s: float = 300.0


def decide(job: Job, facts: Facts) -> Decision:
    """Return what is to be done with `job` now."""
    if job.state in ENDED:
        return Decision(Action.WAIT)
    if job.going_back:
        return Decision(Action.GO_BACK, job.going_back)
    if job.state in ACTIVE:
        return _active(job, facts)
    if not facts.is_asked:
        return Decision(Action.DROP, "it is not assigned any more")
    if job.expires_ms and facts.now_ms >= job.expires_ms and job.state is not UpdateState.SHADOWING:
        return Decision(Action.GO_BACK, "the approval ended before it could be installed")
    return _before(job, facts)


def _before(job: Job, facts: Facts) -> Decision:
    """Return what is to be done with what is not active."""
    match job.state:
        case UpdateState.ASSIGNED:
            if job.spoiled >= MAX_SPOILED:
                return Decision(Action.GO_BACK, job.problem or "other bytes came than promised")
            return Decision(Action.DOWNLOAD)
        case UpdateState.DOWNLOADED:
            return Decision(Action.PREPARE)
        case UpdateState.VERIFIED if job.assigned.shadow is not None:
            return Decision(Action.SHADOW)
        case UpdateState.VERIFIED:
            return Decision(Action.TURN, to=UpdateState.WAITING_WINDOW)
        case UpdateState.SHADOWING:
            return _beside(job, facts)
        case _:
            return _waiting(job, facts)


def _beside(job: Job, facts: Facts) -> Decision:
    until_ms = job.assigned.shadow.until_ms if job.assigned.shadow else 0
    if until_ms and facts.now_ms >= until_ms:
        return Decision(Action.DROP, "its time beside what is in use is over")
    return Decision(Action.WAIT)


def _waiting(job: Job, facts: Facts) -> Decision:
    needs_time = bool(job.assigned.windows or job.assigned.not_before_ms)
    if needs_time and not facts.is_timed and facts.waited_s < CLOCK_WAIT_S:
        return Decision(
            Action.WAIT,
            "the clock cannot be believed, so no window can be kept: waits for central's time,"
            f" at most {CLOCK_WAIT_S / 3600:.0f} h",
        )
    if facts.now_ms < job.assigned.not_before_ms:
        return Decision(Action.WAIT, "not before its time")
    if facts.now_ms < facts.opens_ms:
        spans = ", ".join(f"{start}-{end}" for start, end in job.assigned.windows)
        return Decision(Action.WAIT, f"waits for its window: {spans}, local time")
    if not facts.standing.running and facts.waited_s < SILENT_WAIT_S:
        return Decision(Action.WAIT, "nothing says what runs now; waits for that, at most 10 min")
    return Decision(Action.ACTIVATE)


def _active(job: Job, facts: Facts) -> Decision:
    """Return what is to be done with what may run now, and is not confirmed."""
    standing, wanted = facts.standing, job.assigned.artefact.digest
    if facts.replaced:
        return Decision(Action.GO_BACK, "something else was assigned before it was confirmed")
    if standing.failed:
        return Decision(Action.GO_BACK, standing.problem or "it failed")
    if job.starts > MAX_STARTS:
        return Decision(
            Action.GO_BACK,
            f"the device started {counted(job.starts, 'time')} before it was confirmed",
        )
    if job.state is UpdateState.ACTIVATING:
        if standing.running == wanted:
            return Decision(Action.TURN, to=UpdateState.PROBATION)
        if facts.waited_s > facts.activation_s:
            why = f"it did not run within {facts.activation_s:.0f} s"
            return Decision(Action.GO_BACK, f"{why}: {standing.problem}".removesuffix(": "))
        return Decision(Action.WAIT)
    if standing.running and standing.running != wanted:
        return Decision(Action.GO_BACK, standing.problem or "something else runs in its place")
    if facts.silent_s > facts.activation_s:
        return Decision(Action.GO_BACK, f"nothing ran for {facts.activation_s:.0f} s")
    if facts.steady_s < job.assigned.probation_s or not standing.running:
        return Decision(Action.WAIT)
    if not standing.proven:
        return Decision(Action.WAIT, standing.problem or "has not shown yet that it works")
    return Decision(Action.CONFIRM)
