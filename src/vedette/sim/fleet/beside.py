"""A candidate in shadow on a simulated device: its steps, what it counts, what is sent for review.

Pictures are drawn, not taken: some people stand in each, the model in use finds most of them, and
the candidate finds parts of what that one finds and of what it misses (`Performance.finds`,
`gains`); now and then either sees somebody who is not there. What is sent is chosen as on a real
device (`edge.shadow.sampling`). The rule: who truly stood there is known to `Truths` alone, for
whoever reviews; nothing of it is in a message.
"""

import random
from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.edge.shadow.sampling import WINDOWS_PER_DAY, Sample, quota
from vedette.sim.fleet import performance
from vedette.sim.fleet.performance import Performance
from vedette.wire.messages import Box
from vedette.wire.slots import UpdateState
from vedette.wire.updates import Assigned, Disagreement, Paired, ShadowReport, UpdateReport

REPORT_MS: Final = 300_000
WINDOW_MS: Final = 86_400_000 // WINDOWS_PER_DAY
PICTURE_PX: Final = (1280, 720)
FOUND: Final = 0.85
"""Of the people in a picture, this part is found by the model in use."""

_PEOPLE: Final = (0, 1, 1, 2, 2, 3, 4)
_GHOSTS: Final = 0.004
_STEP_MS: Final = 20_000
_WITHHELD: Final = "simulated: nothing was filmed"
_STEPS: Final = {
    UpdateState.ASSIGNED: UpdateState.DOWNLOADED,
    UpdateState.DOWNLOADED: UpdateState.VERIFIED,
    UpdateState.VERIFIED: UpdateState.SHADOWING,
}

Truths = dict[str, frozenset[tuple[float, float, float, float]]]
"""By disagreement: where people truly stood."""


class _Picture(msgspec.Struct):
    """One picture that both saw."""

    people: list[Box] = []
    a: list[Box] = []
    b: list[Box] = []

    @property
    def differs(self) -> bool:
        return self.a != self.b


class _Counted(msgspec.Struct):
    """Of one camera, since it was told last."""

    start_ms: int
    frames: int = 0
    differing: int = 0
    both: int = 0
    only_a: int = 0
    only_b: int = 0

    def add(self, picture: _Picture) -> None:
        both = sum(one in picture.b for one in picture.a)
        self.frames += 1
        self.differing += picture.differs
        self.both += both
        self.only_a += len(picture.a) - both
        self.only_b += len(picture.b) - both


