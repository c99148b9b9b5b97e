"""What a device really produced, noted by the database that committed it.

A trigger in the spool's own SQLite file copies the key and checksum of every message into a
second table, in the transaction that stores the message: so the ledger knows exactly what was
committed, by whichever process, however it was killed a moment later, and which numbers it had
before it was given others. The product knows nothing of it. Also here: whether what lies on the
device (spool file, evidence folder) is whole.
"""

import hashlib
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from vedette.edge.spool import pack
from vedette.errors import SpoolCorrupt
from vedette.sim.checker import Difference, Key, Produced
from vedette.wire import codec
from vedette.wire.messages import EventReport, EvidenceRecord, Tombstone

_ATTACH = """
CREATE TABLE sim_produced (
    epoch INTEGER NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL,
    schema TEXT NOT NULL, crc INTEGER NOT NULL, body BLOB
);
INSERT INTO sim_produced SELECT epoch, lane, seq, schema, crc,
    CASE WHEN schema IN ('tombstone.v1', 'event.v1') THEN body END FROM message;
CREATE TRIGGER sim_note AFTER INSERT ON message BEGIN
    INSERT INTO sim_produced VALUES (
        new.epoch, new.lane, new.seq, new.schema, new.crc,
        CASE WHEN new.schema IN ('tombstone.v1', 'event.v1') THEN new.body END
    );
END;
CREATE TABLE sim_former (
    epoch INTEGER NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL,
    now_epoch INTEGER NOT NULL, now_seq INTEGER NOT NULL
);
CREATE TRIGGER sim_moved AFTER UPDATE OF epoch, seq ON message BEGIN
    UPDATE sim_former SET now_epoch = new.epoch, now_seq = new.seq
    WHERE now_epoch = old.epoch AND lane = old.lane AND now_seq = old.seq;
    INSERT INTO sim_former VALUES (old.epoch, old.lane, old.seq, new.epoch, new.seq);
    UPDATE sim_produced SET epoch = new.epoch, seq = new.seq
    WHERE epoch = old.epoch AND lane = old.lane AND seq = old.seq AND crc = old.crc;
END;
"""
_BUSY_S = 20.0
_INTERIOR = 0x05


def attach(spool_db: Path) -> None:
    """Note what is there and every message from now on. Idempotent.

    The spool must have been opened once before.

    Raises:
        SpoolCorrupt: Not a spool.
    """
    with _open(spool_db) as db:
        if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sim_produced'").fetchall():
            db.executescript(_ATTACH)


def spools(spool_db: Path) -> list[Path]:
    """Return the spool's file, then those that were found broken and set aside."""
    return [spool_db, *sorted(spool_db.parent.glob("spool.corrupt-*.db"))]


def tear(spool_db: Path) -> int:
    """Overwrite one page of waiting messages, nobody having the file open; return its number.

    Raises:
        SpoolCorrupt: Not a spool, or too few messages wait.
    """
    with _open(spool_db) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = db.execute("PRAGMA page_size").fetchone()
        root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'message'").fetchone()
    data = spool_db.read_bytes()
    page = _middle_leaf(data, size, root[0]) if root else 0
    if not root or page == root[0]:
        raise SpoolCorrupt("too few messages wait: no page is torn")
    with spool_db.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
    return page


