"""The device's wall clock is wrong, is put right, and is wrong again; the books stay equal.

As `test_joined_path`, in a file of its own: files are what the workers of the suite share out.
"""

from pathlib import Path

import pytest

from vedette.clock import SystemClock
from vedette.sim import campaign

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(400),
    pytest.mark.usefixtures("prepared_central"),
]


@pytest.mark.parametrize("name", ["clock-1970", "clock-behind", "clock-ahead"])
def test_each_message_counts_once_dated_by_centrals_clock(name: str, tmp_path: Path) -> None:
    """Nothing acknowledged is lost, nothing counts twice, no hole is mute."""
    (fault,) = campaign.chosen([name])
    finding = campaign.play(fault, tmp_path, SystemClock())
    assert finding.holds, finding
    assert finding.counts["cameras"] == 3
