"""Which units of a window lie in a site's opening hours: the mask that cuts a question. Pure.

What is counted by the hour cannot be cut within one: an hour of which at least half is open belongs
to the open ones, every other to the closed ones. So each unit is in exactly one of the two, on
nights that change the clocks too, and both together are all. `central.hours` says when a site is
open; a site without hours always is.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from vedette.central import hours
from vedette.central.query import runs
from vedette.central.query.grid import Grid
from vedette.central.views import Segment

HOURS: Final = ("all", "open", "closed")

Mask = npt.NDArray[np.bool_]

_CHUNK: Final = 768
"""Units that are reckoned at once and remembered: 32 days of hours, half a day of minutes."""

_decode = msgspec.json.Decoder(hours.Hours).decode


def masks(
    sites: Iterable[tuple[str, bytes | None, str]], made: Grid, wanted: str
) -> dict[str, Mask] | None:
    """Return by site which units a question is about; None where it is about all of them.

    `sites` are name, opening hours as stored, and time zone; `wanted` is one of `HOURS`.
    """
    if wanted == "all":
        return None
    listed = set(sites)
    return {
        site: open_units(body, zone, made.from_ms, made.unit_ms, made.units) == (wanted == "open")
        for site, body, zone in listed
    }


def open_units(body: bytes | None, zone: str, from_ms: int, unit_ms: int, count: int) -> Mask:
    """Return for each of `count` units from `from_ms` on whether it counts as open; bool, (count,).

    `from_ms` is a whole number of units.
    """
    if body is None:
        return np.ones(count, dtype=np.bool_)
    first = from_ms // unit_ms
    chunks = range(first // _CHUNK, (first + count - 1) // _CHUNK + 1)
    whole = np.concatenate([_chunk(body, zone, number, unit_ms) for number in chunks])
    skip = first - chunks.start * _CHUNK
    return whole[skip : skip + count]


@lru_cache(maxsize=8192)
def _chunk(body: bytes, zone: str, number: int, unit_ms: int) -> Mask:
    """Return one chunk of units; as no hours of a past day change by themselves, remembered."""
    from_ms = number * _CHUNK * unit_ms
    spells = hours.spells(_decode(body), hours.zone_of(zone), from_ms, from_ms + _CHUNK * unit_ms)
    segments = [Segment(start_ms=start, end_ms=end, cause=None) for start, end in spells]
    found = runs.spread(segments, from_ms, unit_ms, _CHUNK)
    made = found.get(runs.OBSERVED, np.zeros(_CHUNK)) * 2 >= unit_ms
    made.flags.writeable = False
    return made
