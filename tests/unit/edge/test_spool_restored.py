"""A central restored from an older backup: it gets again what it lacks, once, or a tombstone."""

import copy
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from importlib import resources
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.central.ingest.lane import LaneState
from vedette.clock import ManualClock
from vedette.edge.spool import Spool, pack
from vedette.edge.spool import spool as spool_module
from vedette.errors import SpoolError
from vedette.wire import codec
from vedette.wire.envelope import Envelope, LaneAck, Rejection, UpAnswer
from vedette.wire.messages import Aggregate, EventKind, EventReport, HealthReport, Tombstone
from vedette.wire.streams import Lane

QUOTA = 64 * 1024 * 1024
Key = tuple[int, str, int]


class Book:
    """Central as far as numbers go: lanes and what was taken, together in one transaction."""

    def __init__(self) -> None:
        self.lanes: dict[tuple[int, str], LaneState] = {}
        self.taken: dict[Key, bytes] = {}
        self.stones: list[Tombstone] = []
        self.refuse = 0

    def up(self, envelopes: list[Envelope], believed: list[LaneAck]) -> UpAnswer:
        """Take one batch as `central.ingest.commit` does."""
        rejected: list[Rejection] = []
        asked = {(ack.epoch, ack.lane) for ack in believed}
        for envelope in envelopes:
            epoch, lane, seq = envelope.epoch, envelope.lane, envelope.seq
            asked.add((epoch, lane))
            state = self.lanes.setdefault((epoch, lane), LaneState())
            if seq in state:
                continue
            state.add(seq, seq)
            key = (epoch, str(lane), seq)
            assert key not in self.taken, "counted twice"
            self.taken[key] = bytes(envelope.body)
            if self.refuse and seq % self.refuse == 0:
                rejected.append(Rejection(epoch=epoch, lane=lane, seq=seq, reason="odd"))
            if envelope.schema == "tombstone.v1":
                stone = codec.decode(envelope.body, Tombstone)
                self.stones.append(stone)
                named = self.lanes.setdefault((stone.epoch, stone.lane), LaneState())
                for low, high in stone.ranges:
                    named.add(low, high)
        acks = [
            LaneAck(epoch=epoch, lane=lane, acked_through=s.acked_through, have=list(s.have))
            for epoch, lane in sorted(asked)
            for s in [self.lanes.get((epoch, lane), LaneState())]
        ]
        return UpAnswer(acks=acks, rejected=rejected)

    def restored(self) -> "Book":
        """Return a backup of now."""
        return copy.deepcopy(self)


class Device:
    """A spool with everything that it ever gave, and the few lines of an uplink."""

    def __init__(self, folder: Path, *, quota: int = QUOTA, keep_s: float = 86_400.0) -> None:
        self.clock = ManualClock()
        self.folder, self.quota, self.keep_s = folder, quota, keep_s
        self.spool = self._open()
        self.given: dict[str, bytes] = {}
        self.number = 0

    def _open(self) -> Spool:
        spool = Spool.open(self.folder / "spool", self.quota, self.clock, "b", writer=False)
        spool.keep_s = self.keep_s
        return spool

    def reopen(self) -> None:
        """End the process and begin another."""
        self.spool.close()
        self.spool = self._open()

    def put(self, n: int) -> None:
        """Put some of everything, each unlike all others."""
        for _ in range(n):
            self.number += 1
            i = self.number
            start = i * 1000
            self.spool.put("health.v1", HealthReport(at_ms=i, period_s=30, version="t"))
            self.spool.put("aggregate.v1", Aggregate(camera="c", start_ms=start, end_ms=start + 9))
            if i % 3 == 0:
                event = EventReport(event=f"e{i}", camera="c", kind=EventKind.DWELL, at_ms=i)
                self.spool.put("event.v1", event)
        self.spool.flush()

    def send(self, book: Book, *, audit: bool, lose_answer: bool = False, n: int = 50) -> int:
        """Send one batch; return how many messages it had."""
        believed = self.spool.believed() if audit else []
        batch = self.spool.next_batch(max_n=n)
        answer = book.up(batch, believed)
        if not lose_answer:
            self.spool.settle(answer, audit=audit, later=not audit)
        return len(batch)

    def drain(self, book: Book) -> None:
        """Send until nothing waits and central has been asked about everything."""
        for _ in range(1_000):
            asked = self.send(book, audit=True)
            if not asked and not self.spool.has_backfill() and not self.spool.next_batch():
                return
        raise AssertionError("it never ends")

    def numbers(self) -> set[Key]:
        """Return every number that was ever given."""
        rows = self.spool._transaction(
            lambda db: db.execute("SELECT epoch, lane, next_seq FROM lane").fetchall()
        )
        return {(epoch, lane, seq) for epoch, lane, top in rows for seq in range(1, top)}


