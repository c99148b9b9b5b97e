"""The spool's file: opened, locked between processes, checked, and replaced when it is broken.

Two processes use one file. Each transaction holds a shared `flock`; whoever finds the file broken
takes it exclusively, sets the file aside and puts a new one in place, and the others notice by its
inode before their next transaction. What can still be read is carried over under the epoch it had.

The rule: a sequence number is never given twice. The epoch is kept a second time beside the
spool's folder, so that a lost or wiped folder still leads to a new epoch.

    spool.db               the messages
    spool.new.db           a replacement that is being prepared
    spool.corrupt-<n>.db   broken ones, set aside (the newest three)
    lock                   flock only
    reserve                space that is given back when the disk is full: without it neither
                           an alert nor the deletion of what was acknowledged could be written
    ../spool.epoch         the highest epoch ever used, synced
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from vedette.edge.spool import rows, salvage, store
from vedette.edge.spool.rows import Now
from vedette.errors import SpoolCorrupt, SpoolError, SpoolUnwritable
from vedette.trust.keys import write_private
from vedette.wire.messages import SpoolHealth

T = TypeVar("T")
log = logging.getLogger(__name__)

VERSION: Final = 3
SCHEMAS: Final = ("schema.sql", "schema-2.sql", "schema-3.sql")
"""The first makes version 1 of an empty file; each further one takes a file one version on."""

BUSY_S: Final = 30.0
KEEP_CORRUPT: Final = 3
RESERVE_BYTES: Final = 4 * 1024 * 1024
CHECKPOINT_BYTES: Final = 1_000_000
"""The write-ahead log is moved into the file at 1 MB, so a quarter of the reserve suffices for it,
and what a commit changes of the log's index in memory, which reaches the disk too, is a page less.
"""

PAGE_BYTES: Final = 1024
"""Of a new file. A commit writes whole pages: at rest, a quarter of what pages of 4096 cost."""

REPAGE_BYTES: Final = 16 * 1024 * 1024
"""A larger file of an older version keeps its pages: a device must be back at once."""

_CORRUPT: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SHORT_READ: Final = sqlite3.SQLITE_IOERR_SHORT_READ


class _EpochNote(msgspec.Struct, frozen=True):
    epoch: int
    since_ms: int


class SpoolFile:
    """One process's hold on the file. Thread: any; one transaction at a time."""

    def __init__(self, folder: Path, now: Callable[[], Now]) -> None:
        """Open the file; make or replace it where it is missing or broken.

        Raises:
            SpoolUnwritable: The folder or disk refuses.
        """
        self._folder: Final = folder
        self._now: Final = now
        self._mutex: Final = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._inode = -1
        self._verifying: sqlite3.Connection | None = None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock: Final = os.open(
                folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise _unwritable(error) from error
        with self._flock(fcntl.LOCK_EX):
            self._open()
        self.keep_reserve()

    @property
    def path(self) -> Path:
        """The database file."""
        return self._folder / "spool.db"

    @property
    def _epoch_path(self) -> Path:
        return self._folder.with_name(f"{self._folder.name}.epoch")

    def transaction(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        write: bool = True,
        synced: bool = True,
        undo: bool = False,
    ) -> T:
        """Return what `work` returns, committed; where it or the disk fails nothing has changed.

        A broken file is replaced on the way, once, and the work done on the new one.

        Args:
            work: Gets the open transaction.
            write: It changes something.
            synced: It survives a power cut. Without, a kill alone, until the next synced commit:
                the log is a sequence, so what is lost are always the last commits.
            undo: What `work` changed is for its own eyes: nothing of it is written.

        Raises:
            SpoolUnwritable: Disk full, read-only, or still broken.
        """
        try:
            return self._attempt(work, write=write, synced=synced, undo=undo)
        except SpoolCorrupt as error:
            self._replace(str(error))
        except SpoolUnwritable:
            if not self._give_reserve():
                raise
        try:
            return self._attempt(work, write=write, undo=undo)
        except SpoolCorrupt as error:
            raise SpoolUnwritable(
                f"the spool broke again at once: {error}",
                operator_hint="the disk is failing; replace it",
            ) from error

    def verify(self) -> bool:
        """Read the whole file, which others may use meanwhile; replace it where it is damaged.

        Returns whether it was whole. Takes as long as the disk needs; `close` ends it.

        Raises:
            SpoolUnwritable: It is damaged and the disk refuses a new one.
        """
        inode = _inode(self.path)
        try:
            with contextlib.closing(connect(self.path)) as db:
                self._verifying = db
                try:
                    _check_pages(db)
                finally:
                    self._verifying = None
        except (SpoolCorrupt, sqlite3.DatabaseError) as error:
            broken = isinstance(error, SpoolCorrupt) or _is_corrupt(error)
            if broken and inode == _inode(self.path):
                self._replace(str(error))
            return not broken
        return True

    def version(self) -> int:
        """Return a number that changes when another process committed something."""
        with self._mutex:
            try:
                return self._connection().execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error:
                return -1  # the next transaction finds out why

    def note_epoch(self) -> None:
        """Have the current epoch on disk beside the spool's folder."""
        with self._flock(fcntl.LOCK_EX), self._mutex:
            self._write_epoch_note(self._connection())

    def close(self) -> None:
        """Let go of the file; what was committed stays."""
        verifying = self._verifying
        if verifying is not None:
            with contextlib.suppress(sqlite3.Error):
                verifying.interrupt()
        with self._mutex:
            if self._db is not None:
                self._db.close()
                self._db = None
                os.close(self._lock)

    # ------------------------------------------------------------------------------ internals

    def _attempt(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        write: bool,
        synced: bool = True,
        undo: bool = False,
    ) -> T:
        with self._mutex:
            if self._inode != _inode(self.path):
                with self._flock(fcntl.LOCK_EX):
                    self._open()
            with self._flock(fcntl.LOCK_SH), _translated():
                if self._inode != _inode(self.path):
                    raise SpoolCorrupt("the file was replaced")
                db = self._connection()
                if not synced:
                    db.execute("PRAGMA synchronous = NORMAL")
                try:
                    return _transact(db, work, write=write, undo=undo)
                finally:
                    if not synced:
                        db.execute("PRAGMA synchronous = FULL")

    @property
    def is_tight(self) -> bool:
        """True where the reserve is given and not back: the file must not grow."""
        return not (self._folder / "reserve").exists()

    @property
    def has_room(self) -> bool:
        """True where the disk plainly has space again, for the reserve and as much beside it."""
        try:
            disk = os.statvfs(self._folder)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize > 2 * RESERVE_BYTES

    def keep_reserve(self) -> None:
        """Take the reserve again where it was given and the disk has it; else nothing happens."""
        path = self._folder / "reserve"
        if path.exists():
            return
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
            finally:
                os.close(fd)
        except OSError:
            path.unlink(missing_ok=True)

    def _give_reserve(self) -> bool:
        """Free the reserve and use it to empty the write-ahead log; False where there is none.

        From then on the log's own space is used again and again, and eviction makes room within
        the file, so that a disk that stays full is lived with.
        """
        try:
            (self._folder / "reserve").unlink()
        except OSError:
            return False
        with self._mutex, self._flock(fcntl.LOCK_SH), contextlib.suppress(sqlite3.Error):
            self._connection().execute("PRAGMA wal_checkpoint(RESTART)")
        return True

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise SpoolUnwritable("the spool is closed")
        return self._db

    @contextlib.contextmanager
    def _flock(self, kind: int) -> Iterator[None]:
        fcntl.flock(self._lock, kind)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _replace(self, reason: str) -> None:
        """Replace the file unless another process did already."""
        with self._mutex, self._flock(fcntl.LOCK_EX):
            if self._inode == _inode(self.path):
                self._disconnect()
                with _translated():
                    self._renew(reason)
            self._open()

    def _open(self) -> None:
        """Connect to a good file, whatever was there before. Under the exclusive lock."""
        self._disconnect()
        new = self._folder / "spool.new.db"
        with _translated():
            if not self.path.exists() and _is_complete(new):
                new.replace(self.path)
            db = self._connect_good() if self.path.exists() else None
            if db is None:
                if not self.path.exists():
                    self._renew("")
                db = connect(self.path)
            self._write_epoch_note(db)
        self._db = db
        self._inode = _inode(self.path)

    def _connect_good(self) -> sqlite3.Connection | None:
        """Return a connection to the file in our format; None where it was broken and replaced."""
        db: sqlite3.Connection | None = None
        try:
            db = connect(self.path)
            _check(db)
            self._bring_up(db)
            note = self._read_epoch_note()
            if note is not None and note.epoch > int(rows.read_meta(db, "epoch")):
                # An older copy of the file was put back: its numbers may have been used since.
                db.execute("BEGIN IMMEDIATE")
                rows.write_meta(db, "epoch", str(note.epoch + 1))
                db.execute("COMMIT")
        except (SpoolCorrupt, sqlite3.DatabaseError) as error:
            if db is not None:
                db.close()
            if isinstance(error, sqlite3.DatabaseError) and not _is_corrupt(error):
                raise
            self._renew(str(error))
            return None
        return db

    @staticmethod
    def _bring_up(db: sqlite3.Connection) -> None:
        """Upgrade a file that an older version of Vedette wrote, whole or not at all."""
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == VERSION:
            return
        db.execute("BEGIN IMMEDIATE")
        try:
            _upgrade(db, version)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        _repage(db)

    def _renew(self, reason: str) -> None:
        """Put a new file in place, with what can be read of the old one and what was lost stated.

        The new file is whole before the old one is moved, so a crash in between loses nothing.
        """
        now = self._now()
        new = self._folder / "spool.new.db"
        _remove(new)
        rescued = salvage.read(self.path) if self.path.exists() else salvage.Rescued()
        note = self._read_epoch_note()
        last = max(note.epoch if note else 0, rescued.epoch)
        db = connect(new, journal="DELETE")
        try:
            db.execute("BEGIN IMMEDIATE")
            _upgrade(db, 0)
            rows.write_meta(db, "epoch", str(last + 1))
            rows.write_meta(db, "since_ms", str(now.wall_ms))
            if last:
                salvage.restore(db, rescued, last, note.since_ms if note else 0, now)
            db.execute("COMMIT")
        finally:
            db.close()
        if self.path.exists():
            self._set_aside()
        new.replace(self.path)
        if last:
            log.error(
                "spool replaced",
                extra={
                    "event": "spool.replaced",
                    "reason": reason or "the file was gone",
                    "epoch": last + 1,
                    "rescued": len(rescued.messages),
                },
            )

    def _set_aside(self) -> None:
        numbers = sorted(
            int(p.stem.rpartition("-")[2]) for p in self._folder.glob("spool.corrupt-*.db")
        )
        for number in numbers[: -(KEEP_CORRUPT - 1)]:
            _remove(self._folder / f"spool.corrupt-{number}.db")
        aside = self._folder / f"spool.corrupt-{numbers[-1] + 1 if numbers else 1}.db"
        for tail in ("-wal", "-shm", ""):
            source = self.path.with_name(self.path.name + tail)
            if source.exists():
                source.replace(aside.with_name(aside.name + tail))

    def _disconnect(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _read_epoch_note(self) -> _EpochNote | None:
        try:
            return msgspec.json.decode(self._epoch_path.read_bytes(), type=_EpochNote)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _write_epoch_note(self, db: sqlite3.Connection) -> None:
        epoch = int(rows.read_meta(db, "epoch"))
        note = self._read_epoch_note()
        if note is None or note.epoch < epoch:
            fresh = _EpochNote(epoch, int(rows.read_meta(db, "since_ms", "0")))
            try:
                write_private(self._epoch_path, msgspec.json.encode(fresh))
            except OSError as error:
                raise _unwritable(error) from error


def raise_epoch(folder: Path, epoch: int) -> None:
    """Have the spool in `folder` give numbers in no epoch below `epoch`, from its next opening on.

    Raises:
        OSError: The disk refuses.
    """
    path = folder.with_name(f"{folder.name}.epoch")
    try:
        note = msgspec.json.decode(path.read_bytes(), type=_EpochNote)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        note = _EpochNote(0, 0)
    if note.epoch < epoch - 1:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, msgspec.json.encode(_EpochNote(epoch - 1, note.since_ms)))


def connect(path: Path, *, journal: str = "WAL") -> sqlite3.Connection:
    """Return a connection that syncs every commit and never begins a transaction by itself."""
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file; one that is there keeps its own
    db.execute(f"PRAGMA journal_mode = {journal}")
    db.execute("PRAGMA synchronous = FULL")
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_BYTES // page_bytes}")
    db.execute("PRAGMA cell_size_check = ON")
    return db


def _transact(
    db: sqlite3.Connection,
    work: Callable[[sqlite3.Connection], T],
    *,
    write: bool,
    undo: bool,
) -> T:
    db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        result = work(db)
        db.execute("ROLLBACK" if undo else "COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    return result


def _repage(db: sqlite3.Connection) -> None:
    """Give a small file pages of our size; it keeps its own where the disk refuses.

    Whole or not at all: it is written anew under a rollback journal, and larger pages work too.
    """
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    if page_bytes == PAGE_BYTES or pages * page_bytes > REPAGE_BYTES:
        return
    db.execute("PRAGMA busy_timeout = 0")
    try:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("VACUUM")
    except sqlite3.OperationalError as error:
        log.info("spool keeps its pages", extra={"event": "spool.pages", "reason": str(error)})
    finally:
        db.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")
        db.execute("PRAGMA journal_mode = WAL")
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_BYTES // page_bytes}")


def peek(folder: Path, quota_bytes: int) -> SpoolHealth | None:
    """Return depth and size without touching anything; None where there is no readable spool."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{folder / 'spool.db'}?mode=ro", uri=True, timeout=BUSY_S)
        ) as db:
            return store.health(db, quota_bytes)
    except sqlite3.Error:
        return None


def _check(db: sqlite3.Connection) -> None:
    """Raise `SpoolCorrupt` where the file is not a spool, or its first pages are damaged.

    Cheap whatever the file's size: a device must be back at once. The pages are checked behind it
    (`SpoolFile.verify`), each message again when it is read.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise SpoolError(
            f"the spool has format {version}; this program knows {VERSION}",
            operator_hint="start the newer version again; it wrote this spool",
        )
    if not 1 <= version <= VERSION or not rows.read_meta(db, "epoch").isdigit():
        raise SpoolCorrupt("the file is not a spool")
    for table in ("lane", "volume", "covered"):
        db.execute(f"SELECT * FROM {table}").fetchall()


def _check_pages(db: sqlite3.Connection) -> None:
    """Read every page; raise `SpoolCorrupt` where one does not fit into its tree."""
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise SpoolCorrupt(f"the spool is damaged: {verdict}")


def _upgrade(db: sqlite3.Connection, version: int) -> None:
    """Bring a file of `version` to ours, within the transaction that is open."""
    for name in SCHEMAS[version:]:
        for statement in _statements(name):
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {VERSION}")


def _statements(name: str) -> list[str]:
    text = resources.files("vedette.edge.spool").joinpath(name).read_text(encoding="utf-8")
    statements: list[str] = []
    pending = ""
    for line in text.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements


def _is_complete(path: Path) -> bool:
    """True where `path` is a replacement that was committed before its maker died."""
    if not path.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            _check(db)
            _check_pages(db)
    except (SpoolCorrupt, sqlite3.Error):
        return False
    return True


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return -1


def _remove(path: Path) -> None:
    for tail in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + tail).unlink(missing_ok=True)


def _is_corrupt(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _CORRUPT or code == _SHORT_READ


def _unwritable(error: Exception) -> SpoolUnwritable:
    return SpoolUnwritable(
        f"the spool cannot be written: {error}",
        operator_hint="free disk space, or make the state folder writable for this user",
    )


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn the database's and the disk's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        if _is_corrupt(error):
            raise SpoolCorrupt(f"the spool is damaged: {error}") from error
        raise _unwritable(error) from error
    except OSError as error:
        raise _unwritable(error) from error
