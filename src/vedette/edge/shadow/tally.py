"""What a candidate made of one camera's pictures, added up over some minutes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from vedette.edge.shadow.pairing import Found, Pairing
from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.vision.aggregates import CONFIDENCE_BINS
from vedette.wire.updates import Paired, ShadowReport

MAX_CLASSES: Final = 100
"""Classes that one report names: with two sketches each it stays below the message's limit."""


@dataclass(slots=True)
class Names:
    """Whom a report speaks of."""

    rollout: str
    slot: str
    camera: str
    a: str
    b: str


@dataclass(slots=True)
class Tally:
    """One camera since `start_ms`. Thread: one at a time."""

    start_ms: int
    frames: int = 0
    differing: int = 0
    failed: int = 0
    shed: int = 0
    _objects: dict[str, list[int]] = field(default_factory=dict)
    _stage_ms: tuple[dict[str, ExpHistogram], dict[str, ExpHistogram]] = field(
        default_factory=lambda: ({}, {})
    )
    _confidence: tuple[dict[str, LinearBins], dict[str, LinearBins]] = field(
        default_factory=lambda: ({}, {})
    )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.frames or self.failed or self.shed)

    def add(
        self,
        a: Found,
        b: Found,
        paired: Pairing,
        stage_ms: tuple[Mapping[str, float], Mapping[str, float]],
    ) -> None:
        """Add one picture that both saw."""
        self.frames += 1
        self.differing += paired.differs
        for i, _ in paired.pairs:
            self._count(a.labels[i], 0)
        for i in paired.only_a:
            self._count(a.labels[i], 1)
        for j in paired.only_b:
            self._count(b.labels[j], 2)
        for into, found in zip(self._confidence, (a, b), strict=True):
            for label, confidence in zip(found.labels, found.confidence.tolist(), strict=True):
                if label in into or len(into) < MAX_CLASSES:
                    into.setdefault(label, LinearBins(CONFIDENCE_BINS)).add(min(1.0, confidence))
        for sketches, times_ms in zip(self._stage_ms, stage_ms, strict=True):
            for stage, ms in times_ms.items():
                sketches.setdefault(stage, ExpHistogram()).add(max(0.0, ms))

    def report(self, names: Names, end_ms: int) -> ShadowReport:
        """Return all of it as a message."""
        return ShadowReport(
            rollout=names.rollout,
            slot=names.slot,
            camera=names.camera,
            a=names.a,
            b=names.b,
            start_ms=self.start_ms,
            end_ms=max(end_ms, self.start_ms),
            frames=self.frames,
            differing=self.differing,
            failed=self.failed,
            shed=self.shed,
            objects={
                label: Paired(both=n[0], only_a=n[1], only_b=n[2])
                for label, n in sorted(self._objects.items())
            },
            stage_ms_a={name: sketch.to_wire() for name, sketch in self._stage_ms[0].items()},
            stage_ms_b={name: sketch.to_wire() for name, sketch in self._stage_ms[1].items()},
            confidence_a={label: bins.to_wire() for label, bins in self._confidence[0].items()},
            confidence_b={label: bins.to_wire() for label, bins in self._confidence[1].items()},
        )

    def _count(self, label: str, which: int) -> None:
        if label in self._objects or len(self._objects) < MAX_CLASSES:
            self._objects.setdefault(label, [0, 0, 0])[which] += 1
