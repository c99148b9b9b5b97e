"""What devices say of their updates, into tables: where a step is, what runs, what went wrong.

What lives here: the effects of `update.v1` and of `HealthReport.updates`, collected while ingest
takes messages in, and written in its transaction. What does not: judging them (`jobs`, `planner`).

The rule: a device speaks of itself alone, and only of what it was assigned. A report of a rollout,
an attempt or a digest that its row does not have moves nothing; a late or repeated one moves
nothing back. Its word is enough for bad news; that an artefact counts as confirmed takes a
heartbeat that names the running digest (`device_slots`), which the planner asks for. Only of a
rollout that is over is its word taken for what it has from now on: nothing is decided then.
"""

import math
from typing import Final

import msgspec

from vedette.central import rollups
from vedette.central.condition import tiers
from vedette.central.rollouts.store import OVER
from vedette.central.store import arrays
from vedette.central.store.db import Tx
from vedette.stats import gates
from vedette.wire.messages import Aggregate, HealthReport, Histogram
from vedette.wire.slots import UpdateState
from vedette.wire.updates import UpdateReport

MAX_SLOTS: Final = 64
"""Of one device: models, and one each for program, system and configuration."""

BUDGET_MS: Final = gates.BUDGET_MS[gates.TOTAL]
MISSES: Final = 0.05
"""Of the pictures of a minute: the budget is one of 95 %."""

MAX_AT_ONCE: Final = 100
"""Most bad events of one kind that one report brings: a counter may be anything."""

MAX_SAVED_BYTES: Final = 2 * 1024**3
"""Of one file: no difference is made of longer ones."""

_MAX_TEXT: Final = 300
_TOTAL: Final = "total"
_SLOT: Final = (
    "device", "slot", "kind", "rollout", "attempt", "state", "digest", "running", "previous",
    "problem", "bytes_done", "bytes", "load_s", "golden_ok", "epoch", "seq", "now_ms",
)  # fmt: skip
_COUNTER: Final = (
    "device", "epoch", "seq", "at_ms", "assignment_version", "crashes", "restarts", "golden_failed",
)  # fmt: skip
_INT32: Final = 2**31 - 1


class Noticed(msgspec.Struct, kw_only=True):
    """What one transaction heard of updates.

    Attributes:
        steps: Rows of `rollout_device_said`, in the order of arrival.
        health: By device, its newest report in this transaction with (epoch, seq, made, received).
        bad: Bad minutes and reports, by device, hour and kind: `silent_minute`, camera-minutes
            without a result; `budget`, camera-minutes in which more than `MISSES` of the pictures
            took longer than `BUDGET_MS`; `heat`, reports of a machine held back by heat.
    """

    steps: list[dict[str, object]] = []
    health: dict[str, tuple[int, int, int, int, HealthReport]] = {}
    bad: dict[tuple[str, int, str], int] = {}

    def step(self, device: str, body: UpdateReport, received_ms: int) -> None:
        """Collect one step of a device."""
        if body.state in {UpdateState.LOST, UpdateState.SKIPPED, UpdateState.ASSIGNED}:
            return  # the first two are central's words, the third is what it knows
        self.steps.append(
            {
                "rollout": body.rollout,
                "device": device,
                "attempt": min(body.attempt, _INT32),
                "digest": body.digest,
                "state": str(body.state),
                "detail": body.detail[:_MAX_TEXT],
                "saved_bytes": min(body.saved_bytes, MAX_SAVED_BYTES),
                "now_ms": received_ms,
            }
        )

    def heard(self, device: str, body: HealthReport, key: tuple[int, int, int, int]) -> None:
        """Collect the newest health report of a device, where it speaks of slots."""
        if not body.updates:
            return
        self.health[device] = (*key, body)
        if hot(body.system.throttle_flags):
            self._count(device, key[2], "heat")

    def minute(self, device: str, body: Aggregate) -> None:
        """Collect a camera's minute without results, or with results that came too late."""
        frames = body.frames
        if frames.captured and not frames.analysed and not frames.gated:
            self._count(device, body.start_ms, "silent_minute")
        took = body.stage_ms.get(_TOTAL)
        if took is not None and misses(took) > MISSES:
            self._count(device, body.start_ms, "budget")

    def _count(self, device: str, at_ms: int, kind: str) -> None:
        key = device, rollups.floor_ms(at_ms, rollups.HOUR_MS), kind
        self.bad[key] = self.bad.get(key, 0) + 1

    @property
    def rollouts(self) -> set[str]:
        """Rollouts that devices spoke of, whether or not there are such."""
        return {str(step["rollout"]) for step in self.steps}


async def write(tx: Tx, noticed: Noticed) -> None:
    """Write what was noticed; the devices are held, and have their newest report already."""
    # By device, as everybody who holds several of these rows does; a device's own in their order.
    for step in sorted(noticed.steps, key=lambda row: str(row["device"])):
        await tx.run("rollout_device_said", **step, over=OVER)
    if noticed.health:
        slots = [row for device, said in noticed.health.items() for row in _slots(device, said)]
        await tx.run("slots_note", **arrays.columns(slots, *_SLOT))
        counters = [_counters(device, said) for device, said in noticed.health.items()]
        await tx.run("counters_note", **arrays.columns(counters, *_COUNTER), most=MAX_AT_ONCE)
    if noticed.bad:
        rows = sorted((*key, count) for key, count in noticed.bad.items())
        await tx.run("bad_hours_add", **arrays.columns(rows, "device", "hour_ms", "kind", "count"))


def misses(took: Histogram, budget_ms: float = BUDGET_MS) -> float:
    """Return the share of pictures that certainly took longer, 0 to 1. Pure.

    Bucket i begins at 2^(i/2^scale), so the one that the budget lies in counts as in time.
    """
    first = math.ceil(math.log2(budget_ms) * 2**took.scale) - took.offset
    if first >= len(took.counts):
        return 0.0
    late = sum(took.counts[max(0, first) :])
    return late / (took.zero + sum(took.counts)) if late else 0.0


def hot(flags: list[str] | None) -> bool:
    """True where heat holds a machine back now, not where it only once did."""
    return any(not tiers.is_power(flag) for flag in tiers.held_back(flags))


def _slots(device: str, said: tuple[int, int, int, int, HealthReport]) -> list[tuple[object, ...]]:
    epoch, seq, _, received_ms, body = said
    unique = {one.slot: one for one in body.updates[:MAX_SLOTS]}
    return [
        (
            device,
            one.slot,
            str(one.kind),
            one.rollout,
            min(one.attempt, _INT32),
            str(one.state or ""),
            one.digest,
            one.running,
            one.previous,
            one.problem[:_MAX_TEXT],
            one.bytes_done,
            one.bytes,
            one.load_s,
            one.golden_ok,
            epoch,
            seq,
            received_ms,
        )
        for one in unique.values()
    ]


def _counters(device: str, said: tuple[int, int, int, int, HealthReport]) -> tuple[object, ...]:
    epoch, seq, made_ms, _, body = said
    pipeline = body.pipeline
    failed = any(one.golden_ok is False for one in [*body.updates, *body.models])
    return (
        device,
        epoch,
        seq,
        made_ms,
        body.assignment_version,
        pipeline.crashes if pipeline else 0,
        pipeline.restarts if pipeline else 0,
        failed,
    )
