"""In what light a device's cameras see: the third part of a stratum, beside hardware and camera.

It is read from the brightness of pictures in merged hours of the day before: every third hour of
every camera. The rule: what nobody measured is not known, and is a stratum of its own.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Final

import msgspec

from vedette.central.rollouts.store import Known
from vedette.central.rollups import DAY_MS, HOUR_MS, floor_ms
from vedette.central.store import arrays
from vedette.central.store.db import Tx
from vedette.wire.messages import Bins

AT_ONCE: Final = 500
"""Devices that are looked at in one turn, or in one dry run."""

DIM: Final = 0.25
"""Mean luma, of 1: about that of a street lit by lamps, or of a cellar."""

SWING: Final = 0.2
"""Between the darkest and the brightest hour: daylight comes and goes."""

_EVERY_H: Final = 3
_MEASURE: Final = "brightness"


class _Body(msgspec.Struct, frozen=True):
    quality: dict[str, Bins] = {}


_body = msgspec.msgpack.Decoder(_Body).decode


async def look(tx: Tx, rollout: str, known: Sequence[Known], now_ms: int) -> list[Known]:
    """Return the devices of a rollout, with the light of some that were not looked at before."""
    due = [str(name) for (name,) in await tx.tuples("light_due", rollout=rollout, limit=AT_ONCE)]
    if not due:
        return list(known)
    found = await of(tx, due, now_ms)
    rows = [(name, found.get(name, "")) for name in due]
    await tx.run("light_put", rollout=rollout, **arrays.columns(rows, "device", "light"))
    return [_lit(one, found.get(one.device.device, "")) for one in known]


def _lit(one: Known, light: str) -> Known:
    if not light:
        return one
    strata = (*one.device.strata[:2], light)
    device = msgspec.structs.replace(one.device, strata=strata)
    return msgspec.structs.replace(one, device=device)


async def of(tx: Tx, devices: Sequence[str], now_ms: int) -> dict[str, str]:
    """Return in what light devices see, of those of which it is known."""
    last_ms = floor_ms(now_ms, HOUR_MS)
    hours = list(range(last_ms - DAY_MS, last_ms, _EVERY_H * HOUR_MS))
    means: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for device, hour_ms, body in await tx.packed("light_bodies", devices=devices, hours=hours):
        seen = _body(body).quality.get(_MEASURE)
        if seen is not None and sum(seen.counts):
            means[str(device)][int(hour_ms)].append(mean(seen))
    return {name: in_a_word([fmean(one) for one in hourly.values()]) for name, hourly in
            means.items()}  # fmt: skip


def mean(seen: Bins) -> float:
    """Return the mean of a histogram over 0 to 1. Pure."""
    width = 1 / len(seen.counts)
    weighted = sum((at + 0.5) * width * count for at, count in enumerate(seen.counts))
    return weighted / sum(seen.counts)


def in_a_word(hourly: Iterable[float]) -> str:
    """Return what the hours of a day are like: `day and night`, `dim` or `bright`. Pure."""
    values = list(hourly)
    if not values:
        return ""
    if max(values) - min(values) >= SWING:
        return "day and night"
    return "dim" if fmean(values) < DIM else "bright"
