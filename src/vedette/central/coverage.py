"""The coverage ledger: what was observed, and for everything else its cause. Pure.

Claims arrive in any order, twice, or months late; they are only collected. `resolve` decides when
somebody looks, so the order of arrival cannot matter. Where claims overlap, the strongest holds:

    1  what the device says was a gap: DEVICE_DARK, PIPELINE_STOPPED, CAMERA_DOWN, TAMPERED,
       CLOCK_UNTRUSTED, SCHEDULED_OFF, in this order
    2  observed
    3  EVICTED: the device says that its record of this time is gone
    4  weak claims: reports that could only be dated roughly (CLOCK_UNTRUSTED)
    5  what central knows of itself: CENTRAL_DOWN
    6  what central infers of a silent device:
         while it is dark               DEVICE_DARK, from its last contact on
         while its backlog is to come   PENDING_BACKFILL
         when its backlog has all come  DEVICE_DARK inside a dark spell, else PIPELINE_STOPPED
         the fresh edge, device well    the camera's own open gap, else AWAITING
         of a device that was revoked   DEVICE_DARK: what it still had will not come

The last row always holds, so no stretch is without a cause. Gaps beat "observed" so that a covered
or dead camera is never "observed, zero visitors".
"""

import heapq
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from vedette.central.views import Coverage, Segment
from vedette.wire.messages import Cause, State
from vedette.wire.streams import REPORT_PERIOD_S, stream

AWAITING: Final = "AWAITING"

FRESH_MS: Final = int(((stream("aggregate.v1").period_s or 0.0) + 3 * REPORT_PERIOD_S) * 1000)
"""How long after a minute began its aggregate may still be on the way from a healthy device."""

_STATED: Final = (
    Cause.CENTRAL_DOWN,
    Cause.DEVICE_DARK,
    Cause.PIPELINE_STOPPED,
    Cause.CAMERA_DOWN,
    Cause.TAMPERED,
    Cause.CLOCK_UNTRUSTED,
    Cause.SCHEDULED_OFF,
)
_RANK: Final[dict[Cause | None, int]] = {
    **{cause: rank for rank, cause in enumerate(_STATED)},
    None: 20,
    Cause.EVICTED: 30,
    Cause.PENDING_BACKFILL: 40,
}
_WEAK_RANK: Final = 40
_CENTRAL_RANK: Final = 50
_DARK_RANK: Final = 60
_PENDING_RANK: Final = 61
_OPEN_GAP_RANK: Final = 62
_FLOOR_RANK: Final = 70

_ENDED: Final = "the device was revoked before it sent this"

