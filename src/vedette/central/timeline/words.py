"""Rows of the database and happenings as entries with words. Pure.

The rule: titles are ours and short; what devices and people wrote is `detail`, cut, and shown as
text. One table says which entry of the audit log is told in which words.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from vedette.central.throttle_words import flag_text
from vedette.central.timeline.merging import Entry
from vedette.central.timeline.told import Happening

KINDS: Final[dict[str, str]] = {
    "contact": "heard and not heard",
    "camera": "cameras",
    "gap": "lost time",
    "reboot": "starts",
    "heat": "heat and power",
    "software": "programs, settings, models",
    "process": "pipeline and agent",
    "clock": "clock",
    "problem": "problems",
    "trust": "keys and quarantine",
    "operator": "what people did",
    "central": "central",
}
"""Kind of an entry → how a filter calls it."""

OF_TOLD: Final = {"pipeline": "process", "agent": "process"}
"""Kind of a happening → kind of its entry, where they differ."""

_MAX: Final = 300
_REBOOTS: Final = {
    "clean": "Started again, after an orderly shutdown",
    "update": "Started again for an update of the system",
    "kernel_panic": "Started again: the kernel had failed",
    "thermal": "Started again: it was too hot",
    "watchdog": "Started again: it hung, and its watchdog acted",
    "power_lost": "Started again: it had lost power",
}
_WHAT: Final = {
    "program": "Another program runs",
    "settings": "Other settings run",
    "policy": "Another site policy is in force",
    "model": "Another model runs",
}
_CLOCKS: Final = {
    "trusted": "The clock agrees with central",
    "floor": "The clock is not confirmed",
    "untrusted": "The clock is known to be wrong",
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a page query gives; each leaves out what it has not."""

    at_ms: int
    key: str
    device: str = ""
    camera: str = ""
    kind: str = ""
    state: str = ""
    cause: str = ""
    detail: bytes | str = ""
    end_ms: int | None = None
    since_ms: int | None = None
    noticed_ms: int | None = None
    signs: list[str] = []
    devices: list[str] = []
    cameras: int = 0
    actor: str = ""
    action: str = ""
    target: str = ""


def _cut(value: object) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(value or ""))
    return text if len(text) <= _MAX else text[: _MAX - 1] + "…"


def _json(row: Row) -> dict[str, object]:
    raw = row.detail if isinstance(row.detail, bytes) else row.detail.encode()
    try:
        return msgspec.json.decode(raw, type=dict[str, object]) if raw else {}
    except msgspec.DecodeError:
        return {}


# -------------------------------------------------------------------- what reports told


def told(device: str, key: str, one: Happening) -> Entry:
    """Return a happening in words."""
    title, detail, state = _TOLD[one.kind](one.detail) if one.kind in _TOLD else (one.kind, "", "")
    return Entry(
        key=key,
        at_ms=one.at_ms,
        kind=OF_TOLD.get(one.kind, one.kind),
        title=title,
        detail=_cut(detail),
        device=device,
        state=state,
    )


def told_key(device: str, number: int, one: Happening) -> str:
    """Return the key of a happening: the same before it is kept and after."""
    return f"told/{device}/{one.kind}/{number}"


def of_told(row: Row) -> Entry:
    """Return a kept happening in words."""
    return told(row.device, row.key, Happening(at_ms=row.at_ms, kind=row.kind, detail=_json(row)))


Said = tuple[str, object, str]
"""Title, detail, state."""


def _reboot(detail: Mapping[str, object]) -> Said:
    cause = str(detail.get("cause", ""))
    title = _REBOOTS.get(cause, "Started again; why is not known")
    return title, detail.get("said"), "ok" if cause in {"clean", "update"} else "degraded"


def _heat(detail: Mapping[str, object]) -> Said:
    flags = detail.get("flags")
    named = flag_text(flags) if isinstance(flags, list) else ""
    kind = detail.get("is")
    if kind == "began":
        return "Held back, by heat or power", named, "degraded"
    if kind == "occurred":
        return "Held back for a moment between two reports", named, "degraded"
    if kind == "unseen":
        return "Last seen held back; then it was silent", named, "unknown"
    return "Not held back any more", named, "ok"


def _software(detail: Mapping[str, object]) -> Said:
    title = _WHAT.get(str(detail.get("what")), "Something else runs")
    before, after = detail.get("before") or "none", detail.get("after")
    return title, f"{before} → {after}", ""


def _pipeline(detail: Mapping[str, object]) -> Said:
    said = detail.get("said")
    if detail.get("is") == "runs":
        return "The pipeline runs again", said, "ok"
    if detail.get("is") == "stopped":
        return "The pipeline does not run", said, "down"
    count = detail.get("count")
    times = "" if count == 1 else f" {count} times"
    return f"The pipeline ended unasked{times}", said, "degraded"


def _agent(detail: Mapping[str, object]) -> Said:
    return "The agent died without a word and was started again", detail.get("said"), "degraded"


def _clock(detail: Mapping[str, object]) -> Said:
    step_ms = detail.get("step_ms")
    if isinstance(step_ms, int | float):
        return "The clock was set", f"by {step_ms / 1000:+.1f} s against central", ""
    after = str(detail.get("after", ""))
    state = {"trusted": "ok", "floor": "degraded"}.get(after, "down")
    return _CLOCKS.get(after, "The clock changed its state"), "", state


def _problem(detail: Mapping[str, object]) -> Said:
    return "A new problem", detail.get("said"), "degraded"


_TOLD: Final[dict[str, Callable[[Mapping[str, object]], Said]]] = {
    "reboot": _reboot,
    "heat": _heat,
    "software": _software,
    "pipeline": _pipeline,
    "agent": _agent,
    "clock": _clock,
    "problem": _problem,
}


