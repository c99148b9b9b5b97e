"""Events and their filters in, pages out. Pure: no request, no database, no clock."""

import csv
import io
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from vedette.central.cameras import Watched
from vedette.central.clips.looking import ClipView
from vedette.central.console.page import Page
from vedette.central.console.render import render
from vedette.central.console.text import harmless
from vedette.central.events import Related
from vedette.central.exporting.holding import Hold
from vedette.central.views import EventRow
from vedette.clock import from_wall_ms


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What the events page's URL asks for; times as the browser's field writes them, UTC."""

    site: str = ""
    device: str = ""
    camera: str = ""
    kind: str = ""
    label: str = ""
    from_text: str = ""
    to_text: str = ""
    where: str = ""
    evidence: str = ""
    late: str = ""
    cursor: str = ""

    def query(self, **changes: str) -> str:
        """Return these filters as a query string, some of them changed, empty ones left out."""
        named = {
            "site": self.site,
            "device": self.device,
            "camera": self.camera,
            "kind": self.kind,
            "label": self.label,
            "from": self.from_text,
            "to": self.to_text,
            "where": self.where,
            "evidence": self.evidence,
            "late": self.late,
            "cursor": self.cursor,
        } | changes
        return urlencode({key: value for key, value in named.items() if value})


def events_html(
    events: Sequence[EventRow], filters: EventQuery, next_cursor: str | None, page: Page
) -> str:
    """Return a page of events, or its live part."""
    return render(
        "events/body.html" if page.part else "events/page.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        events=events,
        filters=filters,
        filtered=bool(filters.query(cursor="")),
        first_url=f"/events?{filters.query(cursor='')}",
        query=filters.query(cursor=""),
        next_url=f"/events?{filters.query(cursor=next_cursor)}" if next_cursor else "",
    )


def event_html(
    event: EventRow,
    page: Page,
    *,
    clip: ClipView | None = None,
    related: Related | None = None,
    watched: Watched | None = None,
    held: Hold | None = None,
    reason: str = "",
    problem: str = "",
    zones: Sequence[dict[str, object]] = (),
    lines: Sequence[dict[str, object]] = (),
) -> str:
    """Return one event's page; `reason`: what was typed for a hold that could not be."""
    record = event.evidence_json
    text = msgspec.json.format(msgspec.json.encode(record), indent=2).decode() if record else ""
    return render(
        "events/event.html",
        looker=page.looker,
        now_ms=page.now_ms,
        event=_with_record_defaults(event),
        record_text=text,
        clip=_in_words(clip),
        self_url=page.self_url,
        related=related,
        watched=watched,
        held=held,
        reason=reason,
        problem=problem,
        zones=zones,
        lines=lines,
    )


def holds_html(rows: Sequence[Hold], further: str | None, page: Page) -> str:
    """Return what is held, newest first; `further`: where the page after begins."""
    return render(
        "events/holds.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        rows=rows,
        further=f"/holds?{urlencode({'cursor': further})}" if further else "",
    )


def _in_words(clip: ClipView | None) -> ClipView | None:
    """Return the clip; one that nobody asked for and that may not leave "stays"."""
    if clip is None or clip.state != "none" or clip.leaves:
        return clip
    return msgspec.structs.replace(clip, state="stays")


_HEAD: Final = (
    "event", "at", "received", "late", "site", "device", "camera", "kind", "where", "direction",
    "label", "was", "confidence", "score", "track", "dwell_s", "latency_ms", "model", "evidence",
    "evidence_status",
)  # fmt: skip


def csv_text(events: Sequence[EventRow]) -> str:
    """Return a row for every event; an empty value was not stated, and is not 0."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_HEAD)
    for event in events:
        row = msgspec.structs.asdict(event)
        row["at"] = from_wall_ms(event.at_ms).isoformat()
        row["received"] = from_wall_ms(event.received_ms).isoformat()
        cells = ("" if row[name] is None else row[name] for name in _HEAD)
        writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in cells])
    return out.getvalue()


_RECORD: Final[dict[str, object]] = {
    "wanted_ms": None,
    "actual_ms": None,
    "shortfall": "",
    "detail": "",
    "stays_on_site": True,
    "bytes": 0,
    "codec": "",
    "picture_px": None,
    "sha256": "",
    "poster": "",
}


def _with_record_defaults(event: EventRow) -> EventRow:
    """Return the event with every field of its evidence record: older devices send fewer."""
    if event.evidence_json is None:
        return event
    return msgspec.structs.replace(event, evidence_json=_RECORD | event.evidence_json)
