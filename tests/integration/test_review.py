"""Shadow reports and disagreements at central: counted once, bounded, judged blind, audited."""

from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from litestar.testing import AsyncTestClient

from vedette.central import accounts, jobs
from vedette.central.review import gate, queue
from vedette.central.review.evidence import shadow_evidence
from vedette.central.rollouts.facts import Verdict
from vedette.central.settings import Retention
from vedette.central.web import build_web
from vedette.wire.messages import Box
from vedette.wire.updates import Disagreement, Paired, ShadowReport

pytestmark = pytest.mark.anyio

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
FIRST = gate.needed(0.2)
JPEG = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
ONLY_A = Box(xyxy=(10.0, 10.0, 30.0, 40.0), label="person", confidence=0.9)


def report(now_ms: int, **more: Any) -> ShadowReport:
    """Five minutes of one camera: 600 pictures, 120 of them differ."""
    told: dict[str, Any] = {
        "rollout": "r-1", "slot": "people", "camera": "door", "a": A, "b": B,
        "start_ms": now_ms - 300_000, "end_ms": now_ms, "frames": 600, "differing": 120,
        "objects": {"person": Paired(both=500, only_a=90, only_b=40)},
    }  # fmt: skip
    return ShadowReport(**(told | more))


def differing(number: int, now_ms: int, **more: Any) -> Disagreement:
    """A picture in which only the model in use sees somebody."""
    told: dict[str, Any] = {
        "disagreement": f"dis-{number}", "rollout": "r-1", "slot": "people", "camera": "door",
        "at_ms": now_ms - 1000, "a": A, "b": B, "picture_px": (64, 48), "boxes_a": [ONLY_A],
        "weight": 2.0, "picture": JPEG, "crop_px": (0, 0, 64, 48),
    }  # fmt: skip
    return Disagreement(**(told | more))


async def token(fleet, name: str, role: str, sites: list[str] | None = None) -> dict[str, str]:
    """Return the headers of somebody's API token."""
    async with fleet.db.transaction() as tx:
        await accounts.put_user(tx, name, role, sites, fleet.now_ms)
        made, _ = await accounts.open_session(tx, name, fleet.now_ms, life_s=3600, kind="api")
    return {"Authorization": f"Bearer {made}"}


def api(fleet) -> AsyncTestClient:
    """Return a client of the operator API."""
    app: Any = build_web(fleet.services)
    return AsyncTestClient(app, base_url="http://127.0.0.1")


async def test_what_devices_count_adds_up_once(fleet) -> None:
    """Sent twice: counted once; two devices, two reports each: all together."""
    for name in ("cam-1", "cam-2"):
        device = await fleet.device("shop", name)
        for _ in range(2):
            made = device.envelope("shadow.v1", report(fleet.now_ms))
            await device.up(made)
            await device.up(made)
    async with fleet.db.transaction() as tx:
        (one,) = await queue.progress(tx, "ada", None)
    assert (one.frames, one.differing, one.devices, one.cameras) == (2400, 480, 2, 2)
    assert (one.needed, one.verdict) == (FIRST, "inconclusive")


