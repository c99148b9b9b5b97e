"""How central itself is: how large things are, how old, what its jobs did, what is wrong with it.

Reading is here, and `complaints`, which is pure and decides what a person has to do. The jobs
themselves are `central.jobs`. The rule: what is not known is None and said so, never zero.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from vedette.central import audit
from vedette.central.audit import Check
from vedette.central.settings import Retention
from vedette.central.store.db import Database, Tx
from vedette.clock import NS_PER_S, Clock
from vedette.errors import StoreError
from vedette.wire.streams import STREAMS

DAY_MS: Final = 86_400_000
GROWTH_DAYS: Final = 7
BACKUP_OLD_MS: Final = 7 * DAY_MS
JOB_LATE_MS: Final = 15 * 60_000
HOURLY_LATE_MS: Final = 3 * 3_600_000
HOURLY: Final = ("retention", "audit chain", "sizes")
LITTLE_DISK: Final = 0.1
_MANY_WAITING: Final = 50_000
_MERGE_LATE_MS: Final = 2 * 3_600_000


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """Tables that are kept together: what they are, and which entry says for how long.

    Attributes:
        days: For how long; None: for ever.
        entry: The entry of the configuration; empty: it is fixed.
    """

    name: str
    title: str
    tables: str
    days: int | None = None
    entry: str = ""
    note: str = ""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A family as it is now.

    Attributes:
        rows: About how many; None: PostgreSQL has not counted all of these tables yet.
        oldest_ms: Of the oldest that is kept; None: there is nothing, or it is not looked for.
        growth_bytes: A day, over the last week; None: too little is known.
    """

    family: Family
    bytes: int
    rows: int | None
    oldest_ms: int | None
    growth_bytes: float | None


class Partitions(msgspec.Struct, frozen=True, kw_only=True):
    """The daily partitions of raw messages kept for some days.

    Attributes:
        stray_bytes: In the catch-all: messages for a day that had no partition.
    """

    keep_days: int
    count: int
    first_day: str
    last_day: str
    stray_bytes: int


