"""A report's way into the database: exactly once, whatever the device and the network do."""

import asyncio
import random

import msgspec
import pytest
import zstandard

from vedette.central import fleet as looking
from vedette.central import liveness
from vedette.central.rollups import decode
from vedette.wire import codec, limits, messages
from vedette.wire.envelope import ClockState, LaneAck
from vedette.wire.messages import Aggregate, Cause, Frames, Histogram, Span
from vedette.wire.streams import Lane

pytestmark = pytest.mark.anyio

MINUTE = 60_000
DAY = 24 * 60 * MINUTE


def aggregate(start_ms: int, camera: str = "door", **more: object) -> Aggregate:
    """One whole observed minute."""
    end_ms = start_ms + MINUTE
    fields = {
        "spans": [Span(start_ms=start_ms, end_ms=end_ms, rate_fps=5.0)],
        "frames": Frames(captured=300, analysed=200, gated=100),
        "stage_ms": {"total": Histogram(counts=[300], sum=30.0)},
        "detections": {"person": 3},
    } | more
    return Aggregate(camera=camera, start_ms=start_ms, end_ms=end_ms, **fields)


def minute(now_ms: int) -> int:
    """The start of the minute."""
    return now_ms - now_ms % MINUTE


async def counted(fleet) -> dict[int, int]:
    """Captured frames by minute, as the rollups have them."""
    rows = await fleet.rows("SELECT start_ms, body FROM rollup_minute")
    return {start_ms: decode(body).frames.captured for start_ms, body in rows}


async def test_a_report_is_acknowledged_after_it_is_committed(fleet) -> None:
    """Raw message, rollup, coverage and lane are there when the answer is."""
    device = await fleet.device()
    start = minute(device.now_ms) - MINUTE
    answer = await device.up(device.envelope("aggregate.v1", aggregate(start)))
    assert [(a.lane, a.acked_through, a.have) for a in answer.acks] == [(Lane.LIVE, 1, [])]
    assert answer.server_time_ms == fleet.now_ms
    assert await counted(fleet) == {start: 300}
    assert len(await fleet.rows("SELECT 1 FROM coverage_claims")) == 1
    assert len(await fleet.rows("SELECT 1 FROM reports WHERE outcome = 'accepted'")) == 1


async def test_duplicated_and_reordered_batches_count_once(fleet) -> None:
    """Every message is sent several times, in any order, in overlapping batches, at once."""
    device = await fleet.device()
    first = minute(device.now_ms) - 100 * MINUTE
    envelopes = [device.envelope("aggregate.v1", aggregate(first + n * MINUTE)) for n in range(60)]
    order = random.Random(7)
    batches = [order.sample(envelopes, 20) for _ in range(20)] + [envelopes[::-1]]
    order.shuffle(batches)
    answers = await asyncio.gather(*(device.up(*batch) for batch in batches))
    assert max(answer.acks[0].acked_through for answer in answers) == 60
    assert await counted(fleet) == {first + n * MINUTE: 300 for n in range(60)}
    assert len(await fleet.rows("SELECT 1 FROM reports")) == 60
    assert len(await fleet.rows("SELECT 1 FROM coverage_claims")) == 60


async def test_a_duplicate_across_midnight_counts_once(fleet) -> None:
    """The day's partition changes between two deliveries; the key does not."""
    device = await fleet.device()
    envelope = device.envelope("aggregate.v1", aggregate(minute(device.now_ms)))
    await device.up(envelope)
    fleet.clock.advance(86_400)
    await device.sign_in()
    answer = await device.up(envelope)
    assert answer.acks[0].acked_through == 1
    assert len(await fleet.rows("SELECT 1 FROM reports")) == 1


async def test_holes_are_named_and_filled(fleet) -> None:
    """`have` says what stands beyond a hole; the hole's message closes it."""
    device = await fleet.device()
    first, second, third = (
        device.envelope("aggregate.v1", aggregate(minute(device.now_ms) - n * MINUTE))
        for n in (3, 2, 1)
    )
    answer = await device.up(third, first)
    assert (answer.acks[0].acked_through, answer.acks[0].have) == (1, [(3, 3)])
    answer = await device.up(second)
    assert (answer.acks[0].acked_through, answer.acks[0].have) == (3, [])


