"""From whole groups of pictures to what one window needs, and in words what is missing of it.

Here: choosing packets and telling the shortfall. Pure: no lock, no clock. Not here: keeping packets
(`edge.ring`) and muxing (`edge.evidence.clip`). The rules: every part begins with a keyframe and
holds one stream; a picture that cannot be decoded from that keyframe on is left out; a window that
is not filled says by how much, to the millisecond, and why.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from vedette.edge.capture.packets import EncodedPacket, StreamInfo

MAX_PARTS: Final = 4
"""Streams of different parameters in one window: each becomes a file of its own."""

_SLACK_S: Final = 0.1
_LONGEST_STEP_S: Final = 2.0
_HOLE_S: Final = 1.0
_HOLE_STEPS: Final = 4.0


RAW: Final = (
    "this source has no encoded video to keep (raw pictures): give the camera an evidence_source"
)


@dataclass(slots=True)
class Gop:
    """Packets from one keyframe to before the next."""

    packets: list[EncodedPacket] = field(default_factory=list)
    bytes: int = 0
    is_cut_short: bool = False

    @property
    def start_s(self) -> float:
        """When its keyframe is shown."""
        return self.packets[0].t_s

    @property
    def end_s(self) -> float:
        """When its last picture is shown."""
        return max(packet.t_s for packet in self.packets)

    @property
    def info(self) -> StreamInfo:
        """The stream it is of."""
        return self.packets[0].info


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the camera's timeline without pictures, and why."""

    start_s: float
    end_s: float
    cause: str


@dataclass(frozen=True, slots=True)
class Past:
    """What a ring remembers about what it does not have.

    Attributes:
        opened_s: When it began to wait for packets; None where nobody said.
        first_s: When the first packet ever came that could be kept.
        gone_to_s: Everything shown before this was let go.
        gone_cause: Which bound let it go, in words.
        outages: When the camera was away, the newest last.
        end_cause: Why no more packets come, where that is known.
        is_raw: The source gives pictures that nobody encoded, so there are no packets at all.
    """

    opened_s: float | None = None
    first_s: float | None = None
    gone_to_s: float | None = None
    gone_cause: str = ""
    outages: tuple[Span, ...] = ()
    end_cause: str = ""
    is_raw: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Packets of one stream in decoding order; the first is a keyframe and is shown first."""

    packets: tuple[EncodedPacket, ...]

    @property
    def start_s(self) -> float:
        """When its first picture is shown."""
        return self.packets[0].t_s

    @property
    def end_s(self) -> float:
        """When its last picture is shown."""
        return max(packet.t_s for packet in self.packets)


@dataclass(frozen=True, slots=True)
class Cut:
    """What a ring had of a window.

    Attributes:
        parts: In order of time; more than one where the stream's parameters changed.
        main: Which of them holds the event.
        holes: Stretches between its first and last picture without any.
        shortfall: In words, why this is less than was wanted; empty where it is not.
    """

    parts: tuple[Part, ...]
    main: int
    holes: tuple[Span, ...]
    shortfall: str

    @property
    def packets(self) -> tuple[EncodedPacket, ...]:
        """The packets of the part with the event; empty where there is nothing at all."""
        return self.parts[self.main].packets if self.parts else ()

    @property
    def bytes(self) -> int:
        """Sum of all packets' sizes."""
        return sum(len(packet.data) for part in self.parts for packet in part.packets)


def cut(gops: Sequence[Gop], past: Past, start_s: float, end_s: float, at_s: float) -> Cut:
    """Return what `gops` have from the last keyframe at or before `start_s` to `end_s`.

    Args:
        gops: In order of time.
        past: What is known about what is not there.
        start_s: Wanted from here on, on the camera's timeline.
        end_s: Wanted up to here.
        at_s: When the event was: says which part is the main one.
    """
    runs = [list(run) for _, run in itertools.groupby(gops, key=lambda gop: gop.info)]
    found: list[tuple[Part, bool]] = []
    for number, run in enumerate(runs):
        followed_s = runs[number + 1][0].start_s if number + 1 < len(runs) else None
        chosen = _reaching(run, start_s, followed_s)
        packets = _up_to(_decodable(chosen), end_s)
        if packets:
            found.append((Part(packets), any(gop.is_cut_short for gop in chosen)))
    if not found and past.is_raw:
        return Cut((), 0, (), RAW)
    if not found:
        return Cut((), 0, (), f"nothing was recorded in this time{_because(past, start_s, end_s)}")
    main = max((n for n, (part, _) in enumerate(found) if part.start_s <= at_s), default=0)
    first = max(0, min(main - 1, len(found) - MAX_PARTS))
    kept = found[first : first + MAX_PARTS]
    parts = tuple(part for part, _ in kept)
    notes, holes = _tell(parts, past, start_s, end_s)
    if len(parts) > 1:
        notes.append(
            f"the camera's stream changed its format in this time: {len(parts)} files, one each"
        )
    if len(kept) < len(found):
        notes.append(f"{len(found) - len(kept)} further formats of the stream are left out")
    if any(is_short for _, is_short in kept):
        notes.append("a group of pictures larger than the ring is cut short (evidence.ring_mb)")
    return Cut(parts, main - first, holes, "; ".join(notes))


