"""Events as people look at them: pages, filters, and what became of the evidence."""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.store.db import Database, Tx
from vedette.central.views import EventRow
from vedette.wire.messages import EventReport, EvidenceRecord

Scope = Sequence[str] | None
Key = tuple[int, str, str]

MAX_ROWS: Final = 1_001
MAX_EXPORT: Final = 20_000
EVIDENCE: Final = ("", "any", "none", "waiting", "on_site", "here", "refused", "failed")
"""How the evidence of an event may stand, to filter by."""

NEAR_MS: Final = 600_000
BESIDE_MS: Final = 60_000
_RELATED: Final = 12
_FOREVER_MS: Final = 2**53
_event = msgspec.msgpack.Decoder(EventReport)
_evidence = msgspec.msgpack.Decoder(EvidenceRecord)


class EventFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; empty fields ask for all.

    Attributes:
        where: The zone's or line's name.
        evidence: One of `EVIDENCE`.
        late: Only those that had waited on the device.
    """

    site: str = ""
    device: str = ""
    camera: str = ""
    kind: str = ""
    label: str = ""
    from_ms: int | None = None
    to_ms: int | None = None
    where: str = ""
    evidence: str = ""
    late: bool = False


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
    clip_here: bool = False
    poster: str = ""


async def events_page(
    db: Database, filters: EventFilters, after: Key | None, limit: int, scope: Scope
) -> list[EventRow]:
    """Return at most `limit` events, newest first, after one of this `key_of` (None: from it)."""
    async with db.transaction() as tx:
        return await read_page(tx, filters, after, limit, scope)


def key_of(row: EventRow) -> Key:
    """Return where an event stands among others; devices may give theirs the same name."""
    return row.at_ms, row.event, row.device


async def read_page(
    tx: Tx, filters: EventFilters, after: Key | None, limit: int, scope: Scope
) -> list[EventRow]:
    """As `events_page`, in a transaction that is open already."""
    cursor_ms, cursor_event, cursor_device = after or (_FOREVER_MS, "", "")
    rows = await tx.all(
        "look_events",
        _Row,
        scope=None if scope is None else list(scope),
        site=_clean(filters.site),
        device=_clean(filters.device),
        camera=_clean(filters.camera),
        kind=_clean(filters.kind),
        label=_clean(filters.label),
        where=_clean(filters.where),
        evidence=filters.evidence if filters.evidence in EVIDENCE else "",
        late=filters.late,
        from_ms=_bounded(filters.from_ms, 0),
        to_ms=_bounded(filters.to_ms, _FOREVER_MS),
        cursor_ms=cursor_ms,
        cursor_event=cursor_event,
        cursor_device=cursor_device,
        limit=max(1, min(limit, MAX_ROWS)),
    )
    return [_view(row, with_json=False) for row in rows]


async def of_incident(
    tx: Tx, incident: str, after: Key | None, limit: int, scope: Scope
) -> list[EventRow]:
    """Return the events of an incident, newest first, after one of this `key_of`."""
    cursor_ms, cursor_event, cursor_device = after or (_FOREVER_MS, "", "")
    rows = await tx.all(
        "incident_events_page",
        _Row,
        incident=incident,
        scope=None if scope is None else list(scope),
        cursor_ms=cursor_ms,
        cursor_event=cursor_event,
        cursor_device=cursor_device,
        limit=max(1, min(limit, MAX_ROWS)),
    )
    return [_view(row, with_json=False) for row in rows]


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
        evidence_status=_status(report.evidence, row.evidence_status, here=row.clip_here),
        has_poster=bool(row.poster),
        poster=row.poster,
        evidence_json=record,
        score=report.score,
        was=report.was,
    )


def _status(evidence: str, status: str | None, *, here: bool) -> str:
    """Return in one word where the evidence is."""
    if not evidence or here:
        return "here" if here else ""
    if status is None:
        return "waiting"
    return "on_site" if status == "complete" else status


class Related(msgspec.Struct, frozen=True, kw_only=True):
    """Events that may belong to one, newest first.

    Attributes:
        track: Of the same track, in the same camera, within ten minutes.
        camera: The others of that camera then.
        site: Of the site's other cameras within a minute.
    """

    track: list[EventRow]
    camera: list[EventRow]
    site: list[EventRow]


async def related(db: Database, of: EventRow, scope: Scope) -> Related:
    """Return what else was seen about that time."""
    near = EventFilters(
        device=of.device,
        camera=of.camera,
        from_ms=of.at_ms - NEAR_MS,
        to_ms=of.at_ms + NEAR_MS + 1,
    )
    beside = EventFilters(
        site=of.site, from_ms=of.at_ms - BESIDE_MS, to_ms=of.at_ms + BESIDE_MS + 1
    )
    async with db.transaction() as tx:
        same = await read_page(tx, near, None, 200, scope)
        others = await read_page(tx, beside, None, 200, scope)
    same = [row for row in same if row.event != of.event]
    track = [row for row in same if of.track is not None and row.track == of.track]
    place = (of.device, of.camera)
    return Related(
        track=track[:_RELATED],
        camera=[row for row in same if row not in track][:_RELATED],
        site=[row for row in others if (row.device, row.camera) != place][:_RELATED],
    )


async def every(db: Database, filters: EventFilters, scope: Scope) -> list[EventRow]:
    """Return all events that the filters leave, newest first, `MAX_EXPORT` at most."""
    found: list[EventRow] = []
    while len(found) < MAX_EXPORT:
        after = key_of(found[-1]) if found else None
        rows = await events_page(db, filters, after, MAX_ROWS, scope)
        found += rows
        if len(rows) < MAX_ROWS:
            break
    return found[:MAX_EXPORT]
