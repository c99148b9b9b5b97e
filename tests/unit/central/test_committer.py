"""Who is committed first, who waits, who is asked to come back."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from vedette.central.bulletin import Bulletin
from vedette.central.ingest import committer as module
from vedette.central.ingest.commit import Incoming
from vedette.central.ingest.committer import Busy, Committer, Parcel
from vedette.central.ingest.unpack import Item, unpack, without_backlog
from vedette.central.store.db import Database
from vedette.wire import codec
from vedette.wire.envelope import Batch, ClockState, Envelope, LaneAck, UpAnswer
from vedette.wire.messages import HealthReport
from vedette.wire.streams import Lane

NOW = 1_772_438_400_000


def batch(device: str, *, fresh: int, late: int) -> Batch:
    """So many messages made now, and so many that waited for an hour."""
    body = HealthReport(at_ms=NOW, period_s=30.0, version="1")
    made = [NOW] * fresh + [NOW - 3_600_000] * late
    envelopes = [
        Envelope(
            epoch=1,
            boot_id="b",
            lane=Lane.LIVE,
            seq=n + 1,
            t_wall_ms=at_ms,
            t_mono_ms=at_ms - NOW + 10**8,
            clock_state=ClockState.TRUSTED,
            schema="health.v1",
            body=codec.msgspec.Raw(codec.encode(body)),
        )
        for n, at_ms in enumerate(made)
    ]
    return Batch(
        device=device, boot_id="b", sent_mono_ms=10**8, sent_wall_ms=NOW, envelopes=envelopes
    )


def parcel(device: str, *, fresh: int = 0, late: int = 0) -> Parcel:
    """What the route makes of it."""
    whole = batch(device, fresh=fresh, late=late)
    part = without_backlog(whole, NOW)
    contact = Incoming(device=device, boot_id="b", received_ms=NOW, items=[])
    return Parcel(
        contact=contact,
        fresh=unpack(part, NOW),
        late=len(whole.envelopes) - len(part.envelopes),
        unpack=lambda: unpack(whole, NOW),
    )


def with_committer(story: Callable[[Committer], Awaitable[None]]) -> None:
    """Tell a story of a committer that gathers and never commits."""

    async def tell() -> None:
        committer = Committer(Database("host=/nowhere"), Bulletin())
        await story(committer)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(tell())


async def send(committer: Committer, *parcels: Parcel) -> list["asyncio.Task[object]"]:
    """Have each parcel wait, or be turned away."""
    tasks: list[asyncio.Task[object]] = []
    for one in parcels:
        tasks.append(asyncio.create_task(committer.submit(one)))
        await asyncio.sleep(0)
    return tasks


def names(committer: Committer) -> list[tuple[str, int]]:
    """Devices and sizes of the group that is next."""
    return [
        (waiting.parcel.contact.device, waiting.parcel.envelopes)
        for waiting in committer._next_group()
    ]


def test_fresh_goes_first_and_backlog_gets_its_share() -> None:
    """However much backlog came before, a report is in the next group; and backlog moves too."""

    async def story(committer: Committer) -> None:
        await send(committer, *(parcel(f"old-{n}", late=300) for n in range(5)))
        await send(committer, parcel("live", fresh=3))
        assert names(committer) == [("live", 3), ("old-0", 300), ("old-1", 300)]
        assert names(committer) == [("old-2", 300), ("old-3", 300)]
        assert names(committer) == [("old-4", 300)]

    with_committer(story)


def test_where_backlog_is_full_the_fresh_part_is_taken() -> None:
    """A device that comes back is live again at once, whatever else it brings."""

    async def story(committer: Committer) -> None:
        filling = module.MAX_LATE_WAITING // 400
        await send(committer, *(parcel(f"old-{n}", late=400) for n in range(filling)))
        await send(committer, parcel("back", fresh=2, late=400))
        assert names(committer)[0] == ("back", 2)

    with_committer(story)


def test_a_batch_with_little_that_waited_is_fresh() -> None:
    """A few late messages split nothing; many are left for when their turn has come."""
    few, many = batch("d", fresh=2, late=20), batch("d", fresh=2, late=21)
    assert without_backlog(few, NOW) is few
    assert [e.seq for e in without_backlog(many, NOW).envelopes] == [1, 2]


def test_whoever_sends_many_batches_at_once_is_asked_to_come_back() -> None:
    """One device cannot fill the line for all others."""

    async def story(committer: Committer) -> None:
        many = (parcel("eager", fresh=1) for _ in range(module.MAX_OF_DEVICE + 2))
        tasks = await send(committer, *many)
        await send(committer, parcel("other", fresh=1))
        refused = [task.exception() for task in tasks if task.done()]
        assert [type(error) for error in refused] == [Busy, Busy]
        assert names(committer) == [("eager", 1)] * module.MAX_OF_DEVICE + [("other", 1)]

    with_committer(story)


def test_too_much_at_once_is_told_when_to_come_back() -> None:
    """The time is that of what waits, and what waits is bounded."""

    async def story(committer: Committer) -> None:
        item: list[Item] = parcel("x", fresh=1).fresh
        contact = [Incoming(device=f"d-{n}", boot_id="b", received_ms=1, items=[]) for n in (0, 1)]
        await send(committer, Parcel(contact=contact[0], fresh=item * module.MAX_WAITING))
        (late,) = await send(committer, Parcel(contact=contact[1], fresh=item))
        with pytest.raises(Busy) as busy:
            await late
        assert 1.0 < busy.value.retry_after_s <= 60.0

    with_committer(story)


def test_a_batch_that_is_halved_still_tells_a_spool_that_it_gives_numbers_again() -> None:
    """The half without a known number must not hide what the other found."""

    def half(acked: int) -> UpAnswer:
        return UpAnswer(acks=[LaneAck(epoch=1, lane=Lane.LIVE, acked_through=acked)])

    for first, second in ((half(2**53), half(20)), (half(10), half(2**53))):
        joined = module._join(first, second)
        assert joined is not None
        assert [ack.acked_through for ack in joined.acks] == [2**53]
