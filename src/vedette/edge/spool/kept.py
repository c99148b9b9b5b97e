"""What central acknowledged and this device keeps a while, and what follows when central lost it.

A central that is restored from an older backup acknowledges less than it did. Each answer says all
that central has of a lane, so what it lacks is known by number: what is kept waits again, under the
numbers it had; what is kept no longer is stated by a tombstone. Central counts a number once, so
that sending too much again costs bytes and nothing else.

The rule: every number that was given is with central, waits here, or is named by a tombstone.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from vedette.edge.spool import pack
from vedette.edge.spool.rows import Now, read_clock
from vedette.errors import SpoolCorrupt, WireError
from vedette.wire import codec, limits
from vedette.wire.envelope import ClockState, LaneAck
from vedette.wire.messages import Tombstone
from vedette.wire.streams import Lane

TOMBSTONE: Final = "tombstone.v1"
REASON: Final = "kept no longer when central was restored"
RANGES_PER_TOMBSTONE: Final = 2_000
CHUNK_MS: Final = 6 * 3_600_000
"""What is forgotten is noted in stretches of this length."""

FORGOTTEN_MS: Final = 30 * 86_400_000
"""Central takes nothing older than this, so nothing older need be stated."""

_EVER_MS: Final = 2**62
EVERY: Final = "*"
"""In `forgotten`: every camera, whichever there are; no camera can have this name."""

Ranges = list[tuple[int, int]]


def leave(db: sqlite3.Connection, of: tuple[int, str], low: int, high: int, kept_ms: int) -> int:
    """Have these messages gone from what waits, kept where `kept_ms` is set; return how many."""
    gone = _leave_packs(db, of, low, high, kept_ms)
    where = "WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?"
    if kept_ms:
        db.execute(
            f"INSERT OR IGNORE INTO kept ({pack.COLUMNS}, kept_ms)"
            f" SELECT {pack.COLUMNS}, ? FROM message {where} ORDER BY seq",
            (kept_ms, *of, low, high),
        )
    return gone + db.execute(f"DELETE FROM message {where}", (*of, low, high)).rowcount


def _leave_packs(
    db: sqlite3.Connection, of: tuple[int, str], low: int, high: int, kept_ms: int
) -> int:
    gone = 0
    for pack_id, first, last, count in db.execute(
        "SELECT id, low, high, count FROM pack"
        " WHERE kept = 0 AND epoch = ? AND lane = ? AND low <= ? AND high >= ?",
        (*of, high, low),
    ).fetchall():
        if first < low or last > high:
            pack.explode(db, pack_id)
            continue
        if kept_ms:
            db.execute("UPDATE pack SET kept = 1, kept_ms = ? WHERE id = ?", (kept_ms, pack_id))
        else:
            db.execute("DELETE FROM pack WHERE id = ?", (pack_id,))
        gone += count
    return gone


def believed(db: sqlite3.Connection) -> list[LaneAck]:
    """Return what central should have of each lane that was ever used, the newest epochs first."""
    known = dict.fromkeys(
        db.execute(
            "SELECT DISTINCT epoch, lane FROM kept UNION SELECT DISTINCT epoch, lane FROM pack"
        ).fetchall(),
        0,
    )
    known |= {
        (epoch, lane): acked
        for epoch, lane, acked in db.execute(
            "SELECT epoch, lane, acked_through FROM lane WHERE next_seq > 1"
        )
    }
    newest = sorted(known.items(), key=lambda item: (-item[0][0], item[0][1]))[
        : limits.MAX_BELIEVED
    ]
    return [
        LaneAck(epoch=epoch, lane=Lane(lane), acked_through=acked)
        for (epoch, lane), acked in newest
    ]


def oldest_ms(db: sqlite3.Connection) -> int | None:
    """Return the device time of the oldest message that is kept; None where there is none."""
    (oldest,) = db.execute(
        "SELECT min(at) FROM (SELECT min(t_wall_ms) AS at FROM kept"
        " UNION ALL SELECT min(oldest_ms) FROM pack WHERE kept = 1)"
    ).fetchone()
    return oldest


# -------------------------------------------------------------------- when central has less


def reconcile(db: sqlite3.Connection, ack: LaneAck, now_ms: int) -> tuple[int, list[Tombstone]]:
    """Put back what central lacks of a lane; return how many messages, and what has to be stated.

    The lane's `acked_through` is what central says from now on.
    """
    epoch, lane = ack.epoch, str(ack.lane)
    row = db.execute(
        "SELECT next_seq FROM lane WHERE epoch = ? AND lane = ?", (epoch, lane)
    ).fetchone()
    last = row[0] - 1 if row else _highest_kept(db, epoch, lane)
    back = 0
    lost: Ranges = []
    for low, high in _gaps(ack, last):
        back += _back_packs(db, epoch, lane, (low, high), ack) + _back_rows(
            db, epoch, lane, low, high
        )
        if row:  # of a lane that was given up, only what is kept is ours to speak of
            lost += _missing(db, epoch, lane, low, high)
    db.execute(
        "UPDATE lane SET acked_through = ? WHERE epoch = ? AND lane = ?",
        (ack.acked_through, epoch, lane),
    )
    lost = _without(lost, _named(db, epoch, lane)) if lost else []
    return back, list(_stones(db, epoch, lane, lost, now_ms))


def _highest_kept(db: sqlite3.Connection, epoch: int, lane: str) -> int:
    (row,) = db.execute(
        "SELECT max(coalesce((SELECT max(seq) FROM kept WHERE epoch = ?1 AND lane = ?2), 0),"
        " coalesce((SELECT max(high) FROM pack WHERE kept = 1 AND epoch = ?1 AND lane = ?2), 0))",
        (epoch, lane),
    ).fetchone()
    return row


def _gaps(ack: LaneAck, last: int) -> Ranges:
    """Return the numbers up to `last` that `ack` does not have."""
    return _without([(1, last)] if last else [], [(1, ack.acked_through), *ack.have])


def _back_rows(db: sqlite3.Connection, epoch: int, lane: str, low: int, high: int) -> int:
    where = "WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?"
    rows = db.execute(
        f"SELECT {pack.COLUMNS} FROM kept {where} ORDER BY seq", (epoch, lane, low, high)
    ).fetchall()
    if rows:
        pack.put_back(db, rows)
        db.execute(f"DELETE FROM kept {where}", (epoch, lane, low, high))
    return len(rows)


def _back_packs(
    db: sqlite3.Connection, epoch: int, lane: str, gap: tuple[int, int], ack: LaneAck
) -> int:
    back = 0
    for pack_id, low, high, count, kept_ms in db.execute(
        "SELECT id, low, high, count, kept_ms FROM pack"
        " WHERE kept = 1 AND epoch = ? AND lane = ? AND low <= ? AND high >= ?",
        (epoch, lane, gap[1], gap[0]),
    ).fetchall():
        if gap[0] <= low and high <= gap[1]:
            db.execute("UPDATE pack SET kept = 0, kept_ms = 0 WHERE id = ?", (pack_id,))
            back += count
            continue
        rows = pack.read(db, pack_id)
        db.execute("DELETE FROM pack WHERE id = ?", (pack_id,))
        lacking = [row for row in rows if not _has(ack, row[2])]
        pack.put_back(db, lacking)
        pack.keep_rows(db, (row for row in rows if _has(ack, row[2])), kept_ms)
        back += len(lacking)
    return back


def _has(ack: LaneAck, seq: int) -> bool:
    return seq <= ack.acked_through or any(low <= seq <= high for low, high in ack.have)


def _missing(db: sqlite3.Connection, epoch: int, lane: str, low: int, high: int) -> Ranges:
    """Return which of these numbers do not wait: counted first, since mostly all of them do."""
    where = "epoch = ? AND lane = ? AND seq BETWEEN ? AND ?"
    of = (epoch, lane, low, high)
    (rows,) = db.execute(f"SELECT count(*) FROM message WHERE {where}", of).fetchone()
    packs = db.execute(
        "SELECT id FROM pack WHERE kept = 0 AND epoch = ? AND lane = ? AND low <= ? AND high >= ?",
        (epoch, lane, high, low),
    ).fetchall()
    if not packs and rows == high - low + 1:
        return []
    here = [seq for (seq,) in db.execute(f"SELECT seq FROM message WHERE {where}", of)]
    for (pack_id,) in packs:
        here += [row[2] for row in pack.read(db, pack_id)]
    return _without([(low, high)], [(seq, seq) for seq in here])


def _named(db: sqlite3.Connection, epoch: int, lane: str) -> Ranges:
    """Return the numbers of a lane that tombstones name which wait or are kept."""
    named: Ranges = []
    for body in _stone_bodies(db):
        stone = _stone(body)
        if (stone.epoch, stone.lane) == (epoch, lane):
            named += stone.ranges
    return named


def _stone(body: bytes) -> Tombstone:
    try:
        return codec.decode(body, Tombstone)
    except WireError as error:
        raise SpoolCorrupt(f"a tombstone cannot be read: {error}") from error


def _stone_bodies(db: sqlite3.Connection) -> Iterator[bytes]:
    for table in ("message", "kept"):
        for (body,) in db.execute(f"SELECT body FROM {table} WHERE schema = ?", (TOMBSTONE,)):
            yield body
    for (pack_id,) in db.execute("SELECT id FROM pack WHERE schema = ?", (TOMBSTONE,)).fetchall():
        for row in pack.read(db, pack_id):
            yield row[14]


def _stones(
    db: sqlite3.Connection, epoch: int, lane: str, lost: Ranges, now_ms: int
) -> Iterator[Tombstone]:
    """Yield what has to be said of lost numbers: the time of those chunks that they lie in."""
    if not lost:
        return
    chunks = db.execute(
        "SELECT start_ms, end_ms, cameras FROM forgotten"
        " WHERE epoch = ? AND lane = ? AND low <= ? AND high >= ?",
        (epoch, lane, lost[-1][1], lost[0][0]),
    ).fetchall()
    spans = [(start, end) for start, end, _ in chunks if start is not None]
    start_ms = min((start for start, _ in spans), default=now_ms)
    end_ms = max((end for _, end in spans), default=now_ms)
    cameras = sorted({name for _, _, text in chunks for name in msgspec.json.decode(text)})
    if EVERY in cameras:
        cameras = []
    if not chunks and lane == Lane.LIVE:  # nobody noted when: all that central may still take
        start_ms = now_ms - FORGOTTEN_MS
    for at in range(0, len(lost), RANGES_PER_TOMBSTONE):
        yield Tombstone(
            lane=lane,
            epoch=epoch,
            ranges=lost[at : at + RANGES_PER_TOMBSTONE],
            start_ms=start_ms,
            end_ms=end_ms,
            cameras=cameras,
            reason=REASON,
        )


def _without(ranges: Ranges, taken: Iterable[tuple[int, int]]) -> Ranges:
    """Return `ranges` (ascending, disjoint) less the closed ranges `taken`, in any order."""
    left: Ranges = []
    cuts = sorted(taken)
    at = 0
    for start, high in ranges:
        low = start
        while at < len(cuts) and cuts[at][1] < low:
            at += 1
        cut = at
        while low <= high and cut < len(cuts) and cuts[cut][0] <= high:
            if cuts[cut][0] > low:
                left.append((low, cuts[cut][0] - 1))
            low = max(low, cuts[cut][1] + 1)
            cut += 1
        if low <= high:
            left.append((low, high))
    return left


# ------------------------------------------------------------------------------- forgetting


def forget_old(db: sqlite3.Connection, now: Now, keep_ms: int) -> int:
    """Forget what was acknowledged more than `keep_ms` ago; return how many.

    What was acknowledged after now goes only where a trusted clock says so: a box whose clock has
    not been set since it woke would forget everything. A clock known to be wrong forgets nothing.
    """
    state = read_clock(db).judge(now.boot_id, now.wall_ms, now.mono_ms)
    if state is ClockState.UNTRUSTED:
        return 0
    old = now.wall_ms - keep_ms, now.wall_ms if state is ClockState.TRUSTED else _EVER_MS
    packs = db.execute(
        "SELECT id FROM pack WHERE kept = 1 AND NOT kept_ms BETWEEN ? AND ? LIMIT 50", old
    ).fetchall()
    rows = db.execute(
        "SELECT id FROM kept WHERE NOT kept_ms BETWEEN ? AND ? LIMIT 2000", old
    ).fetchall()
    db.execute("DELETE FROM forgotten WHERE at_ms < ?", (now.wall_ms - FORGOTTEN_MS,))
    return _forget(db, [at for (at,) in packs], [at for (at,) in rows], now.wall_ms)


def forget_bytes(db: sqlite3.Connection, wanted: int, now_ms: int) -> int:
    """Forget at least `wanted` bytes, the oldest first; return how many bytes it was."""
    freed = 0
    packs: list[int] = []
    rows: list[int] = []
    for query, into in (
        ("SELECT id, bytes FROM pack WHERE kept = 1 ORDER BY kept_ms, id", packs),
        ("SELECT id, bytes FROM kept ORDER BY id", rows),
    ):
        for at, size in db.execute(query):
            if freed >= wanted:
                break
            into.append(at)
            freed += size
    _forget(db, packs, rows, now_ms)
    return freed


def _forget(db: sqlite3.Connection, packs: Sequence[int], rows: Sequence[int], now_ms: int) -> int:
    gone: list[pack.Row] = []
    for pack_id in packs:
        gone += pack.read(db, pack_id)
    count = len(gone) + len(rows)
    for at in rows:
        gone += db.execute(f"SELECT {pack.COLUMNS} FROM kept WHERE id = ?", (at,)).fetchall()
    chunks: dict[tuple[int, str, bool], _Chunk] = {}
    for row in gone:
        _note(chunks, row[0], row[1], (row[2], row[2]), row[9:12])
        if row[3] == TOMBSTONE:
            stone = _stone(row[14])
            for named in stone.ranges:
                spoken = (stone.cameras, stone.start_ms, stone.end_ms)
                _note(chunks, stone.epoch, stone.lane, named, spoken)
    for (epoch, lane, _), chunk in chunks.items():
        _remember(db, epoch, lane, chunk, now_ms)
    db.executemany("DELETE FROM pack WHERE id = ?", [(at,) for at in packs])
    db.executemany("DELETE FROM kept WHERE id = ?", [(at,) for at in rows])
    return count


class _Chunk(msgspec.Struct):
    low: int
    high: int
    start_ms: int | None = None
    end_ms: int | None = None
    cameras: set[str] = msgspec.field(default_factory=set)


def _note(
    chunks: dict[tuple[int, str, bool], _Chunk],
    epoch: int,
    lane: str,
    numbers: tuple[int, int],
    spoken: tuple[str | list[str], int, int],
) -> None:
    cameras, start_ms, end_ms = spoken
    names = [cameras] if isinstance(cameras, str) and cameras else list(cameras)
    carries = bool(names) or (not isinstance(cameras, str) and end_ms > start_ms)
    if carries and not names:
        names = [EVERY]
    chunk = chunks.setdefault((epoch, lane, carries), _Chunk(*numbers))
    chunk.low, chunk.high = min(chunk.low, numbers[0]), max(chunk.high, numbers[1])
    if carries:
        chunk.start_ms = start_ms if chunk.start_ms is None else min(chunk.start_ms, start_ms)
        chunk.end_ms = end_ms if chunk.end_ms is None else max(chunk.end_ms, end_ms)
        chunk.cameras |= set(names)


def _remember(db: sqlite3.Connection, epoch: int, lane: str, chunk: _Chunk, now_ms: int) -> None:
    """Add to the newest note of this lane where it is young enough; else begin another."""
    row = db.execute(
        "SELECT id, low, high, start_ms, end_ms, cameras, at_ms FROM forgotten"
        " WHERE epoch = ? AND lane = ? AND (start_ms IS NULL) = ? ORDER BY id DESC LIMIT 1",
        (epoch, lane, chunk.start_ms is None),
    ).fetchone()
    if row is not None and abs(now_ms - row[6]) < CHUNK_MS:
        chunk.low, chunk.high = min(chunk.low, row[1]), max(chunk.high, row[2])
        if chunk.start_ms is not None and chunk.end_ms is not None:
            chunk.start_ms, chunk.end_ms = min(chunk.start_ms, row[3]), max(chunk.end_ms, row[4])
        chunk.cameras |= set(msgspec.json.decode(row[5]))
        db.execute("DELETE FROM forgotten WHERE id = ?", (row[0],))
        at_ms = row[6]
    else:
        at_ms = now_ms
    db.execute(
        "INSERT INTO forgotten (epoch, lane, low, high, start_ms, end_ms, cameras, at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (epoch, lane, chunk.low, chunk.high, chunk.start_ms, chunk.end_ms,
         msgspec.json.encode(sorted(chunk.cameras)).decode(), at_ms),
    )  # fmt: skip
