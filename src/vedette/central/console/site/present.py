"""A site's view in, its page out. Pure: no request, no database, no clock."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

import msgspec

from vedette.central import hours
from vedette.central.condition import advice
from vedette.central.condition.covered import Covered
from vedette.central.condition.figures import Figure
from vedette.central.console.device.present import Timeline
from vedette.central.console.page import Page
from vedette.central.console.ranges import FLEET_RANGES, RANGES, causes_in
from vedette.central.console.render import render
from vedette.central.console.site.labels import label_text
from vedette.central.console.urls import site_url
from vedette.central.inventory import Item
from vedette.central.timeline.words import KINDS
from vedette.central.tree import SitePlace
from vedette.central.views import SiteRow

DEFAULT: Final = "24h"
DONE: Final = {
    "changed": "Changed, and written into the audit log.",
    "labels": "Labels changed, and written into the audit log.",
}

VERDICTS: Final = {
    "met": ("ok", "met"),
    "missed": ("down", "missed"),
    "undecided": ("degraded", "not decided: data is still to come"),
    "too_little": ("unknown", "too little time to judge"),
}


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on a site's page but its timeline, over `from_ms` to `to_ms`."""

    row: SiteRow
    place: SitePlace
    at_ms: int
    from_ms: int
    to_ms: int
    covered: list[Covered]
    cameras: Sequence[Item]
    figures: list[Figure] = []


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a site's page shows beside its view."""

    range_name: str = DEFAULT
    done: str = ""
    problem: str = ""
    may_operate: bool = False
    may_administer: bool = False
    timeline: Timeline = Timeline()


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """A site's time now, and whether it is open."""

    local: str
    zone: str
    has_hours: bool
    is_open: bool
    next_change: str
    week: str
    exceptions: list[str]


def clock(place: SitePlace, now_ms: int) -> Clock:
    """Return what the clock on the site's wall shows, and its opening hours in words."""
    zone, opening = hours.zone_of(place.time_zone), place.opening()
    change_ms = hours.next_change_ms(opening, zone, now_ms)
    said = ""
    if change_ms is not None:
        at = datetime.fromtimestamp(change_ms / 1000, zone)
        is_today = at.date() == datetime.fromtimestamp(now_ms / 1000, zone).date()
        said = at.strftime("%H:%M" if is_today else "%a %d %b %H:%M")
    exceptions = [
        f"{day} {','.join(f'{a}-{b}' for a, b in stretches) or 'closed'}"
        for day, stretches in sorted(opening.exceptions.items() if opening else ())
    ]
    return Clock(
        local=datetime.fromtimestamp(now_ms / 1000, zone).strftime("%a %d %b %H:%M"),
        zone=place.time_zone,
        has_hours=opening is not None,
        is_open=hours.is_open(opening, zone, now_ms),
        next_change=said,
        week=hours.text_of(opening) if opening else "",
        exceptions=exceptions,
    )


def folder_crumbs(folder: str) -> list[tuple[str, str]]:
    """Return name and path of each folder above a site."""
    steps = folder.split("/") if folder else []
    return [(name, "/".join(steps[: at + 1])) for at, name in enumerate(steps)]


def site_html(view: SiteView, shown: Shown, page: Page) -> str:
    """Return a site's page, or its live part."""
    base = site_url(view.row.site)
    strips = [camera.strip for device in view.row.devices for camera in device.cameras]
    span_ms = view.to_ms - view.from_ms
    holes = any(sum(s.end_ms - s.start_ms for s in strip) < span_ms - 1000 for strip in strips)
    return render(
        "site/body.html" if page.part else "site/page.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        base_url=base,
        view=view,
        site=view.row,
        place=view.place,
        clock=clock(view.place, page.now_ms),
        crumbs=folder_crumbs(view.place.folder),
        findings=advice.findings(view.row),
        business_url=f"/business?{urlencode({'of': f'site:{view.row.site}'})}",
        verdicts=VERDICTS,
        ranges=[(name, RANGES[name][0]) for name in FLEET_RANGES],
        range_name=shown.range_name,
        range_text=RANGES[shown.range_name][0],
        range_links={name: f"{base}?range={name}" for name in FLEET_RANGES},
        causes_seen=causes_in(strips, holes=holes),
        done=DONE.get(shown.done, ""),
        problem=shown.problem,
        may_operate=shown.may_operate,
        may_administer=shown.may_administer,
        timeline=shown.timeline,
        kinds=KINDS,
        label_text=label_text(view.place.labels),
    )
