"""The ledger inside the spool's file, and the wholeness of what lies on a device."""

import hashlib
import sqlite3
import zlib
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from vedette.errors import SpoolCorrupt
from vedette.sim import ledger
from vedette.wire import codec
from vedette.wire.messages import EventKind, EventReport, EvidenceRecord, Tombstone


@pytest.fixture
def spool_db(tmp_path: Path) -> Path:
    """An empty spool with the ledger attached."""
    path = tmp_path / "spool.db"
    with sqlite3.connect(path) as db:
        db.executescript(resources.files("vedette.edge.spool").joinpath("schema.sql").read_text())
    db.close()
    ledger.attach(path)
    return path


def _put(path: Path, lane: str, seq: int, schema: str, body: bytes) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute(
            "INSERT INTO message VALUES"
            " (NULL, 1, ?, ?, ?, 0, 'b', 1, 1, 'trusted', '', 1, 1, ?, ?, ?)",
            (lane, seq, schema, len(body), zlib.crc32(body), body),
        )
        db.execute(
            "INSERT INTO lane VALUES (1, ?, ?, 0) ON CONFLICT DO UPDATE SET next_seq = ?",
            (lane, seq + 1, seq + 1),
        )
    db.close()


def _event(name: str) -> bytes:
    return codec.encode(EventReport(event=name, camera="door", kind=EventKind.PRESENCE, at_ms=1))


def test_what_was_committed_is_known_after_it_left(spool_db: Path) -> None:
    """A deleted message stays produced; one that waits is pending; a tombstone names its keys."""
    _put(spool_db, "alert", 1, "event.v1", _event("ev-1"))
    _put(spool_db, "live", 1, "aggregate.v1", b"x")
    stone = Tombstone(lane="live", epoch=1, ranges=[(1, 1)], start_ms=0, end_ms=1)
    _put(spool_db, "alert", 2, "tombstone.v1", codec.encode(stone))
    db = sqlite3.connect(spool_db)
    with db:
        db.execute("DELETE FROM message WHERE seq = 1")
    db.close()
    made = ledger.read_produced("box", spool_db)
    assert set(made.messages) == {(1, "alert", 1), (1, "alert", 2), (1, "live", 1)}
    assert made.tombstoned == {(1, "live", 1)}
    assert made.pending == {(1, "alert", 2)}
    assert made.events == {"ev-1": (1, "alert", 1)}


def test_what_was_rolled_back_was_not_produced(spool_db: Path) -> None:
    """The note lives and dies with the message's own transaction."""
    db = sqlite3.connect(spool_db, isolation_level=None)
    db.execute("BEGIN")
    db.execute(
        "INSERT INTO message VALUES"
        " (NULL, 1, 'live', 1, 's', 0, 'b', 1, 1, 't', '', 1, 1, 1, 1, x'00')"
    )
    db.execute("ROLLBACK")
    db.close()
    assert ledger.read_produced("box", spool_db).messages == {}


def test_a_whole_spool_passes_and_a_flipped_bit_does_not(spool_db: Path) -> None:
    """The file format has no checksum of its own; the rows have."""
    _put(spool_db, "live", 1, "aggregate.v1", b"good")
    assert ledger.check_spool(spool_db) == []
    db = sqlite3.connect(spool_db)
    with db:
        db.execute("UPDATE message SET body = x'00', seq = 7")
    db.close()
    assert [one.kind for one in ledger.check_spool(spool_db)] == ["spool", "spool"]


def test_a_file_that_is_no_database_is_a_difference(tmp_path: Path) -> None:
    """Garbage is reported, not raised."""
    garbage = tmp_path / "spool.db"
    garbage.write_bytes(b"\x01" * 5000)
    assert [one.kind for one in ledger.check_spool(garbage)] == ["spool"]
    with pytest.raises(SpoolCorrupt):
        ledger.attach(garbage)


def _package(folder: Path, name: str, data: bytes) -> Path:
    record = EvidenceRecord(
        evidence=name,
        event="ev",
        camera="door",
        wanted_ms=(0, 1),
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
    )
    path = folder / "2026-03-02" / name
    path.mkdir(parents=True)
    (path / "evidence.json").write_bytes(msgspec.json.encode({"record": record}))
    (path / "clip.mp4").write_bytes(data)
    return path


def test_whole_packages_pass(tmp_path: Path) -> None:
    """Record and clip agree by hash and length; what is being written does not count yet."""
    _package(tmp_path / "evidence", "e1", b"film")
    (tmp_path / "evidence" / ".partial" / "e2").mkdir(parents=True)
    assert ledger.check_evidence(tmp_path / "evidence") == []
    assert ledger.check_evidence(tmp_path / "nothing") == []


@pytest.mark.parametrize("damage", ["short clip", "no clip", "no record", "torn record", "moved"])
def test_each_way_to_tear_a_package_is_found(tmp_path: Path, damage: str) -> None:
    """A package is whole or absent."""
    path = _package(tmp_path, "e1", b"film")
    if damage == "short clip":
        (path / "clip.mp4").write_bytes(b"fil")
    elif damage == "no clip":
        (path / "clip.mp4").unlink()
    elif damage == "no record":
        (path / "evidence.json").unlink()
    elif damage == "moved":
        path.rename(path.with_name("e9"))
    else:
        (path / "evidence.json").write_bytes(b'{"record": {"evidence": "e1", "ev')
    assert len(ledger.check_evidence(tmp_path)) == 1
