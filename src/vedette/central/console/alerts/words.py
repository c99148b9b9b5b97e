"""What states of incidents, notices and silences are called, and how they look.

State is shape + word + colour, as everywhere. The rule: one table for each, so that every page and
every message says the same.
"""

from typing import Final

import msgspec

from vedette.central.alerting.facts import Health, Incident, IncidentState, NoticeKind, Severity


class Word(msgspec.Struct, frozen=True):
    """What something is called, its shape, the class of its colour, and what it means."""

    word: str
    shape: str
    css: str
    meaning: str


SEVERITIES: Final[dict[str, Word]] = {
    Severity.CRITICAL: Word("critical", "cross", "down", "somebody has to act now"),
    Severity.WARNING: Word("warning", "triangle", "degraded", "somebody has to act today"),
    Severity.INFO: Word("info", "half", "pending", "good to know"),
}
"""Worst first."""

STATES: Final[dict[str, Word]] = {
    IncidentState.OPEN: Word("open", "clock", "unknown", "nobody has said that they look after it"),
    IncidentState.ACKNOWLEDGED: Word(
        "acknowledged", "half", "pending", "somebody looks after it; nobody else is told"
    ),
    IncidentState.RESOLVED: Word("resolved", "disc", "ok", "it is over"),
}

SILENCED: Final = Word("silenced", "pause", "off", "kept, but nobody is told")
INHIBITED: Final = Word("follows", "pause", "off", "something larger explains it; nobody is told")

NOTICES: Final[dict[str, str]] = {
    NoticeKind.OPENED: "told that it began",
    NoticeKind.REPEATED: "told again",
    NoticeKind.ESCALATED: "escalated",
    NoticeKind.GREW: "told that it grew",
    NoticeKind.ACK_EXPIRED: "told: the acknowledgement is over",
    NoticeKind.ACKNOWLEDGED: "told who looks after it",
    NoticeKind.RESOLVED: "told that it is over",
    NoticeKind.ON_CALL: "told to be on call now",
    NoticeKind.TEST: "test",
}

DELIVERIES: Final[dict[str, Word]] = {
    "dead": Word("not delivered", "cross", "down", "given up; it can be sent again by hand"),
    "waiting": Word("waiting", "clock", "pending", "it is tried again"),
    "sending": Word("on its way", "half", "pending", "it is being sent now"),
    "sent": Word("sent", "disc", "ok", "the other side took it"),
    "cancelled": Word("cancelled", "pause", "off", "overtaken by what came after it"),
}
"""Worst first."""

CHANNELS: Final[dict[str, str]] = {
    "webhook": "webhook",
    "mail": "e-mail",
    "mqtt": "MQTT",
    "apprise": "Apprise",
    "s3": "S3 bucket",
}

CHANNEL_STATES: Final[dict[str, Word]] = {
    "well": Word("works", "disc", "ok", "the last try arrived"),
    "untried": Word("never used", "question", "unknown", "send a test before you rely on it"),
    "failing": Word("fails", "triangle", "degraded", "the last try did not arrive"),
    "resting": Word("rests", "clock", "tampered", "it failed several times; tried again soon"),
    "disabled": Word("off", "pause", "down", "nothing is sent here; what is due waits"),
}

EXPORTS: Final[dict[str, Word]] = {
    "stuck": Word(
        "stuck", "cross", "down", "nothing leaves: no channel, or a place that cannot be"
    ),
    "failing": Word("fails", "triangle", "degraded", "what was tried last did not arrive"),
    "warned": Word(
        "check links", "triangle", "degraded", "its links lead nowhere from another machine"
    ),
    "quiet": Word("nothing sent", "question", "unknown", "it is on; nothing was sent in 7 days"),
    "off": Word("off", "pause", "off", "it is told of nothing; its links have ended"),
    "well": Word("works", "disc", "ok", "the last thing that was tried arrived"),
}
"""Worst first."""

HEALTH: Final[dict[str, str]] = {
    Health.SITE_DARK: "a whole site is dark",
    Health.DEVICE_DARK: "a device is dark",
    Health.CAMERA_DOWN: "a camera is down",
    Health.TAMPERED: "a camera is covered, turned or blinded",
    Health.DEGRADED: "a picture is worse than it should be",
    Health.THROTTLED: "a device is throttled",
    Health.MEMORY_LEAK: "memory grows without end",
    Health.DISK: "a disk fills",
    Health.NETWORK_LOSS: "the network loses packets",
    Health.SPOOL_FILLING: "what waits on a device grows",
    Health.CLOCK: "a clock is not to be trusted",
    Health.LATENCY_BUDGET: "frames take longer than their budget",
    Health.PIPELINE_CRASHED: "a pipeline crashes",
    Health.ACCURACY: "reviewers disagree with a model",
    Health.DRIFT: "a model's confidence drifts",
    Health.ROLLOUT: "a rollout is in trouble",
    Health.COVERAGE: "less was observed than promised",
    Health.QUARANTINED: "two copies of a device",
    Health.UPDATE_FAILED: "an update failed",
}

DOTS: Final[dict[str, str]] = {
    "opened": "cross",
    "joined": "triangle",
    "ended": "disc",
    "told": "half",
    "failed": "cross",
    "undelivered": "cross",
    "delayed": "clock",
    "again": "triangle",
    "grew": "triangle",
    "acknowledged": "half",
    "expired": "clock",
    "resolved": "disc",
    "reopened": "cross",
    "silenced": "pause",
    "inhibited": "pause",
    "flapping": "diamond",
    "late": "clock",
}
"""The shape of a line of the timeline by its kind; others have a small one."""


def severity_word(severity: str) -> Word:
    """Return what a severity is called."""
    return SEVERITIES.get(severity, Word(severity, "question", "unknown", ""))


def delivery_word(state: str) -> Word:
    """Return what the state of a delivery is called."""
    return DELIVERIES.get(state, Word(state, "question", "unknown", ""))


def state_word(incident: Incident) -> Word:
    """Return what an incident is; that nobody is told stands before that it is open."""
    if incident.state is IncidentState.OPEN and incident.silenced:
        return SILENCED
    if incident.state is IncidentState.OPEN and incident.inhibited:
        return INHIBITED
    return STATES[incident.state]
