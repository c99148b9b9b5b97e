"""Keeping what happened: each complete hour of a device's reports is read once.

The rule: hours are read in order, from where the last reading ended, with how the device was then;
doing an hour twice changes nothing. The hours after that are read by whoever asks (`edge`).
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from vedette.central.rollups import HOUR_MS
from vedette.central.store.db import Tx
from vedette.central.timeline import told
from vedette.central.timeline.told import Happening, Last

EDGE_REPORTS: Final = 2_000
"""So many of the newest reports, 16 hours of them, are read for one device that lags."""

_last = msgspec.msgpack.Decoder(Last)


async def keep(tx: Tx, device: str, from_ms: int, to_ms: int) -> None:
    """Keep what happened to a device up to `to_ms`, from where it was kept to or `from_ms`."""
    through_ms, last = await _through(tx, device)
    begin_ms = max(from_ms, through_ms)
    found: list[Happening] = []
    for start_ms in range(begin_ms, to_ms, HOUR_MS):
        end_ms = min(to_ms, start_ms + HOUR_MS)
        reports = await _reports(tx, device, start_ms, end_ms, EDGE_REPORTS)
        fresh, last = told.changes(reports, last)
        found += fresh
    await tx.many("happening_put", [_row(device, number, one) for number, one in _numbered(found)])
    await tx.run(
        "happenings_through_put",
        device=device,
        through_ms=max(to_ms, through_ms),
        last=msgspec.msgpack.encode(last) if last else None,
    )


async def edge(tx: Tx, device: str, now_ms: int) -> list[tuple[int, Happening]]:
    """Return what happened to a device since it was kept, numbered as it will be kept."""
    through_ms, last = await _through(tx, device)
    begin_ms = max(through_ms, now_ms - 24 * HOUR_MS)
    reports = await _reports(tx, device, begin_ms, now_ms + 1, EDGE_REPORTS)
    return list(_numbered(told.changes(reports, last)[0]))


async def _through(tx: Tx, device: str) -> tuple[int, Last | None]:
    rows = await tx.tuples("happenings_through", device=device)
    if not rows:
        return 0, None
    through_ms, last = rows[0]
    return through_ms, _last.decode(last) if last else None


async def _reports(
    tx: Tx, device: str, from_ms: int, to_ms: int, limit: int
) -> list[tuple[int, str, told.Glimpse]]:
    rows = await tx.packed(
        "happenings_reports", device=device, from_ms=from_ms, to_ms=to_ms, limit=limit
    )
    found: list[tuple[int, str, told.Glimpse]] = []
    for made_ms, clock_state, body in reversed(rows):
        try:
            found.append((made_ms, clock_state, told.glimpse(body)))
        except msgspec.DecodeError:  # of a release that this one does not know
            continue
    return found


def _numbered(found: Iterable[Happening]) -> Iterable[tuple[int, Happening]]:
    """Give each its number among those of its kind at its moment."""
    seen: dict[tuple[int, str], int] = {}
    for one in found:
        number = seen.get((one.at_ms, one.kind), 0)
        seen[one.at_ms, one.kind] = number + 1
        yield number, one


def _row(device: str, number: int, one: Happening) -> dict[str, object]:
    return {
        "device": device,
        "at_ms": one.at_ms,
        "kind": one.kind,
        "number": number,
        "detail": msgspec.json.encode(one.detail),
    }