async def test_a_review_from_the_first_picture_to_the_verdict(fleet) -> None:
    """Blind and side by chance; each look and verdict audited; what is judged decides the gate."""
    device = await fleet.device("shop")
    for _ in range(2):
        await device.up(device.envelope("shadow.v1", report(fleet.now_ms)))
    for number in range(150):
        await device.up(device.envelope("disagreement.v1", differing(number, fleet.now_ms)))
    made = device.envelope("disagreement.v1", differing(0, fleet.now_ms))
    await device.up(made)
    headers = await token(fleet, "ada", "reviewer")
    async with api(fleet) as client:
        firsts = 0
        async with fleet.db.transaction() as tx:
            for _ in range(FIRST - 12):  # the same without HTTP, which is slow
                found = await queue.next_item(tx, "ada", None, "r-1")
                assert found is not None
                side = "second" if found.first else "first"
                firsts += side == "first"
                await queue.picture(tx, "ada", found, now_ms=fleet.now_ms)
                await queue.judge(tx, "ada", found, side, now_ms=fleet.now_ms)
        for _ in range(12):
            item = (await client.get("/v1/review/r-1/next", headers=headers)).json()
            assert not {"a", "b", "boxes_a", "weight"} & set(item)
            assert {tuple(map(len, (item["first"], item["second"])))} <= {(0, 1), (1, 0)}
            # Whoever sees somebody is wrong: the candidate is right each time.
            side = "second" if item["first"] else "first"
            firsts += side == "first"
            there = f"/v1/review/r-1/items/{item['device']}/{item['disagreement']}"
            picture = await client.get(f"{there}/picture", headers=headers)
            assert picture.content == JPEG
            assert picture.headers["content-type"] == "image/jpeg"
            given = await client.post(f"{there}/verdict", json={"side": side}, headers=headers)
            assert given.status_code == 204
            fleet.clock.advance(0.01)
        assert 35 < firsts < 95, "the candidate is first about as often as second"
        (now,) = (await client.get("/v1/review", headers=headers)).json()["rollouts"]
    assert (now["reviewed"], now["needed"], now["waiting"]) == (FIRST, FIRST, 150 - FIRST)
    async with fleet.db.transaction() as tx:
        said = await shadow_evidence(tx, "r-1")
        assert await shadow_evidence(tx, "r-2") is None
    assert said is not None
    assert (said.verdict, said.b_better, said.a_better) == (Verdict.PASS, FIRST, 0)
    rows = await fleet.rows(
        "SELECT action, count(*) FROM audit_log WHERE actor = 'ada' GROUP BY action ORDER BY action"
    )
    assert rows == [("review.judge", FIRST), ("review.look", FIRST)]


async def test_some_are_judged_twice_and_the_last_verdict_can_be_taken_back(fleet) -> None:
    """A second reviewer gets those that nobody judged and a fifth of the others."""
    device = await fleet.device("shop")
    await device.up(device.envelope("shadow.v1", report(fleet.now_ms)))
    for number in range(60):
        await device.up(device.envelope("disagreement.v1", differing(number, fleet.now_ms)))
    async with fleet.db.transaction() as tx:
        for _ in range(60):
            item = await queue.next_item(tx, "ada", None, "r-1")
            assert item is not None
            await queue.judge(tx, "ada", item, "neither", now_ms=fleet.now_ms)
        assert await queue.next_item(tx, "ada", None, "r-1") is None
        twice = 0
        while (item := await queue.next_item(tx, "ben", None, "r-1")) is not None:
            await queue.judge(tx, "ben", item, "unclear", now_ms=fleet.now_ms + 1000)
            twice += 1
        assert 3 <= twice <= 25
        (one,) = await queue.progress(tx, "ben", None)
        assert (one.reviewed, one.agreement) == (60, pytest.approx(0.0))
        back = await queue.take_back(tx, "ben", None, "r-1", now_ms=fleet.now_ms + 2000)
        again = await queue.next_item(tx, "ben", None, "r-1")
        assert again is not None
        assert back == (again.device, again.disagreement)


async def test_who_may_not_sees_nothing(fleet) -> None:
    """A viewer is no reviewer; a reviewer of other sites finds nothing, whatever the address."""
    device = await fleet.device("shop")
    await device.up(device.envelope("shadow.v1", report(fleet.now_ms)))
    await device.up(device.envelope("disagreement.v1", differing(1, fleet.now_ms)))
    item = f"/v1/review/r-1/items/{device.device}/dis-1"
    asks = ["/v1/review", "/v1/review/r-1/next", f"{item}/picture"]
    answers: dict[str, list[int]] = {}
    async with api(fleet) as client:
        for name, role, sites in (
            ("vic", "viewer", None), ("far", "reviewer", ["far"]), ("ada", "reviewer", ["shop"]),
        ):  # fmt: skip
            headers = await token(fleet, name, role, sites)
            codes = [(await client.get(ask, headers=headers)).status_code for ask in asks]
            body = {"side": "first"}
            given = await client.post(f"{item}/verdict", json=body, headers=headers)
            answers[name] = [*codes, given.status_code]
            if name == "far":
                assert (await client.get("/v1/review", headers=headers)).json() == {"rollouts": []}
        headers = await token(fleet, "ada", "reviewer", ["shop"])
        wrong = await client.post(f"{item}/verdict", json={"side": "b"}, headers=headers)
        other = await client.get(item.replace("r-1", "r-2") + "/picture", headers=headers)
    assert answers == {
        "vic": [403, 403, 403, 403],
        "far": [200, 404, 404, 404],
        "ada": [200, 200, 200, 204],
    }
    assert (wrong.status_code, other.status_code) == (400, 404)


