"""The fleet's view and filters in, its page out.

Pure: no request, no database, no clock. The rule: what the page shows is decided here, worst first.
A page is a head and sections (a site each, or a hundred cells), and each has a version, a hash of
its text: what a browser says that it has is not sent again.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from markupsafe import Markup

from vedette.central.console import words
from vedette.central.console.fleet import filters as asking
from vedette.central.console.fleet import saving, together
from vedette.central.console.fleet.filters import HEALTHY, FleetFilters, fleet_url
from vedette.central.console.page import Page
from vedette.central.console.ranges import DEFAULT_RANGE, FLEET_RANGES, RANGES, causes_in
from vedette.central.console.render import part, render
from vedette.central.console.words import badness
from vedette.central.coverage import combine
from vedette.central.saved import View
from vedette.central.views import CameraRow, Coverage, Segment, SiteRow

EXPANDED: Final = 20
"""Sites in trouble that are shown with their cameras unasked."""

CELLS: Final = 100
"""Cells in one section of the grid."""

MOST_CELLS: Final = 5_000


class FleetPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the fleet page shows.

    Attributes:
        sites: All that the filters leave, worst first, without strips.
        shown: The first of them with strips; in the grid none.
        shares: In the grid, how much of the last day was observed at each site.
        counts: Cameras by state, of everything in scope.
        problem: What could not be understood of the question.
    """

    at_ms: int
    from_ms: int
    to_ms: int
    range_name: str
    filters: FleetFilters
    counts: Mapping[str, int]
    total_sites: int
    sites: Sequence[SiteRow]
    shown: Sequence[SiteRow] = ()
    shares: Mapping[str, Coverage] = {}
    throttled_s: Mapping[str, float] = {}
    folders: Sequence[tuple[str, str, int, int]] = ()  # folder, its last step, sites, wrong ones
    groups: Sequence[str] = ()
    views: Sequence[View] = ()
    problem: tuple[str, str] = ("", "")
    may_share: bool = False


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the page; `html` None where the browser has it."""

    key: str
    css: str
    version: str
    html: Markup | None


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A page as HTML, and the version of all of it."""

    html: str
    version: str


def range_of(filters: FleetFilters, known_from_ms: Iterable[int], now_ms: int) -> str:
    """Return the range asked for, or the shortest, up to a day, that shows all that is known."""
    if filters.range_name:
        return filters.range_name
    first_ms = min(known_from_ms, default=0)
    return next((r for r in FLEET_RANGES if now_ms - RANGES[r][1] <= first_ms), DEFAULT_RANGE)


