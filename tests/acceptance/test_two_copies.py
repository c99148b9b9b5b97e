"""Two real agents with one key and one spool: what `vedette sim campaign two-copies` plays.

Central's watch is made twenty times as quick here, and nothing else: the campaign takes its time.
"""

import sys
from pathlib import Path

import pytest

from vedette.clock import SystemClock
from vedette.sim import campaign, rig
from vedette.sim.checker import Committed, Produced, Receipt, delivery, with_copy
from vedette.sim.demo.operator import run_arguments
from vedette.sim.faults import Child

QUICK = """
from vedette.central.ingest import clones
clones.TURN_SPAN_MS = 3_000
from vedette.cli.main import main
main()
"""


def quick_central(folder: Path, port: int, log_path: Path) -> Child:
    """Central as it is, but for how long two lives must have taken turns."""
    return Child("central", [sys.executable, "-c", QUICK, *run_arguments(folder, port)], log_path)


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_two_living_copies_are_told_judged_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are told; one is counted whole; of the other only what nobody could know before."""
    monkeypatch.setattr(rig, "central_child", quick_central)
    (fault,) = campaign.chosen(["two-copies"])
    finding = campaign.play(fault, tmp_path, SystemClock())
    assert finding.holds, finding
    assert finding.counts["tombstoned"] > 40  # the other's
    assert finding.counts["cameras"] == 3


def said(crc: int) -> tuple[str, int]:
    """A message of this content."""
    return "event.v1", crc


def test_the_books_of_two_copies_show_what_was_put_in_anothers_place() -> None:
    """Counted of the copy: owed. Dropped of it: stated. In the device's own place: altered."""
    own = Produced(device="box", messages={(1, "live", 1): said(1), (1, "live", 2): said(2)})
    copied = {(1, "live", 2): said(20), (2, "live", 1): said(21), (2, "live", 2): said(22)}
    copy = Produced(device="box", messages={(1, "live", 1): said(1)} | copied)

    assert judged(own, copy, (1, 1, 1), (1, 2, 2), (2, 1, 21)) == []
    assert judged(own, copy, (1, 1, 1), (1, 2, 20), (2, 1, 21)) == ["altered"]
    assert judged(own, copy, (1, 1, 1), (2, 1, 21)) == ["lost"]
    assert judged(own, copy, (1, 1, 1), (1, 2, 2), (2, 1, 99)) == ["invented"]


def test_the_books_of_two_copies_follow_a_message_that_was_given_another_number() -> None:
    """Whichever of both was told to number anew after central had counted what it said."""
    first = {(1, "live", 1): said(1)}
    own = Produced(device="box", messages=first | {(1, "live", 2): said(2)})
    copy = Produced(
        device="box",
        messages=first | {(2, "live", 1): said(20)},
        former={(1, "live", 3): (2, "live", 1)},
    )
    assert judged(own, copy, (1, 1, 1), (1, 2, 2), (1, 3, 20)) == []
    assert judged(own, copy, (1, 1, 1), (1, 2, 2), (1, 3, 21)) == ["invented"]

    moved = Produced(
        device="box",
        messages=first | {(2, "live", 1): said(2)},
        former={(1, "live", 2): (2, "live", 1)},
    )
    other = Produced(device="box", messages=first | {(1, "live", 2): said(20)})
    assert judged(moved, other, (1, 1, 1), (2, 1, 2)) == []
    assert judged(moved, other, (1, 1, 1), (1, 2, 2)) == []
    assert judged(moved, other, (1, 1, 1), (1, 2, 20), (2, 1, 2)) == []
    assert judged(moved, other, (1, 1, 1), (1, 2, 2), (2, 1, 2)) == ["twice"]
    assert judged(moved, other, (1, 1, 1), (1, 2, 20)) == ["lost"]


def judged(own: Produced, copy: Produced, *has: tuple[int, int, int]) -> list[str]:
    """Compare the books of both with what central has: epoch, number, content."""
    receipts = [Receipt((epoch, "live", seq), *said(crc), "accepted") for epoch, seq, crc in has]
    committed = Committed(device="box", receipts=receipts)
    both = with_copy(own, copy, committed)
    return [one.kind for one in delivery(both, committed, drained=True)]
