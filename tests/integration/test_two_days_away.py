"""A device without a network for 48 hours, with its real spool, beside one that is well."""

import msgspec
import pytest

from vedette.central import ledger, liveness
from vedette.edge.spool import Spool
from vedette.wire.messages import Aggregate, EventKind, EventReport, Frames, Span

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

MINUTE = 60_000
STEPS_S = [100] * 18 + [3600] * 47 + [1800]
"""48 hours: densely while the device falls silent, then in leaps."""


def _minute(start_ms: int, length_ms: int) -> Aggregate:
    return Aggregate(
        camera="door",
        start_ms=start_ms,
        end_ms=start_ms + length_ms,
        spans=[Span(start_ms=start_ms, end_ms=start_ms + length_ms, rate_fps=10.0)],
        frames=Frames(captured=100, analysed=100),
    )


def _minutes(start_ms: int, end_ms: int) -> list[Aggregate]:
    """Aggregates that tile the time, cut at full minutes."""
    found = []
    while start_ms < end_ms:
        until_ms = min((start_ms // MINUTE + 1) * MINUTE, end_ms)
        found.append(_minute(start_ms, until_ms - start_ms))
        start_ms = until_ms
    return found


async def test_two_days_away_are_told_once_and_nobody_else_is_called_dark(
    fleet, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each minute and event of 48 hours arrives once, observed and late; a neighbour is well."""
    monkeypatch.setattr(liveness, "AWAY_S", 3 * 3600.0)  # time moves in large steps here,
    monkeypatch.setattr(liveness, "TICK_S", 3600.0)  # and central looks when we say so
    away, well = await fleet.device(name="away"), await fleet.device(name="well")
    spool = Spool.open(tmp_path / "spool", 64 << 20, fleet.clock, "boot-1", writer=False)
    start_ms = fleet.now_ms
    spool.put("event.v1", _event("first", start_ms))
    spool.settle(await away.up(*spool.next_batch()))
    made = frames = 0
    for step, length_s in enumerate(STEPS_S):
        before_ms = fleet.now_ms
        fleet.clock.advance(length_s)
        await well.sign_in()  # tokens live for an hour
        await well.up(
            *(well.envelope("aggregate.v1", one) for one in _minutes(before_ms, fleet.now_ms))
        )
        await liveness.tick(fleet.db, fleet.services.bulletin, fleet.now_ms)
        for one in _minutes(before_ms, fleet.now_ms):
            spool.put("aggregate.v1", one)
            made, frames = made + 1, frames + one.frames.captured
        spool.put("event.v1", _event(f"e{step}", before_ms))
        spool.flush()
        made += 1
    assert await _states(fleet, "away") == [("ok", start_ms), ("dark", start_ms)]
    assert await _causes(fleet, start_ms) == {"DEVICE_DARK"}

    spool.flush()
    await away.sign_in()
    for _ in range(200):
        batch = spool.next_batch()
        if not batch:
            break
        answer = await away.up(*batch)
        assert not answer.rejected
        spool.settle(answer)
    assert spool.next_batch() == []
    spool.close()
    stored = await fleet.rows("SELECT count(*) FROM reports WHERE device = 'away'")
    assert stored == [(made + 1,)]
    counted = 0
    for (body,) in await fleet.rows("SELECT body FROM rollup_minute WHERE device = 'away'"):
        counted += msgspec.msgpack.decode(body, type=Aggregate).frames.captured
    assert counted == frames
    late = await fleet.rows("SELECT count(*) FROM events WHERE late")
    assert late[0][0] >= len(STEPS_S) - 1  # the last ones are fresh
    assert await _causes(fleet, start_ms) == {None}
    assert (await _states(fleet, "away"))[2:] == [("ok", fleet.now_ms)]
    assert {state for state, _ in await _states(fleet, "well")} == {"ok"}


def _event(name: str, at_ms: int) -> EventReport:
    return EventReport(event=name, camera="door", kind=EventKind.PRESENCE, at_ms=at_ms)


async def _states(fleet, device: str) -> list[tuple]:
    """Every change of a device's state: to what, and when it happened."""
    return await fleet.rows(
        "SELECT state, at_ms FROM device_transitions WHERE device = %s ORDER BY noticed_ms, at_ms",
        device,
    )


async def _causes(fleet, from_ms: int) -> set[str | None]:
    """What the ledger shows for the camera of the device that was away."""
    to_ms = fleet.now_ms
    known = await fleet.rows(
        "SELECT c.known_from_ms, d.drained_to_ms FROM cameras c JOIN devices d USING (device)"
        " WHERE d.device = 'away'"
    )
    async with fleet.db.transaction() as tx:
        found = await ledger.read(tx, ["away"], from_ms=from_ms, to_ms=to_ms, now_ms=to_ms)
    return {one.cause for one in found.segments("away", "door", *known[0])}
