"""What people look at: the fleet, and the way to the other views.

    fleet_view(db, now_ms, scope, span_ms=DAY_MS) -> FleetView
    camera_view(db, device, camera, from_ms, to_ms, now_ms, scope) -> CameraView | None
    events_page(db, filters: EventFilters, cursor, limit, scope) -> EventsPage(rows, next_cursor)
    event(db, event_id, scope) -> EventRow | None

`scope` is the sites that the asking user may see, None for all; it is part of every query here,
so that no page can forget it.
"""

from collections import Counter, defaultdict

from vedette.central import rows
from vedette.central.cameras import camera_view
from vedette.central.enrolment import Site
from vedette.central.events import EventFilters, EventsPage, Scope, event, events_page
from vedette.central.query import strips
from vedette.central.rollups import DAY_MS
from vedette.central.store.db import Database, Tx
from vedette.central.views import DeviceRow, FleetView, SiteRow

__all__ = [
    "EventFilters",
    "EventsPage",
    "Scope",
    "camera_view",
    "event",
    "events_page",
    "fleet_view",
]


async def fleet_view(db: Database, now_ms: int, scope: Scope, span_ms: int = DAY_MS) -> FleetView:
    """Return every site, device and camera in scope with its last day, worst first.

    Strips and coverage speak of the last `span_ms`; events are counted over 24 hours always.
    """
    listed = None if scope is None else list(scope)
    from_ms = now_ms - span_ms
    async with db.transaction() as tx:
        sites = await tx.all("look_sites", Site, scope=listed)
        devices = await tx.all("look_devices", rows.DeviceFacts, scope=listed, device=None)
        dark = {
            site: (since_ms, together)
            for site, since_ms, together in await tx.tuples("look_dark_sites", scope=listed)
        }
        found = await _device_rows(tx, sites, devices, from_ms, now_ms)
    of_site: dict[str, list[DeviceRow]] = defaultdict(list)
    for row in found:
        of_site[row.site].append(row)
    site_rows = [_site_row(site, of_site[site.site], dark) for site in sites]
    cameras = Counter(camera.state for row in found for camera in row.cameras)
    return FleetView(
        at_ms=now_ms,
        from_ms=from_ms,
        to_ms=now_ms,
        counts=dict(cameras),
        sites=sorted(site_rows, key=lambda row: (rows.badness(row.state), row.site)),
    )


async def _device_rows(
    tx: Tx, sites: list[Site], devices: list[rows.DeviceFacts], from_ms: int, now_ms: int
) -> list[DeviceRow]:
    ids = [device.device for device in devices]
    names = {site.site: rows.camera_names(site) for site in sites}
    cameras = await tx.all("look_cameras", rows.CameraFacts, devices=ids, camera=None)
    book = await strips.read(tx, ids, from_ms=from_ms, to_ms=now_ms, now_ms=now_ms)
    counted = await tx.tuples(
        "look_event_counts", devices=ids, from_ms=now_ms - DAY_MS, to_ms=now_ms + 1
    )
    events_24h = {(device, camera): count for device, camera, count in counted}
    of_device: dict[str, list[rows.CameraFacts]] = defaultdict(list)
    for camera in cameras:
        of_device[camera.device].append(camera)
    made: list[DeviceRow] = []
    for device in devices:
        report = device.report()
        made.append(
            rows.device_row(
                device,
                report,
                [
                    rows.camera_row(
                        camera,
                        device,
                        report,
                        book,
                        name=names[device.site].get(camera.camera, ""),
                        events_24h=events_24h.get((camera.device, camera.camera), 0),
                    )
                    for camera in of_device[device.device]
                ],
            )
        )
    return made


def _site_row(
    site: Site, devices: list[DeviceRow], dark: dict[str, tuple[int, list[str]]]
) -> SiteRow:
    since_ms, together = dark.get(site.site, (None, []))
    states = [device.state for device in devices]
    states += [camera.state for device in devices for camera in device.cameras]
    return SiteRow(
        site=site.site,
        name=site.name,
        time_zone=site.time_zone,
        state=min(states, key=rows.badness, default="unknown"),
        devices=sorted(devices, key=lambda row: (rows.badness(row.state), row.device)),
        dark_since_ms=since_ms,
        dark_together=together,
    )
