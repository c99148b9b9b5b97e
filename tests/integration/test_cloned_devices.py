"""Two copies of one device at a real database: found, set aside, judged by a person."""

import copy
import random

import pytest

from tests.integration.conftest import FakeDevice, Fleet
from vedette.central import quarantine, rollups
from vedette.wire import messages
from vedette.wire.envelope import Batch, UpAnswer
from vedette.wire.messages import Aggregate, Frames, Span
from vedette.wire.streams import Lane

pytestmark = pytest.mark.anyio

MINUTE = 60_000
NEVER_GIVEN = 2**53


def twin_of(device: FakeDevice, boot: str) -> FakeDevice:
    """A second machine with a copy of this one's disk."""
    twin = copy.copy(device)
    twin.boot, twin.next_seq = boot, dict(device.next_seq)
    return twin


def minute_of(device: FakeDevice, captured: int) -> Aggregate:
    """The minute before, of one camera."""
    end_ms = device.now_ms - device.now_ms % MINUTE
    return Aggregate(
        camera="door",
        start_ms=end_ms - MINUTE,
        end_ms=end_ms,
        spans=[Span(start_ms=end_ms - MINUTE, end_ms=end_ms, rate_fps=5.0)],
        frames=Frames(captured=captured, analysed=captured),
    )


async def tell(device: FakeDevice, captured: int) -> UpAnswer:
    """Send a minute; begin a new epoch where central asks for one, as a spool does."""
    made = device.envelope("aggregate.v1", minute_of(device, captured), epoch=device.epoch)
    answer = await device.up(made)
    if any(ack.acked_through == NEVER_GIVEN for ack in answer.acks):
        device.epoch += 1
        device.next_seq = dict.fromkeys(Lane, 1)
        made = device.envelope("aggregate.v1", minute_of(device, captured), epoch=device.epoch)
        answer = await device.up(made)
    return answer


async def state_of(fleet: Fleet, device: str) -> tuple:
    """Whether it is in quarantine, and how many bytes are set aside."""
    query = "SELECT quarantined_ms IS NOT NULL, set_aside_bytes > 0 FROM devices WHERE device = %s"
    return (await fleet.rows(query, device))[0]


async def captured_of(fleet: Fleet) -> int:
    """How many frames were counted in all."""
    bodies = await fleet.rows("SELECT body FROM rollup_minute")
    return sum(rollups.decode(body).frames.captured for (body,) in bodies)


async def run_both(fleet: Fleet, first: FakeDevice, second: FakeDevice, rounds: int) -> int:
    """Let both speak in turns; return after how many rounds the device was in quarantine."""
    for round_ in range(rounds):
        for seen, device in enumerate((first, second)):
            await tell(device, 10 * round_ + seen)
            fleet.clock.advance(15)
        if (await state_of(fleet, first.device))[0]:
            return round_ + 1
    return 0


@pytest.mark.parametrize("boot", ["boot-2", "boot-1"])
async def test_two_living_copies_are_quarantined_within_minutes(fleet: Fleet, boot: str) -> None:
    """From another machine, and from a second container of the same one."""
    device = await fleet.device(name="closet")
    await tell(device, 1)
    twin = twin_of(device, boot)
    rounds = await run_both(fleet, device, twin, 10)
    assert 1 <= rounds <= 7  # 3.5 minutes
    (suspect,) = await quarantine.suspects(fleet.db)
    assert suspect.evidence is not None
    assert suspect.evidence.forks >= 1
    assert len(suspect.evidence.copies) == 2
    assert ("device.quarantine",) in await fleet.rows("SELECT action FROM audit_log")


async def test_what_both_copies_say_is_set_aside_and_acknowledged(fleet: Fleet) -> None:
    """Neither is counted, neither fills the device's disk, both are kept as they came."""
    device = await fleet.device(name="closet")
    await tell(device, 1)
    twin = twin_of(device, "boot-2")
    await run_both(fleet, device, twin, 10)
    before = await captured_of(fleet)
    for speaker in (device, twin):
        answer = await tell(speaker, 1_000)
        assert answer.acks
        assert answer.quarantined  # each is told, for whoever stands beside it
        seq = speaker.next_seq[Lane.LIVE] - 1
        ack = answer.acks[0]
        assert ack.acked_through >= seq or any(low <= seq <= high for low, high in ack.have)
    assert await captured_of(fleet) == before
    (suspect,) = await quarantine.suspects(fleet.db)
    assert sorted(aside.copy.split("/")[0] for aside in suspect.set_aside) == ["boot-1", "boot-2"]


