"""What a rollout would do, and when, if all goes well: the dry run over the fleet as it is.

What lives here: putting it together. Not here: stages and dates (`schedule`), ways back
(`returning`).
The rule: it changes nothing, and takes the approvals for given, because they are asked for later.
"""

from typing import Final

import msgspec

from vedette.central.rollouts import choice, evidence, returning, schedule
from vedette.central.rollouts.facts import Evidence, Plan, Verdict
from vedette.central.store.db import Tx

NAMED: Final = 50
"""Devices of a stage that are named; all are counted."""


NOBODY: Final = (
    "no device at these sites has a slot {!r}: it is the name that cameras use their model by, or"
    " config, app, system; `vedette edge updates` prints a device's slots"
)


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with dates.

    Attributes:
        taking_part: Devices that have the slot and are at the sites.
        stages: Each with the first of its devices.
        counts: How many devices each stage has, those that are not named included.
        gated: What the registry says of the artefact now.
        done_ms: When all is done, at the earliest; None: some stage has no window.
        words: The same as lines.
        warnings: What somebody should do before it begins, as about ways back.
    """

    taking_part: int
    stages: list[schedule.StageDates]
    counts: list[int]
    gated: str
    gated_verdict: Verdict | None
    done_ms: int | None
    words: list[str]
    warnings: list[str] = []


async def forecast(tx: Tx, plan: Plan, now_ms: int) -> Forecast:
    """Return what a plan would do if it began now."""
    devices = await returning.candidates(tx, plan, now_ms)
    verdict, reasons = await evidence.gated(tx, plan, now_ms)
    everywhere = Evidence(approved={one.site: "" for one in devices})
    stages = schedule.dates(plan, devices, everywhere, now_ms)
    named = [msgspec.structs.replace(one, devices=one.devices[:NAMED]) for one in stages]
    return Forecast(
        taking_part=len(choice.participants(plan, devices)),
        stages=named,
        counts=[len(one.devices) for one in stages],
        gated="; ".join(reasons),
        gated_verdict=verdict,
        done_ms=stages[-1].end_ms if stages else None,
        words=schedule.in_words(named),
        warnings=[
            *([] if devices else [NOBODY.format(plan.slot)]),
            *await returning.warnings(tx, plan, now_ms),
        ],
    )
