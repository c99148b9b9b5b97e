"""What can still be read of a broken spool, and an honest statement about the rest.

Messages are carried over under the epoch and number they had, each only where its checksum holds,
so central sees them exactly once whichever of them it has already. Numbers that were given, not
acknowledged and not rescued are stated lost by a tombstone; where even the numbers cannot be read,
the tombstone has no ranges and stands for all of that epoch and lane that never came.
"""

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from vedette.edge.spool import pack, rows
from vedette.edge.spool.rows import Now
from vedette.edge.spool.store import MAX_GAP_MS
from vedette.errors import SpoolCorrupt
from vedette.wire.envelope import ClockState
from vedette.wire.messages import Tombstone
from vedette.wire.streams import STREAMS, Lane

REASON: Final = "corrupt"
MAX_UNSETTLED: Final = 5_000_000
"""More unsettled numbers than any quota holds are not believed, but said to be unknown."""

_BEFORE: Final = 1 << 40
_STATES: Final = set(ClockState)
_SCHEMAS: Final = {row.schema for row in STREAMS}
_COLUMNS: Final = f"id, {pack.COLUMNS}"


@dataclass(slots=True)
class Rescued:
    """What was read.

    Attributes:
        messages: Whole rows by (epoch, lane, seq), in the order of their commit; those of waiting
            packs among them.
        kept: Whole rows of what central has acknowledged, with when, by the same key.
        forgotten: Rows of the `forgotten` table.
        lanes: Rows of the `lane` table; empty where that is not readable.
        covered: Rows of the `covered` table.
        meta: Of the `meta` table.
    """

    messages: dict[tuple[int, str, int], tuple[Any, ...]] = field(default_factory=dict)
    kept: dict[tuple[int, str, int], tuple[Any, ...]] = field(default_factory=dict)
    forgotten: list[tuple[Any, ...]] = field(default_factory=list)
    lanes: list[tuple[int, str, int, int]] = field(default_factory=list)
    covered: list[tuple[str, int, int]] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """The highest epoch seen anywhere; 0 where none."""
        stated = self.meta.get("epoch", "0")
        seen = [key[0] for of in (self.messages, self.kept) for key in of]
        seen += [lane[0] for lane in self.lanes]
        return max([int(stated) if stated.isdigit() else 0, *seen])


def read(path: Path) -> Rescued:
    """Return whatever can be read; a file that is no database at all gives nothing."""
    rescued = Rescued()
    try:
        db = sqlite3.connect(path, isolation_level=None)
    except sqlite3.Error:
        return rescued
    with contextlib.closing(db):
        db.text_factory = lambda data: data.decode("utf-8", "replace")
        for direction in ("ASC", "DESC"):
            for row in _rows(db, f"SELECT {_COLUMNS} FROM message ORDER BY id {direction}"):
                if _is_whole(row):
                    rescued.messages[row[1], row[2], row[3]] = row
            for row in _rows(db, f"SELECT {_COLUMNS}, kept_ms FROM kept ORDER BY id {direction}"):
                if _is_whole(row) and isinstance(row[16], int):
                    rescued.kept[row[1], row[2], row[3]] = row[1:]
            for row in _rows(
                db, f"SELECT id, {pack.PACK_COLUMNS} FROM pack ORDER BY id {direction}"
            ):
                _open_pack(rescued, row)
        rescued.forgotten = [
            row
            for row in _rows(
                db, "SELECT epoch, lane, low, high, start_ms, end_ms, cameras, at_ms FROM forgotten"
            )
            if row[1] in set(Lane) and _is_names(row[6])
        ]
        rescued.lanes = [
            row
            for row in _rows(db, "SELECT epoch, lane, next_seq, acked_through FROM lane")
            if row[1] in set(Lane) and isinstance(row[2], int) and isinstance(row[3], int)
        ]
        rescued.covered = [
            row
            for row in _rows(db, "SELECT camera, until_ms, untrusted FROM covered")
            if isinstance(row[0], str) and isinstance(row[1], int)
        ]
        rescued.meta = {str(k): str(v) for k, v in _rows(db, "SELECT key, value FROM meta")}
    rescued.messages = dict(sorted(rescued.messages.items(), key=lambda item: item[1][0]))
    return rescued


