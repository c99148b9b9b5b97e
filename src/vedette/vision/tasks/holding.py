"""What lasts: the class that a picture holds, and the anomaly that stays.

Here: the states over time of one camera. Not here: what one picture shows, and events. The rules:

- A class is held once it was the answer, sure enough, for so many seconds on end. A held one stays
  with a little less certainty than it needed to become held.
- A look at which nothing moved says what the last one said.
- What is held is held from one look to the next, but never across a gap (`interrupt`) nor over a
  silence longer than `HOLD_S`. What was before a gap is remembered for one purpose only: to say
  that it is another now.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vedette.vision.aggregates import HOLD_S
from vedette.vision.tasks.classification import Classes

RELEASE: Final = 0.8
"""Part of the threshold that suffices to stay."""


@dataclass(frozen=True, slots=True)
class Change:
    """A class that is held instead of another since `t_s`; empty: none of them.

    Attributes:
        probability: Of the class now held; of the one that is no more where none is.
    """

    label: str
    was: str
    t_s: float
    probability: float


class _Slot:
    """One question with one answer at a time, the empty text for none.

    Attributes:
        held: The answer that lasts; None while it is not known.
        last: The answer that was last known, also before a gap; None where there never was one.
    """

    __slots__ = ("candidate", "held", "last", "since_s")

    def __init__(self, last: str | None) -> None:
        self.held: str | None = None
        self.last = last
        self.candidate: str | None = None
        self.since_s = 0.0

    def see(self, answer: str, t_s: float, hold_s: float) -> bool:
        """Take one look's answer; return whether another answer is held now than before."""
        if answer == self.held:
            self.candidate = None
            return False
        if answer != self.candidate:
            self.candidate, self.since_s = answer, t_s
        if t_s - self.since_s < hold_s:
            return False
        self.held, self.candidate = answer, None
        return True

    def forget(self) -> None:
        self.held = self.candidate = None


@dataclass(slots=True)
class Memory:
    """What one camera's looks so far left: the answers held or on their way, and the last look."""

    slots: dict[int, _Slot] = field(default_factory=dict)
    classes: Classes | None = None
    looked_s: float | None = None
    first: bool = True


