"""The pages of events in every state."""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.cameras import Watched
from vedette.central.clips.fetching import StoredFile
from vedette.central.clips.looking import ClipView
from vedette.central.console import specimens
from vedette.central.console.events import present
from vedette.central.console.events.present import EventQuery
from vedette.central.console.page import Page
from vedette.central.coverage import summarise
from vedette.central.events import Related
from vedette.central.exporting.holding import Hold
from vedette.central.views import Segment
from vedette.wire.messages import Cause

NOW_MS: Final = specimens.NOW_MS
_FILES: Final = [
    StoredFile(name="blurred.jpg", sha256="ef" * 32, bytes=48_213, whole=True),
    StoredFile(name="blurred.mp4", sha256="ab" * 32, bytes=812_345, whole=True),
    StoredFile(name="evidence.json", sha256="cd" * 32, bytes=20_480, whole=True),
]
_ASKED: Final = ClipView(
    state="asked",
    leaves="clip",
    asked_by="ada",
    asked_ms=NOW_MS - 40_000,
    expires_ms=NOW_MS + 86_000_000,
)


def _changed(**changes: object) -> ClipView:
    return msgspec.structs.replace(_ASKED, **changes)


CLIPS: Final[dict[str, ClipView]] = {
    "none": ClipView(state="none", leaves="blurred"),
    "stays": ClipView(state="none", leaves=""),
    "asked": _changed(silent_ms=NOW_MS - 7_200_000),
    "sending": _changed(state="sending", bytes=8_000_000, come_bytes=2_900_000, form="clip"),
    "refused": _changed(
        state="refused",
        said="only blurred copies may leave the site, and this clip has none " * 4,
    ),
    "failed": _changed(state="failed", said="what came is not what was announced (SHA-256)"),
    "expired": _changed(state="expired"),
    "here": _changed(state="here", form="blurred", files=_FILES, bytes=881_038, come_bytes=881_038),
}


def _watched(at_ms: int) -> Watched:
    from_ms, to_ms = at_ms - 600_000, min(at_ms + 600_000, NOW_MS)
    strip = [
        Segment(start_ms=from_ms, end_ms=from_ms + 180_000, cause=Cause.CAMERA_DOWN),
        Segment(start_ms=from_ms + 180_000, end_ms=to_ms - 20_000, cause=None),
    ]
    return Watched(from_ms=from_ms, to_ms=to_ms, strip=strip, coverage=summarise(strip))


def _with(clip: str) -> Callable[[Page], str]:
    rows = specimens.events()
    related = Related(track=rows[:1], camera=rows[1:4], site=[])
    event = specimens.event("here") if clip == "here" else specimens.event()
    record = specimens.evidence(event.at_ms)
    event = msgspec.structs.replace(event, evidence_json=record)
    watched = _watched(event.at_ms)
    return lambda page: present.event_html(
        event, page, clip=CLIPS[clip], related=related, watched=watched
    )


_HOSTILE: Final = msgspec.structs.replace(
    specimens.event(),
    where="<script>alert(1)</script>" + "x" * 80,
    label="=HYPERLINK(1)" + "y" * 60,
    camera="a-camera-with-a-name-that-goes-on-and-on-until-the-very-end-of-it",
)

_HELD: Final = Hold(
    device="north-1",
    event="ev-5d1c9a3007",
    evidence="evd-1",
    site="north",
    camera="door",
    reason="claim 2026-114: the insurer asked for it",
    held_by="ada",
    held_ms=NOW_MS - 3_600_000,
    on_device="held",
)


HOLDS: Final = [
    _HELD,
    msgspec.structs.replace(_HELD, on_device="asked", reason="case 7", held_by="olga"),
    msgspec.structs.replace(_HELD, on_device="none", camera="a-camera-" * 7),
    msgspec.structs.replace(
        _HELD,
        reason="<script>alert(1)</script> " + "x" * 60,
        on_device="refused",
        refused="all holds together may take 512 MB: release one first",
    ),
]


def _holding(**changes: object) -> Callable[[Page], str]:
    held = msgspec.structs.replace(_HELD, **changes)
    event = specimens.event()
    return lambda page: present.event_html(event, page, held=held, watched=_watched(event.at_ms))


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "events": lambda page: present.events_html(specimens.events(), EventQuery(), "c2", page),
    "events-empty": lambda page: present.events_html([], EventQuery(), None, page),
    "events-nothing": lambda page: present.events_html([], EventQuery(kind="dwell"), None, page),
    "events-hostile": lambda page: present.events_html([_HOSTILE], EventQuery(), None, page),
    "event": lambda page: present.event_html(specimens.event(), page),
    "event-waiting": lambda page: present.event_html(specimens.event("waiting"), page),
    "event-bare": lambda page: present.event_html(specimens.events()[-1], page),
    "holds": lambda page: present.holds_html(HOLDS, "c2", page),
    "holds-empty": lambda page: present.holds_html([], None, page),
    "event-held": _holding(),
    "event-hold-asked": _holding(on_device="asked"),
    "event-hold-refused": _holding(
        on_device="refused", refused="all holds together may take 512 MB: release one first"
    ),
    **{f"event-clip-{name}": _with(name) for name in CLIPS},
}