async def test_what_a_device_believes_is_answered_for_every_lane(fleet) -> None:
    """Also of lanes that this batch does not touch; asking for one that never came makes none."""
    device = await fleet.device()
    start = minute(device.now_ms)
    await device.up(device.envelope("aggregate.v1", aggregate(start - MINUTE)))
    believed = [
        LaneAck(epoch=1, lane=Lane.LIVE, acked_through=9),
        LaneAck(epoch=1, lane=Lane.ALERT, acked_through=4),
    ]
    answer = await device.up(believed=believed)
    told = {(ack.epoch, ack.lane): ack.acked_through for ack in answer.acks}
    assert told == {(1, Lane.LIVE): 1, (1, Lane.ALERT): 0}
    assert len(await fleet.rows("SELECT 1 FROM lanes")) == 1
    many = [LaneAck(epoch=n, lane=Lane.LIVE, acked_through=1) for n in range(1, 400)]
    refused = await device.post(codec.encode_batch(device.batch(believed=many)))
    assert refused.status_code == 400


async def test_the_same_number_in_a_new_epoch_is_another_message(fleet) -> None:
    """A lost spool starts a new epoch; its numbers begin at one again."""
    device = await fleet.device()
    start = minute(device.now_ms)
    await device.up(device.envelope("aggregate.v1", aggregate(start - MINUTE)))
    device.epoch, device.next_seq[Lane.LIVE] = 2, 1
    await device.up(device.envelope("aggregate.v1", aggregate(start)))
    assert await counted(fleet) == {start - MINUTE: 300, start: 300}


async def test_two_parts_of_one_minute_merge(fleet) -> None:
    """A restarted pipeline sends a minute in two parts: their counts and sketches add up."""
    device = await fleet.device()
    start = minute(device.now_ms)
    half = start + 30_000
    a, b = (
        msgspec.structs.replace(aggregate(start), start_ms=s, end_ms=e, spans=[])
        for s, e in ((start, half), (half, start + MINUTE))
    )
    await device.up(device.envelope("aggregate.v1", a))
    await device.up(device.envelope("aggregate.v1", b))
    ((body,),) = await fleet.rows("SELECT body FROM rollup_minute")
    merged = decode(body)
    assert (merged.start_ms, merged.end_ms) == (start, start + MINUTE)
    assert merged.frames == Frames(captured=600, analysed=400, gated=200)
    assert merged.stage_ms["total"].counts == [600]


async def test_a_device_may_not_speak_for_another(fleet) -> None:
    """The batch names the device that the token was given to, or nothing of it is taken."""
    device, other = await fleet.device(), await fleet.device()
    batch = device.batch(
        device.envelope("aggregate.v1", aggregate(minute(device.now_ms))), device=other.device
    )
    answer = await device.post(codec.encode_batch(batch))
    assert answer.status_code == 403
    assert await fleet.rows("SELECT 1 FROM reports") == []


async def test_no_token_no_entry(fleet) -> None:
    """A missing, invented or expired token is refused before the body is read."""
    device = await fleet.device()
    body = codec.encode_batch(device.batch())
    good, device.token = device.token, "invented"
    assert (await device.post(body)).status_code == 401
    device.token = ""
    assert (await device.post(body)).status_code == 401
    device.token = good
    assert (await device.post(body)).status_code == 200
    fleet.clock.advance(2 * 3600)
    assert (await device.post(body)).status_code == 401


async def test_a_zstd_bomb_is_refused(fleet) -> None:
    """A small body that unpacks to gigabytes is not unpacked."""
    device = await fleet.device()
    bomb = zstandard.ZstdCompressor().compress(bytes(limits.MAX_INFLATED_BYTES + 1))
    assert len(bomb) < 10_000
    assert (await device.post(bomb)).status_code == 413