class JobRun(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a job last."""

    job: str
    ended_ms: int | None
    took_ms: int
    failed_ms: int | None
    why: str


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Central as it is now.

    Attributes:
        uptime_s: Of this process; None: not known.
        waiting: Messages that were received and are not committed yet, in this process.
        contact_ms: When a device was heard from last; None: never.
        unmerged_since_ms: When the oldest hour that waits to be merged was changed.
        disk_free: Share of the state directory's disk that is free; None: not known.
        backup_ms: When a backup was made last, as far as this database knows.
        tomorrow: True where every kind of raw message has a partition for tomorrow.
        is_open: True where it is reached by plain HTTP from other machines.
    """

    at_ms: int
    version: str
    uptime_s: float | None
    database: str
    database_bytes: int
    connections: int
    taken: int
    waiting: int
    contact_ms: int | None
    unmerged: int
    unmerged_since_ms: int | None
    disk_free: float | None
    disk_free_bytes: int | None
    backup_ms: int | None
    backup_bytes: int
    jobs: list[JobRun]
    partitions: list[Partitions]
    tomorrow: bool
    clock_held_ms: int | None
    chain: Check | None
    is_open: bool


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong with central, how bad it is, and what to do."""

    state: Literal["down", "degraded"]
    what: str
    do: str


def families(retention: Retention) -> list[Family]:
    """Return the tables that grow, each with how long it is kept and where that is set."""
    raw = sorted({row.retention_days for row in STREAMS})
    events = next(row.retention_days for row in STREAMS if row.schema == "event.v1")
    made = [
        Family(
            name=f"raw-{days}",
            title=f"Raw messages, {days} days",
            tables=rf"reports_{days}_.*",
            days=days,
            note="as the table of message kinds says",
        )
        for days in raw
    ]
    days = retention.days_days
    made += [
        Family(name="minutes", title="Minutes", tables="rollup_minute",
               days=retention.minutes_days, entry="retention.minutes_days"),
        Family(name="hours", title="Hours", tables="rollup_hour",
               days=retention.hours_days, entry="retention.hours_days"),
        Family(name="days", title="Days", tables="rollup_day",
               days=days, entry="retention.days_days"),
        Family(name="coverage", title="Coverage", tables="coverage_.*|camera_states",
               days=days, entry="retention.days_days",
               note="claims are joined after two days; causes and times stay"),
        Family(name="metrics", title="Numbers laid out for questions", tables="metric_.*|sketch_.*",
               days=days, entry="retention.days_days"),
        Family(name="events", title="Events", tables="events", days=events,
               note="as the table of message kinds says"),
        Family(name="evidence", title="Descriptions of evidence", tables="evidence", days=events,
               note="as the table of message kinds says"),
        Family(name="pictures", title="Thumbnails, logs and findings", tables="requests",
               days=max(retention.thumbnails_days, retention.diagnostics_days),
               entry="retention.thumbnails_days, retention.diagnostics_days"),
        Family(name="audit", title="Audit log", tables="audit_log", note="kept for ever"),
    ]  # fmt: skip
    return [*made, Family(name="rest", title="Everything else", tables=".*", note="does not grow")]


def family_of(table: str, known: Sequence[Family]) -> str:
    """Return to which family a table belongs: the first that names it."""
    return next(one.name for one in known if re.fullmatch(one.tables, table))


# -------------------------------------------------------------------------------------- reading


class _Size(msgspec.Struct, frozen=True, kw_only=True):
    relation: str
    bytes: int
    rows: int | None


class _Day(msgspec.Struct, frozen=True, kw_only=True):
    family: str
    day_ms: int
    bytes: int


async def kept(tx: Tx, retention: Retention, now_ms: int) -> list[Kept]:
    """Return every family with its size, its age and its growth."""
    known = families(retention)
    sizes = await tx.all("relation_sizes", _Size)
    oldest = {str(name): int(ms) for name, ms in await tx.tuples("oldest_kept")}
    partitions = await _partitions(tx, sizes)
    oldest |= {f"raw-{one.keep_days}": _day_ms(one.first_day) for one in partitions}
    then = {row.family: row for row in await tx.all(
        "table_sizes_first", _Day, since_ms=now_ms - GROWTH_DAYS * DAY_MS)}  # fmt: skip
    found: list[Kept] = []
    for family in known:
        mine = [row for row in sizes if family_of(row.relation, known) == family.name]
        size = sum(row.bytes for row in mine)
        found.append(
            Kept(
                family=family,
                bytes=size,
                rows=_sum([row.rows for row in mine]),
                oldest_ms=oldest.get(family.name),
                growth_bytes=_growth(size, then.get(family.name), now_ms),
            )
        )
    return found


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _growth(size: int, then: _Day | None, now_ms: int) -> float | None:
    """Return bytes a day since then; None where then is less than half a day ago."""
    if then is None or now_ms - then.day_ms < DAY_MS // 2:
        return None
    return (size - then.bytes) * DAY_MS / (now_ms - then.day_ms)


def _day_ms(day: str) -> int | None:
    return (
        round(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000) if day else None
    )


async def note_sizes(db: Database, retention: Retention, now_ms: int) -> None:
    """Remember how large each family is today: the first look of each day stays."""
    async with db.transaction() as tx:
        known = families(retention)
        sums: dict[str, int] = {one.name: 0 for one in known}
        for row in await tx.all("relation_sizes", _Size):
            sums[family_of(row.relation, known)] += row.bytes
        rows = [{"day_ms": now_ms, "family": name, "bytes": size} for name, size in sums.items()]
        last = await tx.value("table_sizes_last")
        if not isinstance(last, int) or now_ms - last >= DAY_MS:
            await tx.many("table_sizes_put", rows)
            await tx.run("table_sizes_expire", before_ms=now_ms - 90 * DAY_MS)


_PARTITION: Final = re.compile(r"reports_(\d+)_(\d{8}|other)")


async def partitions(tx: Tx) -> list[Partitions]:
    """Return the state of the daily partitions."""
    return await _partitions(tx, await tx.all("relation_sizes", _Size))


async def _partitions(tx: Tx, sizes: Sequence[_Size]) -> list[Partitions]:
    days: dict[int, list[str]] = {}
    stray: dict[int, int] = {}
    for row in sizes:
        found = _PARTITION.fullmatch(row.relation)
        if found is None:
            continue
        keep = int(found[1])
        if found[2] == "other":
            full = await tx.value(f"stray_{keep}") if keep in {7, 90} else None
            stray[keep] = row.bytes if full else 0
        else:
            days.setdefault(keep, []).append(
                datetime.strptime(found[2], "%Y%m%d").replace(tzinfo=UTC).date().isoformat()
            )
    return [
        Partitions(
            keep_days=keep,
            count=len(found),
            first_day=min(found),
            last_day=max(found),
            stray_bytes=stray.get(keep, 0),
        )
        for keep, found in sorted(days.items())
    ]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What this process knows without its database."""

    version: str
    uptime_s: float | None
    taken: int
    waiting: int
    disk_free: float | None
    disk_free_bytes: int | None
    clock_held_ms: int | None
    is_open: bool


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    database: str
    database_bytes: int
    connections: int
    contact_ms: int | None
    unmerged: int
    unmerged_since_ms: int | None
    backup_ms: int | None
    backup_bytes: int


async def condition(tx: Tx, machine: Machine, now_ms: int) -> Condition:
    """Return central as it is now."""
    facts = await tx.one("central_facts", _Facts, now_ms=now_ms)
    assert facts is not None, "one row"
    parts = await partitions(tx)
    tomorrow = datetime.fromtimestamp(now_ms / 1000, UTC).date() + timedelta(days=1)
    return Condition(
        at_ms=now_ms,
        jobs=await tx.all("job_runs_all", JobRun),
        partitions=parts,
        tomorrow=bool(parts) and all(one.last_day >= tomorrow.isoformat() for one in parts),
        chain=await audit.last_check(tx),
        **msgspec.structs.asdict(machine),
        **msgspec.structs.asdict(facts),
    )


# ------------------------------------------------------------------------------------- deciding


def complaints(now: Condition) -> list[Complaint]:
    """Return what is wrong, worst first."""
    found: list[Complaint] = []

    def down(what: str, do: str) -> None:
        found.append(Complaint(state="down", what=what, do=do))

    def degraded(what: str, do: str) -> None:
        found.append(Complaint(state="degraded", what=what, do=do))

    if now.chain and now.chain.broken is not None:
        down(
            f"The audit log does not follow from entry {now.chain.broken} on",
            "Somebody changed the database by hand: compare with a backup, and find out who.",
        )
    if now.disk_free is not None and now.disk_free < LITTLE_DISK:
        down(
            "The disk of the state directory is nearly full",
            "Make room, or move state_dir: without it central takes nothing in.",
        )
    if now.clock_held_ms is not None:
        degraded(
            f"The server's clock jumped by {abs(now.clock_held_ms) / 1000:.0f} s: not followed",
            "Set the clock right; see GET /v1/clock.",
        )
    if now.waiting > _MANY_WAITING:
        degraded("Many messages wait to be committed", "Look at the database's load and disk.")
    if now.unmerged_since_ms is not None and now.at_ms - now.unmerged_since_ms > _MERGE_LATE_MS:
        degraded("Hours wait to be merged", "Numbers stay right but slow: look at the jobs below.")
    for job in now.jobs:
        if job.failed_ms is not None and job.failed_ms > (job.ended_ms or 0):
            degraded(f"The job “{job.job}” failed", job.why[:200] or "See central's log.")
        elif job.ended_ms and now.at_ms - job.ended_ms > _late_ms(job.job):
            degraded(f"The job “{job.job}” did not run", "Restart central; see its log.")
    if not now.tomorrow:
        degraded("Raw messages have no partition for tomorrow", "See the job “partitions” below.")
    strays = sum(one.stray_bytes for one in now.partitions)
    if strays:
        degraded("Some raw messages lie in no day's partition", "They are kept and not dropped.")
    if now.backup_ms is None:
        degraded("No backup was ever made", "vedette central backup FILE, and keep it elsewhere.")
    elif now.at_ms - now.backup_ms > BACKUP_OLD_MS:
        degraded("The last backup is older than a week", "vedette central backup FILE")
    if now.is_open:
        degraded(
            "People and devices reach central by plain HTTP",
            "Put TLS before it, or set tls_certificate: cookies and tokens can be read on the way.",
        )
    return sorted(found, key=lambda one: one.state != "down")


def _late_ms(job: str) -> int:
    return HOURLY_LATE_MS if job in HOURLY else JOB_LATE_MS


# ----------------------------------------------------------------------------------- remembering


class Runs:
    """What became of each job; kept in memory until `keep` writes it down. Thread: one."""

    def __init__(self, clock: Clock, now_ms: int) -> None:
        """Prepare; `clock` tells how long things take, `now_ms` is the time by central's clock."""
        self._clock = clock
        self._began_ns = clock.mono_ns()
        self._began_ms = now_ms
        self._done: dict[str, Mapping[str, object]] = {}
        self.failed: StoreError | None = None

    @contextlib.asynccontextmanager
    async def of(self, job: str) -> AsyncIterator[None]:
        """Note whether what is done inside ends well, and how long it takes.

        A failure goes no further: what cannot be merged must not keep what is old for ever. The
        first one stays in `failed`.
        """
        began_ns = self._clock.mono_ns()
        try:
            yield
        except StoreError as error:
            self._done[job] = self._row(job, began_ns, str(error)[:300])
            self.failed = self.failed or error
        else:
            self._done[job] = self._row(job, began_ns, None)

    def _row(self, job: str, began_ns: int, why: str | None) -> Mapping[str, object]:
        mono_ns = self._clock.mono_ns()
        now_ms = self._began_ms + (mono_ns - self._began_ns) * 1000 // NS_PER_S
        return {
            "job": job,
            "ended_ms": None if why is not None else now_ms,
            "took_ms": (mono_ns - began_ns) * 1000 // NS_PER_S,
            "failed_ms": None if why is None else now_ms,
            "why": why or "",
        }

    async def keep(self, db: Database) -> None:
        """Write down what was noted; where the database does not answer, it is noted again."""
        rows = list(self._done.values())
        with contextlib.suppress(StoreError):
            async with db.transaction() as tx:
                await tx.many("job_run_put", rows)
            self._done.clear()
