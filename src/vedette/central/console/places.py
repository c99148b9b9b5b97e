"""Finding places: what the palette offers, and where printed labels lead.

The search is over the fleet as it is kept for all lookers (`overview`), so a letter typed costs no
database; what is out of scope is not found. Pure: `find`.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Annotated, Final, NamedTuple

import msgspec
from litestar import Response, get
from litestar.params import FromPath, QueryParameter

from vedette.central.api import access
from vedette.central.api.access import TheServices, TheSession
from vedette.central.console import navigation
from vedette.central.console.page import see_other
from vedette.central.console.urls import camera_url, device_url, site_url
from vedette.central.views import CameraRow, DeviceRow, SiteRow

MOST: Final = 30


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the palette finds; `state` where it has one."""

    text: str
    kind: str
    href: str
    state: str = ""


class _Hit(NamedTuple):
    """Something found: the smaller, the better."""

    rank: int
    level: int
    key: str
    found: Place | SiteRow | DeviceRow | CameraRow
    site: str = ""


def find(
    sites: Iterable[SiteRow], q: str, role: str, limit: int = MOST, *, whole: bool = True
) -> list[Place]:
    """Return what has all the words of `q`, best first: names that begin so before others.

    Without words: pages and actions. A camera is found by its own, its device's and its site's
    names together, as in "lisbon door"; by those of its place alone it comes last.
    """
    words = q.lower().split()
    hits: list[_Hit] = []
    for at, (text, kind, href) in enumerate(navigation.offered(role, whole=whole)):
        if all(word in text.lower() for word in words):
            place = Place(text=text, kind=kind, href=href)
            hits.append(_Hit(_rank(text.lower(), words), -1, f"{at:03}", place))
    for site in sites if words else ():
        hits += _in_site(site, words)
    return [_place(hit) for hit in heapq.nsmallest(limit, hits, key=lambda hit: hit[:3])]


def _in_site(site: SiteRow, words: list[str]) -> Iterator[_Hit]:
    of_site = f"{site.site} {site.name}".lower()
    missing = [word for word in words if word not in of_site]
    if not missing:
        yield _Hit(_rank(of_site, words), 0, site.site, site)
    for device in site.devices:
        of_device = device.device.lower()
        left = [word for word in missing if word not in of_device]
        if not left:
            rank = _rank(of_device, words) if any(w in of_device for w in words) else _OF_PLACE
            yield _Hit(rank, 1, device.device, device, site.name or site.site)
        for camera in device.cameras:
            own = f"{camera.name} {camera.camera}".lower()
            if left and any(word not in own for word in left):
                continue
            rank = _rank(own, words) if any(word in own for word in words) else _OF_PLACE
            yield _Hit(rank, 2, camera.device + camera.camera, camera, site.name or site.site)


_OF_PLACE: Final = 3


def _rank(text: str, words: list[str]) -> int:
    """Return 0 where the text begins with what was typed, 1 where a word of it does, else 2."""
    if text.startswith(" ".join(words)):
        return 0
    return 1 if any(part.startswith(word) for word in words for part in text.split()) else 2


def _place(hit: _Hit) -> Place:
    row = hit.found
    if isinstance(row, SiteRow):
        kind = f"site in {row.folder}" if row.folder else "site"
        href = site_url(row.site)
        return Place(text=row.name or row.site, kind=kind, href=href, state=row.state)
    if isinstance(row, DeviceRow):
        href = device_url(row.site, row.device)
        return Place(text=row.device, kind=f"device · {hit.site}", href=href, state=row.state)
    if isinstance(row, CameraRow):
        kind = f"camera · {hit.site} · {row.device}"
        href = camera_url(row.site, row.device, row.camera)
        return Place(text=row.name or row.camera, kind=kind, href=href, state=row.state)
    return row


@get("/places", include_in_schema=False)
async def places(
    services: TheServices,
    session: TheSession,
    q: Annotated[str, QueryParameter(max_length=100)] = "",
) -> list[Place]:
    """Return pages, actions, sites, devices and cameras in scope with these words, best first."""
    found = await services.overview.skeleton(services.db, services.clock, session.sites)
    return find(found.sites, q, session.role, whole=session.sites is None)


@get("/at/{site:str}/{device:str}", include_in_schema=False)
async def labelled_device(
    session: TheSession, site: FromPath[str], device: FromPath[str]
) -> Response[str]:
    """Lead from a printed label to its device; labels outlive the addresses of pages."""
    access.require_site(session, site)
    return see_other(device_url(site, device))


@get("/at/{site:str}/{device:str}/{camera:str}", include_in_schema=False)
async def labelled_camera(
    session: TheSession, site: FromPath[str], device: FromPath[str], camera: FromPath[str]
) -> Response[str]:
    """Lead from a printed label to its camera."""
    access.require_site(session, site)
    return see_other(camera_url(site, device, camera))


OWN: Final = [labelled_device, labelled_camera, places]