class Beside:
    """The candidate beside what one device runs. Thread: one."""

    def __init__(  # noqa: PLR0917 - who, what, where, and chance
        self,
        device: str,
        item: Assigned,
        candidate: Performance,
        cameras: Sequence[str],
        truths: Truths,
        rng: random.Random,
        now_ms: int,
    ) -> None:
        """Begin with what was assigned; nothing was fetched yet."""
        self.item: Final = item
        self.state = UpdateState.ASSIGNED
        self._device: Final = device
        self._candidate: Final = candidate
        self._cameras: Final = cameras
        self._truths: Final = truths
        self._random: Final = rng
        self._since_ms = now_ms
        self._seen_ms = now_ms
        self._told_ms = now_ms
        self._window = 0
        self._sent = 0
        self._counted: dict[str, _Counted] = {}
        self._sample: Sample[Disagreement] | None = None

    def step(self, now_ms: int, running: Performance) -> list[tuple[str, msgspec.Struct]]:
        """Live on to a moment; return what is sent by then, each with its schema."""
        if self.state is not UpdateState.SHADOWING:
            return self._go_on(now_ms, running)
        plan = self.item.shadow
        every_ms = round((plan.every_s if plan else 10.0) * 1000)
        while self._seen_ms + every_ms <= now_ms:
            self._seen_ms += every_ms
            for camera in self._cameras:
                self._look(camera, running)
        return self._told(now_ms, running)

    def _go_on(self, now_ms: int, running: Performance) -> list[tuple[str, msgspec.Struct]]:
        if now_ms - self._since_ms < _STEP_MS:
            return []
        was, self.state = self.state, _STEPS[self.state]
        self._since_ms = self._seen_ms = self._told_ms = now_ms
        report = UpdateReport(
            at_ms=max(now_ms, 0),
            rollout=self.item.rollout,
            slot=self.item.slot,
            kind=self.item.artefact.kind,
            attempt=self.item.attempt,
            digest=self.item.artefact.digest,
            state=self.state,
            was=was,
            running=running.digest,
        )
        return [("update.v1", report)]

    # ------------------------------------------------------------------------------- pictures

    def _look(self, camera: str, running: Performance) -> None:
        counted = self._counted.setdefault(camera, _Counted(self._seen_ms))
        picture = self._drawn()
        counted.add(picture)
        if not picture.differs:
            return
        window = self._seen_ms // WINDOW_MS
        if self._sample is None:
            per_day = self.item.shadow.samples_per_day if self.item.shadow else 0
            most = quota(per_day, window % WINDOWS_PER_DAY)
            self._sample, self._window = Sample(most, lambda: 1.0 - self._random.random()), window
        at_ms = self._seen_ms
        kind = f"{camera}:{len(picture.a) - len(picture.b):+d}"
        self._sample.offer(kind, lambda: self._disagreement(camera, picture, at_ms, running))

    def _drawn(self) -> _Picture:
        draw, candidate = self._random.random, self._candidate
        picture = _Picture()
        for _ in range(self._random.choice(_PEOPLE)):
            box = self._box()
            picture.people.append(box)
            if draw() < FOUND:
                picture.a.append(box)
                if draw() < candidate.finds:
                    picture.b.append(box)
            elif draw() < candidate.gains:
                picture.b.append(box)
        for side in (picture.a, picture.b):
            if draw() < _GHOSTS:
                side.append(self._box())
        return picture

    def _box(self) -> Box:
        x0, y0 = self._random.uniform(0, 1100), self._random.uniform(0, 420)
        width, height = self._random.uniform(40, 160), self._random.uniform(120, 280)
        corners = (round(x0, 1), round(y0, 1), round(x0 + width, 1), round(y0 + height, 1))
        return Box(
            xyxy=corners, label="person", confidence=round(self._random.uniform(0.4, 0.95), 3)
        )

    def _disagreement(
        self, camera: str, picture: _Picture, at_ms: int, running: Performance
    ) -> Disagreement:
        self._sent += 1
        name = f"dis-{self._device}-{self.item.attempt}-{self._sent}"
        self._truths[name] = frozenset(one.xyxy for one in picture.people)
        return Disagreement(
            disagreement=name,
            rollout=self.item.rollout,
            slot=self.item.slot,
            camera=camera,
            at_ms=at_ms,
            a=running.digest,
            b=self._candidate.digest,
            picture_px=PICTURE_PX,
            boxes_a=picture.a,
            boxes_b=picture.b,
            withheld=_WITHHELD,
        )

    # -------------------------------------------------------------------------------- telling

    def _told(self, now_ms: int, running: Performance) -> list[tuple[str, msgspec.Struct]]:
        """Return the counts every five minutes, and at the end of an hour what was chosen of it."""
        said: list[tuple[str, msgspec.Struct]] = []
        if now_ms - self._told_ms >= REPORT_MS:
            self._told_ms = now_ms
            counted, self._counted = self._counted, {}
            said += [
                ("shadow.v1", self._report(camera, one, now_ms, running))
                for camera, one in counted.items()
            ]
        if self._sample is not None and now_ms // WINDOW_MS != self._window:
            chosen, self._sample = self._sample.take(), None
            said += [
                ("disagreement.v1", msgspec.structs.replace(one, weight=round(weight, 4)))
                for one, weight in chosen
            ]
        return said

    def _report(
        self, camera: str, counted: _Counted, now_ms: int, running: Performance
    ) -> ShadowReport:
        choice, objects = (
            self._random.choice,
            Paired(both=counted.both, only_a=counted.only_a, only_b=counted.only_b),
        )
        return ShadowReport(
            rollout=self.item.rollout,
            slot=self.item.slot,
            camera=camera,
            a=running.digest,
            b=self._candidate.digest,
            start_ms=counted.start_ms,
            end_ms=now_ms,
            frames=counted.frames,
            differing=counted.differing,
            objects={"person": objects},
            stage_ms_a={"inference": choice(performance.stage_ms(running.inference_ms))},
            stage_ms_b={"inference": choice(performance.stage_ms(self._candidate.inference_ms))},
            confidence_a={"person": choice(performance.confidences(running.confidence))},
            confidence_b={"person": choice(performance.confidences(self._candidate.confidence))},
        )
