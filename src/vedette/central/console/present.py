"""Views and filters in, pages out: what handlers, `/-/patterns` and tests call alike.

Pure: no request, no database, no clock. The rule: what a page shows is decided here, worst first;
its filters are its URL and nothing else.
"""

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from vedette.central.console.render import Looker, render
from vedette.central.console.words import AWAITING, CAUSES, UNKNOWN, badness
from vedette.central.views import (
    CameraRow,
    CameraView,
    DeviceRow,
    EventRow,
    FleetView,
    Segment,
    SiteRow,
)

RANGES: Final[dict[str, tuple[str, int]]] = {
    "15m": ("15 min", 900_000),
    "1h": ("1 h", 3_600_000),
    "6h": ("6 h", 6 * 3_600_000),
    "24h": ("24 h", 24 * 3_600_000),
    "7d": ("7 d", 7 * 86_400_000),
}
DEFAULT_RANGE: Final = "24h"
FLEET_RANGES: Final = ("15m", "1h", "6h", "24h")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a page is made, when, under which URL, and whether only its live part is wanted."""

    looker: Looker
    now_ms: int
    self_url: str
    part: bool = False


class FleetFilters(msgspec.Struct, frozen=True, kw_only=True):
    """What the fleet page's URL asks for; state `trouble` is anything but ok, off, starting.

    An empty `range_name` leaves the choice to `fitting_range`.
    """

    q: str = ""
    state: str = ""
    range_name: str = ""


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What the events page's URL asks for; times as the browser's field writes them, UTC."""

    site: str = ""
    device: str = ""
    camera: str = ""
    kind: str = ""
    label: str = ""
    from_text: str = ""
    to_text: str = ""
    cursor: str = ""

    def query(self, **changes: str) -> str:
        """Return these filters as a query string, some of them changed, empty ones left out."""
        named = {
            "site": self.site,
            "device": self.device,
            "camera": self.camera,
            "kind": self.kind,
            "label": self.label,
            "from": self.from_text,
            "to": self.to_text,
            "cursor": self.cursor,
        } | changes
        return urlencode({key: value for key, value in named.items() if value})


def fleet_url(filters: FleetFilters) -> str:
    """Return the fleet page's URL with these filters."""
    named = (("q", filters.q), ("state", filters.state), ("range", filters.range_name))
    query = urlencode({key: value for key, value in named if value})
    return f"/?{query}" if query else "/"


def fitting_range(strips: Iterable[Sequence[Segment]], now_ms: int) -> str:
    """Return the shortest range, up to a day, that shows all that is known: for young fleets."""
    first_ms = min((strip[0].start_ms for strip in strips if strip), default=0)
    for name in FLEET_RANGES:
        if now_ms - RANGES[name][1] <= first_ms:
            return name
    return DEFAULT_RANGE


def camera_url(site: str, device: str, camera: str) -> str:
    """Return the URL of a camera's page."""
    return f"/sites/{quote(site)}/cameras/{quote(device)}/{quote(camera)}"


def chosen(view: FleetView, filters: FleetFilters) -> list[SiteRow]:
    """Return the sites with what the filters leave of them, worst first at every level."""
    sites: list[SiteRow] = []
    for site in view.sites:
        devices = [left for device in site.devices if (left := _left(site, device, filters))]
        if devices or (not filters.state and not site.devices and _named(filters.q, site)):
            devices.sort(key=lambda device: (_worst(device), device.device))
            sites.append(msgspec.structs.replace(site, devices=devices))
    sites.sort(key=lambda site: (min((_worst(d) for d in site.devices), default=99), site.site))
    return sites


def _worst(device: DeviceRow) -> int:
    """Return the badness of the worst thing about a device."""
    return min([badness(device.state), *(badness(camera.state) for camera in device.cameras)])


def _left(site: SiteRow, device: DeviceRow, filters: FleetFilters) -> DeviceRow | None:
    """Return a device with the cameras that the filters leave; None where nothing is left."""
    words = filters.q.lower().split()
    place = f"{site.site} {site.name} {device.device}".lower()
    cameras = [
        camera
        for camera in device.cameras
        if _in_state(camera, filters.state)
        and all(word in f"{place} {camera.camera} {camera.name}".lower() for word in words)
    ]
    cameras.sort(key=lambda camera: (badness(camera.state), camera.camera))
    alone = not device.cameras and not filters.state and all(word in place for word in words)
    return msgspec.structs.replace(device, cameras=cameras) if cameras or alone else None


def _in_state(camera: CameraRow, wanted: str) -> bool:
    if wanted == "trouble":
        return camera.state not in {"ok", "off", "starting"}
    return not wanted or camera.state == wanted


def _named(q: str, site: SiteRow) -> bool:
    return all(word in f"{site.site} {site.name}".lower() for word in q.lower().split())


