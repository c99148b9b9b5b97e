"""Made-up fleets through which `planner.decide` takes a rollout, for `bench_rollout.py`.

What lives here: fleets, what happens to them, and a rollout lived through to its end. What does
not: rules side by side, tables. The rule: what is judged and how is the engine's own code
(`planner`, `evidence.tally`, `evidence.troubles`), with every kind of bad event that it counts;
what is made up does not follow the model of the test (lognormal days, a day's luck shared by all).
"""

import math
from typing import Any, Final

import msgspec
import numpy as np

from vedette.central.rollouts import evidence, following, planner
from vedette.central.rollouts.facts import (
    Asked,
    Counted,
    Device,
    Evidence,
    Gates,
    Measured,
    Order,
    Plan,
    Progress,
    RolloutState,
    Tally,
    Trouble,
    Verdict,
)
from vedette.central.rollouts.measuring import HOURS, same_hour_before
from vedette.central.rollouts.noticing import BUDGET_MS
from vedette.central.rollouts.store import Known
from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import Artefact

CAMERAS: Final = 4
PAST_DAYS: Final = 14
RATE: Final = 0.05
CLUSTERED: Final = {"device": 0.5, "day": 1.0, "common": 0.2}
STEP_H: Final = 2
HOUR_MS: Final = 3_600_000
WORSE: Final = "restart"
"""The kind that becomes more frequent; the hard invariants do not know it, so that it is the counts
which have to tell. The others happen a tenth as often and do not change."""

RARE: Final = 0.1
P95_MS: Final = 100.0
SCATTER_MS: Final = {"device": 0.25, "day": 0.06, "common": 0.03, "hour": 0.04}
"""Of p95 by hour, standard deviations of the logarithm: machines differ, days differ on each, all
share some of a day, and hours."""

HEAT: Final = 1.6
"""Times as long, in the hot hours of the middle device."""

_LATE_MINUTES: Final = 60
_PAST_H: Final = PAST_DAYS * 24
_ENDS: Final = frozenset({RolloutState.DONE, RolloutState.ROLLED_BACK, RolloutState.INCONCLUSIVE})
_MAX_DAYS: Final = 50


def artefact(name: str, kind: ArtefactKind = ArtefactKind.APP) -> Artefact:
    """Return a program of one letter's name."""
    return Artefact(
        kind=kind,
        target=f"{kind}/{name}",
        sha256=name * 64,
        bytes=1,
        digest=f"sha256:{name * 64}",
        name=name,
    )


NEW, OLD = artefact("b"), artefact("a")


def lognormal(rng: np.random.Generator, variance: float, shape: tuple[int, ...]) -> np.ndarray:
    """Return factors with mean one and this relative variance."""
    sigma = math.sqrt(math.log1p(variance))
    return np.exp(rng.normal(-sigma * sigma / 2, sigma, shape))


def fleet(
    rng: np.random.Generator,
    devices: int,
    scatter: dict[str, float],
    days: int,
    rate: float = RATE,
) -> np.ndarray:
    """Return hourly rates of each device, (devices, days × 24), past days first."""
    own = rate * CAMERAS * lognormal(rng, scatter["device"], (devices, 1))
    luck = lognormal(rng, scatter["day"], (devices, days))
    common = np.exp(rng.normal(0, scatter["common"], (1, days)))
    return np.repeat(own * luck * common, 24, axis=1)


def latencies(rng: np.random.Generator, devices: int, days: int) -> np.ndarray:
    """Return p95 of latency by hour, ms, (devices, days × 24), past days first."""
    sd = SCATTER_MS
    by_day = rng.normal(0, sd["device"], (devices, 1)) + rng.normal(0, sd["day"], (devices, days))
    by_day = by_day + rng.normal(0, sd["common"], (1, days))
    by_hour = np.repeat(by_day, 24, axis=1) + rng.normal(0, sd["hour"], (devices, days * 24))
    return P95_MS * np.exp(by_hour)


def _heat(rng: np.random.Generator, p95_ms: np.ndarray) -> None:
    """Slow six hours of each day down since the rollout began, each device by as much as it is."""
    by_device = np.exp(rng.normal(math.log(HEAT), 0.2, (len(p95_ms), 1)))
    for noon in range(_PAST_H + 12, p95_ms.shape[1], 24):
        p95_ms[:, noon : noon + 6] *= by_device


