"""Sketches of whole devices by day and week, so that a fleet's percentiles over months answer.

A row holds one field and name (latency of a stage, dwell in a zone) of one device over one UTC day
or seven: for each label, model version and grid the numbers of its bins that are not empty. Rows of
equal keys lie end to end and are added up at once.

The rule: a row says what the merged days of its cameras say, model by model: hours in which only
one ran are its own, and hours in which it changed are under both names, as in the hours themselves.
A day is laid out when it is over, and again after late news; until then readers go to the source.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from vedette.central.query import packing
from vedette.central.rollups import DAY_MS, floor_ms
from vedette.central.store.db import Database, TupleRow, Tx
from vedette.stats.sketch import MAX_EXPONENT, SCALE, ExpHistogram
from vedette.wire.messages import Bins, Histogram

DEVICES_PER_TICK: Final = 200
_DAYS_AT_ONCE: Final = 14
_SETTLED_MS: Final = 2 * DAY_MS

_ROOM: Final = 4096
"""Numbers of bins that one series has: 0 is the zero bucket, then the grid from 2^-20 on."""

FIELDS: Final = ("zones", "stage_ms", "confidence", "entropy", "quality", "scores")
"""The fields of an aggregate that hold sketches which are laid out."""

_FINEST: Final = 6
_LEAST_EXPONENT: Final = -20
_COUNTS: Final = {form: np.dtype(form) for form in ("<u2", "<u4", "<u8")}
_BINS: Final = {form: np.dtype(form) for form in ("<u2", "<u4")}

Sketch = Histogram | Bins
Series = tuple[str, str, str]  # label, model, shape: e5 is a histogram of scale 5, b50 are 50 bins


class _Dwell(msgspec.Struct, frozen=True):
    dwell_s: Histogram | None = None


class Sketches(msgspec.Struct, frozen=True):
    """An aggregate as far as it has sketches: sums are skipped, not decoded."""

    model: str = ""
    zones: dict[str, dict[str, _Dwell]] = {}
    stage_ms: dict[str, Histogram] = {}
    confidence: dict[str, Bins] = {}
    entropy: dict[str, Bins] = {}
    quality: dict[str, Bins] = {}
    scores: dict[str, Bins] = {}


sketches_of = msgspec.msgpack.Decoder(Sketches).decode


def each(body: Sketches) -> Iterator[tuple[str, str, str, Sketch]]:
    """Give every sketch as field, name, label and itself."""
    for zone, by_label in body.zones.items():
        for label, dwell in by_label.items():
            if dwell.dwell_s is not None:
                yield "zones", zone, label, dwell.dwell_s
    for stage, histogram in body.stage_ms.items():
        yield "stage_ms", stage, "", histogram
    for field in ("confidence", "entropy"):
        for label, bins in getattr(body, field).items():
            yield field, "", label, bins
    for field in ("quality", "scores"):
        for name, bins in getattr(body, field).items():
            yield field, name, "", bins


class Laid(msgspec.Struct, frozen=True, kw_only=True):
    """One row, without device and time."""

    field: str
    name: str
    keys: str
    bins: bytes
    counts: bytes
    sums: bytes


Added = dict[Series, tuple[npt.NDArray[np.float64], list[float]]]
"""By series, counts by number of bin (float64, (_ROOM,)) and the sums of histograms."""


def put(into: Added, label: str, model: str, sketch: Sketch) -> None:
    """Add one sketch to the series that it belongs to."""
    if isinstance(sketch, Bins):
        if len(sketch.counts) > _ROOM:
            return
        shape, first, counts, total = f"b{len(sketch.counts)}", 0, sketch.counts, 0.0
    else:
        if sketch.scale > _FINEST:
            coarse = ExpHistogram(SCALE)
            coarse.merge(ExpHistogram.from_wire(sketch))
            sketch = coarse.to_wire()
        shape, counts, total = f"e{sketch.scale}", sketch.counts, sketch.sum
        first = 1 + sketch.offset - (_LEAST_EXPONENT << sketch.scale)
        inside = 1 <= first <= 1 + ((MAX_EXPONENT - _LEAST_EXPONENT) << sketch.scale) - len(counts)
        if counts and not inside:
            return
    key = (label, model, shape)
    if key not in into:
        into[key] = (np.zeros(_ROOM), [])
    room, sums = into[key]
    room[first : first + len(counts)] += counts
    if isinstance(sketch, Histogram):
        room[0] += sketch.zero
        sums.append(total)


def pack(field: str, name: str, added: Added) -> Laid:
    """Return the row of one field and name."""
    series = sorted(added)
    rooms = np.array([added[key][0] for key in series]).reshape(-1)
    at = np.flatnonzero(rooms)
    counts = rooms[at]
    most = counts.max(initial=0.0)
    wide = "<u2" if most < 2**16 else "<u4" if most < 2**32 else "<u8"
    far = "<u2" if len(rooms) <= 2**16 else "<u4"
    sums = np.array([sum(added[key][1]) for key in series], dtype="<f8")
    return Laid(
        field=field,
        name=name,
        keys=f"{far}:{wide}:{msgspec.json.encode(series).decode()}",
        bins=at.astype(_BINS[far]).tobytes(),
        counts=counts.astype(_COUNTS[wide]).tobytes(),
        sums=sums.tobytes(),
    )


_keys = msgspec.json.Decoder(list[Series]).decode


def unpack(keys: str, bins: bytes, counts: bytes, sums: bytes) -> list[tuple[Series, Sketch]]:
    """Return the sketch of every series of rows of these keys that were laid end to end."""
    far, wide, listed = keys.split(":", 2)
    series = _keys(listed)
    weights = np.frombuffer(counts, dtype=_COUNTS[wide])
    rooms = np.bincount(
        np.frombuffer(bins, dtype=_BINS[far]), weights=weights, minlength=len(series) * _ROOM
    ).astype(np.float64)
    rooms = rooms.reshape(len(series), _ROOM)
    totals_of = np.frombuffer(sums, dtype="<f8").reshape(-1, len(series)).sum(axis=0)
    return [
        (key, _sketch(key[2], room, float(total)))
        for key, room, total in zip(series, rooms, totals_of, strict=True)
    ]


def _sketch(shape: str, room: npt.NDArray[np.float64], total: float) -> Sketch:
    number = int(shape[1:])
    if shape[0] == "b":
        return Bins(counts=room[:number].astype(np.int64).tolist())
    used = np.flatnonzero(room[1:])
    zero = int(room[0])
    if not len(used):
        return Histogram(scale=number, zero=zero, sum=total)
    counts = room[1 + used[0] : 2 + used[-1]].astype(np.int64).tolist()
    offset = int(used[0]) + (_LEAST_EXPONENT << number)
    return Histogram(scale=number, zero=zero, offset=offset, counts=counts, sum=total)


# ---------------------------------------------------------------------------------- laying out


async def lay_out(db: Database, now_ms: int, limit: int = DEVICES_PER_TICK) -> int:
    """Lay out days that are over and changed; return of how many devices."""
    over_ms = floor_ms(now_ms, DAY_MS)
    async with db.transaction() as tx:
        found = await tx.tuples("sketch_dirty_some", over_ms=over_ms, limit=limit)
    for (device,) in found:
        async with db.transaction() as tx:
            await tx.value("device_hold", device=device)
            days = await tx.tuples(
                "sketch_dirty_take", device=device, over_ms=over_ms, limit=_DAYS_AT_ONCE
            )
            for (day_ms,) in days:
                await _lay_day(tx, device, day_ms)
    return len(found)


async def _lay_day(tx: Tx, device: str, day_ms: int) -> None:
    """Lay out one day of a device, which is held."""
    cameras = [name for (name,) in await tx.tuples("cameras_of_device", device=device)]
    added: dict[tuple[str, str], Added] = defaultdict(dict)
    for body in await bodies_of_day(tx, device, cameras, day_ms):
        for field, name, label, sketch in each(body):
            put(added[field, name], label, body.model, sketch)
    rows = [pack(field, name, some) for (field, name), some in sorted(added.items()) if some]
    await _write(tx, device, 1, day_ms, rows)
    await tx.run("sketch_loose_put", device=device, week_ms=floor_ms(day_ms, packing.WEEK_MS))


async def bodies_of_day(tx: Tx, device: str, cameras: Sequence[str], day_ms: int) -> list[Sketches]:
    """Return the sketches of some cameras' day: of hours where the model changed that day."""
    window = {"from_ms": day_ms, "to_ms": day_ms + DAY_MS}
    days = await tx.tuples(
        "ask_day_bodies", devices=[device] * len(cameras), cameras=list(cameras), **window
    )
    found: list[Sketches] = []
    for _, camera, _, day in days:
        body = sketches_of(day)
        hours: list[TupleRow] = []
        if "," in body.model:
            hours = await tx.tuples("ask_bodies", devices=[device], cameras=[camera], **window)
        found += [sketches_of(hour) for *_, hour in hours] or [body]
    return found


