"""Faults of the campaign that no other test plays, in turn over one central and one device."""

import os
from pathlib import Path

import pytest

from vedette.clock import SystemClock
from vedette.errors import ConfigError
from vedette.sim import campaign, troubles
from vedette.sim.campaign import Fault
from vedette.sim.troubles import Happened, Stand

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


def _in_turn(stand: Stand) -> Happened:
    """A torn page, nonsense, a full disk under PostgreSQL, and a central put back to a backup."""
    happened = [
        troubles.tear_a_page(stand),
        troubles.send_nonsense(stand),
        troubles.fill_central(stand),
        troubles.restore_central(stand),
    ]
    return Happened(
        "; ".join(one.words for one in happened),
        [difference for one in happened for difference in one.differences],
    )


def test_torn_page_nonsense_full_disk_and_a_restored_central(tmp_path: Path) -> None:
    """Through all of it nothing acknowledged is lost, nothing counts twice, no hole is mute."""
    fault = Fault(
        name="in turn", what="", play=_in_turn, every_s=0.02, central_disk_mb=220, at_least=500
    )
    finding = campaign.play(fault, tmp_path, SystemClock())
    if finding.skipped and not os.environ.get("CI"):
        pytest.skip(finding.skipped)
    assert finding.holds, finding
    assert finding.counts["tombstoned"] > 0
    assert finding.counts["cameras"] == 3


def test_a_fault_that_nobody_knows_is_named_with_those_there_are() -> None:
    """A typing error plays nothing, rather than everything or silently less."""
    with pytest.raises(ConfigError, match="no fault is called tornpage") as error:
        campaign.chosen(["tornpage"])
    assert "torn-page" in str(error.value.operator_hint)
    assert [fault.name for fault in campaign.chosen(["network", "peace"])] == ["peace", "network"]


def test_a_fault_that_proved_nothing_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not permitted here is skipped in words, and no error is taken for success."""
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    fault = Fault(name="disk", what="", play=_in_turn, central_disk_mb=1)
    finding = campaign.play(fault, tmp_path, SystemClock())
    assert not finding.holds
    assert "needs root" in finding.skipped
