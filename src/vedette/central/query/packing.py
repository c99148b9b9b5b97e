"""How metrics are laid out: 24 hours of every series of one metric of one device, in one row.

A series is `(camera, name, label)`: a camera's zone and class, a device's sensor (camera ''). Its
hours are little endian, one row of 24 after another; of readings NaN where there was none.
Rows of the same series can be laid end to end and read as one matrix, so that a question to the
whole fleet costs a scan and no decoding.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from vedette.central.store.db import Tx

Series = tuple[str, str, str]  # camera, name, label
Hours = npt.NDArray[np.float64]

FORMS: Final = {form: np.dtype(form) for form in ("<u2", "<u4", "<f8")}
"""How hours are written: the narrowest that holds every one exactly. Most are small counts."""

COUNTED: Final = ""
COVERAGE: Final = "coverage."
DEVICE: Final = "device."
"""Families of metrics by the beginning of their names; what has neither was counted."""

_keys = msgspec.json.Decoder(list[Series]).decode


def encode(series: Mapping[Series, Hours]) -> tuple[str, bytes]:
    """Return the key column (form, a colon, the series) and the hours of one metric's row."""
    keys = sorted(series)
    matrix = np.array([series[key] for key in keys], dtype=np.float64)
    form = _narrowest(matrix)
    return f"{form}:{msgspec.json.encode(keys).decode()}", matrix.astype(FORMS[form]).tobytes()


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
    """Have exactly these metrics of a family (a LIKE pattern) in one device's day."""
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
    found: dict[str, dict[Series, Hours]] = {}
    for metric, keys, hours in await tx.tuples(
        "metrics_of_device_day", device=device, day_ms=day_ms, family=family
    ):
        series, matrix = decode(keys, hours)
        found[metric] = {key: matrix[0, at].astype(np.float64) for at, key in enumerate(series)}
    return found