def _middle_leaf(data: bytes, size: int, page: int) -> int:
    """Return a leaf of a table's B-tree. Source: SQLite's file format, 1.6 B-tree Pages."""
    while True:
        node = data[(page - 1) * size : page * size]
        cells = int.from_bytes(node[3:5])
        if node[0] != _INTERIOR or not cells:
            return page
        pointer = 12 + 2 * (cells // 2)
        cell = int.from_bytes(node[pointer : pointer + 2])
        page = int.from_bytes(node[cell : cell + 4])


def read_produced(device: str, *spool_dbs: Path) -> Produced:
    """Return what was committed to the given files: the spool, and those set aside before it.

    Raises:
        SpoolCorrupt: A file cannot be read or has no ledger.
    """
    messages: dict[Key, tuple[str, int]] = {}
    tombstoned: set[Key] = set()
    events: dict[str, Key] = {}
    pending: set[Key] = set()
    former: dict[Key, Key] = {}
    for path in spool_dbs:
        with _open(path) as db:
            rows = db.execute("SELECT epoch, lane, seq, schema, crc, body FROM sim_produced")
            for epoch, lane, seq, schema, crc, body in rows:
                key = (epoch, lane, seq)
                messages[key] = (schema, crc)
                if schema == "tombstone.v1":
                    tombstoned |= _named(codec.decode(body, Tombstone))
                elif schema == "event.v1":
                    events[codec.decode(body, EventReport).event] = key
            for epoch, lane, seq, now_epoch, now_seq in db.execute("SELECT * FROM sim_former"):
                former[epoch, lane, seq] = (now_epoch, lane, now_seq)
            if path == spool_dbs[0]:
                pending = set(db.execute("SELECT epoch, lane, seq FROM message"))
                pending |= _packed(db)
    return Produced(
        device=device,
        messages=messages,
        tombstoned=frozenset(tombstoned),
        pending=frozenset(pending),
        events=events,
        former=former,
    )


def _packed(db: sqlite3.Connection) -> set[Key]:
    """Return what waits in packs; a spool of an older version has none."""
    try:
        rows = db.execute(f"SELECT {pack.PACK_COLUMNS} FROM pack WHERE kept = 0").fetchall()
    except sqlite3.OperationalError:
        return set()
    return {message[:3] for row in rows for message in pack.unpack(row)}


def _named(stone: Tombstone) -> set[Key]:
    return {(stone.epoch, stone.lane, seq) for lo, hi in stone.ranges for seq in range(lo, hi + 1)}


def check_spool(spool_db: Path) -> list[Difference]:
    """Return what is wrong with the spool's file: pages, checksums, numbers."""
    found: list[Difference] = []
    try:
        with _open(spool_db) as db:
            (word,) = db.execute("PRAGMA integrity_check").fetchone()
            if word != "ok":
                found.append(Difference("spool", f"integrity check says: {word}"))
            limits = {
                (epoch, lane): next_seq
                for epoch, lane, next_seq in db.execute("SELECT epoch, lane, next_seq FROM lane")
            }
            for epoch, lane, seq, crc, body in db.execute(
                "SELECT epoch, lane, seq, crc, body FROM message"
            ):
                if zlib.crc32(body) != crc:
                    text = f"{lane}/{epoch}/{seq} does not match its checksum"
                    found.append(Difference("spool", text))
                if not 1 <= seq < limits.get((epoch, lane), 0):
                    text = f"{lane}/{epoch}/{seq} was never given out"
                    found.append(Difference("spool", text))
    except SpoolCorrupt as error:
        found.append(Difference("spool", str(error)))
    return found


def check_evidence(folder: Path) -> list[Difference]:
    """Return what is wrong with the evidence packages: each is whole, or is not there at all.

    Read without the product's own code: `<day>/<id>/{evidence.json, clip.mp4}`, where the record in
    the JSON names the clip's hash and size. What lies under a dot is being written or deleted.
    """
    found: list[Difference] = []
    for path in sorted(folder.glob("[!.]*/*")):
        try:
            record = msgspec.json.decode((path / "evidence.json").read_bytes(), type=_Facts).record
            clip = (path / "clip.mp4").read_bytes()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            found.append(Difference("evidence", f"{path.name}: {error}"))
            continue
        if record.evidence != path.name:
            text = f"{path.name}: holds the record of {record.evidence}"
            found.append(Difference("evidence", text))
        if hashlib.sha256(clip).hexdigest() != record.sha256 or len(clip) != record.bytes:
            found.append(Difference("evidence", f"{path.name}: not the clip of its record"))
    return found


class _Facts(msgspec.Struct):
    record: EvidenceRecord


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise SpoolCorrupt(f"no spool at {path.name}")
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as db:
            yield db
    except sqlite3.DatabaseError as error:
        raise SpoolCorrupt(f"{path.name}: {error}") from error
