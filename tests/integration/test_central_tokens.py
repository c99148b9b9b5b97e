"""Whose token it is: asked for once for many, remembered, and never enough to do anything."""

import asyncio

import pytest

from tests.integration.conftest import Fleet
from vedette.central.enrolment import revoke
from vedette.central.tokens import Tokens
from vedette.errors import BadSignature, NotAllowed

pytestmark = pytest.mark.anyio


async def test_many_devices_at_once_cost_few_questions(fleet: Fleet) -> None:
    """Forty requests of four devices: two questions to the database, and none when they return."""
    devices = [await fleet.device(name=f"box-{n}") for n in range(4)]
    tokens = Tokens(fleet.db, fleet.clock)
    found = await asyncio.gather(*(tokens.holder_of(devices[n % 4].token) for n in range(40)))
    assert [one.device for one in found] == [f"box-{n % 4}" for n in range(40)]
    assert tokens.lookups <= 2
    before = tokens.lookups
    await tokens.holder_of(devices[0].token)
    assert tokens.lookups == before


async def test_a_wrong_token_among_right_ones_is_refused_alone(fleet: Fleet) -> None:
    """One question, three answers: a device, nobody, and nothing asked for no token."""
    device = await fleet.device(name="box")
    tokens = Tokens(fleet.db, fleet.clock)
    asked = [tokens.holder_of(token) for token in (device.token, "stolen", "")]
    right, wrong, empty = await asyncio.gather(*asked, return_exceptions=True)
    assert not isinstance(right, BaseException)
    assert right.device == "box"
    assert isinstance(wrong, BadSignature)
    assert isinstance(empty, BadSignature)


async def test_a_token_that_is_remembered_does_nothing_once_its_device_is_revoked(
    fleet: Fleet,
) -> None:
    """The next report is refused, however long the token would have been remembered."""
    device = await fleet.device(name="box")
    await device.up()
    async with fleet.db.transaction() as tx:
        await revoke(tx, "box", actor="test", now_ms=fleet.now_ms)
    refused = await device.post(b"")
    assert refused.status_code in {400, 401, 403}
    with pytest.raises((AssertionError, NotAllowed)):
        await device.up()
