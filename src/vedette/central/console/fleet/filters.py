"""What the fleet page's URL asks for, and which sites, devices and cameras that leaves. Pure.

The rule: the URL is the whole of it, so that a view can be sent, saved and opened again; a value
that means nothing is dropped, never an error.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from vedette.central.console.ranges import FLEET_RANGES
from vedette.central.console.words import CAMERA_STATES, SIGNS, badness
from vedette.central.selection import MAX_CHARS, is_folder, is_in
from vedette.central.tree import Place
from vedette.central.views import CameraRow, DeviceRow, SiteRow
from vedette.ids import is_slug
from vedette.wire.messages import Cause

HEALTHY: Final = frozenset({"ok", "off", "starting"})
"""States in which nobody has to do anything."""

PAGE: Final = 50
"""Sites that the list shows at first, and that are added by each "show more"."""

MOST: Final = 500
VIEWS: Final = ("grid",)
"""Ways to show the fleet besides the list."""

WHOLE: Final = "/?view=list"
"""The whole fleet; without a query it opens with the view that somebody starts with."""

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

THROTTLED_WEEK: Final = "throttled-7d"

OF_CAMERAS: Final[dict[str, str]] = {
    **SIGNS,
    str(Cause.CAMERA_DOWN): "camera gives no pictures",
    str(Cause.PIPELINE_STOPPED): "pipeline does not run",
}
OF_DEVICES: Final[dict[str, str]] = {
    "dark": "device not heard from",
    "never": "device never heard from",
    "quarantined": "device in quarantine",
    "throttled": "device throttled now",
    THROTTLED_WEEK: "device throttled in the last 7 days",
    "clock": "device clock not trusted",
    "settings": "settings on their way",
    "backfill": "messages wait on the device",
    "problems": "device reports a problem",
}
CAUSES: Final = OF_CAMERAS | OF_DEVICES
"""Causes of trouble that can be asked for, and how they are called."""

SINCE: Final[dict[str, tuple[str, int]]] = {
    "new-1h": ("began in the last hour", HOUR_MS),
    "new-24h": ("began in the last 24 hours", DAY_MS),
    "new-7d": ("began in the last 7 days", 7 * DAY_MS),
    "old-1h": ("for more than an hour", HOUR_MS),
    "old-24h": ("for more than 24 hours", DAY_MS),
    "old-7d": ("for more than 7 days", 7 * DAY_MS),
}
_BACKLOG: Final = 500
"""Messages that wait on a device: fewer are on their way anyhow."""


class FleetFilters(msgspec.Struct, frozen=True, kw_only=True):
    """What the fleet page's URL asks for; state `trouble` is anything but ok, off, starting.

    Attributes:
        cause: A cause of trouble (`CAUSES`); `since` when that began (`SINCE`).
        sel: A selection, as in docs/organise-a-fleet.md; `group` the name of one.
        range_name: Empty leaves the choice to the page.
        show: How many sites; `opened` the healthy ones that are shown with their cameras.
    """

    q: str = ""
    state: str = ""
    cause: str = ""
    since: str = ""
    sel: str = ""
    group: str = ""
    folder: str = ""
    view: str = ""
    range_name: str = ""
    show: int = PAGE
    opened: tuple[str, ...] = ()

    @property
    def narrows(self) -> bool:
        """True where something is left out."""
        return bool(
            self.q or self.state or self.cause or self.since or self.sel or self.group
            or self.folder
        )  # fmt: skip

    @property
    def looks_for(self) -> bool:
        """True where cameras are looked for, and not only sites: then they are shown."""
        return bool(self.q or self.state or self.cause or self.since)


def read(asked: Mapping[str, str]) -> FleetFilters:
    """Return what a query string asks for."""

    def one_of(name: str, known: Iterable[str]) -> str:
        value = asked.get(name, "")
        return value if value in known else ""

    show = asked.get("show", "")
    folder = asked.get("folder", "")
    group = asked.get("group", "")
    opened = [site for site in asked.get("open", "").split(",")[:MOST] if is_slug(site)]
    return FleetFilters(
        q=asked.get("q", "").strip()[:100],
        state=one_of("state", (*CAMERA_STATES, "trouble")),
        cause=one_of("cause", CAUSES),
        since=one_of("since", SINCE),
        sel=asked.get("sel", "").strip()[:MAX_CHARS],
        group=group if is_slug(group) else "",
        folder=folder if is_folder(folder) else "",
        view=one_of("view", VIEWS),
        range_name=one_of("range", FLEET_RANGES),
        show=min(int(show), MOST) if show.isdecimal() and len(show) < 6 and int(show) else PAGE,
        opened=tuple(dict.fromkeys(opened)),
    )


def fleet_url(filters: FleetFilters) -> str:
    """Return the fleet page's URL with these filters."""
    named = (
        ("q", filters.q),
        ("state", filters.state),
        ("cause", filters.cause),
        ("since", filters.since),
        ("sel", filters.sel),
        ("group", filters.group),
        ("folder", filters.folder),
        ("view", filters.view),
        ("range", filters.range_name),
        ("show", str(filters.show) if filters.show != PAGE else ""),
        ("open", ",".join(filters.opened)),
    )
    query = urlencode({key: value for key, value in named if value}, safe="/,:*")
    return f"/?{query}" if query else WHOLE


