"""What devices say to a rollout that is over: known as theirs, and gone back to next time."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.integration.conftest import Fleet
from tests.integration.rollout_rig import (
    NEW,
    OLD,
    STEPS,
    Box,
    artefact,
    boxes,
    central_of_rollouts,
    go_on,
    observed,
    order,
    plan,
    started,
    state,
    turn,
)
from vedette.central.rollouts import looking, ordering, returning, taking
from vedette.central.rollouts.facts import Device, Order, RolloutState, Stage

pytestmark = pytest.mark.anyio

ALL = [Stage(state=RolloutState.WAVE, share=1.0, soak_h=4.0)]
SOON = [Stage(state=RolloutState.WAVE, share=1.0, soak_h=2.0, worst_ratio=1000.0)]
NEWEST = artefact("one/1.2")
NEXT = {"artefact": NEWEST, "back": NEW, "stages": SOON}
LATER = plan("ro-9", artefact=artefact("one/1.3"))


@pytest.fixture
async def fleet(conninfo: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A running central without its pages, with a folder of its own."""
    async with central_of_rollouts(conninfo, tmp_path) as running:
        yield running


async def begun(fleet: Fleet) -> Box:
    """A device in the only stage of `ro-1`, on probation with what is new."""
    [box] = await boxes(fleet, 1)
    await started(fleet, plan(stages=ALL))
    await turn(fleet)
    await probation(box)
    return box


async def probation(box: Box) -> None:
    """Have a device take up what it is assigned, and not say yet that it works."""
    await box.look()
    assert box.item is not None
    box.previous, box.running = box.running.digest, box.item.artefact
    await box.beat(*STEPS[:-1])


async def done_without(fleet: Fleet, late: Box, here: Box) -> None:
    """A rollout `ro-1` that is done, and had left one device out."""
    await observed(fleet, [here, late], 48)
    await started(fleet, plan(stages=SOON, excluded=[late.name]))
    await go_on(fleet, [here], hours=4)
    await order(fleet, "ro-1", Order.ACCEPT, why="one device tells too little")
    assert await state(fleet) is RolloutState.DONE
    await late.fake.sign_in()
    await late.beat()


async def included(fleet: Fleet, box: Box) -> None:
    """Have a rollout that is done take in a device that it had left out."""
    async with fleet.db.transaction() as tx:
        await ordering.choose(tx, "ro-1", [box.name], "include", actor="mia", now_ms=fleet.now_ms)
    await turn(fleet)


async def next_time(fleet: Fleet, name: str) -> Device:
    """What a later rollout would know of a device."""
    async with fleet.db.transaction() as tx:
        found = await returning.candidates(tx, LATER, fleet.now_ms)
    return next(one for one in found if one.device == name)


@pytest.mark.parametrize("end", [Order.STOP, Order.SUPERSEDE])
async def test_what_is_confirmed_after_the_end_is_the_way_back_next_time(
    fleet: Fleet, end: Order
) -> None:
    """Whichever way the rollout ended: what the device confirms later is what it has."""
    box = await begun(fleet)
    await order(fleet, "ro-1", end)
    assert await fleet.rows("SELECT * FROM installed") == []
    await box.beat(STEPS[-1])
    device = await next_time(fleet, box.name)
    assert taking.back_to(LATER, device) == NEW
    assert not taking.is_doubtful(LATER, device), "it may take part"


@pytest.mark.parametrize("end", [Order.STOP, Order.SUPERSEDE])
async def test_what_was_confirmed_just_before_the_end_is_the_way_back_next_time(
    fleet: Fleet, end: Order
) -> None:
    """The heartbeat that would have settled it comes after the end, when nobody asks for it."""
    box = await begun(fleet)
    await box.beat(STEPS[-1])
    assert await fleet.rows("SELECT * FROM installed") == [], "its own word is not enough yet"
    await order(fleet, "ro-1", end)
    await box.beat()
    await turn(fleet)
    assert taking.back_to(LATER, await next_time(fleet, box.name)) == NEW


async def test_a_straggler_of_a_superseded_rollout_goes_back_to_what_it_confirmed(
    fleet: Fleet,
) -> None:
    """It came in late, and another rollout, at another site, took the place of its own."""
    [here] = await boxes(fleet, 1)
    [late] = await boxes(fleet, 1, site="mill")
    await done_without(fleet, late, here)
    await included(fleet, late)
    await probation(late)
    await started(fleet, plan("ro-2", **NEXT, sites=["shop"]), artefacts=[OLD, NEW, NEWEST])
    await go_on(fleet, [here], hours=4)
    await order(fleet, "ro-2", Order.ACCEPT, why="one device tells too little")
    assert here.running == NEWEST
    assert await state(fleet) is RolloutState.SUPERSEDED
    await late.fake.sign_in()
    await late.beat(STEPS[-1])
    assert taking.back_to(LATER, await next_time(fleet, late.name)) == NEW


async def test_who_confirms_in_a_finished_rollout_goes_back_to_that(fleet: Fleet) -> None:
    """The next rollout may take the slot before anybody looks at the finished one again."""
    [here, late] = await boxes(fleet, 2)
    await done_without(fleet, late, here)
    await included(fleet, late)
    await probation(late)
    await late.beat(STEPS[-1])
    assert taking.back_to(LATER, await next_time(fleet, late.name)) == NEW


async def test_a_rollout_tells_no_other_ones_trouble(fleet: Fleet) -> None:
    """What a device says of the next rollout of its slot stands at that one and not at this."""
    box = await begun(fleet)
    await order(fleet, "ro-1", Order.STOP)
    await box.beat(STEPS[-1])
    await started(fleet, plan("ro-2", **NEXT), artefacts=[OLD, NEW, NEWEST])
    await turn(fleet)
    await box.look()
    assert box.item is not None
    said = box.health()
    [slot] = said.updates
    trouble = msgspec.structs.replace(slot, problem="the disk is full", bytes_done=40, bytes=100)
    said = msgspec.structs.replace(said, updates=[trouble])
    await box.fake.up(box.fake.envelope("health.v1", said))
    shown = {}
    async with fleet.db.transaction() as tx:
        for rollout in ("ro-1", "ro-2"):
            found = await looking.one(tx, rollout, None, now_ms=fleet.now_ms)
            assert found is not None
            [device] = found.devices
            shown[rollout] = (device.problem, device.bytes_done, device.bytes, device.running)
    assert shown == {
        "ro-1": ("", 0, 0, NEW.digest),
        "ro-2": ("the disk is full", 40, 100, NEW.digest),
    }
