"""Events as people look at them: pages, filters, and what became of the evidence."""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.store.db import Database, Tx
from vedette.central.views import EventRow
from vedette.wire.messages import EventReport, EvidenceRecord

Scope = Sequence[str] | None

MAX_PAGE: Final = 500
_FOREVER_MS: Final = 2**53
_event = msgspec.msgpack.Decoder(EventReport)
_evidence = msgspec.msgpack.Decoder(EvidenceRecord)


class EventFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; empty fields ask for all."""

    site: str = ""
    device: str = ""
    camera: str = ""
    kind: str = ""
    label: str = ""
    from_ms: int | None = None
    to_ms: int | None = None


class EventsPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page, newest first; `next_cursor` is empty on the last."""

    rows: list[EventRow]
    next_cursor: str = ""


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    event: str
    site: str
    camera: str
    at_ms: int
    received_ms: int
    late: bool
    body: bytes
    evidence_status: str | None
    evidence_stays: bool | None
    evidence_body: bytes | None


async def events_page(
    db: Database, filters: EventFilters, cursor: str, limit: int, scope: Scope
) -> EventsPage:
    """Return one page of events after `cursor` (empty: the newest)."""
    async with db.transaction() as tx:
        return await read_page(tx, filters, cursor, limit, scope)


async def read_page(
    tx: Tx, filters: EventFilters, cursor: str, limit: int, scope: Scope
) -> EventsPage:
    """As `events_page`, in a transaction that is open already."""
    at_text, _, event = cursor.replace("\0", "").partition(".")
    cursor_ms = int(at_text) if at_text.isdigit() and len(at_text) < 17 else _FOREVER_MS
    limit = max(1, min(limit, MAX_PAGE))
    rows = await tx.all(
        "look_events",
        _Row,
        scope=None if scope is None else list(scope),
        site=_clean(filters.site),
        device=_clean(filters.device),
        camera=_clean(filters.camera),
        kind=_clean(filters.kind),
        label=_clean(filters.label),
        from_ms=_bounded(filters.from_ms, 0),
        to_ms=_bounded(filters.to_ms, _FOREVER_MS),
        cursor_ms=cursor_ms,
        cursor_event=event or "\U0010ffff",
        limit=limit + 1,
    )
    more = len(rows) > limit
    found = [_view(row, with_json=False) for row in rows[:limit]]
    last = found[-1] if more else None
    return EventsPage(rows=found, next_cursor=f"{last.at_ms}.{last.event}" if last else "")


async def event(db: Database, event_id: str, scope: Scope) -> EventRow | None:
    """Return one event with its evidence record; None where it is not there or not in scope."""
    async with db.transaction() as tx:
        row = await tx.one(
            "look_event",
            _Row,
            event=_clean(event_id),
            scope=None if scope is None else list(scope),
        )
    return _view(row, with_json=True) if row else None


def _clean(text: str) -> str:
    return text.replace("\0", "")[:128]


def _bounded(value: int | None, default: int) -> int:
    return default if value is None else max(0, min(value, _FOREVER_MS))


def _view(row: _Row, *, with_json: bool) -> EventRow:
    report = _event.decode(row.body)
    record = None
    if with_json and row.evidence_body is not None:
        record = msgspec.to_builtins(_evidence.decode(row.evidence_body))
    return EventRow(
        event=row.event,
        camera=row.camera,
        device=row.device,
        site=row.site,
        kind=str(report.kind),
        at_ms=row.at_ms,
        received_ms=row.received_ms,
        late=row.late,
        where=report.where,
        direction=report.direction,
        label=report.label,
        confidence=report.confidence,
        track=report.track,
        dwell_s=report.dwell_s,
        boxes=report.boxes,
        picture_px=report.picture_px,
        latency_ms=report.latency_ms,
        model=report.model,
        evidence=report.evidence,
        evidence_status=_status(report.evidence, row.evidence_status),
        evidence_json=record,
        score=report.score,
        was=report.was,
    )


def _status(evidence: str, status: str | None) -> str:
    """Return in one word where the evidence is: it never leaves the site in this version."""
    if not evidence:
        return ""
    if status is None:
        return "waiting"
    return "on_site" if status == "complete" else status
