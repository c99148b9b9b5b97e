"""What API and console show of rollouts: structs, and the small sums over them. Pure.

What lives here: the shape of the list, of one rollout, its stages, devices, gates and history. What
does not: reading them (`looking`), words and drawings of pages (`console.rollouts`). The rule: what
is not known is None and never 0, and a gate without enough evidence is `INCONCLUSIVE` or `WAIT`.
"""

import msgspec

from vedette.central.rollouts.facts import Plan, RolloutState, Verdict
from vedette.wire.slots import UpdateState


class GateView(msgspec.Struct, frozen=True, kw_only=True):
    """One gate of a stage, with what it was judged by.

    Attributes:
        gate: Short name: `lost`, `crash`, `golden`, `events`, `latency`, `confidence`, `shadow`.
        group: `invariant`, `counts`, `difference` or `shadow`.
        value: What was measured, in `unit`; None: nothing could be.
        low, high: Its interval; None where there is none on that side.
        threshold: What `value`, or the end of the interval, may not pass.
        is_floor: True where less than the threshold is bad; False: where more is.
        evidence: How much was looked at, in words: "38 devices, 912 covered h".
        reason: Why it says so, in words.
        course: (wall ms, value) since the stage began, oldest first; for a plot.
    """

    gate: str
    group: str
    verdict: Verdict
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    is_floor: bool = False
    unit: str = ""
    evidence: str = ""
    reason: str = ""
    course: list[tuple[int, float]] = []


class StageView(msgspec.Struct, frozen=True, kw_only=True):
    """One stage as it is, or as it is planned.

    Attributes:
        number: Its index in the plan.
        devices: How many belong to it alone, without those of earlier stages.
        settled: Of these, how many are done with it: confirmed, reverted, lost or skipped.
        began_ms, ended_ms: When it was entered and left; None: not yet.
        planned_ms: When it is left at the earliest, by the plan and the windows.
        covered_h: Least covered hours among its devices that were confirmed; None: none was.
        median_covered_h: Likewise, of the middle device.
        devices_soaked: How many have all hours that are needed.
    """

    number: int
    state: RolloutState
    devices: int
    settled: int = 0
    began_ms: int | None = None
    ended_ms: int | None = None
    planned_ms: int | None = None
    soak_h: float = 0.0
    at_most_h: float = 0.0
    covered_h: float | None = None
    median_covered_h: float | None = None
    devices_soaked: int = 0
    verdict: Verdict | None = None


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """One device that takes part, is held out as a control, or was left out.

    Attributes:
        state: None: nothing assigned yet.
        stage: Index of its stage; None: of none yet.
        window: Local times of activation, in words, with the zone.
        next_window_ms: When it opens next; None: any time, or done.
        why: Why it is among the first, or left out; in words.
        problem: Why it does not get on, or went back; in words.
        is_control: It keeps the old version for now and is compared with.
        saved_bytes: What it did not have to download: a difference was enough.
    """

    device: str
    site: str
    site_name: str = ""
    hardware: str = ""
    strata: tuple[str, ...] = ()
    state: UpdateState | None = None
    stage: int | None = None
    attempt: int = 0
    running: str = ""
    previous: str = ""
    since_ms: int | None = None
    last_seen_ms: int | None = None
    time_zone: str = "UTC"
    window: str = ""
    next_window_ms: int | None = None
    covered_h: float | None = None
    why: str = ""
    problem: str = ""
    is_control: bool = False
    bytes_done: int = 0
    bytes: int = 0
    saved_bytes: int = 0


class HistoryView(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a rollout, and who or what did it."""

    at_ms: int
    actor: str
    what: str
    detail: str = ""


class RolloutRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout in the list.

    Attributes:
        counts: Devices by `UpdateState` value; `""`: those that have nothing assigned yet.
        was: The state in which it was paused, found inconclusive, or began to go back.
        reason: Why it is where it is, in words.
        asked: An order that waits for a second person: `start`, `waive` …; empty: none.
    """

    plan: Plan
    state: RolloutState
    stage: int = 0
    stages: list[StageView] = []
    was: RolloutState | None = None
    counts: dict[str, int] = {}
    made_by: str = ""
    made_ms: int = 0
    since_ms: int = 0
    reason: str = ""
    asked: str = ""
    asked_by: str = ""
    asked_ms: int | None = None

    @property
    def devices(self) -> int:
        """How many take part."""
        return sum(self.counts.values())


class RolloutView(msgspec.Struct, frozen=True, kw_only=True):
    """All that a page about one rollout says.

    Attributes:
        chosen: Some of those that the choice took in, and no wave: shadows and canaries.
        gates: Of the present stage; of the last one where it is over.
        orders: What may be ordered now, by name, two-person approval left aside.
        approved_by: Key ids that signed the approval.
        gated: What the registry says of the artefact, in words.
        warnings: What somebody should do before it begins, as about ways back.
        by_difference: Devices for which a difference to the version before was enough.
        saved_bytes: What these did not have to download.
    """

    row: RolloutRow
    devices: list[DeviceView] = []
    chosen: list[DeviceView] = []
    gates: list[GateView] = []
    history: list[HistoryView] = []
    orders: list[str] = []
    approved_by: list[str] = []
    approval_expires_ms: int | None = None
    gated: str = ""
    gated_verdict: Verdict | None = None
    warnings: list[str] = []
    by_difference: int = 0
    saved_bytes: int = 0
