"""What a broker should hold: incidents, and the state of each site, device and camera. Pure.

    PREFIX/status                       online, offline (the broker says it where we are gone)
    PREFIX/notices/KIND                 each notice, not retained
    PREFIX/incidents/INCIDENT           while it is open, retained
    PREFIX/sites/SITE                   {"problem": "ON" | "OFF", …}, retained
    PREFIX/devices/DEVICE               the same
    PREFIX/cameras/DEVICE/CAMERA        the same
    DISCOVERY/binary_sensor/NODE/…/config   what Home Assistant is told, retained

The rule: what should be there follows from the database alone, so that whoever connects can put
right what was left.

Source: home-assistant.io/integrations/mqtt, "MQTT Discovery"; binary_sensor.mqtt.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from vedette import __version__
from vedette.central.alerting.channels import words
from vedette.central.alerting.channels.facts import Mqtt
from vedette.central.alerting.facts import Incident, Severity

MAX_TITLES: Final = 10
_RANK: Final = {severity: rank for rank, severity in enumerate(Severity)}
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+){0,5}")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A site, a device of it, or a camera of that; empty: it is the wider one."""

    site: str
    device: str = ""
    camera: str = ""
    name: str = ""


def is_prefix(text: str) -> bool:
    """True where topics may begin so."""
    return len(text) <= 100 and _PREFIX.fullmatch(text) is not None


def status_topic(settings: Mqtt) -> str:
    """Return where it stands whether we are there."""
    return f"{settings.prefix}/status"


def topic_of(settings: Mqtt, place: Place) -> str:
    """Return where the state of a place stands."""
    if place.camera:
        return f"{settings.prefix}/cameras/{place.device}/{place.camera}"
    if place.device:
        return f"{settings.prefix}/devices/{place.device}"
    return f"{settings.prefix}/sites/{place.site}"


def ours(settings: Mqtt) -> list[str]:
    """Return filters for everything retained that may be ours: what should not be there goes."""
    found = [
        f"{settings.prefix}/{kind}"
        for kind in ("incidents/+", "sites/+", "devices/+", "cameras/+/+")
    ]
    if settings.discovery:
        found.append(f"{settings.discovery}/binary_sensor/{_node(settings)}/+/config")
    return found


def desired(
    settings: Mqtt, places: Iterable[Place], incidents: Iterable[Incident], url: str
) -> dict[str, bytes]:
    """Return every retained topic with what it should hold."""
    open_ = list(incidents)
    found = {
        f"{settings.prefix}/incidents/{one.incident}": msgspec.json.encode(_of(one, url))
        for one in open_
    }
    trouble = _trouble(open_)
    for place in places:
        found[topic_of(settings, place)] = msgspec.json.encode(
            _state(trouble.get((place.site, place.device, place.camera), []))
        )
        if settings.discovery:
            topic, config = _config(settings, place, url)
            found[topic] = msgspec.json.encode(config)
    return found


def _trouble(incidents: Iterable[Incident]) -> dict[tuple[str, str, str], list[Incident]]:
    """Return the open incidents of each place: of what is wrong now, and of all that it is in."""
    found: dict[tuple[str, str, str], list[Incident]] = {}
    for incident in incidents:
        subjects = [one.subject for one in incident.members if one.ended_ms is None]
        keys: set[tuple[str, str, str]] = set()
        for subject in subjects or [incident.subject]:
            keys.add((subject.site, "", ""))
            if subject.device:
                keys.add((subject.site, subject.device, ""))
            if subject.device and subject.camera:
                keys.add((subject.site, subject.device, subject.camera))
        for key in keys:
            found.setdefault(key, []).append(incident)
    return found


def _state(incidents: list[Incident]) -> dict[str, Any]:
    ordered = sorted(incidents, key=lambda one: (-_RANK[one.severity], one.opened_ms))
    return {
        "problem": "ON" if ordered else "OFF",
        "incidents": len(ordered),
        "worst": str(ordered[0].severity) if ordered else "",
        "titles": [one.title for one in ordered[:MAX_TITLES]],
    }


def _of(incident: Incident, url: str) -> dict[str, Any]:
    return {
        "id": incident.incident,
        "title": incident.title,
        "severity": str(incident.severity),
        "state": str(incident.state),
        "where": words.where(incident.subject),
        "opened": words.iso(incident.opened_ms),
        "acknowledged_by": incident.ack_by,
        "url": f"{url}/incidents/{incident.incident}",
    }


def _config(settings: Mqtt, place: Place, url: str) -> tuple[str, dict[str, Any]]:
    node = _node(settings)
    of = "_".join(_plain(part) for part in (place.site, place.device, place.camera) if part)
    kind = "camera" if place.camera else "device" if place.device else "site"
    unique = f"{node}_{kind}_{of}"
    topic = topic_of(settings, place)
    box = place.device or place.site
    config: dict[str, Any] = {
        "name": f"{place.camera} problem" if place.camera else "Problem",
        "unique_id": unique,
        "object_id": unique,
        "device_class": "problem",
        "state_topic": topic,
        "value_template": "{{ value_json.problem }}",
        "json_attributes_topic": topic,
        "availability_topic": status_topic(settings),
        "payload_available": "online",
        "payload_not_available": "offline",
        "device": {
            "identifiers": [f"{node}_{'device' if place.device else 'site'}_{box}"],
            "name": box if place.device else (place.name or box),
            "manufacturer": "Vedette",
            "model": "device" if place.device else "site",
            "configuration_url": url,
        },
        "origin": {"name": "Vedette", "sw_version": __version__},
    }
    if place.device:
        config["device"]["via_device"] = f"{node}_site_{place.site}"
    return f"{settings.discovery}/binary_sensor/{node}/{unique}/config", config


def _node(settings: Mqtt) -> str:
    return settings.prefix.replace("/", "_")


def _plain(name: str) -> str:
    """Return a name as Home Assistant takes it; two names never become one."""
    if _PLAIN.fullmatch(name):
        return name
    code = hashlib.sha256(name.encode()).hexdigest()[:6]
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:57] + f"_{code}"
