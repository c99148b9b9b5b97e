"""What people look at: the fleet, and the way to the other views.

    fleet_view(db, now_ms, scope, span_ms=DAY_MS) -> FleetView
    skeleton(tx, scope, names) -> Skeleton               every state, no strips: cheap for thousands
    filled(tx, skeleton, sites, …) -> list[SiteRow]      the strips of the sites that are shown
    camera_view(db, device, camera, from_ms, to_ms, now_ms, scope) -> CameraView | None
    events_page(db, filters: EventFilters, after, limit, scope) -> list[EventRow]
    event(db, event_id, scope) -> EventRow | None

`scope` is the sites that the asking user may see, None for all; it is part of every query here,
so that no page can forget it.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from vedette.central import rows
from vedette.central.cameras import camera_view
from vedette.central.coverage import summarise
from vedette.central.events import EventFilters, Scope, event, events_page
from vedette.central.query import strips
from vedette.central.rollups import DAY_MS
from vedette.central.store.db import Database, Tx
from vedette.central.views import CameraRow, DeviceRow, FleetView, Segment, SiteRow
from vedette.wire.messages import Cause

__all__ = [
    "EventFilters",
    "Names",
    "Scope",
    "Skeleton",
    "camera_view",
    "event",
    "events_page",
    "filled",
    "fleet_view",
    "skeleton",
]


class SiteFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `sites`, as far as a list shows it."""

    site: str
    name: str
    time_zone: str
    folder: str
    policy_version: int


class Skeleton(msgspec.Struct, frozen=True, kw_only=True):
    """Every site, device and camera in scope with its state, worst first; strips are empty.

    Attributes:
        known: By device and camera, since when it is known, and up to when all has arrived.
    """

    sites: list[SiteRow]
    known: dict[tuple[str, str], tuple[int, int | None]]

    def within(self, scope: Scope) -> "Skeleton":
        """Return what of it lies in `scope`."""
        if scope is None:
            return self
        seen = frozenset(scope)
        return Skeleton(sites=[row for row in self.sites if row.site in seen], known=self.known)


class Names:
    """What site policies call cameras, by site and version: policies are large and rarely change.

    Thread: the event loop's.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, dict[str, str]]] = {}

    async def of(self, tx: Tx, sites: Sequence[SiteFacts]) -> dict[str, dict[str, str]]:
        """Return the names of every site's cameras, reading only policies that are new."""
        stale = [
            facts.site
            for facts in sites
            if facts.policy_version
            and self._kept.get(facts.site, (0, {}))[0] != facts.policy_version
        ]
        for site, version, policy in (
            await tx.tuples("fleet_policies", sites=stale) if stale else ()
        ):
            self._kept[site] = (version, rows.names_in(policy))
        kept = self._kept
        return {f.site: kept[f.site][1] if f.site in kept else {} for f in sites}


class _NoStrips:
    """Stands for a ledger of which nothing is wanted."""

    def segments(
        self, device: str, camera: str, known_from_ms: int, drained_to_ms: int | None
    ) -> list[Segment]:
        """Return nothing."""
        del device, camera, known_from_ms, drained_to_ms
        return []


_AT_ONCE: Final = 250
_NO_STRIPS: Final = _NoStrips()


async def skeleton(tx: Tx, scope: Scope, names: Names) -> Skeleton:
    """Return how everything in scope is, without strips, coverage and counts."""
    listed = None if scope is None else list(scope)
    sites = await tx.all("fleet_sites", SiteFacts, scope=listed)
    devices = await tx.all("look_devices", rows.DeviceFacts, scope=listed, device=None)
    dark = {
        site: (since_ms, together)
        for site, since_ms, together in await tx.tuples("look_dark_sites", scope=listed)
    }
    ids = [device.device for device in devices]
    cameras = await tx.all("look_cameras", rows.CameraFacts, devices=ids, camera=None)
    called = await names.of(tx, sites)
    of_device: dict[str, list[rows.CameraFacts]] = defaultdict(list)
    for camera in cameras:
        of_device[camera.device].append(camera)
    of_site: dict[str, list[DeviceRow]] = defaultdict(list)
    for number, device in enumerate(devices):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)  # others are served between
        row = _bare_device(device, of_device[device.device], called.get(device.site, {}))
        of_site[device.site].append(row)
    made = [_site_row(site, of_site[site.site], dark) for site in sites]
    drained = {device.device: device.drained_to_ms for device in devices}
    return Skeleton(
        sites=sorted(made, key=lambda row: (rows.badness(row.state), row.site)),
        known={(c.device, c.camera): (c.known_from_ms, drained[c.device]) for c in cameras},
    )