async def test_a_body_that_is_too_large_is_refused_while_it_arrives(fleet) -> None:
    """No more than the limit is held, whatever the length was said to be."""
    device = await fleet.device()

    async def flood():
        for _ in range(100):
            yield bytes(1024 * 1024)
            assert sent.append(1) or len(sent) <= 6

    sent: list[int] = []
    answer = await device.http.post(
        "/v1/up", content=flood(), headers={"Authorization": f"Bearer {device.token}"}
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00" * 40,
        zstandard.ZstdCompressor().compress(b"\xc1"),
        zstandard.ZstdCompressor().compress(b"\x91" * 100_000 + b"\xc0"),
        zstandard.ZstdCompressor().compress(b"\x81\xa6device"),
    ],
    ids=["empty", "not zstd", "not msgpack", "deep", "truncated"],
)
async def test_garbage_is_refused(fleet, body: bytes) -> None:
    """What is not a batch is a bad request, never an error of ours."""
    device = await fleet.device()
    assert (await device.post(body)).status_code in {400, 413}


async def test_numbers_that_no_database_holds_are_refused(fleet) -> None:
    """2^63 as a sequence number would fail the whole group; it never gets there."""
    device = await fleet.device()
    for change in ({"seq": 2**63}, {"t_wall_ms": -(2**63)}, {"boot_id": "a\0b"}):
        envelope = device.envelope("aggregate.v1", aggregate(minute(device.now_ms)), **change)
        answer = await device.post(codec.encode_batch(device.batch(envelope)))
        assert answer.status_code == 400


async def test_a_bad_message_is_settled_and_blocks_nothing(fleet) -> None:
    """Unknown, malformed, oversized and impossible messages are rejected one by one."""
    device = await fleet.device()
    start = minute(device.now_ms)
    good = aggregate(start)
    replace = msgspec.structs.replace
    hostile = [
        device.envelope("aggregate.v1", good, schema="aggregate.v99"),
        device.envelope("aggregate.v1", good, body=msgspec.Raw(b"\xa3abc")),
        device.envelope("aggregate.v1", good, body=msgspec.Raw(codec.encode("x" * 200_000))),
        device.envelope("event.v1", good, schema="aggregate.v1"),  # not the lane it travels on
        device.envelope("aggregate.v1", replace(good, frames=Frames(captured=-1))),
        device.envelope("aggregate.v1", replace(good, slow_path_shed_s=float("nan"))),
        device.envelope("aggregate.v1", replace(good, stage_ms={"x": Histogram(counts=[-5])})),
        device.envelope("aggregate.v1", replace(good, end_ms=start - 1)),
        device.envelope("aggregate.v1", replace(good, end_ms=start + DAY)),
        device.envelope("aggregate.v1", replace(good, start_ms=0, end_ms=MINUTE)),
        device.envelope("aggregate.v1", replace(good, camera="no\0name")),
        device.envelope("aggregate.v1", replace(good, model="bell\x07")),
    ]
    last = device.envelope("aggregate.v1", good)
    answer = await device.up(*hostile, last)
    assert len(answer.rejected) == len(hostile)
    acks = {ack.lane: ack.acked_through for ack in answer.acks}
    assert acks[Lane.LIVE] == last.seq
    assert await counted(fleet) == {start: 300}
    kept = await fleet.rows("SELECT count(*) FROM reports WHERE outcome LIKE 'rejected:%%'")
    assert kept == [(len(hostile),)]


async def test_what_the_database_refuses_is_found_and_rejected_alone(fleet, monkeypatch) -> None:
    """Even where a check was forgotten, one message cannot stop its batch or other devices."""
    monkeypatch.setattr("vedette.central.ingest.checks.problem", lambda *_: None)
    device, other = await fleet.device(), await fleet.device()
    at = device.now_ms
    bad = messages.CameraState(
        camera="door", at_ms=at, noticed_ms=at, state=messages.State.OK, detail="a\0b"
    )
    good = [aggregate(minute(at) - n * MINUTE) for n in range(5)]
    mine = [device.envelope("aggregate.v1", g) for g in good]
    mine.insert(2, device.envelope("camera_state.v1", bad))
    theirs = [other.envelope("aggregate.v1", g) for g in good]
    answer, unharmed = await asyncio.gather(device.up(*mine), other.up(*theirs))
    assert [r.lane for r in answer.rejected] == [Lane.ALERT]
    assert {a.lane: a.acked_through for a in answer.acks} == {Lane.ALERT: 1, Lane.LIVE: 5}
    assert unharmed.acks[0].acked_through == 5
    assert len(await fleet.rows("SELECT 1 FROM rollup_minute")) == 10


