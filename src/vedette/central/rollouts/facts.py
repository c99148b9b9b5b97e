"""What the planner of a rollout knows: its words, its plan, its devices. Pure.

What lives here: states, stages and the structs that go into and come out of a decision. What does
not: deciding (`planner`), reading and writing them (`store`), statistics (`stats.sequential`,
`stats.differences`). The rule: nothing here reads a clock or a database.
"""

import enum

import msgspec

from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import Artefact, Assigned


class RolloutState(enum.StrEnum):
    """Where a rollout is. `stage` says which wave."""

    DRAFT = "draft"
    GATED = "gated"  # the artefact passed its gates, or a waiver stands for it
    APPROVED = "approved"  # an unexpired approval of the offline keys covers it
    SHADOW = "shadow"
    CANARY = "canary"
    PILOT = "pilot"
    WAVE = "wave"
    DONE = "done"
    PAUSED = "paused"
    INCONCLUSIVE = "inconclusive"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"
    STOPPED = "stopped"  # nothing more is assigned; what was taken up stays


class Verdict(enum.StrEnum):
    """What a gate says. Too little evidence is never a pass."""

    PASS = "pass"  # noqa: S105 - a verdict, not a secret
    FAIL = "fail"
    WAIT = "wait"
    INCONCLUSIVE = "inconclusive"


class Order(enum.StrEnum):
    """What an operator may ask of a rollout. Who may is `approving`'s business."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    ROLL_BACK = "roll_back"
    SUPERSEDE = "supersede"
    EXTEND = "extend"  # an inconclusive stage, by so many hours
    ACCEPT = "accept"  # an inconclusive stage as it is, by name and with a reason


class TroubleKind(enum.StrEnum):
    """What no rollout may cause. Seen on a device that took it up, it counts as failed at once."""

    CRASH_LOOP = "crash_loop"
    LOST = "lost"
    REVERTED = "reverted"
    GOLDEN = "golden_frames"
    THERMAL = "thermal"
    BUDGET = "budget"


# ------------------------------------------------------------------------------------ the plan


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan.

    Attributes:
        devices: This many, or
        share: this part of all that take part, 0 to 1; both with those of the stages before. While
            others are left, a canary never takes more than half of those that take part.
        soak_h: Covered hours that each of its devices needs after it was confirmed.
        at_most_h: Hours, without those in pause, after which a stage that has not passed is
            inconclusive.
        enough: Share of its devices that must be through; the others are caught up with.
        worst_ratio: Bad events: the stage ends only when a rise by this factor is excluded, or the
            rate is certainly below `Gates.tolerable_per_h`.
    """

    state: RolloutState
    devices: int | None = None
    share: float | None = None
    soak_h: float = 24.0
    at_most_h: float = 168.0
    enough: float = 0.9
    worst_ratio: float = 10.0


