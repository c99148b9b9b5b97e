"""Attacks on ingest by one enrolled device: nothing it says may stop, break or falsify the rest."""

import asyncio
import base64
import shutil
from pathlib import Path
from typing import Any

import pytest

from vedette.central import fleet as looking
from vedette.central import jobs
from vedette.central.console.camera.present import camera_html
from vedette.central.console.fleet import specimens as fleet_specimens
from vedette.central.console.fleet.present import fleet_html
from vedette.central.console.page import Page
from vedette.central.console.render import Looker
from vedette.central.ingest.writing import MAX_MINUTE_BYTES
from vedette.central.rollups import decode
from vedette.edge.spool import Spool
from vedette.trust.assertion import ASSERTION_TYPE, GRANT_TYPE
from vedette.wire.envelope import ClockState, LaneAck
from vedette.wire.messages import (
    Aggregate,
    CameraState,
    EventKind,
    EventReport,
    EvidenceRecord,
    Frames,
    Histogram,
    Span,
    State,
    Tombstone,
)
from vedette.wire.streams import Lane

pytestmark = pytest.mark.anyio

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def aggregate(start_ms: int, camera: str = "door", **more: Any) -> Aggregate:
    """One whole observed minute."""
    end_ms = start_ms + MINUTE
    fields: dict[str, Any] = {
        "spans": [Span(start_ms=start_ms, end_ms=end_ms, rate_fps=5.0)],
        "frames": Frames(captured=300, analysed=300),
    } | more
    return Aggregate(camera=camera, start_ms=start_ms, end_ms=end_ms, **fields)


async def test_counts_that_overflow_when_merged_stop_nobody(fleet) -> None:
    """Each message is possible, their sum is not: the sender's is refused, others are taken."""
    attacker, other = await fleet.device(), await fleet.device()
    start = attacker.now_ms - attacker.now_ms % MINUTE
    huge = aggregate(start, stage_ms={"total": Histogram(counts=[2**53], sum=1.0)})
    for _ in range(3):
        envelope = attacker.envelope("aggregate.v1", huge)
        async with asyncio.timeout(5):
            await attacker.up(envelope)
    async with asyncio.timeout(5):
        answer = await other.up(other.envelope("aggregate.v1", aggregate(start)))
    assert answer.acks[0].acked_through == 1


async def test_counts_that_cannot_be_merged_stop_no_job(fleet) -> None:
    """Minutes that fit alone and not together: hours of other devices are merged all the same."""
    attacker, other = await fleet.device(), await fleet.device()
    hour = attacker.now_ms - attacker.now_ms % HOUR - 2 * HOUR
    huge: dict[str, Any] = {"stage_ms": {"total": Histogram(counts=[2**53], sum=1.0)}}
    for n in range(2):
        await attacker.up(attacker.envelope("aggregate.v1", aggregate(hour + n * MINUTE, **huge)))
    await other.up(other.envelope("aggregate.v1", aggregate(hour)))
    fleet.clock.advance(60)
    await jobs.merge_hours(fleet.db, fleet.now_ms)
    assert await fleet.rows("SELECT device FROM rollup_hour") == [(other.device,)]


async def test_counts_that_cannot_be_merged_break_no_page(fleet) -> None:
    """The camera can be looked at all the same; its counts are no data."""
    attacker = await fleet.device()
    start = attacker.now_ms - attacker.now_ms % MINUTE - 3 * MINUTE
    huge: dict[str, Any] = {"stage_ms": {"total": Histogram(counts=[2**53], sum=1.0)}}
    for n in range(2):
        await attacker.up(attacker.envelope("aggregate.v1", aggregate(start + n * MINUTE, **huge)))
    window = (fleet.now_ms - DAY, fleet.now_ms, fleet.now_ms)
    view = await looking.camera_view(fleet.db, attacker.device, "door", *window, None)
    assert view is not None
    assert view.counts == []


async def test_no_device_makes_a_minute_grow_for_ever(fleet) -> None:
    """Other labels in every message of one minute: refused where the row is full, others taken."""
    attacker, other = await fleet.device(), await fleet.device()
    start = attacker.now_ms - attacker.now_ms % MINUTE
    rejected = 0
    for n in range(12):
        seconds = {f"{n}-{k}".ljust(100, "x"): 1.0 for k in range(1_100)}
        envelope = attacker.envelope("aggregate.v1", aggregate(start, class_s=seconds))
        rejected += len((await attacker.up(envelope)).rejected)
    assert rejected > 0
    answer = await other.up(other.envelope("aggregate.v1", aggregate(start)))
    assert answer.acks[0].acked_through == 1
    ((size,),) = await fleet.rows("SELECT max(length(body)) FROM rollup_minute")
    assert size <= MAX_MINUTE_BYTES


