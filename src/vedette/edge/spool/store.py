"""What one transaction of the spool does: admit, evict, account for coverage, settle, pick.

Every function takes an open transaction and either does all or raises; none commits. Not here:
the file, its locks and its recovery (`spool.file`), or what waits in memory (`spool.spool`).

The rule: a row leaves only with an acknowledgement or with a tombstone that names it.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vedette.edge.spool import entry as entries
from vedette.edge.spool.entry import ClockNote, Entry
from vedette.errors import SpoolCorrupt
from vedette.wire.envelope import ClockState, Envelope, UpAnswer
from vedette.wire.messages import Cause, CoverageReport, Span, SpoolHealth, Tombstone
from vedette.wire.streams import BACKFILL_AFTER_S, STREAMS, Lane

TOMBSTONE: Final = "tombstone.v1"
COVERAGE: Final = "coverage.v1"
EVICT_TO: Final = 0.95
"""Evict down to this part of the quota, so that tombstones stay rare however long it lasts."""

ROOM_BYTES: Final = 1024 * 1024
"""What is evicted at most at a time to make room when the disk is full before the quota is."""

PAGES_SPARE_BYTES: Final = 64 * 1024
RANGES_PER_TOMBSTONE: Final = 2_000
MAX_GAP_MS: Final = 30 * 86_400_000
_BACKFILL_AFTER_MS: Final = round(BACKFILL_AFTER_S * 1000)
_SENDING: Final = (Lane.ALERT, Lane.LIVE, Lane.EVIDENCE)

_COLUMNS: Final = (
    "epoch, lane, seq, schema, priority, boot_id, t_wall_ms, t_mono_ms, clock_state,"
    " camera, start_ms, end_ms, bytes, crc, body"
)
_INSERT: Final = f"INSERT INTO message ({_COLUMNS}) VALUES ({', '.join('?' * 15)})"


@dataclass(frozen=True, slots=True)
class Now:
    """The clocks at the time of a transaction, and which boot they belong to."""

    boot_id: str
    wall_ms: int
    mono_ms: int


def read_meta(db: sqlite3.Connection, key: str, default: str = "") -> str:
    """Return one value of the `meta` table."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return default if row is None else row[0]


def write_meta(db: sqlite3.Connection, key: str, value: str) -> None:
    """Set one value of the `meta` table."""
    db.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def read_clock(db: sqlite3.Connection) -> ClockNote:
    """Return what the agent last noted about the wall clock."""
    text = read_meta(db, "clock")
    return msgspec.json.decode(text, type=ClockNote) if text else ClockNote()


def admit(db: sqlite3.Connection, new: Sequence[Entry], now: Now, quota_bytes: int) -> None:
    """Store `new` in order, fill holes in coverage before aggregates, evict what is too much."""
    note = read_clock(db)
    epoch = int(read_meta(db, "epoch"))
    for item in new:
        state = note.judge(now.boot_id, item.t_wall_ms, item.t_mono_ms)
        if item.camera:
            _follow_coverage(db, epoch, item, state, now)
        insert(db, epoch, item, state, now.boot_id)
    keep_quota(db, epoch, now, quota_bytes)


def insert(
    db: sqlite3.Connection, epoch: int, item: Entry, state: ClockState, boot_id: str
) -> None:
    """Store one message under the next number of its lane."""
    (seq,) = db.execute(
        "INSERT INTO lane (epoch, lane, next_seq) VALUES (?, ?, 2) "
        "ON CONFLICT (epoch, lane) DO UPDATE SET next_seq = next_seq + 1 RETURNING next_seq - 1",
        (epoch, item.row.lane),
    ).fetchone()
    db.execute(
        _INSERT,
        (
            epoch,
            item.row.lane,
            seq,
            item.row.schema,
            item.row.priority,
            boot_id,
            item.t_wall_ms,
            item.t_mono_ms,
            state,
            item.camera,
            item.start_ms,
            item.end_ms,
            item.size,
            zlib.crc32(item.body),
            item.body,
        ),
    )


