"""What the spool spares the disk, and what it does without when the disk is full."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest

from vedette.clock import ManualClock
from vedette.edge.spool import Kept, Spool, peek
from vedette.edge.spool.file import PAGE_BYTES
from vedette.errors import SpoolUnwritable
from vedette.wire.envelope import LaneAck, UpAnswer
from vedette.wire.messages import EventKind, EventReport, HealthReport
from vedette.wire.streams import Lane

QUOTA = 64 * 1024 * 1024
_RANDOM = random.Random(1)
SYNCED = 2  # PRAGMA synchronous = FULL


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """A spool that keeps what was acknowledged for a day."""
    opened = reopen(tmp_path)
    yield opened
    opened.close()


def reopen(folder: Path) -> Spool:
    """Open the spool in a folder as the first or next process."""
    opened = Spool.open(folder / "spool", QUOTA, ManualClock(), "boot-1", writer=False)
    opened.keep_s = 86_400.0
    return opened


def fill(spool: Spool, n: int) -> None:
    """Put health reports that no packing makes small."""
    for at in range(n):
        text = _RANDOM.randbytes(100).hex()
        spool.put("health.v1", HealthReport(at_ms=at, period_s=30, version="b", problems=[text]))
    spool.flush()


def full_disk(spool: Spool) -> None:
    """Let the file not grow any more, and use up what is free within it."""
    spool._file.transaction(lambda db: db.execute("PRAGMA max_page_count = 1"), write=False)
    while spool._file.transaction(free_pages, write=False) >= 40:
        fill(spool, 20)


def free_pages(db: sqlite3.Connection) -> int:
    """Return the pages within the file that hold nothing."""
    return db.execute("PRAGMA freelist_count").fetchone()[0]


def event(name: str) -> EventReport:
    """Return an alert."""
    return EventReport(event=name, camera="door", kind=EventKind.PRESENCE, at_ms=1)


def answer(through: int) -> UpAnswer:
    """Return an acknowledgement of the telemetry."""
    return UpAnswer(acks=[LaneAck(epoch=1, lane=Lane.LIVE, acked_through=through)])


def pragma(path: Path, name: str) -> int:
    """Return a value of the file."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"PRAGMA {name}").fetchone()[0]


def waiting(spool: Spool) -> list[str]:
    """Return the schemas of all that waits."""
    return [e.schema for e in spool.next_batch(max_bytes=1 << 30, max_n=100_000)]


@pytest.mark.parametrize("packed", [False, True], ids=["rows", "packs"])
def test_a_full_disk_takes_what_is_only_kept_and_nothing_that_waits(
    spool: Spool, *, packed: bool
) -> None:
    """Alerts stay durable out of the room of acknowledged messages; no tombstone is needed."""
    fill(spool, 2_000)
    spool.settle(answer(2_000))
    if packed:
        for _ in range(4):
            spool.tend(pack_waiting=False)
    full_disk(spool)
    reports = spool.health().depth["live"]
    for n in range(300):
        spool.put("event.v1", event(f"ev-{n}"), at_once=n % 10 == 9)
    assert spool.put("event.v1", event("last")) is Kept.DURABLE
    assert sorted(waiting(spool)) == ["event.v1"] * 301 + ["health.v1"] * reports
    health = spool.health()
    assert health.evicted == 0
    assert health.kept < 2_000


def test_when_nothing_is_kept_any_more_a_full_disk_takes_what_waits_and_says_so(
    spool: Spool,
) -> None:
    """The order is: kept, then the least important with a tombstone; the alerts stay."""
    fill(spool, 500)
    spool.settle(answer(500))
    full_disk(spool)
    reports = spool.health().depth["live"]
    for n in range(2_500):
        spool.put("event.v1", event(f"ev-{n}"), at_once=n % 50 == 49)
    assert spool.status().held == 0
    health = spool.health()
    assert health.kept == 0
    assert health.evicted > 0
    schemas = waiting(spool)
    assert schemas.count("event.v1") == 2_500
    assert schemas.count("health.v1") == reports - health.evicted
    assert "tombstone.v1" in schemas


def test_the_age_of_what_is_kept_counts_until_central_said_what_it_has(spool: Spool) -> None:
    """A central that lost it must not be told that everything before now has arrived."""
    fill(spool, 300)
    first_ms = spool.health().oldest_ms
    assert first_ms is not None
    spool.settle(answer(300))
    assert spool.health().oldest_ms is None
    assert spool.health(may_return=True).oldest_ms == first_ms
    spool.tend(pack_waiting=False)
    assert spool.health(may_return=True).oldest_ms == first_ms


