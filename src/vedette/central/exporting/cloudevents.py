"""One thing as a CloudEvent, in structured JSON. Pure.

The rule: `source` and `id` together name one thing for good, so a receiver that sees it twice can
tell; times are UTC; what central does not know is null or absent, never made up.

Source: CloudEvents 1.0.2, and its JSON Event Format.
"""

from typing import Any, Final
from urllib.parse import quote

import msgspec

from vedette.central.exporting.facts import Thing
from vedette.clock import from_wall_ms

SPEC: Final = "1.0"
_TYPES: Final = {
    "event": "vedette.event.{kind}.v1",
    "evidence": "vedette.evidence.recorded.v1",
    "clip": "vedette.evidence.available.v1",
}


def cloud_event(thing: Thing) -> dict[str, Any]:
    """Return a CloudEvent; `data` holds the event as the device said it, and what came of it."""
    event = thing.event
    data: dict[str, Any] = {
        "site": {"id": thing.site, "name": thing.site_name},
        "device": thing.device,
        "camera": thing.camera,
        "event": msgspec.to_builtins(event),
        "received": _time(thing.received_ms),
        "late": thing.late,
    }
    if thing.record is not None:
        data["evidence"] = msgspec.to_builtins(thing.record)
    if thing.told == "clip":
        data["clip"] = {
            "form": thing.form,
            "files": [msgspec.to_builtins(file) for file in thing.files],
            "links_expire": None if thing.expires_ms is None else _time(thing.expires_ms),
        }
    said = {
        "specversion": SPEC,
        "id": id_of(thing),
        "source": source_of(thing),
        "type": _TYPES[thing.told].format(kind=event.kind),
        "time": _time(event.at_ms),
        "datacontenttype": "application/json",
        "data": data,
    }
    # An attribute has no control characters; `data` has the name as it is.
    subject = "".join(c if c.isprintable() else " " for c in event.where).strip()
    if subject:
        said["subject"] = subject
    return said


def encoded(thing: Thing) -> bytes:
    """Return it as JSON."""
    return msgspec.json.encode(cloud_event(thing))


def id_of(thing: Thing) -> str:
    """Return what names it among all of its source."""
    if thing.told == "event" or thing.record is None:
        return thing.event.event
    suffix = f".{thing.form}" if thing.told == "clip" else f".{thing.record.status}"
    return f"{thing.record.evidence}{suffix}"


def source_of(thing: Thing) -> str:
    """Return where it is from, as a reference that is the same for all of a camera."""
    there = (thing.site, "devices", thing.device, "cameras", thing.camera)
    return "/sites/" + "/".join(quote(part, safe="") for part in there)


def topic_of(thing: Thing) -> str:
    """Return the MQTT topic below a channel's prefix."""
    plain = [part.replace("+", "_").replace("#", "_").replace("/", "_") for part in (
        thing.site, thing.device, thing.camera)]  # fmt: skip
    return f"events/{'/'.join(plain)}"


def folder_of(thing: Thing) -> str:
    """Return where a bucket keeps what belongs to one event."""
    day = from_wall_ms(thing.event.at_ms).strftime("%Y-%m-%d")
    return f"{thing.site}/{day}/{thing.device}/{thing.event.event}"


def _time(ms: int) -> str:
    return from_wall_ms(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
