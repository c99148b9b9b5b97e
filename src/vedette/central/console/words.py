"""What states and causes are called, in which order they are worst, and what a person can do.

State is shape + word + colour: the shape's name here is the id of a symbol in `parts/symbols.html`,
the colour a class in `vedette.css`. The rule: one table for each, so that every page says the same.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from vedette.central.alerting import wording
from vedette.wire.messages import Cause

AWAITING: Final = "AWAITING"
"""The fresh edge that a healthy device has not reported yet; neither observed nor a gap."""

UNKNOWN: Final = "UNKNOWN"
"""Nothing was ever said about this time."""


class StateWord(msgspec.Struct, frozen=True):
    """A state of a camera or a device: what it is called, its shape, and what it means."""

    word: str
    shape: str
    meaning: str


class CauseWord(msgspec.Struct, frozen=True):
    """A cause of a gap: what it is called, its fill in a strip, and what it means."""

    word: str
    fill: str
    meaning: str


STATES: Final[dict[str, StateWord]] = {
    "quarantined": StateWord(
        "quarantined", "diamond", "two copies speak with its key: what they say is set aside"
    ),
    "dark": StateWord("dark", "moon", "its device has not been heard from"),
    "down": StateWord("down", "cross", "the camera gives no pictures"),
    "tampered": StateWord("tampered", "diamond", "covered, turned, blinded or frozen"),
    "degraded": StateWord("degraded", "triangle", "it works, but worse than it should"),
    "unknown": StateWord("unknown", "question", "nothing was ever reported"),
    "starting": StateWord("starting", "half", "the first pictures are awaited"),
    "never": StateWord("never seen", "question", "enrolled, but has not reported yet"),
    "off": StateWord("off", "pause", "switched off by its schedule"),
    "ok": StateWord("ok", "disc", "pictures arrive and are looked at"),
    "revoked": StateWord("revoked", "pause", "nothing is taken of its device; its past is kept"),
}
"""Worst first."""

CAMERA_STATES: Final = ("dark", "down", "tampered", "degraded", "unknown", "starting", "off", "ok")

CAUSES: Final[dict[str, CauseWord]] = {
    Cause.CENTRAL_DOWN: CauseWord(
        "central was down",
        "url(#p-central)",
        "central was not running; devices kept what they saw and send it later",
    ),
    Cause.DEVICE_DARK: CauseWord(
        "device dark",
        "url(#p-dark)",
        "the device was not heard from: power, network or the device itself",
    ),
    Cause.PIPELINE_STOPPED: CauseWord(
        "pipeline stopped", "url(#p-stopped)", "the device ran, its video pipeline did not"
    ),
    Cause.CAMERA_DOWN: CauseWord(
        "camera down", "", "the camera gave no pictures: cable, power, address or password"
    ),
    Cause.TAMPERED: CauseWord(
        "tampered",
        "url(#p-tampered)",
        "pictures came, but none to be trusted: covered, dark, frozen, turned",
    ),
    Cause.CLOCK_UNTRUSTED: CauseWord(
        "clock untrusted", "url(#p-clock)", "the device did not know what time it was"
    ),
    Cause.SCHEDULED_OFF: CauseWord("scheduled off", "url(#p-off)", "switched off on purpose"),
    Cause.PENDING_BACKFILL: CauseWord(
        "backfill pending",
        "url(#p-pending)",
        "cut off from central; its data is still on the device and will come",
    ),
    Cause.EVICTED: CauseWord(
        "evicted", "url(#p-evicted)", "the device's disk was full: this data is gone for good"
    ),
    AWAITING: CauseWord("awaiting report", "url(#p-awaiting)", "too fresh to have been reported"),
    UNKNOWN: CauseWord("no data", "url(#p-unknown)", "nothing was ever said about this time"),
}

EVENT_KINDS: Final[dict[str, str]] = {
    "presence": "presence",
    "line_crossed": "line crossed",
    "zone_entered": "zone entered",
    "zone_left": "zone left",
    "dwell": "long stay",
    "tamper": "tamper",
    "loiter": "loitering",
    "heading": "going the watched way",
    "picked": "picked from shelf",
    "placed": "put onto shelf",
    "shelf_changed": "shelf changed",
    "class_changed": "class changed",
    "anomaly": "anomaly",
}

COUNT_KINDS: Final[dict[str, tuple[str, str]]] = {
    "entered": ("entered", ""),
    "left": ("left", ""),
    "visits": ("visits", ""),
    "occupancy_s": ("time inside, summed", "s"),
    "loitered": ("loitered", ""),
    "headed": ("went the watched way", ""),
    "picked": ("picked", ""),
    "placed": ("put back or stocked", ""),
    "shelf_changed": ("shelf changed, unclear how", ""),
    "forward": ("crossed forward", ""),
    "backward": ("crossed backward", ""),
    "presence_s": ("present", "s"),
    "slow_path_shed_s": ("without presence, occupancy, heatmap", "s"),
    "class_s": ("held", "s"),
    "left_out": ("not sent for a part of this time", ""),
}
"""Kind of a count → what it is called, and its unit."""

LEFT_OUT: Final[dict[str, tuple[str, str]]] = {
    "fine steps of dwell and latency": ("latency", "latency in coarser steps"),
    "all but coarse steps of dwell and latency": ("latency", "latency in coarse steps only"),
    "latency": ("latency", "no latency"),
    "heatmap": ("heatmap", "no heat map"),
    "confidence": ("confidence", "no confidence"),
    "scores": ("confidence", "no scores"),
    "dwell": ("counts", "no dwell times"),
    "classes of zones and lines": ("counts", "zones and lines without their classes"),
    "all but the classes that were held longest": ("counts", "only the classes held longest"),
    "all but the classes that were present longest": ("counts", "only the classes present longest"),
}
"""What a message that would have been too large lacked (`stats.fitting`) → the panel that it is
missing from, and how that is said there."""


def left_out(names: Iterable[str], panel: str) -> str:
    """Return in words what some messages lacked of a panel; empty where nothing."""
    said = [LEFT_OUT[name][1] for name in names if LEFT_OUT.get(name, ("", ""))[0] == panel]
    return f"for a part of this time the device sent {', '.join(said)}" if said else ""


SCORES: Final[dict[str, str]] = {
    "anomaly": "anomaly score",
    "similarity": "similarity to the nearest scene",
}
"""Score of whole pictures → what it is called."""

EVIDENCE: Final[dict[str, tuple[str, str]]] = {
    "": ("none asked for", "no rule asked for a clip of this event"),
    "waiting": ("being packed", "the device has not yet described its clip"),
    "on_site": ("kept on site", "the clip stays on the device; only its description came here"),
    "here": ("fetched", "an operator fetched a copy of the clip, as the site's policy lets it"),
    "refused": ("refused", "the device had no budget left for another clip"),
    "failed": ("failed", "the clip could not be written"),
}

CLIP_STATES: Final[dict[str, tuple[str, str]]] = {
    "none": ("not fetched", "the clip lies on the device"),
    "stays": ("stays on site", "the site's policy lets no clip leave"),
    "asked": ("asked for", "the device answers at its next contact"),
    "sending": ("on its way", "in parts, as the site's line allows; reports go first"),
    "here": ("here", "whole, and byte for byte what the device announced"),
    "refused": ("refused by the device", "it gave no reason"),
    "failed": ("failed", "it did not arrive whole"),
    "expired": ("did not come", "the device did not send it within a day"),
    "lost": ("lost", "it was here, and its file is gone: central was restored without it"),
}
"""State of a clip at central → what it is called, and what that means."""

SIGNS: Final[dict[str, str]] = wording.SIGNS

DROPS: Final[dict[str, str]] = {
    "stale": "overtaken by a newer frame",
    "undecodable": "could not be decoded",
    "bad_output": "model answered nonsense",
    "backend": "runtime failed",
    "shutdown": "stopped while in work",
}

ORDER: Final = {state: rank for rank, state in enumerate(STATES)}


def in_words(detail: str, shown: Iterable[str] = ()) -> str:
    """Return what a device said, signs by their words, each once, without those in `shown`."""
    known = set(shown)
    parts: list[str] = []
    for part in detail.split("; "):
        signs = part.split(", ")
        if all(sign in SIGNS for sign in signs):
            parts += [SIGNS[sign] for sign in signs if sign not in known]
        else:
            parts.append(part)
    return "; ".join(dict.fromkeys(parts))


def badness(state: str) -> int:
    """Return 0 for the worst state, growing with health; what is not known counts as unknown."""
    return ORDER.get(state, ORDER["unknown"])


def state_word(state: str) -> StateWord:
    """Return the words of a state; one that a newer release brought is shown as it is written."""
    return STATES.get(state) or StateWord(state or "unknown", "question", "")


def cause_word(cause: str | None) -> CauseWord:
    """Return the words of a cause; `None` is observed time."""
    if cause is None:
        return CauseWord("observed", "", "pictures were looked at")
    return CAUSES.get(cause) or CauseWord(cause.replace("_", " ").lower(), "url(#p-unknown)", "")