_STATE_CAUSE: Final = {
    State.DOWN: Cause.CAMERA_DOWN,
    State.TAMPERED: Cause.TAMPERED,
    State.OFF: Cause.SCHEDULED_OFF,
}


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said about a stretch of one camera's time; `cause` None: observed."""

    start_ms: int
    end_ms: int
    cause: Cause | None = None
    weak: bool = False
    rate_fps: float | None = None
    detail: str = ""


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """A camera's state from `at_ms` on."""

    at_ms: int
    state: State
    cause: Cause | None = None
    detail: str = ""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What central knows besides the claims.

    Attributes:
        known_from_ms: The first time that the camera spoke of; nothing is accountable before.
        dark: Spells without contact, from the last contact to the next; None: it lasts.
        central_down: Spells in which central itself was away.
        drained_to_ms: Everything that the device recorded before this has arrived.
        open_gap: The camera's state now, where that is a gap; `end_ms` is ignored.
        silent_ms: When the device first fell silent after that, where `dark` may not reach back.
        ended_ms: When the device was revoked; nothing is accountable from then on.
    """

    known_from_ms: int
    dark: Sequence[tuple[int, int | None]] = ()
    central_down: Sequence[tuple[int, int]] = ()
    drained_to_ms: int | None = None
    open_gap: Claim | None = None
    silent_ms: int | None = None
    ended_ms: int | None = None


class _Bid(msgspec.Struct, frozen=True, order=True):
    """One candidate for a stretch: the smallest wins; the content itself breaks ties."""

    rank: int
    cause: str
    neg_start_ms: int
    end_ms: int
    rate_fps: float
    detail: str


def from_states(changes: Sequence[StateChange]) -> tuple[list[Claim], Claim | None]:
    """Return the gaps between state changes (in the device's order), and the one still open.

    At a moment that state holds which the device said last of all that it dated no later: a clock
    that was set back dates a later change before an earlier one, and is right about the earlier
    one's end. So what holds at a moment depends on nothing dated after it, and on no window.
    """
    claims: list[Claim] = []
    for change, following in pairwise(_in_effect(changes)):
        cause = _cause_of(change)
        if cause is not None and following.at_ms > change.at_ms:
            claims.append(
                Claim(
                    start_ms=change.at_ms,
                    end_ms=following.at_ms,
                    cause=cause,
                    detail=change.detail,
                )
            )
    if not changes:
        return claims, None
    last = changes[-1]
    cause = _cause_of(last)
    if cause is None:
        return claims, None
    return claims, Claim(start_ms=last.at_ms, end_ms=last.at_ms, cause=cause, detail=last.detail)


def _in_effect(changes: Sequence[StateChange]) -> list[StateChange]:
    """Return the changes that were in effect at some time, in order of time."""
    effective: list[StateChange] = []
    newest = -1
    for number, change in sorted(enumerate(changes), key=lambda pair: (pair[1].at_ms, pair[0])):
        if number > newest:
            newest = number
            effective.append(change)
    return effective


def _cause_of(change: StateChange) -> Cause | None:
    if change.state not in _STATE_CAUSE:
        return None
    return change.cause or _STATE_CAUSE[change.state]


def resolve(
    claims: Iterable[Claim],
    situation: Situation,
    *,
    from_ms: int,
    to_ms: int,
    now_ms: int,
) -> list[Segment]:
    """Return segments that tile `from_ms` to `to_ms`, each observed or a gap with its cause.

    Time before the camera was known, after its device was revoked, and to come is left out. The
    result depends on the set of claims only, not on their order or repetition.
    """
    start_ms = max(from_ms, situation.known_from_ms)
    end_ms = min(to_ms, now_ms)
    if situation.ended_ms is not None:
        end_ms = min(end_ms, situation.ended_ms)
    if end_ms <= start_ms:
        return []
    bids = [_bid(claim, _WEAK_RANK if claim.weak else _RANK[claim.cause]) for claim in claims]
    bids += _inferred(situation, start_ms, end_ms, now_ms)
    clipped = [bid for bid in bids if -bid.neg_start_ms < end_ms and bid.end_ms > start_ms]
    return _sweep(clipped, start_ms, end_ms)


def _bid(claim: Claim, rank: int) -> _Bid:
    return _Bid(
        rank=rank,
        cause=claim.cause.value if claim.cause else "",
        neg_start_ms=-claim.start_ms,
        end_ms=claim.end_ms,
        rate_fps=-1.0 if claim.rate_fps is None else claim.rate_fps,
        detail=claim.detail,
    )


def _span(rank: int, cause: str, start_ms: int, end_ms: int, detail: str = "") -> _Bid:
    return _Bid(
        rank=rank,
        cause=cause,
        neg_start_ms=-start_ms,
        end_ms=end_ms,
        rate_fps=-1.0,
        detail=detail,
    )


def _inferred(situation: Situation, start_ms: int, end_ms: int, now_ms: int) -> list[_Bid]:
    """Return what central infers, together covering everything from `start_ms` to `end_ms`."""
    drained_ms = start_ms if situation.drained_to_ms is None else situation.drained_to_ms
    fresh_ms = max(now_ms - FRESH_MS, drained_ms)
    bids = [
        _span(_CENTRAL_RANK, Cause.CENTRAL_DOWN, down_ms, up_ms)
        for down_ms, up_ms in situation.central_down
    ]
    is_dark = False
    for dark_ms, back_ms in situation.dark:
        if back_ms is None:
            is_dark = True
            # What it recorded just before it went silent is on it, and cannot be told apart.
            bids.append(_span(_DARK_RANK, Cause.DEVICE_DARK, dark_ms - FRESH_MS, now_ms))
            continue
        known_ms = drained_ms if situation.ended_ms is None else back_ms
        if known_ms > dark_ms:
            bids.append(_span(_DARK_RANK, Cause.DEVICE_DARK, dark_ms, min(back_ms, known_ms)))
        bids.append(_span(_PENDING_RANK, Cause.PENDING_BACKFILL, dark_ms, back_ms))
    if not is_dark and situation.ended_ms is None:
        bids.append(_span(_FLOOR_RANK, AWAITING, fresh_ms, end_ms))
    bids.append(
        _span(
            _FLOOR_RANK + 1,
            Cause.PIPELINE_STOPPED,
            start_ms,
            drained_ms,
            "the device holds no record of this time",
        )
    )
    if situation.ended_ms is None:
        bids.append(_span(_FLOOR_RANK + 2, Cause.PENDING_BACKFILL, start_ms, end_ms))
    else:
        bids.append(_span(_FLOOR_RANK + 2, Cause.DEVICE_DARK, start_ms, end_ms, _ENDED))
    if situation.open_gap is not None:
        bids += _open_gap(situation.open_gap, situation, now_ms)
    return bids


def _open_gap(gap: Claim, situation: Situation, now_ms: int) -> list[_Bid]:
    """Return the camera's own open gap: certain until the device fell silent, likely after that."""
    silences = [start_ms for start_ms, _ in situation.dark if start_ms > gap.start_ms]
    if situation.silent_ms is not None:
        silences.append(situation.silent_ms)
    silent_ms = min(silences, default=now_ms)
    certain = Claim(start_ms=gap.start_ms, end_ms=silent_ms, cause=gap.cause, detail=gap.detail)
    likely = Claim(start_ms=silent_ms, end_ms=now_ms, cause=gap.cause, detail=gap.detail)
    return [_bid(certain, _RANK[gap.cause]), _bid(likely, _OPEN_GAP_RANK)]


def _sweep(bids: list[_Bid], start_ms: int, end_ms: int) -> list[Segment]:
    """Return the winners from left to right, equal neighbours joined."""
    waiting = sorted(bids, key=lambda bid: -bid.neg_start_ms)
    edges = sorted(
        {start_ms}
        | {-bid.neg_start_ms for bid in bids if start_ms < -bid.neg_start_ms < end_ms}
        | {bid.end_ms for bid in bids if start_ms < bid.end_ms < end_ms}
    )
    segments: list[Segment] = []
    live: list[_Bid] = []
    taken = 0
    for edge_ms, next_ms in zip(edges, [*edges[1:], end_ms], strict=True):
        while taken < len(waiting) and -waiting[taken].neg_start_ms <= edge_ms:
            heapq.heappush(live, waiting[taken])
            taken += 1
        while live[0].end_ms <= edge_ms:
            heapq.heappop(live)
        _append(segments, live[0], edge_ms, next_ms)
    return segments


def _append(segments: list[Segment], bid: _Bid, start_ms: int, end_ms: int) -> None:
    cause = bid.cause or None
    rate_fps = None if bid.rate_fps < 0 else bid.rate_fps
    last = segments[-1] if segments else None
    if last and (last.cause, last.rate_fps, last.detail) == (cause, rate_fps, bid.detail):
        segments.pop()
        start_ms = last.start_ms
    segments.append(
        Segment(start_ms=start_ms, end_ms=end_ms, cause=cause, rate_fps=rate_fps, detail=bid.detail)
    )


def summarise(segments: Iterable[Segment]) -> Coverage:
    """Return how much was observed and what took the rest; AWAITING is not accountable yet."""
    observed_ms = 0
    causes_ms: dict[str, int] = {}
    for segment in segments:
        length_ms = segment.end_ms - segment.start_ms
        if segment.cause is None:
            observed_ms += length_ms
        elif segment.cause != AWAITING:
            causes_ms[segment.cause] = causes_ms.get(segment.cause, 0) + length_ms
    accountable_ms = observed_ms + sum(causes_ms.values())
    return Coverage(
        fraction=observed_ms / accountable_ms if accountable_ms else None,
        observed_s=observed_ms / 1000,
        accountable_s=accountable_ms / 1000,
        causes={cause: length_ms / 1000 for cause, length_ms in sorted(causes_ms.items())},
    )


def combine(coverages: Iterable[Coverage]) -> Coverage:
    """Return the coverage of several cameras together, by camera-seconds."""
    observed_s = accountable_s = 0.0
    causes: dict[str, float] = {}
    for coverage in coverages:
        observed_s += coverage.observed_s
        accountable_s += coverage.accountable_s
        for cause, lost_s in coverage.causes.items():
            causes[cause] = causes.get(cause, 0.0) + lost_s
    return Coverage(
        fraction=observed_s / accountable_s if accountable_s else None,
        observed_s=observed_s,
        accountable_s=accountable_s,
        causes=causes,
    )
