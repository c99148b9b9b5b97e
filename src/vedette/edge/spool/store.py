"""What one transaction of the spool does: admit, account for coverage, settle, pick.

Every function takes an open transaction and either does all or raises; none commits. Not here:
the file, its locks and its recovery (`spool.file`), what leaves early (`spool.evict`), what stays
after its acknowledgement (`spool.kept`), or what waits in memory (`spool.spool`).

The rule: a row leaves only with an acknowledgement or with a tombstone that names it.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vedette.edge.spool import entry as entries
from vedette.edge.spool import kept, pack
from vedette.edge.spool.entry import ClockNote, Entry
from vedette.edge.spool.evict import keep_quota
from vedette.edge.spool.rows import Now, bury, epochs, insert, read_clock, read_meta, write_meta
from vedette.errors import SpoolCorrupt
from vedette.wire.envelope import ClockState, Envelope, LaneAck, UpAnswer
from vedette.wire.messages import Cause, CoverageReport, Span, SpoolHealth
from vedette.wire.streams import BACKFILL_AFTER_S, Lane

COVERAGE: Final = "coverage.v1"
MAX_GAP_MS: Final = 30 * 86_400_000
_BACKFILL_AFTER_MS: Final = round(BACKFILL_AFTER_S * 1000)
_SENDING: Final = (Lane.ALERT, Lane.LIVE, Lane.EVIDENCE)

_COLUMNS: Final = pack.COLUMNS


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


# --------------------------------------------------------------------------- picking and settling


def pick(
    db: sqlite3.Connection, now: Now, *, max_bytes: int, max_n: int, backfill_bytes: int
) -> list[Envelope]:
    """Return what to send next: fresh alerts, fresh telemetry, fresh evidence, then backfill.

    Of the backfill about `backfill_bytes` at most; 0: none of it. It goes lane after lane, each in
    the order of its numbers: another order would leave central with a hole per message, and what
    it has of a lane must stay a few ranges.

    At least one message where there is any that may go, whatever its size.

    Raises:
        SpoolCorrupt: A body is not the one that was stored.
    """
    edge_ms = now.mono_ms - _BACKFILL_AFTER_MS
    picked: list[Envelope] = []
    room = max_bytes
    waiting = False
    fresh = (
        f"SELECT {_COLUMNS} FROM message WHERE boot_id = ? AND t_mono_ms >= ? ORDER BY "
        "CASE lane WHEN 'alert' THEN 0 WHEN 'live' THEN 1 ELSE 2 END, epoch, seq LIMIT ?"
    )
    waited = (
        f"SELECT {_COLUMNS} FROM message WHERE NOT (boot_id = ? AND t_mono_ms >= ?) "
        "AND epoch = ? AND lane = ? ORDER BY seq LIMIT ?"
    )
    queries: list[tuple[str, tuple[Any, ...]]] = [(fresh, ())]
    if backfill_bytes > 0:
        queries += [(waited, (epoch, lane)) for lane in _SENDING for epoch in epochs(db)]
    for query, of in queries:
        if len(picked) >= max_n:
            break
        if of and not waiting:
            waiting, room = True, min(room, backfill_bytes)
        for row in db.execute(query, (now.boot_id, edge_ms, *of, max_n - len(picked))):
            if zlib.crc32(row[14]) != row[13]:
                raise SpoolCorrupt(f"message {row[0]}/{row[1]}/{row[2]} changed on disk")
            if picked and row[12] > room:
                return picked
            room -= row[12]
            picked.append(_envelope(row))
    return picked


def _envelope(row: Sequence[Any]) -> Envelope:
    try:
        lane, clock_state = Lane(row[1]), ClockState(row[8])
    except ValueError as error:
        raise SpoolCorrupt(f"message {row[0]}/{row[1]}/{row[2]}: {error}") from error
    return Envelope(
        epoch=row[0],
        lane=lane,
        seq=row[2],
        schema=row[3],
        boot_id=row[5],
        t_wall_ms=row[6],
        t_mono_ms=row[7],
        clock_state=clock_state,
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


def last_alert(db: sqlite3.Connection) -> tuple[int, int]:
    """Return epoch and number of the newest alert there ever was; zeros where there was none."""
    row = db.execute(
        "SELECT epoch, next_seq - 1 FROM lane WHERE lane = ? ORDER BY epoch DESC LIMIT 1",
        (Lane.ALERT,),
    ).fetchone()
    return (row[0], row[1]) if row is not None else (int(read_meta(db, "epoch")), 0)


def alerts_after(db: sqlite3.Connection, seen: tuple[int, int], most: int) -> list[Envelope]:
    """Return alerts that wait and came after `seen` (epoch and number), in order."""
    found: list[Envelope] = []
    for epoch in epochs(db):
        after = seen[1] if epoch == seen[0] else 0
        if epoch >= seen[0] and len(found) < most:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM message WHERE epoch = ? AND lane = ? AND seq > ?"
                " ORDER BY seq LIMIT ?",
                (epoch, Lane.ALERT, after, most - len(found)),
            )
            found += [_envelope(row) for row in rows if zlib.crc32(row[14]) == row[13]]
    return found


def has_alert(db: sqlite3.Connection, key: tuple[int, int]) -> bool:
    """True where the alert of this epoch and number was not acknowledged yet."""
    row = db.execute(
        "SELECT 1 FROM message WHERE epoch = ? AND lane = ? AND seq = ?",
        (key[0], Lane.ALERT, key[1]),
    ).fetchone()
    return row is not None


def has_backfill(db: sqlite3.Connection, now: Now) -> bool:
    """True where something waits that is no longer fresh."""
    row = db.execute(
        "SELECT 1 FROM pack WHERE kept = 0 UNION ALL"
        " SELECT 1 FROM message WHERE NOT (boot_id = ? AND t_mono_ms >= ?) LIMIT 1",
        (now.boot_id, now.mono_ms - _BACKFILL_AFTER_MS),
    ).fetchone()
    return row is not None


def open_packs(db: sqlite3.Connection, now: Now, n: int) -> None:
    """Have the next `n` messages of the backlog as single rows, in the order of sending."""
    pack.open_next(db, now.mono_ms - _BACKFILL_AFTER_MS, now.boot_id, _SENDING, n)


@dataclass(slots=True)
class Settled:
    """What an answer did: messages that left, that came back, and whether a new epoch began."""

    gone: int = 0
    back: int = 0
    stated: int = 0
    renumbered: bool = False

    @property
    def is_plain(self) -> bool:
        """True where messages left and nothing else happened."""
        return not (self.back or self.stated or self.renumbered)


def settle(
    db: sqlite3.Connection,
    answer: UpAnswer,
    now: Now,
    *,
    sent: frozenset[tuple[int, str]] | None,
    keep: bool,
    audit: bool,
) -> Settled:
    """Have what central has leave, and nothing else; `keep` says whether it is kept a while.

    Only of the lanes in `sent` anything leaves: of those central compared a message with what it
    has. What it says of others may be of an earlier life of this spool (None: all were compared).

    Where central has less of a lane than it had, what is kept waits again; with `audit` this is
    looked at for every lane of the answer, number by number.

    Where central claims a number that this spool never gave, an earlier life of the spool used
    this epoch (its folder was wiped): what waits gets a new epoch, since central would take it
    for what it has. That can count twice what it has, and loses nothing. One such lane is enough to
    tell; of the others what central compared and has leaves before.
    """
    done = Settled()
    kept_ms = max(now.wall_ms, 1) if keep else 0
    lanes = {
        (ack.epoch, ack.lane): db.execute(
            "SELECT next_seq, acked_through FROM lane WHERE epoch = ? AND lane = ?",
            (ack.epoch, ack.lane),
        ).fetchone()
        for ack in answer.acks
    }
    strange = [ack for ack in answer.acks if _is_strange(ack, lanes[ack.epoch, ack.lane])]
    if strange:
        for ack in answer.acks:
            if ack not in strange and sent is not None and (ack.epoch, ack.lane) in sent:
                done.gone += _leave(db, ack, kept_ms)
        renumber(db, strange[0].epoch)
        return Settled(gone=done.gone, renumbered=True)
    for ack in answer.acks:
        row = lanes[ack.epoch, ack.lane]
        if sent is None or (ack.epoch, ack.lane) in sent:
            done.gone += _leave(db, ack, kept_ms)
        if audit or (row is not None and ack.acked_through < row[1]):
            back, stones = kept.reconcile(db, ack, now.wall_ms)
            done.back += back
            done.stated += sum(high - low + 1 for stone in stones for low, high in stone.ranges)
            bury(db, int(read_meta(db, "epoch")), now, stones)
            continue
        db.execute(
            "UPDATE lane SET acked_through = max(acked_through, ?) WHERE epoch = ? AND lane = ?",
            (ack.acked_through, ack.epoch, ack.lane),
        )
    for refused in answer.rejected:
        done.gone += kept.leave(
            db, (refused.epoch, refused.lane), refused.seq, refused.seq, kept_ms
        )
    return done


def _is_strange(ack: LaneAck, row: tuple[int, int] | None) -> bool:
    """True where central claims a number of this lane that was never given here."""
    highest = max([ack.acked_through, *(high for _, high in ack.have)])
    return row is not None and highest >= row[0]


def _leave(db: sqlite3.Connection, ack: LaneAck, kept_ms: int) -> int:
    """Have what central has of a lane leave; return how many messages."""
    ranges = [(1, ack.acked_through), *ack.have]
    return sum(kept.leave(db, (ack.epoch, ack.lane), low, high, kept_ms) for low, high in ranges)


def renumber(db: sqlite3.Connection, epoch: int) -> int:
    """Move what waits under `epoch` to a new epoch, which becomes the current one; return it."""
    fresh = int(read_meta(db, "epoch")) + 1
    write_meta(db, "epoch", str(fresh))
    for (waiting,) in db.execute(
        "SELECT id FROM pack WHERE kept = 0 AND epoch = ?", (epoch,)
    ).fetchall():
        pack.explode(db, waiting)
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


def needs_tending(db: sqlite3.Connection, forget_ms: int, *, pack_waiting: bool) -> bool:
    """True where something kept is too old or enough of it is there to be packed; cheap."""
    full = db.execute(
        "SELECT 1 FROM kept GROUP BY epoch, lane, schema HAVING count(*) >= ? LIMIT 1",
        (pack.GROUP_N,),
    ).fetchone()
    oldest = db.execute("SELECT kept_ms FROM kept ORDER BY id LIMIT 1").fetchone()
    packed = db.execute("SELECT min(kept_ms) FROM pack WHERE kept = 1").fetchone()
    ages = [row[0] for row in (oldest, packed) if row is not None and row[0] is not None]
    if full is not None or min(ages, default=forget_ms) < forget_ms:
        return True
    if not pack_waiting:
        return False
    (waiting,) = db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM message LIMIT ?)", (pack.GROUP_MIN,)
    ).fetchone()
    return waiting >= pack.GROUP_MIN


def health(db: sqlite3.Connection, quota_bytes: int, *, may_return: bool = False) -> SpoolHealth:
    """Return the spool's part of the health report; `may_return`: with the age of what is kept.

    Central takes all before `oldest_ms` to have arrived. One that was restored from a backup must
    not believe that of what it lost before it was asked what it has.
    """
    depth = dict.fromkeys(map(str, Lane), 0)
    for lane, count in db.execute(
        "SELECT lane, count(*) FROM message GROUP BY lane"
        " UNION ALL SELECT lane, sum(count) FROM pack WHERE kept = 0 GROUP BY lane"
    ):
        depth[lane] = depth.get(lane, 0) + count
    volume, kept_bytes = db.execute("SELECT bytes, kept FROM volume").fetchone()
    (kept_n,) = db.execute(
        "SELECT (SELECT count(*) FROM kept) +"
        " (SELECT coalesce(sum(count), 0) FROM pack WHERE kept = 1)"
    ).fetchone()
    return SpoolHealth(
        depth=depth,
        bytes=volume + kept_bytes,
        quota_bytes=quota_bytes,
        oldest_ms=min(
            [at for at in (_oldest_ms(db), kept.oldest_ms(db) if may_return else None) if at],
            default=None,
        ),
        evicted=int(read_meta(db, "evicted", "0")),
        epoch=int(read_meta(db, "epoch")),
        kept=kept_n,
    )


def _oldest_ms(db: sqlite3.Connection) -> int | None:
    """Return the device time of what waits longest: in each lane the smallest number is oldest."""
    (oldest,) = db.execute("SELECT min(oldest_ms) FROM pack WHERE kept = 0").fetchone()
    found = [] if oldest is None else [oldest]
    for epoch in epochs(db):
        for lane in Lane:
            row = db.execute(
                "SELECT t_wall_ms FROM message WHERE epoch = ? AND lane = ? ORDER BY seq LIMIT 1",
                (epoch, lane),
            ).fetchone()
            if row is not None:
                found.append(row[0])
    return min(found, default=None)