# -------------------------------------------------------------------------------------- coverage


def covered(db: sqlite3.Connection) -> dict[str, int]:
    """Return, per camera, until when its time is accounted for."""
    return dict(db.execute("SELECT camera, until_ms FROM covered").fetchall())


def state_gap(
    db: sqlite3.Connection,
    cameras: Iterable[str],
    now: Now,
    *,
    cause: Cause,
    detail: str,
    quota_bytes: int,
) -> int:
    """Account for the time from each camera's watermark until now; return how many gaps.

    A camera seen for the first time has no past: its watermark starts now. With a clock that is
    not believed nothing is stated; the watermark stays for when it is.
    """
    if read_clock(db).judge(now.boot_id, now.wall_ms, now.mono_ms) is ClockState.UNTRUSTED:
        return 0
    known = covered(db)
    reports: list[Entry] = []
    for camera in cameras:
        until_ms = known.get(camera)
        if until_ms is None:
            _set_covered(db, camera, now.wall_ms, untrusted=False)
        elif until_ms < now.wall_ms:
            span = _gap_span(until_ms, now.wall_ms, cause, detail)
            reports.append(_gap(camera, span, now))
    admit(db, reports, now, quota_bytes)
    return len(reports)


def note_clock(db: sqlite3.Connection, note: ClockNote) -> None:
    """Share what was found about the wall clock with every process on the spool.

    Where the wall clock was stepped since the last note, the watermarks move with it, so that they
    stand for the same moments as before; those that moved already with an aggregate stay.
    """
    old = read_clock(db)
    step_ms = note.offset_ms - old.offset_ms
    if old.boot_id == note.boot_id and abs(step_ms) > entries.MAX_STEP_MS:
        db.execute("UPDATE covered SET until_ms = until_ms + ? WHERE NOT untrusted", (step_ms,))
        db.execute("UPDATE covered SET untrusted = 0")
    write_meta(db, "clock", msgspec.json.encode(note).decode())


def _follow_coverage(
    db: sqlite3.Connection, epoch: int, item: Entry, state: ClockState, now: Now
) -> None:
    """Move the camera's watermark; where an aggregate starts after it, say that nobody watched.

    Why here: only in this transaction is it certain what the aggregate before covered. A wall
    clock that is not believed makes holes that are none, so across such a spell nothing is filled.
    """
    row = db.execute(
        "SELECT until_ms, untrusted FROM covered WHERE camera = ?", (item.camera,)
    ).fetchone()
    untrusted = state is ClockState.UNTRUSTED
    if row is None or ((untrusted or row[1]) and item.carries_from_ms is not None):
        _set_covered(db, item.camera, item.end_ms, untrusted=untrusted)
        return
    until_ms: int = row[0]
    if item.carries_from_ms is not None and until_ms < item.carries_from_ms:
        span = _gap_span(
            until_ms, item.carries_from_ms, Cause.PIPELINE_STOPPED, "before the first picture"
        )
        gap = _gap(item.camera, span, now)
        insert(db, epoch, gap, state, now.boot_id)
    if item.end_ms > until_ms:
        _set_covered(db, item.camera, item.end_ms, untrusted=bool(row[1]))


def _set_covered(db: sqlite3.Connection, camera: str, until_ms: int, *, untrusted: bool) -> None:
    db.execute(
        "INSERT INTO covered VALUES (?, ?, ?) ON CONFLICT (camera) DO UPDATE "
        "SET until_ms = excluded.until_ms, untrusted = excluded.untrusted",
        (camera, until_ms, int(untrusted)),
    )


def _gap_span(start_ms: int, end_ms: int, cause: Cause, detail: str) -> Span:
    start_ms = max(start_ms, end_ms - MAX_GAP_MS)
    return Span(start_ms=start_ms, end_ms=end_ms, cause=cause, detail=detail)


def _gap(camera: str, span: Span, now: Now) -> Entry:
    report = CoverageReport(camera=camera, spans=[span])
    return entries.make(COVERAGE, report, now.wall_ms, now.mono_ms)


