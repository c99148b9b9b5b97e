"""Several cameras as one strip: at every moment the worst of them. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from vedette.central.console.words import AWAITING, CAUSES, UNKNOWN
from vedette.central.query.runs import join
from vedette.central.views import Segment
from vedette.wire.messages import Cause

_OBSERVED: Final = 100
_QUIET: Final = {Cause.SCHEDULED_OFF: 101, AWAITING: 102, UNKNOWN: 103}
_RANK: Final[dict[str | None, int]] = {
    **{cause: rank for rank, cause in enumerate(CAUSES)},
    **_QUIET,
    None: _OBSERVED,
}


def worst(strips: Sequence[Sequence[Segment]]) -> list[Segment]:
    """Return one strip: a gap of any camera is a gap; observed where one observes and none lacks.

    What was off on purpose or is not reported yet loses against what another camera observed.
    Details and rates are left out.
    """
    if len(strips) == 1:
        return list(strips[0])
    edges = sorted({at for strip in strips for s in strip for at in (s.start_ms, s.end_ms)})
    at = [0] * len(strips)
    made: list[Segment] = []
    for start_ms, end_ms in pairwise(edges):
        causes: list[str | None] = []
        for n, strip in enumerate(strips):
            while at[n] < len(strip) and strip[at[n]].end_ms <= start_ms:
                at[n] += 1
            if at[n] < len(strip) and strip[at[n]].start_ms <= start_ms:
                causes.append(strip[at[n]].cause)
        if causes:
            cause = min(causes, key=lambda cause: _RANK.get(cause, 0))
            made.append(Segment(start_ms=start_ms, end_ms=end_ms, cause=cause))
    return join(made)


def settled(strip: Sequence[Segment], step_ms: int) -> list[Segment]:
    """Return a strip whose fresh edge begins at a whole step: it moves with every report else."""
    if len(strip) < 2 or strip[-1].cause != AWAITING:
        return list(strip)
    *before, last, edge = strip
    at_ms = max(last.start_ms + 1, edge.start_ms // step_ms * step_ms)
    return [
        *before,
        Segment(start_ms=last.start_ms, end_ms=at_ms, cause=last.cause, detail=last.detail),
        Segment(start_ms=at_ms, end_ms=max(edge.end_ms, at_ms), cause=AWAITING),
    ]
