"""Evidence where it hurts: a process killed in the middle of writing, a disk that is full."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vedette.clock import ManualClock
from vedette.edge.evidence.shelf import Shelf, verify
from vedette.edge.evidence.store import EvidenceStore
from vedette.edge.settings import EvidenceSettings
from vedette.errors import EvidenceError

WRITER = """
import hashlib, os, signal, sys
from pathlib import Path
import msgspec
from vedette.clock import ManualClock
from vedette.edge.evidence.facts import Facts
from vedette.edge.evidence.shelf import Shelf
from vedette.errors import EvidenceError
from vedette.wire.messages import EventKind, EventReport, EvidenceRecord

shelf = Shelf(Path(sys.argv[1]), ManualClock(), daily_bytes=1 << 40, keep_bytes=6_000_000,
              min_free_bytes=0)
die_at, syncs, fsync = int(sys.argv[3]), 0, os.fsync

def sync_or_die(handle):
    global syncs
    syncs += 1
    if syncs == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(handle)

os.fsync = sync_or_die
event = EventReport(event="ev-1", camera="door", kind=EventKind.TAMPER, at_ms=0)
for n in range(int(sys.argv[2])):
    clip = bytes([n % 256]) * 400_000
    record = EvidenceRecord(evidence=f"evd-{n}", event="ev-1", camera="door", wanted_ms=(0, 1),
                            sha256=hashlib.sha256(clip).hexdigest(), bytes=len(clip))
    facts = Facts(record=record, event=event, frames=[])
    try:
        shelf.write(f"evd-{n}", {"clip.mp4": clip, "evidence.json": msgspec.json.encode(facts),
                                 "poster.jpg": b"poster"})
    except EvidenceError as problem:
        print("refused", problem, problem.operator_hint, flush=True)
    else:
        print("wrote", n, flush=True)
"""


def _run(folder: Path, count: int, die_at: int, limit_bytes: int | None = None) -> tuple[int, str]:
    def limit() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(folder), str(count), str(die_at)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=55,
        preexec_fn=limit,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("die_at", [*range(1, 8), 71, 73, 75, 77, 79])
def test_kill_9_leaves_whole_packages_or_nothing(tmp_path: Path, die_at: int) -> None:
    """Killed at each step of writing, with and without deleting: what is found is whole."""
    code, told = _run(tmp_path, 40, die_at)
    assert code == -signal.SIGKILL
    before = {path for path in tmp_path.glob("[0-9]*/*") if path.is_dir()}
    store = EvidenceStore(tmp_path, EvidenceSettings(), ManualClock())
    packages = store.list_packages()
    assert {package.path for package in packages} == before
    assert len(packages) >= min(told.count("wrote"), 13)
    for package in packages:
        verify(package.path)
        assert (package.path / "poster.jpg").read_bytes() == b"poster"
    assert list((tmp_path / ".partial").iterdir()) == []


def test_a_disk_that_takes_no_more_gives_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """The system refuses the write half-way: told in words, no half package."""
    code, told = _run(tmp_path, 2, 0, limit_bytes=100_000)
    assert code == 0
    assert told.count("the disk is full free space on the device") == 2
    assert list((tmp_path / ".partial").iterdir()) == []
    shelf = Shelf(tmp_path, ManualClock(), daily_bytes=1, keep_bytes=1)
    assert shelf.packages() == []


def test_a_place_that_cannot_hold_evidence_is_said_at_start(tmp_path: Path) -> None:
    """The operator hears of it before the first event."""
    (tmp_path / "evidence").write_text("a file where the folder should be")
    with pytest.raises(EvidenceError, match="cannot be used"):
        EvidenceStore(tmp_path / "evidence", EvidenceSettings(), ManualClock())
