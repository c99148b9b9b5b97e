"""What is known of a picture before inference: quality, tamper signs, motion, background.

Runs in the capture thread on the small luma plane, made once for all who look at it, and not at
all for a picture that nobody judges: the gate looks at every picture, everything else once a
second (after an inference the caches are cold, and a look costs four times what it does alone).
Everything about one camera over time is kept here; what follows from it is the lane's business.

Thread: `look` and `interrupt` from the capture thread; `quality` and `thumbnail` from any.
"""

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vedette.clock import wall_ms
from vedette.edge.frame import Frame
from vedette.edge.pinned import PinnedScene
from vedette.errors import DecodeFailed
from vedette.stats.sketch import LinearBins
from vedette.vision.aggregates import QUALITY_BINS
from vedette.vision.motion import MotionGate
from vedette.vision.picture import Picture, Plane
from vedette.vision.privacy import BackgroundMedian, reduced
from vedette.vision.quality import ADVICE, QualityVerdict, assess
from vedette.vision.tamper import ADVICE as SIGN_ADVICE
from vedette.vision.tamper import TamperVerdict, TamperWatch
from vedette.wire.circumstances import QualityFacts
from vedette.wire.messages import SceneHealth

JUDGE_EVERY_S: Final = 1.0
"""Quality and tamper signs are judged so often: signs stand after eight seconds at the earliest."""

ADVICE_OVER: Final = 30
"""Advice is given on what held in half of so many judgements: one bright bus is no problem."""

SLIGHT_MOVE: Final = 0.1
"""A camera that was moved by less, in parts of the picture, still sees most of what it should."""

_JITTER_S: Final = 0.02
"""A camera's pictures are not exactly even: one that comes this much too early is the one."""


@dataclass(frozen=True, slots=True)
class Look:
    """What follows from one look: whether to analyse, and the signs that stand.

    Attributes:
        is_passed: True where the tier batch passes the picture over: judged, but nobody looked
            for anything in it.
        moves: True where the next picture is worth looking at too; without a gate always.
        since_ms: Wall time since when the oldest sign holds, where there is one.
        settled: False while there is not enough evidence to call the camera fine.
        detail: What is known beyond the names of the signs, e.g. where the camera was moved to.
        is_slight: True where the one sign that stands is a camera moved by less than
            `SLIGHT_MOVE`: somebody should see to it, and what is counted is not worthless.
    """

    analyse: bool
    signs: tuple[str, ...] = ()
    since_ms: int | None = None
    settled: bool = True
    is_passed: bool = False
    moves: bool = True
    detail: str = ""
    is_slight: bool = False


