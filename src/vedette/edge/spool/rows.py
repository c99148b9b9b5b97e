"""Single rows and values of the spool's file: written, numbered, read.

Every function takes an open transaction; none commits. What they add up to is decided elsewhere
(`spool.store`, `spool.evict`, `spool.kept`).

The rule: a number is given in the transaction that stores its message, and never again.
"""

import sqlite3
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from vedette.edge.spool import entry as entries
from vedette.edge.spool import pack
from vedette.edge.spool.entry import ClockNote, Entry
from vedette.errors import SpoolCorrupt
from vedette.wire.envelope import ClockState
from vedette.wire.messages import Tombstone

TOMBSTONE: Final = "tombstone.v1"
RANGES_PER_TOMBSTONE: Final = 2_000
_INSERT: Final = f"INSERT INTO message ({pack.COLUMNS}) VALUES ({', '.join('?' * 15)})"


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
    try:
        return msgspec.json.decode(text, type=ClockNote) if text else ClockNote()
    except msgspec.DecodeError as error:
        raise SpoolCorrupt(f"the note about the clock cannot be read: {error}") from error


def clock_state(db: sqlite3.Connection, now: Now) -> ClockState:
    """Return how far the wall clock can be believed now, by the last note about it."""
    return read_clock(db).judge(now.boot_id, now.wall_ms, now.mono_ms)


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


def bury(db: sqlite3.Connection, epoch: int, now: Now, stones: Iterable[Tombstone]) -> None:
    """Store tombstones as messages of the alert lane."""
    state = read_clock(db).judge(now.boot_id, now.wall_ms, now.mono_ms)
    for stone in stones:
        item = entries.make(TOMBSTONE, stone, now.wall_ms, now.mono_ms)
        insert(db, epoch, item, state, now.boot_id)


def epochs(db: sqlite3.Connection) -> list[int]:
    """Return the epochs of what waits, ascending: few, each found by one step in the index."""
    found: list[int] = []
    last = 0
    while True:
        (last,) = db.execute("SELECT min(epoch) FROM message WHERE epoch > ?", (last,)).fetchone()
        if last is None:
            return found
        found.append(last)


def to_ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the closed ranges, ascending, that hold exactly these numbers."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] + 1 == number:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges
