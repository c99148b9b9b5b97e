"""Alerts, as far as central and devices mean the same by them. Pure.

What lives here: severities, which events a rule is about, and what a site lets its devices do on
their own: local channels and the rules that drive them. What does not: central's rules, incidents
and ladders (`central.alerting`), or how a device carries an alert (`edge.alerts`).

The rule: where an alert goes, and which program may be started for it, is said by the site's key
alone (`LocalAlerts` in the site policy). Central's settings may add rules, and those may name only
channels that the policy opens to them (`LocalChannel.from_central`).
"""

import enum
from fnmatch import fnmatchcase

import msgspec

from vedette.wire.messages import EventKind, EventReport


class Severity(enum.StrEnum):
    """How bad; the order is the order."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Its place in the order; strings would be ordered by the alphabet."""
        return tuple(Severity).index(self)


class EventMatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events. All that is given holds.

    Attributes:
        places: Zones and lines by name, `*` and `?` as in file names.
        at_least: This many within `within_s`, counted by what the rule groups by; 1: each one.
    """

    kinds: list[EventKind]
    places: list[str] = []
    labels: list[str] = []
    direction: str = ""
    confidence: float | None = None
    dwell_s: float | None = None
    score: float | None = None
    at_least: int = 1
    within_s: float = 0.0


def is_about(match: EventMatch, event: EventReport) -> bool:
    """True where one event is of those that `match` means; how many there were is not looked at."""
    return (
        event.kind in match.kinds
        and any_like(match.places, event.where)
        and (not match.labels or event.label in match.labels)
        and (not match.direction or event.direction == match.direction)
        and _reaches(match.confidence, event.confidence)
        and _reaches(match.dwell_s, event.dwell_s)
        and _reaches(match.score, event.score)
    )


def any_like(patterns: list[str], name: str) -> bool:
    """True where a pattern fits the name, or there is none; `*` and `?` as in file names."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _reaches(least: float | None, value: float | None) -> bool:
    return least is None or (value is not None and value >= least)


# --------------------------------------------------------------------- what a device does alone


class ChannelKind(enum.StrEnum):
    """How a device tells of an alert by itself."""

    MQTT = "mqtt"
    WEBHOOK = "webhook"
    COMMAND = "command"


class When(enum.StrEnum):
    """When a local channel is driven."""

    ALWAYS = "always"
    UNREACHABLE = "central_unreachable"


class LocalHealth(enum.StrEnum):
    """What may be wrong that a device knows by itself; words as of central's rules."""

    CAMERA_DOWN = "camera_down"
    TAMPERED = "tampered"
    DEGRADED = "degraded"
    THROTTLED = "throttled"
    MEMORY_LEAK = "memory_leak"  # MB an hour
    DISK = "disk"  # part of it that is used
    NETWORK_LOSS = "network_loss"  # part of segments sent again
    SPOOL_FILLING = "spool_filling"  # part of its quota
    CLOCK = "clock"
    PIPELINE_CRASHED = "pipeline_crashed"
    CENTRAL_UNREACHABLE = "central_unreachable"


class LocalChannel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to tell somebody at the site. Said by the site's key alone.

    Attributes:
        when: `always`, or only what central did not take within `after_s`.
        after_s: Central counts as unreachable after so long.
        devices: Only these have it; empty: all of the site's.
        from_central: Rules in central's settings may name it too.
        per_minute: At most so many alerts; those beyond are dropped and counted.
        keep_s: An alert that cannot be delivered is tried for so long.
        url: Webhook: http:// or https://. MQTT: mqtt:// or mqtts://, user and password in it.
        secret: Webhook: `whsec_` and base64; signs by the Standard Webhooks specification.
        topic: MQTT; `{site}`, `{device}`, `{camera}` and `{rule}` are filled in.
        qos: MQTT: 0 or 1.
        argv: Command: the program's absolute path and its arguments. No shell, nothing filled in.
        timeout_s: Longest that one attempt may take.
    """

    channel: str
    kind: ChannelKind
    when: When = When.UNREACHABLE
    after_s: float = 10.0
    devices: list[str] = []
    from_central: bool = False
    per_minute: int = 30
    keep_s: float = 600.0
    url: str = ""
    secret: str = ""
    topic: str = "vedette/{site}/{device}/alert"
    qos: int = 1
    argv: list[str] = []
    timeout_s: float = 5.0


class LocalHealthMatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which trouble.

    Attributes:
        above: The number that it has to pass, where there is one; None: its default.
        for_s: It has to last so long before it counts.
    """

    is_: LocalHealth = msgspec.field(name="is")
    above: float | None = None
    for_s: float = 0.0


class LocalRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What drives which local channels. One of `event` and `health` is given.

    Attributes:
        cameras: Names, `*` and `?` as in file names; empty: all.
        channels: By name.
        quiet_s: After one alert the same rule stays quiet about the same camera for so long.
        devices: Only on these; empty: on all of the site's.
    """

    rule: str
    channels: list[str]
    severity: Severity = Severity.WARNING
    event: EventMatch | None = None
    health: LocalHealthMatch | None = None
    cameras: list[str] = []
    devices: list[str] = []
    quiet_s: float = 0.0


class LocalAlerts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a site's devices do on their own."""

    channels: list[LocalChannel] = []
    rules: list[LocalRule] = []


def without_secrets(channel: LocalChannel) -> LocalChannel:
    """Return what everybody may know: that there is such a channel, and when it is driven."""
    return msgspec.structs.replace(channel, url="", secret="", argv=[], topic="")


# ------------------------------------------------------------------------------ what is carried


class Turn(enum.StrEnum):
    """What an alert says."""

    EVENT = "event"  # it happened; there is no end to it
    RAISED = "raised"
    CLEARED = "cleared"
    TEST = "test"


class LocalAlert(msgspec.Struct, frozen=True, kw_only=True):
    """What a local channel carries: a webhook's body, an MQTT message, a command's input.

    Attributes:
        alert: The same through every attempt: receivers know by it what they had already.
        at_ms: When it happened, by the device's clock.
        central: `reachable` or `unreachable`, as this device sees it.
    """

    alert: str
    rule: str
    severity: Severity
    turn: Turn
    site: str
    device: str
    at_ms: int
    text: str
    camera: str = ""
    place: str = ""
    kind: str = ""
    label: str = ""
    direction: str = ""
    confidence: float | None = None
    value: float | None = None
    event: str = ""
    evidence: str = ""
    central: str = "reachable"
    type: str = "vedette.local_alert.v1"