class Lookout:
    """One camera's pictures over time, before inference.

    Args:
        gate: Says which pictures are worth analysing; None: all are.
        every_s: In the tier batch one picture so often is analysed, whatever it shows.
        tamper: Another watch than the usual one.
        pinned: The scene that a person confirmed, and whether they confirmed another since.
    """

    def __init__(
        self,
        gate: MotionGate | None,
        *,
        every_s: float | None = None,
        tamper: TamperWatch | None = None,
        pinned: PinnedScene | None = None,
    ) -> None:
        self._gate = gate
        self._every_s = every_s
        self._taken_s = float("-inf")
        self._tamper = tamper or TamperWatch(pinned=pinned.load() if pinned else None)
        self._pinned = pinned
        self._background = BackgroundMedian()
        self._lock = threading.Lock()
        self._bins: dict[str, LinearBins] = {}
        self._verdict: QualityVerdict | None = None
        self._problems: deque[tuple[str, ...]] = deque(maxlen=ADVICE_OVER)
        self._standing: TamperVerdict | None = None
        self._judged_s = self._clean_s = float("-inf")

    def look(self, frame: Frame, *, tracked: bool = False) -> Look:
        """Judge one picture; one whose pixels cannot be read is analysed and fails there.

        Args:
            frame: The picture.
            tracked: True while somebody is known to be in view: who stands still is looked at.
        """
        due = not 0 <= frame.t_s - self._judged_s < JUDGE_EVERY_S
        analyse = moves = True
        if due or self._gate is not None:
            try:
                picture = frame.picture
            except DecodeFailed:
                return Look(analyse=True)
            small = picture.small_luma()
            if due:
                self._judge(frame, picture, small)
            if self._gate is not None:
                decision = self._gate.look(small, frame.t_s, tracked=tracked)
                analyse, moves = decision.analyse, decision.reason not in {"still", "scan"}
        is_passed = self._every_s is not None and not self._is_its_turn(frame.t_s)
        analyse = analyse and not is_passed
        standing = self._standing
        if standing is None:
            return Look(analyse=analyse, settled=False, is_passed=is_passed, moves=moves)
        return Look(
            analyse=analyse,
            is_passed=is_passed,
            moves=moves,
            signs=standing.signs,
            since_ms=self._since_ms(frame, standing),
            settled=standing.settled,
            detail=standing.detail,
            is_slight=_is_slight(standing),
        )

    def absorb(self, boxes: Sequence[tuple[float, float, float, float]]) -> None:
        """Say where, in fractions of the picture, somebody stands who is known. Thread: capture."""
        if self._gate is not None:
            for box in boxes:
                self._gate.absorb(box)

    def interrupt(self) -> None:
        """Forget what was running, as after a gap."""
        self._tamper.interrupt()
        self._judged_s = self._clean_s = float("-inf")

    def quality(self) -> dict[str, float]:
        """Return the last scores, 0 to 1; empty before the first picture."""
        with self._lock:
            return {} if self._verdict is None else _rounded(self._verdict.scores())

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with the last picture that was judged."""
        with self._lock:
            return () if self._verdict is None else self._verdict.problems

    def facts(self) -> QualityFacts:
        """Return the verdict on the picture now, as a package states it."""
        with self._lock:
            signs = () if self._standing is None else self._standing.signs
        return QualityFacts(
            scores=self.quality(),
            problems=list(self.problems()),
            signs=list(signs),
            advice=self.advice(),
        )

    def advice(self) -> list[str]:
        """Return what a person should do: about signs, and about problems of half of the last."""
        with self._lock:
            seen = Counter(name for problems in self._problems for name in problems)
            least = len(self._problems) / 2
            standing = self._standing
        found = [text for name, text in ADVICE.items() if seen[name] >= max(1.0, least)]
        if standing is None:
            return found
        said = [SIGN_ADVICE[name] for name in standing.signs if name in SIGN_ADVICE]
        moved = [f"{standing.detail.capitalize()}."] if standing.detail else []
        return [*moved, *said, *found]

    def cut_quality(self) -> dict[str, LinearBins]:
        """Return the distributions of the scores since the last call, by name."""
        with self._lock:
            bins, self._bins = self._bins, {}
            return bins

    def thumbnail(self, width_px: int) -> bytes | None:
        """Return a privacy-safe JPEG, or None until enough was seen of the background."""
        with self._lock:
            return self._background.thumbnail(width_px)

    def reference(self, width_px: int) -> bytes | None:
        """Return the scene that a person pinned, as coarse as a thumbnail; None without one."""
        plane = self._tamper.pinned
        return None if plane is None else reduced(plane, width_px)

    def scene(self) -> SceneHealth | None:
        """Return how the last judged picture lies on what is known; None before the first."""
        with self._lock:
            standing = self._standing
        if standing is None:
            return None
        pinned_ms = (
            self._pinned.pinned_ms if self._pinned and self._tamper.pinned is not None else None
        )
        seen = standing.seen
        if seen is None:
            return SceneHealth(pinned_ms=pinned_ms)
        shift = seen.shift
        return SceneHealth(
            likeness=round(seen.likeness, 4),
            right=None if shift is None else round(shift.right, 4),
            down=None if shift is None else round(shift.down, 4),
            strength=None if shift is None else round(shift.strength, 2),
            is_pinned=seen.is_pinned,
            pinned_ms=pinned_ms,
        )

    def _is_its_turn(self, t_s: float) -> bool:
        """Return whether a picture of the tier batch is the next one to be analysed."""
        assert self._every_s is not None
        if 0 <= t_s - self._taken_s < self._every_s - _JITTER_S:
            return False
        self._taken_s = t_s
        return True

    def _judge(self, frame: Frame, picture: Picture, small: Plane) -> None:
        """Look for tampering, score the picture, and take it into the background."""
        self._judged_s = frame.t_s
        if self._pinned is not None and self._pinned.is_renewed(frame.t_s):
            self._tamper.pin(self._pinned.load())
        verdict = self._tamper.update(small, frame.t_s, hour=frame.captured_at.hour)
        with self._lock:
            self._standing = verdict
        if not verdict.signs and not verdict.suspected:
            self._clean_s = frame.t_s
        self._keep(assess(small, picture_px=picture.size, full=picture.y))
        if not verdict.signs:
            with self._lock:
                self._background.add(picture, frame.t_s)

    def _since_ms(self, frame: Frame, standing: TamperVerdict) -> int | None:
        """Return the wall time from which the oldest sign may have held; None without signs.

        Between two judgements nobody looked: the time since the last clean one is not vouched for.
        """
        if not standing.since_t_s:
            return None
        began_s = min(standing.since_t_s.values())
        unseen_s = max(self._clean_s, began_s - 2 * JUDGE_EVERY_S)
        return wall_ms(frame.captured_at) - round((frame.t_s - min(began_s, unseen_s)) * 1000)

    def _keep(self, verdict: QualityVerdict) -> None:
        with self._lock:
            self._verdict = verdict
            self._problems.append(verdict.problems)
            for name, score in verdict.scores().items():
                self._bins.setdefault(name, LinearBins(QUALITY_BINS)).add(score)


def _is_slight(standing: TamperVerdict) -> bool:
    """Return whether the camera was only turned a little, and nothing else is wrong."""
    shift = standing.shift
    return (
        standing.signs == ("GlobalSceneChange",) and shift is not None and shift.size < SLIGHT_MOVE
    )


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(score, 4) for name, score in scores.items()}
