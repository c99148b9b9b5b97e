"""The audit log in, its page out. Pure: no request, no database, no clock."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

import msgspec

from vedette.central.audit import Check, Entry, Filters
from vedette.central.console.settings.frame import Frame, framed
from vedette.central.console.text import iso_text


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What the page's address asks for; times as the browser's field writes them, UTC."""

    who: str = ""
    what: str = ""
    target: str = ""
    from_text: str = ""
    to_text: str = ""
    below: str = ""

    def filters(self) -> Filters:
        """Return what is asked of the log."""
        return Filters(
            actor=self.who,
            action=self.what,
            target=self.target,
            from_ms=field_ms(self.from_text),
            to_ms=field_ms(self.to_text),
        )

    def below_number(self) -> int | None:
        """Return below which entry the page begins."""
        return int(self.below) if self.below.isdecimal() and len(self.below) < 18 else None

    def address(self, **changes: str) -> str:
        """Return these filters as a query string, some of them changed, empty ones left out."""
        named = {
            "who": self.who,
            "what": self.what,
            "target": self.target,
            "from": self.from_text,
            "to": self.to_text,
        } | changes
        return urlencode({key: value for key, value in named.items() if value})


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as it is shown."""

    number: int
    at_ms: int
    actor: str
    action: str
    target: str
    said: list[tuple[str, str]]


def field_ms(text: str) -> int | None:
    """Return the moment of a `datetime-local` field, read as UTC; None where it is not one."""
    try:
        return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def iso(ms: int) -> str:
    """Return a moment as ISO 8601."""
    return iso_text(ms)


def audit_html(
    frame: Frame,
    query: LogQuery,
    entries: Sequence[Entry],
    checked: Check | None,
    *,
    has_more: bool,
) -> str:
    """Return a page of the audit log."""
    following = query.address(below=str(entries[-1].number)) if has_more and entries else ""
    return framed(
        "audit",
        frame,
        "audit",
        query=query,
        lines=[line_of(entry) for entry in entries],
        checked=checked,
        filtered=bool(query.address()),
        export=query.address(),
        first_url=f"/settings/audit?{query.address()}",
        next_url=f"/settings/audit?{following}" if following else "",
    )


def line_of(entry: Entry) -> Line:
    """Return an entry as it is shown; its detail cut to what can be read."""
    try:
        detail = msgspec.json.decode(entry.detail, type=dict[str, object])
    except msgspec.DecodeError:
        detail = {"detail": entry.detail.decode(errors="replace")}
    return Line(
        number=entry.number,
        at_ms=entry.at_ms,
        actor=entry.actor[:128],
        action=entry.action[:64],
        target=entry.target[:200],
        said=[(key[:40], _text(value)) for key, value in list(detail.items())[:12]],
    )


def _text(value: object) -> str:
    said = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return said if len(said) <= 200 else f"{said[:199]}…"