async def test_impossible_dates_break_no_page(fleet) -> None:
    """A state dated before every calendar: the fleet and the camera can still be looked at."""
    attacker = await fleet.device()
    start = attacker.now_ms - attacker.now_ms % MINUTE - MINUTE
    await attacker.up(attacker.envelope("aggregate.v1", aggregate(start)))
    down = CameraState(camera="door", at_ms=0, noticed_ms=0, state=State.DOWN)
    await attacker.up(
        attacker.envelope(
            "camera_state.v1", down, clock_state=ClockState.FLOOR, t_wall_ms=2**53 - 1
        )
    )
    page = Page(
        looker=Looker(username="a", role="admin", csrf="x"), now_ms=fleet.now_ms, self_url="/"
    )
    view = await looking.fleet_view(fleet.db, fleet.now_ms, None)
    assert "door" in fleet_html(fleet_specimens.view(view), page).html
    window = (fleet.now_ms - DAY, fleet.now_ms, fleet.now_ms)
    camera = await looking.camera_view(fleet.db, attacker.device, "door", *window, None)
    assert camera is not None
    assert "door" in camera_html(camera, "24h", page, may_request=True)


async def test_what_a_message_left_out_is_shown_as_no_data(fleet) -> None:
    """Counts that lack something do not pass for whole, and its name is no HTML."""
    device = await fleet.device()
    start = device.now_ms - device.now_ms % MINUTE - MINUTE
    lacking = aggregate(start, left_out=["dwell", "<b>x"])
    await device.up(device.envelope("aggregate.v1", lacking))
    window = (fleet.now_ms - DAY, fleet.now_ms, fleet.now_ms)
    view = await looking.camera_view(fleet.db, device.device, "door", *window, None)
    assert view is not None
    found = [row for row in view.counts if row.kind == "left_out"]
    assert [(row.label, row.value) for row in found] == [("<b>x", None), ("dwell", None)]
    looker = Looker(username="a", role="admin", csrf="x")
    page = Page(looker=looker, now_ms=fleet.now_ms, self_url="/")
    html = camera_html(view, "24h", page, may_request=True)
    assert "not sent for a part of this time" in html
    assert "<b>x" not in html


