"""What differs between two versions of a camera's settings, in words. Pure.

The console's editor says the same of what is not saved yet (`static/zones-geometry.js`); a test
holds one to the other. The rule: everything that differs is said, in the order in which it stands.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from vedette.wire.signed import CameraSettings, Line, Zone

_SHOWN: Final = 60
_FIELDS: Final = {
    "labels": "classes",
    "dwell_s": "long stay",
    "loiter_s": "loitering",
    "heading_deg": "watched way",
    "heading_tolerance_deg": "tolerance",
    "confirm_s": "confirmation",
    "events": "events",
    "evidence": "clips",
    "shelf": "shelf",
}
_UNITS: Final = {
    "dwell_s": " s",
    "loiter_s": " s",
    "heading_deg": "°",
    "heading_tolerance_deg": "°",
    "confirm_s": " s",
}


def changes(before: CameraSettings | None, after: CameraSettings) -> list[str]:
    """Return what `after` changes of `before`, one sentence each; nothing where nothing."""
    before = before or CameraSettings(camera=after.camera)
    out = _shapes("zone", before.zones, after.zones)
    out += _shapes("line", before.lines, after.lines)
    for name, word in (("threshold", "threshold"), ("labels", "classes of the camera")):
        was, now = getattr(before, name), getattr(after, name)
        if was != now:
            out.append(f"{word} {_said(name, was)} → {_said(name, now)}")
    if before.off_hours != after.off_hours:
        out.append(f"off hours {_hours(before.off_hours)} → {_hours(after.off_hours)}")
    if before.regions != after.regions:
        out.append("the regions that are looked at changed")
    return out


def _shapes(
    kind: str, before: Sequence[Zone | Line] | None, after: Sequence[Zone | Line] | None
) -> list[str]:
    """Say what became of zones or of lines."""
    if before == after:
        return []
    if after is None:
        return [f"{kind}s are left to the device"]
    was = {one.name: one for one in before or ()}
    now = {one.name: one for one in after}
    out = [f"{kind} {name} taken away" for name in was if name not in now]
    for name, one in now.items():
        if name not in was:
            out.append(f"{kind} {name} added")
        elif one != was[name]:
            out.append(f"{kind} {name}: {', '.join(_details(was[name], one))}")
    if not out:
        out = [f"{kind}s in another order" if before else f"no {kind}s, whatever the device has"]
    return out


def _details(was: Zone | Line, now: Zone | Line) -> list[str]:
    """Say what changed of one zone or line."""
    out: list[str] = []
    if isinstance(was, Zone) and isinstance(now, Zone) and was.polygon != now.polygon:
        more = len(now.polygon) - len(was.polygon)
        corners = f" ({len(was.polygon)} → {len(now.polygon)} corners)" if more else ""
        out.append(f"outline moved{corners}")
    if isinstance(was, Line) and isinstance(now, Line) and (was.a, was.b) != (now.a, now.b):
        out.append("turned around" if (was.a, was.b) == (now.b, now.a) else "moved")
    old: Mapping[str, object] = msgspec.structs.asdict(was)
    new: Mapping[str, object] = msgspec.structs.asdict(now)
    for name, word in _FIELDS.items():
        if old.get(name) != new.get(name):
            out.append(f"{word} {_said(name, old.get(name))} → {_said(name, new.get(name))}")
    return out


def _said(name: str, value: object) -> str:
    """Return a value in words."""
    if name == "labels":
        if value is None:
            return "as the device has them"
        listed = value if isinstance(value, list) else []
        return ", ".join(str(one)[:_SHOWN] for one in listed) or "all"
    if value is None:
        return "as the device has it" if name == "threshold" else "off"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}{_UNITS.get(name, '')}"


def _hours(value: Sequence[tuple[str, str]] | None) -> str:
    """Return off hours in words."""
    if value is None:
        return "as the device has them"
    return ", ".join(f"{start}-{end}" for start, end in value) or "none"