# ----------------------------------------------------------------------- what central saw


def _plain(row: Row, kind: str, said: Said) -> Entry:
    title, detail, state = said
    late = row.noticed_ms is not None and row.noticed_ms - row.at_ms > 120_000
    return Entry(
        key=row.key,
        at_ms=row.at_ms,
        kind=kind,
        title=title,
        detail=_cut(detail),
        device=row.device,
        camera=row.camera,
        state=state,
        end_ms=row.end_ms,
        noticed_ms=row.noticed_ms if late else None,
    )


def of_contact(row: Row) -> Entry:
    """Return a silence that began or ended."""
    if row.state == "dark":
        return _plain(row, "contact", ("Not heard from any more", "", "dark"))
    if row.since_ms is None:
        return _plain(row, "contact", ("Heard for the first time", "", "ok"))
    return _plain(row, "contact", ("Heard again", f"silent for {_span(row, row.since_ms)}", "ok"))


def _span(row: Row, since_ms: int) -> str:
    minutes = max(0, row.at_ms - since_ms) // 60_000
    hours, rest = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days} d {hours_left} h"
    return f"{hours} h {rest:02d} min" if hours else f"{minutes} min"


def of_site(row: Row) -> Entry:
    """Return a whole site that fell silent, or its first device that spoke again."""
    names = ", ".join(row.devices[:12])
    if row.state == "dark":
        return _plain(row, "contact", ("The whole site is dark", f"together: {names}", "dark"))
    return _plain(row, "contact", ("The site is back", f"first: {names}", "ok"))


_CAMERA: Final = {
    "ok": "Camera well",
    "degraded": "Camera degraded",
    "tampered": "Camera tampered",
    "down": "Camera down",
    "off": "Camera switched off",
    "starting": "Camera starting",
}


def of_camera(row: Row) -> Entry:
    """Return a camera that changed its state."""
    title = _CAMERA.get(row.state, f"Camera {row.state[:20]}")
    detail = row.detail if isinstance(row.detail, str) else ""
    said = "; ".join(part for part in (", ".join(row.signs[:6]), detail) if part)
    return _plain(row, "camera", (title, said, row.state))


_GAPS: Final = {
    "PIPELINE_STOPPED": ("Nothing was looked at: the pipeline stood still", "down"),
    "EVICTED": ("Data was dropped on the device for want of space; it is gone", "down"),
    "CLOCK_UNTRUSTED": ("Time that cannot be dated: the clock was not trusted", "degraded"),
}


def of_gap(row: Row) -> Entry:
    """Return a stretch that was lost."""
    title, state = _GAPS.get(row.cause, (row.cause, "down"))
    detail = row.detail if isinstance(row.detail, str) else ""
    many = f"{row.cameras} cameras" if row.cameras > 1 else ""
    return _plain(row, "gap", (title, "; ".join(p for p in (many, detail) if p), state))


def of_central(row: Row) -> Entry:
    """Return an absence of central."""
    return _plain(row, "central", ("Central was away", "devices kept what they saw", ""))


def of_enrolled(row: Row) -> Entry:
    """Return the moment in which a device got its name."""
    return _plain(row, "trust", ("Enrolled", "", "ok"))


# ------------------------------------------------------------------------- what people did

OF_DEVICES: Final[dict[str, tuple[str, str, str]]] = {
    "device.quarantine": ("trust", "Put into quarantine: two copies speak with its key", "why"),
    "device.release": ("trust", "Released from quarantine", "copy"),
    "device.drop_set_aside": ("trust", "What was set aside was dropped", "messages"),
    "device.revoke": ("trust", "Revoked", "reason"),
    "device.replace": ("trust", "Another machine took the name over", ""),
    "key.demand": ("trust", "Another key was asked for", ""),
    "key.announce": ("trust", "Announced its next key", "keyid"),
    "key.rotate": ("trust", "Speaks with its next key", "keyid"),
    "settings.change": ("operator", "Settings changed", "camera"),
    "thumbnail.ask": ("operator", "Asked for a picture", ""),
    "thumbnail.look": ("operator", "Looked at a picture", ""),
    "diagnostics.ask": ("operator", "Asked how it is", "kind"),
    "diagnostics.look": ("operator", "Read an answer", "kind"),
}
"""Action on a device → kind, title, and the part of its detail that is shown."""

OF_SITES: Final[dict[str, tuple[str, str, str]]] = {
    "site.add": ("operator", "The site was made", ""),
    "site.change": ("operator", "The site was changed", ""),
    "labels.change": ("operator", "Labels changed", ""),
    "policy.store": ("software", "A site policy was stored", "version"),
    "site.keys": ("trust", "The site's keys were replaced", ""),
    "site.keys.recover": ("trust", "The site's keys were set by hand", ""),
}


def of_audit(row: Row) -> Entry:
    """Return an entry of the audit log in words; secrets are not in it, nor is all of it shown."""
    kind, title, part = {**OF_DEVICES, **OF_SITES}.get(row.action, ("operator", row.action, ""))
    said = _json(row)
    if row.action in {"site.change", "labels.change"}:
        detail = ", ".join(sorted(said))
    else:
        detail = f"{said[part]}" if part and said.get(part) else ""
    target = row.target.split("/")
    is_device = row.action in OF_DEVICES
    entry = _plain(row, kind, (title, detail, ""))
    return msgspec.structs.replace(
        entry,
        device=target[0] if is_device else target[1] if len(target) > 1 else "",
        camera=target[-1] if len(target) > (1 if is_device else 2) else "",
        actor=row.actor[:80],
    )


def without_actors(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries as somebody sees them who may not know who did what."""
    return [msgspec.structs.replace(one, actor="") if one.actor else one for one in entries]
