"""Coverage strips: a stretch of time as a row of rectangles, proportional to time.

Pure: segments in, rectangles in thousandths of the width out. The rule: what no segment speaks of
is drawn as no data, and nothing narrower than what an eye can see is allowed to vanish if it is
a gap: gaps win over observed time within one cell of the finest grid.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central.console.text import clock_text, duration_text
from vedette.central.console.words import UNKNOWN, cause_word, in_words
from vedette.central.views import Segment

WIDTH: Final = 1000.0
MIN_GAP: Final = 2.0
"""A gap is drawn at least this wide, in thousandths: about one pixel of a narrow strip."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One rectangle: `x` and `width` in percent of the strip, its fill and what it says."""

    x: float
    width: float
    fill: str
    css: str
    title: str


def filled(segments: Sequence[Segment], from_ms: int, to_ms: int) -> list[Segment]:
    """Return the segments clipped to the window, ordered, merged, every hole named UNKNOWN."""
    out: list[Segment] = []
    at = from_ms
    for segment in sorted(segments, key=lambda s: s.start_ms):
        start, end = max(segment.start_ms, at), min(segment.end_ms, to_ms)
        if end <= start:
            continue
        if start > at:
            _append(out, Segment(start_ms=at, end_ms=start, cause=UNKNOWN))
        _append(out, msgspec.structs.replace(segment, start_ms=start, end_ms=end))
        at = end
    if at < to_ms:
        _append(out, Segment(start_ms=at, end_ms=to_ms, cause=UNKNOWN))
    return out


def _append(out: list[Segment], segment: Segment) -> None:
    """Add a segment, or lengthen the last one where it says the same."""
    last = out[-1] if out else None
    if (
        last
        and last.cause == segment.cause
        and last.end_ms == segment.start_ms
        and (last.detail == segment.detail or segment.cause is None)
    ):
        out[-1] = msgspec.structs.replace(last, end_ms=segment.end_ms)
    else:
        out.append(segment)


def pieces(segments: Sequence[Segment], from_ms: int, to_ms: int) -> list[Piece]:
    """Return the rectangles of a strip, left to right; short gaps are widened so that they show."""
    span = max(1, to_ms - from_ms)
    out: list[Piece] = []
    for segment in filled(segments, from_ms, to_ms):
        x = (segment.start_ms - from_ms) / span * WIDTH
        width = (segment.end_ms - segment.start_ms) / span * WIDTH
        if segment.cause is not None and width < MIN_GAP:
            x, width = min(x, WIDTH - MIN_GAP), MIN_GAP
        elif segment.cause is None and width < MIN_GAP / 2:
            continue
        word = cause_word(segment.cause)
        out.append(
            Piece(
                x=round(x / 10, 2),
                width=round(width / 10 + 0.02, 2),
                fill=word.fill,
                css=f"seg-{segment.cause or 'observed'}" if not word.fill else "",
                title=_title(segment, word.word),
            )
        )
    # Observed time first, so that a widened gap is painted over it and not under it.
    return sorted(out, key=lambda piece: piece.css != "seg-observed")


def _title(segment: Segment, word: str) -> str:
    """Say one segment in words."""
    text = (
        f"{word}: {clock_text(segment.start_ms)} to {clock_text(segment.end_ms)}, "
        f"{duration_text((segment.end_ms - segment.start_ms) / 1000)}"
    )
    if segment.cause is None and segment.rate_fps is not None:
        text += f", {segment.rate_fps:.1f} frames/s"
    return f"{text}. {in_words(segment.detail)}" if segment.detail else text


def summary(segments: Sequence[Segment], from_ms: int, to_ms: int) -> str:
    """Say a whole strip in one sentence, for those who do not see it."""
    seconds: dict[str | None, float] = {}
    for segment in filled(segments, from_ms, to_ms):
        length_s = (segment.end_ms - segment.start_ms) / 1000
        seconds[segment.cause] = seconds.get(segment.cause, 0.0) + length_s
    parts = [
        f"{cause_word(cause).word} {duration_text(length_s)}"
        for cause, length_s in sorted(seconds.items(), key=lambda item: -item[1])
    ]
    return f"{clock_text(from_ms)} to {clock_text(to_ms)}: " + ", ".join(parts)


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A mark on a time axis: where, in percent, and what it says."""

    x: float
    text: str
    anchor: str


_STEPS_S: Final = (300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400)


def ticks(from_ms: int, to_ms: int, wanted: int = 6) -> list[Tick]:
    """Return round moments (UTC) for an axis, and its right edge."""
    span_s = max(1.0, (to_ms - from_ms) / 1000)
    step_s = next((step for step in _STEPS_S if span_s / step <= wanted + 1), _STEPS_S[-1])
    first = -(-from_ms // (step_s * 1000)) * step_s * 1000
    out: list[Tick] = []
    for at_ms in range(first, to_ms, step_s * 1000):
        x = (at_ms - from_ms) / (to_ms - from_ms) * 100
        if 2 <= x <= 100 - max(75 * step_s / span_s, 12):
            text = clock_text(at_ms, seconds=False, day=step_s >= 86400)
            out.append(Tick(x=round(x, 2), text=text, anchor="middle"))
    out.append(Tick(x=100.0, text=clock_text(to_ms, seconds=False), anchor="end"))
    return out