def restore(
    db: sqlite3.Connection, rescued: Rescued, last_epoch: int, since_ms: int, now: Now
) -> None:
    """Write what was rescued into the new file, whose epoch is set, and state what was not."""
    marks = ", ".join("?" * 15)
    db.executemany(
        f"INSERT INTO message ({pack.COLUMNS}) VALUES ({marks})",
        [row[1:] for row in rescued.messages.values()],
    )
    db.executemany(
        f"INSERT INTO kept ({pack.COLUMNS}, kept_ms) VALUES ({marks}, ?)",
        [row for key, row in rescued.kept.items() if key not in rescued.messages],
    )
    db.executemany(
        "INSERT OR IGNORE INTO forgotten (epoch, lane, low, high, start_ms, end_ms, cameras, at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rescued.forgotten,
    )
    db.executemany("INSERT OR IGNORE INTO lane VALUES (?, ?, ?, ?)", rescued.lanes)
    db.executemany("INSERT OR IGNORE INTO covered VALUES (?, ?, ?)", rescued.covered)
    for key in ("evicted", "clock"):
        if key in rescued.meta:
            rows.write_meta(db, key, rescued.meta[key])
    epoch = int(rows.read_meta(db, "epoch"))
    rows.bury(db, epoch, now, _lost(rescued, last_epoch, since_ms, now))


def _lost(rescued: Rescued, last_epoch: int, since_ms: int, now: Now) -> Iterator[Tombstone]:
    known = {(epoch, lane): (given, acked) for epoch, lane, given, acked in rescued.lanes}
    for lane in Lane:
        known.setdefault((last_epoch, lane), (0, 0))
    for (epoch, lane), (next_seq, acked) in known.items():
        ranges: list[tuple[int, int]] = []
        if next_seq and next_seq - acked <= MAX_UNSETTLED:
            here = {
                seq
                for of in (rescued.messages, rescued.kept)
                for e, name, seq in of
                if (e, name) == (epoch, lane)
            }
            ranges = rows.to_ranges(set(range(acked + 1, next_seq)) - here)
            if not ranges:
                continue
        elif rescued.lanes and not next_seq:
            continue  # the table was read, and this lane was never used
        # Only telemetry carries coverage; its cameras are not known any more: so all of them.
        start_ms = max(since_ms, now.wall_ms - MAX_GAP_MS) if lane == Lane.LIVE else now.wall_ms
        for i in range(0, max(len(ranges), 1), rows.RANGES_PER_TOMBSTONE):
            yield Tombstone(
                lane=lane,
                epoch=epoch,
                ranges=ranges[i : i + rows.RANGES_PER_TOMBSTONE],
                start_ms=min(start_ms, now.wall_ms),
                end_ms=now.wall_ms,
                reason=REASON,
            )


def _rows(db: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows until the first page that cannot be read."""
    with contextlib.suppress(sqlite3.Error):
        yield from db.execute(query)


def _open_pack(rescued: Rescued, row: tuple[Any, ...]) -> None:
    """Add the messages of one pack, where all of it is whole; it is no pack any more."""
    try:
        found = pack.unpack(row[1:])
    except (SpoolCorrupt, TypeError, ValueError, OverflowError):
        return
    for at, message in enumerate(found):
        whole = (row[0] * pack.GROUP_N + at - _BEFORE, *message)  # older than any single row
        if not _is_whole(whole):
            continue
        if row[1]:
            rescued.kept.setdefault(message[:3], (*message, row[10]))
        else:
            rescued.messages.setdefault(message[:3], whole)


def _is_names(text: object) -> bool:
    try:
        msgspec.json.decode(str(text), type=list[str])
    except msgspec.DecodeError:
        return False
    return True


def _is_whole(row: tuple[Any, ...]) -> bool:
    body = row[15]
    return (
        isinstance(body, bytes)
        and row[14] == zlib.crc32(body)
        and row[2] in set(Lane)
        and row[4] in _SCHEMAS
        and row[9] in _STATES
        and isinstance(row[6], str)
        and isinstance(row[10], str)
        and all(isinstance(row[i], int) for i in (1, 3, 5, 7, 8, 11, 12, 13))
    )
