"""Inventory and camera matrix from what devices really send."""

import asyncio

import pytest
from click.testing import CliRunner

from vedette.central import inventory, matrix
from vedette.central.rollups import DAY_MS
from vedette.cli.central import command
from vedette.wire.messages import (
    CameraHealth,
    CameraState,
    Cause,
    CoverageReport,
    HealthReport,
    PipelineHealth,
    Span,
    State,
)

pytestmark = pytest.mark.anyio

HOUR_MS = 3_600_000


def report(at_ms: int, **said: object) -> HealthReport:
    """Return a device's health with one camera."""
    fields = {"state": State.OK, "since_ms": at_ms, "codec": "h264", "make": "Axis", **said}
    camera = CameraHealth(camera="door", **fields)
    pipeline = PipelineHealth(running=True, cameras=[camera])
    return HealthReport(at_ms=at_ms, period_s=30, version="0.1", pipeline=pipeline)


async def test_a_firmware_change_is_found_and_dated(fleet) -> None:
    """Looking again without news writes nothing; a hostile body of text ends no look."""
    device = await fleet.device()
    seen = []
    for firmware in ("1.0", "1.0", "1.1"):
        for _ in range(2):
            body = report(device.now_ms, firmware=firmware, source="rtsp://cam/live")
            await device.up(device.envelope("health.v1", body))
        await inventory.look(fleet.db, fleet.now_ms)
        seen.append(fleet.now_ms)
        fleet.clock.advance(700)
    async with fleet.db.transaction() as tx:
        history = await inventory.history(tx, None)
        mine = await inventory.present(tx, ["elsewhere"])
    assert [(item.firmware, item.since_ms) for item in history] == [
        ("1.0", seen[0]), ("1.1", seen[2]),
    ]  # fmt: skip
    assert history[0].seen_ms == seen[1]
    assert history[0].source_kind == "rtsp"
    assert mine == []


async def test_the_matrix_counts_what_happened(fleet) -> None:
    """Ten days of a camera: two failures, said twice each, and reconnects counted once."""
    device = await fleet.device()
    start_ms = device.now_ms
    fleet.clock.advance(10 * 86_400)
    await device.sign_in()
    now_ms = device.now_ms

    def state(at_ms: int, what: State, cause: Cause | None = None) -> CameraState:
        return CameraState(camera="door", at_ms=at_ms, noticed_ms=at_ms, state=what, cause=cause)

    spans = [Span(start_ms=start_ms, end_ms=now_ms)]
    await device.up(
        device.envelope("coverage.v1", CoverageReport(camera="door", spans=spans)),
        device.envelope("camera_state.v1", state(start_ms, State.OK)),
        device.envelope(
            "camera_state.v1", state(start_ms + HOUR_MS, State.DOWN, Cause.CAMERA_DOWN)
        ),
        device.envelope(
            "camera_state.v1", state(start_ms + HOUR_MS, State.DOWN, Cause.CAMERA_DOWN)
        ),
        device.envelope("camera_state.v1", state(start_ms + 3 * HOUR_MS, State.OK)),
        device.envelope("camera_state.v1", state(now_ms - HOUR_MS, State.TAMPERED, Cause.TAMPERED)),
    )
    body = report(now_ms, model="P1", firmware="1.0", reconnects=3)
    twice = device.envelope("health.v1", body)
    await device.up(twice)
    await device.up(twice)
    await inventory.look(fleet.db, fleet.now_ms)
    async with fleet.db.transaction() as tx:
        rows = await matrix.read(
            tx, None, from_ms=now_ms - 20 * DAY_MS, to_ms=now_ms, now_ms=now_ms
        )
        none = await matrix.read(
            tx, ["elsewhere"], from_ms=now_ms - 20 * DAY_MS, to_ms=now_ms, now_ms=now_ms
        )
    assert none == []
    (row,) = rows
    assert (row.make, row.model, row.firmware, row.cameras) == ("Axis", "P1", "1.0", 1)
    assert (row.down.events, row.tampered.events, row.reconnects.events) == (1, 1, 3)
    assert row.observed_h == pytest.approx(237, abs=0.1)
    assert row.mtbf_h == pytest.approx(237 / 2, abs=0.1)
    assert row.gap_share["CAMERA_DOWN"] == pytest.approx(2 / 240, abs=1e-4)


async def test_a_camera_that_is_another_each_time_grows_no_table(fleet, monkeypatch) -> None:
    """A broken or hostile device says another firmware with every report: the newest are kept."""
    monkeypatch.setattr(inventory, "MAX_CHANGES", 3)
    device = await fleet.device()
    for n in range(6):
        await device.up(device.envelope("health.v1", report(device.now_ms, firmware=f"1.{n}")))
        await inventory.look(fleet.db, fleet.now_ms)
        fleet.clock.advance(700)
    async with fleet.db.transaction() as tx:
        history = await inventory.history(tx, None)
    assert [item.firmware for item in history] == ["1.3", "1.4", "1.5"]


async def test_a_camera_that_is_down_is_listed_with_its_reason(
    fleet, conninfo, monkeypatch
) -> None:
    """Before it ever said what it is, in the list of cameras, of devices and at the terminal."""
    device = await fleet.device("shop", "box")
    reason = "401: the camera refuses the password"
    down = CameraState(
        camera="door",
        at_ms=device.now_ms - 5_000,
        noticed_ms=device.now_ms,
        state=State.DOWN,
        cause=Cause.CAMERA_DOWN,
        detail=reason,
    )
    await device.up(device.envelope("camera_state.v1", down))
    async with fleet.db.transaction() as tx:
        (item,) = await inventory.present(tx, None)
        assert await inventory.present(tx, None, chosen=[("box", "till")]) == []
        assert await inventory.present(tx, None, after=inventory.key_of(item)) == []
    assert (item.camera, item.state, item.detail, item.make) == ("door", "down", reason, "")
    assert item.state_since_ms == down.at_ms
    monkeypatch.setenv("VEDETTE_DATABASE_URL", conninfo)
    monkeypatch.delenv("VEDETTE_CENTRAL_CONFIG", raising=False)
    for words in (["cameras"], ["devices", "list"]):
        told = await asyncio.to_thread(CliRunner().invoke, command, words, catch_exceptions=False)
        assert reason in told.output, words
