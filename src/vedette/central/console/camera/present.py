"""A camera's view in, its page out. Pure: no request, no database, no clock."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from vedette.central.camera_settings import Sheet
from vedette.central.commissioned import Commissioning
from vedette.central.condition.advice import Finding, findings_of
from vedette.central.console import drawing
from vedette.central.console.page import Page
from vedette.central.console.ranges import RANGES, causes_in
from vedette.central.console.render import render
from vedette.central.console.text import iso_text, percent_text
from vedette.central.console.urls import camera_url, device_url
from vedette.central.console.words import AWAITING, DROPS, UNKNOWN
from vedette.central.own_shapes import OwnShapes
from vedette.central.views import CameraRow, CameraView

_DONE: Final = {
    "back": "Brought back as a new version; it is on its way to the device.",
    "overtaken": "Somebody changed this camera meanwhile: look at the newest version first.",
    "gone": "That version is not kept any more.",
}
_NONE_OWN: Final = OwnShapes()


def tabs(row: CameraRow, range_name: str = "") -> list[tuple[str, str, str]]:
    """Return the pages of a camera: name, title, address; those with numbers keep the range."""
    base = camera_url(row.site, row.device, row.camera)
    range_of = f"?range={range_name}" if range_name else ""
    return [
        ("camera", "Overview", base + range_of),
        ("picture", "Picture", f"{base}/picture{range_of}"),
        ("speed", "Speed", f"{base}/speed{range_of}"),
        ("counts", "Counts", f"{base}/counts{range_of}"),
        ("zones", "Zones and lines", f"{base}/zones"),
    ]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, what to do about it, and where the events of that time are.

    Attributes:
        of_range: It was measured over the time that the page shows, and is no state of the camera.
    """

    finding: Finding
    events_url: str
    of_range: bool


_LOST: Final = 0.05
"""Lost frames beyond this share of the captured ones are told."""

_BEFORE_MS: Final = 10 * 60_000


def findings(view: CameraView) -> list[Told]:
    """Return what is wrong with a camera and its device, worst first."""
    row = view.row
    # Findings of the device speak for its cameras; of another camera it has none here.
    states = findings_of(view.device)
    found = [*states, *_slow(view), *_lossy(view)]
    at = {"device": row.device, "camera": row.camera}
    return [
        Told(
            finding=one,
            events_url=events_url(row, one.since_ms) if one.since_ms is not None else "",
            of_range=n >= len(states),
        )
        for n, one in enumerate(msgspec.structs.replace(one, **at) for one in found)
    ]


def events_url(row: CameraRow, since_ms: int) -> str:
    """Return the address of a camera's events from shortly before something began."""
    query = {
        "site": row.site,
        "device": row.device,
        "camera": row.camera,
        "from": iso_text(max(0, since_ms - _BEFORE_MS))[:16],
    }
    return f"/events?{urlencode(query)}"


def _slow(view: CameraView) -> list[Finding]:
    """Say which stage is over its budget; the whole way only where no stage is to blame."""
    over = [
        one
        for one in view.stages
        if one.budget_ms is not None and one.p95_ms is not None and one.p95_ms > one.budget_ms
    ]
    parts = [one for one in over if one.stage != "total"] or over
    if not parts:
        return []
    said = ", ".join(f"{s.stage} {s.p95_ms:.0f} of {s.budget_ms:.0f} ms" for s in parts)
    text = "Look at Speed for since when; a throttled device, more cameras or another model do it."
    return [Finding(state="degraded", what=f"over budget (p95): {said}", todo=text, who="you")]