def step_ms(range_name: str) -> int:
    """Return by how much a window moves: less than what an eye can see of it."""
    return max(10_000, RANGES[range_name][1] // 720_000 * 1000)


def folders_below(sites: Iterable[SiteRow], folder: str) -> list[tuple[str, str, int, int]]:
    """Return the folders right below one: path, last step, sites in it, those with trouble."""
    counted: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    depth = len(folder.split("/")) if folder else 0
    for site in sites:
        steps = site.folder.split("/") if site.folder else []
        if len(steps) <= depth or steps[:depth] != (folder.split("/") if folder else []):
            continue
        below = "/".join(steps[: depth + 1])
        counted[below] += 1
        wrong[below] += site.state not in HEALTHY
    return [(path, path.rsplit("/", 1)[-1], n, wrong[path]) for path, n in sorted(counted.items())]


def fleet_html(
    view: FleetPage, page: Page, have: frozenset[str] = frozenset(), *, done: str = ""
) -> Made:
    """Return the fleet page, or its live part without the sections that the browser `have`."""
    is_grid = view.filters.view == "grid"
    made = _cells(view) if is_grid else _rows(view, page)
    head = part("fleet/head.html", **_head(view, page))
    # The token of its forms is written anew each time, and is no news.
    version = _hash(head.replace(page.looker.csrf, ""), *(section.version for section in made))
    wrong = sum(n for state, n in view.counts.items() if state not in HEALTHY)
    sections = [
        msgspec.structs.replace(s, html=None) if page.part and s.version in have else s
        for s in made
    ]
    strips = [c.strip for site in view.shown for d in site.devices for c in d.cameras]
    html = render(
        "fleet/body.html" if page.part else "fleet/page.html",
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        title=f"{wrong} wrong · Fleet" if wrong else "Fleet",
        view=view,
        head=head,
        sections=sections,
        version=version,
        done=saving.DONE.get(done, ""),
        refused=done in saving.REFUSED,
        is_grid=is_grid,
        more=_more(view),
        range_text=RANGES[view.range_name][0],
        causes_seen=causes_in(strips, holes=_has_holes(strips, view)),
        states_seen=[s for s in words.STATES if any(site.state == s for site in view.sites)],
    )
    return Made(html=html, version=version)


def _hash(*parts: str) -> str:
    return hashlib.blake2s("\0".join(parts).encode(), digest_size=5).hexdigest()


def _section(key: str, css: str, html: Markup) -> Section:
    return Section(key=key, css=css, version=_hash(key, css, html), html=html)


# -------------------------------------------------------------------------------------- the head


def _head(view: FleetPage, page: Page) -> dict[str, Any]:
    filters = view.filters
    one = lambda **changes: fleet_url(  # noqa: E731
        msgspec.structs.replace(filters, **({"show": asking.PAGE, "opened": ()} | changes))
    )
    states = (*view.counts, "ok", "down", "dark", "tampered", "degraded")
    steps = filters.folder.split("/") if filters.folder else []
    query = asking.plain_query(fleet_url(filters).removeprefix("/?"))
    return {
        "view": view,
        "filters": filters,
        "looker": page.looker,
        "now_ms": page.now_ms,
        "state_links": {s: one(state="" if filters.state == s else s) for s in states},
        "ranges": [(name, RANGES[name][0], one(range_name=name)) for name in FLEET_RANGES],
        "modes": [("list", "List", one(view="")), ("grid", "Grid", one(view="grid"))],
        "crumbs": [(step, one(folder="/".join(steps[: n + 1]))) for n, step in enumerate(steps)],
        "top_link": one(folder=""),
        "folder_links": [(name, one(folder=p), n, bad) for p, name, n, bad in view.folders],
        "of_cameras": asking.OF_CAMERAS,
        "of_devices": asking.OF_DEVICES,
        "sinces": asking.SINCE,
        "query": query,
        "open_view": next((v for v in view.views if query and v.query == query), None),
        "own": [v for v in view.views if v.owner == page.looker.username],
        "others": [v for v in view.views if v.owner != page.looker.username],
        "total_cameras": sum(view.counts.values()),
        "found": len(view.sites),
        "found_cameras": sum(len(d.cameras) for site in view.sites for d in site.devices),
    }


def _more(view: FleetPage) -> tuple[str, int] | None:
    """Return where the next sites are, and how many; None where all are shown."""
    left = len(view.sites) - len(view.shown)
    if view.filters.view == "grid" or left <= 0 or view.filters.show >= asking.MOST:
        return None
    show = min(view.filters.show + asking.PAGE, asking.MOST)
    url = fleet_url(msgspec.structs.replace(view.filters, show=show))
    return url, min(left, show - view.filters.show)


# -------------------------------------------------------------------------------------- the list


def _rows(view: FleetPage, page: Page) -> list[Section]:
    step = step_ms(view.range_name)
    made: list[Section] = []
    expanded = 0
    for bare in view.shown:
        site = _in_order(bare, step)
        is_bad = site.state not in HEALTHY
        opened = site.site in view.filters.opened
        shows = opened or view.filters.looks_for or (is_bad and expanded < EXPANDED)
        expanded += is_bad
        told = {
            "site": site,
            "view": view,
            "now_ms": page.now_ms,
            "opened": opened,
            "toggle": _toggle(view.filters, site.site),
        }
        if shows:
            made.append(_section(site.site, "panel site", part("fleet/site.html", **told)))
            continue
        cameras = [camera for device in site.devices for camera in device.cameras]
        told |= {
            "strip": together.worst([camera.strip for camera in cameras]) if cameras else [],
            "coverage": combine(camera.coverage for camera in cameras),
            "cameras": len(cameras),
            "wrong": sum(camera.state not in HEALTHY for camera in cameras),
        }
        made.append(_section(site.site, "panel site thin", part("fleet/thin.html", **told)))
    return made


def _in_order(site: SiteRow, step: int) -> SiteRow:
    """Return a site with its cameras worst first and their strips settled."""

    def settled(camera: CameraRow) -> CameraRow:
        return msgspec.structs.replace(camera, strip=together.settled(camera.strip, step))

    devices = [
        msgspec.structs.replace(
            device,
            cameras=[
                settled(c)
                for c in sorted(device.cameras, key=lambda c: (badness(c.state), c.camera))
            ],
        )
        for device in site.devices
    ]
    return msgspec.structs.replace(site, devices=devices)


def _toggle(filters: FleetFilters, site: str) -> str:
    opened = tuple(name for name in filters.opened if name != site)
    if len(opened) == len(filters.opened):
        opened = (*opened, site)
    return fleet_url(msgspec.structs.replace(filters, opened=opened))


def _has_holes(strips: Iterable[Sequence[Segment]], view: FleetPage) -> bool:
    """True where some strip does not speak of all of the window."""
    span_ms = view.to_ms - view.from_ms
    return any(sum(s.end_ms - s.start_ms for s in strip) < span_ms - 1000 for strip in strips)


# -------------------------------------------------------------------------------------- the grid


def _cells(view: FleetPage) -> list[Section]:
    """Return the grid in sections; by name within a folder, so that a place keeps its place."""
    ordered = sorted(view.sites[:MOST_CELLS], key=lambda site: (site.folder, site.site))
    made: list[Section] = []
    for first in range(0, len(ordered), CELLS):
        some = ordered[first : first + CELLS]
        html = part("fleet/cells.html", sites=some, shares=view.shares)
        made.append(_section(f"cells-{first // CELLS}", "cells", html))
    return made