class World:
    """A fleet that carries out what the planner decides: bad events and latency by the hour."""

    def __init__(
        self,
        rng: np.random.Generator,
        count: int,
        ratio: float = 1.0,
        *,
        slower: float = 1.0,
        is_hot: bool = False,
        days: int = _MAX_DAYS + 10,
    ) -> None:
        """Draw all that will happen, with the candidate and without.

        Args:
            rng: All chance.
            count: Devices.
            ratio: How many times as frequent `WORSE` is with the candidate.
            slower: How many times as long a picture takes with it.
            is_hot: Whether a heat wave slows everybody down in the afternoons, with it or without.
            days: How long it can be lived through, after `PAST_DAYS`.
        """
        usual, worse = _events(rng, count, ratio, PAST_DAYS + days)
        self._usual, self._worse = _so_far(usual), _so_far(worse)
        self.p95_ms = latencies(rng, count, PAST_DAYS + days)
        if is_hot:
            _heat(rng, self.p95_ms)
        self.slower = slower
        self.confidence = 0.74 + rng.normal(0, 0.005, (2, count))
        self.hour = _PAST_H
        self.since = np.full(count, -1)
        self.exposed_h = 0
        hardware = ("orin", "pi", "x86")
        self.devices = [
            Device(
                device=f"box-{i:05}",
                site=f"site-{i // 4}",
                strata=(hardware[i % 3], f"cam-{i % 2}", ("bright", "dim")[i // 4 % 2]),
                before=OLD,
                running=OLD.digest,
                running_ms=0,
                last_seen_ms=0,
            )
            for i in range(count)
        ]
        self._before = {
            kind: _past(events[:, :_PAST_H].reshape(count, PAST_DAYS, 24).sum(axis=2))
            for kind, events in usual.items()
        }
        self._late_before = [_hours_of(row[:_PAST_H], 0) for row in self.p95_ms]

    @property
    def now_ms(self) -> int:
        """Time since the rollout began."""
        return (self.hour - _PAST_H) * HOUR_MS

    def on(self) -> None:
        """Let the devices go on by one step."""
        self.hour += STEP_H
        now_ms = self.now_ms
        for i, device in enumerate(self.devices):
            changed: dict[str, Any] = {"last_seen_ms": now_ms, "running_ms": now_ms}
            if device.assigned and device.state is UpdateState.ASSIGNED:
                changed |= {"state": UpdateState.PROBATION, "since_ms": now_ms}
                changed["running"] = device.assigned
                self.since[i] = self.hour if device.assigned == NEW.digest else -1
            elif device.state is UpdateState.PROBATION:
                changed |= {"state": UpdateState.CONFIRMED, "since_ms": now_ms - 1}
            elif device.confirmed_ms is not None:
                changed["covered_h"] = device.covered_h + STEP_H
            if self.since[i] >= 0:
                self.exposed_h += STEP_H
            self.devices[i] = msgspec.structs.replace(device, **changed)

    def evidence(self, progress: Progress) -> Evidence:
        """Return what central would know of the stage."""
        stage_hour = _PAST_H + progress.stage_since_ms // HOUR_MS
        latency, confidence = self._measured(stage_hour)
        late = self._late()
        return Evidence(
            stage=progress.stage,
            gated=Verdict.PASS,
            approved={d.site: "" for d in self.devices},
            troubles=self._troubles(late),
            counts=self._counts(stage_hour, late),
            latency_p95_ms=latency,
            confidence=confidence,
        )

    def _counts(self, stage_hour: int, late: list[dict[int, int]]) -> dict[str, list[Counted]]:
        everyone = np.arange(len(self.devices))
        is_on = self.since >= 0
        first = np.minimum(np.maximum(stage_hour, self.since), self.hour)
        hours = (self.hour - first).tolist()
        counts: dict[str, list[Counted]] = {}
        for kind in evidence.KINDS:
            if kind == "budget":
                tallies = [
                    self._budget(late[i], int(first[i]), hours[i]) for i in range(len(self.devices))
                ]
            else:
                with_it, without = (
                    so_far[kind][everyone, self.hour] - so_far[kind][everyone, first]
                    for so_far in (self._worse, self._usual)
                )
                events = np.where(is_on, with_it, without).tolist()
                tallies = [
                    (
                        self._before[kind][i],
                        Tally(
                            events=events[i],
                            hours=float(hours[i] * CAMERAS),
                            days=math.ceil(hours[i] / 24),
                        ),
                    )
                    for i in range(len(self.devices))
                ]
            counts[kind] = [
                Counted(device=device.device, taken=on, before=before, since=since)
                for device, on, (before, since) in zip(
                    self.devices, is_on.tolist(), tallies, strict=True
                )
            ]
        return counts

    def _budget(self, late: dict[int, int], first: int, hours: int) -> tuple[Tally, Tally]:
        past_h, since_h = float(_PAST_H * CAMERAS), float(hours * CAMERAS)
        from_ms = (first - _PAST_H) * HOUR_MS
        return (
            evidence.tally("budget", late, -_PAST_H * HOUR_MS, 0, past_h),
            evidence.tally("budget", late, from_ms, self.now_ms, since_h),
        )

    def _late(self) -> list[dict[int, int]]:
        """Return of each device its hours beyond the budget, with that many camera-minutes."""
        found: list[dict[int, int]] = []
        for i, since in enumerate(self.since):
            after = self.p95_ms[i, _PAST_H : self.hour].copy()
            if since >= 0:
                after[since - _PAST_H :] *= self.slower
            found.append(self._late_before[i] | _hours_of(after, _PAST_H))
        return found

    def _troubles(self, late: list[dict[int, int]]) -> list[Trouble]:
        bad: dict[str, dict[str, dict[int, int]]] = {kind: {} for kind in evidence.KINDS}
        known: list[Known] = []
        for i, device in enumerate(self.devices):
            active_ms = None
            if self.since[i] >= 0:
                active_ms = (int(self.since[i]) - _PAST_H) * HOUR_MS
            bad["budget"][device.device] = late[i]
            known.append(Known(device=device, active_ms=active_ms))
        return evidence.troubles(bad, known)

    def _measured(self, stage_hour: int) -> tuple[list[Measured], list[Measured]]:
        latency: list[Measured] = []
        confidence: list[Measured] = []
        newest = max(stage_hour, self.hour - HOURS)
        all_hours = np.arange(newest, self.hour)
        before_ms = self.p95_ms[:, [_before(hour) for hour in all_hours]]
        after_ms = self.p95_ms[:, newest : self.hour]
        for i, device in enumerate(self.devices):
            is_on = bool(self.since[i] >= 0)
            skipped = max(0, int(self.since[i]) - newest)
            if skipped >= len(all_hours):
                continue
            name = device.device
            now_ms = float(after_ms[i, skipped:].mean())
            latency.append(
                Measured(
                    device=name,
                    taken=is_on,
                    before=float(before_ms[i, skipped:].mean()),
                    after=now_ms * self.slower if is_on else now_ms,
                )
            )
            was, now = self.confidence[:, i].tolist()
            confidence.append(Measured(device=name, taken=is_on, before=was, after=now))
        return latency, confidence


def _before(hour: int) -> int:
    """Return the same hour of the day on the last day before the rollout."""
    return same_hour_before((int(hour) - _PAST_H) * HOUR_MS, 0) // HOUR_MS + _PAST_H


def _events(
    rng: np.random.Generator, count: int, ratio: float, days: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return events by hour without and with the candidate, by kind, (count, days × 24)."""
    usual: dict[str, np.ndarray] = {}
    worse: dict[str, np.ndarray] = {}
    for kind in evidence.KINDS:
        if kind == "budget":
            continue  # it follows from latency
        rate = RATE if kind == WORSE else RATE * RARE
        rates = fleet(rng, count, CLUSTERED, days, rate)
        usual[kind] = rng.poisson(rates).astype(np.int32)
        worse[kind] = usual[kind]
        if kind == WORSE and ratio > 1:
            worse[kind] = usual[kind] + rng.poisson(rates * (ratio - 1)).astype(np.int32)
    return usual, worse


def _so_far(events: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return how many happened before each hour, by kind, (count, hours + 1)."""
    return {
        kind: np.concatenate(
            [np.zeros((len(of), 1), np.int32), of.cumsum(axis=1, dtype=np.int32)], axis=1
        )
        for kind, of in events.items()
    }


def _past(days: np.ndarray) -> list[Tally]:
    """Return what was before, from events by device and day."""
    return [
        Tally(
            events=int(of.sum()),
            hours=float(_PAST_H * CAMERAS),
            days=PAST_DAYS,
            squares=int((of**2).sum()),
        )
        for of in days
    ]


def _hours_of(p95_ms: np.ndarray, first: int) -> dict[int, int]:
    """Return the hours, ms since the rollout began, in which p95 was beyond the budget."""
    late = np.flatnonzero(p95_ms > BUDGET_MS)
    return {(first + int(hour) - _PAST_H) * HOUR_MS: _LATE_MINUTES for hour in late}


def plan_for(kind: ArtefactKind = ArtefactKind.APP) -> Plan:
    """Return the default plan, without a shadow."""
    return Plan(
        rollout="rollout-1",
        kind=kind,
        slot="app",
        artefact=NEW,
        stages=planner.default_stages(with_shadow=False),
        gates=Gates(needs_shadow=False),
    )


def lived(world: World, plan: Plan) -> dict[str, Any]:
    """Return how one rollout ended.

    `stopped_h` is when the way back was decided, None: never. `why` names the gates
    that failed, or did not pass in time.
    """
    progress = Progress(orders=[Asked(order=Order.START, at_ms=0)])
    stopped_h: float | None = None
    stage, why, touched = 0, [], 0
    while progress.state not in _ENDS and world.now_ms < _MAX_DAYS * 24 * HOUR_MS:
        now_ms = world.now_ms
        made = planner.decide(plan, progress, world.devices, world.evidence(progress), now_ms)
        world.devices = following.applied(world.devices, made, now_ms)
        progress = made.progress
        stage = progress.stage or 0
        if progress.state is RolloutState.ROLLING_BACK and stopped_h is None:
            stopped_h = now_ms / HOUR_MS
            why = [gate.gate for gate in made.gates if gate.verdict is Verdict.FAIL]
        if progress.state is RolloutState.INCONCLUSIVE:
            why = [gate.gate for gate in made.gates if gate.verdict is not Verdict.PASS]
        touched = max(touched, int((world.since >= 0).sum()))
        world.on()
    return {
        "end": str(progress.state),
        "stage": stage,
        "hours": world.now_ms / HOUR_MS,
        "stopped_h": stopped_h,
        "why": why,
        "touched": touched,
        "device_hours": world.exposed_h,
    }
