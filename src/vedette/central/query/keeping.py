"""Keeping resolved coverage: each device's day is resolved once, and again after late news.

`coverage.resolve` decides, here as everywhere. An hour is kept when nothing of its own accord can
change it: it is over for longer than a report may take, and the device has sent all that it
recorded of it (`drained_to_ms`). What may still come (a late claim or state, a spell dated back)
leaves a mark, by trigger, in the transaction that writes it; until the mark is worked off, readers
resolve that stretch themselves.

Each device is one transaction that holds it against ingest, so that no mark can be missed; any
number of workers may do this at once, and doing it twice changes nothing.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import msgspec

from vedette.central import ledger, rows
from vedette.central.coverage import FRESH_MS
from vedette.central.query import metric_days, packing, runs
from vedette.central.rollups import DAY_MS, HOUR_MS, floor_ms
from vedette.central.store.db import Database, Tx
from vedette.central.timeline import keeping as happenings
from vedette.central.views import Segment

DEVICES_PER_TICK: Final = 500
_CHUNK_MS: Final = 7 * DAY_MS
"""How much of one device's past one transaction resolves."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A device while its coverage is resolved."""

    drained_to_ms: int | None
    through_ms: int | None
    known_from_ms: int | None
    beat_ms: int | None


async def advance(db: Database, now_ms: int, limit: int = DEVICES_PER_TICK) -> int:
    """Resolve what is final and what late news changed; return of how many devices."""
    over_ms = now_ms - FRESH_MS
    async with db.transaction() as tx:
        due = [d for (d,) in await tx.tuples("coverage_due", over_ms=over_ms, limit=limit)]
    for device in due:
        async with db.transaction() as tx:
            await resolve_device(tx, device, now_ms)
    return len(due)


async def resolve_device(tx: Tx, device: str, now_ms: int) -> None:
    """Bring the kept coverage of one device forward, at most `_CHUNK_MS` of it."""
    held = await tx.one("coverage_hold", Held, device=device)
    if held is None or held.known_from_ms is None:
        return
    dirty = [(a, b) for a, b in await tx.tuples("coverage_dirty_take", device=device)]
    # Central's own absence is known only with the beat after it.
    known_ms = min(now_ms - FRESH_MS, held.drained_to_ms or 0, held.beat_ms or 0)
    final_ms = floor_ms(known_ms, HOUR_MS)
    begin_ms = held.through_ms or floor_ms(held.known_from_ms, HOUR_MS)
    through_ms = max(begin_ms, min(final_ms, begin_ms + _CHUNK_MS))
    if held.through_ms is None and through_ms == begin_ms:
        return  # nothing is final yet, nor need be in an hour that turns out to be earlier
    stretches = _stretches(dirty, begin_ms)
    if through_ms > begin_ms:
        stretches = _stretches([*stretches, (begin_ms, through_ms)], through_ms)
    now, later = _bounded(stretches)
    for from_ms, to_ms in now:
        await _resolve(tx, device, from_ms, to_ms, now_ms)
    for from_ms, to_ms in later:
        await tx.run("coverage_dirty_put", device=device, from_ms=from_ms, to_ms=to_ms)
    await tx.run("coverage_through_put", device=device, through_ms=through_ms)
    if through_ms > begin_ms:
        from_ms = max(begin_ms, now_ms - _CHUNK_MS)
        await metric_days.lay_health(tx, device, from_ms, through_ms)
        await happenings.keep(tx, device, from_ms, through_ms)


def _stretches(marks: list[tuple[int, int]], end_ms: int) -> list[tuple[int, int]]:
    """Return marks in whole hours up to `end_ms`, those that touch made one."""
    united: list[tuple[int, int]] = []
    for from_ms, to_ms in sorted(marks):
        first = floor_ms(max(0, from_ms), HOUR_MS)
        last = min(end_ms, floor_ms(to_ms + HOUR_MS - 1, HOUR_MS))
        if last <= first:
            continue
        if united and first <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], last))
        else:
            united.append((first, last))
    return united


def _bounded(
    stretches: list[tuple[int, int]],
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return what one transaction resolves, and what is left for later.

    The newest first: new hours must be among them, for they move the mark up to which all holds.
    """
    now: list[tuple[int, int]] = []
    later: list[tuple[int, int]] = []
    left_ms = 2 * _CHUNK_MS
    for from_ms, to_ms in reversed(stretches):
        cut_ms = max(from_ms, to_ms - left_ms)
        if cut_ms < to_ms:
            now.append((cut_ms, to_ms))
        if from_ms < cut_ms:
            later.append((from_ms, cut_ms))
        left_ms -= to_ms - cut_ms
    return now, later


async def _resolve(tx: Tx, device: str, from_ms: int, to_ms: int, now_ms: int) -> None:
    """Resolve one stretch of every camera of a device and lay it over what is kept."""
    drained = await tx.value("coverage_drained", device=device)
    cameras = await tx.all("look_cameras", rows.CameraFacts, devices=[device], camera=None)
    book = await ledger.read(tx, [device], from_ms=from_ms, to_ms=to_ms, now_ms=now_ms)
    days = runs.days(from_ms, to_ms)
    kept: dict[tuple[str, int], list[Segment]] = defaultdict(list)
    for camera, day_ms, body in await tx.tuples(
        "coverage_days_of_device", device=device, from_ms=days.start, to_ms=to_ms
    ):
        kept[camera, day_ms] = runs.decode(body, day_ms)
    for facts in cameras:
        fresh = book.segments(
            device, facts.camera, facts.known_from_ms, drained if isinstance(drained, int) else None
        )
        for day_ms in days:
            end_ms = day_ms + DAY_MS
            start, end = max(from_ms, day_ms), min(to_ms, end_ms)
            of_day = runs.clip(fresh, day_ms, end_ms)
            kept[facts.camera, day_ms] = runs.splice(kept[facts.camera, day_ms], of_day, start, end)
    await _write(tx, device, kept)


async def _write(tx: Tx, device: str, kept: Mapping[tuple[str, int], list[Segment]]) -> None:
    await tx.many(
        "coverage_day_put",
        [
            {
                "device": device,
                "camera": camera,
                "day_ms": day_ms,
                "runs": runs.encode(segments, day_ms),
            }
            for (camera, day_ms), segments in sorted(kept.items())
            if segments
        ],
    )
    for day_ms in sorted({day_ms for _, day_ms in kept}):
        of_day = {camera: found for (camera, at_ms), found in kept.items() if at_ms == day_ms}
        await packing.write(tx, device, day_ms, packing.COVERAGE, runs.day_sums(of_day, day_ms))