def _bare_device(
    device: rows.DeviceFacts, cameras: list[rows.CameraFacts], names: dict[str, str]
) -> DeviceRow:
    """Return a device with its cameras, worst first, without strips."""
    report = device.report()
    made = [
        rows.camera_row(
            camera, device, report, _NO_STRIPS, name=names.get(camera.camera, ""), events_24h=None
        )
        for camera in cameras
    ]
    return rows.device_row(device, report, made)


async def filled(
    tx: Tx, found: Skeleton, sites: Iterable[SiteRow], *, from_ms: int, to_ms: int, now_ms: int
) -> list[SiteRow]:
    """Return some sites of a skeleton with strips and coverage of a window, and events of a day."""
    listed = list(sites)
    ids = [device.device for site in listed for device in site.devices]
    book = await strips.read(tx, ids, from_ms=from_ms, to_ms=to_ms, now_ms=now_ms)
    counted = await tx.tuples(
        "look_event_counts", devices=ids, from_ms=now_ms - DAY_MS, to_ms=now_ms + 1
    )
    events_24h = {(device, camera): count for device, camera, count in counted}

    def camera_of(row: CameraRow) -> CameraRow:
        key = (row.device, row.camera)
        strip = book.segments(*key, *found.known[key])
        count = events_24h.get(key, 0)
        return msgspec.structs.replace(
            row, strip=strip, coverage=summarise(strip), events_24h=count
        )

    def device_of(row: DeviceRow) -> DeviceRow:
        cameras = [camera_of(camera) for camera in row.cameras]
        pending_s = sum(c.coverage.causes.get(Cause.PENDING_BACKFILL, 0.0) for c in cameras)
        return msgspec.structs.replace(row, cameras=cameras, pending_backfill_s=pending_s)

    return [
        msgspec.structs.replace(site, devices=[device_of(device) for device in site.devices])
        for site in listed
    ]


async def fleet_view(db: Database, now_ms: int, scope: Scope, span_ms: int = DAY_MS) -> FleetView:
    """Return every site, device and camera in scope with its last day, worst first.

    Strips and coverage speak of the last `span_ms`; events are counted over 24 hours always.
    """
    async with db.transaction() as tx:
        found = await skeleton(tx, scope, Names())
        sites = await filled(
            tx, found, found.sites, from_ms=now_ms - span_ms, to_ms=now_ms, now_ms=now_ms
        )
    return FleetView(
        at_ms=now_ms,
        from_ms=now_ms - span_ms,
        to_ms=now_ms,
        counts=counts_of(sites),
        sites=sites,
    )


def counts_of(sites: Iterable[SiteRow]) -> dict[str, int]:
    """Return how many cameras are in each state."""
    return dict(Counter(c.state for site in sites for d in site.devices for c in d.cameras))


async def device_row(tx: Tx, device: str, span_ms: int, now_ms: int) -> DeviceRow | None:
    """Return one device with its cameras, revoked or not; the caller has asked for its scope."""
    facts = await tx.all("look_devices", rows.DeviceFacts, scope=None, device=device)
    if not facts:
        return None
    (one,) = facts
    sites = await tx.all("fleet_sites", SiteFacts, scope=[one.site])
    cameras = await tx.all("look_cameras", rows.CameraFacts, devices=[device], camera=None)
    names = (await Names().of(tx, sites)).get(one.site, {})
    row = _bare_device(one, cameras, names)
    alone = SiteRow(site=one.site, name="", time_zone="UTC", state=row.state, devices=[row])
    known = {(device, c.camera): (c.known_from_ms, one.drained_to_ms) for c in cameras}
    found = Skeleton(sites=[alone], known=known)
    (site,) = await filled(
        tx, found, [alone], from_ms=now_ms - span_ms, to_ms=now_ms, now_ms=now_ms
    )
    return site.devices[0]


def _site_row(
    site: SiteFacts, devices: list[DeviceRow], dark: dict[str, tuple[int, list[str]]]
) -> SiteRow:
    since_ms, together = dark.get(site.site, (None, []))
    states = [device.state for device in devices]
    states += [camera.state for device in devices for camera in device.cameras]
    return SiteRow(
        site=site.site,
        name=site.name,
        time_zone=site.time_zone,
        folder=site.folder,
        state=min(states, key=rows.badness, default="unknown"),
        devices=sorted(devices, key=lambda row: (rows.badness(row.state), row.device)),
        dark_since_ms=since_ms,
        dark_together=together,
    )
