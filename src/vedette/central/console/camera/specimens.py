"""A camera's page in every state."""

from collections.abc import Callable
from typing import Final

from vedette.central.camera_settings import Sheet, Step, Version
from vedette.central.commissioned import Commissioning, Share
from vedette.central.console import specimens
from vedette.central.console.camera import number_specimens, present
from vedette.central.console.page import Page
from vedette.central.own_shapes import OwnShapes
from vedette.wire.signed import CameraSettings, Line, Zone

_HOUR_MS: Final = specimens.HOUR_MS
_OUTLINE: Final = [(0.08, 0.55), (0.5, 0.5), (0.56, 0.95), (0.04, 0.95)]
_SETTINGS: Final = CameraSettings(
    camera="door",
    zones=[
        Zone(name="entrance", polygon=_OUTLINE, dwell_s=60, heading_deg=0),
        Zone(name="tills", polygon=[(0.62, 0.2), (0.95, 0.22), (0.9, 0.5)], labels=["person"]),
    ],
    lines=[Line(name="doorway", a=(0.55, 0.35), b=(0.9, 0.6), confirm_s=1.5)],
    threshold=0.4,
)
_HOSTILE: Final = "<script>alert(1)</script> "
_COMMISSIONED: Final = [
    Commissioning(
        at_ms=specimens.NOW_MS - n * 40 * 24 * _HOUR_MS,
        received_ms=specimens.NOW_MS,
        by="Ann" if n else _HOSTILE,
        complete=n == 0,
        confirmed=["view", "focus", "light", "zones", "reference", "sample", "baseline"],
        refused=["zones"] if n else [],
        skipped=["sample", "baseline"] if n else [],
        problems=[],
        picture_px=(1280, 720),
        model="centernet",
        pictures=10,
        precision=None if n else Share(count=31, of=32, low=0.838, high=0.999),
        recall=None if n else Share(count=31, of=35, low=0.733, high=0.968),
        baseline_s=None if n else 60.0,
        observed_fraction=None if n else 0.994,
        captured=300,
        analysed=288,
        gated=10,
    )
    for n in range(2)
]


def _sheet(state: str) -> Sheet:
    """Return settings whose newest version is this far."""
    if state == "empty":
        return Sheet(version=0, settings=CameraSettings(camera="door"), versions=[], progress=[])
    at_ms = specimens.NOW_MS - 40_000
    words = {
        "waiting": ("waiting", "taken up at its next contact; last heard 12 s ago"),
        "dark": ("waiting", "the device is dark: it takes it up when it is back"),
        "refused": ("refused", "settings refused: the resulting configuration: " + _HOSTILE * 8),
    }
    there, text = words.get(state, ("done", "the device accepted it"))
    runs = ("done", "the pipeline counts by it")
    if there != "done":
        runs = ("waiting", "not before the device has it")
    return Sheet(
        version=13,
        settings=_SETTINGS,
        versions=[
            Version(
                version=13 - n,
                at_ms=at_ms - n * 30 * _HOUR_MS,
                actor="ada" if n % 2 else "a-colleague-with-a-long-name@example.org",
                note="brought back from version 9" if n == 1 else "",
                changes=["zone entrance: outline moved (4 → 5 corners), long stay 30 s → 60 s"]
                * (1 + n * 4),
                settings=_SETTINGS,
            )
            for n in range(4)
        ],
        progress=[
            Step(name="saved", state="done", text="by ada", at_ms=at_ms),
            Step(
                name="signed",
                state="done",
                text="version 13, by central's online key",
                at_ms=at_ms,
            ),
            Step(name="at the device", state=there, text=text, at_ms=at_ms + 9_000),
            Step(name="running", state=runs[0], text=runs[1], at_ms=at_ms + 20_000),
        ],
        picture_px=(1280, 720),
    )


_OWN: Final = {
    "own": OwnShapes(
        zones=_SETTINGS.zones or [],
        lines=_SETTINGS.lines or [],
        told_ms=specimens.NOW_MS - 3 * _HOUR_MS,
    ),
    "own-unknown": OwnShapes(elsewhere=["doorway", "entrance", _HOSTILE]),
}
"""What the device has in its own file: told, or known by name alone."""


def _zones(state: str, page: Page, *, may_edit: bool = True) -> str:
    view = specimens.camera("dark" if state == "dark" else "ok")
    done = "back" if state == "waiting" else ""
    own = _OWN.get(state, OwnShapes())
    sheet = _sheet("empty" if state in _OWN else state)
    return present.zones_html(view, sheet, page, may_edit=may_edit, done=done, own=own)


def _camera(state: str, page: Page, key: str = "") -> str:
    view = specimens.camera(state, key)
    told = _COMMISSIONED if state == "ok" else ()
    return present.camera_html(view, "24h", page, may_request=True, commissioned=told)


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "camera": lambda page: _camera("ok", page),
    "camera-mixed": lambda page: _camera("ok", page, "mixed"),
    "camera-down": lambda page: _camera("down", page),
    "camera-degraded": lambda page: _camera("degraded", page),
    "camera-tampered": lambda page: _camera("tampered", page),
    "camera-dark": lambda page: _camera("dark", page),
    "camera-unknown": lambda page: _camera("unknown", page),
    **number_specimens.PATTERNS,
    "camera-zones": lambda page: _zones("done", page),
    "camera-zones-waiting": lambda page: _zones("waiting", page),
    "camera-zones-dark": lambda page: _zones("dark", page),
    "camera-zones-refused": lambda page: _zones("refused", page),
    "camera-zones-empty": lambda page: _zones("empty", page),
    "camera-zones-own": lambda page: _zones("own", page),
    "camera-zones-own-unknown": lambda page: _zones("own-unknown", page, may_edit=False),
    "camera-zones-viewer": lambda page: _zones("done", page, may_edit=False),
}
