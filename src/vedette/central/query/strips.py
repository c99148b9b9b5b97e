"""Coverage as it is now: what is kept, and what is not final yet resolved at once.

`read` answers for many cameras over a window and equals `ledger.read` in times, causes and words;
it does not know rates.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central import ledger
from vedette.central.query import runs
from vedette.central.rollups import HOUR_MS
from vedette.central.store.db import Tx
from vedette.central.views import Segment

_FRESH_MS: Final = 3 * HOUR_MS


class Strips(msgspec.Struct, frozen=True, kw_only=True):
    """Resolved coverage of several cameras; `segments` gives one camera's."""

    from_ms: int
    to_ms: int
    kept: dict[ledger.Key, list[tuple[int, bytes]]]
    live_from_ms: dict[str, int]
    books: list[tuple[set[str], ledger.Ledger]]

    def segments(
        self, device: str, camera: str, known_from_ms: int, drained_to_ms: int | None
    ) -> list[Segment]:
        """Return the resolved coverage of one camera over the window."""
        live_ms = self.live_from_ms[device]
        found = [
            segment
            for day_ms, body in self.kept.get((device, camera), ())
            if day_ms < live_ms
            for segment in runs.decode(body, day_ms)
        ]
        found = runs.clip(found, self.from_ms, live_ms)
        for devices, book in self.books:
            if device in devices:
                live = book.segments(device, camera, known_from_ms, drained_to_ms)
                found += runs.clip(live, live_ms, self.to_ms)
        return runs.join(found)


async def read(tx: Tx, devices: Sequence[str], *, from_ms: int, to_ms: int, now_ms: int) -> Strips:
    """Return the coverage of every camera of `devices`."""
    listed = list(devices)
    live_from = await kept_through(tx, listed, from_ms, to_ms)
    kept: dict[ledger.Key, list[tuple[int, bytes]]] = defaultdict(list)
    days = runs.days(from_ms, to_ms)
    for device, camera, day_ms, body in await tx.tuples(
        "look_runs", devices=listed, from_ms=days.start, to_ms=to_ms
    ):
        kept[device, camera].append((day_ms, body))
    books = await edge(tx, live_from, to_ms, now_ms)
    return Strips(
        from_ms=from_ms, to_ms=to_ms, kept=dict(kept), live_from_ms=live_from, books=books
    )


async def kept_through(tx: Tx, devices: Sequence[str], from_ms: int, to_ms: int) -> dict[str, int]:
    """Return up to where, within the window, what is kept of each device holds."""
    through = dict(await tx.tuples("look_through", devices=list(devices)))
    return {device: min(max(from_ms, through.get(device, from_ms)), to_ms) for device in devices}


async def edge(
    tx: Tx, live_from_ms: dict[str, int], to_ms: int, now_ms: int
) -> list[tuple[set[str], ledger.Ledger]]:
    """Return the ledger of what is not kept, with the devices that each part speaks of."""
    # A few that lag must not make all the others be resolved from far back.
    fresh = {device for device, at_ms in live_from_ms.items() if at_ms >= to_ms - _FRESH_MS}
    books: list[tuple[set[str], ledger.Ledger]] = []
    for group in (fresh, set(live_from_ms) - fresh):
        open_ = {device for device in group if live_from_ms[device] < to_ms}
        if open_:
            begin_ms = min(live_from_ms[device] for device in open_)
            book = await ledger.read(
                tx, sorted(open_), from_ms=begin_ms, to_ms=to_ms, now_ms=now_ms
            )
            books.append((open_, book))
    return books