def causes_in(strips: Iterable[Sequence[Segment]], *, holes: bool) -> list[str]:
    """Return the causes that a legend has to explain, in the order of their table."""
    seen = {segment.cause for strip in strips for segment in strip}
    if holes:
        seen.add(UNKNOWN)
    return [cause for cause in CAUSES if cause in seen]


def fleet_html(view: FleetView, filters: FleetFilters, page: Page) -> str:
    """Return the fleet page, or its live part."""
    sites = chosen(view, filters)
    cameras = [camera for site in sites for device in site.devices for camera in device.cameras]
    wrong = sum(n for state, n in view.counts.items() if state not in {"ok", "off", "starting"})
    links = {
        state: fleet_url(
            msgspec.structs.replace(filters, state="" if filters.state == state else state)
        )
        for state in (*view.counts, "ok", "down", "dark", "tampered", "degraded")
    }
    range_name = filters.range_name
    if not range_name:
        known = (c.strip for site in view.sites for d in site.devices for c in d.cameras)
        range_name = fitting_range(known, view.to_ms)
        view = msgspec.structs.replace(view, from_ms=view.to_ms - RANGES[range_name][1])
    return render(
        "parts/fleet_body.html" if page.part else "fleet.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        title=f"{wrong} wrong · Fleet" if wrong else "Fleet",
        view=msgspec.structs.replace(view, sites=sites),
        filters=filters,
        total_sites=len(view.sites),
        total_cameras=sum(view.counts.values()),
        state_links=links,
        ranges=[(name, RANGES[name][0]) for name in FLEET_RANGES],
        range_name=range_name,
        range_text=RANGES[range_name][0],
        range_links={
            name: fleet_url(msgspec.structs.replace(filters, range_name=name))
            for name in FLEET_RANGES
        },
        causes_seen=causes_in(
            (camera.strip for camera in cameras), holes=_has_holes(cameras, view)
        ),
    )


def _has_holes(cameras: Sequence[CameraRow], view: FleetView) -> bool:
    """True where some strip does not speak of all of the window."""
    span_ms = view.to_ms - view.from_ms
    return any(
        sum(s.end_ms - s.start_ms for s in camera.strip) < span_ms - 1000 for camera in cameras
    )


def camera_html(view: CameraView, range_name: str, page: Page, *, may_request: bool) -> str:
    """Return a camera's page, or its live part."""
    row = view.row
    base = camera_url(row.site, row.device, row.camera)
    total = next((s.budget_ms for s in view.stages if s.stage == "total"), None)
    picture = next((event.picture_px for event in view.events if event.picture_px), None)
    seen_ms = sum(s.end_ms - s.start_ms for s in row.strip)
    gaps = [gap for gap in view.gaps if gap.cause not in {None, AWAITING, UNKNOWN}]
    gaps.sort(key=lambda gap: gap.start_ms, reverse=True)
    return render(
        "parts/camera_body.html" if page.part else "camera.html",
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
        missing=[one.label for one in view.counts if one.kind == "left_out"],
    )


def events_html(
    events: Sequence[EventRow], filters: EventQuery, next_cursor: str | None, page: Page
) -> str:
    """Return a page of events, or its live part."""
    return render(
        "parts/events_body.html" if page.part else "events.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        events=events,
        filters=filters,
        filtered=bool(filters.query(cursor="")),
        first_url=f"/events?{filters.query(cursor='')}",
        next_url=f"/events?{filters.query(cursor=next_cursor)}" if next_cursor else "",
    )


def event_html(
    event: EventRow,
    page: Page,
    *,
    zones: Sequence[dict[str, object]] = (),
    lines: Sequence[dict[str, object]] = (),
) -> str:
    """Return one event's page."""
    record = event.evidence_json
    text = msgspec.json.format(msgspec.json.encode(record), indent=2).decode() if record else ""
    return render(
        "event.html",
        looker=page.looker,
        now_ms=page.now_ms,
        event=_with_record_defaults(event),
        record_text=text,
        zones=zones,
        lines=lines,
    )


_RECORD: Final[dict[str, object]] = {
    "wanted_ms": None,
    "actual_ms": None,
    "shortfall": "",
    "detail": "",
    "stays_on_site": True,
    "bytes": 0,
    "codec": "",
    "picture_px": None,
    "sha256": "",
    "poster": "",
}


def _with_record_defaults(event: EventRow) -> EventRow:
    """Return the event with every field of its evidence record: older devices send fewer."""
    if event.evidence_json is None:
        return event
    return msgspec.structs.replace(event, evidence_json=_RECORD | event.evidence_json)


def error_html(title: str, detail: str, looker: Looker | None, now_ms: int) -> str:
    """Return the page for something that did not work: in words, with a way on."""
    return render("error.html", looker=looker, now_ms=now_ms, title=title, detail=detail)
