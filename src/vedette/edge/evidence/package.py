"""From what the ring had to the files of a package and its record.

Here: one MP4 per stream of the window, the facts, boxes in the clip's own pixels. Pure but for the
muxing. Not here: when it is due (`store`) and where it goes (`shelf`). The rule: all times in a
package are on one line, the camera's, tied to wall time at the event; a clock that is set within
the window moves nothing in it.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from vedette.edge.cutting import Cut
from vedette.edge.evidence import clip as clips
from vedette.edge.evidence import facts
from vedette.edge.evidence.clip import Clip
from vedette.edge.evidence.facts import ClipFile, Facts, FrameBoxes, Hole
from vedette.errors import EvidenceError
from vedette.wire.circumstances import Circumstances, Surroundings
from vedette.wire.evidence import FACTS_VERSION
from vedette.wire.messages import Box, EventReport, EvidenceRecord

Seen = tuple[float, list[Box], tuple[str, ...]]
"""What one frame showed: when (on the camera's timeline), boxes, problems of the picture."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package before it is written: the files, in the order of writing."""

    record: EvidenceRecord
    files: Mapping[str, bytes]


def build(
    record: EvidenceRecord,
    event: EventReport,
    cut: Cut,
    *,
    at_t_s: float,
    seen: Iterable[Seen],
    poster: bytes,
    priority: int,
    watches_people: bool,
    slack_ms: int = 0,
    circumstances: Circumstances | None = None,
    surroundings: Surroundings | None = None,
) -> Package:
    """Return the package of an event.

    Args:
        record: As it was when the clip was asked for.
        event: What happened; its boxes are in pixels of `event.picture_px`.
        cut: What the ring had.
        at_t_s: When the event was, on the camera's timeline.
        seen: What was seen when (on the timeline), in pixels of the same picture.
        poster: A JPEG; empty where there is none.
        priority: Kept in the facts.
        watches_people: The same; see `Facts`.
        slack_ms: The same.
        circumstances: The same.
        surroundings: The same.

    Raises:
        EvidenceError: Nothing was recorded, or no file can be made of it.
    """
    if not cut.parts:
        raise EvidenceError(cut.shortfall)
    zero_ms = event.at_ms - at_t_s * 1000

    def ms(t_s: float) -> int:
        return round(zero_ms + t_s * 1000)

    files, entries = _muxed(cut, ms)
    main = entries[cut.main]
    scale = _scale(event.picture_px, main)
    first_ms, last_ms = entries[0].window_ms[0], entries[-1].window_ms[1]
    record = msgspec.structs.replace(
        record,
        actual_ms=(first_ms, last_ms),
        shortfall=cut.shortfall,
        sha256=main.sha256,
        bytes=sum(entry.bytes for entry in entries),
        codec=main.codec,
        picture_px=shown_px(main),
        boxes=_scaled(event.boxes, scale),
    )
    frames = [
        FrameBoxes(at_ms=ms(t_s), boxes=_scaled(boxes, scale), problems=list(problems))
        for t_s, boxes, problems in seen
        if first_ms <= ms(t_s) <= last_ms
    ]
    said = Facts(
        record=record,
        event=event,
        frames=frames,
        clips=entries,
        holes=[Hole(window_ms=(ms(h.start_s), ms(h.end_s)), cause=h.cause) for h in cut.holes],
        priority=priority,
        watches_people=watches_people,
        slack_ms=slack_ms,
        version=FACTS_VERSION,
        circumstances=circumstances,
        surroundings=surroundings,
    )
    files[facts.FACTS] = msgspec.json.encode(said)
    if poster:
        files[facts.POSTER] = poster
    return Package(record, files)


def _muxed(cut: Cut, ms: Callable[[float], int]) -> tuple[dict[str, bytes], list[ClipFile]]:
    """Return one MP4 for each part of a window, and what is said of each."""
    files: dict[str, bytes] = {}
    entries: list[ClipFile] = []
    for number, part in enumerate(cut.parts):
        clip = clips.remux(part.packets)
        name = facts.CLIP if number == cut.main else f"clip-{number + 1}.mp4"
        files[name] = clip.data
        window = (ms(clip.start_s), ms(clip.end_s))
        entries.append(_entry(name, clip, window, len(part.packets)))
    return files, entries


def shown_px(entry: ClipFile) -> tuple[int, int]:
    """Return a clip's size as a player shows it."""
    width, height = entry.picture_px
    return (height, width) if entry.rotation_deg in {90, 270} else (width, height)


def _entry(name: str, clip: Clip, window_ms: tuple[int, int], packets: int) -> ClipFile:
    return ClipFile(
        file=name,
        sha256=hashlib.sha256(clip.data).hexdigest(),
        bytes=len(clip.data),
        codec=clip.codec,
        picture_px=clip.picture_px,
        window_ms=window_ms,
        packets=packets,
        rotation_deg=clip.rotation_deg,
    )


def _scale(analysed_px: tuple[int, int] | None, main: ClipFile) -> tuple[float, float]:
    """Return the factors from the analysed picture to the clip: another stream may be larger."""
    if analysed_px is None or 0 in analysed_px:
        return 1.0, 1.0
    width, height = shown_px(main)
    return width / analysed_px[0], height / analysed_px[1]


def _scaled(boxes: list[Box], scale: tuple[float, float]) -> list[Box]:
    if scale == (1.0, 1.0):
        return boxes
    x, y = scale
    return [
        msgspec.structs.replace(
            box, xyxy=(box.xyxy[0] * x, box.xyxy[1] * y, box.xyxy[2] * x, box.xyxy[3] * y)
        )
        for box in boxes
    ]