def plain_query(query: str) -> str:
    """Return a query string as a view keeps it: only what means something, without places."""
    asked = read(dict(parse_qsl(query.lstrip("?"), keep_blank_values=False)))
    kept = msgspec.structs.replace(asked, show=PAGE, opened=())
    url = fleet_url(kept)
    return url.removeprefix("/?") if url != WHOLE else ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What filters need besides the fleet itself; None where it was not asked for.

    Attributes:
        selected: What a selection or a group means: cameras, and devices without any.
        throttled_s: By device, for how long it was held back in the last 7 days.
    """

    now_ms: int
    selected: frozenset[Place] | None = None
    throttled_s: Mapping[str, float] = {}


def chosen(sites: Iterable[SiteRow], filters: FleetFilters, facts: Facts) -> list[SiteRow]:
    """Return the sites with what the filters leave of them, worst first at every level."""
    if not filters.narrows:
        return list(sites)
    found: list[SiteRow] = []
    words = filters.q.lower().split()
    for site in sites:
        if filters.folder and not is_in(site.folder, filters.folder):
            continue
        devices = [
            left for device in site.devices if (left := _left(site, device, filters, facts, words))
        ]
        alone = not site.devices and not filters.looks_for and facts.selected is None
        if devices or alone or (not site.devices and words and _only_words(filters, site, words)):
            devices.sort(key=lambda device: (_worst(device), device.device))
            found.append(msgspec.structs.replace(site, devices=devices))
    found.sort(key=lambda site: (min((_worst(d) for d in site.devices), default=99), site.site))
    return found


def _only_words(filters: FleetFilters, site: SiteRow, words: list[str]) -> bool:
    """True where only words were asked for, and this site without devices has them."""
    others = filters.state or filters.cause or filters.since or filters.sel or filters.group
    text = f"{site.site} {site.name}".lower()
    return not others and all(word in text for word in words)


def _worst(device: DeviceRow) -> int:
    """Return the badness of the worst thing about a device."""
    return min([badness(device.state), *(badness(camera.state) for camera in device.cameras)])


def _left(
    site: SiteRow, device: DeviceRow, filters: FleetFilters, facts: Facts, words: list[str]
) -> DeviceRow | None:
    """Return a device with the cameras that the filters leave; None where nothing is left."""
    of_device = filters.cause in OF_DEVICES
    if of_device and not _device_has(device, filters.cause, facts):
        return None
    place = f"{site.site} {site.name} {device.device}".lower()
    cameras = [
        camera
        for camera in device.cameras
        if _in_state(camera, filters.state)
        and (of_device or not filters.cause or _camera_has(camera, filters.cause))
        and (of_device or not filters.since or _is_since(camera.since_ms, filters.since, facts))
        and _is_selected(facts, site.site, device.device, camera.camera)
        and all(word in f"{place} {camera.camera} {camera.name}".lower() for word in words)
    ]
    if of_device and filters.since and not _is_since(device.since_ms, filters.since, facts):
        return None
    alone = (
        not device.cameras
        and not filters.state
        and (of_device or not filters.cause)
        and (of_device or not filters.since)
        and _is_selected(facts, site.site, device.device, "")
        and all(word in place for word in words)
    )
    if not cameras and not alone:
        return None
    cameras.sort(key=lambda camera: (badness(camera.state), camera.camera))
    return msgspec.structs.replace(device, cameras=cameras)


def _is_selected(facts: Facts, site: str, device: str, camera: str) -> bool:
    if facts.selected is None:
        return True
    return Place(site=site, device=device, camera=camera) in facts.selected


def _in_state(camera: CameraRow, wanted: str) -> bool:
    if wanted == "trouble":
        return camera.state not in HEALTHY
    return not wanted or camera.state == wanted


def _camera_has(camera: CameraRow, cause: str) -> bool:
    """True where this is what is wrong with a camera."""
    if cause == Cause.PIPELINE_STOPPED:
        return camera.state == "down" and camera.detail.startswith("the pipeline does not run")
    if cause == Cause.CAMERA_DOWN:
        return camera.state == "down" and not _camera_has(camera, Cause.PIPELINE_STOPPED)
    return cause in camera.signs


def _device_has(device: DeviceRow, cause: str, facts: Facts) -> bool:
    """True where this is what is wrong with a device."""
    match cause:
        case "throttled":
            return bool(device.throttled)
        case "throttled-7d":
            return bool(device.throttled) or facts.throttled_s.get(device.device, 0.0) > 0
        case "clock":
            return device.clock_state not in {"", "trusted"}
        case "settings":
            return is_waiting(device)
        case "backfill":
            return (device.spool_depth or 0) > _BACKLOG
        case "problems":
            return bool(device.problems)
        case _:
            return device.state == cause


def is_waiting(device: DeviceRow) -> bool:
    """True where a device has not reported the settings that it is wanted to have."""
    return bool(device.desired_version) and device.config_version != device.desired_version


def _is_since(since_ms: int | None, since: str, facts: Facts) -> bool:
    """True where something began within, or before, the time asked for."""
    if since_ms is None:
        return False
    age_ms = facts.now_ms - since_ms
    return age_ms <= SINCE[since][1] if since.startswith("new") else age_ms > SINCE[since][1]
