"""Old messages compressed together: made, taken apart, and turned from waiting to kept and back.

A pack holds messages of one epoch, lane and schema, so that evicting the least important takes
whole packs, and neighbours are as alike as messages can be. It is opened into single rows before
anything happens to a part of it: sending, a partial acknowledgement, a restored central.

The rule: a pack is made of rows whose checksums hold, and carries one of its own over all of it.
"""

import itertools
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import zstandard

from vedette.edge.spool.entry import ROW_BYTES
from vedette.errors import SpoolCorrupt

COLUMNS: Final = (
    "epoch, lane, seq, schema, priority, boot_id, t_wall_ms, t_mono_ms, clock_state,"
    " camera, start_ms, end_ms, bytes, crc, body"
)
"""Of `message` and `kept`, in the order of a `Row`."""

PACK_COLUMNS: Final = (
    "kept, epoch, lane, schema, priority, low, high, count, oldest_ms, kept_ms, bytes, crc, body"
)
Row = tuple[Any, ...]

GROUP_N: Final = 128
GROUP_MIN: Final = 32
"""Fewer stay single rows: they compress worse, and are the next to be sent."""

GROUP_BYTES: Final = 512 * 1024
LEVEL: Final = 9
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024


class _Group(msgspec.Struct, frozen=True, array_like=True):
    """The messages column by column, numbers as differences: equal things beside each other.

    Attributes:
        seq, t_wall_ms: The first, then each one's distance from the one before.
        mono, start, end: Distance from the message's own wall time; `mono` again as differences.
    """

    seq: list[int]
    t_wall_ms: list[int]
    mono: list[int]
    start: list[int]
    end: list[int]
    boot_id: list[str]
    clock_state: list[str]
    camera: list[str]
    body: list[bytes]


def insert(db: sqlite3.Connection, rows: Sequence[Row], *, kept_ms: int = 0) -> int:
    """Store `rows` (one epoch, lane and schema, by number) as a pack; return its id.

    Raises:
        SpoolCorrupt: A row's body is not the one that was stored.
    """
    for row in rows:
        if zlib.crc32(row[14]) != row[13]:
            raise SpoolCorrupt(f"message {row[0]}/{row[1]}/{row[2]} changed on disk")
    wall = [row[6] for row in rows]
    group = _Group(
        seq=_steps([row[2] for row in rows]),
        t_wall_ms=_steps(wall),
        mono=_steps([row[7] - row[6] for row in rows]),
        start=[row[10] - row[6] for row in rows],
        end=[row[11] - row[6] for row in rows],
        boot_id=[row[5] for row in rows],
        clock_state=[row[8] for row in rows],
        camera=[row[9] for row in rows],
        body=[row[14] for row in rows],
    )
    body = zstandard.ZstdCompressor(level=LEVEL).compress(msgspec.msgpack.encode(group))
    first = rows[0]
    cursor = db.execute(
        f"INSERT INTO pack ({PACK_COLUMNS}) VALUES ({', '.join('?' * 13)})",
        (
            int(kept_ms > 0),
            *(first[0], first[1], first[3], first[4]),
            *(first[2], rows[-1][2], len(rows), wall[0], kept_ms),
            len(body) + ROW_BYTES,
            zlib.crc32(body),
            body,
        ),
    )
    return cursor.lastrowid or 0


def any_waits(db: sqlite3.Connection) -> bool:
    """True where a pack waits to be sent."""
    return db.execute("SELECT 1 FROM pack WHERE kept = 0 LIMIT 1").fetchone() is not None


def read(db: sqlite3.Connection, pack_id: int) -> list[Row]:
    """Return the messages of a pack, by number.

    Raises:
        SpoolCorrupt: It is not what was stored.
    """
    row = db.execute(f"SELECT {PACK_COLUMNS} FROM pack WHERE id = ?", (pack_id,)).fetchone()
    if row is None:
        raise SpoolCorrupt(f"pack {pack_id} is gone")
    return unpack(row)


def unpack(pack: Sequence[Any]) -> list[Row]:
    """Return the messages of one row of `pack`.

    Raises:
        SpoolCorrupt: It is not what was stored.
    """
    _, epoch, lane, schema, priority, low, high, count, _, _, _, crc, body = pack
    try:
        if not isinstance(body, bytes) or zlib.crc32(body) != crc:
            raise SpoolCorrupt(f"pack {epoch}/{lane}/{low} changed on disk")
        if zstandard.frame_content_size(body) > MAX_UNPACKED_BYTES:
            raise SpoolCorrupt(f"pack {epoch}/{lane}/{low} is larger than any that was made")
        data = zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_UNPACKED_BYTES)
        group = msgspec.msgpack.decode(data, type=_Group)
    except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SpoolCorrupt(f"pack {epoch}/{lane}/{low} cannot be read: {error}") from error
    seqs = list(itertools.accumulate(group.seq))
    if len({len(part) for part in msgspec.structs.astuple(group)}) != 1:
        raise SpoolCorrupt(f"pack {epoch}/{lane}/{low} has columns of different lengths")
    if len(seqs) != count or seqs[0] != low or seqs[-1] != high:
        raise SpoolCorrupt(f"pack {epoch}/{lane}/{low} holds other numbers than it says")
    return [
        (
            *(epoch, lane, seq, schema, priority, group.boot_id[at], wall, mono + wall),
            *(group.clock_state[at], group.camera[at]),
            *(wall + group.start[at], wall + group.end[at]),
            *(len(group.body[at]) + ROW_BYTES, zlib.crc32(group.body[at]), group.body[at]),
        )
        for at, (seq, wall, mono) in enumerate(
            zip(
                seqs,
                itertools.accumulate(group.t_wall_ms),
                itertools.accumulate(group.mono),
                strict=True,
            )
        )
    ]