# -------------------------------------------------------------------------------------- eviction


@dataclass(slots=True)
class _Lost:
    """What goes of one epoch and lane, either with coverage or without."""

    seqs: list[int]
    cameras: set[str]
    start_ms: int
    end_ms: int


def keep_quota(db: sqlite3.Connection, epoch: int, now: Now, quota_bytes: int) -> int:
    """Evict the least important, then the oldest, beyond the quota; return how many went."""
    (volume,) = db.execute("SELECT bytes FROM volume").fetchone()
    if volume <= quota_bytes:
        return 0
    return evict(db, epoch, now, volume - int(quota_bytes * EVICT_TO), "quota")


def make_room(db: sqlite3.Connection, now: Now, batch_bytes: int, *, force: bool) -> int:
    """Have free pages within the file for a batch, where the disk gives none; return what went.

    More is evicted than this batch needs, so that tombstones stay rare while the disk stays full.
    """
    needed = 2 * batch_bytes + PAGES_SPARE_BYTES
    (pages,) = db.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    if not force and pages * page_bytes >= needed:
        return 0
    (volume,) = db.execute("SELECT bytes FROM volume").fetchone()
    wanted = max(2 * needed, min(ROOM_BYTES, volume // 4))
    return evict(db, int(read_meta(db, "epoch")), now, wanted, "disk_full")


def evict(db: sqlite3.Connection, epoch: int, now: Now, wanted_bytes: int, reason: str) -> int:
    """Delete at least `wanted_bytes` of messages, with tombstones; return how many went."""
    ids: list[tuple[int]] = []
    lost: dict[tuple[int, str, bool], _Lost] = {}
    freed = 0
    for priority in sorted({row.priority for row in STREAMS}, reverse=True):
        for row in db.execute(
            "SELECT id, bytes, epoch, lane, seq, camera, start_ms, end_ms FROM message "
            "WHERE priority = ? AND schema <> ? ORDER BY id",
            (priority, TOMBSTONE),
        ):
            if freed >= wanted_bytes:
                break
            ids.append((row[0],))
            freed += row[1]
            _note_loss(lost, row[2:5], row[5:8])
    db.executemany("DELETE FROM message WHERE id = ?", ids)
    for (of_epoch, lane, _), part in lost.items():
        bury(db, epoch, now, _tombstones(of_epoch, lane, part, reason))
    write_meta(db, "evicted", str(int(read_meta(db, "evicted", "0")) + len(ids)))
    return len(ids)


def bury(db: sqlite3.Connection, epoch: int, now: Now, stones: Iterable[Tombstone]) -> None:
    """Store tombstones as messages of the alert lane."""
    state = read_clock(db).judge(now.boot_id, now.wall_ms, now.mono_ms)
    for stone in stones:
        item = entries.make(TOMBSTONE, stone, now.wall_ms, now.mono_ms)
        insert(db, epoch, item, state, now.boot_id)


def give_up(
    db: sqlite3.Connection, keys: Iterable[tuple[int, str, int]], now: Now, reason: str
) -> int:
    """Delete messages that central will never take, with a tombstone; return how many."""
    lost: dict[tuple[int, str, bool], _Lost] = {}
    gone = 0
    for epoch, lane, seq in keys:
        row = db.execute(
            "DELETE FROM message WHERE epoch = ? AND lane = ? AND seq = ? AND schema <> ? "
            "RETURNING camera, start_ms, end_ms",
            (epoch, lane, seq, TOMBSTONE),
        ).fetchone()
        if row is not None:
            _note_loss(lost, (epoch, lane, seq), row)
            gone += 1
    current = int(read_meta(db, "epoch"))
    for (of_epoch, lane, _), part in lost.items():
        bury(db, current, now, _tombstones(of_epoch, lane, part, reason))
    return gone


def _note_loss(
    lost: dict[tuple[int, str, bool], _Lost],
    key: tuple[int, str, int],
    spoken_of: tuple[str, int, int],
) -> None:
    """Add one message to what is lost; one without coverage is told apart: no time is lost."""
    epoch, lane, seq = key
    camera, start_ms, end_ms = spoken_of
    part = lost.setdefault((epoch, lane, bool(camera)), _Lost([], set(), start_ms, end_ms))
    part.seqs.append(seq)
    if camera:
        part.cameras.add(camera)
        part.start_ms = min(part.start_ms, start_ms)
        part.end_ms = max(part.end_ms, end_ms)


def _tombstones(epoch: int, lane: str, part: _Lost, reason: str) -> list[Tombstone]:
    """Return one tombstone, or a few where the numbers are too scattered for one message.

    Where no coverage was lost the time is empty (`start_ms == end_ms`): no hole may come of it.
    """
    ranges = to_ranges(part.seqs)
    end_ms = part.end_ms if part.cameras else part.start_ms
    return [
        Tombstone(
            lane=lane,
            epoch=epoch,
            ranges=ranges[i : i + RANGES_PER_TOMBSTONE],
            start_ms=part.start_ms,
            end_ms=end_ms,
            cameras=sorted(part.cameras),
            reason=reason,
        )
        for i in range(0, len(ranges), RANGES_PER_TOMBSTONE)
    ]


def to_ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the closed ranges, ascending, that hold exactly these numbers."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] + 1 == number:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


# --------------------------------------------------------------------------- picking and settling


def pick(
    db: sqlite3.Connection, now: Now, *, max_bytes: int, max_n: int, backfill: bool
) -> list[Envelope]:
    """Return what to send next: fresh alerts, fresh telemetry, fresh evidence, then backfill.

    Backfill goes lane after lane, each in the order of its numbers: another order would leave
    central with a hole per message, and what it has of a lane must stay a few ranges.

    At least one message where there is any, whatever its size.

    Raises:
        SpoolCorrupt: A body is not the one that was stored.
    """
    edge_ms = now.mono_ms - _BACKFILL_AFTER_MS
    picked: list[Envelope] = []
    room = max_bytes
    fresh = (
        f"SELECT {_COLUMNS} FROM message WHERE boot_id = ? AND t_mono_ms >= ? ORDER BY "
        "CASE lane WHEN 'alert' THEN 0 WHEN 'live' THEN 1 ELSE 2 END, epoch, seq LIMIT ?"
    )
    waited = (
        f"SELECT {_COLUMNS} FROM message WHERE NOT (boot_id = ? AND t_mono_ms >= ?) "
        "AND epoch = ? AND lane = ? ORDER BY seq LIMIT ?"
    )
    queries: list[tuple[str, tuple[Any, ...]]] = [(fresh, ())]
    if backfill:
        queries += [(waited, (epoch, lane)) for lane in _SENDING for epoch in _epochs(db)]
    for query, of in queries:
        if len(picked) >= max_n:
            break
        for row in db.execute(query, (now.boot_id, edge_ms, *of, max_n - len(picked))):
            if zlib.crc32(row[14]) != row[13]:
                raise SpoolCorrupt(f"message {row[0]}/{row[1]}/{row[2]} changed on disk")
            if picked and row[12] > room:
                return picked
            room -= row[12]
            picked.append(_envelope(row))
    return picked


def _epochs(db: sqlite3.Connection) -> list[int]:
    """Return the epochs of what waits, ascending: few, each found by one step in the index."""
    found: list[int] = []
    last = 0
    while True:
        (last,) = db.execute("SELECT min(epoch) FROM message WHERE epoch > ?", (last,)).fetchone()
        if last is None:
            return found
        found.append(last)


def _envelope(row: Sequence[Any]) -> Envelope:
    return Envelope(
        epoch=row[0],
        lane=Lane(row[1]),
        seq=row[2],
        schema=row[3],
        boot_id=row[5],
        t_wall_ms=row[6],
        t_mono_ms=row[7],
        clock_state=ClockState(row[8]),
        body=msgspec.Raw(row[14]),
    )


def newest_alert(db: sqlite3.Connection, now: Now) -> int:
    """Return a number that grows with every fresh alert; 0 where none waits.

    Made of epoch and sequence number, which are never used again; a row id is, once its row went.
    """
    (newest,) = db.execute(
        "SELECT max((epoch << 40) + seq) FROM message"
        " WHERE boot_id = ? AND t_mono_ms >= ? AND lane = ?",
        (now.boot_id, now.mono_ms - _BACKFILL_AFTER_MS, Lane.ALERT),
    ).fetchone()
    return newest or 0


def has_backfill(db: sqlite3.Connection, now: Now) -> bool:
    """True where something waits that is no longer fresh."""
    row = db.execute(
        "SELECT 1 FROM message WHERE NOT (boot_id = ? AND t_mono_ms >= ?) LIMIT 1",
        (now.boot_id, now.mono_ms - _BACKFILL_AFTER_MS),
    ).fetchone()
    return row is not None


def settle(db: sqlite3.Connection, answer: UpAnswer) -> int:
    """Delete what central has, and nothing else; return how many messages that were.

    Where central claims a number that this spool never gave, an earlier life of the spool used
    this epoch (its folder was wiped): what waits gets a new epoch, since central would take it
    for what it has. That can count twice what it has, and loses nothing.
    """
    gone = 0
    for ack in answer.acks:
        row = db.execute(
            "SELECT next_seq FROM lane WHERE epoch = ? AND lane = ?", (ack.epoch, ack.lane)
        ).fetchone()
        highest = max([ack.acked_through, *(high for _, high in ack.have)])
        if row is not None and highest >= row[0]:
            renumber(db, ack.epoch)
            return 0
        for low, high in [(1, ack.acked_through), *ack.have]:
            gone += db.execute(
                "DELETE FROM message WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?",
                (ack.epoch, ack.lane, low, high),
            ).rowcount
        db.execute(
            "UPDATE lane SET acked_through = max(acked_through, ?) WHERE epoch = ? AND lane = ?",
            (ack.acked_through, ack.epoch, ack.lane),
        )
    for refused in answer.rejected:
        gone += db.execute(
            "DELETE FROM message WHERE epoch = ? AND lane = ? AND seq = ?",
            (refused.epoch, refused.lane, refused.seq),
        ).rowcount
    return gone


def renumber(db: sqlite3.Connection, epoch: int) -> int:
    """Move what waits under `epoch` to a new epoch, which becomes the current one; return it."""
    fresh = int(read_meta(db, "epoch")) + 1
    write_meta(db, "epoch", str(fresh))
    for lane in Lane:
        rows = db.execute(
            "SELECT id FROM message WHERE epoch = ? AND lane = ? ORDER BY seq", (epoch, lane)
        ).fetchall()
        db.executemany(
            "UPDATE message SET epoch = ?, seq = ? WHERE id = ?",
            [(fresh, seq, row[0]) for seq, row in enumerate(rows, start=1)],
        )
        db.execute("INSERT INTO lane VALUES (?, ?, ?, 0)", (fresh, lane, len(rows) + 1))
    db.execute("DELETE FROM lane WHERE epoch = ?", (epoch,))
    return fresh


def health(db: sqlite3.Connection, quota_bytes: int) -> SpoolHealth:
    """Return the spool's part of the health report."""
    depth = dict(db.execute("SELECT lane, count(*) FROM message GROUP BY lane").fetchall())
    (volume,) = db.execute("SELECT bytes FROM volume").fetchone()
    oldest = db.execute("SELECT t_wall_ms FROM message ORDER BY id LIMIT 1").fetchone()
    return SpoolHealth(
        depth={lane: depth.get(lane, 0) for lane in Lane},
        bytes=volume,
        quota_bytes=quota_bytes,
        oldest_ms=None if oldest is None else oldest[0],
        evicted=int(read_meta(db, "evicted", "0")),
        epoch=int(read_meta(db, "epoch")),
    )
