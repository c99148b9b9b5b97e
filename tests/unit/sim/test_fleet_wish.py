"""What a simulated rollout is asked for: who is away when, and what counts as a good end."""

from vedette.sim.fleet.scenario import Kind, Scenario, check, spells
from vedette.sim.fleet.wish import BEGINS_H, Wish
from vedette.sim.fleet.wish import spells as away


def test_devices_that_are_away_come_back_before_they_count_as_lost() -> None:
    """Each begins after the rollout does, ends within two hours, and is repeated by its seed."""
    wish = Wish(devices=200, faults=3)
    found = away(wish)
    kinds = [fault.kind for fault in found]
    assert (kinds.count(Kind.OFFLINE), kinds.count(Kind.POWER)) == (3, 3)
    assert kinds.count(Kind.SITE_CUT) == 1
    assert all(fault.at_min > BEGINS_H * 60 for fault in found)
    assert all(0 < fault.for_min < 120 for fault in found)
    assert found == away(wish)
    scenario = Scenario(
        devices=200, per_site=wish.per_site, hours=BEGINS_H + wish.max_h, faults=found
    )
    check(scenario)
    assert sum(map(bool, spells(scenario))) >= 4 + 3


def test_without_faults_nobody_is_away() -> None:
    """The fleet of a demonstration behaves."""
    assert away(Wish(faults=0)) == []
