"""The camera matrix: which makes, models and firmwares fail how often, with how sure that is.

Here: counting over a window (`read`), and rates with exact intervals from counts (`rates`, pure).
The rule: every rate stands beside the time that was looked at and an interval; too little time
gives no rate but says so, and no failure is "fewer than", never zero.

A failure is a camera that became down or tampered. The exposure is the time in which it was
observed: a camera that is down cannot fail again. Time before a camera was first asked what it is
counts for what it said then.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from vedette.central import inventory
from vedette.central.coverage import AWAITING
from vedette.central.events import Scope
from vedette.central.inventory import Item
from vedette.central.query import strips
from vedette.central.rollups import DAY_MS
from vedette.central.store.db import Tx
from vedette.central.views import Segment
from vedette.stats.poisson import garwood

Kind = tuple[str, str, str]  # make, model, firmware

LEAST_HOURS: Final = 168.0
"""Below a week of one camera nothing is said about how often it fails."""

_HOUR_MS: Final = 3_600_000
_AT_ONCE: Final = 50


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Something per camera-day.

    Attributes:
        per_day: None where too little was looked at.
        low, high: Exact 95 % interval (Garwood).
    """

    events: int
    per_day: float | None
    low: float | None
    high: float | None


class MatrixRow(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of camera over the window.

    Attributes:
        observed_h: The exposure: camera-hours in which something was observed.
        accountable_h: Camera-hours in all, without the fresh edge that has not arrived.
        mtbf_h: Mean time between failures; None without one, or where too little was looked at.
        mtbf_low_h, mtbf_high_h: Its interval; without a failure only the lower bound is known.
        gap_share: Part of the accountable time that each cause took.
        verdict: In words, where the numbers alone would mislead.
    """

    make: str
    model: str
    firmware: str
    cameras: int
    observed_h: float
    accountable_h: float
    down: Rate
    tampered: Rate
    failures: Rate
    reconnects: Rate
    mtbf_h: float | None
    mtbf_low_h: float | None
    mtbf_high_h: float | None
    gap_share: dict[str, float]
    verdict: str


class Counts(msgspec.Struct, kw_only=True):
    """What was counted of one kind of camera."""

    cameras: set[tuple[str, str]] = set()
    observed_ms: int = 0
    causes_ms: dict[str, int] = {}
    down: int = 0
    tampered: int = 0
    reconnects: int = 0


class _Camera(msgspec.Struct, frozen=True, kw_only=True):
    site: str
    device: str
    camera: str
    known_from_ms: int
    drained_to_ms: int | None


async def read(
    tx: Tx,
    scope: Scope,
    *,
    from_ms: int,
    to_ms: int,
    now_ms: int,
    chosen: set[tuple[str, str]] | None = None,
) -> list[MatrixRow]:
    """Return the matrix of the cameras in scope (of `chosen` only, where given), worst first."""
    listed = None if scope is None else list(scope)
    cameras = [
        one
        for one in await tx.all("matrix_cameras", _Camera, scope=listed)
        if chosen is None or (one.device, one.camera) in chosen
    ]
    spans: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in await inventory.history(tx, scope):
        spans[item.device, item.camera].append(item)
    devices = sorted({one.device for one in cameras})
    counted: dict[Kind, Counts] = defaultdict(Counts)
    for begin in range(0, len(devices), _AT_ONCE):
        some = devices[begin : begin + _AT_ONCE]
        of = [one for one in cameras if one.device in set(some)]
        await _count(tx, counted, of, spans, (from_ms, to_ms, now_ms))
    return sorted(
        (rates(kind, counts) for kind, counts in counted.items()),
        key=lambda row: (row.mtbf_h is None, row.mtbf_h or 0.0, row.make, row.model, row.firmware),
    )


async def _count(
    tx: Tx,
    counted: dict[Kind, Counts],
    cameras: Sequence[_Camera],
    spans: Mapping[tuple[str, str], list[Item]],
    window: tuple[int, int, int],
) -> None:
    from_ms, to_ms, now_ms = window
    devices = sorted({one.device for one in cameras})
    book = await strips.read(tx, devices, from_ms=from_ms, to_ms=to_ms, now_ms=now_ms)
    for one in cameras:
        key = one.device, one.camera
        strip = book.segments(*key, one.known_from_ms, one.drained_to_ms)
        add_time(counted, key, strip, spans.get(key, []))
    wanted = {(one.device, one.camera) for one in cameras}
    bounds = {"devices": devices, "from_ms": from_ms, "to_ms": to_ms}
    for device, camera, at_ms, state in await tx.tuples("matrix_failures", **bounds):
        if (device, camera) in wanted:
            counts = counted[kind_at(spans.get((device, camera), []), at_ms)]
            if state == "down":
                counts.down += 1
            else:
                counts.tampered += 1
    bounds["from_ms"] = from_ms - from_ms % DAY_MS
    for device, camera, day_ms, count in await tx.tuples("matrix_reconnects", **bounds):
        if (device, camera) in wanted:
            counted[
                kind_at(spans.get((device, camera), []), day_ms + DAY_MS - 1)
            ].reconnects += count


def kind_at(items: Sequence[Item], at_ms: int) -> Kind:
    """Return what a camera was at a moment; empty words where it never said."""
    found = items[0] if items else None
    for item in items:
        if item.since_ms <= at_ms:
            found = item
    return (found.make, found.model, found.firmware) if found else ("", "", "")


def add_time(
    counted: dict[Kind, Counts],
    camera: tuple[str, str],
    strip: Iterable[Segment],
    items: Sequence[Item],
) -> None:
    """Add a camera's resolved time to the kinds that it was of, cut where it became another."""
    edges = [item.since_ms for item in items[1:]]
    for segment in strip:
        if segment.cause == AWAITING:
            continue
        cuts = [edge for edge in edges if segment.start_ms < edge < segment.end_ms]
        bounds = [segment.start_ms, *cuts, segment.end_ms]
        for start_ms, end_ms in pairwise(bounds):
            counts = counted[kind_at(items, start_ms)]
            counts.cameras.add(camera)
            length_ms = end_ms - start_ms
            if segment.cause is None:
                counts.observed_ms += length_ms
            else:
                before = counts.causes_ms.get(segment.cause, 0)
                counts.causes_ms[segment.cause] = before + length_ms


def rates(kind: Kind, counts: Counts) -> MatrixRow:
    """Return the row of one kind of camera."""
    observed_h = counts.observed_ms / _HOUR_MS
    accountable_ms = counts.observed_ms + sum(counts.causes_ms.values())
    failures = counts.down + counts.tampered
    enough = observed_h >= LEAST_HOURS
    low, high = garwood(failures)
    return MatrixRow(
        make=kind[0],
        model=kind[1],
        firmware=kind[2],
        cameras=len(counts.cameras),
        observed_h=round(observed_h, 2),
        accountable_h=round(accountable_ms / _HOUR_MS, 2),
        down=_rate(counts.down, observed_h),
        tampered=_rate(counts.tampered, observed_h),
        failures=_rate(failures, observed_h),
        reconnects=_rate(counts.reconnects, observed_h),
        mtbf_h=round(observed_h / failures, 2) if failures and enough else None,
        mtbf_low_h=round(observed_h / high, 2) if enough else None,
        mtbf_high_h=round(observed_h / low, 2) if enough and failures else None,
        gap_share={
            cause: round(length_ms / accountable_ms, 6)
            for cause, length_ms in sorted(counts.causes_ms.items())
        },
        verdict=_verdict(observed_h, failures, observed_h / high),
    )


def _rate(events: int, observed_h: float) -> Rate:
    if observed_h < LEAST_HOURS:
        return Rate(events=events, per_day=None, low=None, high=None)
    low, high = garwood(events)
    days = observed_h / 24
    return Rate(
        events=events,
        per_day=round(events / days, 5),
        low=round(low / days, 5),
        high=round(high / days, 5),
    )


def _verdict(observed_h: float, failures: int, least_h: float) -> str:
    if observed_h < LEAST_HOURS:
        return f"too little to tell: {observed_h:.1f} of {LEAST_HOURS:.0f} hours observed"
    if not failures:
        return f"no failure seen; at least {least_h:.0f} h between two (95 %)"
    return ""
