"""What a model of whole pictures says of one camera: classes that are held, anomalies that stay.

Here: from results to what happened and to sums. Not here: what one picture shows and what lasts
(`vision.tasks`), and events themselves (`edge.analysis`). The rule: without boxes there are no
tracks, so nothing is said of zones, lines, presence or places.

Thread: called under the lane's lock.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from vedette.edge.patience import patience_s
from vedette.edge.settings import Camera
from vedette.inference.manifest import Manifest
from vedette.inference.model import Result
from vedette.stats.sketch import LinearBins
from vedette.stats.summing import exact
from vedette.vision.aggregates import CONFIDENCE_BINS, ENTROPY_BINS, HOLD_S
from vedette.vision.happenings import Happening
from vedette.vision.tasks.holding import AnomalyHold, Change, ClassHold, Rise
from vedette.wire.messages import Aggregate, Bins, Box, EventKind

NO_TRACK: Final = -1
MAX_ZEROES: Final = 32
_EVERYTHING: Final = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that happened to the whole picture, and what an event says of it besides."""

    what: Happening
    score: float
    was: str = ""
    boxes: tuple[Box, ...] = ()


class SceneWatch:
    """One camera's classes and anomalies over time.

    Args:
        camera: Its settings.
        model: What its model says about itself.
        threshold: Confidence or score from which an answer counts.
    """

    def __init__(self, camera: Camera, model: Manifest, threshold: float) -> None:
        self._labels = model.labels
        self._evidence = camera.scene_evidence
        own = model.thresholds if camera.threshold is None else {}
        self.classes = ClassHold(
            model.labels,
            threshold=threshold,
            hold_s=camera.class_hold_s,
            thresholds=own,
            wanted=camera.labels,
            silence_s=patience_s(camera, HOLD_S),
        )
        self.anomaly = AnomalyHold(threshold=threshold, looks=camera.anomaly_looks)
        asked = [label for label in model.labels if not camera.labels or label in camera.labels]
        self._zeroes = dict.fromkeys(asked[:MAX_ZEROES], 0.0)
        self._clear()

    def _clear(self) -> None:
        self._looked = False
        self._confidence: dict[str, LinearBins] = {}
        self._entropy: dict[str, LinearBins] = {}
        self._scores: dict[str, LinearBins] = {}

    def look(self, result: Result | None, t_s: float) -> list[Sign]:
        """Take one look, None where nothing moved; return what has come about."""
        classes = result.classes if result else None
        strange = result.anomaly if result else None
        self._looked = self._looked or classes is not None or bool(self.classes.held)
        if classes is not None:
            label = self._labels[classes.top]
            _add(self._confidence, label, float(classes.probability.max()), CONFIDENCE_BINS)
            _add(self._entropy, label, classes.entropy, ENTROPY_BINS)
            if classes.similarity is not None:
                _add(self._scores, "similarity", max(0.0, classes.similarity), CONFIDENCE_BINS)
        signs = [self._changed(change) for change in self.classes.look(classes, t_s)]
        if strange is not None:
            _add(self._scores, "anomaly", strange.score, CONFIDENCE_BINS)
        rise = self.anomaly.look(strange.score if strange else None, t_s)
        if rise is not None:
            signs.append(self._risen(rise, strange.box if strange else None))
        return signs

    def follow(self, before: "SceneWatch") -> None:
        """Go on from another model's watch: what is held, and the anomaly that was told."""
        self.classes.follow(before.classes)
        self.anomaly.raised = before.anomaly.raised

    def interrupt(self) -> None:
        """Hold nothing over a gap."""
        self.classes.interrupt()
        self.anomaly.interrupt()

    def add_to(self, aggregate: Aggregate) -> Aggregate:
        """Return the aggregate with what was summed since the last call, and begin anew."""
        held = {label: exact(seconds) for label, seconds in self.classes.cut().items()}
        # A class that was looked for and never held is a measured zero, unlike one never asked.
        class_s = self._zeroes | held if self._looked else held
        scores, confidence, entropy = map(_bins, (self._scores, self._confidence, self._entropy))
        self._clear()
        return msgspec.structs.replace(
            aggregate, class_s=class_s, scores=scores, confidence=confidence, entropy=entropy
        )

    def _changed(self, change: Change) -> Sign:
        what = self._happening(EventKind.CLASS_CHANGED, change.t_s, change.label)
        return Sign(what, round(change.probability, 4), was=change.was)

    def _risen(self, rise: Rise, at: tuple[float, float, float, float] | None) -> Sign:
        score = round(rise.score, 4)
        boxes = (Box(xyxy=_rounded(at), label="anomaly", confidence=score),) if at else ()
        return Sign(self._happening(EventKind.ANOMALY, rise.t_s, ""), score, boxes=boxes)

    def _happening(self, kind: EventKind, t_s: float, label: str) -> Happening:
        return Happening(
            kind=kind,
            class_id=self._labels.index(label) if label else -1,
            label=label,
            track=NO_TRACK,
            t_s=t_s,
            box=_EVERYTHING,
            evidence=self._evidence,
        )


def _rounded(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(side, 1) for side in box)
    return x1, y1, x2, y2


def _add(into: dict[str, LinearBins], name: str, value: float, bins: int) -> None:
    into.setdefault(name, LinearBins(bins)).add(min(1.0, max(0.0, value)))


def _bins(sketches: dict[str, LinearBins]) -> dict[str, Bins]:
    return {name: sketch.to_wire() for name, sketch in sorted(sketches.items())}