async def test_a_disk_put_back_from_an_image_is_no_clone(fleet: Fleet) -> None:
    """One copy lives: it gets a new epoch and everything it says is counted."""
    device = await fleet.device(name="closet")
    image = twin_of(device, "boot-2")
    for _ in range(4):
        await tell(device, 1)
        fleet.clock.advance(30)
    for _ in range(20):
        await tell(image, 2)
        fleet.clock.advance(30)
    assert image.epoch == 2
    assert await state_of(fleet, "closet") == (False, False)
    assert await captured_of(fleet) == 44


async def test_a_released_device_has_all_its_data_counted_once(fleet: Fleet) -> None:
    """Quarantined wrongly: what was set aside counts, with what came before and after."""
    device = await fleet.device(name="closet")
    await tell(device, 1)
    fleet.clock.advance(60)
    async with fleet.db.transaction() as tx:
        evidence = b'{"why":"a mistake","since_ms":1,"noticed_ms":2,"copies":[]}'
        await tx.run("device_quarantine", device="closet", now_ms=fleet.now_ms, evidence=evidence)
    sent: list[Batch] = []
    for number in range(5):
        made = device.envelope("aggregate.v1", minute_of(device, 10**number * 10))
        await device.up(made)
        await device.up(made)  # its answer was lost
        sent.append(device.batch(made))
        fleet.clock.advance(60)
    assert await captured_of(fleet) == 1
    judged = await quarantine.release(fleet.db, "closet", actor="alice", now_ms=fleet.now_ms)
    assert (judged.counted, judged.dropped) == (5, 0)
    assert await captured_of(fleet) == 111_111
    for batch in sent:  # and again after all
        await device.up(*batch.envelopes)
    assert not (await tell(device, 1_000_000)).quarantined
    assert await captured_of(fleet) == 1_111_111
    assert await state_of(fleet, "closet") == (False, False)


async def test_one_copy_can_be_counted_and_the_other_dropped(fleet: Fleet) -> None:
    """An operator who knows which one is theirs says so."""
    device = await fleet.device(name="closet")
    await tell(device, 1)
    twin = twin_of(device, "boot-2")
    await run_both(fleet, device, twin, 10)
    before = await captured_of(fleet)
    await tell(device, 1_000)
    await tell(twin, 1_000_000)
    judged = await quarantine.release(
        fleet.db, "closet", copy="boot-1", actor="alice", now_ms=fleet.now_ms
    )
    assert judged.dropped > 0
    assert 1_000 <= await captured_of(fleet) - before < 1_000_000


async def test_rebooting_duplicating_and_reordering_is_no_clone(fleet: Fleet) -> None:
    """A day of a bad line: boots, batches twice, batches late, central's clock jumping."""
    chance = random.Random(4)
    device = await fleet.device(name="closet")
    late: list = []
    for step in range(60):
        if step % 15 == 14:
            device.boot = f"boot-{step}"
        made = device.envelope(
            "health.v1", messages.HealthReport(at_ms=device.now_ms, period_s=30, version="t")
        )
        batch = device.batch(made)
        if chance.random() < 0.1:
            late.append(batch)
        else:
            for _ in range(chance.randint(1, 3)):
                await device.up(made, boot_id=batch.boot_id, sent_mono_ms=batch.sent_mono_ms)
        if late and chance.random() < 0.2:
            old = late.pop(0)
            await device.up(*old.envelopes, boot_id=old.boot_id, sent_mono_ms=old.sent_mono_ms)
        fleet.clock.advance(30)
    assert await state_of(fleet, "closet") == (False, False)


async def test_what_nobody_judged_in_time_leaves_room_again(fleet: Fleet) -> None:
    """Dropped after ninety days, it no longer counts against what may be set aside."""
    device = await fleet.device(name="closet")
    await tell(device, 1)
    twin = twin_of(device, "boot-2")
    await run_both(fleet, device, twin, 10)
    await tell(twin, 1_000)
    assert await state_of(fleet, "closet") == (True, True)
    async with fleet.db.transaction() as tx:
        await quarantine.expire(tx, fleet.now_ms + 91 * 86_400_000)
    assert await state_of(fleet, "closet") == (True, False)
