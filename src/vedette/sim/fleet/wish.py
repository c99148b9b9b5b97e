"""What a simulated rollout is asked for, and what comes of it. Pure.

What lives here: how large, which candidate, the plan in hours instead of days, and what counts as a
good end. What does not: living through it (`rollout`, `rolling`).
"""

import random
from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.rollouts.facts import Gates, Plan, RolloutState, Stage
from vedette.central.rollouts.views import RolloutRow, RolloutView
from vedette.errors import ConfigError
from vedette.sim.fleet.performance import Candidate
from vedette.sim.fleet.scenario import Fault, Kind
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact

SLOT: Final = "people"
ROLLOUT: Final = "sim-rollout"
OLD: Final = "1.1.4"
NEW: Final = "1.2.0"
OVER: Final = frozenset(
    {
        RolloutState.DONE,
        RolloutState.ROLLED_BACK,
        RolloutState.STOPPED,
        RolloutState.INCONCLUSIVE,
        RolloutState.SUPERSEDED,
    }
)
BEGINS_H: Final = 24.0
"""Simulated: a night and a day before it nothing is rolled out."""

_TROUBLED_H: Final = 8.0
_WINDOWS: Final = [("18:00", "09:00")]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What to simulate.

    Attributes:
        model: The good one, or one of those that are worse.
        shadow: Whether it runs beside the old one first, with people who review.
        faults: How many devices misbehave, or are away for a while, in each way that a good rollout
            has to live with; with any, a whole site is cut off for an hour and a half as well.
        max_h: Simulated hours of the rollout after which it is given up. Of the night before, at
            most so many are lived through.
    """

    devices: int = 200
    model: Candidate = Candidate.GOOD
    shadow: bool = True
    faults: int = 1
    per_site: int = 4
    seed: int = 1
    max_h: float = 12.0

    @property
    def ends_at(self) -> RolloutState:
        """Return the stage that a candidate of this kind does not leave; DONE: it leaves all."""
        if self.model is Candidate.GOOD:
            return RolloutState.DONE
        is_seen = self.shadow and self.model is Candidate.BAD
        return RolloutState.SHADOW if is_seen else RolloutState.CANARY


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Where it stands, for whoever watches."""

    hours: float
    url: str
    link: str
    view: RolloutView | None
    running: dict[str, int]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended.

    Attributes:
        stage: Of the plan, by name: where it was when it ended.
        course: Stages in the order in which they were entered, with simulated hours.
        running: Devices by what they truly run at the end.
        touched: Most devices that ran the candidate at one time.
        reviewed: Judgements that people gave.
    """

    state: RolloutState
    reason: str
    hours: float
    stage: str
    course: list[tuple[str, float]]
    running: dict[str, int]
    touched: int
    reviewed: int
    requests: int
    odd: list[str]
    is_as_wished: bool


Watch = Callable[[Told], None]


def check(wish: Wish) -> None:
    """Raise where it cannot be.

    Raises:
        ConfigError: Too few devices for what they shall do, or too many for this machine.
    """
    if not 20 <= wish.devices <= 2_000:
        raise ConfigError(f"{wish.devices} devices", operator_hint="20 to 2000")
    if not 0 <= wish.faults <= wish.devices // 20:
        raise ConfigError(f"{wish.faults} devices of each fault", operator_hint="fewer --faults")


def plan(wish: Wish, new: Artefact, old: Artefact) -> Plan:
    """Return what is asked for: the stages of a real one, in hours instead of days."""
    stages = [
        Stage(state=RolloutState.SHADOW, devices=10, soak_h=0.0, at_most_h=8.0),
        Stage(state=RolloutState.CANARY, devices=2, soak_h=1.0, at_most_h=8.0),
        Stage(
            state=RolloutState.PILOT, share=max(0.1, 4 / wish.devices), soak_h=1.0, at_most_h=8.0
        ),
        Stage(state=RolloutState.WAVE, share=0.5, soak_h=0.0, at_most_h=8.0),
        Stage(state=RolloutState.WAVE, share=1.0, soak_h=0.0, at_most_h=8.0),
    ]
    return Plan(
        rollout=ROLLOUT,
        kind=ArtefactKind.MODEL,
        slot=SLOT,
        artefact=new,
        back=old,
        stages=stages if wish.shadow else stages[1:],
        gates=Gates(needs_shadow=wish.shadow, tolerable_per_h=10.0),
        windows=_WINDOWS,
        probation_s=120.0,
        shadow_samples_per_day=480,
    )


def spells(wish: Wish) -> list[Fault]:
    """Return when devices are away while it is rolled out: no line, no power, or a site cut off.

    All are shorter than what makes a device count as lost.
    """
    if not wish.faults:
        return []
    rng = random.Random(f"{wish.seed}away")  # noqa: S311 - repeatable chance, no secrets

    def away(kind: Kind, least_min: int, most_min: int) -> Fault:
        at_min = BEGINS_H * 60 + rng.randint(15, round(_TROUBLED_H * 60))
        return Fault(kind=kind, at_min=at_min, for_min=rng.randint(least_min, most_min))

    lines = [away(Kind.OFFLINE, 20, 100) for _ in range(wish.faults)]
    powers = [away(Kind.POWER, 3, 30) for _ in range(wish.faults)]
    return [*lines, *powers, away(Kind.SITE_CUT, 90, 90)]


def is_as_wished(wish: Wish, row: RolloutRow, *, have_it: int, held_up: int, touched: int) -> bool:
    """True where the rollout ended as a candidate of this kind deserves."""
    if wish.ends_at is RolloutState.DONE:
        return row.state is RolloutState.DONE and have_it >= wish.devices - held_up
    is_there = row.plan.stages[row.stage].state is wish.ends_at
    is_taken_back = row.state is RolloutState.ROLLED_BACK and have_it == 0
    is_unharmed = wish.ends_at is not RolloutState.SHADOW or touched == 0
    return is_there and is_taken_back and is_unharmed