def _lossy(view: CameraView) -> list[Finding]:
    """Say that many frames were lost, and by which cause mostly."""
    captured = view.frames.get("captured", 0)
    lost = {k: n for k, n in view.frames.items() if k.startswith("dropped.") and n}
    share = sum(lost.values()) / captured if captured else 0.0
    if share <= _LOST:
        return []
    cause = max(lost, key=lambda name: lost[name]).removeprefix("dropped.")
    what = f"{percent_text(share)} of the frames were lost: {DROPS.get(cause, cause)}"
    return [Finding(state="degraded", what=what, todo=_LOST_TODO.get(cause, _LOST_ELSE), who="you")]


_LOST_TODO: Final = {
    "stale": "The device cannot keep up: fewer frames a second, a smaller model, or more hardware.",
    "undecodable": "The stream is damaged on its way: look at cable, switch and bit rate.",
    "bad_output": "The model answers nonsense: check its bundle with vedette model inspect.",
}
_LOST_ELSE: Final = "Ask the device for its log: it says why."


def camera_html(
    view: CameraView,
    range_name: str,
    page: Page,
    *,
    may_request: bool,
    commissioned: Sequence[Commissioning] = (),
) -> str:
    """Return a camera's page, or its live part."""
    row = view.row
    base = camera_url(row.site, row.device, row.camera)
    total = next((s.budget_ms for s in view.stages if s.stage == "total"), None)
    picture = _event_px(view)
    seen_ms = sum(s.end_ms - s.start_ms for s in row.strip)
    gaps = [gap for gap in view.gaps if gap.cause not in {None, AWAITING, UNKNOWN}]
    gaps.sort(key=lambda gap: gap.start_ms, reverse=True)
    return render(
        "camera/body.html" if page.part else "camera/page.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        view=msgspec.structs.replace(view, gaps=gaps),
        picture_px=picture,
        base_url=base,
        ranges=[(name, text) for name, (text, _) in RANGES.items()],
        range_name=range_name,
        range_links={name: f"{base}?range={name}" for name in RANGES},
        causes_seen=causes_in([row.strip], holes=seen_ms < view.to_ms - view.from_ms - 1000),
        budget_total_ms=total,
        may_request=may_request,
        tabs=tabs(row, range_name),
        found=findings(view),
        commissioned=commissioned,
        missing=[one.label for one in view.counts if one.kind == "left_out"],
    )


def zones_html(
    view: CameraView,
    sheet: Sheet,
    page: Page,
    *,
    may_edit: bool,
    done: str = "",
    own: OwnShapes = _NONE_OWN,
) -> str:
    """Return the page on which zones and lines are drawn, or its live part."""
    row = view.row
    base = camera_url(row.site, row.device, row.camera)
    height = drawing.scene_height(sheet.picture_px or _event_px(view))
    settings = sheet.settings
    of = f"/v1/sites/{row.site}/devices/{row.device}/cameras/{row.camera}"
    editor = {
        "settings": msgspec.to_builtins(settings),
        "version": sheet.version,
        "height": height,
        "url": f"{of}/settings",
        "own": {"zones": own.zones, "lines": own.lines},
        "csrf": page.looker.csrf,
    }
    return render(
        "camera/versions.html" if page.part else "camera/zones.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url.partition("?")[0],
        cam=row,
        base_url=base,
        tabs=tabs(row),
        sheet=sheet,
        height=height,
        zones=[msgspec.to_builtins(zone) for zone in settings.zones or []],
        lines=[msgspec.to_builtins(line) for line in settings.lines or []],
        own=own,
        own_zones=[msgspec.to_builtins(zone) for zone in own.zones],
        own_lines=[msgspec.to_builtins(line) for line in own.lines],
        questions_url=f"{device_url(row.site, row.device)}/questions",
        picture_url=view.thumbnail.url,
        taken_ms=view.thumbnail.taken_ms,
        editor=msgspec.json.encode(editor).decode(),
        may_edit=may_edit,
        done=_DONE.get(done, ""),
    )


def _event_px(view: CameraView) -> tuple[int, int] | None:
    """Return the size of the camera's pictures as its events say it."""
    return next((event.picture_px for event in view.events if event.picture_px), None)
