"""What was observed of one camera and what was not: the device's side of the coverage ledger.

Pure: times come in, spans go out. A slice's spans tile it without hole or overlap. A camera is
observed from look to look (a gated frame is a look). Where no look came for `MAX_SILENCE_MS`, or
for longer than its own slow rate explains, and nothing else explains it, the pipeline did not
keep up and that is said (`PIPELINE_STOPPED`).

A gap is often noticed late (a camera is down ten seconds after its last frame): the part that lies
in slices already cut is returned as a correction, since a stated gap outweighs "observed".
"""

import itertools
from dataclasses import dataclass
from typing import Final

from vedette.wire.messages import Cause, Span

MAX_SILENCE_MS: Final = 15_000
_STALL: Final = Cause.PIPELINE_STOPPED
_STALL_TEXT: Final = "no picture was looked at"
PRECEDENCE: Final = (
    Cause.CENTRAL_DOWN,
    Cause.DEVICE_DARK,
    Cause.PIPELINE_STOPPED,
    Cause.CAMERA_DOWN,
    Cause.TAMPERED,
    Cause.CLOCK_UNTRUSTED,
    Cause.SCHEDULED_OFF,
)


@dataclass(slots=True)
class _Gap:
    cause: Cause
    start_ms: int
    end_ms: int | None
    detail: str


class SpanBuilder:
    """One camera's spans, slice after slice. Thread: one at a time (the lane's lock).

    Args:
        start_ms: Wall time at which the first slice begins.
        silence_ms: Longest time between two looks that is no gap.
    """

    def __init__(self, start_ms: int, *, silence_ms: int = MAX_SILENCE_MS) -> None:
        self._cut_ms = start_ms
        self._silence_ms = silence_ms
        self._period_ms = 0
        self._gaps: list[_Gap] = []
        self._corrections: list[Span] = []
        self._last_look_ms = start_ms
        self._looks = 0
        self._has_looked = False
        self._stall: _Gap | None = None

    @property
    def start_ms(self) -> int:
        """Start of the slice that is being built."""
        return self._cut_ms

    def look(self, at_ms: int) -> None:
        """Say that a picture of that time was looked at."""
        self._notice_silence(at_ms)
        if self._stall is not None:
            self._stall.end_ms = max(at_ms, self._stall.start_ms)
            self._gaps.append(self._stall)
            self._stall = None
        if self._has_looked and at_ms > self._last_look_ms:
            self._period_ms = at_ms - self._last_look_ms
        self._has_looked = True
        self._last_look_ms = max(self._last_look_ms, at_ms)
        if all(gap.end_ms is not None for gap in self._gaps):
            self._looks += 1  # what is looked at in a gap counts for no observed time

    def open_gap(self, cause: Cause, at_ms: int, detail: str = "") -> None:
        """Say that a gap began, perhaps a while ago; a second one of its cause changes nothing."""
        if any(gap.cause is cause and gap.end_ms is None for gap in self._gaps):
            return
        self._notice_silence(at_ms)
        if at_ms < self._cut_ms:
            self._corrections.append(
                Span(start_ms=at_ms, end_ms=self._cut_ms, cause=cause, detail=detail)
            )
        self._gaps.append(_Gap(cause, max(at_ms, self._cut_ms), None, detail))

    def close_gap(self, cause: Cause, at_ms: int) -> None:
        """Say that the open gap of this cause ended; without one nothing happens."""
        for gap in self._gaps:
            if gap.cause is cause and gap.end_ms is None:
                gap.end_ms = max(at_ms, gap.start_ms)
                self._last_look_ms = max(self._last_look_ms, at_ms)

    def cut(self, end_ms: int) -> tuple[list[Span], list[Span]]:
        """End the slice; return its spans and the corrections to earlier ones."""
        end_ms = max(end_ms, self._cut_ms)
        self._notice_silence(end_ms)
        spans = self._tile(self._cut_ms, end_ms)
        corrections, self._corrections = self._corrections, []
        # A slice is cut a little after its end: what began or ended since then belongs to the next.
        self._gaps = [
            _Gap(gap.cause, max(gap.start_ms, end_ms), gap.end_ms, gap.detail)
            for gap in self._gaps
            if gap.end_ms is None or gap.end_ms > end_ms
        ]
        if self._stall is not None:
            self._stall.start_ms = max(self._stall.start_ms, end_ms)
        self._cut_ms, self._looks = end_ms, 0
        return spans, corrections

    def peek(self, end_ms: int) -> list[Span]:
        """Return what the slice would say if it ended now; it goes on."""
        return self._tile(self._cut_ms, max(end_ms, self._cut_ms))

    def _notice_silence(self, now_ms: int) -> None:
        """Open the stall where no look came for long and no open gap explains it."""
        explained = self._stall is not None or any(g.end_ms is None for g in self._gaps)
        if explained or now_ms - self._last_look_ms <= self._silence_ms:
            return
        start_ms = self._last_look_ms
        if start_ms < self._cut_ms:
            self._corrections.append(
                Span(start_ms=start_ms, end_ms=self._cut_ms, cause=_STALL, detail=_STALL_TEXT)
            )
        self._stall = _Gap(_STALL, max(start_ms, self._cut_ms), None, _STALL_TEXT)

    def _tile(self, start_ms: int, end_ms: int) -> list[Span]:
        """Return spans over the slice: at every moment the strongest cause, or observed."""
        edges = {start_ms, end_ms}
        for gap in self._all():
            edges |= {min(max(gap.start_ms, start_ms), end_ms)}
            edges |= {min(max(gap.end_ms or end_ms, start_ms), end_ms)}
        ordered = sorted(edges)
        pieces: list[tuple[int, int, _Gap | None]] = []
        for left, right in itertools.pairwise(ordered):
            gap = self._strongest(left, right)
            if pieces and _same(pieces[-1][2], gap):
                pieces[-1] = (pieces[-1][0], right, gap)
            else:
                pieces.append((left, right, gap))
        observed_s = sum(right - left for left, right, gap in pieces if gap is None) / 1000
        rate = round(self._looks / observed_s, 3) if observed_s > 0 else None
        if rate == 0.0 and self._period_ms:  # no look fell into this slice: the rate goes on
            rate = round(1000 / self._period_ms, 3)
        return [
            Span(start_ms=left, end_ms=right, cause=gap.cause, detail=gap.detail)
            if gap
            else Span(start_ms=left, end_ms=right, rate_fps=rate)
            for left, right, gap in pieces
        ]

    def _strongest(self, start_ms: int, end_ms: int) -> _Gap | None:
        over = [
            g
            for g in self._all()
            if g.start_ms <= start_ms and (g.end_ms is None or g.end_ms >= end_ms)
        ]
        return min(over, key=_rank) if over else None

    def _all(self) -> list[_Gap]:
        return self._gaps if self._stall is None else [*self._gaps, self._stall]


def _rank(gap: _Gap) -> int:
    """Return the strength of a gap, 0 first; our own guess yields to whatever is known."""
    return len(PRECEDENCE) if gap.detail == _STALL_TEXT else PRECEDENCE.index(gap.cause)


def _same(a: _Gap | None, b: _Gap | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.cause is b.cause and a.detail == b.detail