async def test_no_number_of_holes_loses_a_message(fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane with as many holes as can be kept: what is too much fits later."""
    monkeypatch.setattr("vedette.central.ingest.lane.MAX_RANGES", 10)
    device = await fleet.device()
    start = device.now_ms - device.now_ms % HOUR - 3 * HOUR
    envelopes = [device.envelope("aggregate.v1", aggregate(start + n * MINUTE)) for n in range(40)]
    answer = await device.up(*envelopes[1::2])
    assert answer.rejected == []
    assert answer.acks[0].have == [(n, n) for n in range(2, 22, 2)]
    answer = await device.up(*envelopes)
    assert (answer.acks[0].acked_through, answer.acks[0].have) == (40, [])
    assert await fleet.rows("SELECT count(*) FROM rollup_minute") == [(40,)]


LATELY_MS = 1_772_438_300_000
"""Shortly before the clock of `fleet` begins: retention has no claim on what happened then."""


def event(name: str) -> EventReport:
    """Something happened."""
    return EventReport(event=name, camera="door", kind=EventKind.PRESENCE, at_ms=LATELY_MS)


async def test_a_disk_that_was_put_back_loses_nothing(fleet, tmp_path: Path) -> None:
    """Spool and epoch note are an old copy: numbers are given again, and the messages arrive."""
    device = await fleet.device()

    async def send(spool: Spool) -> None:
        answer = await device.up(*spool.next_batch())
        spool.settle(answer)

    def opened(folder: Path) -> Spool:
        return Spool.open(folder / "spool", 1 << 28, fleet.clock, "boot-1", writer=False)

    spool = opened(tmp_path / "disk")
    for n in range(6):
        if n == 3:
            spool.close()
            shutil.copytree(tmp_path / "disk", tmp_path / "copy")
            spool = opened(tmp_path / "disk")
        spool.put("event.v1", event(f"before-{n}"))
        await send(spool)
    spool.close()
    fleet.clock.advance(60)
    spool = opened(tmp_path / "copy")
    for n in range(5):  # two more than central knew: nothing of the count gives it away
        spool.put("event.v1", event(f"after-{n}"))
    for _ in range(3):
        await send(spool)
    assert spool.next_batch() == []
    spool.close()
    assert await fleet.rows("SELECT count(*) FROM events") == [(11,)]


async def test_a_tombstone_settles_a_lane_that_was_never_heard_of(fleet) -> None:
    """What was evicted before the first contact leaves no hole that stays for ever."""
    device = await fleet.device()
    start = device.now_ms - device.now_ms % MINUTE - MINUTE
    stone = Tombstone(lane="live", epoch=1, ranges=[(1, 3)], start_ms=start, end_ms=start)
    await device.up(device.envelope("tombstone.v1", stone))
    device.next_seq[Lane.LIVE] = 4
    answer = await device.up(device.envelope("aggregate.v1", aggregate(start)))
    assert (answer.acks[0].acked_through, answer.acks[0].have) == (4, [])


async def test_late_minutes_of_an_hour_at_the_edge_of_retention_count_once(fleet) -> None:
    """An hour that was merged while young and changed again when old: its minutes count once."""
    device = await fleet.device()
    hour = device.now_ms - device.now_ms % HOUR - 7 * DAY + 2 * HOUR
    await device.up(
        *(device.envelope("aggregate.v1", aggregate(hour + n * MINUTE)) for n in range(30))
    )
    fleet.clock.advance(60)
    assert await jobs.merge_hours(fleet.db, fleet.now_ms) == 1
    fleet.clock.advance(3 * 3600)
    await device.sign_in()
    await device.up(device.envelope("aggregate.v1", aggregate(hour + 30 * MINUTE)))
    fleet.clock.advance(60)
    assert await jobs.merge_hours(fleet.db, fleet.now_ms) == 1
    ((body,),) = await fleet.rows("SELECT body FROM rollup_hour WHERE start_ms = %s", hour)
    assert decode(body).frames.captured == 31 * 300
    await jobs.expire(fleet.db, fleet.services.config.retention, fleet.now_ms)
    assert await fleet.rows("SELECT count(*) FROM rollup_minute") == [(0,)]
    await device.up(device.envelope("aggregate.v1", aggregate(hour + 31 * MINUTE)))
    fleet.clock.advance(60)
    assert await jobs.merge_hours(fleet.db, fleet.now_ms) == 1
    ((body,),) = await fleet.rows("SELECT body FROM rollup_hour WHERE start_ms = %s", hour)
    assert decode(body).frames.captured == 32 * 300


async def test_forms_and_queries_of_too_many_fields_are_refused_in_words(fleet) -> None:
    """Neither is our mistake, so neither is a 500 with a traceback in the log."""
    many = "&".join(f"a{n}=1" for n in range(50))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await fleet.http.post("/v1/token", content=many, headers=form)).status_code == 400
    device = await fleet.device()
    token = {"Authorization": f"Bearer {device.token}"}
    assert (await fleet.http.get(f"/v1/desired?{many}", headers=token)).status_code == 400
    nested = base64.urlsafe_b64encode(b'{"iss":"x","y":' + b"[" * 2500).rstrip(b"=").decode()
    asked = {
        "grant_type": GRANT_TYPE,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": f"a.{nested}.c",
    }
    assert (await fleet.http.post("/v1/token", data=asked)).status_code == 401


async def test_lanes_full_of_holes_are_loaded_within_a_limit(fleet, monkeypatch) -> None:
    """A device that asks for all of its lanes is told of the newest; the others stay unsaid."""
    monkeypatch.setattr("vedette.central.ingest.finding.MAX_RANGES_TOLD", 100)
    device = await fleet.device()
    holes = [low for n in range(2, 42) for low in (2 * n, 2 * n)]
    async with fleet.db.transaction() as tx:
        for epoch in range(1, 5):
            await tx.connection.execute(
                "INSERT INTO lanes (device, epoch, lane, acked_through, have)"
                " VALUES (%s, %s, 'live', 1, %s)",
                (device.device, epoch, holes),
            )
    asked = [LaneAck(epoch=epoch, lane=Lane.LIVE, acked_through=0) for epoch in range(1, 6)]
    answer = await device.up(believed=asked)
    told = {ack.epoch: (ack.acked_through, len(ack.have)) for ack in answer.acks}
    assert told == {5: (0, 0), 4: (1, 40), 3: (1, 40)}


async def test_a_device_makes_no_holes_without_end(fleet, monkeypatch) -> None:
    """At its limit over all lanes a tombstone settles no more, and only what fills is taken."""
    monkeypatch.setattr("vedette.central.ingest.finding.MAX_RANGES_OF_DEVICE", 100)
    monkeypatch.setattr("vedette.central.ingest.finding._FEW_RANGES", 10)
    device = await fleet.device()
    for epoch in (7, 8):
        ranges = [(2 * n, 2 * n) for n in range(1, 81)]
        stone = Tombstone(
            epoch=epoch, lane="evidence", ranges=ranges, start_ms=device.now_ms - HOUR,
            end_ms=device.now_ms, reason="disk full",
        )  # fmt: skip
        await device.up(device.envelope("tombstone.v1", stone))
    counted = (
        "SELECT epoch, cardinality(have) / 2 FROM lanes WHERE lane = 'evidence' ORDER BY epoch"
    )
    assert await fleet.rows(counted) == [(7, 80), (8, 20)]
    device.epoch, device.next_seq[Lane.EVIDENCE] = 8, 500
    record = EvidenceRecord(evidence="e", event="e", camera="door", wanted_ms=(1, 2))
    answer = await device.up(device.envelope("evidence.v1", record))
    assert (answer.acks[0].acked_through, len(answer.acks[0].have)) == (0, 20)
    device.next_seq[Lane.EVIDENCE] = 1
    answer = await device.up(device.envelope("evidence.v1", record))
    assert (answer.acks[0].acked_through, len(answer.acks[0].have)) == (2, 19)