def _steps(numbers: list[int]) -> list[int]:
    return [number - before for number, before in zip(numbers, [0, *numbers], strict=False)]


# --------------------------------------------------------------------------- from rows and back


def pack_waiting(db: sqlite3.Connection, before_ms: int, boot_id: str, most: int) -> int:
    """Pack what has waited since before `before_ms` (monotonic, of `boot_id`); return how many.

    At most `most` packs are made, so that no transaction is long.
    """
    old = "NOT (boot_id = ? AND t_mono_ms >= ?)"
    groups = db.execute(
        f"SELECT epoch, lane, schema, count(*) FROM message WHERE {old}"
        " GROUP BY epoch, lane, schema",
        (boot_id, before_ms),
    ).fetchall()
    made = 0
    for epoch, lane, schema, count in groups:
        for _ in range(count // GROUP_N if count >= GROUP_N else count >= GROUP_MIN):
            if made >= most:
                return made
            rows = _first(db, "message", (epoch, lane, schema), f"AND {old}", (boot_id, before_ms))
            insert(db, rows)
            _delete(db, "message", rows)
            made += 1
    return made


def pack_kept(db: sqlite3.Connection, most: int) -> int:
    """Pack what is kept, where there is enough of a kind for a whole pack; return how many."""
    groups = db.execute(
        "SELECT epoch, lane, schema, count(*) AS n FROM kept GROUP BY epoch, lane, schema"
        " HAVING n >= ?",
        (GROUP_N,),
    ).fetchall()
    made = 0
    for epoch, lane, schema, count in groups:
        for _ in range(count // GROUP_N):
            if made >= most:
                return made
            rows = _first(db, "kept", (epoch, lane, schema), "", ())
            (kept_ms,) = db.execute(
                "SELECT max(kept_ms) FROM kept"
                " WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?",
                (epoch, lane, rows[0][2], rows[-1][2]),
            ).fetchone()
            insert(db, rows, kept_ms=max(kept_ms, 1))
            _delete(db, "kept", rows)
            made += 1
    return made


def open_next(
    db: sqlite3.Connection, edge_ms: int, boot_id: str, lanes: Iterable[str], n: int
) -> None:
    """Have the next `n` messages of what waits longest as rows, lane after lane, epoch by epoch."""
    for lane in lanes:
        packs = db.execute(
            "SELECT id, epoch, low FROM pack WHERE kept = 0 AND lane = ? ORDER BY epoch, low",
            (lane,),
        ).fetchall()
        for pack_id, epoch, low in packs:
            (before,) = db.execute(
                "SELECT count(*) FROM (SELECT 1 FROM message WHERE lane = ? AND"
                " (epoch < ? OR (epoch = ? AND seq < ?))"
                " AND NOT (boot_id = ? AND t_mono_ms >= ?) LIMIT ?)",
                (lane, epoch, epoch, low, boot_id, edge_ms, n),
            ).fetchone()
            if before >= n:
                return
            explode(db, pack_id)
        (rows,) = db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM message WHERE lane = ?"
            " AND NOT (boot_id = ? AND t_mono_ms >= ?) LIMIT ?)",
            (lane, boot_id, edge_ms, n),
        ).fetchone()
        n -= rows
        if n <= 0:
            return


def explode(db: sqlite3.Connection, pack_id: int) -> list[Row]:
    """Have the messages of a waiting pack as rows of `message` again; return them.

    Raises:
        SpoolCorrupt: It is not what was stored.
    """
    rows = read(db, pack_id)
    put_back(db, rows)
    db.execute("DELETE FROM pack WHERE id = ?", (pack_id,))
    return rows


def put_back(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Store `rows` as waiting messages before all others: they are the oldest again."""
    (lowest,) = db.execute("SELECT coalesce(min(id), 1) FROM message").fetchone()
    db.executemany(
        f"INSERT INTO message (id, {COLUMNS}) VALUES ({', '.join('?' * 16)})",
        [(lowest - len(rows) + at, *row) for at, row in enumerate(rows)],
    )


def keep_rows(db: sqlite3.Connection, rows: Iterable[Row], kept_ms: int) -> None:
    """Store `rows` as kept."""
    db.executemany(
        f"INSERT OR IGNORE INTO kept ({COLUMNS}, kept_ms) VALUES ({', '.join('?' * 16)})",
        [(*row, kept_ms) for row in rows],
    )


def _first(
    db: sqlite3.Connection,
    table: str,
    of: tuple[int, str, str],
    more: str,
    values: tuple[object, ...],
) -> list[Row]:
    """Return the first rows of an epoch, lane and schema by number, as many as one pack holds."""
    rows: list[Row] = []
    size = 0
    for row in db.execute(
        f"SELECT {COLUMNS} FROM {table} WHERE epoch = ? AND lane = ? AND schema = ? {more}"
        " ORDER BY seq LIMIT ?",
        (*of, *values, GROUP_N),
    ):
        size += row[12]
        if rows and size > GROUP_BYTES:
            break
        rows.append(row)
    return rows


def _delete(db: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    db.executemany(
        f"DELETE FROM {table} WHERE epoch = ? AND lane = ? AND seq = ?",
        [row[:3] for row in rows],
    )