def stated(book: Book) -> set[Key]:
    """Return the numbers that central's tombstones name."""
    return {
        (stone.epoch, stone.lane, seq)
        for stone in book.stones
        for low, high in stone.ranges
        for seq in range(low, high + 1)
    }


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    """Return a device whose packs are small."""
    made = Device(tmp_path)
    yield made
    made.spool.close()


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "GROUP_N", 8)
    monkeypatch.setattr(pack, "GROUP_MIN", 4)
    monkeypatch.setattr(spool_module, "PACK_AFTER_MS", 200_000)


def test_a_restored_central_gets_again_what_it_lost(device: Device) -> None:
    """Everything after the backup comes again with the same numbers and bytes, nothing twice."""
    book = Book()
    device.put(30)
    device.drain(book)
    backup = book.restored()
    device.put(30)
    device.drain(book)
    assert device.spool.health().depth["live"] == 0
    assert device.spool.health().kept == len(book.taken)
    device.send(backup, audit=True)
    assert device.spool.health().depth["live"] == 60
    device.drain(backup)
    assert backup.taken == book.taken
    assert backup.stones == []


def test_a_regression_is_seen_without_being_asked(device: Device) -> None:
    """An ack lower than before is enough: the next fresh report brings it."""
    book = Book()
    device.put(10)
    device.drain(book)
    device.put(1)
    device.send(Book(), audit=False)
    assert device.spool.health().depth["live"] == 20  # the two fresh ones were taken


def test_what_is_kept_no_longer_is_stated_with_its_time(device: Device) -> None:
    """Older than `keep_acknowledged_h`: a tombstone names numbers, camera and time."""
    book = Book()
    device.put(20)
    device.drain(book)
    device.clock.advance(2 * 86_400)
    device.spool.tend(pack_waiting=False)
    assert device.spool.health().kept == 0
    device.put(1)
    empty = Book()
    device.drain(empty)
    assert device.numbers() == empty.taken.keys() | stated(empty)
    (live,) = [stone for stone in empty.stones if stone.lane == Lane.LIVE]
    assert (live.cameras, live.start_ms, live.end_ms) == (["c"], 1_000, 20_009)
    assert live.ranges == [(1, 40)]


def test_kept_messages_never_cost_a_waiting_one(tmp_path: Path) -> None:
    """Over the quota the kept go first, the oldest first, and nothing is evicted for them."""
    device = Device(tmp_path, quota=180_000)
    book = Book()
    device.put(60)
    device.drain(book)
    before = device.spool.health().kept
    device.put(60)
    health = device.spool.health()
    assert health.evicted == 0
    assert 0 < health.kept < before
    assert health.bytes <= 180_000
    assert health.depth["live"] == 120
    device.spool.close()


def test_without_keeping_the_loss_is_stated_all_the_same(tmp_path: Path) -> None:
    """`keep_acknowledged_h: 0`: nothing is kept, and a restored central is told what is missing."""
    device = Device(tmp_path, keep_s=0)
    device.put(5)
    device.drain(Book())
    assert device.spool.health().kept == 0
    empty = Book()
    device.drain(empty)
    assert device.numbers() <= empty.taken.keys() | stated(empty)
    device.spool.close()


def test_a_refused_message_blocks_no_lane_of_a_restored_central(device: Device) -> None:
    """It comes again, is refused again, and the lane has no hole."""
    book = Book()
    book.refuse = 7
    device.put(20)
    device.drain(book)
    empty = Book()
    empty.refuse = 7
    device.drain(empty)
    assert empty.taken == book.taken
    assert all(not state.have for state in empty.lanes.values())


def test_a_new_epoch_and_a_restored_central_live_together(device: Device) -> None:
    """Numbers given again lead to a new epoch; what was kept under the old one is still ours."""
    book = Book()
    device.put(10)
    device.drain(book)
    device.put(5)
    never_given = LaneAck(epoch=1, lane=Lane.LIVE, acked_through=2**53)
    device.spool.settle(UpAnswer(acks=[never_given]))
    device.drain(book)
    empty = Book()
    device.drain(empty)
    assert empty.taken == book.taken


OLD_FILE = """
INSERT INTO meta VALUES ('epoch', '3'), ('since_ms', '5');
INSERT INTO lane VALUES (3, 'live', 4, 1);
INSERT INTO message VALUES
    (1, 3, 'live', 2, 'health.v1', 2, 'b', 10, 10, 'floor', '', 10, 10, 165,
        907060870, X'68656C6C6F'),
    (2, 3, 'live', 3, 'health.v1', 2, 'b', 11, 11, 'floor', '', 11, 11, 165,
        907060870, X'68656C6C6F');
PRAGMA user_version = 1;
"""


def test_a_spool_of_an_older_version_is_taken_over_whole(tmp_path: Path) -> None:
    """The file as version 1 wrote it opens with its epoch, numbers and messages, and can keep."""
    (tmp_path / "spool").mkdir()
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        first = resources.files("vedette.edge.spool").joinpath("schema.sql")
        db.executescript(first.read_text(encoding="utf-8") + OLD_FILE)
    device = Device(tmp_path)
    assert not list((tmp_path / "spool").glob("*corrupt*"))
    health = device.spool.health()
    assert (health.epoch, health.depth["live"], health.bytes) == (3, 2, 330)
    assert device.spool.next_batch()[0].body == msgspec.Raw(b"hello")
    device.put(1)
    book = Book()
    book.lanes[3, "live"] = LaneState(acked_through=1)
    device.drain(book)
    assert device.spool.health().kept == 4
    device.reopen()
    assert device.spool.health().kept == 4
    device.spool.close()


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    """What a newer version wrote is not understood, and not replaced either."""
    device = Device(tmp_path)
    device.spool.close()
    with closing(sqlite3.connect(tmp_path / "spool" / "spool.db")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(SpoolError, match="format 99") as caught:
        device.reopen()
    assert caught.value.operator_hint


moves = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 25)),
    st.tuples(st.just("send"), st.integers(1, 30)),
    st.tuples(st.just("lose"), st.integers(1, 30)),
    st.tuples(st.just("audit"), st.just(0)),
    st.tuples(st.just("backup"), st.just(0)),
    st.tuples(st.just("restore"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([10, 150, 1_000])),
    st.tuples(st.just("tend"), st.booleans()),
    st.tuples(st.just("forget"), st.just(0)),
    st.tuples(st.just("reopen"), st.just(0)),
)


