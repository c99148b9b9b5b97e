"""What a channel says: a subject, a short text, a long one, and the body for programs. Pure.

What lives here: words about a notice. What does not: how a channel sends them. The rule: the first
words say what is wrong and where; a short text fits a phone's screen and is cut where it does not;
times are those of the site where an event says which it is of, else UTC; which, is said.
"""

from typing import Any, Final

import msgspec

from vedette.central.alerting import seeing
from vedette.central.alerting.channels.facts import told
from vedette.central.alerting.facts import Incident, Member, Notice, NoticeKind, Seen, Subject
from vedette.clock import from_wall_ms

TAKE: Final = "I take it"
SHORT_CHARS: Final = 400
SUBJECT_CHARS: Final = 120
MEMBERS: Final = 20
BODY_TYPE: Final = "vedette.incident"
BODY_VERSION: Final = 1

_WHY: Final = {
    NoticeKind.OPENED: "",
    NoticeKind.REPEATED: "still open: ",
    NoticeKind.ESCALATED: "escalated: ",
    NoticeKind.ACK_EXPIRED: "acknowledged, but still open: ",
    NoticeKind.GREW: "grew: ",
    NoticeKind.ACKNOWLEDGED: "acknowledged: ",
    NoticeKind.RESOLVED: "over: ",
    NoticeKind.ON_CALL: "",
    NoticeKind.TEST: "test: ",
}


def subject(notice: Notice) -> str:
    """Return one line: how bad, what, where."""
    incident = notice.incident
    place = where(incident.subject)
    # A title that names the place already is not told it again.
    at = f" ({place})" if place and place not in incident.title else ""
    line = f"[{incident.severity}] {_WHY[notice.kind]}{incident.title}{at}"
    return _cut(told(line), SUBJECT_CHARS)


def short(notice: Notice) -> str:
    """Return a text for a phone, at most `SHORT_CHARS` characters; links are never cut."""
    tail = f"\n{notice.url}" if notice.url else ""
    if notice.take_url:
        tail = f"\n{TAKE}: {notice.take_url}"
    incident = notice.incident
    said = notice.text.split("\n") if notice.text else [_seen(notice) or _when(notice)]
    parts = [subject(notice), *said]
    if notice.kind is NoticeKind.ACKNOWLEDGED and incident.ack_by:
        note = f": {incident.ack_note}" if incident.ack_note else ""
        parts.append(f"by {incident.ack_by}{note}")
    elif incident.todo and notice.kind is not NoticeKind.RESOLVED:
        parts.append(incident.todo)
    parts.append(notice.picture)
    text = "\n".join(told(part) for part in parts if part)
    if len(tail) > SHORT_CHARS // 2:
        tail = ""
    return _cut(text, SHORT_CHARS - len(tail)) + tail


def long(notice: Notice) -> str:
    """Return a text with what is known: what is wrong where, since when, what to do, the link."""
    incident = notice.incident
    if notice.kind is NoticeKind.ON_CALL:
        said = [told(line) for line in notice.text.split("\n")]
        return "\n".join([subject(notice), "", *said, "", notice.url]).strip()
    lines = [subject(notice), "", _when(notice)]
    if incident.seen is not None:
        lines.append(f"Seen: {told(seeing.sentence(incident.seen))}")
        lines += [told(notice.picture)] if notice.picture else []
    if notice.take_url:
        lines += ["", f"{TAKE}, without signing in: {notice.take_url}"]
    if incident.todo:
        lines += ["", f"To do: {told(incident.todo)}"]
    if incident.ack_by:
        note = f": {told(incident.ack_note)}" if incident.ack_note else ""
        lines += ["", f"Acknowledged by {told(incident.ack_by)}{note}"]
    if incident.members:
        lines += ["", "What:"]
        zone = _zone(incident)
        lines += [f"- {_member(member, zone)}" for member in incident.members[:MEMBERS]]
        further = len(incident.members) - MEMBERS + incident.more
        if further > 0:
            lines.append(f"- and {further} more")
    if notice.url:
        lines += ["", notice.url]
    if notice.event_url:
        what = f"The event and its clip {notice.evidence}" if notice.evidence else "The event"
        lines += ["", f"{told(what)}: {notice.event_url}"]
    lines += ["", f"Incident {incident.incident}, rule {told(incident.rule)}"]
    return "\n".join(lines)