def test_whatever_is_not_synced_the_next_commit_is(spool: Spool) -> None:
    """A settlement may be undone by a power cut, also one that failed; a message may not."""
    fill(spool, 2)
    seen: list[int] = []

    def level(db: sqlite3.Connection) -> None:
        seen.append(db.execute("PRAGMA synchronous").fetchone()[0])

    def refuse(db: sqlite3.Connection) -> None:
        level(db)
        raise sqlite3.OperationalError("database or disk is full")

    spool._file.transaction(level, synced=False)
    spool._file.transaction(level)
    with pytest.raises(SpoolUnwritable):
        spool._file.transaction(refuse, synced=False)
    spool._file.transaction(level)
    assert seen[0] < SYNCED
    assert seen[1] == seen[-1] == SYNCED


def test_a_settlement_outlives_the_process(tmp_path: Path) -> None:
    """Not synced, but written: only a power cut can undo it."""
    first = reopen(tmp_path)
    fill(first, 5)
    first.settle(answer(5))
    second = reopen(tmp_path)  # as after kill -9: the first never closes before
    assert waiting(second) == []
    assert second.health().kept == 5
    second.close()
    first.close()


def test_a_settlement_for_later_is_seen_at_once_and_written_with_the_next_commit(
    spool: Spool, tmp_path: Path
) -> None:
    """One commit fewer for each report; only another process still sees the message wait."""
    fill(spool, 5)
    commits = spool.version()
    assert spool.settle(answer(5), later=True) == 5
    assert spool.version() == commits
    assert waiting(spool) == []
    health = spool.health()
    assert (health.depth["live"], health.oldest_ms, health.kept) == (0, None, 5)
    assert spool.version() == commits
    other = peek(tmp_path / "spool", QUOTA)
    assert other is not None
    assert other.depth["live"] == 5
    fill(spool, 1)
    other = peek(tmp_path / "spool", QUOTA)
    assert other is not None
    assert (other.depth["live"], other.kept) == (1, 5)


def test_a_process_killed_before_it_settled_sends_again_and_one_that_ends_does_not(
    tmp_path: Path,
) -> None:
    """What is not written is not lost: central is asked once more."""
    first = reopen(tmp_path)
    fill(first, 5)
    first.settle(answer(5), later=True)
    second = reopen(tmp_path)  # as after kill -9: the first never closes before
    assert waiting(second) == ["health.v1"] * 5
    second.close()
    first.close()
    third = reopen(tmp_path)
    assert waiting(third) == []
    third.close()


def test_an_answer_that_has_less_is_never_put_off(spool: Spool) -> None:
    """What central lost waits again, on the disk, before anything else is sent."""
    fill(spool, 5)
    spool.settle(answer(5))
    commits = spool.version()
    spool.settle(answer(2), later=True)
    assert spool.version() != commits
    assert waiting(spool) == ["health.v1"] * 3
    assert spool.wants_audit


def test_a_disk_that_refuses_forgets_what_was_put_off_and_takes_the_alert(spool: Spool) -> None:
    """A settlement needs room to keep what it settles; no alert may wait for that."""
    fill(spool, 300)
    full_disk(spool)
    through = spool.health().depth["live"]
    for low in range(50, through + 1, 50):
        spool.settle(answer(low), later=True)
        assert spool.put("event.v1", event(f"ev-{low}")) is Kept.DURABLE
    spool.settle(answer(through))
    schemas = waiting(spool)
    assert schemas.count("event.v1") == through // 50
    assert "health.v1" not in schemas


OLD_FILE = """
INSERT INTO meta VALUES ('epoch', '3'), ('since_ms', '5');
INSERT INTO lane VALUES (3, 'live', 4, 1);
INSERT INTO message VALUES
    (1, 3, 'live', 2, 'health.v1', 2, 'b', 10, 10, 'floor', '', 10, 10, 165,
        907060870, X'68656C6C6F');
PRAGMA user_version = 2;
"""


def old_file(folder: Path) -> Path:
    """Have a spool as version 2 made it."""
    path = folder / "spool" / "spool.db"
    path.parent.mkdir()
    texts = [
        resources.files("vedette.edge.spool").joinpath(name).read_text(encoding="utf-8")
        for name in ("schema.sql", "schema-2.sql")
    ]
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA page_size = 4096")
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript("".join(texts) + OLD_FILE)
    return path


def test_a_file_of_an_older_version_gets_small_pages(tmp_path: Path) -> None:
    """Once, at the upgrade; what waited in it waits still, and each commit is cheaper."""
    path = old_file(tmp_path)
    assert pragma(path, "page_size") == 4096
    opened = reopen(tmp_path)
    assert waiting(opened) == ["health.v1"]
    assert opened.health().bytes == 165
    opened.close()
    assert pragma(path, "page_size") == PAGE_BYTES
    assert pragma(path, "user_version") == 3
    assert not list(path.parent.glob("*corrupt*"))


def test_a_file_that_somebody_reads_keeps_its_pages_and_works(tmp_path: Path) -> None:
    """Another process holds the old file open: nothing is lost, nothing waits."""
    path = old_file(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchone()
        opened = reopen(tmp_path)
        fill(opened, 3)
        assert waiting(opened) == ["health.v1"] * 4
        opened.close()
    assert pragma(path, "page_size") == 4096
    assert pragma(path, "journal_mode") == "wal"
