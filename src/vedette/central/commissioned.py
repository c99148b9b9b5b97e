"""What devices told of commissioning their cameras: who stood there, what they confirmed, how well.

The rule: precision and recall stand with their intervals; what nobody looked at is skipped, never a
yes.
"""

from typing import Final

import msgspec

from vedette.central.store.db import Tx
from vedette.stats.intervals import clopper_pearson
from vedette.wire.messages import CommissionReport

CONFIDENCE: Final = 0.95


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """So many of so many, with the 95 % interval of the share, 0 to 1."""

    count: int
    of: int
    low: float
    high: float


class Commissioning(msgspec.Struct, frozen=True, kw_only=True):
    """One commissioning of a camera.

    Attributes:
        complete: Every step was taken and none was answered no.
        precision, recall: Of the sample that was labelled there; null where there was nothing.
    """

    at_ms: int
    received_ms: int
    by: str
    complete: bool
    confirmed: list[str]
    refused: list[str]
    skipped: list[str]
    problems: list[str]
    picture_px: tuple[int, int] | None
    model: str
    pictures: int
    precision: Share | None
    recall: Share | None
    baseline_s: float | None
    observed_fraction: float | None
    captured: int
    analysed: int
    gated: int


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    at_ms: int
    received_ms: int
    body: bytes


async def of_camera(tx: Tx, device: str, camera: str) -> list[Commissioning]:
    """Return every commissioning of a camera that is kept, the newest first."""
    rows = await tx.all("commissions_of", _Row, device=device, camera=camera)
    return [_view(row) for row in rows]


def _view(row: _Row) -> Commissioning:
    told = msgspec.msgpack.decode(row.body, type=CommissionReport)
    return Commissioning(
        at_ms=row.at_ms,
        received_ms=row.received_ms,
        by=told.by,
        complete=not told.refused and not told.skipped,
        confirmed=told.confirmed,
        refused=told.refused,
        skipped=told.skipped,
        problems=told.problems,
        picture_px=told.picture_px,
        model=told.model,
        pictures=told.pictures,
        precision=_share(told.right, told.right + told.wrong),
        recall=_share(told.right, told.right + told.missed),
        baseline_s=told.baseline_s,
        observed_fraction=told.observed_fraction,
        captured=told.captured,
        analysed=told.analysed,
        gated=told.gated,
    )


def _share(count: int, of: int) -> Share | None:
    interval = clopper_pearson(count, of, CONFIDENCE)
    return (
        None if interval is None else Share(count=count, of=of, low=interval[0], high=interval[1])
    )