async def test_a_clock_at_1970_is_dated_by_its_monotonic_difference(fleet) -> None:
    """Same boot: event time is receive time minus age, for the body's times as well."""
    device = await fleet.device()
    event = messages.EventReport(
        event="ev-1", camera="door", kind=messages.EventKind.PRESENCE, at_ms=5_000
    )
    envelope = device.envelope("event.v1", event, t_wall_ms=5_500, clock_state=ClockState.UNTRUSTED)
    fleet.clock.advance(30)
    await device.up(envelope, sent_wall_ms=35_500)
    view = await looking.event(fleet.db, "ev-1", None)
    assert view is not None
    assert view.at_ms == fleet.now_ms - 30_500
    assert not view.late


async def test_a_clock_in_the_future_is_not_believed(fleet) -> None:
    """A trusted clock that is ahead of us by more than minutes is treated as untrusted."""
    device = await fleet.device()
    far = device.now_ms + 365 * DAY
    minute_ = aggregate(minute(far))
    shifted = far - minute_.start_ms
    await device.up(device.envelope("aggregate.v1", minute_, t_wall_ms=far))
    ((start_ms, end_ms),) = await fleet.rows("SELECT start_ms, end_ms FROM coverage_claims")
    assert start_ms == fleet.now_ms - shifted
    assert end_ms - start_ms == MINUTE


async def test_an_undatable_report_claims_clock_untrusted_and_counts_nothing(fleet) -> None:
    """Another boot and no trusted clock: kept, acknowledged, said so, not put on any date."""
    device = await fleet.device()
    await device.up(device.envelope("aggregate.v1", aggregate(minute(device.now_ms) - MINUTE)))
    fleet.clock.advance(3600)
    await device.sign_in()
    envelope = device.envelope(
        "aggregate.v1", aggregate(1000 * MINUTE), t_wall_ms=1001 * MINUTE, boot_id="boot-0",
        clock_state=ClockState.UNTRUSTED,
    )  # fmt: skip
    answer = await device.up(envelope, sent_mono_ms=60_000)
    assert answer.acks[0].acked_through == 2
    assert len(await counted(fleet)) == 1
    view = await looking.camera_view(
        fleet.db, device.device, "door", fleet.now_ms - 3_000_000, fleet.now_ms - 600_000,
        fleet.now_ms, None,
    )  # fmt: skip
    assert view is not None
    assert list(view.row.coverage.causes) == [Cause.CLOCK_UNTRUSTED]


async def test_a_report_older_than_any_spool_is_refused(fleet) -> None:
    """Replaying last year's reports changes nothing."""
    device = await fleet.device()
    old = device.now_ms - int(limits.MAX_AGE_S * 1000) - 1
    answer = await device.up(
        device.envelope("aggregate.v1", aggregate(minute(old) - MINUTE), t_wall_ms=old)
    )
    assert "too old" in answer.rejected[0].reason
    assert await counted(fleet) == {}


async def test_the_latest_state_moves_only_forward(fleet) -> None:
    """A state that arrives late is history; it does not become the state now."""
    device = await fleet.device()
    at = device.now_ms
    down, ok = (
        device.envelope(
            "camera_state.v1",
            messages.CameraState(camera="door", at_ms=at + n, noticed_ms=at + n, state=state),
        )
        for n, state in ((0, messages.State.DOWN), (1000, messages.State.OK))
    )
    await device.up(ok)
    await device.up(down)
    ((state,),) = await fleet.rows("SELECT state FROM cameras")
    assert state == "ok"
    assert len(await fleet.rows("SELECT 1 FROM camera_states")) == 2


async def test_a_tombstone_settles_what_will_never_come(fleet) -> None:
    """Evicted numbers do not block the lane, and their time says EVICTED."""
    device = await fleet.device()
    start = minute(device.now_ms) - 30 * MINUTE
    await device.up(device.envelope("aggregate.v1", aggregate(start)))
    device.next_seq[Lane.LIVE] = 12
    await device.up(device.envelope("aggregate.v1", aggregate(start + 11 * MINUTE)))
    stone = messages.Tombstone(
        lane="live", epoch=1, ranges=[(2, 11)], start_ms=start + MINUTE,
        end_ms=start + 11 * MINUTE, cameras=["door"],
    )  # fmt: skip
    await device.up(device.envelope("tombstone.v1", stone))
    ((acked,),) = await fleet.rows("SELECT acked_through FROM lanes WHERE lane = 'live'")
    assert acked == 12
    view = await looking.camera_view(
        fleet.db, device.device, "door", start, start + 12 * MINUTE, fleet.now_ms, None
    )
    assert view is not None
    assert [s.cause for s in view.row.strip] == [None, Cause.EVICTED, None]


