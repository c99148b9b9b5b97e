"""How much of a site's time was seen, today and further back, against its objective.

The sums are those of `business.slo`; only the windows are others. The rule: what waits on a device
is not known yet, so a window is met or missed only where what waits cannot change that.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from vedette.central import hours
from vedette.central.business import places, slo
from vedette.central.query import runs, strips
from vedette.central.rollups import DAY_MS
from vedette.central.store.db import Tx
from vedette.central.tree import SitePlace
from vedette.central.views import Coverage, Segment

WINDOWS: Final = ("today", "7 d", "30 d", "this month")


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """One window of a site against its objective; `coverage` counts what waits as missing."""

    name: str
    from_ms: int
    to_ms: int
    coverage: Coverage
    best_fraction: float | None
    verdict: str
    objective_percent: float
    objective_of: str


def windows(time_zone: str, now_ms: int) -> list[tuple[str, int]]:
    """Return name and start of each window that ends now; days begin at the site's midnight."""
    zone = hours.zone_of(time_zone)
    today = datetime.fromtimestamp(now_ms / 1000, zone).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    month = today.replace(day=1)
    starts = (
        today,
        datetime.fromtimestamp(now_ms / 1000, zone) - timedelta(days=7),
        datetime.fromtimestamp(now_ms / 1000, zone) - timedelta(days=30),
        month,
    )
    return [(n, round(at.timestamp() * 1000)) for n, at in zip(WINDOWS, starts, strict=True)]


def judged(
    name: str, segments: Sequence[Sequence[Segment]], window: tuple[int, int], of: tuple[str, float]
) -> Covered:
    """Return one window, from the segments of each camera and the objective that holds."""
    from_ms, to_ms = window
    measured = slo.together(slo.measure(runs.clip(one, from_ms, to_ms), None) for one in segments)
    fraction, best, _, verdict = slo.judge(measured, of[1])
    causes = dict(measured.lost_s)
    if measured.pending_s:
        causes["PENDING_BACKFILL"] = measured.pending_s
    coverage = Coverage(
        fraction=fraction,
        observed_s=measured.observed_s,
        accountable_s=measured.observed_s + sum(causes.values()),
        causes=causes,
    )
    return Covered(
        name=name,
        from_ms=from_ms,
        to_ms=to_ms,
        coverage=coverage,
        best_fraction=best,
        verdict=verdict,
        objective_percent=of[1],
        objective_of=of[0] or "everywhere",
    )


async def read(tx: Tx, site: SitePlace, now_ms: int) -> list[Covered]:
    """Return every window of a site."""
    cameras = await tx.all("slo_cameras", slo.Camera, sites=[site.site])
    wanted = windows(site.time_zone, now_ms)
    first_ms = min([now_ms - DAY_MS, *(start for _, start in wanted)])
    devices = sorted({camera.device for camera in cameras})
    book = await strips.read(tx, devices, from_ms=first_ms, to_ms=now_ms, now_ms=now_ms)
    segments = [
        (
            camera,
            book.segments(camera.device, camera.camera, camera.known_from_ms, camera.drained_to_ms),
        )
        for camera in cameras
    ]
    targets = await slo.targets(tx)
    of = places.nearest(targets, site.site, site.folder) or ("default", slo.DEFAULT_PERCENT)
    return [
        judged(name, [s for camera, s in segments if camera.is_of(start)], (start, now_ms), of)
        for name, start in wanted
    ]