def where(subject: Subject) -> str:
    """Return a place in words, the widest first; empty where it is about more than one."""
    parts = (subject.site, subject.device, subject.camera, subject.place, subject.what)
    return told(" / ".join(part for part in parts if part))


def body(notice: Notice, delivery: str) -> dict[str, Any]:
    """Return the documented JSON for programs (docs/channels.md); new fields may join it."""
    incident = notice.incident
    return {
        "type": f"{BODY_TYPE}.{notice.kind}",
        "version": BODY_VERSION,
        "id": delivery,
        "timestamp": iso(notice.due_ms),
        "data": {
            "kind": str(notice.kind),
            "subject": subject(notice),
            "text": short(notice),
            "to": notice.address,
            "person": notice.person,
            "url": notice.url,
            "event": notice.event,
            "event_url": notice.event_url,
            "evidence": notice.evidence,
            "picture": notice.picture,
            "picture_url": notice.picture_url,
            "take_url": notice.take_url,
            "incident": _incident(incident),
        },
    }


def encoded(notice: Notice, delivery: str) -> bytes:
    """Return the body as JSON: the same bytes at each try, so that its signature can be too."""
    return msgspec.json.encode(body(notice, delivery))


def iso(ms: int) -> str:
    """Return a time as RFC 3339 has it, in UTC, to the millisecond."""
    return from_wall_ms(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.incident,
        "rule": incident.rule,
        "severity": str(incident.severity),
        "state": str(incident.state),
        "title": incident.title,
        "todo": incident.todo,
        "where": msgspec.structs.asdict(incident.subject),
        "opened": iso(incident.opened_ms),
        "known": iso(incident.known_ms),
        "resolved": None if incident.resolved_ms is None else iso(incident.resolved_ms),
        "resolved_why": incident.resolved_why,
        "acknowledged_by": incident.ack_by,
        "late_only": incident.late_only,
        "count": incident.count,
        "seen": None if incident.seen is None else _event(incident.seen),
        "members": [
            {
                "where": msgspec.structs.asdict(member.subject),
                "began": iso(member.began_ms),
                "ended": None if member.ended_ms is None else iso(member.ended_ms),
                "count": member.count,
                "text": member.text,
            }
            for member in incident.members[:MEMBERS]
        ],
        "more_members": max(0, len(incident.members) - MEMBERS) + incident.more,
    }


def _event(seen: Seen) -> dict[str, Any]:
    return {
        "event": seen.event,
        "evidence": seen.evidence,
        "kind": seen.kind,
        "at": iso(seen.at_ms),
        "where": msgspec.structs.asdict(seen.subject),
        "label": seen.label,
        "confidence": seen.confidence,
        "site_name": seen.site_name,
        "time_zone": seen.time_zone,
        "text": told(seeing.sentence(seen)),
    }


def _seen(notice: Notice) -> str:
    """Return what was seen, for a text that asks somebody to do something; else nothing."""
    seen = notice.incident.seen
    if seen is None or notice.kind in {NoticeKind.RESOLVED, NoticeKind.ACKNOWLEDGED}:
        return ""
    count = notice.incident.count
    return seeing.sentence(seen) + (f" ({count} times)" if count > 1 else "")


def _zone(incident: Incident) -> str:
    return incident.seen.time_zone if incident.seen else "UTC"


def _when(notice: Notice) -> str:
    incident = notice.incident
    since = f"since {seeing.local(incident.opened_ms, _zone(incident))}"
    if incident.resolved_ms is not None:
        lasted = _span(max(0, incident.resolved_ms - incident.opened_ms) // 1000)
        why = f" ({told(incident.resolved_why)})" if incident.resolved_why else ""
        return f"{since}, lasted {lasted}{why}"
    several = incident.count if incident.count > 1 else 0
    return since + (f", {several} times" if several else "")


def _member(member: Member, zone: str) -> str:
    text = f"{where(member.subject)}: {told(member.text)}" if member.text else where(member.subject)
    over = "" if member.ended_ms is None else f", over at {seeing.local(member.ended_ms, zone)}"
    return f"{text} (since {seeing.local(member.began_ms, zone)}{over})"


def _span(seconds: int) -> str:
    """Return a length of time in its two largest units."""
    units = ((seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"))
    parts = [f"{count} {unit}" for count, unit in units if count][:2]
    return " ".join(parts) or f"{seconds} s"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
