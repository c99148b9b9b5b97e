"""Simulated time of a whole fleet with every fault, against the real central."""

import logging

import pytest

from vedette.sim.fleet import campaign
from vedette.sim.fleet.scenario import Fault, Kind, Scenario

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


async def test_sixty_devices_with_every_fault_are_known_to_central_to_the_second(
    conninfo: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every message once, every camera-second with its cause, nobody called dark who is not."""
    caplog.set_level(logging.CRITICAL)
    always = {"at_min": 0, "for_min": 28}
    scenario = Scenario(
        hours=0.5,
        devices=60,
        cameras=1,
        seed=5,
        faults=[
            Fault(kind=Kind.OFFLINE, devices=6, at_min=3, for_min=9),
            Fault(kind=Kind.SITE_CUT, devices=1, at_min=14, for_min=6),
            Fault(kind=Kind.POWER, devices=5, at_min=7, for_min=5.5),
            Fault(kind=Kind.POWER, devices=3, at_min=20, for_min=1),
            Fault(kind=Kind.FLAP, devices=5, at_min=4, for_min=22, every_min=3),
            Fault(kind=Kind.CLOCK, devices=2, at_min=5, for_min=9, by_min=-90),
            Fault(kind=Kind.CLOCK, devices=2, at_min=6.5, for_min=9, by_min=60 * 24 * 400),
            Fault(kind=Kind.WAKE_1970, devices=3, at_min=8, for_min=12),
            Fault(kind=Kind.LOST_SPOOL, devices=3, at_min=10, for_min=7),
            Fault(kind=Kind.QUOTA, devices=3, at_min=3, for_min=18, messages=20),
            Fault(kind=Kind.CLONE, devices=2, at_min=12, for_min=5),
            Fault(kind=Kind.DUPLICATE, devices=12, chance=0.3, **always),
            Fault(kind=Kind.REORDER, devices=12, chance=0.3, **always),
            Fault(kind=Kind.TRUNCATE, devices=6, chance=0.1, **always),
            Fault(kind=Kind.REPLAY, devices=8, chance=0.2, **always),
            Fault(kind=Kind.LOSE_ANSWER, devices=8, chance=0.2, **always),
        ],
    )
    assert {fault.kind for fault in scenario.faults} == set(Kind)
    verdict = await campaign.live(conninfo, scenario)
    assert verdict.holds, str(verdict)
    assert verdict.counts["produced"] > 6_000
    assert verdict.counts["tombstoned"] > 40
    assert verdict.counts["cameras"] == 58
    assert verdict.counts["dark"] > 15
