"""Minutes of many cameras, decoded once: what dashboards ask for again and again.

The sums of a camera's last minutes are kept in memory, a ring of two hours each. The rule: nothing
that is kept is believed without the database: every answer asks which version of each minute stands
(the transaction that wrote it, and its place), and what is not the very one is read again. Late
news is therefore in the next answer, whoever wrote it; a first answer costs what reading costs.

Thread: one event loop.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from vedette.central.query import scalars
from vedette.central.rollups import MINUTE_MS
from vedette.central.store.db import Tx

RING: Final = 128
MAX_CAMERAS: Final = 2000
MAX_SERIES: Final = 400
"""Of one camera: what counts under more names is not kept, and read each time."""

_VERSION: Final = np.dtype([("start", ">i8"), ("xid", ">u4"), ("block", ">u4"), ("line", ">u2")])

Array = npt.NDArray[np.float64]
Place = tuple[str, str, str, str]
"""Whose rings: host, port and name of the database are not mixed up with another's, and device."""

Found = dict[str, dict[tuple[str, str], Array]]
"""By metric, then name and label: sums by minute; float64, (units,)."""


Kept = Mapping[tuple[str, str], tuple[npt.NDArray[np.int64], Found]]
"""By camera the starts (ms) of its minutes, and their sums."""


class Ring:
    """The last minutes of one camera; a slot of NaN did not count under that name."""

    def __init__(self) -> None:
        self.seen = b""
        self.versions = np.zeros(RING, dtype=_VERSION)
        self.sums: Found = {}
        self.series = 0

    def stale(self, listed: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
        """Return those of some versions that are not the ones that are kept."""
        return listed[self.versions[_slots(listed["start"])] != listed]

    def put(self, version: npt.NDArray[np.void], body: bytes) -> bool:
        """Keep one minute; False where it counts under too many names."""
        self.seen = b""
        slot = int(_slots(version["start"]))
        for of in self.sums.values():
            for units in of.values():
                units[slot] = np.nan
        for metric, name, label, value in scalars.of_counts(scalars.counts_of(body)):
            of = self.sums.setdefault(metric, {})
            if (name, label) not in of:
                if self.series >= MAX_SERIES:
                    return False
                self.series += 1
                of[name, label] = np.full(RING, np.nan)
            before = of[name, label][slot]
            of[name, label][slot] = value if np.isnan(before) else before + value
        self.versions[slot] = version
        return True

    def read(self, starts: npt.NDArray[np.int64], wanted: Iterable[str]) -> Found:
        """Return the sums of these minutes, as far as the camera counted under a name in them."""
        slots = _slots(starts)
        found: Found = {}
        for metric in wanted:
            for key, units in self.sums.get(metric, {}).items():
                some = units[slots]
                absent = np.isnan(some)
                if not absent.all():
                    some[absent] = 0.0
                    found.setdefault(metric, {})[key] = some
        return found


def _slots(starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return (np.asarray(starts, dtype=np.int64) // MINUTE_MS) % RING


_rings: OrderedDict[Place, Ring] = OrderedDict()


def forget() -> None:
    """Keep nothing any more."""
    _rings.clear()


async def read(
    tx: Tx, cameras: Iterable[tuple[str, str]], from_ms: int, to_ms: int, wanted: Iterable[str]
) -> Kept | None:
    """Return the minutes of some cameras; None where they cannot be kept.

    The window has at most `RING` minutes, and there are at most `MAX_CAMERAS` cameras.
    """
    asked = set(cameras)
    metrics = list(wanted)
    info = tx.connection.info
    at = (info.host, f"{info.port}/{info.dbname}")
    window = {"from_ms": from_ms, "to_ms": to_ms}
    rows = await tx.packed(
        "ask_minute_versions", devices=sorted({device for device, _ in asked}), **window
    )
    rings: dict[tuple[str, str], tuple[Ring, npt.NDArray[np.void]]] = {}
    stale: list[tuple[str, str, int]] = []
    for device, camera, raw in rows:
        if (device, camera) not in asked:
            continue
        ring = _rings.setdefault((*at, device, camera), Ring())
        _rings.move_to_end((*at, device, camera))
        listed = np.frombuffer(raw, dtype=_VERSION)
        rings[device, camera] = ring, listed
        if raw != ring.seen:
            stale += [(device, camera, int(one["start"])) for one in ring.stale(listed)]
    while len(_rings) > MAX_CAMERAS:
        _rings.popitem(last=False)
    if stale and not await _fetch(tx, rings, stale):
        return None
    found: dict[tuple[str, str], tuple[npt.NDArray[np.int64], Found]] = {}
    for key, (ring, listed) in rings.items():
        raw = listed.tobytes()
        if ring.seen != raw and len(ring.stale(listed)):
            return None  # dropped meanwhile, or another question about another time came between
        ring.seen = raw
        starts = listed["start"].astype(np.int64)
        found[key] = starts, ring.read(starts, metrics)
    return found


async def _fetch(
    tx: Tx,
    rings: Mapping[tuple[str, str], tuple[Ring, npt.NDArray[np.void]]],
    stale: list[tuple[str, str, int]],
) -> bool:
    """Read minutes into their rings; False where that cannot be."""
    rows = await tx.packed(
        "ask_minutes_with_versions",
        devices=[device for device, _, _ in stale],
        cameras=[camera for _, camera, _ in stale],
        starts=[start for _, _, start in stale],
    )
    for device, camera, version, body in rows:
        ring, _ = rings[device, camera]
        if not ring.put(np.frombuffer(version, dtype=_VERSION)[0], body):
            forget()
            return False
    return True