async def test_a_late_event_says_so(fleet) -> None:
    """What waited longer than two minutes is recorded as late."""
    device = await fleet.device()
    event = messages.EventReport(
        event="ev-late", camera="door", kind=messages.EventKind.PRESENCE, at_ms=device.now_ms
    )
    envelope = device.envelope("event.v1", event)
    fleet.clock.advance(121)
    await device.up(envelope)
    view = await looking.event(fleet.db, "ev-late", None)
    assert view is not None
    assert view.late


async def test_a_device_has_a_bounded_number_of_cameras(fleet) -> None:
    """One device cannot fill the table of cameras."""
    device = await fleet.device()
    start = minute(device.now_ms)
    envelopes = [
        device.envelope("aggregate.v1", aggregate(start, camera=f"cam-{n}"))
        for n in range(limits.MAX_CAMERAS + 3)
    ]
    answer = await device.up(*envelopes)
    assert len(answer.rejected) == 3
    assert await fleet.rows("SELECT count(*) FROM cameras") == [(limits.MAX_CAMERAS,)]


async def test_json_is_accepted_and_means_the_same(fleet) -> None:
    """A device without msgpack can report."""
    device = await fleet.device()
    start = minute(device.now_ms)
    raw = msgspec.Raw(msgspec.json.encode(aggregate(start)))
    batch = device.batch(device.envelope("aggregate.v1", aggregate(start), body=raw))
    answer = await device.post(msgspec.json.encode(batch), **{"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["acks"][0]["acked_through"] == 1
    assert await counted(fleet) == {start: 300}


async def test_a_revoked_device_is_not_heard(fleet) -> None:
    """Revoking takes effect within seconds, even for a token that was in use."""
    from vedette.central import enrolment

    device = await fleet.device()
    await device.up()
    async with fleet.db.transaction() as tx:
        await enrolment.revoke(tx, device.device, actor="test", now_ms=fleet.now_ms)
    fleet.clock.advance(20)
    assert (await device.post(codec.encode_batch(device.batch()))).status_code == 401
    assert (await device.sign_in()).status_code == 401


async def test_a_device_that_is_turned_away_is_still_heard(fleet, monkeypatch) -> None:
    """Central being busy makes nobody dark: the contact is written with the next group."""
    device, other = await fleet.device(), await fleet.device()
    monkeypatch.setattr("vedette.central.ingest.committer.MAX_OF_DEVICE", 0)
    start = minute(device.now_ms)
    batch = device.batch(device.envelope("aggregate.v1", aggregate(start)))
    answer = await device.post(codec.encode_batch(batch))
    assert (answer.status_code, int(answer.headers["retry-after"])) == (503, 1)
    monkeypatch.undo()
    await other.up(other.envelope("aggregate.v1", aggregate(start)))
    heard = await fleet.rows("SELECT device FROM devices WHERE state = 'ok' ORDER BY device")
    assert heard == sorted([(device.device,), (other.device,)])
    assert len(await fleet.rows("SELECT 1 FROM reports")) == 1
    again = await device.post(codec.encode_batch(batch))
    assert again.status_code == 200


async def test_a_device_that_was_heard_is_not_dark_though_its_deadline_passed(fleet) -> None:
    """Batches leave the indexed deadline alone; silence counts from the last of them."""
    device = await fleet.device()
    start = minute(device.now_ms)
    for n in range(4):
        await device.up(device.envelope("aggregate.v1", aggregate(start - n * MINUTE)))
        fleet.clock.advance(60)
        assert await liveness.turn_overdue(fleet.db, fleet.now_ms) == []
    fleet.clock.advance(46)
    (dark,) = await liveness.turn_overdue(fleet.db, fleet.now_ms)
    assert dark.at_ms == fleet.now_ms - 106_000
