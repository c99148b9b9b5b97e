"""What came of commissioning reaches central: once, dated, bounded, for whoever may see it."""

import pytest
from litestar.testing import AsyncTestClient

from vedette.central import accounts, commissioned
from vedette.central.web import build_web
from vedette.wire.messages import CommissionReport

pytestmark = pytest.mark.anyio


def report(at_ms: int, **more: object) -> CommissionReport:
    """A camera whose sample had ten boxes, nine right, and one object missed."""
    told = {"camera": "door", "at_ms": at_ms, "by": "Ann", "confirmed": ["view"],
            "pictures": 5, "right": 9, "wrong": 1, "missed": 1}  # fmt: skip
    return CommissionReport(**(told | more))


async def test_a_commissioning_is_stored_once_and_read_with_its_intervals(fleet) -> None:
    """Sent twice: one row; 9 of 10 with its 95 % interval; whoever may not see it gets 404."""
    device = await fleet.device("shop")
    made = device.envelope("commission.v1", report(fleet.now_ms))
    await device.up(made)
    await device.up(made)
    async with fleet.db.transaction() as tx:
        (told,) = await commissioned.of_camera(tx, device.device, "door")
        await accounts.put_user(tx, "ada", "viewer", None, fleet.now_ms)
        await accounts.put_user(tx, "ben", "viewer", ["far"], fleet.now_ms)
        tokens = [
            (await accounts.open_session(tx, name, fleet.now_ms, life_s=3600, kind="api"))[0]
            for name in ("ada", "ben")
        ]
    assert (told.by, told.complete, told.pictures) == ("Ann", True, 5)
    assert told.precision is not None
    assert (told.precision.count, told.precision.of) == (9, 10)
    assert told.precision.low < 0.9 < told.precision.high
    there = f"/v1/sites/shop/devices/{device.device}/cameras/door/commissionings"
    async with AsyncTestClient(build_web(fleet.services), base_url="http://127.0.0.1") as client:
        answers = [
            await client.get(there, headers={"Authorization": f"Bearer {token}"})
            for token in tokens
        ]
    assert [answer.status_code for answer in answers] == [200, 404]
    assert answers[0].json()[0]["recall"]["of"] == 10


async def test_the_newest_twenty_are_kept(fleet) -> None:
    """A device that is commissioned for ever fills nothing."""
    device = await fleet.device("shop")
    for number in range(30):
        await device.up(device.envelope("commission.v1", report(fleet.now_ms - number * 1000)))
        fleet.clock.advance(5)
    (kept,) = await fleet.rows("SELECT count(*) FROM commissions")
    assert kept[0] <= 21


@pytest.mark.parametrize(
    "wrong",
    [
        {"camera": "no slug!"},
        {"confirmed": ["view"] * 40},
        {"observed_fraction": 1.5},
        {"at_ms": 9_000_000_000_000},
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_else_is_lost(fleet, wrong) -> None:
    """Named in the answer; the good one beside it is stored."""
    device = await fleet.device("shop")
    answer = await device.up(
        device.envelope("commission.v1", report(**({"at_ms": fleet.now_ms} | wrong))),
        device.envelope("commission.v1", report(fleet.now_ms - 1)),
    )
    assert len(answer.rejected) == 1
    async with fleet.db.transaction() as tx:
        assert len(await commissioned.of_camera(tx, device.device, "door")) == 1
