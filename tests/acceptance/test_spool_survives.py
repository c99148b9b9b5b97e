"""Processes killed at random moments: nothing committed is lost, no hole is mute."""

import itertools
import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from vedette.clock import SystemClock
from vedette.edge.spool import Spool
from vedette.sim import faults, ledger
from vedette.wire import codec
from vedette.wire.messages import Aggregate, CoverageReport

pytestmark = pytest.mark.chaos


@pytest.fixture
def spool_db(tmp_path: Path) -> Path:
    """An opened spool with its ledger."""
    Spool.open(tmp_path / "spool", 64 << 20, SystemClock(), "boot", writer=False).close()
    path = tmp_path / "spool" / "spool.db"
    ledger.attach(path)
    return path


def _producer(state: Path, number: int, **more: object) -> faults.Child:
    arguments = [sys.executable, "-m", "vedette.sim.producer", str(state)]
    arguments += ["--every-s", "0.01", "--seed", str(number)]
    return faults.Child(f"producer {number}", arguments, state / "producer.log", **more)  # pyright: ignore[reportArgumentType]


def _count(spool_db: Path) -> int:
    with closing(sqlite3.connect(spool_db, timeout=20)) as db:
        return db.execute("SELECT count(*) FROM sim_produced").fetchone()[0]


def _grow(child: faults.Child, spool_db: Path, by: int) -> None:
    wanted = _count(spool_db) + by
    faults.wait_until(
        f"{by} more messages",
        lambda: _count(spool_db) >= wanted,
        SystemClock(),
        timeout_s=30,
        alive=[child],
        poll_s=0.01,
    )


def _times(spool_db: Path) -> dict[str, list[tuple[int, int]]]:
    """Every camera's accounted time as the messages in the spool say it."""
    found: dict[str, list[tuple[int, int]]] = {}
    with closing(sqlite3.connect(spool_db, timeout=20)) as db:
        for schema, body in db.execute("SELECT schema, body FROM message"):
            if schema in ("aggregate.v1", "coverage.v1"):
                kind = Aggregate if schema == "aggregate.v1" else CoverageReport
                report = codec.decode(body, kind)
                spans = [(span.start_ms, span.end_ms) for span in report.spans]
                found.setdefault(report.camera, []).extend(spans)
    return found


def _assert_whole(spool_db: Path) -> None:
    assert ledger.check_spool(spool_db) == []
    made = ledger.read_produced("box", spool_db)
    assert made.pending == made.messages.keys() - made.tombstoned
    lanes = {key[:2] for key in made.messages}
    for lane in lanes:
        numbers = sorted(key[2] for key in made.messages if key[:2] == lane)
        assert numbers == list(range(1, len(numbers) + 1))


def test_kill_nine_at_random_moments_loses_nothing_committed(
    tmp_path: Path, spool_db: Path
) -> None:
    """Six lives of a producer: numbers without a gap, checksums right, each camera's time tiled."""
    moments = random.Random(5)
    for number in range(6):
        child = _producer(tmp_path, number)
        child.start()
        try:
            _grow(child, spool_db, moments.randint(20, 120))
        finally:
            child.kill()
    _assert_whole(spool_db)
    for camera, spans in _times(spool_db).items():
        ordered = sorted(spans)
        for (_, end), (start, _) in itertools.pairwise(ordered):
            assert start == end, f"{camera}: {start - end} ms that nobody accounts for"


def test_two_processes_on_one_spool_share_the_numbers(tmp_path: Path, spool_db: Path) -> None:
    """The agent and the pipeline write at once; one is killed; no number is used twice."""
    one, other = _producer(tmp_path, 1), _producer(tmp_path, 2)
    one.start()
    other.start()
    try:
        _grow(one, spool_db, 200)
        other.kill()
        _grow(one, spool_db, 100)
    finally:
        one.kill()
        other.kill()
    _assert_whole(spool_db)


def test_a_full_disk_costs_the_reserve_and_tears_nothing(tmp_path: Path) -> None:
    """The disk fills under load: the reserve is given up and what is important still fits.

    Then the disk is freed, and every page and number is whole.
    """
    disk = tmp_path / "disk"
    try:
        with faults.small_disk(disk, 12):
            Spool.open(disk / "spool", 64 << 20, SystemClock(), "boot", writer=False).close()
            spool_db = disk / "spool" / "spool.db"
            ledger.attach(spool_db)
            child = _producer(disk, 1)
            child.log_path = tmp_path / "producer.log"
            child.start()
            try:
                _grow(child, spool_db, 100)
                ballast = faults.fill_disk(disk)
                reserve = spool_db.with_name("reserve")
                faults.wait_until(
                    "the reserve is given up",
                    lambda: not reserve.exists() or "unwritable" in child.tail(50),
                    SystemClock(),
                    timeout_s=60,
                    alive=[child],
                )
                ballast.unlink()
                _grow(child, spool_db, 100)
            finally:
                child.kill()
            _assert_whole(spool_db)
    except faults.ConfigError as error:
        pytest.skip(str(error))