# ------------------------------------------------------------------------------------- choosing


def _reaching(run: list[Gop], start_s: float, followed_s: float | None) -> list[Gop]:
    """Return the groups needed to show everything from `start_s` on.

    The last group that begins at or before it is one of them, unless it ended long before (the
    camera was away at that time): its pictures are not from this window. So is a stream that had
    been replaced by another before.
    """
    first = max((n for n, gop in enumerate(run) if gop.start_s <= start_s), default=0)
    gop = run[first]
    if gop.end_s < start_s:
        next_s = run[first + 1].start_s if first + 1 < len(run) else followed_s
        is_last = first + 1 == len(run) and followed_s is not None
        times = sorted(packet.t_s for packet in gop.packets)
        gap_s = (start_s if next_s is None else next_s) - gop.end_s
        if is_last or gap_s > _hole_limit_s(_step_s(times)):
            first += 1
    return run[first:]


def _decodable(gops: Sequence[Gop]) -> Iterable[EncodedPacket]:
    """Give the packets in decoding order, without pictures that are shown before the keyframe.

    Those lean on the group before it, which is not there (open GOP; ITU-T H.265 calls them RASL).
    Nothing after the keyframe leans on them.
    """
    for number, gop in enumerate(gops):
        for packet in gop.packets:
            if number or packet.t_s >= gop.start_s:
                yield packet


def _up_to(packets: Iterable[EncodedPacket], end_s: float) -> tuple[EncodedPacket, ...]:
    """Return the packets decoded by `end_s`, and those after it that are shown before the last."""
    kept: list[EncodedPacket] = []
    shown_s = end_s
    for packet in packets:
        if packet.dts_s <= end_s:
            shown_s = max(shown_s, packet.t_s)
        elif packet.t_s > shown_s:
            break
        kept.append(packet)
    return tuple(kept)


# -------------------------------------------------------------------------------------- telling


def _tell(
    parts: Sequence[Part], past: Past, start_s: float, end_s: float
) -> tuple[list[str], tuple[Span, ...]]:
    """Return in words a late begin, an early end and the time missing between; and the holes."""
    times = sorted(packet.t_s for part in parts for packet in part.packets)
    step_s = _step_s(times)
    slack_s = max(_SLACK_S, 1.5 * step_s)
    notes: list[str] = []
    if times[0] > start_s + slack_s:
        cause = _why_late(past, start_s, times[0])
        notes.append(f"begins {times[0] - start_s:.3f} s late: {cause}")
    if times[-1] < end_s - slack_s:
        cause = _outage(past, times[-1], end_s) or past.end_cause or "no more came"
        notes.append(f"ends {end_s - times[-1]:.3f} s early: {cause}")
    holes = tuple(
        Span(earlier, later, _outage(past, earlier, later) or "the camera gave nothing")
        for earlier, later in itertools.pairwise(times)
        if later > start_s and later - earlier > _hole_limit_s(step_s)
    )
    if holes:
        missing_s = sum(hole.end_s - hole.start_s for hole in holes)
        causes = ", ".join(dict.fromkeys(hole.cause for hole in holes))
        notes.append(f"{missing_s:.3f} s within are missing: {causes}")
    return notes, holes


def _why_late(past: Past, start_s: float, first_s: float) -> str:
    if past.gone_to_s is not None and past.gone_to_s > start_s:
        return f"nothing older was kept, {past.gone_cause}"
    if outage := _outage(past, start_s, first_s):
        return outage
    if past.opened_s is not None and past.opened_s > start_s:
        return "the device began to record only then"
    if past.first_s is not None and past.first_s > start_s:
        return "the camera's first picture came only then"
    return "the camera gave nothing before"


def _because(past: Past, start_s: float, end_s: float) -> str:
    """Return the cause of an empty window with a colon before it; empty where it is not known."""
    if past.gone_to_s is not None and past.gone_to_s > end_s:
        return f": {past.gone_cause}"
    cause = _outage(past, start_s, end_s) or past.end_cause
    return f": {cause}" if cause else ""


def _outage(past: Past, start_s: float, end_s: float) -> str:
    """Return why the camera was away within a stretch; empty where it is not known to have been."""
    causes = [span.cause for span in past.outages if span.start_s < end_s and span.end_s > start_s]
    return ", ".join(dict.fromkeys(causes))


def _step_s(times: Sequence[float]) -> float:
    """Return the usual time between two pictures (the median), at most two seconds."""
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    return min(steps[len(steps) // 2], _LONGEST_STEP_S) if steps else 0.0


def _hole_limit_s(step_s: float) -> float:
    """Return the time without a picture from which on something is missing."""
    return max(_HOLE_S, _HOLE_STEPS * step_s)
