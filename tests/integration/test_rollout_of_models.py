"""A rollout of a model from its draft to the last device, on the evidence of shadow and review."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.integration.conftest import Fleet
from tests.integration.rollout_rig import (
    Box,
    artefact,
    boxes,
    central_of_rollouts,
    go_on,
    observed,
    plan,
    started,
    state,
    states,
    turn,
)
from vedette.central.review.evidence import shadow_evidence
from vedette.central.rollouts.facts import Gates, Plan, RolloutState, Stage, Verdict
from vedette.sim.fleet import performance, registering
from vedette.sim.fleet.beside import Beside, Truths
from vedette.sim.fleet.performance import Candidate, Performance
from vedette.sim.fleet.reviewing import Reviewer
from vedette.sim.fleet.wish import NEW as VERSION
from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import Artefact

pytestmark = pytest.mark.anyio

SLOT = "people"
SHADOWS = (UpdateState.DOWNLOADED, UpdateState.VERIFIED, UpdateState.SHADOWING)


def model(version: str) -> Artefact:
    """A version of the model that the simulated registry knows."""
    made = artefact(f"yolox-nano/{version}.vbundle", ArtefactKind.MODEL)
    return msgspec.structs.replace(made, digest=registering.digest_of(version))


OLD, NEW = model("1.1.4"), model(VERSION)

GOOD = performance.candidate(NEW.digest, Candidate.GOOD)
WORSE = msgspec.structs.replace(GOOD, finds=0.92, gains=0.0)


@pytest.fixture
async def fleet(conninfo: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A running central without its pages, with a folder of its own."""
    async with central_of_rollouts(conninfo, tmp_path) as running:
        yield running


def stages() -> Plan:
    """Shadow on two, two canaries, half, all."""
    return plan(
        kind=ArtefactKind.MODEL,
        slot=SLOT,
        artefact=NEW,
        back=OLD,
        gates=Gates(),
        stages=[
            Stage(state=RolloutState.SHADOW, devices=2),
            Stage(state=RolloutState.CANARY, devices=2, soak_h=3.0, worst_ratio=1000.0),
            Stage(state=RolloutState.PILOT, share=0.5, soak_h=2.0, worst_ratio=1000.0),
            Stage(state=RolloutState.WAVE, share=1.0, soak_h=1.0, worst_ratio=1000.0),
        ],
        shadow_samples_per_day=24 * 400,
        shadow_every_s=5.0,
    )


async def begun(fleet: Fleet) -> list[Box]:
    """Six devices with a past, a model that passed its gates, and a rollout in its shadow stage."""
    found = await boxes(fleet, 6, running=OLD, slot=SLOT)
    await observed(fleet, found, 48)
    await started(fleet, stages(), artefacts=[OLD, NEW])
    await turn(fleet)
    assert await state(fleet) is RolloutState.DRAFT, "the registry does not know it yet"
    async with fleet.db.transaction() as tx:
        await registering.register(tx, VERSION, fleet.now_ms)
    fleet.clock.advance(600)
    await turn(fleet, 3)
    assert await state(fleet) is RolloutState.SHADOW
    return found


async def shadowed(fleet: Fleet, found: list[Box], like: Performance) -> Truths:
    """Have the candidate run beside the old one for two hours, and send what came of it."""
    truths: Truths = {}
    incumbent = performance.incumbent(OLD.digest)
    chosen: list[tuple[Box, Beside]] = []
    for number, box in enumerate(found):
        await box.look()
        if box.item is not None and box.item.shadow is not None:
            rng = random.Random(number)
            chosen.append((box, Beside(box.name, box.item, like, ["door"], truths, rng, 0)))
            await box.beat(*SHADOWS)
    assert len(chosen) == 2
    assert {box.running for box in found} == {OLD}, "in shadow nothing is taken into use"
    for box, beside in chosen:
        said = [one for at_ms in range(0, 7_500_000, 300_000) for one in
                beside.step(at_ms, incumbent)]  # fmt: skip
        told = [box.fake.envelope(*one) for one in said if one[0] != "update.v1"]
        for first in range(0, len(told), 100):
            await box.fake.up(*told[first : first + 100])
    return truths


async def test_a_model_goes_from_its_draft_through_shadow_to_every_device(fleet: Fleet) -> None:
    """Gates, approvals, shadow, people, then stages by covered hours: no step before its proof."""
    found = await begun(fleet)
    truths = await shadowed(fleet, found, GOOD)
    await turn(fleet)
    assert await state(fleet) is RolloutState.SHADOW, "nobody has judged anything yet"
    vera = Reviewer("vera", truths, seed=1)
    await vera.work(fleet.db, "ro-1", fleet.now_ms, minutes=15)
    async with fleet.db.transaction() as tx:
        said = await shadow_evidence(tx, "ro-1")
    assert said is not None
    assert (said.verdict, said.reviewed) == (Verdict.PASS, vera.judged)
    await turn(fleet, 3)
    assert await state(fleet) is RolloutState.CANARY
    for name, taken, hours in ((RolloutState.CANARY, 2, 5), (RolloutState.PILOT, 3, 4),
                               (RolloutState.WAVE, 6, 3)):  # fmt: skip
        await go_on(fleet, found)
        assert await state(fleet) is name
        assert sum(box.running == NEW for box in found) == taken
        await go_on(fleet, found, hours=hours)
    assert await state(fleet) is RolloutState.DONE
    assert set((await states(fleet)).values()) == {"confirmed"}
    course = await fleet.rows("SELECT state FROM rollout_history WHERE device = '' ORDER BY number")
    seen = list(dict.fromkeys(one for (one,) in course))
    assert seen == ["draft", "shadow", "canary", "pilot", "wave", "done"]


async def test_a_model_that_people_find_worse_in_shadow_never_runs_anywhere(fleet: Fleet) -> None:
    """It passed every gate of the registry; the fleet's own pictures and people say otherwise."""
    found = await begun(fleet)
    truths = await shadowed(fleet, found, WORSE)
    await Reviewer("vera", truths, seed=1).work(fleet.db, "ro-1", fleet.now_ms, minutes=15)
    await turn(fleet, 3)
    assert await state(fleet) is RolloutState.ROLLED_BACK
    ((why,),) = await fleet.rows("SELECT reason FROM rollouts")
    assert "speak for the model in use" in why
    for box in found:
        await box.look()
        assert box.item is None, "nobody is asked to run it beside any more"
    assert {box.running for box in found} == {OLD}
    gates = await fleet.rows("SELECT gate FROM rollout_gates WHERE verdict = 'fail'")
    assert gates == [("shadow",)]
