"""One camera over a window: rates, latency, counts, heatmap, coverage. No data is None.

Totals come from merged hours where they are whole and unchanged, from minutes elsewhere; series
from a slim reading of the same rows, so that a day costs milliseconds.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from vedette.central import desired, events, ledger, rollups, rows
from vedette.central.coverage import summarise
from vedette.central.enrolment import Site
from vedette.central.query import totals
from vedette.central.rollups import DAY_MS, HOUR_MS, MINUTE_MS
from vedette.central.store.db import Database, Tx
from vedette.central.views import (
    CameraView,
    CountRow,
    Coverage,
    Point,
    Segment,
    Stage,
    ThumbnailView,
)
from vedette.errors import WireError
from vedette.stats.sketch import ExpHistogram
from vedette.wire.messages import Aggregate, Frames, Histogram, ZoneCounts
from vedette.wire.signed import CameraSettings

_log = logging.getLogger(__name__)

Scope = Sequence[str] | None

BUDGET_MS: Final[dict[str, float]] = {
    "capture": 33.0,
    "preprocess": 10.0,
    "inference": 100.0,
    "postprocess": 20.0,
    "dispatch": 50.0,
    "total": 213.0,
}
"""The design's budget for one frame, by stage; `total` is capture to dispatch."""

_MAX_POINTS: Final = 300
_STEPS_MS: Final = tuple(n * MINUTE_MS for n in (1, 2, 5, 10, 15, 30, 60, 180, 360, 1440))
_MINUTES_ONLY_MS: Final = 2 * HOUR_MS
_SERIES_FROM_MINUTES_MS: Final = 49 * HOUR_MS
_DAYS_FROM_MS: Final = 72 * HOUR_MS
_EVENTS_SHOWN: Final = 20


class _Stages(msgspec.Struct, frozen=True):
    total: Histogram | None = None


class _Inside(msgspec.Struct, frozen=True):
    occupancy_s: float = 0.0


class _Slim(msgspec.Struct, frozen=True):
    """An aggregate as far as the series need it: the rest is skipped, not decoded."""

    start_ms: int
    end_ms: int
    frames: Frames = Frames()
    stage_ms: _Stages = _Stages()
    zones: dict[str, dict[str, _Inside]] = {}


_slim = msgspec.msgpack.Decoder(_Slim)


