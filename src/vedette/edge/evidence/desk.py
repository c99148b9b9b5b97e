"""Where one camera's events ask for clips, and what is said of the circumstances.

Here: whether a clip is an alert's, what the camera looked with at that moment, and how blurred
copies learn that nobody looked for people. Not here: the clips (`store`).

Thread: the camera's lane, one at a time.
"""

import math
from collections.abc import Callable
from typing import Final

import msgspec

from vedette.edge.evidence.store import EvidenceStore, Wanted
from vedette.edge.frame import Frame
from vedette.edge.lookout import Lookout
from vedette.edge.ring import PacketRing
from vedette.edge.serving import Reading
from vedette.edge.settings import Camera
from vedette.ids import new_id
from vedette.vision.happenings import Happening
from vedette.wire.circumstances import Circumstances, ModelFacts
from vedette.wire.messages import Box, EventKind, EventReport

MAX_CLIP_S: Final = 120.0
"""No clip begins earlier before its event, or ends later after it, by the settings' limits."""

ALERT_KINDS: Final = frozenset(
    {
        EventKind.DWELL,
        EventKind.LINE_CROSSED,
        EventKind.LOITER,
        EventKind.HEADING,
        EventKind.PICKED,
        EventKind.SHELF_CHANGED,
        EventKind.ANOMALY,
    }
)


class EvidenceDesk:
    """One camera's way to its clips.

    Args:
        store: Where clips are asked for; None where none are kept.
        ring: The camera's packets.
        emit: Takes the record of a refusal.
        camera: Its settings.
        reading: What it looks with, at first.
        lookout: Says how good its pictures are.
        slack_ms: How far the clip's times may be off those of the frames.
    """

    def __init__(
        self,
        store: EvidenceStore | None,
        ring: PacketRing,
        emit: Callable[[msgspec.Struct], None],
        *,
        camera: Camera,
        reading: Reading,
        lookout: Lookout,
        slack_ms: int = 0,
    ) -> None:
        self._store = store
        self._ring = ring
        self._emit = emit
        self._camera = camera
        self._reading = reading
        self._lookout = lookout
        self._mixed_until_s = -math.inf
        self._slack_ms = slack_ms

    def want(self, frame: Frame, what: Happening, event: EventReport) -> EventReport:
        """Return the event with its evidence id; a refusal is told at once as its record."""
        if self._store is None:
            return event
        event = msgspec.structs.replace(event, evidence=new_id("evd"))
        wanted = Wanted(
            event=event,
            at_t_s=what.t_s,
            picture=frame.picture,
            priority=0 if what.kind in ALERT_KINDS else 1,
            watches_people=self._reading.watches_people and what.t_s > self._mixed_until_s,
            slack_ms=self._slack_ms,
            circumstances=self._circumstances(event),
        )
        refusal = self._store.request(wanted, self._ring)
        if refusal is not None:
            self._emit(refusal)
        return event

    def note(self, frame: Frame, boxes: list[Box]) -> None:
        """Remember what an analysed frame showed."""
        if self._store is None:
            return
        if not self._reading.watches_people and frame.t_s <= self._mixed_until_s:
            # A clip that was asked for before the swap relies on boxes of people: none are known.
            everything = (0.0, 0.0, float(frame.width), float(frame.height))
            boxes = [*boxes, Box(xyxy=everything, label="", confidence=0.0)]
        self._store.note(frame.camera, frame.t_s, boxes, self._lookout.problems())

    def follow(self, reading: Reading, t_s: float) -> None:
        """Take another model's reading; no clip over the change relies on either for people."""
        if reading.watches_people != self._reading.watches_people:
            self._mixed_until_s = t_s + MAX_CLIP_S
        self._reading = reading

    def _circumstances(self, event: EventReport) -> Circumstances:
        zones = [zone for zone in self._camera.zones if zone.name == event.where]
        lines = [line for line in self._camera.lines if line.name == event.where]
        return Circumstances(
            camera_name=self._camera.name,
            model=model_facts(self._reading),
            zone=zones[0] if zones else None,
            line=lines[0] if lines else None,
            quality=self._lookout.facts(),
        )


def model_facts(reading: Reading) -> ModelFacts:
    """Return which model a camera looks with, and from which confidence on it counts."""
    limits = zip(reading.labels, reading.thresholds, reading.wanted, strict=True)
    return ModelFacts(
        name=reading.model[0],
        version=reading.model[1],
        digest=reading.digest,
        thresholds={label: round(float(least), 4) for label, least, wanted in limits if wanted},
        asked_from=round(reading.ask_threshold, 4),
    )
