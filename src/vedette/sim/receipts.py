"""What central really has, read from its database rather than from what it says.

Only reads. The tables are those of `central.store`; the meaning of what is read, and every
judgement, is in `sim.checker`.
"""

import zlib
from collections import Counter
from typing import LiteralString

import psycopg

from vedette.errors import StoreError
from vedette.sim.checker import Committed, Receipt
from vedette.wire import codec
from vedette.wire.messages import Aggregate, CoverageReport


def read_committed(database_url: str, device: str) -> Committed:
    """Return everything that central has of one device.

    Raises:
        StoreError: The database does not answer.
    """
    try:
        with psycopg.connect(database_url, connect_timeout=10) as db:
            return committed(db, device)
    except psycopg.Error as error:
        raise StoreError(f"cannot read central's database: {error}") from error


def read_observed(database_url: str, device: str) -> dict[str, list[tuple[int, int]]]:
    """Return, by camera, what committed reports called observed, by central's clock.

    Raises:
        StoreError: The database does not answer.
    """
    try:
        with psycopg.connect(database_url, connect_timeout=10) as db:
            return observed(db, device)
    except psycopg.Error as error:
        raise StoreError(f"cannot read central's database: {error}") from error


def count_dark(database_url: str) -> int:
    """Return how often any device was called dark.

    Raises:
        StoreError: The database does not answer.
    """
    try:
        with psycopg.connect(database_url, connect_timeout=10) as db:
            row = db.execute(
                "SELECT count(*) FROM device_transitions WHERE state = 'dark'"
            ).fetchone()
    except psycopg.Error as error:
        raise StoreError(f"cannot read central's database: {error}") from error
    return int(row[0]) if row else 0


def observed(
    db: psycopg.Connection[tuple[object, ...]], device: str
) -> dict[str, list[tuple[int, int]]]:
    """Return the same over an open connection."""
    found: dict[str, list[tuple[int, int]]] = {}
    rows = _rows(
        db,
        "SELECT schema, body, made_ms - t_wall_ms FROM reports"
        " WHERE device = %s AND outcome = 'accepted'"
        " AND schema IN ('aggregate.v1', 'coverage.v1')",
        device,
    )
    for schema, body, shift_ms in rows:
        kind = Aggregate if schema == "aggregate.v1" else CoverageReport
        report = codec.decode(bytes(body), kind)
        spans = [
            (span.start_ms + shift_ms, span.end_ms + shift_ms)
            for span in report.spans
            if span.cause is None
        ]
        found.setdefault(report.camera, []).extend(spans)
    return found


def _rows(
    db: psycopg.Connection[tuple[object, ...]], query: LiteralString, device: str
) -> list[tuple]:
    return db.execute(query, (device,)).fetchall()


def committed(db: psycopg.Connection[tuple[object, ...]], device: str) -> Committed:
    """Return everything that central has of one device, over an open connection."""
    receipts: list[Receipt] = []
    sent: Counter[str] = Counter()
    rows = _rows(
        db, "SELECT epoch, lane, seq, schema, body, outcome FROM reports WHERE device = %s", device
    )
    for epoch, lane, seq, schema, body, outcome in rows:
        data = bytes(body)
        receipts.append(Receipt((epoch, lane, seq), schema, zlib.crc32(data), outcome))
        if schema == "aggregate.v1" and outcome == "accepted":
            report = codec.decode(data, Aggregate)
            sent[report.camera] += report.frames.captured
    settled = {
        (epoch, lane): (through, list(zip(have[::2], have[1::2], strict=True)))
        for epoch, lane, through, have in _rows(
            db, "SELECT epoch, lane, acked_through, have FROM lanes WHERE device = %s", device
        )
    }
    events = [row[0] for row in _rows(db, "SELECT event FROM events WHERE device = %s", device)]
    counted: Counter[str] = Counter()
    for camera, body in _rows(
        db, "SELECT camera, body FROM rollup_minute WHERE device = %s", device
    ):
        counted[camera] += codec.decode(bytes(body), Aggregate).frames.captured
    return Committed(
        device=device,
        receipts=receipts,
        settled=settled,
        events=events,
        captured_sent=dict(sent),
        captured_counted=dict(counted),
    )