async def camera_view(  # noqa: PLR0917 - a camera, a window, now and the asker's scope
    db: Database, device: str, camera: str, from_ms: int, to_ms: int, now_ms: int, scope: Scope
) -> CameraView | None:
    """Return everything on a camera's page; None where it is not there or not in scope."""
    listed = None if scope is None else list(scope)
    async with db.transaction() as tx:
        facts = await tx.one("look_devices", rows.DeviceFacts, scope=listed, device=device)
        if facts is None:
            return None
        of = await tx.one("look_cameras", rows.CameraFacts, devices=[device], camera=camera)
        if of is None:
            return None
        site = await tx.one("site_get", Site, site=facts.site)
        report = facts.report()
        window = {"from_ms": from_ms, "to_ms": to_ms, "now_ms": now_ms}
        book = await ledger.read(tx, [device], camera=camera, **window)
        counts = await tx.tuples(
            "look_event_counts", devices=[device], from_ms=now_ms - rollups.DAY_MS, to_ms=now_ms + 1
        )
        row = rows.camera_row(
            of,
            facts,
            report,
            book,
            name=rows.camera_names(site).get(camera, "") if site else "",
            events_24h=next((n for _, name, n in counts if name == camera), 0),
        )
        total = await _total(tx, device, camera, from_ms, to_ms)
        slim = await _series(tx, device, camera, from_ms, to_ms)
        thumbnail = await _thumbnail(tx, facts.site, device, camera, now_ms)
        wanted = events.EventFilters(device=device, camera=camera, from_ms=from_ms, to_ms=to_ms)
        shown = await events.read_page(tx, wanted, None, _EVENTS_SHOWN, scope)
        settings = await _settings(tx, device, camera)
    step_ms = _step_ms(to_ms - from_ms)
    buckets = _buckets(slim, from_ms, min(to_ms, now_ms), step_ms)
    return CameraView(
        row=row,
        at_ms=now_ms,
        from_ms=from_ms,
        to_ms=to_ms,
        gaps=[segment for segment in row.strip if segment.cause is not None],
        stages=_stages(total),
        frames=_frames(total),
        counts=_counts(total, row.coverage),
        rate=[_point(at_ms, _rate(found)) for at_ms, found in buckets],
        latency_p95=[_point(at_ms, _p95(found)) for at_ms, found in buckets],
        occupancy=_occupancy(buckets),
        heatmap=_heatmap(total),
        confidence={k: v.counts for k, v in total.confidence.items()} if total else {},
        scores={k: v.counts for k, v in total.scores.items()} if total else {},
        zones=[msgspec.to_builtins(zone) for zone in settings.zones or []],
        lines=[msgspec.to_builtins(line) for line in settings.lines or []],
        thumbnail=thumbnail,
        events=shown,
        device=rows.device_row(facts, report, [row]),
    )


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What was observed of a camera around a moment, and why not the rest."""

    from_ms: int
    to_ms: int
    strip: list[Segment]
    coverage: Coverage


async def watched(
    db: Database, device: str, camera: str, *, from_ms: int, to_ms: int, now_ms: int
) -> Watched | None:
    """Return what was observed of a camera in a window; None where it is not there any more."""
    async with db.transaction() as tx:
        facts = await tx.one("look_devices", rows.DeviceFacts, scope=None, device=device)
        of = await tx.one("look_cameras", rows.CameraFacts, devices=[device], camera=camera)
        if facts is None or of is None:
            return None
        window = {"from_ms": from_ms, "to_ms": to_ms, "now_ms": now_ms}
        book = await ledger.read(tx, [device], camera=camera, **window)
    strip = book.segments(device, camera, of.known_from_ms, facts.drained_to_ms)
    return Watched(from_ms=from_ms, to_ms=to_ms, strip=strip, coverage=summarise(strip))


async def _settings(tx: Tx, device: str, camera: str) -> CameraSettings:
    settings = await desired.read_settings(tx, device)
    found = settings.cameras if settings else []
    return next((one for one in found if one.camera == camera), CameraSettings(camera=camera))


async def _thumbnail(tx: Tx, site: str, device: str, camera: str, now_ms: int) -> ThumbnailView:
    of = {"device": device, "camera": camera}
    taken_ms = await tx.value("look_thumbnail_time", **of)
    asked_by = await tx.value("look_pending_request", **of, now_ms=now_ms)
    return ThumbnailView(
        taken_ms=taken_ms if isinstance(taken_ms, int) else None,
        url=f"/sites/{site}/cameras/{device}/{camera}/thumbnail",
        pending=asked_by is not None,
        requested_by=str(asked_by or ""),
    )


async def _total(tx: Tx, device: str, camera: str, from_ms: int, to_ms: int) -> Aggregate | None:
    """Return everything counted in the window, merged."""
    bodies = [body for _, body in await _bodies(tx, device, camera, from_ms, to_ms)]
    try:
        return totals.total(rollups.decode(body) for body in bodies)
    except (WireError, ArithmeticError) as error:
        # Counts that fit alone and not together: no data, but the camera can still be looked at.
        why = {"event": "cameras.unmergeable", "device": device, "camera": camera}
        _log.error("counts cannot be merged", extra={**why, "why": str(error)})
        return None


async def _bodies(
    tx: Tx, device: str, camera: str, from_ms: int, to_ms: int
) -> list[tuple[int, bytes]]:
    """Return what was counted in the window, each minute in one body: a day's, an hour's, its own.

    Merged days and hours stand only where they are whole and unchanged.
    """
    of = {"device": device, "camera": camera}
    window = {"from_ms": from_ms, "to_ms": to_ms}
    if to_ms - from_ms <= _MINUTES_ONLY_MS:
        return [(at_ms, body) for at_ms, body in await tx.tuples("look_minutes", **of, **window)]
    found: list[tuple[int, bytes]] = []
    if to_ms - from_ms > _DAYS_FROM_MS:
        found += await tx.tuples("look_days", **of, **window)
    days = [at_ms for at_ms, _ in found]
    hours = await tx.tuples("look_hours_beside", **of, **window, days=days)
    told = {at_ms for at_ms, _ in hours}
    told |= {hour_ms for day_ms in days for hour_ms in range(day_ms, day_ms + DAY_MS, HOUR_MS)}
    every = range(rollups.floor_ms(from_ms, HOUR_MS), to_ms, HOUR_MS)
    rest = [hour_ms for hour_ms in every if hour_ms not in told]
    minutes = await tx.tuples("look_minutes_of_hours", **of, **window, hours=rest)
    return [*found, *hours, *minutes]


async def _series(tx: Tx, device: str, camera: str, from_ms: int, to_ms: int) -> list[_Slim]:
    if _step_ms(to_ms - from_ms) >= DAY_MS:
        found = await _bodies(tx, device, camera, from_ms, to_ms)
    else:
        long = to_ms - from_ms > _SERIES_FROM_MINUTES_MS
        of = {"device": device, "camera": camera, "from_ms": from_ms, "to_ms": to_ms}
        found = await tx.tuples("look_hours" if long else "look_minutes", **of)
    return [_slim.decode(body) for _, body in found]


def _step_ms(length_ms: int) -> int:
    return next((s for s in _STEPS_MS if length_ms / s <= _MAX_POINTS), _STEPS_MS[-1])


def _buckets(
    found: Iterable[_Slim], from_ms: int, to_ms: int, step_ms: int
) -> list[tuple[int, list[_Slim]]]:
    """Return `(start_ms, aggregates)` for every step of the window, empty ones too."""
    buckets: dict[int, list[_Slim]] = {
        at_ms: [] for at_ms in range(rollups.floor_ms(from_ms, step_ms), to_ms, step_ms)
    }
    for one in found:
        key = rollups.floor_ms(one.start_ms, step_ms)
        if key in buckets:
            buckets[key].append(one)
    return list(buckets.items())


def _point(at_ms: int, value: float | None) -> Point:
    return Point(t_ms=at_ms, value=value)


def _seconds(found: list[_Slim]) -> float:
    return sum(one.end_ms - one.start_ms for one in found) / 1000


def _rate(found: list[_Slim]) -> float | None:
    """Return pictures looked at per second (gated ones too); None without any report."""
    if not found:
        return None
    looked = sum(one.frames.analysed + one.frames.gated for one in found)
    return round(looked / _seconds(found), 3)


def _p95(found: list[_Slim]) -> float | None:
    listed = [one.stage_ms.total for one in found if one.stage_ms.total is not None]
    if not listed:
        return None
    try:
        value = totals.sketch_of(listed).quantile(0.95)
    except WireError:  # counts that fit alone and not together: no data, as in the totals
        return None
    return None if value is None else round(value, 3)


def _occupancy(buckets: list[tuple[int, list[_Slim]]]) -> dict[str, list[Point]]:
    """Return the mean number of objects in each zone, over all classes."""
    names = sorted({zone for _, found in buckets for one in found for zone in one.zones})

    def mean(found: list[_Slim], zone: str) -> float | None:
        if not found:
            return None
        inside_s = sum(
            counts.occupancy_s for one in found for counts in one.zones.get(zone, {}).values()
        )
        return round(inside_s / _seconds(found), 4)

    return {zone: [_point(at_ms, mean(found, zone)) for at_ms, found in buckets] for zone in names}


def _stages(total: Aggregate | None) -> list[Stage]:
    found = total.stage_ms if total else {}
    order = [*BUDGET_MS, *sorted(set(found) - set(BUDGET_MS))]
    return [_stage(stage, found.get(stage)) for stage in order if stage in found]


def _stage(stage: str, histogram: Histogram | None) -> Stage:
    sketch = ExpHistogram.from_wire(histogram) if histogram else ExpHistogram()
    return Stage(
        stage=stage,
        budget_ms=BUDGET_MS.get(stage),
        p50_ms=sketch.quantile(0.5),
        p95_ms=sketch.quantile(0.95),
        p99_ms=sketch.quantile(0.99),
        count=sketch.count,
    )


def _frames(total: Aggregate | None) -> dict[str, int]:
    if total is None:
        return {}
    frames = total.frames
    return {
        "captured": frames.captured,
        "analysed": frames.analysed,
        "gated": frames.gated,
        **{f"dropped.{cause}": count for cause, count in frames.dropped.items()},
    }


def _counts(total: Aggregate | None, coverage: Coverage) -> list[CountRow]:
    """Return what was counted; a value is None where nothing at all was observed."""
    if total is None:
        return []

    def row(what: str, kind: str, label: str, value: float) -> CountRow:
        return CountRow(
            what=what, kind=kind, label=label, value=value if coverage.observed_s > 0 else None
        )

    listed = [
        row("presence", "presence_s", label, value)
        for label, value in sorted(total.presence_s.items())
    ]
    listed += [
        row("picture", "class_s", label, value) for label, value in sorted(total.class_s.items())
    ]
    if total.slow_path_shed_s:
        listed.append(row("under load", "slow_path_shed_s", "", total.slow_path_shed_s))
    # What messages lacked because they were too large: no data, or the sums would pass for whole.
    listed += [
        CountRow(what="left out", kind="left_out", label=name, value=None)
        for name in sorted(total.left_out)
    ]
    fields: tuple[tuple[str, Callable[[ZoneCounts], float]], ...] = (
        ("entered", lambda counts: counts.entered),
        ("left", lambda counts: counts.left),
        ("visits", lambda counts: counts.visits),
        ("occupancy_s", lambda counts: counts.occupancy_s),
    )
    rare: tuple[tuple[str, Callable[[ZoneCounts], float]], ...] = (
        ("loitered", lambda counts: counts.loitered),
        ("headed", lambda counts: counts.headed),
        ("picked", lambda counts: counts.picked),
        ("placed", lambda counts: counts.placed),
        ("shelf_changed", lambda counts: counts.shelf_changed),
    )
    for zone, by_label in sorted(total.zones.items()):
        for label, counts in sorted(by_label.items()):
            listed += [row(zone, kind, label, read(counts)) for kind, read in fields]
            # Whether a zone watches for these is its setting; without one they are no zero.
            listed += [row(zone, kind, label, n) for kind, read in rare if (n := read(counts))]
    for line, by_line_label in sorted(total.lines.items()):
        for label, crossed in sorted(by_line_label.items()):
            listed.append(row(line, "forward", label, crossed.forward))
            listed.append(row(line, "backward", label, crossed.backward))
    return listed


def _heatmap(total: Aggregate | None) -> tuple[int, int, list[float]] | None:
    if total is None or total.heatmap is None:
        return None
    heatmap = total.heatmap
    return heatmap.rows, heatmap.columns, [cell / 10 for cell in heatmap.deciseconds]