class Gates(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold before a stage is left.

    Attributes:
        alpha: Of the anytime-valid test: chance that a rollout without a change is ever stopped.
        tolerable_per_h: Bad events per covered camera-hour that need no comparison.
        max_failed_share: More failed devices than this share of those that took it up stop the
            rollout: below 50 devices at 0.02 it is the first one.
        lost_h: A device that was silent for so long after its activation counts as lost.
        offline_h: One that was silent for so long beforehand is skipped, and caught up with later.
        max_latency_ms: Most that the device-level difference of p95 may be, by its upper bound.
        max_confidence_drop: Likewise for mean confidence, 0 to 1.
        needs_shadow: Whether shadow evidence is asked for before the canary (models only).
        tolerated: What does not stop it at once: `budget` for a model that is slower on purpose,
            `thermal` for one that is hotter. It is counted and compared all the same.
    """

    alpha: float = 0.05
    tolerable_per_h: float = 0.1
    max_failed_share: float = 0.02
    lost_h: float = 2.0
    offline_h: float = 1.0
    max_latency_ms: float = 50.0
    max_confidence_drop: float = 0.05
    needs_shadow: bool = True
    tolerated: tuple[TroubleKind, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator asked for.

    Attributes:
        back: What a device goes back to that has no previous version of its own any more.
        sites: Names, or `*`.
        pinned: Devices that belong to the first stage whatever the choice says.
        excluded: Devices that take no part; also not in the way back.
        trusted: Devices that an operator has looked at although they run what central does not
            know, or are ahead of it.
        windows: Local times of activation, as ("22:00", "05:00"); empty: any.
    """

    rollout: str
    kind: ArtefactKind
    slot: str
    artefact: Artefact
    back: Artefact | None = None
    sites: list[str] = msgspec.field(default_factory=lambda: ["*"])
    pinned: list[str] = []
    excluded: list[str] = []
    trusted: list[str] = []
    stages: list[Stage] = []
    gates: Gates = Gates()
    windows: list[tuple[str, str]] = []
    probation_s: float = 600.0
    max_kbit_s: float | None = None
    shadow_every_s: float = 10.0
    shadow_samples_per_day: int = 50


# --------------------------------------------------------------------------------- what is known


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device that could take part, as central knows it now. All times by central's clock.

    Attributes:
        strata: Hardware, camera model, light: what the choice of canaries spreads over.
        before: What was in the slot when this rollout took the device in, or is now if it has not;
            None: central never put anything there.
        assigned: Digest that this rollout assigns to it now; empty: none.
        is_shadow: Whether that is only to run beside the incumbent.
        assigned_ms: Since when.
        attempt: The highest that was ever assigned.
        state: What the device last reported of that attempt, or central's word (`ASSIGNED`,
            `LOST`, `SKIPPED`); None: nothing assigned.
        since_ms: When `state` came.
        stage: Index of the stage that it was taken into; None: not yet.
        running: Digest in the slot by its last health report; empty: not known.
        running_ms: When that report came.
        confirmed_ms: When a decision marked it as confirmed; None: not, or not in this attempt.
        covered_h: Hours that were covered since then.
        reported_attempt: The highest that it reported of this rollout.
        version, reported_version: Of its assignment: last signed, and last reported.
        elsewhere: Another unfinished rollout that has this slot of it; empty: none.
    """

    device: str
    site: str
    time_zone: str = "UTC"
    strata: tuple[str, ...] = ()
    before: Artefact | None = None
    assigned: str = ""
    is_shadow: bool = False
    assigned_ms: int | None = None
    attempt: int = 0
    state: UpdateState | None = None
    since_ms: int | None = None
    stage: int | None = None
    running: str = ""
    running_ms: int | None = None
    confirmed_ms: int | None = None
    covered_h: float = 0.0
    last_seen_ms: int | None = None
    reported_attempt: int = 0
    version: int = 0
    reported_version: int = 0
    elsewhere: str = ""
    detail: str = ""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Bad events of one kind on one device over a time.

    Attributes:
        events: How many. Spells count once: an outage of three hours is one event, not 180 minutes.
        hours: Covered camera-hours.
        days: Calendar days with any of those hours, those without an event included.
        squares: Sum over the days of the day's events squared: it tells how they cluster.
    """

    events: int = 0
    hours: float = 0.0
    days: int = 0
    squares: int = 0


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Bad events of one kind on one device.

    Attributes:
        taken: Whether it runs the candidate (from its activation on).
        before: In the two weeks, or so, before the rollout began.
        since: In this stage; of a device that took it up, not before its activation.
    """

    device: str
    taken: bool
    before: Tally = Tally()
    since: Tally = Tally()


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one device before the rollout and in this stage (after its activation)."""

    device: str
    taken: bool
    before: float
    after: float


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A hard invariant broken on a device.

    Attributes:
        had_before: It was so before the activation too: told, and not counted.
        is_shared: It befell as many of the others in the same hours: told, and not counted.
    """

    device: str
    kind: TroubleKind
    detail: str = ""
    had_before: bool = False
    is_shared: bool = False


class Shadowed(msgspec.Struct, frozen=True, kw_only=True):
    """What people made of the disagreements between incumbent (a) and candidate (b)."""

    verdict: Verdict
    reviewed: int = 0
    needed: int = 0
    a_better: int = 0
    b_better: int = 0
    neither: int = 0
    reasons: list[str] = []


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known for a decision. None, anywhere: it could not be read, and that blocks.

    Attributes:
        stage: Index of the stage that counts and measures are of; another one's are not used.
        gated: The registry's verdict of the artefact.
        approved: By site: why no approval covers it now; empty: one does.
        no_way_back: By device: why what it would go back to may not be assigned to it.
        counts: By kind of bad event (the kinds are the same ones throughout a rollout).
        latency_p95_ms, confidence: One row for each device that has both, before and after.
        shadow: None also before anything was shadowed.
    """

    stage: int | None = None
    gated: Verdict | None = None
    gated_reasons: list[str] = []
    approved: dict[str, str] | None = None
    no_way_back: dict[str, str] = {}
    troubles: list[Trouble] | None = None
    counts: dict[str, list[Counted]] | None = None
    latency_p95_ms: list[Measured] | None = None
    confidence: list[Measured] | None = None
    shadow: Shadowed | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An order that waits to be carried out."""

    order: Order
    at_ms: int
    by: str = ""
    why: str = ""
    hours: float = 0.0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rollout is: the `state` that goes into a decision and comes out of it.

    Attributes:
        stage: Index into `Plan.stages`; None: not begun.
        since_ms: When `state` was entered.
        stage_since_ms: When the stage was.
        paused_ms: Of the stage, spent in pause or inconclusive.
        before: What a pause, or an inconclusive stage, goes back to.
        extra_h: Added to `at_most_h` of this stage.
        started: An operator has said go.
        accepted: An operator takes this stage's inconclusive evidence as enough.
        e_values: Of the stages that are over, as each ended.
        orders: Not carried out yet; each decision takes all of them.
        changes: Counts up with every change of state.
    """

    state: RolloutState = RolloutState.DRAFT
    stage: int | None = None
    since_ms: int = 0
    stage_since_ms: int = 0
    paused_ms: int = 0
    before: RolloutState | None = None
    extra_h: float = 0.0
    started: bool = False
    accepted: bool = False
    e_values: list[float] = []
    orders: list[Asked] = []
    reason: str = ""
    changes: int = 0


