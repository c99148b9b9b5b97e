"""What models of whole pictures tell, from a device's message to the operator API's answer."""

import httpx
import msgspec
import pytest
from litestar.testing import AsyncTestClient

from vedette.central import accounts
from vedette.central.web import build_web
from vedette.wire.messages import (
    Aggregate,
    Bins,
    CameraState,
    Cause,
    EventKind,
    EventReport,
    Frames,
    Span,
    State,
)

pytestmark = pytest.mark.anyio

MINUTE = 60_000
ANOMALY = Bins(counts=[7, *[0] * 48, 3])


async def program(fleet) -> dict[str, str]:
    """Return the headers of a program that may look at everything."""
    async with fleet.db.transaction() as tx:
        await accounts.put_user(tx, "vic", "viewer", None, fleet.now_ms)
        token, _ = await accounts.open_session(tx, "vic", fleet.now_ms, life_s=3600, kind="api")
    return {"Authorization": f"Bearer {token}"}


def slice_of(start_ms: int, cause: Cause | None, **more: object) -> Aggregate:
    """Return one minute of a camera that is observed, or is not."""
    end_ms = start_ms + MINUTE
    rate = None if cause else 1.0
    fields = {
        "spans": [Span(start_ms=start_ms, end_ms=end_ms, cause=cause, rate_fps=rate)],
        "frames": Frames() if cause else Frames(captured=60, analysed=60),
    } | more
    return Aggregate(camera="gate", start_ms=start_ms, end_ms=end_ms, **fields)


async def look(fleet, site: str, device: str, window: tuple[int, int]) -> dict:
    """Return what the API answers about the camera in this time."""
    headers = await program(fleet)
    path = f"/v1/sites/{site}/devices/{device}/cameras/gate"
    client = AsyncTestClient(build_web(fleet.services), base_url="http://127.0.0.1:8080")
    async with client as asking:
        query = {"from_ms": window[0], "to_ms": window[1]}
        answer: httpx.Response = await asking.get(path, params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        events = await asking.get("/v1/events", params={"camera": "gate"}, headers=headers)
        assert events.status_code == 200, events.text
    return answer.json() | {"all_events": events.json()}


async def test_class_seconds_scores_and_events_come_out_with_their_coverage(fleet) -> None:
    """Two minutes observed, one that was covered up: sums, distributions, and what is left out."""
    device = await fleet.device()
    end = device.now_ms - device.now_ms % MINUTE
    start = end - 3 * MINUTE
    first = slice_of(
        start, None, class_s={"open": 12.5, "closed": 40.0}, scores={"anomaly": ANOMALY}
    )
    second = slice_of(
        start + MINUTE, None, class_s={"open": 60.0, "closed": 0.0}, left_out=["scores"]
    )
    whole = EventReport(
        event="ev_1",
        camera="gate",
        kind=EventKind.CLASS_CHANGED,
        at_ms=start + 50_000,
        label="open",
        was="closed",
        confidence=0.93,
        score=0.93,
    )
    strange = msgspec.structs.replace(
        whole, event="ev_2", kind=EventKind.ANOMALY, label="", was="", confidence=None, score=0.71
    )
    await device.up(
        device.envelope("aggregate.v1", first),
        device.envelope("aggregate.v1", second),
        device.envelope("aggregate.v1", slice_of(start + 2 * MINUTE, Cause.TAMPERED)),
        device.envelope("event.v1", whole),
        device.envelope("event.v1", strange),
    )
    seen = await look(fleet, "shop", device.device, (start, end))
    counts = {(row["kind"], row["label"]): row["value"] for row in seen["counts"]}
    assert counts["class_s", "open"] == 72.5
    assert counts["class_s", "closed"] == 40.0
    assert counts["left_out", "scores"] is None
    assert seen["scores"] == {"anomaly": ANOMALY.counts}
    coverage = seen["row"]["coverage"]
    assert coverage["observed_s"] == 120.0
    assert coverage["fraction"] == pytest.approx(2 / 3)
    told = {e["kind"]: e for e in seen["events"]}
    assert (told["class_changed"]["label"], told["class_changed"]["was"]) == ("open", "closed")
    assert told["anomaly"]["score"] == 0.71
    assert told["anomaly"]["confidence"] is None
    assert {e["kind"] for e in seen["all_events"]["events"]} == {"class_changed", "anomaly"}


async def test_where_nothing_was_observed_a_class_was_held_for_null_seconds(fleet) -> None:
    """A measured zero is one; the zero of a minute in which nobody saw anything is none."""
    device = await fleet.device()
    end = device.now_ms - device.now_ms % MINUTE
    blind = slice_of(end - MINUTE, Cause.CAMERA_DOWN, class_s={"open": 0.0})
    seeing = slice_of(end - 2 * MINUTE, None, class_s={"open": 0.0})
    state = CameraState(
        camera="gate", at_ms=end - MINUTE, noticed_ms=end, state=State.DOWN, cause=Cause.CAMERA_DOWN
    )
    await device.up(
        device.envelope("aggregate.v1", seeing),
        device.envelope("aggregate.v1", blind),
        device.envelope("camera_state.v1", state),
    )

    def seconds(view: dict) -> list:
        return [row["value"] for row in view["counts"] if row["kind"] == "class_s"]

    dark = await look(fleet, "shop", device.device, (end - MINUTE, end))
    assert seconds(dark) == [None]
    assert dark["row"]["coverage"]["observed_s"] == 0
    assert dark["row"]["coverage"]["fraction"] == 0
    light = await look(fleet, "shop", device.device, (end - 2 * MINUTE, end - MINUTE))
    assert seconds(light) == [0.0]