WRONG: tuple[dict[str, Any], ...] = (
    {"picture": b"<svg onload=alert(1)>"},
    {"picture": JPEG + b"\0" * 60_000},
    {"weight": 0.1},
    {"weight": 1e9},
    {"picture_px": (0, 0)},
    {"crop_px": (10, 10, 10, 10)},
    {"crop_px": (0, 0, 640, 480)},
    {"boxes_a": [ONLY_A] * 300},
    {"disagreement": "no slug!"},
    {"rollout": "../x"},
    {"a": "sha256:short"},
    {"camera": "a\x00b"},
)


async def test_what_cannot_be_is_refused_alone(fleet) -> None:
    """Hostile pictures, weights, places and names: those messages, and not the one beside them."""
    device = await fleet.device("shop")
    bad = [
        device.envelope("disagreement.v1", differing(number, fleet.now_ms, **wrong))
        for number, wrong in enumerate(WRONG)
    ]
    answer = await device.up(*bad, device.envelope("disagreement.v1", differing(99, fleet.now_ms)))
    assert len(answer.rejected) == len(WRONG)
    rows = await fleet.rows("SELECT disagreement FROM disagreements")
    assert rows == [("dis-99",)]


async def test_a_report_that_cannot_be_is_refused(fleet) -> None:
    """More differing than compared, or of time to come."""
    device = await fleet.device("shop")
    answer = await device.up(
        device.envelope("shadow.v1", report(fleet.now_ms, differing=601)),
        device.envelope("shadow.v1", report(fleet.now_ms, end_ms=fleet.now_ms + 9_000_000)),
    )
    assert len(answer.rejected) == 2
    assert await fleet.rows("SELECT * FROM shadow_sums") == []


async def test_one_device_fills_nothing(fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its number of candidates and of disagreements in a day, more are not kept."""
    from vedette.central.ingest import effects

    monkeypatch.setattr(effects, "MAX_SHADOWS", 5)
    monkeypatch.setattr(effects, "MAX_DISAGREEMENTS", 7)
    device = await fleet.device("shop")
    for number in range(12):
        other = report(fleet.now_ms, rollout=f"r-{number}")
        answer = await device.up(
            device.envelope("shadow.v1", other),
            device.envelope("disagreement.v1", differing(number, fleet.now_ms)),
        )
        assert answer.rejected == []
    assert (await fleet.rows("SELECT count(*) FROM shadow_sums"))[0][0] <= 6
    assert (await fleet.rows("SELECT count(*) FROM disagreements"))[0][0] <= 8


async def test_pixels_are_kept_in_one_place_and_for_their_time(fleet) -> None:
    """Not in the raw messages; after `review_days` none is left, and what was judged stays."""
    device = await fleet.device("shop")
    await device.up(device.envelope("shadow.v1", report(fleet.now_ms)))
    await device.up(device.envelope("disagreement.v1", differing(1, fleet.now_ms)))
    (raw,) = await fleet.rows("SELECT body FROM reports WHERE schema = 'disagreement.v1'")
    assert JPEG not in bytes(raw[0])
    async with fleet.db.transaction() as tx:
        item = await queue.next_item(tx, "ada", None, "r-1")
        assert item is not None
        await queue.judge(tx, "ada", item, "first", now_ms=fleet.now_ms)
    later_ms = fleet.now_ms + 31 * 86_400_000
    await jobs.expire(fleet.db, msgspec.structs.replace(Retention(), review_days=30), later_ms)
    async with fleet.db.transaction() as tx:
        again = await queue.one_item(tx, "ada", None, (item.device, item.disagreement))
        (one,) = await queue.progress(tx, "ada", None)
        assert await queue.picture(tx, "ada", item, now_ms=later_ms) is None
    assert again is not None
    assert not again.has_picture
    assert "time" in again.withheld
    assert one.reviewed == 1