async def _write(tx: Tx, device: str, days: int, start_ms: int, rows: Iterable[Laid]) -> None:
    of = {"device": device, "days": days, "start_ms": start_ms}
    await tx.run("sketch_day_drop", **of)
    await tx.many("sketch_day_put", [of | msgspec.structs.asdict(row) for row in rows])


async def fold(db: Database, now_ms: int, limit: int = 1000) -> int:
    """Merge weeks that are over and settled; return how many."""
    before_ms = floor_ms(now_ms - _SETTLED_MS, packing.WEEK_MS)
    async with db.transaction() as tx:
        due = await tx.tuples("sketch_weeks_due", before_ms=before_ms, limit=limit)
    for device, week_ms in due:
        async with db.transaction() as tx:
            await tx.value("device_hold", device=device)
            added: dict[tuple[str, str], Added] = defaultdict(dict)
            for field, name, *packed in await tx.packed(
                "sketch_week_of_device", device=device, week_ms=week_ms
            ):
                for (label, model, _), sketch in unpack(*packed):
                    put(added[field, name], label, model, sketch)
            rows = [pack(field, name, some) for (field, name), some in sorted(added.items())]
            await _write(tx, device, 7, week_ms, rows)
            await tx.run("sketch_loose_drop", device=device, week_ms=week_ms)
    return len(due)
