"""How metrics are laid out: 24 hours of every series of one metric of one device, in one row.

A week that is over is folded: its seven days are one row of the same form, seven days long. Whoever
writes a day of it unfolds it first.

A series is `(camera, name, label)`: a camera's zone and class, a device's sensor (camera ''). Its
hours are little endian, one row of 24 after another; of readings NaN where there was none.
Rows of the same series can be laid end to end and read as one matrix, so that a question to the
whole fleet costs a scan and no decoding.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from vedette.central.rollups import DAY_MS, floor_ms
from vedette.central.store.db import Tx

Series = tuple[str, str, str]  # camera, name, label
Hours = npt.NDArray[np.float64]

FORMS: Final = {form: np.dtype(form) for form in ("<u2", "<u4", "<f8")}
"""How hours are written: the narrowest that holds every one exactly. Most are small counts."""

WEEK_MS: Final = 7 * DAY_MS

COUNTED: Final = ""
COVERAGE: Final = "coverage."
DEVICE: Final = "device."
"""Families of metrics by the beginning of their names; what has neither was counted."""

_keys = msgspec.json.Decoder(list[Series]).decode


def encode(series: Mapping[Series, Hours]) -> tuple[str, bytes]:
    """Return the key column (form, a colon, the series) and the hours of one metric's row."""
    keys = sorted(series)
    matrix = np.array([series[key] for key in keys], dtype=np.float64)
    return _packed(keys, matrix)


def _narrowest(matrix: Hours) -> str:
    if not np.isfinite(matrix).all() or (matrix < 0).any() or (matrix % 1 != 0).any():
        return "<f8"
    most = matrix.max(initial=0.0)
    return "<u2" if most < 2**16 else "<u4" if most < 2**32 else "<f8"


def decode(keys: str, hours: bytes) -> tuple[list[Series], npt.NDArray[np.generic]]:
    """Return the series of rows of the same keys, and their hours: (rows, series, 24), any form."""
    form, _, listed = keys.partition(":")
    series = _keys(listed)
    return series, np.frombuffer(hours, dtype=FORMS[form]).reshape(-1, len(series), 24)


async def write(
    tx: Tx, device: str, day_ms: int, family: str, metrics: Mapping[str, Mapping[Series, Hours]]
) -> None:
    """Have exactly these metrics of a family in one device's day."""
    await unfold(tx, device, day_ms)
    await tx.run("metric_day_drop", device=device, day_ms=day_ms, family=family, kept=list(metrics))
    made: list[dict[str, object]] = []
    for metric, series in sorted(metrics.items()):
        keys, hours = encode(series)
        made.append(
            {"device": device, "metric": metric, "day_ms": day_ms, "keys": keys, "hours": hours}
        )
    await tx.many("metric_day_put", made)


async def read(tx: Tx, device: str, day_ms: int, family: str) -> dict[str, dict[Series, Hours]]:
    """Return what is laid out of a family in one device's day."""
    await unfold(tx, device, day_ms)
    found: dict[str, dict[Series, Hours]] = {}
    for metric, keys, hours in await tx.tuples(
        "metrics_of_device_day", device=device, day_ms=day_ms, family=family
    ):
        series, matrix = decode(keys, hours)
        found[metric] = {key: matrix[0, at].astype(np.float64) for at, key in enumerate(series)}
    return found


# --------------------------------------------------------------------------------------- weeks


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of a device's week, as it is stored; `sums` are all series added up."""

    metric: str
    keys: str
    days: bytes
    hours: bytes
    sum_keys: str
    sums: bytes


def fold(rows: Iterable[tuple[str, int, str, bytes]], week_ms: int) -> list[Week]:
    """Return a week's metrics from rows (metric, day_ms, keys, hours) of its days.

    A series that a day does not have is 0 in it; of readings NaN.
    """
    metrics: dict[str, dict[Series, Hours]] = {}
    for metric, day_ms, keys, hours in rows:
        listed, matrix = decode(keys, hours)
        none = np.nan if metric.startswith(DEVICE) else 0.0
        of = metrics.setdefault(metric, {})
        for at, key in enumerate(listed):
            if key not in of:
                of[key] = np.full((7, 24), none)
            of[key][(day_ms - week_ms) // DAY_MS] = matrix[0, at]
    days = np.arange(week_ms, week_ms + WEEK_MS, DAY_MS, dtype=">i8").tobytes()
    made: list[Week] = []
    for metric, of in sorted(metrics.items()):
        listed = sorted(of)
        laid = np.array([of[key] for key in listed]).transpose(1, 0, 2)
        keys, hours = _packed(listed, laid)
        sum_keys, sums = _packed([("", "", "")], np.nan_to_num(laid).sum(axis=1))
        made.append(
            Week(metric=metric, keys=keys, days=days, hours=hours, sum_keys=sum_keys, sums=sums)
        )
    return made


def _packed(keys: list[Series], laid: Hours) -> tuple[str, bytes]:
    form = _narrowest(laid)
    return f"{form}:{msgspec.json.encode(keys).decode()}", laid.astype(FORMS[form]).tobytes()


async def unfold(tx: Tx, device: str, day_ms: int) -> None:
    """Have the days of the week around `day_ms` by day, if they were folded.

    A metric that was nothing all day has no row, as it had none before.
    """
    week_ms = floor_ms(day_ms, WEEK_MS)
    if not await tx.run("metric_folded_drop", device=device, week_ms=week_ms):
        return
    made: list[dict[str, object]] = []
    for metric, keys, hours in await tx.tuples("metric_week_take", device=device, week_ms=week_ms):
        series, matrix = decode(keys, hours)
        for number, of_day in enumerate(matrix.astype(np.float64)):
            if np.isnan(of_day).all() if metric.startswith(DEVICE) else not of_day.any():
                continue
            text, body = encode(dict(zip(series, of_day, strict=True)))
            of = {"device": device, "metric": metric, "day_ms": week_ms + number * DAY_MS}
            made.append(of | {"keys": text, "hours": body})
    await tx.many("metric_day_put", made)
