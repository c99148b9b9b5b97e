"""What the fast path tells: something that happened in front of one camera.

Here: the happening and the words for its direction. Not here: who finds it (`zones`, `shelf`), who
counts it (`aggregates`) and the message that it may become (`edge.analysis`).
"""

from dataclasses import dataclass
from typing import Final

from vedette.wire.messages import EventKind

FORWARD: Final = "forward"
BACKWARD: Final = "backward"
LOST: Final = "lost"
BORN: Final = "born"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that one track did, or that was done to a shelf.

    Attributes:
        kind: PRESENCE, LINE_CROSSED, ZONE_ENTERED, ZONE_LEFT, DWELL, LOITER or HEADING; PICKED,
            PLACED or SHELF_CHANGED from `shelf`.
        where: Zone or line; empty for presence.
        direction: `forward` (from the left of A→B to its right) or `backward` for lines; `lost`
            for a ZONE_LEFT that nobody saw, `born` for a ZONE_ENTERED that was none because the
            track began inside; for HEADING the direction in degrees; otherwise empty.
        label: The class's name.
        track: Its id; None where no track is known to have done it.
        t_s: When; for `lost` the time last seen, for a line the time when it was crossed.
        dwell_s: Seconds inside so far, for ZONE_LEFT and DWELL; for LOITER those of all stays.
        box: xyxy in pixels when it happened.
        event: True where it is worth an event of its own; the zone or line says so. False: it is
            only counted. Always False for `lost` and `born`.
        evidence: True where the zone or line asks for a clip.
        compared_s: Times of the two pictures that a change of a shelf was seen between.
    """

    kind: EventKind
    where: str = ""
    direction: str = ""
    class_id: int
    label: str
    track: int | None
    t_s: float
    dwell_s: float | None = None
    box: tuple[float, float, float, float]
    confidence: float = 0.0
    event: bool = True
    evidence: bool = False
    compared_s: tuple[float, float] | None = None
