"""What was seen, in words, and which event is the proof of an incident. Pure.

What lives here: the event that notices carry, and one sentence about it in the time of its site.
What does not: pictures (`picturing`), how a channel sends (`channels`). The rule: nothing is said
that the device did not say; how sure a model was is said as it said it.
"""

from typing import Final, TypedDict

from vedette.central import hours
from vedette.central.alerting.facts import Incident, Seen, Signal
from vedette.central.alerting.places import Places
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError
from vedette.wire.messages import EventKind

_DID: Final[dict[str, str]] = {
    EventKind.PRESENCE: "{who} present{at}",
    EventKind.LINE_CROSSED: "{who} crossed {place}",
    EventKind.ZONE_ENTERED: "{who} entered {place}",
    EventKind.ZONE_LEFT: "{who} left {place}",
    EventKind.DWELL: "{who} stayed{at}",
    EventKind.TAMPER: "the camera was tampered with",
    EventKind.LOITER: "{who} loitered{at}",
    EventKind.HEADING: "{who} moved in the watched direction{at}",
    EventKind.PICKED: "{who} taken{at}",
    EventKind.PLACED: "{who} put down{at}",
    EventKind.SHELF_CHANGED: "something was taken or put{at}",
    EventKind.CLASS_CHANGED: "became {who}{at}",
    EventKind.ANOMALY: "unlike what it should look like{at}",
}


def newer(known: Seen | None, signal: Signal, places: Places) -> Seen:
    """Return which event stands for an incident once `signal` came: the newest with a clip."""
    if known is not None:
        is_old = signal.late or signal.at_ms < known.at_ms
        if is_old or (known.evidence and not signal.evidence):
            return known
    site = places.sites.get(signal.subject.site)
    return Seen(
        event=signal.event,
        evidence=signal.evidence,
        kind=signal.kind,
        at_ms=signal.at_ms,
        subject=signal.subject,
        label=signal.label,
        confidence=signal.confidence,
        site_name=site.name if site else "",
        time_zone=site.time_zone if site else "UTC",
    )


class Proof(TypedDict, total=False):
    """The fields of a notice that name its proof."""

    event: str
    evidence: str


def proof(incident: Incident) -> Proof:
    """Return what a notice names as the proof of its incident; empty: it is about no event."""
    seen = incident.seen
    return {"event": seen.event, "evidence": seen.evidence} if seen else {}


def sentence(seen: Seen) -> str:
    """Return what was seen, when and where, and how sure that is."""
    subject = seen.subject
    said = {
        "who": seen.label or "something",
        "place": subject.place or "the picture",
        "at": f" at {subject.place}" if subject.place else "",
    }
    known = _DID.get(seen.kind)
    did = known.format(**said) if known else f"{seen.kind.replace('_', ' ')}{said['at']}"
    name = seen.site_name
    site = f"{name} ({subject.site})" if name and name != subject.site else subject.site
    sure = "" if seen.confidence is None else f"; {100 * seen.confidence:.0f} % sure"
    where = f"camera {subject.camera}, {site}" if subject.camera else site
    return f"{did}: {where}, {local(seen.at_ms, seen.time_zone, seconds=True)}{sure}"


def local(at_ms: int, time_zone: str, *, seconds: bool = False) -> str:
    """Return a moment by the clock on a site's wall, with which clock that is."""
    try:
        zone, name = hours.zone_of(time_zone), time_zone
    except ConfigError:
        zone, name = hours.zone_of("UTC"), "UTC"
    form = "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M"
    return f"{from_wall_ms(at_ms).astimezone(zone):{form}} {name}"