class ClassHold:
    """Which classes one camera's pictures hold, and for how long. Thread: one at a time.

    Args:
        labels: Names by class id.
        threshold: Probability from which a class is an answer.
        hold_s: How long it must be the answer to be held.
        thresholds: Label → its own threshold.
        wanted: Labels that are answers; empty: all.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        threshold: float,
        hold_s: float,
        thresholds: Mapping[str, float] | None = None,
        wanted: Sequence[str] = (),
        silence_s: float = HOLD_S,
    ) -> None:
        self._silence_s = silence_s
        own = thresholds or {}
        self.labels: tuple[str, ...] = tuple(labels)
        self._hold_s = hold_s
        self._thresholds = np.array([own.get(label, threshold) for label in labels], np.float32)
        self._wanted = np.array([not wanted or label in wanted for label in labels], np.bool_)
        self.memory = Memory()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @property
    def held(self) -> list[str]:
        """The labels that are held, by class id."""
        return [slot.held for _, slot in sorted(self.memory.slots.items()) if slot.held]

    def look(self, classes: Classes | None, t_s: float) -> list[Change]:
        """Take one look, None where nothing moved; return what is held now and was not before."""
        self._elapse(t_s)
        self.memory.looked_s = t_s
        self.memory.classes = classes or self.memory.classes
        if self.memory.classes is None:
            return []
        seen = self._exclusive if self.memory.classes.exclusive else self._independent
        changes = seen(self.memory.classes, t_s)
        self.memory.first = False
        return changes

    def follow(self, before: "ClassHold") -> None:
        """Hold what `before` held, where its classes are the same; what it summed stays with it."""
        if before.labels == self.labels:
            self.memory = before.memory

    def interrupt(self) -> None:
        """Hold nothing over a gap."""
        self.memory.classes = None
        self.memory.looked_s = None
        for slot in self.memory.slots.values():
            slot.forget()

    def cut(self) -> dict[str, float]:
        """Return the seconds per held label since the last cut, and begin anew."""
        seconds, self._seconds = self._seconds, defaultdict(float)
        return {label: s for label, s in sorted(seconds.items()) if s > 0}

    def _elapse(self, t_s: float) -> None:
        if self.memory.looked_s is None or not 0 < t_s - self.memory.looked_s <= self._silence_s:
            return
        for label in self.held:
            self._seconds[label] += t_s - self.memory.looked_s

    def _exclusive(self, classes: Classes, t_s: float) -> list[Change]:
        """Take the answer of classes of which one holds; being unsure is no change of class."""
        slot = self.memory.slots.setdefault(0, _Slot(None))
        top = classes.top
        answer = self.labels[top] if self._is_seen(top, classes, slot) else ""
        if not slot.see(answer, t_s, self._hold_s) or not answer:
            return []
        was, slot.last = slot.last, answer
        if was in {None, answer}:
            return []
        return [Change(answer, was or "", slot.since_s, float(classes.probability[top]))]

    def _independent(self, classes: Classes, t_s: float) -> list[Change]:
        """Take the answers of classes that hold or not, each by itself."""
        sure = np.flatnonzero((classes.probability >= self._thresholds) & self._wanted)
        changes: list[Change] = []
        for index in sorted({*sure.tolist(), *self.memory.slots}):
            # What is there at the very first look has not come now; what is new later has.
            slot = self.memory.slots.setdefault(index, _Slot(None if self.memory.first else ""))
            answer = self.labels[index] if self._is_seen(index, classes, slot) else ""
            if slot.see(answer, t_s, self._hold_s):
                was, slot.last = slot.last, answer
                if was not in {None, answer}:
                    probability = float(classes.probability[index])
                    changes.append(Change(answer, was or "", slot.since_s, probability))
            if slot.held == "" and slot.candidate is None:
                del self.memory.slots[index]
        return changes

    def _is_seen(self, index: int, classes: Classes, slot: _Slot) -> bool:
        """Return whether a class is the answer: sure enough, or held and still nearly so."""
        least = self._thresholds[index]
        if slot.held == self.labels[index]:
            least = least * RELEASE
        return bool(self._wanted[index] and classes.probability[index] >= least)


@dataclass(frozen=True, slots=True)
class Rise:
    """An anomaly that stayed, since `t_s`; the highest score so far."""

    t_s: float
    score: float


class AnomalyHold:
    """Whether one camera's pictures are strange, lastingly. Thread: one at a time.

    Args:
        threshold: Score from which a picture is strange.
        looks: Looks on end that must be so, and must be well below for the end.
    """

    def __init__(self, *, threshold: float, looks: int) -> None:
        self._threshold = threshold
        self._looks = looks
        self._score: float | None = None
        self._above = self._below = 0
        self._since_s = 0.0
        self._highest = 0.0
        self.raised = False

    def look(self, score: float | None, t_s: float) -> Rise | None:
        """Take one look, None where nothing moved; return the anomaly that has lasted by now.

        It is returned once, until scores were well below the threshold again.
        """
        self._score = self._score if score is None else score
        if self._score is None:
            return None
        self._count(self._score, t_s)
        if self.raised:
            self.raised = self._below < self._looks
            return None
        if self._above < self._looks:
            return None
        self.raised = True
        return Rise(self._since_s, self._highest)

    def interrupt(self) -> None:
        """Begin to count anew; an anomaly that was told is not told again for a gap in it."""
        self._score = None
        self._above = self._below = 0

    def _count(self, score: float, t_s: float) -> None:
        self._below = self._below + 1 if score < self._threshold * RELEASE else 0
        if score < self._threshold:
            self._above = 0
            return
        if self._above == 0:
            self._since_s, self._highest = t_s, score
        self._above += 1
        self._highest = max(self._highest, score)
