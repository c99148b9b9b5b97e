"""Hours that came but are not added up yet: they are pending, never counted as empty.

A device that comes back after days brings thousands of camera-hours at once, and jobs merge them in
turn. Until then an answer can hold only some of them. The rule: where such an hour is left out of a
number, it is left out of its coverage too, under the cause of what is still to come.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from vedette.central.query import runs
from vedette.central.query.engine import Block, Ground
from vedette.central.rollups import HOUR_MS
from vedette.wire.messages import Cause

_PENDING: Final = f"coverage.{Cause.PENDING_BACKFILL}"


def leave_out(ground: Ground, values: Sequence[Block]) -> None:
    """Have no value in the hours that are left out; blocks must be of single cameras."""
    for block, rows, units in _parts(ground, values):
        block.units[np.ix_(rows, units)] = 0.0


def put_off(ground: Ground, covered: Sequence[Block]) -> list[Block]:
    """Return coverage in which the hours that are left out count as pending, not as observed."""
    made = list(covered)
    observed = [block for block in covered if block.metric == runs.OBSERVED]
    for block, rows, units in _parts(ground, observed):
        pending = np.zeros_like(block.units)
        pending[np.ix_(rows, units)] = block.units[np.ix_(rows, units)]
        block.units[np.ix_(rows, units)] = 0.0
        made.append(Block(device=block.device, metric=_PENDING, series=block.series, units=pending))
    return made


def _parts(ground: Ground, blocks: Iterable[Block]) -> Iterable[tuple[Block, list[int], list[int]]]:
    """Give each block with the rows and hours of it that are left out, camera by camera."""
    hours: dict[tuple[str, str], list[int]] = {}
    for device, camera, hour_ms in ground.left_out:
        at = (hour_ms - ground.grid.from_ms) // HOUR_MS
        if 0 <= at < ground.grid.units:
            hours.setdefault((device, camera), []).append(at)
    for block in blocks:
        for camera in {series[0] for series in block.series}:
            units = hours.get((block.device, camera))
            if units:
                rows = [n for n, series in enumerate(block.series) if series[0] == camera]
                yield block, rows, units