def test_what_a_waiting_tombstone_names_is_not_stated_twice(tmp_path: Path) -> None:
    """Evicted and not yet said: an audit finds those numbers accounted for."""
    device = Device(tmp_path, quota=20_000)
    device.put(60)
    before = device.spool.health().depth
    acks = [LaneAck(epoch=1, lane=lane, acked_through=0) for lane in Lane]
    device.spool.settle(UpAnswer(acks=acks), audit=True)
    assert device.spool.health().evicted > 0
    assert device.spool.health().depth == before
    device.spool.close()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    story=st.lists(moves, min_size=8, max_size=30),
    quota=st.sampled_from([QUOTA, 60_000, 15_000]),
    last=st.integers(0, 5),
)
def test_whatever_is_restored_whenever_every_number_is_had_once_or_stated(
    story: list[tuple[str, int]], quota: int, last: int
) -> None:
    """Any history of sending, losing, packing, forgetting and restoring: drained, books agree."""
    with tempfile.TemporaryDirectory() as name:
        device = Device(Path(name), quota=quota, keep_s=50_000)
        book, backups = Book(), [Book()]
        for move, n in story:
            if move == "put":
                device.put(n)
            elif move in {"send", "lose"}:
                device.send(book, audit=False, lose_answer=move == "lose", n=n)
            elif move == "audit":
                device.send(book, audit=True)
            elif move == "backup":
                backups.append(book.restored())
            elif move == "restore":
                book = backups[min(n, len(backups) - 1)].restored()
            elif move == "wait":
                device.clock.advance(n)
            elif move == "forget":
                device.clock.advance(60_000)
                device.spool.tend(pack_waiting=False)
            elif move == "tend":
                device.spool.tend(pack_waiting=bool(n))
            else:
                device.reopen()
        device.drain(book)
        book = backups[min(last, len(backups) - 1)].restored()
        device.drain(book)
        named = stated(book)
        assert device.numbers() == book.taken.keys() | named
        health = device.spool.health()
        assert sum(health.depth.values()) == 0
        if quota == QUOTA and not any(move == "forget" for move, _ in story):
            assert not named, "all of it was kept"
        for state in book.lanes.values():
            assert not state.have, "a hole that nobody fills"
        device.spool.close()


def test_a_wiped_spool_believes_no_answer_about_what_it_did_not_just_send(tmp_path: Path) -> None:
    """Central has low numbers of an earlier life; a question about lanes deletes nothing new."""
    device = Device(tmp_path)
    device.put(30)
    had = LaneAck(epoch=1, lane=Lane.LIVE, acked_through=20)
    alerts = LaneAck(epoch=1, lane=Lane.ALERT, acked_through=2)
    before = device.spool.health().depth
    batch = [e for e in device.spool.next_batch() if e.lane is Lane.EVIDENCE]
    device.spool.settle(UpAnswer(acks=[alerts, had]), audit=True, sent=batch)
    assert device.spool.health().depth == before
    device.spool.close()


def test_an_answer_of_an_earlier_life_deletes_nothing_of_any_lane(device: Device) -> None:
    """One lane shows that the epoch was used before, so what is said of the others is not ours."""
    device.put(30)
    acks = [
        LaneAck(epoch=1, lane=Lane.ALERT, acked_through=3),
        LaneAck(epoch=1, lane=Lane.LIVE, acked_through=5_000),
    ]
    before = device.spool.health().depth
    device.spool.settle(UpAnswer(acks=acks))
    health = device.spool.health()
    assert (health.epoch, health.kept) == (2, 0)
    assert health.depth == before


def test_what_central_compared_and_has_gets_no_second_number(device: Device) -> None:
    """One lane is another life's; of the lane beside it this very batch was taken: it has left."""
    device.put(30)
    batch = device.spool.next_batch()
    alerts = [envelope for envelope in batch if envelope.lane is Lane.ALERT]
    assert alerts
    acks = [
        LaneAck(epoch=1, lane=Lane.ALERT, acked_through=alerts[-1].seq),
        LaneAck(epoch=1, lane=Lane.LIVE, acked_through=5_000),
    ]
    before = device.spool.health().depth
    device.spool.settle(UpAnswer(acks=acks), sent=batch)
    health = device.spool.health()
    assert (health.epoch, health.kept) == (2, len(alerts))
    assert health.depth == before | {"alert": before["alert"] - len(alerts)}


def test_a_clock_that_woke_in_the_past_forgets_nothing(tmp_path: Path) -> None:
    """A box without a clock of its own boots in 1970: what it keeps is not old for that."""
    device = Device(tmp_path)
    book = Book()
    device.put(20)
    device.drain(book)
    kept_n = device.spool.health().kept
    assert kept_n > 0
    device.clock.step_wall(device.clock.now_at() - timedelta(days=400))
    device.spool.tend(pack_waiting=False)
    assert device.spool.health().kept == kept_n
    device.spool.close()
