"""What is known of a picture before inference: quality, tamper signs, motion, background.

Runs in the capture thread on the small luma plane, so it must stay well below a millisecond or two.
Everything about one camera over time is kept here; what follows from it is the lane's business.

Thread: `look` and `interrupt` from the capture thread; `quality` and `thumbnail` from any.
"""

import threading
from dataclasses import dataclass
from typing import Final

from vedette.clock import wall_ms
from vedette.edge.frame import Frame
from vedette.errors import DecodeFailed
from vedette.stats.sketch import LinearBins
from vedette.vision.aggregates import QUALITY_BINS
from vedette.vision.motion import MotionGate
from vedette.vision.privacy import BackgroundMedian
from vedette.vision.quality import QualityVerdict, assess
from vedette.vision.tamper import TamperWatch

QUALITY_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What follows from one look: whether to analyse, and the signs that stand.

    Attributes:
        since_ms: Wall time since when the oldest sign holds, where there is one.
        settled: False while there is not enough evidence to call the camera fine.
    """

    analyse: bool
    signs: tuple[str, ...] = ()
    since_ms: int | None = None
    settled: bool = True


class Lookout:
    """One camera's pictures over time, before inference."""

    def __init__(self, gate: MotionGate | None, *, tamper: TamperWatch | None = None) -> None:
        self._gate = gate
        self._tamper = tamper or TamperWatch()
        self._background = BackgroundMedian()
        self._lock = threading.Lock()
        self._bins: dict[str, LinearBins] = {}
        self._verdict: QualityVerdict | None = None
        self._judged_s = float("-inf")

    def look(self, frame: Frame, *, tracked: bool = False) -> Look:
        """Judge one picture; one whose pixels cannot be read is analysed and fails there.

        Args:
            frame: The picture.
            tracked: True while somebody is known to be in view: who stands still is looked at.
        """
        try:
            picture = frame.picture
        except DecodeFailed:
            return Look(analyse=True)
        small = picture.small_luma()
        verdict = self._tamper.update(small, frame.t_s)
        if frame.t_s - self._judged_s >= QUALITY_EVERY_S:
            self._judged_s = frame.t_s
            self._keep(assess(small, picture_px=picture.size))
        if not verdict.signs:
            with self._lock:
                self._background.add(picture, frame.t_s)
        since_ms = None
        if verdict.since_t_s:
            began_s = min(verdict.since_t_s.values())
            since_ms = wall_ms(frame.captured_at) - round((frame.t_s - began_s) * 1000)
        analyse = self._gate is None or self._gate.look(small, frame.t_s, tracked=tracked).analyse
        return Look(
            analyse=analyse, signs=verdict.signs, since_ms=since_ms, settled=verdict.settled
        )

    def interrupt(self) -> None:
        """Forget what was running, as after a gap."""
        self._tamper.interrupt()

    def quality(self) -> dict[str, float]:
        """Return the last scores, 0 to 1; empty before the first picture."""
        with self._lock:
            return {} if self._verdict is None else _rounded(self._verdict.scores())

    def cut_quality(self) -> dict[str, LinearBins]:
        """Return the distributions of the scores since the last call, by name."""
        with self._lock:
            bins, self._bins = self._bins, {}
            return bins

    def thumbnail(self, width_px: int) -> bytes | None:
        """Return a privacy-safe JPEG, or None until enough was seen of the background."""
        with self._lock:
            return self._background.thumbnail(width_px)

    def _keep(self, verdict: QualityVerdict) -> None:
        with self._lock:
            self._verdict = verdict
            for name, score in verdict.scores().items():
                self._bins.setdefault(name, LinearBins(QUALITY_BINS)).add(score)


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(score, 4) for name, score in scores.items()}