# ------------------------------------------------------------------------------- what is decided


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one gate found.

    Attributes:
        gate: `hard`, `counts`, `latency_p95_ms`, `confidence`, `shadow`, `soak`.
        value: The estimate; low and high: its interval. None: there is none.
        threshold: What value or bound is held against.
        unit: Of value, interval and threshold.
        amount: How much evidence there is, in words with units.
        e_value: Of the anytime-valid test over all stages, and `e_limit` what stops the rollout.
        e_stage: Of this stage alone.
        helps_to_wait: More time can change an inconclusive verdict.
    """

    gate: str
    verdict: Verdict
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    unit: str = ""
    amount: str = ""
    e_value: float | None = None
    e_limit: float | None = None
    e_stage: float | None = None
    helps_to_wait: bool = True
    reasons: list[str] = []


class Assign(msgspec.Struct, frozen=True, kw_only=True):
    """This device's item of this rollout becomes `item`; None: it is not asked for any more.

    Attributes:
        stage: Index of the stage that the device belongs to from now on.
        back: It is the way back.
    """

    device: str
    item: Assigned | None
    stage: int | None = None
    back: bool = False
    reason: str = ""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Central's word on a device: CONFIRMED (sets `confirmed_ms`), LOST, SKIPPED or REVERTED."""

    device: str
    state: UpdateState
    reason: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What follows. Nothing in it is repeated once it was carried out.

    Attributes:
        refused: Orders that cannot be carried out now, with the reason.
        next_ms: When to ask again, at the latest; None: only when something is asked.
    """

    progress: Progress
    assigns: list[Assign] = []
    marks: list[Mark] = []
    gates: list[GateResult] = []
    reasons: list[str] = []
    refused: list[tuple[Asked, str]] = []
    next_ms: int | None = None
