"""What leaves without an acknowledgement: by quota, by a full disk, or refused for ever.

What is only kept goes before anything that waits, the least important before the important, the
oldest first.

The rule: whatever waits and leaves here is named by a tombstone, in the same transaction.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vedette.edge.spool import kept, pack
from vedette.edge.spool.rows import (
    RANGES_PER_TOMBSTONE,
    TOMBSTONE,
    Now,
    bury,
    read_meta,
    to_ranges,
    write_meta,
)
from vedette.wire.messages import Tombstone
from vedette.wire.streams import STREAMS

EVICT_TO: Final = 0.95
"""Evict down to this part of the quota, so that tombstones stay rare however long it lasts."""

ROOM_BYTES: Final = 1024 * 1024
"""What is evicted at most at a time to make room when the disk is full before the quota is."""

PAGES_SPARE_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class _Lost:
    """What goes of one epoch and lane, either with coverage or without."""

    seqs: list[int]
    cameras: set[str]
    start_ms: int
    end_ms: int


def keep_quota(db: sqlite3.Connection, epoch: int, now: Now, quota_bytes: int) -> int:
    """Evict the least important, then the oldest, beyond the quota; return how many went."""
    volume, spare = db.execute("SELECT bytes, kept FROM volume").fetchone()
    if volume + spare <= quota_bytes:
        return 0
    if spare:
        kept.forget_bytes(db, volume + spare - int(quota_bytes * EVICT_TO), now.wall_ms)
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
    forgotten = kept.forget_bytes(db, wanted, now.wall_ms)
    if forgotten >= needed:  # less than wanted, but nothing that waits has to go for it
        return 0
    return evict(db, int(read_meta(db, "epoch")), now, wanted - forgotten, "disk_full")


def evict(db: sqlite3.Connection, epoch: int, now: Now, wanted_bytes: int, reason: str) -> int:
    """Delete at least `wanted_bytes` of messages, with tombstones; return how many went."""
    ids: list[tuple[int]] = []
    packed = freed = 0
    lost: dict[tuple[int, str, bool], _Lost] = {}
    for priority in sorted({row.priority for row in STREAMS}, reverse=True):
        for pack_id, size, count in db.execute(
            "SELECT id, bytes, count FROM pack"
            " WHERE kept = 0 AND priority = ? AND schema <> ? ORDER BY id",
            (priority, TOMBSTONE),
        ).fetchall():
            if freed >= wanted_bytes:
                break
            for row in pack.read(db, pack_id):
                _note_loss(lost, row[:3], row[9:12])
            db.execute("DELETE FROM pack WHERE id = ?", (pack_id,))
            packed += count
            freed += size
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
    gone = packed + len(ids)
    write_meta(db, "evicted", str(int(read_meta(db, "evicted", "0")) + gone))
    return gone


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
